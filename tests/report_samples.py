"""Toy results for the tests of reports: every kind, in good and in hostile words."""

from __future__ import annotations

import csv
import io
from dataclasses import replace
from typing import Any

import jsonschema

from skillmatch.errors import DataError, Problem
from skillmatch.records import Gap, Match, Need, Person, Project, Proof, Reason, Suggestion
from skillmatch.reports import Table, load_schema

LABELS = {"gpu": ("GPU computing", "calcul sur GPU"), "ceph": ("distributed storage", "stockage distribué")}
HOSTILE = [
    "<script>alert('x')</script>",
    "<img src=http://evil.example/x onerror=alert(1)>",
    '"><a href="javascript:alert(1)">x</a>',
    "=cmd|'/C calc'!A0",
    "[bold]shout[/bold] [link=http://evil.example]x[/link]",
    "\x1b[31mred\x1b]0;title\x07 \x9b2J bell\x08",
    "left \u202eright\u202c \u2066isolated\u2069 \u200fmark",
    "one\r\ntwo\nthree\u2028four\x85five",
    "| a | b |\n|---|---|\n# heading **bold** `code` ![i](http://evil.example/i.png) ~~x~~ $x$",
    "word " * 2000,
    "W" * 10_000,
    "工" * 300,
    "half \ud800 a character, \ufffe none",
    "{braces} {0} %s %(x)s",
]


def make_project(**changes: Any) -> Project:
    needs = (
        Need(id="n1", text="Port our reconstruction code to GPU", skill="gpu", weight=3, must=True),
        Need(id="n2", text="Tune recovery of the Ceph cluster", skill="ceph", weight=1.5),
        Need(id="n3", text="welding a vacuum vessel"),
    )
    given = {"id": "P12", "title": "Tracks on GPU", "lab": "LAC", "needs": needs, "source": "projects.csv:4"}
    return Project(**(given | changes))


KALMAN = Proof("Ported the Kalman fit to CUDA, ten times faster.", "project", "profiles.csv:12")
CEPH = Proof("Runs the Ceph cluster of the lab; moved 3 PB.", "note", "profiles.csv:15")
CUDA = Proof("CUDA", "skill", "profiles.csv:15", 2)
BRAZED = Proof("Brazed the pipes of a cryostat", "note", "profiles.csv:9")


def make_answer() -> Suggestion:
    alice = Match(
        1, Person("S07", "Alice Martin", "IPO", "offline"), 0.8312345678, 1.25, True,
        (Reason("n1", 0.91, 2.0, KALMAN), Reason("n2", 0.62, 0.4, KALMAN), Reason("n3", 0.03, -3.0, None)),
    )  # fmt: skip
    bruno = Match(
        2, Person("S11", "", "LAC", None), 0.41, -0.3, False,
        (Reason("n1", 0.12, -1.0, CUDA), Reason("n2", 0.81, 1.0, CEPH)),
        thin=True,
    )  # fmt: skip
    return Suggestion("v1", make_project(), (alice, bruno), (Gap("n3", 0.03, BRAZED),), abstained=False)


def make_nobody() -> Suggestion:
    need = Need(id="n1", text="welding a vacuum vessel")
    project = Project(id="need", description="welding a vacuum vessel", needs=(need,))
    return Suggestion("v1", project, (), (Gap("n1", 0.03, BRAZED),), abstained=True)


def hostile_answer(text: str) -> Suggestion:
    """A suggestion with ``text`` wherever a text can stand; ids keep to the length that records allow."""
    line = text[:90]
    # Records refuse control characters from files; what shows them must not rely on it.
    project = make_project()
    for name, value in (("id", line), ("title", text), ("lab", line), ("description", text)):
        object.__setattr__(project, name, value)
    need = Need(id="n", text="x", skill="s")
    for name, value in (("id", line), ("text", text), ("skill", line)):
        object.__setattr__(need, name, value)
    object.__setattr__(project, "needs", (need,))
    proof = Proof(text, line, line)
    match = Match(1, Person(line, text, line, "asr"), 0.5, 0.0, True, (Reason(line, 0.5, 0.0, proof),))
    silent = replace(match, rank=2, needs=(Reason(line, 0.01, -4.0, None),))
    return Suggestion(line, project, (match, silent), (Gap(line, 0.2, proof),), abstained=False)


ERROR = DataError(
    "The data has 2 errors.",
    "Mend them.",
    [
        Problem("projects.csv", "is no date", "write 2026-05-01", 3, "start", "mai"),
        Problem("profiles.csv", "is empty", "add people"),
    ],
).as_dict()
SKILLS = {
    "schema": "skillmatch.skills/1",
    "text": "du calcul sur carte graphique",
    "skills": [
        {
            "id": "gpu",
            "label": "GPU computing",
            "label_fr": "calcul sur GPU",
            "uri": "",
            "source": "csv",
            "score": 0.9,
        }
    ],
}
ASSIGNMENT = {
    "schema": "skillmatch.assignment/1",
    "model": "v1",
    "projects": [
        {
            "project": "P1",
            "title": "Tracks",
            "members": [{"profile": "S07", "score": 0.8, "covers": ["n1", "n2"], "name": "Alice", "lab": "IPO"}],
            "alternates": [{"profile": "S11", "score": 0.4}],
            "uncovered": ["n3"],
        },
        {"project": "P2", "members": [], "alternates": [], "uncovered": []},
    ],
    "loads": {"S07": 1},
    "objective": 0.8,
    "infeasible": [{"project": "P2", "reason": "storage: 1 person, 3 projects"}],
}
TABLE = Table("Versions", ("id", "score", "kept"), (("v1", 0.8731234, True), ("v2", None, False)), ("Two of them.",))
EVERYTHING = [
    make_answer(),
    make_nobody(),
    [make_answer(), make_nobody()],
    ERROR,
    SKILLS,
    [SKILLS, SKILLS],
    ASSIGNMENT,
    TABLE,
    [],
    {"schema": "other/1", "encoder": "all-MiniLM-L6-v2", "labs": ["LAC", "IPO"]},
]


def valid(data: Any) -> None:
    jsonschema.Draft202012Validator(load_schema(data["schema"])).validate(data)


def read_csv(text: str) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(text, newline="")))
