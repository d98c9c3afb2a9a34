"""What of a graph depends on the images, and how: the ground on which the restrictions read it. Free of torch."""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import cached_property

from benchmark.graph import Argument, Breach, Constant, Graph, Operation, Reference, Symbol

_ROUNDS = re.compile(r"aten\.(round|floor|ceil|trunc|sign|frac|fmod|remainder|floor_divide)_?\.\w+")
_COMPARES = re.compile(r"aten\.(eq|ne|gt|ge|lt|le|isnan|isinf|isfinite)_?\.\w+")
_CHOOSES = re.compile(r"aten\.(argmax|argmin|argsort|one_hot|any|all|(logical|bitwise)_\w+)\.\w+")
_DETACHES = re.compile(r"aten\.detach_?\.\w+")
_SECOND_RESULT_IS_A_PLACE = re.compile(r"aten\.(topk|sort|max|min|max_pool2d_with_indices)\.\w+")
_CASTS = re.compile(r"aten\.(to|_to_copy|type_as)\.\w+")
_WEIGHS = re.compile(
    r"aten\.(conv\w*|linear|matmul|mm|bmm|mv|dot|addmm|addbmm|baddbmm|einsum|embedding|prelu|scaled_dot_product_attention)"
    r"\.\w+"
)
_WHOLE = re.compile(r"float\d+|bfloat16")


def rounds(operation: Operation) -> bool:
    """Tell whether an operation gives the same result for a range of values, so that it is flat between jumps."""
    by_mode = operation.target.startswith("aten.div.") and isinstance(operation.named.get("rounding_mode"), str)
    return bool(_ROUNDS.fullmatch(operation.target)) or by_mode or _casts_to_integers(operation)


def compares(operation: Operation) -> bool:
    """Tell whether an operation compares values."""
    return bool(_COMPARES.fullmatch(operation.target))


def detaches(operation: Operation) -> bool:
    """Tell whether an operation passes its argument on without its gradient."""
    return bool(_DETACHES.fullmatch(operation.target)) or operation.breach is Breach.NO_GRADIENTS


def weighs(operation: Operation) -> bool:
    """Tell whether an operation mixes values by weights, as layers do."""
    return bool(_WEIGHS.fullmatch(operation.target))


def _casts_to_integers(operation: Operation) -> bool:
    if not _CASTS.fullmatch(operation.target):
        return False
    words = (*operation.positional, *operation.named.values())
    return any(isinstance(word, Symbol) and word.kind == "dtype" and not _WHOLE.fullmatch(word.name) for word in words)


class Flow:
    """A graph with what is known of each of its values.

    Args:
        graph: the model.
    """

    def __init__(self, graph: Graph) -> None:
        self.graph = graph
        self.constants = {constant.name: constant for constant in graph.constants}

    @cached_property
    def used(self) -> tuple[Operation, ...]:
        """The operations that have a part in the logits, in their order."""
        wanted, used = {self.graph.output}, []
        for operation in reversed(self.graph.operations):
            gives = {name for name in operation.outputs if name is not None}
            # What is written in place may be read by any of its names.
            if gives & wanted or operation.writes or operation.breach is not None:
                wanted |= set(operation.reads()) | gives
                used.append(operation)
        return tuple(reversed(used))

    @cached_property
    def of_images(self) -> frozenset[str]:
        """Names of the values that depend on the images' pixels; their sizes do not count."""
        found = {self.graph.input}
        for operation in self.used:
            if not operation.target.startswith("aten.sym_size") and found.intersection(operation.reads()):
                found.update(name for name in operation.outputs if name is not None)
        return frozenset(found)

    @cached_property
    def differentiable(self) -> frozenset[str]:
        """Names of the values through which a gradient finds its way back to the images."""
        found = {self.graph.input}
        for operation in self.used:
            if not self._passes_gradients(operation) or not found.intersection(operation.reads()):
                continue
            places_second = bool(_SECOND_RESULT_IS_A_PLACE.fullmatch(operation.target))
            names = operation.outputs[:1] if places_second else operation.outputs
            found.update(name for name in names if name is not None)
        return frozenset(found)

    @cached_property
    def unweighted(self) -> frozenset[str]:
        """Names of the values that are computed from the images before any layer."""
        found = {self.graph.input}
        for operation in self.used:
            if (
                not weighs(operation)
                and found.intersection(operation.reads())
                and self.of_images.intersection(name for name in operation.outputs if name is not None)
            ):
                found.update(name for name in operation.outputs if name is not None)
        return frozenset(found)

    def reading_images(self) -> Iterator[Operation]:
        """Yield the operations on values that depend on the images."""
        return (operation for operation in self.used if self.of_images.intersection(operation.reads()))

    def reading_unweighted(self) -> Iterator[Operation]:
        """Yield the operations on values that no layer has touched yet."""
        return (
            operation
            for operation in self.reading_images()
            if any(name in self.unweighted for name in operation.reads())
        )

    def constants_of(self, operation: Operation) -> tuple[Constant, ...]:
        """Return the parameters and buffers that an operation takes, as they are or in another shape."""
        found: dict[str, Constant] = {}
        wanted, seen = list(operation.reads()), set[str]()
        while wanted:
            name = wanted.pop()
            if name in self.constants:
                found[name] = self.constants[name]
            elif name not in self.of_images and name not in seen and name in self._givers:
                seen.add(name)
                wanted += self._givers[name].reads()
        return tuple(found.values())

    def giver_of(self, name: str) -> Operation | None:
        """Return the operation that gives a value; None for the images and the constants."""
        return self._givers.get(name)

    @cached_property
    def _givers(self) -> dict[str, Operation]:
        return {name: operation for operation in self.graph.operations for name in operation.outputs if name}

    @staticmethod
    def _passes_gradients(operation: Operation) -> bool:
        if operation.target.startswith("aten.sym_size") or detaches(operation):
            return False
        flat = rounds(operation) and not re.fullmatch(r"aten\.(frac|fmod|remainder)_?\.\w+", operation.target)
        return not (flat or compares(operation) or _CHOOSES.fullmatch(operation.target))


def first_reference(operation: Operation) -> str | None:
    """Return the name of the value in an operation's first place; None where there is none."""
    first: Argument = operation.argument(0, "self")
    return first.name if isinstance(first, Reference) else None


def named(operations: list[Operation], most: int = 5) -> str:
    """Name some operations for a message, each once."""
    names = list(dict.fromkeys(operation.target.removeprefix("aten.").partition(".")[0] for operation in operations))
    return ", ".join(names[:most]) + (f" and {len(names) - most} more" if len(names) > most else "")
