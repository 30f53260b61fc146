"""Whatever comes in: never a traceback, never more than ten seconds, never a gigabyte.

    python -m benchmarks.fuzz --examples 100000
    python -m benchmarks.fuzz --atheris -runs=100000      (where atheris is installed)

Fuzzed are the readers of every format, the files that a workspace and a version are made of, and the command line.
Hypothesis draws the inputs: bytes of any kind, and sound files with parts cut out, doubled, moved and overwritten. What
is allowed to come back is an answer or an error of ours; everything else is printed with the input that caused it.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import json
import os
import resource
import shlex
import shutil
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st

from skillmatch import feedback
from skillmatch.cli.run import run
from skillmatch.encoders import OnnxEncoder
from skillmatch.errors import SkillmatchError
from skillmatch.retrieval import load_array
from skillmatch.runtime import Workspace, load_settings
from skillmatch.sources import (
    columns,
    parse_needs,
    read_judgements,
    read_lines,
    read_profiles,
    read_projects,
    read_workspace,
)
from skillmatch.sources.removing import without_person
from skillmatch.store import Store
from skillmatch.training import Folds

#: Seconds, and bytes of memory, that no input may take.
SLOWEST, LARGEST = 10.0, 1 << 30

_PROFILES = (
    "id;nom;labo;métier;compétences;expérience;dispo;consentement;mis à jour\n"
    'A;Zoé;LAC;asr;"Ceph:4; Git";"Une phrase. Deux.";50 %;oui;31/03/2026\nB;;IPO;;CUDA;;;;\n'
)
_ROWS = [
    {"id": "A", "name": "Zoé", "skills": [{"name": "Ceph", "level": 4}], "evidence": [{"text": "Une phrase."}]},
    {"id": "B", "skills": ["CUDA:3", "Git"], "evidence": "Two. Sentences."},
]
_TIME = "2026-11-20T09:30:00Z"
_ANSWER = feedback.Answer("P", "S", "accepted", model="v1", rank=3, time=_TIME)
_SHOWN = {"schema": feedback.SHOWN_SCHEMA, "time": _TIME, "model": "v1", "project": "P", "question": "", "shown": ["S"]}
_SETTINGS = b'encoder = "hashing"\nseed = 3\nmin_score = 0.5\nretention = 30\n'
_WORDS = shlex.split(
    "suggest batch explain evaluate doctor check models list show diff promote rollback prune skills search unmatched "
    "profiles export forget feedback add import team --format json csv table html markdown --out --top all 3 -1 --lang "
    "fr --project P1 --from-lab LAC --must --exclude --min-score 0.5 nan 1e999 --file - -- --yes --keep --rank --model "
    "v0123456789ab accepted declined --reason skill workload -q -v --workspace . .. --help"
)


def _line(values: dict[str, object]) -> bytes:
    return json.dumps(values).encode() + b"\n"


def _xlsx() -> bytes:
    import openpyxl

    book = openpyxl.Workbook()
    for row in (["id", "name", "skills"], ["A", "Zoé", "Ceph:4; Git"], [12, None, "CUDA"]):
        book.active.append(row)
    out = io.BytesIO()
    book.save(out)
    return out.getvalue()


def _parquet() -> bytes:
    import pyarrow
    import pyarrow.parquet as parquet

    out = io.BytesIO()
    parquet.write_table(pyarrow.Table.from_pylist([{"id": "A", "skills": "Ceph:4"}]), out)
    return out.getvalue()


def _array() -> bytes:
    import numpy as np

    out = io.BytesIO()
    np.save(out, np.arange(12, dtype=np.float32).reshape(3, 4))
    return out.getvalue()


Target = Callable[[Path, bytes], object]


def _read(suffix: str) -> Target:
    def read(folder: Path, data: bytes) -> object:
        for name, reader in (("profiles", read_profiles), ("projects", read_projects), ("judgements", read_judgements)):
            path = folder / f"{name}{suffix}"
            path.write_bytes(data)
            reader(path)
        read_workspace(Workspace(folder.parent)) if folder.name == "data" else None
        with contextlib.suppress(SkillmatchError):
            found, _ = read_profiles(folder / f"profiles{suffix}")
            if found:  # only what can be read is ever rewritten
                without_person(folder / f"profiles{suffix}", columns.PROFILES, found[0].id)
        return None

    return read


def _file(name: str, use: Callable[[Path], object]) -> Target:
    def read(folder: Path, data: bytes) -> object:
        path = folder / name
        path.write_bytes(data)
        return use(path)

    return read


def _store(path: Path) -> object:
    """A version whose manifest is anything, and a history that is anything."""
    store = Store(path.parent)
    version = path.parent / "versions" / "v0123456789ab"
    version.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(path, version / "manifest.json")
    shutil.copyfile(path, path.parent / "history.jsonl")
    shutil.copyfile(path, path.parent / "CURRENT")
    store.versions(), store.history()
    for use in (store.current, lambda: store.verify("v0123456789ab"), lambda: store.rollback("fuzz")):
        with contextlib.suppress(SkillmatchError):
            use()
    return None


def _answers(path: Path) -> object:
    feedback.labels(feedback.read(path)[0])
    feedback.add(path, "P", "S2", "accepted")
    feedback.forget(path, "S", ["Zoé"])
    return feedback.read(path)


def _logged(path: Path) -> object:
    feedback.log_shown(path, [("v", "P", "", ["S"])], 10)
    feedback.forget_shown(path, "S", ["Zoé"])
    return feedback.last_shown(path, "P", "S")


def _encoder(path: Path) -> object:
    return OnnxEncoder(path.parent)


def _command(folder: Path, data: bytes) -> object:
    """A command line of known and unknown words, in an empty workspace."""
    argv = [a.replace("/", "_") for a in data.decode("utf-8", "surrogateescape").replace("\0", "_").split("\n")]
    home = Path.cwd()
    os.chdir(folder)
    out, err = io.TextIOWrapper(io.BytesIO(), "utf-8"), io.TextIOWrapper(io.BytesIO(), "utf-8")
    stdin, sys.stdin = sys.stdin, io.TextIOWrapper(io.BytesIO(b"Ceph\xff"))
    try:
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            code = run([a for a in argv if a != "train"])
    finally:
        sys.stdin = stdin
        os.chdir(home)
    err.flush()
    said = err.buffer.getvalue().decode("utf-8", "replace")  # type: ignore[attr-defined]
    if code == 1 or "Traceback" in said or code not in (0, 2, 3, 4, 5, 130):
        raise AssertionError(f"exit {code}: {said[:400]}")
    return None


#: What is fuzzed -> (a sound input, what takes it).
TARGETS: dict[str, tuple[Callable[[], bytes], Target]] = {
    ".csv": (_PROFILES.encode, _read(".csv")),
    ".csv in cp1252": (lambda: _PROFILES.encode("cp1252"), _read(".csv")),
    ".csv in utf-16": (lambda: _PROFILES.encode("utf-16"), _read(".csv")),
    ".json": (lambda: json.dumps(_ROWS).encode(), _read(".json")),
    ".jsonl": (lambda: b"\n".join(json.dumps(r).encode() for r in _ROWS), _read(".jsonl")),
    ".yaml": (
        lambda: b"- id: A\n  name: Zo\xc3\xa9\n  skills: [Ceph, {name: Git, level: 3}]\n- id: B\n  evidence: Oui.\n",
        _read(".yaml"),
    ),
    ".xlsx": (_xlsx, _read(".xlsx")),
    ".ods": (_xlsx, _read(".ods")),
    ".parquet": (_parquet, _read(".parquet")),
    "lines": (lambda: b"a need\nanother\n", _file("need.txt", read_lines)),
    "needs": (lambda: b"GPU:3; Ceph:2!; Python", lambda _, data: parse_needs(data.decode("utf-8", "replace"))),
    "settings": (lambda: _SETTINGS, _file("skillmatch.toml", lambda p: load_settings(Workspace(p.parent), {}, {}))),
    "feedback": (lambda: _line(_ANSWER.as_dict()) * 2, _file("feedback.jsonl", _answers)),
    "suggestions": (lambda: _line(_SHOWN) * 2, _file("suggestions.jsonl", _logged)),
    "store": (lambda: b'{"files": {"a.npy": {"sha256": "00", "size": 3}}, "format": 1}', _file("any", _store)),
    "array": (_array, _file("a.npy", load_array)),
    "folds": (
        lambda: b'{"of": {"P1": 0}, "rankers": [{"features": []}]}',
        _file("folds.json", lambda p: Folds.load(p.parent)),
    ),
    "encoder": (
        lambda: b'{"format": 1, "dim": 3, "files": {"model.onnx": "00"}, "digest": "00"}',
        _file("encoder.json", _encoder),
    ),
    "command": (lambda: b"suggest\nCeph\n--top\n3", _command),
}


# --- one input --------------------------------------------------------------------------------------------------


@contextlib.contextmanager
def _folder() -> Iterator[Path]:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name) / "data"
        folder.mkdir()
        (Path(name) / "skillmatch.toml").write_text('encoder = "hashing"\n')
        yield folder


def one(target: str, data: bytes) -> float:
    """Feed one input; the seconds it took. Raises what must never be raised."""
    start = time.monotonic()
    with _folder() as folder, contextlib.suppress(SkillmatchError):
        TARGETS[target][1](folder, data)
    taken = time.monotonic() - start
    if taken > SLOWEST:
        raise AssertionError(f"{taken:.1f} s")
    return taken


def _mutated(sound: bytes) -> st.SearchStrategy[bytes]:
    """A sound input with up to six edits: (place, how much is cut, what is put there)."""
    edit = st.tuples(
        st.integers(0, max(len(sound), 1)),
        st.integers(0, 40),
        st.one_of(
            st.binary(max_size=12),
            st.sampled_from([b'"', b";", b"\n", b"\0", b"{", b"]", b"\xff\xfe", b"=1+1", b"9" * 400]),
        ),
    )

    def apply(edits: list[tuple[int, int, bytes]]) -> bytes:
        out = sound
        for place, cut, put in edits:
            out = out[:place] + put + out[place + cut :]
        return out

    return st.lists(edit, min_size=1, max_size=6).map(apply)


def inputs() -> st.SearchStrategy[tuple[str, bytes]]:
    """(target, bytes)."""
    words = st.lists(st.one_of(st.sampled_from(_WORDS), st.text(max_size=8)), max_size=6)
    lines = words.map(lambda w: "\n".join(w).encode("utf-8", "surrogatepass"))
    return st.one_of(
        *(
            st.tuples(
                st.just(name), st.one_of(lines if name == "command" else st.binary(max_size=200), _mutated(sound()))
            )
            for name, (sound, _) in TARGETS.items()
        )
    )


def fuzz(examples: int, number: int = 0) -> Counter[str]:
    """That many inputs, the same for the same ``number``; how many each target got."""
    seen: Counter[str] = Counter()

    @seed(number)
    @settings(
        max_examples=examples,
        database=None,
        deadline=None,
        suppress_health_check=list(HealthCheck),
        phases=[Phase.generate, Phase.shrink],
    )
    @given(inputs())
    def feed(drawn: tuple[str, bytes]) -> None:
        target, data = drawn
        seen[target] += 1
        try:
            one(target, data)
        except (Exception, SystemExit) as error:
            raise AssertionError(f"{target} of {data!r}: {type(error).__name__}: {error}") from error

    feed()
    return seen


def _with_atheris(arguments: list[str]) -> None:
    import atheris

    names = sorted(TARGETS)

    def feed(data: bytes) -> None:
        if data:
            one(names[data[0] % len(names)], data[1:])

    atheris.Setup([sys.argv[0], *arguments], atheris.instrument_func(feed))
    atheris.Fuzz()


def main(argv: list[str] | None = None) -> int:
    """Run it; 0 where nothing was found."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--examples", type=int, default=100_000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--atheris", action="store_true", help="let atheris draw the inputs; it must be installed")
    known, rest = parser.parse_known_args(argv)
    if known.atheris:
        _with_atheris(rest)
        return 0
    start = time.monotonic()
    seen = fuzz(known.examples, known.seed)
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    print(f"{sum(seen.values())} inputs in {time.monotonic() - start:.0f} s, at most {memory >> 20} MiB, nothing found")
    for name, count in sorted(seen.items()):
        print(f"  {name:16} {count}")
    return int(memory > LARGEST)


if __name__ == "__main__":
    raise SystemExit(main())
