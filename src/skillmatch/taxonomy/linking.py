"""Any text to ranked concepts, over all that a workspace knows: shipped, its own, imported; tens of thousands.

Every wording of every concept is an item. A text meets it as it is and as its English gloss (``lexicon``), whole and
in windows of a few words, by meaning (sentence vectors), by letters (character n-grams) and by words (stems); what
each of these is worth was learned on the shipped taxonomy alone (``benchmarks/fit_linking.py``). A text that is
somebody's label, but for case, accents, hyphens and apostrophes, comes to that one first, whatever the weights say.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from functools import lru_cache
from importlib import resources
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from .. import retrieval
from ..encoders import Encoder, file_sha256
from ..errors import DamagedModelError
from ..retrieval import Floats, Ints, Postings, load_array
from ..store import signed, sound
from .classify import ConceptModel
from .concepts import Concept, Taxonomy
from .imports import label_forms
from .lexicon import Lexicon, content_words, plain
from .merging import Merged

#: What a text and an entry are compared by; every value is between 0 and 1, or a cosine.
#: ``meaning``, ``gloss``: cosine of the whole text, as it is and glossed. ``part``, ``word``: of its best window of
#: several words, and of one. ``chars``, ``gloss_chars``: of character n-grams. ``words``: the share of the text's word
#: weight that a wording holds. ``covered``: the share of a wording's word weight found in the text. ``known``: the
#: classifier's probability. ``few``: 0 for an entry of one wording, less the more it has: the best of forty is high
#: by chance alone.
FEATURES = ("meaning", "gloss", "part", "word", "chars", "gloss_chars", "words", "covered", "known", "few")
#: Words of a window.
_WINDOW = (1, 2, 3, 4)
#: No text has more windows than this; a longer one is thinned evenly.
_MOST_WINDOWS = 120
#: Where a text falls into parts that name different skills.
_CLAUSE = re.compile(
    r"[,;:.!?()\[\]/•·|\n]+(?=\s|$)|[,;:()\[\]/•·|\n]|\s[-–—]\s"
    r"|\b(?:and|or|as well as|such as|including|et|ou|ainsi que|tels? que|telles? que|notamment)\b",
    re.IGNORECASE,
)
#: Texts embedded in one go.
_BLOCK = 64
#: Sources whose concepts a published skill of the same label takes the place of, where skills are shown.
_OWN = frozenset({"skillmatch", "lab"})
#: Who imports a published taxonomy wants its skills: where there is one, a shipped concept that is none of it gives way
#: by these log-odds.
_GIVES_WAY = 2.0
#: How a text may be somebody's exact wording, the better first, and the score it has at least: a label, an alias.
_LABEL, _ALIAS, _NEITHER = 0, 1, 2
_SURE = np.array([0.98, 0.9, 0.0])
#: Bump when the layout changes; indexes of another format are fitted anew.
FORMAT = 2

#: Told (texts embedded, texts in all) while an index is fitted.
Counted = Callable[[int, int], None]


@dataclass(frozen=True, slots=True)
class Entry:
    """One skill as a search shows it. ``concept`` is the id of the concept that stands for it in the taxonomy:
    another than ``id`` where an imported skill was merged into one."""

    id: str
    concept: str
    label_en: str
    label_fr: str
    uri: str
    source: str


@dataclass(frozen=True)
class Fusion:
    """What each feature is worth, for short texts (names, labels) and for sentences; see ``data/linking.json``."""

    short: Floats
    long: Floats
    slope: float  # from a weighted sum to the log-odds that the entry is meant
    offset: float

    @classmethod
    @lru_cache(maxsize=1)
    def shipped(cls) -> Fusion:
        """The weights that come with skillmatch."""
        data = json.loads(resources.files("skillmatch").joinpath("data/linking.json").read_text("utf-8"))
        short, long = (np.array([data[kind][f] for f in FEATURES], dtype=np.float32) for kind in ("short", "long"))
        return cls(short, long, float(data["slope"]), float(data["offset"]))

    def weights(self, share: float) -> Floats:
        """The weights of a text that is long to this ``share``, 0 to 1."""
        return (1 - share) * self.short + share * self.long

    def probability(self, total: Floats) -> Floats:
        """Weighted sums as probabilities, 0 to 1."""
        out: Floats = (1 / (1 + np.exp(-(self.slope * total + self.offset)))).astype(np.float32)
        return out


@dataclass(frozen=True)
class Views:
    """A text in all forms that are compared: glossed, and the windows of its gloss."""

    text: str
    gloss: str
    windows: tuple[str, ...]
    replaced: bool  # whether the gloss says anything else than the text

    @classmethod
    def of(cls, text: str, lexicon: Lexicon) -> Views:
        """A text as it is compared: whole, glossed, and in windows."""
        clauses = [lexicon.gloss(part).split() for part in _CLAUSE.split(text)]
        found = dict.fromkeys(" ".join(c) for c in clauses if c)
        for words in clauses:
            found |= dict.fromkeys(" ".join(words[i : i + n]) for n in _WINDOW for i in range(len(words) - n + 1))
        windows = list(found)
        if len(windows) > _MOST_WINDOWS:
            windows = [windows[i] for i in np.linspace(0, len(windows) - 1, _MOST_WINDOWS).astype(int)]
        gloss = lexicon.gloss(text)
        return cls(text, gloss, tuple(windows), set(gloss.split()) != set(content_words(text)))

    @property
    def long(self) -> float:
        """0 for up to five content words, 1 from twelve on."""
        return float(np.clip((len(self.gloss.split()) - 5) / 7, 0, 1))


@dataclass(frozen=True)
class _Wordings:
    """What an entry is called; ``names`` (products, commands) are said alike in both languages."""

    english: tuple[str, ...]
    french: tuple[str, ...]
    names: tuple[str, ...]

    @classmethod
    def of(cls, *concepts: Concept, without: frozenset[str] = frozenset()) -> _Wordings:
        english = [t for c in concepts for t in (c.label_en, *c.aliases_en) if t and t not in without]
        french = [t for c in concepts for t in (c.label_fr, *c.aliases_fr) if t and t not in without]
        names = [t for c in concepts for t in c.names if t not in without]
        if not (english or french or names):
            english = [concepts[-1].id.replace("-", " ")]
        return cls(tuple(english), tuple(french), tuple(names))

    def items(self, owners: Mapping[str, set[str]], concept: str, lexicon: Lexicon) -> list[str]:
        """What letters and words are compared with; English comes in by its gloss where there is none."""
        # A name that is another concept's label or alias is that one's: "CUDA" is not all of GPU computing.
        names = [n for n in self.names if owners.get(retrieval.fold(n), {concept}) == {concept}]
        glosses = [] if self.english else [lexicon.gloss(t) for t in self.french]
        return _distinct([*self.english, *self.french, *names, *glosses]) or list(self.names)

    def meanings(self, lexicon: Lexicon) -> list[str]:
        """What sentence vectors are made of."""
        glosses = [lexicon.gloss(t) for t in self.french]
        # An encoder of English makes something of French, too: the label is worth its vector, aliases are not.
        return _distinct(t for t in (*self.english, *self.french[:1], *glosses) if t) or _distinct(self.names)


def _entries(merged: Merged) -> tuple[list[Entry], list[_Wordings]]:
    entries: list[Entry] = []
    wordings: list[_Wordings] = []

    def add(concept: Concept, stands: str, host: Concept, called: _Wordings) -> None:
        english, french = concept.label_en or host.label_en, concept.label_fr or host.label_fr
        entries.append(Entry(concept.id, stands, english, french, concept.uri, concept.source))
        wordings.append(called)

    for host in merged.taxonomy.concepts:
        twins = merged.twins.get(host.id, ())
        same = [t.concept for t in twins if t.exact]
        for twin in (t.concept for t in twins if not t.exact):
            add(twin, twin.id, twin, _Wordings.of(twin))
        # What is published under an address of its own stays to be found under it; our own concept gives way to it.
        shown = same if same and host.source in _OWN else [host, *same]
        for concept in shown:
            others = {w for t in twins if t.concept is not concept for w in t.concept.wordings()}
            left = frozenset(others - {*concept.wordings()} if concept is not host else others - _labels(host))
            add(concept, host.id, host, _Wordings.of(*dict.fromkeys((concept, host)), without=left))
    return entries, wordings


def _labels(concept: Concept) -> set[str]:
    return {concept.label_en, concept.label_fr}


def _owners(entries: Sequence[Entry], wordings: Sequence[_Wordings]) -> dict[str, set[str]]:
    """The concepts that each label or alias, folded, belongs to."""
    owners: dict[str, set[str]] = {}
    for entry, own in zip(entries, wordings, strict=True):
        for text in (*own.english, *own.french):
            owners.setdefault(retrieval.fold(text), set()).add(entry.concept)
    return owners


def _exact(entries: Sequence[Entry], wordings: Sequence[_Wordings]) -> Exact:
    """Every label and alias, as it is looked up, with the entry it names: a label before an alias of the same."""
    found: dict[tuple[int, int], int] = {}
    for i, (entry, own) in enumerate(zip(entries, wordings, strict=True)):
        labels = [t for t in (entry.label_en, entry.label_fr) if t]
        others = [form for text in labels for form in label_forms(text)]
        for tier, texts in ((_LABEL, labels), (_ALIAS, (*others, *own.english, *own.french, *own.names))):
            for text in texts:
                if key := _exact_key(text):
                    found.setdefault((key, i), tier)
    order = sorted(found)
    return Exact(
        np.array([key for key, _ in order], dtype=np.uint64),
        np.array([entry for _, entry in order], dtype=np.int64),
        np.array([found[one] for one in order], dtype=np.int8),
    )


def _exact_key(text: str) -> int:
    """A code of the words of a text, folded; 0 where it has none."""
    words = " ".join(retrieval.tokens(text))
    return retrieval.name_code(words) if words else 0


@dataclass(frozen=True)
class Exact:
    """Labels and aliases by the code of their words, ascending; ``tiers`` says which of the two it is."""

    codes: NDArray[np.uint64]
    entries: Ints
    tiers: NDArray[np.int8]

    def tiers_of(self, text: str, n_entries: int) -> NDArray[np.int8]:
        """For each entry whether the text is its label, one of its aliases, or neither."""
        out = np.full(n_entries, _NEITHER, dtype=np.int8)
        if key := np.uint64(_exact_key(text)):
            span = slice(np.searchsorted(self.codes, key, "left"), np.searchsorted(self.codes, key, "right"))
            out[self.entries[span]] = self.tiers[span]
        return out


def _distinct(texts: Iterable[str]) -> list[str]:
    """The first of all that differ by no more than case and accents."""
    return list({retrieval.fold(t): t for t in reversed(list(texts))}.values())[::-1]


def _flat(lists: Sequence[Sequence[str]]) -> tuple[list[str], Ints]:
    """All texts in a row, and where each list begins. No list is empty."""
    starts = np.cumsum([0, *(len(x) for x in lists[:-1])]).astype(np.int64)
    return [t for x in lists for t in x], starts


def _coverage(words: Postings) -> Postings:
    """The same postings, weighted so that the words of each item sum to 1."""
    idf = np.repeat(words.idf, np.diff(words.indptr))
    total = np.bincount(words.items, idf, minlength=words.n_items)
    return replace(words, weights=(idf / np.maximum(total[words.items], 1e-9)).astype(np.float32))


@dataclass(frozen=True)
class LabelIndex:
    """All wordings of all entries, ready to be compared with texts. ``fit`` one, or ``load`` it."""

    entries: tuple[Entry, ...]
    lexicon: Lexicon
    vectors: NDArray[np.float16]  # (meanings, dim): English wordings, and glosses of French ones
    vector_starts: Ints  # per entry, where its rows of ``vectors`` begin
    item_starts: Ints  # per entry, where its items of the three indexes below begin
    chars: Postings
    words: Postings
    covered: Postings
    exact: Exact
    fusion: Fusion

    @classmethod
    def fit(
        cls,
        taxonomy: Taxonomy | Merged,
        encoder: Encoder,
        counted: Counted | None = None,
        *,
        lexicon: Lexicon | None = None,
        fusion: Fusion | None = None,
    ) -> LabelIndex:
        """Embed and index every wording. Skills that were merged into others keep entries of their own.

        ``lexicon``: learned from the taxonomy unless given. Raises ``ValueError`` where there is no concept.
        """
        merged = taxonomy if isinstance(taxonomy, Merged) else Merged(taxonomy)
        if not len(merged.taxonomy):
            raise ValueError("a taxonomy without concepts can't be indexed")
        lexicon = lexicon or Lexicon.of(merged.taxonomy)
        entries, wordings = _entries(merged)
        owners = _owners(entries, wordings)
        items = [w.items(owners, entry.concept, lexicon) for entry, w in zip(entries, wordings, strict=True)]
        meanings = [w.meanings(lexicon) for w in wordings]
        texts, item_starts = _flat(items)
        meant, vector_starts = _flat(meanings)
        stems = retrieval.word_stems(texts)
        words = retrieval.word_index(stems)
        done = 0

        def progress(n: int) -> None:
            nonlocal done
            done += n
            if counted is not None:
                counted(done, len(meant))

        progress(0)
        return cls(
            tuple(entries),
            lexicon,
            encoder.encode(meant, "passage", progress).astype(np.float16),
            vector_starts,
            item_starts,
            retrieval.char_index(retrieval.char_ngrams(texts)),
            words,
            _coverage(words),
            _exact(entries, wordings),
            fusion or Fusion.shipped(),
        )

    def link(
        self,
        texts: Sequence[str],
        encoder: Encoder,
        top: int = 10,
        *,
        model: ConceptModel | None = None,
        concepts: Sequence[str] = (),
    ) -> list[list[tuple[int, float]]]:
        """For each text the ``top`` likeliest (index into ``entries``, score in [0, 1]), best first, ties by index.

        Whose label the text is comes first, then whose alias it is. ``model`` adds what the concept classifier knows
        of the ``concepts`` (their ids, in its order).
        """
        return list(self.linked(texts, encoder, top, model=model, concepts=concepts))

    def linked(
        self,
        texts: Sequence[str],
        encoder: Encoder,
        top: int = 10,
        *,
        model: ConceptModel | None = None,
        concepts: Sequence[str] = (),
    ) -> Iterator[list[tuple[int, float]]]:
        """What ``link`` gives, text by text as it comes."""
        views = [Views.of(t, self.lexicon) for t in texts]
        published = any(e.source not in _OWN for e in self.entries)
        shipped = np.array([published and e.source == "skillmatch" for e in self.entries])
        yielded = shipped.astype(np.float32) * (_GIVES_WAY / self.fusion.slope)
        for view, features in zip(views, self._features(views, encoder, model, concepts), strict=True):
            yield self._ranked(view, features @ self.fusion.weights(view.long) - yielded, top)

    def _ranked(self, view: Views, total: Floats, top: int) -> list[tuple[int, float]]:
        count = min(top, len(total))
        tier = self.exact.tiers_of(view.text, len(total))
        least = np.partition(total, -count)[-count]
        among = np.flatnonzero((total >= least) | (tier < _NEITHER))
        best = among[np.lexsort((among, -total[among], tier[among]))][:count]
        scores = np.maximum(self.fusion.probability(total[best]), _SURE[tier[best]])
        # Whoever is put first by the wording is not less sure than the ones that follow.
        scores = np.maximum.accumulate(scores[::-1])[::-1]
        return [(int(i), float(s)) for i, s in zip(best, scores, strict=True)]

    def features(
        self,
        texts: Sequence[str],
        encoder: Encoder,
        *,
        model: ConceptModel | None = None,
        concepts: Sequence[str] = (),
    ) -> Iterator[Floats]:
        """For each text (entries, len(FEATURES)): what ``link`` weighs."""
        yield from self._features([Views.of(t, self.lexicon) for t in texts], encoder, model, concepts)

    def _features(
        self, views: Sequence[Views], encoder: Encoder, model: ConceptModel | None, concepts: Sequence[str]
    ) -> Iterator[Floats]:
        place_of = {c: i for i, c in enumerate(concepts)}
        column = np.array([place_of.get(e.concept, -1) for e in self.entries])
        matrix = np.asarray(self.vectors, dtype=np.float32).T
        count = np.diff(np.append(self.item_starts, self.chars.n_items))
        few = (-np.log(count) / np.log(100)).astype(np.float32)
        # In blocks, so that a long file neither waits for its last line nor fills the memory.
        for start in range(0, len(views), _BLOCK):
            block = views[start : start + _BLOCK]
            place = {t: i for i, t in enumerate(dict.fromkeys(t for v in block for t in (v.text, v.gloss, *v.windows)))}
            # Glosses are features of their own here; only the classifier learned from vectors that hold them.
            vectors = plain(encoder).encode(list(place), "query")
            whole = vectors[[place[v.text] for v in block]]
            known = np.zeros((len(block), len(self.entries)), dtype=np.float32)
            if model is not None:
                read = whole if plain(encoder) is encoder else encoder.encode([v.text for v in block], "query")
                known[:, column >= 0] = model.probabilities([v.text for v in block], read)[:, column[column >= 0]]
            letters, words, covered = self._postings(block)
            for i, view in enumerate(block):
                one, several = ([place[w] for w in view.windows if (" " in w) == many] for many in (False, True))
                single = vectors[one] if one else whole[i : i + 1]
                parts = vectors[several] if several else single
                gloss = vectors[[place[view.gloss]]] if view.replaced else whole[i : i + 1]
                features = [self._meant(v @ matrix) for v in (whole[i : i + 1], gloss, parts, single)]
                features += [letters[i], letters[len(block) + i], words[i], covered[i], known[i], few]
                yield np.stack(features, axis=1)

    def _postings(self, views: Sequence[Views]) -> tuple[Floats, Floats, Floats]:
        """(letters of the texts and then of the glosses, words, covered), each (rows, entries)."""
        both = [*(v.text for v in views), *(v.gloss for v in views)]
        letters = self._best(self.chars.query(retrieval.char_ngrams(both), "cosine"))
        rows = retrieval.word_stems(both)
        words = self._best(self.words.query(rows, "idf"))
        words /= np.array([max(self.words.ceiling(rows, q), 1e-9) for q in range(rows.rows)], np.float32)[:, None]
        stems = retrieval.word_stems([f"{v.text} {v.gloss}" for v in views])
        covered = self._best(self.covered.query(stems, "idf"))
        return letters, np.maximum(words[: len(views)], words[len(views) :]), covered

    def _best(self, found: Sequence[tuple[NDArray[np.int32], Floats]]) -> Floats:
        """Each entry's highest item."""
        out = np.zeros((len(found), len(self.entries)), dtype=np.float32)
        for row, (items, scores) in zip(out, found, strict=True):
            every = np.zeros(self.chars.n_items, dtype=np.float32)
            every[items] = scores
            row[:] = np.maximum.reduceat(every, self.item_starts)
        return out

    def _meant(self, cosines: Floats) -> Floats:
        """Each entry's highest cosine, over the rows given."""
        best: Floats = np.maximum.reduceat(cosines.max(axis=0), self.vector_starts)
        return best

    # --- on disk ---

    _ARRAYS = ("vectors", "vector_starts", "item_starts")
    _POSTINGS = ("chars", "words", "covered")

    def save(self, folder: Path) -> None:
        """Write it to ``folder``, which exists; the digest of every file goes into ``labels.json``."""
        for name in self._ARRAYS:
            np.save(folder / f"labels_{name}.npy", getattr(self, name), allow_pickle=False)
        for field in fields(Exact):
            np.save(folder / f"labels_exact_{field.name}.npy", getattr(self.exact, field.name), allow_pickle=False)
        for name in self._POSTINGS:
            getattr(self, name).save(folder, f"labels_{name}")
        self.lexicon.save(folder / "labels_lexicon.json")
        _dump(folder / "labels_entries.json", [[getattr(e, f) for f in Entry.__slots__] for e in self.entries])
        files = sorted(p for p in folder.glob("labels_*") if p.is_file())
        told = {"format": FORMAT, "items": self.chars.n_items, "files": {p.name: file_sha256(p) for p in files}}
        _dump(folder / "labels.json", signed(told))

    @classmethod
    def load(cls, folder: Path) -> LabelIndex:
        """Open what ``save`` wrote, every file checked against its digest first; arrays are memory-mapped.

        Raises ``DamagedModelError`` where a file is missing or differs.
        """
        try:
            return cls._load(folder)
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            raise _damaged(folder, str(error)) from error

    @classmethod
    def _load(cls, folder: Path) -> LabelIndex:
        info = json.loads((folder / "labels.json").read_text("utf-8"))
        if "crc32" not in info or not sound(info):
            raise _damaged(folder, "labels.json is not as it was written")
        for name, digest in info["files"].items():
            if file_sha256(folder / name) != digest:
                raise _damaged(folder, f"{name} differs from the digest written when it was made")
        vectors, vector_starts, item_starts = (load_array(folder / f"labels_{n}.npy") for n in cls._ARRAYS)
        chars, words, covered = (Postings.load(folder, f"labels_{n}", int(info["items"])) for n in cls._POSTINGS)
        entries = json.loads((folder / "labels_entries.json").read_text("utf-8"))
        return cls(
            tuple(Entry(*row) for row in entries),
            Lexicon.load(folder / "labels_lexicon.json"),
            vectors,
            vector_starts,
            item_starts,
            chars,
            words,
            covered,
            Exact(*(load_array(folder / f"labels_exact_{field.name}.npy") for field in fields(Exact))),
            Fusion.shipped(),
        )


def _damaged(folder: Path, what: str) -> DamagedModelError:
    return DamagedModelError(f"The index of skills in {folder} can't be used: {what}.", "Run: skillmatch train")


def _dump(path: Path, value: object) -> None:
    path.write_text(json.dumps(value, ensure_ascii=False), "utf-8")
