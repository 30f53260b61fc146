"""What the quality benchmarks share: the product under test, the plain baselines, intervals, tables.

The product is trained and asked through its public API, in a workspace made for the purpose. The baselines see the
same people and the same needs in the same run, and are scored by the same metrics (``skillmatch.metrics``).
"""

from __future__ import annotations

import argparse
import json
import re
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
from numpy.typing import NDArray

from skillmatch.encoders import DEFAULT_ENCODER, CachedEncoder, Encoder, resolve_encoder
from skillmatch.matcher import Matcher, load
from skillmatch.metrics import Comparison, Interval
from skillmatch.records import Profile, Project
from skillmatch.runtime import Workspace, load_settings
from skillmatch.taxonomy.lexicon import GlossedEncoder, plain
from skillmatch.training import train

Matrix = NDArray[np.float64]

#: Usual constants, nobody's tuning: BM25 (Robertson & Zaragoza 2009), reciprocal rank fusion (Cormack et al. 2009).
BM25_K1, BM25_B = 1.2, 0.75
RRF_K = 60
RESAMPLES = 2000

BEST_VECTORS = "mean of best 3 sentences, vectors"
BEST_CHARS = "mean of best 3 sentences, char 2-4-grams"
FUSED = "rank fusion of best 3: chars + vectors"


# --- the product ---------------------------------------------------------------------------------------------------


@contextmanager
def trained(files: Mapping[str, bytes], cache: Path | None, encoder: str) -> Iterator[Matcher]:
    """The product, trained on a workspace whose data folder holds just these files (name -> content).

    ``cache``: a folder laid out as a workspace's models/; its exported encoders and its cache are used and kept.
    """
    with TemporaryDirectory() as name:
        workspace = Workspace(Path(name))
        workspace.data.mkdir()
        workspace.models.mkdir()
        workspace.config.touch()
        for part in ("encoders", "cache"):
            if cache is not None:
                (cache / part).mkdir(parents=True, exist_ok=True)
                (workspace.models / part).symlink_to((cache / part).resolve())
        for file, content in files.items():
            (workspace.data / file).write_bytes(content)
        # An empty environment: the measurement must not depend on the caller's settings.
        train(workspace, load_settings(workspace, {"encoder": encoder}, environment={}))
        yield cached(load(workspace), workspace.models / "cache")


def cached(matcher: Matcher, folder: Path) -> Matcher:
    """The same matcher, embedding each need once however often it is asked."""
    inner = plain(matcher.encoder)
    remembering = CachedEncoder(inner, folder / f"{inner.fingerprint}.sqlite")
    glossed = isinstance(matcher.encoder, GlossedEncoder)
    return replace(matcher, encoder=GlossedEncoder(remembering, matcher.encoder.lexicon) if glossed else remembering)


@contextmanager
def sentence_encoder(name: str, cache: Path | None) -> Iterator[Encoder]:
    """The encoder alone, its vectors kept in ``cache`` where one is given."""
    with TemporaryDirectory() as temporary:
        folder = cache or Path(temporary)
        inner = resolve_encoder(name, folder / "encoders")
        yield CachedEncoder(inner, folder / "cache" / f"{inner.fingerprint}.sqlite")


# --- the baselines -------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Items:
    """Every claim and sentence of every person; ``owner[i]`` is whose ``texts[i]`` is, ascending."""

    texts: list[str]
    owner: NDArray[np.int64]
    people: int

    @classmethod
    def of(cls, profiles: Sequence[Profile]) -> Items:
        """What the profiles say, each claim and sentence by itself."""
        rows = [[*(s.name for s in p.skills), *(e.text for e in p.evidence)] for p in profiles]
        owner = np.repeat(np.arange(len(rows)), [len(r) for r in rows])
        return cls([t for r in rows for t in r], owner.astype(np.int64), len(rows))

    def documents(self) -> list[str]:
        """One text a person: all they say, joined."""
        return ["\n".join(t for t, o in zip(self.texts, self.owner, strict=True) if o == i) for i in range(self.people)]


def asked(project: Project) -> str:
    """A project as one text."""
    return " ".join(t for t in (project.title, project.description, *(n.text for n in project.needs)) if t)


def people_baselines(needs: Sequence[str], items: Items, encoder: Encoder) -> dict[str, Matrix]:
    """Plain ways to rank people, name -> scores (needs, people), higher is better."""
    encoder = plain(encoder)  # as most would use it
    queries = encoder.encode(needs, "query")
    documents = items.documents()
    dense = (queries @ encoder.encode(items.texts).T).astype(np.float64)
    chars = best_few(char_cosine(needs, items.texts), items.owner, 3)
    meaning = best_few(dense, items.owner, 3)
    return {
        "one text a person, vectors": (queries @ encoder.encode(documents).T).astype(np.float64),
        "best sentence, vectors": best_few(dense, items.owner, 1),
        BEST_VECTORS: meaning,
        "one text a person, BM25": Bm25(documents).scores(needs),
        BEST_CHARS: chars,
        FUSED: rank_fusion(chars, meaning),
    }


def best_few(scores: Matrix, owner: NDArray[np.int64], few: int) -> Matrix:
    """(needs, items) to (needs, people): the mean of each person's ``few`` best items, or of all they have."""
    return np.stack(
        [-np.sort(-scores[:, owner == person], axis=1)[:, :few].mean(axis=1) for person in np.unique(owner)], axis=1
    )


class Bm25:
    """Okapi BM25 over lower-cased words, as a plain script would write it; ``c++`` and ``c#`` are kept whole."""

    def __init__(self, documents: Sequence[str]) -> None:
        from scipy.sparse import coo_matrix

        words = [self.words(d) for d in documents]
        self.vocabulary = {w: i for i, w in enumerate(sorted({w for d in words for w in d}))}
        place = np.array([self.vocabulary[w] for d in words for w in d], dtype=np.int64)
        owner = np.repeat(np.arange(len(words)), [len(d) for d in words])
        counts = coo_matrix((np.ones(len(place)), (owner, place)), shape=(len(words), len(self.vocabulary)))
        counts.sum_duplicates()
        frequency = np.bincount(counts.col, minlength=len(self.vocabulary))
        idf = np.log(1 + (len(words) - frequency + 0.5) / (frequency + 0.5))
        length = np.bincount(owner, minlength=len(words))
        slack = BM25_K1 * (1 - BM25_B + BM25_B * length / max(float(length.mean()), 1e-9))
        counts.data = idf[counts.col] * counts.data * (BM25_K1 + 1) / (counts.data + slack[counts.row])
        self.weights = counts.tocsc()

    @staticmethod
    def words(text: str) -> list[str]:
        """The words of a text, in order."""
        return re.findall(r"\w+(?:\+\+|#)?", text.lower())

    def scores(self, queries: Sequence[str]) -> Matrix:
        """(queries, documents)."""
        out = np.zeros((len(queries), self.weights.shape[0]))
        for row, query in enumerate(queries):
            known = [self.vocabulary[w] for w in self.words(query) if w in self.vocabulary]
            out[row] = np.asarray(self.weights[:, known].sum(axis=1)).ravel()
        return out


def char_cosine(queries: Sequence[str], documents: Sequence[str]) -> Matrix:
    """Cosine of TF-IDF over character 2-4-grams within words, (queries, documents)."""
    from sklearn.feature_extraction.text import TfidfVectorizer

    space = TfidfVectorizer(analyzer="char_wb", ngram_range=(2, 4), sublinear_tf=True).fit(documents)
    return np.asarray((space.transform(queries) @ space.transform(documents).T).toarray(), dtype=np.float64)


def rank_fusion(*scores: Matrix) -> Matrix:
    """Reciprocal rank fusion along the last axis; equal scores share their mean rank."""
    from scipy.stats import rankdata

    fused: Matrix = np.sum([1 / (RRF_K + rankdata(-s, method="average", axis=-1)) for s in scores], axis=0)
    return fused


# --- certainty -----------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Difference(Interval):
    """The interval of a difference, shown with its sign."""


def ratio_interval(top: Sequence[float], bottom: Sequence[float], seed: int = 0) -> Interval:
    """sum(top) / sum(bottom) and its 95 % bootstrap interval, both resampled over the same cases.

    ``nan`` where the bottom sums to 0.
    """
    a, b = np.asarray(top, np.float64), np.asarray(bottom, np.float64)
    if len(a) != len(b):
        raise ValueError(f"the same cases are needed above and below: {len(a)} and {len(b)}")
    if not len(b) or b.sum() == 0:
        return Interval(float("nan"), float("nan"), float("nan"), len(b))
    drawn = np.random.default_rng(seed).integers(len(a), size=(RESAMPLES, len(a)))
    below = b[drawn].sum(axis=1)
    # A resample without any of the bottom has no ratio.
    ratios = a[drawn].sum(axis=1)[below > 0] / below[below > 0]
    low, high = np.quantile(ratios, (0.025, 0.975))
    return Interval(float(a.sum() / b.sum()), float(low), float(high), len(a))


# --- tables --------------------------------------------------------------------------------------------------------

Cell = Interval | Comparison | float | int | str | None


@dataclass
class Report:
    """Tables as they are measured: printed at once, and kept for ``--json``."""

    tables: list[dict[str, Any]] = field(default_factory=list)

    def table(self, title: str, columns: Sequence[str], rows: Mapping[str, Sequence[Cell]], note: str = "") -> None:
        """Print one table; ``rows``: label -> one cell a column."""
        cells = [["", *columns], *([label, *(_shown(c) for c in row)] for label, row in rows.items())]
        widths = [max(len(row[k]) for row in cells) for k in range(len(cells[0]))]
        lines = ["  ".join(c.ljust(w) for c, w in zip(row, widths, strict=True)).rstrip() for row in cells]
        say("\n".join([f"\n{title}", "-" * len(title), *lines, *([note] if note else [])]))
        kept = {label: dict(zip(columns, map(_plain, row), strict=True)) for label, row in rows.items()}
        self.tables.append({"title": title, "note": note, "rows": kept})

    def write(self, path: Path | None) -> None:
        """Every table to ``path`` as JSON; nothing where there is no path."""
        if path is not None:
            path.write_text(json.dumps(self.tables, indent=1, ensure_ascii=False, allow_nan=False) + "\n", "utf-8")


def _shown(cell: Cell) -> str:
    if isinstance(cell, Difference):
        return f"{cell.mean:+.3f} [{cell.low:+.3f}, {cell.high:+.3f}]"
    if isinstance(cell, Interval):
        return "–" if np.isnan(cell.mean) else f"{cell.mean:.3f} [{cell.low:.3f}, {cell.high:.3f}]"
    if isinstance(cell, Comparison):
        return f"{cell.difference:+.3f} [{cell.low:+.3f}, {cell.high:+.3f}]"
    if isinstance(cell, float):
        return f"{cell:.3f}"
    return "–" if cell is None else str(cell)


def _plain(cell: Cell) -> Any:
    entry = asdict(cell) if isinstance(cell, Interval | Comparison) else cell
    if isinstance(entry, dict):
        return {k: None if isinstance(v, float) and np.isnan(v) else v for k, v in entry.items()}
    return None if isinstance(entry, float) and np.isnan(entry) else entry


def say(text: str) -> None:
    """A line of the report, shown at once."""
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


def arguments(description: str | None) -> argparse.ArgumentParser:
    """A parser with what every benchmark takes."""
    parser = argparse.ArgumentParser(description=(description or "").partition("\n")[0])
    parser.add_argument("--encoder", default=DEFAULT_ENCODER, help="sentence-transformers name or folder")
    parser.add_argument("--cache", type=Path, help="keep exported encoder, vectors and classifiers in this folder")
    parser.add_argument("--json", type=Path, help="write the tables to this file as well")
    parser.add_argument("--seed", type=int, default=0, help="seed of the bootstrap")
    return parser
