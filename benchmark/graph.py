"""A model as a list of operations, as the interpreter runs it and the static restrictions read it; free of torch."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TypeAlias


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
    """

    constants: tuple[Constant, ...]
    input: str
    image_shape: tuple[int, ...]
    operations: tuple[Operation, ...]
    output: str

    def __deepcopy__(self, memo: dict[int, object]) -> Graph:
        return self  # nothing in it can change


def _names(argument: Argument) -> Iterator[str]:
    if isinstance(argument, Reference):
        yield argument.name
    elif isinstance(argument, tuple):
        for item in argument:
            yield from _names(item)
