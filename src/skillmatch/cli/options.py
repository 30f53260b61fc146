"""The options that commands share, and how the filters of suggest and batch become ``matcher.Options``."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ..errors import UsageError
from . import complete

if TYPE_CHECKING:
    from datetime import date

    from ..matcher import Options
    from ..runtime import Backend as Workers
    from .session import Session

#: Projects a person, where nobody says.
_MAX_LOAD = 2

Format = Annotated[
    str | None,
    typer.Option("--format", metavar="FORMAT", help="table, json, jsonl, csv, markdown or html.", show_default=False),
]
Out = Annotated[
    Path | None,
    typer.Option(
        "--out",
        metavar="FILE",
        help="Write to a file instead; its suffix says the format (.xlsx too).",
        show_default=False,
    ),
]
FromLab = Annotated[
    str | None,
    typer.Option(
        "--from-lab",
        metavar="LAB",
        help="Your own lab: people of the other labs come first.",
        show_default=False,
        autocompletion=complete.labs,
    ),
]
Top = Annotated[str, typer.Option("--top", metavar="N|all", help="How many people to show for a project.")]
Must = Annotated[
    list[str] | None,
    typer.Option(
        "--must",
        metavar="SKILL",
        help="Only people who show this skill; may be repeated.",
        show_default=False,
        autocompletion=complete.skills,
    ),
]
Exclude = Annotated[
    list[str] | None,
    typer.Option(
        "--exclude",
        metavar="ID",
        help="Leave this person out; may be repeated.",
        show_default=False,
        autocompletion=complete.profiles,
    ),
]
Lab = Annotated[
    list[str] | None,
    typer.Option(
        "--lab",
        metavar="LAB",
        help="Only people of this lab; may be repeated.",
        show_default=False,
        autocompletion=complete.labs,
    ),
]
Family = Annotated[
    list[str] | None,
    typer.Option(
        "--family",
        metavar="FAMILY",
        help="Only online, offline, asr or other; may be repeated.",
        show_default=False,
        autocompletion=complete.families,
    ),
]
AvailableFrom = Annotated[
    str | None,
    typer.Option(
        "--available-from",
        metavar="DATE",
        help="First day they are needed, as 2026-03-31.",
        show_default=False,
    ),
]
AvailableTo = Annotated[
    str | None,
    typer.Option("--available-to", metavar="DATE", help="Last day they are needed.", show_default=False),
]
MinScore = Annotated[
    float | None,
    typer.Option(
        "--min-score",
        metavar="0..1",
        help="Only people at least this likely to be useful.",
        show_default="learned in training",
    ),
]

Assign = Annotated[bool, typer.Option("--assign", help="Decide for the whole list together who works on what.")]
PerProject = Annotated[
    int | None,
    typer.Option(
        "--per-project",
        metavar="N",
        min=1,
        max=1000,
        help="At most so many people a project.",
        show_default="the project's own size, or 3",
    ),
]
MaxLoad = Annotated[
    int | None,
    typer.Option(
        "--max-load", metavar="M", min=1, max=1000, help="At most so many projects a person.", show_default="2"
    ),
]
MinLabs = Annotated[
    int | None,
    typer.Option("--min-labs", metavar="K", min=1, help="People from at least so many labs.", show_default=False),
]
MinFamilies = Annotated[
    int | None,
    typer.Option("--min-families", metavar="K", min=1, help="People of at least so many families.", show_default=False),
]
Pairs = Annotated[
    Path | None,
    typer.Option(
        "--pairs",
        metavar="FILE",
        help="A table of project_id, profile_id and rule: forced or forbidden.",
        show_default=False,
    ),
]
NewLinks = Annotated[
    bool, typer.Option("--new-links", help="Prefer people with no link to the project's lab yet, not those with one.")
]


class Engine(StrEnum):
    """Where the work is done."""

    local = "local"
    dask = "dask"


Backend = Annotated[
    Engine,
    typer.Option(metavar="local|dask", help="Work on this machine, or spread over the workers of a Dask scheduler."),
]
Scheduler = Annotated[
    str | None,
    typer.Option(metavar="ADDRESS", help="With --backend dask: where it is, as tls://host:8786.", show_default=False),
]


@contextmanager
def workers(session: Session, backend: Engine, scheduler: str | None) -> Iterator[Workers | None]:
    """The workers that were asked for, checked before any work; None for this machine."""
    if backend is Engine.local:
        if scheduler is not None:
            raise UsageError("--scheduler goes with --backend dask.", "Add --backend dask, or leave it out.")
        yield None
        return
    if not (scheduler or "").strip():
        raise UsageError(
            "--backend dask needs the address of a scheduler.", "Add it, as: --scheduler tcp://127.0.0.1:8786"
        )
    from ..runtime import connected, travels_openly

    with connected(str(scheduler).strip()) as found:
        session.say("{slots} slots for tasks at {scheduler}", slots=found.slots, scheduler=found.scheduler)
        if travels_openly(found.scheduler):
            session.say(
                "Note: what people wrote travels to {scheduler} unencrypted, and whoever reaches it can run programs "
                "as you. Use tls://, or stay on one computer.",
                scheduler=found.scheduler,
            )
        yield found


@dataclass(frozen=True)
class Plan:
    """The flags of ``batch --assign``."""

    per_project: int | None
    max_load: int
    min_labs: int
    min_families: int
    pairs: Path | None
    new_links: bool


def read_plan(
    assign: bool,
    per_project: int | None,
    max_load: int | None,
    min_labs: int | None,
    min_families: int | None,
    pairs: Path | None,
    new_links: bool,
) -> Plan | None:
    """What to assign by; None without ``--assign``. Raises ``UsageError`` where flags of it stand alone."""
    if assign:
        return Plan(per_project, max_load or _MAX_LOAD, min_labs or 1, min_families or 1, pairs, new_links)
    given = {
        "--per-project": per_project,
        "--max-load": max_load,
        "--min-labs": min_labs,
        "--min-families": min_families,
        "--pairs": pairs,
        "--new-links": new_links or None,
    }
    alone = [flag for flag, value in given.items() if value is not None]
    if alone:
        raise UsageError(f"{alone[0]} goes with --assign.", "Add --assign, or leave it out.")
    return None


def read_options(
    session: Session,
    *,
    top: str,
    from_lab: str | None,
    must: list[str] | None,
    exclude: list[str] | None,
    lab: list[str] | None,
    family: list[str] | None,
    available_from: str | None,
    available_to: str | None,
    min_score: float | None,
) -> Options:
    """The filters as the matcher takes them. Raises ``UsageError`` naming the flag that is wrong."""
    from ..matcher import Options

    first, last = _day("--available-from", available_from), _day("--available-to", available_to, last=True)
    if first and last and first > last:
        raise UsageError(
            f"--available-from {first} is after --available-to {last}.", "Swap the two dates, or correct one."
        )
    return Options(
        top=read_top(top),
        from_lab=from_lab,
        must=_texts("--must", must),
        exclude=_texts("--exclude", exclude),
        lab=_texts("--lab", lab),
        family=_texts("--family", family),
        available_from=first,
        available_to=last,
        min_score=_bar(session, min_score),
    )


def read_top(text: str) -> int | None:
    """A number of people from 1, or None for all."""
    word = text.strip().lower()
    if word in ("all", "tous", "toutes"):
        return None
    if not (word.isascii() and word.isdigit()) or not 1 <= int(word[:10]) <= 10**9:
        raise UsageError(f"--top {text!r} is no number of people.", "Give a whole number from 1, or: --top all")
    return int(word)


def _bar(session: Session, given: float | None) -> float | None:
    """The bar: the flag's, else the setting's, else (None) the one learned in training."""
    if given is None:
        setting = float(session.settings["min_score"])
        given = None if setting < 0 else setting
    if given is not None and not 0 <= given <= 1:  # not a number is refused as well
        raise UsageError(f"The bar {given} is not between 0 and 1.", "Give a probability, as: --min-score 0.3")
    return given


def _texts(flag: str, values: list[str] | None) -> tuple[str, ...]:
    texts = tuple(dict.fromkeys(value.strip() for value in values or ()))
    if "" in texts:
        raise UsageError(f"{flag} is empty.", f"Give a value after {flag}, or leave the flag out.")
    return texts


def _day(flag: str, text: str | None, *, last: bool = False) -> date | None:
    if text is None:
        return None
    from datetime import date

    from ..sources.cells import day

    value: Any = day(text.strip(), last=last)
    try:
        return date.fromisoformat(value)
    except (TypeError, ValueError):
        raise UsageError(
            f"{flag} {text!r} is not a date.", f"Write it as 2026-03-31 or 31/03/2026: {flag} 2026-03-31"
        ) from None
