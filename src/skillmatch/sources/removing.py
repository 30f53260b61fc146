"""One person out of a data file: the same file without their rows, and without their id among others' colleagues.

What is not theirs stays as it is, byte for byte in CSV, JSON lines and the sheets of ODS; JSON, YAML, XLSX and Parquet
are written anew (comments of a YAML file are lost).
"""

from __future__ import annotations

import contextlib
import csv
import io
import json
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ..errors import UsageError
from . import cells
from .columns import Kind
from .decode import decode
from .tables import _HEADER_WITHIN, _plain_csv, _separator

#: The field of each kind that says whose row it is.
_WHOSE = {"profiles": "id", "judgements": "profile_id"}
_ENCODINGS = ("utf-8", "utf-8-sig", "utf-16", "utf-32", "utf-16-le", "utf-16-be", "cp1252", "mac_roman", "cp850")


def without_person(path: Path, kind: Kind, profile_id: str) -> tuple[bytes, int] | None:
    """(the file's new content, how many rows went); None where nothing changes.

    Raises ``UsageError`` for a file that can't be written in its format.
    """
    remover = _Remover(kind, " ".join(profile_id.split()))
    data = path.read_bytes()
    write = _WRITERS.get(path.suffix.lower())
    if write is None:
        raise UsageError(
            f"{path} can't be rewritten in its format.",
            f"Delete the rows of {profile_id} there by hand, save it, and run the command again.",
        )
    try:
        changed = write(remover, data)
    except Exception as error:  # of half a dozen libraries; what could be read may still be too odd to write
        raise UsageError(
            f"{path} can't be rewritten: {str(error).splitlines()[0] if str(error) else type(error).__name__}.",
            f"Delete the rows of {profile_id} there by hand, save it, and run the command again.",
        ) from error
    return (changed, remover.rows) if changed is not None else None


class _UnwritableError(ValueError):
    """What can be read, but not be told apart well enough to cut something out."""


class _Remover:
    """Whom to take out, and how many rows went."""

    def __init__(self, kind: Kind, profile_id: str) -> None:
        self.kind, self.id, self.rows = kind, profile_id, 0
        self.whose = _WHOSE[kind.name]

    def is_id(self, value: object) -> bool:
        read = cells.text(value)
        return isinstance(read, str) and " ".join(read.split()) == self.id

    def taken(self, pairs: Sequence[tuple[str, Any]]) -> bool:
        """Whether a row of (column, value) is theirs; counts it."""
        found = any(self.kind.field(c) == self.whose and self.is_id(v) for c, v in pairs)
        self.rows += found
        return found

    def without_colleague(self, column: str, value: Any) -> Any:
        """A cell of somebody else's row, without the person among the colleagues."""
        if self.kind.field(column) != "collaborators":
            return value
        if isinstance(value, list):
            return [v for v in value if not self.is_id(v)]
        if isinstance(value, str):
            parts = value.split(";")
            kept = [p for p in parts if not self.is_id(p)]
            return ";".join(kept).strip() if len(kept) < len(parts) else value
        return value


# --- one format each: the new content, None where nothing changed ---------------------------------------


def _encoder(data: bytes, text: str) -> Callable[[str], bytes]:
    """What turns parts of a decoded file into its bytes again; UTF-8 where no one encoding made it."""
    for name in _ENCODINGS:
        try:
            if data.decode(name) == text and text.encode(name) == data:
                return lambda part, name=name: part.encode(name)  # type: ignore[misc]
        except UnicodeError:
            continue
    for mark, name in ((b"\xff\xfe", "utf-16-le"), (b"\xfe\xff", "utf-16-be"), (b"\xef\xbb\xbf", "utf-8")):
        if data.startswith(mark):
            return lambda part, name=name, mark=mark: mark + part.encode(name)  # type: ignore[misc]
    return lambda part: part.encode("utf-8-sig", "replace")


def _csv(remover: _Remover, data: bytes) -> bytes | None:
    text = decode(data).text
    mark = re.match(r'"?sep=([,;|:\t])"?[^\S\r\n]*(?:\r\n|\r|\n)', text)
    start = mark.end() if mark else 0
    separator = mark[1] if mark else _separator(text[start:], remover.kind)
    records = list(_records(text[start:], separator))
    head = [(n, row) for n, (row, _) in enumerate(records) if any(c.strip() for c in row)][:_HEADER_WITHIN]
    at = next((n for n, row in head if remover.kind.known(row) > 1), head[0][0] if head else 0)
    out, changed = [text[:start]], False
    header = records[at][0] if records else []
    for n, (row, raw) in enumerate(records):
        pairs = list(zip(header, row, strict=False))
        if n > at and remover.taken([(c, cells.plain_cell(v)) for c, v in pairs]):
            changed = True
            continue
        new = [remover.without_colleague(c, v) for c, v in pairs] + row[len(pairs) :]
        if n > at and new != row:
            changed, raw = True, _csv_line(new, separator, raw)
        out.append(raw)
    return _encoder(data, text)("".join(out)) if changed else None


def _records(text: str, separator: str) -> Iterator[tuple[list[str], str]]:
    """(cells, the text they stand in) of each record, empty ones included."""
    lines = re.findall(r"[^\r\n]*(?:\r\n|\r|\n)|[^\r\n]+\Z", text)
    _plain_csv(text, separator)  # raises the limit of a field
    reader = csv.reader(iter(lines), delimiter=separator)
    before = 0
    for row in reader:
        yield row, "".join(lines[before : reader.line_num])
        before = reader.line_num


def _csv_line(row: Sequence[str], separator: str, raw: str) -> str:
    end = re.search(r"(?:\r\n|\r|\n)?\Z", raw)
    out = io.StringIO()
    csv.writer(out, delimiter=separator, lineterminator=end[0] if end else "\n").writerow(row)
    return out.getvalue()


def _jsonl(remover: _Remover, data: bytes) -> bytes | None:
    text = decode(data).text
    out, changed = [], False
    for line in re.findall(r"[^\r\n]*(?:\r\n|\r|\n)|[^\r\n]+\Z", text):
        try:
            value = json.loads(line, strict=False) if line.strip() else None
        except (ValueError, RecursionError):
            value = None
        if not isinstance(value, dict):
            out.append(line)
            continue
        kept = _object(remover, value)
        if kept is None:
            changed = True
        elif kept != value:
            changed = True
            out.append(json.dumps(kept, ensure_ascii=False) + line[len(line.rstrip("\r\n")) :])
        else:
            out.append(line)
    return _encoder(data, text)("".join(out)) if changed else None


def _object(remover: _Remover, value: dict[str, Any]) -> dict[str, Any] | None:
    if remover.taken(list(value.items())):
        return None
    return {k: remover.without_colleague(k, v) for k, v in value.items()}


def _objects(remover: _Remover, root: Any) -> Any:
    """The same structure without the person's objects."""
    if isinstance(root, list):
        kept = [_object(remover, v) if isinstance(v, dict) else v for v in root]
        return [v for v in kept if v is not None]
    if isinstance(root, dict):
        if any(remover.kind.field(k) == remover.whose for k in root):
            return _object(remover, root) or []
        return {k: _objects(remover, v) if isinstance(v, list) else v for k, v in root.items()}
    return root


def _json(remover: _Remover, data: bytes) -> bytes | None:
    text = decode(data).text
    root = json.loads(text, strict=False)
    new = _objects(remover, root)
    if new == root:
        return None
    indent = 1 if "\n" in text.strip() else None
    return (json.dumps(new, ensure_ascii=False, indent=indent) + "\n").encode("utf-8", "replace")


def _yaml(remover: _Remover, data: bytes) -> bytes | None:
    import yaml

    # As the reader does: texts, lists and mappings only, so that `no` stays the text it was.
    root = yaml.load(decode(data).text, Loader=getattr(yaml, "CBaseLoader", yaml.BaseLoader))
    new = _objects(remover, root)
    if new == root:
        return None
    return str(yaml.safe_dump(new, allow_unicode=True, sort_keys=False, width=120)).encode()


def _xlsx(remover: _Remover, data: bytes) -> bytes | None:
    import openpyxl

    book = openpyxl.load_workbook(io.BytesIO(data))
    changed = False
    for sheet in book.worksheets:
        rows = list(sheet.iter_rows())
        head = [r for r in rows if any(c.value is not None for c in r)][:_HEADER_WITHIN]
        header = next((r for r in head if remover.kind.known([c.value for c in r]) > 1), None)
        if header is None:
            continue
        names = [str(c.value or "") for c in header]
        gone = []
        for row in rows:
            if row[0].row <= header[0].row:
                continue
            pairs = list(zip(names, row, strict=False))
            if remover.taken([(n, c.value) for n, c in pairs]):
                gone.append(row[0].row)
                continue
            for name, cell in pairs:
                new = remover.without_colleague(name, cell.value)
                if new != cell.value:
                    cell.value, changed = new, True
        for number in reversed(gone):
            sheet.delete_rows(number)
        changed = changed or bool(gone)
    if not changed:
        return None
    out = io.BytesIO()
    book.save(out)
    return out.getvalue()


def _parquet(remover: _Remover, data: bytes) -> bytes | None:
    import pyarrow
    import pyarrow.parquet as parquet

    table = parquet.read_table(io.BytesIO(data))
    rows = table.to_pylist()
    kept = [r for r in (_object(remover, row) for row in rows) if r is not None]
    if kept == rows:
        return None
    out = io.BytesIO()
    parquet.write_table(pyarrow.Table.from_pylist(kept, schema=table.schema), out)
    return out.getvalue()


# --- ODS: a zip of XML, from whose sheets whole elements are cut ------------------------------------------

_ODF = "urn:oasis:names:tc:opendocument:xmlns:"
_OFFICE, _TABLE, _TEXT = (f"{_ODF}{name}:1.0 " for name in ("office", "table", "text"))
_CELLS = (f"{_TABLE}table-cell", f"{_TABLE}covered-table-cell")
_ODS_SPACES = {f"{_TEXT}s": " ", f"{_TEXT}tab": "\t", f"{_TEXT}line-break": "\n"}
#: Columns that are looked at; empty cells are repeated up to the edge of the sheet.
_ODS_COLUMNS = 1000
_XML_TAG = re.compile(rb"""<(?:[^"'>]|"[^"]*"|'[^']*')*+>""")
_STRING_VALUE = re.compile(rb"""\s[\w-]+:string-value\s*=\s*(?:"[^"]*"|'[^']*')""")
_THUMBNAIL = re.compile(rb"""<[\w:-]*file-entry\b[^>]*full-path=["']Thumbnails/[^>]*>""")


@dataclass
class _OdsCell:
    """A cell: where its tag starts, where its content ends, what it holds, for how many columns."""

    start: int
    end: int = 0
    value: Any = None
    times: int = 1
    paragraphs: list[str] = field(default_factory=list)


@dataclass
class _OdsRow:
    start: int
    end: int = 0
    cells: list[_OdsCell] = field(default_factory=list)


class _OdsSheets:
    """The rows of every sheet of a ``content.xml``, by their places in its bytes; ``changes``: places of the record of
    changes, which may hold what was deleted long ago."""

    def __init__(self, xml: bytes) -> None:
        from xml.parsers import expat

        self.sheets: list[list[_OdsRow]] = []
        self.changes: list[tuple[int, int]] = []
        self._xml, self._open, self._aside = xml, [0], 0
        self._parser = expat.ParserCreate(namespace_separator=" ")
        self._parser.StartElementHandler = self._start
        self._parser.EndElementHandler = self._end
        self._parser.CharacterDataHandler = self._characters
        try:
            self._parser.Parse(xml, True)
        except expat.ExpatError as error:
            raise _UnwritableError(f"its sheets are no sound XML ({error})") from error

    def _start(self, name: str, attributes: dict[str, str]) -> None:
        at = self._parser.CurrentByteIndex
        if name == f"{_TABLE}tracked-changes":
            self._open.append(at)
        if name in (f"{_TABLE}tracked-changes", f"{_OFFICE}annotation"):
            self._aside += 1
        elif self._aside:
            return
        elif name == f"{_TABLE}table":
            if self.sheets and self.sheets[-1] and not self.sheets[-1][-1].end:
                raise _UnwritableError("a cell holds a table of its own")
            self.sheets.append([])
        elif name == f"{_TABLE}table-row" and self.sheets:
            self.sheets[-1].append(_OdsRow(at))
        elif name in _CELLS and self.sheets and self.sheets[-1]:
            times = attributes.get(f"{_TABLE}number-columns-repeated", "1")
            cell = _OdsCell(at, times=int(times) if times.isdecimal() else 1)
            cell.value = attributes.get(f"{_OFFICE}string-value")
            if attributes.get(f"{_OFFICE}value-type") in ("float", "percentage", "currency"):
                with contextlib.suppress(KeyError, ValueError):
                    cell.value = float(attributes[f"{_OFFICE}value"])
            self.sheets[-1][-1].cells.append(cell)
        elif name == f"{_TEXT}p" and self.sheets and self.sheets[-1] and self.sheets[-1][-1].cells:
            self.sheets[-1][-1].cells[-1].paragraphs.append("")
        elif name in _ODS_SPACES:
            self._characters(_ODS_SPACES[name] * min(int(attributes.get(f"{_TEXT}c", "1")), 100))

    def _end(self, name: str) -> None:
        at = self._parser.CurrentByteIndex
        if name == f"{_TABLE}tracked-changes":
            self.changes.append((self._open.pop(), self._after(at)))
        if name in (f"{_TABLE}tracked-changes", f"{_OFFICE}annotation"):
            self._aside -= 1
        elif self._aside or not self.sheets or not self.sheets[-1]:
            return
        elif name == f"{_TABLE}table-row":
            self.sheets[-1][-1].end = self._after(at)
        elif name in _CELLS:
            cell = self.sheets[-1][-1].cells[-1]
            cell.end = at
            if cell.value is None and cell.paragraphs:
                cell.value = "\n".join(cell.paragraphs)

    def _characters(self, text: str) -> None:
        if not self._aside and self.sheets and self.sheets[-1] and self.sheets[-1][-1].cells:
            paragraphs = self.sheets[-1][-1].cells[-1].paragraphs
            if paragraphs:
                paragraphs[-1] += text

    def _after(self, at: int) -> int:
        tag = _XML_TAG.match(self._xml, at)
        if tag is None:
            raise _UnwritableError("its sheets are in an encoding other than UTF-8")
        return tag.end()


def _ods_values(row: _OdsRow) -> list[tuple[Any, _OdsCell]]:
    out: list[tuple[Any, _OdsCell]] = []
    for cell in row.cells:
        out += [(cell.value, cell)] * min(cell.times, _ODS_COLUMNS - len(out))
    return out


def _ods_edits(remover: _Remover, xml: bytes) -> list[tuple[int, int, bytes]]:
    """(start, end, what is put there) of every change to the sheets; with any of them, the record of changes goes."""
    found = _OdsSheets(xml)
    edits: list[tuple[int, int, bytes]] = []
    for sheet in found.sheets:
        rows = [(row, _ods_values(row)) for row in sheet]
        filled = [n for n, (_, values) in enumerate(rows) if any(v is not None for v, _ in values)][:_HEADER_WITHIN]
        at = next((n for n in filled if remover.kind.known([v for v, _ in rows[n][1]]) > 1), None)
        if at is None:
            continue
        names = [str(v or "") for v, _ in rows[at][1]]
        for row, values in rows[at + 1 :]:
            if remover.taken([(n, v) for n, (v, _) in zip(names, values, strict=False)]):
                edits.append((row.start, row.end, b""))
                continue
            for name, (value, cell) in zip(names, values, strict=False):
                new = remover.without_colleague(name, value)
                if new != value:
                    edits.append((cell.start, cell.end, _ods_cell(xml[cell.start : cell.end], new)))
    return [*edits, *((start, end, b"") for start, end in found.changes)] if edits else []


def _ods_cell(raw: bytes, text: str) -> bytes:
    """A cell up to its end tag, with another text in its first paragraph and no other one."""
    from xml.sax.saxutils import escape

    tags = [m.group() for m in _XML_TAG.finditer(raw)]
    cell, paragraph = _STRING_VALUE.sub(b"", tags[0]), next((t for t in tags[1:] if t[:2] != b"</"), b"<text:p>")
    name = paragraph[1:].split(None, 1)[0].rstrip(b"/>")
    return cell + b"<" + name + b">" + escape(text).encode() + b"</" + name + b">"


def _ods(remover: _Remover, data: bytes) -> bytes | None:
    import zipfile

    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        members = [(entry, archive.read(entry)) for entry in archive.infolist()]
    content = next((body for entry, body in members if entry.filename == "content.xml"), None)
    edits = _ods_edits(remover, content) if content is not None else []
    if content is None or not edits:
        return None
    for start, end, new in sorted(edits, reverse=True):
        content = content[:start] + new + content[end:]
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        for entry, body in members:
            if entry.filename.startswith("Thumbnails/"):  # a picture of the first page, with them in it
                continue
            if entry.filename == "content.xml":
                body = content
            elif entry.filename == "META-INF/manifest.xml":
                body = _THUMBNAIL.sub(b"", body)
            archive.writestr(entry, body, entry.compress_type)
    return out.getvalue()


_WRITERS: dict[str, Callable[[_Remover, bytes], bytes | None]] = {
    ".csv": _csv,
    ".tsv": _csv,
    ".txt": _csv,
    ".jsonl": _jsonl,
    ".ndjson": _jsonl,
    ".json": _json,
    ".yaml": _yaml,
    ".yml": _yaml,
    ".xlsx": _xlsx,
    ".ods": _ods,
    ".parquet": _parquet,
}
