"""A graph run on shapes alone: what it would need and give, before anything of it is computed.

Tensors without data stand for the images and the constants, so nothing is allocated and nothing takes long, whatever
the graph asks for. What fails here fails on any batch; what passes stays within the bounds below.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, NoReturn

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import flop_registry

from benchmark.errors import InvalidCheckpoint
from model_zoo.interpreter import MAX_RESULT_BYTES, Interpreter, Step

MAX_ALIVE_BYTES = 4 * MAX_RESULT_BYTES
"""What all results that are still needed may take for each image, at any moment."""
MAX_ALL_BYTES = 128 * MAX_RESULT_BYTES
"""What all results of a run together may take for each image; the gradient keeps most of them."""
MAX_OPERATIONS = 4 * 10**12
"""Multiplications and additions for each image; ViT-H, the largest that anybody submits, takes a tenth of it."""

_BATCHES = (2, 64)
"""The second shows what grows faster than the batch, or does not grow with it."""
_POOLS = frozenset(
    (
        torch.ops.aten.avg_pool2d,
        torch.ops.aten.max_pool2d,
        torch.ops.aten.max_pool2d_with_indices,
    )
)
_DEPENDS_ON_VALUES = ("nonzero", ".item() cannot be called on meta")
_SMALLER = "a smaller network, or one that handles an image by itself"


def classes_of(network: Interpreter) -> int:
    """Check that a network runs within bounds, and return the number of its classes.

    Raises:
        InvalidCheckpoint: an operation does not fit its arguments, asks for too much, or gives a result whose size
            depends on values; or what comes out are no logits.
    """
    classes = {_classes(network, images) for images in _BATCHES}
    if len(classes) != 1:
        _refuse("output", "a number of classes that depends on the batch", "logits, (n, classes)")
    return classes.pop()


def _classes(network: Interpreter, count: int) -> int:
    images = torch.empty((count, *network.graph.image_shape), device="meta")
    values = network.beginning(images, [tensor.to("meta") for tensor in network.constants()])
    alive = _Alive(count * MAX_ALIVE_BYTES)
    with torch.no_grad(), _Costs(count):
        for number, step in enumerate(network.steps):
            try:
                results = step.compute(values, images)
            except Exception as error:
                if any(sign in str(error) for sign in _DEPENDS_ON_VALUES):
                    found = f"{step.target}, a result whose size depends on values"
                    _refuse(f"operation {number}", found, "sizes that depend on sizes alone")
                raise network.failure(number, error, count) from error
            alive.follow(step, results)
            step.keep(values, results)
    logits = values[network.output]
    if not isinstance(logits, Tensor) or logits.dim() != 2 or len(logits) != count or not logits.is_floating_point():
        found = f"{list(logits.shape)}, {logits.dtype}" if isinstance(logits, Tensor) else "no tensor"
        _refuse("output", f"{found} for {count} images", f"logits, ({count}, classes), as floating-point numbers")
    return logits.shape[1]


class _Costs(TorchDispatchMode):
    """What is computed, within operations of several steps too, and a refusal once it is too much."""

    def __init__(self, images: int) -> None:
        super().__init__()  # type: ignore[no-untyped-call]  # torch's own has no annotations
        self._images = images
        self._bytes = 0
        self._operations = 0

    def __torch_dispatch__(
        self, func: torch._ops.OpOverload, types: object, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> object:
        named = kwargs or {}
        result = func(*args, **named)
        for tensor in result if isinstance(result, list | tuple) else (result,):
            if isinstance(tensor, Tensor):
                self._count(func, tensor)
        self._operations += _operations(func, args, named, result)
        if self._operations > self._images * MAX_OPERATIONS:
            _refuse("graph", f"{self._operations:.0e} multiplications for {self._images} images", _SMALLER)
        return result

    def _count(self, func: torch._ops.OpOverload, tensor: Tensor) -> None:
        size = tensor.numel() * tensor.element_size()  # of a view too: whoever reads it reads all of it
        self._bytes += size
        if size > self._images * MAX_RESULT_BYTES:
            _refuse(str(func), f"a result of {size} bytes for {self._images} images", _SMALLER)
        if self._bytes > self._images * MAX_ALL_BYTES:
            _refuse("graph", f"results of {self._bytes} bytes for {self._images} images", _SMALLER)


def _operations(func: torch._ops.OpOverload, args: tuple[Any, ...], named: dict[str, Any], result: Any) -> int:
    """Return how many multiplications, or comparisons, an operation takes where that is not its result's size."""
    packet = func.overloadpacket
    if packet in flop_registry:
        return int(flop_registry[packet](*args, **named, out_val=result))
    if packet in _POOLS:
        first = result[0] if isinstance(result, tuple) else result
        return int(first.numel() * math.prod(args[1]) ** (2 // len(args[1])))
    if packet is torch.ops.aten._cdist_forward:
        return int(result.numel() * args[0].shape[-1])
    return 0


class _Alive:
    """The memory of what is still to be read, each storage counted once."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._bytes = 0
        # By address: how many results lie there, and its size. By place of a result: the address.
        self._storages: dict[int, tuple[int, int]] = {}
        self._addresses: dict[int, int] = {}

    def follow(self, step: Step, results: Sequence[object]) -> None:
        """Take account of an operation's results and of what nobody needs after it."""
        for place, tensor in zip(step.outputs, results, strict=True):
            if place is not None and isinstance(tensor, Tensor):
                storage = tensor.untyped_storage()
                address, size = storage._cdata, storage.nbytes()
                count, _ = self._storages.get(address, (0, 0))
                self._bytes += 0 if count else size
                self._storages[address] = (count + 1, size)
                self._addresses[place] = address
        if self._bytes > self._most:
            _refuse(step.target, f"{self._bytes} bytes of results in use at once", _SMALLER)
        for place in step.done:
            self._let_go(place)

    def _let_go(self, place: int) -> None:
        address = self._addresses.pop(place, None)
        if address is None:
            return
        count, size = self._storages.pop(address)
        if count > 1:
            self._storages[address] = (count - 1, size)
        else:
            self._bytes -= size


def _refuse(field: str, found: str, expected: str) -> NoReturn:
    raise InvalidCheckpoint.because(
        field, found=found, expected=expected, remedy="change the network so, and export it again"
    )
