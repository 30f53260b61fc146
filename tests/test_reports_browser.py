"""The pages in a real browser: they render without a word in the console, ask for nothing, fit a telephone, and show
hostile text as text. Skipped where there is no chromium."""

from __future__ import annotations

import html
import json
import re
import shutil
import subprocess
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from report_samples import LABELS, hostile_answer
from skillmatch.reports import write
from skillmatch.reports.content import clean
from test_plan_reports import NASTY, make_hostile, make_plan
from test_reports_gaps import make_gaps

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="no chromium on the PATH")
FLAGS = (
    *("--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--hide-scrollbars"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync", "--disable-default-apps"),
    *("--dump-dom", "--enable-logging=stderr", "--allow-file-access-from-files"),
)
#: The width of a telephone, and of a window on a desk.
PHONE, DESK = 390, 1280
#: A page that does what none of ours may: asks the network for something, and speaks in the console.
LEAKY = "<!doctype html><img src='http://control.example/x'><script>console.error('control')</script>"
#: Around the pages in their frames: what each looks like is written into the page, which chromium prints.
LOOK = """<!doctype html><pre id="told"></pre>
%s
<script>
const inside = (a, b) => a.left >= b.left - 1 && a.right <= b.right + 1
  && a.top >= b.top - 1 && a.bottom <= b.bottom + 1;
const meet = (a, b) => Math.min(a.right, b.right) - Math.max(a.left, b.left) > 1
  && Math.min(a.bottom, b.bottom) - Math.max(a.top, b.top) > 2;
function look(frame) {
  const page = frame.contentDocument, root = page.documentElement;
  const pictures = [...page.querySelectorAll('svg[role=img]')];
  const clipped = [], met = [];
  for (const picture of pictures) {
    const frame = picture.getBoundingClientRect();
    const texts = [...picture.querySelectorAll('text')].map(t => [t.textContent, t.getBoundingClientRect()]);
    texts.forEach(([said, box], k) => {
      if (!inside(box, frame)) clipped.push(said);
      texts.slice(k + 1).forEach(([other, at]) => { if (meet(box, at)) met.push([said, other]); });
    });
  }
  const wide = [...page.querySelectorAll('main *')].filter(e => e.scrollWidth > e.clientWidth + 1
    && ['auto', 'scroll'].includes(frame.contentWindow.getComputedStyle(e).overflowX));
  return {title: page.title, lang: root.lang, text: page.body.innerText, shown: root.clientWidth,
    needed: root.scrollWidth, foreign: page.querySelectorAll('script, img, link, iframe, object').length,
    pictures: pictures.map(p => p.getBoundingClientRect()).map(b => Math.min(b.width, b.height)), clipped, met,
    wide: wide.length, unreachable: wide.filter(e => e.tabIndex !== 0 || !e.getAttribute('aria-labelledby')).length};
}
addEventListener('load', () => {
  const found = {};
  for (const frame of document.querySelectorAll('iframe.ours')) {
    frame.contentDocument.querySelectorAll('details').forEach(d => { d.open = true; });
    found[frame.id] = look(frame);
  }
  document.getElementById('told').textContent = JSON.stringify(found);
});
</script>
"""


@dataclass(frozen=True)
class Seen:
    """What the browser made of the pages: by page and width, what it asked for, what stands in its console."""

    pages: dict[str, dict[str, Any]]
    asked: tuple[str, ...]
    console: tuple[str, ...]


@pytest.fixture(scope="module")
def seen(tmp_path_factory: pytest.TempPathFactory) -> Seen:
    """All pages at both widths, in one run of the browser whose every request goes to a proxy of ours."""
    folder = tmp_path_factory.mktemp("browser")
    evil = "".join(NASTY)
    for name, result, lang in (
        ("plan", make_plan(), "fr"),
        ("hostile-plan", make_hostile(), "en"),
        ("gaps", make_gaps(), "fr"),
        ("hostile-gaps", make_gaps(*NASTY), "en"),
        ("hostile-answer", hostile_answer(evil), "fr"),
        ("hostile-answers", [hostile_answer("W" * 3000), hostile_answer(evil)], "en"),
    ):
        write(result, "html", folder / f"{name}.html", lang=lang, labels=LABELS)
    names = sorted(path.stem for path in folder.glob("*.html"))
    (folder / "leaky.html").write_text(LEAKY, "utf-8")
    frames = "".join(
        f'<iframe class="ours" id="{name}-{width}" src="{name}.html" style="width: {width}px; height: 800px"></iframe>'
        for name in names
        for width in (PHONE, DESK)
    )
    (folder / "look.html").write_text(LOOK % (frames + '<iframe src="leaky.html"></iframe>'), "utf-8")
    with listening() as (port, asked):
        command = [str(CHROMIUM), *FLAGS, f"--proxy-server=127.0.0.1:{port}", f"--user-data-dir={folder / 'user'}"]
        done = subprocess.run(
            [*command, (folder / "look.html").as_uri()], capture_output=True, text=True, timeout=120, check=False
        )
        told = re.search(r'<pre id="told">(.+?)</pre>', done.stdout, re.S)
        assert done.returncode == 0, done.stderr[-2000:]
        assert told, done.stderr[-2000:]
        console = tuple(line for line in done.stderr.splitlines() if "CONSOLE" in line)
        return Seen(json.loads(html.unescape(told[1])), tuple(asked), console)


class listening:  # noqa: N801
    """A proxy that refuses everything: (its port, what it was asked for)."""

    def __enter__(self) -> tuple[int, list[str]]:
        asked: list[str] = []

        class Refuse(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                asked.append(self.path)
                self.send_error(404)

            do_CONNECT = do_POST = do_HEAD = do_GET  # noqa: N815

            def log_message(self, *_: object) -> None:
                """Said nowhere."""

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Refuse)
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
        return self.server.server_port, asked

    def __exit__(self, *_: object) -> None:
        self.server.shutdown()
        self.server.server_close()


def each(seen: Seen, width: int | None = None) -> Iterator[tuple[str, dict[str, Any]]]:
    found = [(name, page) for name, page in seen.pages.items() if width is None or name.endswith(f"-{width}")]
    assert found
    yield from found


def test_nothing_leaves_the_file(seen: Seen) -> None:
    """What the browser itself asks for is not ours; that the proxy hears pages is shown by the one that leaks."""
    hosts = {re.sub(r"^\w+://|[:/].*", "", path) for path in seen.asked}
    assert "control.example" in hosts
    assert {host for host in hosts if host.endswith(".example")} == {"control.example"}
    assert not [path for path in seen.asked if "evil" in path]


def test_the_console_is_silent(seen: Seen) -> None:
    assert [line for line in seen.console if "leaky.html" in line], "the page that speaks is heard"
    assert [line for line in seen.console if "leaky.html" not in line and "control.example" not in line] == []


def test_pages_fit_a_telephone_and_a_desk(seen: Seen) -> None:
    for width in (PHONE, DESK):
        for name, page in each(seen, width):
            assert page["shown"] == width, name
            assert page["needed"] <= width, name


def test_what_is_wide_can_be_reached_with_the_keyboard(seen: Seen) -> None:
    assert {name: page["unreachable"] for name, page in each(seen) if page["unreachable"]} == {}
    assert seen.pages[f"plan-{PHONE}"]["wide"] > 0
    assert seen.pages[f"hostile-answer-{PHONE}"]["wide"] == 0


def test_pictures_are_drawn_whole(seen: Seen) -> None:
    for name, page in each(seen):
        if "answer" not in name:
            assert len(page["pictures"]) >= (2 if "gaps" in name else 5), name
        assert all(side > 20 for side in page["pictures"]), name
        assert page["clipped"] == [], name
        assert page["met"] == [], name


def test_hostile_text_is_shown_as_text(seen: Seen) -> None:
    for name, page in each(seen):
        assert page["foreign"] == 0, name
        assert page["title"] != "x", name
        if name.startswith("hostile"):
            text = " ".join(page["text"].split())
            for nasty in NASTY:
                assert " ".join(clean(nasty).split()) in text, (name, nasty)


def test_pages_speak_their_language(seen: Seen) -> None:
    said = {"plan": "Qui couvre quoi", "hostile-plan": "Who covers what", "gaps": "Détenues par personne"}
    for name, words in said.items():
        assert words in seen.pages[f"{name}-{PHONE}"]["text"]
    assert seen.pages[f"plan-{DESK}"]["lang"] == "fr"
