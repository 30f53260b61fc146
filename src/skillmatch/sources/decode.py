"""The bytes of a text file -> its text, whatever program wrote it."""

from __future__ import annotations

import codecs
import re
from collections import Counter
from dataclasses import dataclass

#: Old one-byte encodings French labs still meet, the likeliest first.
_LEGACY = {"cp1252": "Windows-1252", "mac_roman": "Mac Roman", "cp850": "DOS (code page 850)"}
#: What French and English texts hold beyond ASCII. Counting these tells the three encodings apart better than
#: charset-normalizer does (single sentences of profiles: 100 / 100 / 77 % against 100 / 93 / 38 %).
_EXPECTED = frozenset("éèêëàâäçîïôöùûüÿœæñáíóúÉÈÊËÀÂÄÇÎÏÔÖÙÛÜŒÆ’‘“”«»…€–—°²³µ·•§×±ß\u00a0")
_BOMS = (
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF32_LE, "utf-32-le"),  # before UTF-16: its mark begins like UTF-16's
    (codecs.BOM_UTF32_BE, "utf-32-be"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
)
_SAMPLE = 1 << 20
_STRAY = re.compile("[\udc80-\udcff]+")


@dataclass(frozen=True, slots=True)
class Decoded:
    """``unicode``: the file is sound UTF-8/16/32. ``doubt``: what is wrong with it or was guessed."""

    text: str
    unicode: bool = True
    doubt: str | None = None


def decode(data: bytes) -> Decoded:
    """Never fails: unreadable bytes become U+FFFD, and ``doubt`` tells so."""
    for mark, name in _BOMS:
        if data.startswith(mark):
            return _wide(data[len(mark) :], name)
    guess = _unmarked_utf16(data[:_SAMPLE])
    if guess:
        return _wide(data, guess)
    try:
        return Decoded(data.decode("utf-8"))
    except UnicodeDecodeError:
        return _mixed(data) or _legacy(data)


def _wide(data: bytes, name: str) -> Decoded:
    try:
        return Decoded(data.decode(name))
    except UnicodeDecodeError as error:
        place = f"byte {error.start + 1}"
        return Decoded(data.decode(name, "replace"), False, f"is damaged: it is no sound {name.upper()} at {place}")


def _unmarked_utf16(sample: bytes) -> str | None:
    """ASCII in UTF-16 has a NUL in every second place, and nothing else looks like that."""
    half = len(sample) // 2
    if half < 2:
        return None
    even, odd = sample[0::2].count(0) / half, sample[1::2].count(0) / half
    if odd > 0.4 and even < 0.05:
        return "utf-16-le"
    return "utf-16-be" if even > 0.4 and odd < 0.05 else None


def _mixed(data: bytes) -> Decoded | None:
    """UTF-8 with some foreign bytes in it, as pasting leaves them: only those are read as Windows-1252."""
    text = data.decode("utf-8", "surrogateescape")
    stray = list(_STRAY.finditer(text))
    sound = sum(1 for c in text if c > "\x7f" and not "\udc80" <= c <= "\udcff")
    if sound <= sum(len(m.group()) for m in stray):
        return None
    line = text.count("\n", 0, stray[0].start()) + 1
    byte = ord(stray[0].group()[0]) - 0xDC00
    mended = _STRAY.sub(lambda m: m.group().encode("utf-8", "surrogateescape").decode("cp1252", "replace"), text)
    return Decoded(mended, False, f"holds bytes that are not UTF-8 (the first on line {line}, 0x{byte:02x})")


def _plausible(text: str) -> int:
    beyond = Counter(c for c in text if c > "\x7f")
    score = sum(n if c in _EXPECTED else -2 * n for c, n in beyond.items())
    return score - 2 * len(re.findall("(?<=[a-z])[À-ÞŒŽŠŸ]", text))


def _legacy(data: bytes) -> Decoded:
    sample = data[:_SAMPLE]
    best = max(_LEGACY, key=lambda name: _plausible(sample.decode(name, "replace")))
    text = data.decode(best, "replace")
    if "\ufffd" in text:
        line = text.count("\n", 0, text.index("\ufffd")) + 1
        return Decoded(text, False, f"holds bytes that can't be read (the first on line {line})")
    return Decoded(text, False, None if best == "cp1252" else f"was read as {_LEGACY[best]}, which is a guess")
