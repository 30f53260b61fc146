"""doctor: what is installed, which encoder and version answer, what is stale, what can't be written."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Iterator, Mapping, Sequence
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from .._version import __version__
from ..errors import SkillmatchError
from . import options
from .questions import is_outdated
from .session import READ_FORMATS, Session, session_of

if TYPE_CHECKING:
    from ..records import Profile
    from ..runtime import Workspace

Row = tuple[str, object, str]


def register(app: typer.Typer) -> None:
    """Add the command of this file to ``app``."""
    app.command()(doctor)


def doctor(ctx: typer.Context, fmt: options.Format = None, out: options.Out = None) -> None:
    """Show what is installed, in use and out of date.

    Libraries, settings, encoder, version, profiles changed since the last training, folders, disk.

    Example: skillmatch doctor
    """
    from ..reports import Table, format_of

    session = session_of(ctx)
    kind = format_of(out, fmt)
    rows = [*_installed(), *_settings(session), *_state(session)]
    if kind in READ_FORMATS:
        rows = [(session.tr(what), session.tr(str(value)), session.tr(do)) for what, value, do in rows]
    session.emit(Table("", ("what", "value", "to do"), tuple(rows)), kind, out)


def _installed() -> Iterator[Row]:
    """Python and the libraries that skillmatch asks for, with what to do about those that are missing."""
    yield ("skillmatch", __version__, "")
    yield ("Python", ".".join(map(str, sys.version_info[:3])), "")
    for name, extra in _requirements():
        try:
            yield (name, metadata.version(name), "")
        except metadata.PackageNotFoundError:
            if extra:
                yield (name, "not installed", f"only if wanted: pip install 'skillmatch[{extra}]'")
            else:
                yield (name, "missing", f"pip install {name}")


def _requirements() -> list[tuple[str, str]]:
    """(library, extra or "") as the installed package declares them; the ones it can't do without else."""
    import re

    try:
        declared = metadata.requires("skillmatch") or []
    except metadata.PackageNotFoundError:  # run from a source folder
        names = "numpy scikit-learn onnxruntime tokenizers pandas pydantic rich torch sentence-transformers"
        return [(name, "") for name in names.split()]
    found = []
    for text in declared:
        extra = re.search(r"extra\s*==\s*[\"']([\w-]+)", text)
        name = re.match(r"[\w.-]+", text)
        if name and (extra is None or extra[1] != "dev"):
            found.append((name[0], extra[1] if extra else ""))
    return found


def _settings(session: Session) -> Iterator[Row]:
    for name, value in session.settings.values.items():
        shown = "" if value == "" else value
        yield (f"setting {name}", f"{shown} ({session.settings.sources[name]})", "")


def _state(session: Session) -> Iterator[Row]:
    """The workspace: folders, version, what changed since it was trained."""
    workspace = session.workspace_or_none
    if workspace is None:
        yield ("workspace", "none here", "skillmatch init DIR")
        return
    yield ("workspace", str(workspace.root), "")
    for folder in (workspace.data, workspace.models):
        yield (f"{folder.name}/", *_writable(folder))
    free = shutil.disk_usage(workspace.root).free / 1e9
    yield ("free disk, GB", round(free, 1), "free some space" if free < 1 else "")
    from ..store import Store

    store = Store(workspace.models)
    try:
        current = store.current()
        manifest = store.verify(current) if current else {}
    except SkillmatchError as error:
        yield ("current version", error.message, error.hint)
        return
    yield ("current version", current or "none", "" if current else "skillmatch train")
    if current:
        yield _encoder_row(session, workspace, manifest)
        yield from _staleness(session, workspace, store.folder(current))


def _writable(folder: Path) -> tuple[str, str]:
    if not folder.is_dir():
        return "missing", f"mkdir {folder}"
    if not os.access(folder, os.W_OK | os.X_OK):
        return "can't be written", f"ask the owner of {folder}"
    return "can be written", ""


def _encoder_row(session: Session, workspace: Workspace, manifest: Mapping[str, Any]) -> Row:
    name, fingerprint = str(manifest.get("encoder_name", "")), str(manifest.get("encoder", ""))
    there = fingerprint.startswith("hashing-") or (workspace.models / "encoders" / fingerprint).is_dir()
    if not there:
        return ("encoder", f"{name} {fingerprint}: its files are gone", "skillmatch train")
    wanted = str(session.settings["encoder"])
    changed = f"the setting says {wanted}: skillmatch train" if wanted != name else ""
    adapted = ", adapted" if manifest.get("adapted") else ""
    return ("encoder", f"{name} {fingerprint}{adapted}", changed)


def _staleness(session: Session, workspace: Workspace, version: Path) -> Iterator[Row]:
    import json

    from ..records import content_hash
    from ..sources import read_workspace

    held = {p["id"]: p["hash"] for p in json.loads((version / "people.json").read_text("utf-8"))}
    dataset = read_workspace(workspace)
    if dataset.errors():
        yield ("data", f"{len(dataset.errors())} error(s)", "skillmatch check")
    shown = {p.id: content_hash(p) for p in dataset.profiles if p.consent is not False}
    changes = {
        "new profiles": sorted(shown.keys() - held.keys()),
        "changed profiles": sorted(i for i in shown.keys() & held.keys() if shown[i] != held[i]),
        "profiles gone": sorted(held.keys() - shown.keys()),
    }
    for what, ids in changes.items():
        yield (what, _listed(ids), "skillmatch train" if ids else "")
    yield from _outdated(session, dataset.profiles)


def _outdated(session: Session, profiles: Sequence[Profile]) -> Iterator[Row]:
    old = [p.id for p in profiles if p.updated and is_outdated(p.updated.isoformat(), session)]
    yield ("out-of-date profiles", _listed(old), "ask these people to look at them" if old else "")
    refused = [p.id for p in profiles if p.consent is False]
    yield ("profiles without consent, never shown", _listed(refused), "")


def _listed(ids: Sequence[str]) -> str:
    if not ids:
        return "none"
    return f"{len(ids)}: {', '.join(ids[:10])}{', ...' if len(ids) > 10 else ''}"
