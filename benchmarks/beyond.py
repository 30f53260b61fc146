"""What a Dask scheduler costs: ``python -m benchmarks.beyond``.

The same texts are embedded, in the same pieces, by two Dask workers of one thread each and by joblib's own two local
processes (loky), in turn, on this machine: whatever the workers take longer is the price of what could as well be other
machines. Both are warm: each process has opened the encoder. Needs the extra ``dask``.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

from .common import Report
from .speed import mixed_texts
from .timing import SOURCE, in_turn, median, ratio

#: Of the time of joblib's own processes, at most.
BAR = 1.15


def embed(report: Report, encoder: str, cache: Path | None, count: int, rounds: int) -> None:
    """Two Dask workers beside two processes of joblib's, on the same pieces of the same texts."""
    from joblib import Parallel, delayed
    from joblib.externals.loky import get_reusable_executor

    from skillmatch.encoders import HashingEncoder, resolve_encoder, spread_over
    from skillmatch.encoders.spreading import _embedded
    from skillmatch.runtime import connected

    texts = mixed_texts(count)
    with TemporaryDirectory() as name, two_workers(Path(name)) as address, connected(address) as workers:
        opened = resolve_encoder(encoder, (cache or Path(name)) / "encoders", 1)
        folder = "" if isinstance(opened, HashingEncoder) else str(opened.folder.resolve())
        spread = spread_over(workers, opened)
        found: dict[str, Any] = {}

        def dask(some: Sequence[str] = texts) -> None:
            (found["dask"],) = spread([some], "passage", lambda _: None)

        def loky(some: Sequence[str] = texts) -> None:
            pieces = opened.pieces(some)
            work = (delayed(_embedded)(folder, opened.fingerprint, [some[i] for i in p], "passage") for p in pieces)
            out = np.empty((len(some), opened.dim), dtype=np.float32)
            told = Parallel(n_jobs=2, backend="loky", batch_size=1, return_as="generator")(work)
            for rows, vectors in zip(pieces, told, strict=True):
                out[rows] = vectors
            found["loky"] = out

        dask(texts[: max(count // 4, 40)]), loky(texts[: max(count // 4, 40)])
        times = in_turn({"dask": dask, "loky": loky}, rounds)
        get_reusable_executor().shutdown(wait=True)
    if not np.array_equal(found["dask"], found["loky"]):
        raise SystemExit("the vectors differ")
    report.table(
        f"embedding {count} texts of 5 to 250 words in two processes",
        ["of joblib's own", "at most", "texts a second", "seconds"],
        {
            "two Dask workers": [
                ratio(times["dask"], times["loky"]),
                BAR,
                count / median(times["dask"]),
                median(times["dask"]),
            ],
            "joblib's own processes": [1.0, None, count / median(times["loky"]), median(times["loky"])],
        },
        f"median of {rounds} rounds in turn; encoder: {encoder}; the vectors are the same to the last bit",
    )


@contextmanager
def two_workers(folder: Path) -> Iterator[str]:
    """The address of a scheduler on loopback with two workers of one thread each, all three processes of their own."""
    told = folder / "scheduler.json"
    scheduler = _started("dask_scheduler", "--port", 0, "--scheduler-file", told)
    running = [scheduler]
    try:
        while not told.exists():
            if scheduler.poll() is not None:
                raise SystemExit("the scheduler did not start: is the extra there? pip install 'skillmatch[dask]'")
            time.sleep(0.05)
        address: str = json.loads(told.read_text("utf-8"))["address"]
        for _ in range(2):
            running.append(_started("dask_worker", address, "--nthreads", 1, "--no-nanny", "--local-directory", folder))
        _wait(address)
        yield address
    finally:
        for process in running[::-1]:
            process.terminate()
            process.wait()


def _wait(address: str) -> None:
    from distributed import Client

    with Client(address, timeout=60, set_as_default=False) as client:
        client.wait_for_workers(2, timeout=60)


def _started(program: str, *arguments: object) -> subprocess.Popen[bytes]:
    env = {**os.environ, "PYTHONPATH": os.pathsep.join((str(SOURCE), str(SOURCE.parent)))}
    command = [sys.executable, "-m", f"distributed.cli.{program}", *map(str, arguments)]
    quiet = subprocess.DEVNULL
    return subprocess.Popen([*command, "--host", "127.0.0.1", "--no-dashboard"], env=env, stdout=quiet, stderr=quiet)


def main(argv: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--encoder", default="all-MiniLM-L6-v2", help="sentence-transformers name or folder")
    parser.add_argument("--cache", type=Path, help="a models/ folder: its encoders are used")
    parser.add_argument("--texts", type=int, default=1000, help="texts to embed")
    parser.add_argument("--rounds", type=int, default=5, help="rounds, in turn")
    parser.add_argument("--json", type=Path, help="write the table to this file as well")
    given = parser.parse_args(argv)
    report = Report()
    embed(report, given.encoder, given.cache, given.texts, given.rounds)
    report.write(given.json)


if __name__ == "__main__":
    main()
