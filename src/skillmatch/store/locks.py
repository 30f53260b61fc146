"""One process at a time. The kernel frees the lock of a process that dies."""

from __future__ import annotations

import fcntl
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from ..errors import UsageError
from .files import now

#: Names of the drafts this process is writing: its own sweep leaves them alone.
open_drafts: set[str] = set()

# flock alone can't tell a thread from itself. By folder: the thread that holds it, and the descriptor.
_held: dict[Path, tuple[int, int]] = {}
_guard = threading.Lock()


@contextmanager
def hold(models: Path) -> Iterator[bool]:
    """Hold ``models/.lock``, without waiting; True for the outermost holder of this thread.

    Raises ``UsageError`` naming the holder where another process or thread has it, and ``OSError``.
    """
    models.mkdir(parents=True, exist_ok=True)
    key = models.resolve()
    with _guard:
        holder = _held.get(key, (None, -1))[0]
        if holder is None:
            _held[key] = (threading.get_ident(), _take(models / ".lock"))
    if holder is not None:
        if holder != threading.get_ident():
            raise _busy(models, f"pid {os.getpid()}, another thread")
        yield False
        return
    try:
        yield True
    finally:
        with _guard:
            if key in _held:  # not in the child of a fork
                os.close(_held.pop(key)[1])


def _take(path: Path) -> int:
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o660)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        holder = os.pread(descriptor, 200, 0).decode("utf-8", "replace").strip()
        os.close(descriptor)
        raise _busy(path.parent, holder or "just started") from None
    except OSError:
        os.close(descriptor)
        raise
    with suppress(OSError):  # only for the message; a full disk must not keep anybody from pruning
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, f"pid {os.getpid()} since {now()}\n".encode(), 0)
    return descriptor


def _busy(models: Path, holder: str) -> UsageError:
    return UsageError(
        f"Another skillmatch process ({holder}) is changing {models}.",
        "Wait until it has finished, then try again.",
    )


def _after_fork() -> None:
    """A child holds none of its parent's locks: it closes its copies, which leaves the parent's in place."""
    global _guard
    _guard = threading.Lock()
    for _, descriptor in _held.values():
        os.close(descriptor)
    _held.clear()
    open_drafts.clear()


os.register_at_fork(after_in_child=_after_fork)
