"""Results as one HTML file that asks for nothing else: it reads offline, on a telephone, on paper, by ear.

Every page comes from ``templates/``, which escape whatever is put into them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache, partial
from typing import TYPE_CHECKING, Any

from .content import Answer, Table, cell_text, clean, percent
from .language import tr
from .pictures import PALETTE
from .tables import heading

if TYPE_CHECKING:
    from jinja2 import Environment


def answer_page(said: Answer, lang: str) -> str:
    """One suggestion."""
    return page("answer", f"{said.id} {said.title}".strip(), lang, said=said, needs=_needs(said, lang))


def answers_page(table: Table, answers: Sequence[Answer], lang: str) -> str:
    """A table; where its rows are several suggestions, each of them below, with links to it."""
    title = clean(tr(table.title, lang))
    links = [f"#project-{number}" for number, _ in enumerate(answers, start=1)]
    shown = [(f"{said.id} {said.title}".strip(), said, _needs(said, lang)) for said in answers]
    return page("answers", title, lang, table=_grid(table, lang, links), answers=shown)


@dataclass(frozen=True, slots=True)
class Reliability:
    """A reliability plot: points (mean probability said, share that came true, how many), from left to right."""

    title: str
    points: tuple[tuple[float, float, int], ...]


def report_page(title: str, parts: Sequence[Table | Reliability], lang: str) -> str:
    """Tables and plots under headings, in order; a plot's figures must be in a table beside it."""
    shown: list[dict[str, Any]] = []
    for number, part in enumerate(parts, start=1):
        head: dict[str, Any] = {"title": clean(tr(part.title, lang)), "name": f"plot-{number}"}
        if isinstance(part, Reliability):
            shown.append(head | {"plot": _reliability(part, lang)})
        else:
            shown.append(head | {"plot": None, "table": _grid(part, lang)})
    return page("report", clean(title), lang, parts=shown)


#: The plot's square: left, top, side, in the units of its drawing.
_LEFT, _TOP, _SIDE = 64, 14, 300


def _reliability(plot: Reliability, lang: str) -> dict[str, Any]:
    """The plot's marks where they stand in its drawing, and a sentence that says the same."""
    told = "; ".join(
        tr("said {said}, true {true}, {count} pairs", lang, said=percent(x, lang), true=percent(y, lang), count=n)
        for x, y, n in plot.points
    )
    largest = max((n for *_, n in plot.points), default=1)
    points = [
        {
            "x": f"{_LEFT + _SIDE * x:.1f}",
            "y": f"{_TOP + _SIDE * (1 - y):.1f}",
            "r": f"{3 + 6 * (n / largest) ** 0.5:.1f}",
            "n": n,
        }
        for x, y, n in plot.points
    ]
    ticks = [(percent(k / 4, lang), _SIDE * k / 4) for k in range(5)]
    return {"told": told, "points": points, "ticks": ticks, "left": _LEFT, "top": _TOP, "side": _SIDE}


# --- pages --------------------------------------------------------------------------------------------------


def page(template: str, title: str, lang: str, **shown: object) -> str:
    """A whole page by the template of that name; what is ``shown`` is escaped, unless it is markup already."""
    words = {"_": partial(_say, lang), "percent": lambda share: percent(share, lang)}
    return _templates().get_template(f"{template}.html").render(title=title, lang=lang, **words, **shown)


def _say(lang: str, message: str, /, **values: object) -> str:
    return tr(message, lang, **values)


@lru_cache(maxsize=1)
def _templates() -> Environment:
    """Where templates come from: everything put into them is escaped, and what they are not given is an error."""
    from jinja2 import Environment, PackageLoader, StrictUndefined

    found = Environment(
        loader=PackageLoader("skillmatch", "reports/templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    found.globals["palette"] = PALETTE
    return found


# --- tables -------------------------------------------------------------------------------------------------


def _needs(said: Answer, lang: str) -> dict[str, Any]:
    must = f" {tr('must', lang)}"
    rows = tuple((n.id, n.weight + (must if n.must else ""), n.concept, n.text) for n in said.needs)
    return _grid(Table("", ("need", "weight", "skill", "text"), rows), lang)


def _grid(table: Table, lang: str, links: Sequence[str] = ()) -> dict[str, Any]:
    """A table as its template wants it; ``links`` are where the first cell of each row leads."""
    rows = [[_cell(value, lang) for value in row] for row in table.rows]
    for row, link in zip(rows, links, strict=False):
        row[0]["link"] = link
    notes = [clean(tr(note, lang)) for note in table.notes]
    return {"columns": [heading(column, lang) for column in table.columns], "rows": rows, "notes": notes}


def _cell(value: object, lang: str) -> dict[str, Any]:
    lines = [cell_text(v, lang) for v in value] if isinstance(value, tuple) else [cell_text(value, lang)]
    number = isinstance(value, int | float) and not isinstance(value, bool)
    return {"lines": lines, "many": isinstance(value, tuple), "number": number, "link": ""}
