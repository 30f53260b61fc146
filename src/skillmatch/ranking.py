"""What a score is made of.

For every (need, person) pair a handful of features in [0, 1], computed by one function for training and answering:
from the concept channel (what the person's claims and sentences are about, weighted by how much expertise they show)
and from the text channels (the best few pieces of evidence by sentence vector, character n-grams and words). A
scikit-learn logistic regression makes one raw score of them; its terms add up to the score exactly, so every answer
can be explained. A calibration turns raw scores into the probability that the person is useful.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import resources
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .errors import FormatError
from .retrieval import Floats, Ints, ItemIndex, Sparse, tokens
from .taxonomy import ConceptModel, Taxonomy

#: How many concepts are kept of each item and need; the rest of their probability is dropped.
TOP_CONCEPTS = 8
#: What an item at the lowest level still counts in the worth of a person's skill.
WORTH_FLOOR = 0.05
#: Exact names decide where they are at least this share of a text's words, and then by this much.
NAME_COVER, NAME_SHARE = 0.5, 0.7

RELEVANCE_FEATURES = ("concept", "dense", "chars", "words")
FEATURES = (
    "skill_worth",
    "skill_topic",
    "near_worth",
    "evidence_worth",
    "evidence_second",
    "evidence_topic",
    "dense_best",
    "dense_few",
    "chars_best",
    "words_best",
)
#: What a coordinator is shown of them: part -> features.
PARTS = {
    "skill": ("skill_worth", "skill_topic"),
    "related skills": ("near_worth",),
    "evidence": ("evidence_worth", "evidence_second", "evidence_topic"),
    "meaning": ("dense_best", "dense_few"),
    "wording": ("chars_best", "words_best"),
}


def concept_rows(model: ConceptModel, texts: Sequence[str], vectors: Floats) -> tuple[NDArray[np.int32], Floats]:
    """(ids, probabilities), each (len(texts), TOP_CONCEPTS): the concepts a text is about, most likely first.

    Where exact names make up most of a text ("Ceph", "admin AD"), they take NAME_SHARE of the probability; in a longer
    sentence a name alone says too little (measured), and the classifier has seen it anyway.
    """
    ids = np.zeros((len(texts), TOP_CONCEPTS), dtype=np.int32)
    out = np.zeros((len(texts), TOP_CONCEPTS), dtype=np.float32)
    for start in range(0, len(texts), 2048):
        part = slice(start, start + 2048)
        p = model.probabilities(texts[part], vectors[part])
        for i, found in enumerate(model.named(texts[part])):
            if found and name_cover(texts[start + i], found) >= NAME_COVER:
                named = np.zeros(p.shape[1], dtype=np.float32)
                for concept, share, _ in found:
                    named[concept] += share
                p[i] = (1 - NAME_SHARE) * p[i] + NAME_SHARE * named / named.sum()
        k = min(TOP_CONCEPTS, p.shape[1])
        # Stable, so that equal probabilities keep the order of the concepts.
        best = np.argsort(-p, axis=1, kind="stable")[:, :k]
        ids[part, :k] = best
        out[part, :k] = np.take_along_axis(p, best, axis=1)
    return ids, out


def name_cover(text: str, found: Sequence[tuple[int, float, str]]) -> float:
    """The share of a text's words that belong to exact names, 0 to 1."""
    words = len(tokens(text))
    return sum(len(w.split()) * share for _, share, w in found) / words if words else 0.0


@dataclass(frozen=True)
class SkillTable:
    """What each person holds of each concept, from all their items: sparse, one row a person.

    ``worth``: the best over their items of sqrt(probability) times the worth of the level shown; ``topic``: the same
    without the level.
    """

    worth: Floats  # (people, concepts), dense for the few people of a lab, memory-mapped
    topic: Floats

    @classmethod
    def build(
        cls, owner: Ints, worth: Floats, ids: NDArray[np.int32], p: Floats, people: int, concepts: int
    ) -> SkillTable:
        """From the items' owners (person indices), worths and concepts."""
        table = cls(np.zeros((people, concepts), np.float32), np.zeros((people, concepts), np.float32))
        root = np.sqrt(p)
        rows = np.repeat(owner, ids.shape[1])
        np.maximum.at(table.topic, (rows, ids.ravel()), root.ravel())
        np.maximum.at(table.worth, (rows, ids.ravel()), (root * (worth[:, None] + WORTH_FLOOR)).ravel())
        return table


@dataclass(frozen=True)
class NeedBatch:
    """Needs ready to be scored: texts, unit vectors and concept distributions, one row a need."""

    texts: tuple[str, ...]
    vectors: Floats
    concept_ids: NDArray[np.int32]
    concept_p: Floats

    def __len__(self) -> int:
        return len(self.texts)


@dataclass(frozen=True)
class Scored:
    """Of (needs × people): features (needs, people, len(FEATURES)) and the index of each pair's best item."""

    features: Floats
    best_item: Ints


def spread(ids: NDArray[np.int32], p: Floats, n_concepts: int) -> Floats:
    """Sparse concept rows as a dense (rows, n_concepts) matrix."""
    out = np.zeros((len(ids), n_concepts), dtype=np.float32)
    np.put_along_axis(out, ids.astype(np.int64), p, axis=1)
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
    item_ids: NDArray[np.int32],
    item_p: Floats,
    item_worth: Floats,
    skills: SkillTable,
    near: Sparse,
    relevance: Floats,
) -> Scored:
    """Features of every (need, person) pair. ``relevance``: weights of RELEVANCE_FEATURES, then the intercept."""
    people, n_concepts = skills.worth.shape
    out = np.zeros((len(needs), people, len(FEATURES)), dtype=np.float32)
    best_item = np.zeros((len(needs), people), dtype=np.int64)
    asked = spread(needs.concept_ids, needs.concept_p, n_concepts)
    channels = index.channels(needs.vectors, needs.texts)
    root = np.sqrt(item_p)
    for q in range(len(needs)):
        want = asked[q]
        concept = (want[item_ids] * root).sum(axis=1)
        dense, chars, words = (c[q] for c in channels)
        z = np.stack([concept, dense, chars, words], axis=1) @ relevance[:-1] + relevance[-1]
        relevant = 1 / (1 + np.exp(-z))
        valued = relevant * (item_worth + WORTH_FLOOR)
        first, second, where = index.best_two(valued)
        near_want = np.zeros(n_concepts, dtype=np.float32)
        for concept_id, p in zip(needs.concept_ids[q], needs.concept_p[q], strict=True):
            span = slice(near.indptr[concept_id], near.indptr[concept_id + 1])
            near_want[near.indices[span]] += p * near.values[span]
        out[q] = np.stack(
            [
                skills.worth @ want,
                skills.topic @ want,
                skills.worth @ near_want,
                first,
                second,
                index.best(relevant),
                index.best(dense),
                index.best_few(dense),
                index.best(chars),
                index.best(words),
            ],
            axis=1,
        )
        best_item[q] = where
    return Scored(out, best_item)


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

    relevance: Floats  # (len(RELEVANCE_FEATURES) + 1,)
    mean: Floats
    scale: Floats
    coef: Floats
    baseline: float
    single: tuple[float, float]
    several: tuple[float, float]
    bar: float  # below this probability nobody is suggested
    origin: str = "shipped"

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

    def as_dict(self) -> dict[str, Any]:
        """Plain numbers, for JSON."""
        return {
            "features": list(FEATURES),
            "relevance": [float(x) for x in self.relevance],
            "mean": [float(x) for x in self.mean],
            "scale": [float(x) for x in self.scale],
            "coef": [float(x) for x in self.coef],
            "baseline": self.baseline,
            "single": list(self.single),
            "several": list(self.several),
            "bar": self.bar,
            "origin": self.origin,
        }

    @classmethod
    def from_dict(cls, entry: dict[str, Any]) -> Ranker:
        """The inverse of ``as_dict``. Raises ``FormatError`` where the features are not today's."""
        if entry.get("features") != list(FEATURES):
            raise FormatError(
                "This version's ranker was trained over other features than this skillmatch computes.",
                "Run: skillmatch train",
            )
        arrays = {k: np.array(entry[k], dtype=np.float32) for k in ("relevance", "mean", "scale", "coef")}
        return cls(
            **arrays,
            baseline=float(entry["baseline"]),
            single=(float(entry["single"][0]), float(entry["single"][1])),
            several=(float(entry["several"][0]), float(entry["several"][1])),
            bar=float(entry["bar"]),
            origin=str(entry["origin"]),
        )

    @classmethod
    def shipped(cls) -> Ranker:
        """The parameters that come with skillmatch, fitted by ``benchmarks/fit_shipped.py``."""
        text = resources.files("skillmatch").joinpath("data/ranker.json").read_text("utf-8")
        return cls.from_dict(json.loads(text))


def gain_rows(x: Floats, grades: Floats) -> tuple[Floats, NDArray[np.int64], Floats]:
    """(rows, labels, weights) that teach a logistic regression the gain (2^grade - 1) / 7 of each row of ``x``."""
    gain = (2.0**grades - 1) / 7
    some = gain > 0
    rows = np.vstack([x, x[some]])
    labels = np.hstack([np.zeros(len(x), np.int64), np.ones(int(some.sum()), np.int64)])
    return rows, labels, np.hstack([1 - gain, gain[some]]).astype(np.float32)


def fit_ranker(x: Floats, grades: Floats, relevance: Floats, c: float = 1.0) -> Any:
    """A scikit-learn pipeline (standardise, logistic regression) from features to gain.

    ``x``: (pairs, len(FEATURES)); ``grades``: (pairs,) in [0, 3]. ``as_ranker`` turns it into a ``Ranker``.
    """
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    rows, labels, weights = gain_rows(x, grades)
    pipeline = make_pipeline(StandardScaler(), LogisticRegression(C=c, max_iter=1000))
    pipeline.fit(rows, labels, logisticregression__sample_weight=weights)
    return pipeline


def fit_relevance(x: Floats, same: NDArray[np.bool_]) -> Floats:
    """Weights and intercept from (pairs, RELEVANCE_FEATURES) to whether an item is about a need's skill."""
    from sklearn.linear_model import LogisticRegression

    fitted = LogisticRegression(C=10.0, max_iter=1000).fit(x, same)
    return np.append(fitted.coef_[0], fitted.intercept_[0]).astype(np.float32)


def platt(raw: NDArray[np.float64], useful: NDArray[np.bool_]) -> tuple[float, float]:
    """(slope, offset) of the calibration; the slope is kept positive so that order never changes."""
    from sklearn.linear_model import LogisticRegression

    fitted = LogisticRegression(C=1e6, max_iter=1000).fit(raw[:, None], useful)
    return max(float(fitted.coef_[0, 0]), 1e-3), float(fitted.intercept_[0])
