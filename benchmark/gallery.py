"""A few adversarial examples to look at: which, and the file in which they travel. Nothing here needs torch."""

from __future__ import annotations

import base64
import binascii
import math
import struct
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from benchmark.errors import InvalidInput
from benchmark.report import Count, Name, Part, Points, Sha256, canonical_json
from benchmark.threat_models import NormName, ThreatModel
from benchmark.verdicts import largest_distance

MOST = 12
"""Most points of a gallery."""
MAX_GALLERY_BYTES = 4 * 1024 * 1024
_MOST_PIXELS = 3 * 64 * 64
_VALUE_BYTES = 4


@dataclass(frozen=True)
class Shown:
    """A data set of which a few images may be shown to everybody.

    Args:
        shape: channels, height and width of an image.
        credit: whose images they are, and by what terms they are shown.
    """

    shape: tuple[int, int, int]
    credit: str


SHOWN: Mapping[str, Shown] = MappingProxyType(
    {
        "digits": Shown((1, 8, 8), "UCI digits, CC BY 4.0"),
        "mnist": Shown((1, 28, 28), "MNIST, LeCun and Cortes, CC BY-SA 3.0"),
        "fashion-mnist": Shown((1, 28, 28), "Fashion-MNIST, MIT"),
        "cifar10": Shown((3, 32, 32), "CIFAR-10, Krizhevsky 2009"),
        "cifar100": Shown((3, 32, 32), "CIFAR-100, Krizhevsky 2009"),
    }
)
"""The data sets that galleries are made of. ImageNet's terms forbid it, and others keep their images to some uses."""

_Pixels = Annotated[str, Field(max_length=_MOST_PIXELS * _VALUE_BYTES * 4 // 3 + 4)]


class Gallery(Part):
    """Clean images and what broke them, column by column; every value is within what the threat model permits."""

    schema_version: Literal[1] = 1
    norm: NormName
    epsilon: Name
    """The budget as an exact fraction, such as "8/255"."""
    dataset: Name
    checkpoint_sha256: Sha256 | None = None
    shape: tuple[Count, Count, Count]
    """Channels, height and width of every image."""
    index: Annotated[tuple[Count, ...], Field(min_length=1, max_length=MOST)]
    """Position in the data set."""
    clean: tuple[_Pixels, ...]
    """The images as float32 values in [0, 1], channel by channel, row by row: little-endian bytes in base64."""
    perturbed: tuple[_Pixels, ...]
    """The examples, likewise."""

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        shown = SHOWN.get(self.dataset)
        if shown is None or shown.shape != self.shape:
            raise ValueError("gallery: no images of this data set and shape are shown")
        if {len(self.clean), len(self.perturbed)} != {len(self.index)}:
            raise ValueError("gallery: every column must have one value per point")
        if any(a >= b for a, b in zip(self.index, self.index[1:], strict=False)):
            raise ValueError("gallery.index: must increase strictly")
        limit = largest_distance(_radius(self.norm, self.epsilon))
        for clean, perturbed in zip(self.clean, self.perturbed, strict=True):
            x, x_adv = self._values(clean), self._values(perturbed)
            if not all(0 <= value <= 1 for value in (*x, *x_adv)):
                raise ValueError("gallery: a value is outside [0, 1] or is no number")
            if not 0 < _DISTANCES[self.norm](x, x_adv) <= limit:
                raise ValueError("gallery: an example is no other image than its point, or is farther than the budget")
        return self

    def images(self, index: int) -> tuple[Sequence[float], Sequence[float]]:
        """Return the clean values of a point of the gallery and the perturbed ones."""
        place = self.index.index(index)
        return self._values(self.clean[place]), self._values(self.perturbed[place])

    def _values(self, pixels: str) -> tuple[float, ...]:
        count = math.prod(self.shape)
        try:
            data = base64.b64decode(pixels, validate=True)
        except binascii.Error:
            data = b""
        if len(data) != count * _VALUE_BYTES:
            raise ValueError(f"gallery: an image must be {count} float32 values in base64")
        return struct.unpack(f"<{count}f", data)

    def to_bytes(self) -> bytes:
        """Return canonical JSON, equal for equal galleries."""
        return canonical_json(self.model_dump(mode="json"))

    @classmethod
    def from_bytes(cls, data: bytes) -> Gallery:
        """Read what `to_bytes` wrote, as hostile input.

        Raises:
            ValueError: it is too large, or is no gallery that the threat model permits.
        """
        if len(data) > MAX_GALLERY_BYTES:
            raise ValueError(f"gallery: more than {MAX_GALLERY_BYTES} bytes")
        return cls.model_validate_json(data)


def _radius(norm: NormName, epsilon: str) -> float:
    try:
        return ThreatModel(norm, epsilon).radius
    except InvalidInput as error:
        raise ValueError(f"gallery.{error.message}") from error


def as_pixels(values: bytes) -> str:
    """Return the little-endian float32 values of an image as a gallery holds them."""
    return base64.b64encode(values).decode("ascii")


def chosen(blocks: Iterable[Points]) -> tuple[int, ...]:
    """Choose the points of a gallery: spread over the attacks that broke them and the classes, the nearest first.

    The attacks take turns by name. Each takes a point of the class that has been taken least so far, of these the one
    with the smallest distance, of these the first. So it follows from the verdicts alone.

    Args:
        blocks: the verdicts on the points of one evaluation, shard by shard.
    Returns:
        Positions in the data set in increasing order; none where no attack broke anything.
    """
    broken: dict[str, dict[int, tuple[int, float]]] = {}
    for points in blocks:
        rows = zip(points.broken_by, points.index, points.label, points.distance, strict=True)
        for attack, index, label, distance in rows:
            if attack is not None and attack != "clean" and distance:
                broken.setdefault(attack, {})[index] = (label, distance)
    taken: list[int] = []
    classes: Counter[int] = Counter()
    while len(taken) < MOST and (left := sorted(attack for attack, points_left in broken.items() if points_left)):
        for attack in left[: MOST - len(taken)]:
            index = _next(broken[attack], classes)
            label, _ = broken[attack].pop(index)
            classes[label] += 1
            taken.append(index)
    return tuple(sorted(taken))


def _next(points: Mapping[int, tuple[int, float]], classes: Mapping[int, int]) -> int:
    return min(points, key=lambda index: (classes[points[index][0]], points[index][1], index))


def _linf(x: Sequence[float], x_adv: Sequence[float]) -> float:
    return max(abs(a - b) for a, b in zip(x, x_adv, strict=True))


def _l1(x: Sequence[float], x_adv: Sequence[float]) -> float:
    return math.fsum(abs(a - b) for a, b in zip(x, x_adv, strict=True))


_DISTANCES: Mapping[NormName, Callable[[Sequence[float], Sequence[float]], float]] = MappingProxyType(
    {"Linf": _linf, "L2": math.dist, "L1": _l1}
)
