"""Reports: Markdown and HTML, and that nothing written in a profile steers what shows it."""

from __future__ import annotations

import json
import re
from html.parser import HTMLParser
from typing import Any

import pytest
from markdown_it import MarkdownIt
from rich.cells import cell_len

from report_samples import (
    EVERYTHING,
    HOSTILE,
    LABELS,
    hostile_answer,
    make_answer,
    make_nobody,
    read_csv,
    valid,
)
from skillmatch import reports
from skillmatch.reports import (
    FORMATS,
    Table,
    render,
)
from skillmatch.reports.content import clean

UNSAFE = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u200e\u200f\u202a-\u202e\u2066-\u2069\ud800-\udfff\ufffe\uffff]")


# Hostile texts


@pytest.mark.parametrize("text", HOSTILE)
@pytest.mark.parametrize("fmt", FORMATS)
def test_nothing_in_data_steers_a_terminal(text: str, fmt: str) -> None:
    for result in (
        hostile_answer(text),
        [hostile_answer(text)],
        Table(text, (text,), ((text,), ((text, text),)), (text,)),
    ):
        out = render(result, fmt, width=80)
        assert not UNSAFE.search(out)
        out.encode("utf-8")
        if fmt == "table":
            assert max(map(cell_len, out.splitlines())) <= 80


def test_rich_markup_in_data_is_text() -> None:
    text = render(hostile_answer("[bold]shout[/bold] :smile:"), "table", width=120)
    assert "[bold]shout[/bold] :smile:" in text


@pytest.mark.parametrize("text", HOSTILE)
def test_json_gives_hostile_texts_back_unchanged(text: str) -> None:
    data = json.loads(render(hostile_answer(text), "json"))
    assert data["matches"][0]["needs"][0]["evidence"]["text"] == text
    assert data["project"]["title"] == text
    valid(data)


def test_clean_keeps_what_people_write() -> None:
    french = "« Détecteur »\u00a0: l’œuvre à 3\u202f°C — déjà 50\u00a0% 👩‍🔬"
    assert clean(french) == french
    assert clean(" a\x1b[31m\tb\r\n ") == "a\ufffd[31m b"


@pytest.mark.parametrize("text", ["=1+1", "+cmd", "-2+3", "@SUM(A1)", " =1+1", "\t=1", "\r=1", " \n =1"])
def test_csv_cells_are_no_formulas(text: str) -> None:
    for row in read_csv(render(hostile_answer(text), "csv")):
        assert not any(re.match(r"\s*[=+@-]", value) for value in row.values())


# Markdown and HTML


@pytest.mark.parametrize("text", HOSTILE)
def test_markdown_shows_hostile_texts_as_text(text: str) -> None:
    parser = MarkdownIt("gfm-like", {"linkify": False})
    hostile = parser.parse(render(hostile_answer(text), "markdown"))
    harmless = parser.parse(render(hostile_answer("x"), "markdown"))

    def shape(tokens: list[Any]) -> list[str]:
        inner = [child.type for token in tokens for child in token.children or () if child.type != "text_special"]
        return [token.type for token in tokens] + [kind for kind in inner if kind != "text"]

    assert shape(hostile) == shape(harmless)
    assert not any(token.type.startswith("html") for token in hostile)
    cells = parser.parse(render(Table("", ("a", "b"), ((text, "end"),)), "markdown"))
    words = ["".join(child.content for child in token.children or ()) for token in cells if token.children]
    assert words == ["a", "b", clean(text), "end"]


def test_markdown_has_headings_and_tables() -> None:
    text = render(make_answer(), "markdown", labels=LABELS)
    assert text.startswith("# P12 Tracks on GPU\n")
    assert "| n1 | ●●● **must** | GPU computing | Port our reconstruction code to GPU |" in text
    assert "### 1. Alice Martin (S07)" in text
    assert "| n1 91%<br>n2 62% | “Ported the Kalman fit to CUDA, ten times faster.” | profiles.csv:12 |" in text
    assert "- Nobody covers n3 “welding a vacuum vessel”." in text
    several = render([make_answer(), make_nobody()], "markdown")
    assert re.findall("^##? .*", several, re.M) == [
        "# Suggestions",
        "## P12 Tracks on GPU",
        "## welding a vacuum vessel",
    ]


class Reader(HTMLParser):
    """Texts and tags of a page; fails on a tag that is not closed in order."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str | None]] = []
        self.text: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += attrs
        if tag != "meta":
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if "style" not in self.open:
            self.text.append(data)


def read_html(page: str) -> Reader:
    reader = Reader()
    reader.feed(page)
    reader.close()
    assert reader.open == []
    return reader


@pytest.mark.parametrize("text", HOSTILE)
def test_html_shows_hostile_texts_as_text(text: str) -> None:
    for make in (
        lambda t: hostile_answer(t),
        lambda t: [hostile_answer(t)],
        lambda t: Table(t, (t,), ((t,),), (t,)),
    ):
        hostile, harmless = read_html(render(make(text), "html")), read_html(render(make("x"), "html"))
        assert hostile.tags == harmless.tags
        assert [a for a in hostile.attributes if a[0] != "class"] == [a for a in harmless.attributes if a[0] != "class"]
        assert clean(text)[:60].strip() in " ".join(hostile.text)


@pytest.mark.parametrize("lang", reports.LANGS)
def test_html_is_one_offline_page(lang: str) -> None:
    for result in EVERYTHING:
        page = render(result, "html", lang=lang, labels=LABELS)
        reader = read_html(page)
        assert page.startswith("<!doctype html>")
        assert ("lang", lang) in reader.attributes
        assert not re.search(r"https?://|url\(|@import|<script|<link|\bsrc=", page)
        links = [value for name, value in reader.attributes if name == "href"]
        ids = {f"#{value}" for name, value in reader.attributes if name == "id"}
        assert set(links) <= ids
        assert "default-src 'none'" in page


def test_html_says_what_the_terminal_says() -> None:
    text = " ".join("".join(read_html(render(make_answer(), "html", labels=LABELS)).text).split())
    for said in (
        "Tracks on GPU", "●●● must", "GPU computing", "1. Alice Martin (S07)", "83%", "other lab",
        "“Ported the Kalman fit to CUDA, ten times faster.”", "profiles.csv:12", "thin profile",
        "Nobody covers n3", "explain P12 S07",
    ):  # fmt: skip
        assert said in text
