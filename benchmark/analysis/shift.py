"""Distribution shifts: what a model keeps of its accuracies on data of the same classes from elsewhere."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType

import torch

from benchmark.analysis.material import LeftOut, Material
from benchmark.analysis.results import Shift, ShiftedSet
from benchmark.corrupted import corrupted_images
from benchmark.corruption_table import CELLS, corrupted_name
from benchmark.datasets import LabelledPoints
from benchmark.errors import InvalidInput, NotFound

PROTOCOL = "standard"
"""That of the boards, AutoAttack."""
ATTACKED = 100
"""So many points of every set are attacked, the first of them; a set of digits then takes some seconds on one core."""
OTHERS: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {"cifar10": ("cifar10.1", "cinic10"), "digits": ("mnist", "svhn")}
)
"""Other data sets with the same classes under the same labels; the corrupted images come before them."""


def shift(material: Material) -> Shift:
    """Measure standard and robust accuracy on the own test split and on other data of the same classes.

    The other data are the corrupted images of the data set, see `balanced_sample`, and the test splits of `OTHERS`,
    taken from all over them and resized to the shape of the own images. Of each there are as many points as of the own
    data, or all it has, and the first 100 are attacked. The robust accuracies are of these alone, and so is that on the
    own data. Sets that are not here are left out.

    Raises:
        LeftOut: none of the sets is here.
    Source:
        Croce et al. 2021, arXiv:2010.09670, section 4: CIFAR-10-C, CIFAR-10.1 and CINIC-10 under AutoAttack within the
        same budget. Differs: a sample of the cells, and 100 attacked points; CIFAR-100-C, and the sets of digits.
    """
    name = material.dataset
    sets, missing = [], []
    for other in (corrupted_name(name), *OTHERS.get(name, ())):
        try:
            points = _corrupted(material) if other == corrupted_name(name) else material.load_spread(other)
        except LeftOut as why:
            missing.append(str(why))
            continue
        sets.append(measured(material, other, points))
    if not sets:
        raise LeftOut("; ".join(missing))
    return Shift(protocol=PROTOCOL, own=measured(material, name, material.test), sets=tuple(sets))


def measured(material: Material, name: str, points: LabelledPoints) -> ShiftedSet:
    """Measure both accuracies on a set of points.

    Args:
        material: model, budget and seed.
        name: what the set is called.
        points: in the shape of the model's images, on its device.
    """
    right = material.logits_of(points.x).argmax(1) == points.y
    first = LabelledPoints(points.x[:ATTACKED], points.y[:ATTACKED], points.index[:ATTACKED])
    return ShiftedSet(
        name=name,
        points=len(points.y),
        standard_accuracy=float(right.double().mean()),
        attacked=len(first.y),
        robust_accuracy=material.attack(first, PROTOCOL).report.robust_accuracy,
    )


def balanced_sample(dataset: str | None, points: LabelledPoints, data_dir: str | Path | None = None) -> LabelledPoints:
    """Return each point under one corruption at one severity, such that all 75 cells have equally many.

    Point i is taken from cell i mod 75, in the order of `benchmark.corruption_table.CELLS`; where the number of points
    is no multiple of 75, the first cells have one more. The images are those that all models are asked about on boards
    of corruptions: the published ones where there are such, else those of `benchmark.corrupted.corrupt_points`.

    Args:
        dataset: what the points are of, where it has a name.
        points: clean points.
        data_dir: folder of the data sets.
    Raises:
        NotFound: the published images are not here.
        InvalidInput: the points cannot be corrupted.
    """
    clean = points.x.detach().cpu()
    corrupted = torch.empty_like(clean)
    for number, (corruption, severity) in enumerate(CELLS[: len(clean)]):
        places = slice(number, None, len(CELLS))
        source = corrupted_images(dataset, clean[places], points.index[places], data_dir)
        corrupted[places] = source.images(corruption, severity)
    return LabelledPoints(corrupted.to(points.x.device), points.y, points.index)


def _corrupted(material: Material) -> LabelledPoints:
    try:
        return balanced_sample(material.dataset, material.test, material.data_dir)
    except NotFound as error:
        raise LeftOut(f"the images of {corrupted_name(material.dataset)} are not here") from error
    except InvalidInput as error:
        raise LeftOut(f"these images cannot be corrupted: {error.message}") from error
