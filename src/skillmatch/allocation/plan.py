"""The whole project list as one decision: who works on what, who could stand in, what is short, what rules cost."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from ..records import Assignment, Member, Need, Price, Shortfall, Team
from .problem import Demand, Floats, Layout, Rules, Worker, layout
from .solve import FEW, Solved, bound_of, decide

#: How many people who could stand in are named for a project.
ALTERNATES = 3
#: Rules that cost something, as they are told -> the rules without them.
_WITHOUT = {
    "min-labs": {"min_labs": 1},
    "min-families": {"min_families": 1},
    "forced": {"forced": frozenset()},
    "forbidden": {"forbidden": frozenset()},
    "preferred": {"liked": frozenset()},
    "fairness": {"fair": False},
}


def assign(
    workers: Sequence[Worker],
    demands: Sequence[Demand],
    rules: Rules | None = None,
    *,
    seconds: float = 300.0,
    prices: bool = True,
) -> Assignment:
    """The best assignment there is, in this order: as few hard rules broken as possible (must-needs uncovered, forced
    pairs, missing labs and families: one each); as few projects as possible with nothing; the worst-off of the others
    as well covered as can be, of what it could get alone; the most usefulness.

    Nobody gets more projects than their capacity, no project more people than its size. The answer doesn't depend on
    the order of the input; between people who are the same in everything, the first id goes. ``seconds``: about how
    long it may take where there are many pairs. ``prices``: say what each rule costs. Raises ``UsageError`` where an
    id is given twice.
    """
    asked = rules or Rules()
    lay = layout(workers, demands, asked)
    ceiling = ceilings(lay)
    solved = decide(lay, ceiling, seconds)
    chosen = _settle_ties(lay, solved.chosen)
    usefulness = _usefulness(lay, chosen)
    objective = usefulness + asked.bonus * float(lay.pair_liked[chosen].sum())
    room = max(0.0, solved.bound - objective)
    worst = _worst(lay, chosen, ceiling)
    return Assignment(
        teams=_teams(lay, chosen),
        loads=_loads(lay, chosen),
        usefulness=usefulness,
        objective=objective,
        worst=worst,
        worst_bound=worst if solved.proven else max(worst, solved.worst_bound),
        gap=0.0 if solved.proven or room <= 1e-6 else room / solved.bound,
        proven=solved.proven,
        prices=tuple(_prices(workers, demands, asked, usefulness, solved, seconds)) if prices else (),
        infeasible=tuple(_shortfalls(lay, chosen)),
    )


# --- what a project could get alone -------------------------------------------------------------------


def ceilings(lay: Layout) -> Floats:
    """(projects,): the best coverage each could have if it were the only one."""
    return np.array([_ceiling(d) for d in lay.demands], dtype=np.float64)


def _ceiling(demand: Demand) -> float:
    counted = demand.answers() * demand.share[:, None]
    useful = np.flatnonzero(counted.any(axis=0))
    if not len(useful):
        return 0.0
    counted = counted[:, useful]
    best = counted.max(axis=1)
    # Who is best at each need: few enough of them fit into the team.
    if len(set(counted.argmax(axis=1)[best > 0])) <= demand.size:
        return float(best.sum())
    kept = _unmatched(counted)
    return _best_cover(counted[:, kept], demand.size)


def _unmatched(counted: Floats) -> list[int]:
    """The columns that no other column equals or exceeds in everything."""
    order = np.argsort(-counted.sum(axis=0), kind="stable")
    kept: list[int] = []
    for column in order:
        if not any((counted[:, k] >= counted[:, column]).all() for k in kept):
            kept.append(int(column))
    return kept


def _best_cover(counted: Floats, size: int) -> float:
    """The largest sum of best values that ``size`` columns reach, by branch and bound."""
    n = counted.shape[1]
    # What the columns from each place on could still bring.
    rest = np.maximum.accumulate(counted[:, ::-1], axis=1)[:, ::-1]
    found = 0.0

    def search(place: int, left: int, best: Floats) -> None:
        nonlocal found
        found = max(found, float(best.sum()))
        for column in range(place, n):
            if not left or np.maximum(best, rest[:, column]).sum() <= found + 1e-12:
                return
            search(column + 1, left - 1, np.maximum(best, counted[:, column]))

    search(0, size, np.zeros(counted.shape[0]))
    return found


# --- what was decided ---------------------------------------------------------------------------------


def _members(lay: Layout, chosen: NDArray[np.bool_]) -> list[list[str]]:
    """The ids of each project's team, sorted."""
    out: list[list[str]] = [[] for _ in lay.demands]
    for pair in np.flatnonzero(chosen):
        out[lay.pair_project[pair]].append(lay.workers[lay.pair_worker[pair]].id)
    return [sorted(team) for team in out]


def _usefulness(lay: Layout, chosen: NDArray[np.bool_]) -> float:
    return float(sum(d.usefulness(t) for d, t in zip(lay.demands, _members(lay, chosen), strict=True)))


def _worst(lay: Layout, chosen: NDArray[np.bool_], ceiling: Floats) -> float:
    """The smallest share among projects that get something; 0 where none does."""
    coverage = [d.coverage(t) for d, t in zip(lay.demands, _members(lay, chosen), strict=True)]
    return min((c / top for c, top in zip(coverage, ceiling, strict=True) if c > 0), default=0.0)


def _loads(lay: Layout, chosen: NDArray[np.bool_]) -> dict[str, int]:
    count = Counter(lay.workers[i].id for i in lay.pair_worker[chosen])
    return dict(sorted(count.items()))


def _settle_ties(lay: Layout, chosen: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """In each team, people are replaced by those with a lower id who are the same in everything and have room."""
    out = chosen.copy()
    room = np.array([w.capacity for w in lay.workers]) - np.bincount(lay.pair_worker[out], minlength=len(lay.workers))
    start = np.concatenate([[0], np.cumsum([len(d.people) for d in lay.demands])])
    forced = set(lay.forced.tolist())
    for j, demand in enumerate(lay.demands):
        first = int(start[j])

        def same(pair: int, demand: Demand = demand, first: int = first) -> tuple[object, ...]:
            worker, column = lay.workers[lay.pair_worker[pair]], pair - first
            told = (worker.lab, worker.family, bool(lay.pair_liked[pair]), pair in forced)
            return (*told, float(demand.scores[column]), demand.need_scores[:, column].tobytes())

        for pair in range(first, int(start[j + 1])):  # people are sorted by id
            if out[pair] or room[lay.pair_worker[pair]] < 1:
                continue
            later = [q for q in range(pair + 1, int(start[j + 1])) if out[q] and same(q) == same(pair)]
            if later:
                last = later[-1]
                out[pair], out[last] = True, False
                room[lay.pair_worker[pair]] -= 1
                room[lay.pair_worker[last]] += 1
    return out


def team_of(demand: Demand, members: Iterable[str], others: Iterable[str] = ()) -> Team:
    """A team described: members by gain, then score, then id; the best of ``others`` as alternates."""
    team = sorted(members)
    worth = demand.usefulness(team)
    inside = [_member(demand, p, worth - demand.usefulness([q for q in team if q != p])) for p in team]
    outside = [_member(demand, p, demand.usefulness([*team, p]) - worth) for p in others]
    covered = demand.covered(team)
    return Team(
        project=demand.id,
        members=tuple(sorted(inside, key=lambda m: (-round(m.gain, 9), -m.score, m.id))),
        alternates=tuple(sorted(outside, key=lambda m: (-m.score, m.id))[:ALTERNATES]),
        uncovered=tuple(n.id for n, c in zip(demand.needs, covered, strict=True) if not c),
        coverage=demand.coverage(team),
        usefulness=worth,
    )


def _member(demand: Demand, person: str, gain: float) -> Member:
    column = demand.people.index(person)
    answered = demand.answers()[:, column] > 0
    covers = tuple(n.id for n, a in zip(demand.needs, answered, strict=True) if a)
    return Member(person, float(demand.scores[column]), covers, gain)


def _teams(lay: Layout, chosen: NDArray[np.bool_]) -> tuple[Team, ...]:
    loads = _loads(lay, chosen)
    free = {w.id for w in lay.workers if loads.get(w.id, 0) < w.capacity}
    out = []
    for demand, team in zip(lay.demands, _members(lay, chosen), strict=True):
        inside = set(team)
        order = sorted(range(len(demand.people)), key=lambda c: (-demand.scores[c], demand.people[c]))
        others = [demand.people[c] for c in order if demand.people[c] in free and demand.people[c] not in inside]
        out.append(team_of(demand, team, others[:ALTERNATES]))
    return tuple(out)


# --- what is short ------------------------------------------------------------------------------------


def topic(need: Need) -> str:
    """What needs of several projects are told to be the same by: the skill, else the words."""
    return need.skill or " ".join(need.text.casefold().split())


def _shortfalls(lay: Layout, chosen: NDArray[np.bool_]) -> Iterable[Shortfall]:
    """Everything that can't be met, project by project."""
    holders: dict[str, set[str]] = defaultdict(set)
    asking: dict[str, list[str]] = defaultdict(list)
    for demand in lay.demands:
        counted = demand.answers() > 0
        for k, need in enumerate(demand.needs):
            holders[topic(need)].update(demand.people[c] for c in np.flatnonzero(counted[k]))
            if demand.id not in asking[topic(need)]:
                asking[topic(need)].append(demand.id)
    room = {w.id: w.capacity for w in lay.workers}
    worker = {w.id: w for w in lay.workers}
    placed = set(zip(lay.pair_project[chosen].tolist(), lay.pair_worker[chosen].tolist(), strict=True))
    unplaced = list(lay.lost)
    unplaced += [
        (lay.demands[lay.pair_project[p]].id, lay.workers[lay.pair_worker[p]].id)
        for p in lay.forced.tolist()
        if (int(lay.pair_project[p]), int(lay.pair_worker[p])) not in placed
    ]
    for demand, team in zip(lay.demands, _members(lay, chosen), strict=True):
        for project, person in sorted(unplaced):
            if project == demand.id:
                yield Shortfall(demand.id, "forced", hard=True, people=(person,))
        rules = lay.rules
        if not demand.people:
            hard = rules.min_labs > 1 or rules.min_families > 1 or any(n.must for n in demand.needs)
            yield Shortfall(demand.id, "nobody", hard=hard)
            continue
        covered = demand.covered(team)
        for k in np.flatnonzero(~covered).tolist():
            need = demand.needs[k]
            who = tuple(sorted(holders[topic(need)]))
            short = sum(room[p] for p in who) < len(asking[topic(need)])
            # A need left out as the team is full is no shortage, unless it had to be covered.
            if need.must or short:
                kind = "need" if short else "room"
                yield Shortfall(demand.id, kind, need.must, need.id, who, tuple(asking[topic(need)]))
        labs = {worker[p].lab for p in team} - {""}
        families = {f for p in team if (f := worker[p].family)}
        for kind, least, found in (("labs", rules.min_labs, labs), ("families", rules.min_families, families)):
            if least > 1 and len(found) < least:
                yield Shortfall(demand.id, kind, hard=True, wanted=least, found=len(found))


# --- what rules cost ----------------------------------------------------------------------------------


def _prices(
    workers: Sequence[Worker],
    demands: Sequence[Demand],
    rules: Rules,
    usefulness: float,
    solved: Solved,
    seconds: float,
) -> Iterable[Price]:
    for name, change in _WITHOUT.items():
        other = replace(rules, **change)  # type: ignore[arg-type]
        if other == rules:
            continue
        lay = layout(workers, demands, other)
        if lay.pairs <= FEW:
            free = decide(lay, ceilings(lay), seconds)
            best, exact = _usefulness(lay, free.chosen), free.proven and solved.proven
        elif name == "fairness":
            best, exact = solved.bound, False
        else:
            best, exact = bound_of(lay, ceilings(lay), seconds), False
        if np.isfinite(best):
            yield Price(name, (best - usefulness) / best if best > 0 else 0.0, exact)
