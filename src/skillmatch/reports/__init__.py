"""Any result -> rich table, JSON, JSONL, CSV, XLSX, Markdown, HTML, in English or French.

::

    result -> content (suggestions), tables (the rest) -> terminal, markdown, html   -> output
           -> data (the JSON contract, rows)           -> JSON, JSONL, CSV, XLSX     -> output

``language`` holds the words. What comes from data files is untrusted throughout: it is cleaned of terminal
controls, and escaped for the format it goes to. Nothing here computes a score.
"""

from __future__ import annotations

from .content import Labels, Result, Table
from .data import load_schema, suggestion_dict
from .language import LANGS, pick_lang, tr
from .output import FORMATS, format_of, render, write

__all__ = [
    "FORMATS",
    "LANGS",
    "Labels",
    "Result",
    "Table",
    "format_of",
    "load_schema",
    "pick_lang",
    "render",
    "suggestion_dict",
    "tr",
    "write",
]
