"""A file of any format -> numbered rows of (column, value) pairs, and what is wrong with the file itself."""

from __future__ import annotations

import csv
import io
import json
import re
import stat
import zipfile
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import chain, islice
from pathlib import Path
from typing import Any

from ..errors import Problem
from . import cells
from .columns import Kind
from .decode import decode

#: The largest file that is read, and the largest table a spreadsheet may span (empty cells included).
MAX_BYTES = 512 * 2**20
MAX_CELLS = 20_000_000
MAX_ROWS = 5_000_000
#: Lists in lists in lists: nothing a lab writes is deeper.
MAX_DEPTH = 20
_HEADER_WITHIN = 10


@dataclass(frozen=True, slots=True)
class Row:
    """``number`` is what the problems and sources of the row show."""

    number: int
    values: tuple[tuple[str, Any], ...]


@dataclass
class Table:
    """The rows of a file; ``header`` and its row number where the format has one."""

    rows: list[Row] = field(default_factory=list)
    problems: list[Problem] = field(default_factory=list)
    header: tuple[str, ...] | None = None
    header_row: int | None = None


class Refused(Exception):  # noqa: N818 - it carries a problem; it isn't one of the project's errors
    """The whole file can't be read. Never leaves this package."""

    def __init__(self, problem: str, remedy: str, row: int | None = None) -> None:
        super().__init__(problem)
        self.problem, self.remedy, self.row = problem, remedy, row


def read_table(path: Path, kind: Kind) -> Table:
    """All rows of ``path``. Never raises for what the file holds: ``problems`` tells."""
    reader = READERS.get(path.suffix.lower())
    table = Table()
    try:
        if reader is None:
            raise Refused("is of a kind that can't be read", f"save it as one of: {', '.join(READERS)}")
        data = read_bytes(path)
        _check_content(path, data)
        reader(data, kind, path.name, table)
    except Refused as refusal:
        table.problems.append(Problem(path.name, refusal.problem, refusal.remedy, refusal.row))
    return table


def read_bytes(path: Path) -> bytes:
    """The content of a file, pipe or device; ``Refused`` where it can't be had or is too large."""
    try:
        if stat.S_ISDIR(path.stat().st_mode):
            raise Refused("is a folder", "name a file")
        with path.open("rb") as file:
            data = file.read(MAX_BYTES + 1)
    except FileNotFoundError:
        raise Refused("isn't there", "check the name and the folder") from None
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise Refused(f"can't be opened: {reason}", "check the name and the rights of the file") from None
    if len(data) > MAX_BYTES:
        raise Refused(f"is larger than {MAX_BYTES >> 20} MiB", "split it into smaller files")
    return data


_ZIP, _OLE, _PARQUET = b"PK\x03\x04", b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", b"PAR1"
_MAGIC = {
    _ZIP: "an XLSX, ODS or ZIP file",
    _OLE: "an old Office file",
    _PARQUET: "a Parquet file",
    b"%PDF": "a PDF",
}


def _check_content(path: Path, data: bytes) -> None:
    """The suffix against what the first bytes show."""
    if not data.strip(b" \t\r\n\0"):
        raise Refused("is empty", "put a header and rows in it, or remove the file")
    sheet = path.suffix.lower() in (".xlsx", ".ods")
    if sheet and data.startswith(_OLE):
        raise Refused(
            "is protected by a password, or an old .xls under another name",
            "save it as .xlsx without a password",
        )
    for magic, what in _MAGIC.items():
        expected = (sheet and magic == _ZIP) or (path.suffix.lower() == ".parquet" and magic == _PARQUET)
        if data.startswith(magic) and not expected:
            raise Refused(f"is {what}, not what its name says", "give it the right suffix, or save it as CSV (UTF-8)")


# --- tables: CSV and spreadsheets ---------------------------------------------------------------------


def _text(data: bytes, file: str, table: Table, *, only_unicode: bool) -> str:
    decoded = decode(data)
    doubt = decoded.doubt
    if only_unicode and not decoded.unicode and doubt is None:
        doubt = "is not UTF-8; it was read as Windows-1252"
    if doubt:
        remedy = "check the accents, and save the file as UTF-8"
        table.problems.append(Problem(file, doubt, remedy, severity="warning"))
    return decoded.text


def _read_csv(data: bytes, kind: Kind, file: str, table: Table) -> None:
    text = _text(data, file, table, only_unicode=False)
    mark = re.match(r'"?sep=([,;|:\t])"?[^\S\r\n]*(?:\r\n|\r|\n)', text)
    if mark:  # Excel's own line; no spreadsheet shows it
        text = text[mark.end() :]
    separator = mark[1] if mark else _separator(text, kind)
    try:
        _from_grid(_csv_rows(text, separator, file, table), kind, file, table)
    except csv.Error as error:
        raise Refused(f"is no readable CSV: {error}", "open it in a spreadsheet and save it as CSV (UTF-8)") from None


def _separator(text: str, kind: Kind) -> str:
    """The separator that shows the most known columns, then the most even rows."""

    def fitness(separator: str) -> tuple[int, int, int]:
        rows = []
        for row in _plain_csv(text[:65536], separator):
            if any(row):
                rows.append(row)
            if len(rows) == 20:
                break
        width = len(rows[0]) if rows else 0
        even = sum(len(row) == width for row in rows) if width > 1 else 0
        return max((kind.known(row) for row in rows[:_HEADER_WITHIN]), default=0), even, width

    return max(",;\t|", key=fitness)  # the first of equals: the comma


def _plain_csv(text: str, separator: str) -> Iterator[list[str]]:
    # The limit is one for the whole process, so it is only ever raised: the text is in memory already.
    csv.field_size_limit(max(csv.field_size_limit(), len(text) + 1))
    return csv.reader(io.StringIO(text, newline=""), delimiter=separator)


def _csv_rows(text: str, separator: str, file: str, table: Table) -> Iterator[list[str]]:
    """All records; one whose quote is never closed is reported and left out."""
    end = "\x00end"  # swallowed by an open quote, else a record of its own
    for number, row in enumerate(_plain_csv(f"{text}\n{end}", separator), start=1):
        if row and row[-1].endswith(end) and row != [end]:
            remedy = 'close the quote, or write "" for a quote inside a cell'
            table.problems.append(Problem(file, "has a quote that is never closed", remedy, number, value=row[-1][:80]))
        elif row != [end]:
            yield row


def _from_grid(grid: Iterable[Sequence[Any]], kind: Kind, file: str, table: Table) -> None:
    numbered = ((number, _trimmed(row)) for number, row in enumerate(grid, start=1))
    rows = ((number, row) for number, row in numbered if row)
    head = list(islice(rows, _HEADER_WITHIN))
    if not head:
        raise Refused("is empty", "put a header and rows in it, or remove the file")
    # Some sheets have a title above the header.
    at = next((i for i, (_, row) in enumerate(head) if kind.known(row) > 1), 0)
    table.header_row, first = head[at]
    table.header = tuple("" if cells.is_empty(c) else str(c).strip() for c in first)
    for number, row in chain(head[at + 1 :], rows):
        _add_row(number, row, file, table)


def _trimmed(row: Sequence[Any]) -> list[Any]:
    """A row without its empty end, our own protection of formulas undone."""
    values = [cells.plain_cell(v) if isinstance(v, str) else v for v in row]
    while values and cells.is_empty(values[-1]):
        values.pop()
    return values


def _add_row(number: int, row: list[Any], file: str, table: Table) -> None:
    header = table.header or ()
    if len(row) > len(header):
        table.problems.append(
            Problem(
                file,
                f"has {len(row)} cells, the header has {len(header)}",
                "put a cell that holds the separator in double quotes, or name the column",
                number,
                value=str(row[len(header)]),
            )
        )
    else:
        table.rows.append(Row(number, tuple(zip(header, row, strict=False))))


def _read_sheets(data: bytes, kind: Kind, file: str, table: Table) -> None:
    """The first sheet that has the columns it takes, else the first with anything in it."""
    _check_extent(data)
    first: Table | None = None
    for grid in _sheets(data):
        sheet = Table()
        try:
            _from_grid(grid, kind, file, sheet)
        except Refused:
            continue  # an empty sheet
        first = first or sheet
        if kind.has_required(f for c in sheet.header or () if (f := kind.field(c))):
            first = sheet
            break
    if first is None:
        raise Refused("is empty", "put a header and rows in its first sheet, or remove the file")
    table.rows, table.header, table.header_row = first.rows, first.header, first.header_row
    table.problems += first.problems


def _sheets(data: bytes) -> Iterator[Iterator[list[Any]]]:
    def opened() -> Iterator[Iterator[list[Any]]]:
        from python_calamine import load_workbook

        book = load_workbook(io.BytesIO(data))
        for name in book.sheet_names:
            # These rows count from the top of the sheet, empty ones above the table included.
            yield _guarded(book.get_sheet_by_name(name).iter_rows(), *told)

    told = ("spreadsheet", "open it in a spreadsheet program and save it as .xlsx again")
    return _guarded(opened(), *told)


def _guarded(parts: Iterator[Any], what: str, remedy: str) -> Iterator[Any]:
    """A foreign parser's results, its failures as ``Refused``: damaged files make parsers raise anything."""
    while True:
        try:
            part = next(parts)
        except StopIteration:
            return
        except BaseException as error:
            # Rust's panics are no Exception.
            if isinstance(error, KeyboardInterrupt | SystemExit | GeneratorExit):
                raise
            reason = str(error).splitlines()[0][:200] if str(error) else type(error).__name__
            raise Refused(f"is no readable {what}: {reason}", remedy) from None
        yield part


# Attributes may hold > but never <, so that each tag is looked at once.
_ATTRIBUTES = rb"""((?:\s(?:[^<>"']|"[^"<]*"|'[^'<]*')*+)?)"""
_XLSX_TAG = re.compile(rb"<(?:\w+:)?(c|row)" + _ATTRIBUTES + rb">(?=\s*<([^/]))?")
_PLACE = re.compile(rb"""\br\s*=\s*["']([A-Za-z]{0,3})(\d{1,9})["']""")
_ODS_TAG = re.compile(rb"<table:(table-row|table-cell)" + _ATTRIBUTES + rb">")
_REPEATED = re.compile(rb"""number-(?:rows|columns)-repeated\s*=\s*["'](\d{1,9})["']""")


def _check_extent(data: bytes) -> None:
    """Refuse a sheet whose filled cells span too much: the reader keeps all cells between, and may run out.

    One stray cell at the bottom right of a sheet is enough, and would end the whole process.
    """
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            if sum(entry.file_size for entry in archive.infolist()) > MAX_BYTES:
                raise Refused(f"unpacks to more than {MAX_BYTES >> 20} MiB", "split it into smaller files")
            for entry in archive.infolist():
                content = archive.read(entry)
                rows, columns = _ods_extent(content) if entry.filename == "content.xml" else _xlsx_extent(content)
                if rows * columns > MAX_CELLS:
                    raise Refused(
                        f"has a sheet of {rows} rows and {columns} columns, from its first cell to its last",
                        "delete the stray cells far below or to the right of the table",
                    )
    except Refused:
        raise
    except Exception as error:  # zipfile and zlib raise a dozen kinds for a damaged archive
        raise Refused(
            f"is no readable spreadsheet: {error}",
            "open it in a spreadsheet program and save it as .xlsx again",
        ) from None


def _xlsx_extent(xml: bytes) -> tuple[int, int]:
    rows = columns = row = column = 0
    for match in _XLSX_TAG.finditer(xml):
        tag, attributes, content = match.groups()
        place = _PLACE.search(attributes)
        if tag == b"row":  # counts once a filled cell is in it
            row, column = int(place[2]) if place else row + 1, 0
            continue
        if content is None or attributes.endswith(b"/"):
            column += 1
            continue
        if place and place[1]:
            row, column = int(place[2]), 0
            for letter in place[1].upper():
                column = column * 26 + letter - 64
        else:
            column += 1
        rows, columns = max(rows, row), max(columns, column)
    return rows, columns


def _ods_extent(xml: bytes) -> tuple[int, int]:
    rows = columns = row = column = repeated = 0
    for match in _ODS_TAG.finditer(xml):
        count = _REPEATED.search(match[2])
        times = int(count[1]) if count else 1
        if match[1] == b"table-row":
            row, column, repeated = row + repeated, 0, times
        else:
            column += times
            if b"value-type" in match[2] or b"formula" in match[2]:
                rows, columns = max(rows, row + repeated), max(columns, column)
    return rows, columns


# --- JSON, JSON lines, YAML, Parquet ------------------------------------------------------------------


def _read_jsonl(data: bytes, kind: Kind, file: str, table: Table) -> None:
    text = _text(data, file, table, only_unicode=True)
    for number, line in enumerate(re.split(r"\r\n|\r|\n", text), start=1):
        if not line.strip():
            continue
        try:
            value = _json(line)
        except Refused as refusal:
            table.problems.append(Problem(file, refusal.problem, refusal.remedy, number, value=line.strip()))
            continue
        _add_object(number, value, file, table)


def _json(text: str) -> Any:
    try:
        # strict=False: control characters in texts are the records' to report, with their column.
        value = json.loads(text, strict=False)
    except json.JSONDecodeError as error:
        raise Refused(
            f"is no JSON: {error.msg}, at character {error.colno} of the line",
            "check quotes, commas and brackets there",
            error.lineno,
        ) from None
    except RecursionError:
        raise _too_deep() from None
    except ValueError:
        raise Refused("holds a number of thousands of digits", "correct the number") from None
    _check_depth(value)
    return _substituted(value) if "\\ud" in text.lower() else value


def _substituted(value: Any) -> Any:
    """Half surrogate pairs as U+001A, which stands for lost characters and which records refuse."""
    if isinstance(value, str):
        return re.sub("[\ud800-\udfff]", "\x1a", value)
    if isinstance(value, dict):
        return {_substituted(k): _substituted(v) for k, v in value.items()}
    return [_substituted(v) for v in value] if isinstance(value, list) else value


def _too_deep() -> Refused:
    return Refused(f"is nested deeper than {MAX_DEPTH} levels", "write a list of plain objects")


def _check_depth(value: Any) -> None:
    level = [value]
    for _ in range(MAX_DEPTH):
        level = [
            child
            for parent in level
            if isinstance(parent, dict | list | tuple)
            for child in (parent.values() if isinstance(parent, dict) else parent)
        ]
        if not level:
            return
    raise _too_deep()


def _read_json(data: bytes, kind: Kind, file: str, table: Table) -> None:
    _add_objects(_json(_text(data, file, table, only_unicode=True)), kind, file, table)


def _read_yaml(data: bytes, kind: Kind, file: str, table: Table) -> None:
    import yaml

    # The base loader makes texts, lists and mappings only, whatever tags say: nothing runs, `no` is a text.
    loader = getattr(yaml, "CBaseLoader", yaml.BaseLoader)
    text = _text(data, file, table, only_unicode=True)
    try:
        _check_yaml(yaml.parse(text, Loader=loader))
        value = yaml.load(text, Loader=loader)
    except yaml.reader.ReaderError as error:
        line = text.count("\n", 0, error.position) + 1
        raise Refused("holds control characters (NUL or the like)", "retype the line", line) from None
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None) or getattr(error, "context_mark", None)
        said = getattr(error, "problem", None) or "it can't be understood"
        remedy = "check the indentation and quotes there"
        raise Refused(f"is no YAML: {said}", remedy, mark.line + 1 if mark else None) from None
    _add_objects(_without_nulls(value), kind, file, table)


def _check_yaml(events: Iterable[Any]) -> None:
    """Refuse depth, and aliases that unfold to much more than is written (a 'billion laughs' file)."""
    open_nodes: list[tuple[str | None, int]] = []  # anchor and size of what is being read
    sizes: dict[str, int] = {}
    written = 0
    for event in events:
        name = type(event).__name__
        size = 1
        if name in ("MappingStartEvent", "SequenceStartEvent"):
            open_nodes.append((event.anchor, 1))
            if len(open_nodes) > MAX_DEPTH:
                raise _too_deep()
            continue
        if name == "AliasEvent":
            holds_itself = any(anchor == event.anchor for anchor, _ in open_nodes)
            size = MAX_CELLS if holds_itself else sizes.get(event.anchor, 1)
        elif name in ("MappingEndEvent", "SequenceEndEvent"):
            anchor, size = open_nodes.pop()
            if anchor:
                sizes[anchor] = size
        elif name == "ScalarEvent":
            written += 1
            if event.anchor:
                sizes[event.anchor] = 1
        else:
            continue
        if open_nodes:
            anchor, before = open_nodes[-1]
            open_nodes[-1] = (anchor, before + size)
            if before + size > 1000 + 20 * written:
                raise Refused("holds aliases that unfold without end", "write the values out instead of * and &")


def _without_nulls(value: Any) -> Any:
    if isinstance(value, dict):
        return {str(k): _without_nulls(v) for k, v in value.items()}
    if isinstance(value, list):
        return [_without_nulls(v) for v in value]
    return None if value in ("~", "null", "Null", "NULL") else value


def _add_objects(root: Any, kind: Kind, file: str, table: Table) -> None:
    """A list of objects, one object, or an object that holds the list (``{"profiles": [...]}``)."""
    if isinstance(root, dict):
        lists = {k: v for k, v in root.items() if isinstance(v, list)}
        one = any(kind.field(k) in kind.required for k in root) or kind.known(root) > 1
        if kind.name in lists or not one:  # noqa: SIM108  the one-liner reads worse
            root = lists.get(kind.name) or next(iter(lists.values()), None)
        else:
            root = [root]
    if not isinstance(root, list):
        raise Refused(f"holds no list of {kind.name}", "write a list of objects, each with its id")
    for number, value in enumerate(root, start=1):
        _add_object(number, value, file, table)


def _add_object(number: int, value: Any, file: str, table: Table) -> None:
    if isinstance(value, Mapping):
        table.rows.append(Row(number, tuple((str(k), v) for k, v in value.items())))
    else:
        table.problems.append(Problem(file, "is no object", 'write {"id": ..., ...}', number, value=str(value)[:100]))


def _read_parquet(data: bytes, kind: Kind, file: str, table: Table) -> None:
    def opened() -> Iterator[list[dict[str, Any]]]:
        import pyarrow.parquet as parquet

        content = parquet.ParquetFile(io.BytesIO(data))
        # A few bytes can stand for millions of equal rows.
        if content.metadata.num_rows > MAX_ROWS:
            raise ValueError(f"it has {content.metadata.num_rows} rows, more than {MAX_ROWS}")
        yield content.read().to_pylist()

    for rows in _guarded(opened(), "Parquet file", "write it again, with one row for each record"):
        _check_depth(rows)
        for number, row in enumerate(rows, start=1):
            _add_object(number, row, file, table)


READERS: dict[str, Callable[[bytes, Kind, str, Table], None]] = {
    ".csv": _read_csv,
    ".tsv": _read_csv,
    ".txt": _read_csv,
    ".jsonl": _read_jsonl,
    ".ndjson": _read_jsonl,
    ".json": _read_json,
    ".yaml": _read_yaml,
    ".yml": _read_yaml,
    ".xlsx": _read_sheets,
    ".ods": _read_sheets,
    ".parquet": _read_parquet,
}
