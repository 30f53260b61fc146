"""Results for a terminal, with rich: readable in 80 columns, without colour as well."""

from __future__ import annotations

import io
from collections.abc import Iterable

from rich import box
from rich.console import Console, RenderableType
from rich.padding import Padding
from rich.table import Table as Grid
from rich.text import Text

from .content import Answer, NeedLine, PersonCard, ProofLine, Table, cell_text, clean, percent
from .language import tr
from .tables import heading

_BAR = 10
#: From this width on, the needs a sentence answers are named, not only numbered.
_WIDE = 100


def show_answer(said: Answer, lang: str, width: int, color: bool) -> str:
    """One suggestion: the needs as understood, the people with their proofs, what nobody covers."""
    blocks: list[RenderableType] = [_headline(said)]
    if said.needs:
        blocks += [_section(tr("Needs as understood", lang)), _needs(said.needs, lang)]
    if said.verdict:
        blocks += ["", Text(said.verdict, "bold yellow")]
    if said.people:
        concepts = {need.id: need.concept or need.text for need in said.needs} if width >= _WIDE else {}
        blocks.append(_section(tr("People", lang)))
        for number, person in enumerate(said.people):
            blocks += [*([""] if number else []), *_person(person, concepts, lang)]
    if said.gaps:
        blocks += [
            _section(tr("What is missing", lang)),
            *(_indented(Text(gap, "yellow")) for gap in said.gaps),
        ]
    if said.more:
        blocks += ["", Text(said.more, "dim")]
    return _print(blocks, width, color)


def show_table(table: Table, lang: str, width: int, color: bool) -> str:
    """Any table. Columns of numbers are aligned to the right."""
    title = clean(tr(table.title, lang))
    blocks: list[RenderableType] = [Text(title, "bold")] if title else []
    if table.columns:
        blocks.append(_grid(table, lang) if table.rows else Text(tr("Nothing to show.", lang)))
    blocks += [Text(clean(tr(note, lang))) for note in table.notes]
    return _print(blocks, width, color)


def _grid(table: Table, lang: str) -> Grid:
    long = any(isinstance(value, tuple) for row in table.rows for value in row)
    grid = Grid(box=box.SIMPLE_HEAD, pad_edge=False, header_style="bold", leading=int(long))
    for place, column in enumerate(table.columns):
        numbers = all(row[place] is None or _is_number(row[place]) for row in table.rows)
        grid.add_column(Text(heading(column, lang)), justify="right" if numbers else "left", overflow="fold")
    for row in table.rows:
        grid.add_row(*(Text(_lines(value, lang)) for value in row))
    return grid


def _lines(value: object, lang: str) -> str:
    """A cell; the items of a tuple stand on lines of their own."""
    return "\n".join(cell_text(v, lang) for v in value) if isinstance(value, tuple) else cell_text(value, lang)


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _headline(said: Answer) -> Text:
    line = Text("  ".join(part for part in (said.id, said.title) if part), "bold")
    return line.append(f"  ({said.lab})", "not bold") if said.lab else line


def _section(name: str) -> Padding:
    return Padding(Text(name, "bold underline"), (1, 0, 0, 0))


def _indented(block: RenderableType) -> Padding:
    return Padding(block, (0, 0, 0, 2))


def _needs(needs: Iterable[NeedLine], lang: str) -> Padding:
    grid = Grid.grid(padding=(0, 2, 0, 0))
    grid.add_column(max_width=12, overflow="fold")
    grid.add_column(no_wrap=True)
    grid.add_column(max_width=28, overflow="fold")
    grid.add_column(ratio=1, overflow="fold")
    for need in needs:
        must = f" {tr('must', lang)}" if need.must else ""
        weight = Text.assemble((need.weight, "cyan"), (must, "bold"))
        grid.add_row(Text(need.id), weight, Text(need.concept, "cyan"), Text(need.text))
    return _indented(grid)


def _person(person: PersonCard, concepts: dict[str, str], lang: str) -> list[RenderableType]:
    head = Grid.grid(padding=(0, 2, 0, 0), expand=True)
    head.add_column(no_wrap=True)
    head.add_column(ratio=1, overflow="fold")
    head.add_column(no_wrap=True, justify="right")
    full = round(_BAR * min(max(person.score, 0.0), 1.0))
    score = Text.assemble(("█" * full + "░" * (_BAR - full), "green"), f" {percent(person.score, lang):>5}")
    head.add_row(Text(f"{person.rank:>2}."), Text(person.who, "bold"), score)
    place = Text(person.place)
    if person.cross_lab:
        place.append(" · " if person.place else "").append("◆ " + tr("other lab", lang), "cyan")
    body: list[RenderableType] = [place] if place.plain else []
    if person.proofs:
        body.append(_proofs(person.proofs, concepts, lang))
    if person.silent:
        needs = ", ".join(person.silent)
        body.append(Text(tr("nothing in the profile on {needs}", lang, needs=needs), "dim"))
    if person.thin:
        body.append(Text(tr("thin profile: little to go by, so the score is less certain", lang), "yellow"))
    return [head, *(Padding(block, (0, 0, 0, 5)) for block in body)]


def _proofs(proofs: Iterable[ProofLine], concepts: dict[str, str], lang: str) -> Grid:
    grid = Grid.grid(padding=(0, 2, 0, 0))
    named = 28 if concepts else 12
    grid.add_column(max_width=named, overflow="fold")
    grid.add_column(no_wrap=True, justify="right")
    grid.add_column(ratio=1, overflow="fold")
    for proof in proofs:
        sentence = Text(proof.text)
        if proof.source:
            sentence.append(f" {proof.source}", "dim")
        # A need and its score share a line, so a name must not wrap.
        names = [_fit(f"{need} {concepts.get(need, '')}".strip(), named) for need, _ in proof.needs]
        scores = [percent(score, lang) for _, score in proof.needs]
        grid.add_row(Text("\n".join(names)), Text("\n".join(scores), "green"), sentence)
    return grid


def _fit(text: str, width: int) -> str:
    line = Text(text)
    line.truncate(width, overflow="ellipsis")
    return line.plain


def _print(blocks: Iterable[RenderableType], width: int, color: bool) -> str:
    out = io.StringIO()
    console = Console(
        file=out,
        width=width,
        force_terminal=color,
        force_jupyter=False,
        color_system="standard" if color else None,
        no_color=not color,
        markup=False,
        emoji=False,
        highlight=False,
        legacy_windows=False,
    )
    for block in blocks:
        console.print(block)
    return "".join(line.rstrip(" ") + "\n" for line in out.getvalue().splitlines())
