"""What the analyses of one model have to go on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from math import gcd
from pathlib import Path

from torch import Tensor, nn

from benchmark import datasets
from benchmark.analysis.fairness import PROTOCOL
from benchmark.analysis.transfer import Method
from benchmark.classifier import Classifier, frozen
from benchmark.dataset_table import DATASETS
from benchmark.datasets import LabelledPoints
from benchmark.errors import InvalidInput, NotFound
from benchmark.pipeline import Evaluation, evaluate
from benchmark.threat_models import ThreatModel

DEFAULT_WIDTH = 64
OWN = "this model"
"""What the analysed model is called beside others."""
_GOLDEN = (5**0.5 - 1) / 2


class LeftOut(Exception):
    """An analysis cannot be made, for a reason that is no fault of the model."""


@dataclass(frozen=True)
class Material:
    """What the analyses of one model have to go on.

    Args:
        model: from images (n, c, h, w) in [0, 1] to logits (n, classes), in eval mode.
        test: points that it was not trained on, on the device of the model.
        threat_model: norm and budget of the attacks; its data set is where other points are taken from.
        seed: of all draws.
        width: rows of a batch.
        data_dir: folder of the data sets that do not come along.
        name: what the model is called beside others.
        others: models to compare with, by name, on the same device.
        method: how examples are made that are carried over to others.
        layer: the layer whose smoothness is measured; None for the logits.
        checkpoint_sha256: the model's file, where it has one.
    """

    model: nn.Module
    test: LabelledPoints
    threat_model: ThreatModel
    seed: int = 0
    width: int = DEFAULT_WIDTH
    data_dir: str | Path | None = None
    name: str = OWN
    others: Mapping[str, nn.Module] = field(default_factory=dict)
    method: Method = Method.PGD
    layer: str | None = None
    checkpoint_sha256: str | None = None

    @cached_property
    def logits(self) -> Tensor:
        """Of the test points, (n, classes)."""
        return self.logits_of(self.test.x)

    def logits_of(self, x: Tensor) -> Tensor:
        """Return the logits of any images, (n, classes), in batches."""
        with frozen(self.model):
            return Classifier(self.model, (x.shape[1], x.shape[2], x.shape[3]), self.width).logits_of_all(x.flatten(1))

    @cached_property
    def attacked(self) -> Evaluation:
        """The test points under the attack by which classes are compared."""
        return self.attack(self.test)

    def attack(self, points: LabelledPoints, protocol: str = PROTOCOL) -> Evaluation:
        """Attack points within the budget."""
        return evaluate(
            self.model, points.x, points.y, self.threat_model, protocol=protocol, seed=self.seed,
            batch_size=self.width, device=str(points.x.device), diagnostics=False,
        )  # fmt: skip

    @cached_property
    def train(self) -> LabelledPoints:
        """As many points of the training split as there are test points.

        Raises:
            LeftOut: they are not here.
        """
        return self.load(self.dataset, "train", len(self.test.y))

    @property
    def dataset(self) -> str:
        """Name of the data set.

        Raises:
            LeftOut: the points have none.
        """
        if self.threat_model.dataset is None:
            raise LeftOut("the points are of no known data set")
        return self.threat_model.dataset

    def load(self, name: str, split: str, n: int | None = None) -> LabelledPoints:
        """Return the first points of a data set, in the shape of the test points and on their device.

        Raises:
            LeftOut: the data set is not here.
        """
        return self._loaded(name, split, n=n)

    def load_spread(self, name: str, split: str = "test") -> LabelledPoints:
        """Return as many points as there are test points, or all where those are fewer, from all over a data set.

        For many a set lies class by class. See `spread`; the points are in the shape of the test points.

        Raises:
            LeftOut: the data set is not here.
        """
        size = DATASETS[name].splits[split]
        return self._loaded(name, split, index=spread(size, min(size, len(self.test.y))))

    def _loaded(
        self, name: str, split: str, *, n: int | None = None, index: Sequence[int] | None = None
    ) -> LabelledPoints:
        channels, height, width = self.test.x.shape[1:]
        own = (channels, height, width)
        shape = None if datasets.SHAPES.get(name) == own else own
        try:
            points = datasets.load(name, split, n, index=index, data_dir=self.data_dir, shape=shape)
        except (InvalidInput, NotFound) as error:
            raise LeftOut(f"the {split} split of {name} is not here") from error
        device = self.test.x.device
        return LabelledPoints(points.x.to(device), points.y.to(device), points.index)


def spread(size: int, n: int) -> tuple[int, ...]:
    """Return n different positions below a size, such that the first so many lie evenly, however many they are.

    Each lies a fixed stride after the one before it, and from the end on at the beginning again; the stride is about
    the golden section of the size.

    Args:
        size: > 0.
        n: at most the size.
    """
    stride = max(1, round(size * _GOLDEN))
    while gcd(stride, size) != 1:
        stride += 1
    return tuple(i * stride % size for i in range(n))
