"""profiles, feedback: what is held on a person, and what people answered to suggestions."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ..errors import DataError, SkillmatchError, UsageError
from . import complete, options
from .failures import show_problems
from .questions import nearest
from .session import READ_FORMATS, Page, Session, is_terminal, session_of, short_time
from .shown import log_file

if TYPE_CHECKING:
    from ..feedback import Answer
    from ..matcher import Matcher
    from ..records import Profile
    from ..reports import Table
    from ..sources import Dataset

#: A concept is shown for an item from this probability on, as for needs.
_LINK_BAR = 0.3

ProfileId = Annotated[
    str, typer.Argument(metavar="PROFILE", help="The id of a person.", autocompletion=complete.profiles)
]


def register(app: typer.Typer) -> None:
    """Add the commands of this file to ``app``."""
    group = typer.Typer(no_args_is_help=True, rich_markup_mode=None, help="What is held on people.")
    group.command("show")(show)
    group.command("export")(export)
    group.command("forget")(forget)
    app.add_typer(group, name="profiles")
    group = typer.Typer(
        no_args_is_help=True,
        rich_markup_mode=None,
        help="What people answered to suggestions; training learns from it.",
    )
    group.command("add")(add)
    group.command("import")(import_)
    group.command("list")(list_)
    app.add_typer(group, name="feedback")


# --- profiles show ------------------------------------------------------------------------------------


def show(ctx: typer.Context, profile: ProfileId, fmt: options.Format = None, out: options.Out = None) -> None:
    """Show everything that is held on one person.

    The profile, what the version reads from it, which versions hold it, judgements, answers, and suggestions on record.

    Example: skillmatch profiles show S07
    """
    from ..reports import format_of
    from ..sources import read_workspace

    session = session_of(ctx)
    kind = format_of(out, fmt)
    dataset = read_workspace(session.workspace)
    matcher = _matcher(session)
    record = next((p for p in dataset.profiles if p.id == profile), None)
    place = next((i for i, p in enumerate(matcher.people) if p["id"] == profile), None) if matcher else None
    versions = _versions_with(session, profile)
    if record is None and not versions:
        from ..training import require_held

        try:
            require_held(session.workspace, profile)
        except UsageError:
            known = {p.id: p.name for p in dataset.profiles}
            raise UsageError(f"There is no profile '{profile}'.", nearest(profile, known)) from None
    data = {
        "schema": "skillmatch.held/1",
        "profile": None if record is None else as_data(record),
        "model": matcher.version if matcher else None,
        "in_model": None if matcher is None or place is None else matcher.people[place],
        "versions": versions,
        "colleague_of": [p.id for p in dataset.profiles if profile in p.collaborators],
        "items": [] if matcher is None or place is None else list(_items(matcher, place)),
        "judgements": [asdict(j) for j in dataset.judgements if j.profile_id == profile],
        "answers": [a.as_dict() for a in _answers(session) if a.profile == profile],
        "suggestions": _suggestions(session, profile),
    }
    session.emit(Page(tuple(_held_tables(session, data)), data), kind, out)


def _versions_with(session: Session, profile: str) -> list[str]:
    """The versions that hold a person, oldest first."""
    from ..store import Store
    from ..training import people_of

    store = Store(session.workspace.models)
    return [v for v in store.versions() if any(p.get("id") == profile for p in people_of(store, v) or ())]


def _suggestions(session: Session, profile: str) -> list[dict[str, Any]]:
    """Every suggestion of a person that is on record, oldest first."""
    from .. import feedback

    kept = feedback.read_shown(log_file(session))
    return [
        {"time": s.time, "model": s.model, "project": s.project, "question": s.question, "rank": rank}
        for s in kept
        if (rank := s.rank(profile)) is not None
    ]


def _matcher(session: Session) -> Matcher | None:
    from ..matcher import load

    try:
        return load(session.workspace)
    except SkillmatchError as error:
        session.say("Note: without a version, only the files are shown. {message}", message=error.message)
        return None


def _items(matcher: Matcher, person: int) -> Iterator[dict[str, Any]]:
    """Each claim and sentence of a person as the version holds it: worth (0 to 1), what it is about."""
    for item in (int(i) for i, owner in enumerate(matcher.index.owner) if owner == person):
        proof = matcher.items.proof(item)
        likeliest = int(matcher.concept_ids[item, 0])
        about = matcher.concepts[likeliest][0] if matcher.concept_p[item, 0] >= _LINK_BAR else None
        yield {
            "text": proof.text,
            "kind": proof.kind,
            "level": proof.level,
            "worth": round(float(matcher.items.worth[item]), 4),
            "skill": about,
            "source": proof.source,
        }


def _held_tables(session: Session, data: Mapping[str, Any]) -> Iterator[Table]:
    from ..reports import Table

    record = data["profile"]
    fields = [] if record is None else [(k, v) for k, v in record.items() if k not in ("skills", "evidence")]
    note = () if data["in_model"] else (session.tr("The current version holds nothing on this person."),)
    fields += [("colleague of", data["colleague_of"]), ("in versions", data["versions"])]
    shown = tuple((session.tr(k.replace("_", " ")), v) for k, v in fields if v not in (None, "", []))
    yield Table("Profile", ("field", "value"), shown, note)
    columns = ("text", "level", "worth", "skill", "source")
    items = data["items"] or _claims(record)
    legend = session.tr("Worth: how much expertise an item shows, from 0 to 1, as the version reads it.")
    yield Table("Items", columns, tuple(tuple(i.get(c) for c in columns) for i in items), (legend,))
    if data["judgements"]:
        rows = tuple((j["project_id"], j["grade"], j["source"]) for j in data["judgements"])
        yield Table("Judgements", ("project", "grade", "source"), rows)
    if data["answers"]:
        columns = ("time", "project", "answer", "reason", "note")
        yield Table("Answers", columns, tuple(tuple(_asked(a)[c] for c in columns) for a in data["answers"]))
    if data["suggestions"]:
        columns = ("time", "project", "question", "rank", "model")
        logged = tuple(tuple(s[c] for c in columns) for s in data["suggestions"])
        yield Table("Suggestions on record", columns, logged)


def _asked(answer: Mapping[str, Any]) -> dict[str, Any]:
    """An answer for people: what was typed says more than the id made of it."""
    return {**answer, "project": answer.get("question") or answer["project"]}


def _claims(record: Mapping[str, Any] | None) -> list[dict[str, Any]]:
    if record is None:
        return []
    skills = [{"text": s["name"], **s} for s in record["skills"]]
    return [*skills, *record["evidence"]]


# --- profiles export ----------------------------------------------------------------------------------


def export(ctx: typer.Context, fmt: options.Format = None, out: options.Out = None) -> None:
    """Write all profiles as JSON lines or CSV.

    The file can be read again, as data/profiles.

    Example: skillmatch profiles export --out profiles.csv
    """
    from ..reports import format_of
    from ..sources import read_workspace

    session = session_of(ctx)
    kind = format_of(out, fmt) if out or fmt else "jsonl"
    dataset = read_workspace(session.workspace)
    profiles = _require_profiles(session, dataset)
    if kind in ("json", "jsonl"):
        session.emit([as_data(p) for p in profiles], kind, out)
    else:
        session.emit(_profile_table(profiles), kind, out)


def _require_profiles(session: Session, dataset: Dataset) -> Sequence[Profile]:
    """All profiles; a row left out in silence would look like somebody who left."""
    wrong = [p for p in dataset.problems if p.severity == "error" and p.file.lower().startswith("profiles")]
    if wrong:
        said = f"The profiles have {len(wrong)} error(s)."
        raise DataError(said, "Mend what is listed, then try again.", wrong)
    return dataset.profiles


def as_data(profile: Profile) -> dict[str, Any]:
    """A profile as its JSON form, read back as the same record."""
    data = asdict(profile)
    data["skills"] = [{k: v for k, v in s.items() if v is not None} for s in data["skills"]]
    data["evidence"] = [{k: v for k, v in e.items() if v is not None} for e in data["evidence"]]
    for item in (*data["skills"], *data["evidence"]):
        item.pop("source")
    return data


def _profile_table(profiles: Sequence[Profile]) -> Table:
    """One row a person, in the form of profiles.csv."""
    from ..reports import Table

    plain = ("id", "name", "lab", "family", "site")
    kinds = ("evidence", "experience", "bio")
    columns = (*plain, "languages", "skills", *kinds, "availability", "available_from", "available_to")
    rows = []
    for p in profiles:
        texts: dict[str, list[str]] = {kind: [] for kind in kinds}
        for e in p.evidence:
            texts[e.kind if e.kind in texts else "evidence"].append(e.text)
        skills = "; ".join(f"{s.name}:{s.level}" if s.level else s.name for s in p.skills)
        share = None if p.availability is None else f"{p.availability:g} %"
        rows.append(
            (
                *(getattr(p, c) for c in plain),
                "; ".join(p.languages),
                skills,
                *("\n".join(texts[kind]) for kind in kinds),
                share,
                p.available_from,
                p.available_to,
                "; ".join(p.collaborators),
                p.consent,
                p.updated,
            )
        )
    return Table("", (*columns, "collaborators", "consent", "updated"), tuple(rows))


# --- profiles forget ----------------------------------------------------------------------------------


def forget(
    ctx: typer.Context,
    profile: ProfileId,
    yes: Annotated[bool, typer.Option("--yes", help="Don't ask first.")] = False,
) -> None:
    """Erase a person from every file of the workspace, for good.

    Profile, judgements, answers, suggestions on record, vectors, and every version that holds them: the current one
    is rewritten without the person, the others are removed. History keeps that somebody was erased, not who.

    Example: skillmatch profiles forget S07 --yes
    """
    from ..reports import Table
    from ..training import erase, require_held

    session = session_of(ctx)
    require_held(session.workspace, profile)
    if not yes:
        _ask(session, profile)
    erased = erase(session.workspace, profile)
    rows = (
        ("profiles", erased.rows),
        ("judgements", erased.judgements),
        ("answers", erased.answers),
        ("suggestions on record", erased.suggestions),
        ("vectors", erased.vectors),
        ("versions removed", len(erased.removed)),
        ("version now", erased.version or session.tr("as it was")),
    )
    notes = []
    if erased.named:
        files = ", ".join(erased.named)
        notes.append(session.tr("Other people's words may still name them; look into: {files}", files=files))
    shown = tuple((session.tr(what), count) for what, count in rows)
    session.emit(Table(session.tr("Erased"), ("what", "count"), shown, tuple(notes)))


def _ask(session: Session, profile: str) -> None:
    """Raises unless somebody at a terminal says yes."""
    import sys

    if not is_terminal(sys.stdin):
        raise UsageError(
            f"Erasing {profile} can't be undone, and there is nobody here to ask.",
            f"Say so with: skillmatch profiles forget {profile} --yes",
        )
    question = session.tr("Erase {profile} from every file, old versions included? This can't be undone.")
    typer.confirm(question.format(profile=profile), abort=True, err=True)


# --- feedback -----------------------------------------------------------------------------------------


def _file(session: Session) -> Path:
    return session.workspace.data / "feedback.jsonl"


def _answers(session: Session) -> list[Answer]:
    """All answers on record; lines that are none are told."""
    from .. import feedback

    answers, problems = feedback.read(_file(session))
    if problems and not session.quiet:
        show_problems(problems, session)
    return answers


def add(
    ctx: typer.Context,
    project: Annotated[
        str,
        typer.Argument(
            metavar="PROJECT",
            help="The id of the project, or the text that was asked, in quotes.",
            autocompletion=complete.projects,
        ),
    ],
    profile: ProfileId,
    answer: Annotated[str, typer.Argument(metavar="accepted|declined", help="What came of the suggestion.")],
    note: Annotated[str, typer.Option(metavar="TEXT", help="A word on it.", show_default=False)] = "",
    reason: Annotated[
        str,
        typer.Option(metavar="skill|workload|other", help="Why it was declined.", show_default=False),
    ] = "",
    rank: Annotated[
        int | None,
        typer.Option(metavar="N", help="The rank at which they were shown, as suggest told.", show_default=False),
    ] = None,
    model: Annotated[
        str | None,
        typer.Option(
            metavar="ID",
            help="The version that suggested them; the current one by default.",
            show_default=False,
            autocompletion=complete.versions,
        ),
    ] = None,
) -> None:
    """Record what came of a suggestion; training learns from it.

    Declined for workload says nothing of a person's skill: give the reason. The rank at which somebody was shown says
    how much an answer tells; suggest prints the command with it.

    Example: skillmatch feedback add P03 S07 declined --reason workload --note "free again in May"
    """
    from .. import feedback
    from ..reports import Table
    from ..sources import read_workspace

    session = session_of(ctx)
    dataset = read_workspace(session.workspace)
    titles = {p.id: p.title for p in dataset.projects}
    # One word is a project's id, unless the command comes from suggest, which names the version.
    question = project if project not in titles and (model or len(project.split()) > 1) else ""
    if not question:
        _require_id("project", project, titles)
    _require_id("profile", profile, {p.id: p.name for p in dataset.profiles})
    if model is not None:
        _require_version(session, model)
    kept = feedback.last_shown(log_file(session), feedback.question_id(question) if question else project, profile)
    made = feedback.add(
        _file(session),
        project,
        profile,
        answer,
        reason=reason,
        note=note,
        model=model or (kept.model if kept else _current(session)),
        rank=kept.rank(profile) if rank is None and kept else rank,
        question=question,
    )
    about = {"project": question or made.project, "profile": made.profile, "answer": made.answer}
    said = session.tr("Recorded: {project}, {profile}, {answer}", **about)
    session.emit(Table(said, (), ()))


def _require_id(what: str, name: str, known: dict[str, str]) -> None:
    if name not in known:
        raise UsageError(f"There is no {what} '{name}' in this workspace.", nearest(name, known))


def _require_version(session: Session, version: str) -> None:
    """Raises unless there is such a version, or was: an answer to a version that was pruned since still counts."""
    from ..store import Store

    store = Store(session.workspace.models)
    known = {*store.versions(), *(str(e["version"]) for e in store.history() if e.get("version"))}
    if version not in known:
        raise UsageError(
            f"There was never a version {version} in this workspace.",
            "Leave out --model for the current one, or see: skillmatch models list",
        )


def _current(session: Session) -> str:
    """The version whose suggestions people answer to, "" before the first."""
    from ..store import Store

    return Store(session.workspace.models).current() or ""


def import_(
    ctx: typer.Context,
    file: Annotated[Path, typer.Argument(metavar="FILE", help="A table with the columns project, profile and answer.")],
) -> None:
    """Record the answers of a table, CSV or XLSX.

    Those on record already are passed over, so a file may be imported twice.

    Example: skillmatch feedback import answers.csv
    """
    from .. import feedback
    from ..reports import Table
    from ..sources import read_workspace
    from ..sources.cells import column_key
    from ..sources.columns import Kind
    from ..sources.tables import read_table

    session = session_of(ctx)
    keys = {column_key(a): f for f, others in feedback.COLUMNS.items() for a in (f, *others)}
    table = read_table(file, Kind("answers", None, keys, {}, ("project", "profile", "answer")))
    if any(p.severity == "error" for p in table.problems):
        said = f"{file} can't be read."
        raise DataError(said, "Mend what is listed, then import it again.", table.problems)
    rows = [(row.number, dict(row.values)) for row in table.rows]
    dataset = read_workspace(session.workspace)
    known = {"project": {p.id for p in dataset.projects}, "profile": {p.id for p in dataset.profiles}}
    known["project"] |= {answer.project for answer in _answers(session) if answer.question}
    added = feedback.import_rows(_file(session), rows, file.name, known)
    about = {"added": len(added), "all": len(rows)}
    said = session.tr("Recorded: {added} of {all} answers; the others were there", **about)
    session.emit(Table(said, (), ()))


def list_(ctx: typer.Context, fmt: options.Format = None, out: options.Out = None) -> None:
    """List what people answered to suggestions, oldest first.

    Example: skillmatch feedback list --format csv
    """
    from ..reports import Table, format_of

    session = session_of(ctx)
    kind = format_of(out, fmt)
    rows = [a.as_dict() for a in _answers(session)]
    rows = [{"question": ""} | row for row in rows]
    columns: tuple[str, ...] = ("time", "project", "profile", "answer", "reason", "note", "model", "rank", "question")
    if kind in READ_FORMATS:
        columns = columns[:6]
        rows = [_asked(row) | {"time": short_time(str(row["time"]))} for row in rows]
    session.emit(Table("", columns, tuple(tuple(row[c] for c in columns) for row in rows)), kind, out)
