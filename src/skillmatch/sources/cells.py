"""One cell or JSON value -> what a record takes.

What can't be understood is handed on as it is, or as ``Unread``: refusing it is the records' business.
"""

from __future__ import annotations

import re
import unicodedata
from calendar import monthrange
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import date, datetime
from functools import lru_cache
from typing import Any

from ..records import MAX_TEXT
from .sentences import split_sentences

_FORMULA = "=+-@\t\r＝＋－＠"  # the full-width forms work in some spreadsheets
_NUMBER = re.compile(r"[+-]?\d+(?:[.,]\d+)?")
_PORT = re.compile(r"://[^\s/:]*:\d+$")
_YES = frozenset({"oui", "yes", "true", "vrai", "1", "1.0", "x", "o", "y", "ok", "✓", "✔"})
_NO = frozenset({"non", "no", "false", "faux", "0", "0.0", "n", "✗", "✘"})
_FAMILIES = {
    "online": "online, en ligne, enligne, on line, acquisition, daq, acquisition de donnees, temps reel,"
    " real time, controle commande, slow control, informatique en ligne",
    "offline": "offline, hors ligne, horsligne, off line, simulation, analyse, reconstruction, calcul,"
    " informatique hors ligne",
    "asr": "asr, systemes et reseaux, systeme et reseau, systemes reseaux, systeme reseau, admin systeme,"
    " admin systemes, admin sys, adminsys, sysadmin, administration systeme, administration systemes,"
    " administration systemes et reseaux, administrateur systeme, administrateur systemes,"
    " administrateur systemes et reseaux, systems and networks, system administration,"
    " systems administration, system administrator, systems administrator",
    "other": "other, autre, autres, others, divers",
}
FAMILY_WORDS = {word.strip(): family for family, words in _FAMILIES.items() for word in words.split(",")}


@dataclass(frozen=True, slots=True)
class Unread:
    """A value no field accepts, so that every field's own type check reports it."""

    value: Any


def fold(text: str) -> str:
    """Lower case, no accents, words of letters and digits separated by one space."""
    plain = "".join(c for c in unicodedata.normalize("NFKD", text) if not unicodedata.combining(c))
    return " ".join(re.findall(r"[^\W_]+", plain.casefold()))


def is_empty(value: Any) -> bool:
    """None, blank text, an empty list, NaN (what tables write for "nothing")."""
    if isinstance(value, str):
        return not value.strip()
    return value is None or value == [] or value == {} or (isinstance(value, float) and value != value)


def safe_cell(value: str) -> str:
    """``value`` with a ``'`` before what a spreadsheet would run as a formula; numbers (-3) stay."""
    return "'" + value if _is_formula(value) else value


def plain_cell(value: str) -> str:
    """``safe_cell`` undone, exactly."""
    return value[1:] if value.startswith("'") and _is_formula(value) else value


def _is_formula(value: str) -> bool:
    # Quotes already there are looked through, so that undoing takes off only what was added.
    start = value.lstrip("'").lstrip(" \u00a0")
    return start.startswith(tuple(_FORMULA)) and not _NUMBER.fullmatch(start)


def text(value: Any) -> Any:
    """Trimmed text; numbers and dates as one would write them."""
    if isinstance(value, str):
        return value.strip()
    if isinstance(value, float):
        return str(int(value)) if value.is_integer() and abs(value) < 1e15 else repr(value)
    if isinstance(value, int) and not isinstance(value, bool):
        return str(value)
    return value.isoformat() if isinstance(value, date) else Unread(value)


def number(value: Any) -> Any:
    """A number whose decimal mark may be a comma."""
    if isinstance(value, str):
        trimmed = value.strip()
        return trimmed.replace(",", ".") if _NUMBER.fullmatch(trimmed) else trimmed
    return Unread(value) if isinstance(value, bool) else value


def percent(value: Any) -> Any:
    """Per cent of ``50 %``, ``50``, ``0,5``; a value up to 1 with a decimal mark is a fraction."""
    if isinstance(value, str):
        body, sign, rest = value.strip().partition("%")
        if rest.strip() or not _NUMBER.fullmatch(body.strip()):
            return Unread(value)
        amount, fraction = float(body.strip().replace(",", ".")), not sign and bool(re.search("[.,]", body))
    elif isinstance(value, float):
        amount, fraction = value, True
    else:
        return number(value)
    return round(amount * 100, 6) if fraction and 0 < amount <= 1 else amount


def truth(value: Any) -> Any:
    """True or False of oui/non, yes/no, true/false, vrai/faux, 1/0, x."""
    if isinstance(value, bool):
        return value
    word = str(value).strip().casefold() if isinstance(value, str | int | float) else ""
    return True if word in _YES else False if word in _NO else Unread(value)


def family(value: Any) -> Any:
    """One of records.FAMILIES where the French or English word is known."""
    return FAMILY_WORDS.get(fold(value), value.strip()) if isinstance(value, str) else Unread(value)


# --- dates --------------------------------------------------------------------------------------------

_DATES = (
    re.compile(r"(?P<y>\d{4})(?:[-/.](?P<m>\d{1,2})(?:[-/.](?P<d>\d{1,2}))?)?"),
    re.compile(r"(?:(?P<d>\d{1,2})[-/.])?(?P<m>\d{1,2})[-/.](?P<y>\d{4})"),
)
_TIME = re.compile(r"(?:T|\s+)\d{1,2}:\d{2}.*", re.S)


def day(value: Any, *, last: bool = False) -> Any:
    """An ISO date of the forms 2025-03-31, 31/03/2025, 2025-03, 03/2025, 2025 (day before month).

    A month or a year alone is its first day, or its last for what ends there. Impossible days are kept.
    """
    if isinstance(value, datetime):
        return value.date()
    if isinstance(value, date):
        return value
    written = text(value)
    if not isinstance(written, str):
        return Unread(value)
    match = next((m for p in _DATES if (m := p.fullmatch(_TIME.sub("", written[:40])))), None)
    if match is None:
        return Unread(value)
    year, month = match["y"], int(match["m"] or (12 if last else 1))
    end = monthrange(int(year) or 1, month)[1] if last and 1 <= month <= 12 else 1
    return f"{year}-{month:02}-{int(match['d'] or end):02}"


def last_day(value: Any) -> Any:
    """``day``, the last of a month or year."""
    return day(value, last=True)


# --- lists --------------------------------------------------------------------------------------------


def pieces(cell: str) -> list[str]:
    """Items of a cell, separated by ``;`` or line breaks, bullets off. An overlong cell stays one item."""
    if len(cell) > MAX_TEXT:
        return [cell]
    items = (re.sub(r"^\s*[-–—*•·]\s+", "", item).strip() for item in re.split(r"[;\r\n]", cell))
    return [item for item in items if item]


def listed(value: Any) -> Any:
    """A tuple of texts from a list, or from a cell separated by ``;`` (commas where there is no ``;``)."""
    if isinstance(value, str):
        items = pieces(value)
        return items if len(items) > 1 or len(value) > MAX_TEXT else pieces(value.replace(",", ";"))
    if isinstance(value, list | tuple):
        return [text(item) for item in value if not is_empty(item)]
    return [text(value)]


def joined(value: Any) -> Any:
    """A list as one cell, its items separated by ``;``; anything else as ``text``."""
    if isinstance(value, list | tuple):
        return ";".join(str(text(item)) for item in value if not is_empty(item))
    return text(value)


def parse_skill(item: str) -> dict[str, Any]:
    """``CUDA:4``, ``CUDA (4)``, ``CUDA - 4``, ``CUDA`` -> name, level. ``http://x:80`` is a name."""
    item = item.strip()
    head, colon, tail = item.rpartition(":")
    tail = tail.removesuffix("/5").strip()
    if colon and _NUMBER.fullmatch(tail) and not _PORT.search(item[-300:]):
        return {"name": head.strip(), "level": tail.replace(",", ".")}
    if colon and not tail and not head.endswith(":"):
        return {"name": head.strip()}
    if item.endswith(")"):
        head, _, tail = item[:-1].rpartition("(")
        tail = tail.strip().removesuffix("/5").strip()
        if head.strip() and re.fullmatch(r"\d{1,2}", tail):
            return {"name": head.strip(), "level": tail}
    words = item.rsplit(maxsplit=2)
    if len(words) == 3 and words[1] in ("-", "–", "—") and re.fullmatch("[1-5]", words[2]):
        return {"name": words[0], "level": words[2]}
    return {"name": item}


def parse_need(item: str) -> dict[str, Any]:
    """``GPU:3``, ``Ceph:2!``, ``Ceph!`` -> text, weight, must, unchecked."""
    item = item.strip()
    must = item.endswith("!")
    body = item.rstrip("! \u00a0\u202f") if must else item
    head, colon, tail = body.rpartition(":")
    need: dict[str, Any] = {"text": body, "must": must}
    if colon and _NUMBER.fullmatch(tail.strip()) and not _PORT.search(body[-300:]):
        need |= {"text": head.strip(), "weight": tail.strip().replace(",", ".")}
    return need


def parse_text(item: str) -> dict[str, Any]:
    """A text as it is."""
    return {"text": item.strip()}


@dataclass(frozen=True, slots=True)
class Items:
    """How the objects of a list are read: the field of each key, the values of fields, texts as objects."""

    keys: Mapping[str, str]
    values: Mapping[str, Callable[[Any], Any]]
    parse: Callable[[str], dict[str, Any]]

    def fields(self, item: Mapping[str, Any], unknown: set[str]) -> dict[str, Any]:
        """One object: its keys as fields, its values converted, empty ones left out."""
        out: dict[str, Any] = {}
        for key, value in item.items():
            name = self.keys.get(column_key(str(key)))
            if name is None:
                unknown.add(str(key))
            elif not is_empty(value):
                out[name] = self.values.get(name, text)(value)
        return out

    def named(self, name: str, value: Any, unknown: set[str]) -> dict[str, Any]:
        """An entry of ``{CUDA: 4}`` or ``{CUDA: {level: 4}}``."""
        if isinstance(value, Mapping):
            return self.parse(name) | self.fields(value, unknown)
        written = None if is_empty(value) else text(value)
        return self.parse(f"{name}:{written}" if isinstance(written, str) else name)


def items(value: Any, how: Items, unknown: set[str]) -> list[Any]:
    """Objects from a cell, a list of texts or objects, or ``{name: number}``; others go to ``unknown``."""
    if isinstance(value, str):
        return [how.parse(item) for item in pieces(value)]
    if isinstance(value, Mapping):
        if not any(column_key(str(k)) in how.keys for k in value):
            return [how.named(str(k), v, unknown) for k, v in value.items()]
        value = [value]
    if not isinstance(value, list | tuple):
        value = [text(value)]
    out: list[Any] = []
    for item in value:
        if isinstance(item, Mapping):
            out.append(how.fields(item, unknown))
        elif not is_empty(item):
            out.append(how.parse(item) if isinstance(item, str) else item)
    return out


def sentences(value: Any, how: Items, kind: str, unknown: set[str]) -> list[Any]:
    """Evidence of ``kind``: a text is split into sentences, the items of a list are kept whole."""
    if isinstance(value, str):
        # An overlong cell is one item, so that the record's check reports its whole size.
        parts: list[Any] = [value] if len(value) > MAX_TEXT else split_sentences(value)
    elif isinstance(value, list | tuple):
        parts = list(value)
    else:
        parts = [value if isinstance(value, Mapping) else text(value)]
    return [{"kind": kind} | i if isinstance(i, dict) else i for i in items(parts, how, unknown)]


_SMALL_WORDS = frozenset({"de", "des", "d", "du", "la", "le", "l", "les", "au", "aux", "the", "of"})


def column_key(name: str) -> str:
    """A column name without case, accents, spaces, plural s, units in brackets and small words."""
    return _column_key(name[:200])


@lru_cache(maxsize=1024)
def _column_key(name: str) -> str:
    words = fold(re.sub(r"\([^()]*\)|\[[^\[\]]*\]", " ", name)).split()
    kept = [w for w in words if w not in _SMALL_WORDS] or words
    return "".join(w.removesuffix("s") if len(w) > 2 else w for w in kept)
