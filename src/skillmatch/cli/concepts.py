"""skills: what is known, how a text is linked to it, and how it grows."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ..errors import UsageError
from . import complete, options
from .failures import show_problems
from .session import READ_FORMATS, Page, Session, session_of

if TYPE_CHECKING:
    from ..errors import Problem
    from ..matcher import Matcher
    from ..runtime import Workspace
    from ..sources import Dataset
    from ..taxonomy import Concept, Taxonomy
    from ..taxonomy.imports import Download
    from ..taxonomy.linking import Entry, LabelIndex
    from ..taxonomy.merging import Merged, Summary
    from ..taxonomy.unmatched import Unmatched

#: Texts linked in one go.
_BLOCK = 256
#: More warnings of an import than this are counted, not listed; JSON holds them all.
_WARNINGS_SHOWN = 20


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
    group.command("unmatched")(unmatched)
    group.command("import", no_args_is_help=True)(import_)
    app.add_typer(group, name="skills")


def _known(session: Session) -> Merged:
    """The shipped concepts; where there is a workspace, the lab's own and the imported ones with them."""
    from ..taxonomy import Taxonomy
    from ..taxonomy.known import everything
    from ..taxonomy.merging import Merged

    workspace = session.workspace_or_none
    if workspace is None:
        return Merged(Taxonomy.shipped())
    return everything(workspace.data, _own(workspace))


def _own(workspace: Workspace, dataset: Dataset | None = None) -> Taxonomy:
    """The shipped concepts and the lab's own."""
    from ..sources import read_workspace
    from ..training import workspace_taxonomy

    return workspace_taxonomy(workspace, dataset or read_workspace(workspace))


# --- list, show ---------------------------------------------------------------------------------------


def list_(
    ctx: typer.Context,
    family: options.Family = None,
    fmt: options.Format = None,
    out: options.Out = None,
) -> None:
    """List the skills that are known, with their French and English labels.

    Imported ones are named with their source and its licence.

    Example: skillmatch skills list --family online
    """
    from ..records import FAMILIES
    from ..reports import Table, format_of

    session = session_of(ctx)
    kind = format_of(out, fmt)
    for one in family or ():
        if one not in FAMILIES:
            raise UsageError(f"There is no family '{one}'.", f"Use one of: {', '.join(FAMILIES)}.")
    known = _known(session)
    chosen = [c for c in known.taxonomy.concepts if not family or set(family) & set(c.families)]
    rows = tuple(
        (c.id, c.label_en, c.label_fr, c.families, *(_joined(known, c, what) for what in ("source", "licence")))
        for c in chosen
    )
    title = session.tr("{count} skills", count=len(rows))
    session.emit(Table(title, ("id", "label", "label_fr", "families", "source", "licence"), rows), kind, out)


def _joined(known: Merged, concept: Concept, what: str) -> str:
    """Source or licence of a concept, with those of the imported skills that were merged into it."""
    every = (concept, *(t.concept for t in known.twins.get(concept.id, ())))
    return ", ".join(dict.fromkeys(said for c in every if (said := str(getattr(c, what)))))


def show(
    ctx: typer.Context,
    concept: Annotated[
        str,
        typer.Argument(metavar="ID", help="The skill's id, label or address.", autocompletion=complete.known_skills),
    ],
    fmt: options.Format = None,
    out: options.Out = None,
) -> None:
    """Show one skill: its names, meaning, relations, source and licence.

    Example: skillmatch skills show gpu-computing
    """
    from ..reports import Table, format_of

    session = session_of(ctx)
    kind = format_of(out, fmt)
    known = _known(session)
    found = _find(known, concept)
    twins = [_twin(t.concept) for t in known.twins.get(found.id, ())]
    narrower = tuple(c.id for c in known.taxonomy.concepts if found.id in c.broader)
    data = {"schema": "skillmatch.concept/1", **asdict(found), "narrower": narrower, "merged": twins}
    hidden = ("schema", "practice", "requests", "merged")
    rows = [(k, list(v) if isinstance(v, tuple) else v) for k, v in data.items() if v and k not in hidden]
    rows += [("same as", ", ".join(v for v in (t["id"], t["source"], t["licence"], t["uri"]) if v)) for t in twins]
    rows.append(("examples", len(found.practice) + len(found.requests)))
    title = found.label(session.lang)
    table = Table(title, ("what", "value"), tuple((session.tr(k.replace("_", " ")), v) for k, v in rows))
    session.emit(Page((table,), data), kind, out)


def _twin(concept: Concept) -> dict[str, str]:
    """An imported skill that was merged into another."""
    return {k: str(getattr(concept, k)) for k in ("id", "label_en", "label_fr", "uri", "source", "licence")}


def _find(known: Merged, name: str) -> Concept:
    """By id or address, else by its labels, else by any of its wordings. Raises ``UsageError`` with the nearest."""
    from rapidfuzz import fuzz, process, utils

    taxonomy = known.taxonomy
    wanted = name.strip()
    for same in (known.host(wanted), known.addressed(wanted)):
        if same in taxonomy:
            return taxonomy[same]
    said = wanted.casefold()
    called = [c for c in taxonomy.concepts if any(t.casefold() == said for t in (c.id, *c.wordings()))]
    titled = [c for c in called if said in (c.id, c.label_en.casefold(), c.label_fr.casefold())]
    for same_name in (titled, called):
        if len(same_name) == 1:
            return same_name[0]
    wordings = {word: c.id for c in taxonomy.concepts for word in (c.id, *c.wordings())}
    word = utils.default_process(name)
    near = [c.id for c in taxonomy.concepts if word and word in utils.default_process(f"{c.id} {c.label_en}")]
    found = process.extract(
        word, list(wordings), scorer=fuzz.ratio, processor=utils.default_process, limit=8, score_cutoff=60
    )
    near = near[:3] + [wordings[best] for best, _, _ in found]
    said = f"Did you mean: {', '.join(list(dict.fromkeys(near))[:5])}? " if near else ""
    raise UsageError(f"There is no skill '{name}'.", f"{said}All of them: skillmatch skills list")


# --- search -------------------------------------------------------------------------------------------


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

    Among all that is known: shipped, the lab's own, and imported.

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
    linked = _linked(matcher, _index(session, matcher), texts, top)
    if kind == "jsonl":
        session.stream((render(entry, kind) for entry in linked), out)
        return
    found = list(linked)
    session.emit(found[0] if text is not None else found, kind, out)


def _index(session: Session, matcher: Matcher) -> LabelIndex:
    """The index over everything the workspace knows; made now where something was imported since the training."""
    from ..taxonomy.known import label_index

    workspace = session.workspace
    with session.progress(lines=True) as stage:
        return label_index(
            workspace.models, workspace.data, _own(workspace), matcher.encoder, lambda n, of: stage("labels", n, of)
        )


def _linked(matcher: Matcher, index: LabelIndex, texts: Sequence[str], top: int) -> Iterator[dict[str, Any]]:
    """The contract's object for each text, as they come."""
    concepts = [c[0] for c in matcher.concepts]
    for start in range(0, len(texts), _BLOCK):
        block = texts[start : start + _BLOCK]
        found = index.linked(block, matcher.encoder, top, model=matcher.model, concepts=concepts)
        for text, linked in zip(block, found, strict=True):
            skills = [_skill(index.entries[place], score) for place, score in linked]
            yield {"schema": "skillmatch.skills/1", "text": text, "skills": skills}


def _skill(entry: Entry, score: float) -> dict[str, Any]:
    return {
        "id": entry.id,
        "label": entry.label_en or entry.label_fr or entry.id,
        "label_fr": entry.label_fr or entry.label_en or entry.id,
        "uri": entry.uri,
        "source": entry.source,
        "score": min(max(score, 0.0), 1.0),
    }


# --- unmatched ----------------------------------------------------------------------------------------


def unmatched(
    ctx: typer.Context,
    top: Annotated[int, typer.Option(metavar="N", help="How many phrases to show.", min=1, max=1000)] = 30,
    fmt: options.Format = None,
    out: options.Out = None,
) -> None:
    """List the words of profiles and needs that no skill covers, most frequent first.

    Each with the skill that its texts are nearest to, and one of these texts: a row in data/skills.csv makes it known.

    Example: skillmatch skills unmatched --top 20
    """
    from ..matcher import load
    from ..reports import Table, format_of
    from ..sources import read_workspace
    from ..taxonomy import NameIndex
    from ..taxonomy.known import everything
    from ..taxonomy.unmatched import unmatched as find

    session = session_of(ctx)
    kind = format_of(out, fmt)
    workspace = session.workspace
    dataset = read_workspace(workspace).require()
    matcher = load(workspace)
    own = _own(workspace, dataset)
    names = NameIndex.build(everything(workspace.data, own).taxonomy)
    concepts = [c[0] for c in matcher.concepts]
    found = find(_texts(dataset), own, names, matcher.model, concepts, matcher.encoder, top, _proper(dataset))
    rows = [_phrase(one, matcher) for one in found]
    if kind in ("json", "jsonl"):
        data = {"schema": "skillmatch.unmatched/1", "model": matcher.version, "phrases": rows}
        session.emit(Page((), data), kind, out)
        return
    columns: tuple[str, ...] = ("words", "count", "concept", "label", "label_fr", "example")
    if kind in READ_FORMATS:
        columns = ("words", "count", "label_fr" if session.lang == "fr" else "label", "example")
    title = session.tr("{count} phrases that no skill covers", count=len(rows))
    note = session.tr("To make one known, give it a row in data/skills.csv, then run: skillmatch train")
    session.emit(Table(title, columns, tuple(tuple(r[c] for c in columns) for r in rows), (note,)), kind, out)


def _texts(dataset: Dataset) -> list[str]:
    """What people who may be shown claim and write, and what projects ask for, a sentence each."""
    from ..sources import split_sentences

    out = []
    for person in dataset.profiles:
        if person.consent is not False:
            out += [*(c.name for c in person.skills), *(e.text for e in person.evidence)]
    for project in dataset.projects:
        out += [*(n.text for n in project.needs), *split_sentences(f"{project.title}.\n{project.description}")]
    return out


def _proper(dataset: Dataset) -> set[str]:
    """Names of labs, sites and people, which are no skills."""
    people = {name for p in dataset.profiles for name in (p.name, p.lab, p.site)}
    return people | {p.lab for p in dataset.projects}


def _phrase(found: Unmatched, matcher: Matcher) -> dict[str, Any]:
    english, french = matcher.labels.get(found.concept, ("", ""))
    labels = {"label": english or french or found.concept, "label_fr": french or english or found.concept}
    return {"words": found.words, "count": found.count, "concept": found.concept, **labels, "example": found.example}


# --- import -------------------------------------------------------------------------------------------


def import_(
    ctx: typer.Context,
    kind: Annotated[
        str,
        typer.Argument(
            metavar="KIND", help="esco, referens, rome, onet, or csv for any table.", autocompletion=complete.kinds
        ),
    ],
    path: Annotated[
        Path | None, typer.Argument(metavar="PATH", help="The file or folder as published.", show_default=False)
    ] = None,
    undo: Annotated[bool, typer.Option("--undo", help="Take the last import of this kind back.")] = False,
    fmt: options.Format = None,
    out: options.Out = None,
) -> None:
    """Add the skills of a published taxonomy to those that are known.

    esco takes the folder of the official CSV download, in any of its languages. What is known already is not
    doubled; source and licence are kept with each skill. An import takes the place of the one of its kind before it.

    Example: skillmatch skills import esco ESCO-download/
    """
    from ..reports import format_of

    session = session_of(ctx)
    shown = format_of(out, fmt)
    if undo == (path is not None):
        raise UsageError(
            "Name a file or folder to import, or take an import back with --undo.",
            f"skillmatch skills import {kind} PATH, or: skillmatch skills import {kind} --undo",
        )
    if path is None:
        _take_back(session, kind, shown, out)
    else:
        _import(session, kind, path.expanduser(), shown, out)


def _import(session: Session, kind: str, path: Path, fmt: str, out: Path | None) -> None:
    from ..reports import Table
    from ..taxonomy.imports import read_taxonomy
    from ..taxonomy.merging import write_import

    workspace = session.workspace
    own = _own(workspace)
    download = read_taxonomy(kind, path)
    done = write_import(workspace.data, download, own)
    if download.problems and not session.json and not session.quiet:
        _warn(session, download.problems)
    title = session.tr("Imported {skills} skills into data/{file}", skills=done.skills, file=done.file)
    told = [(session.tr(what), value) for what, value in _told(session, done, download)]
    table = Table(title, ("what", "value"), tuple(told))
    session.emit(Page((table,), _import_data(done, download)), fmt, out)
    if not session.quiet and fmt in READ_FORMATS:
        session.say("To use them, run: skillmatch train")
        session.say("To take them back: {command}", command=f"skillmatch skills import {kind} --undo")


def _warn(session: Session, problems: Sequence[Problem]) -> None:
    show_problems(problems[:_WARNINGS_SHOWN], session)
    more = len(problems) - _WARNINGS_SHOWN
    if more > 0:
        session.say("{more} more; --format json lists all of them.", more=more)


def _told(session: Session, done: Summary, download: Download) -> Iterator[tuple[str, object]]:
    yield "rows read", done.read
    yield "skills", done.skills
    yield "new", done.new
    yield "merged into known ones", done.merged
    for label, host in done.examples:
        yield "for example", f"{label} = {host}"
    yield "rows that repeat a skill", done.repeated
    yield "rows left out", len(download.problems)
    if done.replaced:
        yield "skills of the import before", done.replaced
    yield "licence", download.licence or session.tr("none given")


def _import_data(done: Summary, download: Download) -> Mapping[str, Any]:
    counts = {k: getattr(done, k) for k in ("read", "skills", "new", "merged", "repeated", "replaced")}
    return {
        "schema": "skillmatch.import/1",
        "kind": done.kind,
        "file": f"data/{done.file}",
        "licence": download.licence,
        "sources": [asdict(f) for f in download.files],
        **counts,
        "left_out": len(download.problems),
        "examples": [{"label": label, "concept": host} for label, host in done.examples],
        "problems": [{k: v for k, v in asdict(p).items() if k != "severity"} for p in download.problems],
    }


def _take_back(session: Session, kind: str, fmt: str, out: Path | None) -> None:
    from ..reports import Table
    from ..taxonomy.merging import remove_import

    left = remove_import(session.workspace.data, kind)
    told = session.tr("Taken back; nothing of the kind {kind} is imported any more", kind=kind)
    if left:
        told = session.tr("Taken back; the {left} skills of the import before are there again", left=left)
    data = {"schema": "skillmatch.undo/1", "kind": kind, "left": left}
    session.emit(Page((Table(told, (), ()),), data), fmt, out)
    if not session.quiet and fmt in READ_FORMATS:
        session.say("To answer without them, run: skillmatch train")
