"""train, evaluate: build versions, measure them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ..errors import DataError, NotPromotedError, UsageError
from . import complete, models, options
from .session import Page, Session, session_of

if TYPE_CHECKING:
    from ..metrics import Comparison
    from ..reports import Table
    from ..reports.html import Reliability
    from ..training import Evaluation, Exposure, Report

    Compared = Mapping[str, Mapping[str, Comparison]]


def register(app: typer.Typer) -> None:
    """Add the commands of this file to ``app``."""
    app.command()(train)
    app.command()(evaluate)
    models.register(app)


# --- train --------------------------------------------------------------------------------------------


def train(
    ctx: typer.Context,
    full: Annotated[bool, typer.Option("--full", help="Embed and learn everything anew.")] = False,
    encoder: Annotated[
        str | None,
        typer.Option(metavar="NAME_OR_DIR", help="Another sentence encoder, a name or a folder.", show_default=False),
    ] = None,
    adapt: Annotated[
        bool, typer.Option("--adapt", help="First teach the encoder French by the taxonomy: minutes, once.")
    ] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Do everything, write nothing.")] = False,
    force: Annotated[bool, typer.Option("--force", help="Use the new version even if it is worse.")] = False,
    backend: options.Backend = options.Engine.local,
    scheduler: options.Scheduler = None,
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
    with options.workers(session, backend, scheduler) as workers, session.progress(lines=True) as stage:
        report = training.train(
            session.workspace,
            session.settings,
            full=full,
            adapt=adapt,
            dry_run=dry_run,
            force=force,
            stage=stage,
            backend=workers,
        )
    tables = [_report_table(session, report)]
    if report.moved is not None:
        tables += models.moved_tables(session, report.moved)
    session.emit(Page(tuple(tables), {}))
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
        ("answers learned from", report.answers),
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
        list[str] | None,
        typer.Option(
            metavar="ID",
            help="The version to measure; the current one by default. Given twice: two versions, compared. "
            "A version that is not the current one is compared with it.",
            show_default=False,
            autocompletion=complete.versions,
        ),
    ] = None,
    fmt: options.Format = None,
    out: options.Out = None,
) -> None:
    """Measure how good the answers are, by judgements.

    How well people are ranked, how true the percentages are, when the answer is that nobody fits.
    As HTML, with a picture of how true the percentages are.

    Example: skillmatch evaluate --out evaluation.html
    """
    from .. import training
    from ..reports import format_of

    session = session_of(ctx)
    kind = format_of(out, fmt)
    chosen = _compared(session, model or [])
    told, shared = _evaluated(session, chosen, judgements)
    seed = int(session.settings["seed"])
    compared = training.compare(told[0], told[1], seed) if len(told) == 2 else None
    if kind in ("csv", "xlsx"):
        session.emit(_evaluation_rows(told), kind, out)
        return
    data: dict[str, Any] = {"schema": "skillmatch.evaluation/1", **asdict(told[0])}
    if compared is not None:
        differences = {g: {n: asdict(c) for n, c in rows.items()} for g, rows in compared.items()}
        data["comparison"] = {"with": asdict(told[1]), "people": shared, "differences": differences}
    spreads = [_spread(session, one) for one in told]
    data["exposure"] = asdict(spreads[0])
    tables = [t for one in told for t in _evaluation_tables(session, one)]
    tables += [t for one in spreads for t in _spread_tables(session, one)]
    if compared is not None:
        tables = [*_comparison_tables(session, told, compared, shared), *tables]
    if kind == "html":
        session.stream((_evaluation_page(session, tables, told),), out)
    else:
        session.emit(Page(tuple(tables), data), kind, out)


def _spread(session: Session, told: Evaluation) -> Exposure:
    """How the suggestions of a version spread, over all projects of the workspace."""
    from .. import training
    from ..matcher import load
    from ..sources import read_workspace

    dataset = read_workspace(session.workspace).require()
    matcher = load(session.workspace, told.version)
    seed = int(session.settings["seed"])
    return training.exposure(matcher, dataset.projects, dataset.judgements, seed=seed)


def _spread_tables(session: Session, found: Exposure) -> tuple[Table, ...]:
    from ..reports import Table

    note = session.tr(
        "The first {top} of {projects} projects: {places} places. Gini: 0 even, towards 1 all on few.",
        top=found.top,
        projects=found.projects,
        places=found.places,
    )
    gini = [(f"{session.tr('Gini index')}: {session.tr(name)}", f"{value:.2f}") for name, value in found.gini.items()]
    short = session.tr("not judged")
    if found.short is not None:
        short = f"{found.short.mean:+.1f} [{found.short.low:+.1f}, {found.short.high:+.1f}]"
    rows = (
        *gini,
        (session.tr("share of the five most suggested"), _percent(session, found.most_suggested)),
        (session.tr("people never suggested"), _percent(session, found.never)),
        (session.tr("ranks that a short profile loses at equal skill"), short),
    )
    shares = tuple(
        (
            session.tr(kind),
            session.tr(s.name) if kind == "languages" else s.name,
            s.people,
            _percent(session, s.of_people),
            _percent(session, s.of_places),
        )
        for kind, some in found.shares.items()
        for s in some
    )
    columns = ("spread over", "group", "people", "share of people", "share of suggestions")
    return (
        Table("How suggestions spread", ("what", "figure"), rows, (note,)),
        Table("Who gets the places", columns, shares),
    )


def _compared(session: Session, given: Sequence[str]) -> tuple[str | None, ...]:
    """The version to measure, and the one to compare it with if any; None: the current one."""
    if len(given) > 2:
        raise UsageError("Two versions can be compared, not more.", "Give --model twice at most.")
    if len(set(given)) == 2:
        return tuple(given)
    current = models.store_of(session).current()
    if given and current is not None and given[0] != current:
        return (given[0], current)
    return (given[0] if given else None,)


def _evaluated(
    session: Session, chosen: Sequence[str | None], judgements: Path | None
) -> tuple[list[Evaluation], int | None]:
    """(the versions as measured, how many people both know): two are held to the same people and judgements."""
    from .. import training
    from ..matcher import load
    from ..sources import read_judgements, read_workspace

    dataset = read_workspace(session.workspace).require()
    judged = dataset.judgements
    if judgements is not None:
        found, problems = read_judgements(judgements)
        if any(p.severity == "error" for p in problems):
            raise DataError(f"{judgements} has errors.", "Mend what is listed, then try again.", problems)
        judged = tuple(found)
    matchers = [load(session.workspace, version) for version in chosen]
    shared = None
    if len(matchers) == 2:
        shared = frozenset.intersection(*(frozenset(p["id"] for p in m.people) for m in matchers))
    seed = int(session.settings["seed"])
    told = [training.evaluate(m, dataset.projects, judged, seed, shared) for m in matchers]
    return told, None if shared is None else len(shared)


def _evaluation_tables(session: Session, told: Evaluation) -> tuple[Table, ...]:
    from ..reports import Table

    names = list(dict.fromkeys(name for rows in told.groups.values() for name in rows))
    rows = []
    for group, values in told.groups.items():
        count = max(interval.count for interval in values.values())
        cells = [_interval(values[n]) if n in values else None for n in names]
        rows.append((_group(session, group), count, *cells))
    about = {"version": told.version, "projects": told.projects}
    title = session.tr("Version {version} on {projects} judged projects", **about)
    note = session.tr("Means; in brackets their 95 % bootstrap intervals.")
    ranking = Table(title, ("group", "projects", *names), tuple(rows), (note,))
    return (ranking, _chances_table(session, told), *_reliability_table(session, told))


def _group(session: Session, group: str) -> str:
    kind, _, name = group.partition(": ")
    if kind == "language":
        return session.tr("language: {name}", name=session.tr(name))
    return session.tr("family: {name}", name=name) if kind == "family" else session.tr(group)


def _chances_table(session: Session, told: Evaluation) -> Table:
    """Calibration and abstention by group; an abstention is a count, as such projects are few."""
    from ..reports import Table

    names = ("calibration error", "Brier score", "abstained where nobody fits", "abstained where somebody fits")
    rows = []
    for group, values in told.chances.items():
        cells: list[tuple[str, ...] | None] = []
        for name in names:
            found = values.get(name)
            if found is None:
                cells.append(None)
            elif name.startswith("abstained"):
                times = session.tr("{count} of {all}", count=round(found.mean * found.count), all=found.count)
                cells.append((times, _interval(found)[1]))
            else:
                cells.append(_interval(found))
        error = values.get("calibration error")
        rows.append((_group(session, group), error.count if error else 0, *cells))
    return Table("Are its percentages true?", ("group", "pairs", *names), tuple(rows))


def _reliability_table(session: Session, told: Evaluation) -> tuple[Table, ...]:
    from ..reports import Table

    if told.calibration is None:
        return ()
    rows = tuple(
        (f"{_percent(session, b.low)} – {_percent(session, b.high)}", b.count, *(_percent(session, x) for x in means))
        for b in told.calibration.bins
        for means in [(b.said, b.true)]
    )
    title = session.tr("What version {version} says, and what is true", version=told.version)
    return (Table(title, ("between", "pairs", "probability said", "share that came true"), rows),)


def _percent(session: Session, share: float) -> str:
    from ..reports.content import percent

    return percent(share, session.lang)


def _interval(interval: Any) -> tuple[str, ...]:
    return (f"{interval.mean:.3f}", f"[{interval.low:.2f}, {interval.high:.2f}]")


def _evaluation_rows(told: Sequence[Evaluation]) -> Table:
    """Everything measured, a row for each version, group and metric, for spreadsheets."""
    from ..reports import Table

    rows = tuple(
        (one.version, group, name, i.mean, i.low, i.high, i.count)
        for one in told
        for part in (one.groups, one.chances)
        for group, values in part.items()
        for name, i in values.items()
    )
    return Table("", ("version", "group", "metric", "mean", "low", "high", "count"), rows)


def _comparison_tables(
    session: Session, told: Sequence[Evaluation], compared: Compared, people: int | None
) -> tuple[Table, ...]:
    from ..reports import Table

    first, second = told
    every = compared.get("all", {})
    rows = [
        (name, *(f"{one:.3f}" for one in _means(first, second, name)), _difference(c), round(c.p, 3), c.count)
        for name, c in every.items()
    ]
    title = session.tr("{first} compared with {second}", first=first.version, second=second.version)
    notes = (
        session.tr("Paired on the same judgements of the {people} people that both versions know.", people=people),
        session.tr("Difference: the first less the second, with its 95 % interval; p: how likely by chance alone."),
        session.tr("Lower is better for the Brier score and for abstaining where somebody fits."),
        session.tr("Judgements that a version has learned from flatter it."),
    )
    shown = tuple((session.tr(str(row[0])), *row[1:]) for row in rows)
    overall = Table(title, ("metric", first.version, second.version, "difference", "p", "projects"), shown, notes)
    names = tuple(n for n in every if any(n in rows for rows in first.groups.values()))
    by_group = tuple(
        (_group(session, group), *(_difference(values[n]) if n in values else None for n in names))
        for group, values in compared.items()
        if group != "all" and any(n in values for n in names)
    )
    return (overall, Table("Difference by group", ("group", *names), by_group))


def _means(first: Evaluation, second: Evaluation, name: str) -> tuple[float, ...]:
    """Of both, over the projects that both have a figure for."""
    both = [i for i in first.by_project if name in first.by_project[i] and name in second.by_project.get(i, {})]
    return tuple(sum(one.by_project[i][name] for i in both) / len(both) for one in (first, second))


def _difference(c: Any) -> tuple[str, ...]:
    return (f"{c.difference:+.3f}", f"[{c.low:+.2f}, {c.high:+.2f}]")


def _evaluation_page(session: Session, tables: Sequence[Table], told: Sequence[Evaluation]) -> str:
    """The tables as HTML, and for each version a picture beside the table of its bins."""
    from ..reports.html import Reliability, report_page

    plots = {}
    for one in told:
        title = session.tr("What version {version} says, and what is true", version=one.version)
        bins = one.calibration.bins if one.calibration else ()
        plots[title] = Reliability(title, tuple((b.said, b.true, b.count) for b in bins))
    parts: list[Table | Reliability] = []
    for table in tables:
        if table.title in plots:
            parts.append(plots[table.title])
            table = replace(table, title=session.tr("The same as a table"))
        parts.append(table)
    return report_page(session.tr("How good the answers are"), parts, session.lang)
