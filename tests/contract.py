"""What the tests of the command line share: a need, and outputs held to the JSON contract."""

from __future__ import annotations

import json
from typing import Any

import jsonschema

from skillmatch import reports

NEED = "tune our Ceph cluster and move virtual machines to Proxmox"
CONTRACT = ("--format", "json")


def valid(text: str, schema: str) -> dict[str, Any]:
    """The object of an output, once it keeps the contract's schema."""
    found = json.loads(text)
    jsonschema.Draft202012Validator(reports.load_schema(f"skillmatch.{schema}/1")).validate(found)
    return found


def suggestion(done: Any) -> dict[str, Any]:
    """The answer of a command that had one."""
    assert done.code == 0, done.err
    return valid(done.out, "suggestion")
