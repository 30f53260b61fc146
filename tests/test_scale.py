"""Speed and size as far as a test can hold them: what is computed once, what is not computed at all, what stays flat.

How long it takes is measured by ``benchmarks.speed`` and ``benchmarks.scale``; here is what makes it so.
"""

from __future__ import annotations

import threading
import tracemalloc
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from benchmarks import scale, speed, timing
from hypothesis import given, settings
from hypothesis import strategies as st

import toy_world as toy
from skillmatch import ranking, retrieval, training
from skillmatch.encoders import CachedEncoder, HashingEncoder, models
from skillmatch.matcher import Matcher, Options
from skillmatch.ranking import WORTH_FLOOR, SkillTable, score_pairs
from skillmatch.records import Evidence, Profile, Project
from skillmatch.runtime import in_threads, load_settings
from skillmatch.store import Store
from skillmatch.taxonomy import TOP_CONCEPTS, LevelModel, classify, reading
from skillmatch.taxonomy.reading import Earlier, read_texts

quickly = settings(max_examples=40, deadline=None)


@pytest.fixture
def everywhere(monkeypatch):
    """Threads, however little there is to do."""
    monkeypatch.setattr(retrieval, "WORTH_THREADS", 1)
    monkeypatch.setattr(retrieval, "_cores", lambda: 3)


@pytest.fixture(scope="module")
def version(tmp_path_factory) -> Matcher:
    """A synthetic version of 2,000 items, through the real store."""
    return scale.opened(2000, tmp_path_factory.mktemp("scale"))[0]


# --- the index ----------------------------------------------------------------------------------------


@given(st.integers(1, 40), st.integers(1, 9), st.integers(0, 2**32 - 1))
@quickly
def test_a_cosine_is_the_same_whatever_is_asked_beside_it(items, queries, seed):
    rng = np.random.default_rng(seed)
    vectors = scale.made_up_vectors(items * 100, rng)
    index = retrieval.ItemIndex(vectors, np.arange(len(vectors)), retrieval.word_index(retrieval.word_stems([])), 1)
    asked = scale.made_up_vectors(queries, rng)
    together = index.dense(asked)
    assert np.allclose(together, asked @ vectors.T, atol=1e-5)
    for q in range(queries):
        assert np.array_equal(together[q], index.dense(asked[q : q + 1])[0])


def test_threads_change_nothing(version, monkeypatch):
    needs = scale.made_up_needs(20, np.random.default_rng(1))
    arguments = (version.items.worth, version.skills, version.near, version.ranker.relevance, version.ranker.text)
    plain = score_pairs(needs, version.index, *arguments)
    monkeypatch.setattr(retrieval, "WORTH_THREADS", 1)
    monkeypatch.setattr(retrieval, "_cores", lambda: 3)
    monkeypatch.setattr(retrieval, "MOST_ROWS", 7)
    monkeypatch.setattr(retrieval, "FEWEST_ROWS", 7)
    threaded = score_pairs(needs, version.index, *arguments)
    assert np.array_equal(plain.features, threaded.features)
    assert np.array_equal(plain.best_item, threaded.best_item)


def test_a_batch_is_scored_as_its_needs_alone_to_the_last_bit(version):
    needs = scale.made_up_needs(ranking._NEEDS_AT_ONCE + 5, np.random.default_rng(2))
    parts = (needs.texts, needs.vectors, needs.concept_ids, needs.concept_p)
    together, best = version._score(needs)
    for q in range(len(needs)):
        alone, own = version._score(type(needs)(*(part[q : q + 1] for part in parts)))
        assert np.array_equal(together[q], alone[0])
        assert np.array_equal(best[q], own[0])


def test_projects_answered_together_are_answered_as_alone():
    world = toy.everyone()
    projects = [
        Project(f"P{i}", description=t) for i, t in enumerate(r for both in toy.REQUESTS.values() for r in both)
    ]
    understood = world.understand(projects)
    for options in (Options(), Options(top=None, from_lab="LAC")):
        together = list(world.answers(understood, options))
        assert together == [next(world.answers([u], options)) for u in understood]


@pytest.mark.usefixtures("everywhere")
def test_every_task_is_done_once():
    done: list[int] = []
    guard = threading.Lock()

    def work(task: int) -> None:
        with guard:
            done.append(task)

    retrieval.on_cores(work, range(1000), 1000)
    assert sorted(done) == list(range(1000))
    retrieval.on_cores(work, range(0), 1000)
    assert len(done) == 1000


@pytest.mark.usefixtures("everywhere")
def test_what_fails_on_another_core_is_told():
    def work(task: int) -> None:
        if task == 500:
            raise ValueError("no")

    with pytest.raises(ValueError, match="no"):
        retrieval.on_cores(work, range(1000), 1000)


def test_one_need_makes_nothing_of_the_size_of_items_times_concepts(version):
    """Eight arrays of single precision an item at most, whatever the number of concepts and words."""
    needs = scale.made_up_needs(1, np.random.default_rng(3))
    version._score(needs)
    tracemalloc.start()
    version._score(needs)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    items, people = len(version.index.owner), len(version.people)
    assert peak < 40 * items + 200 * people + 100_000


# --- the table of skills ------------------------------------------------------------------------------


@given(st.lists(st.integers(1, 4), min_size=1, max_size=5), st.integers(1, 6), st.integers(0, 2**32 - 1))
@quickly
def test_the_sparse_table_is_the_dense_one(sizes, concepts, seed):
    rng = np.random.default_rng(seed)
    owner = np.repeat(np.arange(len(sizes)), sizes)
    n, k = len(owner), min(concepts, 3)
    ids = np.argsort(rng.random((n, concepts)), axis=1)[:, :k].astype(np.int32)
    p = (rng.random((n, k)) * (rng.random((n, k)) < 0.7)).astype(np.float32)
    worth = rng.random(n).astype(np.float32)
    table = SkillTable.build(owner, worth, ids, p, len(sizes), concepts)
    people, items = np.zeros((len(sizes), concepts)), np.zeros((n, concepts))
    for i in range(n):
        for concept, chance in zip(ids[i], p[i], strict=True):
            items[i, concept] = chance**0.5
            people[owner[i], concept] = max(people[owner[i], concept], chance**0.5 * (worth[i] + WORTH_FLOOR))
    assert np.allclose(table.worth, people, atol=1e-6)
    every = np.arange(concepts)
    for concept in every:
        assert np.allclose(table.items.sums(every[[concept]], np.ones(1, np.float32)), items[:, concept], atol=1e-6)
    want = rng.random(concepts).astype(np.float32)
    assert np.allclose(table.people.sums(every, want), people @ want, atol=1e-5)


def test_the_table_comes_back_from_disk(tmp_path):
    table = toy.everyone().skills
    table.save(tmp_path)
    again = SkillTable.load(tmp_path, table.people.n_items, table.items.n_items)
    assert np.array_equal(again.worth, table.worth)
    assert isinstance(again.items.weights, np.memmap)


# --- reading ------------------------------------------------------------------------------------------


TEXTS = [f"Exploite le stockage objet, lot {i}" for i in range(50)] + ["Ceph", "CUDA", "Responsable des sauvegardes"]


def read(texts=TEXTS, **more):
    model, levels = toy.models()
    return read_texts(texts, toy.ENCODER, model, levels, **more)


def test_blocks_do_not_show(monkeypatch):
    whole = read()
    monkeypatch.setattr(reading, "_BLOCK", 7)
    parts = read()
    assert np.array_equal(whole.vectors, parts.vectors)
    assert np.array_equal(whole.concept_ids, parts.concept_ids)
    assert np.allclose(whole.concept_p, parts.concept_p, atol=1e-6)
    assert np.allclose(whole.worth, parts.worth, atol=1e-6)


def test_vectors_on_disk_leave_no_file(tmp_path):
    on_disk = read(scratch=tmp_path / "new")
    assert isinstance(on_disk.vectors, np.memmap)
    assert np.array_equal(on_disk.vectors, read().vectors)
    assert list(tmp_path.rglob("*")) == [tmp_path / "new"]
    assert read([], scratch=tmp_path).vectors.shape == (0, toy.ENCODER.dim)


def test_a_full_disk_is_an_error(tmp_path, monkeypatch):
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(reading.os, "posix_fallocate", full)
    with pytest.raises(OSError, match="No space left"):
        read(scratch=tmp_path)


def earlier(texts=TEXTS, **changed) -> Earlier:
    model, _ = toy.models()
    before = read(texts)
    return replace(Earlier(texts, model, before.concept_ids, before.concept_p), **changed)


def texts_read(monkeypatch) -> list[str]:
    """What is given to the classifier from now on."""
    seen: list[str] = []
    own = classify.concept_rows

    def rows(model, texts, vectors):
        seen.extend(texts)
        return own(model, texts, vectors)

    monkeypatch.setattr(reading, "concept_rows", rows)
    return seen


def test_what_was_read_before_is_not_read_again(monkeypatch):
    before = earlier(TEXTS[::-1])
    monkeypatch.setattr(reading, "_PROBES", 5)
    seen = texts_read(monkeypatch)
    again = read([*TEXTS, "Un texte tout neuf"], earlier=before)
    assert len(seen) < 20
    assert seen[-1] == "Un texte tout neuf"
    whole = read([*TEXTS, "Un texte tout neuf"])
    assert np.array_equal(again.concept_ids[:, 0], whole.concept_ids[:, 0])
    assert np.allclose(again.concept_p, whole.concept_p, atol=1e-6)
    assert np.allclose(again.worth, whole.worth, atol=1e-6)


def test_another_classifier_reads_everything_again(monkeypatch):
    model, _ = toy.models()
    other = replace(model, intercept=model.intercept + np.float32(0.01))
    before = earlier(model=other)
    seen = texts_read(monkeypatch)
    read(earlier=before)
    assert seen == TEXTS


def test_another_way_to_compute_reads_everything_again(monkeypatch):
    """The same arrays, but today's code makes something else of them."""
    before = earlier()
    wrong = replace(before, concept_p=before.concept_p * np.float32(0.9))
    seen = texts_read(monkeypatch)
    got = read(earlier=wrong)
    assert seen[-len(TEXTS) :] == TEXTS
    assert np.array_equal(got.concept_p, read().concept_p)


def test_what_items_say():
    m = toy.everyone()
    assert m.items.texts() == [m.items.proof(i).text for i in range(len(m.index.owner))]


def test_memory_of_reading_stays_flat(monkeypatch, tmp_path):
    """Four times the texts, but for what must be held of each of them, take no more memory."""
    monkeypatch.setattr(reading, "_BLOCK", 64)
    texts = [f"Lot {i} de sauvegardes" for i in range(1200)]
    read(texts)  # words seen before are remembered: that is another matter
    peaks = []
    for count in (300, 1200):
        tracemalloc.start()
        read(texts[:count], scratch=tmp_path)
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    held = 900 * (8 * TOP_CONCEPTS + 4)
    assert peaks[1] < peaks[0] + held + 200_000


# --- training -----------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def first(tmp_path_factory):
    """A trained toy workspace."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(toy.Taxonomy, "shipped", classmethod(lambda cls: toy.taxonomy()))
        workspace = toy.write_workspace(tmp_path_factory.mktemp("first"))
        run(workspace)
    return workspace


@pytest.fixture
def workspace(first, tmp_path, monkeypatch):
    """A copy of it."""
    import shutil

    monkeypatch.setattr(toy.Taxonomy, "shipped", classmethod(lambda cls: toy.taxonomy()))
    shutil.copytree(first.root, tmp_path / "copy")
    return type(first)(tmp_path / "copy")


def run(workspace, flags=None, **options):
    return training.train(workspace, load_settings(workspace, flags, environment={}), **options)


@pytest.fixture
def unread(monkeypatch):
    """Reading the data is a failure."""

    def read_workspace(*_: object) -> None:
        raise AssertionError("the data was read")

    monkeypatch.setattr(training.running, "read_workspace", read_workspace)


@pytest.mark.usefixtures("unread")
def test_nothing_changed_reads_nothing(workspace):
    report = run(workspace)
    assert (report.unchanged, report.promoted, report.embedded) == (True, True, 0)
    assert report.version == Store(workspace.models).current()
    assert (report.people, report.items) == (20, sum(len(p.skills) + len(p.evidence) for p in toy.people()))
    assert report.reason == "nothing has changed"


@pytest.mark.usefixtures("unread")
@pytest.mark.parametrize(
    "change", ["data", "seed", "full", "force", "dry_run", "version", "forgotten", "older", "encoder"]
)
def test_what_changed_is_read(workspace, change):
    flags, options = {}, {}
    file = workspace.data / "profiles.json"
    if change == "data":
        file.write_text(file.read_text("utf-8") + " ", "utf-8")
    elif change == "seed":
        flags = {"seed": 1}
    elif change == "encoder":
        (workspace.models / "cache" / training.unchanged.REMEMBERED).write_text("{")
    elif change == "forgotten":
        (workspace.models / "cache" / training.unchanged.REMEMBERED).unlink()
    elif change == "version":
        path = Store(workspace.models).folder(Store(workspace.models).current()) / "people.json"
        path.chmod(0o644)
        path.write_bytes(path.read_bytes() + b" ")
    elif change == "older":
        (workspace.models / "CURRENT").write_text("v" + "0" * 12 + "\n")
    else:
        options = {change: True}
    with pytest.raises(AssertionError, match="the data was read"):
        run(workspace, flags, **options)


def test_the_log_of_suggestions_is_no_change(workspace, unread):
    (workspace.data / "suggestions.jsonl").write_text("", "utf-8")
    assert run(workspace).unchanged


def test_a_changed_sentence_is_all_that_is_read_again(workspace, monkeypatch):
    people = toy.people()
    changed = replace(people[0], evidence=(*people[0].evidence, Evidence("Un texte tout neuf sur le stockage")))
    toy.write_workspace(workspace.root, [changed, *people[1:], Profile("Z1", evidence=(Evidence("Encore un autre"),))])
    monkeypatch.setattr(reading, "_PROBES", 4)
    seen = texts_read(monkeypatch)
    report = run(workspace)
    assert report.embedded == 2
    assert seen[-2:] == ["Un texte tout neuf sur le stockage", "Encore un autre"]
    assert len(seen) < 15


# --- embedding ----------------------------------------------------------------------------------------


@given(st.lists(st.integers(0, 400), max_size=60))
@quickly
def test_batches_hold_every_text_once_and_few_tokens(lengths):
    batches = models._batches(np.array(lengths, dtype=np.int64))
    rows = [int(row) for batch in batches for row in batch]
    assert sorted(rows) == list(range(len(lengths)))
    assert [lengths[r] for r in rows] == sorted(lengths, reverse=True)
    for batch in batches:
        longest = max(lengths[r] for r in batch)
        assert 1 <= len(batch) <= models._BATCH_TEXTS
        assert len(batch) == 1 or len(batch) * longest <= models._BATCH_TOKENS


@pytest.mark.parametrize("threads", [1, 3])
def test_several_at_once_come_back_in_order(threads):
    for count in (50, 500):  # plain threads, then joblib's
        assert list(in_threads(lambda n: n * n, range(count), threads)) == [n * n for n in range(count)]
    done: list[int] = []

    def fail(n: int) -> int:
        done.append(n)
        if n == 3:
            raise ValueError("no")
        return n

    with pytest.raises(ValueError, match="no"):
        list(in_threads(fail, range(10_000), threads))
    assert len(done) < 10_000


def test_a_training_of_many_blocks_embeds_each_text_once(tmp_path, monkeypatch):
    monkeypatch.setattr(reading, "_BLOCK", 10)
    encoder = CachedEncoder(HashingEncoder(), tmp_path / "cache.sqlite")
    model, levels = toy.models()
    read_texts([*TEXTS, *TEXTS], encoder, model, levels)
    assert encoder.misses == len(set(TEXTS))


# --- the benchmarks themselves ------------------------------------------------------------------------


def test_the_synthetic_version_answers(version):
    needs = scale.made_up_needs(3, np.random.default_rng(4))
    answer = scale.answer(version, needs, 1)
    assert len(answer.matches) == 5
    assert [m.raw for m in answer.matches] == sorted((m.raw for m in answer.matches), reverse=True)
    assert np.allclose(np.linalg.norm(version.index.vectors, axis=1), 1, atol=1e-5)
    assert all(len(set(row)) == TOP_CONCEPTS for row in version.concept_ids.tolist())
    assert np.allclose(version.concept_p.sum(axis=1), 1, atol=1e-4)


def test_the_sizes_are_measured(tmp_path):
    found = scale.one_need(500, tmp_path, 2, toy.ENCODER)
    assert set(found["milliseconds"]) >= {"the whole match", "dense search alone", scale.ENCODING}
    assert all(value > 0 for name, value in found.items() if " over " in name)
    assert Store(tmp_path / "made-up-500").verify(Store(tmp_path / "made-up-500").versions()[0])
    scale.write_figures(tmp_path / "figures", {"one need": [found]})
    assert (tmp_path / "figures" / "scale.json").is_file()


def test_many_needs_are_answered(tmp_path):
    assert scale.many_needs("300", "20", str(tmp_path))["needs"] == 20


def test_a_version_is_built(tmp_path):
    assert scale.trained("300", str(tmp_path))["seconds"] > 0
    store = Store(tmp_path / "trained")
    opened = Matcher.load(store.folder(store.versions()[0]), "x", scale.RandomEncoder())
    assert len(opened.people) == 30
    assert opened.match("w1 w2 w3", Options(top=None)).matches
    assert isinstance(scale.tiny_models()[1], LevelModel)


def test_made_up_people_share_no_text():
    people = speed.made_up_people(40)
    texts = [c["name"] for p in people for c in p["skills"]] + [e["text"] for p in people for e in p["evidence"]]
    assert len(texts) == len(set(texts)) == 400
    assert {len(t.split()) > 40 for t in speed.mixed_texts(200)} == {True, False}


def test_a_process_is_measured_apart():
    held = timing.apart(["-c", "held = bytearray(80_000_000); held[:] = b'x' * 80_000_000; print('done')"])
    free = timing.apart(["-c", "print('done')"])
    assert held.output == free.output == "done\n"
    assert free.seconds > 0
    assert held.megabytes > free.megabytes + 70
    with pytest.raises(RuntimeError, match="ended with 3"):
        timing.apart(["-c", "raise SystemExit(3)"])


def test_ratios_are_taken_round_by_round():
    assert timing.ratio([1.0, 20.0, 3.0], [1.0, 10.0, 6.0]) == 1.0
    ran: list[str] = []
    times = timing.in_turn({"a": lambda: ran.append("a"), "b": lambda: ran.append("b")}, 2)
    assert ran == ["a", "b", "a", "b"]
    assert {name: len(own) for name, own in times.items()} == {"a": 2, "b": 2}
    assert Path(timing.SOURCE).name == "src"
