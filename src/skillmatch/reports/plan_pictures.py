"""The pictures of a plan: who answers which need, loads, links between labs, needs that nobody covers."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import groupby
from typing import TYPE_CHECKING

from . import pictures as draw
from .content import clean, percent
from .language import tr
from .pictures import picture, step
from .plan_figures import HeatMap, Load, NeedLine
from .plans import Entry, Planned, topic_of

if TYPE_CHECKING:
    from markupsafe import Markup
    from matplotlib.axes import Axes

#: Small pictures are as wide as a telephone shows; px.
NARROW = 350
#: More people than this are counted, not drawn one by one; more labs than this are taken together.
_MOST_PEOPLE, _MOST_LABS = 200, 10
#: Rows of one small picture: so many go on a sheet of paper.
_ROWS = 30


# --- needs and people -------------------------------------------------------------------------------------

#: Widths of the map: what is needed, how well the team covers it, a gap, a person; heights of its head and a row; px.
_NEED, _TEAM, _GAP, _CELL, _HEAD, _ROW = 270, 34, 8, 21, 176, 18


def heat_picture(plan: Planned, heat: HeatMap, number: int, lang: str) -> Markup:
    """Needs by project against people, coloured by probability; first, how well the team covers each."""
    names = [_name(plan, who, _HEAD - 34, 10) for who in heat.people]
    head = _HEAD
    rows = sum(1 + len(lines) for _, lines in heat.groups)
    left = _NEED + _TEAM + _GAP
    size = (left + _CELL * len(names) + 4, head + _ROW * rows + 4)

    def paint(axes: Axes) -> None:
        draw.write(axes, _NEED + _TEAM / 2, head - 6, tr("team", lang), turn=90, size=10, colour="soft")
        for k, name in enumerate(names):
            draw.write(axes, left + _CELL * (k + 0.5), head - 6, name, turn=90, size=10)
        for start, end, lab in _bands([plan.people[who].lab or "" for who in heat.people]):
            middle, room = left + _CELL * (start + end) / 2, _CELL * (end - start)
            said = clean(lab) or tr("no lab", lang)
            high = 11 if draw.fit(said, room, 11, bold=True) == said else 7.5
            draw.write(
                axes, middle, 9, draw.fit(said, room, high, bold=True), anchor="middle", size=high, weight="bold"
            )
            axes.plot([left + _CELL * start + 2, left + _CELL * end - 2], [18, 18], color=draw.ink("soft"))
            axes.plot([left + _CELL * start] * 2, [18, size[1] - 4], color=draw.ink("own"), linewidth=1)
        axes.vlines([left + _CELL * k for k in range(len(names) + 1)], head, size[1] - 4, draw.ink("line"), lw=0.5)
        top = float(head)
        for project, lines in heat.groups:
            _heading(axes, heat, project, top, size[0])
            for line in lines:
                top += _ROW
                _line(axes, plan, heat, line, top, lang)
            top += _ROW

    ids = ", ".join(clean(str(project["project"])) for project, _ in heat.groups)
    told = tr(
        "Needs of {projects} against {n} people; the table below says the same.", lang, projects=ids, n=len(names)
    )
    return picture(f"heat-{number}", tr("Who covers what", lang), told, size, paint)


def _bands(labs: Sequence[str]) -> Iterator[tuple[int, int, str]]:
    """(from, to, lab) of neighbours that are of one lab."""
    start = 0
    for lab, found in groupby(labs):
        end = start + len(list(found))
        yield start, end, lab
        start = end


def _heading(axes: Axes, heat: HeatMap, project: Entry, top: float, width: float) -> None:
    draw.box(axes, 0, top, width - 4, _ROW, fill="card")
    said = f"{clean(str(project['project']))} {clean(project.get('title') or '')}".strip()
    draw.write(axes, 4, top + _ROW / 2, draw.fit(said, _NEED + _TEAM, 10.5, bold=True), weight="bold", size=10.5)
    members = {m["profile"] for m in project["members"]}
    for k, who in enumerate(heat.people):
        if who in members:
            x = _NEED + _TEAM + _GAP + _CELL * (k + 0.5)
            axes.plot([x], [top + _ROW / 2], marker="o", markersize=7, color=draw.ink("ink"), linestyle="none")


def _line(axes: Axes, plan: Planned, heat: HeatMap, line: NeedLine, top: float, lang: str) -> None:
    middle = top + _ROW / 2
    must = " !" if line.need["must"] else ""
    topic = draw.fit(topic_of(line.need, lang, plan.labels), _NEED - 26, 10.5)
    draw.write(axes, 12, middle, topic + must, size=10.5)
    axes.plot([0, _NEED + _TEAM], [top + _ROW] * 2, color=draw.ink("line"), linewidth=0.5)
    if line.need["score"] > 0:
        _cell(axes, _NEED, top, _TEAM, line.need["score"], lang, framed=False)
    else:
        draw.cross(axes, _NEED + _TEAM / 2, middle)
    for k, who in enumerate(heat.people):
        score = line.scores.get(who)
        if score is not None:
            left = _NEED + _TEAM + _GAP + _CELL * k
            _cell(axes, left, top, _CELL, score, lang, framed=who in line.team)


def _cell(axes: Axes, left: float, top: float, width: float, score: float, lang: str, *, framed: bool) -> None:
    """A coloured figure; ``framed`` where it is that of somebody of the team."""
    k = step(score)
    inset = 0.5
    if framed:
        draw.box(axes, left + 0.75, top + 0.75, width - 1.5, _ROW - 1.5, edge="ink", linewidth=1.5)
        inset = 2.5  # between frame and colour the page shows: it is seen on the darkest too
    draw.box(axes, left + inset, top + inset, width - 2 * inset, _ROW - 2 * inset, fill=f"s{k}")
    said = percent(score, lang).rstrip("%\u00a0")
    weight = "bold" if framed else "normal"
    draw.write(axes, left + width / 2, top + _ROW / 2, said, anchor="middle", size=9, colour=f"t{k}", weight=weight)


# --- loads ------------------------------------------------------------------------------------------------


def load_pictures(plan: Planned, loads: Sequence[Load], lang: str) -> list[tuple[str, Markup]]:
    """(caption, picture) of the people of each lab; of very many, one of how many have how many projects."""
    if len(loads) > _MOST_PEOPLE:
        return [(tr("People by their number of projects", lang), _counted(loads, lang))]
    most = max((max(len(one.projects), one.room) for one in loads), default=1) or 1
    found: list[tuple[str, Markup]] = []
    for lab, people in groupby(loads, key=lambda one: one.lab):
        own = list(people)
        for start in range(0, len(own), _ROWS):
            name = f"load-{len(found) + 1}"
            said = clean(lab) or tr("no lab", lang)
            found.append((said, _boxes(plan, name, said, own[start : start + _ROWS], most, lang)))
    return found


def _boxes(plan: Planned, name: str, lab: str, loads: Sequence[Load], most: int, lang: str) -> Markup:
    """A row of boxes a person: the projects they have, and hollow, those they could have."""
    label, row = 190, 22
    width = min(48.0, (NARROW - label) / most)
    size = (NARROW, row * len(loads) + 4)

    def paint(axes: Axes) -> None:
        for k, one in enumerate(loads):
            top = 2 + row * k
            draw.write(axes, 0, top + row / 2, _name(plan, one.who, label - 8, 11), size=11)
            for place in range(max(len(one.projects), one.room)):
                left = label + width * place
                given = place < len(one.projects)
                colours = {"fill": "s4"} if given else {"edge": "own", "linestyle": (0, (2, 2))}
                draw.box(axes, left + 1, top + 2, width - 2, row - 4, **colours)
                if given and width > 30:
                    said = draw.fit(clean(str(one.projects[place]["project"])), width - 6, 10)
                    draw.write(axes, left + width / 2, top + row / 2, said, anchor="middle", size=10, colour="t4")

    people = "; ".join(f"{_name(plan, one.who, label, 11)}: {len(one.projects)}" for one in loads)
    return picture(name, f"{tr('Projects a person has', lang)}, {lab}", people, size, paint)


def _counted(loads: Sequence[Load], lang: str) -> Markup:
    numbers = [len(one.projects) for one in loads]
    counts = [numbers.count(n) for n in range(max(numbers) + 1)]
    size = (NARROW, 24 * len(counts) + 4)

    def paint(axes: Axes) -> None:
        for n, count in enumerate(counts):
            middle = 14 + 24 * n
            draw.write(axes, 90, middle, tr("{n} projects", lang, n=n), anchor="end")
            draw.box(axes, 100, middle - 9, 190 * count / max(counts), 18, fill="s4")
            draw.write(axes, 106 + 190 * count / max(counts), middle, str(count))

    told = "; ".join(f"{tr('{n} projects', lang, n=n)}: {count}" for n, count in enumerate(counts))
    return picture("load-1", tr("People by their number of projects", lang), told, size, paint)


# --- links ------------------------------------------------------------------------------------------------


def link_picture(links: Mapping[tuple[str, str], int], lang: str) -> Markup:
    """Bands from the lab of the person (left) to that of the project (right), as broad as there are places."""
    merged = _merged(links, lang)
    givers, takers = (_totals(merged, side) for side in (1, 0))
    unit = min(14.0, 300 / sum(merged.values()))
    gap = 16.0
    tall = unit * sum(merged.values()) + gap * (max(len(givers), len(takers)) - 1)
    size = (NARROW, round(tall + 40))
    left, right, bar = 92, NARROW - 92, 10

    def paint(axes: Axes) -> None:
        for said, x, anchor in (("people of", 2, "start"), ("for projects of", NARROW - 4, "end")):
            draw.write(axes, x, 10, tr(said, lang), anchor=anchor, size=11, colour="soft")
        starts = _stack(axes, givers, (left, bar), (unit, gap), "end")
        ends = _stack(axes, takers, (right - bar, bar), (unit, gap), "start")
        for (project, person), places in sorted(merged.items()):
            own = project == person
            _band(axes, (left + bar, starts[person]), (right - bar, ends[project]), unit * places, own=own)
            starts[person] += unit * places
            ends[project] += unit * places

    told = "; ".join(
        tr("{person} for {project}: {n}", lang, person=person, project=project, n=n)
        for (project, person), n in sorted(merged.items())
    )
    return picture("links", tr("Links between labs", lang), told, size, paint)


def _merged(links: Mapping[tuple[str, str], int], lang: str) -> dict[tuple[str, str], int]:
    """``links`` by names to read; of many labs, the busiest, and all others as one."""
    busy: dict[str, int] = {}
    for pair, places in links.items():
        for lab in pair:
            busy[lab] = busy.get(lab, 0) + places
    kept = sorted(busy, key=lambda lab: (-busy[lab], lab))
    kept = kept if len(kept) <= _MOST_LABS else kept[: _MOST_LABS - 1]
    found: dict[tuple[str, str], int] = {}
    for (project, person), places in links.items():
        named = [_lab(lab, lang) if lab in kept else tr("other labs", lang) for lab in (project, person)]
        pair = (named[0], named[1])
        found[pair] = found.get(pair, 0) + places
    return found


def _lab(lab: str, lang: str) -> str:
    return draw.fit(clean(lab), 64) or tr("no lab", lang)


def _totals(links: Mapping[tuple[str, str], int], side: int) -> dict[str, int]:
    found: dict[str, int] = {}
    for pair, places in sorted(links.items()):
        found[pair[side]] = found.get(pair[side], 0) + places
    return dict(sorted(found.items()))


def _stack(
    axes: Axes, totals: Mapping[str, int], at: tuple[float, float], scale: tuple[float, float], anchor: str
) -> dict[str, float]:
    """Draw the labs of one side below each other; where each begins."""
    (x, bar), (unit, gap) = at, scale
    top, starts = 26.0, {}
    for lab, places in totals.items():
        starts[lab] = top
        draw.box(axes, x, top, bar, unit * places, fill="ink")
        beside = x - 6 if anchor == "end" else x + bar + 6
        draw.write(axes, beside, top + unit * places / 2, f"{lab} {places}", anchor=anchor, size=11)
        top += unit * places + gap
    return starts


def _band(axes: Axes, start: tuple[float, float], end: tuple[float, float], height: float, *, own: bool) -> None:
    from matplotlib.patches import PathPatch
    from matplotlib.path import Path

    (x0, y0), (x1, y1) = start, end
    middle = (x0 + x1) / 2
    points = [(x0, y0), (middle, y0), (middle, y1), (x1, y1)]
    back = [(x1, y1 + height), (middle, y1 + height), (middle, y0 + height), (x0, y0 + height)]
    codes = [Path.MOVETO, *[Path.CURVE4] * 3, Path.LINETO, *[Path.CURVE4] * 3]
    colour = draw.ink("own" if own else "mark")
    # Drawn in the page's paper: bands that cross stay apart.
    edge = {"edgecolor": draw.ink("paper"), "linewidth": 0.8}
    axes.add_patch(PathPatch(Path([*points, *back], codes), facecolor=colour, alpha=0.62, **edge))


# --- needs that nobody covers -----------------------------------------------------------------------------


def cover_pictures(plan: Planned, lang: str) -> list[Markup]:
    """A square a need, coloured by how well the team covers it, crossed where nobody does; worst projects first."""
    worst = sorted(plan["projects"], key=lambda p: (p["coverage"], p["project"]))
    parts = [worst[start : start + _ROWS // 2] for start in range(0, min(len(worst), 4 * _ROWS), _ROWS // 2)]
    return [_squares(f"cover-{k}", part, lang) for k, part in enumerate(parts, start=1)]


def _squares(name: str, projects: Sequence[Entry], lang: str) -> Markup:
    label, row = 176, 24
    most = max(len(p["needs"]) for p in projects)
    side = min(29.0, (NARROW - label) / most)
    size = (NARROW, row * len(projects) + 4)

    def paint(axes: Axes) -> None:
        for k, project in enumerate(projects):
            top = 2 + row * k
            said = f"{clean(str(project['project']))} {clean(project.get('title') or '')}".strip()
            draw.write(axes, 0, top + row / 2, draw.fit(said, label - 6, 10.5), size=10.5)
            for place, need in enumerate(project["needs"]):
                _square(axes, label + side * place, top, side, need, lang)

    told = "; ".join(f"{clean(str(p['project']))}: {percent(p['coverage'], lang)}" for p in projects)
    return picture(name, tr("How well each need is covered", lang), told, size, paint)


def _square(axes: Axes, left: float, top: float, side: float, need: Entry, lang: str) -> None:
    x, y, width, height = left + 1, top + 2, side - 2, 20.0
    if need["must"]:
        draw.box(axes, x, y, width, height, edge="ink", linewidth=1.5)
        x, y, width, height = x + 2.25, y + 2.25, width - 4.5, height - 4.5
    score = need["score"]
    if score > 0:
        draw.box(axes, x, y, width, height, fill=f"s{step(score)}")
        if side > 20:
            said = percent(score, lang).rstrip("%\u00a0")
            colour = f"t{step(score)}"
            draw.write(axes, x + width / 2, y + height / 2, said, anchor="middle", size=9.5, colour=colour)
    else:
        draw.box(axes, x + 0.5, y + 0.5, width - 1, height - 1, edge="warn")
        draw.cross(axes, x + width / 2, y + height / 2, min(4.0, side / 4))


# --- names ------------------------------------------------------------------------------------------------


def _name(plan: Planned, who: str, room: float, size: float) -> str:
    """Name and id of a person, in ``room`` px; the name is cut first."""
    name, short = clean(plan.people[who].name), draw.fit(clean(who), room / 2 if plan.people[who].name else room, size)
    return f"{draw.fit(name, room - 0.66 * size * (len(short) + 1), size)} {short}" if name else short
