"""Where a result goes: the choice of format, and files written whole or not at all."""

from __future__ import annotations

import contextlib
import csv
import io
import os
import re
import shutil
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ..errors import UsageError
from ..records import Suggestion
from ..sources import safe_cell
from .content import Labels, Result, Table, answer, clean_lines
from .data import Rows, gap_rows, plain, rows_of, sort_out, to_json, to_jsonl
from .plan_sheets import plan_sheets
from .plans import Planned
from .tables import overview, table_of

FORMATS = ("table", "json", "jsonl", "csv", "markdown", "html")
SUFFIXES = {
    ".json": "json",
    ".jsonl": "jsonl",
    ".csv": "csv",
    ".md": "markdown",
    ".markdown": "markdown",
    ".html": "html",
    ".xlsx": "xlsx",
    ".txt": "table",
}
_LEADING_LINES = re.compile(r"^\s*\n\s*")
#: Longer lines are tiring to read, shorter ones hold no table.
_NARROWEST, _WIDEST, _FILE_WIDTH = 40, 120, 100


def format_of(path: Path | None, given: str | None) -> str:
    """The format: ``given``, else by the suffix of ``path``, else ``table``; ``xlsx`` goes to a file alone.

    Raises ``UsageError`` naming the choices where it is unknown, or where the two disagree.
    """
    choices = f"Formats: {', '.join(FORMATS)}. Suffixes of --out: {', '.join(SUFFIXES)}."
    by_suffix = None if path is None else SUFFIXES.get(path.suffix.lower())
    if given == "xlsx" and by_suffix != "xlsx":
        raise UsageError("XLSX goes to a file.", "Name one that ends in .xlsx: --out FILE.xlsx")
    if given and given not in (*FORMATS, "xlsx"):
        raise UsageError(f"There is no format '{given}'.", choices)
    if given and by_suffix and given != by_suffix:
        raise UsageError(f"--format {given} and --out {path} disagree: its suffix says {by_suffix}.", choices)
    if given:
        return given
    if path is None:
        return "table"
    if by_suffix is None:
        raise UsageError(f"The suffix of {path} names no format.", choices)
    return by_suffix


def render(
    result: Result,
    fmt: str,
    *,
    lang: str = "en",
    width: int | None = None,
    color: bool = False,
    labels: Labels | None = None,
) -> str:
    """A result as text in one of ``FORMATS``; ``width`` is that of a table in columns (None: the terminal's).

    ``labels`` name the concepts of needs (id -> English, French). Raises ``UsageError`` for any other format.
    """
    if fmt == "json":
        return to_json(result, indent=2) + "\n"
    if fmt == "jsonl":
        return to_jsonl(result)
    if fmt == "csv":
        return _csv(rows_of(result))
    if fmt == "table":
        return _terminal(result, lang, width, color, labels or {})
    if fmt == "markdown":
        return _markdown(result, lang, labels or {})
    if fmt == "html":
        return _html(result, lang, labels or {})
    raise UsageError(f"There is no format '{fmt}'.", f"Formats: {', '.join(FORMATS)}.")


# rich is imported for tables only: JSON must start fast.
def _terminal(result: Result, lang: str, width: int | None, color: bool, labels: Labels) -> str:
    from . import terminal

    columns = shutil.get_terminal_size((_FILE_WIDTH, 24)).columns if width is None else width
    columns = max(_NARROWEST, min(_WIDEST, columns))
    if isinstance(result, Suggestion):
        return terminal.show_answer(answer(result, lang, labels), lang, columns, color)
    return terminal.show_table(_human_table(result, lang), lang, columns, color)


def _markdown(result: Result, lang: str, labels: Labels) -> str:
    from . import markdown

    if isinstance(result, Suggestion):
        return markdown.answer_page(answer(result, lang, labels), lang)
    answers = [answer(s, lang, labels) for s in sort_out(result)[0] or ()]
    return markdown.answers_page(_human_table(result, lang), answers, lang)


def _html(result: Result, lang: str, labels: Labels) -> str:
    from . import html

    if isinstance(result, Planned):
        from .plan_page import plan_page

        return plan_page(result, lang)
    if isinstance(result, Mapping) and result.get("schema") == "skillmatch.gaps/1":
        from .gap_page import gap_page

        return gap_page(result, lang)
    if isinstance(result, Suggestion):
        return html.answer_page(answer(result, lang, labels), lang)
    answers = [answer(s, lang, labels) for s in sort_out(result)[0] or ()]
    return html.answers_page(_human_table(result, lang), answers, lang)


def _human_table(result: Result, lang: str) -> Table:
    suggestions, other = sort_out(result)
    return table_of(other, lang) if suggestions is None else overview(suggestions, lang)


def _csv(table: Rows) -> str:
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(_csv_cell(column) for column in table.columns)
    writer.writerows([_csv_cell(value) for value in row] for row in table.rows)
    return out.getvalue()


def _csv_cell(value: object) -> object:
    """A cell that no spreadsheet takes for a formula; true and false as JSON writes them."""
    cell = _flat(value)
    # A formula may hide behind blank lines, too.
    return safe_cell(_LEADING_LINES.sub("", clean_lines(cell))) if isinstance(cell, str) else cell


def _flat(value: object) -> Any:
    """A number as it is, anything else as one text; several are separated by ``; ``."""
    known = plain(value)
    if isinstance(known, bool):
        return "true" if known else "false"
    if isinstance(known, list) and not any(isinstance(v, list | dict) for v in known):
        return "; ".join(str(_flat(v)) for v in known if v is not None)
    return to_json(known) if isinstance(known, list | dict) else known


def write(
    result: str | Result,
    fmt: str,
    out: Path | None,
    *,
    lang: str = "en",
    width: int | None = None,
    color: bool = False,
    labels: Labels | None = None,
) -> None:
    """Write a result, or a text rendered already, to standard output or ``out``: whole, or as it was before.

    ``fmt`` is one of ``FORMATS``, or ``xlsx`` for a file; the rest is as for ``render``. Raises
    ``UsageError`` where ``out`` can't be written.
    """
    if fmt == "xlsx":
        if out is None or isinstance(result, str):
            raise UsageError("XLSX goes to a file.", "Name one that ends in .xlsx: --out FILE.xlsx")
        _replace(out, _xlsx(result))
        return
    wide = _FILE_WIDTH if width is None and out is not None else width
    text = (
        result
        if isinstance(result, str)
        else render(result, fmt, lang=lang, width=wide, color=color and out is None, labels=labels)
    )
    if out is None:
        _say(text)
    else:
        # Excel takes a CSV file for UTF-8 only where it begins with a byte order mark.
        _replace(out, text.encode("utf-8-sig" if fmt == "csv" else "utf-8"))


def _say(text: str) -> None:
    encoding = sys.stdout.encoding or "utf-8"
    try:
        text.encode(encoding)
    except UnicodeEncodeError:
        # A terminal without the bar or the accents still gets the answer.
        text = text.encode(encoding, "replace").decode(encoding)
    sys.stdout.write(text)
    sys.stdout.flush()


def _replace(out: Path, content: bytes) -> None:
    target = out.expanduser()
    try:
        if target.exists() and not target.is_file():
            target.write_bytes(content)  # a pipe or /dev/null: there is nothing to keep whole
            return
        target = target.resolve()
        beside = target.with_name(f".{target.name}.{os.getpid()}.new")
        try:
            with beside.open("xb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            beside.replace(target)
        except BaseException:
            with contextlib.suppress(FileNotFoundError):
                beside.unlink()
            raise
    except OSError as error:
        raise UsageError(
            f"{out} can't be written: {error.strerror or error}.",
            "Name a file in a folder that exists and that you may write to.",
        ) from error


def _xlsx(result: Result) -> bytes:
    from openpyxl import Workbook

    book = Workbook()
    book.remove(book.active)
    suggestions, _ = sort_out(result)
    sheets = plan_sheets(result) if isinstance(result, Planned) else []
    for name, rows in sheets:
        _sheet(book, name, rows)
    if not sheets:
        _sheet(book, "data" if suggestions is None else "matches", rows_of(result))
    if suggestions is not None:
        _sheet(book, "gaps", gap_rows(suggestions))
    out = io.BytesIO()
    book.save(out)
    return out.getvalue()


def _sheet(book: Any, name: str, table: Rows) -> None:
    from openpyxl.styles import Alignment, Font
    from openpyxl.utils import get_column_letter

    sheet = book.create_sheet(name)
    for row_number, row in enumerate((table.columns, *table.rows), start=1):
        for column_number, value in enumerate(row, start=1):
            cell = sheet.cell(row_number, column_number)
            known = value if isinstance(value, bool) else _flat(value)
            if isinstance(known, str):
                cell.value = clean_lines(known)
                cell.data_type = "s"  # else a text that begins with = would be a formula
                cell.alignment = Alignment(wrap_text=True, vertical="top")
            else:
                cell.value = known
                cell.alignment = Alignment(vertical="top")
                if isinstance(known, float):
                    cell.number_format = "0.000"  # the whole number stays underneath
            if row_number == 1:
                cell.font = Font(bold=True)
    for column_number, column in enumerate(table.columns, start=1):
        texts = (_as_shown(row[column_number - 1]) for row in table.rows)
        longest = max((len(column), *(len(text) for text in texts)))
        sheet.column_dimensions[get_column_letter(column_number)].width = min(60, longest + 2)
    sheet.freeze_panes = "A2"
    if table.columns:
        sheet.auto_filter.ref = sheet.dimensions


def _as_shown(value: object) -> str:
    return f"{value:.3f}" if isinstance(value, float) else str(value or "")
