"""A plan as the sheets of a workbook: the plan, one for each lab, the gaps. Columns are the same in every language."""

from __future__ import annotations

import re
from typing import TypeAlias

from . import plan_figures
from .content import clean
from .data import Rows
from .plans import Planned, assignment_rows

#: What no sheet may have in its name, and how long one may be, in units of UTF-16.
_REFUSED = re.compile(r"[\[\]:*?/\\]")
_LONGEST = 31
_LAB = ("profile_id", "name", "family", "projects", "role", "project_id", "title", "project_lab", "score", "covers")
_GAPS = ("project_id", "title", "lab", "need_id", "need", "must", "hard_rule", "reason")
_NOTHING = [(None,) * 6]
#: person -> (role, project, title, its lab, score, covers) of each of their projects
Doings: TypeAlias = dict[str, list[tuple[object, ...]]]


def plan_sheets(plan: Planned) -> list[tuple[str, Rows]]:
    """(name, rows) of each sheet, in order."""
    taken = {"plan", "gaps", "history"}  # spreadsheets keep the last for themselves
    sheets = [("plan", _plan(plan))]
    does = _doings(plan)
    labs = sorted({person.lab or "" for person in plan.people.values()})
    sheets += [(sheet_name(lab or "no lab", taken), _lab(plan, lab, does)) for lab in labs]
    return [*sheets, ("gaps", _holes(plan))]


def sheet_name(text: str, taken: set[str]) -> str:
    """``text`` as a name that spreadsheets accept and that is not in ``taken`` (small letters), where it is added."""
    name = _cut(_REFUSED.sub("_", clean(text)).strip("' "), _LONGEST) or "lab"
    tried, number = name, 1
    while tried.casefold() in taken:
        number += 1
        end = f" ({number})"
        tried = _cut(name, _LONGEST - len(end)) + end
    taken.add(tried.casefold())
    return tried


def _cut(text: str, longest: int) -> str:
    while len(text.encode("utf-16-le")) > 2 * longest:
        text = text[:-1]
    return text.strip("' ")


def _plan(plan: Planned) -> Rows:
    columns, rows = assignment_rows(plan)
    titles = {p["project"]: p.get("title") for p in plan["projects"]}
    return Rows((columns[0], "title", *columns[1:]), tuple((row[0], titles.get(str(row[0])), *row[1:]) for row in rows))


def _doings(plan: Planned) -> Doings:
    does: Doings = {}
    for role, key in (("member", "members"), ("alternate", "alternates")):
        for project in plan["projects"]:
            about = (project["project"], project.get("title"), project.get("lab"))
            for person in project[key]:
                row = (role, *about, person["score"], person.get("covers"))
                does.setdefault(person["profile"], []).append(row)
    return does


def _lab(plan: Planned, lab: str, does: Doings) -> Rows:
    """The people of a lab: a row for each of their projects; who has none is there all the same."""
    rows: list[tuple[object, ...]] = []
    for who, person in sorted(plan.people.items()):
        if (person.lab or "") == lab:
            head = (who, person.name, person.family, plan["loads"].get(who, 0))
            rows += [(*head, *row) for row in does.get(who, _NOTHING)]
    return Rows(_LAB, tuple(rows))


def _holes(plan: Planned) -> Rows:
    rows = []
    for hole in plan_figures.holes(plan, "en"):
        need = hole.need or {}
        project = hole.project
        about = (project["project"], project.get("title"), project.get("lab"))
        rows.append((*about, need.get("id"), need.get("text"), need.get("must"), hole.hard, hole.why or None))
    return Rows(_GAPS, tuple(rows))
