"""README.md: its examples run, its tables are true, and it leaves no command, option, column or setting out."""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import socket
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import takewhile
from pathlib import Path

import jsonschema
import pytest
import typer

import skillmatch
from skillmatch import errors, feedback, matcher, reports, sources, training
from skillmatch.cli import run as application
from skillmatch.records import Project
from skillmatch.runtime import SETTINGS
from skillmatch.sources import columns
from skillmatch.taxonomy import Taxonomy, examples

REPOSITORY = Path(__file__).parents[1]
README = (REPOSITORY / "README.md").read_text("utf-8")
#: Options of typer's own.
_FOREIGN = {"--help", "--show-completion"}


@dataclass(frozen=True)
class Block:
    """A fenced block: what stands after the backticks, what it holds, under which heading of the second level."""

    kind: str
    file: str
    text: str
    section: str


@dataclass(frozen=True)
class Command:
    """A line of a console block: its words, the exit code it is said to end with, and the lines shown under it."""

    words: tuple[str, ...]
    code: int
    shown: tuple[str, ...]


def _blocks() -> Iterator[Block]:
    section, info, lines = "", None, []
    for line in README.splitlines():
        if info is not None and line == "```":
            kind, _, file = info.partition(" ")
            yield Block(kind, file, "\n".join(lines) + "\n", section)
            info, lines = None, []
        elif info is not None:
            lines.append(line)
        elif line.startswith("```"):
            info = line[3:]
        elif line.startswith("## "):
            section = line[3:]


BLOCKS = tuple(_blocks())


def _commands(section: str) -> list[Command]:
    found = []
    for block in BLOCKS:
        if block.kind != "console" or block.section != section:
            continue
        for part in re.split(r"^\$ ", block.text, flags=re.M)[1:]:
            line, *shown = part.rstrip("\n").split("\n")
            code = re.search(r"# exit code (\d+)$", line)
            found.append(Command(tuple(shlex.split(line, comments=True)), int(code[1]) if code else 0, tuple(shown)))
    return found


SECTIONS = [s for s in dict.fromkeys(b.section for b in BLOCKS) if any(c.words for c in _commands(s))]


def _table(first: str) -> list[list[list[str]]]:
    """Every table whose first header cell is ``first``, as rows of cells, without the header."""
    found = []
    for body in re.findall(rf"^\| {re.escape(first)} \|.*\n\|[-|]+\n((?:\|.*\n)+)", README, flags=re.M):
        found.append([[cell.strip() for cell in row[1:-1].split("|")] for row in body.splitlines()])
    return found


def _names(cell: str) -> list[str]:
    return [name.strip("` ") for name in cell.split(",") if name.strip("` ")]


# --- the examples -------------------------------------------------------------------------------------


def _current(lab: Path) -> str:
    return (lab / "models" / "CURRENT").read_text().strip()


def _another_version(lab: Path) -> str:
    """One that is not in use, where there is any."""
    return next((p.name for p in (lab / "models" / "versions").iterdir() if p.name != _current(lab)), _current(lab))


def _profiles_changed(lab: Path) -> None:
    path = lab / "data" / "profiles.csv"
    before = path.read_text("utf-8")
    after = before.replace("Tient un stand à la Fête de la science.", "Tient un stand.")
    assert after != before
    path.write_text(after, "utf-8")


@pytest.fixture
def offline(monkeypatch):
    """README, Privacy: nothing leaves the computer."""

    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("the network was asked for")

    for name in ("connect", "connect_ex", "sendto"):
        monkeypatch.setattr(socket.socket, name, refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)


@pytest.mark.usefixtures("offline")
@pytest.mark.parametrize("section", SECTIONS)
def test_the_commands_of(section, quick, lab):
    """Of one section, in order, in a copy of the trained sample lab."""
    for block in BLOCKS:
        if block.file and not block.file.startswith("data/"):
            (lab / block.file).write_text(block.text, "utf-8")
    if section == "Training and versions":
        _profiles_changed(lab)
    here = lab
    for command in _commands(section):
        tool, *arguments = command.words
        if tool == "cd":
            here = here / arguments[0]
        if tool != "skillmatch":
            assert tool in ("make", "pip", "cd"), f"who runs {tool}?"
            continue
        if arguments[0] == "train" and not (here / "models" / "CURRENT").exists():
            # The taxonomy is the one that the session's lab has learned already.
            shutil.copytree(lab / "models" / "cache", here / "models" / "cache", copy_function=os.link)
        arguments = [_another_version(here) if re.fullmatch("v[0-9a-f]{12}", a) else a for a in arguments]
        done = quick(*arguments, cwd=here)
        assert done.code == command.code, (command, done.err)
        assert done.out or done.err, command
        _same_shape(command, done.out)


def _same_shape(command: Command, out: str) -> None:
    """What is shown is of another encoder than the tests': the headings and the needs are the same all the same."""
    for line in takewhile(lambda line: not line.startswith("More on"), command.shown):
        if re.match(r"\S", line):
            assert line in out.splitlines(), (command, out)


def test_every_command_is_among_the_examples():
    run = [c.words[1:] for s in SECTIONS for c in _commands(s) if c.words[0] == "skillmatch"]
    flags = {"--lang", "--workspace"}
    plain = [words[2:] if words[0] in flags else words for words in run]
    for path, _ in _registered():
        assert any(words[: len(path)] == path for words in plain), f"no example of: skillmatch {' '.join(path)}"


def test_every_option_is_told():
    told = set(re.findall(r"(?<![\w-])--?[a-z][a-z-]*", README))
    for path, options in _registered():
        assert options - _FOREIGN <= told, (path, options - told)
    known = {o for _, options in _registered() for o in options}
    code = "".join(re.findall(r"`[^`]+`", re.sub(r"```.*?```", "", README, flags=re.S)))
    assert set(re.findall(r"(?<![\w-])--[a-z-]+", code)) <= known | {"--help"}


def _registered() -> Iterator[tuple[tuple[str, ...], set[str]]]:
    """(words, options) of every command of the application, those of the application itself first."""

    def walk(command, words):
        if not hasattr(command, "commands") or not words:
            yield words, {o for p in command.params for o in p.opts if o.startswith("-")}
        for name, inner in getattr(command, "commands", {}).items():
            yield from walk(inner, (*words, name))

    return walk(typer.main.get_command(application.app), ())


def test_python_examples(lab, monkeypatch, capsys):
    (lab.parent / "mylab").symlink_to(lab)
    monkeypatch.chdir(lab.parent)
    names: dict[str, object] = {}
    sources_ = [b.text for b in BLOCKS if b.kind == "python"]
    assert len(sources_) >= 3
    for source in sources_:
        exec(compile(source, "README.md", "exec"), names)
        assert capsys.readouterr().out, source
    assert names["answer"].project.id == "Q2"
    assert all(m.profile.id != "S22" for m in names["answer"].matches)


def test_json_keeps_the_contract():
    shown = [json.loads(b.text) for b in BLOCKS if b.kind == "json" and not b.file]
    assert [s["schema"] for s in shown] == ["skillmatch.suggestion/1"]
    for one in shown:
        jsonschema.Draft202012Validator(reports.load_schema(one["schema"])).validate(one)
        assert one["matches"]


def test_make_targets_are_there():
    makefile = (REPOSITORY / "Makefile").read_text("utf-8")
    asked = set(re.findall(r"(?:^\$ |`)make (\w+)", README, flags=re.M))
    assert {"demo", "test"} <= asked
    for target in asked:
        assert re.search(rf"^{target}:", makefile, flags=re.M), target


def test_links_lead_somewhere():
    headings = {
        re.sub(r"[^\w -]", "", h.lower()).replace(" ", "-") for h in re.findall(r"^#+ (.*)", README, flags=re.M)
    }
    for target in re.findall(r"\]\(([^)]+)\)", README):
        found = target[1:] in headings if target.startswith("#") else (REPOSITORY / target).is_file()
        assert found, target


# --- the tables ---------------------------------------------------------------------------------------

KINDS = (columns.PROFILES, columns.PROJECTS, columns.JUDGEMENTS, columns.SKILLS)


@pytest.mark.parametrize("place", range(4), ids=lambda i: KINDS[i].name)
def test_columns_are_understood(place):
    kind, rows = KINDS[place], _table("column")[place]
    assert {_names(row[0])[0] for row in rows} == set(kind.keys.values())
    for row in rows:
        for name in (*_names(row[0]), *_names(row[1])):
            assert kind.field(name) == _names(row[0])[0], name


def test_columns_of_answers_are_understood():
    (rows,) = _table("column of an import")
    assert {_names(row[0])[0] for row in rows} == set(feedback.COLUMNS)
    for row in rows:
        (field,) = _names(row[0])
        for name in _names(row[1]):
            assert name in feedback.COLUMNS[field], name


READERS = {
    "profiles": sources.read_profiles,
    "projects": sources.read_projects,
    "judgements": sources.read_judgements,
}


def test_the_files_shown_are_good(tmp_path, quick):
    """Each alone without a problem; the tables of one kind together as a workspace that ``check`` accepts."""
    shown = [b for b in BLOCKS if b.file.startswith("data/")]
    assert [Path(b.file).stem for b in shown] == ["profiles", "profiles", "projects", "judgements", "skills"]
    for block in shown:
        path = tmp_path / block.file
        path.parent.mkdir(exist_ok=True)
        path.write_text(block.text, "utf-8")
        if path.stem in READERS:
            records, problems = READERS[path.stem](path)
            assert records
            assert not problems
    (profile,), _ = sources.read_profiles(tmp_path / "data" / "profiles.jsonl")
    assert (profile.skills[0].level, profile.skills[0].last_used.year, profile.evidence[0].kind) == (4, 2025, "project")
    (tmp_path / "data" / "profiles.jsonl").unlink()
    people, _ = sources.read_profiles(tmp_path / "data" / "profiles.csv")
    assert [(len(p.skills), len(p.evidence), p.consent) for p in people] == [(3, 0, True), (1, 2, True)]
    needs = [p.needs for p in sources.read_projects(tmp_path / "data" / "projects.csv")[0]]
    assert [[(n.text, n.weight, n.must) for n in one] for one in needs] == [
        [],
        [("Ceph", 3, False), ("monitoring", 2, True)],
    ]
    (tmp_path / "skillmatch.toml").write_text("", "utf-8")
    done = quick("check", "--format", "json", cwd=tmp_path)
    assert done.code == 0, done.out
    told = json.loads(done.out)
    assert told["problems"] == []
    assert (told["profiles"], told["projects"], told["judgements"], told["skills"]) == (2, 2, 2, 1)


def test_settings_are_told():
    (rows,) = _table("setting")
    assert {_names(row[0])[0]: json.loads(_names(row[1])[0]) for row in rows} == {n: v[0] for n, v in SETTINGS.items()}


def test_exit_codes_are_told():
    (rows,) = _table("exit code")
    classes = [c for c in vars(errors).values() if isinstance(c, type) and issubclass(c, errors.SkillmatchError)]
    assert {int(row[0]) for row in rows} == {0, 130} | {c.exit_code for c in classes}


def test_suffixes_are_told():
    from skillmatch.reports.output import FORMATS, SUFFIXES

    (row,) = [row for table in _table("option of `suggest` and `batch`") for row in table if "--out" in row[0]]
    assert set(re.findall(r"\.\w+", row[1])) == set(SUFFIXES) - {".markdown"}
    assert all(f"`{name}`" in README for name in FORMATS)


# --- what it says -------------------------------------------------------------------------------------


def test_figures_are_true():
    shipped = Taxonomy.shipped()
    assert set(re.findall(r"(\d+) concepts", README)) == {str(len(shipped))}
    (texts,) = re.findall(r"some ([\d,]+) texts", README)
    assert round(len(examples(shipped).text), -3) == int(texts.replace(",", ""))
    (people, projects) = re.search(r"(\d+) fictional people, (\d+) projects", README).groups()
    assert (training.FEWEST_PROJECTS, matcher.HALF_LIFE_YEARS, SETTINGS["stale_months"][0]) == (8, 10, 24)
    data = REPOSITORY / "data"
    assert len(sources.read_profiles(data / "profiles.csv")[0]) == int(people)
    assert len(sources.read_projects(data / "projects.csv")[0]) == int(projects)


def test_asking_writes_nothing(quick, lab):
    """README, Privacy: questions are not logged."""

    def state() -> dict[str, tuple[int, int]]:
        return {str(p): (s.st_size, s.st_mtime_ns) for p in sorted(lab.rglob("*")) if (s := p.lstat()) and p.is_file()}

    before = state()
    for asked in (("suggest", "tune Ceph"), ("batch", "data/projects.csv"), ("explain", "P03", "S07")):
        assert quick(*asked, cwd=lab).code == 0
    assert state() == before


def test_who_refuses_is_in_no_version(lab):
    """README, Privacy: consent."""
    profiles, _ = sources.read_profiles(lab / "data" / "profiles.csv")
    refused = {p.id for p in profiles if p.consent is False}
    assert refused
    model = skillmatch.load(lab)
    everybody = model.match(Project(id="x", title="Ceph"), skillmatch.Options(top=None))
    assert refused.isdisjoint(m.profile.id for m in everybody.matches)
    assert refused.isdisjoint(p["id"] for p in model.people)


def test_who_leaves_is_gone(quick, lab):
    """README, Privacy: the recipe leaves nothing of somebody under data/ and models/."""
    words = [w.encode() for w in ("Aidan Moriarty-Petit", "Wrote the procedure for adding a shelf", "S22")]

    def held() -> set[bytes]:
        kept = [p.read_bytes() for d in ("data", "models") for p in (lab / d).rglob("*") if p.is_file()]
        whole = {w: re.compile(rb"(?<!\w)" + w + rb"(?!\w)") for w in words}
        return {w for w in words if any(w in content and whole[w].search(content) for content in kept)}

    assert held() == set(words)
    assert "`skillmatch profiles forget ID`" in README
    assert quick("profiles", "forget", "S22", "--yes", cwd=lab).code == 0
    assert held() == set()
    assert quick("suggest", "tune our Ceph cluster", cwd=lab).code == 0


def test_changelog_names_this_version():
    text = (REPOSITORY / "CHANGELOG.md").read_text("utf-8")
    first = re.search(r"^## \[(.*?)\] - (.*)$", text, flags=re.M)
    assert first[1] == skillmatch.__version__
    assert first[2] == "Unreleased" or re.fullmatch(r"\d{4}-\d{2}-\d{2}", first[2])
