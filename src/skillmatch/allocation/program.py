"""The decision as a mixed-integer linear program, for HiGHS by way of scipy.

Variables: x, a pair is assigned (the only ones that must be whole); y, an answer is what its need counts by; z, a lab
or family is in a team; slack, by how much a hard rule is missed; h, a project gets something; t, what the worst-off
gets of what it could get alone. Once x is whole, the best values of all others follow.

Every need counts by its best member: the facility-location form (Cornuéjols, Fisher & Nemhauser 1977), whose
relaxation is tight. The chance that at least one of several members can (1 - prod(1 - p)) would take them for
independent, while what makes a score wrong, a need misread, is common to all of them.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from .problem import HAND, Floats, Ints, Layout


@dataclass(frozen=True, eq=False)
class Rows:
    """Constraints ``low <= matrix @ variables <= high``, as triplets."""

    row: Ints
    column: Ints
    value: Floats
    low: Floats
    high: Floats

    @property
    def count(self) -> int:
        return len(self.low)


def _rows(row: Any, column: Any, value: Any, low: Any, high: Any, count: int) -> Rows:
    n = len(np.atleast_1d(row))
    return Rows(
        np.asarray(row, dtype=np.int64),
        np.asarray(column, dtype=np.int64),
        np.broadcast_to(np.asarray(value, dtype=np.float64), n),
        np.broadcast_to(np.asarray(low, dtype=np.float64), count),
        np.broadcast_to(np.asarray(high, dtype=np.float64), count),
    )


class Program:
    """The variables and constraints of a layout, and its objectives."""

    def __init__(self, lay: Layout, ceiling: Floats) -> None:
        self.lay = lay
        self.ceiling = ceiling
        self.x = np.arange(lay.pairs)
        self._next = lay.pairs
        self.upper: list[Floats] = [np.ones(lay.pairs)]
        self.y = self._new(len(lay.answer_pair))
        self.parts: list[Rows] = [self._loads(), self._sizes(), self._best(), self._only_members()]
        self.slack: list[Ints] = []
        self._groups(lay.rules.min_labs, [w.lab or None for w in lay.workers])
        self._groups(lay.rules.min_families, [w.family for w in lay.workers])
        self._forced()
        #: Projects that could get something.
        self.able = np.flatnonzero(ceiling > 0)
        self.h = self._new(len(self.able))
        self.t = int(self._new(1)[0])
        self.parts.append(self._fed())

    @property
    def width(self) -> int:
        """How many variables."""
        return self._next

    def _new(self, count: int, upper: float = 1.0) -> Ints:
        made = np.arange(self._next, self._next + count)
        if count:
            self.upper.append(np.full(count, upper))
        self._next += count
        return made

    # --- constraints ---

    def _loads(self) -> Rows:
        lay = self.lay
        capacity = np.array([w.capacity for w in lay.workers], dtype=np.float64)
        return _rows(lay.pair_worker, self.x, 1.0, -np.inf, capacity, len(capacity))

    def _sizes(self) -> Rows:
        size = np.array([d.size for d in self.lay.demands], dtype=np.float64)
        return _rows(self.lay.pair_project, self.x, 1.0, -np.inf, size, len(size))

    def _best(self) -> Rows:
        """A need counts by one answer at most."""
        return _rows(self.lay.answer_need, self.y, 1.0, -np.inf, 1.0, len(self.lay.need_project))

    def _only_members(self) -> Rows:
        """Only who is assigned answers."""
        n = len(self.y)
        row = np.arange(n)
        both = np.concatenate([self.y, self.lay.answer_pair])
        return _rows(np.tile(row, 2), both, np.repeat([1.0, -1.0], n), -np.inf, 0.0, n)

    def _groups(self, least: int, group_of: list[str | None]) -> None:
        """People from at least ``least`` groups, or a slack that says how many are missing."""
        if least <= 1:
            return
        names = {g: k for k, g in enumerate(sorted({g for g in group_of if g}))}
        group = np.array([names[g] if g else -1 for g in group_of], dtype=np.int64)[self.lay.pair_worker]
        known = np.flatnonzero(group >= 0)
        cells, of_cell = np.unique(
            self.lay.pair_project[known] * max(len(names), 1) + group[known], return_inverse=True
        )
        z = self._new(len(cells))
        slack = self._new(len(self.lay.demands), float(least))
        self.slack.append(slack)
        n = len(cells)
        self.parts.append(
            _rows(
                np.concatenate([np.arange(n), of_cell]),
                np.concatenate([z, known]),
                np.repeat([1.0, -1.0], [n, len(known)]),
                -np.inf,
                0.0,
                n,
            )
        )
        projects = len(self.lay.demands)
        self.parts.append(
            _rows(
                np.concatenate([cells // max(len(names), 1), np.arange(projects)]),
                np.concatenate([z, slack]),
                1.0,
                float(least),
                np.inf,
                projects,
            )
        )

    def _forced(self) -> None:
        pairs = self.lay.forced
        if len(pairs):
            slack = self._new(len(pairs))
            self.slack.append(slack)
            row = np.tile(np.arange(len(pairs)), 2)
            self.parts.append(_rows(row, np.concatenate([pairs, slack]), 1.0, 1.0, np.inf, len(pairs)))

    def _fed(self) -> Rows:
        """A project gets something where some member answers one of its needs."""
        lay = self.lay
        answering = np.unique(lay.answer_pair)
        place = np.full(len(lay.demands), -1)
        place[self.able] = np.arange(len(self.able))
        row = place[lay.pair_project[answering]]
        n = len(self.able)
        return _rows(
            np.concatenate([np.arange(n), row]),
            np.concatenate([self.h, answering]),
            np.repeat([1.0, -1.0], [n, len(answering)]),
            -np.inf,
            0.0,
            n,
        )

    def shares(self, floor: float | None, everybody: bool) -> Rows:
        """Each project that gets something gets ``floor`` of what it could get alone; None: the variable t of it.

        ``everybody``: all that could get something do, so that h is not needed.
        """
        lay, n = self.lay, len(self.able)
        place = np.full(len(lay.demands), -1)
        place[self.able] = np.arange(n)
        project = lay.need_project[lay.answer_need]
        row, column = place[project], self.y
        value = lay.answer_worth / self.ceiling[project]
        if not everybody:
            row, column = np.concatenate([row, np.arange(n)]), np.concatenate([column, self.h])
            value = np.concatenate([value, -np.ones(n)])
        low = np.zeros(n) if everybody else -np.ones(n)
        if floor is None:
            row, column = np.concatenate([row, np.arange(n)]), np.concatenate([column, np.full(n, self.t)])
            value = np.concatenate([value, -np.ones(n)])
        else:
            low = low + floor
        return _rows(row, column, value, low, np.inf, n)

    def at_least(self, objective: Floats, least: float) -> Rows:
        """The objective stays at ``least`` or more."""
        used = np.flatnonzero(objective)
        return _rows(np.zeros(len(used)), used, objective[used], least, np.inf, 1)

    # --- objectives, all to be made as large as can be ---

    @cached_property
    def hard(self) -> Floats:
        """Must-needs covered, less what is missing of the other hard rules; one each."""
        out = np.zeros(self.width)
        out[self.y[self.lay.need_must[self.lay.answer_need]]] = 1.0
        for slack in self.slack:
            out[slack] = -1.0
        return out

    @cached_property
    def fed(self) -> Floats:
        """Projects that get something."""
        out = np.zeros(self.width)
        out[self.h] = 1.0
        return out

    @cached_property
    def worst(self) -> Floats:
        """What the worst-off gets of what it could get alone."""
        out = np.zeros(self.width)
        out[self.t] = 1.0
        return out

    @cached_property
    def useful(self) -> Floats:
        """Coverage, hands and preferences."""
        out = np.zeros(self.width)
        out[self.x] = HAND * self.lay.pair_score + self.lay.rules.bonus * self.lay.pair_liked
        out[self.y] = self.lay.answer_worth
        return out
