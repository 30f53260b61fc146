"""Judgements and answers to suggestions -> the ranker: features of pairs, a gentle correction, cross-fitted.

The ranker starts from the shipped parameters. What is learned on top are corrections of its weights, held back by a
ridge penalty: the prior of each is a normal distribution around 0 with variance ``CORRECTION_C`` (over standardised
features). So one row of weight w, whatever it says, moves no weight by more than about ``CORRECTION_C`` times w times
its feature: few answers move little. An answer weighs 0.5 to 1.5, by the rank at which the person was shown
(``feedback.labels``); a judgement weighs 1.

The correction is kept where it ranks no worse than the shipped parameters on judgements held out by project. Rankers
of the folds are kept beside it: by them two versions are compared on projects that neither has learned from. Answers
are never what is measured by: they come from what was shown.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .. import metrics
from ..errors import DamagedModelError, FormatError
from ..feedback import Label
from ..matcher import Matcher
from ..needs import Understood
from ..ranking import FEATURES, Ranker, gain_rows
from ..records import Judgement, Project
from ..retrieval import Floats

#: Fewer judged projects than this can't move the ranker nor decide between two versions.
FEWEST_PROJECTS = 8
#: Variance of the prior of a correction (scikit-learn's C over standardised features).
CORRECTION_C = 0.001
_LEAD = 30.0
_FOLDS = 5
_FOLDS_FILE = "folds.json"
PIPELINE_FILE = "ranker.skops"


def _no_rows() -> Floats:
    return np.zeros((0, len(FEATURES)), dtype=np.float32)


def _nothing() -> Floats:
    return np.zeros(0, dtype=np.float32)


@dataclass(frozen=True)
class Answered:
    """What answers say of one project: features (answers, FEATURES), grades in [0, 3] and weights."""

    x: Floats = field(default_factory=_no_rows)
    grades: Floats = field(default_factory=_nothing)
    weight: Floats = field(default_factory=_nothing)


@dataclass(frozen=True)
class Judged:
    """One project with its judged people: features (people, FEATURES), averaged over its needs, and grades.

    ``answered``: what people answered to suggestions for it. A project may have judgements, answers, or both.
    """

    project: Project
    needs: int
    people: NDArray[np.int64]
    x: Floats
    grades: Floats
    answered: Answered = field(default_factory=Answered)

    @property
    def telling(self) -> bool:
        """Whether a ranking of it can be right or wrong: somebody is judged to be of use."""
        return bool(self.grades.max(initial=0) > 0)


def judged_projects(
    matcher: Matcher, projects: Sequence[Project], judgements: Sequence[Judgement], labels: Sequence[Label] = ()
) -> list[Judged]:
    """Features of every judged or answered pair whose person this version shows.

    An answer to a typed question counts by the text that was asked; one to a project that is gone doesn't.
    """
    place = {p["id"]: i for i, p in enumerate(matcher.people)}
    grades: dict[str, dict[int, float]] = {}
    for j in judgements:
        if j.profile_id in place:
            grades.setdefault(j.project_id, {})[place[j.profile_id]] = float(j.grade)
    said: dict[str, list[tuple[int, float, float]]] = {}
    asked: dict[str, Project] = {}
    for label in labels:
        if label.profile in place:
            said.setdefault(label.project, []).append((place[label.profile], label.grade, label.weight))
            if label.question:
                asked[label.project] = Project(label.project, description=label.question)
    known = {p.id for p in projects}
    every = [*projects, *(p for i, p in sorted(asked.items()) if i not in known)]
    chosen = [p for p in every if p.id in grades or p.id in said]
    if not chosen:
        return []
    understood = matcher.understand(chosen)
    return [_judged(matcher, u, grades.get(u.project.id, {}), said.get(u.project.id, [])) for u in understood]


def _judged(
    matcher: Matcher, understood: Understood, grades: Mapping[int, float], said: Sequence[tuple[int, float, float]]
) -> Judged:
    features, _ = matcher.features(understood)
    weight = np.array([n.weight for n in understood.project.needs], dtype=np.float32)
    mean = np.einsum("n,npf->pf", weight / weight.sum(), features).astype(np.float32)
    people = np.array(sorted(grades), dtype=np.int64)
    answers = Answered(
        mean[[person for person, _, _ in said]] if said else _no_rows(),
        np.array([grade for _, grade, _ in said], dtype=np.float32),
        np.array([w for _, _, w in said], dtype=np.float32),
    )
    found = np.array([grades[int(i)] for i in people], dtype=np.float32)
    return Judged(understood.project, len(understood.project.needs), people, mean[people], found, answers)


# --- the correction ----------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Folds:
    """Rankers that have not seen some projects: ``of`` says, by project id, which of ``rankers`` has not seen it."""

    of: Mapping[str, int] = field(default_factory=dict)
    rankers: tuple[Ranker, ...] = ()

    def unseen(self, project: str, ranker: Ranker) -> Ranker:
        """What answers for a project without having learned from it: ``ranker`` itself where it never has."""
        return self.rankers[self.of[project]] if project in self.of else ranker

    def save(self, folder: Path) -> None:
        """Write ``folds.json`` where there is anything to say."""
        if self.rankers:
            told = {"of": dict(self.of), "rankers": [r.as_dict() for r in self.rankers]}
            (folder / _FOLDS_FILE).write_text(json.dumps(told, sort_keys=True), "utf-8")

    @classmethod
    def load(cls, folder: Path) -> Folds | None:
        """The folds of a version's folder; None where it holds none."""
        path = folder / _FOLDS_FILE
        if not path.is_file():
            return None
        try:
            told = json.loads(path.read_text("utf-8"))
            rankers = tuple(Ranker.from_dict(r) for r in told["rankers"])
            of = {str(i): int(n) for i, n in told["of"].items()}
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            raise DamagedModelError(f"{path} can't be read ({error}).", "Run: skillmatch train") from error
        if any(not 0 <= n < len(rankers) for n in of.values()):
            raise DamagedModelError(f"{path} names a fold that it does not hold.", "Run: skillmatch train")
        return cls(of, rankers)


@dataclass(frozen=True)
class Fitted:
    """What was learned: the ranker to use, its scikit-learn part (None: the shipped parameters), its folds.

    ``figures``: what cross-validation found, None with too few judged projects. ``answers``: how many were learned.
    """

    ranker: Ranker
    pipeline: Any | None = None
    figures: dict[str, Any] | None = None
    folds: Folds = field(default_factory=Folds)
    answers: int = 0


def fit_to_judgements(matcher: Matcher, judged: Sequence[Judged], seed: int) -> Fitted:
    """Learn from judgements and answers together, as far as held-out judgements do not rank worse with it.

    Below ``FEWEST_PROJECTS`` judged projects nothing is learned: nothing could show that it does no harm.
    """
    shipped = matcher.ranker
    # By id: what is held out together must not depend on where a project stands in the file.
    used = sorted((j for j in judged if j.telling or len(j.answered.x)), key=lambda j: j.project.id)
    telling = [j for j in used if j.telling]
    if len(telling) < FEWEST_PROJECTS:
        return Fitted(shipped)
    draw = np.random.default_rng(seed).permutation(len(telling)) % _FOLDS
    of = {j.project.id: int(fold) for j, fold in zip(telling, draw, strict=True)}
    rankers = tuple(_corrected(shipped, [j for j in used if of.get(j.project.id) != fold])[0] for fold in range(_FOLDS))
    folds = Folds(of, rankers)
    before = np.array([ndcg(j, shipped) for j in telling])
    after = np.array([ndcg(j, folds.unseen(j.project.id, shipped)) for j in telling])
    comparison = metrics.paired_bootstrap(after, before, seed)
    answers = sum(len(j.answered.x) for j in used)
    figures: dict[str, Any] = {
        "judged_projects": len(telling),
        "answers": answers,
        "ndcg@5_shipped": float(before.mean()),
        "ndcg@5_corrected": float(after.mean()),
        "difference": [comparison.difference, comparison.low, comparison.high],
    }
    if after.mean() < before.mean():
        return Fitted(shipped, figures=figures)
    ranker, pipeline = _corrected(shipped, used)
    return Fitted(ranker, pipeline, figures, folds, answers)


def ndcg(judged: Judged, ranker: Ranker) -> float:
    """nDCG@5 of the judged people of a project, as ``ranker`` orders them."""
    return metrics.ndcg_at_k(ranker.raw(judged.x), judged.grades, 5)


def _corrected(shipped: Ranker, judged: Sequence[Judged]) -> tuple[Ranker, Any]:
    """The shipped ranker plus a regularised correction learned from these projects."""
    x = np.vstack([*(j.x for j in judged if j.telling), *(j.answered.x for j in judged)])
    grades = np.hstack([*(j.grades for j in judged if j.telling), *(j.answered.grades for j in judged)])
    ones = [np.ones(len(j.x), dtype=np.float32) for j in judged if j.telling]
    weight = np.hstack([*ones, *(j.answered.weight for j in judged)])
    z = (x - shipped.mean) / shipped.scale
    # The shipped score leads: scaled up, its weight is all but free of the penalty that holds the corrections back.
    lead = shipped.raw(x)[:, None] * _LEAD
    pipeline = _fit(np.hstack([lead, z]).astype(np.float32), grades, weight)
    model = pipeline[-1]
    slope = max(float(model.coef_[0, 0]) * _LEAD, 0.1)
    coef = slope * shipped.coef + model.coef_[0, 1:]
    offset = float(model.intercept_[0]) + slope * shipped.baseline
    origin = f"shipped, corrected by {sum(j.telling for j in judged)} projects"
    answers = sum(len(j.answered.x) for j in judged)
    fitted = replace(
        shipped,
        coef=coef.astype(np.float32),
        baseline=offset,
        origin=f"{origin} and {answers} answers" if answers else origin,
    )
    return _recalibrated(fitted, shipped, x), pipeline


def _fit(x: Floats, grades: Floats, weight: Floats) -> Any:
    """A logistic regression from features to gain, each row of its own weight."""
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    rows, labels, shares = gain_rows(x, grades)
    # gain_rows repeats the rows whose grade is above 0; so do their weights.
    weights = shares * np.hstack([weight, weight[grades > 0]])
    scaler = StandardScaler(with_mean=False, with_std=False)
    pipeline = make_pipeline(scaler, LogisticRegression(C=CORRECTION_C, max_iter=1000))
    pipeline.fit(rows, labels, logisticregression__sample_weight=weights)
    return pipeline


def _recalibrated(fitted: Ranker, shipped: Ranker, x: Floats) -> Ranker:
    """Keep the shipped meaning of a probability: map the new raw scores onto the shipped ones' scale."""
    new, old = fitted.raw(x), shipped.raw(x)
    slope = float(old.std() / max(new.std(), 1e-9))
    offset = float(old.mean() - slope * new.mean())

    def moved(pair: tuple[float, float]) -> tuple[float, float]:
        return pair[0] * slope, pair[0] * offset + pair[1]

    return replace(fitted, single=moved(shipped.single), several=moved(shipped.several))


# --- the scikit-learn part ---------------------------------------------------------------------------------------


def save_pipeline(path: Path, pipeline: Any) -> None:
    """The fitted scikit-learn part, by skops: opening it runs nothing. Made byte-identical for the same numbers."""
    import io
    import re
    import zipfile

    import skops.io

    data = skops.io.dumps(pipeline)
    # skops names objects by their memory addresses; numbered in order of appearance, equal pipelines give equal files.
    seen: dict[str, str] = {}

    def number(match: re.Match[str]) -> str:
        return seen.setdefault(match.group(), str(len(seen) + 1))

    with zipfile.ZipFile(io.BytesIO(data)) as source, zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as target:
        schema = re.sub(r"\b\d{9,}\b", number, source.read("schema.json").decode())
        members = {re.sub(r"\d{9,}", number, n): source.read(n) for n in source.namelist()}
        for name, body in sorted((members | {"schema.json": schema.encode()}).items()):
            target.writestr(zipfile.ZipInfo(name, (1980, 1, 1, 0, 0, 0)), body)


def check_pipeline(folder: Path, manifest: Mapping[str, Any]) -> None:
    """Whether the scikit-learn part of a verified version, if it has one, is what this installation could open.

    Nothing opens it here: answers need its numbers alone, which are in ``ranker.json``. Raises ``FormatError`` where
    another scikit-learn made it, or where it names classes that are not scikit-learn's or NumPy's own,
    ``DamagedModelError`` where it can't be read.
    """
    path = folder / PIPELINE_FILE
    if not path.is_file():
        return
    import sklearn

    made = str(manifest.get("libraries", {}).get("scikit-learn", "?"))
    if made.split(".")[:2] != sklearn.__version__.split(".")[:2]:
        raise FormatError(
            f"The ranker was trained with scikit-learn {made}; this is {sklearn.__version__}.",
            "Train again with this one: skillmatch train",
        )
    import skops.io

    try:
        foreign = skops.io.get_untrusted_types(file=path)
    except Exception as error:  # a damaged archive makes zipfile, json and skops raise anything
        raise DamagedModelError(f"{path} can't be read ({error}).", "Train again: skillmatch train") from error
    if foreign:
        raise FormatError(
            f"{path} asks for classes that no ranker is made of: {', '.join(foreign)}.",
            "Don't use this version. Train again: skillmatch train",
        )
