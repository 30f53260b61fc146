"""One run of the command line: its workspace, settings and language, and where everything it says goes.

Data goes to standard output, everything else to standard error; colour and progress bars only to a terminal.
"""

from __future__ import annotations

import math
import os
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

from ..errors import UsageError

if TYPE_CHECKING:
    import typer

    from ..reports import Labels, Result, Table
    from ..runtime import Settings, Workspace

Stage = Callable[[str, int, int], None]
#: Seconds of a stage after which the time left can be told.
_TELLING = 20.0

#: Formats for programs: always UTF-8, never translated.
DATA_FORMATS = ("json", "jsonl", "csv")
#: Formats for people: translated, and cut to what they need.
READ_FORMATS = ("table", "markdown", "html")
#: Formats of a page of several tables.
PAGE_FORMATS = ("table", "markdown", "json", "jsonl")


#: What training calls its stages -> how they are told.
_STAGES = {
    "taxonomy": "Learning the taxonomy",
    "profiles": "Reading claims and sentences",
    "version": "Writing the version",
    "adapting": "Teaching the encoder French",
    "labels": "Indexing the names of skills",
    "projects": "Answering",
}


class OutputClosed(Exception):  # noqa: N818 - nothing went wrong: whoever read our output has had enough
    """Standard output was closed by its reader (``skillmatch ... | head``)."""


@dataclass(frozen=True)
class Page:
    """A result that people read as one or several tables, and programs as one object."""

    tables: tuple[Table, ...]
    data: Mapping[str, Any]


@dataclass
class Session:
    """What the global options said. ``json`` is set where an error must be told as the contract's object."""

    json: str | None = None
    folder: Path | None = None
    lang_given: str | None = None
    quiet: bool = False
    verbose: bool = False
    flags: dict[str, Any] = field(default_factory=dict)

    # --- where we are ---

    @cached_property
    def workspace(self) -> Workspace:
        """The workspace. Raises ``UsageError`` where there is none."""
        from ..runtime import find_workspace

        found = find_workspace(self.folder)
        self.detail("Workspace: {folder}", folder=found.root)
        return found

    @cached_property
    def workspace_or_none(self) -> Workspace | None:
        """The workspace; None where none was named and there is none here."""
        try:
            return self.workspace
        except UsageError:
            if self.folder or os.environ.get("SKILLMATCH_WORKSPACE"):
                raise
            return None

    @cached_property
    def settings(self) -> Settings:
        """All settings; those of the workspace where there is one."""
        from ..runtime import load_settings

        return load_settings(self.workspace_or_none, {"lang": self.lang_given, **self.flags})

    @cached_property
    def lang(self) -> str:
        """The language of tables and messages, ``en`` or ``fr``."""
        from ..reports import pick_lang

        return pick_lang(str(self.settings["lang"]), os.environ)

    # --- messages ---

    def tr(self, message: str, /, **values: object) -> str:
        """``message`` in the language of this run."""
        from ..reports import tr

        return tr(message, self.lang, **values)

    def say(self, message: str, /, **values: object) -> None:
        """Tell people something, on standard error, unless they asked for quiet."""
        if not self.quiet:
            tell(self.tr(message, **values))

    def detail(self, message: str, /, **values: object) -> None:
        """Tell those who asked for more (``-v``)."""
        if self.verbose:
            tell(message.format(**values))

    # --- results ---

    def emit(
        self, result: Result | Page, fmt: str = "table", out: Path | None = None, labels: Labels | None = None
    ) -> None:
        """The one place where results are rendered: to standard output, or to ``out``."""
        from .. import reports

        told = self._rendered(result, fmt, out) if isinstance(result, Page) else self._translated(result, fmt)
        utf8(fmt)
        with closed_told():
            reports.write(told, fmt, out, lang=self.lang, color=wants_colour(sys.stdout), labels=labels)
        if out is not None:
            self.say("Written: {file}", file=out)

    def _translated(self, result: Result, fmt: str) -> Result:
        from ..reports import Table

        if not isinstance(result, Table) or fmt not in READ_FORMATS:
            return result
        columns, notes = tuple(map(self.tr, result.columns)), tuple(map(self.tr, result.notes))
        return replace(result, title=self.tr(result.title), columns=columns, notes=notes)

    def _rendered(self, page: Page, fmt: str, out: Path | None) -> str:
        from .. import reports

        if fmt in ("json", "jsonl"):
            return reports.render(page.data, fmt)
        if fmt not in PAGE_FORMATS:
            raise UsageError(f"This answer has no format '{fmt}'.", f"Use one of: --format {', '.join(PAGE_FORMATS)}.")
        colour = wants_colour(sys.stdout) and out is None
        width = 100 if out is not None else None
        tables = (self._translated(t, fmt) for t in page.tables)
        return "\n".join(reports.render(t, fmt, lang=self.lang, width=width, color=colour) for t in tables)

    def stream(self, lines: Iterable[str], out: Path | None) -> None:
        """Write lines as they come; a file is whole or as it was before."""
        utf8("jsonl")
        if out is None:
            with closed_told():
                for line in lines:
                    sys.stdout.write(line)
                    sys.stdout.flush()
            return
        with _whole_file(out) as file:
            for line in lines:
                file.write(line)
        self.say("Written: {file}", file=out)

    # --- progress ---

    @contextmanager
    def progress(self, *, lines: bool = False, bar: bool = True) -> Iterator[Stage]:
        """A callable (stage, done, total) that shows a bar on a terminal.

        Elsewhere, with ``lines``, it writes one line at the start of each stage.
        """
        with _interruptible() as heed:
            if bar and not self.quiet and is_terminal(sys.stderr):
                with _bar(self.tr) as stage:
                    yield heed(stage)
            else:
                yield heed(self._lines(lines))

    def _lines(self, lines: bool) -> Stage:
        seen: set[str] = set()
        began: dict[str, float] = {}

        def line(name: str, done: int, total: int) -> None:
            if lines and name not in seen:
                seen.add(name)
                began[name] = time.monotonic()
                self.say("{stage} ({total})", stage=self.tr(_STAGES.get(name, name)), total=total)
            elif lines and done and name in began and time.monotonic() - began[name] > _TELLING:
                # Told once, from what was done so far.
                left = (time.monotonic() - began.pop(name)) / done * (total - done)
                if left > _TELLING:
                    self.say("About {minutes} min left", minutes=math.ceil(left / 60))

        return line


@contextmanager
def _interruptible() -> Iterator[Callable[[Stage], Stage]]:
    """Ctrl-C ends the work by its next step at the latest.

    Where it falls into a callback of a library (a finaliser, compiled code) Python reports and drops the exception.
    """
    import signal
    import threading

    asked = False

    def interrupt(number: int, frame: object) -> None:
        nonlocal asked
        asked = True
        raise KeyboardInterrupt

    def heed(stage: Stage) -> Stage:
        def checked(name: str, done: int, total: int) -> None:
            if asked:
                raise KeyboardInterrupt
            stage(name, done, total)

        return checked

    mine = threading.current_thread() is threading.main_thread() and (
        signal.getsignal(signal.SIGINT) is signal.default_int_handler
    )
    if mine:
        signal.signal(signal.SIGINT, interrupt)
    try:
        yield heed
    finally:
        if mine:
            signal.signal(signal.SIGINT, signal.default_int_handler)


def session_of(ctx: typer.Context) -> Session:
    """The session of a command."""
    found = ctx.obj
    assert isinstance(found, Session)
    return found


def short_time(written: str | None) -> str | None:
    """A time of our files (``2026-11-20T09:30:00Z``) as people read it, to the minute."""
    return written and written[:16].replace("T", " ")


def tell(text: str) -> None:
    """A line on standard error; a closed one is nobody's problem."""
    try:
        sys.stderr.write(text + "\n")
        sys.stderr.flush()
    except (OSError, ValueError):
        return


def is_terminal(stream: TextIO) -> bool:
    """Whether bars and colours make sense there."""
    try:
        return stream.isatty() and os.environ.get("TERM") != "dumb"
    except ValueError:  # closed
        return False


def wants_colour(stream: TextIO) -> bool:
    """Whether ``stream`` is a terminal whose owner did not refuse colour (https://no-color.org)."""
    return is_terminal(stream) and not os.environ.get("NO_COLOR")


def utf8(fmt: str) -> None:
    """Data formats are UTF-8 whatever the locale."""
    if fmt in DATA_FORMATS and hasattr(sys.stdout, "reconfigure"):
        sys.stdout.reconfigure(encoding="utf-8")


@contextmanager
def closed_told() -> Iterator[None]:
    """Standard output closed by its reader, told apart from every other failure."""
    try:
        yield
        sys.stdout.flush()
    except BrokenPipeError:
        raise OutputClosed from None


@contextmanager
def _whole_file(out: Path) -> Iterator[TextIO]:
    target = out.expanduser()
    plain = target.is_file() or not target.exists()  # else a pipe or a device: there is nothing to keep whole
    if plain:
        target = target.resolve()
    beside = target.with_name(f".{target.name}.{os.getpid()}.new") if plain else target
    try:
        with beside.open("x" if plain else "w", encoding="utf-8", newline="\n") as file:
            yield file
            file.flush()
            if plain:
                os.fsync(file.fileno())
        if plain:
            beside.replace(target)
    except BrokenPipeError:
        raise OutputClosed from None
    except OSError as error:
        raise UsageError(
            f"{out} can't be written: {error.strerror or error}.",
            "Name a file in a folder that exists and that you may write to.",
        ) from error
    finally:
        if plain:
            beside.unlink(missing_ok=True)


@contextmanager
def _bar(tr: Callable[[str], str]) -> Iterator[Stage]:
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeRemainingColumn

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    tasks: dict[str, TaskID] = {}
    with Progress(*columns, console=Console(stderr=True), transient=True) as shown:
        waiting = shown.add_task(tr("Starting"), total=None)

        def stage(name: str, done: int, total: int) -> None:
            shown.update(waiting, visible=False)
            if name not in tasks:
                tasks[name] = shown.add_task(tr(_STAGES.get(name, name)))
            shown.update(tasks[name], completed=done, total=max(total, done, 1))

        yield stage
