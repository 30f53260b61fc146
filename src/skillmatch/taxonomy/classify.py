"""Text to concepts, learned from the taxonomy's own texts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .. import retrieval
from ..encoders import Encoder, Progress, Vectors
from ..retrieval import Floats, Ints, load_array
from .concepts import Taxonomy
from .names import NameIndex


@dataclass(frozen=True)
class Examples:
    """Training texts of a taxonomy: ``label[i]`` is the concept of ``text[i]``, ``level[i]`` 0 where it shows none."""

    text: list[str]
    label: NDArray[np.int64]
    weight: Floats
    level: NDArray[np.int64]


def examples(taxonomy: Taxonomy) -> Examples:
    """Every text of the concepts that the classifier can learn: those with sentences, or the lab's own."""
    rows: list[tuple[str, int, float, int]] = []
    for i, concept in enumerate(taxonomy.concepts):
        if not (concept.practice or concept.requests or concept.source in {"skillmatch", "lab"}):
            continue
        names = set(concept.names)
        rows += [(t, i, 0.2 if t in names else 0.5, 0) for t in concept.wordings()]
        if concept.names:
            rows.append((", ".join(concept.names), i, 0.5, 0))
        rows += [(t, i, 1.0, 0) for t in (concept.definition_en, concept.definition_fr) if t]
        rows += [(t, i, 1.0, level) for level, fr, en in concept.practice for t in (fr, en) if t]
        rows += [(t, i, 1.0, 0) for pair in concept.requests for t in pair if t]
    return Examples(
        [r[0] for r in rows],
        np.array([r[1] for r in rows], dtype=np.int64),
        np.array([r[2] for r in rows], dtype=np.float32),
        np.array([r[3] for r in rows], dtype=np.int64),
    )


#: Counted features of the same texts, kind by kind, and where the codes of each kind begin.
RawFeatures = tuple[tuple[retrieval.Sparse, int], ...]


@dataclass(frozen=True)
class TextSpace:
    """Character n-grams and stems of the taxonomy's texts as TF-IDF; each kind scaled to length 1 per text."""

    features: Ints  # hashed codes in use, ascending; stems are offset by 2**CHAR_BITS
    idf: Floats

    @classmethod
    def fit(cls, texts: Sequence[str]) -> TextSpace:
        """Learn which features occur at least twice, and how telling each is."""
        return cls.of(raw_features(texts), len(texts))

    @classmethod
    def of(cls, raw: RawFeatures, n_texts: int) -> TextSpace:
        """The same, from the texts' counted features."""
        codes = np.hstack([rows.indices.astype(np.int64) + offset for rows, offset in raw])
        features, counts = np.unique(codes, return_counts=True)
        kept, frequency = features[counts >= 2], counts[counts >= 2]
        return cls(kept, (np.log((1 + n_texts) / (1 + frequency)) + 1).astype(np.float32))

    def transform(self, texts: Sequence[str]) -> retrieval.Sparse:
        """Rows over positions in ``features``; unknown features are dropped."""
        return self.weigh(raw_features(texts), len(texts))

    def weigh(self, raw: RawFeatures, n_texts: int) -> retrieval.Sparse:
        """The same, from the texts' counted features."""
        owners, places, values = [], [], []
        for rows, offset in raw:
            codes = rows.indices.astype(np.int64) + offset
            place = np.minimum(np.searchsorted(self.features, codes), max(len(self.features) - 1, 0))
            known = self.features[place] == codes if len(self.features) else np.zeros(len(codes), bool)
            owner = np.repeat(np.arange(rows.rows), np.diff(rows.indptr))[known]
            value = (1 + np.log(rows.values[known])) * self.idf[place[known]]
            norm = np.sqrt(np.bincount(owner, value**2, minlength=rows.rows))
            owners.append(owner)
            places.append(place[known])
            values.append(value / np.maximum(norm[owner], 1e-9))
        owner, place, value = np.hstack(owners), np.hstack(places), np.hstack(values)
        order = np.lexsort((place, owner))
        indptr = np.zeros(n_texts + 1, dtype=np.int64)
        np.cumsum(np.bincount(owner, minlength=n_texts), out=indptr[1:])
        return retrieval.Sparse(indptr, place[order].astype(np.int32), value[order].astype(np.float32))


def raw_features(texts: Sequence[str]) -> RawFeatures:
    """Counted n-grams and stems, and where each kind's codes begin."""
    return (retrieval.char_ngrams(texts), 0), (retrieval.word_stems(texts), 1 << retrieval.CHAR_BITS)


#: Weights of the classifier's four channels, each standardised over the concepts: complement naive Bayes and example
#: similarity over n-grams and stems, linear discriminant and example similarity over sentence vectors. Fitted by
#: maximum likelihood on held-out taxonomy sentences (benchmarks/fit_shipped.py).
CHANNELS = {"bayes": 0.17, "discriminant": 0.54, "near_words": 0.37, "near_meaning": 0.44}
_SHARPNESS = {"near_words": 15.0, "near_meaning": 20.0}
_BAYES_ALPHA, _SHRINKAGE = 0.1, 0.1


@dataclass(frozen=True)
class ConceptModel:
    """Texts and their vectors to probabilities over concepts; NumPy alone. ``fit_concepts`` makes one."""

    n_concepts: int
    classes: Ints  # the concepts the classifier knows, ascending
    space: TextSpace
    bayes: retrieval.Postings  # feature position -> classes that use it, with what it adds to their evidence
    bayes_base: Floats  # per class: what a feature foreign to it adds
    discriminant: Floats  # (dim, classes)
    intercept: Floats
    example_words: retrieval.Postings  # feature position -> examples
    example_vectors: NDArray[np.float16]  # (examples, dim)
    example_class: Ints
    example_weight: Floats
    names: NameIndex

    _ARRAYS = (
        "classes",
        "bayes_base",
        "discriminant",
        "intercept",
        "example_vectors",
        "example_class",
        "example_weight",
    )

    def probabilities(self, texts: Sequence[str], vectors: Vectors) -> Floats:
        """Shape (len(texts), n_concepts), rows sum to 1. Exact names are not looked at here."""
        out = np.zeros((len(texts), self.n_concepts), dtype=np.float32)

        def tell(start: int) -> None:
            part = slice(start, start + _TEXTS_AT_ONCE)
            channels = self.channels(texts[part], vectors[part])
            z = np.sum([weight * _standard(channel) for weight, channel in channels], axis=0)
            z = np.exp(z - z.max(axis=1, keepdims=True))
            out[part, self.classes] = z / z.sum(axis=1, keepdims=True)

        retrieval.on_cores(tell, range(0, len(texts), _TEXTS_AT_ONCE), len(texts) * len(self.example_class))
        return out

    def channels(self, texts: Sequence[str], vectors: Vectors) -> list[tuple[float, Floats]]:
        """(weight, scores over the classes) of the four channels."""
        rows = self.space.transform(texts)
        mass = np.add.reduceat(np.append(rows.values, 0), rows.indptr[:-1]) * (np.diff(rows.indptr) > 0)
        bayes = mass[:, None] * self.bayes_base + self.bayes.dense(rows)
        meaning = vectors @ np.asarray(self.example_vectors, dtype=np.float32).T
        return [
            (CHANNELS["bayes"], bayes.astype(np.float32)),
            (CHANNELS["discriminant"], vectors @ self.discriminant + self.intercept),
            (CHANNELS["near_words"], self._near(self.example_words.dense(rows), _SHARPNESS["near_words"])),
            (CHANNELS["near_meaning"], self._near(meaning, _SHARPNESS["near_meaning"])),
        ]

    def _near(self, similarity: Floats, sharpness: float) -> Floats:
        """Log of each class's share of the examples, weighted by exp(sharpness * similarity)."""
        e = np.exp(sharpness * (similarity - similarity.max(axis=1, keepdims=True))) * self.example_weight
        # Examples stand in the order of their classes.
        share = np.add.reduceat(e, np.searchsorted(self.example_class, np.arange(len(self.classes))), axis=1)
        logs: Floats = np.log(share / share.sum(axis=1, keepdims=True) + 1e-6).astype(np.float32)
        return logs

    def named(self, texts: Sequence[str]) -> list[list[tuple[int, float, str]]]:
        """(concept, share, words) of the exact names in each text."""
        return [self.names.find(t) for t in texts]

    def save(self, folder: Path) -> None:
        """Write the arrays to ``folder``, which exists."""
        for name in self._ARRAYS:
            np.save(folder / f"concepts_{name}.npy", getattr(self, name), allow_pickle=False)
        for name in ("features", "idf"):
            np.save(folder / f"concepts_space_{name}.npy", getattr(self.space, name), allow_pickle=False)
        for name in ("codes", "concepts", "cased"):
            np.save(folder / f"names_{name}.npy", getattr(self.names, name), allow_pickle=False)
        self.bayes.save(folder, "concepts_bayes")
        self.example_words.save(folder, "concepts_examples")

    @classmethod
    def load(cls, folder: Path, n_concepts: int) -> ConceptModel:
        parts = {n: load_array(folder / f"concepts_{n}.npy") for n in cls._ARRAYS}
        return cls(
            n_concepts=n_concepts,
            space=TextSpace(*(load_array(folder / f"concepts_space_{n}.npy") for n in ("features", "idf"))),
            bayes=retrieval.Postings.load(folder, "concepts_bayes", len(parts["classes"])),
            example_words=retrieval.Postings.load(folder, "concepts_examples", len(parts["example_class"])),
            names=NameIndex(*(load_array(folder / f"names_{n}.npy") for n in ("codes", "concepts", "cased"))),
            **parts,
        )


def _standard(scores: Floats) -> Floats:
    spread = scores.std(axis=1, keepdims=True)
    out: Floats = (scores - scores.mean(axis=1, keepdims=True)) / np.maximum(spread, 1e-6)
    return out


def fit_concepts(
    taxonomy: Taxonomy,
    encoder: Encoder,
    progress: Progress | None = None,
    keep: NDArray[np.bool_] | None = None,
) -> ConceptModel:
    """Learn text -> concept from the taxonomy's own texts (those in ``keep``, where given, for cross-fitting)."""
    from scipy.sparse import csr_matrix
    from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
    from sklearn.naive_bayes import ComplementNB

    data = examples(taxonomy)
    chosen = np.arange(len(data.text)) if keep is None else np.flatnonzero(keep)
    texts = [data.text[i] for i in chosen]
    label, weight = data.label[chosen], data.weight[chosen]
    vectors = encoder.encode(texts, "passage", progress)
    raw = raw_features(texts)
    space = TextSpace.of(raw, len(texts))
    rows = space.weigh(raw, len(texts))
    x = csr_matrix((rows.values, rows.indices, rows.indptr), shape=(len(texts), len(space.features)))
    classes, y = np.unique(label, return_inverse=True)

    bayes = ComplementNB(alpha=_BAYES_ALPHA).fit(x, y, sample_weight=weight)
    priors = np.full(len(classes), 1 / len(classes))
    linear = LinearDiscriminantAnalysis(solver="lsqr", shrinkage=_SHRINKAGE, priors=priors).fit(vectors, y)
    coef, intercept = linear.coef_, linear.intercept_
    if len(classes) == 2:  # scikit-learn keeps one row for two classes
        coef, intercept = np.vstack([-coef, coef]) / 2, np.hstack([-intercept, intercept]) / 2
    return ConceptModel(
        len(taxonomy),
        classes.astype(np.int64),
        space,
        *_bayes_postings(bayes, x, y, weight, len(classes)),
        np.ascontiguousarray(coef.T, dtype=np.float32),
        intercept.astype(np.float32),
        retrieval.invert(rows, rows.values, len(space.features)),
        vectors.astype(np.float16),
        y.astype(np.int64),
        weight,
        NameIndex.build(taxonomy),
    )


def _bayes_postings(bayes: Any, x: Any, y: Ints, weight: Floats, n_classes: int) -> tuple[retrieval.Postings, Floats]:
    """scikit-learn's complement naive Bayes in sparse form: exactly its decision, up to a constant per text.

    Its weight of feature i for class c is -log((a + N_i - n_ci) / T_c). Where c never uses i that is a number of i
    (the same for all classes, so it decides nothing) plus log T_c; only the (i, c) in use need storing.
    """
    from scipy.sparse import coo_matrix, csr_matrix

    indicator = csr_matrix((weight, (y, np.arange(len(y)))), shape=(n_classes, len(y)))
    counts = coo_matrix(indicator @ x)
    total = np.asarray(bayes.feature_all_)
    added = -np.log((bayes.alpha + total[counts.col] - counts.data) / (bayes.alpha + total[counts.col]))
    complement = (bayes.alpha + total).sum() - np.bincount(counts.row, counts.data, minlength=n_classes)
    order = np.lexsort((counts.col, counts.row))
    indptr = np.zeros(n_classes + 1, dtype=np.int64)
    np.cumsum(np.bincount(counts.row, minlength=n_classes), out=indptr[1:])
    rows = retrieval.Sparse(indptr, counts.col[order].astype(np.int32), added[order].astype(np.float32))
    return retrieval.invert(rows, rows.values, x.shape[1]), np.log(complement).astype(np.float32)


# --- what texts are about ---

#: Texts that are told apart together; of more than these, on every core.
_TEXTS_AT_ONCE = 512
#: How many concepts are kept of each item and need; the rest of their probability is dropped.
TOP_CONCEPTS = 8
#: Exact names decide where they are at least this share of a text's words, and then by this much.
NAME_COVER, NAME_SHARE = 0.5, 0.7


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
    words = len(retrieval.tokens(text))
    return sum(len(w.split()) * share for _, share, w in found) / words if words else 0.0


@dataclass(frozen=True)
class NeedBatch:
    """Needs ready to be scored: texts, unit vectors and concept distributions, one row a need."""

    texts: tuple[str, ...]
    vectors: Floats
    concept_ids: NDArray[np.int32]
    concept_p: Floats

    def __len__(self) -> int:
        return len(self.texts)
