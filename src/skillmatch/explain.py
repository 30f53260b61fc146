"""Contributions to reasons: the sentence that proves a match, and the parts of a score in a coordinator's words.

Each need's raw score is a baseline plus one term a feature (``ranking``); features are summed into the few parts that
people understand. Parts and baseline add up to the raw score, exactly to float precision.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from .ranking import FEATURES, PARTS, Ranker
from .records import Gap, Match, Need, Proof, Reason
from .retrieval import Floats, Ints

#: A need's best evidence is shown as proof from this probability on; below it, the need counts as not covered.
PROOF_BAR = 0.10
#: A claim is shown as the proof only where no sentence says half as much: "GPU: 5" proves less than what was done.
CLAIM_TELLS = 0.5


@dataclass(frozen=True)
class Items:
    """What each person's items say: texts, kinds and sources, read one at a time from a blob."""

    blob: NDArray[np.uint8]
    offsets: Ints  # (items + 1,)
    worth: Floats
    level: NDArray[np.int8]  # the level claimed, 0 where none is
    telling: Floats  # what each is worth as a proof to show, beside its worth

    @classmethod
    def build(cls, rows: Sequence[tuple[str, str, str]], worth: Floats, level: Sequence[int]) -> Items:
        """From (text, kind, source) of each item."""
        packed = ["\x1f".join((text, kind, source)).encode() for text, kind, source in rows]
        offsets = np.zeros(len(packed) + 1, dtype=np.int64)
        np.cumsum([len(p) for p in packed], out=offsets[1:])
        telling = np.array([CLAIM_TELLS if kind == "skill" else 1.0 for _, kind, _ in rows], np.float32)
        blob = np.frombuffer(b"".join(packed), dtype=np.uint8)
        return cls(blob, offsets, worth, np.array(level, dtype=np.int8), telling)

    def part(self, items: slice) -> Items:
        """These alone."""
        offsets = self.offsets[items.start : items.stop + 1]
        return Items(self.blob, offsets, self.worth[items], self.level[items], self.telling[items])

    def texts(self) -> list[str]:
        """What each item says."""
        blob = bytes(self.blob)
        return [blob[a:b].decode().split("\x1f", 1)[0] for a, b in pairwise(self.offsets.tolist())]

    def proof(self, item: int) -> Proof:
        """The item as evidence."""
        raw = bytes(self.blob[self.offsets[item] : self.offsets[item + 1]]).decode()
        text, kind, source = raw.split("\x1f", 2)
        return Proof(text, kind, source, int(self.level[item]) or None)


def parts(ranker: Ranker, features: Floats) -> dict[str, float]:
    """What each part adds to the raw score of one (need, person) pair; the sum is raw score less baseline."""
    terms = dict(zip(FEATURES, ranker.terms(features), strict=True))
    return {part: float(sum(terms[f] for f in names)) for part, names in PARTS.items()}


def reason(
    need: Need, ranker: Ranker, features: Floats, raw: float, score: float, proof: Proof, bar: float = PROOF_BAR
) -> Reason:
    """Why (or how little) one person answers one need; with the proof from ``bar`` on."""
    return Reason(need.id, score, raw, proof if score >= bar else None, parts(ranker, features))


def gaps(
    needs: Sequence[Need], best_scores: Sequence[float], closest: Sequence[Proof | None], bar: float
) -> tuple[Gap, ...]:
    """The needs that nobody reaches ``bar`` for, with the nearest evidence there is."""
    return tuple(
        Gap(need.id, float(best), proof)
        for need, best, proof in zip(needs, best_scores, closest, strict=True)
        if best < bar
    )


def missing(match: Match, needs: Sequence[Need], better: Match | None) -> list[tuple[str, str, float]]:
    """(need, part, difference) where ``better`` scores higher than ``match``, largest first: what would lift them."""
    if better is None:
        return []
    own = {r.need: r for r in match.needs}
    out = [
        (other.need, part, value - own[other.need].parts.get(part, 0.0))
        for other in better.needs
        if other.need in own
        for part, value in other.parts.items()
    ]
    return sorted((d for d in out if d[2] > 0.01), key=lambda d: -d[2])


def is_thin(items: int, words: int) -> bool:
    """Whether a profile says too little to be judged by: under three items or twenty words in all."""
    return items < 3 or words < 20


def order(scores: NDArray[np.float64], cross: NDArray[np.bool_], ids: Sequence[str]) -> list[int]:
    """People's indices, best first: other labs before the asker's own, then score, then id.

    ``cross``: True for people of another lab than the asker's; all True where no lab asks.
    """
    return sorted(range(len(ids)), key=lambda i: (not cross[i], -scores[i], ids[i]))
