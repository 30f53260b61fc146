"""Rows -> records, and every problem of every row in the lab's words. What is right, records.py says."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from typing import TYPE_CHECKING, Any

from ..errors import Problem
from . import cells, columns
from .columns import Kind
from .tables import Row, Table

if TYPE_CHECKING:
    from pydantic_core import ErrorDetails

_DAY = "write it as 2025-03-31 or 31/03/2025"
_YES_NO = "write yes or no (oui, non)"
#: What to do about a value, by field, whatever is wrong with it.
_FIELD_REMEDIES = {
    "id": "give the row an id of its own, 1 to 100 characters",
    "project_id": "write the id of a project",
    "profile_id": "write the id of a profile",
    "level": "give a level from 1 (heard of it) to 5 (the reference person), a whole number, or none",
    "weight": "give a weight from 1 to 3",
    "grade": "give a grade from 0 (no) to 3 (the right person)",
    "size": "give a whole number of people, 1 to 1000",
    "availability": "write a share of working time from 0 to 100 %, as 50 or 50 %",
    "family": "write online (en ligne), offline (hors ligne), asr (systèmes et réseaux) or other (autre)",
    "consent": _YES_NO,
    "must": _YES_NO,
    "skills": "write skills as: CUDA:4; Ceph:2; Python",
    "needs": "write needs as: GPU:3; Ceph:2!",
    "evidence": "write a text, or a list of texts",
} | dict.fromkeys(("available_from", "available_to", "updated", "start", "end", "last_used", "date"), _DAY)

_NO_DATE, _NO_NUMBER, _LONG = (
    "is not a date",
    "is not a number",
    "has {size} characters, more than {max_length}",
)
_NO_TEXT, _EMPTY = "is not a text", "is empty"
#: What pydantic calls it -> what we call it. Its own message stands for types that are not here.
_MESSAGES = {
    "missing": "is missing",
    "string_too_short": _EMPTY,
    "too_short": _EMPTY,
    "string_too_long": _LONG,
    "too_long": _LONG,
    "string_type": _NO_TEXT,
    "greater_than_equal": "is below {ge:g}",
    "less_than_equal": "is above {le:g}",
    "int_type": "is not a whole number",
    "int_parsing": "is not a whole number",
    "int_parsing_size": "is not a whole number of usual size",
    "int_from_float": "is not a whole number",
    "float_type": _NO_NUMBER,
    "float_parsing": _NO_NUMBER,
    "finite_number": _NO_NUMBER,
    "bool_type": "is neither yes nor no",
    "bool_parsing": "is neither yes nor no",
    "literal_error": "is no family we know",
    "tuple_type": "is not a list",
    "dataclass_type": "is neither a text nor an object",
    "date_type": _NO_DATE,
    "date_parsing": _NO_DATE,
    "date_from_datetime_parsing": "is a date that does not exist",
    "date_from_datetime_inexact": _NO_DATE,
}
#: Remedies that go with what is wrong rather than with the field.
_TYPE_REMEDIES = {
    "string_too_long": "shorten it, or split it into several items",
    "too_long": "shorten it, or split it into several items",
}
_RULE_REMEDIES = {
    "holds control characters (NUL or the like)": "type the text again; damaged files hold such characters",
    "has neither a skill nor evidence": "fill skills or evidence (compétences, expérience)",
    "available_from is after available_to": "swap or correct the two dates",
    "has neither title, description nor needs": "fill title, description or needs (titre, besoins)",
    "start is after end": "swap or correct the two dates",
}
#: Values that let the rules about a whole record be checked when a field is wrong.
_STAND_INS: dict[str, Any] = {
    "id": "?",
    "skills": [{"name": "?"}],
    "evidence": [{"text": "?"}],
    "needs": [{"id": "n1", "text": "?"}],
    "title": "?",
    "description": "?",
}


#: Unknown columns that are named one by one.
_MOST_UNKNOWN = 50


@dataclass
class Built:
    """The records of a file and their rows, every id seen in it (of bad rows too) with its row, all problems.

    ``readable`` is false where nothing could be made of the file as a whole.
    """

    records: list[Any] = field(default_factory=list)
    rows: list[int] = field(default_factory=list)
    ids: dict[str, int] = field(default_factory=dict)
    problems: list[Problem] = field(default_factory=list)
    readable: bool = True


@dataclass
class _Fields:
    """One row as fields: the values to check, and where each came from."""

    data: dict[str, Any] = field(default_factory=dict)
    raw: dict[str, Any] = field(default_factory=dict)
    column: dict[str, str] = field(default_factory=dict)
    item_columns: list[str] = field(default_factory=list)  # of each evidence item


def build(kind: Kind, table: Table, file: str) -> Built:
    """Records of ``kind``; a bad row is left out and reported, whole."""
    builder = _Builder(kind, file, Built(problems=list(table.problems)))
    if not _usable_header(kind, table, file, builder.out):
        return builder.out
    builder.check_columns(table)
    for row in table.rows:
        builder.add(row)
    builder.report_unknown_keys()
    if not builder.out.records and not builder.out.problems:
        builder.report(table.header_row, "has no rows", f"add {kind.name} to it", severity="warning")
    return builder.out


def _usable_header(kind: Kind, table: Table, file: str, out: Built) -> bool:
    if table.header is None:
        out.readable = bool(table.rows) or not table.problems
        return out.readable
    missing = [f for f in kind.required if f not in {kind.field(c) for c in table.header}]
    if not kind.has_required(f for c in table.header if (f := kind.field(c))):
        seen = ", ".join(c for c in table.header if c) or "none"
        wanted = (" or " if kind.any_of else ", ").join(missing)
        remedy = f"name the columns in the first row, {wanted} among them; read were: {seen[:200]}"
        out.problems.append(Problem(file, "has no column of that name", remedy, table.header_row, wanted))
        out.readable = False
    return out.readable


def shown(value: Any) -> str | None:
    """A value as a message can show it: one line, no control characters, short."""
    if isinstance(value, cells.Unread):
        value = value.value
    try:
        text = str(value)
    except ValueError:  # an integer of thousands of digits
        text = "a number of thousands of digits"
    return "".join(c if c.isprintable() else " " if c.isspace() else ascii(c)[1:-1] for c in text[:200])


@cache
def _adapter(record: type) -> Any:
    from pydantic import TypeAdapter

    return TypeAdapter(record)


def _check(record: type, data: Mapping[str, Any]) -> tuple[Any, list[ErrorDetails]]:
    """The record, or all that is wrong: fields, and rules about the whole even where a field is wrong."""
    from pydantic import ValidationError

    try:
        return _adapter(record).validate_python(data), []
    except ValidationError as error:
        errors = error.errors(include_url=False)
    wrong = {e["loc"][0] for e in errors if e["loc"]}
    if not wrong:
        return None, errors
    rest = {k: v for k, v in data.items() if k not in wrong}
    try:
        _adapter(record).validate_python(rest | {str(w): _STAND_INS[str(w)] for w in wrong if w in _STAND_INS})
    except ValidationError as error:
        errors += [e for e in error.errors(include_url=False) if not e["loc"]]
    return None, errors


class _Builder:
    def __init__(self, kind: Kind, file: str, out: Built) -> None:
        self.kind, self.file, self.out = kind, file, out
        self.fields: dict[str, str | None] = {}
        self.unknown: dict[tuple[str, str], int] = {}  # (list, key) nobody knows -> first row that has it
        self.repeated: set[tuple[str, str]] = set()

    def report(self, row: int | None, problem: str, remedy: str, **more: Any) -> None:
        self.out.problems.append(Problem(self.file, problem, remedy, row, **more))

    # --- columns ---

    def check_columns(self, table: Table) -> None:
        """Fill ``fields``; warn of unknown and repeated columns once each."""
        first_row: dict[str, int | None] = {}
        if table.header is not None:
            first_row = dict.fromkeys(table.header, table.header_row)
        else:
            for row in table.rows:
                for name, _ in row.values:
                    first_row.setdefault(name, row.number)
        unknown = []
        for name, number in first_row.items():
            self.fields[name] = self.kind.field(name)
            if self.fields[name] is None and not columns.is_comment(name):
                unknown.append((name, number))
        for name, number in unknown[:_MOST_UNKNOWN]:
            self._warn_unknown(name, number, table)
        if len(unknown) > _MOST_UNKNOWN:
            problem = f"has {len(unknown)} columns we do not know, which are ignored"
            self.report(table.header_row, problem, "check that it is the right file", severity="warning")

    def _warn_unknown(self, name: str, row: int | None, table: Table) -> None:
        if not name:
            if any(n == "" and not cells.is_empty(v) for r in table.rows for n, v in r.values):
                self.report(row, "has no name, and is ignored", "name the column", column="", severity="warning")
            return
        near = self.kind.closest(name)
        known = ", ".join(sorted(set(self.kind.keys.values())))
        remedy = f"rename it to {near} if that is what it holds" if near else f"known columns: {known}"
        problem = "is no column we know, and is ignored"
        self.report(row, problem, remedy, column=shown(name), severity="warning")

    def report_unknown_keys(self) -> None:
        """Keys of skills, evidence and needs that no field takes."""
        for (name, key), row in self.unknown.items():
            if not columns.is_comment(key):
                remedy = f"known in {name}: {', '.join(sorted(set(columns.ITEMS[name].keys.values())))}"
                problem = "is no key we know, and is ignored"
                self.report(row, problem, remedy, column=f"{name}.{shown(key)}", severity="warning")

    # --- rows ---

    def add(self, row: Row) -> None:
        fields = self._fields(row)
        if not fields.data and all(cells.is_empty(v) for _, v in row.values):
            return
        if self.kind is not columns.SKILLS:
            fields.data["source"] = f"{self.file}:{row.number}"
        record, errors = _check(self.kind.record, fields.data)
        for error in errors:
            self.out.problems.append(self._problem(error, row, fields))
        if self._is_new(row, fields) and record is not None:
            self.out.records.append(record)
            self.out.rows.append(row.number)

    def _is_new(self, row: Row, fields: _Fields) -> bool:
        """Whether the row's id is its own; keeps ids of bad rows too, so that one mistake is told once."""
        name = fields.data.get("id")
        if self.kind.required != ("id",) or not isinstance(name, str):
            return True
        name = " ".join(name.split())
        first = self.out.ids.setdefault(name, row.number)
        if first == row.number:
            return True
        self.report(
            row.number,
            f"is the id of row {first} already",
            f"give row {first} or row {row.number} another id, or merge the two",
            column=fields.column.get("id"),
            value=shown(name),
        )
        return False

    def _fields(self, row: Row) -> _Fields:
        out = _Fields()
        evidence: list[Any] = []
        for column, value in row.values:
            name = self.fields.get(column)
            if name is None or cells.is_empty(value):
                continue
            if name in columns.EVIDENCE and self.kind is columns.PROFILES:
                found = self._items("evidence", value, row, columns.EVIDENCE[name])
                evidence += found
                out.item_columns += [column] * len(found)
                out.column.setdefault("evidence", column)
            elif name in out.raw:
                self._repeated(row, column, out.column[name])
            else:
                out.raw[name], out.column[name] = value, column
                out.data[name] = self._value(name, column, value, row)
        if evidence:
            out.data["evidence"] = evidence
        self._join_names(out)
        self._number_items(row, out)
        return out

    def _repeated(self, row: Row, column: str, first: str) -> None:
        if (column, first) in self.repeated:
            return
        self.repeated.add((column, first))
        problem = f"fills the same field as column {shown(first)}, and is ignored"
        self.report(row.number, problem, "keep one of the two", column=shown(column), severity="warning")

    def _items(self, name: str, value: Any, row: Row, kind: str = "") -> list[Any]:
        unknown: set[str] = set()
        if name == "evidence":
            found = cells.sentences(value, columns.ITEMS[name], kind, unknown)
        else:
            found = cells.items(value, columns.ITEMS[name], unknown)
        for key in sorted(unknown):
            self.unknown.setdefault((name, key), row.number)
        return found

    def _value(self, name: str, column: str, value: Any, row: Row) -> Any:
        if name == "skills" and self.kind is columns.PROFILES:
            self._warn_commas(column, value, row)
        if name in columns.ITEMS:
            return self._items(name, value, row)
        return self.kind.values.get(name, cells.text)(value)

    def _warn_commas(self, column: str, value: Any, row: Row) -> None:
        if isinstance(value, str) and value.count(",") > 1 and len(cells.pieces(value)) == 1:
            problem = "holds commas and no semicolon: it is read as one skill"
            remedy = "separate skills by ; as in CUDA:4; Ceph:2"
            self.report(row.number, problem, remedy, column=shown(column), value=shown(value), severity="warning")

    @staticmethod
    def _join_names(out: _Fields) -> None:
        first = out.data.pop("first_name", None)
        if isinstance(first, str):
            last = out.data.get("name", "")
            out.data["name"] = f"{first} {last}".strip() if isinstance(last, str) else last
            out.column.setdefault("name", out.column["first_name"])

    def _number_items(self, row: Row, out: _Fields) -> None:
        """Sources of claims and evidence, ids of needs."""
        for name in ("skills", "evidence"):
            for item in out.data.get(name, ()):
                if isinstance(item, dict):
                    item["source"] = f"{self.file}:{row.number}"
        for i, item in enumerate(out.data.get("needs", ()), start=1):
            if isinstance(item, dict):
                item["id"] = f"n{i}"

    # --- problems ---

    def _problem(self, error: ErrorDetails, row: Row, fields: _Fields) -> Problem:
        place: Sequence[int | str] = error["loc"]
        top = str(place[0]) if place else ""
        leaf = next((str(p) for p in reversed(place) if isinstance(p, str)), "")
        kind, given = error["type"], error["input"]
        rule = str(error.get("ctx", {}).get("error", "")) if kind == "value_error" else ""
        template = rule or _MESSAGES.get(kind, error["msg"])
        size = len(given) if isinstance(given, str) else 0
        message = template.format(size=size, **error.get("ctx", {})) if kind in _MESSAGES else template
        value = given if len(place) > 1 else fields.raw.get(top)
        remedy = _RULE_REMEDIES.get(rule) or _TYPE_REMEDIES.get(kind) or _FIELD_REMEDIES.get(leaf)
        return Problem(
            self.file,
            self._about(place, leaf, fields) + message,
            remedy or "correct the value",
            row.number,
            self._column(place, top, fields),
            None if kind == "missing" or value is None else shown(value),
        )

    def _column(self, place: Sequence[int | str], top: str, fields: _Fields) -> str | None:
        if top == "evidence" and len(place) > 1 and isinstance(place[1], int):
            return shown(fields.item_columns[place[1]])
        known = next((c for c, f in self.fields.items() if f == top), top)
        return shown(fields.column.get(top, known)) if top else None

    @staticmethod
    def _about(place: Sequence[int | str], leaf: str, fields: _Fields) -> str:
        """'the level of CUDA ' before what is wrong inside a list."""
        if len(place) < 2 or not isinstance(place[1], int):
            return ""
        if len(place) == 2:
            return f"item {place[1] + 1} "
        item = fields.data[str(place[0])][place[1]]
        label = item.get("name") or item.get("text") if isinstance(item, dict) else None
        if leaf in ("name", "text") or not isinstance(label, str):
            return f"the {leaf} of item {place[1] + 1} "
        return f"the {leaf} of {shown(label[:60])} "
