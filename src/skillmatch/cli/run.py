"""The application: the global options, the commands, and one run of them."""

from __future__ import annotations

import contextlib
import os
import sys
import warnings
from collections.abc import Sequence
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from .._version import __version__
from ..errors import UsageError
from . import concepts, doctor, lab, learning, people, plans, questions
from .failures import told
from .session import Session, session_of

app = typer.Typer(
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    help="Find who, in another lab, can help with a project need, and why.",
    epilog='Example: skillmatch suggest "tune our Ceph cluster" --from-lab LAC',
)
for commands in (lab, learning, questions, plans, doctor, people, concepts):
    commands.register(app)


class Lang(StrEnum):
    """The languages of tables and messages."""

    en = "en"
    fr = "fr"


def _show_version(asked: bool) -> None:
    if asked:
        typer.echo(f"skillmatch {__version__}")
        raise typer.Exit


@app.callback()
def _global(
    ctx: typer.Context,
    workspace: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="The folder with skillmatch.toml, data/ and models/.", show_default=False),
    ] = None,
    lang: Annotated[
        Lang | None,
        typer.Option(metavar="en|fr", help="The language of tables and messages.", show_default=False),
    ] = None,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Only results and errors.")] = False,
    verbose: Annotated[
        bool, typer.Option("--verbose", "-v", help="More about what is done, and about defects.")
    ] = False,
    version: Annotated[
        bool,
        typer.Option("--version", help="Show the version and exit.", callback=_show_version, is_eager=True),
    ] = False,
) -> None:
    session = session_of(ctx)
    session.folder, session.lang_given = workspace, lang.value if lang else None
    session.quiet, session.verbose = quiet, verbose
    if quiet and verbose:
        raise UsageError("-q and -v contradict each other.", "Give one of the two.")


def run(argv: Sequence[str]) -> int:
    """Run one command line; returns its exit code, and lets no exception out."""
    for name in ("stdout", "stderr"):  # closed by whoever started us
        if getattr(sys, name) is None:
            setattr(sys, name, Path(os.devnull).open("w", encoding="utf-8"))  # noqa: SIM115  lives as long as we do
    argv = [_readable(argument) for argument in argv]
    session = Session(json=_json_asked(argv), lang_given=_value_of("--lang", argv))
    if not sys.warnoptions:
        warnings.simplefilter("ignore")  # those of libraries; ours are messages
    # What we write holds personal data: nobody beyond the owner's group may read it.
    before = os.umask(0o077)
    os.umask(before | 0o027)
    try:
        code = app(args=argv, standalone_mode=False, prog_name="skillmatch", obj=session)
        sys.stdout.flush()
        if code == 130:  # typer's own word for it
            raise KeyboardInterrupt
        return int(code or 0)
    except BaseException as error:
        with contextlib.suppress(KeyboardInterrupt):
            return told(error, session)
        return 130
    finally:
        os.umask(before)


def _readable(argument: str) -> str:
    """What was typed in another encoding than the locale's, as text; names of files stay as they are."""
    if argument.isascii():
        return argument
    try:
        argument.encode()
        return argument
    except UnicodeEncodeError:
        with contextlib.suppress(OSError):  # longer than any name
            if Path(argument).exists():
                return argument
    from ..sources.decode import decode

    try:
        return decode(os.fsencode(argument)).text
    except UnicodeEncodeError:  # halves of characters, which no shell passes
        return argument.encode(errors="replace").decode()


def _json_asked(argv: Sequence[str]) -> str | None:
    """Whether errors are to be told as JSON; read from the arguments, as these may be what is wrong."""
    asked = _value_of("--format", argv)
    return asked if asked in ("json", "jsonl") else None


def _value_of(flag: str, argv: Sequence[str]) -> str | None:
    """The last value given to ``flag``, if any."""
    found = None
    for place, argument in enumerate(argv):
        if argument == "--":
            break
        if argument == flag and place + 1 < len(argv):
            found = argv[place + 1]
        elif argument.startswith(f"{flag}="):
            found = argument.removeprefix(f"{flag}=")
    return found
