"""The page, its pictures and the workbook of a plan: everything is there, nothing written in a profile steers them."""

from __future__ import annotations

import json
import re
import sys
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
import openpyxl
import pytest

from report_samples import LABELS, valid
from skillmatch.allocation import Demand, Rules, Worker, assign
from skillmatch.cli.session import Session
from skillmatch.records import Need, Person, Project
from skillmatch.reports import LANGS, assignment_dict, pictures, plan_pictures, render, tr, write
from skillmatch.reports import plan_figures as figures
from skillmatch.reports.content import clean
from skillmatch.reports.pictures import PALETTE, STEPS, step
from skillmatch.reports.plan_sheets import sheet_name
from skillmatch.reports.plans import Planned
from test_reports_pages import read_html

NASTY = [
    "<script>document.title='x'</script>",
    "=1+1",
    "left \u202eright\u202c",
    "<img src=http://evil.example/x>",
    "$x^2$ \\frac{a}{b} & {braces} %s",
    "ليلى 工程師 \U0001f469",
]
LABS = ("LAC", "IPO", "CSA", "")


def make_plan(name: Callable[[int], str] = "Person {}".format, projects: int = 4, people: int = 8) -> Planned:
    """A plan by the solver: person i answers need (i + project) % 3 of each; the third need of P1 has nobody."""
    who = {f"S{i}": Person(f"S{i}", name(i), LABS[i % 4], "offline") for i in range(people)}
    understood, demands = {}, {}
    for p in range(1, projects + 1):
        needs = tuple(Need(id=f"n{k}", text=f"task {k} of {p}", weight=2, must=k == 0) for k in range(3))
        understood[f"P{p}"] = Project(f"P{p}", title=f"Project {p}", lab=LABS[p % 3], needs=needs)
        scores = np.array([[0.9 - 0.01 * i if (i + p) % 3 == k else 0.05 for i in range(people)] for k in range(3)])
        if p == 1:
            scores[2] = 0.0
        demands[f"P{p}"] = Demand(f"P{p}", 2, needs, tuple(who), scores.max(axis=0), scores)
    workers = tuple(Worker(p.id, p.lab, p.family, 2) for p in who.values())
    found = assign(workers, list(demands.values()), Rules())
    return assignment_dict(found, "v1", understood, demands, who, LABELS, {w.id: w.capacity for w in workers})


@pytest.fixture(scope="module")
def plan() -> Planned:
    return make_plan()


@pytest.fixture(scope="module")
def pages(plan: Planned) -> dict[str, str]:
    """Its page in each language."""
    return {lang: render(plan, "html", lang=lang) for lang in LANGS}


def make_hostile() -> Planned:
    """A larger one, with hostile names, labs, titles and words of needs."""
    made = make_plan(lambda i: NASTY[i % len(NASTY)], projects=6, people=12)
    told = json.loads(json.dumps(made))
    for number, project in enumerate(told["projects"]):
        project["title"] = project["lab"] = NASTY[number % len(NASTY)]
        for need in project["needs"]:
            need["text"] = NASTY[number % len(NASTY)]
        for person in (*project["members"], *project["alternates"]):
            person["lab"] = NASTY[number % len(NASTY)]
    people = {i: replace(p, lab=NASTY[int(i[1:]) % len(NASTY)]) for i, p in made.people.items()}
    return Planned(told, made.demands, people, {}, made.room)


@pytest.fixture(scope="module")
def hostile() -> Planned:
    return make_hostile()


def words(page: str) -> str:
    return " ".join("".join(read_html(page).text).split())


def section(page: str, name: str) -> str:
    """The text of one section."""
    return words(markup(page, name))


def markup(page: str, name: str) -> str:
    found = re.search(rf'<section id="{name}".*?</section>', page, re.S)
    assert found, name
    return found.group()


def drawings(page: str) -> list[ElementTree.Element]:
    """The pictures that are read out; each must be well-formed."""
    return [ElementTree.fromstring(svg) for svg in re.findall(r"<svg[^>]*role=\"img\".*?</svg>", page, re.S)]


# --- figures ----------------------------------------------------------------------------------------------


def test_the_plan_is_still_the_contract(plan: Planned) -> None:
    valid(json.loads(render(plan, "json")))


def test_figures_add_up(plan: Planned) -> None:
    placed = sum(len(p["members"]) for p in plan["projects"])
    assert placed > 4
    assert {one.who: len(one.projects) for one in figures.loads(plan) if one.projects} == plan["loads"]
    assert {one.who for one in figures.loads(plan)} == set(plan.people)
    assert [one.lab for one in figures.loads(plan)] == ["CSA"] * 2 + ["IPO"] * 2 + ["LAC"] * 2 + [""] * 2
    assert figures.links(plan).total() == placed
    (heat,) = figures.heat_maps(plan)
    assert set(heat.people) == set(plan["loads"])
    for project, lines in heat.groups:
        for line in lines:
            covered = max((line.scores.get(m["profile"], 0.0) for m in project["members"]), default=0.0)
            assert covered == line.need["score"]
            assert (covered == 0) == (line.need["id"] in project["uncovered"])
    found = figures.holes(plan, "en")
    holes = {(h.project["project"], (h.need or {}).get("id")) for h in found}
    assert ("P1", "n2") in holes
    for hole in found:
        if hole.need and hole.need["id"] in hole.project["uncovered"]:
            team = {m["profile"] for m in hole.project["members"]}
            assert not team & {who for who, _ in hole.others}
    assert {(p["project"], n) for p in plan["projects"] for n in p["uncovered"]} <= holes


def test_every_shortfall_is_told_once_with_its_reason(plan: Planned) -> None:
    told = {**plan, "infeasible": [*plan["infeasible"]]}
    short = {"project": "P2", "hard": True, "need": None, "topic": "", "topic_fr": "", "people": [], "projects": []}
    told["infeasible"].append({**short, "kind": "labs", "wanted": 3, "found": 2, "reason": "x"})
    holes = figures.holes(Planned(told, plan.demands, plan.people), "fr")
    (hole,) = (h for h in holes if h.hard and h.need is None)
    assert hole.project["project"] == "P2"
    assert "3 labos" in hole.why


def test_maps_are_cut_between_projects_into_even_parts(plan: Planned, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(figures, "_NEEDS", 8)
    maps = figures.heat_maps(plan)
    assert [[p["project"] for p, _ in m.groups] for m in maps] == [["P1", "P2"], ["P3", "P4"]]
    assert len({m.people for m in maps}) == 1
    monkeypatch.setattr(figures, "_NEEDS", 2)
    assert [[len(lines) for _, lines in m.groups] for m in figures.heat_maps(plan)] == [[2], [1]] * 4


def test_of_a_large_plan_the_worst_is_drawn(plan: Planned, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(figures, "MOST_PEOPLE", 3)
    monkeypatch.setattr(figures, "MOST_NEEDS", 6)
    monkeypatch.setattr(figures, "_NEEDS", 3)
    monkeypatch.setattr(plan_pictures, "_MOST_PEOPLE", 3)
    monkeypatch.setattr(plan_pictures, "_MOST_LABS", 2)
    maps = figures.heat_maps(plan)
    worst = sorted(plan["projects"], key=lambda p: p["coverage"])
    assert [[p["project"] for p, _ in m.groups] for m in maps] == [[p["project"]] for p in worst[:2]]
    for heat, project in zip(maps, worst, strict=False):
        assert {m["profile"] for m in project["members"]} <= set(heat.people)
    page = render(plan, "html")
    assert "the table holds all" in section(page, "coverage")
    assert section(page, "coverage").count("task 0 of") >= 4
    links = next(d for d in drawings(page) if d.get("aria-labelledby", "").startswith("links-"))
    assert any("other labs" in (t.text or "") for t in links.iter("text"))
    counted = next(d for d in drawings(page) if d.get("aria-labelledby", "").startswith("load-"))
    numbers = [len(one.projects) for one in figures.loads(plan)]
    assert {f"{n} projects" for n in range(max(numbers) + 1)} <= {t.text for t in counted.iter("text")}


# --- page -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("lang", LANGS)
def test_the_page_holds_everything(plan: Planned, pages: dict[str, str], lang: str) -> None:
    page = pages[lang]
    reader = read_html(page)
    assert ("lang", lang) in reader.attributes
    assert reader.tags.count("table") == reader.tags.count("caption") == 5
    assert reader.attributes.count(("tabindex", "0")) == reader.attributes.count(("role", "region")) >= 6
    ids = [value for name, value in reader.attributes if name == "id"]
    assert len(ids) == len(set(ids))
    pointed = {v for name, value in reader.attributes if name == "aria-labelledby" for v in (value or "").split()}
    pointed |= {(value or "")[1:] for name, value in reader.attributes if name == "href"}
    assert pointed <= set(ids)
    assert {"plan", "coverage", "load", "labs", "gaps"} <= pointed
    for project in plan["projects"]:
        assert project["title"] in section(page, "plan")
        for member in project["members"]:
            for part in ("plan", "coverage", "load"):
                assert f"{member['name']} ({member['profile']})" in section(page, part)
    for person in plan.people.values():
        assert f"{person.name} ({person.id})" in section(page, "load")
    assert "task 2 of 1" in section(page, "gaps")
    for said in ("Who covers what", "Links between labs", "Legend", "must be covered", "room for one more", "team"):
        assert (f">{said}<" in page or f" {said}<" in page or f'"{said}"' in page) == (lang == "en"), said
        assert tr(said, lang) in page


def test_needs_are_called_by_their_skill(plan: Planned) -> None:
    told = json.loads(json.dumps(plan))
    for project in told["projects"]:
        for need in project["needs"]:
            need["skill"] = "ceph"
    page = render(Planned(told, plan.demands, plan.people, LABELS, plan.room), "html", lang="fr")
    for part in ("plan", "coverage", "gaps"):
        assert "stockage distribué" in section(page, part)
        assert "task 1" not in section(page, part)


def test_nobody_at_all_is_a_page_too(plan: Planned) -> None:
    told = {**plan, "loads": {}}
    told["projects"] = [{**p, "members": [], "alternates": []} for p in plan["projects"]]
    page = render(Planned(told, plan.demands, plan.people), "html")
    assert "nobody" in section(page, "plan")
    assert "Nothing to show." in section(page, "labs")
    nothing = render(Planned({**told, "projects": [], "infeasible": []}, {}, {}), "html")
    assert "every need is covered" in section(nothing, "gaps")
    assert "Nothing to show." in section(nothing, "load")


@pytest.mark.parametrize("lang", LANGS)
def test_hostile_text_is_text(hostile: Planned, pages: dict[str, str], lang: str) -> None:
    page = render(hostile, "html", lang=lang)
    reader, harmless = read_html(page), read_html(pages[lang])
    assert set(reader.tags) <= set(harmless.tags)
    assert not re.search("[\u202a-\u202e\u2066-\u2069]", page)
    bare = re.sub(r"&[lg]t;|&quot;|&#34;|&#39;", "", "".join(re.findall("<[^>]*>", page)))
    assert not re.search(r"https?:|\bsrc=|@import|url\((?!#)|<script|<link|\bon\w+=", bare)
    for part in ("plan", "coverage", "load", "labs", "gaps"):
        text = section(page, part)
        for nasty in NASTY:
            assert (part == "gaps" and nasty != NASTY[0]) or " ".join(clean(nasty).split()) in text
    assert page.count("<bdi") > 50


@pytest.mark.parametrize("lang", LANGS)
def test_the_page_is_responsive_printable_and_offline(pages: dict[str, str], lang: str) -> None:
    page = pages[lang]
    assert 'name="viewport"' in page
    assert "@media print" in page
    assert "print-color-adjust: exact" in page
    assert "@media screen and (max-width: 40rem)" in page
    assert ":focus-visible" in page
    assert "default-src 'none'" in page
    assert not re.search(r"https?:|\bsrc=|@import|url\((?!#)|<script", page)


def test_colours_have_contrast() -> None:
    """WCAG AA: 4.5 to 1 for text, on a light and on a dark page."""

    def light(colour: str) -> float:
        parts = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
        r, g, b = (c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in parts)
        return 0.2126 * r + 0.7152 * g + 0.0722 * b

    def contrast(one: str, other: str, dark: int) -> float:
        low, high = sorted((light(PALETTE[one][dark]), light(PALETTE[other][dark])))
        return (high + 0.05) / (low + 0.05)

    for dark in (0, 1):
        shades = [light(PALETTE[f"s{k}"][dark]) for k in range(1, STEPS + 1)]
        assert shades == sorted(shades, reverse=not dark)
        pairs = [(f"t{k}", f"s{k}") for k in range(1, STEPS + 1)]
        pairs += [(text, under) for text in ("ink", "soft", "mark", "warn") for under in ("paper", "card")]
        assert {pair: contrast(*pair, dark) for pair in pairs if contrast(*pair, dark) < 4.5} == {}
    light_ones = [one for one, _ in PALETTE.values()]
    assert len(light_ones) == len(set(light_ones)), "a colour of a picture stands for one name"
    assert [step(x) for x in (0, 0.19, 0.2, 0.99, 1)] == [1, 1, 2, 5, 5]


# --- pictures ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("lang", LANGS)
def test_pictures_are_read_out_and_wear_the_pages_colours(plan: Planned, pages: dict[str, str], lang: str) -> None:
    found = drawings(pages[lang])
    names = Counter((d.get("aria-labelledby") or "").split("-")[0] for d in found)
    assert names == {"heat": 1, "load": 4, "links": 1, "cover": 1}
    for drawing in found:
        title, told = drawing[0], drawing[1]
        assert (title.tag, told.tag) == ("title", "desc")
        assert title.text
        assert told.text
        assert drawing.get("aria-labelledby") == f"{title.get('id')} {told.get('id')}"
        assert "var(--ink)" in ElementTree.tostring(drawing, "unicode")
        styles = [e.get("style", "") for e in drawing.iter()]
        assert not [s for s in styles if re.search("#[0-9a-f]{3}", s)], "every colour has a name"


def test_the_map_shows_each_figure_once_and_its_table_too(plan: Planned, pages: dict[str, str]) -> None:
    (heat,) = figures.heat_maps(plan)
    scores = [s for _, lines in heat.groups for line in lines for who, s in line.scores.items() if who in heat.people]
    covered = [line.need["score"] for _, lines in heat.groups for line in lines if line.need["score"]]
    drawing = drawings(pages["en"])[0]
    shown = [t.text for t in drawing.iter("text") if re.fullmatch(r"\d+", t.text or "")]
    assert sorted(map(int, shown)) == sorted(round(100 * s) for s in scores + covered)
    table = re.search('id="heat-caption".*?</table>', pages["en"], re.S)
    assert table
    every = [s for _, lines in heat.groups for line in lines for s in line.scores.values()]
    told = [int(n) for n in re.findall(r"</bdi> (\d+)%", table.group())]
    assert sorted(told) == sorted(round(100 * s) for s in every)


def test_the_same_plan_gives_the_same_bytes(plan: Planned, pages: dict[str, str]) -> None:
    assert render(make_plan(), "html", lang="fr") == pages["fr"]
    assert "matplotlib.pyplot" not in sys.modules, "no global state"


def test_pictures_leave_settings_as_they_were_and_heed_none(plan: Planned, pages: dict[str, str]) -> None:
    import matplotlib

    with matplotlib.rc_context({"font.size": 40, "text.usetex": True, "svg.fonttype": "path"}):
        before = dict(matplotlib.rcParams)
        assert render(plan, "html", lang="fr") == pages["fr"]
        assert dict(matplotlib.rcParams) == before


@pytest.mark.parametrize("text", [*NASTY, "$", "$$", "\\alpha", "a_b^c", "]]>", "<!-- x", "&amp;", "\x00\x1b[31m"])
def test_a_text_in_a_picture_is_that_text(text: str) -> None:
    drawn = pictures.picture("one", text, text, (200, 40), lambda axes: pictures.write(axes, 0, 20, clean(text)))
    svg = ElementTree.fromstring(drawn)
    assert [t.text for t in svg.iter("text")] == [clean(text)]
    assert [e.text for e in svg[:2]] == [clean(text)] * 2
    assert svg.get("viewBox") == "0 0 200 40"


# --- workbook ---------------------------------------------------------------------------------------------


def test_the_workbook(plan: Planned, tmp_path: Path) -> None:
    write(plan, "xlsx", tmp_path / "plan.xlsx")
    book = openpyxl.load_workbook(tmp_path / "plan.xlsx")
    assert book.sheetnames == ["plan", "no lab", "CSA", "IPO", "LAC", "gaps"]
    for sheet in book:
        assert sheet.freeze_panes == "A2"
        assert sheet.auto_filter.ref == sheet.dimensions
        assert all(3 < d.width <= 60 for d in sheet.column_dimensions.values())
        (score,) = (c for c in sheet[1] if c.value == "score") if sheet.title != "gaps" else (None,)
        if score is not None:
            numbers = [c for (c,) in sheet.iter_rows(2, min_col=score.column, max_col=score.column) if c.value]
            assert numbers
            assert {c.number_format for c in numbers} == {"0.000"}
            assert sheet.column_dimensions[score.column_letter].width < 10
    rows = {s.title: [dict(zip([c.value for c in s[1]], r, strict=True)) for r in s.values][1:] for s in book}
    placed = {(p["project"], m["profile"]) for p in plan["projects"] for m in p["members"]}
    assert {(r["project_id"], r["profile_id"]) for r in rows["plan"] if r["role"] == "member"} == placed
    assert all(r["title"] for r in rows["plan"])
    labs: list[dict[str, Any]] = [r for name, found in rows.items() if name not in ("plan", "gaps") for r in found]
    assert {(r["project_id"], r["profile_id"]) for r in labs if r["role"] == "member"} == placed
    assert {r["profile_id"] for r in labs} == set(plan.people)
    assert {r["profile_id"]: r["projects"] for r in labs if r["projects"]} == plan["loads"]
    assert {r["profile_id"] for r in rows["IPO"]} == {"S1", "S5"}
    assert ("P1", "n2") in {(r["project_id"], r["need_id"]) for r in rows["gaps"]}


def test_the_workbook_has_no_formula(hostile: Planned, tmp_path: Path) -> None:
    write(hostile, "xlsx", tmp_path / "plan.xlsx")
    book = openpyxl.load_workbook(tmp_path / "plan.xlsx")
    cells = [cell for sheet in book for row in sheet.iter_rows() for cell in row]
    assert not {cell.data_type for cell in cells} & {"f", "e"}
    values = {cell.value for cell in cells}
    assert {clean(nasty) for nasty in NASTY} <= values


def test_names_of_sheets_are_safe() -> None:
    taken = {"plan", "gaps", "history"}
    names = [
        sheet_name(t, taken) for t in ("Plan", "a/b:c", "A/B:C", "x" * 50, "x" * 50, "'", "[]", "History", "😀" * 40)
    ]
    assert names[:5] == ["Plan (2)", "a_b_c", "A_B_C (2)", "x" * 31, "x" * 27 + " (2)"]
    assert names[5:8] == ["lab", "__", "History (2)"]
    assert len({n.casefold() for n in names}) == len(names)
    assert all(0 < len(n.encode("utf-16-le")) <= 62 for n in names)


def test_the_command_line_hands_the_plan_on_whole(plan: Planned, tmp_path: Path) -> None:
    session = Session(folder=None, lang_given="fr", quiet=True)
    session.emit(plan, "html", tmp_path / "plan.html")
    assert "Qui couvre quoi" in (tmp_path / "plan.html").read_text("utf-8")
    session.emit(plan, "xlsx", tmp_path / "plan.xlsx")
    assert "gaps" in openpyxl.load_workbook(tmp_path / "plan.xlsx").sheetnames
