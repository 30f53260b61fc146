"""The group that covers one project best: who brings what, the next best groups, what is lost if somebody says no."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from ..records import Shortfall, Team
from .plan import assign, team_of
from .problem import Demand, Rules, Worker, layout
from .program import Program
from .solve import best_sets

#: How many next-best teams are shown.
NEXT_BEST = 2


@dataclass(frozen=True, slots=True)
class Refusal:
    """What becomes of the team without one member: the best other one, and what is lost of coverage with it."""

    id: str
    instead: tuple[str, ...]
    coverage_lost: float
    uncovered: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class TeamChoice:
    """The best team, the next best in order, a refusal for each member (in their order), and who could coordinate.

    ``links``: with how many of the others each member works already.
    """

    team: Team
    others: tuple[Team, ...]
    refusals: tuple[Refusal, ...]
    coordinator: str | None
    links: Mapping[str, int]
    infeasible: tuple[Shortfall, ...]


def best_team(
    workers: Sequence[Worker],
    demand: Demand,
    rules: Rules | None = None,
    links: Collection[frozenset[str]] = (),
) -> TeamChoice:
    """The team of at most ``demand.size`` people that covers a project's needs best, under the rules.

    ``links``: two ids each, people who work together already.
    """
    asked = replace(rules or Rules(), fair=False)
    first = assign(workers, [demand], asked, prices=False)
    team = first.teams[0]
    inside = [m.id for m in team.members]
    lay = layout([replace(w, capacity=min(1, w.capacity)) for w in workers], [demand], asked)
    kept = lay.demands[0]
    sets = best_sets(Program(lay, np.ones(1)), [kept.places(inside)], NEXT_BEST) if inside else []
    known = {m: sum(frozenset((m, o)) in links for o in inside if o != m) for m in inside}
    return TeamChoice(
        team=team,
        others=tuple(team_of(kept, [kept.people[c] for c in columns]) for columns in sets),
        refusals=tuple(_refusal(workers, demand, asked, team, who) for who in inside),
        coordinator=_coordinator(team, known),
        links=known,
        infeasible=first.infeasible,
    )


def _refusal(workers: Sequence[Worker], demand: Demand, rules: Rules, team: Team, who: str) -> Refusal:
    """The team is decided anew without them; those who stay need not be the same."""
    without = demand.only([c for c, p in enumerate(demand.people) if p != who])
    pairs = frozenset(p for p in rules.forced if p[1] != who)
    other = assign(workers, [without], replace(rules, forced=pairs), prices=False).teams[0]
    inside = {m.id for m in team.members}
    return Refusal(
        id=who,
        instead=tuple(m.id for m in other.members if m.id not in inside),
        coverage_lost=team.coverage - other.coverage,
        uncovered=tuple(n for n in other.uncovered if n not in team.uncovered),
    )


def _coordinator(team: Team, links: Mapping[str, int]) -> str | None:
    """The broadest cover, then the most existing links, then the score, then the id."""
    order = sorted(team.members, key=lambda m: (-len(m.covers), -links[m.id], -m.score, m.id))
    return order[0].id if order else None
