"""The commands that keep a workspace: init, check, train, models, evaluate, skills, profiles, feedback, doctor."""

from __future__ import annotations

import ast
import csv
import io
import json
import re
import shlex
from pathlib import Path

import pytest
import typer

from contract import CONTRACT, valid
from skillmatch import cli as package
from skillmatch import training
from skillmatch.cli import run as application
from skillmatch.cli import session
from skillmatch.ranking import PARTS
from skillmatch.records import content_hash
from skillmatch.reports.language import catalogue, tr
from skillmatch.runtime import SETTINGS
from skillmatch.sources import read_profiles
from skillmatch.training import Report

REPOSITORY = Path(__file__).parents[1]
TABLES = ("profiles.csv", "projects.csv", "judgements.csv", "skills.csv")


def current(lab: Path) -> str:
    return (lab / "models" / "CURRENT").read_text().strip()


def problems_of(done) -> list[dict]:
    assert done.code == 2
    return valid(done.out, "error")["error"]["problems"]


# --- help ---------------------------------------------------------------------------------------------


def commands() -> dict[str, str]:
    """Every command by its words, with the text of its help."""
    found = {}

    def walk(command, words):
        for name, inner in getattr(command, "commands", {}).items():
            walk(inner, [*words, name])
        if words and not hasattr(command, "commands"):
            found[" ".join(words)] = command.help

    walk(typer.main.get_command(application.app), [])
    return found


def test_the_commands_are_those_of_the_contract():
    assert set(commands()) == {
        *("init", "check", "train", "suggest", "team", "batch", "gaps", "explain", "evaluate", "doctor"),
        *("models list", "models show", "models diff", "models promote", "models rollback", "models prune"),
        *("skills list", "skills show", "skills search", "skills unmatched", "skills import"),
        *("profiles show", "profiles export", "profiles forget"),
        *("feedback add", "feedback import", "feedback list"),
    }


@pytest.mark.parametrize("command", sorted(commands()))
def test_every_command_has_help_with_an_example(cli, tmp_path, command):
    done = cli(*command.split(), "--help", cwd=tmp_path)
    assert (done.code, done.err) == (0, "")
    assert f"Example: skillmatch {command}" in done.out
    assert max(map(len, done.out.splitlines())) <= 80


def test_the_examples_work(quick, lab, tmp_path):
    (lab / "answers.csv").write_text("project,profile,answer\nP01,S07,accepted\n", "utf-8")
    (lab / "ESCO-download").mkdir()
    esco = "conceptUri,preferredLabel,status\nhttp://data.europa.eu/esco/skill/x,glass blowing,released\n"
    (lab / "ESCO-download" / "skills_en.csv").write_text(esco, "utf-8")
    # Who is forgotten is forgotten last.
    for command, text in sorted(commands().items(), key=lambda c: c[0] == "profiles forget"):
        example = shlex.split(re.search(r"Example: skillmatch (.*)", text)[1])
        if command in ("models promote", "models diff"):
            example[-1] = current(lab)
        if command == "models rollback":
            continue  # needs two versions; it has a test of its own
        done = quick(*example, cwd=tmp_path if command == "init" else lab)
        assert done.code == 0, (command, done.err)
        assert done.out or done.err


# --- init ---------------------------------------------------------------------------------------------


def test_init_makes_the_sample_lab(quick, tmp_path):
    done = quick("init", "mine", cwd=tmp_path)
    assert done.code == 0
    assert "skillmatch train" in done.err
    for name in (*TABLES, "README.md"):
        assert (tmp_path / "mine" / "data" / name).read_bytes() == (REPOSITORY / "data" / name).read_bytes()
    assert sorted(p.name for p in (tmp_path / "mine" / "data").iterdir()) == sorted([*TABLES, "README.md"])
    assert (tmp_path / "mine" / "models" / "README.md").is_file()
    config = (tmp_path / "mine" / "skillmatch.toml").read_text("utf-8")
    for name, (default, _, what) in SETTINGS.items():
        assert f"# {what}\n# {name} = " in config
        assert str(default) in config
    # Each setting is in force once its mark is taken away.
    (tmp_path / "mine" / "skillmatch.toml").write_text(re.sub(r"(?m)^# (\w+ = )", r"\1", config), "utf-8")
    assert quick("check", cwd=tmp_path / "mine").code == 0


def test_init_here_and_empty(quick, tmp_path):
    assert quick("init", "--empty", cwd=tmp_path).code == 0
    header = (tmp_path / "data" / "profiles.csv").read_text("utf-8-sig")
    assert header.startswith("id;nom;laboratoire;métier")
    assert header.count("\n") == 1
    done = quick("check", *CONTRACT, cwd=tmp_path)
    told = json.loads(done.out)
    assert (done.code, told["profiles"], told["projects"]) == (0, 0, 0)
    assert {p["problem"] for p in told["problems"]} == {"has no rows"}
    with (tmp_path / "data" / "profiles.csv").open("a", encoding="utf-8") as file:
        file.write("A;Ana;LAC;asr;;fr;Ceph:4;;;;;;;\n")
    assert json.loads(quick("check", *CONTRACT, cwd=tmp_path).out)["profiles"] == 1


def test_init_touches_no_workspace(quick, tmp_path):
    quick("init", "mine", cwd=tmp_path)
    before = {p: p.read_bytes() for p in (tmp_path / "mine").rglob("*") if p.is_file()}
    for arguments in (("mine",), ("mine", "--empty")):
        assert quick("init", *arguments, cwd=tmp_path).code == 2
    assert quick("init", cwd=tmp_path / "mine").code == 2
    assert {p: p.read_bytes() for p in (tmp_path / "mine").rglob("*") if p.is_file()} == before
    (tmp_path / "file").write_text("x")
    assert quick("init", "file", cwd=tmp_path).code == 2
    (tmp_path / "other" / "data").mkdir(parents=True)
    (tmp_path / "other" / "data" / "mine.csv").write_text("x")
    assert quick("init", "other", cwd=tmp_path).code == 2
    assert quick("init", "file/inside", cwd=tmp_path).code == 2
    (tmp_path / "notes").mkdir()
    (tmp_path / "notes" / "todo.txt").write_text("x")
    assert quick("init", "notes", cwd=tmp_path).code == 0


# --- check --------------------------------------------------------------------------------------------


def test_check_of_the_sample_lab(cli, trained_lab):
    done = cli("check", cwd=trained_lab)
    assert (done.code, done.err) == (0, "")
    assert "50 profiles, 30 projects, 479 judgements" in done.out


def test_check_tells_everything_at_once(quick, lab):
    data = lab / "data"
    rows = (data / "profiles.csv").read_text("utf-8").splitlines()
    rows[2] = rows[2].replace("Ceph:3", "Ceph:9")
    rows[5] = rows[5].replace("S05;", "S04;", 1)
    rows.append("S60;Nul\0;LAC;pilote;;;CUDA:2;;300 %;hier;;;oui;")
    (data / "profiles.csv").write_text("\n".join(rows) + "\n", "utf-8")
    with (data / "judgements.csv").open("a", encoding="utf-8") as file:
        file.write("P99,S01,2\nP01,S01,7\n")
    (data / "feedback.jsonl").write_text("{nonsense}\n", "utf-8")
    found = {(p["file"], p["row"], p["column"]) for p in problems_of(quick("check", *CONTRACT, cwd=lab))}
    expected = {
        ("profiles.csv", 3, "compétences"),
        ("profiles.csv", 6, "id"),
        *(("profiles.csv", 52, c) for c in ("nom", "métier", "disponibilité", "disponible à partir de")),
        ("judgements.csv", 481, "project_id"),
        ("judgements.csv", 482, "grade"),
        ("feedback.jsonl", 1, None),
    }
    assert expected <= found
    told = quick("check", cwd=lab)
    assert (told.code, told.out) == (2, "")
    for place in ("profiles.csv:3", "profiles.csv:6", "profiles.csv:52", "judgements.csv:481", "feedback.jsonl:1"):
        assert place in told.err
    for column in ("place", "value", "problem", "remedy"):
        assert column in told.err
    # Nothing is trained from wrong data, and what answered goes on answering.
    before = current(lab)
    assert {(p["file"], p["row"]) for p in _problems(quick("train", cwd=lab))} >= {("profiles.csv", 3)}
    assert current(lab) == before


def _problems(done) -> list[dict]:
    """The problems of a command without JSON, read from its table."""
    assert (done.code, done.out) == (2, "")
    places = re.findall(r"(\w+\.csv):(\d+)", done.err)
    return [{"file": file, "row": int(row)} for file, row in places]


def test_check_with_warnings_only(quick, lab):
    data = lab / "data"
    with (data / "skills.csv").open("a", encoding="utf-8") as file:
        file.write("hublot,HUBLOT viewer,,,,,gpu-computin,no-such-thing,,\n")
    done = quick("check", cwd=lab)
    assert done.code == 0
    assert "7 skills" in done.out
    assert "gpu-computing?" in done.err
    told = json.loads(quick("check", *CONTRACT, cwd=lab).out)
    assert [(p["column"], p["value"]) for p in told["problems"]] == [
        ("broader", "gpu-computin"),
        ("related", "no-such-thing"),
    ]


def test_check_without_profiles(quick, lab):
    (lab / "data" / "profiles.csv").unlink()
    assert [p["file"] for p in problems_of(quick("check", *CONTRACT, cwd=lab))] == ["profiles.csv"]


def test_thousands_of_problems_are_cut_for_people(quick, lab):
    rows = "".join(f"X{n},S01,2\n" for n in range(500))
    (lab / "data" / "judgements.csv").write_text(f"project_id,profile_id,grade\n{rows}", "utf-8")
    done = quick("check", cwd=lab)
    assert "300 more" in done.err
    assert len(problems_of(quick("check", *CONTRACT, cwd=lab))) == 500


# --- train and models ---------------------------------------------------------------------------------


def test_train_again(quick, lab):
    before = current(lab)
    dry = quick("train", "--dry-run", cwd=lab)
    assert dry.code == 0
    assert "Nothing was written" in dry.out
    assert current(lab) == before
    path = lab / "data" / "profiles.csv"
    text = path.read_text("utf-8")
    path.write_text(text.replace("Tient un stand à la Fête de la science.", "Tient un stand."), "utf-8")
    done = quick("train", cwd=lab)
    assert done.code == 0, done.err
    assert current(lab) != before
    assert current(lab) in done.out
    assert re.search(r"embedded anew +1\b", done.out)
    assert "Reading claims and sentences (" in done.err
    quiet = quick("-q", "train", cwd=lab)
    assert (quiet.code, quiet.err) == (0, "")


def test_train_with_an_encoder_that_is_not_there(quick, lab):
    done = quick("train", "--encoder", "no/such/encoder", cwd=lab)
    assert done.code == 2
    assert "no/such/encoder" in done.err
    assert "Traceback" not in done.err


def test_not_promoted_is_exit_5(lab, monkeypatch, capsys):
    def worse(*_, **given):
        assert given["force"] is False
        return Report("v2", False, "worse than v1", 48, 456, 3, False, "shipped", None, "v1")

    monkeypatch.chdir(lab)
    monkeypatch.setattr(training, "train", worse)
    assert application.run(["train"]) == 5
    out, err = capsys.readouterr()
    assert "worse than v1" in out
    assert "models promote v2" in err


def test_models(quick, lab):
    first = current(lab)
    path = lab / "data" / "profiles.csv"
    path.write_text(path.read_text("utf-8").replace("Teaches the in-house course", "Gave the course"), "utf-8")
    assert quick("train", cwd=lab).code == 0
    second = current(lab)
    listed = json.loads(quick("models", "list", *CONTRACT, cwd=lab).out)
    assert [(v["version"], v["current"]) for v in listed] == [(first, False), (second, True)]
    assert listed[0]["people"] == 48
    table = quick("models", "list", cwd=lab)
    assert max(map(len, table.out.splitlines())) <= 80
    shown = json.loads(quick("models", "show", first, *CONTRACT, cwd=lab).out)
    assert (shown["version"], shown["current"], shown["encoder_name"]) == (first, False, "hashing")
    assert "people.json" in shown["files"]
    assert second in quick("models", "show", cwd=lab).out
    assert first in quick("models", "rollback", cwd=lab).out
    assert current(lab) == first
    assert quick("models", "rollback", cwd=lab).code == 2
    assert quick("models", "promote", second, cwd=lab).code == 0
    assert current(lab) == second
    wrong = quick("models", "promote", "v000", *CONTRACT, cwd=lab)
    assert wrong.code == 2
    assert quick("models", "promote", "../../etc", cwd=lab).code == 2
    assert first in quick("models", "prune", "--keep", "0", cwd=lab).out
    assert [p.name for p in (lab / "models" / "versions").iterdir()] == [second]
    assert quick("models", "prune", "--keep", "-1", cwd=lab).code == 2


def test_models_where_there_is_none(quick, tmp_path):
    quick("init", tmp_path / "new", cwd=tmp_path)
    done = quick("models", "list", cwd=tmp_path / "new")
    assert (done.code, done.err) == (0, "")
    assert "skillmatch train" in done.out
    assert json.loads(quick("models", "list", *CONTRACT, cwd=tmp_path / "new").out) == []
    assert quick("models", "show", cwd=tmp_path / "new").code == 3
    assert quick("models", "rollback", cwd=tmp_path / "new").code == 2


def test_evaluate(quick, trained_lab, tmp_path):
    done = quick("evaluate", *CONTRACT, cwd=trained_lab)
    told = json.loads(done.out)
    assert done.code == 0, done.err
    assert told["projects"] == 30
    every = told["groups"]["all"]
    assert {"ndcg@5", "map", "recall@5", "mrr", "need coverage"} == set(every)
    for interval in every.values():
        assert 0 <= interval["low"] <= interval["mean"] <= interval["high"] <= 1
    assert every["ndcg@5"]["mean"] > 0.5
    assert 0 <= told["calibration"]["ece"] <= 1
    table = quick("evaluate", "--model", current(trained_lab), cwd=trained_lab)
    assert "ndcg@5" in table.out
    assert "Are its percentages true?" in table.out
    few = tmp_path / "few.csv"
    few.write_text("project_id,profile_id,grade\nP01,S07,3\nP01,S11,0\n", "utf-8")
    told = json.loads(quick("evaluate", "--judgements", few, *CONTRACT, cwd=trained_lab).out)
    assert (told["projects"], told["groups"]["all"]["mrr"]["count"]) == (1, 1)
    few.write_text("project_id,profile_id,grade\nP01,S07,many\n", "utf-8")
    bad = quick("evaluate", "--judgements", few, *CONTRACT, cwd=trained_lab)
    assert [(p["row"], p["column"]) for p in problems_of(bad)] == [(2, "grade")]
    few.write_text("project_id,profile_id,grade\nX,S07,1\n", "utf-8")
    assert quick("evaluate", "--judgements", few, cwd=trained_lab).code == 2
    assert quick("evaluate", "--model", "v000", cwd=trained_lab).code == 2


# --- skills -------------------------------------------------------------------------------------------


def test_skills_list_and_show(quick, trained_lab, tmp_path):
    rows = list(csv.DictReader(io.StringIO(quick("skills", "list", "--format", "csv", cwd=trained_lab).out)))
    assert len(rows) > 200
    assert {"narvik", "gpu-computing"} <= {row["id"] for row in rows}
    online = json.loads(quick("skills", "list", "--family", "online", *CONTRACT, cwd=trained_lab).out)
    assert 0 < len(online) < len(rows)
    assert all("online" in row["families"] for row in online)
    assert quick("skills", "list", "--family", "boss", cwd=trained_lab).code == 2
    shown = json.loads(quick("skills", "show", "gpu-computing", *CONTRACT, cwd=trained_lab).out)
    assert "cuda" in shown["related"]
    assert shown["id"] in quick("skills", "show", "calcul sur carte graphique", cwd=trained_lab).out
    wrong = quick("skills", "show", "gpu-computin", cwd=trained_lab)
    assert wrong.code == 2
    assert "gpu-computing" in wrong.err
    # The shipped skills are known outside of a workspace, too.
    assert "narvik" not in quick("skills", "list", "--format", "csv", cwd=tmp_path).out
    assert quick("skills", "show", "gpu-computing", cwd=tmp_path).code == 0


def test_skills_search(quick, trained_lab, tmp_path):
    done = quick("skills", "search", "porter un code sur GPU", "--top", "3", "--format", "jsonl", cwd=trained_lab)
    assert done.code == 0, done.err
    linked = valid(done.out, "skills")
    scores = [s["score"] for s in linked["skills"]]
    assert 1 <= len(scores) <= 3
    assert scores == sorted(scores, reverse=True)
    assert "gpu-computing" in {s["id"] for s in linked["skills"]}
    file = tmp_path / "texts.txt"
    file.write_bytes("Déployer Ceph\n\nmodule NARVIK\nvin rouge\n".encode("cp1252"))
    lines = quick("skills", "search", "--file", file, "--format", "jsonl", cwd=trained_lab).out.splitlines()
    entries = [valid(line, "skills") for line in lines]
    assert [e["text"] for e in entries] == ["Déployer Ceph", "module NARVIK", "vin rouge"]
    narvik = next(s for s in entries[1]["skills"] if s["id"] == "narvik")
    assert narvik["source"] == "lab"
    assert 3 < len(entries[0]["skills"]) <= 10
    assert json.loads(quick("skills", "search", "--file", file, *CONTRACT, cwd=trained_lab).out) == entries
    assert "Ceph" in quick("skills", "search", "Ceph", cwd=trained_lab).out
    for wrong in ((), ("x", "--file", file), ("",), ("--file", "none.txt"), ("x", "--top", "0")):
        assert quick("skills", "search", *wrong, cwd=trained_lab).code == 2


# --- profiles -----------------------------------------------------------------------------------------


def test_profiles_show(quick, lab):
    quick("feedback", "add", "P03", "S07", "accepted", "--note", "venue en mars", cwd=lab)
    told = json.loads(quick("profiles", "show", "S07", *CONTRACT, cwd=lab).out)
    record = next(p for p in read_profiles(lab / "data" / "profiles.csv")[0] if p.id == "S07")
    assert told["profile"]["name"] == record.name
    assert [i["text"] for i in told["items"]] == [
        *(s.name for s in record.skills),
        *(e.text for e in record.evidence),
    ]
    assert all(0 <= i["worth"] <= 1 and i["source"] == "profiles.csv:8" for i in told["items"])
    assert {"project_id": "P01", "profile_id": "S07", "grade": 3.0, "source": "judgements.csv:4"} in told["judgements"]
    assert [a["note"] for a in told["answers"]] == ["venue en mars"]
    table = quick("profiles", "show", "S07", cwd=lab)
    assert max(map(len, table.out.splitlines())) <= 80
    for said in (record.name, "profiles.csv:8", "P01", "venue en mars"):
        assert said in table.out
    wrong = quick("profiles", "show", "S7", cwd=lab)
    assert wrong.code == 2
    assert "S07" in wrong.err


def test_profiles_without_consent_are_not_in_a_version(quick, trained_lab):
    hidden = next(p for p in read_profiles(trained_lab / "data" / "profiles.csv")[0] if p.consent is False)
    told = json.loads(quick("profiles", "show", hidden.id, *CONTRACT, cwd=trained_lab).out)
    assert (told["in_model"], told["items"]) == (None, [])
    assert told["profile"]["id"] == hidden.id
    assert "holds nothing" in quick("profiles", "show", hidden.id, cwd=trained_lab).out


@pytest.mark.parametrize("suffix", ["jsonl", "csv", "json", "xlsx"])
def test_exported_profiles_are_read_back_the_same(quick, trained_lab, tmp_path, suffix):
    out = tmp_path / f"profiles.{suffix}"
    assert quick("profiles", "export", "--out", out, cwd=trained_lab).code == 0
    before, _ = read_profiles(trained_lab / "data" / "profiles.csv")
    after, problems = read_profiles(out)
    assert problems == []
    assert [content_hash(p) for p in after] == [content_hash(p) for p in before]


def test_profiles_are_exported_as_lines(cli, trained_lab):
    lines = cli("profiles", "export", cwd=trained_lab).out.splitlines()
    assert [json.loads(line)["id"] for line in lines] == [f"S{n:02}" for n in range(1, 51)]


# --- feedback -----------------------------------------------------------------------------------------


def test_feedback(quick, lab):
    assert quick("feedback", "list", *CONTRACT, cwd=lab).out == "[]\n"
    done = quick("feedback", "add", "P03", "S07", "declined", "--reason", "workload", "--note", "en mai", cwd=lab)
    assert done.code == 0
    listed = json.loads(quick("feedback", "list", *CONTRACT, cwd=lab).out)
    assert [(a["project"], a["profile"], a["answer"], a["reason"], a["note"]) for a in listed] == [
        ("P03", "S07", "declined", "workload", "en mai")
    ]
    assert listed[0]["model"] == current(lab)
    table = quick("feedback", "list", cwd=lab)
    assert max(map(len, table.out.splitlines())) <= 80
    for wrong in (
        ("P99", "S07", "accepted"),
        ("P03", "S99", "accepted"),
        ("P03", "S07", "perhaps"),
        ("P03", "S07", "accepted", "--reason", "skill"),
        ("P03", "S07"),
    ):
        assert quick("feedback", "add", *wrong, cwd=lab).code == 2
    assert len(json.loads(quick("feedback", "list", *CONTRACT, cwd=lab).out)) == 1


def test_feedback_import(quick, lab):
    table = lab / "réponses.csv"
    table.write_text("projet;profil;réponse;motif\nP01;S07;accepté;\nP01;S11;refusé;charge\n", "cp1252")
    assert "2 of 2" in quick("feedback", "import", table, cwd=lab).out
    assert "0 of 2" in quick("feedback", "import", table, cwd=lab).out
    listed = json.loads(quick("feedback", "list", *CONTRACT, cwd=lab).out)
    assert [(a["profile"], a["answer"], a["reason"]) for a in listed] == [
        ("S07", "accepted", ""),
        ("S11", "declined", "workload"),
    ]
    table.write_text("projet;profil;réponse\nP01;S07;bof\n;S07;oui\n", "utf-8")
    wrong = quick("feedback", "import", table, cwd=lab)
    assert wrong.code == 2
    for place in (f"{table.name}:2", f"{table.name}:3"):
        assert place in wrong.err
    assert len(json.loads(quick("feedback", "list", *CONTRACT, cwd=lab).out)) == 2
    assert quick("feedback", "import", "none.csv", cwd=lab).code == 2


# --- doctor -------------------------------------------------------------------------------------------


def facts(quick, where: Path) -> dict[str, str]:
    done = quick("doctor", *CONTRACT, cwd=where)
    assert done.code == 0, done.err
    return {row["what"]: (row["value"], row["to do"]) for row in json.loads(done.out)}


def test_doctor(quick, lab, tmp_path):
    told = facts(quick, lab)
    assert told["current version"] == (current(lab), "")
    assert told["numpy"][0][0].isdigit()
    assert told["setting encoder"][0] == "hashing (environment)"
    for what in ("new profiles", "changed profiles", "profiles gone"):
        assert told[what] == ("none", "")
    path = lab / "data" / "profiles.csv"
    rows = path.read_text("utf-8").splitlines()
    rows[1] = rows[1].replace("ROOT:4", "ROOT:5")
    del rows[3]
    rows.append("S99;New;LAC;asr;;;Ceph;;;;;;;")
    path.write_text("\n".join(rows) + "\n", "utf-8")
    told = facts(quick, lab)
    assert told["changed profiles"] == ("1: S01", "skillmatch train")
    assert told["new profiles"] == ("1: S99", "skillmatch train")
    assert told["profiles gone"] == ("1: S03", "skillmatch train")
    assert "S10" in told["out-of-date profiles"][0]
    assert max(map(len, quick("doctor", cwd=lab).out.splitlines())) <= 80
    assert facts(quick, tmp_path)["workspace"] == ("none here", "skillmatch init DIR")


def test_doctor_of_a_damaged_version(quick, lab):
    file = next((lab / "models" / "versions").glob("*/ranker.json"))
    file.parent.chmod(0o755)
    file.unlink()
    value, do = facts(quick, lab)["current version"]
    assert "ranker.json" in value
    assert "skillmatch train" in do


# --- words --------------------------------------------------------------------------------------------


def messages() -> set[str]:
    """What the command line says to people: constants given to ``tr``, ``say`` and ``Table``."""
    found = set()
    for path in Path(package.__file__).parent.glob("*.py"):
        for call in ast.walk(ast.parse(path.read_text("utf-8"))):
            if not isinstance(call, ast.Call):
                continue
            name = getattr(call.func, "attr", getattr(call.func, "id", ""))
            if name in ("tr", "say", "_tr"):
                found |= {a.value for a in call.args if isinstance(a, ast.Constant)}
            elif name == "Table" and call.args:
                parts = [call.args[0], *getattr(call.args[1], "elts", [])]
                found |= {p.value for p in parts if isinstance(p, ast.Constant)}
    return {m for m in found if re.search(r"[^\W\d_]{2}", re.sub(r"\{\w*\}", "", m))}


def test_every_message_is_translated():
    said = messages()
    assert len(said) > 50
    names = ("profiles", "projects", "error", "warning", *session._STAGES.values(), *PARTS)
    for message in sorted({*said, *names}):
        french = tr(message, "fr")
        assert message in catalogue("fr"), message
        assert set(re.findall(r"\{\w+\}", french)) == set(re.findall(r"\{\w+\}", message))


def test_french_in_every_command(quick, lab):
    quick("feedback", "add", "P03", "S07", "accepted", cwd=lab)
    for arguments, said in (
        (("check",), "Lu : 50 profils"),
        (("train", "--dry-run"), "essai à blanc"),
        (("evaluate",), "couverture"),
        (("models", "list"), "en service"),
        (("models", "show"), "Historique"),
        (("skills", "list"), "libellé français"),
        (("skills", "show", "gpu-computing"), "calcul sur GPU"),
        (("profiles", "show", "S07"), "disponibilité"),
        (("feedback", "list"), "réponse"),
        (("doctor",), "profils à mettre à jour"),
    ):
        done = quick("--lang", "fr", *arguments, cwd=lab)
        assert done.code == 0, done.err
        assert said in " ".join(done.out.split()), arguments
