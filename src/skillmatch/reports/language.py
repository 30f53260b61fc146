"""The words of tables and messages: English in the code, French in ``locale/fr.po``, read as it stands."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from functools import lru_cache
from importlib import resources

from ..errors import UsageError

LANGS = ("en", "fr")


def pick_lang(given: str, environment: Mapping[str, str]) -> str:
    """The language: ``given``, else that of the first set of LC_ALL, LC_MESSAGES and LANG, else English.

    Raises ``UsageError`` where ``given`` is neither empty nor one of ``LANGS`` (``fr_FR.UTF-8`` is ``fr``).
    """
    if given:
        code = _code(given)
        if code not in LANGS:
            raise UsageError(f"There is no language '{given}'.", f"Use one of: {', '.join(LANGS)}.")
        return code
    named = (environment.get(name) for name in ("LC_ALL", "LC_MESSAGES", "LANG"))
    code = _code(next((value for value in named if value), "en"))
    return code if code in LANGS else "en"


def _code(locale: str) -> str:
    return re.split(r"[-_.@]", locale.strip().lower())[0]


def tr(message: str, lang: str, /, **values: object) -> str:
    """``message`` in ``lang``, else as it is; its ``{placeholders}`` filled where there are ``values``."""
    template = message if lang == "en" else catalogue(lang).get(message, message)
    return template.format(**values) if values else template


@lru_cache(maxsize=len(LANGS))
def catalogue(lang: str) -> dict[str, str]:
    """English -> ``lang``; empty where there is no such catalogue."""
    path = resources.files("skillmatch").joinpath(f"locale/{lang}.po")
    return read_po(path.read_text("utf-8")) if path.is_file() else {}


def read_po(text: str) -> dict[str, str]:
    """The translations of a gettext ``.po`` file without contexts or plurals; empty ones are left out.

    Raises ``ValueError`` naming a line that is neither.
    """
    entries: list[tuple[list[str], list[str]]] = []
    open_part: list[str] | None = None
    for number, line in enumerate(text.splitlines(), start=1):
        match = re.fullmatch(r'\s*(msgid\s|msgstr\s)?\s*(".*")\s*', line)
        if match is None:
            if line.strip() and not line.startswith("#"):
                raise ValueError(f"line {number} of the catalogue is no msgid, msgstr or comment: {line!r}")
            continue
        keyword, quoted = match.groups()
        if keyword is not None:
            if keyword.startswith("msgid"):
                entries.append(([], []))
            elif not entries:
                raise ValueError(f"line {number} of the catalogue has a msgstr without msgid")
            open_part = entries[-1][keyword.startswith("msgstr")]
        if open_part is None:
            raise ValueError(f"line {number} of the catalogue has a text without msgid")
        open_part.append(json.loads(quoted))
    pairs = (("".join(english), "".join(other)) for english, other in entries)
    return {english: other for english, other in pairs if english and other}
