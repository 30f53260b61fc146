"""Parallel work through joblib: in threads here, or on the workers of a Dask scheduler that somebody has started.

An engine of ours there is none. joblib hands the tasks out, Dask does those of a lost worker again on another one, and
results come in the order of the tasks; what is added are the checks before any work and errors that tell what to do.
"""

from __future__ import annotations

import hashlib
import logging
import secrets
import sys
import time
import warnings
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from functools import lru_cache
from importlib import metadata
from ipaddress import ip_address
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from .._version import __version__
from ..errors import MissingExtraError, UsageError

#: Seconds within which a scheduler must answer, and its workers be there and agree.
ANSWER_WITHIN = 5.0
#: Seconds after which a task that nobody finishes is an error: as where every worker is gone.
PATIENCE = 600.0
#: Fewer tasks than this are done by plain threads: importing joblib would cost more than it brings.
WORTH_JOBLIB = 64
#: Libraries that decide what a worker computes.
LIBRARIES = ("numpy", "onnxruntime", "tokenizers", "snowballstemmer", "joblib", "distributed")
_START = "Start one with: dask scheduler, and workers with: dask worker ADDRESS --nthreads 1 --nworkers 2"


def in_threads(work: Callable[[Any], Any], tasks: Sequence[Any], threads: int) -> Iterator[Any]:
    """The results of ``work`` on each task, in order, so many at once. An exception drops what has not begun."""
    if len(tasks) < 2 or threads < 2:
        yield from map(work, tasks)
    elif len(tasks) < WORTH_JOBLIB:
        from concurrent.futures import ThreadPoolExecutor

        pool = ThreadPoolExecutor(threads)
        try:
            yield from pool.map(work, tasks)
        finally:
            pool.shutdown(cancel_futures=True)
    else:
        from joblib import Parallel, delayed

        several = Parallel(n_jobs=threads, backend="threading", return_as="generator", batch_size=1)
        yield from _as_they_come(several(delayed(work)(task) for task in tasks))


def _as_they_come(results: Generator[Any, None, None]) -> Iterator[Any]:
    """joblib's results. Whoever stops before the last one does so on purpose, and hears no warning."""
    try:
        for result in results:  # noqa: UP028  it would close them as well
            yield result
    finally:
        with warnings.catch_warnings(action="ignore"):
            results.close()


@dataclass(frozen=True)
class Backend:
    """The workers of a Dask scheduler, checked. Made by ``connected``; for use inside its ``with`` only."""

    scheduler: str
    slots: int
    client: Any = field(repr=False)
    versions: tuple[str, ...] = ()

    def run(self, work: Callable[..., Any], tasks: Iterable[tuple[Any, ...]]) -> Generator[Any, None, None]:
        """``work(*task)`` of each task, in the order of the tasks, as they are done. ``work``: a module's function.

        Tasks are taken as workers get free. Whatever ``work`` raises is raised here. Raises ``UsageError`` where the
        workers or the scheduler are lost for good.
        """
        from multiprocessing import TimeoutError as JoblibTimeoutError

        from distributed import CancelledError
        from distributed.comm import CommClosedError
        from distributed.scheduler import KilledWorker
        from joblib import Parallel, delayed

        several = Parallel(backend=_joblib_backend(self.client), return_as="generator", batch_size=1, timeout=PATIENCE)
        try:
            # A task is one tuple, which joblib never leaves with a single worker in advance: that one may be killed.
            yield from _as_they_come(several(delayed(_on_worker)(self.versions, work, task) for task in tasks))
        except KilledWorker as error:
            last = getattr(error.last_worker, "address", error.last_worker)
            raise UsageError(
                f"A piece of work ended several workers of {self.scheduler}, the last of them {last}.",
                "Look into the workers' logs; most often they have too little memory. Then run the command again.",
            ) from error
        except (CancelledError, TimeoutError, JoblibTimeoutError, CommClosedError) as error:
            raise UsageError(
                f"The scheduler {self.scheduler} or all of its workers are gone; nothing was changed.",
                "Start them again, then run the command again: it goes on with what was kept.",
            ) from error

    def agree_on(self, paths: Sequence[Path]) -> None:
        """See that every worker reads the same in these files as we do. Raises ``UsageError`` naming who does not."""
        wanted = _digests(paths)
        until = time.monotonic() + ANSWER_WITHIN
        while True:  # a network file system may show a new file late
            told = self._ask(_digests, [str(p) for p in paths])
            wrong = [(who, path) for who, said in told.items() for path in _first_other(paths, wanted, said)]
            if not wrong:
                return
            if time.monotonic() > until:
                break
            time.sleep(0.2)
        who, path = wrong[0]
        raise UsageError(
            f"The worker {who} does not see {path} as it is here.",
            "Workers must see the workspace under the same path: put it on the file system that all of them share.",
        )

    def agree_on_folder(self, folder: Path) -> None:
        """See that every worker sees this folder, which may be empty. Raises ``UsageError`` naming who does not."""
        folder.mkdir(parents=True, exist_ok=True)
        mark = folder / f".shared-{secrets.token_hex(8)}"
        mark.write_text(secrets.token_hex(32), "ascii")
        try:
            self.agree_on([mark])
        finally:
            mark.unlink(missing_ok=True)

    def _ask(self, work: Callable[..., Any], *given: Any) -> Mapping[str, Any]:
        """What ``work`` gives on each worker at once, whatever it is busy with; an exception is given as it is."""
        told: Mapping[str, Any] = self.client.run(work, *given, on_error="return")
        return told


def _first_other(paths: Sequence[Path], wanted: Sequence[str], said: Any) -> list[Path]:
    if not isinstance(said, list):
        return [paths[0]]
    return [path for path, own, other in zip(paths, wanted, said, strict=True) if own != other][:1]


def _digests(paths: Sequence[Path | str]) -> list[str]:
    """The sha256 of each file; empty where it can't be read."""
    found = []
    for path in paths:
        try:
            found.append(hashlib.sha256(Path(path).read_bytes()).hexdigest())
        except OSError:
            found.append("")
    return found


@lru_cache(maxsize=1)
def _versions() -> tuple[str, ...]:
    """Of all that decides what is computed here, each as ``name version``."""
    found = [f"Python {'.'.join(map(str, sys.version_info[:3]))}", f"skillmatch {__version__}"]
    for name in LIBRARIES:
        try:
            found.append(f"{name} {metadata.version(name)}")
        except metadata.PackageNotFoundError:
            found.append(f"{name} (none)")
    return tuple(found)


def _on_worker(expected: tuple[str, ...], work: Callable[..., Any], task: tuple[Any, ...]) -> Any:
    """On a worker, which may have come after the others were checked."""
    if _versions() != expected:
        raise _differs("A worker that came later", expected, _versions())
    return work(*task)


def _differs(who: str, ours: Sequence[str], theirs: Any) -> UsageError:
    if isinstance(theirs, Exception):
        said = f"{who} can't run skillmatch ({theirs})."
    else:
        other, own = next((b, a) for a, b in zip(ours, theirs, strict=True) if a != b)
        said = f"{who} has {other}, and here it is {own}."
    return UsageError(said, "Start the workers in the environment in which you run skillmatch, or install the same.")


# --- a scheduler ---------------------------------------------------------------------------------------------------


@contextmanager
def connected(scheduler: str) -> Iterator[Backend]:
    """The workers of the Dask scheduler at this address, checked before any work.

    Raises ``MissingExtraError`` without Dask, ``UsageError`` where nobody answers there, where fewer than two tasks
    can run at once (joblib would run them all here, and say nothing), or where a worker has other versions.
    """
    try:
        import distributed
    except ImportError:
        raise MissingExtraError("dask", "--backend dask") from None
    with _silent("distributed", "tornado", "asyncio"):
        try:
            client = distributed.Client(scheduler, timeout=ANSWER_WITHIN, set_as_default=False, name="skillmatch")
        except (OSError, TimeoutError, ValueError, TypeError, RuntimeError) as error:
            said = str(error).partition("\n")[0].rstrip(".")
            raise UsageError(f"No Dask scheduler answers at {scheduler} ({said}).", _START) from error
        try:
            yield _checked(scheduler, client)
        finally:
            with suppress(Exception):  # it may be gone, which was told already
                client.close(timeout=ANSWER_WITHIN)


def _checked(scheduler: str, client: Any) -> Backend:
    until = time.monotonic() + ANSWER_WITHIN
    while (slots := sum(client.ncores().values())) < 2 and time.monotonic() < until:
        time.sleep(0.1)
    if slots < 2:
        raise UsageError(
            f"The scheduler {scheduler} has {slots} slot(s) for tasks; at least 2 are needed.",
            "Start more workers there; with one, work here: --backend local",
        )
    backend = Backend(scheduler, slots, client, _versions())
    told = {f"The worker {who}": theirs for who, theirs in sorted(backend._ask(_versions).items())}
    try:
        told["The scheduler"] = client.run_on_scheduler(_versions)  # it opens what it passes on
    except Exception as error:
        told["The scheduler"] = error
    for who, theirs in told.items():
        if theirs != backend.versions:
            raise _differs(who, backend.versions, theirs)
    return backend


def travels_openly(scheduler: str) -> bool:
    """Whether what goes to this scheduler leaves this computer unencrypted, for anybody on the way to read."""
    parts = urlsplit(scheduler if "://" in scheduler else f"tcp://{scheduler}")
    if parts.scheme in ("tls", "wss", "inproc"):
        return False
    host = parts.hostname or ""
    try:
        return not ip_address(host).is_loopback
    except ValueError:
        return host != "localhost"


@contextmanager
def _silent(*names: str) -> Iterator[None]:
    """Without what libraries log: whatever matters of it is told by our errors."""
    before = {name: logging.getLogger(name).level for name in names}
    for name in names:
        logging.getLogger(name).setLevel(logging.CRITICAL + 1)
    try:
        yield
    finally:
        for name, level in before.items():
            logging.getLogger(name).setLevel(level)


def _joblib_backend(client: Any) -> Any:
    """joblib's backend for Dask, which never works here in silence and never waits for what will not come."""
    from joblib._dask import DaskDistributedBackend

    class Spread(DaskDistributedBackend):  # type: ignore[misc,unused-ignore]
        supports_timeout = True

        def effective_n_jobs(self, n_jobs: int) -> int:
            # After a loss there may be one slot left, with which joblib would run everything here.
            return max(int(super().effective_n_jobs(n_jobs)), 2)

        def submit(self, func: Any, callback: Any = None) -> Any:
            job = super().submit(func, callback)

            def lost(done: Any) -> None:
                error = done.exception()
                if error is not None and callback is not None:
                    callback(error)  # joblib tells results to the call that waits, but not that a task was lost

            job.add_done_callback(lost)
            return job

        def retrieve_result_callback(self, out: Any) -> Any:
            if isinstance(out, BaseException):
                raise out
            return super().retrieve_result_callback(out)

    return Spread(client=client, wait_for_workers_timeout=ANSWER_WITHIN)
