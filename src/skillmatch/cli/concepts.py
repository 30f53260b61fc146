"""skills: the taxonomy, and what it makes of a text."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import asdict
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ..errors import UsageError
from . import complete, options
from .session import Page, Session, session_of

if TYPE_CHECKING:
    from ..matcher import Matcher
    from ..taxonomy import Concept, Taxonomy

#: Texts linked in one go.
_BLOCK = 256


def register(app: typer.Typer) -> None:
    """Add the commands of this file to ``app``."""
    group = typer.Typer(
        no_args_is_help=True,
        rich_markup_mode=None,
        help="The skills that are known, and what they are called.",
    )
    group.command("list")(list_)
    group.command("show")(show)
    group.command("search", no_args_is_help=True)(search)
    app.add_typer(group, name="skills")


def _taxonomy(session: Session) -> Taxonomy:
    """The shipped concepts, and the lab's own where there is a workspace."""
    from ..taxonomy import Taxonomy

    workspace = session.workspace_or_none
    if workspace is None:
        return Taxonomy.shipped()
    from ..sources import read_workspace
    from ..training import workspace_taxonomy

    return workspace_taxonomy(workspace, read_workspace(workspace))


def list_(
    ctx: typer.Context,
    family: options.Family = None,
    fmt: options.Format = None,
    out: options.Out = None,
) -> None:
    """List the skills that are known, with their French and English labels.

    Example: skillmatch skills list --family online
    """
    from ..records import FAMILIES
    from ..reports import Table, format_of

    session = session_of(ctx)
    kind = format_of(out, fmt)
    for one in family or ():
        if one not in FAMILIES:
            raise UsageError(f"There is no family '{one}'.", f"Use one of: {', '.join(FAMILIES)}.")
    chosen = [c for c in _taxonomy(session).concepts if not family or set(family) & set(c.families)]
    rows = tuple((c.id, c.label_en, c.label_fr, c.families, c.source) for c in chosen)
    title = session.tr("{count} skills", count=len(rows))
    session.emit(Table(title, ("id", "label", "label_fr", "families", "source"), rows), kind, out)


def show(
    ctx: typer.Context,
    concept: Annotated[
        str, typer.Argument(metavar="ID", help="The skill's id or label.", autocompletion=complete.skills)
    ],
    fmt: options.Format = None,
    out: options.Out = None,
) -> None:
    """Show one skill: its names, meaning and relations.

    Example: skillmatch skills show gpu-computing
    """
    from ..reports import Table, format_of

    session = session_of(ctx)
    kind = format_of(out, fmt)
    taxonomy = _taxonomy(session)
    found = _find(taxonomy, concept)
    narrower = tuple(c.id for c in taxonomy.concepts if found.id in c.broader)
    data = {"schema": "skillmatch.concept/1", **asdict(found), "narrower": narrower}
    hidden = ("schema", "practice", "requests", "licence", "uri")
    rows = [(k, list(v) if isinstance(v, tuple) else v) for k, v in data.items() if v and k not in hidden]
    rows.append(("examples", len(found.practice) + len(found.requests)))
    title = found.label(session.lang)
    table = Table(title, ("what", "value"), tuple((session.tr(k.replace("_", " ")), v) for k, v in rows))
    session.emit(Page((table,), data), kind, out)


def _find(taxonomy: Taxonomy, name: str) -> Concept:
    """By id, else by any of its wordings. Raises ``UsageError`` with the nearest."""
    from rapidfuzz import fuzz, process, utils

    if name in taxonomy:
        return taxonomy[name]
    wordings = {word: c.id for c in taxonomy.concepts for word in (c.id, *c.wordings())}
    same = {c for word, c in wordings.items() if word.casefold() == name.strip().casefold()}
    if len(same) == 1:
        return taxonomy[same.pop()]
    word = utils.default_process(name)
    near = [c.id for c in taxonomy.concepts if word and word in utils.default_process(f"{c.id} {c.label_en}")]
    found = process.extract(
        word, list(wordings), scorer=fuzz.ratio, processor=utils.default_process, limit=8, score_cutoff=60
    )
    near = near[:3] + [wordings[best] for best, _, _ in found]
    said = f"Did you mean: {', '.join(list(dict.fromkeys(near))[:5])}? " if near else ""
    raise UsageError(f"There is no skill '{name}'.", f"{said}All of them: skillmatch skills list")


def search(
    ctx: typer.Context,
    text: Annotated[str | None, typer.Argument(metavar="TEXT", help="A text, in quotes.", show_default=False)] = None,
    file: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="A text file: each line by itself.", show_default=False),
    ] = None,
    top: Annotated[int, typer.Option(metavar="N", help="How many skills a text.", min=1, max=1000)] = 10,
    fmt: options.Format = None,
    out: options.Out = None,
) -> None:
    """Find the skills that a text speaks of, most likely first.

    Example: skillmatch skills search "porter un code de simulation sur carte graphique" --top 3
    """
    from ..matcher import load
    from ..reports import format_of, render
    from ..sources import read_lines

    session = session_of(ctx)
    kind = format_of(out, fmt)
    if (text is None) == (file is None):
        raise UsageError(
            "Give either a text or a file.", 'For example: skillmatch skills search "porter un code sur GPU"'
        )
    if text is not None and not text.strip():
        raise UsageError("The text is empty.", 'Give some words: skillmatch skills search "code sur GPU"')
    texts = [text] if text is not None else read_lines(file or Path())
    matcher = load(session.workspace)
    linked = _linked(session, matcher, texts, top)
    if kind == "jsonl":
        session.stream((render(entry, kind) for entry in linked), out)
        return
    found = list(linked)
    session.emit(found[0] if text is not None else found, kind, out)


def _linked(session: Session, matcher: Matcher, texts: Iterable[str], top: int) -> Iterator[dict[str, Any]]:
    """The contract's object for each text, a block at a time."""
    taxonomy = _taxonomy(session)
    rest = iter(texts)
    while block := list(islice(rest, _BLOCK)):
        for text, found in zip(block, matcher.link(block, top), strict=True):
            skills = [_skill(matcher, taxonomy, concept, score) for concept, score in found]
            yield {"schema": "skillmatch.skills/1", "text": text, "skills": skills}


def _skill(matcher: Matcher, taxonomy: Taxonomy, concept: str, score: float) -> dict[str, Any]:
    english, french = matcher.labels[concept]
    try:
        uri, source = taxonomy[concept].uri, taxonomy[concept].source
    except KeyError:  # the version knows a concept that data/skills.csv no longer holds
        uri, source = "", "lab"
    return {
        "id": concept,
        "label": english or french or concept,
        "label_fr": french or english or concept,
        "uri": uri,
        "source": source,
        "score": min(max(float(score), 0.0), 1.0),
    }
