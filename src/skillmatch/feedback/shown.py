"""What was suggested, where the setting ``retention`` asks for it to be kept: an append-only file of JSON lines.

One line a suggestion, in ``data/suggestions.jsonl``::

    {"schema": "skillmatch.shown/1", "time": "2026-11-20T09:30:00Z", "model": "v0123456789ab", "project": "P12",
     "question": "", "shown": ["S07", "S22"]}

``shown`` holds ids in the order of their ranks; null stands for somebody who was erased since. By it an answer finds
the version and the rank at which a person was shown. A line older than ``retention`` days goes with the next one that
is written, and with every training.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from ..store import append_json, beside, locked_file, now, replace_file
from .answers import Person, told

SHOWN_SCHEMA = "skillmatch.shown/1"
#: A thousand years: dates go no further back.
_MOST_DAYS = 365_000


@dataclass(frozen=True, slots=True)
class Shown:
    """One suggestion: ``people`` by rank, None where somebody was erased. ``time`` is UTC, ISO 8601."""

    time: str
    model: str
    project: str
    question: str
    people: tuple[str | None, ...]

    def rank(self, profile: str) -> int | None:
        """Where this person stood, from 1; None where they were not shown."""
        return self.people.index(profile) + 1 if profile in self.people else None


def log_shown(
    path: Path, entries: Sequence[tuple[str, str, str, Sequence[str]]], days: int, time: str | None = None
) -> None:
    """Append suggestions as (model, project id, question, ids by rank), and drop what is older than ``days``.

    Raises ``DataError`` where the file can't be written.
    """
    path = path.resolve()
    stamp = time or now()
    lines = [
        {"schema": SHOWN_SCHEMA, "time": stamp, "model": model, "project": project, "question": question}
        | {"shown": list(people)}
        for model, project, question, people in entries
    ]
    with told(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        append_json(path, lines)
    expire(path, days)


def read_shown(path: Path) -> list[Shown]:
    """Every suggestion on record, oldest first; lines that are none are passed over. No file: nothing."""
    with told(path):
        try:
            lines = path.read_bytes().split(b"\n")
        except FileNotFoundError:
            return []
    return [entry for line in lines if (entry := _parse(line)) is not None]


def last_shown(path: Path, project: str, profile: str) -> Shown | None:
    """The latest suggestion for this project (or question id) in which this person was shown."""
    found = [s for s in read_shown(path) if s.project == project and s.rank(profile) is not None]
    return found[-1] if found else None


def expire(path: Path, days: int, today: datetime | None = None) -> int:
    """Erase suggestions older than ``days``, all of them at 0. Returns how many lines went.

    A killed process leaves the old file or the new one.
    """
    path = path.resolve()
    limit = (today or datetime.now(UTC)) - timedelta(days=min(days, _MOST_DAYS))
    oldest = limit.isoformat(timespec="seconds").replace("+00:00", "Z")
    with told(path):
        if not path.exists():
            return 0
        with path.open("rb") as file:
            first = _parse(file.readline())
        if days and first is not None and first.time >= oldest:
            return 0  # lines are in the order of time
        with locked_file(path):
            beside(path).unlink(missing_ok=True)  # of one that was killed
            lines = path.read_bytes().splitlines(keepends=True)
            kept = [line for line in lines if days and (s := _parse(line)) is not None and s.time >= oldest]
            if len(kept) < len(lines):
                replace_file(path, b"".join(kept))
        return len(lines) - len(kept)


def forget_shown(path: Path, profile_id: str, names: Sequence[str] = ()) -> int:
    """Erase a person from every suggestion on record; the ranks of the others stay. Returns how many lines changed.

    A line that is none goes, if it names them. A killed process leaves the old file or the new one.
    """
    path = path.resolve()
    person = Person(profile_id, names)
    with told(path):
        if not path.exists():
            return 0
        with locked_file(path):
            beside(path).unlink(missing_ok=True)
            old = path.read_bytes().splitlines(keepends=True)
            new = [_without(line, person) for line in old]
            changed = sum(a != b for a, b in zip(old, new, strict=True))
            if changed:
                replace_file(path, b"".join(new))
    return changed


def _without(line: bytes, person: Person) -> bytes:
    values = _values(line)
    if values is None:
        return person.taken_out(line)
    people = [None if isinstance(p, str) and person.is_id(p) else p for p in values["shown"]]
    clean = values | {"shown": people, "question": person.blanked(values.get("question", ""))}
    if clean == values:
        return line
    return (json.dumps(clean, ensure_ascii=False) + "\n").encode(errors="backslashreplace")


def _values(line: bytes) -> dict[str, Any] | None:
    try:
        values = json.loads(line)
    except (ValueError, RecursionError):
        return None
    good = isinstance(values, dict) and values.get("schema") == SHOWN_SCHEMA and isinstance(values.get("shown"), list)
    return values if good else None


def _parse(line: bytes) -> Shown | None:
    values = _values(line)
    if values is None:
        return None
    people = tuple(p if isinstance(p, str) else None for p in values["shown"])
    time, model, project, question = (str(values.get(k, "")) for k in ("time", "model", "project", "question"))
    return Shown(time, model, project, question, people)
