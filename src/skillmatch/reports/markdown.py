"""Results as Markdown (GitHub's and GitLab's, with tables); what comes from data is escaped."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from .content import Answer, PersonCard, Table, cell_text, clean, percent
from .language import tr
from .tables import heading

# What means something inside a line; data never begins one. An underscore within a word is only itself.
_SPECIAL = re.compile(r"[\\`*\[\]|~$#]|(?<![^\W_])_|_(?![^\W_])")
_HTML = str.maketrans({"&": "&amp;", "<": "&lt;", ">": "&gt;"})


def escape(text: str) -> str:
    """``text`` as it is, whatever Markdown or HTML it looks like; one line."""
    return _SPECIAL.sub(r"\\\g<0>", clean(text)).translate(_HTML)


def answer_page(said: Answer, lang: str, level: int = 1) -> str:
    """One suggestion under a heading of ``level``."""
    mark = "#" * level
    parts = [f"{mark} {escape(_name(said))}", escape(said.about)]
    if said.needs:
        heads = [tr("need", lang), tr("weight", lang), tr("skill", lang), tr("text", lang)]
        must = f" **{tr('must', lang)}**"
        needs = ((n.id, n.weight + (must if n.must else ""), n.concept, n.text) for n in said.needs)
        rows = [(escape(i), weight, escape(concept), escape(text)) for i, weight, concept, text in needs]
        parts += [f"{mark}# {tr('Needs as understood', lang)}", _table(heads, rows)]
    if said.verdict:
        parts.append(f"**{said.verdict}**")
    if said.people:
        parts.append(f"{mark}# {tr('People', lang)}")
        parts += [_person(person, mark + "##", lang) for person in said.people]
    if said.gaps:
        gaps = "\n".join(f"- {escape(gap)}" for gap in said.gaps)
        parts += [f"{mark}# {tr('What is missing', lang)}", gaps]
    if said.more:
        parts.append(escape(said.more))
    return "\n\n".join(parts) + "\n"


def answers_page(table: Table, answers: Sequence[Answer], lang: str) -> str:
    """A table; where its rows are several suggestions, each of them below."""
    title = escape(tr(table.title, lang))
    parts = [f"# {title}\n"] if title else []
    if table.rows:
        rows = [[_cell(value, lang) for value in row] for row in table.rows]
        parts.append(_table([heading(column, lang) for column in table.columns], rows) + "\n")
    elif table.columns:
        parts.append(tr("Nothing to show.", lang) + "\n")
    parts += [f"- {escape(tr(note, lang))}\n" for note in table.notes]
    return "\n".join([*parts, *(answer_page(said, lang, level=2) for said in answers)])


def _name(said: Answer) -> str:
    return f"{said.id} {said.title}".strip()


def _person(person: PersonCard, mark: str, lang: str) -> str:
    about = [f"**{percent(person.score, lang)}**"]
    about += [escape(person.place)] if person.place else []
    about += [f"**{tr('other lab', lang)}**"] if person.cross_lab else []
    parts = [f"{mark} {person.rank}. {escape(person.who)}", " · ".join(about)]
    if person.proofs:
        rows = []
        for proof in person.proofs:
            needs = "<br>".join(f"{escape(need)} {percent(score, lang)}" for need, score in proof.needs)
            rows.append((needs, escape(proof.text), escape(proof.source)))
        parts.append(_table([tr("need", lang), tr("evidence", lang), tr("source", lang)], rows))
    if person.silent:
        parts.append(tr("nothing in the profile on {needs}", lang, needs=escape(", ".join(person.silent))))
    if person.thin:
        parts.append(f"*{tr('thin profile: little to go by, so the score is less certain', lang)}*")
    return "\n\n".join(parts)


def _cell(value: object, lang: str) -> str:
    if isinstance(value, tuple):
        return "<br>".join(escape(cell_text(v, lang)) for v in value)
    return escape(cell_text(value, lang))


def _table(heads: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Rows whose cells are Markdown already, under heads that are not."""
    lines = ([escape(head) for head in heads], ["---"] * len(heads), *rows)
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)
