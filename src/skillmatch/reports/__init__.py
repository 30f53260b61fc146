"""Any result -> rich table, JSON, JSONL, CSV, XLSX, Markdown, HTML, in English or French.

::

    result -> content (suggestions), plans, tables    -> terminal, markdown, html   -> output
           -> data (the JSON contract, rows)           -> JSON, JSONL, CSV, XLSX     -> output
    plan_page, gap_page  -> pictures (SVG) and templates/  -> html

``language`` holds the words. What comes from data files is untrusted throughout: it is cleaned of terminal
controls, and escaped for the format it goes to. Nothing here computes a score.
"""

from __future__ import annotations

from .content import Labels, Result, Table
from .data import load_schema, suggestion_dict
from .language import LANGS, pick_lang, tr
from .output import FORMATS, format_of, render, write
from .plans import assignment_dict, gaps_dict, team_dict

__all__ = [
    "FORMATS",
    "LANGS",
    "Labels",
    "Result",
    "Table",
    "assignment_dict",
    "format_of",
    "gaps_dict",
    "load_schema",
    "pick_lang",
    "render",
    "suggestion_dict",
    "team_dict",
    "tr",
    "write",
]
