"""train, evaluate, models: build versions, measure them, choose which one answers."""

from __future__ import annotations

import math
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ..errors import DataError, NoModelError, NotPromotedError, SkillmatchError
from . import complete, options
from .session import READ_FORMATS, Page, Session, session_of, short_time

if TYPE_CHECKING:
    from ..reports import Table
    from ..store import Store
    from ..training import Evaluation, Report

Version = Annotated[str, typer.Argument(metavar="ID", help="The version's id.", autocompletion=complete.versions)]


def register(app: typer.Typer) -> None:
    """Add the commands of this file to ``app``."""
    app.command()(train)
    app.command()(evaluate)
    group = typer.Typer(
        no_args_is_help=True,
        rich_markup_mode=None,
        help="The trained versions: which there are, which one answers.",
    )
    for name, command in (("list", list_), ("show", show), ("promote", promote), ("rollback", rollback)):
        group.command(name)(command)
    group.command("prune")(prune)
    app.add_typer(group, name="models")


# --- train --------------------------------------------------------------------------------------------


def train(
    ctx: typer.Context,
    full: Annotated[bool, typer.Option("--full", help="Embed and learn everything anew.")] = False,
    encoder: Annotated[
        str | None,
        typer.Option(metavar="NAME_OR_DIR", help="Another sentence encoder, a name or a folder.", show_default=False),
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Do everything, write no version.")] = False,
    force: Annotated[bool, typer.Option("--force", help="Use the new version even if it is worse.")] = False,
) -> None:
    """Learn from the data; use the new version unless it is worse.

    Run it after profiles have changed. Only what changed is computed again.

    Example: skillmatch train
    """
    from .. import training

    session = session_of(ctx)
    session.flags["encoder"] = encoder
    settings = session.settings
    session.detail("Encoder: {name} ({source})", name=settings["encoder"], source=settings.sources["encoder"])
    with session.progress(lines=True) as stage:
        report = training.train(
            session.workspace, session.settings, full=full, dry_run=dry_run, force=force, stage=stage
        )
    session.emit(_report_table(session, report))
    if not report.promoted and not dry_run:
        raise NotPromotedError(
            f"Version {report.version} was built and kept aside; {report.previous} still answers.",
            f"Use it all the same with: skillmatch models promote {report.version}",
        )


def _report_table(session: Session, report: Report) -> Table:
    from ..reports import Table

    if report.version is None:
        title = session.tr("Nothing was written: a dry run")
    elif report.promoted:
        title = session.tr("Version {version} answers from now on", version=report.version)
    else:
        title = session.tr("Version {version} is not used", version=report.version)
    rows: list[tuple[object, ...]] = [
        ("people", report.people),
        ("claims and sentences", report.items),
        ("embedded anew", report.embedded),
        ("ranker", report.ranker),
        ("version before", report.previous or session.tr("none")),
        ("why", session.tr(report.reason)),
    ]
    rows += [(name.replace("_", " "), _figure(value)) for name, value in (report.metrics or {}).items()]
    return Table(title, ("what", "value"), tuple((session.tr(str(name)), value) for name, value in rows))


def _figure(value: Any) -> object:
    """A figure, or a list of them, as it fits a cell."""
    if isinstance(value, float):
        return round(value, 4)
    if isinstance(value, list | tuple):
        return [_figure(v) for v in value]
    return value


# --- evaluate -----------------------------------------------------------------------------------------


def evaluate(
    ctx: typer.Context,
    judgements: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Judgements to measure by, instead of the workspace's.", show_default=False),
    ] = None,
    model: Annotated[
        str | None,
        typer.Option(
            metavar="ID",
            help="The version to measure; the current one by default.",
            show_default=False,
            autocompletion=complete.versions,
        ),
    ] = None,
    fmt: options.Format = None,
    out: options.Out = None,
) -> None:
    """Measure how good the answers are, by judgements.

    How well people are ranked, how true the percentages are, when the answer is that nobody fits.

    Example: skillmatch evaluate --judgements data/judgements.csv
    """
    from .. import training
    from ..matcher import load
    from ..reports import format_of
    from ..sources import read_judgements, read_workspace

    session = session_of(ctx)
    kind = format_of(out, fmt)
    dataset = read_workspace(session.workspace).require()
    judged = dataset.judgements
    if judgements is not None:
        found, problems = read_judgements(judgements)
        if any(p.severity == "error" for p in problems):
            raise DataError(f"{judgements} has errors.", "Mend what is listed, then try again.", problems)
        judged = tuple(found)
    matcher = load(session.workspace, model)
    told = training.evaluate(matcher, dataset.projects, judged, int(session.settings["seed"]))
    data = {"schema": "skillmatch.evaluation/1", **asdict(told)}
    session.emit(Page(_evaluation_tables(session, told), data), kind, out)


def _evaluation_tables(session: Session, told: Evaluation) -> tuple[Table, ...]:
    from ..reports import Table

    names = list(dict.fromkeys(name for rows in told.groups.values() for name in rows))
    rows = []
    for group, values in told.groups.items():
        count = max(interval.count for interval in values.values())
        cells = [_interval(values[n]) if n in values else None for n in names]
        rows.append((session.tr(group), count, *cells))
    about = {"version": told.version, "projects": told.projects}
    title = session.tr("Version {version} on {projects} judged projects", **about)
    note = session.tr("Means; in brackets their 95 % bootstrap intervals.")
    ranking = Table(title, ("group", "projects", *names), tuple(rows), (note,))
    error = round(told.calibration.ece, 4) if told.calibration else None
    chances: list[tuple[object, ...]] = [("calibration error", error)]
    chances += [(name, None if math.isnan(v) else round(v, 4)) for name, v in told.abstention.items()]
    said = tuple((session.tr(str(name)), value) for name, value in chances)
    return (ranking, Table("Are its percentages true?", ("what", "value"), said))


def _interval(interval: Any) -> tuple[str, ...]:
    return (f"{interval.mean:.3f}", f"[{interval.low:.2f}, {interval.high:.2f}]")


# --- models -------------------------------------------------------------------------------------------


def _store(session: Session) -> Store:
    from ..store import Store

    return Store(session.workspace.models)


def list_(ctx: typer.Context, fmt: options.Format = None, out: options.Out = None) -> None:
    """List the versions, oldest first, and which one answers.

    Example: skillmatch models list
    """
    from ..reports import Table, format_of

    session = session_of(ctx)
    kind = format_of(out, fmt)
    store = _store(session)
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
    store = _store(session)
    chosen = version or store.current()
    if chosen is None:
        raise NoModelError("Nothing is trained yet in this workspace.", "Run: skillmatch train")
    manifest = store.verify(chosen)
    events = [e for e in store.history() if e.get("version") == chosen]
    files = manifest.pop("files")
    size = sum(f["size"] for f in files.values())
    facts = {"version": chosen, "current": chosen == store.current(), **manifest}
    facts |= {"files": len(files), "megabytes": round(size / 1e6, 1)}
    about = Table("", ("what", "value"), tuple(facts.items()))
    past = Table("History", ("time", "event", "why"), tuple((e.get("time"), e["event"], e.get("why")) for e in events))
    session.emit(Page((about, past), {**facts, "files": files, "history": events}), kind, out)


def promote(ctx: typer.Context, version: Version) -> None:
    """Make a version the one that answers.

    Example: skillmatch models promote v0123456789ab
    """
    session = session_of(ctx)
    store = _store(session)
    before = store.current()
    store.promote(version, "asked for by: models promote")
    _tell_current(session, version, before)


def rollback(ctx: typer.Context) -> None:
    """Go back to the version that answered before.

    Example: skillmatch models rollback
    """
    session = session_of(ctx)
    store = _store(session)
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
    removed = _store(session).prune(keep)
    title = session.tr("Removed: {versions}", versions=", ".join(removed) or session.tr("none"))
    session.emit(Table(title, (), ()))
