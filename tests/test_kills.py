"""Killed at random moments, beside other trainings, on a disk that says no: nothing lost, nothing half done."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import toy_world as toy
from conftest import cli_environment

REPOSITORY = Path(__file__).parents[1]
TESTS = Path(__file__).parent


def run_script(*arguments: object, cwd: Path = REPOSITORY) -> str:
    environment = cli_environment()
    environment["PYTHONPATH"] += f":{TESTS}:{REPOSITORY}"
    done = subprocess.run(
        [sys.executable, *map(str, arguments)],
        env=environment,
        cwd=cwd,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_killed_at_random_moments_nothing_is_lost():
    """Twelve kills of train, promote, rollback, prune, feedback and forget; suggestions during retrainings."""
    told = run_script("-m", "benchmarks.kills", "--kills", 12, "--trainings", 2, "--seed", 7)
    assert "12 times" in told
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
        time.sleep(1.5)
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


def test_of_two_trainings_one_is_refused_and_told_whom_to_wait_for(tmp_path):
    toy.write_workspace(tmp_path / "lab")
    run_script("-c", TOGETHER, tmp_path / "lab")


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
assert run([*at, "train"]) == 0
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


def test_a_full_disk_is_told_and_the_version_before_answers(tmp_path):
    toy.write_workspace(tmp_path / "lab")
    run_script("-c", FULL, tmp_path / "lab")


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


def test_a_workspace_one_may_only_read_answers(tmp_path):
    root = toy.write_workspace(tmp_path / "lab").root
    script = (
        "import sys, toy_world\ntoy_world.use_toy_taxonomy()\nfrom skillmatch.cli.run import run\n"
        "sys.exit(run(['--workspace', sys.argv[1], 'train']))"
    )
    run_script("-c", script, root)
    before = {p: p.read_bytes() for p in root.rglob("*") if p.is_file()}
    opened = []
    for path in (root, *root.rglob("*")):
        path.chmod(0o555 if path.is_dir() else 0o444)
    for parent in (tmp_path, *tmp_path.parents):  # pytest's own folders keep other users out
        if os.getuid() == 0 and parent.stat().st_mode & 0o005 != 0o005:
            opened.append((parent, parent.stat().st_mode))
            parent.chmod(parent.stat().st_mode | 0o005)
    try:
        run_script("-c", READ_ONLY, root)
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
assert run([*at, "train"]) == 0
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


def test_a_missing_file_is_told_and_the_next_training_mends_it(tmp_path):
    root = toy.write_workspace(tmp_path / "lab").root
    run_script("-c", MISSING, root)
