"""What the shell offers at a tab. Reads small files only; offers nothing where anything is wrong."""

from __future__ import annotations

import csv
import io
import json
import os
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import typer

Offers = list[tuple[str, str]]

_IDS = ("id", "identifiant", "matricule")
_TITLES = ("titre", "title", "nom", "name")


def _quietly(find: Callable[[Path], Iterable[tuple[str, str]]]) -> Callable[[typer.Context, str], Offers]:
    def offer(ctx: typer.Context, incomplete: str) -> Offers:
        try:
            root = _root(ctx)
            found = [] if root is None else find(root)
            return sorted({(name, about) for name, about in found if name.startswith(incomplete)})
        except Exception:  # a message here would land in the middle of what somebody is typing
            return []

    # No functools.wraps: typer reads the signature to know what to pass.
    offer.__doc__ = find.__doc__
    return offer


def _root(ctx: typer.Context) -> Path | None:
    given = ctx.find_root().params.get("workspace") or os.environ.get("SKILLMATCH_WORKSPACE")
    if given:
        return Path(given).expanduser()
    here = Path.cwd()
    return next((f for f in (here, *here.parents) if (f / "skillmatch.toml").is_file()), None)


def _version(root: Path) -> Path:
    current = (root / "models" / "CURRENT").read_text("utf-8").strip()
    return root / "models" / "versions" / current


def _people(root: Path) -> list[dict[str, Any]]:
    people: list[dict[str, Any]] = json.loads((_version(root) / "people.json").read_text("utf-8"))
    return people


def _rows(folder: Path, name: str) -> list[tuple[str, str]]:
    """(id, title) of the rows of a CSV or JSON lines file."""
    table = folder / f"{name}.csv"
    if table.is_file():
        text = table.read_text("utf-8-sig", errors="replace")
        header = text.split("\n", 1)[0]
        rows = list(csv.DictReader(io.StringIO(text), delimiter=max(";,\t", key=header.count)))
    else:
        lines = (folder / f"{name}.jsonl").read_text("utf-8").splitlines()
        rows = [json.loads(line) for line in lines if line.strip()]
    return [(_cell(row, _IDS), _cell(row, _TITLES)) for row in rows if _cell(row, _IDS)]


def _cell(row: dict[str, Any], names: tuple[str, ...]) -> str:
    return next((str(v).strip() for k, v in row.items() if str(k).strip().lower() in names and v), "")


@_quietly
def projects(root: Path) -> Iterable[tuple[str, str]]:
    """Ids and titles of the workspace's projects."""
    return _rows(root / "data", "projects")


@_quietly
def profiles(root: Path) -> Iterable[tuple[str, str]]:
    """Ids and names of the people of the current version, else of the profiles."""
    try:
        return [(p["id"], p["name"]) for p in _people(root)]
    except OSError:
        return _rows(root / "data", "profiles")


@_quietly
def labs(root: Path) -> Iterable[tuple[str, str]]:
    """The labs of the current version."""
    return [(p["lab"], "") for p in _people(root) if p["lab"]]


@_quietly
def skills(root: Path) -> Iterable[tuple[str, str]]:
    """Ids and labels of the concepts of the current version."""
    concepts = json.loads((_version(root) / "concepts.json").read_text("utf-8"))
    return [(c[0], c[1] or c[2]) for c in concepts]


@_quietly
def known_skills(root: Path) -> Iterable[tuple[str, str]]:
    """Ids and labels of the concepts of the current version, and of the imported ones."""
    concepts = json.loads((_version(root) / "concepts.json").read_text("utf-8"))
    found = [(c[0], c[1] or c[2]) for c in concepts]
    for file in (root / "data" / "taxonomies").glob("[!.]*.jsonl"):
        entries = [json.loads(line) for line in file.read_text("utf-8").splitlines()[1:]]
        found += [(e["id"], e.get("en") or e.get("fr") or "") for e in entries]
    return found


@_quietly
def versions(root: Path) -> Iterable[tuple[str, str]]:
    """The versions there are."""
    return [(p.name, "") for p in (root / "models" / "versions").iterdir() if not p.name.startswith(".")]


def families(incomplete: str) -> Offers:
    """The families."""
    return [(f, "") for f in ("online", "offline", "asr", "other") if f.startswith(incomplete)]


def kinds(incomplete: str) -> Offers:
    """The kinds of taxonomies that can be imported."""
    return [(k, "") for k in ("esco", "referens", "rome", "onet", "csv") if k.startswith(incomplete)]
