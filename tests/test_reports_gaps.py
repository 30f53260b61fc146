"""The page of skills that too few hold: what is scarce, who holds it, who is closest to learning it."""

from __future__ import annotations

import json
import re
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pytest

from report_samples import LABELS, valid
from skillmatch.allocation import HOLDS, Worker, scarce
from skillmatch.records import Need, Person
from skillmatch.reports import LANGS, gap_page, gaps_dict, render
from skillmatch.reports.content import clean
from test_reports_pages import read_html

SCORES = {
    "gpu": [0.1, 0.2, 0.3, 0.45],  # nobody
    "ceph": [0.92, 0.2, 0.0, 0.31],  # one person
    "nets": [0.9, 0.1, 0.8, 0.4],  # one lab
    "many": [0.9, 0.8, 0.1, 0.1],  # both labs: not scarce
    "words": [0.0, 0.0, 0.0, 0.0],  # nobody, and nobody near
}


def make_gaps(*names: str) -> dict[str, Any]:
    """By the solver: four people of two labs; ``names`` stand for those of people and for the words of needs."""
    given = names or ("Alice", "Bruno", "Chloé", "Dora")
    people = {f"S{i}": Person(f"S{i}", given[i % len(given)], ("LAC", "IPO")[i % 2], "offline") for i in range(4)}
    workers = [Worker(p.id, p.lab, p.family) for p in people.values()]
    asked = {}
    scores = {}
    for number, (topic, row) in enumerate(SCORES.items()):
        for k, text in enumerate(names or ("",)):
            need = Need(
                id="n1", text=text or f"the words of {topic}", skill=topic if topic in LABELS else None, must=k == 0
            )
            asked[f"{topic}{k}"] = [(f"P{number}", need), ("P9", need)][: 1 + (topic == "gpu")]
            scores[f"{topic}{k}"] = row
    found = scarce(workers, {t: np.array(row) for t, row in scores.items()})
    return gaps_dict(found, "v1", HOLDS, asked, people, LABELS)


@pytest.fixture(scope="module")
def pages() -> dict[str, str]:
    return {lang: render(make_gaps(), "html", lang=lang) for lang in LANGS}


def part(page: str, name: str) -> str:
    found = re.search(rf'<section id="{name}".*?</section>', page, re.S)
    assert found, name
    return found.group()


def words(page: str) -> str:
    return " ".join("".join(read_html(page).text).split())


def test_the_worst_comes_first() -> None:
    found = make_gaps()
    valid(json.loads(render(found, "json")))
    assert [(s["label"], s["held_by"]) for s in found["skills"]] == [
        ("GPU computing", "nobody"),
        ("“the words of words”", "nobody"),
        ("distributed storage", "person"),
        ("“the words of nets”", "lab"),
    ]


@pytest.mark.parametrize("lang", LANGS)
def test_the_page_says_who_holds_what_and_who_is_closest(pages: dict[str, str], lang: str) -> None:
    page = pages[lang]
    reader = read_html(page)
    assert ("lang", lang) in reader.attributes
    ids = [value for name, value in reader.attributes if name == "id"]
    assert len(ids) == len(set(ids))
    percent = "\u00a0%" if lang == "fr" else "%"
    nobody, person, lab = (words(part(page, name)) for name in ("nobody", "person", "lab"))
    assert ("calcul sur GPU" if lang == "fr" else "GPU computing") in nobody
    assert f"Dora (S3) IPO 45{percent}".replace("\u00a0", " ") in nobody.replace("\u00a0", " ")
    assert "P0, P9" in nobody
    assert "Alice (S0) LAC 92" in person
    assert "Dora (S3) IPO 31" in person
    assert "Chloé (S2) LAC 80" in lab
    closest = lab[lab.index("Dora (S3)") :]
    assert "S2" not in closest, "who could learn what one lab holds is of another lab"
    assert "many" not in words(page)
    assert ("Held by nobody" in page) == (lang == "en")


def test_pictures_show_everybody_where_they_stand(pages: dict[str, str]) -> None:
    drawings = [ElementTree.fromstring(svg) for svg in re.findall(r'<svg[^>]*role="img".*?</svg>', pages["en"], re.S)]
    assert len(drawings) == 3
    for drawing, skills in zip(
        drawings,
        [[s for s in make_gaps()["skills"] if s["held_by"] == kind] for kind in ("nobody", "person", "lab")],
        strict=True,
    ):
        told = drawing.find("desc")
        assert told is not None
        dots = list(drawing.iter("use"))
        expected = sorted(p["score"] for s in skills for p in (*s["holders"], *s["closest"]))
        assert sorted((float(e.get("x", 0)) - gap_page._LEFT) / gap_page._WIDE for e in dots) == pytest.approx(expected)
        texts = [t.text for t in drawing.iter("text")]
        for skill in skills:
            assert any((t or "").startswith(skill["label"]) for t in texts)
            assert skill["label"] in (told.text or "")


def test_hostile_words_are_text() -> None:
    nasty = ("<script>alert(1)</script>", "$x^2$", "left \u202eright", "<img src=x onerror=alert(1)>")
    page = render(make_gaps(*nasty), "html")
    assert set(read_html(page).tags) <= set(read_html(render(make_gaps(), "html")).tags)
    for text in nasty:
        assert clean(text) in words(page)


def test_nothing_scarce_is_a_page_too() -> None:
    page = render({**make_gaps(), "skills": []}, "html", lang="fr")
    assert "dans plus d’un labo" in page
    assert "<svg" not in page
