"""Files of every format, encoding and kind of damage -> records and problems."""

from __future__ import annotations

import csv
import io
import json
import math
import zipfile
from collections.abc import Callable
from dataclasses import asdict, replace
from datetime import date, datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from skillmatch import sources
from skillmatch.errors import DataError, Problem
from skillmatch.records import MAX_TEXT, Evidence, Judgement, Need, Profile, Project, SkillClaim
from skillmatch.runtime import Workspace
from skillmatch.sources import tables

EVIDENCE = ["Porté la reconstruction sur GPU.", "Réglé Ceph v18.2 après l'ajout de disques."]
OBJECTS: list[dict[str, Any]] = [
    {
        "id": "S01",
        "name": "Éloïse Durand",
        "lab": "LAC",
        "family": "offline",
        "site": "bâtiment 12",
        "languages": ["fr", "en"],
        "skills": [{"name": "CUDA", "level": 4}, {"name": "Ceph", "level": 2}, "C++"],
        "evidence": EVIDENCE,
        "availability": 50,
        "available_from": "2025-03-01",
        "available_to": "2025-12-31",
        "collaborators": ["S02"],
        "consent": True,
        "updated": "2024-11-05",
    },
    {"id": "S02", "name": "Noël Œuvrard", "lab": "IPO", "skills": ["Active Directory"], "consent": False},
]
#: The same two people as rows of cells.
CELLS: list[dict[str, str]] = [
    {
        "id": "S01",
        "name": "Éloïse Durand",
        "lab": "LAC",
        "family": "offline",
        "site": "bâtiment 12",
        "languages": "fr;en",
        "skills": "CUDA:4; Ceph:2; C++",
        "evidence": " ".join(EVIDENCE),
        "availability": "50 %",
        "available_from": "01/03/2025",
        "available_to": "2025-12-31",
        "collaborators": "S02",
        "consent": "oui",
        "updated": "05-11-2024",
    },
    dict.fromkeys(("family", "site", "languages", "evidence", "availability", "available_from", "available_to"), "")
    | {"id": "S02", "name": "Noël Œuvrard", "lab": "IPO", "skills": "Active Directory", "consent": "non"}
    | {"collaborators": "", "updated": ""},
]
ENGLISH = list(CELLS[0])
_FRENCH = "Identifiant,Nom,Laboratoire,Métier,Bâtiment,Langues,Compétences,EXPERIENCE,Disponibilité (%),"
_FRENCH += "Disponible à partir de,disponible_jusqu'au,Collaborateurs,Consentement,Mis à jour"
FRENCH = _FRENCH.split(",")


def grid(headers: list[str] = ENGLISH) -> list[list[str]]:
    return [headers, *([row[name] for name in ENGLISH] for row in CELLS)]


def write_csv(path: Path, rows: list[list[str]], encoding: str = "utf-8", separator: str = ",") -> Path:
    out = io.StringIO(newline="")
    csv.writer(out, delimiter=separator).writerows(rows)
    path.write_bytes(out.getvalue().encode(encoding))
    return path


def write_xlsx(path: Path, *sheets: list[list[Any]]) -> Path:
    import openpyxl

    book = openpyxl.Workbook()
    book.remove(book.active)
    for i, rows in enumerate(sheets):
        sheet = book.create_sheet(f"sheet {i}")
        for row in rows:
            sheet.append(row)
    book.save(path)
    return path


def write_ods(path: Path, xml_rows: str) -> Path:
    names = 'xmlns:office="urn:oasis:names:tc:opendocument:xmlns:office:1.0"'
    names += ' xmlns:table="urn:oasis:names:tc:opendocument:xmlns:table:1.0"'
    names += ' xmlns:text="urn:oasis:names:tc:opendocument:xmlns:text:1.0"'
    body = f'<office:body><office:spreadsheet><table:table table:name="a">{xml_rows}</table:table>'
    body += "</office:spreadsheet></office:body>"
    kind = "application/vnd.oasis.opendocument.spreadsheet"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("mimetype", kind)
        archive.writestr("content.xml", f"<office:document-content {names}>{body}</office:document-content>")
        manifest = "urn:oasis:names:tc:opendocument:xmlns:manifest:1.0"
        archive.writestr(
            "META-INF/manifest.xml",
            f'<manifest:manifest xmlns:manifest="{manifest}"><manifest:file-entry manifest:full-path="/"'
            f' manifest:media-type="{kind}"/></manifest:manifest>',
        )
    return path


def ods_cell(value: str, more: str = "") -> str:
    return f'<table:table-cell office:value-type="string"{more}><text:p>{value}</text:p></table:table-cell>'


def as_ods(path: Path) -> Path:
    rows = "".join(f"<table:table-row>{''.join(map(ods_cell, row))}</table:table-row>" for row in grid(FRENCH))
    empty = '<table:table-cell table:number-columns-repeated="16384"/>'
    # What LibreOffice writes below every table.
    filler = f'<table:table-row table:number-rows-repeated="1048573">{empty}</table:table-row>'
    return write_ods(path, rows.replace("'", "&apos;") + filler)


def as_jsonl(path: Path) -> Path:
    lines = [json.dumps(o, ensure_ascii=False) for o in OBJECTS]
    path.write_text("\n\n".join(lines) + "\n", "utf-8")
    return path


def as_json(path: Path, value: Any = OBJECTS) -> Path:
    path.write_text(json.dumps(value), "utf-8")
    return path


def as_yaml(path: Path, value: Any = OBJECTS) -> Path:
    import yaml

    path.write_text(yaml.safe_dump(value, allow_unicode=True, sort_keys=False), "utf-8")
    return path


def as_parquet(path: Path) -> Path:
    import pandas as pd

    pd.DataFrame(CELLS).replace("", None).to_parquet(path)
    return path


def as_parquet_lists(path: Path) -> Path:
    import pandas as pd

    rows = [o | {"skills": [{"name": s} if isinstance(s, str) else s for s in o["skills"]]} for o in OBJECTS]
    pd.DataFrame(rows).to_parquet(path)
    return path


def content(profiles: list[Profile]) -> list[dict[str, Any]]:
    """The records without sources and kinds, which depend on the format."""

    def strip(value: Any) -> Any:
        if isinstance(value, dict):
            return {k: strip(v) for k, v in value.items() if k not in ("source", "kind")}
        return [strip(v) for v in value] if isinstance(value, list | tuple) else value

    return [strip(asdict(p)) for p in profiles]


def expected() -> list[Profile]:
    first = Profile(
        id="S01",
        name="Éloïse Durand",
        lab="LAC",
        family="offline",
        site="bâtiment 12",
        languages=("fr", "en"),
        skills=(SkillClaim("CUDA", 4), SkillClaim("Ceph", 2), SkillClaim("C++")),
        evidence=(Evidence(EVIDENCE[0]), Evidence(EVIDENCE[1])),
        availability=50.0,
        available_from=date(2025, 3, 1),
        available_to=date(2025, 12, 31),
        collaborators=("S02",),
        consent=True,
        updated=date(2024, 11, 5),
    )
    second = Profile(id="S02", name="Noël Œuvrard", lab="IPO", skills=(SkillClaim("Active Directory"),), consent=False)
    return [first, second]


def said(problems: list[Problem]) -> list[tuple[int | None, str | None, str | None, str]]:
    return [(p.row, p.column, p.value, p.problem) for p in problems]


def profiles_from(tmp_path: Path, text: str | bytes, name: str = "profiles.csv") -> tuple[list[Profile], list[Problem]]:
    path = tmp_path / name
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return sources.read_profiles(path)


# --- formats -------------------------------------------------------------------------------------------

FORMATS: dict[str, Callable[[Path], Path]] = {
    "csv": lambda p: write_csv(p, grid()),
    "tsv": lambda p: write_csv(p, grid(), separator="\t"),
    "txt": lambda p: write_csv(p, grid(FRENCH), "utf-16", "\t"),
    "jsonl": as_jsonl,
    "ndjson": as_jsonl,
    "json": as_json,
    "yaml": as_yaml,
    "yml": lambda p: as_yaml(p, {"profiles": OBJECTS}),
    "xlsx": lambda p: write_xlsx(p, grid(FRENCH)),
    "ods": as_ods,
    "parquet": as_parquet,
}


@pytest.mark.parametrize("suffix", FORMATS)
def test_every_format_gives_the_same_people(tmp_path: Path, suffix: str) -> None:
    profiles, problems = sources.read_profiles(FORMATS[suffix](tmp_path / f"people.{suffix}"))
    assert problems == []
    assert content(profiles) == content(expected())


def test_parquet_keeps_lists_and_objects(tmp_path: Path) -> None:
    profiles, problems = sources.read_profiles(as_parquet_lists(tmp_path / "p.parquet"))
    assert problems == []
    assert content(profiles) == content(expected())


def test_every_suffix_that_is_read_is_tested() -> None:
    assert {f".{suffix}" for suffix in FORMATS} == set(tables.READERS)


@pytest.mark.parametrize(
    ("suffix", "first", "second"),
    [
        ("csv", 2, 3),
        ("jsonl", 1, 3),
        ("json", 1, 2),
        ("yaml", 1, 2),
        ("xlsx", 2, 3),
        ("ods", 2, 3),
        ("parquet", 1, 2),
    ],
)
def test_sources_name_file_and_row(tmp_path: Path, suffix: str, first: int, second: int) -> None:
    profiles, _ = sources.read_profiles(FORMATS[suffix](tmp_path / f"people.{suffix}"))
    assert [p.source for p in profiles] == [f"people.{suffix}:{first}", f"people.{suffix}:{second}"]
    marks = {i.source for i in (*profiles[0].skills, *profiles[0].evidence)}
    assert marks == {f"people.{suffix}:{first}"}


@pytest.mark.parametrize("wrapped", [{"profiles": OBJECTS}, {"people": OBJECTS}, {"v": 1, "profiles": OBJECTS}])
def test_json_objects_that_hold_the_list(tmp_path: Path, wrapped: dict[str, Any]) -> None:
    profiles, problems = sources.read_profiles(as_json(tmp_path / "p.json", wrapped))
    assert [p.id for p in profiles] == ["S01", "S02"]
    assert problems == []


def test_json_of_one_person(tmp_path: Path) -> None:
    assert [p.id for p in sources.read_profiles(as_json(tmp_path / "p.json", OBJECTS[0]))[0]] == ["S01"]


def test_yaml_scalars_stay_texts_and_names_map_to_levels(tmp_path: Path) -> None:
    text = """
- id: 007
  nom: No
  langues: [no, fr]
  compétences: {CUDA: 4, Ceph: , Spark: {niveau: 3, dernière utilisation: 2021-05}}
  consentement: yes
  site: ~
"""
    profiles, problems = profiles_from(tmp_path, text, "p.yaml")
    assert problems == []
    p = profiles[0]
    assert (p.id, p.name, p.languages, p.consent, p.site) == ("007", "No", ("no", "fr"), True, "")
    assert [(s.name, s.level, s.last_used) for s in p.skills] == [
        ("CUDA", 4, None),
        ("Ceph", None, None),
        ("Spark", 3, date(2021, 5, 1)),
    ]


def test_xlsx_types_title_rows_and_other_sheets(tmp_path: Path) -> None:
    notes = [["À lire avant de remplir"], ["merci"]]
    people = [
        ["Annuaire 2025"],
        [],
        ["id", "nom", "compétences", "disponibilité", "mis à jour", "disponible à partir de", "consentement"],
        [12, "A", "CUDA:4", 0.5, datetime(2024, 11, 5, 10, 30), 2025, True],
        [None, None, "", None],
        ["S13", "B", "Ceph", 80, date(2024, 2, 29), "mars", "x"],
        ["S14", "C", 42, 1],
    ]
    profiles, problems = sources.read_profiles(write_xlsx(tmp_path / "p.xlsx", notes, people))
    assert said(problems) == [(6, "disponible à partir de", "mars", "is not a date")]
    p, last = profiles
    assert (last.skills[0].name, last.availability) == ("42", 100.0)  # a cell shown as 100 % holds 1
    assert (p.id, p.availability, p.updated, p.available_from, p.consent, p.source) == (
        "12",
        50.0,
        date(2024, 11, 5),
        date(2025, 1, 1),
        True,
        "p.xlsx:4",
    )


def test_xlsx_table_that_starts_lower_and_further_right(tmp_path: Path) -> None:
    rows = [[], [], [None, "id", "skills"], [None, "S1", "CUDA"]]
    profiles, problems = sources.read_profiles(write_xlsx(tmp_path / "p.xlsx", rows))
    assert ([p.source for p in profiles], problems) == (["p.xlsx:4"], [])


def test_objects_of_evidence_stay_whole_and_texts_are_split(tmp_path: Path) -> None:
    text = "Un. Deux."
    person = {"id": "S1", "evidence": [{"text": text, "kind": "project", "date": "2023"}, text], "bio": text}
    profiles, problems = sources.read_profiles(as_json(tmp_path / "p.json", [person]))
    assert problems == []
    assert [(e.text, e.kind, e.date) for e in profiles[0].evidence] == [
        ("Un. Deux.", "project", date(2023, 1, 1)),
        ("Un. Deux.", "note", None),
        ("Un.", "bio", None),
        ("Deux.", "bio", None),
    ]


# --- encodings, separators, shapes of CSV --------------------------------------------------------------

ENCODINGS = ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "utf-32", "cp1252"]


@pytest.mark.parametrize("encoding", ENCODINGS)
@pytest.mark.parametrize("separator", [",", ";", "\t", "|"])
@pytest.mark.parametrize("headers", [ENGLISH, FRENCH], ids=["en", "fr"])
def test_any_encoding_and_separator(tmp_path: Path, encoding: str, separator: str, headers: list[str]) -> None:
    profiles, problems = sources.read_profiles(write_csv(tmp_path / "p.csv", grid(headers), encoding, separator))
    assert problems == []
    assert content(profiles) == content(expected())


def test_latin_1_as_old_exports_write_it(tmp_path: Path) -> None:
    profiles, problems = profiles_from(tmp_path, "id;compétences\nS1;réseau à haut débit\n".encode("latin-1"))
    assert ([s.name for s in profiles[0].skills], problems) == (["réseau à haut débit"], [])


@pytest.mark.parametrize(("encoding", "name"), [("mac_roman", "Mac Roman"), ("cp850", "DOS")])
def test_old_encodings_are_guessed_and_said(tmp_path: Path, encoding: str, name: str) -> None:
    text = "id;nom;compétences;expérience\n"
    text += "S1;Éloïse;réseau;Déployé un système d'acquisition à côté du détecteur.\n"
    profiles, problems = profiles_from(tmp_path, text.encode(encoding))
    assert profiles[0].evidence[0].text == "Déployé un système d'acquisition à côté du détecteur."
    assert profiles[0].skills[0].name == "réseau"
    assert [p.severity for p in problems] == ["warning"]
    assert name in problems[0].problem


def test_a_row_pasted_in_another_encoding_does_not_spoil_the_rest(tmp_path: Path) -> None:
    good, foreign = "id,skills\nS1,réseau à haut débit\n".encode(), "S2,mémoire\n".encode("cp1252")
    profiles, problems = profiles_from(tmp_path, good + foreign)
    assert [p.skills[0].name for p in profiles] == ["réseau à haut débit", "mémoire"]
    assert problems[0].severity == "warning"
    assert "line 3, 0xe9" in problems[0].problem


def test_json_that_is_not_utf8_is_read_with_a_warning(tmp_path: Path) -> None:
    data = json.dumps([{"id": "S1", "skills": ["réseau"]}], ensure_ascii=False).encode("latin-1")
    profiles, problems = profiles_from(tmp_path, data, "p.json")
    assert profiles[0].skills[0].name == "réseau"
    assert [p.severity for p in problems] == ["warning"]


def test_rows_count_as_a_spreadsheet_shows_them(tmp_path: Path) -> None:
    text = 'id;evidence\n\nS1;"Une ligne.\nUne autre.\r\nEt encore."\n;\nS2;\n'
    profiles, problems = profiles_from(tmp_path, text)
    assert [(p.id, p.source, len(p.evidence)) for p in profiles] == [("S1", "profiles.csv:3", 3)]
    assert said(problems) == [(5, None, None, "has neither a skill nor evidence")]


def test_quotes_old_line_ends_and_the_separator_line_of_excel(tmp_path: Path) -> None:
    text = 'sep=;\r"id";"nom";"compétences"\rS1;"dit ""Ève""; la grande";"C++;TCP/IP:3"\r'
    profiles, problems = profiles_from(tmp_path, text)
    assert problems == []
    assert (profiles[0].name, profiles[0].source) == ('dit "Ève"; la grande', "profiles.csv:2")
    assert [(s.name, s.level) for s in profiles[0].skills] == [("C++", None), ("TCP/IP", 3)]


def test_a_cell_of_line_breaks_and_bullets(tmp_path: Path) -> None:
    profiles, _ = profiles_from(tmp_path, 'id,skills\nS1,"- CUDA : 4\n- Ceph : 2/5\n• Python"\n')
    assert [(s.name, s.level) for s in profiles[0].skills] == [("CUDA", 4), ("Ceph", 2), ("Python", None)]


def test_first_name_and_name_are_joined_and_every_evidence_column_is_read(tmp_path: Path) -> None:
    text = "matricule;nom;prénom;evidence;réalisations;bio\nS1;Durand;Ève;Un.;Deux.;Trois.\n"
    profiles, problems = profiles_from(tmp_path, text)
    assert problems == []
    assert profiles[0].name == "Ève Durand"
    assert [(e.text, e.kind) for e in profiles[0].evidence] == [
        ("Un.", "note"),
        ("Deux.", "experience"),
        ("Trois.", "bio"),
    ]


# --- values --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("cell", "name", "level"),
    [
        ("CUDA:4", "CUDA", 4),
        ("CUDA : 4", "CUDA", 4),
        ("CUDA (4)", "CUDA", 4),
        ("CUDA - 4", "CUDA", 4),
        ("CUDA:4/5", "CUDA", 4),
        ("CUDA:", "CUDA", None),
        ("C++", "C++", None),
        ("C++:5", "C++", 5),
        ("TCP/IP:3", "TCP/IP", 3),
        ("Windows 10", "Windows 10", None),
        ("Geant4 (2019)", "Geant4 (2019)", None),
        ("http://x:80", "http://x:80", None),
        ("http://x:80:3", "http://x:80", 3),
        ("Ceph (bloc, objet)", "Ceph (bloc, objet)", None),
        ("IEEE 802.11", "IEEE 802.11", None),
        ("<script>alert(1)</script>", "<script>alert(1)</script>", None),
    ],
)
def test_skill_cells(tmp_path: Path, cell: str, name: str, level: int | None) -> None:
    profiles, problems = sources.read_profiles(write_csv(tmp_path / "p.csv", [["id", "skills"], ["S1", cell]]))
    assert problems == []
    assert [(s.name, s.level) for s in profiles[0].skills] == [(name, level)]


@pytest.mark.parametrize(
    ("written", "day"),
    [
        ("2025-03-31", date(2025, 3, 31)),
        ("31/03/2025", date(2025, 3, 31)),
        ("31-03-2025", date(2025, 3, 31)),
        ("31.03.2025", date(2025, 3, 31)),
        ("03/04/2025", date(2025, 4, 3)),
        ("1/3/2025", date(2025, 3, 1)),
        ("2025-03", date(2025, 3, 1)),
        ("03/2025", date(2025, 3, 1)),
        ("2025", date(2025, 1, 1)),
        ("2025-03-31T10:20:30Z", date(2025, 3, 31)),
        ("31/03/2025 10:20", date(2025, 3, 31)),
    ],
)
def test_dates(tmp_path: Path, written: str, day: date) -> None:
    profiles, problems = profiles_from(tmp_path, f"id;skills;updated\nS1;a;{written}\n")
    assert problems == []
    assert profiles[0].updated == day


@pytest.mark.parametrize(
    ("written", "day"),
    [("2024-02", date(2024, 2, 29)), ("2025", date(2025, 12, 31)), ("2025-06-02", date(2025, 6, 2))],
)
def test_what_ends_in_a_month_or_year_ends_with_it(tmp_path: Path, written: str, day: date) -> None:
    profiles, problems = profiles_from(tmp_path, f"id;skills;available_to\nS1;a;{written}\n")
    assert (profiles[0].available_to, problems) == (day, [])


@pytest.mark.parametrize(
    ("written", "why"),
    [
        ("31/02/2024", "is a date that does not exist"),
        ("2024-13-01", "is a date that does not exist"),
        ("03/15/2024", "is a date that does not exist"),
        ("demain", "is not a date"),
        ("86400", "is not a date"),
        ("31/03/24", "is not a date"),
    ],
)
def test_what_is_no_date(tmp_path: Path, written: str, why: str) -> None:
    profiles, problems = profiles_from(tmp_path, f"id;skills;updated\nS1;a;{written}\n")
    assert (profiles, said(problems)) == ([], [(2, "updated", written, why)])
    assert "31/03/2025" in problems[0].remedy


@pytest.mark.parametrize(
    ("written", "percent"),
    [
        ("50 %", 50),
        ("50", 50),
        ("0,5", 50),
        ("0.5", 50),
        ("1,0", 100),
        ("1", 1),
        ("0", 0),
        ("12,5", 12.5),
        ("0,5 %", 0.5),
    ],
)
def test_availability(tmp_path: Path, written: str, percent: float) -> None:
    profiles, problems = profiles_from(tmp_path, f'id,skills,dispo\nS1,a,"{written}"\n')
    assert problems == []
    assert profiles[0].availability == percent


@pytest.mark.parametrize(
    ("word", "family"),
    [
        ("En ligne", "online"),
        ("acquisition", "online"),
        ("hors-ligne", "offline"),
        ("Offline", "offline"),
        ("ASR", "asr"),
        ("Systèmes et réseaux", "asr"),
        ("admin système", "asr"),
        ("sysadmin", "asr"),
        ("Autre", "other"),
    ],
)
def test_families(tmp_path: Path, word: str, family: str) -> None:
    profiles, problems = profiles_from(tmp_path, f"id;skills;famille de métier\nS1;a;{word}\n")
    assert (profiles[0].family, problems) == (family, [])


@pytest.mark.parametrize("word", ["oui", "Yes", "true", "VRAI", "1", "x"])
def test_yes(tmp_path: Path, word: str) -> None:
    assert profiles_from(tmp_path, f"id;skills;consentement\nS1;a;{word}\n")[0][0].consent is True


@pytest.mark.parametrize("word", ["non", "No", "false", "faux", "0"])
def test_no_is_kept_and_is_no_problem(tmp_path: Path, word: str) -> None:
    profiles, problems = profiles_from(tmp_path, f"id;skills;consent\nS1;a;{word}\n")
    assert (profiles[0].consent, problems) == (False, [])


def test_projects_in_french(tmp_path: Path) -> None:
    text = "id;Titre;Labo;Description;Besoins;Taille;Début;Fin\n"
    text += 'P1;Portage;LAC;"Du calcul; vite.";"GPU:3; Ceph:2!; C++ !";3;2025;2026-06\n'
    path = tmp_path / "projects.csv"
    path.write_text(text, "utf-8")
    projects, problems = sources.read_projects(path)
    assert problems == []
    assert projects == [
        Project(
            id="P1",
            title="Portage",
            lab="LAC",
            description="Du calcul; vite.",
            needs=(
                Need("n1", "GPU", weight=3),
                Need("n2", "Ceph", weight=2, must=True),
                Need("n3", "C++", must=True),
            ),
            size=3,
            start=date(2025, 1, 1),
            end=date(2026, 6, 30),
            source="projects.csv:2",
        )
    ]


def test_needs_as_objects_and_texts(tmp_path: Path) -> None:
    needs = [
        {"text": "GPU", "weight": 2.5, "must": "oui", "level": 3},
        "Ceph:2!",
        {"besoin": "réseau", "poids": "1,5"},
    ]
    projects, problems = sources.read_projects(
        as_json(tmp_path / "p.json", {"projects": [{"id": "P1", "needs": needs}]})
    )
    assert problems == []
    assert projects[0].needs == (
        Need("n1", "GPU", weight=2.5, must=True, level=3),
        Need("n2", "Ceph", weight=2, must=True),
        Need("n3", "réseau", weight=1.5),
    )


def test_parse_needs() -> None:
    assert sources.parse_needs("GPU:3; Ceph:2!") == (
        Need("n1", "GPU", weight=3),
        Need("n2", "Ceph", weight=2, must=True),
    )
    assert sources.parse_needs(" ; ") == ()
    with pytest.raises(DataError, match="weight of GPU is above 3") as caught:
        sources.parse_needs("GPU:9; Ceph:0")
    assert [p.value for p in caught.value.problems] == ["9", "0"]


# --- problems of rows ----------------------------------------------------------------------------------


def test_all_problems_of_a_row_and_of_a_file_at_once(tmp_path: Path) -> None:
    text = (
        "id;famille;compétences;disponibilité;disponible à partir de;consentement;mis à jour\n"
        "S1;online;CUDA;50;;;\n"
        ';bidule;"CUDA:9; Ceph:0; C:x:2,5";150 %;31/02/2024;peut-être;hier\n'
        "S3;;;-1;;;\n"
    )
    profiles, problems = profiles_from(tmp_path, text)
    assert [p.id for p in profiles] == ["S1"]
    assert said(problems) == [
        (3, "id", None, "is missing"),
        (3, "famille", "bidule", "is no family we know"),
        (3, "compétences", "9", "the level of CUDA is above 5"),
        (3, "compétences", "0", "the level of Ceph is below 1"),
        (3, "compétences", "2.5", "the level of C:x is not a whole number"),
        (3, "disponibilité", "150 %", "is above 100"),
        (3, "disponible à partir de", "31/02/2024", "is a date that does not exist"),
        (3, "consentement", "peut-être", "is neither yes nor no"),
        (3, "mis à jour", "hier", "is not a date"),
        (4, "disponibilité", "-1", "is below 0"),
        (4, None, None, "has neither a skill nor evidence"),
    ]
    assert all(p.file == "profiles.csv" and p.remedy and p.severity == "error" for p in problems)


def test_duplicate_ids_name_both_rows(tmp_path: Path) -> None:
    profiles, problems = profiles_from(tmp_path, "id,skills\nS1,a\nS2,b\n S1 ,c\n")
    assert [p.skills[0].name for p in profiles] == ["a", "b"]
    assert said(problems) == [(4, "id", "S1", "is the id of row 2 already")]
    assert "row 2 or row 4" in problems[0].remedy


def test_overlong_cells_say_their_size(tmp_path: Path) -> None:
    long = "Une phrase. " * 2000
    name = "x" * 301
    rows = [["id", "evidence", "nom"], ["S1", long, ""], ["S2", "Bien.", name], ["S3", "ab " * 200_000, ""]]
    profiles, problems = sources.read_profiles(write_csv(tmp_path / "p.csv", rows))
    assert profiles == []
    assert [(p.row, p.column) for p in problems] == [(2, "evidence"), (3, "nom"), (4, "evidence")]
    assert f"has {len(long.strip())} characters, more than {MAX_TEXT}" in problems[0].problem
    assert "has 301 characters, more than 300" in problems[1].problem
    assert "has 599999 characters" in problems[2].problem
    assert all("split" in p.remedy and len(p.value or "") <= 80 for p in problems)


@pytest.mark.parametrize(
    ("name", "data", "row"),
    [
        ("p.csv", b"id,nom,evidence\nS1,a\x00b,Bien fait\x07 ici.\n", 2),
        ("p.json", b'[{"id": "S1", "nom": "a\\u0000b", "evidence": "Bien fait\\u0007 ici."}]', 1),
        ("p.jsonl", b'{"id": "S1", "nom": "a\x01b", "evidence": "Bien fait\x07 ici."}', 1),
    ],
)
def test_control_characters(tmp_path: Path, name: str, data: bytes, row: int) -> None:
    profiles, problems = profiles_from(tmp_path, data, name)
    assert profiles == []
    assert [(p.row, p.column) for p in problems] == [(row, "nom"), (row, "evidence")]
    assert all("control characters" in p.problem and (p.value or "").isprintable() for p in problems)


def test_formulas_and_html_are_texts(tmp_path: Path) -> None:
    rows = [["id", "nom", "skills"], ["S1", '=HYPERLINK("http://x")', "<script>x</script>;@SUM(1+1)"]]
    profiles, problems = sources.read_profiles(write_csv(tmp_path / "p.csv", rows))
    assert problems == []
    assert profiles[0].name == '=HYPERLINK("http://x")'
    assert [s.name for s in profiles[0].skills] == ["<script>x</script>", "@SUM(1+1)"]


def test_unknown_columns_and_keys_are_named_with_the_closest_known(tmp_path: Path) -> None:
    _, problems = profiles_from(tmp_path, "id;skils;couleur;commentaire;_x;note interne\nS1;a;b;c;d;e\n")
    assert [(p.column, p.severity) for p in problems[:2]] == [("skils", "warning"), ("couleur", "warning")]
    assert "rename it to skills" in problems[0].remedy
    assert len(problems) == 3  # and the row has no skills now
    person = {"id": "S1", "skills": [{"name": "a", "lvl": 3}], "nom": "x"}
    profiles, problems = sources.read_profiles(
        as_json(tmp_path / "p.json", [person, person | {"id": "S2", "nom": "y"}])
    )
    assert len(profiles) == 2
    assert [(p.row, p.column, p.severity) for p in problems] == [(1, "skills.lvl", "warning")]


def test_many_unknown_columns_are_told_in_sum(tmp_path: Path) -> None:
    person = {"id": "S1", "skills": ["a"]} | {f"qqq{i}": 1 for i in range(5000)}
    profiles, problems = sources.read_profiles(as_json(tmp_path / "p.json", [person]))
    assert len(profiles) == 1
    assert len(problems) == 51
    assert "has 5000 columns we do not know" in problems[-1].problem


def test_warnings_keep_the_row(tmp_path: Path) -> None:
    text = 'id,name,skills,collaborators,nom\nS1,A,"a, b, c",S2;S3;S9,B\nS2,A,"a, b, c",S9,\nS3,C,d,,\n'
    profiles, problems = profiles_from(tmp_path, text)
    assert [p.id for p in profiles] == ["S1", "S2", "S3"]
    assert {p.severity for p in problems} == {"warning"}
    assert said(problems) == [
        (2, "skills", "a, b, c", "holds commas and no semicolon: it is read as one skill"),
        (2, "nom", None, "fills the same field as column name, and is ignored"),
        (3, "skills", "a, b, c", "holds commas and no semicolon: it is read as one skill"),
        (2, "collaborators", "S9", "is nobody's id"),
        (3, "id", "S2", "holds the same as row 2 under another id"),
    ]


@pytest.mark.parametrize(
    ("person", "message"),
    [
        ({"id": ["a"], "skills": ["b"]}, "is not a text"),
        ({"id": True, "skills": ["b"]}, "is not a text"),
        ({"id": "x" * 101, "skills": ["b"]}, "has 101 characters, more than 100"),
        ({"id": "a", "skills": [3]}, "item 1 is neither a text nor an object"),
        ({"id": "a", "skills": [{"level": 3}]}, "the name of item 1 is missing"),
        ({"id": "a", "skills": [{"name": "b", "level": 10**40}]}, "the level of b is above 5"),
        ({"id": "a", "skills": [{"name": "b", "level": True}]}, "the level of b is not a whole number"),
        ({"id": "a", "skills": ":3"}, "the name of item 1 is empty"),
        ({"id": "a", "evidence": [{"kind": "note"}]}, "the text of item 1 is missing"),
        ({"id": "a", "skills": ["b"], "availability": math.inf}, "is not a number"),
        (
            {"id": "a", "skills": ["b"], "nom": "\ud800"},
            "holds control characters (NUL or the like)",
        ),
        (
            {"id": "a", "skills": ["b"], "available_from": "2025-02", "available_to": "2024"},
            "available_from is after available_to",
        ),
    ],
)
def test_wrong_values_in_json(tmp_path: Path, person: dict[str, Any], message: str) -> None:
    profiles, problems = sources.read_profiles(as_json(tmp_path / "p.json", [person]))
    assert (profiles, [p.problem for p in problems]) == ([], [message])
    assert problems[0].remedy
    (problems[0].value or "").encode()  # can be printed


def test_projects_problems(tmp_path: Path) -> None:
    text = "id;titre;besoins;taille;début;fin\nP1;a;GPU:7;0;2025;2024\nP2;;;;;\nP3;b;;;2025;2024\n"
    path = tmp_path / "projects.csv"
    path.write_text(text, "utf-8")
    projects, problems = sources.read_projects(path)
    assert projects == []
    assert said(problems) == [
        (2, "besoins", "7", "the weight of GPU is above 3"),
        (2, "taille", "0", "is below 1"),
        (2, None, None, "start is after end"),
        (3, None, None, "has neither title, description nor needs"),
        (4, None, None, "start is after end"),
    ]


def test_judgements(tmp_path: Path) -> None:
    path = tmp_path / "judgements.csv"
    path.write_text("projet;profil;note\nP1;S1;3\nP1;S2;2,5\nP1;S3;4\nP1;S1;0\nP2;;x\n", "utf-8")
    judgements, problems = sources.read_judgements(path)
    assert [(j.project_id, j.profile_id, j.grade) for j in judgements] == [
        ("P1", "S1", 3.0),
        ("P1", "S2", 2.5),
        ("P1", "S1", 0.0),
    ]
    assert judgements[0] == Judgement("P1", "S1", 3.0, "judgements.csv:2")
    assert said(problems) == [
        (4, "note", "4", "is above 3"),
        (6, "profil", None, "is missing"),
        (6, "note", "x", "is not a number"),
        (5, "grade", "0", "judges the same pair as row 2, with another grade (3)"),
    ]


# --- problems of files ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "data", "row", "message"),
    [
        ("p.csv", b"", None, "is empty"),
        ("p.csv", b"\xef\xbb\xbf\n ,\n", None, "is empty"),
        ("p.jsonl", b" \n", None, "is empty"),
        ("p.csv", b"nom,skills\nA,b\n", 1, "has no column of that name"),
        ("p.csv", b"id,skills\nS1,a,b\n", 2, "has 3 cells, the header has 2"),
        ("p.csv", b'id,skills\nS1,a\nS2,"b\nS3,c\n', 3, "has a quote that is never closed"),
        ("p.csv", b"id,skills\n", 1, "has no rows"),
        ("p.csv", b"id,skills\n,\n , \n", 1, "has no rows"),
        ("p.json", b"[]", None, "has no rows"),
        ("p.json", b"[{}]", None, "has no rows"),
        ("p.json", b'[{"id": 1,}]', 1, "is no JSON: Illegal trailing comma"),
        ("p.json", b'[\n{"id": 1 "b"}]', 2, "character 10"),
        ("p.jsonl", b'{"id": "a", "skills": ["b"]}\n{"id": }\n', 2, "character 8"),
        ("p.jsonl", b"[1]\n", 1, "is no object"),
        ("p.json", b"3", None, "holds no list of profiles"),
        ("p.json", b'{"a": 3}', None, "holds no list of profiles"),
        ("p.json", b"[" * 100_000, None, "is nested deeper than 20 levels"),
        ("p.json", b"[" * 300 + b"]" * 300, None, "is nested deeper than 20 levels"),
        ("p.json", b"[" + b"9" * 5000 + b"]", None, "holds a number of thousands of digits"),
        ("p.yaml", b"- id: a\n  skills: [b\n- id: c\n", 3, "is no YAML"),
        ("p.yaml", b"- id: a\n\tb: c\n", 2, "is no YAML"),
        ("p.yaml", b"- id: *nobody\n", 1, "is no YAML"),
        ("p.yaml", b"- id: a\n- id: b\x00\n", 2, "holds control characters"),
        ("p.yaml", b"{" * 100_000, None, "is nested deeper than 20 levels"),
        ("p.yaml", b"&a [*a]", None, "holds aliases that unfold without end"),
        ("p.xlsx", b"PK\x03\x04 damaged", None, "is no readable spreadsheet"),
        ("p.xlsx", b"id,skills\nS1,a\n", None, "is no readable spreadsheet"),
        ("p.xlsx", b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1 sealed", None, "is protected by a password"),
        ("p.csv", b"PK\x03\x04 a workbook", None, "is an XLSX, ODS or ZIP file"),
        ("p.parquet", b"PAR1 damaged", None, "is no readable Parquet file"),
        ("p.docx", b"anything", None, "is of a kind that can't be read"),
    ],
)
def test_files_that_are_wrong(tmp_path: Path, name: str, data: bytes, row: int | None, message: str) -> None:
    _, problems = profiles_from(tmp_path, data, name)
    if message.startswith("is no JSON: Illegal"):  # Python words it by version
        message = "is no JSON"
    assert [(p.file, p.row) for p in problems] == [(name, row)]
    assert message in problems[0].problem
    assert problems[0].remedy


def test_a_wrong_json_line_leaves_the_others(tmp_path: Path) -> None:
    profiles, _ = profiles_from(
        tmp_path, '{"id": "a", "skills": ["b"]}\nnot json\n{"id": "c", "skills": ["d"]}', "p.jsonl"
    )
    assert [(p.id, p.source) for p in profiles] == [("a", "p.jsonl:1"), ("c", "p.jsonl:3")]


def test_missing_file_and_folder(tmp_path: Path) -> None:
    assert "isn't there" in sources.read_profiles(tmp_path / "none.csv")[1][0].problem
    (tmp_path / "x.csv").mkdir()
    assert "is a folder" in sources.read_profiles(tmp_path / "x.csv")[1][0].problem


def test_large_files_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tables, "MAX_BYTES", 10)
    _, problems = profiles_from(tmp_path, "id,skills\nS1,a\n")
    assert "is larger than" in problems[0].problem


def test_yaml_bomb(tmp_path: Path) -> None:
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 10)}]" for i in range(1, 12)]
    _, problems = profiles_from(tmp_path, "\n".join(lines), "p.yaml")
    assert [p.problem for p in problems] == ["holds aliases that unfold without end"]


def test_yaml_aliases_that_spare_typing_are_fine(tmp_path: Path) -> None:
    text = "- {id: a, skills: &s [CUDA, Ceph]}\n- {id: b, nom: B, skills: *s}\n"
    profiles, problems = profiles_from(tmp_path, text, "p.yaml")
    assert ([len(p.skills) for p in profiles], problems) == ([2, 2], [])


def test_yaml_tags_run_nothing(tmp_path: Path) -> None:
    ran = tmp_path / "ran"
    text = f"- id: !!python/object/apply:os.mkdir ['{ran}']\n  skills: [a]\n"
    profiles, problems = profiles_from(tmp_path, text, "p.yaml")
    assert not ran.exists()
    assert (profiles, [p.problem for p in problems]) == ([], ["is not a text"])


def test_a_stray_cell_far_away_is_refused_in_time(tmp_path: Path) -> None:
    import openpyxl

    book = openpyxl.Workbook()
    sheet = book.active
    sheet.append(["id", "skills"])
    sheet.append(["S1", "a"])
    sheet.cell(1_048_576, 16_384).value = " "
    book.save(tmp_path / "p.xlsx")
    _, problems = sources.read_profiles(tmp_path / "p.xlsx")
    assert "1048576 rows and 16384 columns" in problems[0].problem
    row = f"<table:table-row>{ods_cell('id')}{ods_cell('skills')}</table:table-row>"
    far = ods_cell("x", ' table:number-columns-repeated="16384"')
    row += f'<table:table-row table:number-rows-repeated="1048575">{far}</table:table-row>'
    _, problems = sources.read_profiles(write_ods(tmp_path / "p.ods", row))
    assert "1048576 rows and 16384 columns" in problems[0].problem


def test_a_formatted_empty_cell_far_away_is_fine(tmp_path: Path) -> None:
    import openpyxl
    from openpyxl.styles import Font

    book = openpyxl.Workbook()
    sheet = book.active
    sheet.append(["id", "skills"])
    sheet.append(["S1", "a"])
    sheet.cell(1_048_576, 16_384).font = Font(bold=True)
    book.save(tmp_path / "p.xlsx")
    profiles, problems = sources.read_profiles(tmp_path / "p.xlsx")
    assert ([p.id for p in profiles], problems) == (["S1"], [])


# --- the workspace -------------------------------------------------------------------------------------


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    data = tmp_path / "data"
    data.mkdir()
    (data / "profiles.csv").write_text("id,skills\nS01,CUDA\nS02,Ceph\nS03,CUDA:9\n", "utf-8")
    (data / "projects.csv").write_text("id,title\nP1,Portage\n", "utf-8")
    (data / "judgements.csv").write_text("project_id,profile_id,grade\nP1,S01,3\n", "utf-8")
    (data / "skills.csv").write_text("id;en;fr;aliases FR\nceph;Ceph storage;stockage Ceph;rados;\n;;Geant;\n", "utf-8")
    return Workspace(tmp_path)


def test_a_workspace(workspace: Workspace) -> None:
    data = sources.read_workspace(workspace)
    assert [p.id for p in data.profiles] == ["S01", "S02"]
    assert [p.id for p in data.projects] == ["P1"]
    assert [j.grade for j in data.judgements] == [3.0]
    assert data.skills == (
        (2, {"id": "ceph", "en": "Ceph storage", "fr": "stockage Ceph", "aliases_fr": "rados"}),
        (3, {"fr": "Geant"}),
    )
    assert [p.name for p in data.files] == ["profiles.csv", "projects.csv", "judgements.csv", "skills.csv"]
    assert [p.place() for p in data.errors()] == ["profiles.csv:4 [skills]"]
    with pytest.raises(DataError, match=r"1 error\(s\)") as caught:
        data.require()
    assert caught.value.problems == data.problems
    whole = replace(data, problems=tuple(replace(p, severity="warning") for p in data.problems))
    assert whole.require() is whole


def test_unknown_references_are_told_once_and_bad_rows_still_count_as_known(workspace: Workspace) -> None:
    rows = "P1,S03,1\nP1,S99,1\nP1,S99,2\nP7,S01,1\nP1,S02,2\n"
    (workspace.data / "judgements.csv").write_text("project_id,profile_id,grade\n" + rows, "utf-8")
    data = sources.read_workspace(workspace)
    found = [p for p in data.problems if p.file == "judgements.csv" and p.severity == "error"]
    assert said(found) == [
        (3, "profile_id", "S99", "is the id of no profile"),
        (5, "project_id", "P7", "is the id of no project"),
    ]
    assert [(j.project_id, j.profile_id) for j in data.judgements] == [("P1", "S03"), ("P1", "S02")]


def test_only_profiles_are_needed(workspace: Workspace) -> None:
    for name in ("projects", "judgements", "skills"):
        (workspace.data / f"{name}.csv").unlink()
    data = sources.read_workspace(workspace)
    assert [p.file for p in data.problems] == ["profiles.csv"]
    (workspace.data / "profiles.csv").unlink()
    (error,) = sources.read_workspace(workspace).errors()
    assert "isn't there" in error.problem
    assert "skillmatch init" in error.remedy
    assert sources.read_workspace(Workspace(workspace.root / "nowhere")).errors()


def test_judgements_without_their_files_are_not_told_row_by_row(workspace: Workspace) -> None:
    (workspace.data / "profiles.csv").write_text("nothing,known\n1,2\n", "utf-8")
    data = sources.read_workspace(workspace)
    assert [p.file for p in data.errors()] == ["profiles.csv"]


def test_two_files_of_profiles_are_an_error_naming_both(workspace: Workspace) -> None:
    (workspace.data / "profiles.yaml").write_text("- {id: a, skills: [b]}", "utf-8")
    (workspace.data / "profiles.csv.bak").write_text("old", "utf-8")
    (error,) = sources.read_workspace(workspace).errors()
    assert "profiles.csv, profiles.yaml" in error.problem


def test_a_kind_of_file_nobody_reads_is_named(workspace: Workspace) -> None:
    (workspace.data / "profiles.csv").rename(workspace.data / "profiles.xls")
    (error,) = sources.read_workspace(workspace).errors()
    assert (error.file, "kind that can't be read" in error.problem) == ("profiles.xls", True)


# --- lines, sentences, safe cells ----------------------------------------------------------------------


@pytest.mark.parametrize("encoding", ENCODINGS)
def test_read_lines(tmp_path: Path, encoding: str) -> None:
    path = tmp_path / "lines.txt"
    path.write_bytes("réseau à haut débit\r\n\r\n  C++ \nCeph".encode(encoding))
    assert sources.read_lines(path) == ["réseau à haut débit", "C++", "Ceph"]


def test_read_lines_that_are_none(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="isn't there"):
        sources.read_lines(tmp_path / "none.txt")
    with pytest.raises(DataError, match="is a folder"):
        sources.read_lines(tmp_path)
    (tmp_path / "x.bin").write_bytes(b"ab\x00\x00\x00cdef\x00gh")
    with pytest.raises(DataError, match="no text file"):
        sources.read_lines(tmp_path / "x.bin")


@pytest.mark.parametrize(
    ("text", "pieces"),
    [
        ("Un. Deux ! Trois ? Quatre", ["Un.", "Deux !", "Trois ?", "Quatre"]),
        ("M. Dupont a porté le code v1.2 en C++. Puis Ceph, cf. Annexe.", 2),
        (
            "Voir J. Doe et al. Version 3.4.5 de Geant4. Fin.",
            ["Voir J. Doe et al. Version 3.4.5 de Geant4.", "Fin."],
        ),
        ("Programmé en C. Puis en R. Enfin Python.", ["Programmé en C.", "Puis en R.", "Enfin Python."]),
        ("Set up e.g. Ceph, i.e. Storage, p. ex. Rados, etc. Then left.", 2),
        ("Installed iRODS 4.2. dCache came later.", ["Installed iRODS 4.2.", "dCache came later."]),
        ("See Fig. 3 and no. 12. Is it fast? No. We stopped... Then went on", 5),
        ("- un\n- deux\n• trois • quatre\n1. cinq\n2) six", ["un", "deux", "trois", "quatre", "cinq", "six"]),
        ("Ligne un\nLigne deux\n\nligne trois", ["Ligne un", "Ligne deux", "ligne trois"]),
        (
            "Une ligne coupée par un éditeur de texte à quatre-vingts\ncolonnes. Et la suite.",
            ["Une ligne coupée par un éditeur de texte à quatre-vingts colonnes.", "Et la suite."],
        ),
        ("Il a dit « bonjour. » Puis rien.", ["Il a dit « bonjour. »", "Puis rien."]),
        ("Utilise .NET et Node.js, cluster.example.org, main.cpp Foo", 1),
        ("C.N.R.S. Paris", 1),
        ("12 nœuds en 2019. 40 en 2021.", ["12 nœuds en 2019.", "40 en 2021."]),
        ("Tuned Ceph; moved AD.", 1),
        ("...\n -- \n???", []),
        ("", []),
    ],
)
def test_sentences(text: str, pieces: list[str] | int) -> None:
    found = sources.split_sentences(text)
    assert (len(found) if isinstance(pieces, int) else found) == pieces


@given(st.text(max_size=300) | st.text(alphabet="aB1.!?… \n\r-•«»()", max_size=200))
def test_sentences_lose_no_letter_and_are_never_empty(text: str) -> None:
    text = text.replace(")", "")  # "a)" is a bullet
    found = sources.split_sentences(text)
    assert all(piece.strip() == piece != "" for piece in found)
    assert [c for c in "".join(found) if c.isalpha()] == [c for c in text if c.isalpha()]


@pytest.mark.parametrize("text", ["." * 200_000, " " * 200_000 + "x", "a. " * 70_000, "\n" * 200_000, "• " * 100_000])
def test_sentences_never_hang(text: str) -> None:
    sources.split_sentences(text)


@pytest.mark.parametrize(
    ("value", "safe"),
    [
        ("=1+1", "'=1+1"),
        ("+cmd", "'+cmd"),
        ("-2+3", "'-2+3"),
        ("@SUM(A1)", "'@SUM(A1)"),
        ("\tx", "'\tx"),
        ("\rx", "'\rx"),
        (" =1", "' =1"),
        ("-3", "-3"),
        ("+3,5", "+3,5"),
        ("a=b", "a=b"),
        ("", ""),
    ],
)
def test_safe_cell(value: str, safe: str) -> None:
    assert sources.safe_cell(value) == safe


@given(st.text(alphabet="'=+-@\t\r a1", max_size=6))
def test_safe_cells_are_undone_when_read_and_never_start_a_formula(value: str) -> None:
    from skillmatch.sources.cells import plain_cell

    safe = sources.safe_cell(value)
    assert plain_cell(safe) == value
    assert safe[:1] not in set("=@\t\r") or safe == ""
    assert not safe.startswith(("+", "-")) or safe[1:].replace(",", ".").replace(".", "", 1).isdigit()


# --- properties ----------------------------------------------------------------------------------------

WORDS = st.text(alphabet="abcdéèàçÉ09 '’,;|:\"\t.-()+", min_size=1, max_size=20).map(str.strip)
FEW = settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


@FEW
@given(
    names=st.lists(WORDS, min_size=1, max_size=4),
    encoding=st.sampled_from(ENCODINGS),
    separator=st.sampled_from(",;\t|"),
)
def test_round_trip_through_csv(tmp_path: Path, names: list[str], encoding: str, separator: str) -> None:
    rows = [[f"S{i}", sources.safe_cell(name), "réseau", "Été à l'île."] for i, name in enumerate(names)]
    path = write_csv(tmp_path / "p.csv", [["id", "name", "skills", "evidence"], *rows], encoding, separator)
    profiles, problems = sources.read_profiles(path)
    assert [p for p in problems if p.severity == "error"] == []
    assert [p.name for p in profiles] == [" ".join(n.split()) for n in names]


JSONISH = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=10),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)
FIELDS = st.sampled_from([*ENGLISH, "needs", "size", "start", "title", "grade", "project_id", "profile_id", "zzz", ""])
ITEMS = st.lists(
    st.dictionaries(st.sampled_from(["name", "level", "last_used", "text", "weight", "must", "date", "q"]), JSONISH)
)


@FEW
@given(st.lists(st.dictionaries(FIELDS, JSONISH | ITEMS, max_size=8), max_size=3))
def test_any_json_value_is_a_record_or_a_problem(tmp_path: Path, rows: list[dict[str, Any]]) -> None:
    path = as_json(tmp_path / "p.json", rows)
    for read in (sources.read_profiles, sources.read_projects, sources.read_judgements):
        records, problems = read(path)
        for problem in problems:
            " ".join(str(part) for part in asdict(problem).values()).encode()
        filled = [i for i, row in enumerate(rows, start=1) if any(_filled(v) for v in row.values())]
        rejected = {p.row for p in problems if p.severity == "error"}
        assert {int(r.source.rpartition(":")[2]) for r in records} | rejected >= set(filled)


def _filled(value: Any) -> bool:
    blank = isinstance(value, str) and not value.strip()
    return not (blank or value is None or value in ([], {}) or (isinstance(value, float) and math.isnan(value)))


@FEW
@given(
    data=st.binary(max_size=300)
    | st.builds(lambda a, b: b"id,skills,updated\n" + a + b"\n" + b, st.binary(max_size=80), st.binary(max_size=80))
    | st.text(alphabet="&*[]{}:,- \n\"'!|>#%@`ai", max_size=80).map(str.encode),
    suffix=st.sampled_from(sorted(tables.READERS)),
    magic=st.sampled_from([b"", b"PK\x03\x04", b"PAR1", b"\xff\xfe", b"[", b"- "]),
)
def test_random_bytes_never_raise(tmp_path: Path, data: bytes, suffix: str, magic: bytes) -> None:
    path = tmp_path / f"p{suffix}"
    path.write_bytes(magic + data)
    for read in (sources.read_profiles, sources.read_projects, sources.read_judgements):
        records, problems = read(path)
        assert records or problems
        assert all(p.problem and p.remedy and p.file == path.name for p in problems)


@settings(FEW, max_examples=40)
@given(place=st.floats(0, 1), byte=st.integers(0, 255), suffix=st.sampled_from(["xlsx", "parquet", "ods"]))
def test_damaged_workbooks_never_raise(tmp_path: Path, place: float, byte: int, suffix: str) -> None:
    path = tmp_path / f"whole.{suffix}"
    if not path.exists():
        FORMATS[suffix](path)
    data = bytearray(path.read_bytes())
    data[int(place * (len(data) - 1))] = byte
    damaged = tmp_path / f"p.{suffix}"
    damaged.write_bytes(data)
    profiles, problems = sources.read_profiles(damaged)
    assert profiles or problems


def test_starting_is_fast() -> None:
    """The heavy libraries are loaded when a file needs them."""
    import subprocess
    import sys

    heavy = ["pandas", "pyarrow", "openpyxl", "yaml", "python_calamine", "rapidfuzz"]
    code = f"import sys, skillmatch.sources; print([m for m in {heavy} if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
