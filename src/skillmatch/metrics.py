"""How good a ranking, a probability or an assignment is. Imports nothing of ours: rivals are scored alike.

Ranking metrics take ``scores`` and ``grades``, two vectors over the same people, in any order. Tied scores
are never broken by input order: a metric is the exact mean over all orders of the tied people (McSherry &
Najork 2008, "Computing information retrieval performance measures efficiently in the presence of tied
scores"). Neighbours in the ranking whose scores differ by less than float32 precision count as tied.

Where a metric has no meaning (nobody is relevant, all grades equal) it is ``nan``: leave that query out of
averages. Wrong input (lengths, NaN, negative grades) raises ``ValueError``.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray

Vector: TypeAlias = NDArray[np.float64]

#: The relative difference below which two scores say the same.
TIE = float(np.finfo(np.float32).eps)
#: Scores this small beside the largest are rounding left over from sums: compared as if they were this large.
_FLOOR = 1e-6


# Ranking


def ndcg_at_k(scores: ArrayLike, grades: ArrayLike, k: int | None = 10) -> float:
    """Normalised discounted cumulative gain of the first ``k`` (None: of all), in [0, 1].

    Gain ``2^grade - 1``, discount ``1 / log2(rank + 1)`` (Järvelin & Kekäläinen 2002, with the gain of
    Burges et al. 2005); a tied group shares its mean gain (McSherry & Najork 2008). ``nan`` where no grade
    is above 0.
    """
    ranking = _Ranking(scores, grades)
    gains = np.exp2(ranking.grades) - 1
    discounts = 1 / np.log2(np.arange(2, len(gains) + 2))
    discounts[_cut(k, len(gains)) :] = 0
    best = float(np.sort(gains)[::-1] @ discounts)
    if best == 0:
        return float("nan")
    return min(1.0, float(ranking.means(gains) @ ranking.sums(discounts)) / best)


def average_precision(scores: ArrayLike, grades: ArrayLike, relevant: float = 1.0) -> float:
    """Mean of the precision at the rank of each relevant person (grade at least ``relevant``), in [0, 1].

    Ties by the expectation of McSherry & Najork (2008): at rank ``j`` of a group of ``n`` people, ``r`` of
    them relevant, that starts after rank ``t``, the mean is ``r/n * (R + (j-t-1)(r-1)/(n-1) + 1) / j`` with
    ``R`` relevant people before the group. ``nan`` where nobody is relevant.
    """
    ranking = _Ranking(scores, grades)
    hits = ranking.sums(ranking.grades >= relevant)
    total = float(hits.sum())
    if total == 0:
        return float("nan")
    r, n = ranking.spread(hits), ranking.spread(ranking.sizes)
    before, start = ranking.spread(np.cumsum(hits) - hits), ranking.spread(ranking.starts)
    rank = np.arange(1, len(r) + 1)
    others = (rank - start - 1) * (r - 1) / np.maximum(n - 1, 1)
    return min(1.0, float(np.sum(r / n * (before + others + 1) / rank)) / total)


def recall_at_k(scores: ArrayLike, grades: ArrayLike, k: int | None = 10, relevant: float = 1.0) -> float:
    """Share of the relevant people (grade at least ``relevant``) among the first ``k``, in [0, 1].

    A tied group that straddles the cut counts by the share of its places above it (McSherry & Najork 2008).
    ``nan`` where nobody is relevant.
    """
    ranking = _Ranking(scores, grades)
    hits = ranking.sums(ranking.grades >= relevant)
    if hits.sum() == 0:
        return float("nan")
    inside = np.clip(_cut(k, len(ranking.grades)) - ranking.starts, 0, ranking.sizes)
    return min(1.0, float(hits @ (inside / ranking.sizes)) / float(hits.sum()))


def reciprocal_rank(scores: ArrayLike, grades: ArrayLike, relevant: float = 1.0) -> float:
    """``1 / rank`` of the first relevant person (grade at least ``relevant``), in (0, 1]; its mean is MRR.

    Ties by expectation (McSherry & Najork 2008): in the first group with ``r`` relevant of ``n``, place
    ``j`` is the first with probability ``C(n-j, r-1) / C(n, r)``. ``nan`` where nobody is relevant.
    """
    ranking = _Ranking(scores, grades)
    hits = ranking.sums(ranking.grades >= relevant)
    if hits.sum() == 0:
        return float("nan")
    group = int(np.argmax(hits > 0))
    n, r, start = int(ranking.sizes[group]), int(hits[group]), int(ranking.starts[group])
    place = np.arange(1, n - r + 2)
    # C(n-j-1, r-1) / C(n-j, r-1) = (n-j-r+1) / (n-j): no large binomial is ever formed.
    steps = (n - place[:-1] - r + 1) / (n - place[:-1])
    chance = r / n * np.concatenate(([1.0], np.cumprod(steps)))
    return min(1.0, float(np.sum(chance / (start + place))))


def pairwise_loss(scores: ArrayLike, grades: ArrayLike) -> float:
    """Share of the grade difference of all pairs that the scores order wrongly, in [0, 1]; ties cost half.

    The loss of the reviewer assignment gold standard (Stelmakh et al. 2023, arXiv 2303.16750). ``nan`` where
    all grades are equal.
    """
    ranking = _Ranking(scores, grades)
    group = ranking.spread(np.arange(len(ranking.sizes)))
    wrong = total = 0.0
    for start in range(0, len(group), 1024):  # a block of pairs at a time bounds the memory
        rows = slice(start, start + 1024)
        surplus = np.maximum(ranking.grades[rows, None] - ranking.grades[None, :], 0)
        later = np.sign(group[rows, None] - group[None, :])
        wrong += float(np.sum(surplus * (later + 1) / 2))
        total += float(np.sum(surplus))
    return min(1.0, wrong / total) if total else float("nan")


# Probabilities


@dataclass(frozen=True, slots=True)
class Bin:
    """A bin ``(low, high]`` of a reliability plot: how many, mean probability said, share that came true."""

    low: float
    high: float
    count: int
    said: float
    true: float


@dataclass(frozen=True, slots=True)
class Calibration:
    """Expected calibration error in [0, 1], and the bins that hold anything, in order."""

    ece: float
    bins: tuple[Bin, ...]


def calibration(probabilities: ArrayLike, outcomes: ArrayLike, bins: int = 10) -> Calibration:
    """Expected calibration error over ``bins`` of equal width, with the bins for a reliability plot.

    ``sum of |bin| / n * |mean outcome - mean probability|`` (Guo et al. 2017, "On calibration of modern
    neural networks"). ``outcomes`` are 0 or 1, or shares.
    """
    said, true = _chances(probabilities, outcomes)
    if bins < 1:
        raise ValueError(f"needs at least 1 bin, not {bins}")
    edges = np.linspace(0, 1, bins + 1)
    place = _bins_of(said, bins)
    found = []
    for b in np.unique(place):
        inside = place == b
        # Sorted sums: the same answer for the same pairs in any order.
        means = float(np.mean(np.sort(said[inside]))), float(np.mean(np.sort(true[inside])))
        found.append(Bin(float(edges[b]), float(edges[b + 1]), int(inside.sum()), *means))
    return Calibration(sum(b.count * abs(b.said - b.true) for b in found) / len(said), tuple(found))


def ece(probabilities: ArrayLike, outcomes: ArrayLike, bins: int = 10) -> float:
    """The expected calibration error alone (Guo et al. 2017), in [0, 1]; see ``calibration``."""
    return calibration(probabilities, outcomes, bins).ece


def _bins_of(said: NDArray[np.float64], bins: int) -> NDArray[np.int64]:
    return np.searchsorted(np.linspace(0, 1, bins + 1)[1:-1], said, side="left")


def ece_of_draws(
    groups: Sequence[tuple[ArrayLike, ArrayLike]], draws: NDArray[np.int64], bins: int = 10
) -> NDArray[np.float64]:
    """``ece`` of the pairs of the groups that each draw takes, shape (draws,), for bootstrap intervals.

    ``groups``: (probabilities, outcomes) of each, with at least one pair; ``draws``: (draws, groups drawn), groups by
    number, with repetition.
    """
    differences, sizes = np.zeros((len(groups), bins)), np.zeros(len(groups))
    for row, (probabilities, outcomes) in enumerate(groups):
        said, true = _chances(probabilities, outcomes)
        differences[row] = np.bincount(_bins_of(said, bins), said - true, minlength=bins)
        sizes[row] = len(said)
    times = np.stack([np.bincount(draw, minlength=len(groups)) for draw in draws]).astype(np.float64)
    found: NDArray[np.float64] = np.abs(times @ differences).sum(axis=1) / (times @ sizes)
    return found


def brier(probabilities: ArrayLike, outcomes: ArrayLike) -> float:
    """Mean squared difference between probability and outcome, in [0, 1] (Brier 1950)."""
    said, true = _chances(probabilities, outcomes)
    return float(np.mean(np.sort((said - true) ** 2)))


# Assignments


def gini(loads: ArrayLike) -> float:
    """How unevenly ``loads`` (0 or more) are spread: 0 all equal, towards 1 all on one of many (Gini 1912).

    ``sum of (2i - n - 1) x_i / (n * sum x)`` over the loads in growing order. No load at all is even: 0.
    """
    x = np.sort(_vector(loads, "loads"))
    if x[0] < 0:
        raise ValueError(f"loads must be 0 or more, not {x[0]}")
    if x[-1] == 0:
        return 0.0
    x = x / x[-1]  # neither overflow nor underflow, whatever the unit
    n = len(x)
    return max(0.0, float((2 * np.arange(1, n + 1) - n - 1) @ x / (n * x.sum())))


def need_coverage(scores: ArrayLike, bar: float, weights: ArrayLike | None = None) -> float:
    """Share of the needs' weight for which somebody reaches ``bar``, in [0, 1].

    ``scores``: people x needs, for the chosen people; ``weights``: one a need, default equal. No people: 0.
    ``nan`` where there is no need.
    """
    S = np.asarray(scores, dtype=np.float64)
    if S.ndim != 2 or np.isnan(S).any():
        raise ValueError(f"scores must be people x needs without NaN, not of shape {S.shape}")
    w = np.ones(S.shape[1]) if weights is None else np.asarray(weights, dtype=np.float64)
    if w.shape != (S.shape[1],) or not np.isfinite(w).all() or (w < 0).any():
        raise ValueError(f"weights must be one positive number a need: {S.shape[1]} needs, weights {w.shape}")
    if w.sum() == 0:
        return float("nan")
    reached = S.max(axis=0, initial=-np.inf) >= bar
    return float(w[reached].sum() / w.sum())


# Certainty


@dataclass(frozen=True, slots=True)
class Interval:
    """A mean over ``count`` values and its 95 % bootstrap interval."""

    mean: float
    low: float
    high: float
    count: int


@dataclass(frozen=True, slots=True)
class Comparison:
    """Mean of first minus second over ``count`` queries, its 95 % interval, two-sided p-value in (0, 1]."""

    difference: float
    low: float
    high: float
    p: float
    count: int


def bootstrap_interval(values: ArrayLike, seed: int = 0, n: int = 2000) -> Interval:
    """Mean and 95 % percentile interval from ``n`` resamples (Efron 1979; Efron & Tibshirani 1993, ch. 13).

    The same for the same values in any order. Of one value the interval is that value: look at ``count``.
    """
    x = np.sort(_vector(values, "values"))
    low, high = np.quantile(_resampled_means(x, seed, n), (0.025, 0.975))
    return Interval(float(x.mean()), float(low), float(high), len(x))


def paired_bootstrap(first: ArrayLike, second: ArrayLike, seed: int = 0, n: int = 2000) -> Comparison:
    """Is ``first`` better than ``second``, vectors over the same queries? ``n`` resamples of the differences.

    Percentile interval; ``p`` is the share of resamples of the differences, shifted to mean 0, at least as
    far from 0 as the mean found (Efron & Tibshirani 1993, ch. 16). It is never below ``2^(1 - count)``, the
    least a sign test of so few queries can give: one query proves nothing.
    """
    a, b = _vector(first, "first"), _vector(second, "second")
    if len(a) != len(b):
        raise ValueError(f"the same queries are needed in both: {len(a)} and {len(b)} values")
    d = np.sort(a - b)
    means, mean = _resampled_means(d, seed, n), float(d.mean())
    low, high = np.quantile(means, (0.025, 0.975))
    rounding = 1e-12 * float(np.abs(d).max())
    far = int(np.sum(np.abs(means - mean) >= abs(mean) - rounding))
    p = max((far + 1) / (n + 1), 2.0 ** (1 - len(d)))
    return Comparison(mean, float(low), float(high), p, len(d))


def _resampled_means(values: Vector, seed: int, n: int) -> Vector:
    if n < 1:
        raise ValueError(f"needs at least 1 resample, not {n}")
    rng = np.random.default_rng(seed)
    means = np.empty(n)
    block = max(1, (1 << 20) // len(values))
    for start in range(0, n, block):
        stop = min(n, start + block)
        means[start:stop] = values[rng.integers(len(values), size=(stop - start, len(values)))].mean(axis=1)
    return means


# Input


class _Ranking:
    """People from best to worst in groups of tied scores; in a group by grade, whatever the input order."""

    def __init__(self, scores: ArrayLike, grades: ArrayLike) -> None:
        s, g = _vector(scores, "scores"), _vector(grades, "grades")
        if len(s) != len(g):
            raise ValueError(f"one grade a score is needed: {len(s)} scores, {len(g)} grades")
        if (g < 0).any():
            raise ValueError(f"grades must be 0 or more, not {g.min()}")
        order = np.argsort(-s, kind="stable")
        size = np.abs(s[order])
        scale = np.maximum(np.maximum(size[1:], size[:-1]), _FLOOR * size.max())
        new = np.concatenate(([True], s[order][:-1] - s[order][1:] > TIE * scale))
        group = np.cumsum(new) - 1
        self.grades: Vector = g[order][np.lexsort((-g[order], group))]
        self.starts = np.flatnonzero(new)
        self.sizes = np.diff(self.starts, append=len(s))

    def sums(self, values: NDArray[np.generic]) -> Vector:
        """Sum over each group of one value a place."""
        return np.add.reduceat(values.astype(np.float64), self.starts)

    def means(self, values: NDArray[np.generic]) -> Vector:
        return self.sums(values) / self.sizes

    def spread(self, per_group: NDArray[np.generic]) -> Vector:
        """One value a place from one value a group."""
        return np.repeat(per_group.astype(np.float64), self.sizes)


def _vector(values: ArrayLike, name: str) -> Vector:
    x = np.asarray(values, dtype=np.float64)
    if x.ndim != 1 or len(x) == 0:
        raise ValueError(f"{name} must be a vector with at least one value, not of shape {x.shape}")
    if not np.isfinite(x).all():
        raise ValueError(f"{name} must be finite: {int((~np.isfinite(x)).sum())} of {len(x)} are not")
    return x


def _chances(probabilities: ArrayLike, outcomes: ArrayLike) -> tuple[Vector, Vector]:
    said, true = _vector(probabilities, "probabilities"), _vector(outcomes, "outcomes")
    if len(said) != len(true):
        raise ValueError(f"one outcome a probability is needed: {len(said)} and {len(true)}")
    for name, x in (("probabilities", said), ("outcomes", true)):
        if x.min() < 0 or x.max() > 1:
            raise ValueError(f"{name} must lie in [0, 1], not in [{x.min()}, {x.max()}]")
    return said, true


def _cut(k: int | None, n: int) -> int:
    if k is None:
        return n
    if k < 1:
        raise ValueError(f"k must be 1 or more, not {k}")
    return min(k, n)
