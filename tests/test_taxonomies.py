"""Taxonomies that others publish: read in their publishers' layouts, merged without duplicates, kept, taken back."""

from __future__ import annotations

import csv
import hashlib
import io
import json
from collections.abc import Sequence
from pathlib import Path

import pytest

from skillmatch.errors import DataError, UsageError
from skillmatch.taxonomy import Concept, Taxonomy
from skillmatch.taxonomy.imports import LICENCES, Download, read_taxonomy
from skillmatch.taxonomy.known import everything
from skillmatch.taxonomy.merging import merge, read_imports, remove_import, write_import

ESCO_COLUMNS = (
    *("conceptType", "conceptUri", "skillType", "reuseLevel", "preferredLabel", "altLabels", "hiddenLabels"),
    *("status", "modifiedDate", "scopeNote", "definition", "inScheme", "description"),
)
BASE = "http://data.europa.eu/esco/skill/"
#: address, then label and alternative labels in English, French and German
SKILLS = (
    ("a1", ("brew tea", "prepare tea\nmake tea"), ("préparer le thé", "faire du thé"), ("Tee zubereiten", "")),
    ("b2", ("lay bricks", ""), ("poser des briques", ""), ("mauern", "Ziegel legen")),
    ("c3", ("Ceph storage", "Ceph clusters"), ("stockage Ceph", ""), ("Ceph-Speicher", "")),
)


def table(
    path: Path, rows: list[dict[str, str]], columns: Sequence[str] | None = None, encoding: str = "utf-8"
) -> Path:
    """A CSV file as a publisher would write it."""
    out = io.StringIO()
    writer = csv.DictWriter(out, columns or list(rows[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(out.getvalue().encode(encoding))
    return path


def esco(folder: Path, langs: str = "en fr", encoding: str = "utf-8") -> Path:
    """A small ESCO download."""
    for place, lang in enumerate(("en", "fr", "de"), start=1):
        if lang in langs.split():
            rows = [
                {
                    "conceptType": "KnowledgeSkillCompetence",
                    "conceptUri": BASE + s[0],
                    "preferredLabel": s[place][0],
                    "altLabels": s[place][1],
                    "status": "released",
                    "description": f"{s[place][0]}, described",
                }
                for s in SKILLS
            ]
            table(folder / f"skills_{lang}.csv", rows, ESCO_COLUMNS, encoding)
    return folder


def by_label(download: Download) -> dict[str, Concept]:
    return {c.label_en or c.label_fr: c for c in download.concepts}


# --- readers ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "cp1252"])
def test_esco_is_joined_by_address(tmp_path, encoding):
    read = read_taxonomy("esco", esco(tmp_path / "esco", "fr en", encoding))
    assert (read.kind, read.licence, read.rows, read.repeated) == ("esco", "CC BY 4.0", 6, 0)
    assert [f.name for f in read.files] == ["skills_en.csv", "skills_fr.csv"]
    tea = by_label(read)["brew tea"]
    assert tea == Concept(
        id="esco-brew-tea",
        label_en="brew tea",
        label_fr="préparer le thé",
        aliases_en=("prepare tea", "make tea"),
        aliases_fr=("faire du thé",),
        definition_en="brew tea, described",
        definition_fr="préparer le thé, described",
        uri=BASE + "a1",
        source="esco",
        licence="CC BY 4.0",
    )
    digest = hashlib.sha256((tmp_path / "esco" / "skills_en.csv").read_bytes()).hexdigest()
    assert read.files[0].sha256 == digest


def test_esco_in_other_languages(tmp_path):
    only_german = read_taxonomy("esco", esco(tmp_path / "de", "de"))
    assert by_label(only_german)["mauern"].names == ("Ziegel legen",)
    with_german = read_taxonomy("esco", esco(tmp_path / "all", "de fr en"))
    assert by_label(with_german)["lay bricks"].names == ("mauern", "Ziegel legen")
    assert by_label(with_german)["lay bricks"].label_fr == "poser des briques"
    one_file = read_taxonomy("esco", tmp_path / "all" / "skills_fr.csv")
    assert by_label(one_file)["poser des briques"].label_en == ""


def test_esco_relations_and_what_is_obsolete(tmp_path):
    folder = esco(tmp_path)
    rows = [{"conceptUri": BASE + "c3", "broaderUri": BASE + "b2"}, {"conceptUri": BASE + "c3", "broaderUri": "group"}]
    table(folder / "broaderRelationsSkillPillar_en.csv", rows)
    rows = [{"originalSkillUri": BASE + "a1", "relationType": "optional", "relatedSkillUri": BASE + "b2"}]
    table(folder / "skillSkillRelations_en.csv", rows)
    read = by_label(read_taxonomy("esco", folder))
    assert read["Ceph storage"].broader == ("esco-lay-bricks",)
    assert read["brew tea"].related == ("esco-lay-bricks",)
    text = (folder / "skills_en.csv").read_text("utf-8")
    (folder / "skills_en.csv").write_text(text.replace("released", "obsolete"), "utf-8")
    assert "brew tea" not in by_label(read_taxonomy("esco", folder))


def test_referens(tmp_path):
    rows = [
        {
            "id": "E1",
            "connaissances": ["Méthodologie de tests (connaissance approfondie)", "Anglais"],
            "competences_operationnelles": ["Rédiger une documentation"],
            "definitions": {"Anglais": "Langue (source : X)", "Rédiger une documentation": "Définition non nécessaire"},
        },
        {"id": "E2", "connaissances": ["Méthodologie de tests (notion)"], "competences_comportementales": ["Rigueur"]},
    ]
    (tmp_path / "r.jsonl").write_text("".join(json.dumps(r, ensure_ascii=False) + "\n" for r in rows), "utf-8")
    read = read_taxonomy("referens", tmp_path / "r.jsonl")
    assert list(by_label(read)) == ["Méthodologie de tests", "Anglais", "Rédiger une documentation", "Rigueur"]
    assert (read.rows, read.repeated) == (2, 1)
    assert by_label(read)["Anglais"].definition_fr == "Langue"
    assert by_label(read)["Rédiger une documentation"].definition_fr == ""
    assert {c.licence for c in read.concepts} == {"Licence Ouverte 2.0"}
    assert by_label(read)["Rigueur"].id == "referens-rigueur"


def test_rome_with_french_columns_in_latin_1(tmp_path):
    rows = ("M1801;101;Métrologie", "M1802;101;Métrologie", "M1802;7;Réseaux")
    text = "\n".join(["Code ROME;Code OGR compétence;Libellé compétence", *rows]) + "\n"
    (tmp_path / "rome.csv").write_bytes(text.encode("latin-1"))
    read = read_taxonomy("rome", tmp_path / "rome.csv")
    assert {c.id: c.label_fr for c in read.concepts} == {"rome-101": "Métrologie", "rome-7": "Réseaux"}
    assert (read.rows, read.repeated) == (3, 1)


def test_onet_as_published(tmp_path):
    columns = ["O*NET-SOC Code", "Example", "Commodity Code", "Commodity Title", "Hot Technology", "In Demand"]
    rows = [
        ["15-1", "Structured query language SQL", "43", "Data base query software", "Y", "Y"],
        ["15-2", "Structured query language SQL", "43", "Data base query software", "Y", "N"],
        ["15-2", "Anvil CAD", "44", "Computer aided design CAD software", "N", "N"],
    ]
    text = "".join("\t".join(row) + "\n" for row in [columns, *rows])
    (tmp_path / "Technology Skills.txt").write_text(text, "utf-8")
    read = read_taxonomy("onet", tmp_path / "Technology Skills.txt")
    sql = by_label(read)["Structured query language SQL"]
    assert sql.aliases_en == ("Structured query language", "SQL")
    assert sql.broader == ("onet-data-base-query-software",)
    assert by_label(read)["Anvil CAD"].aliases_en == ()  # no acronym of its words
    assert (len(read.concepts), read.repeated) == (4, 1)


@pytest.mark.parametrize(
    ("header", "encoding"),
    [
        ("label_en,label_fr,aliases_en,uri", "utf-8"),
        ("Libellé anglais;Libellé français;Synonymes EN;URL", "cp1252"),
        ("﻿English,Français,Alias EN,URI", "utf-8"),
    ],
)
def test_any_table_with_labels(tmp_path, header, encoding):
    sep = ";" if ";" in header else ","
    text = f"{header}\n" + sep.join(["brew tea", "préparer le thé", "make tea|prepare tea", "http://x.org/1"]) + "\n"
    (tmp_path / "t.csv").write_bytes(text.encode(encoding))
    read = read_taxonomy("csv", tmp_path / "t.csv")
    (one,) = read.concepts
    assert (one.label_en, one.label_fr, one.aliases_en) == ("brew tea", "préparer le thé", ("make tea", "prepare tea"))
    assert (one.id, one.uri, one.source) == ("csv-brew-tea", "http://x.org/1", "csv")


def test_a_table_names_ids_relations_and_licences(tmp_path):
    rows = [
        {"id": "tea", "label_en": "brew tea", "parent": "cooking", "licence": "CC0"},
        {"id": "cook", "label_en": "Cooking", "parent": "", "licence": ""},
    ]
    read = by_label(read_taxonomy("csv", table(tmp_path / "t.csv", rows)))
    assert (read["brew tea"].id, read["brew tea"].broader, read["brew tea"].licence) == ("tea", ("cook",), "CC0")


def test_a_list_of_labels(tmp_path):
    (tmp_path / "labels.txt").write_text("brew tea\n\nlay bricks\nbrew tea\n", "utf-8")
    read = read_taxonomy("csv", tmp_path / "labels.txt")
    assert [c.label_en for c in read.concepts] == ["brew tea", "lay bricks"]
    assert read.repeated == 1


def test_equal_labels_get_ids_of_their_own(tmp_path):
    rows = [{"label_en": "Tea", "uri": "http://x/1"}, {"label_en": "tea", "uri": "http://x/2"}]
    first, second = (c.id for c in read_taxonomy("csv", table(tmp_path / "t.csv", rows)).concepts)
    assert first != second
    assert first.startswith("csv-tea-")


def test_rows_that_can_not_be_used_are_told_and_left_out(tmp_path):
    rows = [{"label_en": "brew tea", "uri": "x"}, {"label_en": "", "uri": "y"}, {"label_en": "t" * 501, "uri": "z"}]
    read = read_taxonomy("csv", table(tmp_path / "t.csv", rows))
    assert [(p.row, p.column, p.severity) for p in read.problems] == [
        (3, "label_en", "warning"),
        (4, "label_en", "warning"),
    ]
    assert len(read.concepts) == 1


@pytest.mark.parametrize(
    ("kind", "name", "content", "said"),
    [
        ("esco", "skills_en.csv", "conceptUri,status\nx,released\n", "preferredLabel"),
        ("rome", "r.csv", "a,b\n1,2\n", "competence"),
        ("onet", "o.csv", "Example,x\na,b\n", "commodity title"),
        ("referens", "r.jsonl", '{"id": "E1"}\n', "holds no skill"),
        ("referens", "r.jsonl", "{broken\n", "r.jsonl"),
        ("csv", "c.csv", "x,y\n1,2\n", "has no row with a label"),
        ("csv", "c.csv", "", "is empty"),
        ("csv", "c.docx", "x", "of a kind that can't be read"),
    ],
)
def test_wrong_files_are_refused(tmp_path, kind, name, content, said):
    (tmp_path / name).write_text(content, "utf-8")
    with pytest.raises(DataError) as caught:
        read_taxonomy(kind, tmp_path / name)
    assert any(said in p.problem or said in p.place() for p in caught.value.problems)
    assert "Nothing was imported." in caught.value.hint


def test_everything_wrong_is_told_at_once(tmp_path):
    folder = esco(tmp_path)
    for lang in ("en", "fr"):
        path = folder / f"skills_{lang}.csv"
        path.write_text(path.read_text("utf-8").replace("preferredLabel", "title"), "utf-8")
    with pytest.raises(DataError) as caught:
        read_taxonomy("esco", folder)
    assert {p.file for p in caught.value.problems if p.severity == "error"} == {"skills_en.csv", "skills_fr.csv"}


def test_missing_files_and_unknown_kinds(tmp_path):
    for kind in LICENCES:
        with pytest.raises(DataError):
            read_taxonomy(kind, tmp_path / "nowhere")
    with pytest.raises(DataError, match=r"skills_en\.csv"):
        read_taxonomy("esco", tmp_path)
    with pytest.raises(DataError, match="is a folder"):
        read_taxonomy("rome", tmp_path)
    with pytest.raises(UsageError, match="no kind of taxonomy 'isco'"):
        read_taxonomy("isco", tmp_path)


# --- merging ------------------------------------------------------------------------------------------

OWN = Taxonomy(
    [
        Concept("ceph", "Ceph storage", "stockage Ceph", aliases_en=("object storage",), names=("RADOS",)),
        Concept("tests", "software testing", "test de logiciels"),
        Concept("storage", "storage", "stockage"),
    ]
)


def imported(id_: str, en: str = "", fr: str = "", source: str = "esco", **more: object) -> Concept:
    return Concept(id_, en, fr, source=source, licence="CC BY 4.0", **more)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "twin",
    [
        imported("x", "CEPH Storages"),
        imported("x", fr="le stockage de Céph"),
        imported("x", "Ceph storage (computer programs)"),
    ],
)
def test_the_same_label_is_the_same_skill(twin):
    merged = merge(OWN, [twin])
    assert len(merged.taxonomy) == len(OWN)
    assert [t.concept.id for t in merged.twins["ceph"]] == ["x"]
    assert merged.twins["ceph"][0].exact
    assert merged.host("x") == "ceph"


def test_a_twin_brings_its_wordings_and_address_and_takes_nothing():
    twin = imported("x", "Ceph storage", "gestion de Ceph", aliases_en=("Ceph clusters",), uri="http://x/1")
    merged = merge(OWN, [twin])
    host = merged.taxonomy["ceph"]
    assert set(OWN["ceph"].wordings()) | {"gestion de Ceph", "Ceph clusters"} == set(host.wordings())
    assert (host.label_en, host.label_fr, host.source, host.licence) == (
        "Ceph storage",
        "stockage Ceph",
        "skillmatch",
        "MIT",
    )
    assert host.uri == "http://x/1"
    assert merged.addressed("http://x/1") == "ceph"
    assert merged.addressed("http://x/2") == merged.addressed("") == ""
    twin = merged.twins["ceph"][0].concept
    assert (twin.source, twin.licence) == ("esco", "CC BY 4.0")


def test_what_may_be_several_joins_none():
    double = Taxonomy([*OWN.concepts, Concept("other", "Ceph storage", "autre")])
    assert merge(double, [imported("x", "Ceph storage")]).twins == {}


def test_an_alias_is_a_weaker_tie():
    merged = merge(OWN, [imported("x", "object storage")])
    assert not merged.twins["ceph"][0].exact


def test_skills_of_one_source_are_never_joined_but_those_of_two_are():
    batch = [imported("e1", "brew tea"), imported("e2", "Brew teas"), imported("o1", "brew tea", source="onet")]
    merged = merge(OWN, batch[:2])
    assert {"e1", "e2"} < set(merged.taxonomy.index)
    merged = merge(OWN, [batch[0], batch[2]])
    assert merged.host("o1") == "e1"


def test_relations_follow_what_was_merged():
    batch = [imported("x", "Ceph storage"), imported("y", "brew tea", broader=("x", "nowhere"), related=("y",))]
    assert merge(OWN, batch).taxonomy["y"].broader == ("ceph",)
    assert merge(OWN, batch).taxonomy.dangling() == []


def test_names_for_matching_are_taken_with_care():
    twin = imported(
        "x",
        "Ceph storage",
        aliases_en=("Ceph storage operations", "Turbo Pascal", "RGW", "storage"),
        aliases_fr=("exploitation du stockage Ceph",),
    )
    named = merge(OWN, [twin]).named(OWN)
    gained = set(named["ceph"].wordings()) - set(OWN["ceph"].wordings())
    assert gained == {"Ceph storage operations", "exploitation du stockage Ceph"}
    assert len(named) == len(OWN)
    assert merge(OWN, [imported("x", "object storage", aliases_en=("Ceph objects",))]).named(OWN)["ceph"] == OWN["ceph"]


# --- kept in the workspace ----------------------------------------------------------------------------


def download(*concepts: Concept, kind: str = "csv") -> Download:
    return Download(kind, LICENCES[kind], concepts, len(concepts), 0, ())


def files(folder: Path) -> dict[str, bytes]:
    return {p.name: p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file() and p.name != ".lock"}


def test_an_import_is_read_back_as_it_was(tmp_path):
    read = read_taxonomy("esco", esco(tmp_path / "esco", "en fr de"))
    done = write_import(tmp_path, read, OWN)
    assert tuple(read_imports(tmp_path)) == read.concepts
    assert (done.skills, done.new, done.merged, done.replaced) == (3, 2, 1, 0)
    assert done.examples == (("Ceph storage", "ceph"),)
    known = everything(tmp_path, OWN)
    assert len(known.taxonomy) == len(OWN) + 2
    header = json.loads((tmp_path / done.file).read_text("utf-8").splitlines()[0])
    assert header["licence"] == "CC BY 4.0"
    assert [f["name"] for f in header["files"]] == ["skills_en.csv", "skills_fr.csv", "skills_de.csv"]


def test_the_same_import_twice_gives_the_same_bytes(tmp_path):
    read = read_taxonomy("esco", esco(tmp_path / "esco"))
    write_import(tmp_path / "data", read, OWN)
    before = files(tmp_path / "data")
    assert write_import(tmp_path / "data", read, OWN).replaced == 3
    assert files(tmp_path / "data") == before


def test_undo_restores_byte_for_byte(tmp_path):
    old, new = download(imported("a", "tea")), download(imported("a", "tea"), imported("b", "bricks"))
    write_import(tmp_path, download(imported("r", "run"), kind="rome"), OWN)
    other = files(tmp_path)
    write_import(tmp_path, old, OWN)
    before = files(tmp_path)
    write_import(tmp_path, new, OWN)
    assert remove_import(tmp_path, "csv") == 1
    assert files(tmp_path) == before
    assert remove_import(tmp_path, "csv") == 0
    assert files(tmp_path) == other
    with pytest.raises(UsageError, match="No taxonomy of the kind 'csv'") as caught:
        remove_import(tmp_path, "csv")
    assert "rome" in caught.value.hint


def test_damaged_imports_are_named_line_by_line(tmp_path):
    write_import(tmp_path, download(imported("a", "tea"), imported("b", "bricks")), OWN)
    path = tmp_path / "taxonomies" / "csv.jsonl"
    whole = path.read_text("utf-8").splitlines()
    path.write_text("\n".join([whole[0], "{", '{"en": "no id"}']) + "\n", "utf-8")
    with pytest.raises(DataError) as caught:
        read_imports(tmp_path)
    assert [p.row for p in caught.value.problems] == [2, 3]
    path.write_text("\n".join(whole[:2]) + "\n", "utf-8")
    with pytest.raises(DataError, match="holds 1 concepts, its first line says 2"):
        read_imports(tmp_path)
    assert read_imports(tmp_path / "elsewhere") == []
