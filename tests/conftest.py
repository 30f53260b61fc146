"""The command line as a subprocess, and one trained copy of the sample lab for all tests of a session."""

from __future__ import annotations

import io
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest
from filelock import FileLock

import skillmatch

SOURCE = Path(skillmatch.__file__).parents[1]
#: What is set on the machine that runs the tests must not change what they see.
_OWN = ("SKILLMATCH_", "LC_", "LANG", "COLUMNS", "NO_COLOR", "PYTHONWARNINGS")
_FIXED = {"LC_ALL": "C.UTF-8", "COLUMNS": "80", "SKILLMATCH_ENCODER": "hashing"}


@dataclass(frozen=True)
class Done:
    """What a command left behind."""

    code: int
    out: str
    err: str


Cli = Callable[..., Done]


def cli_environment(**more: str) -> dict[str, str]:
    """The environment of a command: ours without settings, English, 80 columns, the hashing encoder."""
    kept = {k: v for k, v in os.environ.items() if not k.startswith(_OWN)}
    return kept | {"PYTHONPATH": str(SOURCE)} | _FIXED | more


def run_cli(
    *arguments: object,
    cwd: Path,
    env: Mapping[str, str] | None = None,
    stdin: bytes = b"",
    raw: bool = False,
) -> Done:
    """Run ``skillmatch`` in ``cwd``. Whatever the test, no traceback reaches a user unless asked for (``raw``)."""
    done = subprocess.run(
        [sys.executable, "-m", "skillmatch", *map(str, arguments)],
        cwd=cwd,
        env=cli_environment(**(env or {})),
        input=stdin,
        capture_output=True,
        timeout=240,
        check=False,
    )
    found = Done(done.returncode, done.stdout.decode(), done.stderr.decode())
    if not raw:
        assert "Traceback" not in found.err + found.out, found.err
    return found


@pytest.fixture(scope="session")
def cli() -> Cli:
    """``run_cli``."""
    return run_cli


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Cli:
    """Like ``cli`` but in this process: five times faster, for tests that run many commands."""
    from skillmatch.cli.run import run

    def inside(*arguments: object, cwd: Path, env: Mapping[str, str] | None = None, stdin: bytes = b"") -> Done:
        with monkeypatch.context() as patch:
            patch.chdir(cwd)
            for name in [n for n in os.environ if n.startswith(_OWN)]:
                patch.delenv(name)
            for name, value in (_FIXED | dict(env or {})).items():
                patch.setenv(name, value)
            patch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(stdin)))
            code = run([str(a) for a in arguments])
        out, err = capsys.readouterr()
        assert "Traceback" not in err + out
        return Done(code, out, err)

    return inside


def made_once(factory: pytest.TempPathFactory, name: str, make: Callable[[Path], None]) -> Path:
    """A folder made by ``make`` once for all processes that run tests at the same time."""
    alone = "PYTEST_XDIST_WORKER" not in os.environ
    base = factory.getbasetemp() if alone else factory.getbasetemp().parent
    root = base / name / "lab"
    with FileLock(base / f"{name}.lock"):
        if not (base / f"{name}.done").exists():
            shutil.rmtree(root, ignore_errors=True)
            root.parent.mkdir(exist_ok=True)
            make(root)
            (base / f"{name}.done").touch()
    return root


@pytest.fixture(scope="session")
def trained_lab(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The sample lab, trained once with the hashing encoder. Not to be changed: tests that do take ``lab``."""
    return made_once(tmp_path_factory, "trained", _train_hashing)


def _train_hashing(root: Path) -> None:
    made = run_cli("init", root, cwd=root.parent)
    assert made.code == 0, made.err
    config = root / "skillmatch.toml"
    config.write_text(config.read_text("utf-8") + 'encoder = "hashing"\n', "utf-8")
    trained = run_cli("train", cwd=root)
    assert trained.code == 0, trained.err


@pytest.fixture
def lab(trained_lab: Path, tmp_path: Path) -> Path:
    """A copy of the trained lab that a test may change. To alter a file of a version, ``unlink`` it first."""

    def copy(source: str, target: str) -> None:
        # Versions and classifiers never change in place: links will do, and cost nothing.
        large = source.endswith((".npy", ".json", ".skops")) and "models" in Path(source).parts
        (os.link if large else shutil.copy2)(source, target)

    root = tmp_path / "lab"
    shutil.copytree(trained_lab, root, copy_function=copy)
    return root


#: Put before a script, this forbids every network connection in its process, from whatever library.
OFFLINE = """
import socket, sys
def _offline(event, arguments):
    made = event == "socket.__new__" and arguments[1] in (socket.AF_INET, socket.AF_INET6)
    if made or event == "socket.getaddrinfo":
        raise OSError("the network is forbidden here")
sys.addaudithook(_offline)
try:
    socket.create_connection(("localhost", 9))
except OSError as error:
    assert "forbidden" in str(error)
"""


@pytest.fixture(scope="session")
def real_lab(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The sample lab, trained once with the default encoder, without any network. Minutes; not to be changed."""
    return made_once(tmp_path_factory, "real", _train_offline)


def _train_offline(root: Path) -> None:
    assert run_cli("init", root, cwd=root.parent).code == 0
    script = OFFLINE + "from skillmatch.cli.run import run\nsys.exit(run(['train']))"
    env = cli_environment(SKILLMATCH_ENCODER="")
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=root, env=env, capture_output=True, timeout=1200, check=False
    )
    assert done.returncode == 0, done.stderr.decode()
