"""The stages of a decision, one after the other, each keeping what those before it reached.

Few pairs: every stage is solved to proven optimality over all of them. Many: the stages are first solved as
relaxations, in which pairs need not be whole; these give the bounds, and the pairs that any of them uses are those that
the whole program then chooses among. What that loses is measured each time: it is the gap.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .problem import Floats, Layout
from .program import Program, Rows

#: Up to so many pairs, all of them are in the whole program.
FEW = 3000
#: What the worst-off project's share counts against one project's usefulness, in the relaxation of many pairs: large
#: enough to give a bound on the share, small enough that the solver stays quick (100 takes four times as long).
_WORST_COUNTS = 10.0
#: The relative gap at which a whole program of many pairs is left, and the seconds one stage may take.
_NEAR, _STAGE = 1e-4, 30.0
#: The nodes that one step of halving may look at: a limit that is the same on every machine.
_NODES = 1
#: Where any assignment will do that obeys the rows, the solver may stop this early.
_ANY = 0.05
#: The relative gap in usefulness that the search for the worst-off project's share may leave among many pairs.
_ENOUGH = 1e-3
#: How finely the worst-off project's share is sought by halving; among few pairs it is then solved exactly.
_FINE = 0.02
#: By how much what a stage reached may be missed by the next: the solver's own tolerance is 1e-6.
_SLACK = 5e-6
#: The same of what is a whole number at whole pairs.
_SPARED = 1e-3


@dataclass(frozen=True, eq=False)
class Solved:
    """Which pairs are assigned, and what is proven of it.

    ``bound``: no assignment that breaks as few hard rules has a larger objective. ``worst_bound``: the same for the
    worst-off project's share. ``proven``: solved over all pairs, each stage to its optimum.
    """

    chosen: NDArray[np.bool_]
    bound: float
    worst_bound: float
    proven: bool


@dataclass(frozen=True, eq=False)
class _Answer:
    """The solver's: the variables (None where it found none in time), their value and the bound."""

    variables: Floats | None
    value: float
    bound: float
    settled: bool  # proven: the optimum, or that there is nothing


def decide(lay: Layout, ceiling: Floats, seconds: float) -> Solved:
    """The best assignment there is; within about ``seconds`` where there are many pairs, with the gap that leaves."""
    program = Program(lay, ceiling)
    if not lay.pairs:
        return Solved(np.zeros(0, dtype=bool), 0.0, 0.0, proven=True)
    end = time.monotonic() + seconds
    if lay.pairs <= FEW:
        staged = _Stages(program, np.concatenate(program.upper), end, exact=True)
        chosen = staged.run(high=1.0)
        return Solved(chosen, staged.bound, staged.high, staged.proven)
    return _relaxed_first(program, end)


def bound_of(lay: Layout, ceiling: Floats, seconds: float) -> float:
    """A bound on the objective of any assignment that breaks as few hard rules as can be; fairness left out."""
    program = Program(lay, ceiling)
    end = time.monotonic() + seconds
    upper = np.concatenate(program.upper)
    hard = _maximise(program, program.hard, program.parts, upper, end)
    return _maximise(program, program.useful, [*program.parts, *_kept(program, hard)], upper, end).bound


def _kept(program: Program, hard: _Answer) -> list[Rows]:
    """The hard rules kept as a relaxation does it."""
    if hard.variables is None:
        return []
    return [program.at_least(program.hard, float(np.floor(hard.value + _SLACK)) - _SPARED)]


def _relaxed_first(program: Program, end: float) -> Solved:
    upper = np.concatenate(program.upper)
    hard = _maximise(program, program.hard, program.parts, upper, end)
    rows = [*program.parts, *_kept(program, hard)]
    useful = _maximise(program, program.useful, rows, upper, end)
    found = [hard, useful]
    worst = 1.0
    if program.lay.rules.fair:
        fed = _maximise(program, program.fed, rows, upper, end)
        everybody = fed.value >= len(program.able) - _SLACK
        if not everybody and fed.variables is not None:
            rows.append(program.at_least(program.fed, float(np.floor(fed.value + _SLACK)) - _SPARED))
        mixed = _WORST_COUNTS * program.worst + program.useful
        fair = _maximise(program, mixed, [*rows, program.shares(None, everybody)], upper, end)
        found += [fed, fair]
        if everybody and fair.variables is not None and np.isfinite(useful.bound):
            # Whatever raises the worst-off further costs usefulness, of which there is no more than the bound.
            spare = max(0.0, useful.bound - float(program.useful @ fair.variables))
            worst = min(1.0, float(fair.variables[program.t]) + spare / _WORST_COUNTS)
    used = np.zeros(program.lay.pairs, dtype=bool)
    for answer in found:
        if answer.variables is not None:
            used |= answer.variables[program.x] > 1e-7
    used[program.lay.forced] = True
    fewer = upper.copy()
    fewer[program.x] = np.where(used, 1.0, 0.0)
    staged = _Stages(program, fewer, max(end, time.monotonic() + 4 * _STAGE), exact=False)
    chosen = staged.run(high=worst)
    bound = useful.bound
    if staged.hard < np.floor(hard.bound + _SLACK) - 0.25:
        # Fewer rules can be kept than the relaxation keeps: its bounds are for assignments that may not exist.
        bound, worst = _maximise(program, program.useful, program.parts, upper, end).bound, 1.0
    return Solved(chosen, bound, worst, proven=False)


class _Stages:
    """The stages over the pairs that ``upper`` allows."""

    def __init__(self, program: Program, upper: Floats, end: float, *, exact: bool) -> None:
        self.program, self.upper, self.end, self.exact = program, upper, end, exact
        self.near = 0.0 if exact else _NEAR
        self.rows: list[Rows] = list(program.parts)
        self.best: Floats = np.zeros(program.width)
        self.proven = True
        self.hard = -np.inf
        self.bound = np.inf
        self.high = 1.0
        self.halved: _Answer | None = None

    def run(self, high: float) -> NDArray[np.bool_]:
        """Which pairs are assigned; ``high``: a bound on the worst-off project's share."""
        program = self.program
        self.hard = self._stage(program.hard).value
        self.rows.append(program.at_least(program.hard, np.round(self.hard) - _SPARED))
        if program.lay.rules.fair and len(program.able):
            fed = np.round(self._stage(program.fed).value)
            everybody = bool(fed >= len(program.able))
            if not everybody:
                self.rows.append(program.at_least(program.fed, fed - _SPARED))
            if fed > 0:
                if self.exact:
                    extra = [*self.rows, program.shares(None, everybody)]
                    share = _maximise(program, program.worst, extra, self.upper, self.end)
                    high = min(high, share.bound)
                floor = self._highest_floor(everybody, high)
                if self.exact:
                    floor = self._exact_floor(everybody, floor)
                self.rows.append(program.shares(max(0.0, floor - _SLACK), everybody))
        if self.exact or not self._near_enough():
            self.bound = self._stage(program.useful).bound
        return np.asarray(self.best[program.x] > 0.5)

    def _near_enough(self) -> bool:
        """Whether the last step of halving left too little usefulness to gain for another stage."""
        found = self.halved
        return found is not None and found.bound - found.value <= _ENOUGH * abs(found.value)

    def _stage(
        self, objective: Floats, extra: Sequence[Rows] = (), near: float | None = None, nodes: int | None = None
    ) -> _Answer:
        limit = min(self.end, time.monotonic() + _STAGE)
        rows = [*self.rows, *extra]
        wanted = self.near if near is None else near
        answer = _maximise(self.program, objective, rows, self.upper, limit, whole=True, near=wanted, nodes=nodes)
        # A step of halving needs no proof: what it leaves open is solved afterwards, or told by the bound.
        self.proven = self.proven and (answer.settled or nodes is not None)
        if answer.variables is not None:
            self.best = answer.variables
        return answer

    def _highest_floor(self, everybody: bool, high: float) -> float:
        """The highest share that every project that gets something can be given, by halving: the solver is quick at a
        fixed one. A share that is not reached within the limit counts as out of reach."""
        low, self.high = 0.0, high
        tried = high - _FINE / 2  # often nothing stands in the way
        while high - low > _FINE and time.monotonic() < self.end:
            extra = self.program.shares(max(0.0, tried), everybody)
            found = self._stage(self.program.useful, [extra], near=_ANY, nodes=_NODES)
            if found.variables is not None:
                self.halved = found
                low = max(tried, self._reached(found.variables))
            else:
                high = tried
                self.high = tried if found.settled else self.high
            tried = (low + high) / 2
        return low

    def _exact_floor(self, everybody: bool, low: float) -> float:
        """The same exactly, from between what halving found and what it ruled out."""
        program = self.program
        upper = self.upper
        self.upper = upper.copy()
        self.upper[program.t] = min(1.0, self.high + _SLACK)
        extra = [program.shares(None, everybody), program.at_least(program.worst, low - _SLACK)]
        found = self._stage(program.worst, extra)
        self.upper = upper
        if found.variables is None:
            return low
        self.high = min(self.high, found.bound)
        return max(low, float(found.variables[program.t]))

    def _reached(self, variables: Floats) -> float:
        """The share of the worst-off of those that get something."""
        lay = self.program.lay
        counted = lay.answer_worth * (variables[lay.answer_pair] > 0.5)
        best = np.zeros(len(lay.need_project))
        np.maximum.at(best, lay.answer_need, counted)
        coverage = np.bincount(lay.need_project, best, minlength=len(lay.demands))
        fed = coverage > 0
        return float((coverage[fed] / self.program.ceiling[fed]).min()) if fed.any() else 0.0


def _maximise(
    program: Program,
    objective: Floats,
    rows: list[Rows],
    upper: Floats,
    end: float,
    *,
    whole: bool = False,
    near: float = 0.0,
    nodes: int | None = None,
) -> _Answer:
    from scipy.optimize import Bounds, LinearConstraint, milp

    integrality = np.zeros(program.width)
    if whole:
        integrality[program.x] = 1
    matrix, low, high = _matrix(rows, program.width)
    options = {"time_limit": max(1.0, end - time.monotonic()), "mip_rel_gap": near}
    options |= {} if nodes is None else {"node_limit": nodes}
    with _silent():
        found: Any = milp(
            -objective,
            constraints=LinearConstraint(matrix, low, high),
            bounds=Bounds(0, upper),
            integrality=integrality,
            options=options,
        )
    settled = found.status in (0, 2)  # optimal, or infeasible
    if found.x is None:  # the caller keeps what the stage before found
        return _Answer(None, -np.inf, np.inf, settled)
    variables = np.asarray(found.x, dtype=np.float64)
    value = float(objective @ variables)
    if not whole:
        return _Answer(variables, value, value if found.status == 0 else np.inf, settled)
    return _Answer(variables, value, max(value, -float(found.mip_dual_bound)), settled)


@contextmanager
def _silent() -> Iterator[None]:
    """Nothing on standard output meanwhile: HiGHS prints a line of its own there now and then, past all options."""
    sys.stdout.flush()
    try:
        kept = os.dup(1)
    except OSError:  # closed: there is nothing to keep clean
        yield
        return
    try:
        with open(os.devnull, "wb") as nowhere:  # noqa: PTH123  a device, not a path of ours
            os.dup2(nowhere.fileno(), 1)
        yield
    finally:
        os.dup2(kept, 1)
        os.close(kept)


def _matrix(rows: list[Rows], width: int) -> tuple[Any, Floats, Floats]:
    from scipy.sparse import csc_array

    start = np.cumsum([0, *(r.count for r in rows)])
    row = np.concatenate([r.row + s for r, s in zip(rows, start, strict=False)])
    matrix = csc_array(
        (np.concatenate([r.value for r in rows]), (row, np.concatenate([r.column for r in rows]))),
        shape=(int(start[-1]), width),
    )
    return matrix, np.concatenate([r.low for r in rows]), np.concatenate([r.high for r in rows])


def best_sets(program: Program, known: list[list[int]], more: int) -> list[list[int]]:
    """The next best sets of pairs after those ``known``, best first, under the same hard rules: no set holds another.

    Each is cut off once it is found.
    """
    upper = np.concatenate(program.upper)
    end = time.monotonic() + _STAGE
    found = list(known)
    rows = list(program.parts)
    for _ in range(more):
        cuts = [_cut(program, columns) for columns in found]
        hard = _maximise(program, program.hard, [*rows, *cuts], upper, end, whole=True)
        if hard.variables is None:
            break
        kept = [*rows, *cuts, program.at_least(program.hard, hard.value - _SLACK)]
        best = _maximise(program, program.useful, kept, upper, end, whole=True)
        if best.variables is None:
            break
        columns = [int(c) for c in np.flatnonzero(best.variables[program.x] > 0.5)]
        if not columns or columns in found:
            break
        found.append(columns)
    return found[len(known) :]


def _cut(program: Program, columns: list[int]) -> Rows:
    """Not all of these again."""
    held = np.zeros(program.width)
    held[columns] = -1.0
    return program.at_least(held, 1.0 - len(columns))
