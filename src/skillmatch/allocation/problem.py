"""What is decided: who may work on what, how well they would do, and the rules; checked and laid out as arrays."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import UsageError
from ..records import Need

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Pair = tuple[str, str]

#: What a person adds to a team by being in it, beside the needs they answer best: this times their score. Small, so
#: that a team covers its needs first and only then takes the best of those left.
HAND = 0.1


@dataclass(frozen=True, slots=True)
class Worker:
    """Somebody who can be assigned. ``capacity``: to how many projects at most."""

    id: str
    lab: str = ""
    family: str | None = None
    capacity: int = 1


@dataclass(frozen=True, eq=False)
class Demand:
    """One project: what it needs, how many people at most, and who may be assigned to it.

    ``people`` are the ids of the candidates: those who pass the project's bar. ``scores`` (people,) and
    ``need_scores`` (needs, people) are probabilities in [0, 1]. A need counts as covered from ``bar`` on; what somebody
    scores below it counts as nothing. Raises ``ValueError`` where shapes or ranges disagree.
    """

    id: str
    size: int
    needs: tuple[Need, ...]
    people: tuple[str, ...]
    scores: Floats
    need_scores: Floats
    bar: float = 0.1

    def __post_init__(self) -> None:
        n, k = len(self.people), len(self.needs)
        if self.size < 1 or not self.needs:
            raise ValueError(f"{self.id} asks for {self.size} people and has {k} needs")
        if self.scores.shape != (n,) or self.need_scores.shape != (k, n):
            raise ValueError(
                f"{self.id} has {k} needs and {n} people, but scores {self.scores.shape} and {self.need_scores.shape}"
            )
        if len(set(self.people)) != n:
            raise ValueError(f"{self.id} names a candidate twice")
        for given in (self.scores, self.need_scores):
            if given.size and not (given.min() >= 0 and given.max() <= 1):  # not a number is refused as well
                raise ValueError(f"{self.id} has scores that are no probabilities")

    @property
    def share(self) -> Floats:
        """Each need's part of the whole, (needs,), by weight; adds up to 1."""
        weight = np.array([n.weight for n in self.needs], dtype=np.float64)
        out: Floats = weight / weight.sum()
        return out

    def answers(self) -> Floats:
        """(needs, people): the scores that count, 0 below the bar."""
        return np.where(self.need_scores >= self.bar, self.need_scores, 0.0)

    def coverage(self, team: Iterable[str]) -> float:
        """How well a team covers the needs, in [0, 1]: each need by its best member, the mean by weight."""
        columns = self.places(team)
        best = self.answers()[:, columns].max(axis=1) if columns else np.zeros(len(self.needs))
        return float(self.share @ best)

    def usefulness(self, team: Iterable[str]) -> float:
        """What a team is worth: its coverage, and ``HAND`` times each member's score."""
        columns = self.places(team)
        return self.coverage(team) + HAND * float(self.scores[columns].sum())

    def covered(self, team: Iterable[str]) -> NDArray[np.bool_]:
        """(needs,): whether some member answers each need."""
        found: NDArray[np.bool_] = np.any(self.answers()[:, self.places(team)] > 0, axis=1)
        return found

    def places(self, team: Iterable[str]) -> list[int]:
        """The columns of a team; ids that are no candidates are left out."""
        wanted = set(team)
        return [i for i, person in enumerate(self.people) if person in wanted]

    def only(self, columns: Sequence[int] | Ints) -> Demand:
        """The same with these candidates alone, by id."""
        kept = sorted((int(c) for c in columns), key=lambda c: self.people[c])
        people = tuple(self.people[c] for c in kept)
        return replace(self, people=people, scores=self.scores[kept], need_scores=self.need_scores[:, kept])


@dataclass(frozen=True, slots=True)
class Rules:
    """What must hold (labs, families, forced and forbidden pairs of project and person), and what is preferred.

    ``liked`` pairs are worth ``bonus`` more each. ``fair``: first as few projects as possible with nothing, then the
    worst-off as well covered as can be.
    """

    min_labs: int = 1
    min_families: int = 1
    forced: frozenset[Pair] = frozenset()
    forbidden: frozenset[Pair] = frozenset()
    liked: frozenset[Pair] = frozenset()
    bonus: float = 0.02
    fair: bool = True


def capacity(availability: float | None, max_load: int) -> int:
    """To how many projects somebody may be assigned who has ``availability`` percent of their time for them.

    One assignment takes 1/``max_load`` of a full time, so a person at 50 % takes at most half of ``max_load``, rounded
    down; at least one where they have any time at all. Unknown (None) is full time.
    """
    if availability is None:
        return max_load
    return max(1, int(max_load * availability / 100 + 1e-9)) if availability > 0 else 0


def keep_best(demand: Demand, most: int, always: Iterable[str] = ()) -> Demand:
    """The ``most`` candidates who answer each need best, and the ``most`` best by score; ``always`` stay too."""
    if len(demand.people) <= most:
        return demand
    by_id = np.argsort(np.array(demand.people), kind="stable")
    kept = set(demand.places(always))
    for row in (demand.scores, *demand.answers()):
        best = by_id[np.argsort(-row[by_id], kind="stable")][:most]
        kept.update(int(i) for i in best if row[i] > 0)
    return demand.only(sorted(kept))


@dataclass(frozen=True, eq=False)
class Layout:
    """Everything as arrays, people and projects by id, so that the order of the input changes nothing.

    A *pair* is one candidate of one project; an *answer* one pair and one need that the person covers.
    """

    workers: tuple[Worker, ...]
    demands: tuple[Demand, ...]
    rules: Rules
    pair_project: Ints
    pair_worker: Ints
    pair_score: Floats
    pair_liked: NDArray[np.bool_]
    answer_pair: Ints
    answer_need: Ints  # counted over all projects
    answer_worth: Floats  # share of the need times the probability
    need_project: Ints
    need_must: NDArray[np.bool_]
    forced: Ints  # pairs
    lost: tuple[Pair, ...] = field(default=())  # forced pairs that can't be: unknown, forbidden, or no candidate

    @property
    def pairs(self) -> int:
        return len(self.pair_project)


def layout(workers: Sequence[Worker], demands: Sequence[Demand], rules: Rules) -> Layout:
    """Check and lay out. Raises ``UsageError`` for an id given twice; people without capacity are left out."""
    for kind, ids in (("person", [w.id for w in workers]), ("project", [d.id for d in demands])):
        twice = sorted({i for i in ids if ids.count(i) > 1}) if len(set(ids)) < len(ids) else []
        if twice:
            raise UsageError(f"There is more than one {kind} '{twice[0]}'.", "Give each an id of its own.")
    people = tuple(sorted(workers, key=lambda w: w.id))
    place = {w.id: i for i, w in enumerate(people) if w.capacity > 0}
    kept = []
    for demand in sorted(demands, key=lambda d: d.id):
        columns = [c for c, p in enumerate(demand.people) if p in place and (demand.id, p) not in rules.forbidden]
        kept.append(demand.only(columns))
    return _arrays(people, place, tuple(kept), rules)


def _arrays(people: tuple[Worker, ...], place: dict[str, int], demands: tuple[Demand, ...], rules: Rules) -> Layout:
    parts: dict[str, list[Any]] = {k: [] for k in ("project", "worker", "score", "pair", "need", "worth")}
    pairs = needs = 0
    pair_of: dict[Pair, int] = {}
    watched = rules.forced | rules.liked
    for j, demand in enumerate(demands):
        n = len(demand.people)
        parts["project"].append(np.full(n, j))
        parts["worker"].append(np.array([place[p] for p in demand.people], dtype=np.int64))
        parts["score"].append(demand.scores)
        pair_of.update({(demand.id, p): pairs + c for c, p in enumerate(demand.people) if (demand.id, p) in watched})
        counted = demand.answers()
        need, column = np.nonzero(counted)
        parts["pair"].append(pairs + column)
        parts["need"].append(needs + need)
        parts["worth"].append(demand.share[need] * counted[need, column])
        pairs += n
        needs += len(demand.needs)
    liked = np.zeros(pairs, dtype=bool)
    liked[[pair_of[p] for p in rules.liked if p in pair_of]] = True
    asked = {d.id for d in demands}
    forced = sorted(p for p in rules.forced if p[0] in asked)
    flat = [n for d in demands for n in d.needs]
    return Layout(
        workers=people,
        demands=demands,
        rules=rules,
        pair_project=_joined(parts["project"], np.int64),
        pair_worker=_joined(parts["worker"], np.int64),
        pair_score=_joined(parts["score"], np.float64),
        pair_liked=liked,
        answer_pair=_joined(parts["pair"], np.int64),
        answer_need=_joined(parts["need"], np.int64),
        answer_worth=_joined(parts["worth"], np.float64),
        need_project=np.repeat(np.arange(len(demands)), [len(d.needs) for d in demands]),
        need_must=np.array([n.must for n in flat], dtype=bool),
        forced=np.array([pair_of[p] for p in forced if p in pair_of], dtype=np.int64),
        lost=tuple(p for p in forced if p not in pair_of),
    )


def _joined(parts: list[Any], kind: Any) -> NDArray[Any]:
    return np.concatenate(parts).astype(kind) if parts else np.zeros(0, dtype=kind)
