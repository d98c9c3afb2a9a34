"""What a model is like beside its robustness: what the pages say of each analysis, and the files of its plot."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from urllib.parse import quote, urlencode

from benchmark.analysis.plots import EDITION, as_png, as_svg, size, title_of
from benchmark.analysis.results import TITLES, Analysis, Study
from benchmark.analysis.tables import ALL_POINTS, FRACTIONS, MEASURES, Row, Value, as_csv, rows
from benchmark.analysis.words import in_words
from benchmark.report import canonical_json
from store.analyses import StoredStudy
from store.rendered import Answer, answer_of
from store.views import ModelView
from web.charts import Part
from web.classes import class_name
from web.formats import DASH, measured, percent
from web.rendering import model_address
from web.side_by_side import LETTERS

MOST_LINES = 60
"""Lines of a table on a page; the downloads have all."""
_ADDRESS = 32
"""Digits of a hash in an address."""
MEDIA_TYPES = {
    "svg": "image/svg+xml",
    "png": "image/png",
    "csv": "text/csv; charset=utf-8",
    "json": "application/json",
}
"""By the ending of a file."""


class Download(Part):
    """A file of an analysis."""

    name: str
    address: str
    file: str
    """What it is to be called."""


class Line(Part):
    """A line of a table."""

    name: str
    cells: tuple[str, ...]


class Table(Part):
    """The numbers of an analysis."""

    heads: tuple[str, ...]
    """Of the columns."""
    lines: tuple[Line, ...]
    left_out: int
    """Lines that only the downloads have."""


class Said(Part):
    """What an analysis means for one of the models."""

    letter: str
    """Empty where there is one model."""
    text: str


class Section(Part):
    """An analysis that was made."""

    anchor: str
    title: str
    said: tuple[Said, ...]
    alt: str
    light: str
    """Address of the plot on light paper."""
    dark: str
    width: int
    height: int
    tables: tuple[Table, ...]
    downloads: tuple[Download, ...]


class LeftOut(Part):
    """An analysis that could not be made."""

    title: str
    reason: str


class Analyses(Part):
    """The analyses of an entry, or why there are none."""

    missing: str = ""
    """Why there are none; empty where there are some, or will be."""
    points: int = 0
    """How many of the test points they were made on."""
    sections: tuple[Section, ...] = ()
    left_out: tuple[LeftOut, ...] = ()
    pending: tuple[str, ...] = ()
    failed: tuple[str, ...] = ()


def analyses(model: ModelView, stored: StoredStudy | None) -> Analyses:
    """Return what the page of an entry says of its analyses."""
    if stored is None:
        return Analyses(missing=_missing(model))
    study, name = stored.study, model.row.model_id
    folder = f"{model_address(model.dataset, model.threat_model, name)}/analyses"
    reasons = study.left_out if study else {}
    return Analyses(
        points=study.points if study else 0,
        sections=tuple(section(one, {name: study}, folder, model.dataset) for one in study.made) if study else (),
        left_out=tuple(LeftOut(title=TITLES[one], reason=reasons[one]) for one in Analysis if one in reasons),
        pending=tuple(TITLES[one] for one in stored.pending),
        failed=tuple(TITLES[one] for one in stored.failed),
    )


def compared_analyses(dataset: str, threat_model: str, stored: Mapping[str, StoredStudy | None]) -> tuple[Section, ...]:
    """Return the analyses that at least two of several entries have, each of those that have it."""
    folder = f"/compare/{quote(dataset, safe='')}/{quote(threat_model, safe='')}/analyses"
    query = f"?{urlencode([('model', name) for name in stored])}"
    found = []
    for analysis in Analysis:
        studies, places = having(analysis, stored)
        if len(studies) > 1:
            found.append(section(analysis, studies, folder, dataset, places=places, query=query))
    return tuple(found)


def having(analysis: Analysis, stored: Mapping[str, StoredStudy | None]) -> tuple[dict[str, Study], tuple[int, ...]]:
    """Return the studies that have an analysis, and their places among all."""
    those = [
        (place, name, one.study)
        for place, (name, one) in enumerate(stored.items())
        if one is not None and one.study is not None and analysis in one.study.made
    ]
    return {name: study for _, name, study in those}, tuple(place for place, _, _ in those)


def section(
    analysis: Analysis,
    studies: Mapping[str, Study],
    folder: str,
    dataset: str,
    *,
    places: Sequence[int] = (0,),
    query: str = "",
) -> Section:
    """Return what is said and shown of an analysis.

    Args:
        analysis: which; all of the models have it.
        studies: of each model, under its name.
        folder: address below which its files are.
        dataset: whose classes it may name.
        places: of the models among all that are compared, which give them their letters; one that is alone has none.
        query: what names those models in the addresses of the files.
    """
    several = len(studies) > 1
    letters = [LETTERS[place] if several else "" for place in places]
    above = f"{folder}/{version(analysis, studies, places)}"
    width, height = size(analysis, studies)
    stem = f"{'compared' if several else next(iter(studies))}-{analysis}"
    return Section(
        anchor=f"analysis-{analysis}",
        title=TITLES[analysis],
        said=tuple(
            Said(letter=letter, text=in_words(analysis, study))
            for letter, study in zip(letters, studies.values(), strict=True)
        ),
        alt=f"Plot: {title_of(analysis, studies)}. The table has its numbers.",
        light=f"{above}/{analysis}.svg{query}",
        dark=f"{above}/{analysis}-dark.svg{query}",
        width=width,
        height=height,
        tables=_tables(analysis, studies, dataset, letters),
        downloads=tuple(
            Download(name=ending.upper(), address=f"{above}/{analysis}.{ending}{query}", file=f"{stem}.{ending}")
            for ending in ("csv", "json", "svg", "png")
        ),
    )


def version(analysis: Analysis, studies: Mapping[str, Study], places: Sequence[int] = (0,)) -> str:
    """Return what changes with any number of an analysis, and with the way in which it is drawn."""
    told = [EDITION, analysis.value, list(places), [[name, _alone(analysis, study)] for name, study in studies.items()]]
    return hashlib.sha256(canonical_json(told)).hexdigest()[:_ADDRESS]


class Kind(Part):
    """What a file of an analysis is."""

    analysis: Analysis
    dark: bool
    ending: str


def kind_of(file: str) -> Kind | None:
    """Return what a file of this name is; None where no analysis has such a file."""
    return _KINDS.get(file)


_KINDS = {
    f"{analysis}{'-dark' if dark else ''}.{ending}": Kind(analysis=analysis, dark=dark, ending=ending)
    for analysis in Analysis
    for dark, ending in ((False, "svg"), (True, "svg"), (False, "png"), (False, "csv"), (False, "json"))
}


def make_file(file: str, studies: Mapping[str, Study], places: Sequence[int] = (0,)) -> Answer:
    """Return a file of an analysis that all of the models have.

    Args:
        file: its name, of which `kind_of` knows what it is.
        studies: of each model, under its name.
        places: of the models among all that are compared.
    """
    kind = kind_of(file)
    if kind is None:
        raise ValueError(f"{file} is no file of an analysis")
    analysis = kind.analysis
    match kind.ending:
        case "svg":
            content = as_svg(analysis, studies, places=places, dark=kind.dark).encode()
        case "png":
            content = as_png(analysis, studies, places=places)
        case "csv":
            content = as_csv(analysis, studies).encode()
        case _:
            told = {name: _alone(analysis, study) for name, study in studies.items()}
            content = canonical_json(told if len(told) > 1 else next(iter(told.values())))
    return answer_of(content)


def _alone(analysis: Analysis, study: Study) -> dict[str, object]:
    """Return a study as JSON with no other analysis in it."""
    others = {one.value: None for one in Analysis if one is not analysis}
    seconds = {one: taken for one, taken in study.seconds.items() if one is analysis}
    return study.model_copy(update={**others, "left_out": {}, "seconds": seconds}).model_dump(mode="json")


def _missing(model: ModelView) -> str:
    if model.report is None:
        return "This service has not run the model, so it was not analysed."
    return "It was not analysed. Whoever submitted it, or a maintainer, may ask for it on the page of its submission."


def _tables(
    analysis: Analysis, studies: Mapping[str, Study], dataset: str, letters: Sequence[str]
) -> tuple[Table, ...]:
    """Lay the numbers out: of several models a line for each number; of one those of the whole, and then those of
    each class, bin, budget or set beside each other."""
    found = [row for row in rows(analysis, studies) if row["measure"] not in ALL_POINTS]
    if len(studies) > 1:
        lines = [(_named(row, _place(analysis, row, dataset)), str(row["model"]), row) for row in found]
        return (_table("Number", lines, dict(zip(studies, letters, strict=True))),)
    whole = [(_named(row, ""), "", row) for row in found if row["at"] is None]
    each = [(_place(analysis, row, dataset), str(row["measure"]), row) for row in found if row["at"] is not None]
    heads = {measure: MEASURES[measure] for _, measure, _ in each}
    tables = (_table("Number", whole, {"": "Value"}), _table("Part", each, heads))
    return tuple(table for table in tables if table.lines)


def _table(first: str, found: Sequence[tuple[str, str, Row]], heads: Mapping[str, str]) -> Table:
    """Make a table of numbers, each with the name of its line and the key of its column; first is what lines are."""
    cells: dict[str, dict[str, str]] = {}
    for line, column, row in found:
        cells.setdefault(line, {})[column] = _cell(str(row["measure"]), row["value"])
    lines = [Line(name=name, cells=tuple(of.get(key, DASH) for key in heads)) for name, of in cells.items()]
    return Table(
        heads=(first, *heads.values()), lines=tuple(lines[:MOST_LINES]), left_out=max(0, len(lines) - MOST_LINES)
    )


def _named(row: Row, place: str) -> str:
    measure = MEASURES[str(row["measure"])]
    return f"{measure}, {place}" if place else measure


def _place(analysis: Analysis, row: Row, dataset: str) -> str:
    """Say at what a number was measured."""
    match analysis, row["at"]:
        case _, None:
            return ""
        case Analysis.CALIBRATION, at:
            return f"bin {at}"
        case Analysis.FAIRNESS, int(at):
            return f"class {class_name(dataset, at)}"
        case Analysis.CURVE, float(at):
            return f"budget {measured(at)}"
        case Analysis.SHARPNESS, float(at):
            return f"radius {measured(at)}"
        case _, at:
            return str(at)


def _cell(measure: str, value: Value) -> str:
    if isinstance(value, str):
        return value
    if measure in FRACTIONS:
        return percent(value, unit=True, digits=1)
    return measured(float(value) if value is not None else None)
