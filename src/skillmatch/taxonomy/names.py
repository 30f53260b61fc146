"""Exact wordings of concepts in a text."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .. import retrieval
from .concepts import Taxonomy

_LONGEST_NAME = 7


def _name_key(words: Sequence[str]) -> int:
    return retrieval.name_code(" ".join(retrieval.stem(w) for w in words))


def _needs_case(name: str) -> bool:
    """Short single words (R, Go, AD, ROOT) are names only in their own spelling."""
    return " " not in name and "-" not in name and len(name) <= 4


@dataclass(frozen=True)
class NameIndex:
    """Every wording of every concept, hashed and sorted: memory-mapped, looked up by bisection."""

    codes: NDArray[np.uint64]
    concepts: NDArray[np.int32]
    cased: NDArray[np.uint64]  # code of the exact spelling, 0 where any case will do

    @classmethod
    def build(cls, taxonomy: Taxonomy) -> NameIndex:
        """Every wording of every concept, of at most seven words."""
        entries: set[tuple[int, int, int]] = set()
        for i, concept in enumerate(taxonomy.concepts):
            for text in concept.wordings():
                words = retrieval.tokens(text)
                if words and len(words) <= _LONGEST_NAME:
                    entries.add((_name_key(words), i, retrieval.name_code(text) if _needs_case(text) else 0))
        order = sorted(entries)
        return cls(
            np.array([e[0] for e in order], dtype=np.uint64),
            np.array([e[1] for e in order], dtype=np.int32),
            np.array([e[2] for e in order], dtype=np.uint64),
        )

    def find(self, text: str) -> list[tuple[int, float, str]]:
        """(concept, share, words) for each name in ``text``, longest first, no overlaps; shares split ambiguity."""
        found: list[tuple[int, float, str]] = []
        raw = retrieval.raw_tokens(text)
        words = [w for _, w in raw]
        short = len(words) <= 3
        where = self._spans([retrieval.stem(w) for w in words])
        i = 0
        while i < len(words):
            step = 1
            for n in range(min(_LONGEST_NAME, len(words) - i), 0, -1):
                if (i, n) not in where:
                    continue
                lo, hi = where[i, n]
                spelled = " ".join(r for r, _ in raw[i : i + n])
                allowed = {
                    0,
                    retrieval.name_code(spelled),
                    retrieval.name_code(spelled.upper()) if short else 0,
                }
                if short:
                    hits = {int(c) for c in self.concepts[lo:hi]}
                else:
                    hits = {
                        int(c)
                        for c, k in zip(self.concepts[lo:hi], self.cased[lo:hi], strict=True)
                        if int(k) in allowed
                    }
                if hits:
                    found.extend((c, 1 / len(hits), spelled) for c in sorted(hits))
                    step = n
                    break
            i += step
        return found

    def _spans(self, stemmed: Sequence[str]) -> dict[tuple[int, int], tuple[int, int]]:
        """(first word, words) of each run of words that is a name, and where its entries begin and end."""
        spans = [(i, n) for i in range(len(stemmed)) for n in range(1, min(_LONGEST_NAME, len(stemmed) - i) + 1)]
        codes = np.array([retrieval.name_code(" ".join(stemmed[i : i + n])) for i, n in spans], dtype=np.uint64)
        first = np.searchsorted(self.codes, codes, "left")
        last = np.searchsorted(self.codes, codes, "right")
        return {spans[k]: (int(first[k]), int(last[k])) for k in np.flatnonzero(first < last)}
