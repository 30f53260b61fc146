"""French words to English ones, learned from the texts that a taxonomy holds in both languages.

Word alignment by IBM model 1 (Brown et al. 1993, The Mathematics of Statistical Machine Translation) over labels,
definitions and example sentences: once for words as written, once for stems, which stand in for forms never seen. The
result is a gloss, no translation: content words in the order of the text, enough to meet an English wording by its
meaning, its letters or its words.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from .. import retrieval
from ..encoders import Encoder, Kind, Progress, Vectors, unit
from ..errors import DamagedModelError
from .concepts import Concept, Taxonomy

_ROUNDS = 8
#: A word takes a translation it has at least this likely, from at least this much alignment weight.
_LEAST_SHARE, _LEAST_WEIGHT = 0.1, 0.5
#: A form written fewer times than this is learned through its stem alone.
_SEEN_OFTEN = 3
#: How far neighbours, this many words each side, speak for the language of a word.
_NEIGHBOURS, _NEIGHBOUR_SHARE = 2, 0.5
#: Labels align better than sentences: a pair of at most this many French words counts as several.
_SHORT, _SHORT_WORTH = 8, 3.0
#: Neither side of a pair may be longer: a paragraph aligns everything with everything.
_LONGEST_PAIR = 60


def twin_texts(concepts: Sequence[Concept]) -> list[tuple[str, str]]:
    """(French, English) of every text that the concepts hold in both languages, the aliases of a concept as one."""
    pairs: list[tuple[str, str]] = []
    for c in concepts:
        pairs.append((" ".join(c.aliases_fr), " ".join(c.aliases_en)))
        pairs += [(c.label_fr, c.label_en), (c.definition_fr, c.definition_en)]
        pairs += [(fr, en) for _, fr, en in c.practice]
        pairs += c.requests
    return [(fr, en) for fr, en in pairs if fr and en]


@dataclass(frozen=True)
class Lexicon:
    """``words`` and ``stems``: French, folded, to an English word. ``leaning``: log-odds that a word is French."""

    words: Mapping[str, str]
    stems: Mapping[str, str]
    leaning: Mapping[str, float]

    @classmethod
    def learn(cls, pairs: Sequence[tuple[str, str]]) -> Lexicon:
        """From (French, English) texts. Seconds for twenty thousand pairs; empty where there are none."""
        both = [(retrieval.tokens(fr), retrieval.tokens(en)) for fr, en in pairs]
        french, english = (Counter(w for pair in both for w in pair[side]) for side in (0, 1))
        content = [
            (_without_stopwords(fr), _without_stopwords(en))
            for fr, en in both
            if max(len(fr), len(en)) <= _LONGEST_PAIR
        ]
        written = [([w for w in fr if french[w] >= _SEEN_OFTEN], en) for fr, en in content]
        stemmed = [([retrieval.stem(w) for w in fr], en) for fr, en in content]
        # A count of one half each stands for what was not seen.
        scale = (sum(english.values()) + 1) / (sum(french.values()) + 1)
        leaning = {w: round(math.log((french[w] + 0.5) * scale / (english[w] + 0.5)), 2) for w in {*french, *english}}
        return cls(_align(written), _align(stemmed), leaning)

    @classmethod
    def of(cls, taxonomy: Taxonomy) -> Lexicon:
        """From all that a taxonomy says twice."""
        return cls.learn(twin_texts(taxonomy.concepts))

    def gloss(self, text: str) -> str:
        """The content words of a text, folded, the French ones replaced; texts in two languages are read word by word.

        English texts keep their words. A French word that was never seen stays as it is: often a cognate, or a name.
        """
        return self.read(text)[0]

    def read(self, text: str) -> tuple[str, float]:
        """The gloss of a text, and the share of its words, 0 to 1, that were French and have another one in English."""
        raw = retrieval.raw_tokens(text)
        lean = [self._leaning(written, word) for written, word in raw]
        out: list[str] = []
        replaced = carrying = 0
        for i, (_, word) in enumerate(raw):
            if word in retrieval.STOPWORDS:
                continue
            beside = sum(lean[max(i - _NEIGHBOURS, 0) : i]) + sum(lean[i + 1 : i + 1 + _NEIGHBOURS])
            english = self._english(word) if lean[i] + _NEIGHBOUR_SHARE * beside > 0 else word
            replaced += english != word
            carrying += 1
            if not out or out[-1] != english:  # "pare-feu": both halves say firewall
                out.append(english)
        return " ".join(out), replaced / max(carrying, 1)

    def _leaning(self, written: str, word: str) -> float:
        known = self.leaning.get(word)
        if known is not None:
            return max(-3.0, min(3.0, known))
        # English has next to no accents.
        return 2.0 if written.lower() != word else 0.0

    def _english(self, word: str) -> str:
        return self.words.get(word) or self.stems.get(retrieval.stem(word)) or word

    def save(self, path: Path) -> None:
        """Write it as JSON."""
        path.write_text(self._json(), "utf-8")

    def digest(self) -> str:
        """Eight hex digits that change with any word."""
        return hashlib.blake2b(self._json().encode(), digest_size=4).hexdigest()

    def _json(self) -> str:
        data = {"words": self.words, "stems": self.stems, "leaning": self.leaning}
        return json.dumps(data, ensure_ascii=False, sort_keys=True)

    @classmethod
    def load(cls, path: Path) -> Lexicon:
        try:
            data = json.loads(path.read_text("utf-8"))
            return cls(data["words"], data["stems"], data["leaning"])
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise DamagedModelError(f"{path} can't be read ({error}).", "Run: skillmatch train") from error


#: The most that a gloss counts in the vector of a text, however French it is.
_GLOSS_SHARE = 0.5
#: An encoder that finds the English twin of so many French labels first needs no gloss.
_KNOWS_FRENCH = 0.75


class GlossedEncoder:
    """An encoder that learned English, and reads French word by word beside: the vector of a text is drawn towards that
    of its gloss, by the share of its words that were French, half way at most. English texts keep their vectors.

    ``inner`` is the encoder itself. The fingerprint is of both, so that what was computed with another lexicon is told.
    """

    def __init__(self, inner: Encoder, lexicon: Lexicon) -> None:
        self.inner, self.lexicon, self.dim = inner, lexicon, inner.dim

    @cached_property
    def fingerprint(self) -> str:
        """Of both. A moment's work that answering never needs."""
        return f"{self.inner.fingerprint}+{self.lexicon.digest()}"

    def encode(self, texts: Sequence[str], kind: Kind = "passage", progress: Progress | None = None) -> Vectors:
        """Unit vectors, float32, shape (len(texts), dim), in the order of ``texts``."""
        vectors = self.inner.encode(texts, kind, progress)
        read = [self.lexicon.read(text) for text in texts]
        rows = [i for i, (gloss, share) in enumerate(read) if share and gloss]
        if not rows:
            return vectors
        share = np.array([_GLOSS_SHARE * min(2 * read[i][1], 1) for i in rows], dtype=np.float32)[:, None]
        glosses = self.inner.encode([read[i][0] for i in rows], kind)
        out = vectors.copy()
        out[rows] = unit((1 - share) * vectors[rows] + share * glosses)
        return out


def plain(encoder: Encoder) -> Encoder:
    """The encoder without its lexicon, if it has one."""
    return encoder.inner if isinstance(encoder, GlossedEncoder) else encoder


def reading_french(encoder: Encoder, taxonomy: Taxonomy, lexicon: Lexicon) -> Encoder:
    """The encoder with the lexicon beside it; as it is where it finds most English labels by the French ones."""
    labels = [(c.label_fr, c.label_en) for c in taxonomy.concepts if c.label_fr and c.label_en]
    if labels:
        french, english = (encoder.encode([pair[k] for pair in labels]) for k in (0, 1))
        found = ((french @ english.T).argmax(axis=1) == np.arange(len(labels))).mean()
        if found >= _KNOWS_FRENCH:
            return encoder
    return GlossedEncoder(encoder, lexicon)


def content_words(text: str) -> list[str]:
    """The words of a text, folded, in order, without those that carry no meaning."""
    return _without_stopwords(retrieval.tokens(text))


def _without_stopwords(words: Sequence[str]) -> list[str]:
    return [w for w in words if w not in retrieval.STOPWORDS]


def _align(pairs: Sequence[tuple[list[str], list[str]]]) -> dict[str, str]:
    """The likeliest English word of each French one, by expectation maximisation."""
    french: dict[str, int] = {"": 0}  # the empty word takes what has no counterpart
    english: dict[str, int] = {}
    cells: list[tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]] = []
    worth: list[float] = []
    for fr, en in pairs:
        if not fr or not en:
            continue
        a = np.array([0, *(french.setdefault(w, len(french)) for w in fr)], dtype=np.int64)
        b = np.array([english.setdefault(w, len(english)) for w in en], dtype=np.int64)
        # Every English word of a pair is a slot for which the pair's French words compete.
        cells.append((np.tile(a, len(b)), np.repeat(b, len(a)), np.repeat(np.arange(len(b)) + len(worth), len(a))))
        worth += [_SHORT_WORTH if len(fr) <= _SHORT else 1.0] * len(b)
    if not cells:
        return {}
    source, target, slot = (np.concatenate([c[k] for c in cells]) for k in range(3))
    value = np.array(worth)
    keys, cell = np.unique(source * len(english) + target, return_inverse=True)
    source_of, target_of = keys // len(english), keys % len(english)
    # Begun with Dice's coefficient: closer to the end than an even spread.
    seen = np.bincount(source, minlength=len(french))[source_of] + np.bincount(target)[target_of]
    chance = np.bincount(cell) / seen
    for _ in range(_ROUNDS):
        share = chance[cell] * (value / np.bincount(slot, chance[cell]))[slot]
        weight = np.bincount(cell, share, minlength=len(keys))
        chance = weight / np.bincount(source_of, weight, minlength=len(french))[source_of]
    good = (chance >= _LEAST_SHARE) & (weight >= _LEAST_WEIGHT) & (source_of > 0)
    names, words = list(french), list(english)
    # The likeliest last, so that it stays; of equals the one that comes first in the alphabet.
    order = sorted(np.flatnonzero(good), key=lambda k: (chance[k], [-ord(c) for c in words[target_of[k]]]))
    return {names[source_of[k]]: words[target_of[k]] for k in order}
