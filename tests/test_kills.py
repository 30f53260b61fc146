"""Killed at random moments, beside other trainings, on a disk that says no: nothing lost, nothing half done."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import toy_world as toy
from conftest import cli_environment

REPOSITORY = Path(__file__).parents[1]
TESTS = Path(__file__).parent

#: A process that has imported everything and trained the toy world once; each script runs in a fork of it, which costs
#: no start of Python, may be killed, and may become another user.
SERVER = """
import json, os, sys, traceback
from pathlib import Path
import difflib, mmap, sqlite3, sklearn.linear_model, sklearn.pipeline, skops.io
import skillmatch.reports.html
from benchmarks import kills
import toy_world as toy
from skillmatch.cli.run import run
toy.use_toy_taxonomy()
world = toy.write_workspace(Path(sys.argv[1])).root
assert run(["--workspace", str(world), "-q", "train"]) == 0
assert run(["--workspace", str(world), "-q", "suggest", "Ceph", "--out", str(world / "answer.txt")]) == 0
(world / "answer.txt").unlink()
sys.stdout.flush()
os.write(1, b"\\nready\\n")
for line in sys.stdin:
    script, arguments, out = json.loads(line)
    pid = os.fork()
    if pid == 0:
        code = 1
        try:
            there = os.open(out, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o666)
            os.dup2(there, 1), os.dup2(there, 2)
            sys.argv = ["script", *arguments]
            exec(compile(script, "script", "exec"), {"__name__": "__main__"})
            code = 0
        except SystemExit as end:
            code = end.code or 0
        except BaseException:
            traceback.print_exc()
        sys.stdout.flush(), sys.stderr.flush()
        os._exit(code)
    os.write(1, f"{os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])}\\n".encode())
"""


class Server:
    """Runs scripts; ``trained``: the toy world, not to be changed."""

    def __init__(self, folder: Path) -> None:
        environment = cli_environment()
        environment["PYTHONPATH"] += f":{TESTS}:{REPOSITORY}"
        if os.access("/dev/shm", os.W_OK | os.X_OK):  # SIGKILL asks nothing of a disk
            environment["TMPDIR"] = "/dev/shm"
        self.trained, self.told = folder / "trained", folder / "told"
        self.process = subprocess.Popen(
            [sys.executable, "-c", SERVER, str(self.trained)],
            env=environment,
            cwd=REPOSITORY,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        while (line := self.process.stdout.readline()) != "ready\n":
            assert line, "the server did not start"

    def run(self, script: str, *arguments: object) -> str:
        request = [script, [str(a) for a in arguments], str(self.told)]
        self.process.stdin.write(json.dumps(request) + "\n")
        self.process.stdin.flush()
        code = self.process.stdout.readline().strip()
        said = self.told.read_text("utf-8")
        assert code == "0", said
        return said

    def close(self) -> None:
        self.process.stdin.close()
        self.process.wait(20)
        self.process.stdout.close()


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    made = Server(tmp_path_factory.mktemp("server"))
    yield made
    made.close()


@pytest.fixture
def lab(server, tmp_path):
    """A copy of the trained toy world."""
    return shutil.copytree(server.trained, tmp_path / "lab")


KILLS = """
import sys
from benchmarks import kills
sys.exit(kills.main(sys.argv[1:]))
"""


def test_killed_at_random_moments_nothing_is_lost(server):
    """Eighteen kills of train, promote, rollback, prune, feedback and forget; suggestions during retrainings."""
    told = server.run(KILLS, "--kills", 18, "--trainings", 2, "--seed", 7)
    assert "18 times" in told
    assert "none lost, none twice" in told
    assert "no error" in told


TOGETHER = """
import os, sys
from pathlib import Path
import toy_world as toy
from skillmatch.errors import UsageError
from skillmatch.runtime import Workspace, load_settings
from skillmatch.store import Store
from skillmatch.training import train
toy.use_toy_taxonomy()
workspace = Workspace(Path(sys.argv[1]))
reading, writing = os.pipe()
pid = os.fork()
def stage(name, done, total):
    if name == "profiles" and done == 0:
        os.write(writing, b"x")
        import time
        time.sleep(0.5)
if pid == 0:
    train(workspace, load_settings(workspace, environment={}), stage=stage)
    os._exit(0)
os.read(reading, 1)
from skillmatch.cli.run import run
code = run(["--workspace", sys.argv[1], "train"])
assert code == 2, code
assert os.waitpid(pid, 0)[1] == 0
store = Store(workspace.models)
store.verify(store.current())
assert len(store.versions()) == 1
print(pid)
"""


def test_of_two_trainings_one_is_refused_and_told_whom_to_wait_for(server, tmp_path):
    toy.write_workspace(tmp_path / "lab")
    server.run(TOGETHER, tmp_path / "lab")


FULL = """
import resource, sys
from pathlib import Path
import toy_world as toy
from skillmatch import feedback, load
from skillmatch.cli.run import run
from skillmatch.runtime import Workspace
from skillmatch.store import Store
toy.use_toy_taxonomy()
root = Path(sys.argv[1])
at = ["--workspace", str(root)]
store = Store(root / "models")
version = store.current()
toy.write_workspace(root, toy.people(["welding"]))
judged = root / "data" / "judgements.csv"
judged.write_text("".join(l for l in judged.read_text().splitlines(True) if "E9" not in l and "B9" not in l))
for size in (10, 3_000, 20_000, 60_000):
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, resource.RLIM_INFINITY))
    code = run([*at, "train"])
    resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    assert code == 3, (size, code)
    assert store.current() == version
    store.verify(version)
    assert load(root).match("Ceph").matches
resource.setrlimit(resource.RLIMIT_FSIZE, (10, resource.RLIM_INFINITY))
assert run([*at, "profiles", "forget", "E3", "--yes"]) in (2, 3)
assert run([*at, "feedback", "add", "P1f", "E1", "accepted"]) == 2
resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
assert feedback.read(root / "data" / "feedback.jsonl")[0] == []
assert run([*at, "train", "--force"]) == 0
assert store.current() != version
left = [p.name for p in (*(root / "models").rglob(".*"), *(root / "data").rglob(".*"))]
assert left == [".lock"], left
"""


def test_a_full_disk_is_told_and_the_version_before_answers(server, lab):
    server.run(FULL, lab)


READ_ONLY = """
import os, sys
from pathlib import Path
import toy_world as toy
import mmap, sqlite3, sklearn.linear_model, sklearn.pipeline, skops.io
import skillmatch.cli.run, skillmatch.training, skillmatch.reports.html, difflib
from skillmatch import load
from skillmatch.cli.run import run
toy.use_toy_taxonomy()
root = Path(sys.argv[1])
at = ["--workspace", str(root)]
assert run([*at, "suggest", "Ceph"]) == 0  # imports what another user may not read here
if os.getuid() == 0:
    os.setgid(65534), os.setuid(65534)
assert run([*at, "suggest", "Ceph"]) == 0
assert run([*at, "models", "list"]) == 0
for command in (["train"], ["models", "rollback"], ["models", "prune", "--keep", "0"]):
    code = run([*at, *command])
    assert code in (2, 3), (command, code)
assert run([*at, "profiles", "forget", "E3", "--yes"]) in (2, 3)
"""


def test_a_workspace_one_may_only_read_answers(server, lab, tmp_path):
    root = lab
    before = {p: p.read_bytes() for p in root.rglob("*") if p.is_file()}
    opened = []
    for path in (root, *root.rglob("*")):
        path.chmod(0o555 if path.is_dir() else 0o444)
    for parent in (tmp_path, *tmp_path.parents):  # pytest's own folders keep other users out
        if os.getuid() == 0 and parent.stat().st_mode & 0o005 != 0o005:
            opened.append((parent, parent.stat().st_mode))
            parent.chmod(parent.stat().st_mode | 0o005)
    try:
        server.run(READ_ONLY, root)
    finally:
        for path, mode in opened:
            path.chmod(mode)
        for path in (root, *root.rglob("*")):
            path.chmod(0o755)
    assert {p: p.read_bytes() for p in root.rglob("*") if p.is_file()} == before


MISSING = """
import sys
from pathlib import Path
import toy_world as toy
from skillmatch.cli.run import run
from skillmatch.store import Store
toy.use_toy_taxonomy()
at = ["--workspace", sys.argv[1]]
store = Store(Path(sys.argv[1]) / "models")
for gone in ("people.json", "items_vectors.npy", "folds.json", "manifest.json"):
    path = store.folder(store.current()) / gone
    if not path.exists():
        continue
    path.unlink()
    assert run([*at, "suggest", "Ceph"]) == 3, gone
    assert run([*at, "train"]) == 0, gone
    assert run([*at, "suggest", "Ceph"]) == 0, gone
"""


def test_a_missing_file_is_told_and_the_next_training_mends_it(server, lab):
    server.run(MISSING, lab)
