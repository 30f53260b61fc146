"""A plan as one HTML page with pictures: who works on what, coverage, loads, links between labs, gaps.

Every picture is a table whose cells are coloured or hold a bar, with its figure as text: it reads by eye, by ear
and on paper. Regions that scroll can be reached and moved with the keyboard.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence

from . import plan_figures
from .content import clean, percent, shorten
from .html import Html, page, tag
from .language import tr
from .plan_figures import HeatMap, NeedLine
from .plans import Entry, Planned, plan_notes

#: Steps of the colour scale, from faint to full.
STEPS = 5
#: More labs than this make no matrix that anybody reads: their pairs are listed.
_MOST_LABS = 30
_SHOWN = 100

_STYLE = Html("""
.s1 { background: #eaf2fb; color: #14202c; } .s2 { background: #bcd8f3; color: #14202c; }
.s3 { background: #85b6e6; color: #101a24; } .s4 { background: #2a6fb0; color: #ffffff; }
.s5 { background: #0a3a69; color: #ffffff; }
.s1, .s2, .s3, .s4, .s5, .bar { -webkit-print-color-adjust: exact; print-color-adjust: exact; }
main { max-width: 80rem; }
section { margin-top: 2.5rem; } nav ul, ul.legend { display: flex; flex-wrap: wrap; gap: .3rem 1rem; padding: 0;
  list-style: none; }
a { color: var(--mark); }
.scroll:focus-visible, a:focus-visible { outline: 3px solid var(--mark); outline-offset: 2px; }
caption { text-align: left; color: var(--soft); padding: .3rem 0; }
ul.legend span { display: inline-block; min-width: 3rem; padding: .1rem .5rem; text-align: center;
  border: 1px solid var(--line); }
table.map { width: auto; } table.map th, table.map td { padding: .3rem .45rem; border: 1px solid var(--line); }
table.map td { text-align: center; white-space: nowrap; font-variant-numeric: tabular-nums; }
table.map tbody th { min-width: 9rem; max-width: 20rem; font-weight: 400; color: var(--ink); }
table.map th.group { font-weight: 600; background: var(--card); }
table.map tbody th[scope=row] { position: sticky; left: 0; background: Canvas; }
table.map thead th.who { writing-mode: vertical-rl; vertical-align: bottom; }
table.map thead th.who bdi { display: inline-block; max-height: 12rem; }
table.map td.own { outline: 2px solid var(--ink); outline-offset: -3px; }
td.team { font-weight: 700; } td.bars { min-width: 8rem; width: 40%; }
.bar { display: block; height: 1.1rem; min-width: 2px; background: #2a6fb0; border-radius: .2rem; }
.hard { font-weight: 700; }
.unseen { position: absolute; width: 1px; height: 1px; overflow: hidden; clip-path: inset(50%); white-space: nowrap; }
@media (max-width: 40rem) { main { padding: .6rem; } h1 { font-size: 1.3rem; }
  table.map tbody th { min-width: 7rem; max-width: 45vw; } th, td { padding-right: .4rem; } }
@page { size: A4 landscape; margin: 1cm; }
@media print { nav { display: none; } .scroll { overflow: visible; } tr { break-inside: avoid; }
  thead { display: table-header-group; } table.map { font-size: 7pt; }
  table.map th, table.map td { padding: .1rem .15rem; } table.map tbody th[scope=row] { position: static; } }
""")


def plan_page(plan: Planned, lang: str) -> str:
    """The whole page of a plan, which asks for nothing else."""
    title = tr("Who works on what", lang)
    parts = (
        ("plan", tr("The plan", lang), _plan(plan, lang)),
        ("coverage", tr("Who covers what", lang), _coverage(plan, lang)),
        ("load", tr("Projects a person has", lang), _loads(plan, lang)),
        ("labs", tr("Links between labs", lang), _links(plan, lang)),
        ("gaps", tr("What is missing", lang), _holes(plan, lang)),
    )
    contents = [tag("li", tag("a", said, href=f"#{name}")) for name, said, _ in parts]
    body = [
        tag("h1", title),
        tag("p", tr("Model: {model}.", lang, model=clean(str(plan["model"]))), class_="soft"),
        tag("ul", *(tag("li", fact) for fact in _facts(plan, lang))),
        tag("nav", tag("ul", *contents), aria_label=tr("Contents", lang)),
    ]
    for name, said, inside in parts:
        head = tag("h2", said, id=f"{name}-title")
        body.append(tag("section", head, *inside, id=name, aria_labelledby=f"{name}-title"))
    return page(title, lang, body, _STYLE)


def _facts(plan: Planned, lang: str) -> Iterator[str]:
    busy, missing = len(plan["loads"]), sum(len(p["uncovered"]) for p in plan["projects"])
    yield tr("Projects: {n}", lang, n=len(plan["projects"]))
    yield tr("People with a project: {n} of {all}", lang, n=busy, all=len(plan.people))
    yield tr("Needs that nobody covers: {n}", lang, n=missing)
    yield from plan_notes(plan, lang)


# --- parts of the page ------------------------------------------------------------------------------------


def _plan(plan: Planned, lang: str) -> list[Html]:
    rows = []
    for project in plan["projects"]:
        members: list[str] = [_member(m, lang) for m in project["members"]] or [tr("nobody", lang)]
        cells = (
            tag("th", *_project(project), scope="row"),
            tag("td", *(tag("div", who) for who in members)),
            tag("td", *(tag("div", _person(a)) for a in project["alternates"])),
            tag("td", percent(project["coverage"], lang), class_="number"),
            tag("td", clean(", ".join(project["uncovered"]))),
        )
        rows.append(tag("tr", *cells))
    columns = [tr("project", lang), tr("people", lang), tr("alternates", lang)]
    columns += [tr("coverage", lang), tr("nobody covers", lang)]
    said = tr("Coverage: each need by its best member, the mean by weight.", lang)
    return [_grid("plan", said, columns, [tag("tbody", *rows)])] if rows else _nothing(lang)


def _coverage(plan: Planned, lang: str) -> list[Html]:
    maps = plan_figures.heat_maps(plan)
    return [_legend(lang), *(_heat(plan, m, n, lang) for n, m in enumerate(maps, start=1))] if maps else _nothing(lang)


def _legend(lang: str) -> Html:
    swatches = [
        tag("li", tag("span", f"{percent((k - 1) / STEPS, lang)}–{percent(k / STEPS, lang)}", class_=f"s{k}"))
        for k in range(1, STEPS + 1)
    ]
    marks = [
        tag("li", tag("span", "●"), f" {tr('works on the project', lang)}"),
        tag("li", tag("span", Html("&nbsp;")), f" {tr('below the bar of the project, or no candidate', lang)}"),
    ]
    return tag("ul", *swatches, *marks, class_="legend", aria_label=tr("Legend", lang))


def _heat(plan: Planned, heat: HeatMap, number: int, lang: str) -> Html:
    groups = []
    for project, lines in heat.groups:
        head = tag("th", *_project(project), scope="rowgroup", class_="group", colspan=str(len(heat.people) + 1))
        rows = [
            tag("tr", tag("th", *_need(line.need, lang), scope="row"), *_heat_cells(heat, line, lang)) for line in lines
        ]
        groups.append(tag("tbody", tag("tr", head), *rows))
    said = tr("How likely each person is to be useful for each need.", lang)
    columns = [tr("need", lang), *(_who(plan, who) for who in heat.people)]
    return _grid(f"heat-{number}", said, columns, groups, kind="map")


def _heat_cells(heat: HeatMap, line: NeedLine, lang: str) -> Iterator[Html]:
    for who in heat.people:
        score, works = line.scores.get(who), who in line.team
        told = [percent(score, lang)] if score is not None else []
        if works:
            hidden = tag("span", f"({tr('works on the project', lang)})", class_="unseen")
            told = [tag("span", "● ", aria_hidden="true"), *told, hidden]
        colour = f"s{step(score)}" if score is not None else ""
        yield tag("td", *told, class_=f"{colour} {'team' if works else ''}".strip())


def step(share: float) -> int:
    """Which of the ``STEPS`` colours a share in [0, 1] gets, from 1."""
    return max(1, min(STEPS, math.floor(share * STEPS) + 1))


def _loads(plan: Planned, lang: str) -> list[Html]:
    found = plan_figures.loads(plan)
    if not found:
        return _nothing(lang)
    most = len(found[0][1])
    rows = []
    for who, projects in found:
        bar = tag("span", class_="bar", style=f"width: {100 * len(projects) / most:.0f}%", aria_hidden="true")
        cells = (
            tag("th", _who(plan, who), scope="row"),
            tag("td", tag("bdi", clean(plan.people[who].lab or ""))),
            tag("td", str(len(projects)), class_="number"),
            tag("td", bar, class_="bars"),
            tag("td", clean(", ".join(str(p["project"]) for p in projects))),
        )
        rows.append(tag("tr", *cells))
    columns = [tr("person", lang), tr("lab", lang), tr("number", lang), tr("load", lang), tr("projects", lang)]
    said = tr("Everybody who has a project; the longest bar is the largest load.", lang)
    return [_grid("loads", said, columns, [tag("tbody", *rows)])]


def _links(plan: Planned, lang: str) -> list[Html]:
    found = plan_figures.links(plan)
    if not found:
        return _nothing(lang)
    none = tr("no lab", lang)
    labs = sorted({lab for pair in found for lab in pair})
    names = {lab: tag("bdi", clean(lab)) if lab else tag("i", none) for lab in labs}
    across = sum(n for (one, other), n in found.items() if one != other and one and other)
    told = tag("p", tr("Places that go to another lab: {n} of {all}.", lang, n=across, all=found.total()))
    if len(labs) > _MOST_LABS:
        pairs = sorted(found.items(), key=lambda x: (-x[1], x[0]))
        rows = [
            tag("tr", tag("td", names[a]), tag("td", names[b]), tag("td", str(n), class_="number"))
            for (a, b), n in pairs
        ]
        columns = [tr("lab of the project", lang), tr("lab of the person", lang), tr("places", lang)]
        return [told, _grid("links", tr("Places by pair of labs, most first.", lang), columns, [tag("tbody", *rows)])]
    most = max(found.values())
    rows = []
    for asks in labs:
        cells = (_link(found[asks, lab], most, own=asks == lab) for lab in labs)
        rows.append(tag("tr", tag("th", names[asks], scope="row"), *cells))
    said = tr("Places by lab of the project (rows) and lab of the person (columns); framed: its own people.", lang)
    corner = tr("lab of the project", lang)
    return [told, _grid("links", said, [corner, *names.values()], [tag("tbody", *rows)], kind="map")]


def _link(places: int, most: int, own: bool) -> Html:
    # The scale of places has no zero: one place is the faintest colour, the most the fullest.
    colour = f"s{math.ceil(STEPS * places / most)}" if places else ""
    return tag("td", str(places), class_=f"{colour} {'own' if own else ''}".strip())


def _holes(plan: Planned, lang: str) -> list[Html]:
    rows = []
    for hole in plan_figures.holes(plan, lang):
        need = _need(hole.need, lang) if hole.need else []
        why = [tag("span", clean(hole.why), dir="auto", class_="hard" if hole.hard else "")] if hole.why else []
        if hole.hard:
            why.append(tag("div", tr("A rule that had to hold.", lang), class_="soft"))
        rows.append(tag("tr", tag("th", *_project(hole.project), scope="row"), tag("td", *need), tag("td", *why)))
    if not rows:
        return [tag("p", tr("Nothing: every need is covered.", lang))]
    said = tr("Needs that nobody in the team covers, and what else can’t be met.", lang)
    columns = [tr("project", lang), tr("need", lang), tr("reason", lang)]
    return [_grid("holes", said, columns, [tag("tbody", *rows)])]


def _nothing(lang: str) -> list[Html]:
    return [tag("p", tr("Nothing to show.", lang))]


# --- pieces -----------------------------------------------------------------------------------------------


def _project(project: Entry) -> list[Html]:
    title = shorten(clean(project.get("title") or ""), _SHOWN)
    return [tag("bdi", clean(project["project"])), *([tag("bdi", title)] if title else [])]


def _need(need: Entry, lang: str) -> list[Html | str]:
    must = [tag("strong", f"({tr('must', lang)})")] if need["must"] else []
    return [clean(need["id"]), " ", tag("bdi", shorten(clean(need["text"]), _SHOWN)), *must]


def _who(plan: Planned, who: str) -> Html:
    name = clean(plan.people[who].name)
    return tag("bdi", f"{name} ({clean(who)})" if name else clean(who))


def _person(person: Entry) -> Html:
    name, who = clean(person["name"]), clean(person["profile"])
    return tag("bdi", f"{name} ({who})" if name else who)


def _member(member: Entry, lang: str) -> Html:
    covers = clean(", ".join(member["covers"]))
    lab = [tag("bdi", clean(member["lab"]), class_="soft")] if member["lab"] else []
    needs = [tag("span", f"· {covers}", class_="soft")] if covers else []
    other = [tag("span", f"· {tr('other lab', lang)}", class_="other")] if member["cross_lab"] else []
    return tag("span", _person(member), *lab, *needs, *other)


def _grid(name: str, caption: str, columns: Sequence[str], bodies: Iterable[Html], kind: str = "") -> Html:
    """A table in a region that scrolls, named by its caption. Of a map, the people stand upright."""
    upright = "who" if kind and len(columns) > 8 else ""
    heads = [tag("th", text, scope="col", class_=upright if place else "") for place, text in enumerate(columns)]
    table = tag(
        "table", tag("caption", caption, id=f"{name}-caption"), tag("thead", tag("tr", *heads)), *bodies, class_=kind
    )
    return tag("div", table, class_="scroll", role="region", tabindex="0", aria_labelledby=f"{name}-caption")
