"""Free text, French or English -> its sentences and list items."""

from __future__ import annotations

import re

_BULLET = re.compile(r"^(?:[-–—*+•·▪‣◦●○■►>]|\(?\d{1,2}[.)]|\(?[a-z]\))\s+")
_INLINE_BULLET = re.compile(r"\s*[•▪‣◦●■►]\s*")
_NEWLINE = re.compile("\r\n|[\r\n\x85\u2028\u2029]")
# The look-behind lets a run of dots match once only, from its first dot.
_END = re.compile(r"(?<![.!?…])[.!?…]+[\"»”’')\]]*(?:\s[»”])?\s+")
_OPENERS = "\"«“‘'([ \u00a0\u202f"


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


#: Never the end of a sentence.
_ABBREVIATIONS = _words(
    "m mm mme mlle mr mrs ms dr pr prof st ste me jr cf ex p.ex e.g i.e c.-à-d càd env approx resp vs viz al"
    " dept dépt univ inc ltd fig figs eq éq réf ref refs tél tel hab incl excl admin config"
)
#: No end where a number follows.
_NUMBERED = _words("no n n° nº p pp art vol ch chap sec sect min max ver v rev tab num pt")
#: After these, a single capital is a language ("programmé en C. Puis ..."), else an initial ("J. Dupont").
_LANGUAGE_BEFORE = _words("en in langage language using et and ou or / with")
#: A line this long that goes on in lower case was wrapped, not ended.
_WRAPPED = 50


def split_sentences(text: str) -> list[str]:
    """The sentences and list items of ``text``, in order, trimmed; none is empty or mere punctuation."""
    return [s for block in _blocks(text) for s in _split(block) if _says_something(s)]


def _says_something(piece: str) -> bool:
    # Control characters stay visible to the check of records.
    return any(c.isalnum() or (c < " " and not c.isspace()) for c in piece)


def _blocks(text: str) -> list[str]:
    """Paragraphs and list items: wrapped lines joined again, bullets off."""
    blocks: list[str] = []
    previous = ""
    for raw in _NEWLINE.split(text):
        line = raw.strip()
        wrapped = len(previous) >= _WRAPPED and previous[-1] not in ".!?…:;" and line[:1].islower()
        if wrapped and not _BULLET.match(line):
            blocks[-1] += " " + line
        elif line:
            blocks += [b for b in _INLINE_BULLET.split(_BULLET.sub("", line, count=1)) if b]
        previous = line if blocks else ""
    return blocks


def _split(block: str) -> list[str]:
    out: list[str] = []
    start = 0
    for match in _END.finditer(block):
        if _ends(block, match):
            out.append(block[start : match.end()].strip())
            start = match.end()
    out.append(block[start:].strip())
    return out


def _ends(block: str, match: re.Match[str]) -> bool:
    after = block[match.end() : match.end() + 40].lstrip(_OPENERS).split(maxsplit=1)
    # A sentence starts with a capital or a digit; dCache and iRODS count as capitals.
    if not after or not (after[0][0].isdigit() or any(c.isupper() for c in after[0])):
        return False
    if not match.group().startswith(".") or match.group().startswith(".."):
        return True
    words = block[max(0, match.start() - 60) : match.start()].split()
    if not words:
        return False
    word = words[-1].lstrip(_OPENERS)
    low = word.lower()
    if low in _ABBREVIATIONS or re.fullmatch(r"(?:[^\W\d]\.)+[^\W\d]", word):
        return False
    if low in _NUMBERED and after[0][0].isdigit():
        return False
    if len(word) == 1 and word.isupper():
        return len(words) > 1 and words[-2].lower() in _LANGUAGE_BEFORE
    return True
