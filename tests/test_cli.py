"""The command line as its users meet it: questions and their answers, formats, errors, languages, signals."""

from __future__ import annotations

import csv
import io
import json
import os
import pty
import signal
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import jsonschema
import pytest

from conftest import cli_environment
from skillmatch import reports
from skillmatch.cli import run as application
from skillmatch.cli.session import Session
from skillmatch.sources import read_profiles

NEED = "tune our Ceph cluster and move virtual machines to Proxmox"
CONTRACT = ("--format", "json")


def valid(text: str, schema: str) -> dict:
    """The object of an output, once it keeps the contract."""
    found = json.loads(text)
    jsonschema.Draft202012Validator(reports.load_schema(f"skillmatch.{schema}/1")).validate(found)
    return found


def suggestion(done) -> dict:
    assert done.code == 0, done.err
    return valid(done.out, "suggestion")


def ids(answer: dict) -> list[str]:
    return [m["profile"]["id"] for m in answer["matches"]]


def ask(cli, lab, *arguments):
    return suggestion(cli("suggest", NEED, *arguments, *CONTRACT, cwd=lab))


@pytest.fixture(scope="module")
def everybody(cli, trained_lab) -> dict:
    """The answer with everyone in it."""
    return ask(cli, trained_lab, "--top", "all")


# --- suggest: what it says ----------------------------------------------------------------------------


def test_a_table_in_80_columns(cli, trained_lab):
    done = cli("suggest", NEED, "--from-lab", "LAC", "--top", "2", cwd=trained_lab)
    assert done.code == 0
    assert done.err == ""
    assert max(map(len, done.out.splitlines())) <= 80
    for said in ("Needs as understood", "n1", "Ceph", "People", "other lab", "profiles.csv:", "%"):
        assert said in done.out
    assert "\x1b" not in done.out


def test_the_contract(cli, trained_lab, everybody):
    answer = ask(cli, trained_lab)
    assert answer["project"]["id"] == "need"
    assert [m["rank"] for m in answer["matches"]] == list(range(1, len(answer["matches"]) + 1))
    assert 0 < len(answer["matches"]) <= 5
    assert answer["model"] == (trained_lab / "models" / "CURRENT").read_text().strip()
    assert ids(answer) == ids(everybody)[: len(answer["matches"])]
    assert not answer["abstained"]


def test_top_all_keeps_everyone(trained_lab, everybody):
    people, _ = read_profiles(trained_lab / "data" / "profiles.csv")
    free = [p.id for p in people if p.consent is not False and p.availability != 0]
    assert 40 < len(free) < len(people)
    assert sorted(ids(everybody)) == sorted(free)


def test_lines_rows_and_pages(cli, trained_lab):
    lines = cli("suggest", NEED, "--format", "jsonl", cwd=trained_lab)
    answer = valid(lines.out, "suggestion")
    assert lines.out.count("\n") == 1
    rows = list(csv.DictReader(io.StringIO(cli("suggest", NEED, "--format", "csv", cwd=trained_lab).out)))
    assert {row["profile_id"] for row in rows} == set(ids(answer))
    assert {row["need_id"] for row in rows} == {n["id"] for n in answer["project"]["needs"]}
    assert cli("suggest", NEED, "--format", "markdown", cwd=trained_lab).out.startswith("# ")
    assert "<html" in cli("suggest", NEED, "--format", "html", cwd=trained_lab).out


@pytest.mark.parametrize(
    ("name", "start"),
    [
        ("a.json", b"{"),
        ("a.jsonl", b'{"schema"'),
        ("a.csv", b"\xef\xbb\xbfproject_id,"),
        ("a.md", b"# "),
        ("a.html", b"<!"),
        ("a.xlsx", b"PK"),
        ("a.txt", b""),
    ],
)
def test_out_chooses_the_format_by_suffix(cli, trained_lab, tmp_path, name, start):
    done = cli("suggest", NEED, "--out", tmp_path / name, cwd=trained_lab)
    assert (done.code, done.out) == (0, "")
    assert name in done.err
    assert (tmp_path / name).read_bytes().startswith(start)
    assert [p.name for p in tmp_path.iterdir()] == [name]


def test_out_that_can_not_be(cli, trained_lab, tmp_path):
    for arguments, said in (
        (("--format", "csv", "--out", tmp_path / "a.json"), "disagree"),
        (("--out", tmp_path / "a.docx"), "suffix"),
        (("--out", tmp_path / "missing" / "a.json"), "can't be written"),
        (("--format", "xml"), "There is no format 'xml'"),
        (("--format", "xlsx"), "--out FILE.xlsx"),
    ):
        done = cli("suggest", NEED, *arguments, cwd=trained_lab)
        assert done.code == 2
        assert said in done.err
        assert done.out == ""


def test_abstains_honestly(cli, trained_lab):
    done = cli("suggest", NEED, "--min-score", "1", *CONTRACT, cwd=trained_lab)
    answer = suggestion(done)
    assert answer["abstained"]
    assert answer["matches"] == []
    assert [g["need"] for g in answer["gaps"]] == [n["id"] for n in answer["project"]["needs"]]
    table = cli("suggest", NEED, "--min-score", "1", cwd=trained_lab)
    assert table.code == 0
    assert "Nobody in these profiles covers" in table.out
    assert "Closest:" in table.out


# --- suggest: the filters -----------------------------------------------------------------------------


def lab_of(answer: dict) -> list[str]:
    return [m["profile"]["lab"] for m in answer["matches"]]


def test_other_labs_come_first(cli, trained_lab, everybody):
    answer = ask(cli, trained_lab, "--from-lab", "CSA", "--top", "all")
    assert sorted(ids(answer)) == sorted(ids(everybody))
    assert [m["cross_lab"] for m in answer["matches"]] == [lab != "CSA" for lab in lab_of(answer)]
    assert lab_of(answer)[-1] == "CSA"
    assert "CSA" not in lab_of(answer)[:20]
    assert {m["score"] for m in answer["matches"]} == {m["score"] for m in everybody["matches"]}


def test_top(cli, trained_lab, everybody):
    assert ids(ask(cli, trained_lab, "--top", "2")) == ids(everybody)[:2]
    for wrong in ("0", "-1", "2.5", "many", "", "٣"):
        done = cli("suggest", NEED, f"--top={wrong}", cwd=trained_lab)
        assert done.code == 2
        assert "--top all" in done.err


def test_lab_and_family(cli, trained_lab, everybody):
    some = ask(cli, trained_lab, "--lab", "IPO", "--lab", "GRM", "--family", "asr", "--top", "all")
    wanted = [
        m["profile"]["id"]
        for m in everybody["matches"]
        if m["profile"]["lab"] in ("IPO", "GRM") and m["profile"]["family"] == "asr"
    ]
    assert ids(some) == wanted
    assert wanted
    both = ask(cli, trained_lab, "--family", "asr", "--family", "online", "--top", "all")
    assert {m["profile"]["family"] for m in both["matches"]} == {"asr", "online"}
    for flag, wrong in (("--lab", "XYZ"), ("--from-lab", "XYZ"), ("--family", "boss")):
        done = cli("suggest", NEED, flag, wrong, cwd=trained_lab)
        assert done.code == 2
        assert wrong in done.err


def test_exclude(cli, trained_lab, everybody):
    first, second = ids(everybody)[:2]
    answer = ask(cli, trained_lab, "--exclude", first, "--exclude", second, "--top", "all")
    assert ids(answer) == ids(everybody)[2:]
    done = cli("suggest", NEED, "--exclude", "S999", cwd=trained_lab)
    assert done.code == 0
    assert "S999" in done.err


def test_must(cli, trained_lab, everybody):
    answer = ask(cli, trained_lab, "--must", "VHDL", "--top", "all")
    needs = {n["text"]: n for n in answer["project"]["needs"]}
    assert needs["VHDL"]["must"]
    assert 0 < len(ids(answer)) < len(ids(everybody))
    must = needs["VHDL"]["id"]
    for match in answer["matches"]:
        assert next(n for n in match["needs"] if n["need"] == must)["evidence"] is not None
    assert cli("suggest", NEED, "--must", " ", cwd=trained_lab).code == 2


def test_availability(cli, trained_lab, everybody):
    people = json.loads(next((trained_lab / "models" / "versions").glob("*/people.json")).read_text())
    from_later = {p["id"] for p in people if p["available_from"] and p["available_from"] > "2026-01-31"}
    assert from_later
    early = ask(cli, trained_lab, "--available-to", "31/01/2026", "--top", "all")
    assert set(ids(early)) == set(ids(everybody)) - from_later
    to_sooner = {p["id"] for p in people if p["available_to"] and p["available_to"] < "2039-01-01"}
    assert to_sooner
    late = ask(cli, trained_lab, "--available-from", "2039", "--top", "all")
    assert set(ids(late)) == set(ids(everybody)) - to_sooner
    for arguments in (
        ("--available-from", "soon"),
        ("--available-to", "2026-02-31"),
        ("--available-from", "2026-05-01", "--available-to", "2026-04-01"),
    ):
        done = cli("suggest", NEED, *arguments, cwd=trained_lab)
        assert done.code == 2
        assert "--available" in done.err


def test_min_score(cli, trained_lab, everybody):
    scores = [m["score"] for m in everybody["matches"]]
    bar = (scores[2] + scores[3]) / 2
    assert ids(ask(cli, trained_lab, "--min-score", repr(bar), "--top", "40")) == ids(everybody)[:3]
    for wrong in ("1.5", "-0.1", "nan", "inf", "x"):
        assert cli("suggest", NEED, f"--min-score={wrong}", cwd=trained_lab).code == 2
    done = cli("suggest", NEED, *CONTRACT, cwd=trained_lab, env={"SKILLMATCH_MIN_SCORE": repr(bar)})
    assert ids(suggestion(done)) == ids(everybody)[:3]


# --- suggest: where the need comes from ---------------------------------------------------------------


def test_standard_input_and_files(cli, trained_lab, tmp_path):
    text = "Déployer Ceph à l'échelle.\n\nÉcrire un pilote Linux."
    answer = suggestion(cli("suggest", text, *CONTRACT, cwd=trained_lab))
    assert len(answer["project"]["needs"]) == 2
    file = tmp_path / "need.txt"
    for encoding in ("utf-8", "utf-16", "cp1252"):
        file.write_bytes(text.encode(encoding))
        read = (
            cli("suggest", "--file", file, *CONTRACT, cwd=trained_lab),
            cli("suggest", "-", *CONTRACT, cwd=trained_lab, stdin=text.encode(encoding)),
            cli("suggest", "--file", "-", *CONTRACT, cwd=trained_lab, stdin=text.encode(encoding)),
        )
        for done in read:
            assert suggestion(done)["matches"] == answer["matches"]


def test_a_terminal_of_another_encoding(trained_lab):
    command = [sys.executable.encode(), b"-m", b"skillmatch", b"suggest", "Été à la ferme".encode("cp1252")]
    done = subprocess.run(
        [*command, b"--format", b"json"], cwd=trained_lab, env=cli_environment(), capture_output=True, timeout=60
    )
    answer = valid(done.stdout.decode(), "suggestion")
    assert answer["project"]["needs"][0]["text"] == "Été à la ferme"


def test_a_project_of_the_workspace(cli, trained_lab):
    answer = suggestion(cli("suggest", "--project", "P04", *CONTRACT, cwd=trained_lab))
    assert answer["project"]["id"] == "P04"
    assert [n["text"] for n in answer["project"]["needs"]] == ["OpenStack", "Kubernetes", "HTCondor", "Ansible"]
    assert [n["weight"] for n in answer["project"]["needs"]] == [3, 2, 2, 1]
    done = cli("suggest", "--project", "P4", cwd=trained_lab)
    assert done.code == 2
    assert "P04" in done.err


def test_a_project_whose_row_is_wrong(cli, lab):
    path = lab / "data" / "projects.csv"
    path.write_text(path.read_text("utf-8").replace(";01/10/2026;30/06/2027", ";01/10/2026;30/16/2027"), "utf-8")
    done = cli("suggest", "--project", "P04", *CONTRACT, cwd=lab)
    error = valid(done.out, "error")["error"]
    assert (done.code, error["code"]) == (2, "data")
    assert [(p["row"], p["column"], p["value"]) for p in error["problems"]] == [(5, "fin", "30/16/2027")]
    # The others are answered: their rows are sound.
    assert cli("suggest", "--project", "P05", cwd=lab).code == 0


@pytest.mark.parametrize(
    "arguments",
    [
        (NEED, "--project", "P01"),
        (NEED, "--file", "need.txt"),
        ("--project", "P01", "--file", "need.txt"),
        ("",),
        ("   \n",),
        ("x" * 30_000,),
        ("a\x07b",),
        ("--file", "missing.txt"),
        ("--file", "data"),
        ("--file", "models/CURRENT/x"),
        ("two", "texts"),
        ("--top", "3"),
    ],
)
def test_no_single_need(cli, trained_lab, arguments):
    done = cli("suggest", *arguments, *CONTRACT, cwd=trained_lab)
    assert done.code == 2
    assert valid(done.out, "error")["error"]["hint"]
    assert done.err == ""


def test_outdated_profiles_are_told(cli, trained_lab):
    done = cli("suggest", NEED, "--top", "all", cwd=trained_lab)
    assert "S10" in done.err
    assert "24 months" in done.err
    quiet = cli("-q", "suggest", NEED, "--top", "all", cwd=trained_lab)
    assert quiet.err == ""
    assert quiet.out == done.out


# --- batch --------------------------------------------------------------------------------------------


def test_batch_equals_suggest(cli, trained_lab):
    flags = ("--from-lab", "IPO", "--top", "all", "--must", "Linux", "--exclude", "S02", "--min-score", "0.2")
    done = cli("batch", "data/projects.csv", *flags, "--format", "jsonl", cwd=trained_lab)
    assert done.code == 0
    assert done.err == ""
    answers = {a["project"]["id"]: a for a in (valid(line, "suggestion") for line in done.out.splitlines())}
    assert list(answers) == [f"P{n:02}" for n in range(1, 31)]
    for name in ("P01", "P04", "P17", "P30"):
        alone = cli("suggest", "--project", name, *flags, *CONTRACT, cwd=trained_lab)
        assert suggestion(alone) == answers[name]


def test_batch_in_every_format(cli, trained_lab, tmp_path):
    few = tmp_path / "few.jsonl"
    few.write_text('{"id": "A", "title": "Ceph"}\n{"id": "B", "needs": "CUDA:3; Ansible!"}\n', "utf-8")
    table = cli("batch", few, "--top", "1", cwd=trained_lab)
    assert max(map(len, table.out.splitlines())) <= 80
    assert "A Ceph" in table.out
    answers = json.loads(cli("batch", few, *CONTRACT, cwd=trained_lab).out)
    assert [a["project"]["id"] for a in answers] == ["A", "B"]
    assert [n["must"] for n in answers[1]["project"]["needs"]] == [False, True]
    for name in ("a.csv", "a.xlsx", "a.md", "a.html", "a.json", "a.jsonl"):
        done = cli("batch", few, "--out", tmp_path / name, cwd=trained_lab)
        assert (done.code, done.out) == (0, "")
        assert (tmp_path / name).stat().st_size > 100
    assert len((tmp_path / "a.jsonl").read_text().splitlines()) == 2
    assert not list(tmp_path.glob(".*"))
    piped = cli("batch", few, "--format", "jsonl", "--out", "/dev/stdout", cwd=trained_lab)
    assert piped.out == (tmp_path / "a.jsonl").read_text()


def test_batch_of_a_bad_file(cli, trained_lab, tmp_path):
    bad = tmp_path / "bad.csv"
    bad.write_text("id;titre;début;fin\nA;Ceph;hier;\nA;GPU;;\nC;;;\n", "utf-8")
    done = cli("batch", bad, *CONTRACT, cwd=trained_lab)
    error = valid(done.out, "error")["error"]
    assert done.code == 2
    assert {p["row"] for p in error["problems"]} == {2, 3, 4}
    told = cli("batch", bad, cwd=trained_lab)
    assert (told.code, told.out) == (2, "")
    for place in ("bad.csv:2", "bad.csv:3", "bad.csv:4"):
        assert place in told.err
    assert cli("batch", tmp_path / "none.csv", cwd=trained_lab).code == 2
    empty = tmp_path / "empty.csv"
    empty.write_text("id;titre\n", "utf-8")
    done = cli("batch", empty, *CONTRACT, cwd=trained_lab)
    assert (done.code, json.loads(done.out)) == (0, [])
    assert "no rows" in done.err


def test_lines_are_written_as_they_come(capsys):
    seen = []

    def lines():
        for line in ("one\n", "two\n"):
            yield line
            seen.append(capsys.readouterr().out)

    Session().stream(lines(), None)
    assert seen == ["one\n", "two\n"]


def test_a_stream_that_fails_leaves_the_old_file(tmp_path):
    out = tmp_path / "a.jsonl"
    out.write_text("old\n")

    def lines():
        yield "new\n"
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        Session(quiet=True).stream(lines(), out)
    assert out.read_text() == "old\n"
    assert list(tmp_path.iterdir()) == [out]


# --- explain ------------------------------------------------------------------------------------------


def test_explain_adds_up(cli, trained_lab, everybody):
    project = suggestion(cli("suggest", "--project", "P03", "--top", "all", *CONTRACT, cwd=trained_lab))
    second = project["matches"][1]
    done = cli("explain", "P03", second["profile"]["id"], *CONTRACT, cwd=trained_lab)
    told = json.loads(done.out)
    assert (done.code, told["rank"], told["people"]) == (0, 2, len(project["matches"]))
    assert told["score"] == pytest.approx(second["score"])
    for need, shown in zip(told["needs"], second["needs"], strict=True):
        assert need["baseline"] + sum(need["parts"].values()) == pytest.approx(need["raw"], abs=1e-4)
        assert need["score"] == pytest.approx(shown["score"])
        assert (need["evidence"] or {}).get("text") == (shown["evidence"] or {}).get("text")
    assert told["better"]["id"] == project["matches"][0]["profile"]["id"]
    differences = [m["difference"] for m in told["missing"]]
    assert differences == sorted(differences, reverse=True)
    assert min(differences) > 0
    first = json.loads(cli("explain", "P03", ids(project)[0], *CONTRACT, cwd=trained_lab).out)
    assert (first["better"], first["missing"]) == (None, [])


def test_explain_for_people(cli, trained_lab):
    answer = suggestion(cli("suggest", "--project", "P03", "--top", "all", *CONTRACT, cwd=trained_lab))
    shown = [(m["profile"], n["evidence"]) for m in answer["matches"] for n in m["needs"] if n["evidence"]]
    for word, kinds in (("claimed", {"skill"}), ("evidenced", {"experience", "note", "bio"})):
        who, proof = next((who, proof) for who, proof in shown if proof["kind"] in kinds)
        done = cli("explain", "P03", who["id"], cwd=trained_lab)
        assert done.code == 0
        assert max(map(len, done.out.splitlines())) <= 80
        for said in (f"({who['id']}), {who['lab']}", "Rank", "Need by need", word, proof["source"], "baseline"):
            assert said in done.out
    text = cli("explain", "tune our Ceph cluster", "S02", cwd=trained_lab)
    assert text.out.startswith("Bastien OULARÉ (S02), LAC for this need")
    page = cli("explain", "P03", "S07", "--format", "markdown", cwd=trained_lab)
    assert "| id | need |" in page.out
    assert cli("explain", "P03", "S07", "--format", "csv", cwd=trained_lab).code == 2


def test_explain_who_is_not_free(cli, trained_lab):
    people = json.loads(next((trained_lab / "models" / "versions").glob("*/people.json")).read_text())
    away = next(p["id"] for p in people if p["availability"] == 0)
    told = json.loads(cli("explain", "P03", away, *CONTRACT, cwd=trained_lab).out)
    assert (told["free"], told["rank"]) == (False, None)
    assert told["needs"]
    assert "Not free" in cli("explain", "P03", away, cwd=trained_lab).out


def test_explain_of_nobody(cli, trained_lab):
    for arguments in (("P03", "S7"), ("P99", "S07"), ("Ceph", "S07"), ("P03",)):
        done = cli("explain", *arguments, *CONTRACT, cwd=trained_lab)
        assert done.code == 2
        assert valid(done.out, "error")["error"]["hint"]


# --- languages ----------------------------------------------------------------------------------------


def test_french(cli, trained_lab):
    for arguments, env in (
        (("--lang", "fr"), {}),
        ((), {"SKILLMATCH_LANG": "fr"}),
        ((), {"LC_ALL": "fr_FR.UTF-8"}),
    ):
        done = cli(*arguments, "suggest", NEED, "--from-lab", "LAC", "--top", "all", cwd=trained_lab, env=env)
        assert "Besoins compris" in done.out
        assert "autre labo" in done.out
        assert "non mis à jour" in done.err
    assert "Needs as understood" in cli("--lang", "en", "suggest", NEED, cwd=trained_lab, env=env).out
    assert "Besoin par besoin" in cli("--lang", "fr", "explain", "P03", "S07", cwd=trained_lab).out
    error = cli("--lang", "fr", "batch", "none.csv", cwd=trained_lab).err
    assert error.startswith("Erreur :")
    # Data is the same in every language.
    french = cli("--lang", "fr", "suggest", NEED, "--format", "csv", cwd=trained_lab).out
    assert french == cli("suggest", NEED, "--format", "csv", cwd=trained_lab).out


def test_the_language_of_the_settings(cli, lab):
    config = lab / "skillmatch.toml"
    config.write_text(config.read_text("utf-8") + 'lang = "fr"\n', "utf-8")
    assert "Besoins compris" in cli("suggest", NEED, cwd=lab).out
    assert "Needs as understood" in cli("--lang", "en", "suggest", NEED, cwd=lab).out
    config.write_text('lang = "de"\nunknown = 1\n', "utf-8")
    done = cli("suggest", NEED, *CONTRACT, cwd=lab)
    assert done.code == 2
    assert {p["column"] for p in valid(done.out, "error")["error"]["problems"]} == {"lang", "unknown"}


# --- errors -------------------------------------------------------------------------------------------


def test_nothing_trained(cli, tmp_path):
    cli("init", tmp_path / "new", cwd=tmp_path)
    for command in (("suggest", NEED), ("batch", "data/projects.csv"), ("explain", "P01", "S01"), ("evaluate",)):
        done = cli(*command, *CONTRACT, cwd=tmp_path / "new")
        assert done.code == 3
        assert valid(done.out, "error")["error"]["code"] == "no-model"
        assert done.err == ""
    told = cli("suggest", NEED, cwd=tmp_path / "new")
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
    import random

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


def test_interrupted(cli, tmp_path):
    cli("init", tmp_path / "new", cwd=tmp_path)
    started = subprocess.Popen(
        [sys.executable, "-m", "skillmatch", "train"],
        cwd=tmp_path / "new",
        env=cli_environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
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


def modules_of(trained_lab, *arguments: str) -> set[str]:
    """The modules a command imported."""
    script = (
        "import sys\nfrom skillmatch.cli import main\ntry:\n    main()\n"
        "except SystemExit as end:\n    assert not end.code\n"
        "print('\\n'.join(sys.modules), file=sys.stderr)"
    )
    command = [sys.executable, "-c", script, *arguments]
    done = subprocess.run(command, cwd=trained_lab, env=cli_environment(), capture_output=True, check=True, timeout=60)
    return set(done.stderr.decode().split())


def test_help_imports_nothing_heavy(trained_lab):
    for arguments in (("--help",), ("suggest", "--help"), ("--version",)):
        seen = modules_of(trained_lab, *arguments)
        ours = {m for m in seen if m.startswith("skillmatch.") and not m.startswith("skillmatch.cli")}
        assert ours <= {"skillmatch._version", "skillmatch.errors"}
        assert not seen & {"numpy", "torch", "sklearn", "pandas", "onnxruntime", "pyarrow", "yaml", "rapidfuzz"}


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
