"""What each operation of a graph is given, held against what torch declares that it takes.

torch itself reads a number as an element type or a layout, and a word as a device, where a graph says so; some of its
operations trust the sizes that they are told. Nothing of that is left to a stranger.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import NoReturn

from torch import Tensor

from benchmark.graph import Argument, Operation, Symbol
from model_zoo.checkpoints.archive import refuse
from model_zoo.checkpoints.header import shown

_WORDS = MappingProxyType(
    {"ScalarType": "dtype", "Layout": "layout", "Device": "device", "MemoryFormat": "memory_format"}
)
"""The kind of word that an argument of torch's type takes."""
_CHOICES = MappingProxyType(
    {
        # Another number is none of the kernel's cases: it leaves its result as the allocator gave it.
        ("aten.grid_sampler.default", "interpolation_mode"): range(3),
        ("aten.grid_sampler.default", "padding_mode"): range(3),
    }
)


def check_arguments(operation: Operation, function: Callable[..., object]) -> bool:
    """Check names and kinds of an operation's arguments; whether tensors and sizes fit is seen when it runs.

    Args:
        operation: what the graph says.
        function: torch's operation.
    Returns:
        Whether it makes a tensor from numbers alone, so that it must be told on which device.
    Raises:
        InvalidCheckpoint: an argument is unknown, given twice, or of a kind that it cannot have.
    """
    declared = function._schema.arguments  # type: ignore[attr-defined]  # every operation of torch's has one
    types = {argument.name: str(argument.real_type) for argument in declared}
    given = _by_name(operation, [argument.name for argument in declared if not argument.kwarg_only], types)
    for name, value in given.items():
        _check_kind(operation.target, name, types[name], value)
        choices = _CHOICES.get((operation.target, name))
        if choices is not None and (type(value) is not int or value not in choices):
            _refuse(operation.target, f"{name} {shown(value)}", f"one of {list(choices)}")
    # It then writes the statistics of the batch into the network's buffers.
    keeps = operation.target == "aten.instance_norm.default" and given.get("running_mean") is not None
    if keeps and given.get("use_input_stats") is not False:
        _refuse(operation.target, "statistics kept from batch to batch", "a model in eval mode")
    return "device" in types and not any("Tensor" in kind for kind in types.values())


def guarded(target: str, function: Callable[..., object], results: int) -> Callable[..., object]:
    """Return the operation, with a check of the sizes that torch itself does not make.

    Args:
        target: its name.
        function: torch's operation.
        results: how many results the graph takes from it.
    """
    check: Callable[..., None] | None = _CHECKS.get(target)
    pieces = _PIECES.get(target)
    if check is None and pieces is None:
        return function

    def checked(*arguments: object, **named: object) -> object:
        if check is not None:
            check(*arguments, **named)
        # Each of them would cost memory, however little it holds.
        if pieces is not None and (found := pieces(*arguments, **named)) > results:
            _refuse(target, f"{found} results", str(results))
        return function(*arguments, **named)

    return checked


# The parameters below have the names that torch gives them, for a graph may use those.


def _check_channels(  # noqa: PLR0917 - the operation has them
    input: Tensor,  # noqa: A002
    weight: Tensor | None,
    bias: Tensor | None,
    running_mean: Tensor,
    running_var: Tensor,
    momentum: float,
    eps: float,
) -> None:
    """Check the sizes that the kernel takes for granted: it reads a number for each channel, wherever it may lie."""
    for tensor in (weight, bias, running_mean, running_var):
        if tensor is not None and tensor.shape != input.shape[1:2]:
            _refuse("batch normalisation", f"statistics of {list(tensor.shape)}", f"one for each of {input.shape[1]}")


def _unbound(self: Tensor, dim: int = 0) -> int:
    return self.shape[dim]


def _split(self: Tensor, split_size: int, dim: int = 0) -> int:
    return -(-self.shape[dim] // max(split_size, 1))


def _chunked(self: Tensor, chunks: int, dim: int = 0) -> int:
    return _split(self, -(-self.shape[dim] // max(chunks, 1)), dim)


def _sections(self: Tensor, sections: int, dim: int = 0) -> int:
    return sections


_CHECKS = MappingProxyType({"aten._native_batch_norm_legit_no_training.default": _check_channels})
_PIECES: Mapping[str, Callable[..., int]] = MappingProxyType(
    {
        "aten.unbind.int": _unbound,
        "aten.split.Tensor": _split,
        "aten.chunk.default": _chunked,
        "aten.tensor_split.sections": _sections,
    }
)
"""Into how many pieces an operation would cut a tensor."""


def _by_name(operation: Operation, places: list[str], types: Mapping[str, str]) -> dict[str, Argument]:
    if len(operation.positional) > len(places):
        _refuse(operation.target, f"{len(operation.positional)} arguments", f"at most {len(places)}")
    given = dict(zip(places, operation.positional, strict=False))
    for name, value in operation.named.items():
        if name not in types or name in given:
            _refuse(operation.target, f"the argument {shown(name)}", "what it takes, every argument once")
        given[name] = value
    return given


def _check_kind(target: str, name: str, declared: str, value: Argument) -> None:
    kind = _WORDS.get(declared.removeprefix("Optional[").removesuffix("]"))
    if kind is not None:
        fits = value is None or (isinstance(value, Symbol) and value.kind == kind)
    elif isinstance(value, Symbol):
        fits = False
    else:
        fits = not isinstance(value, str) or "str" in declared
    if not fits:
        _refuse(target, f"the argument {name} of another kind", declared)


def _refuse(target: str, found: str, expected: str) -> NoReturn:
    refuse(target, found=found, expected=expected)
