"""Whatever comes in: never a traceback, never more than ten seconds, never a gigabyte.

    python -m benchmarks.fuzz --examples 100000

Fuzzed are the readers of every format, the files that a workspace and a version are made of, and the command line.
Inputs are bytes of any kind, and sound files with parts cut out, doubled, moved and overwritten: half of them drawn by
hypothesis, half by atheris, which follows the lines of ours that an input reaches, in a process for each target. Where
atheris is not installed (`pip install atheris`), hypothesis draws them all. What is allowed to come back is an answer
or an error of ours; everything else is printed with the input that caused it.
"""

from __future__ import annotations

# ruff: noqa: E402  what is to be followed is imported first
import argparse
import contextlib
import functools
import io
import json
import os
import re
import resource
import shlex
import shutil
import subprocess
import sys
import tempfile
import time
import zipfile
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from unittest import mock


def _follow_ours() -> None:
    """Import all of skillmatch such that atheris sees which of its lines run."""
    import importlib
    import pkgutil

    import atheris

    with atheris.instrument_imports(include=["skillmatch"]):
        import skillmatch

        for module in pkgutil.walk_packages(skillmatch.__path__, "skillmatch."):
            if not module.name.endswith("__main__"):
                importlib.import_module(module.name)


if __name__ == "__main__" and "--target" in sys.argv:  # before anything of ours is imported
    _follow_ours()

import typer.main
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
#: Where files are written for a moment: what is synced there is synced at once.
_MEMORY = "/dev/shm" if os.access("/dev/shm", os.W_OK | os.X_OK) else None

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


def _ods() -> bytes:
    names = "".join(f' xmlns:{n}="urn:oasis:names:tc:opendocument:xmlns:{n}:1.0"' for n in ("office", "table", "text"))

    def cell(text: str) -> str:
        return f'<table:table-cell office:value-type="string"><text:p>{text}</text:p></table:table-cell>'

    lines = (["id", "name", "skills", "collaborators"], ["A", "Zoé", "Ceph:4; Git", "B"], ["B", "", "CUDA", "A;C"])
    rows = "".join(f"<table:table-row>{''.join(map(cell, line))}</table:table-row>" for line in lines)
    body = f'<office:body><office:spreadsheet><table:table table:name="a">{rows}</table:table></office:spreadsheet>'
    kind = "application/vnd.oasis.opendocument.spreadsheet"
    entry = '<manifest:manifest xmlns:manifest="urn:oasis:names:tc:opendocument:xmlns:manifest:1.0"/>'
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        archive.writestr("mimetype", kind)
        archive.writestr(
            "content.xml", f"<office:document-content{names}>{body}</office:body></office:document-content>"
        )
        archive.writestr("META-INF/manifest.xml", entry)
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


#: Typer builds all commands for every line; once will do.
_built = functools.cache(typer.main.get_command)


def _command(folder: Path, data: bytes) -> object:
    """A command line of known and unknown words, in an empty workspace."""
    argv = [a.replace("/", "_") for a in data.decode("utf-8", "surrogateescape").replace("\0", "_").split("\n")]
    home = Path.cwd()
    os.chdir(folder)
    out, err = io.TextIOWrapper(io.BytesIO(), "utf-8"), io.TextIOWrapper(io.BytesIO(), "utf-8")
    stdin, sys.stdin = sys.stdin, io.TextIOWrapper(io.BytesIO(b"Ceph\xff"))
    try:
        with (
            contextlib.redirect_stdout(out),
            contextlib.redirect_stderr(err),
            mock.patch("typer.main.get_command", _built),
        ):
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
    ".ods": (_ods, _read(".ods")),
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
    with tempfile.TemporaryDirectory(dir=_MEMORY) as name:
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


# --- by coverage --------------------------------------------------------------------------------------------------

_ZIPPED = (".xlsx", ".ods")
#: What a byte-wise mutation finds late.
_TOKENS = [
    '"',
    ";",
    "\t",
    "\r\n",
    "\0",
    "{",
    "}",
    "[",
    "]",
    ":",
    "null",
    "true",
    "-1",
    "1e999",
    "nan",
    "&a",
    "*a",
    "- ",
]


def guided(target: str, examples: int, number: int, folder: Path) -> int:
    """That many inputs for one target, drawn by atheris in a process of its own; how many it fed.

    Raises ``AssertionError`` with what it said, where it found anything.
    """
    corpus = folder / "corpus"
    corpus.mkdir(parents=True)
    for n, sound in enumerate((TARGETS[target][0](), b"", *_samples(target))):
        (corpus / str(n)).write_bytes(sound)
    words = _WORDS if target == "command" else _TOKENS
    escaped = ("".join(f"\\x{byte:02x}" for byte in word.encode()) for word in words)
    (folder / "words").write_text("".join(f'"{word}"\n' for word in escaped))
    options = {"runs": examples, "seed": number + 1, "timeout": int(SLOWEST), "rss_limit_mb": LARGEST >> 20}
    options |= {"max_len": 8192, "artifact_prefix": f"{folder}/", "dict": folder / "words"}
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.fuzz", "--target", target]
        + [f"-{name}={value}" for name, value in options.items()]
        + [str(corpus)],
        capture_output=True,
        text=True,
        errors="replace",
        check=False,
    )
    told = re.search(r"Done (\d+) runs", done.stderr)
    if done.returncode or told is None:
        causes = [p.read_bytes() for p in sorted(folder.iterdir()) if re.match("crash|timeout|oom|leak", p.name)]
        raise AssertionError(f"{target} of {causes!r}:\n{done.stdout[-3000:]}\n{done.stderr[-3000:]}")
    return int(told[1])


def _samples(target: str) -> list[bytes]:
    """More to begin with: command lines that reach each command."""
    if target != "command":
        return []
    lines = ("batch\nneeds.txt", "profiles\nforget\nA\n--yes", "feedback\nadd\nP1\nA\naccepted", "models\ndiff\nv1")
    return [line.encode() for line in (*lines, "skills\nsearch\nCeph", "doctor", "check", "evaluate", "team\nCeph")]


def _feed_by_coverage(target: str, arguments: list[str]) -> None:
    """Never returns: libFuzzer ends the process."""
    import atheris

    def feed(data: bytes) -> None:
        one(target, data)

    def mutate(data: bytes, most: int, number: int) -> bytes:
        """One member of a zip at a time: a flipped byte of the archive itself gets no further than its checksum."""
        try:
            with zipfile.ZipFile(io.BytesIO(data)) as archive:
                members = {name: archive.read(name) for name in archive.namelist()}
        except Exception:
            members = {}
        if number % 8 == 0 or not members:
            return bytes(atheris.Mutate(data, most))
        name = sorted(members)[number // 8 % len(members)]
        members[name] = bytes(atheris.Mutate(members[name][:most], most))
        out = io.BytesIO()
        with zipfile.ZipFile(out, "w") as archive:
            for other, content in members.items():
                archive.writestr(other, content)
        return out.getvalue()[:most]

    more = {"custom_mutator": mutate} if target in _ZIPPED else {}
    atheris.Setup([sys.argv[0], *arguments], feed, **more)
    atheris.Fuzz()


#: Inputs that hypothesis draws before it begins anew with another seed.
_PART = 5000


def _have_atheris() -> bool:
    from importlib.util import find_spec

    return find_spec("atheris") is not None


def main(argv: list[str] | None = None) -> int:
    """Run it; 0 where nothing was found."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--examples", type=int, default=100_000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--target", choices=sorted(TARGETS), help="atheris draws for this one alone, by its options")
    known, rest = parser.parse_known_args(argv)
    if known.target:
        _feed_by_coverage(known.target, rest)
    if rest:
        parser.error(f"unknown: {' '.join(rest)}")
    start = time.monotonic()
    by_coverage = known.examples // 2 if _have_atheris() else 0
    seen, found = _by_hypothesis(known.examples - by_coverage, known.seed)
    print(f"by hypothesis: {sum(seen.values())} inputs in {time.monotonic() - start:.0f} s", flush=True)
    with tempfile.TemporaryDirectory() as name:
        for n, target in enumerate(sorted(TARGETS) if by_coverage else ()):
            share = (by_coverage + n) // len(TARGETS)
            try:
                seen[target] += guided(target, share, known.seed, Path(name) / str(n))
            except AssertionError as error:
                found.append(str(error))
            print(f"by atheris: {target}, {share} inputs; {time.monotonic() - start:.0f} s in all", flush=True)
    kinds = (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)
    memory = max(resource.getrusage(kind).ru_maxrss for kind in kinds) * 1024
    told = "\n\n".join(found) or "nothing found"
    print(f"{sum(seen.values())} inputs in {time.monotonic() - start:.0f} s, at most {memory >> 20} MiB, {told}")
    for name_, count in sorted(seen.items()):
        print(f"  {name_:16} {count}")
    return int(bool(found) or memory > LARGEST)


def _by_hypothesis(examples: int, number: int) -> tuple[Counter[str], list[str]]:
    """(how many inputs each target got, what was found), in parts: what one part finds does not end the others."""
    seen, found = Counter[str](), []
    for part, start in enumerate(range(0, examples, _PART)):
        try:
            seen += fuzz(min(_PART, examples - start), number + 1000 * part)
        except AssertionError as error:
            found.append(str(error))
    return seen, found


if __name__ == "__main__":
    raise SystemExit(main())
