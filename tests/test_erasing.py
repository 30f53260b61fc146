"""What is held on a person, shown and taken away: ODS and other odd files, people known by answers alone."""

from __future__ import annotations

import json
import sqlite3
import zipfile
from pathlib import Path

import pytest

import toy_world as toy
from skillmatch import feedback
from skillmatch.encoders import CachedEncoder
from skillmatch.errors import UsageError
from skillmatch.sources import columns, read_profiles
from skillmatch.sources.removing import without_person
from skillmatch.taxonomy import Taxonomy
from test_sources import ods_cell, write_ods

EMPTY = '<table:table-cell table:number-columns-repeated="2"/>'


@pytest.fixture(autouse=True)
def _toy_taxonomy(monkeypatch):
    monkeypatch.setattr(Taxonomy, "shipped", classmethod(lambda cls: toy.taxonomy()))


def row(*cells: str) -> str:
    return f"<table:table-row>{''.join(c if c.startswith('<') else ods_cell(c) for c in cells)}</table:table-row>"


def content(path: Path) -> str:
    with zipfile.ZipFile(path) as archive:
        return archive.read("content.xml").decode()


def sheet(path: Path, *more: str) -> Path:
    """A, ZX81 and C; C has A and ZX81 for colleagues; below, the empty rows that fill a sheet."""
    number = '<table:table-cell office:value-type="float" office:value="12"><text:p>12</text:p></table:table-cell>'
    whole = ' office:string-value="A; ZX81"'
    rows = [
        row("id", "nom", "compétences", "collègues"),
        row("A", "Zoé &amp; Cie", "Ceph", '<table:table-cell table:formula="of:=[.A1]"/>'),
        row("ZX81", "Zéphyrine", "quuxage", EMPTY),
        row("C", EMPTY.replace('"2"', '"1"'), "CUDA", ods_cell("A; ZX81", whole)),
        row(number, "Douze", "Git", EMPTY),
        f'<table:table-row table:number-rows-repeated="1000">{EMPTY}</table:table-row>',
    ]
    return write_ods(path, "".join([*more, *rows]))


def test_an_ods_sheet_loses_one_person_and_keeps_every_other_byte(tmp_path):
    path = sheet(tmp_path / "profiles.ods")
    before = content(path)
    changed, rows = without_person(path, columns.PROFILES, "ZX81")
    assert rows == 1
    path.write_bytes(changed)
    expected = before.replace(row("ZX81", "Zéphyrine", "quuxage", EMPTY), "")
    expected = expected.replace(ods_cell("A; ZX81", ' office:string-value="A; ZX81"'), ods_cell("A"))
    assert content(path) == expected
    people, problems = read_profiles(path)
    assert [p.id for p in people] == ["A", "C", "12"]
    assert [p for p in problems if p.severity == "error"] == []
    assert without_person(path, columns.PROFILES, "ZX81") is None
    changed, rows = without_person(path, columns.PROFILES, "12")
    assert rows == 1, "a number is an id as well"


def test_an_ods_file_keeps_no_picture_nor_record_of_who_left(tmp_path):
    record = f"<table:tracked-changes>{row('ZX81', 'quuxage')}</table:tracked-changes>"
    path = sheet(tmp_path / "profiles.ods")
    with zipfile.ZipFile(path) as archive:
        members = {n: archive.read(n) for n in archive.namelist()}
    members["content.xml"] = members["content.xml"].replace(b"<table:table ", record.encode() + b"<table:table ", 1)
    entry = b'<manifest:file-entry manifest:full-path="Thumbnails/thumbnail.png" manifest:media-type="image/png"/>'
    members["META-INF/manifest.xml"] = members["META-INF/manifest.xml"].replace(b"</m", entry + b"</m")
    with zipfile.ZipFile(path, "w") as archive:
        for name, body in (members | {"Thumbnails/thumbnail.png": b"ZX81 as a picture", "styles.xml": b"<a/>"}).items():
            archive.writestr(name, body)
    changed, rows = without_person(path, columns.PROFILES, "ZX81")
    path.write_bytes(changed)
    with zipfile.ZipFile(path) as archive:
        left = {n: archive.read(n) for n in archive.namelist()}
    assert rows == 1
    assert set(left) == {"mimetype", "content.xml", "META-INF/manifest.xml", "styles.xml"}
    assert not any(b"ZX81" in body or b"Thumbnail" in body or b"quuxage" in body for body in left.values())
    assert [p.id for p in read_profiles(path)[0]] == ["A", "C", "12"]


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("profiles.ods", b"PK\x03\x04 no zip"),
        ("profiles.xlsx", b"PK\x03\x04 no zip"),
        ("profiles.yaml", b"{"),
        ("profiles.numbers", b"x"),
    ],
)
def test_a_file_that_can_not_be_rewritten_is_told(tmp_path, name, text):
    (tmp_path / name).write_bytes(text)
    with pytest.raises(UsageError, match="can't be rewritten") as caught:
        without_person(tmp_path / name, columns.PROFILES, "ZX81")
    assert "by hand" in caught.value.hint


def test_yaml_is_rewritten_by_the_parser_that_reads_it(tmp_path):
    """PyYAML's own one takes this question mark for a key."""
    path = tmp_path / "profiles.yaml"
    path.write_text("- id: A\n  skills: [Ceph, {name: G?t, level: 3}]\n- id: B\n  evidence: Oui.\n", "utf-8")
    changed, rows = without_person(path, columns.PROFILES, "B")
    path.write_bytes(changed)
    assert rows == 1
    assert [(p.id, p.skills[1].name) for p in read_profiles(path)[0]] == [("A", "G?t")]


def test_who_is_known_by_answers_alone_is_shown_and_nobody_is_asked_in_vain(quick, tmp_path):
    root = toy.write_workspace(tmp_path / "lab").root
    feedback.add(root / "data" / "feedback.jsonl", "P1f", "GONE", "accepted", note="long ago")
    feedback.add(root / "data" / "feedback.jsonl", "", "GONE", "accepted", question="tune our Ceph")
    shown = quick("profiles", "show", "GONE", "--format", "json", cwd=root)
    assert shown.code == 0
    assert [a["note"] for a in json.loads(shown.out)["answers"]] == ["long ago", ""]
    assert "tune our Ceph" in quick("profiles", "show", "GONE", cwd=root).out, "not the id that was made of it"
    assert "tune our Ceph" in quick("feedback", "list", cwd=root).out
    for command in (("show", "NOBODY"), ("forget", "NOBODY")):
        done = quick("profiles", *command, cwd=root)
        assert done.code == 2
        assert "NOBODY" in done.err
        assert "--yes" not in done.err, "nothing is there to be erased"


def test_it_is_told_which_versions_hold_somebody_and_who_names_them(quick, tmp_path):
    root = toy.write_workspace(tmp_path / "lab").root
    rows = json.loads((root / "data" / "profiles.json").read_text("utf-8"))
    rows[0]["collaborators"] = ["E3"]
    (root / "data" / "profiles.json").write_text(json.dumps(rows), "utf-8")
    assert quick("train", cwd=root).code == 0
    told = json.loads(quick("profiles", "show", "E3", "--format", "json", cwd=root).out)
    assert told["versions"] == [told["model"]]
    assert told["colleague_of"] == [rows[0]["id"]]
    assert told["model"] in quick("profiles", "show", "E3", cwd=root).out


def test_a_cache_that_can_not_be_rewritten_goes_whole(quick, tmp_path, monkeypatch):
    """As on a full disk: a vector of theirs must not stay because there is no room to take it out."""
    root = toy.write_workspace(tmp_path / "lab").root
    assert quick("train", cwd=root).code == 0
    (cache,) = (root / "models" / "cache").glob("*.sqlite")

    def full(self, texts):
        raise sqlite3.OperationalError("database or disk is full")

    with monkeypatch.context() as patch:
        patch.setattr(CachedEncoder, "keep", full)
        assert quick("profiles", "forget", "E3", "--yes", cwd=root).code == 0
    assert not cache.exists()
    assert quick("suggest", "Ceph", cwd=root).code == 0
    assert quick("train", cwd=root).code == 0


def test_a_dry_run_does_without_a_cache_that_can_not_be_read(quick, tmp_path):
    root = toy.write_workspace(tmp_path / "lab").root
    assert quick("train", cwd=root).code == 0
    (cache,) = (root / "models" / "cache").glob("*.sqlite")
    cache.write_bytes(b"no database")
    done = quick("train", "--dry-run", cwd=root)
    assert (done.code, "dry run" in done.out) == (0, True)
    assert cache.read_bytes() == b"no database"
