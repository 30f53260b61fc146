"""Reports: the JSON contract, what people read, rows, and where it all goes."""

from __future__ import annotations

import io
import json
import re
import subprocess
import sys
from dataclasses import replace
from datetime import date
from pathlib import Path
from typing import Any

import jsonschema
import openpyxl
import pytest
from rich.cells import cell_len

import skillmatch
from report_samples import (
    ASSIGNMENT,
    BRAZED,
    CEPH,
    ERROR,
    EVERYTHING,
    HOSTILE,
    KALMAN,
    LABELS,
    SKILLS,
    TABLE,
    hostile_answer,
    make_answer,
    make_nobody,
    make_project,
    read_csv,
    valid,
)
from skillmatch import reports
from skillmatch.errors import UsageError
from skillmatch.records import Gap, Match, Need, Person, Proof, Reason, Suggestion
from skillmatch.reports import (
    Table,
    format_of,
    load_schema,
    render,
    suggestion_dict,
    write,
)
from skillmatch.reports.content import percent, shorten
from skillmatch.reports.data import SCHEMAS

SOURCE = Path(skillmatch.__file__).parent

# The JSON contract


@pytest.mark.parametrize("name", SCHEMAS)
def test_schemas_are_schemas(name: str) -> None:
    schema = load_schema(name)
    jsonschema.Draft202012Validator.check_schema(schema)
    assert schema["title"] == name


def test_every_schema_file_has_a_name() -> None:
    assert {path.name for path in (SOURCE / "schemas").iterdir()} == set(SCHEMAS.values())


def test_unknown_schema_is_refused() -> None:
    with pytest.raises(UsageError, match="no schema") as caught:
        load_schema("skillmatch.suggestion/2")
    assert "skillmatch.suggestion/1" in caught.value.hint


@pytest.mark.parametrize("result", [make_answer(), make_nobody(), ERROR, SKILLS, ASSIGNMENT])
def test_json_keeps_the_contract(result: Any) -> None:
    valid(json.loads(render(result, "json")))


def test_suggestion_is_the_documented_object() -> None:
    assert suggestion_dict(make_answer()) == {
        "schema": "skillmatch.suggestion/1",
        "model": "v1",
        "project": {
            "id": "P12",
            "title": "Tracks on GPU",
            "lab": "LAC",
            "needs": [
                {
                    "id": "n1",
                    "text": "Port our reconstruction code to GPU",
                    "skill": "gpu",
                    "weight": 3,
                    "must": True,
                },
                {
                    "id": "n2",
                    "text": "Tune recovery of the Ceph cluster",
                    "skill": "ceph",
                    "weight": 1.5,
                    "must": False,
                },
                {"id": "n3", "text": "welding a vacuum vessel", "skill": None, "weight": 1, "must": False},
            ],
        },
        "matches": [
            {
                "rank": 1,
                "profile": {"id": "S07", "name": "Alice Martin", "lab": "IPO", "family": "offline"},
                "score": 0.8312345678,
                "raw": 1.25,
                "cross_lab": True,
                "thin": False,
                "needs": [
                    {
                        "need": "n1",
                        "score": 0.91,
                        "evidence": {"text": KALMAN.text, "kind": "project", "source": "profiles.csv:12"},
                    },
                    {
                        "need": "n2",
                        "score": 0.62,
                        "evidence": {"text": KALMAN.text, "kind": "project", "source": "profiles.csv:12"},
                    },
                    {"need": "n3", "score": 0.03, "evidence": None},
                ],
            },
            {
                "rank": 2,
                "profile": {"id": "S11", "name": "", "lab": "LAC", "family": None},
                "score": 0.41,
                "raw": -0.3,
                "cross_lab": False,
                "thin": True,
                "needs": [
                    {
                        "need": "n1",
                        "score": 0.12,
                        "evidence": {"text": "CUDA", "kind": "skill", "source": "profiles.csv:15"},
                    },
                    {
                        "need": "n2",
                        "score": 0.81,
                        "evidence": {"text": CEPH.text, "kind": "note", "source": "profiles.csv:15"},
                    },
                ],
            },
        ],
        "gaps": [{"need": "n3", "best_score": 0.03}],
        "abstained": False,
    }
    assert '"weight": 3,' in render(make_answer(), "json")


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (("matches", 0, "score"), 1.2),
        (("matches", 0, "surprise"), 1),
        (("matches", 0, "needs", 0, "evidence"), "a text"),
        (("project", "needs", 0, "weight"), 9),
        (("abstained",), None),
        (("schema",), "skillmatch.suggestion/2"),
    ],
)
def test_schema_refuses_what_breaks_the_contract(path: tuple[Any, ...], value: Any) -> None:
    data = suggestion_dict(make_answer())
    schema = load_schema("skillmatch.suggestion/1")
    inner: Any = data
    for key in path[:-1]:
        inner = inner[key]
    inner[path[-1]] = value
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.Draft202012Validator(schema).validate(data)


def test_jsonl_is_one_suggestion_a_line() -> None:
    answers = [make_answer(), hostile_answer("one\ntwo\u2028three\x85four"), make_nobody()]
    lines = render(answers, "jsonl").splitlines()
    assert [json.loads(line) for line in lines] == [suggestion_dict(s) for s in answers]
    assert [json.loads(render(s, "jsonl")) for s in answers] == [json.loads(line) for line in lines]
    assert render([], "jsonl") == ""
    assert json.loads(render([make_nobody()], "json")) == [suggestion_dict(make_nobody())]


def test_numpy_dates_and_numbers_that_are_none_become_json() -> None:
    import numpy as np

    row = (np.float32(0.5), np.int64(3), float("nan"), date(2026, 5, 1), (1, "x"), Path("a"), np.bool_(True))
    table = Table("", tuple("abcdefg"), (row,))
    got = json.loads(render(table, "json"))
    assert got == [{"a": 0.5, "b": 3, "c": None, "d": "2026-05-01", "e": [1, "x"], "f": "a", "g": True}]


def test_a_table_with_a_crooked_row_is_refused() -> None:
    with pytest.raises(ValueError, match="row 2 has 1 cells, the table 2 columns"):
        Table("", ("a", "b"), ((1, 2), (3,)))


# What people read


def test_terminal_says_needs_people_proofs_and_gaps() -> None:
    text = render(make_answer(), "table", width=80, labels=LABELS)
    said = re.sub(r"\s+", " ", text)
    assert "P12 Tracks on GPU (LAC)" in said
    assert "n1 ●●● must GPU computing Port our reconstruction code to GPU" in said
    assert "1. Alice Martin (S07) ████████░░ 83%" in said
    assert "IPO · offline · ◆ other lab" in said
    assert "n1 91% “Ported the Kalman fit to CUDA" in said
    assert "n2 62%" in said
    assert said.count("Ported the Kalman fit") == 1  # one sentence, two needs: read once
    assert "profiles.csv:12" in said
    assert "nothing in the profile on n3" in said
    assert "2. S11" in said
    assert "LAC n1 12%" in said  # the asker's own lab carries no mark
    assert "“CUDA”, a skill they declare, level 2 of 5" in said
    assert said.count("thin profile") == 1
    assert "Nobody covers n3 “welding a vacuum vessel”. Closest: “Brazed the pipes of" in said
    assert "cryostat” (profiles.csv:9)" in said
    assert "skillmatch explain P12 S07" in said
    assert "\x1b" not in text


def test_proofs_come_in_the_order_of_the_needs() -> None:
    said = make_answer()
    turned = replace(said.matches[0], needs=said.matches[0].needs[::-1])
    assert render(replace(said, matches=(turned, said.matches[1])), "table") == render(said, "table")


def test_terminal_names_the_needs_where_there_is_room() -> None:
    text = render(make_answer(), "table", width=110, labels=LABELS)
    assert re.search(r"n1 GPU computing +91%", text)
    assert not re.search(r"n1 GPU computing +91%", render(make_answer(), "table", width=80, labels=LABELS))


def test_terminal_says_plainly_that_nobody_fits() -> None:
    text = re.sub(r"\s+", " ", render(make_nobody(), "table", width=80))
    assert "Nobody in these profiles covers “welding a vacuum vessel”. Closest: “Brazed" in text
    assert "People" not in text
    assert "explain" not in text
    no_gap = replace(make_nobody(), gaps=())
    assert "Nobody in these profiles fits." in render(no_gap, "table", width=80)
    nothing = replace(make_nobody(), gaps=(Gap("n1", 0.0),))
    assert "Nothing in the profiles comes close." in re.sub(r"\s+", " ", render(nothing, "table", width=80))


def test_everybody_asked_for_although_nobody_reaches_the_bar() -> None:
    everyone = replace(make_answer(), abstained=True)
    text = re.sub(r"\s+", " ", render(everyone, "table", width=80))
    assert "Nobody reaches the bar" in text
    assert "Alice Martin" in text
    assert re.search(r"Tracks on GPU +nobody +n3 .*\n +Alice Martin", render([everyone], "table", width=100))


def test_a_typed_question_is_explained_by_its_text() -> None:
    typed = replace(make_answer(), project=make_project(id="need", title="", description="port to GPU", source=""))
    text = re.sub(r"\s+", " ", render(typed, "table", width=80))
    assert "skillmatch explain 'port to GPU' S07" in text


def test_ids_in_the_command_are_quoted_for_a_shell() -> None:
    odd = replace(make_answer(), project=make_project(id="P 1; rm"))
    assert "skillmatch explain 'P 1; rm' S07" in render(odd, "table", width=100)


def test_several_suggestions_are_a_row_each() -> None:
    text = render([make_answer(), make_nobody()], "table", width=120)
    assert re.search(r"P12 Tracks on GPU +Alice Martin \(S07\), IPO 83% +n3 welding a vacuum vessel", text)
    assert re.search(r"welding a vacuum vessel +nobody +n1 welding", text)
    assert "People were found for 1 of 2 projects." in text


@pytest.mark.parametrize("lang", reports.LANGS)
@pytest.mark.parametrize("result", EVERYTHING)
def test_tables_keep_to_the_width(result: Any, lang: str) -> None:
    for width in (80, 100, 120):
        text = render(result, "table", lang=lang, width=width, labels=LABELS)
        assert text
        assert max(map(cell_len, text.splitlines())) <= width
        assert not any(line.endswith(" ") for line in text.splitlines())


def test_words_too_long_for_a_line_are_folded_not_cut() -> None:
    long = make_project(title="", description="T" * 95, needs=(Need(id="n1", text="N" * 110, skill="C" * 90),))
    reason = Reason("n1", 0.5, 0.0, Proof("E" * 230, "note", "S" * 90))
    match = Match(1, Person("I" * 90, "A" * 200, "L" * 200, None), 0.5, 0.0, False, (reason,))
    said = Suggestion("v1", long, (match,), (Gap("n1", 0.0),), abstained=False)
    shown = re.sub(r"\s", "", render(said, "table", width=60))
    for letter, times in (("T", 95), ("N", 110), ("C", 90), ("E", 230), ("S", 90), ("A", 200), ("L", 200)):
        assert shown.count(letter) >= times, letter


def test_colour_is_only_there_when_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    coloured = render(make_answer(), "table", width=80, color=True)
    monkeypatch.setenv("FORCE_COLOR", "1")
    plain = render(make_answer(), "table", width=80)
    assert "\x1b[" in coloured
    assert "\x1b" not in plain
    assert re.sub(r" +\n", "\n", re.sub(r"\x1b\[[0-9;]*m", "", coloured)) == plain


def test_other_objects_as_tables() -> None:
    error = re.sub(r"\s+", " ", render(ERROR, "table", width=120))
    assert "The data has 2 errors." in error
    assert "projects.csv:3 [start] mai is no date write 2026-05-01" in error
    assert "Mend them." in error
    assert "GPU computing" in render(SKILLS, "table", width=100)
    assert "calcul sur GPU" in render(SKILLS, "table", lang="fr", width=100).splitlines()[4]
    team = re.sub(r"\s+", " ", render(ASSIGNMENT, "table", width=120))
    assert "P1 Tracks member Alice (S07) IPO 80% n1, n2" in team
    assert "P1 Tracks alternate S11 40%" in team
    assert "P2 nobody" in team
    assert "P1: nobody covers n3." in team
    assert "P2: storage: 1 person, 3 projects" in team
    assert "Projects a person: S07 1." in team
    versions = re.sub(r"\s+", " ", render(TABLE, "table", lang="fr", width=80))
    assert "v1 0,8731 oui v2 non" in versions
    empty = Table("Versions", ("id",), ())
    assert "Nothing to show." in render(empty, "table")


def test_percent_never_rounds_to_certainty() -> None:
    given = (0.0, 0.001, 0.005, 0.5, 0.996, 1.0)
    assert [percent(p, "en") for p in given] == ["0%", "<1%", "<1%", "50%", "99%", "100%"]
    assert percent(0.83, "fr") == "83\u00a0%"


def test_shorten_cuts_after_a_word_and_never_exceeds() -> None:
    assert shorten("short", 10) == "short"
    assert shorten("porting the reconstruction code", 20) == "porting the…"
    assert shorten("W" * 50, 10) == "W" * 9 + "…"
    assert all(len(shorten("ab, cd ef; gh " * 9, n)) <= n for n in range(2, 60))


def test_french_report() -> None:
    text = re.sub(r"[\s\u00a0\u202f]+", " ", render(make_answer(), "table", lang="fr", width=100, labels=LABELS))
    for said in (
        "Besoins compris", "indispensable", "calcul sur GPU", "83 %", "autre labo", "« Ported the Kalman fit",
        "Personne ne couvre n3 « welding a vacuum vessel ». Au plus près : « Brazed", "profil peu rempli",
    ):  # fmt: skip
        assert said in text
    nobody = re.sub(r"[\s\u00a0]+", " ", render(make_nobody(), "markdown", lang="fr"))
    assert "Personne dans ces profils ne couvre « welding a vacuum vessel »." in nobody


# CSV and XLSX


def test_csv_is_a_row_a_match_and_need() -> None:
    text = render([make_answer(), make_nobody()], "csv", lang="fr")
    rows = read_csv(text)
    assert text.splitlines()[0] == (
        "project_id,rank,profile_id,name,lab,family,score,cross_lab,need_id,need,need_score,evidence,source"
    )
    assert [(r["project_id"], r["rank"], r["profile_id"], r["need_id"]) for r in rows] == [
        ("P12", "1", "S07", "n1"),
        ("P12", "1", "S07", "n2"),
        ("P12", "1", "S07", "n3"),
        ("P12", "2", "S11", "n1"),
        ("P12", "2", "S11", "n2"),
        ("need", "", "", ""),
    ]
    assert float(rows[0]["score"]) == 0.8312345678
    assert (rows[0]["cross_lab"], rows[3]["cross_lab"]) == ("true", "false")
    assert rows[0]["need"] == "Port our reconstruction code to GPU"
    assert (rows[0]["evidence"], rows[0]["source"]) == (KALMAN.text, "profiles.csv:12")
    assert rows[2]["evidence"] == rows[2]["source"] == ""


@pytest.mark.parametrize("text", ['a "quoted", piece; of\ntext', "tab\there", "été — ñ 工", "  spaced  ", "'quoted'"])
def test_csv_round_trips(text: str) -> None:
    answer = hostile_answer("x")
    proof = Proof(text, "note", "profiles.csv:2")
    match = replace(answer.matches[0], needs=(Reason("n1", 0.25, 0.0, proof),))
    rows = read_csv(render(replace(answer, matches=(match,)), "csv"))
    assert [row["evidence"] for row in rows] == [text]


def test_csv_of_other_objects() -> None:
    team = read_csv(render(ASSIGNMENT, "csv"))
    told = [(r["project_id"], r["role"], r["profile_id"], r["covers"], r["uncovered"], r["infeasible"]) for r in team]
    assert told == [
        ("P1", "member", "S07", "n1; n2", "n3", ""),
        ("P1", "alternate", "S11", "", "n3", ""),
        ("P2", "", "", "", "", "storage: 1 person, 3 projects"),
    ]
    assert [r["row"] for r in read_csv(render(ERROR, "csv"))] == ["3", ""]
    alone = UsageError("There is no project 'P9'.", "See the list.").as_dict()
    assert read_csv(render(alone, "csv"))[0]["problem"] == "There is no project 'P9'."
    assert [r["id"] for r in read_csv(render([SKILLS, SKILLS | {"skills": []}], "csv"))] == ["gpu", ""]
    assert read_csv(render(TABLE, "csv"))[0] == {"id": "v1", "score": "0.8731234", "kept": "true"}


def test_xlsx_holds_the_rows_and_no_formula(tmp_path: Path) -> None:
    out = tmp_path / "a.xlsx"
    write([make_answer(), make_nobody(), *map(hostile_answer, HOSTILE)], "xlsx", out)
    book = openpyxl.load_workbook(out)
    assert book.sheetnames == ["matches", "gaps"]
    first = [cell.value for cell in book["matches"][2]]
    assert first[:8] == ["P12", 1, "S07", "Alice Martin", "IPO", "offline", 0.8312345678, True]
    assert book["gaps"]["E2"].value == BRAZED.text
    cells = [cell for sheet in book for row in sheet.iter_rows() for cell in row]
    assert not {cell.data_type for cell in cells} & {"f", "e"}  # formula, error value
    assert any(cell.value == "=cmd|'/C calc'!A0" for cell in cells)
    write(TABLE, "xlsx", out)
    assert openpyxl.load_workbook(out)["data"]["B2"].value == 0.8731234


# Formats and files


@pytest.mark.parametrize(
    ("path", "given", "expected"),
    [
        (None, None, "table"),
        (None, "jsonl", "jsonl"),
        ("a.json", None, "json"),
        ("a.JSONL", None, "jsonl"),
        ("a.csv", "csv", "csv"),
        ("a.md", None, "markdown"),
        ("a.markdown", None, "markdown"),
        ("a.html", None, "html"),
        ("a.xlsx", None, "xlsx"),
        ("a.xlsx", "xlsx", "xlsx"),
        ("a.txt", None, "table"),
        ("a.dat", "json", "json"),
    ],
)
def test_format_of(path: str | None, given: str | None, expected: str) -> None:
    assert format_of(None if path is None else Path(path), given) == expected


@pytest.mark.parametrize(
    ("path", "given"), [(None, "yaml"), ("a.dat", None), ("a", None), ("a.json", "csv"), ("a.xlsx", "json")]
)
def test_format_of_names_the_choices(path: str | None, given: str | None) -> None:
    with pytest.raises(UsageError) as caught:
        format_of(None if path is None else Path(path), given)
    assert "jsonl" in caught.value.hint
    assert ".xlsx" in caught.value.hint


def test_xlsx_goes_to_a_file_alone() -> None:
    for refused in (lambda: format_of(None, "xlsx"), lambda: write(TABLE, "xlsx", None)):
        with pytest.raises(UsageError, match="to a file"):
            refused()
    with pytest.raises(UsageError, match="no format 'xlsx'"):
        render(TABLE, "xlsx")


def test_files_are_replaced_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    out = tmp_path / "out.csv"
    write(TABLE, "csv", out)
    assert out.read_bytes().startswith(b"\xef\xbb\xbfid,score,kept\n")
    before = out.read_bytes()

    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr("os.fsync", full)
        with pytest.raises(UsageError, match="No space left"):
            write(make_answer(), "csv", out)
    assert out.read_bytes() == before
    write(make_answer(), "json", out.with_suffix(".json"))
    valid(json.loads(out.with_suffix(".json").read_bytes()))
    assert {path.name for path in tmp_path.iterdir()} == {"out.csv", "out.json"}


def test_unwritable_places_are_named(tmp_path: Path) -> None:
    for out in (tmp_path / "none" / "a.json", tmp_path):
        with pytest.raises(UsageError) as caught:
            write(TABLE, "json", out)
        assert str(out) in caught.value.message
        assert caught.value.hint


def test_a_link_keeps_leading_to_the_file(tmp_path: Path) -> None:
    (tmp_path / "real.txt").write_text("old")
    (tmp_path / "link.txt").symlink_to("real.txt")
    write("new\n", "table", tmp_path / "link.txt")
    assert (tmp_path / "link.txt").is_symlink()
    assert (tmp_path / "real.txt").read_text() == "new\n"


def test_standard_output_gets_what_it_can_show(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    write(make_answer(), "table", None, width=80)
    assert capsys.readouterr().out == render(make_answer(), "table", width=80)
    raw = io.BytesIO()
    monkeypatch.setattr("sys.stdout", io.TextIOWrapper(raw, encoding="ascii"))
    write(make_answer(), "table", None, lang="fr", width=80)
    assert b"Alice Martin (S07)" in raw.getvalue()


def test_formats_start_with_what_they_need() -> None:
    code = (
        "import sys; from skillmatch.reports import Table, render\n"
        "def shown(*formats):\n"
        "    for name in formats: render(Table('t', ('a',), ((1,),)), name)\n"
        "    heavy = ('rich', 'openpyxl', 'pandas', 'jinja2', 'matplotlib', 'torch')\n"
        "    print(','.join(m for m in heavy if m in sys.modules))\n"
        "shown('json', 'jsonl', 'csv', 'markdown'); shown('html')"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines() == ["", "jinja2"]
