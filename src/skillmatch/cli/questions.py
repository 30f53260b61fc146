"""suggest, batch, explain: who can help, and why."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ..errors import DataError, NoModelError, Problem, UsageError
from . import complete, options, shown
from .assigning import assign_all
from .failures import show_problems
from .session import READ_FORMATS, Page, Session, is_terminal, session_of

if TYPE_CHECKING:
    from ..matcher import Matcher, Options
    from ..records import Match, Need, Project, Proof, Suggestion
    from ..reports import Table
    from ..runtime import Backend

#: More text than this is no need; the matcher's own limit is far below.
_MOST_STDIN = 1 << 20
#: From this probability on, an item of a profile is clearly about a concept.
_CLEARLY = 0.2
#: To rank higher: less raw score than this is not worth a word; more lines than this nobody reads.
_LEAST_GAIN, _MOST_LIFTS = 0.2, 5
#: The level from which expertise counts in full.
_FULL_LEVEL = 4
#: Characters of what is quoted a second time.
_QUOTED = 60


def register(app: typer.Typer) -> None:
    """Add the commands of this file to ``app``."""
    app.command(no_args_is_help=True)(suggest)
    app.command(no_args_is_help=True)(batch)
    app.command(no_args_is_help=True)(explain)


# --- suggest ------------------------------------------------------------------------------------------


def suggest(
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
    from_lab: options.FromLab = None,
    top: options.Top = "5",
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
    """Rank the people who can help with one need.

    Each comes with the sentence that proves it. The need is a text in French or English, from a word to a
    page, or a project of the workspace.

    Example: skillmatch suggest "tune our Ceph cluster" --from-lab LAC --top 3
    """
    from ..matcher import load
    from ..reports import format_of

    session = session_of(ctx)
    kind = format_of(out, fmt)
    question = read_question(session, text, project, file)
    chosen = options.read_options(
        session,
        top=top,
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
    _check_excluded(session, matcher, chosen)
    answer = matcher.match(question, chosen)
    session.emit(answer, kind, out, labels=matcher.labels)
    typed = question if isinstance(question, str) else ""
    shown.log_shown(session, [answer], typed)
    if kind in READ_FORMATS:
        _tell_outdated(session, matcher, answer)
        shown.tell_how_to_answer(session, answer, typed)


def read_question(session: Session, text: str | None, project: str | None, file: str | None) -> str | Project:
    """What is asked, from the one place that was named."""
    if [text, project, file].count(None) != 2:
        raise UsageError(
            "Say what is needed in exactly one way: a text, --project or --file.",
            'For example: skillmatch suggest "tune our Ceph cluster", or: skillmatch suggest --project P03',
        )
    if project is not None:
        return find_project(session, project)
    if "-" in (text, file):
        return _standard_input(session)
    if file is not None:
        from ..sources import read_lines

        return "\n".join(read_lines(Path(file)))
    return text or ""


def _standard_input(session: Session) -> str:
    import sys

    from ..sources.decode import decode

    if is_terminal(sys.stdin):
        session.say("Type the need, then Ctrl-D:")
    return decode(sys.stdin.buffer.read(_MOST_STDIN)).text


def find_project(session: Session, name: str) -> Project:
    """A project of the workspace. Raises ``UsageError`` with the nearest ids, ``DataError`` for bad rows."""
    projects, problems = workspace_projects(session)
    wanted = " ".join(name.split())
    found = next((p for p in projects if p.id == wanted), None)
    if found is not None:
        return found
    wrong = [p for p in problems if p.severity == "error"]
    if wrong:
        raise DataError(
            f"There is no project '{name}' among those that can be read.",
            "Mend what is listed, then look again with: skillmatch check",
            wrong,
        )
    known = {p.id: p.title for p in projects}
    raise UsageError(f"There is no project '{name}' in this workspace.", nearest(name, known))


def workspace_projects(session: Session) -> tuple[Sequence[Project], Sequence[Problem]]:
    """The workspace's projects and their problems; read alone where they can be, as profiles may be many."""
    from ..sources import read_projects, read_workspace
    from ..sources.tables import READERS

    folder = session.workspace.data
    files = [p for suffix in READERS if (p := folder / f"projects{suffix}").is_file()]
    if len(files) == 1:
        return read_projects(files[0])
    dataset = read_workspace(session.workspace)
    return dataset.projects, [p for p in dataset.problems if p.file.startswith("projects")]


def nearest(name: str, known: dict[str, str]) -> str:
    """The known ids (id -> title) nearest to one nobody has, as a hint."""
    from rapidfuzz import process, utils

    if not known:
        return "There are none at all."
    by_id = process.extract(name, list(known), processor=utils.default_process, limit=3)
    by_title = process.extract(name, known, processor=utils.default_process, limit=3, score_cutoff=80)
    best = dict.fromkeys([found[0] for found in by_id] + [str(found[2]) for found in by_title])
    said = ", ".join(f"{i} ({known[i]})" if known[i] else i for i in list(best)[:5])
    return f"Did you mean: {said}?"


def _check_excluded(session: Session, matcher: Matcher, chosen: Options) -> None:
    """Somebody unknown can't be left out: worth a word, as it may be a slip of the keyboard."""
    known = {p["id"] for p in matcher.people}
    for name in chosen.exclude:
        if name not in known:
            session.say("Note: --exclude {id}: nobody in this version has that id.", id=name)


def _tell_outdated(session: Session, matcher: Matcher, answer: Suggestion) -> None:
    """Who of those suggested has not looked at their profile for long."""
    updated = {p["id"]: p["updated"] for p in matcher.people}
    old = [m.profile.id for m in answer.matches if is_outdated(updated.get(m.profile.id), session)]
    if old:
        said = ", ".join(old)
        session.say("Note: not updated for {months} months or more: {ids}.", months=_months(session), ids=said)


def _months(session: Session) -> int:
    return int(session.settings["stale_months"])


def is_outdated(updated: str | None, session: Session) -> bool:
    """Whether a profile of that date (ISO, or None) has not been updated for ``stale_months``."""
    if updated is None:
        return False
    then, today = date.fromisoformat(updated), date.today()
    months = (today.year - then.year) * 12 + today.month - then.month - (today.day < then.day)
    return months >= _months(session)


# --- batch --------------------------------------------------------------------------------------------


def batch(
    ctx: typer.Context,
    file: Annotated[
        Path, typer.Argument(metavar="FILE", help="The projects: CSV, XLSX, JSON, JSONL, YAML or Parquet.")
    ],
    from_lab: options.FromLab = None,
    top: options.Top = "5",
    must: options.Must = None,
    exclude: options.Exclude = None,
    lab: options.Lab = None,
    family: options.Family = None,
    available_from: options.AvailableFrom = None,
    available_to: options.AvailableTo = None,
    min_score: options.MinScore = None,
    assign: options.Assign = False,
    per_project: options.PerProject = None,
    max_load: options.MaxLoad = None,
    min_labs: options.MinLabs = None,
    min_families: options.MinFamilies = None,
    pairs: options.Pairs = None,
    new_links: options.NewLinks = False,
    backend: options.Backend = options.Engine.local,
    scheduler: options.Scheduler = None,
    fmt: options.Format = None,
    out: options.Out = None,
) -> None:
    """Rank people for every project of a file, or assign them for the whole list.

    Each project is taken by itself: the answer is the one that suggest would give. As JSON lines, answers
    are written as they come. With --assign the list is one decision: nobody gets more than --max-load
    projects, nor more than their availability.

    Example: skillmatch batch data/projects.csv --assign --per-project 3 --max-load 2 --out plan.xlsx
    """
    from ..reports import format_of

    session = session_of(ctx)
    kind = format_of(out, fmt)
    plan = options.read_plan(assign, per_project, max_load, min_labs, min_families, pairs, new_links)
    chosen = options.read_options(
        session,
        top=top,
        from_lab=from_lab,
        must=must,
        exclude=exclude,
        lab=lab,
        family=family,
        available_from=available_from,
        available_to=available_to,
        min_score=min_score,
    )
    with options.workers(session, backend, scheduler) as workers:
        projects = _projects_of(session, file)
        matcher = _matcher(session, workers)
        _check_excluded(session, matcher, chosen)
        if plan is not None:
            assign_all(session, matcher, projects, chosen, plan, kind, out)
        else:
            _answer_all(session, matcher, projects, chosen, kind, out)


def _matcher(session: Session, workers: Backend | None) -> Matcher:
    from ..matcher import load

    matcher = load(session.workspace)
    if workers is None:
        return matcher
    from ..matcher.spreading import spread

    return spread(matcher, session.workspace, workers)


def _answer_all(
    session: Session, matcher: Matcher, projects: Sequence[Project], chosen: Options, kind: str, out: Path | None
) -> None:
    capped = shown.capped_answers(session, matcher, projects, chosen)
    if kind != "jsonl" or capped is not None or int(session.settings["retention"]):
        answers = list(capped if capped is not None else _answers(session, matcher, projects, chosen, bar=True))
        session.emit(answers, kind, out, labels=matcher.labels)
        shown.log_shown(session, answers)
        return
    import sys

    from ..reports import render

    # Answers that scroll by on a terminal are progress enough.
    bar = out is not None or not is_terminal(sys.stdout)
    session.stream((render(a, kind) for a in _answers(session, matcher, projects, chosen, bar=bar)), out)


def _projects_of(session: Session, file: Path) -> Sequence[Project]:
    from ..sources import read_projects

    projects, problems = read_projects(file)
    wrong = sum(p.severity == "error" for p in problems)
    if wrong:
        raise DataError(
            f"{file} has {wrong} error(s); nothing was answered.",
            "Mend what is listed, then try again.",
            problems,
        )
    if problems and not session.quiet:
        show_problems(problems, session)
    return projects


def _answers(
    session: Session, matcher: Matcher, projects: Sequence[Project], chosen: Options, *, bar: bool
) -> Iterator[Suggestion]:
    with session.progress(bar=bar) as stage:
        stage("projects", 0, len(projects))
        for done, answer in enumerate(matcher.match_many(projects, chosen), start=1):
            yield answer
            stage("projects", done, len(projects))


# --- explain ------------------------------------------------------------------------------------------


def explain(
    ctx: typer.Context,
    project: Annotated[
        str,
        typer.Argument(
            metavar="PROJECT",
            help="The id of a project, or a text in quotes.",
            autocompletion=complete.projects,
        ),
    ],
    profile: Annotated[
        str, typer.Argument(metavar="PROFILE", help="The id of a person.", autocompletion=complete.profiles)
    ],
    fmt: options.Format = None,
    out: options.Out = None,
) -> None:
    """Show why a person suits a project, or why not.

    Need by need: what is claimed and what a sentence shows, what the score is made of, what would have to
    be in the profile to rank higher.

    Example: skillmatch explain P03 S07
    """
    from ..matcher import Options, load
    from ..reports import format_of

    session = session_of(ctx)
    kind = format_of(out, fmt)
    asked = project if len(project.split()) > 1 else find_project(session, project)
    matcher = load(session.workspace)
    place = matcher.person(profile)
    # Who is not free is explained as well; that they are not is told apart.
    free = {"availability": None, "available_from": None, "available_to": None}
    everybody = replace(matcher, people=tuple({**p, **free} for p in matcher.people))
    full = everybody.match(asked, Options(top=None))
    ranked = [m.profile.id for m in matcher.match(asked, Options(top=None)).matches]
    setting = float(session.settings["min_score"])
    bar = setting if setting >= 0 else matcher.bar(matcher.understand([full.project])[0])
    told = _explanation(matcher, full, ranked, place, bar)
    session.emit(Page(_explanation_tables(session, matcher, told), told), kind, out)


def _explanation(matcher: Matcher, full: Suggestion, ranked: Sequence[str], place: int, bar: float) -> dict[str, Any]:
    """Everything there is to say of one person and one project, as plain data."""
    from ..explain import missing

    person = matcher.people[place]
    match = next((m for m in full.matches if m.profile.id == person["id"]), None)
    if match is None:
        raise NoModelError(f"This version can't rank {person['id']}.", "Run: skillmatch train")
    first = next((m for m in full.matches if m.profile.id in ranked), match)
    best = first if first is not match else None
    needs = full.project.needs
    lacking = [
        {"need": need, "part": part, "difference": difference} for need, part, difference in missing(match, needs, best)
    ]
    shown = [_need(matcher, need, match, place) for need in needs]
    return {
        "schema": "skillmatch.explanation/1",
        "model": full.model,
        "project": {"id": full.project.id, "title": full.project.title, "lab": full.project.lab},
        "profile": {k: person[k] for k in ("id", "name", "lab", "family")},
        "score": match.score,
        "raw": match.raw,
        "bar": bar,
        "rank": ranked.index(person["id"]) + 1 if person["id"] in ranked else None,
        "people": len(ranked),
        "free": person["id"] in ranked,
        "thin": match.thin,
        "needs": shown,
        "better": None if best is None else {"id": best.profile.id, "score": best.score},
        "missing": lacking,
        "to_rank_higher": _lifts(shown, lacking, best),
    }


def _lifts(needs: Sequence[dict[str, Any]], lacking: Sequence[dict[str, Any]], best: Match | None) -> list[Any]:
    """What the profile would have to show, by need, what counts most first: kind of lack and level (1 to 5).

    Whoever is first could rise by the needs nothing is shown for; others by what the first has more of.
    """
    gain = {n["id"]: 0.0 for n in needs}
    for entry in lacking:
        gain[entry["need"]] += entry["difference"] * next(n["weight"] for n in needs if n["id"] == entry["need"])
    out = []
    for need in sorted(needs, key=lambda n: -gain[n["id"]]):
        bare = need["evidence"] is None
        if bare if best is None else gain[need["id"]] > _LEAST_GAIN:
            lack = "nothing" if bare else "claimed only" if need["evidence"]["kind"] == "skill" else "more"
            out.append({"need": need["id"], "lack": lack, "level": need["level"] or _FULL_LEVEL})
    return out[:_MOST_LIFTS]


def _held(matcher: Matcher, place: int, concept: str | None) -> tuple[Proof | None, Proof | None]:
    """(best claim, best sentence) of a person that are clearly about a concept or its neighbours."""
    import numpy as np

    known = [c[0] for c in matcher.concepts]
    if concept not in known:
        return None, None
    wanted = known.index(concept)
    near = slice(matcher.near.indptr[wanted], matcher.near.indptr[wanted + 1])
    stands = np.zeros(len(known), np.float32)
    stands[matcher.near.indices[near]] = matcher.near.values[near]
    stands[wanted] = 1
    own = np.flatnonzero(matcher.index.owner == place)
    about = (matcher.concept_p[own] * stands[matcher.concept_ids[own]]).sum(axis=1)
    value = np.sqrt(about) * matcher.items.worth[own]
    proofs = [matcher.items.proof(int(own[k])) for k in np.argsort(-value, kind="stable") if about[k] >= _CLEARLY]
    claim = next((p for p in proofs if p.kind == "skill"), None)
    return claim, next((p for p in proofs if p.kind != "skill"), None)


def _proof_data(proof: Proof | None) -> dict[str, Any] | None:
    if proof is None:
        return None
    return {"text": proof.text, "kind": proof.kind, "source": proof.source, "level": proof.level}


def _need(matcher: Matcher, need: Need, match: Match, place: int) -> dict[str, Any]:
    reason = next(r for r in match.needs if r.need == need.id)
    claim, sentence = _held(matcher, place, need.skill)
    return {
        "id": need.id,
        "text": need.text,
        "skill": need.skill,
        "weight": need.weight,
        "must": need.must,
        "level": need.level,
        "score": reason.score,
        "raw": reason.raw,
        "baseline": matcher.ranker.baseline,
        "parts": dict(reason.parts),
        "evidence": _proof_data(reason.evidence),
        "claimed": _proof_data(claim),
        "shown": _proof_data(sentence),
    }


def _explanation_tables(session: Session, matcher: Matcher, told: dict[str, Any]) -> tuple[Table, ...]:
    from ..reports import Table

    return (
        Table(_headline(session, told), (), (), tuple(_standing(session, told))),
        _proof_table(session, matcher, told),
        _part_table(session, told),
        *_missing_table(session, told),
        *_lift_table(session, matcher, told),
    )


def _headline(session: Session, told: dict[str, Any]) -> str:
    who, project = told["profile"], told["project"]
    name = f"{who['name']} ({who['id']})" if who["name"] else who["id"]
    place = f", {who['lab']}" if who["lab"] else ""
    about = f"{project['id']} {project['title']}".strip() if project["title"] else session.tr("this need")
    return session.tr("{person} for {project}", person=f"{name}{place}", project=about)


def _standing(session: Session, told: dict[str, Any]) -> Iterator[str]:
    said = {"score": _percent(session, told["score"]), "bar": _percent(session, told["bar"])}
    if told["score"] >= told["bar"]:
        yield session.tr("Useful with a probability of {score}; the bar for suggesting anybody is {bar}.", **said)
    else:
        yield session.tr("Useful with a probability of {score}, below the bar of {bar}: not suggested.", **said)
    if told["free"]:
        yield session.tr("Rank {rank} of {people}.", rank=told["rank"], people=told["people"])
    else:
        yield session.tr("Not free for this project, by the availability in their profile: not ranked.")
    if told["thin"]:
        yield session.tr("thin profile: little to go by, so the score is less certain")


def _percent(session: Session, score: float) -> str:
    from ..reports.content import percent

    return percent(score, session.lang)


def _proof_table(session: Session, matcher: Matcher, told: dict[str, Any]) -> Table:
    from ..reports import Table
    from ..reports.content import concept_label, quote

    rows: list[tuple[object, ...]] = []
    for need in told["needs"]:
        label = concept_label(need["skill"], session.lang, matcher.labels)
        proof = need["evidence"]
        said: tuple[str, ...] = (session.tr("nothing in the profile"),)
        if proof is not None:
            said = (
                f"{quote(proof['text'], session.lang)} {proof['source']}".strip(),
                _claim(session, proof),
                *_other_side(session, need),
            )
        what = (need["text"], f"[{label}]") if label else (need["text"],)
        rows.append((need["id"], what, _percent(session, need["score"]), said))
    return Table("Need by need", ("id", "need", "score", "evidence"), tuple(rows))


def _claim(session: Session, proof: dict[str, Any]) -> str:
    """Whether the proof is a skill somebody claims, or something done."""
    if proof["kind"] != "skill":
        return session.tr("evidenced: something they did")
    if proof["level"] is None:
        return session.tr("claimed: a skill they declare")
    return session.tr("claimed: a skill they declare, level {level} of 5", level=proof["level"])


def _other_side(session: Session, need: dict[str, Any]) -> Iterator[str]:
    """Of a claim, whether a sentence bears it out; of a sentence, whether the skill is declared as well."""
    from ..reports.content import quote, shorten

    if need["skill"] is None:
        return
    claim, sentence = need["claimed"], need["shown"]
    if need["evidence"]["kind"] == "skill":
        if sentence is None:
            yield session.tr("not evidenced: no sentence clearly shows it")
        else:
            text = quote(shorten(sentence["text"], _QUOTED), session.lang)
            yield session.tr("borne out by: {text}", text=text)
    elif claim is None:
        yield session.tr("not claimed among their skills")
    elif claim["level"] is None:
        yield session.tr("claimed as well: {text}", text=quote(claim["text"], session.lang))
    else:
        text = quote(claim["text"], session.lang)
        yield session.tr("claimed as well: {text}, level {level} of 5", text=text, level=claim["level"])


def _part_table(session: Session, told: dict[str, Any]) -> Table:
    from ..reports import Table

    needs = told["needs"]
    names = list(needs[0]["parts"])
    rows = {n["id"]: [n["baseline"], *(n["parts"][p] for p in names), n["raw"]] for n in needs}
    notes = [session.tr("Each row adds up: baseline and parts make the raw score, which gives the probability.")]
    if len(needs) > 1:
        weights = [n["weight"] for n in needs]
        columns = zip(*rows.values(), strict=True)
        means = [sum(w * x for w, x in zip(weights, c, strict=True)) / sum(weights) for c in columns]
        rows[session.tr("all")] = means
        score = _percent(session, told["score"])
        notes.append(session.tr("The last row is the mean of the needs by weight; it gives {score}.", score=score))
    notes.append(
        session.tr(
            "skill: the skill asked for, claimed or shown; related skills: those near it; evidence: the one best claim "
            "or sentence, and the level it shows; wording: how near the profile's texts come."
        )
    )
    cells = tuple((i, *(round(x, 3) for x in row)) for i, row in rows.items())
    return Table("What the scores are made of", ("id", "baseline", *names, "raw score"), cells, tuple(notes))


def _missing_table(session: Session, told: dict[str, Any]) -> tuple[Table, ...]:
    from ..reports import Table

    if told["better"] is None:
        return ()
    title = session.tr("What {person}, ranked first, has more of", person=told["better"]["id"])
    rows = tuple((m["need"], session.tr(m["part"]), round(m["difference"], 3)) for m in told["missing"][:8])
    return (Table(title, ("id", "part", "raw score"), rows),)


def _lift_table(session: Session, matcher: Matcher, told: dict[str, Any]) -> tuple[Table, ...]:
    from ..reports import Table
    from ..reports.content import concept_label, quote, shorten

    rows = []
    for lift in told["to_rank_higher"]:
        need = next(n for n in told["needs"] if n["id"] == lift["need"])
        label = concept_label(need["skill"], session.lang, matcher.labels)
        what = label or quote(shorten(need["text"], _QUOTED), session.lang)
        values = {"skill": what, "level": lift["level"]}
        if lift["lack"] == "nothing":
            said = session.tr("a sentence that shows work with {skill} at level {level}", **values)
        elif lift["lack"] == "claimed only":
            said = session.tr("a sentence that shows at level {level} what is only claimed: {skill}", **values)
        else:
            said = session.tr("a sentence that shows more than is there, at level {level}: {skill}", **values)
        rows.append((lift["need"], said))
    if not rows:
        return ()
    notes = [
        session.tr("Levels run from 1 (heard of it) to 5 (the reference person). Only what is true belongs there.")
    ]
    if told["thin"]:
        notes.insert(
            0, session.tr("The profile is thin: any true sentence on what they do makes the score more certain.")
        )
    first = told["better"] is None
    title = session.tr("What would raise the score") if first else session.tr("To rank higher, the profile would need")
    return (Table(title, ("id", "sentence"), tuple(rows), tuple(notes)),)
