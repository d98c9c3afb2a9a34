"""A model as a list of operations, as the interpreter runs it and the static restrictions read it; free of torch."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from types import MappingProxyType
from typing import TypeAlias


class Breach(StrEnum):
    """Kinds of operations that break a rule by being there: they are read, so that the rule can be named, never run."""

    DRAWS = "draws"
    """Draws random numbers."""
    GRADIENTS = "gradients"
    """Computes a gradient."""
    LOOPS = "loops"
    """Runs a part of the network as often as its values say."""
    BRANCHES = "branches"
    """Runs a part of the network or another one, as its values say."""
    NO_GRADIENTS = "no_gradients"
    """Runs a part of the network without recording gradients."""


_BREACHES: Mapping[Breach, re.Pattern[str]] = MappingProxyType(
    {
        Breach.DRAWS: re.compile(
            r"aten\.(rand(n|int|perm)?(_like)?|bernoulli_?|multinomial|normal(_functional)?_?|uniform_?|poisson|binomial|"
            r"exponential_?|geometric_?|cauchy_?|log_normal_?|random_?|rrelu(_with_noise)?_?|native_dropout|"
            r"(feature_|alpha_|feature_alpha_)dropout_?)\.\w+"
        ),
        Breach.GRADIENTS: re.compile(r"aten\.\w+_backward(_\w+)?\.\w+"),
        Breach.LOOPS: re.compile(r"higher_order\.(while_loop|scan|associative_scan|map_impl)"),
        Breach.BRANCHES: re.compile(r"higher_order\.cond"),
        Breach.NO_GRADIENTS: re.compile(r"higher_order\.wrap_with_set_grad_enabled"),
    }
)
_TRAINING: Mapping[str, tuple[str, int]] = MappingProxyType(
    {
        "aten.batch_norm.default": ("training", 5),
        "aten.dropout.default": ("train", 2),
        "aten.dropout_.default": ("train", 2),
        "aten.scaled_dot_product_attention.default": ("dropout_p", 4),
    }
)
"""Where an operation is told to behave as in training: the argument's name and place."""


def breach_of(target: str) -> Breach | None:
    """Return which rule an operation breaks by being there, if any; ``target`` is its name with its overload."""
    return next((breach for breach, names in _BREACHES.items() if names.fullmatch(target)), None)


@dataclass(frozen=True)
class Reference:
    """A value that an earlier operation, an input or a constant of the graph has given.

    Args:
        name: of the value; every name is given once.
    """

    name: str


@dataclass(frozen=True)
class Symbol:
    """A word of torch's own, such as the element type "float32" or the memory format "channels_last".

    Args:
        kind: "dtype", "memory_format", "layout" or "device".
        name: the word.
    """

    kind: str
    name: str


Argument: TypeAlias = "Reference | Symbol | bool | int | float | str | tuple[Argument, ...] | None"


@dataclass(frozen=True)
class Operation:
    """One step.

    Args:
        target: the operation with its overload, such as "aten.conv2d.default".
        positional: its arguments by place.
        named: its arguments by name.
        outputs: the names that its results get; None for one that nobody uses.
    """

    target: str
    positional: tuple[Argument, ...]
    named: Mapping[str, Argument]
    outputs: tuple[str | None, ...]

    @property
    def writes(self) -> bool:
        """Whether it changes its first argument in place."""
        return self.target.split(".")[1].endswith("_")

    @property
    def breach(self) -> Breach | None:
        """Which rule it breaks by being there, if any."""
        return breach_of(self.target)

    @property
    def trains(self) -> bool:
        """Whether it is told to behave as in training."""
        name, place = _TRAINING.get(self.target, ("", 0))
        return bool(name) and bool(self.argument(place, name))

    def argument(self, place: int, name: str) -> Argument:
        """Return an argument, given by its place or by its name; None where it is not given."""
        return self.positional[place] if len(self.positional) > place else self.named.get(name)

    @property
    def changed(self) -> str | None:
        """Name of the value that it changes in place; None where it changes none."""
        first = self.positional[0] if self.positional else self.named.get("self")
        return first.name if self.writes and isinstance(first, Reference) else None

    def reads(self) -> Iterator[str]:
        """Yield the names of the values that it takes."""
        for argument in (*self.positional, *self.named.values()):
            yield from _names(argument)


@dataclass(frozen=True)
class Constant:
    """A parameter or buffer.

    Args:
        name: by which operations refer to it.
        key: its name in the network, such as "layer1.0.conv1.weight".
        dtype: element type, such as "float32".
        shape: size along each dimension.
        trained: whether it is a parameter.
    """

    name: str
    key: str
    dtype: str
    shape: tuple[int, ...]
    trained: bool


@dataclass(frozen=True)
class Graph:
    """A whole model, from a batch of images to logits.

    Args:
        constants: parameters and buffers.
        input: name of the batch of images.
        image_shape: (c, h, w) of the images that it was exported for.
        operations: in their order; each takes only what was given before.
        output: name of the logits.
        kept: keys of the buffers that a call leaves changed for the next one.
    """

    constants: tuple[Constant, ...]
    input: str
    image_shape: tuple[int, ...]
    operations: tuple[Operation, ...]
    output: str
    kept: tuple[str, ...] = ()

    @property
    def written(self) -> tuple[str, ...]:
        """Keys of the parameters and buffers that a call changes, each once."""
        keys = {constant.name: constant.key for constant in self.constants}
        changed = (keys[operation.changed] for operation in self.operations if operation.changed in keys)
        return tuple(dict.fromkeys((*self.kept, *changed)))

    def __deepcopy__(self, memo: dict[int, object]) -> Graph:
        return self  # nothing in it can change


def _names(argument: Argument) -> Iterator[str]:
    if isinstance(argument, Reference):
        yield argument.name
    elif isinstance(argument, tuple):
        for item in argument:
            yield from _names(item)
