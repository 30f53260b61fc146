"""Pictures: drawn by matplotlib as SVG that stands inside a page, is read out, and wears the page's colours.

A picture is made of texts from data files: they are cut to a length, never read as formulas, and stay texts in the
SVG, so that a page can be searched and read out. The same figures give the same bytes.
"""

from __future__ import annotations

import io
import re
import unicodedata
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any
from xml.etree import ElementTree

from .content import clean, shorten

if TYPE_CHECKING:
    from markupsafe import Markup
    from matplotlib.axes import Axes

#: Name of a colour -> (on a light page and on paper, on a dark page). Pictures are drawn in the light ones, each
#: of which stands for its name: no two are the same. ``s1`` to ``s5`` are the steps of a scale, ``t1`` to ``t5``
#: what is written on them.
PALETTE = {
    "paper": ("#ffffff", "#14181d"),
    "ink": ("#1d2733", "#e6e9ed"),
    "soft": ("#55606c", "#a9b3bd"),
    "line": ("#d4d9df", "#3a434d"),
    "card": ("#f4f6f9", "#20262d"),
    "mark": ("#0b5cad", "#7cb8ff"),
    "warn": ("#b3261e", "#ff9d94"),
    "own": ("#a9b4c0", "#5b6672"),
    "s1": ("#e4eefa", "#17293d"),
    "s2": ("#bcd6f2", "#1d4063"),
    "s3": ("#85b5e5", "#2a6299"),
    "s4": ("#2a6fb0", "#6fb0ee"),
    "s5": ("#0a3a69", "#b9dcff"),
    "t1": ("#14202c", "#dfe9f4"),
    "t2": ("#12202e", "#e9f1fa"),
    "t3": ("#101a24", "#ffffff"),
    "t4": ("#fdfeff", "#0d1620"),
    "t5": ("#fcfdff", "#0d1720"),
}
#: Steps of the scale, from faint to full.
STEPS = 5
_NAMED = {light: name for name, (light, _) in PALETTE.items()} | {"#000000": "ink"}
#: The font that comes with matplotlib is wide: what fits in it fits in the reader's own.
_SETTINGS: dict[str, Any] = {
    "svg.fonttype": "none",
    "text.parse_math": False,
    "font.family": ["DejaVu Sans"],
    "font.size": 11.0,
    "text.color": PALETTE["ink"][0],
    "lines.solid_capstyle": "butt",
}


def ink(name: str) -> str:
    """A colour of ``PALETTE`` as pictures are drawn in it."""
    return PALETTE[name][0]


def step(share: float) -> int:
    """Which of the ``STEPS`` colours a share in [0, 1] gets, from 1."""
    return max(1, min(STEPS, int(share * STEPS) + 1))


def picture(name: str, title: str, told: str, size: tuple[float, float], draw: Callable[[Axes], None]) -> Markup:
    """An ``<svg>`` of what ``draw`` puts on axes ``size`` (width, height) CSS pixels large, y downwards.

    ``name`` is the picture's own in its page; ``title`` and ``told`` are what is read out instead of it.
    """
    from matplotlib.figure import Figure

    width, height = size
    with _own_settings(name):
        figure = Figure(figsize=(width / 72, height / 72), dpi=72, facecolor="none")
        axes = figure.add_axes((0, 0, 1, 1))
        axes.set_xlim(0, width)
        axes.set_ylim(height, 0)
        axes.set_axis_off()
        draw(axes)
        out = io.BytesIO()
        figure.savefig(out, format="svg", metadata={"Date": None}, facecolor="none")
    return _inline(out.getvalue(), name, title, told, size)


@contextmanager
def _own_settings(name: str) -> Iterator[None]:
    """matplotlib as it comes, whatever the settings of whoever runs this, and as it was afterwards."""
    import matplotlib

    with matplotlib.rc_context(), warnings.catch_warnings():
        # A letter that the font lacks is the reader's font's to show: only its width is a guess.
        warnings.filterwarnings("ignore", message=r"(?s)Glyph .* missing from", category=UserWarning)
        warnings.filterwarnings("ignore", message="Matplotlib currently does not support", category=UserWarning)
        matplotlib.rcdefaults()
        settings: Any = _SETTINGS | {"svg.hashsalt": f"skillmatch {name}"}
        matplotlib.rcParams.update(settings)
        yield


# --- from a file of its own to a part of a page -----------------------------------------------------------


def _inline(drawn: bytes, name: str, title: str, told: str, size: tuple[float, float]) -> Markup:
    from markupsafe import Markup

    root = _bare(ElementTree.fromstring(drawn))
    said = ElementTree.Element("title", {"id": f"{name}-title"})
    said.text = clean(title)
    more = ElementTree.Element("desc", {"id": f"{name}-text"})
    more.text = clean(told)
    width, height = (f"{value:g}" for value in size)
    kept = {"width": width, "height": height, "viewBox": f"0 0 {width} {height}"}
    root.attrib = kept | {"role": "img", "aria-labelledby": f"{name}-title {name}-text"}
    root[:0] = [said, more]
    return Markup(ElementTree.tostring(root, "unicode", short_empty_elements=False))


def _bare(root: ElementTree.Element) -> ElementTree.Element:
    """The tree without namespaces, metadata, style sheets, and ids that nothing points to; colours by name."""
    used: set[str] = set()
    for element in root.iter():
        element.tag = element.tag.rpartition("}")[2]
        element.attrib = {key.rpartition("}")[2]: _colours(key, value) for key, value in element.attrib.items()}
        element.text = element.text if element.tag == "text" else None
        element.tail = None
        for key, value in element.attrib.items():
            used.update(re.findall(r"url\(#([^)]+)\)", value) if key != "href" else [value[1:]])
    for element in root.iter():
        for child in list(element):
            if child.tag in ("metadata", "style"):
                element.remove(child)
        if element.attrib.get("id") not in used:
            element.attrib.pop("id", None)
    return root


def _colours(key: str, value: str) -> str:
    if key == "d":
        return " ".join(value.split())
    if key != "style":
        return value
    plain = re.sub(r"font-family: [^;]*;? ?", "", value)
    return re.sub("#[0-9a-f]{6}", lambda found: _colour(found.group()), plain)


def _colour(code: str) -> str:
    return f"var(--{_NAMED[code]})" if code in _NAMED else code


# --- what fits ---------------------------------------------------------------------------------------------

_NARROW_LETTERS, _BROAD_LETTERS = frozenset("fijlrtI.,;:!|'’()[]· "), frozenset("mwMW@%&Œœ—…")


def fit(said: str, room: float, size: float = 11, *, bold: bool = False) -> str:
    """``said``, cut where it would be broader than ``room`` px in letters of ``size`` px."""
    limit = room / size / (1.12 if bold else 1.0)
    width, longest = 0.0, 0
    for letter in said:
        width += _breadth(letter)
        # The mark of a cut needs room as well.
        longest += width + 1 <= limit
    return said if width <= limit else shorten(said, max(2, longest + 1))


def _breadth(letter: str) -> float:
    """About how broad a letter is, in heights of the font."""
    if unicodedata.combining(letter):
        return 0.0
    if unicodedata.east_asian_width(letter) in "WF":
        return 1.25
    if letter in _NARROW_LETTERS:
        return 0.37
    if letter in _BROAD_LETTERS:
        return 1.0
    return 0.72 if letter.isupper() else 0.63


# --- strokes ----------------------------------------------------------------------------------------------


def write(axes: Axes, x: float, y: float, said: str, **more: Any) -> None:
    """A text whose middle is at height ``y``; ``anchor``: start, middle or end of it at ``x``."""
    anchor = {"start": "left", "middle": "center", "end": "right"}[more.pop("anchor", "start")]
    size, colour = more.pop("size", 11), ink(more.pop("colour", "ink"))
    turned = {"rotation": more.pop("turn"), "rotation_mode": "anchor"} if "turn" in more else {}
    axes.text(x, y, said, ha=anchor, va="center_baseline", fontsize=size, color=colour, **turned, **more)


def box(axes: Axes, x: float, y: float, width: float, height: float, **more: Any) -> None:
    """A rectangle; ``fill`` and ``edge`` are names of colours, or nothing."""
    from matplotlib.patches import Rectangle

    fill, edge = more.pop("fill", ""), more.pop("edge", "")
    colours: dict[str, Any] = {"facecolor": ink(fill) if fill else "none", "edgecolor": ink(edge) if edge else "none"}
    axes.add_patch(Rectangle((x, y), width, height, **colours, **{"linewidth": 1.0, **more}))


def cross(axes: Axes, x: float, y: float, reach: float = 4) -> None:
    """A cross: something is missing here."""
    for way in (1, -1):
        axes.plot([x - reach, x + reach], [y - way * reach, y + way * reach], color=ink("warn"), linewidth=1.8)
