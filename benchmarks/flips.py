"""One byte flipped in any file under models/: refused before it is opened, or made anew; never another answer.

    python -m benchmarks.flips --workspace . --flips 200

On a copy of a trained workspace. Every file is flipped at least once, the others at random, at a random place to a
random other value; each is put back before the next. What must come of it depends on the file: a version, CURRENT or an
exported encoder refuses to answer; a cache is refused by what reads it, which makes it anew; of history and of what the
last training read, only what was there before is believed.
"""

from __future__ import annotations

import argparse
import json
import random
import shutil
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from unittest import mock

from skillmatch import load
from skillmatch.encoders import CachedEncoder, HashingEncoder, open_encoder
from skillmatch.errors import DamagedModelError, ModelError
from skillmatch.matcher import Matcher
from skillmatch.runtime import Workspace
from skillmatch.sources import read_workspace
from skillmatch.store import Store, check_cache
from skillmatch.taxonomy.linking import LabelIndex
from skillmatch.training.unchanged import remembered

#: What holds no number and no code: people's own text, and who held the lock last.
_LEFT = ("README.md", ".lock")


def files_of(workspace: Workspace) -> list[Path]:
    """Every file under models/ that anything is read from, but for empty ones."""
    found = (p for p in sorted(workspace.models.rglob("*")) if p.is_file() and p.name not in _LEFT)
    return [p for p in found if p.stat().st_size]


def flipped(workspace: Workspace, path: Path, chance: random.Random) -> None:
    """Flip one byte of ``path``, see that it is told, put it back. Raises ``AssertionError`` where it is not."""
    whole, mode = path.read_bytes(), path.stat().st_mode
    place, by = chance.randrange(len(whole)), chance.randrange(1, 256)
    kind = path.relative_to(workspace.models).parts
    name = kind[0]
    if name == "cache":  # a folder of a kind, or a file
        name = kind[1].split("-")[0] if len(kind) > 2 else path.suffix.removeprefix(".")
    check = _CHECKS[name]
    sound = check(workspace, path)
    path.chmod(0o640)
    try:
        path.write_bytes(whole[:place] + bytes([whole[place] ^ by]) + whole[place + 1 :])
        with _nothing_opened():
            sound()
    except AssertionError as error:
        raise AssertionError(f"{'/'.join(kind)}, byte {place} by {by:#x}: {error}") from error
    finally:
        path.unlink()
        path.write_bytes(whole)
        path.chmod(mode)


Check = Callable[[Workspace, Path], Callable[[], None]]


@contextmanager
def _nothing_opened() -> Iterator[None]:
    """What opens files of numbers fails: a wrong byte must be found before."""
    opened = AssertionError("opened before it was checked")
    with (
        mock.patch.object(Matcher, "load", side_effect=opened),
        mock.patch("skillmatch.taxonomy.linking.load_array", side_effect=opened),
        mock.patch("onnxruntime.InferenceSession", side_effect=opened),
        mock.patch("tokenizers.Tokenizer.from_file", side_effect=opened),
    ):
        yield


def _refused(use: Callable[[], object], kind: type[ModelError] = DamagedModelError) -> None:
    try:
        use()
    except kind:
        return
    raise AssertionError("not refused")


def _version(workspace: Workspace, path: Path) -> Callable[[], None]:
    version = path.relative_to(workspace.models / "versions").parts[0]
    return lambda: _refused(lambda: load(workspace, version))


def _current(workspace: Workspace, path: Path) -> Callable[[], None]:
    return lambda: _refused(lambda: load(workspace), ModelError)


def _encoder(workspace: Workspace, path: Path) -> Callable[[], None]:
    home = workspace.models / "encoders"
    fingerprint = path.relative_to(home).parts[0]
    return lambda: _refused(lambda: open_encoder(fingerprint, home))


def _sealed(workspace: Workspace, path: Path) -> Callable[[], None]:
    top = path.relative_to(workspace.models / "cache").parts[0]
    return lambda: _refused(lambda: check_cache(workspace.models / "cache" / top))


def _labels(workspace: Workspace, path: Path) -> Callable[[], None]:
    return lambda: _refused(lambda: LabelIndex.load(path.parent))


def _vectors(workspace: Workspace, path: Path) -> Callable[[], None]:
    """The same vectors, from the cache or made anew, or refused."""
    fingerprint, home = path.stem, workspace.models / "encoders"
    inner = open_encoder(fingerprint, home)
    profiles = read_workspace(workspace).profiles
    texts = sorted({e.text for p in profiles for e in p.evidence} | {s.name for p in profiles for s in p.skills})
    before = CachedEncoder(inner, path).encode(texts)

    def sound() -> None:
        try:
            after = CachedEncoder(inner, path).encode(texts)
        except DamagedModelError:
            return
        close = 0 if isinstance(inner, HashingEncoder) else 1e-5  # another batch rounds otherwise
        assert abs(after - before).max() <= close, "another vector"

    return sound


def _remembered(workspace: Workspace, path: Path) -> Callable[[], None]:
    before = remembered(workspace)

    def sound() -> None:
        after = remembered(workspace)
        assert not after or {k: after[k] for k in before if k != "crc32"} == {
            k: v for k, v in before.items() if k != "crc32"
        }

    return sound


def _history(workspace: Workspace, path: Path) -> Callable[[], None]:
    """Lines of before there were checksums, and those that people write, can't be told."""
    before = {line: json.loads(line) for line in path.read_bytes().splitlines()}

    def sound() -> None:
        after = path.read_bytes().splitlines()
        altered = [line for line in before if line not in after]
        if all(b"crc32" in line for line in altered):
            events = [e for e in Store(workspace.models).history() if e["event"] != "unreadable"]
            known = [{k: v for k, v in e.items() if k != "crc32"} for e in before.values()]
            # Its checksum's own name may be what was flipped; what it says is the same.
            assert all(any(k.items() <= e.items() for k in known) for e in events), "another event is believed"

    return sound


_CHECKS: dict[str, Check] = {
    "versions": _version,
    "CURRENT": _current,
    "history.jsonl": _history,
    "encoders": _encoder,
    "concepts": _sealed,
    "lexicon": _sealed,
    "labels": _labels,
    "sqlite": _vectors,
    "json": _remembered,
}


def main(argv: list[str] | None = None) -> int:
    """Run it; 0 where every flip was told."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--workspace", type=Path, required=True, help="a trained workspace; it is copied")
    parser.add_argument("--flips", type=int, default=200, help="at random places; each file once comes on top")
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args(argv)
    chance, wrong, done = random.Random(given.seed), 0, Counter[str]()
    start = time.monotonic()
    with TemporaryDirectory() as name:
        for top in ("data", "models"):
            shutil.copytree(given.workspace / top, Path(name) / top)
        shutil.copyfile(given.workspace / "skillmatch.toml", Path(name) / "skillmatch.toml")
        workspace = Workspace(Path(name))
        files = files_of(workspace)
        for path in [*files, *chance.choices(files, k=given.flips)]:
            try:
                flipped(workspace, path, chance)
            except AssertionError as error:
                wrong += 1
                print(f"NOT TOLD: {error}")
            done["/".join(path.relative_to(workspace.models).parts[:2]).split("-")[0]] += 1
        load(workspace).match("Ceph")  # as before
    seconds = time.monotonic() - start
    print(f"{sum(done.values())} flips over {len(files)} files, {seconds:.0f} s; not told: {wrong}")
    for place, count in sorted(done.items()):
        print(f"  {place:28} {count}")
    return int(bool(wrong))


if __name__ == "__main__":
    sys.exit(main())
