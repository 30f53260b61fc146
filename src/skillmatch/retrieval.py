"""Vectors, words and character n-grams to candidate evidence. Takes ids and vectors, never a model.

Two channels see every item: ``dense`` (cosine of sentence vectors) and ``words`` (BM25 over stems in both languages).
Character 2-4-grams (cosine of TF-IDF), which hold across inflections, typing errors and the two languages' shared
roots, serve the taxonomy: beside concepts they brought nothing to the choice of evidence. Texts become sparse features
by hashing, so no vocabulary is stored or loaded; the same functions serve training and answering. The indexes are plain
``.npy`` arrays, inverted and memory-mapped; what they cost a query grows with the lists it touches. Each query is
computed by itself, in the same steps however many are asked together: a batch answers as single questions do.
"""

from __future__ import annotations

import os
import re
import threading
import unicodedata
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, replace
from functools import cached_property, lru_cache
from hashlib import blake2b
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .errors import DamagedModelError

Floats = NDArray[np.float32]
Ints = NDArray[np.int64]

CHAR_BITS = 18
WORD_BITS = 20
#: BM25's usual constants (Robertson & Zaragoza 2009, The Probabilistic Relevance Framework).
BM25_K1, BM25_B = 1.2, 0.75
#: Texts whose features are made at a time, so that memory stays flat.
TEXTS_AT_ONCE = 20_000
#: Rows of vectors a core takes at once: fewest where many queries pass over them (they stay in its cache), most where
#: one does.
FEWEST_ROWS, MOST_ROWS = 1024, 16384
#: From this many items on, work is spread over the cores; below, starting threads costs more than it brings.
WORTH_THREADS = 50_000
#: From this many rows on, importing SciPy costs less than it brings: in training, never for a question.
WORTH_SCIPY = 256

_APOSTROPHES = str.maketrans({"’": "'", "‘": "'", "ʼ": "'", "`": "'", "´": "'", "′": "'"})
_DASHES = str.maketrans(dict.fromkeys("‐‑‒–—―−", "-"))
# A word keeps what makes C++, C#, .NET, TCP/IP's parts, 802.1X or WinCC-OA recognisable.
_TOKEN = re.compile(r"\.?[^\W_]+(?:[.+#'&_][^\W_]+)*(?:\+\+|#)?", re.UNICODE)
# French elisions: l'acquisition -> acquisition.
_ELISION = re.compile(r"^(?:l|d|j|m|n|s|t|c|qu|jusqu|lorsqu|puisqu)'(?=\w)", re.IGNORECASE)
#: Words that say nothing of a skill, folded: English, then French.
STOPWORDS = frozenset(
    (  # noqa: SIM905
        "a an and are as at be been by can could do does for from had has have he her his how i if in into is it its "
        "just may more most must need needed needs no nor not of on one only or other our out over own per she should "
        "since so some such than that the their them then there these they this those to too under up us use used "
        "using very was we were what when where which while who why will with within without would you your "
        "au aux avec ce ces cet cette comme dans de des du elle en est et eu il ils la le les leur leurs lui ma mais "
        "me meme mes moi mon ne nos notre nous ont ou par pas plus pour qu que quelqu qui sa sans se ses si son sont "
        "sur ta te tes toi ton tout toute toutes tous tres un une vos votre vous etre avoir fait faire afin ainsi "
        "aussi avant apres besoin chez depuis deja donc dont entre faut y lors mieux moins peu peut puis quand "
        "quelque selon soit sous toujours trop vers "
    ).split()
)


def fold(text: str) -> str:
    """Lower case, no accents, one kind of apostrophe, dash and space; ligatures opened."""
    if text.isascii():
        return " ".join(text.replace("`", "'").lower().split())
    text = text.translate(_APOSTROPHES).translate(_DASHES).lower()
    text = text.replace("œ", "oe").replace("æ", "ae").replace("ß", "ss")
    decomposed = unicodedata.normalize("NFKD", text).lower()
    # Marks that combine come after the first 768 characters: most need no looking up.
    return " ".join("".join([c for c in decomposed if c < "\u0300" or not unicodedata.combining(c)]).split())


def tokens(text: str) -> list[str]:
    """The words of a folded text, in order; elisions dropped."""
    return list(_tokens(text))


# Each item is asked for its words by every channel, a block of items at a time.
@lru_cache(maxsize=8192)
def _tokens(text: str) -> tuple[str, ...]:
    return tuple(_ELISION.sub("", t) if "'" in t else t for t in _TOKEN.findall(fold(text)))


def raw_tokens(text: str) -> list[tuple[str, str]]:
    """(as written, folded) of each word, in order."""
    out: list[tuple[str, str]] = []
    for match in _TOKEN.finditer(text.translate(_APOSTROPHES).translate(_DASHES)):
        written = _ELISION.sub("", match.group())
        folded = fold(written)
        if folded:
            out.append((written, folded))
    return out


@lru_cache(maxsize=200_000)
def stem(word: str) -> str:
    """A folded word's stem: the English stem of its French stem, so that no language needs to be guessed."""
    if len(word) <= 3 or not word.isalpha():
        return word
    french, english = _stemmers()
    # English plurals first: French takes the -er of "cluster" for an ending, and "clusters" would no longer meet it.
    if word.endswith("s") and not word.endswith("ss"):
        word = word[:-1]
    if len(word) > 4:  # policy, policies; stratégie, stratégies
        word = f"{word[:-2]}i" if word.endswith("ie") else f"{word[:-1]}i" if word.endswith("y") else word
    return str(english.stemWord(french.stemWord(word)))


_OF_THREAD = threading.local()


def _stemmers() -> tuple[Any, Any]:
    """French and English; of each thread its own, as they hold the word they are at."""
    if not hasattr(_OF_THREAD, "stemmers"):
        import snowballstemmer

        _OF_THREAD.stemmers = snowballstemmer.stemmer("french"), snowballstemmer.stemmer("english")
    found: tuple[Any, Any] = _OF_THREAD.stemmers
    return found


def _mix(values: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """The finaliser of splitmix64 (Steele et al. 2014): spreads n-gram codes over all bits."""
    v = values.copy()
    v ^= v >> np.uint64(30)
    v *= np.uint64(0xBF58476D1CE4E5B9)
    v ^= v >> np.uint64(27)
    v *= np.uint64(0x94D049BB133111EB)
    v ^= v >> np.uint64(31)
    return v


@dataclass(frozen=True)
class Sparse:
    """Rows of (feature, value), features ascending within a row: the usual CSR triple, without SciPy."""

    indptr: Ints
    indices: NDArray[np.int32]
    values: Floats

    @property
    def rows(self) -> int:
        return len(self.indptr) - 1


def to_sparse(row: Ints, feature: Ints, n_rows: int, bits: int) -> Sparse:
    """Counted (row, feature) pairs, duplicates summed."""
    keys, counts = np.unique((row << bits) | feature, return_counts=True)
    rows = keys >> bits
    indptr = np.zeros(n_rows + 1, dtype=np.int64)
    np.cumsum(np.bincount(rows, minlength=n_rows), out=indptr[1:])
    return Sparse(indptr, (keys & ((1 << bits) - 1)).astype(np.int32), counts.astype(np.float32))


def char_ngrams(texts: Sequence[str], bits: int = CHAR_BITS, sizes: tuple[int, ...] = (2, 3, 4)) -> Sparse:
    """Counts of hashed character n-grams within words (padded by one space each side, as ``char_wb``)."""
    rows: list[Ints] = []
    features: list[Ints] = []
    for start in range(0, len(texts), TEXTS_AT_ONCE):
        block = texts[start : start + TEXTS_AT_ONCE]
        pieces = [f"  {' '.join(_words_for_chars(t))}  " for t in block]
        codes = np.frombuffer("".join(pieces).encode("utf-32-le"), dtype="<u4").astype(np.uint64)
        owner = np.repeat(np.arange(len(block), dtype=np.int64), [len(p) for p in pieces])
        space = codes == 32
        for n in sizes:
            m = len(codes) - n + 1
            if m <= 0:
                continue
            gram = np.zeros(m, dtype=np.uint64)
            inner = np.zeros(m, dtype=bool)
            for k in range(n):
                gram = gram * np.uint64(0x9E3779B97F4A7C15) + codes[k : k + m] + np.uint64(1)
                if 0 < k < n - 1:
                    inner |= space[k : k + m]
            # A gram may begin or end with a space, but not hold one inside, nor be made of two.
            good = ~inner & ~(space[:m] & space[n - 1 : n - 1 + m]) & (owner[:m] == owner[n - 1 : n - 1 + m])
            rows.append(owner[:m][good] + start)
            features.append((_mix(gram[good]) >> np.uint64(64 - bits)).astype(np.int64))
    if not rows:
        return Sparse(np.zeros(len(texts) + 1, np.int64), np.zeros(0, np.int32), np.zeros(0, np.float32))
    return to_sparse(np.concatenate(rows), np.concatenate(features), len(texts), bits)


def _words_for_chars(text: str) -> list[str]:
    return [t for t in tokens(text) if t not in STOPWORDS]


def word_stems(texts: Sequence[str], bits: int = WORD_BITS) -> Sparse:
    """Counts of hashed stems, stop words left out."""
    rows: list[Ints] = [np.zeros(0, dtype=np.int64)]
    features: list[Ints] = [np.zeros(0, dtype=np.int64)]
    for start in range(0, len(texts), TEXTS_AT_ONCE):
        row: list[int] = []
        feature: list[int] = []
        for i, text in enumerate(texts[start : start + TEXTS_AT_ONCE], start):
            for word in _words_for_chars(text):
                row.append(i)
                feature.append(word_code(stem(word)) >> (64 - bits))
        rows.append(np.array(row, dtype=np.int64))
        features.append(np.array(feature, dtype=np.int64))
    return to_sparse(np.concatenate(rows), np.concatenate(features), len(texts), bits)


@lru_cache(maxsize=200_000)
def word_code(word: str) -> int:
    """``name_code`` of what comes again and again."""
    return name_code(word)


def name_code(text: str) -> int:
    """A stable 64-bit code of a string."""
    return int.from_bytes(blake2b(text.encode(), digest_size=8).digest(), "little")


@dataclass(frozen=True)
class Postings:
    """An inverted index: for each hashed feature the items that have it, with their weights.

    Queries cost what their features' lists cost; nothing of the size of the vocabulary is ever made per query.
    """

    features: NDArray[np.int32]  # the features that occur, ascending
    indptr: Ints  # (len(features) + 1,)
    items: NDArray[np.int32]
    weights: NDArray[np.float32]
    idf: Floats  # of each feature
    n_items: int
    beside: int = 0  # items of the whole index that are not in this part of it

    def part(self, items: slice) -> Postings:
        """These items alone, counted from 0; each is weighted as in the whole."""
        kept = np.flatnonzero((self.items >= items.start) & (self.items < items.stop))
        n_items = items.stop - items.start
        return replace(
            self,
            indptr=np.searchsorted(kept, self.indptr),
            items=self.items[kept] - np.int32(items.start),
            weights=self.weights[kept],
            n_items=n_items,
            beside=self.beside + self.n_items - n_items,
        )

    def query(self, rows: Sparse, weight: str) -> list[tuple[NDArray[np.int32], Floats]]:
        """Per query row the items touched and their scores. ``weight``: ``"cosine"`` or ``"idf"``."""
        out: list[tuple[NDArray[np.int32], Floats]] = []
        for q in range(rows.rows):
            span = slice(rows.indptr[q], rows.indptr[q + 1])
            place, known = self._places(rows.indices[span])
            if weight == "cosine":
                values = 1 + np.log(rows.values[span])
                own = values[known] * self.idf[place]
                # Features unseen in the index count in the query's length: an unknown word lowers the cosine.
                unseen = values[~known] * float(np.log(1 + self.n_items + self.beside) + 1)
                own = own / max(float(np.sqrt((own**2).sum() + (unseen**2).sum())), 1e-12)
            else:
                own = np.ones(len(place), dtype=np.float32)
            scores = self.sums(place, own)
            hit = np.flatnonzero(scores).astype(np.int32)
            out.append((hit, scores[hit]))
        return out

    def dense(self, rows: Sparse) -> Floats:
        """Dot products of each row with each item, shape (rows, items); ``rows`` hold positions, not hashes."""
        if rows.rows >= WORTH_SCIPY:
            return self._dense_of_many(rows)
        out = np.zeros((rows.rows, self.n_items), dtype=np.float32)
        for q in range(rows.rows):
            span = slice(rows.indptr[q], rows.indptr[q + 1])
            out[q] = self.sums(rows.indices[span], rows.values[span])
        return out

    def _dense_of_many(self, rows: Sparse) -> Floats:
        """The same to the last bit, as SciPy adds in the same order; three times as fast, once it is imported."""
        from scipy.sparse import csr_matrix

        shape = (len(self.indptr) - 1, self.n_items)
        lists = csr_matrix((self.weights.astype(np.float64), self.items, self.indptr), shape=shape)
        many = csr_matrix((rows.values.astype(np.float64), rows.indices, rows.indptr), shape=(rows.rows, shape[0]))
        out = np.empty((rows.rows, self.n_items), dtype=np.float32)
        for start in range(0, rows.rows, 64):
            out[start : start + 64] = (many[start : start + 64] @ lists).toarray()
        return out

    def shares(self, rows: Sparse, q: int) -> Floats:
        """Of each item, the share of query ``q``'s whole weight that it has, shape (items,)."""
        place, _ = self._places(rows.indices[rows.indptr[q] : rows.indptr[q + 1]])
        found = self.sums(place, np.ones(len(place), dtype=np.float32))
        found /= np.float32(max(self.ceiling(rows, q), 1e-9))
        return found

    def _places(self, codes: NDArray[np.int32]) -> tuple[Ints, NDArray[np.bool_]]:
        """Where the known ones of ``codes`` stand in ``features``, and which are known."""
        if not len(self.features):
            return np.zeros(0, np.int64), np.zeros(len(codes), dtype=bool)
        place = np.minimum(np.searchsorted(self.features, codes), len(self.features) - 1)
        known = self.features[place] == codes
        return place[known], known

    def sums(self, place: NDArray[Any], values: Floats) -> Floats:
        """Over the items: sum of value * weight along the postings of each place, shape (items,)."""
        items, weights, indptr = np.asarray(self.items), np.asarray(self.weights), np.asarray(self.indptr)
        # Products of single-precision numbers are exact in double precision, and an item stands once in a list.
        total = np.zeros(self.n_items, dtype=np.float64)
        for begin, end, value in zip(indptr[place], indptr[np.asarray(place) + 1], values, strict=True):
            total[items[begin:end]] += np.multiply(weights[begin:end], value, dtype=np.float64)
        return total.astype(np.float32)

    def ceiling(self, rows: Sparse, q: int) -> float:
        """What an item holding every word of query ``q`` once would score: the query's whole BM25 weight."""
        codes = rows.indices[rows.indptr[q] : rows.indptr[q + 1]]
        place, known = self._places(codes)
        unseen = float(np.log(1 + (self.n_items + self.beside) * 2 + 1))
        return float(self.idf[place].sum()) + unseen * int((~known).sum())

    def save(self, folder: Path, name: str) -> None:
        for field in ("features", "indptr", "items", "weights", "idf"):
            np.save(folder / f"{name}_{field}.npy", getattr(self, field), allow_pickle=False)

    @classmethod
    def load(cls, folder: Path, name: str, n_items: int) -> Postings:
        parts = {f: load_array(folder / f"{name}_{f}.npy") for f in ("features", "indptr", "items", "weights", "idf")}
        return cls(parts["features"], parts["indptr"], parts["items"], parts["weights"], parts["idf"], n_items)


def load_array(path: Path) -> NDArray:  # type: ignore[type-arg]
    """A memory-mapped ``.npy``; never unpickles."""
    try:
        array: NDArray = np.load(path, mmap_mode="r", allow_pickle=False)  # type: ignore[type-arg]
    except Exception as error:  # a damaged header makes NumPy raise what Python's tokenizer does, and more
        raise DamagedModelError(f"{path} can't be read ({error}).", "Run: skillmatch train") from error
    return array


def _invert(rows: Sparse, weights: Floats, idf_of: Floats, features: NDArray[np.int32], place: Ints) -> Postings:
    owner = np.repeat(np.arange(rows.rows, dtype=np.int32), np.diff(rows.indptr))
    order = np.argsort(place, kind="stable")
    indptr = np.zeros(len(features) + 1, dtype=np.int64)
    np.cumsum(np.bincount(place, minlength=len(features)), out=indptr[1:])
    return Postings(features, indptr, owner[order], weights[order].astype(np.float32), idf_of, rows.rows)


def invert(rows: Sparse, weights: Floats, n_features: int) -> Postings:
    """Postings over feature positions 0..n_features-1, for ``Postings.dense``."""
    every = np.arange(n_features, dtype=np.int32)
    return _invert(rows, weights, np.zeros(0, np.float32), every, rows.indices.astype(np.int64))


def take_rows(rows: Sparse, chosen: Ints) -> Sparse:
    """The chosen rows, in that order."""
    length = np.diff(rows.indptr)[chosen]
    indptr = np.zeros(len(chosen) + 1, dtype=np.int64)
    np.cumsum(length, out=indptr[1:])
    at = np.arange(indptr[-1]) + np.repeat(rows.indptr[chosen] - indptr[:-1], length)
    return Sparse(indptr, rows.indices[at], rows.values[at])


def char_index(rows: Sparse) -> Postings:
    """TF-IDF (1 + log tf, smoothed idf), rows of length 1."""
    features, place = np.unique(rows.indices, return_inverse=True)
    frequency = np.bincount(place, minlength=len(features))
    idf = (np.log((1 + rows.rows) / (1 + frequency)) + 1).astype(np.float32)
    weights = (1 + np.log(rows.values)) * idf[place]
    owner = np.repeat(np.arange(rows.rows), np.diff(rows.indptr))
    norms = np.sqrt(np.bincount(owner, weights**2, minlength=rows.rows))
    scaled = (weights / np.maximum(norms[owner], 1e-12)).astype(np.float32)
    return _invert(rows, scaled, idf, features.astype(np.int32), place)


def word_index(rows: Sparse) -> Postings:
    """BM25 weights, ready to be summed over a query's words."""
    features, place = np.unique(rows.indices, return_inverse=True)
    frequency = np.bincount(place, minlength=len(features))
    idf = np.log(1 + (rows.rows - frequency + 0.5) / (frequency + 0.5)).astype(np.float32)
    owner = np.repeat(np.arange(rows.rows), np.diff(rows.indptr))
    length = np.bincount(owner, rows.values, minlength=rows.rows)
    average = max(float(length.mean()) if rows.rows else 0.0, 1e-9)
    scale = BM25_K1 * (1 - BM25_B + BM25_B * length / average)
    weights = idf[place] * rows.values * (BM25_K1 + 1) / (rows.values + scale[owner])
    return _invert(rows, weights.astype(np.float32), idf, features.astype(np.int32), place)


@dataclass(frozen=True)
class ItemIndex:
    """Every claim and sentence of every person, in two channels; a person's items stand next to each other."""

    vectors: Floats  # (items, dim), unit rows
    owner: Ints  # (items,), ascending: whose item it is
    words: Postings
    people: int

    @classmethod
    def build(cls, texts: Sequence[str], vectors: Floats, owner: Ints, people: int) -> ItemIndex:
        """Raises ``ValueError`` where lengths disagree, owners are unsorted, or somebody has no item."""
        if not len(texts) == len(vectors) == len(owner):
            raise ValueError(f"{len(texts)} texts, {len(vectors)} vectors and {len(owner)} owners don't agree")
        if not np.array_equal(np.unique(owner), np.arange(people)) or np.any(np.diff(owner) < 0):
            raise ValueError("owners must be ascending and name every person")
        return cls(np.ascontiguousarray(vectors, np.float32), owner, word_index(word_stems(texts)), people)

    def part(self, people: slice, items: slice) -> ItemIndex:
        """These people and their ``items`` alone, counted from 0; every channel's values are those of the whole."""
        owner = np.asarray(self.owner[items]) - people.start
        return ItemIndex(self.vectors[items], owner, self.words.part(items), people.stop - people.start)

    @cached_property
    def starts(self) -> Ints:
        """Where each person's items begin."""
        return np.searchsorted(self.owner, np.arange(self.people))

    def dense(self, vectors: Floats) -> Floats:
        """Cosines (queries, items): every one a dot product of its own, the same whatever is asked beside it."""
        items = np.asarray(self.vectors)
        out = np.empty((len(vectors), len(items)), dtype=np.float32)

        step = max(MOST_ROWS // max(len(vectors), 1), FEWEST_ROWS)

        def block(start: int) -> None:
            rows = slice(start, start + step)
            for query, found in zip(vectors, out, strict=True):
                np.vecdot(items[rows], query, out=found[rows])

        on_cores(block, range(0, len(items), step), len(items) * len(vectors))
        return out

    def channels(self, vectors: Floats, texts: Sequence[str]) -> tuple[Floats, Floats]:
        """(dense, words), each (queries, items): cosines, and the share of the query's word weight found."""
        dense = self.dense(vectors)
        rows = word_stems(texts)
        words = np.empty_like(dense)
        for q in range(len(texts)):
            words[q] = self.words.shares(rows, q)
        return dense, words

    def best(self, values: Floats) -> Floats:
        """Each person's highest item value."""
        return np.asarray(np.maximum.reduceat(values, self.starts))

    def best_where(self, values: Floats) -> tuple[Floats, Ints]:
        """Each person's highest value and the first item that has it."""
        best = self.best(values)
        where = np.flatnonzero(values == best[self.owner])
        owner = self.owner[where]
        return best, where[np.append(True, owner[1:] != owner[:-1])]

    def best_few(self, values: Floats, few: int = 3) -> Floats:
        """The mean of each person's ``few`` highest values; what is missing or negative counts as nothing."""
        left = np.maximum(values, 0)
        total = np.zeros(self.people, dtype=np.float64)
        for _ in range(few):
            best, where = self.best_where(left)
            total += best
            left[where] = 0
        mean: Floats = (total / few).astype(np.float32)
        return mean


def on_cores(work: Callable[[int], object], tasks: Sequence[int], size: int) -> None:
    """Do ``work`` on each task, on every core where ``size`` numbers are worth it. Tasks must not share results."""
    threads = min(_cores(), len(tasks)) if size >= WORTH_THREADS and not _ALONE.get() else 1
    left = iter(tasks)
    failed: list[BaseException] = []

    def drain() -> None:
        try:
            for task in left:
                if failed:
                    break
                work(task)
        except BaseException as error:
            failed.append(error)

    # NumPy lets go of the interpreter while it computes. This thread works as well: where the other cores are busy
    # with something else, it takes what they leave.
    helpers = [threading.Thread(target=drain, daemon=True) for _ in range(threads - 1)]
    for helper in helpers:
        helper.start()
    drain()
    for helper in helpers:
        helper.join()
    if failed:
        raise failed[0]


#: Whether what runs now has been given one core.
_ALONE: ContextVar[bool] = ContextVar("alone", default=False)


@contextmanager
def on_one_core() -> Iterator[None]:
    """Within, in this thread, ``on_cores`` keeps to one: the others were given other work."""
    before = _ALONE.set(True)
    try:
        yield
    finally:
        _ALONE.reset(before)


@lru_cache(maxsize=1)
def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
