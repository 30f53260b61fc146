"""Ordering papers by a person's expertise: ``python -m benchmarks.reviewers DIR``.

The task of "A Gold Standard Dataset for the Reviewer Assignment Problem" (Stelmakh et al., arXiv 2303.16750): people
are known by their publications, and said of some other papers how expert they are on them. DIR is the authors'
repository as they publish it, or a folder with profiles_*.jsonl (one file a sampling of the publications),
projects.jsonl (the papers) and judgements.csv (the ratings). A score has to be comparable over papers here, so it is
the probability that the product shows, not its rank.
"""

from __future__ import annotations

import csv
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
from numpy.typing import NDArray

from skillmatch import metrics
from skillmatch.errors import UsageError
from skillmatch.matcher import Options
from skillmatch.metrics import Interval
from skillmatch.records import Profile, Project
from skillmatch.sources import read_profiles, read_projects

from .common import (
    BEST_CHARS,
    BEST_VECTORS,
    FUSED,
    Difference,
    Items,
    Matrix,
    Report,
    arguments,
    asked,
    people_baselines,
    rank_fusion,
    ratio_interval,
    say,
    trained,
)

PRODUCT = "skillmatch"
#: The authors' profiles hold the twenty most recent papers of a person.
RECENT, SAMPLINGS = 20, 10
#: A pair is easy where one paper is rated at least HIGH and the other at most LOW, hard where both are at least HIGH.
HIGH, LOW = 4.0, 2.0

Ratings = dict[str, dict[str, float]]  # person -> paper -> how expert they say they are, 1 to 5


@dataclass(frozen=True)
class Task:
    """People (profiles.jsonl, one a sampling), papers (projects.jsonl) and ratings."""

    samplings: list[bytes]
    papers: bytes
    ratings: Ratings


# --- reading -------------------------------------------------------------------------------------------------------


def read_task(folder: Path, samplings: int | None = None) -> Task:
    """The task in ``folder``, of either layout. Raises ``UsageError`` where it is neither."""
    if (folder / "projects.jsonl").is_file():
        profiles = sorted(folder.glob("profiles*.jsonl"))[:samplings]
        ratings: Ratings = {}
        for row in _rows(folder / "judgements.csv", ","):
            ratings.setdefault(row["profile_id"], {})[row["project_id"]] = float(row["grade"])
        return Task([p.read_bytes() for p in profiles], (folder / "projects.jsonl").read_bytes(), ratings)
    data = folder / "data" if (folder / "data").is_dir() else folder
    if not (data / "evaluations.csv").is_file():
        raise UsageError(
            f"{folder} is neither the authors' repository nor a folder with projects.jsonl.",
            "Give the folder that holds data/evaluations.csv, or one with profiles_*.jsonl.",
        )
    return _published(folder, data, samplings)


def _published(folder: Path, data: Path, samplings: int | None) -> Task:
    """The authors' layout: their own samplings where the repository holds them, else drawn by their rule."""
    ratings = read_evaluations(data / "evaluations.csv")
    wanted = sorted({paper for rated in ratings.values() for paper in rated})
    papers = {p: found for p in wanted if (found := _paper(data, p))}
    missing = [p for p in wanted if p not in papers]
    if missing:
        say(f"left out, no title and abstract: {', '.join(missing)}")
    ratings = {who: {p: r for p, r in rated.items() if p in papers} for who, rated in ratings.items()}
    made = sorted((folder / "evaluation_datasets").glob("d_20_*"), key=lambda p: int(p.name.rpartition("_")[2]))
    if made:
        people = [_archived(d / "archives", ratings) for d in made[:samplings]]
    else:
        people = [_sampled(data, ratings, seed) for seed in range(samplings or SAMPLINGS)]
    projects = [{"id": p, "title": title[:300], "description": text} for p, (title, text, _) in papers.items()]
    return Task([_jsonl(p) for p in people], _jsonl(projects), ratings)


def read_evaluations(path: Path) -> Ratings:
    """The authors' table: ParticipantID, Paper1..Paper10, Expertise1..Expertise10, separated by tabs."""
    return {
        row["ParticipantID"]: {
            row[f"Paper{k}"]: float(row[f"Expertise{k}"]) for k in range(1, 11) if row[f"Paper{k}"].strip()
        }
        for row in _rows(path, "\t")
    }


def _rows(path: Path, separator: str) -> list[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file, delimiter=separator))


def _paper(data: Path, paper: str) -> tuple[str, str, int] | None:
    """(title, abstract, year), or None where one is missing: the authors leave such papers out."""
    path = data / "papers" / f"{paper}.json"
    return _complete(json.loads(path.read_text("utf-8"))) if path.is_file() else None


def _complete(entry: Mapping[str, Any]) -> tuple[str, str, int] | None:
    title, abstract, year = (entry.get(k) for k in ("title", "abstract", "year"))
    return (_clean(title), _clean(abstract), int(year)) if title and abstract and year is not None else None


def _clean(text: str) -> str:
    """Without the control characters that parsing PDF leaves behind."""
    return re.sub(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]", " ", text).strip()


def _archived(archives: Path, people: Mapping[str, object]) -> list[dict[str, Any]]:
    """Profiles from a folder of the authors' own samplings: archives/~ID.jsonl, one paper a line."""
    out = []
    for person in sorted(people):
        lines = (archives / f"~{person}.jsonl").read_text("utf-8").splitlines()
        papers = [_complete(json.loads(line)["content"]) for line in lines if line.strip()]
        out.append(_profile(person, [p for p in papers if p]))
    return [p for p in out if p["evidence"]]


def _sampled(data: Path, people: Mapping[str, object], seed: int) -> list[dict[str, Any]]:
    """Profiles of each person's RECENT latest papers; papers of one year in random order."""
    rng = np.random.default_rng(seed)
    out = []
    for person in sorted(people):
        entry = json.loads((data / "participants" / f"{person}.json").read_text("utf-8"))
        ids = sorted({p["paperId"] for p in entry["papers"] if p["paperId"]})
        papers = [p for i in rng.permutation(len(ids)) if (p := _paper(data, ids[i]))]
        out.append(_profile(person, sorted(papers, key=lambda p: -p[2])[:RECENT]))
    return [p for p in out if p["evidence"]]


def _profile(person: str, papers: Sequence[tuple[str, str, int]]) -> dict[str, Any]:
    return {
        "id": person,
        "evidence": [
            {"text": f"{title}. {abstract}", "kind": "paper", "date": str(y)} for title, abstract, y in papers
        ],
    }


def _jsonl(entries: Sequence[Mapping[str, Any]]) -> bytes:
    return "".join(json.dumps(e, ensure_ascii=False) + "\n" for e in entries).encode()


# --- measuring -----------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Pairs:
    """Sums over the pairs of papers of one person, from which all three figures are made."""

    wrong: float  # rating difference ordered wrongly; ties count half
    difference: float
    easy: tuple[int, int]  # (ordered rightly, all)
    hard: tuple[int, int]


def pairs_of(scores: NDArray[np.float64], ratings: NDArray[np.float64]) -> Pairs:
    """What one person's papers say of a score: the loss, and the authors' easy and hard pairs (a tie is not right)."""
    i, j = np.triu_indices(len(ratings), k=1)
    high, low = np.maximum(ratings[i], ratings[j]), np.minimum(ratings[i], ratings[j])
    right = (scores[i] - scores[j]) * (ratings[i] - ratings[j]) > 0
    difference = float((high - low).sum())
    loss = metrics.pairwise_loss(scores, ratings) if difference else 0.0
    easy, hard = (high >= HIGH) & (low <= LOW), (low >= HIGH) & (high > low)
    return Pairs(
        loss * difference,
        difference,
        (int(right[easy].sum()), int(easy.sum())),
        (int(right[hard].sum()), int(hard.sum())),
    )


def run(task: Task, cache: Path | None, encoder: str) -> dict[str, list[list[Pairs]]]:
    """System -> sampling -> one ``Pairs`` a rated person, in the order of the ratings."""
    out: dict[str, list[list[Pairs]]] = {}
    for number, people in enumerate(task.samplings, start=1):
        with trained({"profiles.jsonl": people}, cache, encoder) as matcher:
            profiles, papers = _records(people, task.papers)
            place = {p.id: k for k, p in enumerate(profiles)}
            systems = people_baselines([asked(p) for p in papers], Items.of(profiles), matcher.encoder)
            own = np.zeros((len(papers), len(profiles)))
            for row, answer in enumerate(matcher.match_many(papers, Options(top=None))):
                for m in answer.matches:
                    own[row, place[m.profile.id]] = m.score
        for name, scores in {PRODUCT: own, **_over_papers(systems)}.items():
            out.setdefault(name, []).append(score(scores, papers, place, task.ratings))
        say(f"sampling {number} of {len(task.samplings)}: {len(profiles)} people, {len(papers)} papers")
    return out


def _records(people: bytes, papers: bytes) -> tuple[list[Profile], list[Project]]:
    """The records as the product reads them. Raises ``UsageError`` where a line is wrong."""
    with TemporaryDirectory() as name:
        files = Path(name) / "profiles.jsonl", Path(name) / "projects.jsonl"
        for path, content in zip(files, (people, papers), strict=True):
            path.write_bytes(content)
        profiles, wrong = read_profiles(files[0])
        projects, bad = read_projects(files[1])
    for problem in (*wrong, *bad):
        if problem.severity == "error":
            raise UsageError(f"{problem.place()} {problem.problem}.", f"{problem.remedy}.")
    return profiles, projects


def _over_papers(systems: Mapping[str, Matrix]) -> dict[str, Matrix]:
    """The baselines; what fuses ranks fuses them over papers here, since papers are what is ordered."""
    return {**systems, FUSED: rank_fusion(systems[BEST_CHARS].T, systems[BEST_VECTORS].T).T}


def score(scores: Matrix, papers: Sequence[Project], place: Mapping[str, int], ratings: Ratings) -> list[Pairs]:
    """One ``Pairs`` a rated person; ``scores`` is (papers, people)."""
    row = {p.id: k for k, p in enumerate(papers)}
    out = []
    for person, rated in ratings.items():
        chosen = [p for p in rated if p in row]
        if person in place and len(chosen) > 1:
            own = np.array([scores[row[p], place[person]] for p in chosen])
            out.append(pairs_of(own, np.array([rated[p] for p in chosen])))
    return out


def figures(samplings: Sequence[Sequence[Pairs]], seed: int) -> list[Interval]:
    """(loss, easy accuracy, hard accuracy), averaged over the samplings, with intervals over people."""
    sums = np.array([[_flat(p) for p in people] for people in samplings]).mean(axis=0)
    return [ratio_interval(sums[:, top], sums[:, bottom], seed) for top, bottom in _COLUMNS]


def differences(first: Sequence[Sequence[Pairs]], second: Sequence[Sequence[Pairs]], seed: int) -> list[Difference]:
    """``first`` less ``second`` in each of the figures, paired: both over the same resampled people."""
    a, b = (np.array([[_flat(p) for p in people] for people in x]).mean(axis=0) for x in (first, second))
    found = [ratio_interval(a[:, top] - b[:, top], a[:, bottom], seed) for top, bottom in _COLUMNS]
    return [Difference(d.mean, d.low, d.high, d.count) for d in found]


_COLUMNS = ((0, 1), (2, 3), (4, 5))
_HEADS = ["loss (less is better)", "easy pairs right", "hard pairs right"]


def _flat(p: Pairs) -> tuple[float, ...]:
    return (p.wrong, p.difference, *p.easy, *p.hard)


def main(argv: Sequence[str] | None = None) -> None:
    parser = arguments(__doc__)
    parser.add_argument("folder", type=Path, metavar="DIR")
    parser.add_argument("--samplings", type=int, help="use the first N samplings only")
    given = parser.parse_args(argv)
    task = read_task(given.folder.resolve(), given.samplings)
    found = run(task, given.cache, given.encoder)
    people, pairs = len(found[PRODUCT][0]), [_flat(p) for p in found[PRODUCT][0]]
    easy, hard = (int(sum(p[k] for p in pairs)) for k in (3, 5))
    report = Report()
    report.table(
        f"reviewer assignment, {people} people, {len(task.samplings)} sampling(s) averaged",
        _HEADS,
        {name: figures(samplings, given.seed) for name, samplings in found.items()},
        f"{easy} easy and {hard} hard pairs; 95 % bootstrap intervals over people",
    )
    report.table(
        f"{PRODUCT} less each baseline, paired",
        _HEADS,
        {n: differences(found[PRODUCT], s, given.seed) for n, s in found.items() if n != PRODUCT},
    )
    report.write(given.json)


if __name__ == "__main__":
    main()
