"""What the pictures and sheets of a plan show, as plain figures: who answers which need, loads, links, gaps."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from .plans import Entry, Planned, reason

#: A map of more people than this, or needs than this in all, nobody reads: of more, those least covered are drawn.
MOST_PEOPLE, MOST_NEEDS = 60, 240
#: Needs of one map: so many go on a sheet of paper.
_NEEDS = 26


@dataclass(frozen=True, slots=True)
class NeedLine:
    """One need of a project. ``scores``: person -> probability, of candidates above the project's bar alone."""

    need: Entry
    team: frozenset[str]
    scores: Mapping[str, float]


@dataclass(frozen=True, slots=True)
class HeatMap:
    """Needs by project against people (ids, columns in this order)."""

    people: tuple[str, ...]
    groups: tuple[tuple[Entry, tuple[NeedLine, ...]], ...]


@dataclass(frozen=True, slots=True)
class Load:
    """The projects of one person; ``room``: how many there could be at most."""

    who: str
    lab: str
    projects: tuple[Entry, ...]
    room: int


@dataclass(frozen=True, slots=True)
class Hole:
    """Something a project asks for and doesn't get. ``need`` is None where it is no need that is missing; ``others``:
    (person, score) of those who could cover it and are not in the team, best first."""

    project: Entry
    need: Entry | None
    why: str
    hard: bool
    others: tuple[tuple[str, float], ...] = ()


def heat_maps(plan: Planned) -> list[HeatMap]:
    """Maps of all needs, in the order of the plan, against everybody who has a project, by lab.

    Where that is too much, those of the projects least covered, each map against its own members and alternates.
    """
    groups = [(project, list(lines(plan, project))) for project in plan["projects"]]
    everybody = _by_lab(plan, plan["loads"])
    if not everybody:
        return []
    if len(everybody) <= MOST_PEOPLE and sum(len(own) for _, own in groups) <= MOST_NEEDS:
        return [HeatMap(everybody, part) for part in _parts(groups)]
    worst = sorted(groups, key=lambda group: group[0]["coverage"])
    found = []
    for part in _parts(worst)[: MOST_NEEDS // _NEEDS]:
        own = {m["profile"]: None for p, _ in part for m in (*p["members"], *p["alternates"])}
        found.append(HeatMap(_by_lab(plan, list(own)[:MOST_PEOPLE]), part))
    return found


def _by_lab(plan: Planned, people: Iterable[str]) -> tuple[str, ...]:
    return tuple(sorted(people, key=lambda who: (plan.people[who].lab or "~", who)))


def _parts(groups: Sequence[tuple[Entry, list[NeedLine]]]) -> list[tuple[tuple[Entry, tuple[NeedLine, ...]], ...]]:
    """``groups`` in as few parts of ``_NEEDS`` needs at most as can be, of about as many each; a project is cut only
    where it alone has more."""
    filled = _filled(groups, _NEEDS)
    if not filled:
        return []
    return _filled(groups, math.ceil(sum(len(own) for _, own in groups) / len(filled)))


def _filled(
    groups: Sequence[tuple[Entry, list[NeedLine]]], enough: int
) -> list[tuple[tuple[Entry, tuple[NeedLine, ...]], ...]]:
    """Parts in order; one that has ``enough`` needs, or no room for the next project, is followed by another."""
    parts: list[list[tuple[Entry, tuple[NeedLine, ...]]]] = []
    used = _NEEDS
    for project, own in groups:
        for start in range(0, len(own), _NEEDS):
            piece = tuple(own[start : start + _NEEDS])
            if used >= enough or used + len(piece) > _NEEDS:
                parts.append([])
                used = 0
            parts[-1].append((project, piece))
            used += len(piece)
    return [tuple(part) for part in parts]


def lines(plan: Planned, project: Entry) -> Iterator[NeedLine]:
    """The needs of a project, in order."""
    demand = plan.demands[project["project"]]
    team = frozenset(m["profile"] for m in project["members"])
    for need, row in zip(project["needs"], demand.answers().tolist(), strict=True):
        yield NeedLine(need, team, {who: s for who, s in zip(demand.people, row, strict=True) if s > 0})


def loads(plan: Planned) -> list[Load]:
    """Everybody, by lab (those without one last), the busiest of each first."""
    found: dict[str, list[Entry]] = {who: [] for who in plan.people}
    for project in plan["projects"]:
        for member in project["members"]:
            found[member["profile"]].append(project)
    told = [Load(who, plan.people[who].lab or "", tuple(p), plan.room.get(who, len(p))) for who, p in found.items()]
    return sorted(told, key=lambda load: (not load.lab, load.lab, -len(load.projects), load.who))


def links(plan: Planned) -> Counter[tuple[str, str]]:
    """(lab of the project, lab of the person) -> places; a lab nobody named is ""."""
    return Counter((p.get("lab") or "", m["lab"] or "") for p in plan["projects"] for m in p["members"])


def holes(plan: Planned, lang: str) -> list[Hole]:
    """Every need nobody covers, and everything else that can't be met, by project in the order of the plan."""
    found: list[Hole] = []
    told: dict[str, list[Entry]] = {}
    for short in plan["infeasible"]:
        told.setdefault(short["project"], []).append(short)
    for project in plan["projects"]:
        shorts = told.get(project["project"], [])
        needs = {n["id"]: n for n in project["needs"]}
        able = {line.need["id"]: line.scores for line in lines(plan, project)} if project["uncovered"] else {}
        for need in project["uncovered"]:
            own = [s for s in shorts if s["need"] == need]
            why = "; ".join(reason(s, lang) for s in own)
            others = tuple(sorted(able[need].items(), key=lambda x: (-x[1], x[0])))
            found.append(Hole(project, needs[need], why, any(s["hard"] for s in own), others))
        rest = [s for s in shorts if s["need"] not in project["uncovered"]]
        found += [Hole(project, needs.get(s["need"] or ""), reason(s, lang), s["hard"]) for s in rest]
    return found
