"""What a score is made of.

For every (need, person) pair a handful of features in [0, 1], computed by one function for training and answering:
from the concept channel (what the person's claims and sentences are about, weighted by how much expertise they show)
and from the text channels (the best few pieces of evidence by sentence vector and words together). A scikit-learn logistic regression makes one raw score of them; its terms add up to the score exactly, so every answer
can be explained. A calibration turns raw scores into the probability that the person is useful.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from importlib import resources
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .errors import FormatError
from .retrieval import Floats, Ints, ItemIndex, Sparse
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


@dataclass(frozen=True)
class SkillTable:
    """What each person holds of each concept, from all their items: sparse, one row a person.

    ``worth``: the best over their items of sqrt(probability) times the worth of the level shown.
    """

    worth: Floats  # (people, concepts)

    @classmethod
    def build(
        cls, owner: Ints, worth: Floats, ids: NDArray[np.int32], p: Floats, people: int, concepts: int
    ) -> SkillTable:
        """From the items' owners (person indices), worths and concepts."""
        table = np.zeros((people, concepts), np.float32)
        value = np.sqrt(p) * (worth[:, None] + WORTH_FLOOR)
        np.maximum.at(table, (np.repeat(owner, ids.shape[1]), ids.ravel()), value.ravel())
        return cls(table)


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
    item_ids: NDArray[np.int32],
    item_p: Floats,
    item_worth: Floats,
    skills: SkillTable,
    near: Sparse,
    relevance: Floats,
    text: Floats,
    telling: Floats | float = 1.0,
) -> Scored:
    """Features of every (need, person) pair. ``relevance``, ``text``: as ``Ranker`` has them. ``telling``: what each
    item is worth as a proof to show, beside its worth; it moves no score."""
    people, n_concepts = skills.worth.shape
    out = np.zeros((len(needs), people, len(FEATURES)), dtype=np.float32)
    best_item = np.zeros((len(needs), people), dtype=np.int64)
    asked = spread(needs.concept_ids, needs.concept_p, n_concepts)
    channels = index.channels(needs.vectors, needs.texts)
    root = np.sqrt(item_p)
    for q in range(len(needs)):
        want = asked[q]
        concept = (want[item_ids] * root).sum(axis=1)
        dense, words = (c[q] for c in channels)
        z = np.stack([concept, dense, words], axis=1) @ relevance[:-1] + relevance[-1]
        relevant = 1 / (1 + np.exp(-z))
        valued = relevant * (item_worth + WORTH_FLOOR)
        first, where = index.best(valued), index.best_where(valued * telling)[1]
        near_want = np.zeros(n_concepts, dtype=np.float32)
        for concept_id, p in zip(needs.concept_ids[q], needs.concept_p[q], strict=True):
            span = slice(near.indptr[concept_id], near.indptr[concept_id + 1])
            near_want[near.indices[span]] += p * near.values[span]
        out[q] = np.stack(
            [
                skills.worth @ want,
                skills.worth @ near_want,
                first,
                index.best_few(text[0] * dense + text[1] * words),
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
        """The bar for a project of this many needs whose concepts are ``foreign`` (0 to 1) to computing: who asks for a welder is answered
        only by somebody who clearly welds."""
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
