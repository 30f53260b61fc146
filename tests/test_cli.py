"""The questions people ask the command line: suggest, batch, explain; filters, formats, languages."""

from __future__ import annotations

import csv
import io
import json
import subprocess
import sys

import pytest

from conftest import cli_environment
from contract import CONTRACT, NEED, suggestion, valid
from skillmatch.cli.session import Session
from skillmatch.sources import read_profiles


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
    assert done.err.startswith("Tell what came of it, for instance: skillmatch feedback add")
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


def test_lines_rows_and_pages(quick, trained_lab):
    lines = quick("suggest", NEED, "--format", "jsonl", cwd=trained_lab)
    answer = valid(lines.out, "suggestion")
    assert lines.out.count("\n") == 1
    rows = list(csv.DictReader(io.StringIO(quick("suggest", NEED, "--format", "csv", cwd=trained_lab).out)))
    assert {row["profile_id"] for row in rows} == set(ids(answer))
    assert {row["need_id"] for row in rows} == {n["id"] for n in answer["project"]["needs"]}
    assert quick("suggest", NEED, "--format", "markdown", cwd=trained_lab).out.startswith("# ")
    assert "<html" in quick("suggest", NEED, "--format", "html", cwd=trained_lab).out


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
def test_out_chooses_the_format_by_suffix(quick, trained_lab, tmp_path, name, start):
    done = quick("suggest", NEED, "--out", tmp_path / name, cwd=trained_lab)
    assert (done.code, done.out) == (0, "")
    assert name in done.err
    assert (tmp_path / name).read_bytes().startswith(start)
    assert [p.name for p in tmp_path.iterdir()] == [name]


def test_out_that_can_not_be(quick, trained_lab, tmp_path):
    for arguments, said in (
        (("--format", "csv", "--out", tmp_path / "a.json"), "disagree"),
        (("--out", tmp_path / "a.docx"), "suffix"),
        (("--out", tmp_path / "missing" / "a.json"), "can't be written"),
        (("--format", "xml"), "There is no format 'xml'"),
        (("--format", "xlsx"), "--out FILE.xlsx"),
    ):
        done = quick("suggest", NEED, *arguments, cwd=trained_lab)
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


def test_top(quick, trained_lab, everybody):
    assert ids(ask(quick, trained_lab, "--top", "2")) == ids(everybody)[:2]
    for wrong in ("0", "-1", "2.5", "many", "", "٣"):
        done = quick("suggest", NEED, f"--top={wrong}", cwd=trained_lab)
        assert done.code == 2
        assert "--top all" in done.err


def test_lab_and_family(quick, trained_lab, everybody):
    some = ask(quick, trained_lab, "--lab", "IPO", "--lab", "GRM", "--family", "asr", "--top", "all")
    wanted = [
        m["profile"]["id"]
        for m in everybody["matches"]
        if m["profile"]["lab"] in ("IPO", "GRM") and m["profile"]["family"] == "asr"
    ]
    assert ids(some) == wanted
    assert wanted
    both = ask(quick, trained_lab, "--family", "asr", "--family", "online", "--top", "all")
    assert {m["profile"]["family"] for m in both["matches"]} == {"asr", "online"}
    for flag, wrong in (("--lab", "XYZ"), ("--from-lab", "XYZ"), ("--family", "boss")):
        done = quick("suggest", NEED, flag, wrong, cwd=trained_lab)
        assert done.code == 2
        assert wrong in done.err


def test_exclude(quick, trained_lab, everybody):
    first, second = ids(everybody)[:2]
    answer = ask(quick, trained_lab, "--exclude", first, "--exclude", second, "--top", "all")
    assert ids(answer) == ids(everybody)[2:]
    done = quick("suggest", NEED, "--exclude", "S999", cwd=trained_lab)
    assert done.code == 0
    assert "S999" in done.err


def test_must(quick, trained_lab, everybody):
    answer = ask(quick, trained_lab, "--must", "VHDL", "--top", "all")
    needs = {n["text"]: n for n in answer["project"]["needs"]}
    assert needs["VHDL"]["must"]
    assert 0 < len(ids(answer)) < len(ids(everybody))
    must = needs["VHDL"]["id"]
    for match in answer["matches"]:
        assert next(n for n in match["needs"] if n["need"] == must)["evidence"] is not None
    assert quick("suggest", NEED, "--must", " ", cwd=trained_lab).code == 2


def test_availability(quick, trained_lab, everybody):
    people = json.loads(next((trained_lab / "models" / "versions").glob("*/people.json")).read_text())
    from_later = {p["id"] for p in people if p["available_from"] and p["available_from"] > "2026-01-31"}
    assert from_later
    early = ask(quick, trained_lab, "--available-to", "31/01/2026", "--top", "all")
    assert set(ids(early)) == set(ids(everybody)) - from_later
    to_sooner = {p["id"] for p in people if p["available_to"] and p["available_to"] < "2039-01-01"}
    assert to_sooner
    late = ask(quick, trained_lab, "--available-from", "2039", "--top", "all")
    assert set(ids(late)) == set(ids(everybody)) - to_sooner
    for arguments in (
        ("--available-from", "soon"),
        ("--available-to", "2026-02-31"),
        ("--available-from", "2026-05-01", "--available-to", "2026-04-01"),
    ):
        done = quick("suggest", NEED, *arguments, cwd=trained_lab)
        assert done.code == 2
        assert "--available" in done.err


def test_min_score(quick, trained_lab, everybody):
    scores = [m["score"] for m in everybody["matches"]]
    bar = (scores[2] + scores[3]) / 2
    assert ids(ask(quick, trained_lab, "--min-score", repr(bar), "--top", "40")) == ids(everybody)[:3]
    for wrong in ("1.5", "-0.1", "nan", "inf", "x"):
        assert quick("suggest", NEED, f"--min-score={wrong}", cwd=trained_lab).code == 2
    done = quick("suggest", NEED, *CONTRACT, cwd=trained_lab, env={"SKILLMATCH_MIN_SCORE": repr(bar)})
    assert ids(suggestion(done)) == ids(everybody)[:3]


# --- suggest: where the need comes from ---------------------------------------------------------------


def test_standard_input_and_files(quick, trained_lab, tmp_path):
    text = "Déployer Ceph à l'échelle.\n\nÉcrire un pilote Linux."
    answer = suggestion(quick("suggest", text, *CONTRACT, cwd=trained_lab))
    assert len(answer["project"]["needs"]) == 2
    file = tmp_path / "need.txt"
    for encoding in ("utf-8", "utf-16", "cp1252"):
        file.write_bytes(text.encode(encoding))
        read = (
            quick("suggest", "--file", file, *CONTRACT, cwd=trained_lab),
            quick("suggest", "-", *CONTRACT, cwd=trained_lab, stdin=text.encode(encoding)),
            quick("suggest", "--file", "-", *CONTRACT, cwd=trained_lab, stdin=text.encode(encoding)),
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


def test_a_project_whose_row_is_wrong(quick, lab):
    path = lab / "data" / "projects.csv"
    path.write_text(path.read_text("utf-8").replace(";01/10/2026;30/06/2027", ";01/10/2026;30/16/2027"), "utf-8")
    done = quick("suggest", "--project", "P04", *CONTRACT, cwd=lab)
    error = valid(done.out, "error")["error"]
    assert (done.code, error["code"]) == (2, "data")
    assert [(p["row"], p["column"], p["value"]) for p in error["problems"]] == [(5, "fin", "30/16/2027")]
    # The others are answered: their rows are sound.
    assert quick("suggest", "--project", "P05", cwd=lab).code == 0


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
def test_no_single_need(quick, trained_lab, arguments):
    done = quick("suggest", *arguments, *CONTRACT, cwd=trained_lab)
    assert done.code == 2
    assert valid(done.out, "error")["error"]["hint"]
    assert done.err == ""


def test_outdated_profiles_are_told(quick, trained_lab):
    done = quick("suggest", NEED, "--top", "all", cwd=trained_lab)
    assert "S10" in done.err
    assert "24 months" in done.err
    quiet = quick("-q", "suggest", NEED, "--top", "all", cwd=trained_lab)
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


def test_batch_in_every_format(cli, quick, trained_lab, tmp_path):
    few = tmp_path / "few.jsonl"
    few.write_text('{"id": "A", "title": "Ceph"}\n{"id": "B", "needs": "CUDA:3; Ansible!"}\n', "utf-8")
    table = quick("batch", few, "--top", "1", cwd=trained_lab)
    assert max(map(len, table.out.splitlines())) <= 80
    assert "A Ceph" in table.out
    answers = json.loads(quick("batch", few, *CONTRACT, cwd=trained_lab).out)
    assert [a["project"]["id"] for a in answers] == ["A", "B"]
    assert [n["must"] for n in answers[1]["project"]["needs"]] == [False, True]
    for name in ("a.csv", "a.xlsx", "a.md", "a.html", "a.json", "a.jsonl"):
        done = quick("batch", few, "--out", tmp_path / name, cwd=trained_lab)
        assert (done.code, done.out) == (0, "")
        assert (tmp_path / name).stat().st_size > 100
    assert len((tmp_path / "a.jsonl").read_text().splitlines()) == 2
    assert not list(tmp_path.glob(".*"))
    piped = cli("batch", few, "--format", "jsonl", "--out", "/dev/stdout", cwd=trained_lab)
    assert piped.out == (tmp_path / "a.jsonl").read_text()


def test_batch_of_a_bad_file(quick, trained_lab, tmp_path):
    bad = tmp_path / "bad.csv"
    bad.write_text("id;titre;début;fin\nA;Ceph;hier;\nA;GPU;;\nC;;;\n", "utf-8")
    done = quick("batch", bad, *CONTRACT, cwd=trained_lab)
    error = valid(done.out, "error")["error"]
    assert done.code == 2
    assert {p["row"] for p in error["problems"]} == {2, 3, 4}
    told = quick("batch", bad, cwd=trained_lab)
    assert (told.code, told.out) == (2, "")
    for place in ("bad.csv:2", "bad.csv:3", "bad.csv:4"):
        assert place in told.err
    assert quick("batch", tmp_path / "none.csv", cwd=trained_lab).code == 2
    empty = tmp_path / "empty.csv"
    empty.write_text("id;titre\n", "utf-8")
    done = quick("batch", empty, *CONTRACT, cwd=trained_lab)
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


def test_explain_adds_up(quick, trained_lab, everybody):
    project = suggestion(quick("suggest", "--project", "P03", "--top", "all", *CONTRACT, cwd=trained_lab))
    second = project["matches"][1]
    done = quick("explain", "P03", second["profile"]["id"], *CONTRACT, cwd=trained_lab)
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
    first = json.loads(quick("explain", "P03", ids(project)[0], *CONTRACT, cwd=trained_lab).out)
    assert (first["better"], first["missing"]) == (None, [])


def test_explain_for_people(quick, trained_lab):
    answer = suggestion(quick("suggest", "--project", "P03", "--top", "all", *CONTRACT, cwd=trained_lab))
    shown = [(m["profile"], n["evidence"]) for m in answer["matches"] for n in m["needs"] if n["evidence"]]
    for word, kinds in (("claimed", {"skill"}), ("evidenced", {"experience", "note", "bio"})):
        who, proof = next((who, proof) for who, proof in shown if proof["kind"] in kinds)
        done = quick("explain", "P03", who["id"], cwd=trained_lab)
        assert done.code == 0
        assert max(map(len, done.out.splitlines())) <= 80
        for said in (f"({who['id']}), {who['lab']}", "Rank", "Need by need", word, proof["source"], "baseline"):
            assert said in done.out
    text = quick("explain", "tune our Ceph cluster", "S02", cwd=trained_lab)
    assert text.out.startswith("Bastien OULARÉ (S02), LAC for this need")
    page = quick("explain", "P03", "S07", "--format", "markdown", cwd=trained_lab)
    assert "| id | need |" in page.out
    assert quick("explain", "P03", "S07", "--format", "csv", cwd=trained_lab).code == 2


def test_explain_who_is_not_free(quick, trained_lab):
    people = json.loads(next((trained_lab / "models" / "versions").glob("*/people.json")).read_text())
    away = next(p["id"] for p in people if p["availability"] == 0)
    told = json.loads(quick("explain", "P03", away, *CONTRACT, cwd=trained_lab).out)
    assert (told["free"], told["rank"]) == (False, None)
    assert told["needs"]
    assert "Not free" in quick("explain", "P03", away, cwd=trained_lab).out


def test_explain_of_nobody(quick, trained_lab):
    for arguments in (("P03", "S7"), ("P99", "S07"), ("Ceph", "S07"), ("P03",)):
        done = quick("explain", *arguments, *CONTRACT, cwd=trained_lab)
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


def test_the_language_of_the_settings(quick, lab):
    config = lab / "skillmatch.toml"
    config.write_text(config.read_text("utf-8") + 'lang = "fr"\n', "utf-8")
    assert "Besoins compris" in quick("suggest", NEED, cwd=lab).out
    assert "Needs as understood" in quick("--lang", "en", "suggest", NEED, cwd=lab).out
    config.write_text('lang = "de"\nunknown = 1\n', "utf-8")
    done = quick("suggest", NEED, *CONTRACT, cwd=lab)
    assert done.code == 2
    assert {p["column"] for p in valid(done.out, "error")["error"]["problems"]} == {"lang", "unknown"}
