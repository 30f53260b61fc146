"""Results as one HTML file that asks for nothing else: it reads offline, on a telephone, on paper, by ear."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from html import escape

from .content import Answer, PersonCard, Table, cell_text, clean, percent
from .language import tr
from .tables import heading


class Html(str):
    """Text that is HTML already. Joined or formatted it is a plain ``str`` again, which ``tag`` escapes."""


_NOTHING = Html()
_STYLE = Html("""
:root { color-scheme: light dark;
  --ink: #1d2733; --soft: #55606c; --line: #d4d9df; --card: #f6f8fa; --mark: #0b5cad; }
@media (prefers-color-scheme: dark) {
  :root { --ink: #e6e9ed; --soft: #a5afba; --line: #3a434d; --card: #20262d; --mark: #7cb8ff; }
}
* { box-sizing: border-box; }
body { margin: 0; color: var(--ink); font: 1rem/1.5 system-ui, sans-serif; overflow-wrap: anywhere; }
main { max-width: 60rem; margin: 0 auto; padding: 1rem; }
h1 { font-size: 1.5rem; } h2 { font-size: 1.2rem; margin-top: 2rem; } h3 { font-size: 1.05rem; margin: 0; }
section.project { border-top: 2px solid var(--line); margin-top: 2.5rem; }
.soft { color: var(--soft); } .source { color: var(--soft); font-size: .85em; }
.scroll { overflow-x: auto; }
table { border-collapse: collapse; width: 100%; }
th, td { text-align: left; vertical-align: top; padding: .35rem .6rem .35rem 0;
  border-bottom: 1px solid var(--line); overflow-wrap: break-word; }
th { color: var(--soft); font-weight: 600; }
td.number { text-align: right; font-variant-numeric: tabular-nums; white-space: nowrap; }
ol.people { list-style: none; padding: 0; }
ol.people > li { background: var(--card); border: 1px solid var(--line); border-radius: .5rem;
  padding: .8rem 1rem; margin: .8rem 0; break-inside: avoid; }
.head { display: flex; flex-wrap: wrap; gap: .3rem 1rem; justify-content: space-between;
  align-items: baseline; }
.score { font-weight: 600; white-space: nowrap; } meter { width: 6rem; vertical-align: middle; }
.other { color: var(--mark); font-weight: 600; }
.note { border-left: 3px solid var(--mark); padding-left: .7rem; }
figure { margin: 1rem 0; } figcaption { color: var(--soft); }
svg { max-width: 26rem; width: 100%; height: auto; color: var(--ink); font: 11px system-ui, sans-serif; }
svg text { fill: currentColor; } svg .axis { stroke: currentColor; fill: none; }
svg .ideal { stroke: var(--soft); stroke-dasharray: 5 4; } svg circle { fill: var(--mark); }
svg .true { stroke: var(--mark); fill: none; }
@media print {
  body { font-size: 10pt; } main { max-width: none; padding: 0; } ol.people > li { background: none; }
}
""")


def answer_page(said: Answer, lang: str) -> str:
    """One suggestion."""
    title = f"{said.id} {said.title}".strip()
    return page(title, lang, [tag("h1", title), *_answer(said, lang, ("h2", "h3"))])


def answers_page(table: Table, answers: Sequence[Answer], lang: str) -> str:
    """A table; where its rows are several suggestions, each of them below, with links to it."""
    title = clean(tr(table.title, lang))
    body = [tag("h1", title)] if title else []
    if table.rows:
        body.append(_table(table, lang, [f"#project-{number}" for number, _ in enumerate(answers, start=1)]))
    elif table.columns:
        body.append(tag("p", tr("Nothing to show.", lang)))
    body += [tag("p", clean(tr(note, lang))) for note in table.notes]
    for number, said in enumerate(answers, start=1):
        head = tag("h2", f"{said.id} {said.title}".strip())
        inside = _answer(said, lang, ("h3", "h4"))
        body.append(tag("section", head, *inside, class_="project", id=f"project-{number}"))
    return page(title or "skillmatch", lang, body)


@dataclass(frozen=True, slots=True)
class Reliability:
    """A reliability plot: points (mean probability said, share that came true, how many), from left to right."""

    title: str
    points: tuple[tuple[float, float, int], ...]


def report_page(title: str, parts: Sequence[Table | Reliability], lang: str) -> str:
    """Tables and plots under headings, in order; a plot's figures must be in a table beside it."""
    body = [tag("h1", clean(title))]
    for number, part in enumerate(parts, start=1):
        body.append(tag("h2", clean(tr(part.title, lang))))
        if isinstance(part, Reliability):
            body.append(_reliability(part, f"plot-{number}", lang))
            continue
        body.append(_table(part, lang) if part.rows else tag("p", tr("Nothing to show.", lang)))
        body += [tag("p", clean(tr(note, lang)), class_="soft") for note in part.notes]
    return page(clean(title), lang, body)


#: The plot's square: left, top, side, in the units of its drawing.
_LEFT, _TOP, _SIDE = 64, 14, 300


def _reliability(plot: Reliability, name: str, lang: str) -> Html:
    """The plot as a drawing that is read out as a title and a sentence."""
    told = "; ".join(
        tr("said {said}, true {true}, {count} pairs", lang, said=percent(x, lang), true=percent(y, lang), count=n)
        for x, y, n in plot.points
    )
    largest = max((n for *_, n in plot.points), default=1)
    marks = [
        tag("polyline", points=" ".join(f"{_x(x)},{_y(y)}" for x, y, _ in plot.points), class_="true"),
        *(tag("circle", cx=_x(x), cy=_y(y), r=f"{3 + 6 * (n / largest) ** 0.5:.1f}") for x, y, n in plot.points),
        *(tag("text", str(n), x=_x(x, 11), y=_y(y, -9)) for x, y, n in plot.points),
    ]
    drawing = tag(
        "svg",
        tag("title", clean(tr(plot.title, lang)), id=f"{name}-title"),
        tag("desc", told, id=f"{name}-text"),
        *_axes(lang),
        *marks,
        viewBox=f"0 0 {_LEFT + _SIDE + 40} {_TOP + _SIDE + 50}",
        role="img",
        aria_labelledby=f"{name}-title {name}-text",
    )
    caption = tr("On the dashed line the percentages are true; numbers and sizes are judged pairs.", lang)
    return tag("figure", drawing, tag("figcaption", caption))


def _axes(lang: str) -> Iterator[Html]:
    yield tag("rect", x=str(_LEFT), y=str(_TOP), width=str(_SIDE), height=str(_SIDE), class_="axis")
    yield tag("line", x1=_x(0), y1=_y(0), x2=_x(1), y2=_y(1), class_="ideal")
    for k in range(5):
        said = percent(k / 4, lang)
        yield tag("text", said, x=_x(k / 4), y=_y(0, 16), text_anchor="middle")
        yield tag("text", said, x=_x(0, -6), y=_y(k / 4, 4), text_anchor="end")
    yield tag("text", tr("probability said", lang), x=_x(0.5), y=_y(0, 38), text_anchor="middle")
    turned = f"rotate(-90 14 {_y(0.5)})"
    yield tag("text", tr("share that came true", lang), x="14", y=_y(0.5), text_anchor="middle", transform=turned)


def _x(share: float, more: float = 0) -> str:
    return f"{_LEFT + _SIDE * share + more:.1f}"


def _y(share: float, more: float = 0) -> str:
    return f"{_TOP + _SIDE * (1 - share) + more:.1f}"


def tag(name: str, *inside: str, **attributes: str) -> Html:
    """An element; what is not ``Html`` is escaped. ``class_`` is class, ``aria_x`` aria-x; empty ones go."""
    named = ((key.rstrip("_").replace("_", "-"), value) for key, value in attributes.items() if value)
    told = "".join(f' {key}="{escape(value)}"' for key, value in named)
    return Html(f"<{name}{told}>{_join(inside)}</{name}>\n")


def _join(parts: Iterable[str]) -> Html:
    return Html("".join(part if isinstance(part, Html) else escape(part) for part in parts))


def page(title: str, lang: str, body: Iterable[Html], style: Html = _NOTHING) -> str:
    """A whole page of ``body``; ``style`` follows what every page has."""
    return f"""<!doctype html>
<html lang="{escape(lang)}">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'">
<title>{escape(title)}</title>
<style>{_STYLE}{style}</style>
</head>
<body>
{tag("main", *body)}</body>
</html>
"""


def _answer(said: Answer, lang: str, levels: tuple[str, str]) -> list[Html]:
    part, person = levels
    blocks = [tag("p", said.about, class_="soft")]
    if said.needs:
        must = f" {tr('must', lang)}"
        rows = tuple((n.id, n.weight + (must if n.must else ""), n.concept, n.text) for n in said.needs)
        needs = Table("", ("need", "weight", "skill", "text"), rows)
        blocks += [tag(part, tr("Needs as understood", lang)), _table(needs, lang)]
    if said.verdict:
        blocks.append(tag("p", tag("strong", said.verdict), class_="note"))
    if said.people:
        cards = (_person(card, person, lang) for card in said.people)
        blocks += [tag(part, tr("People", lang)), tag("ol", *cards, class_="people")]
    if said.gaps:
        gaps = (tag("li", gap, dir="auto") for gap in said.gaps)
        blocks += [tag(part, tr("What is missing", lang)), tag("ul", *gaps)]
    if said.more:
        blocks.append(tag("p", said.more, class_="soft"))
    return blocks


def _person(card: PersonCard, level: str, lang: str) -> Html:
    score = percent(card.score, lang)
    meter = tag("meter", score, min="0", max="1", value=f"{card.score:.4f}", aria_hidden="true")
    head = tag(
        "div",
        tag(level, f"{card.rank}. ", tag("bdi", card.who)),
        tag("span", meter, f" {score}", class_="score"),
        class_="head",
    )
    about = [tag("span", card.place, class_="soft")] if card.place else []
    if card.cross_lab:
        about.append(tag("span", (" · " if card.place else "") + tr("other lab", lang), class_="other"))
    blocks = [head, *([tag("p", *about)] if about else [])]
    if card.proofs:
        blocks.append(_proofs(card, lang))
    if card.silent:
        silent = ", ".join(card.silent)
        blocks.append(tag("p", tr("nothing in the profile on {needs}", lang, needs=silent), class_="soft"))
    if card.thin:
        thin = tr("thin profile: little to go by, so the score is less certain", lang)
        blocks.append(tag("p", thin, class_="note"))
    return tag("li", *blocks)


def _proofs(card: PersonCard, lang: str) -> Html:
    rows = []
    for proof in card.proofs:
        needs = [tag("div", f"{need} {percent(score, lang)}") for need, score in proof.needs]
        sentence = tag("div", proof.text, dir="auto")
        source = tag("div", proof.source, class_="source")
        rows.append(tag("tr", tag("td", *needs), tag("td", sentence, source)))
    return _grid([tr("need", lang), tr("evidence", lang)], rows)


def _table(table: Table, lang: str, links: Sequence[str] = ()) -> Html:
    """A table; ``links`` are where the first cell of each row leads."""
    rows = []
    for number, row in enumerate(table.rows):
        cells = [_cell(value, lang) for value in row]
        if links:
            cells[0] = tag("td", tag("a", cell_text(row[0], lang), href=links[number]))
        rows.append(tag("tr", *cells))
    return _grid([heading(column, lang) for column in table.columns], rows)


def _cell(value: object, lang: str) -> Html:
    if isinstance(value, tuple):
        return tag("td", *(tag("div", cell_text(v, lang), dir="auto") for v in value))
    number = isinstance(value, int | float) and not isinstance(value, bool)
    return tag("td", cell_text(value, lang), class_="number" if number else "")


def _grid(headings: Iterable[str], rows: Iterable[Html]) -> Html:
    head = tag("thead", tag("tr", *(tag("th", text, scope="col") for text in headings)))
    return tag("div", tag("table", head, tag("tbody", *rows)), class_="scroll")
