"""Champion and challenger: which of two versions ranks better, on judgements that neither has learned from.

A version that learned from judgements keeps a ranker for each fold of projects that was fitted without them
(``learning.Folds``): by these both are measured, on the same projects and the same people, so that each is held to what
it would really answer and to nothing that it was told. The challenger is refused where it is worse by more than
``TOLERANCE`` and a paired bootstrap over projects excludes chance.

With too few judgements to tell, the rule is: whoever changed nothing but people and answers is promoted, since
following the data is what a training is for; whoever changed the encoder is kept aside until somebody decides.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from .. import metrics
from ..matcher import Matcher
from ..ranking import Ranker
from ..records import Judgement, Project
from .learning import FEWEST_PROJECTS, Folds, Judged, fit_to_judgements, judged_projects

#: The challenger is refused where it is worse by more than this (nDCG@5) and a paired bootstrap excludes chance.
TOLERANCE = 0.005
#: What both are compared by; the first decides.
MEASURES = ("ndcg@5", "map", "mrr")


@dataclass(frozen=True)
class Rival:
    """One version as it would answer for a project that it has not learned from."""

    matcher: Matcher
    folds: Folds


@dataclass(frozen=True)
class Verdict:
    """What came of a comparison. ``measures``: (champion's mean, challenger's, their difference), empty where too few
    projects are judged."""

    reason: str
    worse: bool
    measures: Mapping[str, tuple[metrics.Interval, metrics.Interval, metrics.Comparison]]


def duel(
    champion: Rival,
    challenger: Rival,
    projects: Sequence[Project],
    judgements: Sequence[Judgement],
    seed: int,
) -> Verdict:
    """The challenger against the champion, on the projects and people that both know."""
    both = {p["id"] for p in champion.matcher.people} & {p["id"] for p in challenger.matcher.people}
    shared = [j for j in judgements if j.profile_id in both]
    was, new = (_figures(rival, projects, shared) for rival in (champion, challenger))
    ids = sorted(was.keys() & new.keys())
    if len(ids) < FEWEST_PROJECTS:
        return _untold(champion, challenger)
    name = champion.matcher.version
    measures = {
        measure: (
            metrics.bootstrap_interval([was[i][measure] for i in ids], seed),
            metrics.bootstrap_interval([new[i][measure] for i in ids], seed),
            metrics.paired_bootstrap([new[i][measure] for i in ids], [was[i][measure] for i in ids], seed),
        )
        for measure in MEASURES
    }
    before, after, c = measures[MEASURES[0]]
    worse = c.difference < -TOLERANCE and c.high < 0
    said = f"nDCG@5 {before.mean:.3f} -> {after.mean:.3f}, difference {c.difference:+.3f} [{c.low:+.3f}, {c.high:+.3f}]"
    return Verdict(f"worse than {name}: {said}" if worse else f"not worse than {name}: {said}", worse, measures)


def _untold(champion: Rival, challenger: Rival) -> Verdict:
    few = f"fewer than {FEWEST_PROJECTS} judged projects can't tell two versions apart"
    if champion.matcher.encoder.fingerprint != challenger.matcher.encoder.fingerprint:
        return Verdict(f"kept aside unjudged: {few}, and the encoder is another one", True, {})
    return Verdict(f"promoted unjudged: {few}", False, {})


def _figures(rival: Rival, projects: Sequence[Project], judgements: Sequence[Judgement]) -> dict[str, dict[str, float]]:
    """Project id -> measure -> value, each project ranked by a ranker that has not learned from it."""
    judged = [j for j in judged_projects(rival.matcher, projects, judgements) if j.telling]
    return {j.project.id: _measured(j, rival.folds.unseen(j.project.id, rival.matcher.ranker)) for j in judged}


def _measured(judged: Judged, ranker: Ranker) -> dict[str, float]:
    raw = ranker.raw(judged.x)
    return {
        "ndcg@5": metrics.ndcg_at_k(raw, judged.grades, 5),
        "map": metrics.average_precision(raw, judged.grades),
        "mrr": metrics.reciprocal_rank(raw, judged.grades),
    }


def rival_of(
    matcher: Matcher, kept: Folds | None, projects: Sequence[Project], judgements: Sequence[Judgement], seed: int
) -> Rival:
    """A version that was opened, with the folds it kept.

    A version of before folds were kept is held to folds fitted now, over its own features, if it learned at all.
    """
    if kept is not None or matcher.ranker.origin == "shipped":
        return Rival(matcher, kept or Folds())
    plain = replace(matcher, ranker=Ranker.shipped(matcher.ranker.trust))
    fitted = fit_to_judgements(plain, judged_projects(plain, projects, judgements), seed)
    return Rival(matcher, fitted.folds) if fitted.folds.rankers else Rival(plain, Folds())
