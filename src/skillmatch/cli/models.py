"""models: which versions there are, what differs between two, which one answers."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ..errors import ModelError, NoModelError, SkillmatchError
from . import complete, options
from .session import READ_FORMATS, Page, Session, session_of, short_time

if TYPE_CHECKING:
    from ..reports import Table
    from ..store import Store
    from ..training import Moved

Version = Annotated[str, typer.Argument(metavar="ID", help="The version's id.", autocompletion=complete.versions)]

#: Ids that a cell names; the others are counted.
_NAMED = 8
#: Rows that a table lists; the others are counted.
_LISTED = 10


def register(app: typer.Typer) -> None:
    """Add the commands of this file to ``app``."""
    group = typer.Typer(
        no_args_is_help=True,
        rich_markup_mode=None,
        help="The trained versions: which there are, which one answers.",
    )
    for name, command in (("list", list_), ("show", show), ("diff", diff), ("promote", promote)):
        group.command(name)(command)
    group.command("rollback")(rollback)
    group.command("prune")(prune)
    app.add_typer(group, name="models")


def store_of(session: Session) -> Store:
    """The versions of the workspace."""
    from ..store import Store

    return Store(session.workspace.models)


def list_(ctx: typer.Context, fmt: options.Format = None, out: options.Out = None) -> None:
    """List the versions, oldest first, and which one answers.

    Example: skillmatch models list
    """
    from ..reports import Table, format_of

    session = session_of(ctx)
    kind = format_of(out, fmt)
    store = store_of(session)
    current = store.current()
    trained = {e.get("version"): e for e in store.history() if e["event"] == "trained"}
    rows = [_version_row(store, v, v == current, trained.get(v, {})) for v in store.versions()]
    columns = tuple(rows[0]) if rows else ("version", "current")
    if kind in READ_FORMATS:
        columns = ("version", "current", "trained", "people", "why")
        rows = [row | {"trained": short_time(row["trained"])} for row in rows]
    notes = () if rows else (session.tr("Nothing is trained yet: skillmatch train"),)
    session.emit(Table("", columns, tuple(tuple(row[c] for c in columns) for row in rows), notes), kind, out)


def _version_row(store: Store, version: str, current: bool, trained: dict[str, Any]) -> dict[str, Any]:
    try:
        manifest, note = store.manifest(version), trained.get("why", "")
    except SkillmatchError as error:  # the others are listed all the same
        manifest, note = {}, error.message
    said = {"people": "people", "items": "items", "encoder": "encoder_name"}
    facts = {column: manifest.get(key) for column, key in said.items()}
    return {"version": version, "current": current, "trained": trained.get("time"), **facts, "why": note}


def show(
    ctx: typer.Context,
    version: Annotated[
        str | None,
        typer.Argument(
            metavar="ID",
            help="The version's id; the current one by default.",
            show_default=False,
            autocompletion=complete.versions,
        ),
    ] = None,
    fmt: options.Format = None,
    out: options.Out = None,
) -> None:
    """Show one version, and whether its files are whole.

    Example: skillmatch models show
    """
    from ..reports import Table, format_of

    session = session_of(ctx)
    kind = format_of(out, fmt)
    store = store_of(session)
    chosen = version or store.current()
    if chosen is None:
        raise NoModelError("Nothing is trained yet in this workspace.", "Run: skillmatch train")
    manifest = store.verify(chosen)
    retrain = _retrain(store.folder(chosen), manifest)
    events = [e for e in store.history() if e.get("version") == chosen]
    files = manifest.pop("files")
    size = sum(f["size"] for f in files.values())
    facts = {"version": chosen, "current": chosen == store.current(), **manifest}
    facts |= {"files": len(files), "megabytes": round(size / 1e6, 1)}
    notes = () if retrain is None else (retrain,)
    about = Table("", ("what", "value"), tuple(facts.items()), notes)
    past = Table("History", ("time", "event", "why"), tuple((e.get("time"), e["event"], e.get("why")) for e in events))
    session.emit(Page((about, past), {**facts, "retrain": retrain, "files": files, "history": events}), kind, out)


def _retrain(folder: Path, manifest: dict[str, Any]) -> str | None:
    """What keeps the scikit-learn part of a version from being opened, and what to do; None where nothing does.

    Answers don't need it.
    """
    from ..training import check_pipeline

    try:
        check_pipeline(folder, manifest)
    except ModelError as error:
        return f"{error.message} {error.hint}"
    return None


# --- what differs ---------------------------------------------------------------------------------------


def diff(
    ctx: typer.Context,
    first: Annotated[str, typer.Argument(metavar="ID", help="The version before.", autocompletion=complete.versions)],
    second: Annotated[
        str | None,
        typer.Argument(
            metavar="ID",
            help="The version after; the current one by default.",
            show_default=False,
            autocompletion=complete.versions,
        ),
    ] = None,
    fmt: options.Format = None,
    out: options.Out = None,
) -> None:
    """Show what moved from one version to another.

    People who came, changed and left; projects that have another person first; whose rank moved most and which
    part of the score did it; how well both rank, on judgements that neither has learned from.

    Example: skillmatch models diff v0123456789ab
    """
    from dataclasses import replace

    from ..matcher import load
    from ..reports import format_of
    from ..sources import read_workspace
    from ..training import Folds, duel, moved, rival_of

    session = session_of(ctx)
    kind = format_of(out, fmt)
    store = store_of(session)
    chosen = (first, second or store.current())
    if chosen[1] is None:
        raise NoModelError("Nothing is trained yet in this workspace.", "Run: skillmatch train")
    dataset = read_workspace(session.workspace).require()
    one, other = (load(session.workspace, version) for version in chosen)
    if one.encoder.fingerprint == other.encoder.fingerprint:
        other = replace(other, encoder=one.encoder)
    seed = int(session.settings["seed"])
    rivals = [
        rival_of(m, Folds.load(store.folder(m.version)), dataset.projects, dataset.judgements, seed)
        for m in (one, other)
    ]
    verdict = duel(rivals[0], rivals[1], dataset.projects, dataset.judgements, seed)
    found = moved(one, other, dataset.projects, verdict.measures)
    session.emit(Page(moved_tables(session, found), moved_data(found)), kind, out)


def moved_data(moved: Moved) -> dict[str, Any]:
    """What moved, for programs."""
    data = asdict(moved)
    measures = data.pop("measures")
    named = {m: dict(zip(("before", "after", "difference"), parts, strict=True)) for m, parts in measures.items()}
    return {"schema": "skillmatch.diff/1", **data, "measures": named}


def moved_tables(session: Session, moved: Moved) -> tuple[Table, ...]:
    """What moved, for people; tables of nothing are left out."""
    from ..reports import Table

    title = session.tr("From {first} to {second}", first=moved.first, second=moved.second)
    people = (
        ("people who came", moved.added),
        ("profiles changed", moved.changed),
        ("people who left", moved.removed),
    )
    rows: list[tuple[object, ...]] = [(session.tr(what), len(ids), _ids(session, ids)) for what, ids in people]
    rows.append((session.tr("claims and sentences of those"), moved.embedded, ""))
    rows.append((session.tr("projects compared"), moved.projects, ""))
    tables = [Table(title, ("what", "count", "ids"), tuple(rows))]
    if moved.firsts:
        none = session.tr("nobody")
        firsts = tuple((f.project, f.before or none, f.after or none) for f in moved.firsts[:_LISTED])
        more = len(moved.firsts) - len(firsts)
        notes = (session.tr("and {count} more; models diff --format json lists all.", count=more),) if more else ()
        tables.append(Table("Another person first", ("project", "before", "after"), firsts, notes))
    if moved.farthest:
        columns = ("project", "profile", "rank before", "rank after", "because of", "raw score")
        moves = tuple(
            (m.project, m.profile, m.before, m.after, session.tr(m.part), f"{m.by:+.2f}") for m in moved.farthest
        )
        note = session.tr("others: their own score stood still, those around them moved.")
        tables.append(Table("Whose rank moved most", columns, moves, (note,)))
    if moved.measures:
        columns = ("metric", "before", "after", "difference", "p", "projects")
        measured = tuple(
            (name, _mean(before), _mean(after), _difference(c), round(c.p, 3), c.count)
            for name, (before, after, c) in moved.measures.items()
        )
        note = session.tr("On projects that neither version has learned from; in brackets 95 % intervals.")
        tables.append(Table("How well both rank", columns, measured, (note,)))
    return tuple(tables)


def _ids(session: Session, ids: tuple[str, ...]) -> str:
    said = ", ".join(ids[:_NAMED])
    more = len(ids) - _NAMED
    return said + (session.tr(" and {count} more", count=more) if more > 0 else "")


def _difference(c: Any) -> tuple[str, ...]:
    return (f"{c.difference:+.3f}", f"[{c.low:+.2f}, {c.high:+.2f}]")


def _mean(interval: Any) -> tuple[str, ...]:
    return (f"{interval.mean:.3f}", f"[{interval.low:.2f}, {interval.high:.2f}]")


# --- which one answers ----------------------------------------------------------------------------------


def promote(ctx: typer.Context, version: Version) -> None:
    """Make a version the one that answers.

    Example: skillmatch models promote v0123456789ab
    """
    session = session_of(ctx)
    store = store_of(session)
    before = store.current()
    store.promote(version, "asked for by: models promote")
    _tell_current(session, version, before)


def rollback(ctx: typer.Context) -> None:
    """Go back to the version that answered before.

    Example: skillmatch models rollback
    """
    session = session_of(ctx)
    store = store_of(session)
    before = store.current()
    _tell_current(session, store.rollback("asked for by: models rollback"), before)


def _tell_current(session: Session, version: str, before: str | None) -> None:
    from ..reports import Table

    none = session.tr("none")
    said = session.tr("Version {version} answers now; before: {before}", version=version, before=before or none)
    session.emit(Table(said, (), ()))


def prune(
    ctx: typer.Context,
    keep: Annotated[int, typer.Option(metavar="N", help="How many of the newest versions to keep.", min=0)] = 5,
) -> None:
    """Remove old versions for good.

    The version that answers always stays.

    Example: skillmatch models prune --keep 3
    """
    from ..reports import Table

    session = session_of(ctx)
    removed = store_of(session).prune(keep)
    title = session.tr("Removed: {versions}", versions=", ".join(removed) or session.tr("none"))
    session.emit(Table(title, (), ()))
