"""The workspace, and settings with where each came from."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from skillmatch.errors import DataError, UsageError
from skillmatch.runtime import CONFIG, SETTINGS, Workspace, cores, find_workspace, load_settings


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    (tmp_path / "data").mkdir()
    (tmp_path / CONFIG).write_text("", "utf-8")
    return Workspace(tmp_path)


def write(workspace: Workspace, text: str) -> Workspace:
    workspace.config.write_text(text, "utf-8")
    return workspace


def problems(workspace: Workspace | None, flags=None, environment=None) -> list[tuple[str, str | None]]:
    with pytest.raises(DataError) as told:
        load_settings(workspace, flags, environment or {})
    assert all(p.problem and p.remedy for p in told.value.problems)
    return [(p.file, p.column) for p in told.value.problems]


# --- where the workspace is ---------------------------------------------------------------------------


def test_named_by_the_flag_then_the_environment_then_the_folder(tmp_path, monkeypatch):
    for name in ("flag", "environment", "here"):
        (tmp_path / name / "deep" / "deeper").mkdir(parents=True)
        (tmp_path / name / CONFIG).touch()
    monkeypatch.chdir(tmp_path / "here" / "deep" / "deeper")
    env = {"SKILLMATCH_WORKSPACE": str(tmp_path / "environment")}
    assert find_workspace(tmp_path / "flag", env).root == tmp_path / "flag"
    assert find_workspace(None, env).root == tmp_path / "environment"
    assert find_workspace(None, {}).root == tmp_path / "here"
    assert find_workspace("../../../flag", {}).root == tmp_path / "flag"


def test_a_data_folder_is_enough_where_it_is_named(tmp_path, monkeypatch):
    (tmp_path / "data").mkdir()
    assert find_workspace(tmp_path, {}).root == tmp_path
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UsageError, match="no workspace here") as told:
        find_workspace(None, {})
    assert "skillmatch init" in told.value.hint


@pytest.mark.parametrize("name", ["empty", "file", "missing"])
def test_what_is_no_workspace(tmp_path, name):
    (tmp_path / "empty").mkdir()
    (tmp_path / "file").touch()
    with pytest.raises(UsageError, match=name) as told:
        find_workspace(tmp_path / name, {})
    assert "skillmatch init" in told.value.hint


def test_home_is_understood(tmp_path, monkeypatch):
    (tmp_path / "lab" / "data").mkdir(parents=True)
    monkeypatch.setenv("HOME", str(tmp_path))
    assert find_workspace("~/lab", {}).root == tmp_path / "lab"


def test_its_folders(workspace):
    assert workspace.data == workspace.root / "data"
    assert workspace.models == workspace.root / "models"
    assert workspace.config.name == CONFIG


# --- settings -----------------------------------------------------------------------------------------


def test_defaults(workspace):
    for where in (None, workspace):
        settings = load_settings(where, environment={})
        assert settings.values == {name: default for name, (default, _, _) in SETTINGS.items()}
        assert set(settings.sources.values()) == {"default"}


def test_every_setting_has_a_default_of_its_kind_and_says_what_it_is():
    for default, kind, what in SETTINGS.values():
        assert type(default) is kind
        assert what


def test_flag_before_environment_before_file_before_default(workspace):
    write(workspace, 'seed = 1\njobs = 1\nencoder = "hashing"\n')
    settings = load_settings(workspace, {"seed": 3, "jobs": None}, {"SKILLMATCH_SEED": "2", "SKILLMATCH_JOBS": "2"})
    got = {name: (settings[name], settings.sources[name]) for name in ("seed", "jobs", "encoder", "lang")}
    assert got == {
        "seed": (3, "flag"),
        "jobs": (2, "environment"),
        "encoder": ("hashing", CONFIG),
        "lang": ("", "default"),
    }


def test_an_empty_variable_is_none(workspace):
    assert load_settings(workspace, environment={"SKILLMATCH_SEED": ""}).sources["seed"] == "default"


def test_the_machines_environment_is_read(monkeypatch):
    monkeypatch.setenv("SKILLMATCH_SEED", "7")
    assert load_settings(None)["seed"] == 7


def test_every_wrong_line_at_once(workspace):
    write(workspace, 'seed = "x"\njobs = true\nfoo = 1\nlang = "de"\nmin_score = "high"\n')
    assert problems(workspace, environment={"SKILLMATCH_STALE_MONTHS": "old"}) == [
        (CONFIG, "seed"),
        (CONFIG, "jobs"),
        (CONFIG, "foo"),
        (CONFIG, "lang"),
        (CONFIG, "min_score"),
        ("environment", "stale_months"),
    ]


@pytest.mark.parametrize(
    "line",
    [
        *("seed = -1", "seed = 3.7", "seed = inf"),
        *("jobs = -2", "jobs = 1.5", "stale_months = -1"),
        *("min_score = nan", "min_score = 1.5", "min_score = -0.5"),
        *('encoder = ""', "encoder = [1]", 'lang = "de"', "seed = 2026-01-01"),
    ],
)
def test_values_that_make_no_sense(workspace, line):
    """Each would fail, or quietly do something else, deep inside a training."""
    assert problems(write(workspace, line)) == [(CONFIG, line.split()[0])]


@pytest.mark.parametrize(
    "line", ["seed = 0", "jobs = 0", "min_score = -1", "min_score = 0", "min_score = 1", "seed = 5"]
)
def test_values_that_do(workspace, line):
    name, value = line.split(" = ")
    assert load_settings(write(workspace, line), environment={})[name] == float(value)


@pytest.mark.parametrize("text", [b"seed = ", b"= 1", b"seed = 1\nseed = 2\n", b"\xff\xfe", b"[", b'lang = "fr'])
def test_a_file_that_is_no_toml(workspace, text):
    workspace.config.write_bytes(text)
    assert problems(workspace) == [(CONFIG, None)]


def test_cores(workspace):
    assert cores(load_settings(workspace, {"jobs": 3}, {})) == 3
    assert cores(load_settings(workspace, environment={})) == (os.cpu_count() or 1)
