"""How suggestions spread over people, what short profiles lose, and the cap with its price."""

from __future__ import annotations

from dataclasses import replace

import pytest

import toy_world as toy
from skillmatch.matcher import Options
from skillmatch.records import Judgement, Profile, Project, SkillClaim
from skillmatch.training import capped, exposure

PROJECTS = [Project(p["id"], description=p["description"]) for p in toy.projects()]
JUDGEMENTS = [Judgement(*j) for j in toy.judgements()]


def test_the_first_places_of_the_toy_world_go_to_its_experts_evenly():
    found = exposure(toy.everyone(), PROJECTS, JUDGEMENTS, top=1)
    assert (found.top, found.projects, found.places) == (1, 20, 20)
    assert found.gini["people"] == pytest.approx(0.5)  # ten experts twice each, ten beginners never
    assert found.never == 0.5
    assert found.most_suggested == 0.5
    assert found.gini["labs"] == pytest.approx(0)
    families = {s.name: s for s in found.shares["families"]}
    assert (families["asr"].of_people, families["asr"].of_places, families["online"].of_places) == (0.5, 1.0, 0.0)
    languages = {s.name: s.of_places for s in found.shares["languages"]}
    assert languages["fr"] == 1.0
    for shares in found.shares.values():
        assert sum(s.of_people for s in shares) == pytest.approx(1)
        assert sum(s.of_places for s in shares) == pytest.approx(1)
    assert found.short is None, "nobody is judged like another"


def test_what_a_short_profile_loses_at_equal_skill():
    short = Profile("K1", "Short", "LAC", "asr", skills=(SkillClaim("stockage Ceph", 2),))
    world = toy.matcher([*toy.people(), short])
    judged = [Judgement("P1f", "E1", 3), Judgement("P1f", "K1", 3), Judgement("P2f", "E2", 3)]
    found = exposure(world, PROJECTS, judged)
    answer = world.match(PROJECTS[2], Options(top=None))
    rank = {m.profile.id: m.rank for m in answer.matches}
    assert found.short.mean == rank["K1"] - rank["E1"] > 0
    assert found.short.count == 1


def test_nobody_is_shown_more_often_than_the_cap():
    ceph = [Project(f"Q{i}", description="Exploiter un stockage objet distribué") for i in range(6)]
    everybody = list(toy.everyone().match_many(ceph, Options(top=20)))
    free = [replace(a, matches=a.matches[:2]) for a in everybody]
    first = free[0].matches[0].profile.id
    assert all(a.matches[0].profile.id == first for a in free)
    told = capped(everybody, top=2, most=3)
    shown = [m.profile.id for a in told.answers for m in a.matches]
    assert max(shown.count(i) for i in shown) == 3
    assert shown.count(first) == 3
    assert [a.matches[0].profile.id for a in told.answers[:3]] == [first] * 3
    for answer in told.answers:
        assert [m.rank for m in answer.matches] == list(range(1, len(answer.matches) + 1))
        assert [m.score for m in answer.matches] == sorted((m.score for m in answer.matches), reverse=True)
    before, after = (sum(m.score for a in some for m in a.matches) for some in (free, told.answers))
    assert told.price == pytest.approx(1 - after / before)
    assert told.price > 0
    assert told.moved + told.empty >= 3


def test_a_cap_that_nobody_reaches_changes_nothing():
    everybody = list(toy.everyone().match_many(PROJECTS, Options(top=20)))
    told = capped(everybody, top=2, most=1000)
    assert [a.matches for a in told.answers] == [a.matches[:2] for a in everybody]
    assert (told.moved, told.empty, told.price) == (0, 0, pytest.approx(0))
    assert capped([], 3, 1).answers == ()
