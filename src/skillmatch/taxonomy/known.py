"""All skills that a workspace knows: shipped, the lab's own, imported; and the index that a search reads.

The classifier learns from the first two alone. The index of labels is over everything; it is kept in ``models/cache``
by the content it was made of, made at training or at the first search after a change, and made anew where it was
damaged. It holds no word of anybody's profile.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path

from .._version import __version__
from ..encoders import CachedEncoder, Encoder
from ..errors import DamagedModelError, ModelError
from .concepts import Taxonomy
from .lexicon import plain
from .linking import FORMAT, Counted, LabelIndex
from .merging import Merged, import_digests, merge, read_imports

_NAME = "labels-"
#: Indexes kept: the one in use, and that of the state before, to which an import taken back returns.
_KEPT = 2


def everything(data: Path, own: Taxonomy) -> Merged:
    """The shipped and the lab's own concepts with all that was imported into ``data``, each skill once.

    Raises ``DataError`` with every damaged line of the imports.
    """
    return merge(own, read_imports(data))


def label_index(
    models: Path, data: Path, own: Taxonomy, encoder: Encoder, counted: Counted | None = None
) -> LabelIndex:
    """The index over everything a workspace knows, opened; fitted first where it is not there yet or was damaged.

    ``own``: the shipped and the lab's own concepts; ``encoder``: that of the current version. Raises ``ModelError``
    where it has to be written and can't be.
    """
    cache, encoder = models / "cache", plain(encoder)
    folder = cache / f"{_NAME}{_key(import_digests(data), own, encoder)}"
    try:
        if folder.is_dir():
            with contextlib.suppress(DamagedModelError):
                return LabelIndex.load(folder)
            shutil.rmtree(folder)
        _make(folder, everything(data, own), _remembering(encoder, cache), counted)
    except OSError as error:
        raise ModelError(
            f"The index of skills can't be written to {cache}: {error.strerror or error}.",
            "Ask whoever may write there to run: skillmatch train",
        ) from error
    return LabelIndex.load(folder)


def _key(imports: Mapping[str, str], own: Taxonomy, encoder: Encoder) -> str:
    content = json.dumps([imports, [asdict(c) for c in own.concepts]], sort_keys=True, ensure_ascii=False)
    state = f"{FORMAT}\0{__version__}\0{encoder.fingerprint}\0{content}"
    return hashlib.blake2b(state.encode(), digest_size=8).hexdigest()


def _remembering(encoder: Encoder, cache: Path) -> Encoder:
    """Wordings are embedded once; nothing that anybody asks is ever kept."""
    known = isinstance(encoder, CachedEncoder)
    return encoder if known else CachedEncoder(encoder, cache / f"{encoder.fingerprint}.sqlite")


def _make(folder: Path, merged: Merged, encoder: Encoder, counted: Counted | None) -> None:
    """Fit and write an index, whole or not at all."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    if not os.access(folder.parent, os.W_OK | os.X_OK):  # before minutes are spent
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
    index = LabelIndex.fit(merged, encoder, counted)
    # Only now: a training that runs meanwhile sweeps what looks left over.
    temporary = Path(tempfile.mkdtemp(prefix=f".{_NAME}", dir=folder.parent))
    try:
        index.save(temporary)
        temporary.chmod(0o755)
        try:
            temporary.rename(folder)
        except OSError:
            if not folder.is_dir():  # else somebody was faster, and made the same
                raise
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    others = [p for p in folder.parent.glob(f"{_NAME}*") if p != folder]
    for old in sorted(others, key=lambda p: p.stat().st_mtime)[: -(_KEPT - 1)]:
        shutil.rmtree(old, ignore_errors=True)
