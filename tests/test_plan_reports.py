"""The page and the workbook of a plan: everything is there, nothing written in a profile steers them."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import threading
from collections.abc import Callable
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np
import openpyxl
import pytest

from report_samples import LABELS, valid
from skillmatch.allocation import Demand, Rules, Worker, assign
from skillmatch.cli.session import Session
from skillmatch.records import Need, Person, Project
from skillmatch.reports import LANGS, assignment_dict, render, tr, write
from skillmatch.reports import plan_figures as figures
from skillmatch.reports.content import clean
from skillmatch.reports.html import _STYLE as COMMON_STYLE
from skillmatch.reports.plan_page import _STYLE as STYLE
from skillmatch.reports.plan_page import STEPS, step
from skillmatch.reports.plan_sheets import sheet_name
from skillmatch.reports.plans import Planned
from test_reports_pages import Reader, read_html

NASTY = ["<script>document.title='x'</script>", "=1+1", "left \u202eright\u202c", "<img src=http://evil.example/x>"]
LABS = ("LAC", "IPO", "CSA", "")
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")


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
    return assignment_dict(found, "v1", understood, demands, who, LABELS)


@pytest.fixture(scope="module")
def plan() -> Planned:
    return make_plan()


@pytest.fixture(scope="module")
def hostile() -> Planned:
    """The same, with hostile names, labs, titles and words of needs."""
    made = make_plan(lambda i: NASTY[i % len(NASTY)])
    told = json.loads(json.dumps(made))
    for number, project in enumerate(told["projects"]):
        project["title"] = project["lab"] = NASTY[number % len(NASTY)]
        for need in project["needs"]:
            need["text"] = NASTY[number % len(NASTY)]
        for person in (*project["members"], *project["alternates"]):
            person["lab"] = NASTY[number % len(NASTY)]
    people = {i: replace(p, lab=NASTY[int(i[1:]) % len(NASTY)]) for i, p in made.people.items()}
    return Planned(told, made.demands, people)


def words(page: str) -> str:
    return " ".join("".join(read_html(page).text).split())


def section(page: str, name: str) -> str:
    """The text of one section."""
    found = re.search(rf'<section id="{name}".*?</section>', page, re.S)
    assert found, name
    return words(found.group())


# --- figures ----------------------------------------------------------------------------------------------


def test_the_plan_is_still_the_contract(plan: Planned) -> None:
    valid(json.loads(render(plan, "json")))


def test_figures_add_up(plan: Planned) -> None:
    placed = sum(len(p["members"]) for p in plan["projects"])
    assert placed > 4
    assert {who: len(projects) for who, projects in figures.loads(plan)} == plan["loads"]
    assert figures.links(plan).total() == placed
    (heat,) = figures.heat_maps(plan)
    assert set(heat.people) == set(plan["loads"])
    for project, lines in heat.groups:
        for line in lines:
            covered = max((line.scores.get(m["profile"], 0.0) for m in project["members"]), default=0.0)
            assert covered == line.need["score"]
            assert (covered == 0) == (line.need["id"] in project["uncovered"])
    holes = {(h.project["project"], (h.need or {}).get("id")) for h in figures.holes(plan, "en")}
    assert ("P1", "n2") in holes
    assert {(p["project"], n) for p in plan["projects"] for n in p["uncovered"]} <= holes


def test_every_shortfall_is_told_once_with_its_reason(plan: Planned) -> None:
    told = {**plan, "infeasible": [*plan["infeasible"]]}
    short = {"project": "P2", "hard": True, "need": None, "topic": "", "topic_fr": "", "people": [], "projects": []}
    told["infeasible"].append({**short, "kind": "labs", "wanted": 3, "found": 2, "reason": "x"})
    holes = figures.holes(Planned(told, plan.demands, plan.people), "fr")
    (hole,) = (h for h in holes if h.hard and h.need is None)
    assert hole.project["project"] == "P2"
    assert "3 labos" in hole.why


def test_a_large_plan_has_a_map_for_each_project(plan: Planned, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(figures, "MOST_PEOPLE", 3)
    maps = figures.heat_maps(plan)
    assert [len(m.groups) for m in maps] == [1] * 4
    for heat, project in zip(maps, plan["projects"], strict=True):
        assert {m["profile"] for m in project["members"]} <= set(heat.people)
    read_html(render(plan, "html"))


# --- page -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("lang", LANGS)
def test_the_page_holds_everything(plan: Planned, lang: str) -> None:
    page = render(plan, "html", lang=lang)
    reader = read_html(page)
    assert ("lang", lang) in reader.attributes
    assert reader.attributes.count(("tabindex", "0")) == reader.tags.count("table") == reader.tags.count("caption")
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
    assert "task 2 of 1" in section(page, "gaps")
    for said in ("Who covers what", "Links between labs", "Legend", "below the bar of the project, or no candidate"):
        assert (said in page) == (lang == "en")
        assert tr(said, lang) in page


def test_cells_of_the_map_say_their_figure_and_wear_its_colour(plan: Planned) -> None:
    page = render(plan, "html")
    cells = re.findall(
        r'<td class="s(\d)( team)?">(.*?)</td>', re.search('id="coverage".*?</section>', page, re.S)[0], re.S
    )
    (heat,) = figures.heat_maps(plan)
    expected = [
        (step(line.scores[who]), who in line.team, round(100 * line.scores[who]))
        for _, lines in heat.groups
        for line in lines
        for who in heat.people
        if who in line.scores
    ]
    shown = [(int(s), bool(team), int(re.search(r"(\d+)%", words(text))[1])) for s, team, text in cells]
    assert shown == expected
    assert any(team for _, team, _ in shown)
    assert [step(x) for x in (0, 0.19, 0.2, 0.99, 1)] == [1, 1, 2, 5, 5]


def test_nobody_at_all_is_a_page_too(plan: Planned) -> None:
    told = {**plan, "loads": {}}
    told["projects"] = [{**p, "members": [], "alternates": []} for p in plan["projects"]]
    page = render(Planned(told, plan.demands, plan.people), "html")
    assert "nobody" in section(page, "plan")
    assert "Nothing to show." in section(page, "load")
    nothing = Planned({**told, "projects": [], "infeasible": []}, {}, {})
    assert "every need is covered" in section(render(nothing, "html"), "gaps")


@pytest.mark.parametrize("lang", LANGS)
def test_hostile_text_is_text(hostile: Planned, plan: Planned, lang: str) -> None:
    page = render(hostile, "html", lang=lang)
    reader, harmless = read_html(page), read_html(render(plan, "html", lang=lang))
    assert set(reader.tags) <= {*harmless.tags, "i"}
    assert not re.search("[\u202a-\u202e\u2066-\u2069]", page)
    bare = re.sub(r"&[lg]t;|&quot;|&#x27;", "", "".join(re.findall("<[^>]*>", page)))
    assert not re.search(r"https?:|\bsrc=|@import|url\(|<script|<link|\bon\w+=", bare + STYLE + COMMON_STYLE)
    for part in ("plan", "coverage", "load", "labs", "gaps"):
        text = section(page, part)
        for nasty in NASTY:
            assert (part == "gaps" and nasty != NASTY[0]) or clean(nasty) in text
    assert page.count("<bdi>") > 50


def test_the_page_is_responsive_printable_and_offline(plan: Planned) -> None:
    page = render(plan, "html")
    assert 'name="viewport"' in page
    assert "@media print" in STYLE
    assert "print-color-adjust: exact" in STYLE
    assert "@media (max-width: 40rem)" in STYLE
    assert ":focus-visible" in STYLE
    assert "default-src 'none'" in page
    assert not re.search(r"https?:|\bsrc=|@import|url\(", page)


def test_colours_have_contrast() -> None:
    """WCAG AA: 4.5 to 1 for text, in light and dark, as the cells carry both their colours."""

    def light(colour: str) -> float:
        parts = [int(colour[i : i + 2], 16) / 255 for i in (0, 2, 4)]
        r, g, b = (c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in parts)
        return 0.2126 * r + 0.7152 * g + 0.0722 * b

    found = re.findall(r"\.s(\d) \{ background: #(\w{6}); color: #(\w{6}); \}", STYLE)
    assert [int(n) for n, *_ in found] == list(range(1, STEPS + 1))
    shades = [light(back) for _, back, _ in found]
    assert shades == sorted(shades, reverse=True)
    for _, back, ink in found:
        dark, bright = sorted((light(back), light(ink)))
        assert (bright + 0.05) / (dark + 0.05) >= 4.5


# --- workbook ---------------------------------------------------------------------------------------------


def test_the_workbook(plan: Planned, tmp_path: Path) -> None:
    write(plan, "xlsx", tmp_path / "plan.xlsx")
    book = openpyxl.load_workbook(tmp_path / "plan.xlsx")
    assert book.sheetnames == ["plan", "no lab", "CSA", "IPO", "LAC", "gaps"]
    for sheet in book:
        assert sheet.freeze_panes == "A2"
        assert sheet.auto_filter.ref == sheet.dimensions
        assert all(d.width > 3 for d in sheet.column_dimensions.values())
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


# --- a real browser ---------------------------------------------------------------------------------------


@pytest.mark.skipif(CHROMIUM is None, reason="no chromium on the PATH")
def test_a_browser_renders_it_and_asks_for_nothing(hostile: Planned, tmp_path: Path) -> None:
    """Every request the page could make would go through the proxy, which counts them."""
    asked: list[str] = []

    class Proxy(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(self.path)
            self.send_error(404)

        do_CONNECT = do_GET  # noqa: N815

        def log_message(self, *_: object) -> None:
            """Said nowhere."""

    file = tmp_path / "plan.html"
    write(hostile, "html", file, lang="fr")
    with ThreadingHTTPServer(("127.0.0.1", 0), Proxy) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        flags = ("--headless", "--no-sandbox", "--disable-gpu", "--dump-dom", "--enable-logging=stderr",
                 "--disable-background-networking", "--disable-component-update", "--disable-sync", "--no-first-run",
                 f"--proxy-server=127.0.0.1:{server.server_port}",
                 f"--user-data-dir={tmp_path / 'profile'}")  # fmt: skip
        done = subprocess.run(
            [str(CHROMIUM), *flags, file.as_uri()], capture_output=True, text=True, timeout=120, check=False
        )
        server.shutdown()
    assert done.returncode == 0, done.stderr[-2000:]
    assert "CONSOLE" not in done.stderr
    assert not [path for path in asked if "evil" in path]
    reader = Reader()
    reader.feed(done.stdout)
    assert "script" not in reader.tags
    assert "img" not in reader.tags
    text = " ".join("".join(reader.text).split())
    for nasty in NASTY:
        assert clean(nasty) in text
    assert "Qui couvre quoi" in text
