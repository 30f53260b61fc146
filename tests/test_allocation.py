"""Assignments and teams: against brute force on small cases, and in worlds whose right answer is obvious."""

from __future__ import annotations

import random
from itertools import combinations, product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from skillmatch.allocation import (
    Demand,
    Rules,
    Worker,
    assign,
    best_team,
    capacity,
    ceilings,
    keep_best,
    layout,
    scarce,
    solve,
)
from skillmatch.errors import UsageError
from skillmatch.records import Need


def demand(name, size, rows, *, must=(), weights=None, bar=0.1, skills=None, scores=None):
    """``rows``: person -> score of each need; their score for the project is the mean where none is given."""
    count = len(next(iter(rows.values()))) if rows else 1
    needs = tuple(
        Need(
            id=f"n{k + 1}",
            text=f"need {k + 1}",
            skill=skills[k] if skills else f"skill{k + 1}",
            weight=weights[k] if weights else 1,
            must=k in must,
        )
        for k in range(count)
    )
    people = tuple(rows)
    matrix = np.array([rows[p] for p in people], dtype=float).reshape(len(people), count).T
    own = [scores[p] for p in people] if scores else matrix.mean(axis=0) if people else []
    return Demand(name, size, needs, people, np.array(own, dtype=float), matrix, bar)


def team(found, project):
    return {m.id for t in found.teams if t.project == project for m in t.members}


def of(found, project):
    return next(t for t in found.teams if t.project == project)


# --- brute force --------------------------------------------------------------------------------------


def groups_missing(people, workers, least, attribute):
    return max(0, least - len({g for p in people if (g := getattr(workers[p], attribute))})) if least > 1 else 0


def judged(workers, demands, rules, teams):
    """(hard rules kept, projects with something, share of the worst-off, objective) of one assignment."""
    hard = 0
    fed, worst, objective = 0, 1.0, 0.0
    for d, people in zip(demands, teams, strict=True):
        covered = d.covered(people)
        hard += sum(bool(c) for n, c in zip(d.needs, covered, strict=True) if n.must)
        hard -= groups_missing(people, workers, rules.min_labs, "lab")
        hard -= groups_missing(people, workers, rules.min_families, "family")
        hard -= sum(q == d.id and p in d.people and p not in people for q, p in rules.forced - rules.forbidden)
        top = max(d.coverage(c) for k in range(d.size + 1) for c in combinations(allowed(d, workers, rules), k))
        got = d.coverage(people)
        if got > 0:
            fed += 1
            worst = min(worst, got / top)
        objective += d.usefulness(people) + rules.bonus * sum((d.id, p) in rules.liked for p in people)
    return hard, fed, worst if fed else 0.0, objective


def allowed(d, workers, rules):
    return [p for p in d.people if p in workers and workers[p].capacity and (d.id, p) not in rules.forbidden]


def every_assignment(workers, demands, rules):
    choices = [[c for k in range(d.size + 1) for c in combinations(allowed(d, workers, rules), k)] for d in demands]
    for teams in product(*choices):
        load = {}
        for p in (p for t in teams for p in t):
            load[p] = load.get(p, 0) + 1
        if all(n <= workers[p].capacity for p, n in load.items()):
            yield teams


GRID = st.sampled_from([0.0, 0.05, 0.2, 0.35, 0.5, 0.8, 0.95, 1.0])


@st.composite
def worlds(draw):
    names = [f"S{i}" for i in range(draw(st.integers(1, 4)))]
    workers = [
        Worker(n, draw(st.sampled_from(["", "LAC", "IPO"])), draw(st.sampled_from([None, "asr", "online"])),
               draw(st.integers(0, 2)))
        for n in names
    ]  # fmt: skip
    demands = []
    for j in range(draw(st.integers(1, 3))):
        k = draw(st.integers(1, 3))
        inside = [n for n in names if draw(st.booleans()) or draw(st.booleans())]
        rows = {n: draw(st.lists(GRID, min_size=k, max_size=k)) for n in inside} or {}
        must = [i for i in range(k) if draw(st.integers(0, 4)) == 0]
        weights = draw(st.lists(st.integers(1, 3), min_size=k, max_size=k))
        demands.append(demand(f"P{j}", draw(st.integers(1, 2)), rows, must=must, weights=weights) if rows
                       else demand(f"P{j}", 1, {}))  # fmt: skip
    pairs = st.frozensets(st.tuples(st.sampled_from([d.id for d in demands]), st.sampled_from(names)), max_size=2)
    rules = Rules(
        min_labs=draw(st.integers(1, 2)),
        min_families=draw(st.integers(1, 2)),
        forced=draw(pairs),
        forbidden=draw(pairs),
        liked=draw(pairs),
        fair=draw(st.booleans()),
    )
    return workers, demands, rules


@settings(max_examples=400, deadline=None, derandomize=True)
@given(worlds())
def test_brute_force_agrees(world):
    workers, demands, rules = world
    found = assign(workers, demands, rules, prices=False)
    by_id = {w.id: w for w in workers}
    keys = [judged(by_id, demands, rules, t) for t in every_assignment(by_id, demands, rules)]
    hard = max(k[0] for k in keys)
    keys = [k for k in keys if k[0] == hard]
    if rules.fair:
        fed = max(k[1] for k in keys)
        keys = [k for k in keys if k[1] == fed]
        worst = max(k[2] for k in keys)
        keys = [k for k in keys if k[2] >= worst - 1e-9]
    best = max(k[3] for k in keys)
    own = judged(by_id, demands, rules, [sorted(team(found, d.id)) for d in demands])
    assert own[0] == hard
    if rules.fair:
        assert own[1] == fed
        assert own[2] >= worst - 1e-5
        assert found.worst == pytest.approx(own[2])
    assert own[3] >= best - 1e-5
    assert found.objective == pytest.approx(own[3])
    assert found.gap == 0
    assert found.proven
    assert all(n <= by_id[p].capacity for p, n in found.loads.items())


@settings(max_examples=25, deadline=None, derandomize=True)
@given(worlds(), st.randoms(use_true_random=False))
def test_shuffled_input_same_answer(world, chance: random.Random):
    workers, demands, rules = world
    expected = assign(workers, demands, rules, prices=False)
    mixed = [d.only(range(len(d.people))) for d in demands]
    for d in mixed:
        order = list(range(len(d.people)))
        chance.shuffle(order)
        object.__setattr__(d, "people", tuple(d.people[c] for c in order))
        object.__setattr__(d, "scores", d.scores[order])
        object.__setattr__(d, "need_scores", d.need_scores[:, order])
    people = list(workers)
    chance.shuffle(people)
    chance.shuffle(mixed)
    assert assign(people, mixed, rules, prices=False) == expected


@settings(max_examples=40, deadline=None, derandomize=True)
@given(st.lists(st.lists(GRID, min_size=4, max_size=4), min_size=1, max_size=7), st.integers(1, 3))
def test_what_a_project_could_get_alone(rows, size):
    d = demand("P", size, {f"S{i}": r for i, r in enumerate(rows)}, weights=[3, 1, 2, 1])
    best = max(d.coverage(c) for k in range(size + 1) for c in combinations(d.people, k))
    lay = layout([Worker(p) for p in d.people], [d], Rules())
    assert ceilings(lay)[0] == pytest.approx(best)


# --- many pairs: relaxed first ------------------------------------------------------------------------


def a_lab(people, projects, seed, size=3):
    chance = np.random.default_rng(seed)
    workers = [Worker(f"S{i:03}", f"L{i % 5}", ("online", "offline", "asr")[i % 3], 2) for i in range(people)]
    levels = chance.random((people, 12)) * (chance.random((people, 12)) < 0.3)
    demands = []
    for j in range(projects):
        asked = chance.choice(12, 3, replace=False)
        rows = {w.id: levels[i, asked] for i, w in enumerate(workers) if levels[i, asked].any()}
        demands.append(demand(f"P{j:03}", size, rows, must=(0,) if j % 7 == 0 else ()))
    return workers, demands


def test_relaxed_first_is_near_and_says_how_near(monkeypatch):
    workers, demands = a_lab(20, 10, 1)
    rules = Rules(min_labs=2)
    exact = assign(workers, demands, rules, prices=False)
    monkeypatch.setattr(solve, "FEW", 0)
    near = assign(workers, demands, rules, prices=False)
    assert exact.proven
    assert not near.proven
    assert sum(s.hard for s in near.infeasible) == sum(s.hard for s in exact.infeasible)
    assert near.worst >= exact.worst - 0.1
    assert near.worst_bound >= exact.worst - 1e-6
    assert near.gap < 0.05
    # The bound it claims is one: no assignment exceeds it.
    free = assign(workers, demands, Rules(min_labs=2, fair=False), prices=False)
    assert near.objective <= free.objective + 1e-4
    assert near.objective / (1 - near.gap) >= exact.objective - 1e-4


def test_the_same_twice_and_shuffled_among_many(monkeypatch):
    monkeypatch.setattr(solve, "FEW", 0)
    workers, demands = a_lab(25, 12, 2)
    first = assign(workers, demands, Rules(), prices=False)
    assert assign(workers[::-1], demands[::-1], Rules(), prices=False) == first


def test_keeping_the_best_keeps_who_is_needed():
    workers, demands = a_lab(40, 10, 3)
    kept = [keep_best(d, 5) for d in demands]
    assert max(len(d.people) for d in kept) <= 20
    for before, after in zip(demands, kept, strict=True):
        assert after.answers().max(axis=1) == pytest.approx(before.answers().max(axis=1))
    whole, fewer = (assign(workers, given_, Rules(), prices=False) for given_ in (demands, kept))
    assert fewer.usefulness >= 0.98 * whole.usefulness
    rare = keep_best(demands[0], 1, always=[demands[0].people[-1]])
    assert demands[0].people[-1] in rare.people


# --- obvious worlds -----------------------------------------------------------------------------------


def test_a_team_covers_before_it_doubles():
    """Two experts of one need are worth less than one of each."""
    d = demand("P", 2, {"A": [0.9, 0.0], "B": [0.9, 0.0], "C": [0.0, 0.4]}, scores={"A": 0.9, "B": 0.9, "C": 0.3})
    found = assign([Worker("A"), Worker("B"), Worker("C")], [d])
    assert team(found, "P") == {"A", "C"}
    assert of(found, "P").coverage == pytest.approx(0.65)
    assert [(m.id, m.covers) for m in of(found, "P").members] == [("A", ("n1",)), ("C", ("n2",))]
    assert [a.id for a in of(found, "P").alternates] == ["B"]


def test_no_project_starves_for_a_better_sum():
    rows = {"A": [0.9], "B": [0.8]}
    rich = demand("P1", 2, rows)
    poor = demand("P2", 1, {"A": [0.1]})
    people = [Worker("A"), Worker("B")]
    fair = assign(people, [rich, poor])
    assert team(fair, "P1") == {"B"}
    assert team(fair, "P2") == {"A"}
    greedy = assign(people, [rich, poor], Rules(fair=False))
    assert team(greedy, "P1") == {"A", "B"}
    price = next(p for p in fair.prices if p.rule == "fairness")
    assert price.exact
    assert price.share == pytest.approx(1 - fair.usefulness / greedy.usefulness)


def test_one_who_must_starve_does_not_switch_fairness_off():
    """S07 alone holds what two projects ask for: one gets nothing, and the others share fairly."""
    people = [Worker("S07"), Worker("A"), Worker("B")]
    demands = [
        demand("P1", 1, {"S07": [0.9]}),
        demand("P2", 1, {"S07": [0.9]}),
        demand("P3", 1, {"A": [0.9], "B": [0.5]}),
        demand("P4", 1, {"A": [0.9], "B": [0.2]}),
    ]
    found = assign(people, demands)
    assert sum(bool(team(found, p)) for p in ("P1", "P2")) == 1
    assert team(found, "P3") == {"B"}
    assert team(found, "P4") == {"A"}
    assert found.worst == pytest.approx(0.5 / 0.9)


def test_must_needs_come_first():
    people = [Worker("A"), Worker("B")]
    demands = [demand("P1", 1, {"A": [0.95]}), demand("P2", 1, {"A": [0.2], "B": [0.05]}, must=(0,))]
    found = assign(people, demands)
    assert team(found, "P2") == {"A"}
    assert team(found, "P1") == set()
    assert not any(s.hard for s in found.infeasible)


def test_the_shortfall_is_named():
    people = [Worker("S07"), Worker("S08")]
    storage = [demand(f"P{j}", 1, {"S07": [0.9], "S08": [0.05]}, must=(0,), skills=["storage"]) for j in range(3)]
    found = assign(people, [*storage, demand("P9", 1, {})], Rules())
    short = [s for s in found.infeasible if s.kind == "need"]
    assert len(short) == 2
    assert {s.people for s in short} == {("S07",)}
    assert {s.projects for s in short} == {("P0", "P1", "P2")}
    assert all(s.hard for s in short)
    assert [(s.project, s.kind, s.hard) for s in found.infeasible if s.project == "P9"] == [("P9", "nobody", False)]


def test_a_full_team_is_no_shortage():
    d = demand("P", 1, {"A": [0.9, 0.0], "B": [0.0, 0.8]})
    found = assign([Worker("A"), Worker("B")], [d])
    assert of(found, "P").uncovered == ("n2",)
    assert found.infeasible == ()


def test_labs_families_and_what_they_cost():
    people = [Worker("A", "LAC", "asr"), Worker("B", "LAC", "asr"), Worker("C", "IPO", "online")]
    rows = {"A": [0.9, 0.1], "B": [0.1, 0.9], "C": [0.3, 0.3]}
    free = assign(people, [demand("P", 2, rows)])
    assert team(free, "P") == {"A", "B"}
    for rules, name in ((Rules(min_labs=2), "min-labs"), (Rules(min_families=2), "min-families")):
        found = assign(people, [demand("P", 2, rows)], rules)
        assert "C" in team(found, "P")
        price = next(p for p in found.prices if p.rule == name)
        assert price.share == pytest.approx((free.usefulness - found.usefulness) / free.usefulness)
        assert price.share > 0.1
    short = assign(people, [demand("P", 2, rows)], Rules(min_labs=3)).infeasible
    assert [(s.kind, s.hard, s.wanted, s.found) for s in short] == [("labs", True, 3, 2)]


def test_forced_and_forbidden():
    people = [Worker("A"), Worker("B"), Worker("C")]
    demands = [demand("P1", 1, {"A": [0.9], "B": [0.5]}), demand("P2", 1, {"A": [0.8], "B": [0.4]})]
    rules = Rules(forced=frozenset({("P1", "B")}), forbidden=frozenset({("P2", "A")}))
    found = assign(people, demands, rules)
    assert (team(found, "P1"), team(found, "P2")) == ({"B"}, set())
    assert {p.rule for p in found.prices} == {"forced", "forbidden", "fairness"}
    for forced in ({("P1", "C")}, {("P1", "A"), ("P2", "A")}, {("P1", "Z")}):
        found = assign(people, demands, Rules(forced=frozenset(forced)))
        assert [(s.kind, s.hard) for s in found.infeasible if s.kind == "forced"] == [("forced", True)]
        assert sum(len(t.members) for t in found.teams) == 2  # the rest is decided all the same


def test_what_is_preferred_decides_between_equals_only():
    people = [Worker("A"), Worker("B"), Worker("C")]
    d = demand("P", 1, {"A": [0.5], "B": [0.5], "C": [0.9]})
    assert team(assign(people[:2], [d]), "P") == {"A"}  # ties by id
    assert team(assign(people[:2], [d], Rules(liked=frozenset({("P", "B")}))), "P") == {"B"}
    assert team(assign(people, [d], Rules(liked=frozenset({("P", "B")}))), "P") == {"C"}


def test_capacity():
    assert [capacity(a, 2) for a in (None, 100, 99, 50, 10, 0)] == [2, 2, 1, 1, 1, 0]
    assert [capacity(a, 10) for a in (30, 70, 5)] == [3, 7, 1]
    rows = {"A": [0.9]}
    found = assign([Worker("A", capacity=2)], [demand(f"P{j}", 1, rows) for j in range(3)])
    assert found.loads == {"A": 2}
    nobody = assign([Worker("A", capacity=0)], [demand("P", 1, rows)])
    assert nobody.loads == {}
    assert [s.kind for s in nobody.infeasible] == ["nobody"]


def test_nothing_at_all():
    found = assign([], [])
    assert (found.teams, found.loads, found.objective, found.gap) == ((), {}, 0.0, 0.0)


def test_what_makes_no_sense_is_refused():
    with pytest.raises(UsageError, match="more than one project 'P'"):
        assign([Worker("A")], [demand("P", 1, {"A": [1.0]})] * 2)
    with pytest.raises(UsageError, match="more than one person 'A'"):
        assign([Worker("A"), Worker("A")], [])
    with pytest.raises(ValueError, match="no probabilities"):
        demand("P", 1, {"A": [1.5]})
    with pytest.raises(ValueError, match="no probabilities"):
        demand("P", 1, {"A": [float("nan")]})
    with pytest.raises(ValueError, match="asks for 0 people"):
        demand("P", 0, {"A": [0.5]})


# --- teams --------------------------------------------------------------------------------------------


def test_the_best_team_and_what_each_is_to_it():
    rows = {"A": [0.9, 0.0, 0.2], "B": [0.0, 0.8, 0.0], "C": [0.0, 0.0, 0.7], "D": [0.5, 0.0, 0.0]}
    people = [Worker(p, lab) for p, lab in zip(rows, ("LAC", "LAC", "LAC", "IPO"), strict=True)]
    found = best_team(people, demand("P", 3, rows), links={frozenset(("B", "C")), frozenset(("B", "A"))})
    assert [m.id for m in found.team.members] == ["A", "B", "C"]
    assert found.team.uncovered == ()
    assert found.coordinator == "A"  # the broadest cover
    assert found.links == {"A": 1, "B": 2, "C": 1}
    lost = {r.id: r for r in found.refusals}
    assert lost["A"].instead == ("D",)
    assert lost["A"].coverage_lost == pytest.approx(0.4 / 3)
    assert lost["B"].uncovered == ("n2",)
    assert all({m.id for m in t.members} != {"A", "B", "C"} for t in found.others)
    assert {m.id for m in found.others[0].members} == {"B", "C", "D"}
    across = best_team(people, demand("P", 3, rows), Rules(min_labs=2))
    assert "D" in {m.id for m in across.team.members}


@settings(max_examples=25, deadline=None, derandomize=True)
@given(st.lists(st.lists(GRID, min_size=3, max_size=3), min_size=3, max_size=6), st.integers(1, 3))
def test_next_best_teams_are_the_next_best(rows, size):
    d = demand("P", size, {f"S{i}": r for i, r in enumerate(rows)})
    people = [Worker(p) for p in d.people]
    found = best_team(people, d)
    own = [{m.id for m in t.members} for t in (found.team, *found.others)]
    pool = [set(c) for k in range(size + 1) for c in combinations(d.people, k)]
    for place, chosen in enumerate(own):
        left = [c for c in pool if not any(before <= c for before in own[:place])]
        assert chosen in left
        assert d.usefulness(chosen) == pytest.approx(max(map(d.usefulness, left)), abs=1e-5)


def test_nobody_is_no_team():
    found = best_team([Worker("A")], demand("P", 2, {}))
    assert found.team.members == ()
    assert found.coordinator is None
    assert found.others == ()


# --- gaps ---------------------------------------------------------------------------------------------


def test_scarce_skills():
    people = [Worker("A", "LAC"), Worker("B", "LAC"), Worker("C", "IPO")]
    scores = {
        "none": np.array([0.1, 0.4, 0.2]),
        "one": np.array([0.9, 0.4, 0.0]),
        "lab": np.array([0.9, 0.8, 0.3]),
        "all": np.array([0.9, 0.8, 0.7]),
    }
    found = {s.topic: s for s in scarce(people, scores)}
    assert list(found) == ["none", "one", "lab"]
    assert [p for p, _ in found["none"].closest] == ["B", "C", "A"]
    assert found["one"].holders == (("A", 0.9),)
    assert [p for p, _ in found["one"].closest] == ["B"]
    assert [p for p, _ in found["lab"].closest] == ["C"]
