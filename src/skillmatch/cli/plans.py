"""team, gaps: the group that covers a project, and the skills that too few people hold."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from ..errors import UsageError
from . import complete, options
from .assigning import leave_if_broken, links, survey
from .questions import read_question, workspace_projects
from .session import Session, session_of

if TYPE_CHECKING:
    from ..matcher import Matcher
    from ..records import Need


def register(app: typer.Typer) -> None:
    """Add the commands of this file to ``app``."""
    app.command(no_args_is_help=True)(team)
    app.command()(gaps)


# --- team -------------------------------------------------------------------------------------------------


def team(
    ctx: typer.Context,
    text: Annotated[
        str | None,
        typer.Argument(metavar="TEXT", help="What is needed, in quotes; - reads standard input.", show_default=False),
    ] = None,
    project: Annotated[
        str | None,
        typer.Option(
            metavar="ID",
            help="A project of this workspace instead.",
            show_default=False,
            autocompletion=complete.projects,
        ),
    ] = None,
    file: Annotated[
        str | None,
        typer.Option(metavar="FILE", help="A text file instead; - for standard input.", show_default=False),
    ] = None,
    size: Annotated[
        int | None,
        typer.Option(
            metavar="N", min=1, max=50, help="At most so many people.", show_default="the project's own size, or 3"
        ),
    ] = None,
    min_labs: Annotated[int, typer.Option(metavar="K", min=1, help="People from at least so many labs.")] = 1,
    from_lab: options.FromLab = None,
    must: options.Must = None,
    exclude: options.Exclude = None,
    lab: options.Lab = None,
    family: options.Family = None,
    available_from: options.AvailableFrom = None,
    available_to: options.AvailableTo = None,
    min_score: options.MinScore = None,
    fmt: options.Format = None,
    out: options.Out = None,
) -> None:
    """Find the group that covers all needs of one project best.

    Each need counts by its best member. Says what each member brings, who replaces them if they say no, the
    next best teams, and who could coordinate.

    Example: skillmatch team --project P03 --size 4 --min-labs 2
    """
    from ..allocation import Rules, best_team
    from ..matcher import load
    from ..reports import format_of, team_dict

    session = session_of(ctx)
    kind = format_of(out, fmt)
    if [text, project, file].count(None) != 2:
        raise UsageError(
            "Say what is needed in exactly one way: a text, --project or --file.",
            'For example: skillmatch team "Ceph storage and GPU farm" --size 3, or: skillmatch team --project P03',
        )
    asked = read_question(session, text, project, file)
    chosen = options.read_options(
        session,
        top="all",
        from_lab=from_lab,
        must=must,
        exclude=exclude,
        lab=lab,
        family=family,
        available_from=available_from,
        available_to=available_to,
        min_score=min_score,
    )
    matcher = load(session.workspace)
    field = survey(session, matcher, [asked], chosen, size=size, max_load=1)
    (understood,), (demand,) = field.projects.values(), field.demands.values()
    found = best_team(field.workers, demand, Rules(min_labs=min_labs), links(session))
    told = team_dict(found, matcher.version, understood, demand, field.people, matcher.labels)
    session.emit(told, kind, out, labels=matcher.labels)
    leave_if_broken(session, found.infeasible)


# --- gaps -------------------------------------------------------------------------------------------------


def gaps(ctx: typer.Context, fmt: options.Format = None, out: options.Out = None) -> None:
    """Show the skills that projects ask for and that nobody, one person, or one lab alone holds.

    With who is closest to learning each.

    Example: skillmatch gaps --format html --out gaps.html
    """
    from ..allocation import HOLDS, Worker, scarce
    from ..errors import DataError
    from ..matcher import load
    from ..records import Person
    from ..reports import format_of, gaps_dict

    session = session_of(ctx)
    kind = format_of(out, fmt)
    projects, problems = workspace_projects(session)
    wrong = [p for p in problems if p.severity == "error"]
    if wrong:
        raise DataError("The projects have errors.", "Mend what is listed, then look with: skillmatch check", wrong)
    matcher = load(session.workspace)
    workers = [Worker(p["id"], p["lab"] or "", p["family"]) for p in matcher.people]
    asked, scores = _held(session, matcher, projects)
    people = {p["id"]: Person(p["id"], p["name"], p["lab"], p["family"]) for p in matcher.people}
    found = scarce(workers, scores)
    session.emit(gaps_dict(found, matcher.version, HOLDS, asked, people, matcher.labels), kind, out)


def _held(
    session: Session, matcher: Matcher, projects: Any
) -> tuple[dict[str, list[tuple[str, Need]]], dict[str, Any]]:
    """What is asked for -> by which projects; and how likely each person is to be useful for it, at best."""
    import numpy as np

    from ..allocation import topic

    asked: dict[str, list[tuple[str, Need]]] = {}
    scores: dict[str, Any] = {}
    with session.progress() as stage:
        for done, project in enumerate(projects, start=1):
            understood = matcher.understand([project])[0]
            features, _ = matcher.features(understood)
            probability = matcher.ranker.probability(matcher.ranker.raw(features), 1)
            for need, row in zip(understood.project.needs, probability, strict=True):
                key = topic(need)
                asked.setdefault(key, []).append((project.id, need))
                scores[key] = np.maximum(scores[key], row) if key in scores else np.asarray(row, dtype=np.float64)
            stage("projects", done, len(projects))
    return asked, scores
