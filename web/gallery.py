"""Adversarial examples to look at: what the page says of each, and its images as PNG."""

from __future__ import annotations

import io
from collections.abc import Iterator, Sequence
from enum import StrEnum

from PIL import Image

from benchmark.gallery import SHOWN, Gallery
from benchmark.report import EvaluationReport
from store.galleries import StoredGallery
from store.views import ModelView
from web.charts import Part
from web.classes import class_name
from web.rendering import model_address

_SIDE = 112
"""Pixels on the page that the longer side of an image gets at most, unless it has more of its own."""
_STRONGEST = 10.0
"""How much a difference is strengthened where that stays between black and white."""
_FITTING = 0.95
"""Share of all changed values that stay between black and white."""
_GREY = 0.5
_WHITE = 255


class Kind(StrEnum):
    """Which of a point's images."""

    ORIGINAL = "original"
    PERTURBED = "perturbed"
    DIFFERENCE = "difference"


class Panel(Part):
    """An image of a point."""

    kind: Kind
    address: str
    alt: str
    """What it shows, for those who do not see it."""


class Picture(Part):
    """A point that an attack broke."""

    index: int
    label: str
    attack: str
    step: int | None
    distance: float
    panels: tuple[Panel, ...]


class Pictures(Part):
    """A gallery, or why there is none."""

    missing: str = ""
    """Why there is none; empty where there is one."""
    pictures: tuple[Picture, ...] = ()
    width: int = 0
    """Of every image on the page."""
    height: int = 0
    strength: float = 0.0
    """How much the differences are strengthened."""
    credit: str = ""
    """Whose images they are."""


def pictures(model: ModelView, stored: StoredGallery | None) -> Pictures:
    """Return what the gallery of an entry shows; only what the entry's own report says is broken."""
    report = model.report
    found = tuple(_pictures(model, report, stored)) if report and stored else ()
    if stored is None or not found:
        return Pictures(missing=_missing(model))
    _, height, width = stored.gallery.shape
    scale = max(1, _SIDE // max(height, width))
    return Pictures(
        pictures=found,
        width=scale * width,
        height=scale * height,
        strength=strength(stored.gallery),
        credit=SHOWN[stored.gallery.dataset].credit,
    )


def _pictures(model: ModelView, report: EvaluationReport, stored: StoredGallery) -> Iterator[Picture]:
    """Yield the points by the attacks in their order, those of one attack by their place in the data set."""
    points = report.points
    rows = {index: place for place, index in enumerate(points.index)}
    order = {attack.name: number for number, attack in reversed(list(enumerate(report.attacks)))}
    folder = f"{model_address(model.dataset, model.threat_model, model.row.model_id)}/gallery/{stored.sha256}"
    broken = [
        (order[attack], index, place, attack)
        for index in stored.gallery.index
        if (place := rows.get(index)) is not None and (attack := points.broken_by[place]) in order
    ]
    for _, index, place, attack in sorted(broken):
        distance = points.distance[place]
        if distance is None or attack is None:
            continue
        label = class_name(model.dataset, points.label[place])
        said = {
            Kind.ORIGINAL: f"Point {index} as it is, class {label}",
            Kind.PERTURBED: f"Point {index} as {attack} changed it, misclassified",
            Kind.DIFFERENCE: f"What {attack} changed in point {index}",
        }
        panels = (Panel(kind=kind, address=f"{folder}/{index}/{kind}.png", alt=alt) for kind, alt in said.items())
        yield Picture(
            index=index,
            label=label,
            attack=attack,
            step=points.step[place],
            distance=distance,
            panels=tuple(panels),
        )


def _missing(model: ModelView) -> str:
    report = model.report
    if report is None:
        return "This service has not run the model, so it has no examples to show."
    if model.dataset not in SHOWN:
        return "The terms of this data set do not let a service show its images to everybody, so there is no gallery."
    if not any(attack.broken for attack in report.attacks):
        return "No attack broke a point, so there is nothing to show."
    return "No images were kept of this evaluation, as of all that are older than the gallery."


def strength(gallery: Gallery) -> float:
    """Return how much all differences of a gallery are strengthened: ten times, or as much as nearly all of it fits.

    A few values may go beyond black or white: else one pixel would make all others too faint to see.
    """
    pairs = (pair for index in gallery.index for pair in zip(*gallery.images(index), strict=True))
    changes = sorted(abs(after - before) for before, after in pairs if after != before)
    return round(min(_STRONGEST, _GREY / changes[int(_FITTING * (len(changes) - 1))]), 1)


def as_png(gallery: Gallery, index: int, kind: Kind) -> bytes:
    """Return an image of a point of the gallery, pixel by pixel."""
    clean, perturbed = gallery.images(index)
    values = clean if kind is Kind.ORIGINAL else perturbed
    if kind is Kind.DIFFERENCE:
        by = strength(gallery)
        values = [_GREY + by * (after - before) for before, after in zip(clean, perturbed, strict=True)]
    channels, height, width = gallery.shape
    image = Image.frombytes("L" if channels == 1 else "RGB", (width, height), _interleaved(values, channels))
    file = io.BytesIO()
    image.save(file, "PNG")
    return file.getvalue()


def _interleaved(values: Sequence[float], channels: int) -> bytes:
    """Return the values of a pixel side by side, as images are written, each from black to white."""
    levels = [min(max(round(_WHITE * value), 0), _WHITE) for value in values]
    of_one = len(levels) // channels
    return bytes(levels[channel * of_one + place] for place in range(of_one) for channel in range(channels))
