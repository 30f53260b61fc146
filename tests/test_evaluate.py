"""evaluate and explain: figures that can be recomputed, two versions held to the same, a plot that can be read."""

from __future__ import annotations

import csv
import json
import math
from xml.etree import ElementTree

import pytest

from contract import CONTRACT
from skillmatch import load, training
from skillmatch.metrics import Bin, paired_bootstrap
from skillmatch.records import Judgement
from skillmatch.reports.html import Reliability, report_page
from skillmatch.reports.tables import Table
from skillmatch.sources import read_workspace
from skillmatch.store import Store

GONE = "S11"


@pytest.fixture(scope="module")
def world(trained_lab):
    from skillmatch.runtime import find_workspace

    return load(trained_lab), read_workspace(find_workspace(trained_lab))


@pytest.fixture
def two(lab, quick):
    """The lab with a second version, trained after somebody has left."""
    for name, mark in (("profiles", ";"), ("judgements", ",")):
        path = lab / "data" / f"{name}.csv"
        with path.open(encoding="utf-8", newline="") as file:
            rows = [row for row in csv.reader(file, delimiter=mark) if GONE not in row[:2]]
        with path.open("w", encoding="utf-8", newline="") as file:
            csv.writer(file, delimiter=mark).writerows(rows)
    before = Store(lab / "models").current()
    assert quick("train", "--force", cwd=lab).code == 0
    return lab, before, Store(lab / "models").current()


# --- figures ------------------------------------------------------------------------------------------


def test_groups_and_their_projects(world):
    matcher, data = world
    told = training.evaluate(matcher, data.projects, data.judgements)
    languages = [ids for group, ids in told.members.items() if group.startswith("language")]
    assert sorted(i for ids in languages for i in ids) == sorted(told.by_project)
    assert {"all", "family: asr", "language: fr", "language: en"} <= set(told.groups) & set(told.chances)
    for group, ids in told.members.items():
        for name, interval in {**told.groups.get(group, {}), **told.chances[group]}.items():
            assert 0 <= interval.low <= interval.mean <= interval.high <= 1
            if name != "calibration error":
                values = [told.by_project[i][name] for i in ids if name in told.by_project[i]]
                assert interval.count == len(values)
                assert interval.mean == pytest.approx(sum(values) / len(values))
    assert told.chances["all"]["calibration error"].mean == pytest.approx(told.calibration.ece)
    assert told.chances["all"]["calibration error"].count == sum(b.count for b in told.calibration.bins)


def test_of_one_project_or_one_kind_of_grade(world):
    matcher, data = world
    ids = [p["id"] for p in matcher.people[:4]]
    for grades in ([3], [0], [3, 3, 3], [0, 0, 0]):
        rows = [Judgement("P01", who, grade) for who, grade in zip(ids, grades, strict=False)]
        told = training.evaluate(matcher, data.projects, rows)
        assert told.projects == 1
        assert bool(told.groups) == (max(grades) > 0)
        assert math.isnan(told.abstention["abstained where nobody fits"]) == (max(grades) > 0)
        assert all(c.p == 1 for rows in training.compare(told, told).values() for c in rows.values())
    unknown = training.evaluate(matcher, data.projects, [Judgement("P01", "nobody", 3)])
    assert (unknown.calibration, unknown.groups) == (None, {})
    with pytest.raises(training.UsageError, match="No project"):
        training.evaluate(matcher, data.projects, [])


@pytest.mark.parametrize("grade", [0, 3])
@pytest.mark.parametrize("kind", ["table", "json", "html", "csv"])
def test_few_judgements_in_every_format(quick, trained_lab, tmp_path, kind, grade):
    few = tmp_path / "few.csv"
    few.write_text(f"project_id,profile_id,grade\nP01,S07,{grade}\n", "utf-8")
    done = quick("evaluate", "--judgements", few, "--format", kind, cwd=trained_lab)
    assert done.code == 0, done.err
    assert done.out


def test_people_named_are_ranked_alone(world):
    matcher, data = world
    told = training.evaluate(matcher, data.projects, data.judgements, people=frozenset({"S07"}))
    assert told.groups["all"]["ndcg@5"].mean == 1
    assert all(b.count <= len(told.by_project) for b in told.calibration.bins)


# --- two versions -------------------------------------------------------------------------------------


def test_two_versions_on_the_same_judgements(quick, two):
    lab, before, after = two
    done = quick("evaluate", "--model", before, "--model", after, *CONTRACT, cwd=lab)
    assert done.code == 0, done.err
    told = json.loads(done.out)
    other = told["comparison"]["with"]
    known = len(load(lab, after).people)
    assert known == len(load(lab, before).people) - 1
    assert (told["version"], other["version"], told["comparison"]["people"]) == (before, after, known)
    for name, found in told["comparison"]["differences"]["all"].items():
        both = [
            i for i in told["by_project"] if name in told["by_project"][i] and name in other["by_project"].get(i, {})
        ]
        pairs = [[one["by_project"][i][name] for i in both] for one in (told, other)]
        again = paired_bootstrap(*pairs)
        assert (found["difference"], found["p"], found["count"]) == pytest.approx(
            (again.difference, again.p, len(both))
        )
    swapped = json.loads(quick("evaluate", "--model", after, "--model", before, *CONTRACT, cwd=lab).out)
    for name, found in swapped["comparison"]["differences"]["all"].items():
        assert found["difference"] == pytest.approx(-told["comparison"]["differences"]["all"][name]["difference"])
    shown = quick("evaluate", "--model", before, cwd=lab).out
    assert f"{before} compared with {after}" in shown
    assert max(map(len, shown.splitlines())) <= 80
    assert "comparison" not in json.loads(quick("evaluate", "--model", after, *CONTRACT, cwd=lab).out)
    assert f"{before} comparée à {after}" in quick("--lang", "fr", "evaluate", "--model", before, cwd=lab).out
    three = [a for v in (before, after, "v1") for a in ("--model", v)]
    assert quick("evaluate", *three, cwd=lab).code == 2


# --- pages --------------------------------------------------------------------------------------------


def page(text: str) -> ElementTree.Element:
    """What a page shows; it must be well-formed."""
    return ElementTree.fromstring(text[text.index("<main>") : text.index("</main>") + len("</main>")])


def test_page_with_a_plot(quick, trained_lab, tmp_path):
    out = tmp_path / "report.html"
    assert quick("evaluate", "--out", out, cwd=trained_lab).code == 0
    text = out.read_text("utf-8")
    told = json.loads(quick("evaluate", *CONTRACT, cwd=trained_lab).out)
    assert text == quick("evaluate", "--format", "html", cwd=trained_lab).out
    assert not [word for word in ("<script", "http:", "https:", "src=", "@import") if word in text]
    found = page(text)
    plot = found.find(".//svg")
    assert plot.get("role") == "img"
    named = {e.get("id"): e.tag for e in plot.iter() if e.get("id")}
    assert [named[i] for i in plot.get("aria-labelledby").split()] == ["title", "desc"]
    assert len(plot.findall("circle")) == len(told["calibration"]["bins"])
    assert len(found.findall(".//table")) == 5
    texts = [t.text for t in plot.findall("text")]
    assert {str(b["count"]) for b in told["calibration"]["bins"]} <= set(texts)
    french = quick("--lang", "fr", "evaluate", "--format", "html", cwd=trained_lab).out
    assert 'lang="fr"' in french
    assert "probabilité annoncée" in french


def test_points_lie_where_they_should():
    bins = [Bin(0, 0.1, 4, 0.0, 0.0), Bin(0.9, 1, 9, 1.0, 0.5)]
    plot = Reliability("<b>&", tuple((b.said, b.true, b.count) for b in bins))
    found = page(report_page("<script>", [plot, Table("<i>", ("a",), (("<u>",),))], "en"))
    assert [e.text for e in (*found.iter("h1"), *found.iter("h2"))] == ["<script>", "<b>&", "<i>"]
    frame = {k: float(found.find(".//rect").get(k)) for k in ("x", "y", "width", "height")}
    first, second = [(float(c.get("cx")), float(c.get("cy"))) for c in found.iter("circle")]
    assert first == (frame["x"], frame["y"] + frame["height"])
    assert second == (frame["x"] + frame["width"], frame["y"] + frame["height"] / 2)
    assert "said 100%, true 50%, 9 pairs" in found.find(".//desc").text


def test_rows_for_spreadsheets(quick, trained_lab, tmp_path):
    out = tmp_path / "figures.csv"
    assert quick("evaluate", "--out", out, cwd=trained_lab).code == 0
    rows = list(csv.DictReader(out.read_text("utf-8-sig").splitlines()))
    told = json.loads(quick("evaluate", *CONTRACT, cwd=trained_lab).out)
    mean = {(r["group"], r["metric"]): float(r["mean"]) for r in rows}
    assert mean["all", "ndcg@5"] == told["groups"]["all"]["ndcg@5"]["mean"]
    assert mean["all", "calibration error"] == told["calibration"]["ece"]
    assert quick("evaluate", "--out", tmp_path / "figures.xlsx", cwd=trained_lab).code == 0


# --- explain ------------------------------------------------------------------------------------------


def explained(quick, lab, who):
    done = quick("explain", "P03", who, *CONTRACT, cwd=lab)
    assert done.code == 0, done.err
    return json.loads(done.out)


def test_claimed_against_evidenced(quick, trained_lab, world):
    matcher, _ = world
    sides = set()
    for person in matcher.people[:12]:
        for need in explained(quick, trained_lab, person["id"])["needs"]:
            claim, sentence = need["claimed"], need["shown"]
            assert claim is None or claim["kind"] == "skill"
            assert sentence is None or sentence["kind"] != "skill"
            assert need["skill"] or (claim, sentence) == (None, None)
            sides.add((claim is not None, sentence is not None))
    assert len(sides) >= 3


def test_what_would_raise_the_rank(quick, trained_lab, world):
    matcher, _ = world
    for person in matcher.people[:12]:
        told = explained(quick, trained_lab, person["id"])
        needs = {n["id"]: n for n in told["needs"]}
        lacking = {m["need"] for m in told["missing"]}
        for lift in told["to_rank_higher"]:
            proof = needs[lift["need"]]["evidence"]
            kind = "nothing" if proof is None else "claimed only" if proof["kind"] == "skill" else "more"
            assert (lift["lack"], lift["level"]) == (kind, needs[lift["need"]]["level"] or 4)
            assert told["better"] is None or lift["need"] in lacking
        if told["better"] is None:
            assert {lift["lack"] for lift in told["to_rank_higher"]} <= {"nothing"}


def test_a_thin_profile_is_said_to_be_thin(quick, trained_lab, world):
    matcher, _ = world
    thin = next(p["id"] for p in matcher.people if p["thin"] and p["availability"] != 0)
    shown = " ".join(quick("explain", "P03", thin, cwd=trained_lab).out.split())
    assert "thin profile: little to go by" in shown
    assert "To rank higher, the profile would need" in shown
    assert "any true sentence" in shown


def test_the_rows_add_up_to_the_score(quick, trained_lab):
    told = explained(quick, trained_lab, "S07")
    weights = [n["weight"] for n in told["needs"]]
    mean = sum(w * n["raw"] for w, n in zip(weights, told["needs"], strict=True)) / sum(weights)
    assert mean == pytest.approx(told["raw"], abs=1e-6)
    table = quick("explain", "P03", "S07", "--format", "markdown", cwd=trained_lab).out
    row = next(line for line in table.splitlines() if line.startswith("| all |")).split("|")[2:-1]
    *parts, raw = map(float, row)
    assert sum(parts) == pytest.approx(raw, abs=0.005)
    assert raw == pytest.approx(told["raw"], abs=0.001)
