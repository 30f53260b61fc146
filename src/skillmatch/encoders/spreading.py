"""Embedding on the workers of a backend: on like processors, the vectors of this machine to the last bit."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import closing
from functools import lru_cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ..errors import ModelError
from ..runtime import Backend
from .models import Embed, HashingEncoder, Kind, OnnxEncoder, Progress, Vectors

#: Fewer texts are embedded here: the way there and back would take longer.
_WORTH_THE_WAY = 32


def spread_over(backend: Backend, encoder: HashingEncoder | OnnxEncoder) -> Embed:
    """For ``CachedEncoder``: texts are cut into pieces of whole batches, and each worker opens the encoder itself.

    Raises ``UsageError`` where a worker does not see the encoder's folder as it is here.
    """
    folder = ""
    if isinstance(encoder, OnnxEncoder):
        folder = str(encoder.folder.resolve())
        backend.agree_on([Path(folder) / "encoder.json"])

    def embed(blocks: Sequence[Sequence[str]], kind: Kind, progress: Progress) -> Iterator[Vectors]:
        planned: deque[tuple[int, list[NDArray[np.int64]]]] = deque()

        def tasks() -> Iterator[tuple[str, str, list[str], Kind]]:
            for texts in blocks:
                pieces = encoder.pieces(texts, kind)
                planned.append((len(texts), pieces))
                for rows in pieces:
                    yield folder, encoder.fingerprint, [texts[i] for i in rows], kind

        if sum(map(len, blocks)) < _WORTH_THE_WAY:
            for texts in blocks:
                yield encoder.encode(texts, kind)
                progress(len(texts))
            return
        with closing(backend.run(_embedded, tasks())) as results:
            left: list[NDArray[np.int64]] = []
            for vectors in results:
                if not left:  # the first piece of the next block
                    count, pieces = planned.popleft()
                    left, out = pieces[::-1], np.empty((count, encoder.dim), dtype=np.float32)
                rows = left.pop()
                out[rows] = vectors
                progress(len(rows))
                if not left:
                    yield out

    return embed


def _embedded(folder: str, fingerprint: str, texts: list[str], kind: Kind) -> Vectors:
    """On a worker: these texts' vectors."""
    return _opened(folder, fingerprint).encode(texts, kind)


@lru_cache(maxsize=2)
def _opened(folder: str, fingerprint: str) -> HashingEncoder | OnnxEncoder:
    """The encoder, its files checked against their digests; once a process. A slot of a worker is one thread."""
    if not folder:
        return HashingEncoder(int(fingerprint.removeprefix("hashing-")))
    encoder = OnnxEncoder(Path(folder), threads=1)
    if encoder.fingerprint != fingerprint:
        raise ModelError(f"The encoder in {folder} is not {fingerprint}.", "Run: skillmatch train")
    return encoder
