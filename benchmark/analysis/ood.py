"""Out-of-distribution detection: whether a model is surer of its own data than of foreign ones."""

from __future__ import annotations

from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from benchmark import randomness
from benchmark.analysis.calibration import maximum_confidence
from benchmark.analysis.material import LeftOut, Material, spread
from benchmark.analysis.results import ForeignSet, OutOfDistribution
from benchmark.errors import InvalidInput
from benchmark.preprocessing import fitting

if TYPE_CHECKING:
    from PIL.Image import Image

BINS = 20
PHOTOGRAPHS = "photographs"
"""Patches of the two photographs that scikit-learn brings along."""
NOISE = "noise"
"""Images of uniform noise, every value of its own."""
FOREIGN: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "cifar10": ("cifar100", "svhn", "dtd"),
        "cifar100": ("cifar10", "svhn", "dtd"),
        "digits": (PHOTOGRAPHS, NOISE, "fashion-mnist", "dtd"),
    }
)
"""Of which sets a model of a data set is asked; MNIST's and SVHN's images are digits, thus not foreign to digits."""
_OTHERWISE = (PHOTOGRAPHS, NOISE, "dtd")
PATCH = 32
"""Pixels of a patch's side before it is brought to the shape of a model's images; with 427×640 pixels a photograph has
13 rows of 20 patches, none of which overlap."""


def out_of_distribution(material: Material) -> OutOfDistribution:
    """Compare how sure a model is of its own data and of each foreign set.

    A set is taken from all over its test split, as many points as there are of the own data, or all it has, resized to
    the shape of these; see `FOREIGN` for which. Sets that are not here are left out.

    Raises:
        LeftOut: none of the sets is here.
    Source:
        As of `auroc`. Differs for digits, whose sets come along but for Fashion-MNIST and Describable Textures; and a
        model of CIFAR-100 is asked about CIFAR-10.
    """
    own = maximum_confidence(material.logits)
    sets, missing = [], []
    for name in FOREIGN.get(material.dataset, _OTHERWISE):
        try:
            x = _images(material, name)
        except LeftOut as why:
            missing.append(str(why))
            continue
        sure = maximum_confidence(material.logits_of(x))
        sets.append(
            ForeignSet(
                name=name, points=len(x), auroc=auroc(own, sure), mean_confidence=_mean(sure), histogram=histogram(sure)
            )
        )
    if not sets:
        raise LeftOut("; ".join(missing))
    return OutOfDistribution(points=len(own), mean_confidence=_mean(own), histogram=histogram(own), sets=tuple(sets))


def auroc(inside: Tensor, outside: Tensor) -> float:
    """Return the chance that a point of the own data scores higher than a foreign one; a draw counts as half.

    That is the area under the receiver operating characteristic: 1 where the score tells them apart, 1/2 where it says
    nothing.

    Args:
        inside: scores of points of the model's own data, (n,).
        outside: scores of foreign points, (m,).
    Raises:
        InvalidInput: either is empty, or a score is no number.
    Source:
        Hendrycks & Gimpel 2017, arXiv:1610.02136; as in Croce et al. 2021, arXiv:2010.09670, the score is that of
        `benchmark.analysis.calibration.maximum_confidence`, against CIFAR-100, SVHN and Describable Textures.
    """
    for name, scores in (("inside", inside), ("outside", outside)):
        if not len(scores) or bool(scores.isnan().any()):
            raise InvalidInput.because(
                name, found="no scores" if not len(scores) else "a score that is no number",
                expected="a number for every point", remedy="give the logits of all points of both data sets",
            )  # fmt: skip
    ordered = outside.double().sort().values
    scores = inside.double()
    below = torch.searchsorted(ordered, scores, right=False)
    not_above = torch.searchsorted(ordered, scores, right=True)
    return float((below + not_above).double().mean()) / (2 * len(ordered))


def histogram(confidence: Tensor) -> tuple[int, ...]:
    """Count points by confidence in 20 bins of equal width from 0 to 1; a border belongs to the bin below it."""
    ends = torch.linspace(0, 1, BINS + 1, dtype=torch.float64, device=confidence.device)[1:-1]
    return tuple(torch.bincount(torch.bucketize(confidence, ends), minlength=BINS).tolist())


def photographs(shape: tuple[int, int, int], n: int) -> Tensor:
    """Return patches of photographs, the first n of a fixed order or all there are, (n, c, h, w), float32 in [0, 1].

    Every other one is of the same photograph; of each they are taken from all over it.

    Args:
        shape: channels, height and width that each patch is brought to by `benchmark.preprocessing.fitting`.
        n: how many.
    """
    import numpy as np

    prepare = fitting(shape)
    pictures = _pictures()
    orders = []
    for picture in pictures:
        across, down = picture.width // PATCH, picture.height // PATCH
        corners = [
            (PATCH * (place % across), PATCH * (place // across)) for place in spread(down * across, down * across)
        ]
        orders.append([(left, top, left + PATCH, top + PATCH) for left, top in corners])
    patches = [
        prepare(picture.crop(box))
        for boxes in zip(*orders, strict=True)
        for picture, box in zip(pictures, boxes, strict=True)
    ]
    levels = np.stack([np.asarray(patch).reshape(*shape[1:], shape[0]) for patch in patches[:n]])
    return torch.from_numpy(levels).permute(0, 3, 1, 2).to(torch.float32).div(255).contiguous()


def _pictures() -> list[Image]:
    """Read the two files; importing scikit-learn for them would take as long as torch."""
    from PIL import Image as Images

    package = find_spec("sklearn")
    if package is None or package.origin is None:
        raise LeftOut("scikit-learn, which brings the photographs along, is not here")
    folder = Path(package.origin).parent / "datasets" / "images"
    pictures = []
    for name in ("china.jpg", "flower.jpg"):
        with Images.open(folder / name) as picture:
            pictures.append(picture.convert("RGB"))
    return pictures


def noise(shape: tuple[int, int, int], n: int, seed: int) -> Tensor:
    """Return images of uniform noise, (n, c, h, w), float32 in [0, 1).

    Args:
        shape: channels, height and width.
        n: how many; the first of many are those of few.
        seed: of the draws.
    """
    key = randomness.item_keys(seed, NOISE, 0, 0, torch.arange(n))
    return randomness.uniform(key, shape[0] * shape[1] * shape[2]).view(n, *shape)


def _images(material: Material, name: str) -> Tensor:
    test = material.test.x
    n, shape = len(test), (test.shape[1], test.shape[2], test.shape[3])
    if name == NOISE:
        return noise(shape, n, material.seed).to(test.device)
    return photographs(shape, n).to(test.device) if name == PHOTOGRAPHS else material.load_spread(name).x


def _mean(confidence: Tensor) -> float:
    return min(1.0, float(confidence.mean()))
