"""Skills that too few hold, as one HTML page: how near anybody is to each, by eye and as a table."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from . import pictures as draw
from .content import clean, percent
from .html import page
from .language import tr
from .pictures import picture
from .plan_pictures import NARROW
from .plans import Entry, gap_notes

if TYPE_CHECKING:
    from markupsafe import Markup
    from matplotlib.axes import Axes

#: Skills of one picture, and height of one of them, px; where the scale from 0 to 1 begins, and how wide it is.
_SKILLS, _ROW = 12, 40
_LEFT, _WIDE = 8, 170
#: More are not drawn: the table holds them all.
_MOST = 10 * _SKILLS


def gap_page(entry: Entry, lang: str) -> str:
    """The whole page of a ``skillmatch.gaps/1`` object."""
    kinds = (
        ("nobody", tr("Held by nobody", lang)),
        ("person", tr("Held by one person alone", lang)),
        ("lab", tr("Held in one lab alone", lang)),
    )
    counted = [(kind, said, [s for s in entry["skills"] if s["held_by"] == kind]) for kind, said in kinds]
    facts = [(tr("Skills asked for", lang), entry["asked"]), *((said, len(own)) for _, said, own in counted)]
    parts = [_part(kind, said, own, entry["bar"], lang) for kind, said, own in counted if own]
    title = tr("Skills that too few people hold", lang)
    return page(
        "gaps", title, lang, model=clean(entry["model"]), facts=facts, notes=gap_notes(entry, lang), parts=parts
    )


def _part(kind: str, title: str, skills: Sequence[Entry], bar: float, lang: str) -> dict[str, Any]:
    drawn = skills[:_MOST]
    pieces = [drawn[start : start + _SKILLS] for start in range(0, len(drawn), _SKILLS)]
    return {
        "name": kind,
        "title": title,
        "caption": tr("Worst first: known skills, then needs in their own words.", lang),
        "pictures": [_picture(f"{kind}-{n}", title, piece, bar, lang) for n, piece in enumerate(pieces, start=1)],
        "skills": [
            {
                "label": _label(skill, lang),
                "must": skill["must"],
                "projects": [clean(i) for i in skill["projects"]],
                "holders": [_person(who) for who in skill["holders"]],
                "closest": [_person(who) for who in skill["closest"]],
            }
            for skill in skills
        ],
    }


def _person(who: Entry) -> tuple[str, str, float]:
    name, i = clean(who["name"] or ""), clean(who["profile"])
    return f"{name} ({i})" if name else i, clean(who["lab"] or ""), who["score"]


def _label(skill: Entry, lang: str) -> str:
    return clean(skill["label_fr" if lang == "fr" else "label"])


# --- the picture ------------------------------------------------------------------------------------------


def _picture(name: str, title: str, skills: Sequence[Entry], bar: float, lang: str) -> Markup:
    """A line a skill, from 0 to 100 %: who holds it, who is closest; beside it the best of those who don't."""
    size = (NARROW, 18 + _ROW * len(skills) + 2)

    def paint(axes: Axes) -> None:
        for share in (0.0, bar, 1.0):
            x, anchor = _along(share), {0.0: "start", 1.0: "end"}.get(share, "middle")
            draw.write(axes, x, 8, percent(share, lang), anchor=anchor, size=9.5, colour="soft")
        for k, skill in enumerate(skills):
            _line(axes, skill, 18 + _ROW * k, bar, lang)

    told = "; ".join(f"{_label(s, lang)}: {_best(s, lang)}" for s in skills)
    return picture(name, title, told, size, paint)


def _along(share: float) -> float:
    return _LEFT + _WIDE * share


def _line(axes: Axes, skill: Entry, top: float, bar: float, lang: str) -> None:
    must = " !" if skill["must"] else ""
    draw.write(
        axes, 0, top + 10, draw.fit(_label(skill, lang), NARROW - 14, 11, bold=True) + must, size=11, weight="bold"
    )
    y = top + 27
    axes.plot([_along(0), _along(1)], [y, y], color=draw.ink("line"), linewidth=3)
    axes.plot([_along(bar)] * 2, [y - 6, y + 6], color=draw.ink("soft"), linewidth=1)
    for who in reversed(skill["closest"]):
        _dot(axes, who["score"], y, holds=False)
    for who in skill["holders"]:
        _dot(axes, who["score"], y, holds=True)
    draw.write(axes, _along(1) + 14, y, _best(skill, lang), size=10, colour="soft")


def _dot(axes: Axes, share: float, y: float, *, holds: bool) -> None:
    inside = draw.ink("mark" if holds else "paper")
    axes.plot(
        [_along(share)], [y], marker="o", markersize=9, color=inside, markeredgecolor=draw.ink("mark"), linestyle="none"
    )


def _best(skill: Entry, lang: str) -> str:
    """The closest of those who don't hold it, in a few words."""
    if not skill["closest"]:
        return tr("nobody", lang)
    who = skill["closest"][0]
    name = draw.fit(clean(who["name"] or who["profile"]), NARROW - _along(1) - 14 - 36, 10)
    return f"{name} {percent(who['score'], lang)}"
