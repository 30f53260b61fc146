"""What the items of people say: sentence vectors, concepts and the expertise shown, a block of texts at a time.

Memory stays flat: vectors go to a file that nobody else sees, and of everything else a block is held. What an earlier
version has read of the same text, by the same classifier, is not worked out again.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, fields, is_dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..encoders import Encoder, Progress
from ..retrieval import Floats
from .classify import TOP_CONCEPTS, ConceptModel, concept_rows
from .levels import LevelModel

#: Texts embedded and read at a time.
_BLOCK = 4096
#: Texts of an earlier reading that are read again, to see whether the same would come out today.
_PROBES = 64


@dataclass(frozen=True)
class Reading:
    """Of each text: its unit vector, its likeliest concepts with their probabilities, and the expertise it shows."""

    vectors: Floats  # (texts, dim)
    concept_ids: NDArray[np.int32]  # (texts, TOP_CONCEPTS)
    concept_p: Floats
    worth: Floats  # (texts,), 0 to 1


@dataclass(frozen=True)
class Earlier:
    """The concepts that an earlier version has read in its texts."""

    texts: Sequence[str]
    model: ConceptModel
    concept_ids: NDArray[np.int32]
    concept_p: Floats


def read_texts(
    texts: Sequence[str],
    encoder: Encoder,
    model: ConceptModel,
    levels: LevelModel,
    progress: Progress | None = None,
    scratch: Path | None = None,
    earlier: Earlier | None = None,
    sentences: NDArray[np.bool_] | None = None,
) -> Reading:
    """Embed and read every text. ``scratch``: the folder whose disk holds the vectors meanwhile; else memory does.

    ``sentences``: whose words are read for expertise; of the others it is 0. All by default.
    """
    n = len(texts)
    out = Reading(
        _rows_on_disk(scratch, n, encoder.dim) if scratch is not None else np.empty((n, encoder.dim), np.float32),
        np.zeros((n, TOP_CONCEPTS), np.int32),
        np.zeros((n, TOP_CONCEPTS), np.float32),
        np.zeros(n, np.float32),
    )
    known = {} if earlier is None else _still_true(earlier, encoder, model)
    for start in range(0, n, _BLOCK):
        part = slice(start, start + _BLOCK)
        block = texts[part]
        out.vectors[part] = encoder.encode(block, "passage", progress)
        vectors = np.asarray(out.vectors[part])
        said = np.arange(len(block)) if sentences is None else np.flatnonzero(sentences[part])
        out.worth[start + said] = levels.worth([block[i] for i in said.tolist()], vectors[said])
        before = np.array([known.get(t, -1) for t in block], dtype=np.int64)
        old, new = np.flatnonzero(before >= 0), np.flatnonzero(before < 0)
        if earlier is not None and len(old):
            out.concept_ids[start + old] = earlier.concept_ids[before[old]]
            out.concept_p[start + old] = earlier.concept_p[before[old]]
        if len(new):
            rows = concept_rows(model, [block[int(i)] for i in new], vectors[new])
            out.concept_ids[start + new], out.concept_p[start + new] = rows
    return out


def _rows_on_disk(folder: Path, rows: int, columns: int) -> Floats:
    """An array in a file without a name: it is gone with the process, however that ends."""
    folder.mkdir(parents=True, exist_ok=True)
    if not rows:
        return np.empty((0, columns), np.float32)
    with tempfile.TemporaryFile(dir=folder) as file:
        # A full disk must be an error here, not the death of whoever touches the mapped page later.
        if hasattr(os, "posix_fallocate"):
            os.posix_fallocate(file.fileno(), 0, rows * columns * 4)
        return np.memmap(file, np.float32, "w+", shape=(rows, columns))


def _still_true(earlier: Earlier, encoder: Encoder, model: ConceptModel) -> dict[str, int]:
    """Text -> row of the earlier reading; nothing where today's classifier would read anything else."""
    if not _same(earlier.model, model):
        return {}
    known = {text: row for row, text in enumerate(earlier.texts)}
    # The arrays are the same; what computes with them may have changed since.
    rows = sorted(known.values())
    rows = rows[:: max(len(rows) // _PROBES, 1)]
    texts = [earlier.texts[row] for row in rows]
    ids, p = concept_rows(model, texts, encoder.encode(texts, "passage"))
    told = _spread(earlier.concept_ids[rows], earlier.concept_p[rows], model.n_concepts)
    return known if np.allclose(told, _spread(ids, p, model.n_concepts), atol=1e-4) else {}


def _spread(ids: NDArray[np.int32], p: Floats, concepts: int) -> Floats:
    out = np.zeros((len(ids), concepts), np.float32)
    np.maximum.at(out, (np.repeat(np.arange(len(ids)), ids.shape[1]), ids.ravel()), p.ravel())
    return out


def _same(one: Any, other: Any) -> bool:
    """Whether two records of arrays, which may hold such records, are equal."""
    if is_dataclass(one):
        return all(_same(getattr(one, f.name), getattr(other, f.name)) for f in fields(one))
    return bool(np.array_equal(one, other))
