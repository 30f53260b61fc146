"""How much expertise a sentence shows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from .. import retrieval
from ..encoders import Encoder, Vectors
from ..retrieval import Floats, load_array
from .classify import examples
from .concepts import Taxonomy

#: What a level is worth, from its number: the usual gain of nDCG over grades (none, 1, 2, 3, 3), scaled to 1.
LEVEL_WORTH = {1: 0.05, 2: 1 / 7, 3: 3 / 7, 4: 1.0, 5: 1.0}


@dataclass(frozen=True)
class LevelModel:
    """A sentence to the worth of the expertise it shows, 0 (none) to 1 (level 4 or 5); see ``LEVEL_WORTH``.

    Ridge regression over the sentence vector, hashed character n-grams, hashed word pairs ("responsable de", "helped
    with") and length, learned from the levelled practice sentences of the taxonomy.
    """

    dense: Floats
    chars: Floats
    pairs: Floats
    length: Floats
    intercept: float

    def worth(self, texts: Sequence[str], vectors: Vectors) -> Floats:
        """Shape (len(texts),), clipped to [0, 1]."""
        out = vectors @ self.dense + _length(texts) @ self.length + np.float32(self.intercept)
        for rows, weights in (
            (_unit_rows(retrieval.char_ngrams(texts)), self.chars),
            (_pairs(texts), self.pairs),
        ):
            owner = np.repeat(np.arange(rows.rows), np.diff(rows.indptr))
            out = out + np.bincount(owner, rows.values * weights[rows.indices], minlength=rows.rows)
        clipped: Floats = np.clip(out, 0.0, 1.0).astype(np.float32)
        return clipped

    def save(self, folder: Path) -> None:
        for name in ("dense", "chars", "pairs", "length"):
            np.save(folder / f"level_{name}.npy", getattr(self, name), allow_pickle=False)
        np.save(folder / "level_intercept.npy", np.array([self.intercept]), allow_pickle=False)

    @classmethod
    def load(cls, folder: Path) -> LevelModel:
        parts = {n: load_array(folder / f"level_{n}.npy") for n in ("dense", "chars", "pairs", "length")}
        return cls(intercept=float(load_array(folder / "level_intercept.npy")[0]), **parts)


def _length(texts: Sequence[str]) -> Floats:
    words = np.array([min(len(t.split()), 60) for t in texts], dtype=np.float32)
    return np.stack([words / 10, np.sqrt(words) / 3], axis=1)


def _unit_rows(rows: retrieval.Sparse) -> retrieval.Sparse:
    values = 1 + np.log(rows.values)
    owner = np.repeat(np.arange(rows.rows), np.diff(rows.indptr))
    norms = np.sqrt(np.bincount(owner, values**2, minlength=rows.rows))
    return retrieval.Sparse(rows.indptr, rows.indices, (values / np.maximum(norms[owner], 1e-9)).astype(np.float32))


def _pairs(texts: Sequence[str]) -> retrieval.Sparse:
    """Words and word pairs, function words included: they carry the roles ("en charge de")."""
    row: list[int] = []
    code: list[int] = []
    for i, text in enumerate(texts):
        words = ["^", *retrieval.tokens(text)]
        for a, b in pairwise(words):
            row += [i, i]
            code += [retrieval.word_code(b) >> 46, retrieval.name_code(f"{a} {b}") >> 46]
    bits = 18
    return _unit_rows(retrieval.to_sparse(np.array(row, np.int64), np.array(code, np.int64), len(texts), bits))


def fit_levels(taxonomy: Taxonomy, encoder: Encoder, keep: NDArray[np.bool_] | None = None) -> LevelModel:
    """Learn sentence -> worth from the practice sentences (those in ``keep``, a mask over ``examples``)."""
    from scipy.sparse import csr_matrix, hstack
    from sklearn.linear_model import Ridge

    data = examples(taxonomy)
    chosen = np.flatnonzero((data.level > 0) if keep is None else (data.level > 0) & keep)
    texts = [data.text[i] for i in chosen]
    target = np.array([LEVEL_WORTH[int(data.level[i])] for i in chosen])
    vectors = encoder.encode(texts)
    chars, pairs = _unit_rows(retrieval.char_ngrams(texts)), _pairs(texts)
    blocks = [vectors, _length(texts)]
    for rows, bits in ((chars, retrieval.CHAR_BITS), (pairs, 18)):
        blocks.append(csr_matrix((rows.values, rows.indices, rows.indptr), shape=(rows.rows, 1 << bits)))
    x = hstack([csr_matrix(blocks[0]), csr_matrix(blocks[1]), *blocks[2:]]).tocsr()
    used = np.flatnonzero(np.asarray((x != 0).sum(axis=0)).ravel() >= 2)
    fitted = Ridge(1.0, solver="sparse_cg", tol=1e-4).fit(x[:, used], target)
    weights = np.zeros(x.shape[1], dtype=np.float32)
    weights[used] = fitted.coef_
    d, c = vectors.shape[1], 1 << retrieval.CHAR_BITS
    return LevelModel(
        weights[:d],
        weights[d + 2 : d + 2 + c],
        weights[d + 2 + c :],
        weights[d : d + 2],
        float(fitted.intercept_),
    )
