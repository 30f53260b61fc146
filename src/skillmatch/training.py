"""Retrain: read the data, embed only what changed, fit, compare with the current version, promote or keep aside.

The concept classifier depends on taxonomy and encoder alone, so it is fitted once and kept in ``models/cache``; vectors
are cached by content. The ranker starts from the shipped parameters and moves only as far as the lab's judgements
justify: they are one feature among weakly regularised corrections, and are kept where a cross-validation over
projects does not favour the correction.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from . import metrics
from ._version import __version__
from .encoders import CachedEncoder, Encoder, resolve_encoder
from .errors import DamagedModelError, ModelError, UsageError
from .matcher import NOBODY, Matcher, Options, load
from .needs import Understood
from .ranking import Ranker, fit_ranker
from .records import Judgement, Project, Suggestion
from .retrieval import Floats
from .runtime import Settings, Workspace, cores
from .sources import Dataset, read_workspace
from .store import Store
from .taxonomy import ConceptModel, LevelModel, Taxonomy, examples, fit_concepts, fit_levels, read_additions

#: Fewer judged projects than this can't move the ranker nor decide between two versions.
FEWEST_PROJECTS = 8
#: A grade from here on counts as useful, for calibration and for precision-like metrics.
USEFUL = 2.0
#: The challenger is refused where it is worse by more than this (nDCG@5) and a paired bootstrap excludes chance.
TOLERANCE = 0.005
#: How strongly corrections of the shipped ranker are held back (scikit-learn's C over standardised features).
CORRECTION_C = 0.001
_LEAD = 30.0
#: Resamples behind the interval of a calibration error.
_RESAMPLED = 400

Stage = Callable[[str, int, int], None]


@dataclass(frozen=True)
class Report:
    """What a training did; ``skillmatch train`` shows it."""

    version: str | None
    promoted: bool
    reason: str
    people: int
    items: int
    embedded: int
    unchanged: bool
    ranker: str
    metrics: Mapping[str, Any] | None = None
    previous: str | None = None


def train(
    workspace: Workspace,
    settings: Settings,
    *,
    full: bool = False,
    dry_run: bool = False,
    force: bool = False,
    stage: Stage = lambda *_: None,
) -> Report:
    """Build a version from the workspace's data; promote it unless it is worse (or ``force``).

    ``full``: forget cached vectors and classifiers first. ``dry_run``: write nothing. Raises ``DataError`` with every
    problem where the data is wrong; then nothing is written.
    """
    dataset = read_workspace(workspace).require()
    store = Store(workspace.models)
    taxonomy = workspace_taxonomy(workspace, dataset)
    if not any(p.consent is not False for p in dataset.profiles):
        raise NOBODY
    with store.lock():
        if full:
            shutil.rmtree(workspace.models / "cache", ignore_errors=True)
        encoder = _encoder(workspace, settings)
        model, levels = concept_models(workspace.models / "cache", taxonomy, encoder, stage)
        matcher = Matcher.fit(
            dataset.profiles,
            taxonomy,
            encoder,
            model,
            levels,
            progress=_counted(stage, "profiles", dataset),
        )
        judged = judged_projects(matcher, dataset.projects, dataset.judgements)
        ranker, pipeline, figures = fit_to_judgements(matcher, judged, int(settings["seed"]))
        matcher = replace(matcher, ranker=ranker)
        stage("version", 0, 1)
        return _finish(store, workspace, settings, dataset, matcher, encoder, pipeline, figures, judged, dry_run, force)


def _encoder(workspace: Workspace, settings: Settings) -> CachedEncoder:
    inner = resolve_encoder(str(settings["encoder"]), workspace.models / "encoders", cores(settings))
    return CachedEncoder(inner, workspace.models / "cache" / f"{inner.fingerprint}.sqlite")


def _counted(stage: Stage, name: str, dataset: Dataset) -> Callable[[int], None]:
    total = sum(len(p.skills) + len(p.evidence) for p in dataset.profiles if p.consent is not False)
    done = 0

    def progress(n: int) -> None:
        nonlocal done
        done += n
        stage(name, done, total)

    stage(name, 0, total)
    return progress


def workspace_taxonomy(workspace: Workspace, dataset: Dataset) -> Taxonomy:
    """The shipped taxonomy with the lab's own concepts."""
    return Taxonomy([*Taxonomy.shipped().concepts, *read_additions(workspace.data / "skills.csv", dataset.skills)])


def concept_models(
    cache: Path, taxonomy: Taxonomy, encoder: Encoder, stage: Stage = lambda *_: None
) -> tuple[ConceptModel, LevelModel]:
    """The classifiers of this taxonomy and encoder, fitted at most once and kept in ``cache``."""
    text = json.dumps([asdict(c) for c in taxonomy.concepts], sort_keys=True, ensure_ascii=False)
    key = hashlib.blake2b(f"{__version__}\0{encoder.fingerprint}\0{text}".encode(), digest_size=8).hexdigest()
    folder = cache / f"concepts-{key}"
    if folder.is_dir():
        try:
            return ConceptModel.load(folder, len(taxonomy)), LevelModel.load(folder)
        except DamagedModelError:
            shutil.rmtree(folder)  # a cache: made anew below
    total = len(examples(taxonomy).text)
    done = 0

    def progress(n: int) -> None:
        nonlocal done
        done += n
        stage("taxonomy", done, total)

    stage("taxonomy", 0, total)
    model = fit_concepts(taxonomy, encoder, progress)
    levels = fit_levels(taxonomy, encoder)
    cache.mkdir(parents=True, exist_ok=True)
    temporary = Path(tempfile.mkdtemp(prefix=".concepts-", dir=cache))
    try:
        model.save(temporary)
        levels.save(temporary)
        temporary.rename(folder)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    # Read back, so that the first training computes with the very numbers that later ones will.
    return ConceptModel.load(folder, len(taxonomy)), LevelModel.load(folder)


# --- judgements --------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Judged:
    """One project with its judged people: features (people, FEATURES), averaged over its needs, and grades."""

    project: Project
    needs: int
    people: NDArray[np.int64]
    x: Floats
    grades: Floats


def judged_projects(matcher: Matcher, projects: Sequence[Project], judgements: Sequence[Judgement]) -> list[Judged]:
    """Features of every judged pair whose person this version shows."""
    place = {p["id"]: i for i, p in enumerate(matcher.people)}
    grades: dict[str, dict[int, float]] = {}
    for j in judgements:
        if j.profile_id in place:
            grades.setdefault(j.project_id, {})[place[j.profile_id]] = float(j.grade)
    chosen = [p for p in projects if p.id in grades]
    return [_judged(matcher, u, grades[u.project.id]) for u in matcher.understand(chosen)] if chosen else []


def _judged(matcher: Matcher, understood: Understood, grades: Mapping[int, float]) -> Judged:
    features, _ = matcher.features(understood)
    weight = np.array([n.weight for n in understood.project.needs], dtype=np.float32)
    mean = np.einsum("n,npf->pf", weight / weight.sum(), features)
    people = np.array(sorted(grades), dtype=np.int64)
    return Judged(
        understood.project,
        len(understood.project.needs),
        people,
        mean[people].astype(np.float32),
        np.array([grades[int(i)] for i in people], dtype=np.float32),
    )


def fit_to_judgements(
    matcher: Matcher, judged: Sequence[Judged], seed: int
) -> tuple[Ranker, Any | None, dict[str, Any] | None]:
    """(ranker, scikit-learn pipeline or None, cross-validated figures or None).

    The correction is kept only where leave-projects-out cross-validation does not rank worse with it.
    """
    shipped = matcher.ranker
    # By id: what is held out together must not depend on where a project stands in the file.
    telling = sorted((j for j in judged if j.grades.max(initial=0) > 0), key=lambda j: j.project.id)
    if len(telling) < FEWEST_PROJECTS:
        return shipped, None, None
    before = np.array([_ndcg(j, shipped.raw(j.x)) for j in telling])
    after = np.zeros(len(telling))
    folds = np.random.default_rng(seed).permutation(len(telling)) % 5
    held_raw: list[NDArray[np.float64]] = []
    for i, j in enumerate(telling):
        ranker, _ = _corrected(shipped, [k for f, k in zip(folds, telling, strict=True) if f != folds[i]])
        held_raw.append(ranker.raw(j.x))
        after[i] = _ndcg(j, held_raw[-1])
    comparison = metrics.paired_bootstrap(after, before, seed)
    figures = {
        "judged_projects": len(telling),
        "ndcg@5_shipped": float(before.mean()),
        "ndcg@5_corrected": float(after.mean()),
        "difference": [comparison.difference, comparison.low, comparison.high],
    }
    if after.mean() < before.mean():
        return shipped, None, figures
    ranker, pipeline = _corrected(shipped, telling)
    return ranker, pipeline, figures


def _ndcg(judged: Judged, raw: NDArray[np.float64]) -> float:
    return metrics.ndcg_at_k(raw, judged.grades, 5)


def _corrected(shipped: Ranker, judged: Sequence[Judged]) -> tuple[Ranker, Any]:
    """The shipped ranker plus a regularised correction learned from these projects."""
    x = np.vstack([j.x for j in judged])
    grades = np.hstack([j.grades for j in judged])
    z = (x - shipped.mean) / shipped.scale
    # The shipped score leads: scaled up, its weight is all but free of the penalty that holds the corrections back.
    lead = shipped.raw(x)[:, None] * _LEAD
    pipeline = fit_ranker(np.hstack([lead, z]).astype(np.float32), grades, CORRECTION_C, standardise=False)
    model = pipeline[-1]
    slope = max(float(model.coef_[0, 0]) * _LEAD, 0.1)
    coef = slope * shipped.coef + model.coef_[0, 1:]
    offset = float(model.intercept_[0]) + slope * shipped.baseline
    fitted = replace(
        shipped, coef=coef.astype(np.float32), baseline=offset, origin=f"shipped, corrected by {len(judged)} projects"
    )
    return _recalibrated(fitted, shipped, judged), pipeline


def _recalibrated(fitted: Ranker, shipped: Ranker, judged: Sequence[Judged]) -> Ranker:
    """Keep the shipped meaning of a probability: map the new raw scores onto the shipped ones' scale."""
    new = np.hstack([fitted.raw(j.x) for j in judged])
    old = np.hstack([shipped.raw(j.x) for j in judged])
    slope = float(old.std() / max(new.std(), 1e-9))
    offset = float(old.mean() - slope * new.mean())

    def moved(pair: tuple[float, float]) -> tuple[float, float]:
        return pair[0] * slope, pair[0] * offset + pair[1]

    return replace(fitted, single=moved(shipped.single), several=moved(shipped.several))


# --- versions ----------------------------------------------------------------------------------------------------


def _finish(
    store: Store,
    workspace: Workspace,
    settings: Settings,
    dataset: Dataset,
    matcher: Matcher,
    encoder: CachedEncoder,
    pipeline: Any | None,
    figures: dict[str, Any] | None,
    judged: Sequence[Judged],
    dry_run: bool,
    force: bool,
) -> Report:
    previous = store.current()

    def report(version: str | None, promoted: bool, reason: str, unchanged: bool = False) -> Report:
        return Report(
            version,
            promoted,
            reason,
            people=len(matcher.people),
            items=len(matcher.index.owner),
            embedded=encoder.misses,
            unchanged=unchanged,
            ranker=matcher.ranker.origin,
            metrics=figures,
            previous=previous,
        )

    if dry_run:
        return report(None, False, "a dry run: nothing was written")
    with store.writing() as draft:
        matcher.save(draft.path)
        if pipeline is not None:
            save_pipeline(draft.path / "ranker.skops", pipeline)
        _smoke(draft.path, encoder.inner, matcher)
        version = draft.commit(_meta(matcher, settings, figures))
    if version == previous:
        return report(version, True, "nothing has changed", unchanged=True)
    reason, worse = _compare(store, workspace, previous, matcher, judged, dataset, int(settings["seed"]))
    store.record({"event": "trained", "version": version, "previous": previous, "why": reason})
    if worse and not force:
        return report(version, False, reason)
    store.promote(version, f"{reason} (forced)" if worse else reason)
    return report(version, True, reason)


def _meta(matcher: Matcher, settings: Settings, figures: Mapping[str, Any] | None) -> dict[str, Any]:
    import sklearn

    return {
        "skillmatch": __version__,
        "libraries": {"numpy": np.__version__, "scikit-learn": sklearn.__version__},
        "encoder": matcher.encoder.fingerprint,
        "encoder_name": str(settings["encoder"]),
        "seed": int(settings["seed"]),
        "people": len(matcher.people),
        "items": len(matcher.index.owner),
        "concepts": len(matcher.concepts),
        "ranker": matcher.ranker.origin,
        "metrics": figures,
    }


def _smoke(folder: Path, encoder: Encoder, matcher: Matcher) -> None:
    """Open what was written and answer with it: the same scores, or the version is not made."""
    opened = Matcher.load(folder, "", encoder)
    text = matcher.items.proof(0).text
    want = matcher.match(text, Options(top=None))
    got = opened.match(text, Options(top=None))
    if [(m.profile.id, m.raw) for m in want.matches] != [(m.profile.id, m.raw) for m in got.matches]:
        raise ModelError("The new version answers differently once saved; it was not kept.", "Please report this.")


def _compare(
    store: Store,
    workspace: Workspace,
    previous: str | None,
    matcher: Matcher,
    judged: Sequence[Judged],
    dataset: Dataset,
    seed: int,
) -> tuple[str, bool]:
    """(why, whether the new version is worse), by the judgements both can be held to."""
    if previous is None:
        return "the first version", False
    if sum(j.grades.max(initial=0) > 0 for j in judged) < FEWEST_PROJECTS:
        return f"promoted unjudged: fewer than {FEWEST_PROJECTS} judged projects can't tell two versions apart", False
    try:
        old = load(workspace, previous)
    except (DamagedModelError, ModelError, UsageError) as error:
        return f"the version before can't be opened ({error.message})", False
    theirs = {j.project.id: j for j in judged_projects(old, dataset.projects, dataset.judgements)}
    pairs = [(j, theirs[j.project.id]) for j in judged if j.grades.max(initial=0) > 0 and j.project.id in theirs]
    # Both are scored by the shipped ranker, which has seen none of these judgements.
    ranker = Ranker.shipped(matcher.ranker.trust)
    new = np.array([_ndcg(ours, ranker.raw(ours.x)) for ours, _ in pairs])
    was = np.array([_ndcg(before, ranker.raw(before.x)) for _, before in pairs])
    c = metrics.paired_bootstrap(new, was, seed)
    worse = c.difference < -TOLERANCE and c.high < 0
    figures = (
        f"nDCG@5 {was.mean():.3f} -> {new.mean():.3f}, difference {c.difference:+.3f} [{c.low:+.3f}, {c.high:+.3f}]"
    )
    return (f"worse than {previous}: {figures}" if worse else f"not worse than {previous}: {figures}"), worse


def save_pipeline(path: Path, pipeline: Any) -> None:
    """The fitted scikit-learn part, by skops: opening it runs nothing. Made byte-identical for the same numbers."""
    import re
    import zipfile

    import skops.io

    data = skops.io.dumps(pipeline)
    import io

    # skops names objects by their memory addresses; numbered in order of appearance, equal pipelines give equal files.
    seen: dict[str, str] = {}

    def number(match: re.Match[str]) -> str:
        return seen.setdefault(match.group(), str(len(seen) + 1))

    with zipfile.ZipFile(io.BytesIO(data)) as source, zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as target:
        schema = re.sub(r"\b\d{9,}\b", number, source.read("schema.json").decode())
        members = {re.sub(r"\d{9,}", number, n): source.read(n) for n in source.namelist()}
        for name, body in sorted((members | {"schema.json": schema.encode()}).items()):
            target.writestr(zipfile.ZipInfo(name, (1980, 1, 1, 0, 0, 0)), body)


# --- evaluation --------------------------------------------------------------------------------------------------


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
    draws = (rng.integers(len(some), size=len(some)) for _ in range(_RESAMPLED))
    low, high = np.quantile([metrics.ece(*_pooled([some[k] for k in draw])) for draw in draws], (0.025, 0.975))
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
