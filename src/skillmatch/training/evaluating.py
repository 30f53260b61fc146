"""How good a version's answers are, by judgements: ranking, calibration, abstention; two versions compared."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from .. import metrics
from ..errors import UsageError
from ..matcher import Matcher, Options
from ..records import Judgement, Project, Suggestion

#: A grade from here on counts as useful, for calibration and for precision-like metrics.
USEFUL = 2.0
#: Resamples behind the interval of a calibration error.
_RESAMPLED = 400


#: What is measured of the ranking of each project for which somebody fits.
RANKING = ("ndcg@5", "map", "recall@5", "mrr", "need coverage")
#: What is measured of the probabilities of each project; the calibration error needs many pairs and comes apart.
CHANCES = ("Brier score", "abstained where nobody fits", "abstained where somebody fits")


@dataclass(frozen=True)
class Evaluation:
    """A version on judged projects.

    ``groups`` (ranking) and ``chances`` (probabilities): group -> metric -> mean with interval; groups are ``all``,
    the languages of projects, and the families of the people judged best. ``by_project``: project id -> metric ->
    value, for paired comparisons. ``abstention``: NaN where no project is of that kind.
    """

    version: str
    projects: int
    groups: Mapping[str, Mapping[str, metrics.Interval]]
    chances: Mapping[str, Mapping[str, metrics.Interval]]
    calibration: metrics.Calibration | None
    abstention: Mapping[str, float]
    members: Mapping[str, Sequence[str]]
    by_project: Mapping[str, Mapping[str, float]]


@dataclass(frozen=True)
class _Measured:
    """One project: its groups, its figures, and (probabilities, outcomes) of its judged people."""

    groups: tuple[str, ...]
    figures: dict[str, float]
    said: tuple[list[float], list[float]]


def evaluate(
    matcher: Matcher,
    projects: Sequence[Project],
    judgements: Sequence[Judgement],
    seed: int = 0,
    people: frozenset[str] | None = None,
) -> Evaluation:
    """Ranking, calibration and abstention, overall, by language of the project and by family, with intervals.

    People without a judgement count as grade 0 in ranking, and not in calibration. ``people``: rank these alone.
    Raises ``UsageError`` where no project is judged.
    """
    grades: dict[str, dict[str, float]] = {}
    for j in judgements:
        grades.setdefault(j.project_id, {})[j.profile_id] = float(j.grade)
    judged = [p for p in projects if p.id in grades]
    if not judged:
        raise UsageError(
            "No project of this workspace has judgements.",
            "Add rows project_id,profile_id,grade to data/judgements.csv, or name a file with --judgements.",
        )
    bar = matcher.ranker.bars[0]
    answers = matcher.match_many(judged, Options(top=None))
    found = {p.id: _measured(_among(a, people), grades[p.id], bar) for p, a in zip(judged, answers, strict=True)}
    names = sorted({g for m in found.values() for g in m.groups})
    members = {g: tuple(i for i, m in found.items() if g in m.groups) for g in names}
    values = {i: m.figures for i, m in found.items()}
    chances = {g: _intervals(values, ids, CHANCES, seed) for g, ids in members.items()}
    for group, ids in members.items():
        error = _calibration_interval([found[i].said for i in ids], seed)
        chances[group] = ({"calibration error": error} if error else {}) | chances[group]
    ranking = {g: _intervals(values, ids, RANKING, seed) for g, ids in members.items()}
    pairs = _pooled([m.said for m in found.values()])
    return Evaluation(
        matcher.version,
        len(judged),
        {g: rows for g, rows in ranking.items() if rows},
        {g: rows for g, rows in chances.items() if rows},
        metrics.calibration(*pairs) if len(pairs[0]) else None,
        {n: chances["all"][n].mean if n in chances["all"] else float("nan") for n in CHANCES[1:]},
        members,
        values,
    )


def compare(first: Evaluation, second: Evaluation, seed: int = 0) -> dict[str, dict[str, metrics.Comparison]]:
    """``first`` less ``second`` by group and metric, paired over the projects that both have a figure for."""
    out: dict[str, dict[str, metrics.Comparison]] = {}
    for group, ids in first.members.items():
        for name in (*RANKING, *CHANCES):
            both = [(first.by_project[i].get(name), second.by_project.get(i, {}).get(name)) for i in ids]
            pairs = [(a, b) for a, b in both if a is not None and b is not None]
            if pairs:
                compared = metrics.paired_bootstrap([a for a, _ in pairs], [b for _, b in pairs], seed)
                out.setdefault(group, {})[name] = compared
    return out


def _among(answer: Suggestion, people: frozenset[str] | None) -> Suggestion:
    """The answer with these people alone, in its order."""
    if people is None:
        return answer
    return replace(answer, matches=tuple(m for m in answer.matches if m.profile.id in people))


def _measured(answer: Suggestion, grades: Mapping[str, float], bar: float) -> _Measured:
    scores = np.array([m.raw for m in answer.matches])
    truth = np.array([grades.get(m.profile.id, 0.0) for m in answer.matches])
    pairs = [(m.score, float(grades[m.profile.id] >= USEFUL)) for m in answer.matches if m.profile.id in grades]
    said = ([p for p, _ in pairs], [y for _, y in pairs])
    figures = {"Brier score": metrics.brier(*said)} if pairs else {}
    project = answer.project
    groups: tuple[str, ...] = ("all", f"language: {language(f'{project.title} {project.description}')}")
    if truth.max(initial=0) < 1:
        return _Measured(groups, figures | {CHANCES[1]: float(answer.abstained)}, said)
    figures |= {
        CHANCES[2]: float(answer.abstained),
        "ndcg@5": metrics.ndcg_at_k(scores, truth, 5),
        "map": metrics.average_precision(scores, truth),
        "recall@5": metrics.recall_at_k(scores, truth, 5),
        "mrr": metrics.reciprocal_rank(scores, truth),
        "need coverage": _coverage(answer, bar),
    }
    return _Measured((*groups, *_families(answer, truth)), figures, said)


def _intervals(
    values: Mapping[str, Mapping[str, float]], ids: Sequence[str], names: Sequence[str], seed: int
) -> dict[str, metrics.Interval]:
    """Means over these projects of the metrics that any of them has."""
    found = {n: [values[i][n] for i in ids if n in values[i]] for n in names}
    return {n: metrics.bootstrap_interval(v, seed) for n, v in found.items() if v}


def _pooled(said: Sequence[tuple[list[float], list[float]]]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    return np.array([p for ps, _ in said for p in ps]), np.array([y for _, ys in said for y in ys])


def _calibration_interval(said: Sequence[tuple[list[float], list[float]]], seed: int) -> metrics.Interval | None:
    """The calibration error of the projects' pairs; ``count`` is the pairs. None without any.

    Projects are resampled whole, as their pairs are alike. Resampling adds noise, which this error only grows by, so
    the interval is widened where it would miss the figure itself.
    """
    some = [s for s in said if s[0]]
    if not some:
        return None
    pairs = _pooled(some)
    error = metrics.ece(*pairs)
    rng = np.random.default_rng(seed)
    draws = rng.integers(len(some), size=(_RESAMPLED, len(some)))
    low, high = np.quantile(metrics.ece_of_draws(some, draws), (0.025, 0.975))
    return metrics.Interval(error, min(float(low), error), max(float(high), error), len(pairs[0]))


def _coverage(answer: Suggestion, bar: float) -> float:
    """The share of needs that somebody among the first five covers."""
    best = [max((m.needs[k].score for m in answer.matches[:5]), default=0.0) for k in range(len(answer.project.needs))]
    return float(np.mean(np.array(best) >= bar))


def _families(answer: Suggestion, truth: NDArray[np.float64]) -> list[str]:
    """The family of the person judged best, where they have one."""
    best = answer.matches[int(np.argmax(truth))].profile.family
    return [f"family: {best}"] if best else []


_FRENCH = frozenset(
    "le la les des une dans pour avec sur est nous par qui notre nos cette être et du au aux".split()  # noqa: SIM905
)
_ENGLISH = frozenset(
    "the of and to for with our is are we that this on from be in by must need which".split()  # noqa: SIM905
)


def language(text: str) -> str:
    """``fr``, ``en`` or ``mixed``, by function words; for grouping figures only."""
    words = text.lower().replace("'", " ").replace("’", " ").split()
    french, english = sum(w in _FRENCH for w in words), sum(w in _ENGLISH for w in words)
    if min(french, english) * 3 > max(french, english):
        return "mixed"
    return "fr" if french > english else "en"
