"""What a training moved: people, first places, ranks and the parts of a score behind them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from ..matcher import Matcher, Options
from ..metrics import Comparison, Interval
from ..records import Match, Project, Suggestion

#: Ranks that moved most, as many as anybody reads.
_FARTHEST = 10
#: A raw score that moved by less did not move; who changed rank all the same was overtaken.
_STILL = 0.01
#: Projects that are compared; more take longer than they tell.
MOST_PROJECTS = 200


@dataclass(frozen=True)
class First:
    """A project whose first person is another one now; None: nobody passed the bar."""

    project: str
    before: str | None
    after: str | None


@dataclass(frozen=True)
class Move:
    """Somebody's rank for a project. ``part``: what of their score moved most that way, ``by`` in raw score; "others":
    theirs stood still, those around it moved."""

    project: str
    profile: str
    before: int
    after: int
    part: str
    by: float


@dataclass(frozen=True)
class Moved:
    """``second`` against ``first``. ``embedded``: items of people added or changed. ``measures``: champion's mean,
    challenger's, difference; empty where nothing was measured."""

    first: str
    second: str
    added: tuple[str, ...]
    changed: tuple[str, ...]
    removed: tuple[str, ...]
    embedded: int
    projects: int
    firsts: tuple[First, ...]
    farthest: tuple[Move, ...]
    measures: Mapping[str, tuple[Interval, Interval, Comparison]]

    def counts(self) -> dict[str, object]:
        """What history keeps: how many, of whom nobody is named."""
        return {
            "added": len(self.added),
            "changed": len(self.changed),
            "removed": len(self.removed),
            "embedded": self.embedded,
            "projects": self.projects,
            "first_changed": len(self.firsts),
        }


def moved(
    first: Matcher,
    second: Matcher,
    projects: Sequence[Project],
    measures: Mapping[str, tuple[Interval, Interval, Comparison]] | None = None,
) -> Moved:
    """What differs between two versions: in people, by the hash of their content, and in answers to ``projects``."""
    was, now = ({p["id"]: p["hash"] for p in m.people} for m in (first, second))
    added = tuple(sorted(now.keys() - was.keys()))
    changed = tuple(sorted(i for i in now.keys() & was.keys() if now[i] != was[i]))
    place = {p["id"]: n for n, p in enumerate(second.people)}
    touched = {place[i] for i in (*added, *changed)}
    chosen = list(projects)[:MOST_PROJECTS]
    everybody = Options(top=None)
    firsts: list[First] = []
    moves: list[Move] = []
    for old, new in zip(first.match_many(chosen, everybody), second.match_many(chosen, everybody), strict=True):
        one, other = _first(old), _first(new)
        if one != other:
            firsts.append(First(new.project.id, one, other))
        moves += _moves(old, new)
    # Near the top a rank counts more: from 2 to 1 is seen by everybody, from 40 to 30 by nobody.
    moves.sort(key=lambda m: (-abs(1 / m.after - 1 / m.before), -abs(m.by), m.project, m.profile))
    return Moved(
        first.version,
        second.version,
        added,
        changed,
        tuple(sorted(was.keys() - now.keys())),
        sum(int(owner) in touched for owner in second.index.owner),
        len(chosen),
        tuple(firsts),
        tuple(moves[:_FARTHEST]),
        measures or {},
    )


def _first(answer: Suggestion) -> str | None:
    return None if answer.abstained or not answer.matches else answer.matches[0].profile.id


def _moves(old: Suggestion, new: Suggestion) -> list[Move]:
    """The ranks of everybody in both answers, where they changed; among those in both, as people come and go."""
    before = {m.profile.id: m for m in old.matches}
    after = {m.profile.id: m for m in new.matches}
    ranks = [
        {i: n for n, i in enumerate((i for i in matches if i in before and i in after), start=1)}
        for matches in (before, after)
    ]
    return [
        Move(new.project.id, i, ranks[0][i], rank, *_because(before[i], after[i], rank < ranks[0][i]))
        for i, rank in ranks[1].items()
        if rank != ranks[0][i]
    ]


def _because(old: Match, new: Match, up: bool) -> tuple[str, float]:
    """The part of the score that moved most in the direction of the rank; "others" where none did."""
    was, now = _parts(old), _parts(new)
    sign = 1 if up else -1
    difference = {part: now[part] - was.get(part, 0.0) for part in now}
    part = max(difference, key=lambda p: (sign * difference[p], p), default="")
    if not part or sign * difference[part] < _STILL:
        return "others", 0.0
    return part, difference[part]


def _parts(match: Match) -> dict[str, float]:
    """Part -> what it adds to the raw score, the mean over needs."""
    out: dict[str, float] = {}
    for reason in match.needs:
        for part, value in reason.parts.items():
            out[part] = out.get(part, 0.0) + value / len(match.needs)
    return out
