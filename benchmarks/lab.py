"""How well the product ranks people for needs: ``python -m benchmarks.lab WORKSPACE_DIR...``.

A folder holds profiles, judgements and projects: ``projects_fr`` and ``projects_en`` with the same ids, or one
``projects`` file whose languages are told by their words. A workspace will do as well (its ``data/``). The product is
trained on the profiles alone; the judgements are only measured against. People whom the judgements of a need do not
name count as grade 0.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from skillmatch import metrics
from skillmatch.encoders import Encoder
from skillmatch.errors import DataError, Problem, UsageError
from skillmatch.matcher import Matcher, Options
from skillmatch.metrics import Comparison, Interval
from skillmatch.ranking import FEATURES, RELEVANCE_FEATURES, TEXT_FEATURES, Ranker
from skillmatch.records import Profile, Project, Suggestion
from skillmatch.sources import read_judgements, read_profiles, read_projects
from skillmatch.training import language

from .common import Items, Matrix, Report, arguments, asked, people_baselines, ratio_interval, say, trained

TOP = 5
NOBODY = "nobody fits"
#: What the first part of a project id says of its kind, where it says anything; see --kind-prefix.
KINDS = {"N": "single", "C": "composite"}
BINS = 10


@dataclass(frozen=True)
class Lab:
    """One folder's people, their projects by language, and grades: project -> person -> grade."""

    folder: Path
    files: dict[str, bytes]
    profiles: list[Profile]
    projects: list[tuple[str, Project]]
    grades: dict[str, dict[str, float]]

    @property
    def name(self) -> str:
        """What tables call it."""
        return self.folder.name

    @classmethod
    def read(cls, folder: Path) -> Lab:
        """Raises ``DataError`` where a file is wrong, ``UsageError`` where one is missing."""
        data = folder / "data" if (folder / "data").is_dir() else folder
        people = _one(data, "profiles")
        profiles = _sound(people, *read_profiles(people))
        judged = _one(data, "judgements")
        grades: dict[str, dict[str, float]] = {}
        for j in _sound(judged, *read_judgements(judged)):
            grades.setdefault(j.project_id, {})[j.profile_id] = j.grade
        projects: list[tuple[str, Project]] = []
        for path in sorted(data.glob("projects*.*")):
            told = path.stem.removeprefix("projects").strip("_-")
            for p in _sound(path, *read_projects(path)):
                projects.append((told or language(asked(p)), p))
        if not projects:
            raise UsageError(f"There are no projects in {data}.", "Give projects_fr and projects_en, or projects.")
        files = {f"profiles{people.suffix}": people.read_bytes()}
        if (data / "skills.csv").is_file():
            files["skills.csv"] = (data / "skills.csv").read_bytes()
        return cls(folder, files, profiles, projects, grades)


def _one(folder: Path, stem: str) -> Path:
    found = sorted(p for p in folder.glob(f"{stem}.*") if p.is_file())
    if len(found) != 1:
        raise UsageError(f"{folder} holds {len(found)} files named {stem}.*, not one.", "Name a folder with one.")
    return found[0]


def _sound(path: Path, records: list, problems: Sequence[Problem]) -> list:  # type: ignore[type-arg]
    errors = [p for p in problems if p.severity == "error"]
    if errors:
        raise DataError(f"{path} has {len(errors)} error(s).", "See: skillmatch check", problems)
    return records


# --- one need, one answer ------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Answered:
    """What was measured of one need in one language; ``key`` is the same in every language."""

    key: str
    language: str
    kind: str
    chance: NDArray[np.float64]  # of each person: the probability the product said
    grades: NDArray[np.float64]
    abstained: bool
    ndcg: dict[str, float]  # by system; empty where nobody fits

    @property
    def fits(self) -> bool:
        return self.kind != NOBODY


PRODUCT = "skillmatch"


def kind_of(project: Project, grades: Sequence[float], needs: int, prefixes: dict[str, str]) -> str:
    """``nobody fits`` where nobody is graded above 0; else what the id's prefix says; else by the number of needs."""
    if max(grades, default=0) <= 0:
        return NOBODY
    prefix, dash, _ = project.id.partition("-")
    return prefixes.get(prefix if dash else "", "single" if needs == 1 else "composite")


def measure(lab: Lab, matcher: Matcher, encoder: Encoder, prefixes: dict[str, str]) -> list[Answered]:
    """Ask the product and the baselines for every project of the lab."""
    ids = [p.id for p in lab.profiles]
    plain = people_baselines([asked(p) for _, p in lab.projects], Items.of(lab.profiles), encoder)
    out: list[Answered] = []
    answers = matcher.match_many((p for _, p in lab.projects), Options(top=None))
    for row, ((lang, project), answer) in enumerate(zip(lab.projects, answers, strict=True)):
        grades = np.array([lab.grades.get(project.id, {}).get(i, 0.0) for i in ids])
        raw, chance = scores_of(answer, ids)
        systems = {PRODUCT: raw, **{name: scores[row] for name, scores in plain.items()}}
        kind = kind_of(project, list(grades), len(answer.project.needs), prefixes)
        ndcg = {} if kind == NOBODY else {n: metrics.ndcg_at_k(s, grades, TOP) for n, s in systems.items()}
        out.append(Answered(f"{lab.folder}/{project.id}", lang, kind, chance, grades, answer.abstained, ndcg))
    return out


def scores_of(answer: Suggestion, ids: Sequence[str]) -> tuple[Matrix, Matrix]:
    """(raw scores, probabilities) of an answer over ``ids``; whom it leaves out comes last, with probability 0."""
    raw = {m.profile.id: m.raw for m in answer.matches}
    chance = {m.profile.id: m.score for m in answer.matches}
    last = min(raw.values(), default=0.0) - 1.0
    return np.array([raw.get(i, last) for i in ids]), np.array([chance.get(i, 0.0) for i in ids])


def by_need(answered: Sequence[Answered], values: Sequence[float]) -> list[float]:
    """One value a need: the mean over the languages it was asked in, which are not independent."""
    found: dict[str, list[float]] = {}
    for a, value in zip(answered, values, strict=True):
        found.setdefault(a.key, []).append(value)
    return [float(np.mean(v)) for v in found.values()]


# --- tables --------------------------------------------------------------------------------------------------------


def columns_of(answered: Iterable[Answered]) -> list[tuple[str, str]]:
    """(language, kind) of the needs that somebody fits, in a fixed order."""
    order = {"fr": 0, "en": 1, "single": 0, "composite": 1}
    found = {(a.language, a.kind) for a in answered if a.fits}
    return sorted(found, key=lambda c: (order.get(c[0], 9), c[0], order.get(c[1], 9), c[1]))


def ranking_tables(report: Report, where: str, answered: Sequence[Answered], seed: int) -> None:
    """nDCG@5 of every system, and the product less the best baseline of each column, paired."""
    columns = columns_of(answered)
    if not columns:
        return
    cells = {c: [a.ndcg for a in answered if (a.language, a.kind) == c] for c in columns}
    systems = list(cells[columns[0]][0])
    values = {s: [[n[s] for n in cells[c]] for c in columns] for s in systems}
    heads = [f"{lang} {kind}" for lang, kind in columns]
    counts = ", ".join(f"{h}: {len(cells[c])}" for h, c in zip(heads, columns, strict=True))
    report.table(
        f"{where}: nDCG@{TOP}",
        heads,
        {s: [metrics.bootstrap_interval(v, seed) for v in values[s]] for s in systems},
        f"needs: {counts}; 95 % bootstrap intervals over needs",
    )
    rivals = [max((s for s in systems if s != PRODUCT), key=lambda s: np.mean(values[s][k])) for k in range(len(heads))]
    report.table(
        f"{where}: {PRODUCT} less the best baseline of each column (nDCG@{TOP}, paired)",
        heads,
        {
            "difference": [
                metrics.paired_bootstrap(values[PRODUCT][k], values[r][k], seed) for k, r in enumerate(rivals)
            ],
            "baseline": list(rivals),
        },
    )


def language_table(report: Report, where: str, answered: Sequence[Answered], seed: int) -> None:
    """French over English, over the needs given in both."""
    sides = {lang: {a.key: a for a in answered if a.language == lang and a.fits} for lang in ("fr", "en")}
    both = sorted(sides["fr"].keys() & sides["en"].keys())
    if not both:
        return
    systems = list(sides["fr"][both[0]].ndcg)
    kinds = list(dict.fromkeys(kind for _, kind in columns_of(sides["fr"].values())))
    chosen = {k: [key for key in both if sides["fr"][key].kind == k] for k in kinds} | {"all": both}

    def ratio(system: str, keys: Sequence[str]) -> Interval:
        french, english = ([sides[lang][key].ndcg[system] for key in keys] for lang in ("fr", "en"))
        return ratio_interval(french, english, seed)

    rows = {s: [ratio(s, keys) for keys in chosen.values()] for s in systems}
    report.table(f"{where}: French over English, nDCG@{TOP} on needs given in both", list(chosen), rows)


def honesty_tables(report: Report, where: str, answered: Sequence[Answered], seed: int) -> None:
    """Abstention, and whether probabilities come true."""
    languages = [*dict.fromkeys(lang for lang, _ in columns_of(answered)), "all"]
    kinds = [*dict.fromkeys(kind for _, kind in columns_of(answered))]

    def rate(kind: str | None, lang: str) -> Interval | None:
        chosen = [a for a in answered if lang in ("all", a.language) and (a.fits if kind is None else a.kind == kind)]
        own = by_need(chosen, [float(a.abstained) for a in chosen])
        return metrics.bootstrap_interval(own, seed) if own else None

    rows = {f"of needs that nobody fits (more is better): {NOBODY}": [rate(NOBODY, x) for x in languages]}
    rows |= {f"of true needs (less is better): {k}": [rate(k, x) for x in languages] for k in kinds}
    rows["of true needs (less is better): all"] = [rate(None, x) for x in languages]
    report.table(f"{where}: share of needs abstained on", languages, rows)
    report.table(
        f"{where}: expected calibration error of the probabilities, {BINS} bins, all (need, person) pairs",
        ["grade >= 1", "grade >= 2"],
        {
            kind: [ece_interval([a for a in answered if kind in ("all", a.kind)], grade, seed) for grade in (1.0, 2.0)]
            for kind in (*kinds, "all")
        },
        "people whom the judgements of a need do not name count as grade 0; intervals over needs",
    )


def ece_interval(answered: Sequence[Answered], useful: float, seed: int = 0, n: int = 2000) -> Interval:
    """``metrics.ece`` of all pairs, and its 95 % interval over resampled needs."""
    of_need: dict[str, list[Answered]] = {}
    for a in answered:
        of_need.setdefault(a.key, []).append(a)
    groups = [
        (np.hstack([a.chance for a in own]), np.hstack([a.grades >= useful for a in own]).astype(float))
        for own in of_need.values()
    ]
    drawn = np.random.default_rng(seed).integers(len(groups), size=(n, len(groups)))
    low, high = np.quantile(metrics.ece_of_draws(groups, drawn, BINS), (0.025, 0.975))
    said, true = (np.hstack(side) for side in zip(*groups, strict=True))
    return Interval(metrics.ece(said, true, BINS), float(low), float(high), len(groups))


# --- ablation ------------------------------------------------------------------------------------------------------

#: What comes from the concept channel alone.
CONCEPT_FEATURES = tuple(f for f in FEATURES if f.startswith(("skill_", "near_")))


def without(ranker: Ranker, features: Sequence[str] = (), relevance: Sequence[str] = ()) -> Ranker:
    """The ranker with these coefficients and these weights of single items' relevance at 0; nothing is refitted."""
    coef, weights = np.array(ranker.coef, copy=True), np.array(ranker.relevance, copy=True)
    for name in features:
        coef[FEATURES.index(name)] = 0.0
    for name in relevance:
        weights[RELEVANCE_FEATURES.index(name)] = 0.0
    return replace(ranker, coef=coef, relevance=weights)


def ablations(ranker: Ranker) -> dict[str, Ranker]:
    """What is left of the ranker without each part."""
    whole = {
        "the concept channel": without(ranker, CONCEPT_FEATURES, ("concept",)),
        "the text channels": without(ranker, TEXT_FEATURES, tuple(r for r in RELEVANCE_FEATURES if r != "concept")),
    }
    single = {f"feature {f}": without(ranker, (f,)) for f in FEATURES}
    inner = {f"relevance of an item: {r}": without(ranker, relevance=(r,)) for r in RELEVANCE_FEATURES}
    return whole | single | inner


def ablate(lab: Lab, matcher: Matcher, answered: Sequence[Answered]) -> dict[str, list[float]]:
    """Part -> nDCG@5 without it, one value an answer of ``answered`` (nan where nobody fits)."""
    ids = [p.id for p in lab.profiles]
    out: dict[str, list[float]] = {}
    for part, ranker in ablations(matcher.ranker).items():
        answers = replace(matcher, ranker=ranker).match_many((p for _, p in lab.projects), Options(top=None))
        raws = [scores_of(answer, ids)[0] for answer in answers]
        out[part] = [
            metrics.ndcg_at_k(raw, a.grades, TOP) if a.fits else float("nan")
            for raw, a in zip(raws, answered, strict=True)
        ]
    return out


def ablation_table(
    report: Report, where: str, answered: Sequence[Answered], left: dict[str, list[float]], seed: int
) -> None:
    """What each part brings: with it less without it, paired."""
    columns = columns_of(answered)

    def brings(part: str, column: tuple[str, str] | None) -> Comparison:
        rows = [k for k, a in enumerate(answered) if a.fits and column in (None, (a.language, a.kind))]
        chosen = [answered[k] for k in rows]
        whole = by_need(chosen, [a.ndcg[PRODUCT] for a in chosen])
        return metrics.paired_bootstrap(whole, by_need(chosen, [left[part][k] for k in rows]), seed)

    report.table(
        f"{where}: what each part brings, nDCG@{TOP} with it less without it",
        [*(f"{lang} {kind}" for lang, kind in columns), "all"],
        {part: [brings(part, c) for c in (*columns, None)] for part in left},
        "one part at a time is set to 0, nothing is refitted",
    )


def main(argv: Sequence[str] | None = None) -> None:
    parser = arguments(__doc__)
    parser.add_argument("folders", nargs="+", type=Path, metavar="WORKSPACE_DIR")
    parser.add_argument("--ablate", action="store_true", help="measure what each part of the score brings")
    parser.add_argument(
        "--kind-prefix",
        action="append",
        metavar="PREFIX=KIND",
        help="what the part of a project id before its first '-' says (default: N=single, C=composite)",
    )
    given = parser.parse_args(argv)
    prefixes = dict(p.split("=", 1) for p in given.kind_prefix) if given.kind_prefix else KINDS
    report, every = Report(), []
    left: dict[str, list[float]] = {}
    for folder in given.folders:
        lab = Lab.read(folder.resolve())
        say(f"{lab.name}: {len(lab.profiles)} people, {len(lab.projects)} needs")
        with trained(lab.files, given.cache, given.encoder) as matcher:
            answered = measure(lab, matcher, matcher.encoder, prefixes)
            own = ablate(lab, matcher, answered) if given.ablate else {}
        show(report, lab.name, answered, own, given.seed)
        every += answered
        for part, values in own.items():
            left.setdefault(part, []).extend(values)
    if len(given.folders) > 1:
        show(report, "all folders", every, left, given.seed)
    report.write(given.json)


def show(report: Report, where: str, answered: Sequence[Answered], left: dict[str, list[float]], seed: int) -> None:
    """Every table of one folder, or of all."""
    ranking_tables(report, where, answered, seed)
    language_table(report, where, answered, seed)
    honesty_tables(report, where, answered, seed)
    if left:
        ablation_table(report, where, answered, left, seed)


if __name__ == "__main__":
    main()
