"""The workspace, its settings and where each came from.

A setting is taken from the flag, else the environment (``SKILLMATCH_<NAME>``), else ``skillmatch.toml``, else its
default; ``Settings.sources`` says which. Nothing here opens data or models.
"""

from __future__ import annotations

import os
import tomllib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ..errors import DataError, Problem, UsageError

CONFIG = "skillmatch.toml"

#: name -> (default, kind, what it is). The text goes into `skillmatch doctor` and the README.
SETTINGS: dict[str, tuple[Any, type, str]] = {
    "encoder": ("all-MiniLM-L6-v2", str, "sentence-transformers name or folder, or 'hashing'"),
    "lang": ("", str, "language of tables and messages: en or fr (empty: the locale's)"),
    "seed": (0, int, "seed of everything random in training"),
    "jobs": (0, int, "cores to use (0: all)"),
    "min_score": (-1.0, float, "the bar for suggesting anybody, 0 to 1 (-1: learned in training)"),
    "stale_months": (24, int, "profiles not updated for this long are shown as out of date"),
    "retention": (0, int, "days for which suggestions are kept in data/suggestions.jsonl (0: none is)"),
    "max_shown": (0, int, "projects of a batch for which one person is shown at most (0: no limit)"),
}


@dataclass(frozen=True)
class Workspace:
    """A folder with ``skillmatch.toml``, ``data/`` and ``models/``."""

    root: Path

    @property
    def data(self) -> Path:
        return self.root / "data"

    @property
    def models(self) -> Path:
        return self.root / "models"

    @property
    def config(self) -> Path:
        return self.root / CONFIG


@dataclass(frozen=True)
class Settings:
    """Values by name, and where each came from (``flag``, ``environment``, ``skillmatch.toml``, ``default``)."""

    values: Mapping[str, Any]
    sources: Mapping[str, str] = field(default_factory=dict)

    def __getitem__(self, name: str) -> Any:
        return self.values[name]


def find_workspace(given: Path | str | None = None, environment: Mapping[str, str] | None = None) -> Workspace:
    """The workspace from ``given``, else ``SKILLMATCH_WORKSPACE``, else the current folder upward.

    Raises ``UsageError`` where there is none.
    """
    env = os.environ if environment is None else environment
    named = given or env.get("SKILLMATCH_WORKSPACE")
    if named:
        root = Path(named).expanduser()
        if not (root / CONFIG).is_file() and not (root / "data").is_dir():
            raise UsageError(
                f"{root} is no workspace: it has neither {CONFIG} nor data/.",
                f"Make one with: skillmatch init {root}",
            )
        return Workspace(root.resolve())
    here = Path.cwd()
    for folder in (here, *here.parents):
        if (folder / CONFIG).is_file():
            return Workspace(folder)
    raise UsageError(
        f"There is no workspace here: no {CONFIG} in {here} or above.",
        "Make one with: skillmatch init DIR, or name one with: skillmatch --workspace DIR",
    )


def load_settings(
    workspace: Workspace | None,
    flags: Mapping[str, Any] | None = None,
    environment: Mapping[str, str] | None = None,
) -> Settings:
    """All settings of a workspace. Raises ``DataError`` naming every wrong line of ``skillmatch.toml`` at once."""
    env = os.environ if environment is None else environment
    values: dict[str, Any] = {k: v[0] for k, v in SETTINGS.items()}
    sources = dict.fromkeys(values, "default")
    problems: list[Problem] = []
    if workspace is not None and workspace.config.is_file():
        _apply(_read_toml(workspace.config), CONFIG, values, sources, problems)
    from_env = {k: env[f"SKILLMATCH_{k.upper()}"] for k in SETTINGS if env.get(f"SKILLMATCH_{k.upper()}")}
    _apply(from_env, "environment", values, sources, problems)
    _apply({k: v for k, v in (flags or {}).items() if v is not None}, "flag", values, sources, problems)
    if problems:
        raise DataError("The settings have problems.", f"Mend {CONFIG} or the environment.", problems)
    return Settings(values, sources)


def _read_toml(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text("utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise DataError(
            f"{path.name} can't be read: {error}.",
            "Mend the line it names; the file is TOML, one `name = value` a line.",
            [Problem(path.name, str(error), "write one `name = value` a line")],
        ) from error


def _apply(
    given: Mapping[str, Any],
    source: str,
    values: dict[str, Any],
    sources: dict[str, str],
    problems: list[Problem],
) -> None:
    for name, value in given.items():
        if name not in SETTINGS:
            known = ", ".join(SETTINGS)
            problems.append(Problem(source, "is not a setting", f"use one of: {known}", column=name))
            continue
        try:
            values[name] = _value(name, value)
            sources[name] = source
        except (TypeError, ValueError, OverflowError):
            remedy = f"{SETTINGS[name][2]}; {_ALLOWED[name][1]}"
            problems.append(Problem(source, "can't be used", remedy, column=name, value=str(value)))


#: What a setting may be, and how that is said.
_ALLOWED: dict[str, tuple[Callable[[Any], bool], str]] = {
    "encoder": (lambda v: bool(v.strip()), "write a name or a folder"),
    "lang": (lambda v: v in ("", "en", "fr"), "write en or fr"),
    "seed": (lambda v: 0 <= v < 2**32, "write a whole number from 0 on"),
    "jobs": (lambda v: v >= 0, "write a whole number from 0 on"),
    "min_score": (lambda v: v == -1 or 0 <= v <= 1, "write a number from 0 to 1, or -1"),
    "stale_months": (lambda v: v >= 0, "write a whole number from 0 on"),
    "retention": (lambda v: v >= 0, "write a whole number of days, 0 for none"),
    "max_shown": (lambda v: v >= 0, "write a whole number, 0 for no limit"),
}


def _value(name: str, given: Any) -> Any:
    """The setting's value in its own kind. Raises where it is of another kind, or makes no sense."""
    kind = SETTINGS[name][1]
    if isinstance(given, bool) or not isinstance(given, str | int | float):
        raise TypeError
    if kind is str and not isinstance(given, str):
        raise TypeError
    value = kind(given)
    if (kind is int and isinstance(given, float) and given != value) or not _ALLOWED[name][0](value):
        raise ValueError
    return value


def cores(settings: Settings) -> int:
    """How many cores to use, at least one."""
    return int(settings["jobs"]) or os.cpu_count() or 1
