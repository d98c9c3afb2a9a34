"""Plots of the analyses: one for each, of one model or of several laid over each other.

The same numbers give the same bytes. Text stays text in the SVG, which says in words what it shows. Names are
anybody's: long ones are shortened, and none is read as markup or as a formula.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from benchmark.analysis.panels import MOST_NUMBERED, PANELS, Model
from benchmark.analysis.results import TITLES, Analysis, Study
from benchmark.analysis.tables import require
from benchmark.analysis.words import in_words
from benchmark.drawing import DARK, LIGHT, Palette, png_of, printable, styled, svg_of

if TYPE_CHECKING:
    from matplotlib.figure import Figure

EDITION = 1
"""Raised with every change of what is drawn: others keep drawings for ever under addresses that hold it."""
_WIDTH = 4.5
_HEIGHT, _LOW = 3.1, 2.1
"""Inches of most drawings, and of each where there are two."""
_NAME = 0.2
"""Inches for the name of a model above a drawing."""
_LINE, _FRAME = 0.34, 0.75
"""Inches for a model where each has a line of its own, and for what is around them."""
_CELL, _SMALL_CELL, _NAMES = 0.34, 0.16, 2.0
"""Inches for a model of a matrix and of a greater one, and for the names beside it."""
_OF_LINES = frozenset({Analysis.SMOOTHNESS, Analysis.ALIGNMENT})
LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
_LONGEST = 40
"""Letters of a name that have room beside its mark, be they all wide ones."""
_PIXELS = 96
"""Of an inch on a page."""


def as_svg(
    analysis: Analysis, studies: Mapping[str, Study], *, places: Sequence[int] | None = None, dark: bool = False
) -> str:
    """Return the plot of an analysis as SVG.

    Args:
        analysis: which.
        studies: of each model, under its name; in the drawing several have letters in their order.
        places: among more models, some of which are not drawn: each keeps its letter, colour and mark; None for the
            first ones.
        dark: whether it is for dark paper.
    Raises:
        NotAnalysed: there are no models, or one of them lacks the analysis.
    """
    with styled(_palette(dark)):
        figure = draw(analysis, studies, places=places, dark=dark)
        return svg_of(figure, title_of(analysis, studies), description_of(analysis, studies))


def as_png(
    analysis: Analysis, studies: Mapping[str, Study], *, places: Sequence[int] | None = None, dpi: int = 200
) -> bytes:
    """Return the plot of an analysis as PNG, on light paper.

    Raises:
        NotAnalysed: see `as_svg`.
    """
    with styled():
        return png_of(draw(analysis, studies, places=places), dpi)


def draw(
    analysis: Analysis, studies: Mapping[str, Study], *, places: Sequence[int] | None = None, dark: bool = False
) -> Figure:
    """Draw an analysis, in the style that is set; `as_svg` and `as_png` set ours.

    Raises:
        NotAnalysed: see `as_svg`.
    """
    require(analysis, studies)
    from matplotlib.figure import Figure

    models = _models(studies, places or range(len(studies)), _palette(dark))
    figure = Figure(figsize=_inches(analysis, studies), layout="constrained")
    # A matrix is one model's own: several stand below each other.
    groups = [[model] for model in models] if analysis is Analysis.TRANSFER else [models]
    panels = [(panel, group) for group in groups for panel in PANELS[analysis]]
    heights = [_height_of_matrix(group[0].study) if analysis is Analysis.TRANSFER else 1 for _, group in panels]
    for axes, (panel, group) in zip(
        figure.subplots(len(panels), 1, squeeze=False, height_ratios=heights)[:, 0], panels, strict=True
    ):
        panel(axes, group)
        if analysis is Analysis.TRANSFER:
            axes.set_title(f"{group[0].label.strip()}\n{axes.get_title(loc='left')}", loc="left", fontsize=8)
    if analysis is not Analysis.TRANSFER:
        figure.legend(
            [model.key for model in models], [model.label for model in models], loc="outside upper left",
            frameon=False, fontsize=8, handlelength=3.2, borderaxespad=0.2,
        )  # fmt: skip
    return figure


def size(analysis: Analysis, studies: Mapping[str, Study]) -> tuple[int, int]:
    """Return how wide and how high the plot is on a page, in pixels."""
    width, height = _inches(analysis, studies)
    return round(_PIXELS * width), round(_PIXELS * height)


def title_of(analysis: Analysis, studies: Mapping[str, Study]) -> str:
    """Return what the plot is called."""
    return f"{TITLES[analysis]} of {', '.join(printable(name) for name in studies)}"


def description_of(analysis: Analysis, studies: Mapping[str, Study]) -> str:
    """Return in words what the plot shows."""
    if len(studies) == 1:
        return " ".join(in_words(analysis, study) for study in studies.values())
    return " ".join(f"{printable(name)}: {in_words(analysis, study)}" for name, study in studies.items())


def _models(studies: Mapping[str, Study], places: Sequence[int], palette: Palette) -> list[Model]:
    several = len(studies) > 1
    models = []
    for column, (place, (name, study)) in enumerate(zip(places, studies.items(), strict=True)):
        letter = _letter(place) if several else ""
        # The space keeps a name that begins with _ from being left out of the legend.
        label = f"{letter}  {printable(name, _LONGEST)}"
        models.append(Model(place, column, len(studies), letter, label, study, palette))
    return models


def _letter(place: int) -> str:
    return LETTERS[place] if place < len(LETTERS) else str(place + 1)


def _inches(analysis: Analysis, studies: Mapping[str, Study]) -> tuple[float, float]:
    above = _NAME * len(studies)
    if analysis in _OF_LINES:
        panels = len(PANELS[analysis])
        return _WIDTH, above + panels * (_FRAME + _LINE * len(studies))
    if analysis is Analysis.TRANSFER:
        return _WIDTH, sum(_height_of_matrix(study) for study in studies.values())
    if len(PANELS[analysis]) > 1:
        return _WIDTH, above + len(PANELS[analysis]) * _LOW
    return _WIDTH, above + _HEIGHT


def _height_of_matrix(study: Study) -> float:
    count = len(study.transfer.names) if study.transfer else 0
    return _NAMES + count * (_CELL if count <= MOST_NUMBERED else _SMALL_CELL)


def _palette(dark: bool) -> Palette:
    return DARK if dark else LIGHT
