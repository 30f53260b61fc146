"""The words of a lab's texts that no concept covers: where its taxonomy should grow."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np

from .. import retrieval
from ..encoders import Encoder
from .classify import ConceptModel, examples
from .concepts import Taxonomy
from .names import NameIndex

#: Words of a phrase.
_LONGEST = 3
#: A phrase that the classifier places this surely by itself is covered.
_SURE = 0.5
#: Letters by which an inflected form is told to be of a word that the taxonomy uses (maintient, maintenir).
_SAME_START = 5
#: How many of the texts with a phrase propose its place, and how many phrases are looked at for each that is shown.
_CONTEXTS, _LOOKED_AT = 5, 8
_BREAK = re.compile(r"[,;:!?()\[\]{}|\n\"«»]+|\.(?=\s|$)|(?<=\s)[-–—/](?=\s)")
#: What says nothing by itself and is in no taxonomy: forms of être, avoir, devoir, pouvoir; adverbs; months.
_COMMON_WORDS = """
also already always away back both each ever every few here however instead later least less many much never next now
often once others perhaps quite rather really same several soon still then therefore thus together toward towards until
upon usually via well whose yet afterwards did done doing made makes making went gone last first second third
sera seront serait etait etaient ete etant sommes soient fut furent aura auront aurait avait avaient ayant devra
devront devrait doit doivent pourra pourront pourrait peuvent pouvait fera feront font faisait va vont
ceux celles celle celui cela ceci ailleurs alors aupres autour beaucoup bien certains chacun chacune chaque davantage
desormais dessous dessus dehors deux trois quatre cinq six sept huit neuf dix dizaine vingtaine trentaine centaine
encore enfin ensemble ensuite environ hors jamais jusque jour jours mois an ans annee annees maintenant malgre parfois
parmi pendant plusieurs plutot pourquoi presque quel quelle quelles quels rien sauf seul seule seulement souvent
surtout tant tard tot vite voici voila debut fin premier premiere dernier derniere
janvier fevrier mars avril mai juin juillet aout septembre octobre novembre decembre
january february march april june july august september october november december
"""
_COMMON = frozenset(_COMMON_WORDS.split())


@dataclass(frozen=True, slots=True)
class Unmatched:
    """A phrase that no concept covers: in how many texts it is, the concept (id) that those speak of, one of them."""

    words: str
    count: int
    concept: str
    example: str


@dataclass
class _Found:
    texts: list[int] = field(default_factory=list)
    written: Counter[str] = field(default_factory=Counter)
    whole: bool = False  # some text is nothing but this phrase, as a skill claimed is
    name: bool = False  # it is written as names are: capitals within a sentence, digits

    def rank(self) -> tuple[int, bool, bool]:
        """The lower the sooner it is shown: the frequent, then what is claimed, then names."""
        return -len(self.texts), not self.whole, not self.name


def unmatched(
    texts: Sequence[str],
    own: Taxonomy,
    names: NameIndex,
    model: ConceptModel,
    concepts: Sequence[str],
    encoder: Encoder,
    top: int = 50,
    ignored: Collection[str] = (),
) -> list[Unmatched]:
    """The phrases of one to three words that are no name of a concept and that the classifier can't place, those in
    most texts first, ties by how much they look like a skill, then by the alphabet.

    ``own``: the taxonomy that ``model`` learned from; its sentences tell what is ordinary language. ``names``: of every
    concept there is. ``concepts``: the ids of the model's, in its order. ``ignored``: names of labs, sites and people.
    """
    distinct = list(dict.fromkeys(texts))
    language = _Language(own, {w for text in ignored for w in retrieval.tokens(text)})
    found = _worth_showing(_phrases(distinct, names, language))
    ranked = sorted(found, key=lambda k: (found[k].rank(), k))[: top * _LOOKED_AT]
    if not ranked:
        return []
    shown = [found[k].written.most_common(1)[0][0] for k in ranked]
    sure = model.probabilities(shown, encoder.encode(shown, "query")).max(axis=1)
    left = [(k, words) for k, words, p in zip(ranked, shown, sure, strict=True) if p < _SURE][:top]
    contexts = list(dict.fromkeys(t for k, _ in left for t in found[k].texts[:_CONTEXTS]))
    if not contexts:
        return []
    said = [distinct[t] for t in contexts]
    spoken = dict(zip(contexts, model.probabilities(said, encoder.encode(said, "query")), strict=True))
    out = []
    for key, words in left:
        places = found[key].texts
        place = int(np.argmax(sum(spoken[t] for t in places[:_CONTEXTS])))
        out.append(Unmatched(words, len(places), concepts[place], distinct[places[0]]))
    return out


class _Language:
    """Tells ordinary words, which the taxonomy's own sentences use, from the rest."""

    def __init__(self, own: Taxonomy, ignored: set[str]) -> None:
        words = {w for text in examples(own).text for w in retrieval.tokens(text)}
        self._stems = {retrieval.stem(w) for w in words}
        self._starts = {w[:_SAME_START] for w in words if len(w) >= _SAME_START}
        self._ignored = ignored

    def ordinary(self, written: str, word: str, claimed: bool) -> bool:
        """Whether a word alone is nothing to show. ``claimed``: it stands in a list of skills, not in a sentence."""
        if not _is_word(word) or word in retrieval.STOPWORDS or word in _COMMON or word in self._ignored:
            return True
        if retrieval.stem(word) in self._stems:
            return True
        return not claimed and not _is_name(written) and word[:_SAME_START] in self._starts


def _is_name(written: str) -> bool:
    """Capitals beyond the first letter, or digits."""
    return any(c.isupper() for c in written[1:]) or any(c.isdigit() for c in written)


_Run = list[tuple[str, str]]  # (as written, folded)


def _phrases(texts: Sequence[str], names: NameIndex, language: _Language) -> dict[str, _Found]:
    """Every phrase with a word that is out of the ordinary, by its stems."""
    found: dict[str, _Found] = {}
    for place, text in enumerate(texts):
        whole = len(retrieval.tokens(text))
        for run, first in _uncovered(text, names):
            odd = [not language.ordinary(written, word, whole <= _LONGEST) for written, word in run]
            for n in range(1, _LONGEST + 1):
                for i in range(len(run) - n + 1):
                    part = run[i : i + n]
                    # Ordinary words at its edges belong to a phrase only where somebody claims just that.
                    telling = any(odd[i : i + n]) if n == whole else odd[i] and odd[i + n - 1]
                    if not telling or not _may_be_a_phrase(part):
                        continue
                    entry = found.setdefault(" ".join(retrieval.stem(w) for _, w in part), _Found())
                    entry.written[" ".join(written for written, _ in part)] += 1
                    entry.whole |= n == whole
                    # A capital says nothing where a sentence begins.
                    entry.name |= any(
                        _is_name(written) or (written[0].isupper() and not (first and k == 0))
                        for k, (written, _) in enumerate(part, start=i)
                    )
                    if not entry.texts or entry.texts[-1] != place:
                        entry.texts.append(place)
    return found


def _uncovered(text: str, names: NameIndex) -> Iterator[tuple[_Run, bool]]:
    """Runs of words between punctuation and the names of concepts, and whether each is a clause's beginning."""
    for clause in _BREAK.split(text):
        raw = retrieval.raw_tokens(clause)
        covered = [False] * len(raw)
        for _, _, spelled in names.find(clause):
            words = spelled.split(" ")
            for i in range(len(raw) - len(words) + 1):
                if [w for w, _ in raw[i : i + len(words)]] == words:
                    covered[i : i + len(words)] = [True] * len(words)
        run: _Run = []
        for i, (word, gone) in enumerate(zip(raw, covered, strict=True)):
            if gone and run:
                yield run, len(run) == i
                run = []
            elif not gone:
                run.append(word)
        if run:
            yield run, len(run) == len(raw)


def _is_word(word: str) -> bool:
    return len(word) > 1 and any(c.isalpha() for c in word)


def _may_be_a_phrase(part: _Run) -> bool:
    edges = (part[0][1], part[-1][1])
    return all(w not in retrieval.STOPWORDS and w not in _COMMON and _is_word(w) for w in edges)


def _worth_showing(found: dict[str, _Found]) -> dict[str, _Found]:
    """Of phrases within phrases, those that say most: the longer one where it is as good as always the same."""
    kept = dict(found)
    for key in sorted(found, key=lambda k: (-len(k.split(" ")), k)):
        words = key.split(" ")
        inner = {" ".join(words[i:j]) for i in range(len(words)) for j in range(i + 1, len(words) + 1)} - {key}
        counts = [len(found[k].texts) for k in inner if k in found]
        count = len(found[key].texts)
        if len(words) > 1 and not found[key].whole and (count < 2 or 2 * count < max(counts, default=0)):
            kept.pop(key, None)
        elif len(words) > 1:
            for k in inner:
                if k in kept and len(kept[k].texts) <= count:
                    del kept[k]
    return kept
