"""How everything is drawn: one style, text that stays text, and the same bytes for the same numbers.

Drawing needs matplotlib, which is loaded by whoever draws first.
"""

from __future__ import annotations

import logging
import re
import unicodedata
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from html import escape
from io import BytesIO
from threading import Lock
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from matplotlib.figure import Figure


Stroke = Literal["-", "--", "-.", ":"] | tuple[float, Sequence[float]]


@dataclass(frozen=True)
class Palette:
    """The colours of a drawing.

    Args:
        paper: behind everything.
        ink: of what is read.
        soft: of what is read second, and of axes.
        line: of grids.
        series: of models, attacks or data sets, one after the other.
    """

    paper: str
    ink: str
    soft: str
    line: str
    series: tuple[str, ...]


# Colours of Okabe & Ito 2008, which people with any colour vision tell apart; marks and strokes tell the same. Their
# pale ones are for dark paper.
LIGHT = Palette("#ffffff", "#1c232b", "#57606a", "#e2ddd0", ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#000000"))
DARK = Palette("#191f26", "#e9e5db", "#a3abb3", "#36404a", ("#56B4E9", "#E69F00", "#00B386", "#CC79A7", "#F0E442"))
MARKERS = ("o", "s", "^", "D", "v", "P", "X")
STROKES: tuple[Stroke, ...] = ("-", "--", "-.", ":", (0, (6, 1.5, 1.5, 1.5, 1.5, 1.5)))

STYLE: dict[str, object] = {
    "font.family": "sans-serif",
    "font.sans-serif": ["DejaVu Sans"],
    "font.size": 9,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "svg.fonttype": "none",  # text stays text, to be read, searched and scaled
    "svg.hashsalt": "gauntlet",  # the same bytes for the same numbers
    "text.parse_math": False,  # names are anybody's, and $ is a dollar
}
_DRAWING = Lock()
"""The style is the process's own, so only one drawing is made at a time."""
_FONT = re.compile(r"(?:(?P<weight>\d+|bold)\s+)?(?P<size>[\d.]+px)\s+(?P<family>.+)")
_HIDDEN = frozenset({"Cc", "Cf", "Cs", "Zl", "Zp"})
_TAG = re.compile(r"<[^<>]*>")
_STYLED = re.compile(r' style="([^"]*)"')


@contextmanager
def styled(palette: Palette = LIGHT) -> Iterator[None]:
    """Draw in our style until the end of the block, and keep other threads from drawing meanwhile."""
    import matplotlib as mpl

    logging.getLogger("matplotlib.font_manager").setLevel(logging.ERROR)  # it tells that it looks for fonts
    colours = {
        "figure.facecolor": palette.paper,
        "savefig.facecolor": palette.paper,
        "axes.facecolor": palette.paper,
        "axes.edgecolor": palette.soft,
        "axes.labelcolor": palette.ink,
        "text.color": palette.ink,
        "xtick.color": palette.soft,
        "ytick.color": palette.soft,
        "grid.color": palette.line,
    }
    settings: dict[str, object] = {**STYLE, **colours}
    with _DRAWING, mpl.rc_context(settings), warnings.catch_warnings():  # type: ignore[arg-type]
        # A name may have letters that our font lacks: a browser has others, and a PNG shows boxes.
        warnings.filterwarnings("ignore", message="Glyph .* missing from font")
        yield


def svg_of(figure: Figure, title: str, description: str) -> str:
    """Return the drawing as SVG with a name and a description for those who do not see it."""
    file = BytesIO()
    figure.savefig(file, format="svg", metadata={"Date": None, "Creator": None})
    return _accessible(_plain(file.getvalue().decode()), title, description)


def png_of(figure: Figure, dpi: int = 150) -> bytes:
    """Return the drawing as PNG."""
    file = BytesIO()
    figure.savefig(file, format="png", dpi=dpi, metadata={"Software": None})
    return file.getvalue()


def printable(text: str, most: int = 80) -> str:
    """Return a name fit for a drawing: nothing hidden in it, and its middle left out where it is long."""
    shown = _visible(text)
    if len(shown) > most:
        head = (most - 1) * 2 // 3
        shown = f"{shown[:head]}…{shown[len(shown) - (most - 1 - head) :]}"
    return shown


def _visible(text: str) -> str:
    """Show in place of each character that is hidden or turns the reading direction that there is one."""
    marks = unicodedata.normalize("NFC", text)
    return "".join("\ufffd" if unicodedata.category(mark) in _HIDDEN else mark for mark in marks)


def _plain(svg: str) -> str:
    """Write styles as attributes: those are followed under any policy that forbids styles inside of files."""
    start, end = svg.index("<style"), svg.index("</style>") + len("</style>")
    svg = svg[:start].rstrip() + svg[end:]
    svg = svg.replace("<svg ", '<svg stroke-linejoin="round" stroke-linecap="butt" ', 1)
    # In tags alone: what stands between them may be anybody's text.
    return _TAG.sub(lambda tag: _STYLED.sub(lambda found: "".join(_attributes(found[1])), tag[0]), svg)


def _attributes(style: str) -> Iterator[str]:
    for part in style.split(";"):
        name, _, value = (text.strip() for text in part.partition(":"))
        if name == "font" and (found := _FONT.fullmatch(value)):
            for short, text in found.groupdict().items():
                if text:
                    yield f' font-{short}="{text}"'
        elif name:
            yield f' {name}="{value}"'


def _accessible(svg: str, title: str, description: str) -> str:
    start = svg.index("<svg ")
    end = svg.index(">", start) + 1
    opening = f'{svg[start : end - 1]} role="img" aria-labelledby="title description">'
    words = f'<title id="title">{escape(_visible(title))}</title>'
    words += f'<desc id="description">{escape(_visible(description))}</desc>'
    return f"{svg[:start]}{opening}\n {words}{svg[end:]}"
