"""A folder of a cache whose files are checked by size and digest before any of them is opened."""

from __future__ import annotations

import json
import stat
from pathlib import Path

from ..errors import DamagedModelError
from . import files

_DIGESTS = "digests.json"


def seal_cache(folder: Path) -> None:
    """Write the size and digest of every file of a finished folder beside them."""
    said = {n: {"size": i.st_size, "sha256": files.digest(folder / n)} for n, i in files.walk(folder).items()}
    (folder / _DIGESTS).write_text(json.dumps(said, indent=1), "utf-8")


def check_cache(folder: Path) -> None:
    """Raise ``DamagedModelError`` unless every file is there as it was sealed, and no other one."""
    try:
        said = json.loads((folder / _DIGESTS).read_text("utf-8"))
        there = files.walk(folder)
        whole = set(there) - {_DIGESTS} == set(said) and all(
            stat.S_ISREG(there[n].st_mode)
            and there[n].st_size == told["size"]
            and files.digest(folder / n) == told["sha256"]
            for n, told in said.items()
        )
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
        whole = False
    if not whole:
        raise DamagedModelError(f"{folder} is not as it was written.", "Delete it: the next training makes it anew.")
