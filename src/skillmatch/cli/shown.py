"""What becomes of an answer once it is shown: how to say what came of it, the log where it is wanted, the cap."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from ..errors import SkillmatchError
from .session import Session

if TYPE_CHECKING:
    from ..matcher import Matcher, Options
    from ..records import Project, Suggestion

#: A longer question is repeated from its file, not from the screen.
_TYPED = 200


def log_file(session: Session) -> Path:
    """Where suggestions are kept, if they are."""
    return session.workspace.data / "suggestions.jsonl"


def tell_how_to_answer(session: Session, answer: Suggestion, question: str) -> None:
    """The command that records what came of the first suggestion. ``question``: what was typed, "" for a project."""
    if not answer.matches or len(question) > _TYPED or "\n" in question:
        return
    first = answer.matches[0]
    words = ["skillmatch", "feedback", "add", question or answer.project.id, first.profile.id, "accepted"]
    command = shlex.join([*words, "--rank", str(first.rank), "--model", answer.model])
    session.say("Tell what came of it, for instance: {command}", command=command)


def log_shown(session: Session, answers: Sequence[Suggestion], question: str = "") -> None:
    """Keep what was shown, if ``retention`` asks for it. Who can't write there gets the answer all the same."""
    days = int(session.settings["retention"])
    if not days or not answers:
        return
    from .. import feedback

    asked = feedback.question_id(question) if question else ""
    entries = [(a.model, asked or a.project.id, question, [m.profile.id for m in a.matches]) for a in answers]
    try:
        feedback.log_shown(log_file(session), entries, days)
    except SkillmatchError as error:
        session.say("Note: this suggestion was not kept. {message}", message=error.message)


def capped_answers(
    session: Session, matcher: Matcher, projects: Sequence[Project], chosen: Options
) -> Sequence[Suggestion] | None:
    """Answers to a whole list in which nobody is shown too often; None where ``max_shown`` sets no limit."""
    most = int(session.settings["max_shown"])
    if not most or chosen.top is None:
        return None
    from ..training import capped

    everybody = replace(chosen, top=max(len(matcher.people), 1))
    with session.progress() as stage:
        stage("projects", 0, len(projects))
        found = []
        for done, answer in enumerate(matcher.match_many(projects, everybody), start=1):
            found.append(answer)
            stage("projects", done, len(projects))
    told = capped(found, chosen.top, most)
    session.say(
        "Nobody is shown for more than {most} projects (max_shown): {moved} places went to others, {empty} stayed "
        "empty; the price is {price} % of the summed probability.",
        most=most,
        moved=told.moved,
        empty=told.empty,
        price=f"{100 * told.price:.1f}",
    )
    return told.answers
