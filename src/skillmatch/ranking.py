"""What a score is made of.

For every (need, person) pair a handful of features in [0, 1], computed by one function for training and answering:
from the concept channel (what the person's claims and sentences are about, weighted by how much expertise they show)
and from the text channels (the best few pieces of evidence by sentence vector and words together). A scikit-learn
logistic regression makes one raw score of them; its terms add up to the score exactly, so every answer can be
explained. A calibration turns raw scores into the probability that the person is useful.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from importlib import resources
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .errors import FormatError
from .retrieval import Floats, Ints, ItemIndex, Postings, Sparse, on_cores, word_stems
from .taxonomy import ConceptModel, NeedBatch, Taxonomy

#: What an item at the lowest level still counts in the worth of a person's skill.
WORTH_FLOOR = 0.05

#: What a single item is compared with a need by; the last two need no taxonomy.
RELEVANCE_FEATURES = ("concept", "dense", "words")
FEATURES = ("skill_worth", "near_worth", "evidence_worth", "text_few")
#: What a coordinator is shown of them: part -> features.
PARTS = {
    "skill": ("skill_worth",),
    "related skills": ("near_worth",),
    "evidence": ("evidence_worth",),
    "wording": ("text_few",),
}
SKILL_FEATURES = ("skill_worth", "near_worth", "evidence_worth")
#: What needs no taxonomy: all that is left where the profiles speak of things it does not know.
TEXT_FEATURES = ("text_few",)
#: Median n-gram similarity of evidence to the taxonomy's nearest text: at or below the first the taxonomy is not
#: trusted at all, from the second on fully. Laboratory profiles lie near .9, papers on machine learning near .5.
TRUST_SPAN = (0.6, 0.8)
#: Needs whose sentence vectors pass over the items together.
_NEEDS_AT_ONCE = 16


@dataclass(frozen=True)
class SkillTable:
    """Who, and which item, holds how much of each concept: inverted, so that a need costs what its concepts' lists do.

    ``people``: concept to people, with the best over their items of sqrt(probability) times the worth of the level
    shown. ``items``: concept to items, with sqrt(probability).
    """

    people: Postings
    items: Postings

    @classmethod
    def build(
        cls, owner: Ints, worth: Floats, ids: NDArray[np.int32], p: Floats, people: int, concepts: int
    ) -> SkillTable:
        """From the items' owners (person indices), worths and concepts."""
        flat = np.ravel(p)
        held = np.flatnonzero(flat > 0)
        held = held[np.argsort(np.ravel(ids)[held], kind="stable")]
        concept, item, root = np.ravel(ids)[held], held // ids.shape[1], np.sqrt(flat[held])
        # Owners ascend with their items: within a concept, what one person holds stands together.
        first = np.flatnonzero(np.append(True, (np.diff(concept) != 0) | (np.diff(owner[item]) != 0))[: len(held)])
        value = root * (worth[item] + np.float32(WORTH_FLOOR))
        best = np.maximum.reduceat(value, first) if len(first) else value
        return cls(
            _by_concept(concept[first], owner[item[first]], best, people, concepts),
            _by_concept(concept, item, root, len(owner), concepts),
        )

    @property
    def concepts(self) -> int:
        """How many concepts there are."""
        return len(self.people.features)

    @property
    def worth(self) -> Floats:
        """All of ``people`` as a (people, concepts) matrix; for looking at few."""
        out = np.zeros((self.people.n_items, self.concepts), dtype=np.float32)
        out[self.people.items, np.repeat(np.arange(self.concepts), np.diff(self.people.indptr))] = self.people.weights
        return out

    def save(self, folder: Path) -> None:
        """Write the arrays to ``folder``, which exists."""
        self.people.save(folder, "skills_people")
        self.items.save(folder, "skills_items")

    @classmethod
    def load(cls, folder: Path, people: int, items: int) -> SkillTable:
        """The inverse of ``save``; arrays are memory-mapped."""
        return cls(Postings.load(folder, "skills_people", people), Postings.load(folder, "skills_items", items))


def _by_concept(concept: NDArray[np.int32], holder: Ints, value: Floats, holders: int, concepts: int) -> Postings:
    """Postings from (concept, holder, value) in the order of concepts."""
    indptr = np.zeros(concepts + 1, dtype=np.int64)
    np.cumsum(np.bincount(concept, minlength=concepts), out=indptr[1:])
    every = np.arange(concepts, dtype=np.int32)
    return Postings(every, indptr, holder.astype(np.int32), value.astype(np.float32), np.zeros(0, np.float32), holders)


@dataclass(frozen=True)
class Scored:
    """Of (needs × people): features (needs, people, len(FEATURES)) and the index of each pair's best item."""

    features: Floats
    best_item: Ints


def spread(ids: NDArray[np.int32], p: Floats, n_concepts: int) -> Floats:
    """Sparse concept rows as a dense (rows, n_concepts) matrix."""
    out = np.zeros((len(ids), n_concepts), dtype=np.float32)
    np.maximum.at(out, (np.repeat(np.arange(len(ids)), ids.shape[1]), ids.ravel()), p.ravel())
    return out


def near_matrix(taxonomy: Taxonomy) -> Sparse:
    """The taxonomy's neighbours as sparse rows: how much each concept stands for another."""
    rows = taxonomy.neighbours()
    indptr = np.zeros(len(rows) + 1, dtype=np.int64)
    np.cumsum([len(r) for r in rows], out=indptr[1:])
    flat = [pair for r in rows for pair in r]
    return Sparse(
        indptr,
        np.array([j for j, _ in flat], dtype=np.int32),
        np.array([w for _, w in flat], dtype=np.float32),
    )


def score_pairs(
    needs: NeedBatch,
    index: ItemIndex,
    item_worth: Floats,
    skills: SkillTable,
    near: Sparse,
    relevance: Floats,
    text: Floats,
    telling: Floats | float = 1.0,
) -> Scored:
    """Features of every (need, person) pair. ``relevance``, ``text``: as ``Ranker`` has them. ``telling``: what each
    item is worth as a proof to show, beside its worth; it moves no score. Each need is scored by itself: the same to
    the last bit whatever is asked beside it."""
    out = np.zeros((len(needs), index.people, len(FEATURES)), dtype=np.float32)
    best_item = np.zeros((len(needs), index.people), dtype=np.int64)
    worth = np.asarray(item_worth) + np.float32(WORTH_FLOOR)
    asked = spread(needs.concept_ids, needs.concept_p, skills.concepts)
    stems = word_stems(needs.texts)
    for start in range(0, len(needs), _NEEDS_AT_ONCE):
        cosines = index.dense(needs.vectors[start : start + _NEEDS_AT_ONCE])

        def score(q: int, start: int = start, cosines: Floats = cosines) -> None:
            want, dense = asked[q], cosines[q - start]
            words = index.words.shares(stems, q)
            valued = _relevant(_held(skills.items, want), dense, words, relevance)
            valued *= worth
            best_item[q] = index.best_where(valued * telling)[1]
            similar = text[0] * dense
            similar += text[1] * words
            out[q] = np.stack(
                [
                    _held(skills.people, want),
                    _held(skills.people, _neighbours(want, near)),
                    index.best(valued),
                    index.best_few(similar),
                ],
                axis=1,
            )

        on_cores(score, range(start, start + len(cosines)), len(cosines) * len(worth))
    return Scored(out, best_item)


def _held(postings: Postings, want: Floats) -> Floats:
    """Of each holder, the sum over the wanted concepts of how much is wanted times how much is held."""
    concepts = np.flatnonzero(want)
    return postings.sums(concepts, want[concepts])


def _neighbours(want: Floats, near: Sparse) -> Floats:
    """The neighbours of the wanted concepts, as far as each stands for them."""
    out = np.zeros(len(want), dtype=np.float32)
    for concept in np.flatnonzero(want):
        span = slice(near.indptr[concept], near.indptr[concept + 1])
        out[near.indices[span]] += want[concept] * near.values[span]
    return out


def _relevant(concept: Floats, dense: Floats, words: Floats, relevance: Floats) -> Floats:
    """The probability of each item to be about the need; overwrites ``concept``."""
    z = concept
    z *= relevance[0]
    z += relevance[1] * dense
    z += relevance[2] * words
    z += relevance[3]
    np.negative(z, out=z)
    np.exp(z, out=z)
    z += 1
    return np.reciprocal(z, out=z)


def relevance_features(
    needs: NeedBatch, index: ItemIndex, item_ids: NDArray[np.int32], item_p: Floats, n_concepts: int
) -> Floats:
    """(needs, items, len(RELEVANCE_FEATURES)), for fitting the relevance of single items."""
    asked = spread(needs.concept_ids, needs.concept_p, n_concepts)
    root = np.sqrt(item_p)
    concept = np.stack([(want[item_ids] * root).sum(axis=1) for want in asked])
    return np.stack([concept, *index.channels(needs.vectors, needs.texts)], axis=2).astype(np.float32)


@dataclass(frozen=True)
class Ranker:
    """A linear score over FEATURES and its calibration; answers with NumPy alone.

    raw = baseline + sum of coef * (feature - mean) / scale. For a project, features are averaged over its needs by
    weight, so raw scores of needs average to the project's. P(useful) = sigmoid(slope * raw + offset), with one
    (slope, offset) for single needs and one for projects of several (Platt 1999).
    """

    relevance: Floats  # of RELEVANCE_FEATURES, then the intercept: whether an item is about the need
    text: Floats  # (2,), adding up to 1: the share of sentence vector and of words where there is no concept
    mean: Floats
    scale: Floats
    coef: Floats
    baseline: float
    single: tuple[float, float]
    several: tuple[float, float]
    #: Below these probabilities nobody is suggested: for needs in the field, and for needs about other trades.
    bars: tuple[float, float, float, float]  # single needs, then projects of several
    origin: str = "shipped"
    trust: float = 1.0  # how far the taxonomy knows what the profiles speak of, 0 to 1

    def terms(self, features: Floats) -> Floats:
        """What each feature adds to the raw score, same shape as ``features``."""
        out: Floats = ((features - self.mean) / self.scale * self.coef).astype(np.float32)
        return out

    def raw(self, features: Floats) -> NDArray[np.float64]:
        """Raw scores, shape features.shape[:-1]; any finite number, higher is better."""
        total: NDArray[np.float64] = self.terms(features).astype(np.float64).sum(axis=-1) + self.baseline
        return total

    def probability(self, raw: NDArray[np.float64], needs: int) -> NDArray[np.float64]:
        """Calibrated P(useful) of raw scores of a project with this many needs; strictly increasing in raw."""
        slope, offset = self.single if needs == 1 else self.several
        out: NDArray[np.float64] = 1 / (1 + np.exp(-(slope * np.asarray(raw, np.float64) + offset)))
        return out

    def bar(self, foreign: float, needs: int) -> float:
        """The bar for a project of this many needs whose concepts are ``foreign`` (0 to 1) to computing: who asks for
        a welder is answered only by somebody who clearly welds."""
        low, high = self.bars[:2] if needs == 1 else self.bars[2:]
        return low + foreign * (high - low)

    def as_dict(self) -> dict[str, Any]:
        """Plain numbers, for JSON."""
        return {
            "features": list(FEATURES),
            "relevance": [float(x) for x in self.relevance],
            "text": [float(x) for x in self.text],
            "mean": [float(x) for x in self.mean],
            "scale": [float(x) for x in self.scale],
            "coef": [float(x) for x in self.coef],
            "baseline": self.baseline,
            "single": list(self.single),
            "several": list(self.several),
            "bars": list(self.bars),
            "origin": self.origin,
            "trust": self.trust,
        }

    @classmethod
    def from_dict(cls, entry: dict[str, Any]) -> Ranker:
        """The inverse of ``as_dict``. Raises ``FormatError`` where the features are not today's."""
        needed = {
            "relevance",
            "text",
            "mean",
            "scale",
            "coef",
            "baseline",
            "single",
            "several",
            "bars",
            "origin",
            "trust",
        }
        if entry.get("features") != list(FEATURES) or not needed <= entry.keys() or len(entry["bars"]) != 4:
            raise FormatError(
                "This version's ranker was trained over other features than this skillmatch computes.",
                "Run: skillmatch train",
            )
        bars = entry["bars"]
        arrays = {k: np.array(entry[k], dtype=np.float32) for k in ("relevance", "text", "mean", "scale", "coef")}
        return cls(
            **arrays,
            baseline=float(entry["baseline"]),
            single=(float(entry["single"][0]), float(entry["single"][1])),
            several=(float(entry["several"][0]), float(entry["several"][1])),
            bars=(float(bars[0]), float(bars[1]), float(bars[2]), float(bars[3])),
            origin=str(entry["origin"]),
            trust=float(entry["trust"]),
        )

    @classmethod
    def shipped(cls, trust: float = 1.0) -> Ranker:
        """The parameters that come with skillmatch, fitted by ``benchmarks/fit_shipped.py``.

        ``trust`` in [0, 1], from ``trust_in_taxonomy``: two rankers were fitted, one over all features and one over
        those that need no taxonomy; the answer is their mixture, which is linear again.
        """
        text = resources.files("skillmatch").joinpath("data/ranker.json").read_text("utf-8")
        both = {k: cls.from_dict(v) for k, v in json.loads(text).items()}
        return replace(both["skills"].mixed(both["text"], trust), trust=trust)

    def mixed(self, other: Ranker, share: float) -> Ranker:
        """``share`` of this ranker and the rest of ``other``; both are over the same scale of features."""

        def mix(name: str) -> Any:
            a, b = getattr(self, name), getattr(other, name)
            if isinstance(a, tuple):
                return tuple(share * x + (1 - share) * y for x, y in zip(a, b, strict=True))
            return share * a + (1 - share) * b

        return replace(self, **{n: mix(n) for n in ("coef", "baseline", "single", "several", "bars")})


def trust_in_taxonomy(model: ConceptModel, texts: Sequence[str]) -> float:
    """How far the taxonomy speaks of what these evidence texts speak of, 0 to 1; see TRUST_SPAN.

    Claims tell nothing here (a bare name is always near some label), so give sentences; 1 for no text at all.
    """
    if not texts:
        return 1.0
    sample = texts[:: max(len(texts) // 500, 1)]
    nearest = model.example_words.dense(model.space.transform(sample)).max(axis=1)
    low, high = TRUST_SPAN
    return float(np.clip((np.median(nearest) - low) / (high - low), 0.0, 1.0))


def gain_rows(x: Floats, grades: Floats) -> tuple[Floats, NDArray[np.int64], Floats]:
    """(rows, labels, weights) that teach a logistic regression the gain (2^grade - 1) / 7 of each row of ``x``."""
    gain = (2.0**grades - 1) / 7
    some = gain > 0
    rows = np.vstack([x, x[some]])
    labels = np.hstack([np.zeros(len(x), np.int64), np.ones(int(some.sum()), np.int64)])
    return rows, labels, np.hstack([1 - gain, gain[some]]).astype(np.float32)


def fit_ranker(x: Floats, grades: Floats, c: float = 1.0, standardise: bool = True) -> Any:
    """A scikit-learn pipeline (standardise, logistic regression) from features to gain.

    ``x``: (pairs, features); ``grades``: (pairs,) in [0, 3]; ``c``: scikit-learn's inverse regularisation. Without
    ``standardise`` the columns' own scales say how strongly each is held back.
    """
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    rows, labels, weights = gain_rows(x, grades)
    scaler = StandardScaler(with_mean=standardise, with_std=standardise)
    pipeline = make_pipeline(scaler, LogisticRegression(C=c, max_iter=1000))
    pipeline.fit(rows, labels, logisticregression__sample_weight=weights)
    return pipeline


def fit_relevance(x: Floats, same: NDArray[np.bool_]) -> Floats:
    """Weights and intercept from (pairs, RELEVANCE_FEATURES) to whether an item is about a need's skill."""
    from sklearn.linear_model import LogisticRegression

    fitted = LogisticRegression(C=10.0, max_iter=1000).fit(x, same)
    # No likeness speaks against an item: added evidence must never lower a score.
    return np.append(np.maximum(fitted.coef_[0], 0), fitted.intercept_[0]).astype(np.float32)


#: How useful a person of each grade counts as in calibration: "a little" (1) is half useful.
USEFULNESS = (0.0, 0.5, 1.0, 1.0)


def platt(
    raw: NDArray[np.float64], grades: NDArray[np.float64], weight: NDArray[np.float64] | None = None
) -> tuple[float, float]:
    """(slope, offset) that make raw scores the expected usefulness of grades in [0, 3] (Platt 1999, soft labels).

    The slope is kept positive, so that order never changes.
    """
    from sklearn.linear_model import LogisticRegression

    y = np.interp(grades, range(4), USEFULNESS)
    w = np.ones(len(raw)) if weight is None else weight
    rows, labels = np.hstack([raw, raw])[:, None], np.repeat([0, 1], len(raw))
    fitted = LogisticRegression(C=1e6, max_iter=1000).fit(rows, labels, sample_weight=np.hstack([w * (1 - y), w * y]))
    return max(float(fitted.coef_[0, 0]), 1e-3), float(fitted.intercept_[0])
