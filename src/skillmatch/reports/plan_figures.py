"""What the pictures and sheets of a plan show, as plain figures: who answers which need, loads, links, gaps."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from .plans import Entry, Planned, reason

#: What one heat map of everything may have at most; above, each project gets one of its own people.
MOST_PEOPLE, MOST_CELLS = 60, 8000


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
class Hole:
    """Something a project asks for and doesn't get. ``need`` is None where it is no need that is missing."""

    project: Entry
    need: Entry | None
    why: str
    hard: bool


def heat_maps(plan: Planned) -> list[HeatMap]:
    """One map of all needs and everybody who has a project; of many, one for each project and its own people."""
    groups = [(p, tuple(_lines(plan, p))) for p in plan["projects"]]
    everybody = tuple(plan["loads"])
    cells = len(everybody) * sum(len(lines) for _, lines in groups)
    if len(everybody) <= MOST_PEOPLE and cells <= MOST_CELLS:
        return [HeatMap(everybody, tuple(groups))] if everybody and groups else []
    own = [(tuple(m["profile"] for m in (*p["members"], *p["alternates"])), (p, lines)) for p, lines in groups]
    return [HeatMap(people, (group,)) for people, group in own if people]


def _lines(plan: Planned, project: Entry) -> Iterator[NeedLine]:
    demand = plan.demands[project["project"]]
    team = frozenset(m["profile"] for m in project["members"])
    for need, row in zip(project["needs"], demand.answers().tolist(), strict=True):
        yield NeedLine(need, team, {who: s for who, s in zip(demand.people, row, strict=True) if s > 0})


def loads(plan: Planned) -> list[tuple[str, tuple[Entry, ...]]]:
    """(person, projects) of everybody who has one, most projects first."""
    found: dict[str, list[Entry]] = {}
    for project in plan["projects"]:
        for member in project["members"]:
            found.setdefault(member["profile"], []).append(project)
    return sorted(((who, tuple(what)) for who, what in found.items()), key=lambda x: (-len(x[1]), x[0]))


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
        for need in project["uncovered"]:
            own = [s for s in shorts if s["need"] == need]
            why = "; ".join(reason(s, lang) for s in own)
            found.append(Hole(project, needs[need], why, any(s["hard"] for s in own)))
        rest = [s for s in shorts if s["need"] not in project["uncovered"]]
        found += [Hole(project, needs.get(s["need"] or ""), reason(s, lang), s["hard"]) for s in rest]
    return found
