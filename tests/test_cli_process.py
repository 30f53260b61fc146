"""The command line as a process: errors, garbage, terminals, pipes, signals, start-up, completion."""

from __future__ import annotations

import io
import os
import pty
import random
import signal
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import pytest

from conftest import cli_environment
from contract import CONTRACT, NEED, valid
from skillmatch.cli import run as application

# --- errors -------------------------------------------------------------------------------------------


def test_nothing_trained(quick, tmp_path):
    quick("init", tmp_path / "new", cwd=tmp_path)
    for command in (("suggest", NEED), ("batch", "data/projects.csv"), ("explain", "P01", "S01"), ("evaluate",)):
        done = quick(*command, *CONTRACT, cwd=tmp_path / "new")
        assert done.code == 3
        assert valid(done.out, "error")["error"]["code"] == "no-model"
        assert done.err == ""
    told = quick("suggest", NEED, cwd=tmp_path / "new")
    assert (told.code, told.out) == (3, "")
    assert "skillmatch train" in told.err


def test_an_altered_version_is_refused(cli, lab):
    file = next((lab / "models" / "versions").glob("*/people.json"))
    text = file.read_bytes()
    file.parent.chmod(0o755)
    file.unlink()
    file.write_bytes(text.replace(b"S01", b"S91"))
    done = cli("suggest", NEED, *CONTRACT, cwd=lab)
    error = valid(done.out, "error")["error"]
    assert (done.code, error["code"]) == (3, "damaged-model")
    assert error["problems"][0]["file"].endswith("people.json")


def test_no_workspace(cli, tmp_path):
    done = cli("suggest", NEED, *CONTRACT, cwd=tmp_path)
    assert done.code == 2
    assert "skillmatch init" in valid(done.out, "error")["error"]["hint"]
    assert cli("--workspace", tmp_path / "none", "check", cwd=tmp_path).code == 2


def test_the_workspace_named(cli, trained_lab, tmp_path):
    for arguments, env in (
        (("--workspace", trained_lab), {}),
        ((), {"SKILLMATCH_WORKSPACE": str(trained_lab)}),
    ):
        assert cli(*arguments, "suggest", NEED, cwd=tmp_path, env=env).code == 0
    assert cli("suggest", NEED, cwd=trained_lab / "data").code == 0


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ((), "Usage:"),
        (("models",), "Usage:"),
        (("suggest",), "Usage:"),
        (("sugest", "x"), "Did you mean 'suggest'"),
        (("suggest", "x", "--lang", "fr"), "skillmatch --lang"),
        (("suggest", "x", "--nope"), "--nope"),
        (("--lang", "de", "check"), "de"),
        (("-q", "-v", "check"), "contradict"),
        (("batch",), "Usage:"),
        (("models", "promote"), "ID"),
        (("batch", "x", "--top"), "--top"),
    ],
)
def test_usage_errors(cli, trained_lab, arguments, said):
    done = cli(*arguments, cwd=trained_lab)
    assert (done.code, done.out) == (2, "")
    assert said in done.err
    if arguments not in ((), ("models",), ("suggest",), ("batch",)):
        as_json = cli(*arguments, *CONTRACT, cwd=trained_lab)
        assert valid(as_json.out, "error")["error"]["code"] == "usage"


GARBAGE = ["", "-", "--", "\ud800", "é" * 300, "%s{}", "'; drop", "../../etc", "P03", "S07", "--top", "all", "\x1b[2J"]
COMMANDS = [
    "suggest",
    "batch",
    "explain",
    "check",
    "skills",
    "profiles",
    "models",
    "feedback",
    "show",
    "list",
    "promote",
]


def test_garbage_never_ends_in_a_traceback(trained_lab, monkeypatch, capsys):
    monkeypatch.chdir(trained_lab)
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(b"\xff\x00 text")))
    chosen = random.Random(0)
    for _ in range(150):
        words = [chosen.choice(COMMANDS), *chosen.choices(GARBAGE + COMMANDS, k=chosen.randrange(4))]
        if "promote" in words:
            words = ["models", "promote", *words[1:]]
        code = application.run([*words, *chosen.choice([(), CONTRACT])])
        out, err = capsys.readouterr()
        assert code in (0, 2, 3), (words, err, out)
        assert "Traceback" not in err + out
        assert "defect" not in err + out, words
        if code:
            assert out or err
    assert not (trained_lab / "data" / "feedback.jsonl").exists()


def test_a_defect_is_told_without_a_traceback(trained_lab, monkeypatch, capsys):
    from skillmatch.matcher import Matcher

    def broken(*_):
        raise ZeroDivisionError("oh")

    monkeypatch.chdir(trained_lab)
    monkeypatch.setattr(Matcher, "match", broken)
    assert application.run(["suggest", NEED]) == 1
    out, err = capsys.readouterr()
    assert out == ""
    assert "defect of skillmatch" in err
    assert "ZeroDivisionError: oh (" in err
    assert "Traceback" not in err
    assert application.run(["suggest", NEED, "--format", "json"]) == 1
    assert valid(capsys.readouterr().out, "error")["error"]["code"] == "defect"
    assert application.run(["-v", "suggest", NEED]) == 1
    assert "Traceback" in capsys.readouterr().err


# --- terminals, pipes, signals ------------------------------------------------------------------------


def on_terminal(*arguments: str, cwd: Path, stream: str, **env: str) -> str:
    """What a command writes to a terminal, its standard output or error."""
    ours, theirs = pty.openpty()
    streams = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, stream: theirs}
    more = {"TERM": "xterm", **env}
    command = [sys.executable, "-m", "skillmatch", *arguments]
    started = subprocess.Popen(command, cwd=cwd, env=cli_environment(**more), stdin=subprocess.DEVNULL, **streams)
    os.close(theirs)
    seen = b""
    with suppress(OSError):  # the terminal is gone once its last writer is
        while data := os.read(ours, 65536):
            seen += data
    started.communicate(timeout=60)
    os.close(ours)
    assert started.returncode == 0
    return seen.decode()


def test_colour_only_on_a_terminal(cli, trained_lab):
    shown = on_terminal("suggest", NEED, cwd=trained_lab, stream="stdout")
    assert "\x1b[" in shown
    for env in ({"NO_COLOR": "1"}, {"TERM": "dumb"}):
        assert "\x1b[" not in on_terminal("suggest", NEED, cwd=trained_lab, stream="stdout", **env)


def test_a_progress_bar_only_on_a_terminal(trained_lab):
    shown = on_terminal("batch", "data/projects.csv", "--format", "jsonl", cwd=trained_lab, stream="stderr")
    assert "/30" in shown
    assert on_terminal("-q", "batch", "data/projects.csv", cwd=trained_lab, stream="stderr") == ""
    assert "/30" not in on_terminal("batch", "data/projects.csv", "--format", "jsonl", cwd=trained_lab, stream="stdout")


def test_a_closed_pipe_is_quiet(trained_lab):
    command = [sys.executable, "-m", "skillmatch", "batch", "data/projects.csv", "--top", "all", "--format", "jsonl"]
    started = subprocess.Popen(
        command, cwd=trained_lab, env=cli_environment(), stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    assert started.stdout.readline().startswith(b"{")
    started.stdout.close()
    assert started.stderr.read() == b""
    assert started.wait(60) == 0
    started.stderr.close()


def in_shell(trained_lab, line: str) -> subprocess.CompletedProcess:
    env = cli_environment(PYTHON=sys.executable)
    return subprocess.run(["sh", "-c", line], cwd=trained_lab, env=env, capture_output=True, text=True, timeout=60)


def test_output_that_can_not_be_written(trained_lab):
    for command in ("--version", "models list", "batch data/projects.csv --format jsonl", "suggest x y --format json"):
        done = in_shell(trained_lab, f'"$PYTHON" -m skillmatch {command} > /dev/full')
        assert done.returncode == 2
        assert "Traceback" not in done.stderr
        assert "Exception ignored" not in done.stderr
        assert "Error:" in done.stderr
    closed = in_shell(trained_lab, '"$PYTHON" -m skillmatch models list >&- 2>&-')
    assert closed.returncode == 0


def _heeds_interrupts() -> None:
    """Whoever runs the tests in the background has Ctrl-C ignored, and so have their children."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def test_interrupted(cli, tmp_path):
    cli("init", tmp_path / "new", cwd=tmp_path)
    started = subprocess.Popen(
        [sys.executable, "-m", "skillmatch", "train"],
        cwd=tmp_path / "new",
        env=cli_environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        preexec_fn=_heeds_interrupts,
    )
    assert started.stderr.readline().startswith(b"Learning the taxonomy")
    started.send_signal(signal.SIGINT)
    out, err = started.communicate(timeout=120)
    assert started.returncode == 130
    assert out == b""
    assert b"Interrupted." in err
    assert b"Traceback" not in err
    assert not (tmp_path / "new" / "models" / "CURRENT").exists()


def test_json_is_utf8_whatever_the_locale(trained_lab):
    command = [sys.executable, "-m", "skillmatch", "suggest", "Été à la ferme", *CONTRACT]
    env = cli_environment(PYTHONIOENCODING="latin-1")
    done = subprocess.run(command, cwd=trained_lab, env=env, capture_output=True, check=True, timeout=60)
    assert valid(done.stdout.decode("utf-8"), "suggestion")["project"]["needs"][0]["text"] == "Été à la ferme"


# --- start-up and completion --------------------------------------------------------------------------


HEAVY = {"numpy", "torch", "sklearn", "scipy", "pandas", "onnxruntime", "tokenizers", "pyarrow", "yaml", "rapidfuzz"}


def modules_of(trained_lab, *arguments: str, **environment: str) -> set[str]:
    """The modules a command imported."""
    script = (
        "import sys\nfrom skillmatch.cli import main\ntry:\n    main()\n"
        "except SystemExit as end:\n    assert not end.code\n"
        "print('\\n'.join(sys.modules), file=sys.stderr)"
    )
    command = [sys.executable, "-c", script, *arguments]
    env = cli_environment(**environment)
    done = subprocess.run(command, cwd=trained_lab, env=env, capture_output=True, check=True, timeout=60)
    return set(done.stderr.decode().split())


def test_help_imports_nothing_heavy(trained_lab):
    for arguments in (("--help",), ("suggest", "--help"), ("--version",)):
        seen = modules_of(trained_lab, *arguments)
        ours = {m for m in seen if m.startswith("skillmatch.") and not m.startswith("skillmatch.cli")}
        assert ours <= {"skillmatch._version", "skillmatch.errors"}
        assert not seen & HEAVY


@pytest.mark.parametrize(
    "words",
    [
        "skillmatch suggest --project P",
        "skillmatch explain P03 S",
        "skillmatch suggest --from-lab ",
        "skillmatch skills show gpu",
    ],
)
def test_completion_imports_nothing_heavy(trained_lab, words):
    place = str(len(words.split(" ")) - 1)
    asked = {"_SKILLMATCH_COMPLETE": "complete_bash", "COMP_WORDS": words, "COMP_CWORD": place}
    seen = modules_of(trained_lab, **asked)
    assert "skillmatch.cli.complete" in seen
    ours = {m for m in seen if m.startswith("skillmatch.") and not m.startswith("skillmatch.cli")}
    assert ours <= {"skillmatch._version", "skillmatch.errors"}
    assert not seen & HEAVY


def test_suggest_imports_no_training_library(trained_lab):
    for arguments in (("suggest", NEED), ("suggest", "--project", "P03", *CONTRACT)):
        seen = modules_of(trained_lab, *arguments)
        assert "skillmatch.matcher" in seen
        assert not seen & {"torch", "sentence_transformers", "transformers", "sklearn", "pandas", "scipy", "yaml"}


def completions(trained_lab, words: str) -> list[str]:
    env = cli_environment(
        _SKILLMATCH_COMPLETE="complete_bash", COMP_WORDS=words, COMP_CWORD=str(len(words.split(" ")) - 1)
    )
    command = [sys.executable, "-m", "skillmatch"]
    done = subprocess.run(command, cwd=trained_lab, env=env, capture_output=True, check=True, timeout=60)
    assert done.stderr == b""
    return done.stdout.decode().split()


def test_completion(trained_lab, tmp_path):
    assert completions(trained_lab, "skillmatch suggest --project P2") == [f"P{n}" for n in range(20, 30)]
    assert completions(trained_lab, "skillmatch explain P03 S4")[:3] == ["S40", "S41", "S42"]
    assert completions(trained_lab, "skillmatch suggest --from-lab ") == ["CSA", "DPV", "GRM", "IPO", "LAC"]
    assert "gpu-computing" in completions(trained_lab, "skillmatch skills show gpu")
    assert completions(trained_lab, "skillmatch suggest --family o") == ["online", "offline", "other"]
    current = (trained_lab / "models" / "CURRENT").read_text().strip()
    assert current in completions(trained_lab, "skillmatch models promote v")
    assert completions(trained_lab, f"skillmatch --workspace {trained_lab} suggest --lab C") == ["CSA"]
    assert completions(tmp_path, "skillmatch suggest --from-lab ") == []
