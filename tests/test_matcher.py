"""The composer on a toy world: obvious questions get obvious answers, filters filter, what is saved comes back."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import date

import numpy as np
import pytest

import skillmatch
import toy_world as toy
from skillmatch.errors import DamagedModelError, NoModelError, UsageError
from skillmatch.explain import PROOF_BAR
from skillmatch.matcher import Items, Matcher, Options
from skillmatch.records import Evidence, Need, Profile, Project, SkillClaim, Suggestion

EVERYONE = Options(top=None)


@pytest.fixture(scope="module")
def world() -> Matcher:
    return toy.everyone()


def ids(answer: Suggestion) -> list[str]:
    return [m.profile.id for m in answer.matches]


def person(world: Matcher, need: str, who: str):
    return next(m for m in world.match(need, EVERYONE).matches if m.profile.id == who)


# --- obvious answers ----------------------------------------------------------------------------------


@pytest.mark.parametrize("trade", toy.TRADES)
def test_the_expert_comes_first_in_both_languages(world, trade):
    for text in (*toy.REQUESTS[trade], toy.taxonomy()[trade].label_en, toy.taxonomy()[trade].label_fr):
        answer = world.match(text)
        assert ids(answer)[0] == toy.expert(trade)
        assert not answer.abstained


@pytest.mark.parametrize("trade", toy.TRADES)
def test_of_the_beginners_the_trades_own_comes_first(world, trade):
    for text in toy.REQUESTS[trade]:
        ranked = ids(world.match(text, EVERYONE))
        assert ranked[0] == toy.expert(trade)
        assert next(i for i in ranked if i[0] == "B") == toy.beginner(trade)


def test_even_people_know_even_skills():
    """A checkerboard: even people know even trades, odd people odd ones."""
    even, odd = (", ".join(toy.taxonomy()[t].label_en for t in toy.TRADES[k:8:2]) for k in (0, 1))
    board = toy.matcher(
        Profile(f"S{i}", evidence=(Evidence(f"In charge of {even if i % 2 == 0 else odd}"),)) for i in range(8)
    )
    for k, trade in enumerate(toy.TRADES[:8]):
        ranked = ids(board.match(toy.taxonomy()[trade].label_fr, EVERYONE))
        assert {int(who[1]) % 2 for who in ranked[:4]} == {k % 2}


def test_two_needs_want_both(world):
    both = world.match(Project("P", needs=(Need("a", "Ceph"), Need("b", "CUDA"))), EVERYONE)
    assert set(ids(both)[:2]) == {toy.expert("ceph"), toy.expert("gpu")}
    assert [g.need for g in both.gaps] == []
    assert [r.need for r in both.matches[0].needs] == ["a", "b"]


def test_weights_weigh(world):
    for heavy, light in (("ceph", "gpu"), ("gpu", "ceph")):
        needs = (Need("a", toy.REQUESTS[heavy][0], weight=3), Need("b", toy.REQUESTS[light][0], weight=1))
        assert ids(world.match(Project("P", needs=needs)))[0] == toy.expert(heavy)


def test_proof_is_the_sentence_that_proves(world):
    answer = world.match("Exploiter un stockage objet distribué")
    proof = answer.matches[0].needs[0].evidence
    assert proof is not None
    texts = [e.text for p in toy.people() for e in p.evidence if p.id == toy.expert("ceph")]
    assert proof.text in [*texts, "Ceph", "stockage Ceph"]
    low = world.match("Exploiter un stockage objet distribué", EVERYONE).matches[-1].needs[0]
    assert low.score < PROOF_BAR
    assert low.evidence is None


def test_a_claim_is_shown_with_its_level():
    claims = toy.matcher(
        [Profile("A", skills=(SkillClaim("Ceph", 4),), source="profiles.csv:2"), *toy.people(["ceph"])]
    )
    proof = claims.match("Ceph").matches[0].needs[0].evidence
    assert (proof.text, proof.kind, proof.level, proof.source) == ("Ceph", "skill", 4, "profiles.csv:2")


def test_levels_tell_people_apart():
    levels = [Profile(f"S{n}", skills=(SkillClaim("Ceph", n),)) for n in (5, 4, 3, 2, 1)]
    ranked = toy.matcher([*levels, *toy.people(["ceph"])]).match("Ceph", EVERYONE)
    score = {m.profile.id: m.raw for m in ranked.matches}
    assert score["S4"] == pytest.approx(score["S5"])  # from 4 on, others ask them
    assert score["S4"] > score["S3"] > score["S2"] > score["S1"]


def test_old_evidence_counts_less():
    old, new = (
        Profile(who, evidence=(Evidence("Exploite un stockage objet distribué", date=day),))
        for who, day in (("OLD", date(2006, 1, 1)), ("NEW", date(2026, 1, 1)))
    )
    world = toy.matcher([old, new, *toy.people(["ceph"])])
    answer = {m.profile.id: m.raw for m in world.match("Ceph", EVERYONE).matches}
    assert answer["NEW"] > answer["OLD"]
    assert world.items.worth[world.index.owner == 15].tolist() != []


def test_age_is_measured_against_the_data_not_the_clock():
    """The same data gives the same model on any day; ``today`` says otherwise."""
    people = [
        Profile("A", skills=(SkillClaim("Ceph", 5, date(2016, 1, 1)),)),
        Profile("B", skills=(SkillClaim("CUDA", 5, date(2026, 1, 1)),)),
    ]
    model, levels = toy.models()
    for today, want in ((None, [0.5, 1.0]), (date(2036, 1, 1), [0.25, 0.5]), (date(2000, 1, 1), [1.0, 1.0])):
        made = Matcher.fit(people, toy.taxonomy(), toy.ENCODER, model, levels, today=today)
        assert made.items.worth == pytest.approx(want, abs=0.01)


def test_thin_profiles_are_said_to_be_thin():
    thin = toy.matcher([Profile("A", skills=(SkillClaim("Ceph"),)), *toy.people()]).match("Ceph", EVERYONE)
    told = {m.profile.id: m.thin for m in thin.matches}
    assert told["A"]
    assert not told[toy.expert("ceph")]
    assert not told[toy.beginner("ceph")]


# --- nobody fits --------------------------------------------------------------------------------------


def test_nobody_welds():
    lab = toy.matcher(toy.people(["welding"]))
    answer = lab.match("Souder une enceinte en inox, soudure TIG")
    assert answer.abstained
    assert answer.matches == ()
    assert [g.need for g in answer.gaps] == [n.id for n in answer.project.needs]
    assert answer.gaps[0].closest is not None
    everyone = lab.match("Souder une enceinte en inox, soudure TIG", EVERYONE)
    assert everyone.abstained
    assert len(everyone.matches) == 18


def test_a_gap_is_the_need_nobody_covers():
    lab = toy.matcher(toy.people(["welding"]))
    project = Project("P", needs=(Need("a", "Ceph", weight=3), Need("b", "Souder une enceinte en inox")))
    answer = lab.match(project, Options(min_score=0.5))
    assert [g.need for g in answer.gaps] == ["b"]
    assert 0 <= answer.gaps[0].best_score < 0.5


# --- options ------------------------------------------------------------------------------------------


def test_top(world):
    everyone = ids(world.match("Ceph", EVERYONE))
    assert len(everyone) == 20
    passing = ids(world.match("Ceph", Options(top=20)))
    assert passing == everyone[: len(passing)]
    for top in (1, 3):
        assert ids(world.match("Ceph", Options(top=top))) == passing[:top]
    assert [m.rank for m in world.match("Ceph", EVERYONE).matches] == list(range(1, 21))


def test_min_score(world):
    scores = [m.score for m in world.match("Ceph", EVERYONE).matches]
    assert scores == sorted(scores, reverse=True)
    assert all(0 <= s <= 1 for s in scores)
    bar = (scores[1] + scores[2]) / 2
    assert len(world.match("Ceph", Options(top=20, min_score=bar)).matches) == 2
    assert len(world.match("Ceph", Options(top=20, min_score=0)).matches) == 20
    assert world.match("Ceph", Options(min_score=1)).abstained


def test_other_labs_come_first(world):
    everyone = world.match("Ceph", EVERYONE)
    asked = world.match("Ceph", Options(top=None, from_lab="IPO"))
    assert [m.cross_lab for m in asked.matches] == [True] * 10 + [False] * 10
    for lab in toy.LABS:
        assert [i for i, m in zip(ids(asked), asked.matches, strict=True) if m.profile.lab == lab] == [
            m.profile.id for m in everyone.matches if m.profile.lab == lab
        ]
    # Scores are the same: only the order changes.
    assert {m.profile.id: m.raw for m in asked.matches} == {m.profile.id: m.raw for m in everyone.matches}


def test_a_projects_own_lab_marks_and_does_not_reorder(world):
    project = Project("P", description="Ceph", lab="IPO")
    answer = world.match(project, EVERYONE)
    assert ids(answer) == ids(world.match("Ceph", EVERYONE))
    assert all(m.cross_lab == (m.profile.lab != "IPO") for m in answer.matches)
    assert not any(m.cross_lab for m in world.match("Ceph", EVERYONE).matches)


def test_filters(world):
    everyone = ids(world.match("Ceph", EVERYONE))
    who = {p["id"]: p for p in world.people}

    def kept(**options: object) -> list[str]:
        return ids(world.match("Ceph", Options(top=None, **options)))

    assert kept(exclude=("E1", "B1")) == [i for i in everyone if i not in {"E1", "B1"}]
    assert kept(lab=("LAC",)) == [i for i in everyone if who[i]["lab"] == "LAC"]
    assert kept(lab=("LAC", "IPO")) == everyone
    assert kept(family=("online",)) == [i for i in everyone if who[i]["family"] == "online"]
    assert kept(lab=("LAC",), family=("asr",)) == [i for i in everyone if i[0] == "E" and int(i[1]) % 2 == 0]
    assert kept(family=("other",)) == []


def test_nobody_is_left_by_the_filters(world):
    answer = world.match("Ceph", Options(family=("other",)))
    assert answer.abstained
    assert answer.matches == ()
    assert [(g.need, g.best_score, g.closest) for g in answer.gaps] == [("n1", 0.0, None)]


@pytest.mark.parametrize("options", [{"lab": ("XYZ",)}, {"from_lab": "lac"}, {"family": ("boss",)}])
def test_unknown_filter_values_are_told(world, options):
    with pytest.raises(UsageError) as told:
        world.match("Ceph", Options(**options))
    assert "Known: " in told.value.hint


def test_must_leaves_out_who_cannot(world):
    plain, must = world.match("Ceph", EVERYONE), world.match("Ceph", Options(top=None, must=("CUDA",)))
    assert toy.expert("gpu") in ids(must)
    assert len(ids(must)) < len(ids(plain))
    for match in must.matches:
        assert match.needs[-1].score >= PROOF_BAR
    assert [n.must for n in must.project.needs] == [False, True]
    assert must.project.needs[-1].weight == 3


AVAILABLE = {
    "NOW": {},
    "LATER": {"available_from": date(2027, 1, 1)},
    "GONE": {"available_to": date(2026, 1, 1)},
    "SPELL": {"available_from": date(2026, 6, 1), "available_to": date(2026, 6, 30)},
    "NEVER": {"availability": 0},
    "HALF": {"availability": 50},
}


@pytest.mark.parametrize(
    ("start", "end", "free"),
    [
        (None, None, "NOW LATER GONE SPELL HALF"),
        (date(2026, 6, 30), None, "NOW LATER SPELL HALF"),
        (date(2026, 7, 1), None, "NOW LATER HALF"),
        (None, date(2026, 1, 1), "NOW GONE HALF"),
        (date(2026, 1, 2), date(2026, 5, 31), "NOW HALF"),
        (date(2026, 6, 15), date(2026, 6, 20), "NOW SPELL HALF"),
    ],
)
def test_availability(start, end, free):
    lab = toy.matcher(Profile(who, skills=(SkillClaim("Ceph", 5),), **when) for who, when in AVAILABLE.items())
    asked = Options(top=None, available_from=start, available_to=end)
    assert set(ids(lab.match("Ceph", asked))) == set(free.split())
    # A project's own days say the same; the flags come before them.
    project = Project("P", description="Ceph", start=start, end=end)
    assert set(ids(lab.match(project, EVERYONE))) == set(free.split())
    if start is not None:
        other = replace(project, start=date(2040, 1, 1), end=None)
        assert set(ids(lab.match(other, asked))) == set(free.split())


# --- questions ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("text", ["", " ", "\n\t"])
def test_an_empty_need(world, text):
    with pytest.raises(UsageError, match="empty"):
        world.match(text)


@pytest.mark.parametrize("text", ["a\x00b", "x" * 30_000, "half \udcff"])
def test_a_need_that_is_no_text(world, text):
    with pytest.raises(UsageError, match="can't be read"):
        world.match(text)


def test_a_project_is_answered_as_its_text(world):
    text, project = world.match("CUDA, Ceph"), world.match(Project("P9", title="CUDA, Ceph"))
    assert [(m.profile, m.raw) for m in text.matches] == [(m.profile, m.raw) for m in project.matches]
    assert (text.project.id, project.project.id, text.model) == ("need", "P9", "toy")


def test_many_are_streamed(world):
    """Answers come block by block, long before the last project is known."""
    seen: list[int] = []

    def projects() -> Iterator[str]:
        for i in range(10):
            seen.append(i)
            yield "Ceph"

    answers = world.match_many(projects(), block=3)
    next(answers)
    assert len(seen) == 3
    assert len(list(answers)) == 9
    assert list(world.match_many([])) == []


def test_a_wrong_option_is_told_before_any_answer(world):
    with pytest.raises(UsageError):
        next(world.match_many(["Ceph"], Options(lab=("XYZ",))))


def test_people_by_id(world):
    assert world.people[world.person("E3")]["id"] == "E3"
    with pytest.raises(UsageError, match="XX3") as told:
        world.person("XX3")
    assert "E3" in told.value.hint or "B3" in told.value.hint


def test_links(world):
    (first, second) = world.link(["Ceph", "Entraîner un réseau de neurones"], top=3)
    assert first[0][0] == "ceph"
    assert second[0][0] == "learning"
    assert len(first) == 3
    assert [p for _, p in first] == sorted((p for _, p in first), reverse=True)


def test_labels(world):
    assert world.labels["ceph"] == ("Ceph storage", "stockage Ceph")


# --- building -----------------------------------------------------------------------------------------


def test_nobody_to_match():
    for people in ([], [Profile("A", skills=(SkillClaim("x"),), consent=False)]):
        with pytest.raises(UsageError, match="nobody to match"):
            toy.matcher(people)


def test_items_are_claims_and_sentences_in_order():
    profile = Profile(
        "A",
        skills=(SkillClaim("Ceph", 4), SkillClaim("CUDA", source="skills.csv:3")),
        evidence=(Evidence("Wörds, 10 % – “quoted”\nand a line", "project", source="profiles.csv:9"),),
        source="profiles.csv:2",
    )
    items = toy.matcher([profile]).items
    assert [(p.text, p.kind, p.source, p.level) for p in map(items.proof, range(3))] == [
        ("Ceph", "skill", "profiles.csv:2", 4),
        ("CUDA", "skill", "skills.csv:3", None),
        ("Wörds, 10 % – “quoted”\nand a line", "project", "profiles.csv:9", None),
    ]
    assert items.worth[0] == 1
    assert items.worth[1] == 0.5
    assert Items.build([("a", "b", "c")], np.ones(1, np.float32), [0]).proof(0).source == "c"


def test_a_source_may_hold_anything():
    """A file name is not checked as a record's text is."""
    strange = "profils\x1f2026.csv:3"
    items = toy.matcher([Profile("A", skills=(SkillClaim("Ceph"),), source=strange)]).items
    assert items.proof(0).text == "Ceph"


def test_progress_counts_items():
    seen: list[int] = []
    model, levels = toy.models()
    Matcher.fit(toy.people(), toy.taxonomy(), toy.ENCODER, model, levels, progress=seen.append)
    assert sum(seen) == sum(len(p.skills) + len(p.evidence) for p in toy.people())


# --- on disk ------------------------------------------------------------------------------------------


@pytest.fixture
def saved(world, tmp_path):
    world.save(tmp_path)
    return tmp_path


def test_what_is_saved_comes_back(world, saved):
    again = Matcher.load(saved, "toy", toy.ENCODER)
    questions = [*(r for both in toy.REQUESTS.values() for r in both), "CUDA, Ceph", "qqq zzz"]
    for options in (EVERYONE, Options(), Options(from_lab="LAC", must=("Ceph",))):
        assert list(world.match_many(questions, options)) == list(again.match_many(questions, options))
    assert again.people == world.people
    assert again.concepts == world.concepts


def test_arrays_are_mapped_not_read(saved):
    again = Matcher.load(saved, "toy", toy.ENCODER)
    assert isinstance(again.index.vectors, np.memmap)
    assert isinstance(again.items.blob, np.memmap)


def test_nothing_saved_can_run(saved):
    assert {p.suffix for p in saved.iterdir()} == {".npy", ".json"}
    for path in saved.glob("*.npy"):
        np.load(path, allow_pickle=False)


def test_a_missing_or_broken_part_is_named(saved):
    for name in ("items_vectors.npy", "people.json", "ranker.json", "words_weights.npy"):
        whole = (saved / name).read_bytes()
        for content in (None, b"", b"{", whole[: len(whole) // 2]):
            (saved / name).unlink(missing_ok=True)
            if content is not None:
                (saved / name).write_bytes(content)
            with pytest.raises(DamagedModelError, match=name):
                Matcher.load(saved, "toy", toy.ENCODER)
        (saved / name).write_bytes(whole)


# --- a workspace --------------------------------------------------------------------------------------


def test_load_without_a_model(tmp_path):
    toy.write_workspace(tmp_path)
    with pytest.raises(NoModelError) as told:
        skillmatch.load(tmp_path)
    assert "skillmatch train" in told.value.hint
    with pytest.raises(UsageError):
        skillmatch.load(tmp_path / "nowhere")


def test_load_the_sample_lab(trained_lab):
    matcher = skillmatch.load(trained_lab)
    assert matcher.version == (trained_lab / "models" / "CURRENT").read_text("utf-8").strip()
    answer = matcher.match("tune our Ceph cluster")
    assert answer.model == matcher.version
    assert not answer.abstained
    assert skillmatch.load(str(trained_lab), matcher.version).match("tune our Ceph cluster") == answer
    with pytest.raises(UsageError):
        skillmatch.load(trained_lab, "v000000000000")
