"""batch --assign, team and gaps at the command line, in the toy world."""

from __future__ import annotations

import csv
import io
import json
import subprocess
import sys
from pathlib import Path

import pytest

import toy_world as toy
from conftest import cli_environment
from contract import valid
from skillmatch.runtime import load_settings
from skillmatch.taxonomy import Taxonomy
from skillmatch.training import train

JSON = ("--format", "json")
PROJECTS = """id,title,lab,needs,size
A1,Storage farm,LAC,Ceph storage:3!; GPU computing:2,2
A2,Second storage,IPO,Ceph storage:3; backups:1,2
A3,Third storage,IPO,Ceph storage:2; relational databases,2
A4,Nets,LAC,machine learning:3; network administration; slow control,3
"""


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A trained toy workspace, and the list to assign beside it. Not to be changed."""
    root = tmp_path_factory.mktemp("plans") / "lab"
    people = toy.people()
    workspace = toy.write_workspace(root)
    rows = [toy.as_row(p) for p in people]
    for row in rows:
        if row["id"] == "E3":
            row["collaborators"] = ["E0"]
    (root / "data" / "profiles.json").write_text(json.dumps(rows), "utf-8")
    (root / "list.csv").write_text(PROJECTS, "utf-8")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Taxonomy, "shipped", classmethod(lambda cls: toy.taxonomy()))
        train(workspace, load_settings(workspace, environment={}))
    return root


@pytest.fixture
def assigned(quick, world):
    """The object of ``batch list.csv --assign`` with more arguments."""

    def ask(*arguments, code=0, file="list.csv"):
        done = quick("batch", world / file, "--assign", *arguments, *JSON, cwd=world)
        assert done.code == code, done.err
        return valid(done.out, "assignment")

    return ask


def team_of(answer: dict, project: str) -> set[str]:
    return {m["profile"] for p in answer["projects"] if p["project"] == project for m in p["members"]}


# --- batch --assign -----------------------------------------------------------------------------------


def test_the_whole_list_as_one_decision(assigned):
    answer = assigned("--per-project", "2", "--max-load", "1")
    assert [p["project"] for p in answer["projects"]] == ["A1", "A2", "A3", "A4"]
    assert all(len(p["members"]) <= 2 for p in answer["projects"])
    loads = [m["profile"] for p in answer["projects"] for m in p["members"]]
    assert len(loads) == len(set(loads))
    assert answer["loads"] == dict.fromkeys(sorted(loads), 1)
    assert answer["proven"]
    assert answer["gap"] == 0
    assert {p["rule"] for p in answer["prices"]} >= {"fairness"}
    for project in answer["projects"]:
        covered = {n["id"] for n in project["needs"] if n["score"] > 0}
        assert set(project["uncovered"]) == {n["id"] for n in project["needs"]} - covered
        assert {c for m in project["members"] for c in m["covers"]} == covered
        free = {a["profile"] for a in project["alternates"]}
        assert not free & set(loads)


def test_without_numbers_a_project_keeps_its_own_size(assigned):
    answer = assigned()
    assert {p["project"]: p["size"] for p in answer["projects"]} == {"A1": 2, "A2": 2, "A3": 2, "A4": 3}
    assert max(answer["loads"].values()) <= 2


def test_the_order_of_the_file_changes_nothing(assigned, world):
    head, *rows = PROJECTS.splitlines()
    (world / "shuffled.csv").write_text("\n".join([head, *rows[::-1]]) + "\n", "utf-8")
    assert assigned("--max-load", "1", file="shuffled.csv") == assigned("--max-load", "1")


def test_forced_and_forbidden_pairs(assigned, world):
    file = world / "pairs.csv"
    file.write_text("project_id,profile_id,rule\nA4,E9,forced\nA1,E1,forbidden\n", "utf-8")
    answer = assigned("--pairs", file)
    assert "E9" in team_of(answer, "A4")
    assert "E1" not in team_of(answer, "A1")
    assert {p["rule"] for p in answer["prices"]} >= {"forced", "forbidden"}
    beginner = world / "beginner.csv"
    beginner.write_text("project_id,profile_id,rule\nA4,B9,forced\n", "utf-8")
    assert "B9" in team_of(assigned("--pairs", beginner), "A4"), "who is forced needs not pass the bar"


def test_wrong_pairs_are_told_all_at_once(quick, world, tmp_path):
    file = tmp_path / "pairs.csv"
    file.write_text("project_id,profile_id,rule\nA9,E1,forced\nA1,Z9,maybe\nA1,E1,forced\nA1,E1,forbidden\n", "utf-8")
    done = quick("batch", world / "list.csv", "--assign", "--pairs", file, *JSON, cwd=world)
    assert done.code == 2
    problems = valid(done.out, "error")["error"]["problems"]
    assert [(p["row"], p["column"]) for p in problems] == [
        (2, "project_id"),
        (3, "profile_id"),
        (3, "rule"),
        (5, "rule"),
    ]


def test_what_can_not_be_met_is_named_and_the_rest_decided(quick, world):
    done = quick("batch", world / "list.csv", "--assign", "--per-project", "1", "--min-labs", "2", *JSON, cwd=world)
    assert done.code == 4
    answer = valid(done.out, "assignment")
    assert {(s["project"], s["kind"], s["hard"]) for s in answer["infeasible"]} >= {
        (p, "labs", True) for p in ("A1", "A2", "A3", "A4")
    }
    assert all(team_of(answer, p) for p in ("A1", "A2", "A3", "A4"))
    assert "A1, A2, A3, A4" in done.err
    told = quick("--lang", "fr", "batch", world / "list.csv", "--assign", "--per-project", "1", "--min-labs", "2",
                 cwd=world)  # fmt: skip
    assert told.code == 4
    assert "il faut des personnes de 2 labos" in " ".join(told.out.split())


def test_the_shortfall_of_a_skill(assigned, world):
    """Only one may be asked, and three projects must have them."""
    (world / "short.csv").write_text(
        "id,title,needs,size\n" + "".join(f"C{i},Storage {i},Ceph storage:3!,1\n" for i in range(3)), "utf-8"
    )
    others = [x for p in toy.people() if p.id != "E1" for x in ("--exclude", p.id)]
    answer = assigned(*others, "--max-load", "1", code=4, file="short.csv")
    short = [s for s in answer["infeasible"] if s["kind"] == "need"]
    assert len(short) == 2
    assert short[0]["people"] == ["E1"]
    assert short[0]["projects"] == ["C0", "C1", "C2"]
    assert short[0]["reason"] == "Ceph storage: 1 person, 3 projects; held by E1 alone"


def test_nobody_below_the_bar(assigned):
    answer = assigned("--min-score", "0.6")
    scores = [m["score"] for p in answer["projects"] for m in (*p["members"], *p["alternates"])]
    assert scores
    assert min(scores) >= 0.6
    nothing = assigned("--min-score", "1", code=4)  # A1 has a must-need
    assert {s["kind"] for s in nothing["infeasible"]} == {"nobody"}
    assert nothing["loads"] == {}


def test_new_links_turn_the_preference_round(assigned):
    """E3 of IPO works with E0 of LAC: preferred for LAC's projects, or, with --new-links, not."""
    plain, new = assigned("--max-load", "1"), assigned("--max-load", "1", "--new-links")

    def across(answer):
        return sum(m["cross_lab"] for p in answer["projects"] for m in p["members"])

    assert across(new) >= across(plain)
    assert new["objective"] > new["usefulness"]
    assert "preferred" in {p["rule"] for p in new["prices"]}


@pytest.mark.parametrize("suffix", [".txt", ".json", ".jsonl", ".csv", ".md", ".html", ".xlsx"])
def test_every_format(quick, world, tmp_path, suffix):
    for name, command in (
        ("plan", ("batch", world / "list.csv", "--assign")),
        ("team", ("team", "Ceph storage and backups")),
        ("gaps", ("gaps",)),
    ):
        out = tmp_path / f"{name}{suffix}"
        done = quick(*command, "--out", out, cwd=world)
        assert (done.code, done.out) == (0, ""), done.err
        if suffix in (".csv", ".md", ".html", ".txt"):
            assert "E1" in out.read_text("utf-8-sig")
        else:
            assert out.stat().st_size > 500


def test_rows_and_tables(quick, world):
    rows = list(csv.DictReader(io.StringIO(
        quick("batch", world / "list.csv", "--assign", "--format", "csv", cwd=world).out)))  # fmt: skip
    assert {r["role"] for r in rows} == {"member", "alternate"}
    assert {r["project_id"] for r in rows} == {"A1", "A2", "A3", "A4"}
    table = quick("batch", world / "list.csv", "--assign", "--min-labs", "2", cwd=world)
    for said in ("Who works on what", "Projects a person", "Proven", "What min-labs costs", "What fairness costs"):
        assert said in table.out
    french = quick("--lang", "fr", "batch", world / "list.csv", "--assign", cwd=world).out
    assert "Ce que coûte l’équité" in french


def test_flags_that_make_no_sense(quick, world):
    for arguments, said in (
        (("--per-project", "2"), "--per-project goes with --assign"),
        (("--new-links",), "--new-links goes with --assign"),
        (("--assign", "--per-project", "0"), "--per-project"),
        (("--assign", "--max-load", "none"), "--max-load"),
        (("--assign", "--pairs", "missing.csv"), "missing.csv"),
    ):
        done = quick("batch", world / "list.csv", *arguments, cwd=world)
        assert done.code == 2, done.out
        assert said in done.err
    twice = world / "twice.csv"
    twice.write_text("id,title\nA1,Ceph storage\nA1,backups\n", "utf-8")
    assert quick("batch", twice, "--assign", cwd=world).code == 2


# --- team ---------------------------------------------------------------------------------------------


def test_a_team(quick, world):
    done = quick("team", "Ceph storage, backups and welding", "--size", "3", *JSON, cwd=world)
    assert done.code == 0, done.err
    found = valid(done.out, "team")
    assert 1 <= len(found["members"]) <= 3
    assert found["coordinator"] in {m["profile"] for m in found["members"]}
    own = {m["profile"] for m in found["members"]}
    for member in found["members"]:
        assert member["profile"] not in member["if_no"]["instead"]
        assert member["gain"] >= -1e-9
    assert all(set(o["members"]) != own for o in found["others"])
    assert all(o["coverage"] <= found["coverage"] + 0.1 for o in found["others"])
    across = valid(
        quick("team", "Ceph storage, backups", "--size", "3", "--min-labs", "2", *JSON, cwd=world).out, "team"
    )
    assert len({m["lab"] for m in across["members"]}) == 2


def test_a_team_for_a_project(quick, world):
    done = quick("team", "--project", "P1e", "--size", "2", cwd=world)
    assert done.code == 0, done.err
    assert "Team for P1e" in done.out
    assert "E1" in done.out
    assert "Could coordinate" in done.out
    french = quick("--lang", "fr", "team", "--project", "P1e", cwd=world)
    assert "Équipe pour P1e" in french.out
    labs = quick("team", "--project", "P1e", "--size", "2", "--min-labs", "3", *JSON, cwd=world)
    assert labs.code == 4
    assert valid(labs.out, "team")["infeasible"][0]["reason"] == "people from 3 labs asked for, from 2 found"


def test_a_team_is_asked_for_in_one_way(quick, world):
    (world / "need.txt").write_text("Ceph storage", "utf-8")
    for arguments in (
        ("--size", "2"),
        ("storage", "--project", "P1e"),
        ("storage", "--file", "need.txt"),
        ("--project", "P1e", "--file", "-"),
    ):
        done = quick("team", *arguments, cwd=world)
        assert done.code == 2
        assert "exactly one way" in done.err


def test_a_team_for_what_a_file_or_standard_input_says(quick, world):
    said = "Stockage Ceph à exploiter,\net des sauvegardes"
    (world / "need.txt").write_text(said, "utf-8")
    (world / "latin.txt").write_bytes(said.encode("cp1252"))
    typed = valid(quick("team", said, *JSON, cwd=world).out, "team")
    assert {m["profile"] for m in typed["members"]} >= {toy.expert("ceph")}
    for arguments, stdin in (
        (("--file", "need.txt"), b""),
        (("--file", "latin.txt"), b""),
        (("-",), said.encode()),
        (("--file", "-"), said.encode()),
    ):
        done = quick("team", *arguments, *JSON, cwd=world, stdin=stdin)
        assert done.code == 0, done.err
        found = valid(done.out, "team")
        assert (found["members"], found["project"]["needs"]) == (typed["members"], typed["project"]["needs"])
    for arguments in (("--file", "missing.txt"), ("-",)):
        done = quick("team", *arguments, *JSON, cwd=world)
        assert done.code == 2, done.out


# --- gaps ---------------------------------------------------------------------------------------------


def test_gaps(quick, world):
    done = quick("gaps", *JSON, cwd=world)
    assert done.code == 0, done.err
    found = valid(done.out, "gaps")
    assert found["asked"] == len(toy.TRADES)
    for skill in found["skills"]:
        held = {"nobody": 0, "person": 1}.get(skill["held_by"])
        assert held is None or len(skill["holders"]) == held
        assert all(p["score"] >= found["bar"] for p in skill["holders"])
        assert all(p["score"] < found["bar"] for p in skill["closest"])
        labs = {p["lab"] for p in skill["holders"]}
        assert len(labs) <= 1
    held_by = {s["skill"]: [p["profile"] for p in s["holders"]] for s in found["skills"]}
    assert held_by["backup"] == [toy.expert("backup")]
    table = quick("--lang", "fr", "gaps", cwd=world)
    assert "une personne" in table.out


# --- how fast it starts -------------------------------------------------------------------------------


def test_help_imports_no_solver(world):
    script = (
        "import sys; from skillmatch.cli.run import run; run(sys.argv[1:]);"
        "sys.exit(any(m in sys.modules for m in ('scipy', 'pandas', 'numpy')))"
    )
    for command in (("--help",), ("team", "--help"), ("gaps", "--help"), ("batch", "--help")):
        done = subprocess.run(
            [sys.executable, "-c", script, *command], cwd=world, env=cli_environment(), capture_output=True, check=False
        )
        assert done.returncode == 0, done.stderr.decode()
