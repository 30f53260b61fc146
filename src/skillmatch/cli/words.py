"""Messages in the reader's language: our own from ``fr.po`` beside this file, else those of reports."""

from __future__ import annotations

from functools import lru_cache
from importlib import resources

from .. import reports


def tr(message: str, lang: str, /, **values: object) -> str:
    """``message`` in ``lang``, else as it is; its ``{placeholders}`` filled where there are ``values``."""
    template = _own(lang).get(message)
    if template is None:
        return reports.tr(message, lang, **values)
    return template.format(**values) if values else template


@lru_cache(maxsize=2)
def _own(lang: str) -> dict[str, str]:
    from ..reports.language import read_po

    path = resources.files("skillmatch").joinpath(f"cli/{lang}.po")
    return read_po(path.read_text("utf-8")) if path.is_file() else {}
