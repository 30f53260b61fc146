"""What people answered to suggestions: an append-only file of JSON lines, and the labels training gets.

One line an answer, in ``data/feedback.jsonl``::

    {"schema": "skillmatch.feedback/1", "time": "2026-11-20T09:30:00Z", "project": "P12", "profile": "S07",
     "answer": "declined", "reason": "workload", "note": "", "model": "v0123456789ab", "rank": 3}

``answer`` is accepted or declined; ``reason``, of a refusal, is skill, workload, other or empty; ``rank`` is
where the person stood in the suggestion, or null. An answer to a typed question holds its text as ``question``, and as
``project`` an id made of it. Any number of processes may append at a time.
"""

from __future__ import annotations

import hashlib
import json
import math
import re
import unicodedata
from collections.abc import Container, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any, NamedTuple

from ..errors import DataError, Problem, UsageError
from ..records import MAX_NAME, MAX_TEXT, Judgement
from ..store import append_json, beside, locked_file, now, replace_file

SCHEMA = "skillmatch.feedback/1"

#: The columns of a table of answers, and what else they are called.
COLUMNS: dict[str, tuple[str, ...]] = {
    "project": ("project_id", "projet", "id projet"),
    "profile": ("profile_id", "person", "profil", "personne", "id profil"),
    "answer": ("réponse", "decision", "décision"),
    "reason": ("raison", "motif"),
    "note": ("comment", "notes", "commentaire", "remarque"),
    "model": ("version", "modèle"),
    "rank": ("rang", "position"),
    "time": ("date", "when", "heure"),
}
_REQUIRED = ("project", "profile", "answer")
_ANSWERS = {
    "accepted": ("accept", "yes", "accepté", "acceptée", "oui"),
    "declined": ("decline", "refused", "no", "décliné", "déclinée", "refusé", "refusée", "non"),
}
_REASONS = {
    "skill": ("skills", "compétence", "compétences"),
    "workload": ("load", "charge", "charge de travail"),
    "other": ("autre",),
    "": (),
}

#: A person who accepted suits the project as well as the judgements' best grade.
_GRADES = {("accepted", ""): 3.0, ("declined", "skill"): 0.0}
#: One answer says less than a judgement made with care.
_BASE_WEIGHT = 0.5
_MAX_INVERSE_PROPENSITY = 3.0

_FORGOTTEN = "[forgotten]"
#: What a line says that is nobody's words: `forget` reads the rest.
_FIXED = ("schema", "time", "project", "profile", "answer", "reason", "model", "rank")
_CONTROL = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f\ud800-\udfff]")


@dataclass(frozen=True, slots=True)
class Answer:
    """What was answered to one suggestion. ``time`` is UTC, ISO 8601; ``row`` its line, 0 if not read."""

    project: str
    profile: str
    answer: str
    reason: str = ""
    note: str = ""
    model: str = ""
    rank: int | None = None
    time: str = ""
    row: int = 0
    question: str = ""

    def content(self) -> Answer:
        """The same without when and where it was written."""
        return replace(self, time="", row=0)

    def as_dict(self) -> dict[str, object]:
        """Its line in the file."""
        return {
            "schema": SCHEMA,
            "time": self.time,
            "project": self.project,
            "profile": self.profile,
            "answer": self.answer,
            "reason": self.reason,
            "note": self.note,
            "model": self.model,
            "rank": self.rank,
            **({"question": self.question} if self.question else {}),
        }


class Label(NamedTuple):
    """What training learns from an answer: ``grade`` 0 to 3 as in judgements, ``weight`` 0.5 to 1.5.

    ``question``: the text that was asked, where it was no project of the workspace.
    """

    project: str
    profile: str
    grade: float
    weight: float
    question: str = ""


def question_id(text: str) -> str:
    """The id under which answers to a typed question are kept: the same for the same words."""
    plain = " ".join(text.split())
    return "text-" + hashlib.blake2b(plain.encode("utf-8", "replace"), digest_size=6).hexdigest()


# Writing


def add(
    path: Path,
    project: str,
    profile: str,
    answer: str,
    *,
    reason: str = "",
    note: str = "",
    model: str = "",
    rank: int | None = None,
    time: str = "",
    question: str = "",
) -> Answer:
    """Append one answer, synced, safe beside other writers; ``time`` is now by default.

    ``question``: the text that was asked, where it was no project; ``project`` is then made of it.

    Raises ``UsageError`` with everything wrong in it, ``DataError`` where the file can't be written.
    """
    asked = question_id(question) if question.strip() else project
    values: dict[str, object] = {"project": asked, "profile": profile, "answer": answer, "reason": reason, "note": note}
    values |= {"model": model, "rank": rank, "time": time or now(), "question": question}
    made, problems = _parse(values, path.name)
    if made is None:
        said = "; ".join(f"{p.column} {p.problem}" for p in problems)
        remedies = "; ".join(dict.fromkeys(f"{p.column}: {p.remedy}" for p in problems))
        raise UsageError(f"The answer can't be kept: {said}.", f"{remedies}.", problems)
    _append(path, [made])
    return made


def import_rows(
    path: Path,
    rows: Iterable[tuple[int, Mapping[str, object]]],
    file: str,
    known: Mapping[str, Container[str]] | None = None,
) -> list[Answer]:
    """Append the answers of a table: ``rows`` are row numbers and cells by column name (``COLUMNS``).

    ``known``: the ids that ``project`` and ``profile`` may be; any where they are not given.

    Returns what was added: a row that repeats an answer on record is passed over, so a file may be imported
    twice. Raises ``DataError`` with every problem of every row, naming ``file``; then nothing is added.
    """
    table = [(n, _by_field(cells)) for n, cells in rows if any(map(_filled, cells.values()))]
    problems = _missing_columns(table, file) if table else []
    parsed: list[tuple[Answer, bool]] = []
    for number, cells in [] if problems else table:
        timed = _filled(cells.get("time"))
        answer, wrong = _parse(cells if timed else {**cells, "time": now()}, file, number)
        problems += wrong
        if answer is not None:
            problems += _unknown_ids(answer, known or {}, file, number)
            parsed.append((replace(answer, row=0), timed))
    if problems:
        raise DataError(
            f"{file} has {len(problems)} problem(s); nothing was imported.",
            "Mend the cells listed, then import it again.",
            problems,
        )
    new = _unknown(parsed, read(path)[0])
    _append(path, new)
    return new


def _unknown_ids(answer: Answer, known: Mapping[str, Container[str]], file: str, row: int) -> list[Problem]:
    """Such an answer would teach nothing, and could bring back the id of somebody who was forgotten."""
    remedy = "mend the id, or leave the row out"
    given = {"project": answer.project, "profile": answer.profile}
    return [
        Problem(file, f"is no {name} of this workspace", remedy, row, name, value)
        for name, value in given.items()
        if name in known and value not in known[name]
    ]


def forget(path: Path, profile_id: str, names: Sequence[str] = ()) -> int:
    """Erase a person in one step: their answers go; where other notes name them, the id (or name) is blanked.

    A line that can't be read and names them goes too. Returns how many lines changed or went. A killed
    process leaves the old file or the new one. Raises ``DataError`` where the file can't be written.
    """
    path = path.resolve()
    person = Person(profile_id, names)
    with told(path):
        if not path.exists():
            return 0
        with locked_file(path):
            beside(path).unlink(missing_ok=True)  # of one that was killed
            old: list[bytes] = re.findall(rb"[^\n]*\n|[^\n]+", path.read_bytes())
            new = [person.taken_out(line) for line in old]
            changed = sum(a != b for a, b in zip(old, new, strict=True))
            if changed:
                replace_file(path, b"".join(new))
    return changed


def _append(path: Path, answers: Sequence[Answer]) -> None:
    path = path.resolve()
    with told(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        append_json(path, [answer.as_dict() for answer in answers])


def _unknown(parsed: Sequence[tuple[Answer, bool]], known: Sequence[Answer]) -> list[Answer]:
    """Those not on record: same content at the same time or, where no time was given, as the last word."""
    exact = {replace(answer, row=0) for answer in known}
    last = {pair: answer.content() for pair, answer in _last_words(known).items()}
    new = []
    for answer, timed in parsed:
        pair = answer.project, answer.profile
        if answer in exact if timed else last.get(pair) == answer.content():
            continue
        exact.add(answer)
        last[pair] = answer.content()
        new.append(answer)
    return new


# Reading


def read(path: Path) -> tuple[list[Answer], list[Problem]]:
    """Every answer in the order of the file, and every line that is none. No file: nothing.

    A last line left unfinished by a killed writer is a warning: the next ``add`` removes it. Raises
    ``DataError`` where the file can't be opened.
    """
    with told(path):
        try:
            lines = path.read_bytes().removeprefix(b"\xef\xbb\xbf").split(b"\n")
        except FileNotFoundError:
            return [], []
    answers, problems = [], []
    for number, line in enumerate(lines, 1):
        if not line.strip(b" \t\r\0"):
            continue
        answer, wrong = _parse_line(line, path.name, number, last=number == len(lines))
        problems += wrong
        if answer is not None:
            answers.append(answer)
    return answers, problems


def labels(answers: Iterable[Answer]) -> list[Label]:
    """What the last word on each pair of project and person teaches, ordered by their ids.

    Accepted: grade 3. Declined for want of skill: grade 0. Declined for workload or anything else says
    nothing of the person's skill: no label. Weight: 0.5 times the inverse propensity of having been looked
    at (Joachims et al. 2017, "Unbiased learning-to-rank with biased feedback"), with propensity ``1 /
    log2(rank + 1)`` and the inverse capped at 3: an answer about somebody far down the list was rarer to
    get, and tells more. An unknown rank counts as the first.
    """
    found = []
    for (project, profile), answer in sorted(_last_words(answers).items()):
        grade = _GRADES.get((answer.answer, answer.reason))
        if grade is not None:
            inverse = min(_MAX_INVERSE_PROPENSITY, math.log2((answer.rank or 1) + 1))
            found.append(Label(project, profile, grade, _BASE_WEIGHT * inverse, answer.question))
    return found


def _last_words(answers: Iterable[Answer]) -> dict[tuple[str, str], Answer]:
    in_order = sorted(answers, key=lambda answer: (answer.time, answer.row))
    return {(answer.project, answer.profile): answer for answer in in_order}


def _parse_line(line: bytes, file: str, row: int, last: bool) -> tuple[Answer | None, list[Problem]]:
    try:
        values = json.loads(line)
    except (ValueError, RecursionError):
        shown = line.decode("utf-8", "replace").strip()
        if last:
            remedy = "it is left out; the next answer recorded takes its place"
            return None, [Problem(file, "is not finished", remedy, row, value=shown, severity="warning")]
        return None, [Problem(file, "is not JSON", "mend the line, or delete it", row, value=shown)]
    if not isinstance(values, dict) or not str(values.get("schema", "")).startswith("skillmatch.feedback/"):
        remedy = f'start it with {{"schema": "{SCHEMA}", or delete it'
        return None, [Problem(file, "is not an answer to a suggestion", remedy, row)]
    if values["schema"] != SCHEMA:
        said = str(values["schema"])
        remedy = "it is left out; upgrade skillmatch to use it"
        return None, [Problem(file, "is of a newer schema", remedy, row, "schema", said, "warning")]
    return _parse(values, file, row)


# One answer: field by field, all problems at once


class _FieldError(ValueError):
    def __init__(self, problem: str, remedy: str) -> None:
        super().__init__(problem)
        self.problem, self.remedy = problem, remedy


def _parse(values: Mapping[str, object], file: str, row: int | None = None) -> tuple[Answer | None, list[Problem]]:
    fields: dict[str, Any] = {}
    problems = []
    for name, read_value in _READERS.items():
        value = values.get(name)
        try:
            fields[name] = read_value(value)
        except _FieldError as wrong:
            shown = None if value is None else str(value).encode(errors="replace").decode()
            problems.append(Problem(file, wrong.problem, wrong.remedy, row, name, shown))
    if fields.get("answer") == "accepted" and fields.get("reason"):
        remedy = "leave it empty, or write it as a note"
        problems.append(Problem(file, "is for refusals only", remedy, row, "reason", fields["reason"]))
    return (None if problems else Answer(**fields, row=row or 0)), problems


def _text(value: object) -> str:
    if not _filled(value):
        return ""
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        raise _FieldError("is not text", "write it as text")
    whole = isinstance(value, float) and value.is_integer()
    return str(int(value) if whole else value).strip()  # a spreadsheet's 12 is 12.0


def _ident(value: object) -> str:
    text = _prose(value)
    if not text:
        raise _FieldError("is missing", "write the id")
    try:
        return Judgement(text, text, 0).profile_id  # the one rule of what an id is
    except ValueError:
        raise _FieldError("is no id", "write an id of at most 100 ordinary characters") from None


def _one_of(choices: Mapping[str, Sequence[str]], value: object) -> str:
    said = _key(_text(value))
    for choice, others in choices.items():
        if said == choice or said in map(_key, others):
            return choice
    names = ", ".join(choice for choice in choices if choice)
    raise _FieldError("is missing" if not said else "is not one of the choices", f"write one of: {names}")


def _prose(value: object, limit: int = MAX_TEXT) -> str:
    text = _text(value)
    if _CONTROL.search(text):
        raise _FieldError("holds characters that are no text", "write it again, without them")
    if len(text) > limit:
        raise _FieldError(f"has {len(text)} characters", f"write at most {limit}")
    return text


def _rank(value: object) -> int | None:
    text = _text(value)
    if not text:
        return None
    if not re.fullmatch(r"[0-9]{1,9}", text) or int(text) < 1:
        raise _FieldError("is not a rank", "write a whole number from 1, or leave it empty")
    return int(text)


def _time(value: object) -> str:
    """UTC to the second. A time without zone is UTC, a day is its first second."""
    if isinstance(value, date):  # a spreadsheet's cell; a datetime is one too
        value = value.isoformat()
    try:
        moment = datetime.fromisoformat(_text(value))
        moment = moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)
    except (ValueError, OverflowError):
        raise _FieldError("is not a time", "write it like 2026-11-20 or 2026-11-20T09:30:00Z") from None
    return moment.isoformat(timespec="seconds").replace("+00:00", "Z")


_READERS = {
    "project": _ident,
    "profile": _ident,
    "answer": lambda value: _one_of(_ANSWERS, value),
    "reason": lambda value: _one_of(_REASONS, value),
    "note": _prose,
    "model": lambda value: _prose(value, MAX_NAME),
    "rank": _rank,
    "time": _time,
    "question": _prose,
}


# Tables


def _key(text: str) -> str:
    """Lower case, no accents, single spaces for all that separates words."""
    plain = unicodedata.normalize("NFKD", text.casefold())
    return " ".join("".join(c for c in plain if not unicodedata.combining(c)).replace("_", " ").split())


_FIELDS = {_key(alias): field for field, others in COLUMNS.items() for alias in (field, *others)}


def _by_field(cells: Mapping[str, object]) -> dict[str, object]:
    """Cells by field; of two columns of one field, the first that is filled."""
    found: dict[str, object] = {}
    for column, value in cells.items():
        field = _FIELDS.get(_key(column))
        if field and not _filled(found.get(field)):
            found[field] = value
    return found


def _filled(value: object) -> bool:
    return value is not None and value == value and str(value).strip() != ""  # NaN is an empty cell


def _missing_columns(table: Sequence[tuple[int, Mapping[str, object]]], file: str) -> list[Problem]:
    present = {field for _, cells in table for field in cells}
    remedy = f"the table needs the columns {', '.join(_REQUIRED)}"
    return [Problem(file, "is missing", remedy, column=f) for f in _REQUIRED if f not in present]


# Erasing


class Person:
    """Who is to be forgotten, and how to take them out of a line."""

    def __init__(self, profile_id: str, names: Sequence[str]) -> None:
        self.id = " ".join(profile_id.split())
        words = [r"\s+".join(map(re.escape, word.split())) for word in (profile_id, *names) if word.strip()]
        self.pattern = re.compile(rf"(?<!\w)(?:{'|'.join(words)})(?!\w)", re.IGNORECASE)

    def is_id(self, text: str) -> bool:
        """Whether ``text`` is their id, spaces apart."""
        return " ".join(text.split()) == self.id

    def blanked(self, value: object) -> object:
        """A value without their id and names."""
        return self._cleaned(value)

    def taken_out(self, line: bytes) -> bytes:
        """The line without them; empty if it was theirs, the same if it doesn't name them."""
        try:
            values = json.loads(line)
        except (ValueError, RecursionError):
            values = None
        if not isinstance(values, dict):
            return b"" if self.pattern.search(_unescaped(line)) else line
        if self.is_id(str(values.get("profile", ""))):
            return b""
        clean = {key: value if key in _FIXED else self._cleaned(value) for key, value in values.items()}
        if clean == values:
            return line
        return (json.dumps(clean, ensure_ascii=False) + "\n").encode(errors="backslashreplace")

    def _cleaned(self, value: object) -> object:
        if isinstance(value, str):
            return self.pattern.sub(_FORGOTTEN, value)
        return None if self.pattern.search(_unescaped(json.dumps(value).encode())) else value


def _unescaped(line: bytes) -> str:
    """The text of a JSON line as far as word boundaries go, whole or broken."""
    text = line.decode("utf-8", "replace")
    text = re.sub(r"\\u([0-9a-fA-F]{4})", lambda match: chr(int(match[1], 16)), text)
    return re.sub(r"\\.", " ", text)


@contextmanager
def told(path: Path) -> Iterator[None]:
    """Turn ``OSError`` into ``DataError`` naming the path."""
    try:
        yield
    except OSError as error:
        raise DataError(
            f"{path}: {error.strerror or error}.",
            "Check that disk, and who may read and write the file, then try again.",
        ) from error
