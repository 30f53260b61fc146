"""Whether a training would read anything else than the one before: if not, it is over in a moment."""

from __future__ import annotations

import hashlib
import json
from importlib import metadata
from pathlib import Path
from typing import Any

from ..runtime import Settings, Workspace
from ..store import replace_file, signed, sound

#: In ``models/cache``: what the last training read, and what came of it.
REMEMBERED = "trained.json"
#: What no training reads: the log of what was suggested.
_LOGS = frozenset({"suggestions.jsonl"})
#: Settings that change no version.
_IDLE = frozenset({"lang", "jobs"})
_KEYS = {"inputs", "encoder", "version", "answers"}
_LIBRARIES = ("numpy", "scikit-learn", "onnxruntime")


def inputs(workspace: Workspace, settings: Settings) -> str:
    """A digest of all that decides a version, but for the encoder: data, settings, skillmatch and libraries."""
    digest = hashlib.sha256()
    values = {name: value for name, value in settings.values.items() if name not in _IDLE}
    digest.update(json.dumps([values, [metadata.version(name) for name in _LIBRARIES]], sort_keys=True).encode())
    for top in (workspace.data, Path(__file__).parents[1]):
        for path in sorted(p for p in top.rglob("*") if p.is_file()):
            name = path.relative_to(top).as_posix()
            if name not in _LOGS and not path.name.startswith(".") and path.suffix != ".pyc":
                with path.open("rb") as file:
                    digest.update(f"{name} {hashlib.file_digest(file, 'sha256').hexdigest()}\n".encode())
    return digest.hexdigest()


def remembered(workspace: Workspace) -> dict[str, Any]:
    """What ``remember`` was given last; empty where that is nothing, or can't be read."""
    try:
        entry = json.loads((workspace.models / "cache" / REMEMBERED).read_text("utf-8"))
    except (OSError, ValueError, RecursionError):
        return {}
    return entry if isinstance(entry, dict) and entry.keys() >= _KEYS and sound(entry) else {}


def remember(workspace: Workspace, digest: str, encoder: str, version: str, answers: int) -> None:
    """Note that these inputs and this encoder made this version, whose ranker learned from so many answers."""
    entry = signed({"inputs": digest, "encoder": encoder, "version": version, "answers": answers})
    if entry != remembered(workspace):
        replace_file(workspace.models / "cache" / REMEMBERED, json.dumps(entry).encode())
