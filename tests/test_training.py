"""From a workspace's files to a version, on the toy world: what is embedded again, what is promoted, what is kept."""

from __future__ import annotations

import json
import random
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from benchmarks import flips

import skillmatch
import toy_world as toy
from skillmatch import feedback, training
from skillmatch.encoders import HashingEncoder
from skillmatch.errors import DamagedModelError, DataError, FormatError, ModelError, SkillmatchError, UsageError
from skillmatch.feedback import Label
from skillmatch.matcher import Matcher, Options
from skillmatch.ranking import FEATURES, Ranker, fit_ranker
from skillmatch.records import Evidence, Judgement, Profile, Project, SkillClaim
from skillmatch.runtime import Workspace, load_settings
from skillmatch.store import Store
from skillmatch.taxonomy import Taxonomy
from skillmatch.training import (
    FEWEST_PROJECTS,
    Folds,
    Report,
    Rival,
    check_pipeline,
    compare,
    concept_models,
    duel,
    evaluate,
    fit_to_judgements,
    judged_projects,
    language,
    moved,
    save_pipeline,
    train,
)


@pytest.fixture(autouse=True, scope="module")
def _toy_taxonomy() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Taxonomy, "shipped", classmethod(lambda cls: toy.taxonomy()))
        yield


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    """Nothing trained yet."""
    return toy.write_workspace(tmp_path / "lab")


@pytest.fixture(scope="module")
def first(tmp_path_factory: pytest.TempPathFactory, _toy_taxonomy: None) -> tuple[Workspace, Report]:
    """A workspace with a first version, and what its training said."""
    made = toy.write_workspace(tmp_path_factory.mktemp("toy") / "lab")
    return made, run(made)


@pytest.fixture
def trained(first: tuple[Workspace, Report], tmp_path: Path) -> Workspace:
    """A copy of it that a test may change; its version is ``Store(...).current()``."""
    shutil.copytree(first[0].root, tmp_path / "trained")
    return Workspace(tmp_path / "trained")


def run(workspace: Workspace, **options: bool) -> Report:
    return train(workspace, load_settings(workspace, environment={}), **options)


def files(workspace: Workspace, *left_out: str) -> dict[str, bytes]:
    found = (p for p in workspace.models.rglob("*") if p.is_file() and not set(p.parts) & set(left_out))
    return {p.relative_to(workspace.models).as_posix(): p.read_bytes() for p in found}


def worse_people() -> list[Profile]:
    """Everybody has become an expert of the next trade, whatever the judgements say."""
    people = {p.id: p for p in toy.people()}
    n = len(toy.TRADES)
    return [
        replace(p, skills=people[f"{p.id[0]}{(int(p.id[1]) + 1) % n}"].skills, evidence=other.evidence)
        for p in people.values()
        for other in (people[f"{p.id[0]}{(int(p.id[1]) + 1) % n}"],)
    ]


# --- a version ----------------------------------------------------------------------------------------


def test_the_first_version_answers(first):
    workspace, report = first
    assert (report.promoted, report.unchanged, report.previous) == (True, False, None)
    assert report.reason == "the first version"
    assert report.people == 20
    assert report.items == sum(len(p.skills) + len(p.evidence) for p in toy.people())
    assert report.embedded > 0
    matcher = skillmatch.load(workspace.root)
    assert matcher.version == report.version
    for trade in toy.TRADES:
        for text in toy.REQUESTS[trade]:
            assert matcher.match(text).matches[0].profile.id == toy.expert(trade)
    events = [(e["event"], e["version"]) for e in Store(workspace.models).history()]
    assert events == [("trained", report.version), ("promoted", report.version)]


def test_the_manifest_says_what_it_was_made_from(first):
    workspace, report = first
    manifest = Store(workspace.models).verify(report.version)
    assert manifest["encoder"] == "hashing-256"
    assert manifest["people"] == 20
    assert manifest["seed"] == 0
    assert manifest["skillmatch"] == skillmatch.__version__
    assert set(manifest["libraries"]) >= {"numpy", "scikit-learn"}
    text = json.dumps(manifest)
    assert str(workspace.root) not in text
    assert "Expert" not in text


def test_nothing_changed(trained):
    current = Store(trained.models).current()
    before = files(trained, ".lock")
    again = run(trained)
    assert (again.unchanged, again.promoted, again.version, again.embedded) == (True, True, current, 0)
    assert files(trained, ".lock") == before


def test_only_what_changed_is_embedded(first, trained):
    people = toy.people()
    changed = replace(people[0], evidence=(*people[0].evidence, Evidence("Un texte tout neuf sur le stockage")))
    toy.write_workspace(trained.root, [changed, *people[1:], Profile("Z1", skills=(SkillClaim("CUDA"),))])
    second = run(trained)
    assert second.embedded == 1  # "CUDA" is known from another profile
    assert second.version != first[1].version
    assert (second.people, second.previous, second.promoted) == (21, first[1].version, True)
    assert "not worse" in second.reason


def test_full_embeds_everything_again(first, trained):
    again = run(trained, full=True)
    assert again.embedded == first[1].embedded > 0
    assert (again.version, again.unchanged) == (first[1].version, True)


def test_the_bar_shows_progress(workspace):
    seen: list[tuple[str, int, int]] = []
    train(workspace, load_settings(workspace, environment={}), stage=lambda *s: seen.append(s))
    for name in ("taxonomy", "profiles"):
        counts = [done for stage, done, _ in seen if stage == name]
        total = {t for stage, _, t in seen if stage == name}
        assert counts == sorted(counts)
        assert {counts[-1]} == total
    assert [s for s, *_ in dict.fromkeys((s, 0) for s, *_ in seen)][:3] == ["taxonomy", "profiles", "version"]


# --- better or worse ----------------------------------------------------------------------------------


def test_a_worse_version_is_kept_aside(first, trained):
    toy.write_workspace(trained.root, worse_people())
    second = run(trained)
    assert (second.promoted, second.unchanged) == (False, False)
    assert "worse than" in second.reason
    assert "nDCG@5" in second.reason
    store = Store(trained.models)
    assert store.current() == first[1].version
    assert second.version in store.versions()
    assert [e["event"] for e in store.history()] == ["trained", "promoted", "trained"]
    forced = run(trained, force=True)
    assert (forced.promoted, forced.version) == (True, second.version)
    assert store.current() == second.version
    assert "forced" in store.history()[-1]["why"]


def test_too_few_judgements_tell_nothing(workspace):
    kept = toy.judgements()[: 3 * (FEWEST_PROJECTS - 1)]
    rows = ["project_id,profile_id,grade", *(",".join(map(str, j)) for j in kept)]
    (workspace.data / "judgements.csv").write_text("\n".join(rows), "utf-8")
    first = run(workspace)
    assert first.metrics is None
    assert first.ranker == "shipped"
    judgements = (workspace.data / "judgements.csv").read_text("utf-8")
    toy.write_workspace(workspace.root, worse_people())
    (workspace.data / "judgements.csv").write_text(judgements, "utf-8")
    second = run(workspace)
    assert second.promoted
    assert "unjudged" in second.reason


def test_without_judgements_the_shipped_parameters_serve(workspace):
    (workspace.data / "judgements.csv").unlink()
    report = run(workspace)
    assert (report.ranker, report.metrics) == ("shipped", None)
    folder = Store(workspace.models).folder(report.version)
    assert not list(folder.glob("*.skops"))
    assert Ranker.from_dict(json.loads((folder / "ranker.json").read_text("utf-8"))).as_dict() == (
        Ranker.shipped().as_dict()
    )


def test_a_damaged_version_before_does_not_stop_the_next(first, trained):
    path = Store(trained.models).folder(first[1].version) / "people.json"
    path.chmod(0o644)
    path.write_bytes(path.read_bytes() + b" ")
    with pytest.raises(DamagedModelError):
        skillmatch.load(trained.root)
    toy.write_workspace(trained.root, worse_people())
    report = run(trained)
    assert report.promoted
    assert "can't be opened" in report.reason
    assert skillmatch.load(trained.root).version == report.version


# --- nothing half done --------------------------------------------------------------------------------


def test_a_dry_run_writes_nothing(workspace, first, trained):
    report = run(workspace, dry_run=True)
    assert (report.version, report.promoted) == (None, False)
    assert report.people == 20
    assert not workspace.models.exists()
    feedback.log_shown(trained.data / "suggestions.jsonl", [("v1", "P1f", "", ["E1"])], days=9999)
    (trained.models / "encoders").mkdir(exist_ok=True)
    (trained.models / "encoders" / "adapted.json").write_text('{"encoder": "other", "folder": "adapted-1"}')
    before = files(trained), (trained.data / "suggestions.jsonl").read_bytes()
    toy.write_workspace(trained.root, worse_people())
    for full in (False, True):
        told = run(trained, dry_run=True, force=True, full=full)
        assert told.version is None
        assert "worse than" in told.reason
    flagged = load_settings(trained, {"encoder": "hashing"}, environment={})
    assert train(trained, flagged, dry_run=True).version is None
    assert (files(trained), (trained.data / "suggestions.jsonl").read_bytes()) == before
    assert Store(trained.models).current() == first[1].version
    with pytest.raises(UsageError, match="keeps nothing"):
        run(trained, dry_run=True, adapt=True)


def test_a_flipped_byte_anywhere_is_told(trained):
    """Each file of versions and caches, history and CURRENT; benchmarks/flips.py does it with the real encoder."""
    run(trained, force=True)
    chance = random.Random(5)
    found = flips.files_of(trained)
    kinds = {p.relative_to(trained.models).parts[0] for p in found}
    assert kinds == {"CURRENT", "cache", "history.jsonl", "versions"}
    for path in [*found, *chance.choices(found, k=60)]:
        flips.flipped(trained, path, chance)
    assert skillmatch.load(trained.root).match("Ceph").matches


def test_the_flips_are_seen(trained, monkeypatch):
    monkeypatch.setattr(Store, "verify", Store.manifest)
    path = next(p for p in flips.files_of(trained) if p.name == "people.json")
    with pytest.raises(AssertionError, match=r"people\.json, byte \d+ by 0x"):
        flips.flipped(trained, path, random.Random(1))


def test_a_whole_version_of_another_skillmatch_is_told(trained):
    """Its digests hold; it just is not what this one reads."""
    store = Store(trained.models)
    folder = store.folder(store.current())
    with store.writing() as draft:
        for path in folder.iterdir():
            if path.name not in ("manifest.json", "items_level.npy"):
                shutil.copy(path, draft.path)
        manifest = store.manifest(folder.name)
        version = draft.commit({k: v for k, v in manifest.items() if k not in ("format", "files")})
    store.promote(version, "test")
    with pytest.raises(FormatError, match="another skillmatch") as caught:
        skillmatch.load(trained.root)
    assert "train" in caught.value.hint
    assert run(trained).promoted


def test_wrong_data_writes_nothing(workspace):
    (workspace.data / "judgements.csv").write_text("project_id,profile_id,grade\nP0f,E0,9\n", "utf-8")
    with pytest.raises(DataError):
        run(workspace)
    assert not workspace.models.exists()


def test_nobody_who_may_be_shown(workspace):
    toy.write_workspace(workspace.root, [replace(p, consent=False) for p in toy.people()])
    (workspace.data / "judgements.csv").unlink()
    with pytest.raises(UsageError, match="nobody to match"):
        run(workspace)
    assert not (workspace.models / "versions").exists()


def test_a_version_that_answers_differently_is_not_kept(trained, monkeypatch):
    before = files(trained, "cache", ".lock")
    toy.write_workspace(trained.root, worse_people())
    load = Matcher.load.__func__

    def other(cls, *arguments):
        opened = load(cls, *arguments)
        return replace(opened, ranker=replace(opened.ranker, baseline=opened.ranker.baseline + 1e-9))

    monkeypatch.setattr(Matcher, "load", classmethod(other))
    with pytest.raises(ModelError, match="answers differently"):
        run(trained)
    assert files(trained, "cache", ".lock") == before


@pytest.mark.parametrize("where", ["taxonomy", "profiles", "version"])
def test_an_interrupted_training_leaves_no_version(workspace, where):
    def stop(name: str, done: int, total: int) -> None:
        if name == where:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train(workspace, load_settings(workspace, environment={}), stage=stop)
    assert Store(workspace.models).versions() == []
    assert not [p for p in workspace.models.rglob(".*") if p.name not in {".lock"}]
    assert run(workspace).promoted


# --- the classifiers of a taxonomy --------------------------------------------------------------------


def test_classifiers_are_fitted_once(tmp_path, monkeypatch):
    concept_models(tmp_path, toy.taxonomy(), toy.ENCODER)
    (folder,) = tmp_path.iterdir()
    monkeypatch.setattr(training.running, "fit_concepts", None)
    model, levels = concept_models(tmp_path, toy.taxonomy(), toy.ENCODER)
    texts = ["Ceph", "Responsable"]
    vectors = toy.ENCODER.encode(texts)
    fitted, levels_fitted = toy.models()
    assert np.array_equal(model.probabilities(texts, vectors), fitted.probabilities(texts, vectors))
    assert np.array_equal(levels.worth(texts, vectors), levels_fitted.worth(texts, vectors))
    monkeypatch.undo()
    smaller = Taxonomy(toy.taxonomy().concepts[:4])
    assert concept_models(tmp_path, smaller, toy.ENCODER)[0].n_concepts == 4
    assert len(list(tmp_path.iterdir())) == 2
    assert folder.is_dir()


def test_half_a_classifier_is_never_kept(tmp_path, monkeypatch):
    def fail(*_: object) -> None:
        raise OSError("disk full")

    for name in ("fit_concepts", "fit_levels"):
        with monkeypatch.context() as patch:
            patch.setattr(training.running, name, fail)
            with pytest.raises(OSError, match="disk full"):
                concept_models(tmp_path / "cache", toy.taxonomy(), toy.ENCODER)
    with monkeypatch.context() as patch:
        patch.setattr(training.running.LevelModel, "save", fail)
        with pytest.raises(OSError, match="disk full"):
            concept_models(tmp_path / "cache", toy.taxonomy(), toy.ENCODER)
    assert not (tmp_path / "cache").exists() or list((tmp_path / "cache").iterdir()) == []


def test_a_damaged_classifier_is_fitted_again_or_told_how(trained):
    """Not "run: skillmatch train" to somebody who just did."""
    (folder,) = trained.models.glob("cache/concepts-*")
    (folder / "concepts_discriminant.npy").unlink()
    hint = "--full"
    try:
        assert run(trained).unchanged
    except SkillmatchError as error:
        hint = error.hint
    assert "--full" in hint or folder.name in hint


# --- learning from judgements -------------------------------------------------------------------------


@pytest.fixture(scope="module")
def judged():
    projects = [Project(p["id"], description=p["description"]) for p in toy.projects()]
    return judged_projects(toy.everyone(), projects, [Judgement(*j) for j in toy.judgements()])


def test_judged_pairs(judged):
    assert [j.project.id for j in judged] == list(dict.fromkeys(p for p, _, _ in toy.judgements()))
    place = {p["id"]: i for i, p in enumerate(toy.everyone().people)}
    first = judged[0]
    grades = {place[who]: grade for project, who, grade in toy.judgements() if project == "P0f"}
    assert dict(zip(first.people.tolist(), first.grades.tolist(), strict=True)) == grades
    features, _ = toy.everyone().features(toy.everyone().understand([first.project])[0])
    assert np.allclose(first.x, features[0, first.people], atol=1e-6)


def test_judgements_of_unknown_people_are_left_out():
    project = Project("P1", description="Ceph")
    strangers = [Judgement("P1", "nobody", 3), Judgement("P9", "E1", 3)]
    assert judged_projects(toy.everyone(), [project], strangers) == []
    (one,) = judged_projects(toy.everyone(), [project], [*strangers, Judgement("P1", "E1", 2)])
    assert one.grades.tolist() == [2]


def test_features_of_a_project_are_its_needs_by_weight():
    needs = (skillmatch.Need("a", "Ceph", weight=3), skillmatch.Need("b", "CUDA", weight=1))
    m = toy.everyone()
    (one,) = judged_projects(m, [Project("P", needs=needs)], [Judgement("P", "E1", 3)])
    raw = next(x.raw for x in m.match(Project("P", needs=needs), Options(top=None)).matches if x.profile.id == "E1")
    assert float(m.ranker.raw(one.x)[0]) == pytest.approx(raw, abs=1e-5)


def test_few_judgements_move_nothing(judged):
    fitted = fit_to_judgements(toy.everyone(), judged[: FEWEST_PROJECTS - 1], 0)
    assert fitted.ranker is toy.everyone().ranker
    assert (fitted.pipeline, fitted.figures, fitted.folds.rankers) == (None, None, ())
    nobody_fits = [replace(j, grades=j.grades * 0) for j in judged]
    assert fit_to_judgements(toy.everyone(), nobody_fits, 0).figures is None


@pytest.mark.parametrize("seed", [0, 1])
def test_a_correction_is_kept_only_where_it_ranks_no_worse(judged, seed):
    chance = np.random.default_rng(seed)
    noise = [replace(j, grades=chance.permutation(j.grades)) for j in judged]
    for given in (judged, noise):
        fitted = fit_to_judgements(toy.everyone(), given, seed)
        ranker, pipeline, figures = fitted.ranker, fitted.pipeline, fitted.figures
        kept = figures["ndcg@5_corrected"] >= figures["ndcg@5_shipped"]
        assert (pipeline is not None) is kept
        assert (ranker is not toy.everyone().ranker) is kept
        assert figures["judged_projects"] == len(given)
        low, high = figures["difference"][1:]
        assert low <= figures["difference"][0] <= high


def test_what_is_learned_does_not_depend_on_the_order_of_projects(judged):
    """Nor on which of them stand beside each other in the file: they are held out together by what they are."""
    chance = np.random.default_rng(5)
    noise = [replace(j, grades=chance.permutation(j.grades)) for j in judged]
    fitted = fit_to_judgements(toy.everyone(), noise, 0)
    for order in (chance.permutation(len(noise)), range(len(noise))[::-1]):
        other = fit_to_judgements(toy.everyone(), [noise[i] for i in order], 0)
        assert other.figures["ndcg@5_corrected"] == pytest.approx(fitted.figures["ndcg@5_corrected"], abs=1e-9)
        assert other.figures["difference"] == pytest.approx(fitted.figures["difference"], abs=1e-9)
        assert other.ranker.as_dict() == fitted.ranker.as_dict()


def test_a_correction_is_gentle_and_keeps_the_meaning_of_a_probability(judged):
    shipped = toy.everyone().ranker
    corrected, _ = training.learning._corrected(shipped, judged)
    x = np.vstack([j.x for j in judged])
    before, after = (r.probability(r.raw(x), 1) for r in (shipped, corrected))
    assert np.corrcoef(before, after)[0, 1] > 0.9
    assert abs(before.mean() - after.mean()) < 0.1
    # Still nothing counts against a person.
    assert {f: float(c) for f, c in zip(FEATURES, corrected.coef, strict=True) if c < 0} == {}
    assert np.array_equal(corrected.relevance, shipped.relevance)
    assert corrected.bars == shipped.bars
    assert f"{len(judged)} projects" in corrected.origin


def test_the_kept_pipeline_opens_without_trust(tmp_path):
    import skops.io

    rng = np.random.default_rng(0)
    x = rng.random((60, len(FEATURES))).astype(np.float32)
    grades = np.round(3 * x[:, 0])
    one, other = fit_ranker(x, grades), fit_ranker(x, grades)
    save_pipeline(tmp_path / "one.skops", one)
    save_pipeline(tmp_path / "other.skops", other)
    assert (tmp_path / "one.skops").read_bytes() == (tmp_path / "other.skops").read_bytes()
    assert skops.io.get_untrusted_types(file=tmp_path / "one.skops") == []
    again = skops.io.load(tmp_path / "one.skops", trusted=[])
    assert np.array_equal(again.predict_proba(x), one.predict_proba(x))
    save_pipeline(tmp_path / "third.skops", fit_ranker(x, 3 - grades))
    assert (tmp_path / "third.skops").read_bytes() != (tmp_path / "one.skops").read_bytes()


# --- learning from answers ------------------------------------------------------------------------------


def answer_judged(labels):
    projects = [Project(p["id"], description=p["description"]) for p in toy.projects()]
    return judged_projects(toy.everyone(), projects, [Judgement(*j) for j in toy.judgements()], labels)


def test_answers_are_learned_beside_judgements_never_measured_by():
    given = [
        Label("P3e", "E3", 3.0, 1.0),
        Label("P0f", "B0", 0.0, 0.5),
        Label("text-1", "E2", 3.0, 0.5, "Fusionner deux domaines Windows"),
        Label("P77", "E2", 3.0, 0.5),
        Label("P0f", "nobody", 3.0, 0.5),
    ]
    found = {j.project.id: j for j in answer_judged(given)}
    assert "P77" not in found, "a project that is gone and has no question"
    assert found["P0f"].answered.grades.tolist() == [0]
    assert found["P0f"].answered.weight.tolist() == [0.5]
    assert found["text-1"].project.description == "Fusionner deux domaines Windows"
    assert not found["text-1"].telling
    fitted = fit_to_judgements(toy.everyone(), list(found.values()), 0)
    assert fitted.figures["judged_projects"] == len(toy.TRADES)
    assert fitted.figures["answers"] == 3
    assert set(fitted.folds.of) == {j.project.id for j in found.values() if j.telling}


def test_few_answers_move_little_and_many_move_more():
    """The prior of CORRECTION_C: one answer of weight w moves a weight by about that times w, whatever it says."""
    judged = answer_judged([])
    worst = [Label(f"P{i}{'fe'[i % 2]}", f"E{i}", 0.0, 1.5) for i in range(len(toy.TRADES))]
    plain, _ = training.learning._corrected(toy.everyone().ranker, judged)

    def share(ranker: Ranker) -> np.ndarray:
        return ranker.coef / np.abs(ranker.coef).sum()

    moves = []
    for answers in (worst[:1], worst[:3], worst * 50):
        moved_by, _ = training.learning._corrected(toy.everyone().ranker, answer_judged(answers))
        assert "answers" in moved_by.origin
        moves.append(float(np.abs(share(moved_by) - share(plain)).max()))
    assert max(moves[:2]) < 0.02
    assert moves[-1] > max(moves[:2])


def test_without_judgements_answers_wait():
    labels = [Label(f"P{i}f", f"E{i}", 3.0, 1.0) for i in range(10)]
    projects = [Project(p["id"], description=p["description"]) for p in toy.projects()]
    fitted = fit_to_judgements(toy.everyone(), judged_projects(toy.everyone(), projects, [], labels), 0)
    assert (fitted.ranker, fitted.answers) == (toy.everyone().ranker, 0)


def test_training_learns_answers_from_the_file(trained):
    file = trained.data / "feedback.jsonl"
    feedback.add(file, "P1f", "E1", "accepted", rank=4)
    feedback.add(file, "P2f", "E2", "declined", reason="workload")
    feedback.add(file, "", "E3", "accepted", question="Revoir les commutateurs et le routage")
    second = run(trained)
    assert second.metrics["answers"] == 2
    assert second.promoted


# --- champion and challenger ----------------------------------------------------------------------------


def rival(matcher: Matcher, judgements) -> Rival:
    projects = [Project(p["id"], description=p["description"]) for p in toy.projects()]
    fitted = fit_to_judgements(matcher, judged_projects(matcher, projects, judgements), 0)
    return Rival(replace(matcher, ranker=fitted.ranker), fitted.folds)


def test_a_version_is_never_measured_by_what_it_learned(judged):
    fitted = fit_to_judgements(toy.everyone(), judged, 0)
    assert len(fitted.folds.rankers) == 5
    for j in judged:
        fold = fitted.folds.of[j.project.id]
        others = [k for k in judged if fitted.folds.of[k.project.id] != fold]
        again, _ = training.learning._corrected(toy.everyone().ranker, others)
        assert again.as_dict() == fitted.folds.unseen(j.project.id, fitted.ranker).as_dict()
    assert fitted.folds.unseen("never seen", fitted.ranker) is fitted.ranker


def test_folds_are_kept_with_a_version(judged, tmp_path):
    fitted = fit_to_judgements(toy.everyone(), judged, 0)
    assert Folds.load(tmp_path) is None
    fitted.folds.save(tmp_path)
    again = Folds.load(tmp_path)
    assert again.of == fitted.folds.of
    assert [r.as_dict() for r in again.rankers] == [r.as_dict() for r in fitted.folds.rankers]
    (tmp_path / "folds.json").write_text('{"of": {"P1": 9}, "rankers": []}')
    with pytest.raises(DamagedModelError):
        Folds.load(tmp_path)


def test_the_worse_of_two_is_found_on_the_same_projects():
    projects = [Project(p["id"], description=p["description"]) for p in toy.projects()]
    judgements = [Judgement(*j) for j in toy.judgements()]
    good, bad = rival(toy.everyone(), judgements), rival(toy.matcher(worse_people()), judgements)
    lost = duel(good, bad, projects, judgements, 0)
    assert lost.worse
    before, after, difference = lost.measures["ndcg@5"]
    assert before.mean > after.mean
    assert difference.high < 0
    assert difference.count == len(toy.TRADES)
    assert not duel(bad, good, projects, judgements, 0).worse
    assert not duel(good, good, projects, judgements, 0).worse
    # Whoever left is held against nobody: both are asked about the people that both know.
    fewer = rival(toy.matcher(toy.people(["welding"])), judgements)
    assert duel(good, fewer, projects, judgements, 0).measures["mrr"][2].difference == pytest.approx(0, abs=1e-9)


def test_with_too_few_judgements_another_encoder_is_kept_aside():
    projects = [Project(p["id"], description=p["description"]) for p in toy.projects()]
    judgements = [Judgement(*j) for j in toy.judgements()[:6]]
    here = Rival(toy.everyone(), Folds())
    encoder = HashingEncoder()
    encoder.fingerprint = "another"
    other = Rival(replace(toy.everyone(), encoder=encoder), Folds())
    same = duel(here, here, projects, judgements, 0)
    assert (same.worse, same.measures) == (False, {})
    assert "unjudged" in same.reason
    found = duel(here, other, projects, judgements, 0)
    assert found.worse
    assert "encoder" in found.reason


# --- what moved -----------------------------------------------------------------------------------------


def test_what_moved_names_people_ranks_and_parts():
    people = {p.id: p for p in toy.people()}
    better = replace(people["B1"], skills=people["E1"].skills, evidence=people["E1"].evidence)
    weaker = replace(people["E1"], skills=people["B1"].skills, evidence=people["B1"].evidence)
    come = Profile("N1", "New", "LAC", "asr", skills=(SkillClaim("TIG", 2),))
    others = [p for i, p in people.items() if i not in ("B1", "E1", "B9")]
    second = replace(toy.matcher([*others, better, weaker, come]), version="second")
    projects = [Project(p["id"], description=p["description"]) for p in toy.projects()]
    found = moved(toy.everyone(), second, projects)
    assert (found.added, found.changed, found.removed) == (("N1",), ("B1", "E1"), ("B9",))
    assert found.embedded == sum(len(p.skills) + len(p.evidence) for p in (better, weaker, come))
    assert {(f.project, f.before, f.after) for f in found.firsts} >= {("P1f", "E1", "B1"), ("P1e", "E1", "B1")}
    up = next(m for m in found.farthest if m.profile == "B1" and m.project.startswith("P1"))
    assert up.after == 1
    assert up.part in {"skill", "related skills", "evidence", "wording"}
    assert up.by > 0
    assert found.counts()["added"] == 1
    assert "B1" not in json.dumps(found.counts()), "history names nobody"
    nothing = moved(toy.everyone(), toy.everyone(), projects)
    assert (nothing.added, nothing.changed, nothing.removed, nothing.firsts, nothing.farthest) == ((),) * 5


def test_a_training_tells_what_moved(trained):
    toy.write_workspace(trained.root, toy.people(["welding"]))
    judged = trained.data / "judgements.csv"
    rows = [r for r in judged.read_text("utf-8").splitlines() if ",E9," not in r and ",B9," not in r]
    judged.write_text("\n".join(rows) + "\n", "utf-8")
    second = run(trained)
    assert second.moved.removed == ("B9", "E9")
    event = next(e for e in reversed(Store(trained.models).history()) if e["event"] == "trained")
    assert event["moved"]["removed"] == 2
    assert set(event["measures"]) == {"ndcg@5", "map", "mrr"}
    assert "E9" not in json.dumps(event)


def test_a_pipeline_of_another_scikit_learn_says_retrain(first, trained, tmp_path):
    store = Store(trained.models)
    version = store.current()
    manifest = store.verify(version)
    check_pipeline(store.folder(version), manifest)
    old = {**manifest, "libraries": {**manifest["libraries"], "scikit-learn": "0.19.2"}}
    with pytest.raises(FormatError, match=r"0\.19\.2") as caught:
        check_pipeline(store.folder(version), old)
    assert "skillmatch train" in caught.value.hint
    (tmp_path / "ranker.skops").write_bytes(b"PK no archive")
    with pytest.raises(DamagedModelError):
        check_pipeline(tmp_path, manifest)
    import skops.io

    skops.io.dump(Workspace(tmp_path), tmp_path / "ranker.skops")
    with pytest.raises(FormatError, match="Workspace"):
        check_pipeline(tmp_path, manifest)


# --- evaluation ---------------------------------------------------------------------------------------


def toy_evaluation(matcher: Matcher | None = None, judgements=None, **options):
    projects = [Project(p["id"], description=p["description"]) for p in toy.projects()]
    rows = [Judgement(*j) for j in (toy.judgements() if judgements is None else judgements)]
    return evaluate(matcher or toy.everyone(), projects, rows, **options)


def test_a_perfect_ranking_has_perfect_figures():
    found = toy_evaluation()
    assert (found.version, found.projects) == ("toy", 10)
    everything = found.groups["all"]
    assert everything["mrr"].mean == 1
    assert everything["need coverage"].mean == 1
    assert everything["ndcg@5"].mean > 0.9
    assert everything["mrr"].count == 10
    assert set(found.groups) >= {"all", "family: asr"}
    assert found.abstention["abstained where somebody fits"] == 0
    assert np.isnan(found.abstention["abstained where nobody fits"])
    for metric in everything.values():
        assert metric.low <= metric.mean <= metric.high


def test_a_bad_ranking_has_bad_figures():
    found = toy_evaluation(toy.matcher(worse_people()))
    assert found.groups["all"]["ndcg@5"].mean < 0.5
    difference = compare(found, toy_evaluation())["all"]["ndcg@5"]
    assert difference.difference < -0.3
    assert difference.high < 0
    assert compare(found, found)["all"]["ndcg@5"].difference == 0


def test_abstaining_where_nobody_fits_is_right():
    lab = toy.matcher(toy.people(["welding"]))
    nobody = [(f"P{toy.TRADES.index('welding')}f", "E1", 0)]
    found = toy_evaluation(lab, nobody)
    assert found.abstention["abstained where nobody fits"] == 1
    assert found.groups == {}


def test_people_may_be_narrowed():
    some = frozenset({"B0", "B1"})
    found = toy_evaluation(judgements=[("P0f", "E0", 3), ("P0f", "B0", 3), ("P0f", "B1", 0)], people=some)
    assert found.groups["all"]["mrr"].mean == 1


def test_nothing_to_evaluate():
    with pytest.raises(UsageError, match="judgements"):
        toy_evaluation(judgements=[("P77", "E0", 3)])


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Porter notre code de reconstruction sur GPU", "fr"),
        ("Port our reconstruction code to GPUs for the farm", "en"),
        ("L’équipe a besoin d'aide pour la ferme", "fr"),
        ("Nous cherchons de l'aide pour la ferme, we need help with the cluster of the lab", "mixed"),
        ("CUDA", "en"),
        ("", "en"),
    ],
)
def test_language(text, expected):
    assert language(text) == expected
