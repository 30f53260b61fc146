"""Results as plain data: the JSON contract, and the rows of CSV and XLSX."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import date
from importlib import resources
from typing import Any, NamedTuple

from ..errors import UsageError
from ..records import Match, Reason, Suggestion
from . import plans
from .content import UNSAFE, Objects, Result, Table

#: schema name -> its file in the package
SCHEMAS = {
    "skillmatch.suggestion/1": "suggestion-1.json",
    "skillmatch.error/1": "error-1.json",
    "skillmatch.skills/1": "skills-1.json",
    "skillmatch.assignment/1": "assignment-1.json",
    "skillmatch.team/1": "team-1.json",
    "skillmatch.gaps/1": "gaps-1.json",
    "skillmatch.concept/1": "concept-1.json",
    "skillmatch.unmatched/1": "unmatched-1.json",
    "skillmatch.import/1": "import-1.json",
    "skillmatch.undo/1": "undo-1.json",
}
MATCH_COLUMNS = (
    "project_id",
    "rank",
    "profile_id",
    "name",
    "lab",
    "family",
    "score",
    "cross_lab",
    "need_id",
    "need",
    "need_score",
    "evidence",
    "source",
)
GAP_COLUMNS = ("project_id", "need_id", "need", "best_score", "closest", "source")
_UNSAFE_IN_JSON = re.compile(f"(?!\n)[{UNSAFE}\u2028\u2029]")


class Rows(NamedTuple):
    """What CSV and XLSX hold; the columns are the same in every language."""

    columns: tuple[str, ...]
    rows: tuple[tuple[object, ...], ...]


def load_schema(name: str) -> dict[str, Any]:
    """The JSON Schema (2020-12) of a contract by its name (``skillmatch.error/1``). Raises ``UsageError``."""
    if name not in SCHEMAS:
        raise UsageError(f"There is no schema '{name}'.", f"Use one of: {', '.join(SCHEMAS)}.")
    text = resources.files("skillmatch").joinpath(f"schemas/{SCHEMAS[name]}").read_text("utf-8")
    schema: dict[str, Any] = json.loads(text)
    return schema


def suggestion_dict(s: Suggestion) -> dict[str, Any]:
    """The ``skillmatch.suggestion/1`` object, scores unrounded, plus ``raw`` and ``thin`` of every match."""
    return {
        "schema": "skillmatch.suggestion/1",
        "model": s.model,
        "project": {
            "id": s.project.id,
            "title": s.project.title,
            "lab": s.project.lab,
            "needs": [
                {"id": n.id, "text": n.text, "skill": n.skill, "weight": _whole(n.weight), "must": n.must}
                for n in s.project.needs
            ],
        },
        "matches": [_match_dict(match) for match in s.matches],
        "gaps": [{"need": gap.need, "best_score": float(gap.best_score)} for gap in s.gaps],
        "abstained": bool(s.abstained),
    }


def _match_dict(match: Match) -> dict[str, Any]:
    who = match.profile
    return {
        "rank": int(match.rank),
        "profile": {"id": who.id, "name": who.name, "lab": who.lab, "family": who.family},
        "score": float(match.score),
        "raw": float(match.raw),
        "cross_lab": bool(match.cross_lab),
        "thin": bool(match.thin),
        "needs": [_reason_dict(reason) for reason in match.needs],
    }


def _reason_dict(reason: Reason) -> dict[str, Any]:
    proof = reason.evidence
    evidence = None if proof is None else {"text": proof.text, "kind": proof.kind, "source": proof.source}
    return {"need": reason.need, "score": float(reason.score), "evidence": evidence}


def _whole(number: float) -> int | float:
    return int(number) if float(number).is_integer() else float(number)


def plain(value: Any) -> Any:
    """``value`` as JSON knows it: dates as ISO texts, NaN and infinity as null, the rest as text."""
    if value is None or isinstance(value, str | bool | int):
        return value
    if isinstance(value, float):
        return float(value) if math.isfinite(value) else None
    if isinstance(value, Suggestion):
        return plain(suggestion_dict(value))
    if isinstance(value, Table):
        return [{c: plain(v) for c, v in zip(value.columns, row, strict=True)} for row in value.rows]
    if isinstance(value, Mapping):
        return {str(k): plain(v) for k, v in value.items()}
    if isinstance(value, date):
        return value.isoformat()
    if isinstance(value, Iterable):
        return [plain(v) for v in value]
    return plain(value.item()) if hasattr(value, "item") else str(value)


def to_json(value: Any, indent: int | None = None) -> str:
    """JSON text in UTF-8, with every character that could steer a terminal written as an escape."""
    text = json.dumps(plain(value), ensure_ascii=False, indent=indent, allow_nan=False)
    return _UNSAFE_IN_JSON.sub(_json_escape, text)


def _json_escape(match: re.Match[str]) -> str:
    return json.dumps(match.group())[1:-1]


def to_jsonl(result: Result) -> str:
    """One line of JSON for every suggestion, object or row."""
    data = plain(result)
    return "".join(to_json(entry) + "\n" for entry in (data if isinstance(data, list) else [data]))


def sort_out(result: Result) -> tuple[list[Suggestion] | None, Objects]:
    """A result as suggestions, or else (None) as what it is."""
    if isinstance(result, Suggestion):
        return [result], ()
    if isinstance(result, Table | Mapping):
        return None, result
    suggestions = [s for s in result if isinstance(s, Suggestion)]
    if len(suggestions) == len(result):
        return suggestions, ()
    return None, [entry for entry in result if isinstance(entry, Mapping)]


def rows_of(result: Result) -> Rows:
    """A result as rows for CSV and XLSX."""
    suggestions, other = sort_out(result)
    if suggestions is None:
        return _object_rows(other)
    return Rows(MATCH_COLUMNS, tuple(row for s in suggestions for row in _match_rows(s)))


def _match_rows(s: Suggestion) -> list[tuple[object, ...]]:
    texts = {need.id: need.text for need in s.project.needs}
    rows: list[tuple[object, ...]] = []
    for match in s.matches:
        who = match.profile
        person = (s.project.id, match.rank, who.id, who.name, who.lab, who.family)
        scored = (*person, match.score, match.cross_lab)
        for reason in match.needs:
            proof = (reason.evidence.text, reason.evidence.source) if reason.evidence else (None, None)
            rows.append((*scored, reason.need, texts.get(reason.need), reason.score, *proof))
        if not match.needs:
            rows.append((*scored, None, None, None, None, None))
    return rows or [(s.project.id, *[None] * (len(MATCH_COLUMNS) - 1))]


def gap_rows(suggestions: Sequence[Suggestion]) -> Rows:
    """What nobody covers, a row for each need of each project."""
    rows: list[tuple[object, ...]] = []
    for s in suggestions:
        texts = {need.id: need.text for need in s.project.needs}
        for gap in s.gaps:
            proof = (gap.closest.text, gap.closest.source) if gap.closest else (None, None)
            rows.append((s.project.id, gap.need, texts.get(gap.need), gap.best_score, *proof))
    return Rows(GAP_COLUMNS, tuple(rows))


def _object_rows(result: Objects) -> Rows:
    if isinstance(result, Table):
        return Rows(result.columns, result.rows)
    if isinstance(result, Mapping):
        return _ROWS.get(str(result.get("schema")), _field_rows)(result)
    tables = [_object_rows(entry) for entry in result]
    columns = tuple(dict.fromkeys(c for table in tables for c in table.columns))
    rows = tuple(
        tuple(dict(zip(table.columns, row, strict=True)).get(c) for c in columns)
        for table in tables
        for row in table.rows
    )
    return Rows(columns, rows)


def _field_rows(entry: Mapping[str, Any]) -> Rows:
    return Rows(("field", "value"), tuple((k, v) for k, v in entry.items() if k != "schema"))


def _error_rows(entry: Mapping[str, Any]) -> Rows:
    columns = ("file", "row", "column", "value", "problem", "remedy")
    error = entry["error"]
    rows = tuple(tuple(p[c] for c in columns) for p in error["problems"])
    # A file of rows must hold the message even where no row of data is to blame.
    return Rows(columns, rows or ((None, None, None, None, error["message"], error["hint"]),))


def _skill_rows(entry: Mapping[str, Any]) -> Rows:
    columns = ("id", "label", "label_fr", "uri", "source", "score")
    rows = tuple((entry["text"], *(skill.get(c) for c in columns)) for skill in entry["skills"])
    return Rows(("text", *columns), rows or ((entry["text"], *[None] * len(columns)),))


def _planned(build: Callable[[Mapping[str, Any]], Any]) -> Callable[[Mapping[str, Any]], Rows]:
    return lambda entry: Rows(*build(entry))


_ROWS = {
    "skillmatch.error/1": _error_rows,
    "skillmatch.skills/1": _skill_rows,
    "skillmatch.assignment/1": _planned(plans.assignment_rows),
    "skillmatch.team/1": _planned(plans.team_rows),
    "skillmatch.gaps/1": _planned(plans.gap_rows),
}
