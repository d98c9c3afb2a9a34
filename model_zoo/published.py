"""The networks of published checkpoints: which class each is loaded into, with which arguments."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from pydantic import Field

from model_zoo.registry import Part

if TYPE_CHECKING:
    from torch import nn

_CLASSES: Mapping[str, int] = {"cifar10": 10, "cifar100": 100, "imagenet": 1000}

Place = Annotated[str, Field(pattern=r"^[a-z0-9]+/[A-Za-z0-9]+/[A-Za-z0-9_]+$")]


class PublishedNetwork(Part):
    """A network that one or more published checkpoints fit."""

    module: str
    """Within `model_zoo.architectures`."""
    network: str
    """Name of the class."""
    arguments: Mapping[str, int | str | bool]
    """Of the class, beside the number of classes."""
    parameters: int
    """Trained parameters."""
    unused: tuple[str, ...] = ()
    """Beginnings of keys that the checkpoints hold, and that no published code uses."""
    models: Annotated[tuple[Place, ...], Field(min_length=1)]
    """Data set, threat model and id of each, with slashes between."""

    @property
    def dataset(self) -> str:
        """The data set of all of them."""
        (dataset,) = {model.partition("/")[0] for model in self.models}
        return dataset

    def build(self) -> nn.Module:
        """Build it with torch's random weights, in eval mode."""
        make: type[nn.Module] = getattr(import_module(f"model_zoo.architectures.{self.module}"), self.network)
        return make(classes=_CLASSES[self.dataset], **self.arguments).eval()


@cache
def published() -> tuple[PublishedNetwork, ...]:
    """Return every network of the checkpoints that the tables of the RobustBench paper name."""
    content = tomllib.loads(Path(__file__).with_name("published.toml").read_text(encoding="utf-8"))
    return tuple(PublishedNetwork.model_validate(network) for network in content["networks"])
