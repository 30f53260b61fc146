"""Files that a killed process can't leave half written. These raise ``OSError``: callers know what to say."""

from __future__ import annotations

import errno
import fcntl
import hashlib
import json
import os
import shutil
import stat
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path

#: How many bytes of a line tell our own lines from what somebody typed into the file.
_OURS = 10


def now() -> str:
    """UTC to the second, ISO 8601, as written in history and feedback."""
    return datetime.now(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")


def append_json(path: Path, records: Sequence[Mapping[str, object]]) -> None:
    """Append records, one JSON line each, in one write, synced; whole or not at all, beside other writers.

    A last line that a killed writer left unfinished is removed; any other last line without newline gets one.
    """
    lines = [json.dumps(record, ensure_ascii=False, allow_nan=False) + "\n" for record in records]
    data = "".join(lines).encode(errors="backslashreplace")
    if not data:
        return
    with locked_file(path) as descriptor:
        end = os.fstat(descriptor).st_size
        kept = _finished(descriptor, end, data[:_OURS])
        if kept < end:
            os.ftruncate(descriptor, kept)
        try:
            write(descriptor, data if _at_line_start(descriptor, kept) else b"\n" + data)
            os.fsync(descriptor)
        except OSError:
            os.ftruncate(descriptor, kept)
            raise
        if end == 0:
            sync_folder(path.parent)


def replace_file(path: Path, data: bytes) -> None:
    """Replace a file's content in one step, synced; keeps its mode. The caller keeps other writers away."""
    new = beside(path)
    flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC
    descriptor = os.open(new, flags, 0o660)
    try:
        with suppress(FileNotFoundError):
            os.fchmod(descriptor, stat.S_IMODE(path.stat().st_mode))
        write(descriptor, data)
        os.fsync(descriptor)
    except OSError:
        new.unlink(missing_ok=True)
        raise
    finally:
        os.close(descriptor)
    new.replace(path)
    sync_folder(path.parent)


def beside(path: Path) -> Path:
    """Where ``replace_file`` writes first: always the same name, so that leftovers don't pile up."""
    return path.with_name(f".{path.name}.new")


@contextmanager
def locked_file(path: Path) -> Iterator[int]:
    """A descriptor of ``path`` (made if missing), to read and append, locked against every other such one."""
    while True:
        descriptor = os.open(path, os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o660)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            # Whoever held it may have replaced the file: then this lock is on the old one.
            if _still_there(descriptor, path):
                yield descriptor
                return
        finally:
            os.close(descriptor)


def write(descriptor: int, data: bytes) -> None:
    """All of it: one call, unless the disk fills up, when the next call says so."""
    while data:
        data = data[os.write(descriptor, data) :]


def walk(folder: Path) -> dict[str, os.stat_result]:
    """All under a folder but its folders, by name (with ``/``), in order; links are shown, not followed."""

    def fail(error: OSError) -> None:
        raise error

    found = {}
    for root, folders, files in os.walk(folder, onerror=fail):
        links = [name for name in folders if (Path(root) / name).is_symlink()]
        for name in (*files, *links):
            path = Path(root) / name
            found[path.relative_to(folder).as_posix()] = path.lstat()
    return dict(sorted(found.items()))


def digest(path: Path) -> str:
    """The file's sha256 in hex."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def seal(top: Path) -> None:
    """Set the modes of a finished folder (files 640, folders 750) and sync all of it."""
    for root, _, files in os.walk(top, topdown=False):
        for name in files:
            path = Path(root) / name
            path.chmod(0o640)
            with path.open("rb") as file:
                os.fsync(file.fileno())
        # The set-group-id bit of a folder shared by a group is kept.
        Path(root).chmod(0o750 | (stat.S_ISGID & Path(root).stat().st_mode))
        sync_folder(Path(root))


def sync_folder(path: Path) -> None:
    """Make the names in a folder (new, renamed, removed) survive a power failure."""
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno != errno.EINVAL:  # some network file systems can't, and need not
            raise
    finally:
        os.close(descriptor)


def make_folder(path: Path) -> None:
    """Make the folder, readable by owner and group, unless it is there."""
    if not path.is_dir():
        path.mkdir(mode=0o770, parents=True, exist_ok=True)
        sync_folder(path.parent)


def delete(path: Path) -> None:
    """Remove a file or a whole folder; a link goes, not what it points to."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink()


def _still_there(descriptor: int, path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(descriptor), path.stat())
    except FileNotFoundError:
        return False


def _finished(descriptor: int, end: int, start: bytes) -> int:
    """Where to append: before an unfinished last line, if it starts as our own lines do; else at the end."""
    tail = os.pread(descriptor, 1 << 20, max(0, end - (1 << 20)))
    last = tail[tail.rfind(b"\n") + 1 :]
    # After a power failure some file systems leave zeros where the data had not arrived.
    text = last.rstrip(b"\0")
    with suppress(ValueError, RecursionError):
        json.loads(text)
        return end - len(last) + len(text)
    return end - len(last) if start.startswith(text[: len(start)]) else end


def _at_line_start(descriptor: int, end: int) -> bool:
    return end == 0 or os.pread(descriptor, 1, end - 1) == b"\n"
