"""A plan as one HTML page with pictures: who works on what, coverage, loads, links between labs, gaps."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from . import plan_figures, plan_pictures
from .content import clean, shorten
from .html import page
from .language import tr
from .plan_figures import HeatMap, Hole
from .plans import Entry, Planned, plan_notes, topic_of

_SHOWN = 100
#: How many of those who could cover a need are named.
_OTHERS = 3
Shown = dict[str, Any]


def plan_page(plan: Planned, lang: str) -> str:
    """The whole page of a plan, which asks for nothing else."""
    return page(
        "plan",
        tr("Who works on what", lang),
        lang,
        model=clean(str(plan["model"])),
        facts=list(_facts(plan, lang)),
        notes=list(plan_notes(plan, lang)),
        projects=[_project(p, plan, lang) for p in plan["projects"]],
        **_coverage(plan, lang),
        **_loads(plan, lang),
        **_links(plan, lang),
        **_holes(plan, lang),
    )


def _facts(plan: Planned, lang: str) -> Iterator[tuple[str, str]]:
    needs = sum(len(p["needs"]) for p in plan["projects"])
    missing = sum(len(p["uncovered"]) for p in plan["projects"])
    found = plan_figures.links(plan)
    yield tr("Projects", lang), str(len(plan["projects"]))
    yield tr("People with a project", lang), _of(len(plan["loads"]), len(plan.people))
    yield tr("Needs covered", lang), _of(needs - missing, needs)
    yield tr("Places that go to another lab", lang), _of(_across(found), found.total())


def _of(some: int, every: int) -> str:
    return f"{some}\u00a0/\u00a0{every}"


def _project(project: Entry, plan: Planned, lang: str) -> Shown:
    topics = {n["id"]: topic_of(n, lang, plan.labels) for n in project["needs"]}
    return _named(project) | {
        "lab": clean(project.get("lab") or ""),
        "coverage": project["coverage"],
        "members": [
            {
                "name": _who(plan, m["profile"]),
                "lab": clean(m["lab"] or ""),
                "cross_lab": m["cross_lab"],
                "covers": list(dict.fromkeys(topics[i] for i in m["covers"])),
            }
            for m in project["members"]
        ],
        "alternates": [_who(plan, a["profile"]) for a in project["alternates"]],
        "uncovered": list(dict.fromkeys(topics[i] for i in project["uncovered"])),
    }


# --- the parts with pictures ------------------------------------------------------------------------------


def _coverage(plan: Planned, lang: str) -> Shown:
    maps = plan_figures.heat_maps(plan)
    drawn = sum(len(lines) for heat in maps for _, lines in heat.groups)
    lines = list(_lines(plan, lang)) if maps else []
    shown = [
        (_caption(heat, lang), plan_pictures.heat_picture(plan, heat, n, lang)) for n, heat in enumerate(maps, start=1)
    ]
    return {"maps": shown, "lines": lines, "left_out": drawn < len(lines)}


def _caption(heat: HeatMap, lang: str) -> str:
    ids = [clean(str(project["project"])) for project, _ in heat.groups]
    if len(ids) == 1:
        return tr("Project {id}", lang, id=ids[0])
    return tr("Projects {first} to {last}", lang, first=ids[0], last=ids[-1])


def _lines(plan: Planned, lang: str) -> Iterator[Shown]:
    """Every need, with everybody above the bar: those of the team, and the others, best first."""
    for project in plan["projects"]:
        for line in plan_figures.lines(plan, project):
            ranked = sorted(line.scores.items(), key=lambda x: (-x[1], x[0]))
            yield {
                "project": _named(project),
                "need": _need(line.need, plan, lang),
                "score": line.need["score"],
                "team": [(_who(plan, who), score) for who, score in ranked if who in line.team],
                "others": [(_who(plan, who), score) for who, score in ranked if who not in line.team],
            }


def _loads(plan: Planned, lang: str) -> Shown:
    found = plan_figures.loads(plan)
    shown = [
        {
            "who": _who(plan, one.who),
            "lab": clean(one.lab),
            "room": one.room,
            "projects": [clean(str(p["project"])) for p in one.projects],
        }
        for one in found
    ]
    return {"loads": shown, "load_pictures": plan_pictures.load_pictures(plan, found, lang)}


def _links(plan: Planned, lang: str) -> Shown:
    found = plan_figures.links(plan)
    none = tr("no lab", lang)
    pairs = sorted(found.items(), key=lambda x: (-x[1], x[0]))
    shown = [
        {"project": clean(project) or none, "person": clean(person) or none, "places": places}
        for (project, person), places in pairs
    ]
    drawn = plan_pictures.link_picture(found, lang) if found else None
    return {"links": shown, "link_picture": drawn, "across": _across(found), "places": found.total()}


def _across(found: Mapping[tuple[str, str], int]) -> int:
    return sum(n for (project, person), n in found.items() if project != person and project and person)


def _holes(plan: Planned, lang: str) -> Shown:
    shown = [
        {
            "project": _named(hole.project),
            "need": _need(hole.need, plan, lang) if hole.need else None,
            "why": _why(hole, plan, lang),
            "hard": hole.hard,
            "others": [(_who(plan, who), score) for who, score in hole.others[:_OTHERS]],
        }
        for hole in plan_figures.holes(plan, lang)
    ]
    return {"holes": shown, "covers": plan_pictures.cover_pictures(plan, lang)}


def _why(hole: Hole, plan: Planned, lang: str) -> str:
    """The reason, without the need that stands beside it."""
    said = clean(hole.why)
    topic = topic_of(hole.need, lang, plan.labels) if hole.need else ""
    return said[len(topic) :].lstrip("\u00a0 :") if topic and said.startswith((f"{topic}:", f"{topic} :")) else said


# --- pieces -----------------------------------------------------------------------------------------------


def _named(project: Entry) -> Shown:
    return {"id": clean(str(project["project"])), "title": shorten(clean(project.get("title") or ""), _SHOWN)}


def _need(need: Entry, plan: Planned, lang: str) -> Shown:
    return {"topic": topic_of(need, lang, plan.labels), "must": need["must"]}


def _who(plan: Planned, who: str) -> str:
    name = clean(plan.people[who].name)
    return f"{name} ({clean(who)})" if name else clean(who)
