"""What a manifest and a history line must be, and what they say."""

from __future__ import annotations

import hashlib
import json
import re
import zlib
from collections.abc import Mapping, Sequence
from typing import Any

#: The format of a version's folder. To change what a version holds: add one here; keep the reader of each
#: older format beside the new one (it asks ``manifest["format"]``); add a tiny saved version of the old
#: format to the tests. Never change, in any format: the name manifest.json, its keys ``format`` and
#: ``files``, and the rule that the id is "v" and 12 hex digits of the manifest's sha256. By these an older
#: skillmatch recognises a newer version, and refuses it politely.
FORMAT = 1

MANIFEST = "manifest.json"

_ID = re.compile(r"[a-z0-9-]{1,100}")


def is_id(text: object) -> bool:
    """Whether ``text`` can name a version: no path can."""
    return isinstance(text, str) and _ID.fullmatch(text) is not None


def id_of(manifest: bytes) -> str:
    """The version's id: 48 bits of the digest of its manifest."""
    return "v" + hashlib.sha256(manifest).hexdigest()[:12]


def dump_manifest(meta: Mapping[str, object], files: Mapping[str, object]) -> bytes:
    """The manifest's bytes, the same for the same content."""
    content = {**meta, "format": FORMAT, "files": files}
    text = json.dumps(content, sort_keys=True, ensure_ascii=False, allow_nan=False, indent=1)
    return f"{text}\n".encode()


def parse_manifest(data: bytes) -> dict[str, Any] | None:
    """The manifest, None where it is none. Of a newer format only ``format`` is certain."""
    try:
        content = json.loads(data)
    except (ValueError, RecursionError):
        return None
    number = content.get("format") if isinstance(content, dict) else None
    if type(number) is not int or number < 1:
        return None
    return content if number > FORMAT or _lists_files(content.get("files")) else None


def _lists_files(files: object) -> bool:
    return isinstance(files, dict) and all(
        isinstance(said, dict) and type(said.get("size")) is int and isinstance(said.get("sha256"), str)
        for said in files.values()
    )


def signed(event: Mapping[str, Any]) -> dict[str, Any]:
    """A JSON object with its own checksum, by which an altered one is told (``sound``)."""
    plain = json.loads(json.dumps(event, allow_nan=False))  # as it will be read
    return {**plain, "crc32": _crc(plain)}


def sound(values: Mapping[str, Any]) -> bool:
    """Whether what ``signed`` made is as it was. What has no checksum, by people or older versions of us, is."""
    return "crc32" not in values or values["crc32"] == _crc({k: v for k, v in values.items() if k != "crc32"})


def _crc(event: Mapping[str, Any]) -> str:
    return f"{zlib.crc32(json.dumps(event, sort_keys=True).encode()):08x}"


def parse_history(data: bytes) -> list[dict[str, Any]]:
    """Every event, oldest first; a line that is none, or was altered, as ``{"event": "unreadable", "line": n}``.

    An unfinished last line is left out.
    """
    events, lines = [], data.split(b"\n")
    for number, line in enumerate(lines, 1):
        event = _as_event(line)
        if event is not None:
            events.append(event)
        elif line.strip() and number < len(lines):
            events.append({"event": "unreadable", "line": number})
    return events


def _as_event(line: bytes) -> dict[str, Any] | None:
    try:
        event = json.loads(line)
    except (ValueError, RecursionError):
        return None
    if not isinstance(event, dict) or not isinstance(event.get("event"), str):
        return None
    version = event.get("version")
    if not sound(event):
        return None
    event.pop("crc32", None)
    return event if version is None or is_id(version) else None


def promotions(events: Sequence[Mapping[str, Any]]) -> list[str]:
    """The versions that were current, oldest first, the current last; a rollback takes off what it undid."""
    stack: list[str] = []
    for event in events:
        version = event.get("version")
        if version is None or (stack and stack[-1] == version):
            continue
        if event["event"] == "promoted":
            stack.append(version)
        elif event["event"] == "rolled-back":
            while stack and stack[-1] != version:
                stack.pop()
            stack = stack or [version]
    return stack
