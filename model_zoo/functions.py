"""torch's function for each operation that a graph may be made of."""

from __future__ import annotations

import operator
from collections.abc import Callable

import torch

from benchmark.errors import InvalidCheckpoint

MAX_SIZE = 2**31 - 1
"""Greatest number that a graph may compute from sizes."""


def function_of(target: str) -> Callable[..., object]:
    """Return the function of an operation's name, such as "aten.conv2d.default"; the name must be an allowed one."""
    module, name, *overload = target.split(".")
    if module == "operator":
        return _bounded(getattr(operator, name))
    function: Callable[..., object] = getattr(getattr(torch.ops.aten, name), overload[0])
    return function


def _bounded(function: Callable[..., int]) -> Callable[..., int]:
    def compute(*sizes: int) -> int:
        value = function(*sizes)
        if not -MAX_SIZE <= value <= MAX_SIZE:
            raise InvalidCheckpoint.because(
                "graph", found=f"the size {value}", expected=f"at most {MAX_SIZE}", remedy="export the model again"
            )
        return value

    return compute
