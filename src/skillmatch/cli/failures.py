"""The one place where errors are told: message, problems and hint, never a traceback unless asked for."""

from __future__ import annotations

import contextlib
import os
import sys
import traceback
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import typer

from ..errors import Problem, SkillmatchError, UsageError
from .session import OutputClosed, Session, tell, utf8, wants_colour

#: More problems than this are counted in a message, not listed; JSON holds them all.
_MOST_SHOWN = 200
#: Options of the whole program, which people try after the command.
_GLOBAL = ("--workspace", "--lang", "--quiet", "-q", "--verbose", "-v", "--version")


def told(error: BaseException, session: Session) -> int:
    """Tell what went wrong, on standard error or as the contract's object; returns the exit code."""
    try:
        return _told(error, session)
    finally:
        _settle_output()


def _told(error: BaseException, session: Session) -> int:
    closed = isinstance(error, BrokenPipeError | OutputClosed)
    if closed or isinstance(error.__context__, BrokenPipeError):
        return 0
    if isinstance(error, KeyboardInterrupt | typer.Abort):
        tell(_tr(session, "Interrupted."))
        return 130
    if isinstance(error, SystemExit):
        return error.code if isinstance(error.code, int) else 1
    known = _as_ours(error)
    if session.verbose and known.exit_code == 1:
        tell("".join(traceback.format_exception(error)))
    try:
        _show(known, session)
    except BrokenPipeError:
        return known.exit_code
    except Exception as second:  # people get the message, whatever is wrong with the tables
        tell(f"Error: {known.message}\n{known.hint}")
        if session.verbose:
            tell("".join(traceback.format_exception(second)))
    return known.exit_code


def show_problems(problems: Sequence[Problem], session: Session) -> None:
    """The problems of data files as one table, on standard error."""
    tell(_table(problems, session).rstrip("\n") + "\n")


def _settle_output() -> None:
    """Standard output that can't be written goes nowhere: else Python would complain when it ends."""
    try:
        sys.stdout.flush()
    except (OSError, ValueError):
        with contextlib.suppress(OSError, ValueError):
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _as_ours(error: BaseException) -> SkillmatchError:
    if isinstance(error, SkillmatchError):
        return error
    if hasattr(error, "format_message"):  # click's; typer brings click along under names of its own
        return _usage(error)
    if isinstance(error, OSError) and error.strerror:
        where = f"{error.filename}: " if error.filename else ""
        hint = "Check that disk and who may read and write there, then try again."
        return UsageError(f"{where}{error.strerror}.", hint)
    if isinstance(error, MemoryError):
        return UsageError("There is not enough memory for this.", "Split the work, or free some memory.")
    what = f"{type(error).__name__}: {error} ({_where(error)})"
    return SkillmatchError(
        f"This is a defect of skillmatch, not of your data: {what}.",
        "Run it again as: skillmatch -v COMMAND ... to see the details, and report them.",
    )


def _where(error: BaseException) -> str:
    """The innermost place of ours that an exception passed through."""
    frames = traceback.extract_tb(error.__traceback__)
    ours = [f for f in frames if "skillmatch" in Path(f.filename).parts] or list(frames)
    return f"{Path(ours[-1].filename).name}:{ours[-1].lineno}, {ours[-1].name}" if ours else "no place known"


def _usage(error: Any) -> UsageError:
    """Click's refusal of a command line, in our words."""
    message = error.format_message().strip()
    if type(error).__name__ == "NoArgsIsHelpError":
        return UsageError(message)
    message = message if message.endswith((".", "?")) else f"{message}."
    context = getattr(error, "ctx", None)
    command = context.command_path if context is not None else "skillmatch"
    option = getattr(error, "option_name", "")
    if option in _GLOBAL:
        last = command.split()[-1]
        return UsageError(message, f"{option} goes before the command: skillmatch {option} ... {last} ...")
    if "extra argument" in message:
        return UsageError(message, f"Put a text of several words in quotes. See: {command} --help")
    return UsageError(message, f"See: {command} --help")


def _show(error: SkillmatchError, session: Session) -> None:
    from .. import reports

    if session.json:
        utf8(session.json)
        sys.stdout.write(reports.render(error.as_dict(), session.json))
        sys.stdout.flush()
        return
    if not error.hint and not error.problems and error.exit_code == 2:  # the help itself
        tell(error.message)
        return
    head = _tr(session, "Error:")
    head = f"\x1b[1;31m{head}\x1b[0m" if wants_colour(sys.stderr) else head
    tell(f"{head} {_safe(error.message, session)}")
    if error.problems:
        show_problems(error.problems, session)
    if error.hint:
        tell(_safe(error.hint, session))


def _table(problems: Sequence[Problem], session: Session) -> str:
    """Drawn here, not by reports: where a problem is must never be cut in two."""
    import io
    import shutil

    from rich import box
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    from ..reports.content import clean

    grid = Table(box=box.SIMPLE_HEAD, pad_edge=False, header_style="bold", leading=1)
    for column in ("place", "value", "problem", "remedy"):
        grid.add_column(_tr(session, column), overflow="fold", no_wrap=column == "place", max_width=60)
    for p in problems[:_MOST_SHOWN]:
        said = p.problem if p.severity == "error" else f"({_tr(session, p.severity)}) {p.problem}"
        file = p.file if p.row is None else f"{p.file}:{p.row}"
        place = f"{clean(file)}\n[{clean(p.column)}]" if p.column else clean(file)
        grid.add_row(*(Text(text) for text in (place, clean(p.value or ""), clean(said), clean(p.remedy))))
    width = max(60, min(shutil.get_terminal_size((100, 24)).columns, 120))
    out = io.StringIO()
    Console(file=out, width=width, color_system=None, markup=False, _environ={}).print(grid)
    more = len(problems) - _MOST_SHOWN
    if more > 0:
        out.write(_tr(session, "{more} more; --format json lists all of them.", more=more))
    return "".join(line.rstrip() + "\n" for line in out.getvalue().splitlines())


def _safe(text: str, session: Session) -> str:
    """``text`` translated, and without what could steer a terminal."""
    from ..reports.content import clean_lines

    return clean_lines(_tr(session, text))


def _tr(session: Session, text: str, **values: object) -> str:
    """``text`` in the session's language; in the environment's where the settings themselves are wrong."""
    from .. import reports
    from ..reports import tr

    try:
        lang = session.lang
    except SkillmatchError:
        asked = (session.lang_given, os.environ.get("SKILLMATCH_LANG"), reports.pick_lang("", os.environ))
        lang = next(word for word in asked if word in reports.LANGS)
    return tr(text, lang, **values)
