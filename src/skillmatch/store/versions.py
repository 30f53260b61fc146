"""Store and Draft: the versions of one ``models/`` folder."""

from __future__ import annotations

import errno
import os
import re
import secrets
import shutil
import stat
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any

from ..errors import DamagedModelError, FormatError, ModelError, NoModelError, Problem, UsageError
from . import files
from .formats import FORMAT, MANIFEST, dump_manifest, id_of, is_id, parse_history, parse_manifest, promotions, signed
from .locks import hold, open_drafts

#: How NumPy says that a disk is full.
_SHORT_WRITE = re.compile(r"\d+ requested and \d+ written")
_LIST = "`skillmatch models list` shows the ids there are."
_REPAIR = "Go back with: skillmatch models rollback, or build a new version with: skillmatch train"


class Draft:
    """A version being written: put files (and folders) under ``path``, then ``commit``."""

    def __init__(self, store: Store, path: Path) -> None:
        self.path = path
        self._store = store
        self._version: str | None = None

    def commit(self, meta: Mapping[str, object]) -> str:
        """Seal the draft with ``meta`` in its manifest; returns its id, the same for the same content.

        ``meta`` must be JSON, without the keys ``format`` and ``files``, and should hold no time: the id
        depends on it. Where the same version exists already, that one is kept (replaced, if damaged).
        Records no event.
        """
        if self._version is not None:
            raise ValueError(f"this draft was committed already, as {self._version}")
        if taken := {"format", "files"} & meta.keys():
            raise ValueError(f"the manifest keys {sorted(taken)} are the store's own")
        with _told(self.path):
            manifest = dump_manifest(meta, self._entries())
            (self.path / MANIFEST).write_bytes(manifest)
            files.seal(self.path)
        self._store._adopt(self.path, id_of(manifest))
        self._version = id_of(manifest)
        return self._version

    def _entries(self) -> dict[str, object]:
        found = files.walk(self.path)
        wrong = [name for name, info in found.items() if not stat.S_ISREG(info.st_mode) or name == MANIFEST]
        if wrong:
            raise ValueError(f"a version holds plain files only, and its manifest comes from commit: {wrong}")
        return {name: {"size": info.st_size, "sha256": files.digest(self.path / name)} for name, info in found.items()}


class Store:
    """The versions of one ``models/`` folder, which need not exist yet.

    What the file system refuses is raised as ``ModelError`` naming the path. Methods that change something
    take ``lock`` themselves; hold it around several of them to make one change of them all.
    """

    def __init__(self, models: Path | str) -> None:
        self.models = Path(models)
        self._versions = self.models / "versions"
        self._current = self.models / "CURRENT"
        self._history = self.models / "history.jsonl"

    # Reading

    def current(self) -> str | None:
        """The id in CURRENT, None where there is none yet. Raises ``DamagedModelError`` where it is no id."""
        data = _read(self._current)
        if data is None:
            return None
        text = data.decode("utf-8", "replace").rstrip("\r\n")  # no other space: a flipped newline may be one
        if not is_id(text):
            raise DamagedModelError(
                f"{self._current} names no version: it holds {text[:40]!r}.",
                f"Choose one with: skillmatch models promote ID. {_LIST}",
            )
        return text

    def versions(self) -> list[str]:
        """Every id, oldest first: by when history last says it was trained, then by id.

        One that history doesn't know (its process was killed just before that line) comes first.
        """
        try:
            with _told(self._versions, FileNotFoundError), os.scandir(self._versions) as entries:
                found = [e.name for e in entries if is_id(e.name) and e.is_dir(follow_symlinks=False)]
        except FileNotFoundError:
            return []
        age: dict[str | None, int] = {}
        for place, event in enumerate(self.history()):
            version = event.get("version")
            if event["event"] == "trained" or version not in age:
                age[version] = place
        return sorted(found, key=lambda version: (age.get(version, -1), version))

    def folder(self, version: str) -> Path:
        """The folder of a version; its content is not checked.

        Raises ``UsageError`` for an unknown id, ``NoModelError`` where there is none at all or CURRENT's
        is gone.
        """
        if not is_id(version):
            raise UsageError(f"{version!r} is no version id.", _LIST)
        path = self._versions / version
        with _told(path):
            if path.is_dir() and not path.is_symlink():
                return path
        raise self._unknown(version)

    def manifest(self, version: str) -> dict[str, Any]:
        """The manifest, its digest and format checked. Raises ``DamagedModelError`` or ``FormatError``."""
        data = _read(self.folder(version) / MANIFEST)
        if data is None:
            raise _damaged(version, {MANIFEST: "is missing"})
        # The digest first: a manifest with a flipped bit must not pass for one of a newer format.
        if id_of(data) != version:
            raise _damaged(version, {MANIFEST: "differs from the version's id"})
        content = parse_manifest(data)
        if content is None:
            raise _damaged(version, {MANIFEST: "is not a manifest"})
        if content["format"] > FORMAT:
            raise FormatError(
                f"Version {version} has format {content['format']}; this skillmatch reads up to {FORMAT}.",
                "Upgrade skillmatch, or build a version with this one: skillmatch train",
            )
        return content

    def verify(self, version: str) -> dict[str, Any]:
        """The manifest, once every file is found to be there, of its size and digest, and no other one.

        Raises ``DamagedModelError`` naming every file that is wrong. Reads all of them; opens none as data.
        """
        manifest, folder = self.manifest(version), self.folder(version)
        wrong = {}
        with _told(folder):
            there = files.walk(folder)
            there.pop(MANIFEST, None)
            for name, said in manifest["files"].items():
                difference = _difference(folder / name, there.pop(name, None), said)
                if difference:
                    wrong[name] = difference
        wrong.update(dict.fromkeys(there, "is not in the manifest"))
        if wrong:
            raise _damaged(version, wrong)
        return manifest

    def history(self) -> list[dict[str, Any]]:
        """Every event, oldest first. A line that is none, or altered: ``{"event": "unreadable", "line": n}``.

        A last line that a killed process left unfinished is left out.
        """
        return parse_history(_read(self._history) or b"")

    # Changing

    @contextmanager
    def lock(self) -> Iterator[None]:
        """Hold ``models/`` against every other process; free again at the end, or when this process dies.

        Never waits: raises ``UsageError`` naming the holder. May be nested in one thread, from any ``Store``
        of the same folder. Ends first what a killed process left half done.
        """
        with self._hold() as outermost:
            if outermost:
                self._sweep()
                with suppress(ModelError):  # a full disk must not keep anybody from pruning
                    self._mend_history()
            yield

    @contextmanager
    def writing(self) -> Iterator[Draft]:
        """A draft to fill and commit, under ``lock``. Removed if it isn't committed."""
        with self.lock():
            path = self._versions / f".draft-{os.getpid()}-{secrets.token_hex(4)}"
            with _told(path):
                files.make_folder(self._versions)
                path.mkdir(mode=0o700)
            open_drafts.add(path.name)
            try:
                with _told(path, inside=path):
                    yield Draft(self, path)
            finally:
                open_drafts.discard(path.name)
                shutil.rmtree(path, ignore_errors=True)  # what resists is swept by the next lock

    def promote(self, version: str, why: str, **extra: object) -> None:
        """Make ``version`` the current one, after ``verify``; ``extra`` goes into its history line."""
        with self.lock():
            self._switch("promoted", version, why, extra)

    def rollback(self, why: str) -> str:
        """Go back to the version that was current before, by history, and return its id.

        Twice goes back twice. Versions pruned since are passed over. Raises ``UsageError`` where none is
        left.
        """
        with self.lock():
            current, there = self._current_or_none(), set(self.versions())
            before = [v for v in promotions(self.history()) if v in there and v != current]
            if not before:
                raise UsageError(
                    f"There is no version to go back to: none was current before {current or 'now'}.",
                    f"Choose one with: skillmatch models promote ID. {_LIST}",
                )
            self._switch("rolled-back", before[-1], why, {})
            return before[-1]

    def prune(self, keep: int) -> list[str]:
        """Remove all but the current version and the newest ``keep``; the ids removed, oldest first."""
        if keep < 0:
            raise UsageError(f"Can't keep {keep} versions.", "Give 0 or more; the current one always stays.")
        with self.lock():
            versions, current = self.versions(), self.current()
            removed = [v for v in versions[: max(0, len(versions) - keep)] if v != current]
            for version in removed:
                self._remove(version)
                # After, not before: on a full disk there is room for this line only now.
                self.record({"event": "pruned", "version": version, "why": f"kept the newest {keep}"})
            return removed

    def remove(self, version: str, why: str) -> None:
        """Remove one version for good. Raises ``UsageError`` for the current one and for an unknown id."""
        with self.lock():
            if version == self._current_or_none():
                raise UsageError(f"{version} answers now; it can't be removed.", "Promote another version first.")
            self.folder(version)
            self._remove(version)
            self.record({"event": "pruned", "version": version, "why": why})

    def retire(self, why: str) -> None:
        """Leave no version current; those there are stay. Nothing answers until one is promoted or trained."""
        with self.lock():
            previous = self._current_or_none()
            with _told(self._current):
                self._current.unlink(missing_ok=True)
                files.sync_folder(self.models)
            self.record({"event": "retired", "version": None, "previous": previous, "why": why})

    def record(self, event: Mapping[str, object]) -> None:
        """Append one event (it has at least the key ``event``) to the history, without taking ``lock``.

        Safe beside other processes. Adds ``time`` (UTC) and ``previous`` (the current version) where missing.
        """
        first = {"event": event["event"], "version": event.get("version")}
        previous = event["previous"] if "previous" in event else self._current_or_none()
        line = signed({**first, "previous": previous, "time": files.now(), "why": "", **event})
        with _told(self._history):
            files.make_folder(self.models)
            files.append_json(self._history, [line])

    def sweep(self) -> list[str]:
        """Remove what killed processes left: drafts, removed versions, a CURRENT not renamed. Their names.

        ``lock`` does it by itself.
        """
        with self._hold():
            return self._sweep()

    # Inside

    @contextmanager
    def _hold(self) -> Iterator[bool]:
        with ExitStack() as stack:
            with _told(self.models / ".lock"):
                outermost = stack.enter_context(hold(self.models))
            yield outermost

    def _unknown(self, version: str) -> ModelError | UsageError:
        import difflib

        known = self.versions()
        if not known:
            text = f"Nothing is trained yet: {self._versions} holds no version."
            return NoModelError(text, "Train one with: skillmatch train")
        if version == self._current_or_none():
            return NoModelError(
                f"{self._current} names {version}, which is not in {self._versions}.",
                f"Use the newest there is: skillmatch models promote {known[-1]}; or train: skillmatch train",
            )
        close = difflib.get_close_matches(version, known, n=1, cutoff=0.5)
        hint = f"Did you mean {close[0]}? " if close else ""
        return UsageError(f"There is no version {version}.", hint + _LIST)

    def _current_or_none(self) -> str | None:
        try:
            return self.current()
        except DamagedModelError:
            return None

    def _adopt(self, draft: Path, version: str) -> None:
        """Give a sealed draft its name; leaves it where the same version is there, whole, already."""
        target = self._versions / version
        with _told(target):
            if os.path.lexists(target):
                try:
                    self.verify(version)
                    return
                except (DamagedModelError, NoModelError, UsageError):
                    self._remove(version)
            draft.rename(target)
            files.sync_folder(self._versions)

    def _switch(self, event: str, version: str, why: str, extra: Mapping[str, object]) -> None:
        self.verify(version)
        previous = self._current_or_none()
        with _told(self._current):
            files.replace_file(self._current, f"{version}\n".encode())
        self.record({**extra, "event": event, "version": version, "previous": previous, "why": why})

    def _remove(self, version: str) -> None:
        """Out of sight in one step, then emptied."""
        trash = self._versions / f".trash-{version}-{secrets.token_hex(4)}"
        with _told(self._versions / version):
            (self._versions / version).rename(trash)
            files.sync_folder(self._versions)
            files.delete(trash)

    def _sweep(self) -> list[str]:
        """Whoever holds the lock knows that nobody else is writing: what is there was left by the dead."""
        left = [p for p in self._versions.glob(".*") if p.name.startswith((".draft-", ".trash-"))]
        left += self.models.glob(files.beside(self._current).name)
        left = sorted(path for path in left if path.name not in open_drafts)
        for path in left:
            with _told(path):
                files.delete(path)
        return [path.name for path in left]

    def _mend_history(self) -> None:
        """Write the lines still owed by a process killed between a change and its line."""
        events, current = self.history(), self._current_or_none()
        last = {event["version"]: event["event"] for event in events if event.get("version")}
        for version, event in last.items():
            if event != "pruned" and not (self._versions / version).is_dir():
                self.record({"event": "pruned", "version": version, "why": "its folder is gone"})
        previous = next(reversed(promotions(events)), None)
        if current is not None and current != previous:
            why = "found in CURRENT; whoever changed it wrote no line"
            self.record({"event": "promoted", "version": current, "previous": previous, "why": why})


def _read(path: Path) -> bytes | None:
    try:
        with _told(path, FileNotFoundError):
            return path.read_bytes()
    except FileNotFoundError:
        return None


def _difference(path: Path, info: os.stat_result | None, said: Mapping[str, Any]) -> str:
    """What is wrong with a file, "" if nothing. Only what ``walk`` found is ever opened."""
    if info is None:
        return "is missing"
    if not stat.S_ISREG(info.st_mode):
        return "is not a plain file"
    if info.st_size != said["size"]:
        return f"holds {info.st_size} bytes instead of {said['size']}"
    return "" if files.digest(path) == said["sha256"] else "differs from its digest"


def _damaged(version: str, wrong: Mapping[str, str]) -> DamagedModelError:
    problems = [Problem(f"{version}/{name}", difference, _REPAIR) for name, difference in wrong.items()]
    first, others = problems[0], f" ({len(problems) - 1} more)" if len(problems) > 1 else ""
    return DamagedModelError(f"Version {version} is damaged: {first.file} {first.problem}{others}.", _REPAIR, problems)


@contextmanager
def _told(path: Path, *but: type[OSError], inside: Path | None = None) -> Iterator[None]:
    """Turn ``OSError`` (except ``but``; with ``inside``, only about paths in there) into ``ModelError``."""
    try:
        yield
    except but:
        raise
    except OSError as error:
        named = error.filename if isinstance(error.filename, str) else None
        if inside is not None and named is not None and not Path(named).is_relative_to(inside):
            raise
        number = error.errno
        if number is None and _SHORT_WRITE.search(str(error)):
            number = errno.ENOSPC
        reason = error.strerror or (os.strerror(number) if number else str(error))
        raise ModelError(f"{named or path}: {reason}.", _remedy(number)) from error


def _remedy(number: int | None) -> str:
    if number in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
        return "Free some space on that disk (skillmatch models prune removes old versions), then try again."
    if number in (errno.EACCES, errno.EPERM, errno.EROFS):
        return "Get permission to read and write there, or ask the owner of the folder, then try again."
    return "Check that disk and that path, then try again."
