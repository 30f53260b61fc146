"""skills: imported, listed, shown, searched, found wanting; in the toy workspace, through the command line."""

from __future__ import annotations

import csv
import io
import json
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from contract import CONTRACT, valid
from skillmatch.records import Evidence, SkillClaim
from skillmatch.runtime import load_settings
from skillmatch.taxonomy import Taxonomy
from skillmatch.training import train
from toy_world import people, taxonomy, write_workspace

LINES = ("--format", "jsonl")
ESCO = "http://data.europa.eu/esco/skill/"
#: address, English, French; the second is a toy trade.
SKILLS = (
    ("t1", "brew tea", "préparer le thé"),
    ("t2", "Ceph storage", "stockage sous Ceph"),
    ("t3", "tame lions", "dompter des lions"),
)


@pytest.fixture(scope="module", autouse=True)
def _toy() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Taxonomy, "shipped", classmethod(lambda cls: taxonomy()))
        yield


@pytest.fixture(scope="module")
def trained(tmp_path_factory) -> Path:
    """The toy workspace, trained; one person claims what no concept covers, and another may not be shown."""
    root = tmp_path_factory.mktemp("toy")
    crowd = people()
    tasks = ("disks", "users", "racks", "cables", "alarms", "tapes", "ports", "rooms", "fans", "keys", "logs", "pumps")
    zorglub = tuple(Evidence(f"Runs Zorglub for the {what}") for what in tasks)
    crowd[0] = replace(crowd[0], evidence=(*crowd[0].evidence, *zorglub))
    crowd[2] = replace(crowd[2], skills=(*crowd[2].skills, SkillClaim("Frobnicator", 3)))
    crowd[3] = replace(crowd[3], consent=False, evidence=(*crowd[3].evidence, Evidence("Secret Quuxbaz at night")))
    workspace = write_workspace(root, crowd)
    report = train(workspace, load_settings(workspace, environment={}))
    assert report.promoted
    return root


@pytest.fixture
def lab(trained, tmp_path) -> Path:
    root = tmp_path / "lab"
    shutil.copytree(trained, root)
    return root


@pytest.fixture
def esco(tmp_path) -> Path:
    """A small ESCO download in French and English."""
    folder = tmp_path / "esco"
    folder.mkdir()
    for place, lang in ((1, "en"), (2, "fr")):
        rows = "".join(f"{ESCO}{s[0]},{s[place]},released\n" for s in SKILLS)
        (folder / f"skills_{lang}.csv").write_text(f"conceptUri,preferredLabel,status\n{rows}", "utf-8")
    return folder


def searched(done) -> list[dict]:
    assert done.code == 0, done.err
    return [valid(line, "skills") for line in done.out.splitlines()]


def tree(root: Path) -> dict[str, bytes]:
    return {str(p.relative_to(root)): p.read_bytes() for p in sorted((root / "data").rglob("*.*")) if p.suffix}


# --- search -------------------------------------------------------------------------------------------


def test_search_a_text(quick, trained):
    done = quick("skills", "search", "Stockage CEPH", "--top", "3", *LINES, cwd=trained)
    (found,) = searched(done)
    assert found["text"] == "Stockage CEPH"
    assert len(found["skills"]) == 3
    assert found["skills"][0] == {
        "id": "ceph",
        "label": "Ceph storage",
        "label_fr": "stockage Ceph",
        "uri": "",
        "source": "skillmatch",
        "score": found["skills"][0]["score"],
    }
    assert found["skills"][0]["score"] > 0.9
    assert "Indexing" not in done.err  # training made the index
    assert "Ceph" in quick("skills", "search", "stockage Ceph", cwd=trained).out


def test_search_a_file_line_by_line_always_alike(quick, trained, tmp_path):
    file = tmp_path / "lines.txt"
    file.write_bytes("soudure\n\nune sauvegarde a été restaurée\n  GPU\n".encode("latin-1"))
    done = quick("skills", "search", "--file", file, *LINES, cwd=trained)
    found = searched(done)
    assert [f["text"] for f in found] == ["soudure", "une sauvegarde a été restaurée", "GPU"]
    assert [f["skills"][0]["id"] for f in found] == ["welding", "backup", "gpu"]
    assert all(len(f["skills"]) == 10 for f in found)
    assert quick("skills", "search", "--file", file, *LINES, cwd=trained).out == done.out
    assert json.loads(quick("skills", "search", "--file", file, *CONTRACT, cwd=trained).out) == found
    rows = list(
        csv.DictReader(io.StringIO(quick("skills", "search", "--file", file, "--format", "csv", cwd=trained).out))
    )
    assert len(rows) == 30


def test_top_gives_as_many_as_there_are(quick, trained):
    for top, given in ((1, 1), (7, 7), (100, len(taxonomy()))):
        (found,) = searched(quick("skills", "search", "réseau", "--top", top, *LINES, cwd=trained))
        assert len(found["skills"]) == given
        scores = [s["score"] for s in found["skills"]]
        assert scores == sorted(scores, reverse=True)


def test_search_says_what_is_missing(quick, trained, tmp_path):
    for wrong in ((), ("x", "--file", "y"), (" ",), ("x", "--top", "0"), ("--file", tmp_path / "nowhere.txt")):
        assert quick("skills", "search", *wrong, cwd=trained).code == 2
    empty = tmp_path / "empty"
    write_workspace(empty)
    done = quick("skills", "search", "x", cwd=empty)
    assert done.code == 3
    assert "skillmatch train" in done.err


# --- import -------------------------------------------------------------------------------------------


def test_an_import_is_searched_at_once_and_taken_back(quick, lab, esco):
    before = tree(lab)
    asked = ("skills", "search", "préparer du thé", "--top", "3", *LINES)
    unknown = quick(*asked, cwd=lab).out
    done = quick("skills", "import", "esco", esco, *CONTRACT, cwd=lab)
    assert done.code == 0, done.err
    told = valid(done.out, "import")
    counts = {k: told[k] for k in ("read", "skills", "new", "merged", "repeated", "left_out", "replaced")}
    assert counts == {"read": 6, "skills": 3, "new": 2, "merged": 1, "repeated": 0, "left_out": 0, "replaced": 0}
    assert (told["licence"], told["file"]) == ("CC BY 4.0", "data/taxonomies/esco.jsonl")
    assert told["examples"] == [{"label": "Ceph storage", "concept": "ceph"}]
    searched_now = quick(*asked, cwd=lab)
    assert "Indexing the names of skills" in searched_now.err
    (found,) = searched(searched_now)
    best = found["skills"][0]
    assert (best["label"], best["label_fr"]) == ("brew tea", "préparer le thé")
    assert (best["uri"], best["source"]) == (f"{ESCO}t1", "esco")
    assert "Indexing" not in quick(*asked, cwd=lab).err
    undone = quick("skills", "import", "esco", "--undo", *CONTRACT, cwd=lab)
    assert valid(undone.out, "undo") == {"schema": "skillmatch.undo/1", "kind": "esco", "left": 0}
    assert tree(lab) == before
    assert quick(*asked, cwd=lab).out == unknown


def test_a_known_skill_is_shown_under_its_published_address(quick, lab, esco):
    quick("skills", "import", "esco", esco, cwd=lab)
    for text in ("ceph STORAGE", "Stockage Ceph", "stockage sous Ceph"):
        (found,) = searched(quick("skills", "search", text, "--top", "100", *LINES, cwd=lab))
        assert found["skills"][0]["uri"] == f"{ESCO}t2"
        assert [s["label"] for s in found["skills"]].count("Ceph storage") == 1


def test_training_after_an_import_keeps_the_classes_and_indexes(quick, lab, esco):
    version = lab / "models" / "versions" / (lab / "models" / "CURRENT").read_text().strip()
    classes = json.loads((version / "concepts.json").read_text())
    caches = set((lab / "models" / "cache").glob("concepts-*"))
    quick("skills", "import", "esco", esco, cwd=lab)
    done = quick("train", cwd=lab)
    assert done.code == 0, done.err
    assert "Indexing the names of skills" in done.err
    version = lab / "models" / "versions" / (lab / "models" / "CURRENT").read_text().strip()
    assert json.loads((version / "concepts.json").read_text()) == classes
    assert set((lab / "models" / "cache").glob("concepts-*")) == caches  # the classifier was not fitted again
    assert "Indexing" not in quick("skills", "search", "tea", cwd=lab).err
    assert "nothing has changed" in quick("train", cwd=lab).out


def test_a_damaged_index_is_made_anew(quick, lab):
    (folder,) = (lab / "models" / "cache").glob("labels-*")
    asked = ("skills", "search", "réseau", *LINES)
    before = quick(*asked, cwd=lab).out
    (folder / "labels_entries.json").write_text("[]", "utf-8")
    done = quick(*asked, cwd=lab)
    assert (done.code, done.out) == (0, before)
    assert "Indexing" in done.err
    shutil.rmtree(folder)
    assert quick(*asked, cwd=lab).out == before


def test_suggest_does_not_open_the_index(quick, lab):
    asked = ("suggest", "stockage Ceph", *CONTRACT)
    before = quick(*asked, cwd=lab).out
    for folder in (lab / "models" / "cache").glob("labels-*"):
        shutil.rmtree(folder)
    done = quick(*asked, cwd=lab)
    assert (done.out, done.err) == (before, "")
    assert list((lab / "models" / "cache").glob("labels-*")) == []


def test_every_kind_through_the_command_line(quick, lab, tmp_path):
    (tmp_path / "referens.json").write_text('[{"id": "E1", "connaissances": ["Théorie du thé (notion)"]}]', "utf-8")
    (tmp_path / "rome.csv").write_text("Code OGR;Libellé compétence\n5;Dompter des lions\n", "cp1252")
    (tmp_path / "onet.txt").write_text("Example\tCommodity Title\nTea Timer Pro\tTimer software\n", "utf-8")
    (tmp_path / "own.csv").write_text("﻿label_en;label_fr\nice skating;patinage\n", "utf-8")
    for kind, file, query, label in (
        ("referens", "referens.json", "théorie du the", "Théorie du thé"),
        ("rome", "rome.csv", "Dompter des lions", "Dompter des lions"),
        ("onet", "onet.txt", "TEA TIMER PRO", "Tea Timer Pro"),
        ("csv", "own.csv", "Patinage", "ice skating"),
    ):
        done = quick("skills", "import", kind, tmp_path / file, cwd=lab)
        assert done.code == 0, done.err
        (found,) = searched(quick("skills", "search", query, *LINES, cwd=lab))
        assert (found["skills"][0]["label"], found["skills"][0]["source"]) == (label, kind)
        assert found["skills"][0]["label_fr"]
    kinds = [p.name for p in sorted((lab / "data" / "taxonomies").glob("*.jsonl"))]
    assert kinds == ["csv.jsonl", "onet.jsonl", "referens.jsonl", "rome.jsonl"]


def test_an_import_takes_the_place_of_the_one_before(quick, lab, tmp_path):
    (tmp_path / "a.csv").write_text("label_en\nice skating\n", "utf-8")
    (tmp_path / "b.csv").write_text("label_en\nice skating\nsnow shoes\n\n,\n", "utf-8")
    quick("skills", "import", "csv", tmp_path / "a.csv", cwd=lab)
    first = tree(lab)
    told = valid(quick("skills", "import", "csv", tmp_path / "b.csv", *CONTRACT, cwd=lab).out, "import")
    assert (told["skills"], told["replaced"]) == (2, 1)
    undone = quick("skills", "import", "csv", "--undo", cwd=lab)
    assert "the 1 skills of the import before are there again" in undone.out
    assert tree(lab) == first


def test_rows_left_out_are_told(quick, lab, tmp_path):
    (tmp_path / "a.csv").write_text("label_en,uri\nice skating,x\n,y\n", "utf-8")
    done = quick("skills", "import", "csv", tmp_path / "a.csv", cwd=lab)
    assert done.code == 0
    assert "a.csv:3" in done.err
    told = valid(quick("skills", "import", "csv", tmp_path / "a.csv", *CONTRACT, cwd=lab).out, "import")
    assert (told["left_out"], told["problems"][0]["row"]) == (1, 3)


@pytest.mark.parametrize("fmt", [(), CONTRACT])
def test_wrong_files_write_nothing(quick, lab, tmp_path, fmt):
    before = tree(lab)
    folder = tmp_path / "broken"
    folder.mkdir()
    for lang in ("en", "fr"):
        (folder / f"skills_{lang}.csv").write_text("a,b\n1,2\n", "utf-8")
    done = quick("skills", "import", "esco", folder, *fmt, cwd=lab)
    assert done.code == 2
    said = done.out if fmt else done.err
    assert "skills_en.csv" in said
    assert "skills_fr.csv" in said
    assert "Nothing was imported." in said
    if fmt:
        assert len(valid(done.out, "error")["error"]["problems"]) == 4
    for wrong in (
        ("isco", folder),
        ("esco", tmp_path / "nowhere"),
        ("rome", folder),
        ("esco",),
        ("esco", folder, "--undo"),
    ):
        assert quick("skills", "import", *wrong, *fmt, cwd=lab).code == 2
    assert quick("skills", "import", "esco", "--undo", *fmt, cwd=lab).code == 2
    assert tree(lab) == before
    assert not (lab / "data" / "taxonomies").exists()


def test_an_import_in_french(quick, lab, esco):
    done = quick("--lang", "fr", "skills", "import", "esco", esco, cwd=lab)
    assert "3 compétences importées" in done.out
    assert "réunies à des compétences connues" in done.out
    assert "Pour les utiliser" in done.err
    assert "Importation retirée" in quick("--lang", "fr", "skills", "import", "esco", "--undo", cwd=lab).out


# --- list, show ---------------------------------------------------------------------------------------


def test_list_and_show_know_what_was_imported(quick, lab, esco):
    quick("skills", "import", "esco", esco, cwd=lab)
    listed = quick("skills", "list", "--format", "csv", cwd=lab).out
    rows = {row["id"]: row for row in csv.DictReader(io.StringIO(listed))}
    assert len(rows) == len(taxonomy()) + 2
    assert (rows["esco-brew-tea"]["source"], rows["esco-brew-tea"]["licence"]) == ("esco", "CC BY 4.0")
    assert (rows["ceph"]["source"], rows["ceph"]["licence"]) == ("skillmatch, esco", "MIT, CC BY 4.0")
    assert rows["gpu"]["source"] == "skillmatch"
    for name in ("esco-brew-tea", f"{ESCO}t1", "préparer le THÉ"):
        shown = valid(quick("skills", "show", name, *CONTRACT, cwd=lab).out, "concept")
        assert (shown["id"], shown["licence"], shown["merged"]) == ("esco-brew-tea", "CC BY 4.0", [])
    for name in ("ceph", "esco-ceph-storage", f"{ESCO}t2", "stockage sous Ceph"):
        shown = valid(quick("skills", "show", name, *CONTRACT, cwd=lab).out, "concept")
        assert (shown["id"], shown["source"]) == ("ceph", "skillmatch")
        assert [(t["id"], t["licence"]) for t in shown["merged"]] == [("esco-ceph-storage", "CC BY 4.0")]
    assert "CC BY 4.0" in quick("skills", "show", "ceph", cwd=lab).out
    wrong = quick("skills", "show", "brew te", cwd=lab)
    assert wrong.code == 2
    assert "esco-brew-tea" in wrong.err


def test_what_the_shell_offers(lab, esco, quick):
    from types import SimpleNamespace

    from skillmatch.cli import complete

    quick("skills", "import", "esco", esco, cwd=lab)
    ctx = SimpleNamespace(find_root=lambda: SimpleNamespace(params={"workspace": str(lab)}))
    assert complete.known_skills(ctx, "esco-br") == [("esco-brew-tea", "brew tea")]
    assert complete.skills(ctx, "esco-br") == []
    assert complete.skills(ctx, "cep") == complete.known_skills(ctx, "cep") == [("ceph", "Ceph storage")]
    assert complete.kinds("r") == [("referens", ""), ("rome", "")]


# --- unmatched ----------------------------------------------------------------------------------------


def test_unmatched_words_most_frequent_first(quick, trained):
    found = valid(quick("skills", "unmatched", *CONTRACT, cwd=trained).out, "unmatched")["phrases"]
    counts = [p["count"] for p in found]
    assert counts == sorted(counts, reverse=True)
    assert (found[0]["words"], found[0]["count"]) == ("Zorglub", 12)
    assert "Zorglub" in found[0]["example"]
    assert found[0]["concept"] in taxonomy()
    words = {p["words"] for p in found}
    assert "Frobnicator" in words
    assert not any("Quuxbaz" in p["words"] + p["example"] for p in found)  # who may not be shown is not read
    for known in ("Ceph", "CUDA", "stockage Ceph", "Windows", "LAC", "Expert"):
        assert known not in words
    assert (
        quick("skills", "unmatched", *CONTRACT, cwd=trained).out
        == quick("skills", "unmatched", *CONTRACT, cwd=trained).out
    )


def test_unmatched_as_table_and_rows(quick, trained):
    rows = list(csv.DictReader(io.StringIO(quick("skills", "unmatched", "--format", "csv", cwd=trained).out)))
    assert list(rows[0]) == ["words", "count", "concept", "label", "label_fr", "example"]
    shown = quick("skills", "unmatched", "--top", "1", cwd=trained)
    assert "Zorglub" in shown.out
    assert "Frobnicator" not in shown.out
    assert "data/skills.csv" in shown.out
    assert "expressions" in quick("--lang", "fr", "skills", "unmatched", cwd=trained).out


def test_what_was_imported_or_added_is_matched(quick, lab, tmp_path):
    (tmp_path / "own.csv").write_text("label_en\nZorglub\n", "utf-8")
    quick("skills", "import", "csv", tmp_path / "own.csv", cwd=lab)
    (lab / "data" / "skills.csv").write_text("en\nFrobnicator\n", "utf-8")
    found = valid(quick("skills", "unmatched", *CONTRACT, cwd=lab).out, "unmatched")["phrases"]
    assert not {"Zorglub", "Frobnicator"} & {p["words"] for p in found}
