"""What has no page of its own (batches, assignments, linked skills, errors), as tables for people to read."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ..records import Suggestion
from . import plans
from .content import Objects, Table, answer, clean, concept_label, percent
from .language import tr

#: How many people the overview of a batch names for one project.
_BEST = 3


def heading(column: str, lang: str) -> str:
    """A column's heading for people: translated, without the underscores of data files."""
    return clean(tr(column, lang)).replace("_", " ")


def table_of(result: Objects, lang: str) -> Table:
    """A result that is no suggestion, as a table in ``lang``; several objects of one kind make one table."""
    if isinstance(result, Table):
        return result
    entries = [result] if isinstance(result, Mapping) else list(result)
    schemas = {str(entry.get("schema")) for entry in entries}
    build = _TABLES.get(schemas.pop(), _fields) if len(schemas) == 1 else _fields
    return build(entries, lang)


def overview(suggestions: Sequence[Suggestion], lang: str) -> Table:
    """One row a project: the best people, and what nobody covers."""
    rows = []
    for s in suggestions:
        said = answer(s, lang, {})
        best = [
            f"{p.who}{', ' + m.profile.lab if m.profile.lab else ''} {percent(m.score, lang)}"
            for p, m in zip(said.people[:_BEST], s.matches, strict=False)
        ]
        texts = {need.id: need.text for need in said.needs}
        gaps = [f"{clean(gap.need)} {texts.get(clean(gap.need), '')}".strip() for gap in s.gaps]
        people = best if best and not s.abstained else [tr("nobody", lang), *best]
        rows.append((f"{said.id} {said.title}", tuple(people), tuple(gaps)))
    found = sum(1 for s in suggestions if s.matches and not s.abstained)
    note = tr("People were found for {found} of {all} projects.", lang, found=found, all=len(suggestions))
    return Table(tr("Suggestions", lang), ("project", "best people", "nobody covers"), tuple(rows), (note,))


def _fields(entries: Sequence[Mapping[str, Any]], lang: str) -> Table:
    rows = tuple((k, v) for entry in entries for k, v in entry.items() if k != "schema")
    return Table("", ("field", "value"), rows)


def _errors(entries: Sequence[Mapping[str, Any]], lang: str) -> Table:
    rows = []
    for problem in (problem for entry in entries for problem in entry["error"]["problems"]):
        place = problem["file"] if problem["row"] is None else f"{problem['file']}:{problem['row']}"
        if problem["column"] is not None:
            place += f" [{problem['column']}]"
        rows.append((place, problem["value"], problem["problem"], problem["remedy"]))
    said = [entry["error"] for entry in entries]
    hints = tuple(tr(error["hint"], lang) for error in said if error["hint"])
    title = " ".join(tr(error["message"], lang) for error in said)
    return Table(title, ("place", "value", "problem", "remedy") if rows else (), tuple(rows), hints)


def _skills(entries: Sequence[Mapping[str, Any]], lang: str) -> Table:
    rows: list[tuple[object, ...]] = []
    for entry in entries:
        for skill in entry["skills"]:
            own = {skill["id"]: (skill.get("label") or "", skill.get("label_fr") or "")}
            label = concept_label(skill["id"], lang, own)
            rows.append((entry["text"], label, skill["id"], percent(skill["score"], lang)))
        if not entry["skills"]:
            rows.append((entry["text"], tr("no known skill", lang), None, None))
    return Table(tr("Linked skills", lang), ("text", "skill", "id", "score"), tuple(rows))


_TABLES = {
    "skillmatch.error/1": _errors,
    "skillmatch.skills/1": _skills,
    "skillmatch.assignment/1": plans.assignments,
    "skillmatch.team/1": plans.teams,
    "skillmatch.gaps/1": plans.gaps,
}
