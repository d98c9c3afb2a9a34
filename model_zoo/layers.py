"""A graph of operations in layers of torch.nn, the form that tools for networks understand.

It computes what the graph says; only operations in place become ones that are not. The search of an evaluation makes
it faster still, and compares it with the network itself before it is used.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any

import torch
from torch import Tensor, fx, nn

from benchmark.graph import Argument, Constant, Graph, Operation, Reference, Symbol
from model_zoo.aliasing import FRESH, reached_in_place
from model_zoo.functions import function_of

_SAME = frozenset(("aten.dropout.default", "aten.dropout_.default", "aten.alias.default", "aten.detach.default"))
"""What returns its argument, as far as the answer goes: dropout is never in training."""
_BY_RESHAPE = MappingProxyType({"aten.view.default": "aten.reshape.default"})
"""What depends on how a tensor lies in memory, and what does the same however it lies."""


def as_layers(graph: Graph, tensors: Mapping[Constant, Tensor]) -> fx.GraphModule:
    """Build a network of layers that computes what a graph says.

    Args:
        graph: what to compute.
        tensors: its constants; they are copied.
    Raises:
        ValueError: an operation in place reaches the images or a constant.
    """
    if reached_in_place(graph):
        raise ValueError("an operation in place reaches the images or a constant")
    building = _Building(graph, tensors)
    for operation in graph.operations:
        building.add(operation)
    return building.finished()


class _Building:
    """A network of layers on its way."""

    def __init__(self, graph: Graph, tensors: Mapping[Constant, Tensor]) -> None:
        self._root = nn.Module()
        self._made = fx.Graph()
        self._tensors = {constant.name: tensor.detach().clone() for constant, tensor in tensors.items()}
        self._image = self._made.placeholder("images")
        self._values: dict[str, fx.Node] = {graph.input: self._image}
        self._output = graph.output
        self._names: dict[str, set[str]] = {}
        """All names of a value that an operation in place has given another one."""
        self._own: set[str] = set()
        """Results that nothing else is a view of, so far."""

    def add(self, operation: Operation) -> None:
        target = _BY_RESHAPE.get(operation.target, operation.target)
        # What may be a view is changed in place here too: operations run in the graph's order.
        written = operation.changed if operation.changed in self._own else None
        if written is not None and target not in _SAME:
            name, overload = target.removeprefix("aten.").split(".")
            target = f"aten.{name.removesuffix('_')}.{overload}"
        node = self._layer(target, operation) or self._call(target, operation)
        self._name_results(operation, node, fresh=target in FRESH or written is not None)
        if written is not None:
            # From here on, whoever reads the changed value by one of its names means the new one.
            names = self._names.setdefault(written, {written})
            names.update(name for name in operation.outputs if name is not None)
            for known in names:
                self._values[known], self._names[known] = node, names

    def finished(self) -> fx.GraphModule:
        self._made.output(self._values[self._output])
        return fx.GraphModule(self._root, self._made).eval()

    def _name_results(self, operation: Operation, node: fx.Node, *, fresh: bool) -> None:
        if not fresh:
            for read in operation.reads():
                self._own.difference_update(self._names.get(read, {read}))
        several = len(operation.outputs) != 1
        for place, name in enumerate(operation.outputs):
            if name is not None:
                self._values[name] = self._made.call_function(_item, (node, place)) if several else node
                if fresh:
                    self._own.add(name)

    def _layer(self, target: str, operation: Operation) -> fx.Node | None:
        """Return a call of a layer; None where the operation is none, or has no constant parameters."""
        if target in _SAME:
            return self._node(operation.positional[0])
        if operation.named or not operation.positional or not isinstance(operation.positional[0], Reference):
            return None
        rest = operation.positional[1:]
        layer: nn.Module | None = None
        if target == "aten.conv2d.default":
            layer = self._convolution(rest)
        elif target == "aten.linear.default":
            layer = self._linear(rest)
        elif target == "aten.batch_norm.default":
            layer = self._normalisation(rest)
        elif target == "aten.max_pool2d.default":
            layer = _pooling(rest)
        elif target == "aten.relu.default":
            return self._made.call_function(torch.relu, (self._node(operation.positional[0]),))
        if layer is None:
            return None
        name = f"layer_{len(self._made.nodes)}"
        self._root.add_module(name, layer)
        return self._made.call_module(name, (self._node(operation.positional[0]),))

    def _convolution(self, rest: Sequence[Argument]) -> nn.Conv2d | None:
        weight, bias = self._constants(rest[:2])
        if weight is None or weight.dim() != 4 or (bias is None) != (len(rest) < 2 or rest[1] is None):
            return None
        options = dict(zip(("stride", "padding", "dilation", "groups"), rest[2:], strict=False))
        groups = options.pop("groups", 1)
        if not isinstance(groups, int):
            return None
        kernel = (weight.shape[2], weight.shape[3])
        channels = (weight.shape[1] * groups, weight.shape[0])
        pairs = {name: _pair(value) for name, value in options.items()}
        with torch.device("meta"):
            layer = nn.Conv2d(*channels, kernel, groups=groups, bias=bias is not None, **pairs)
        _fill(layer, weight, bias)
        return layer

    def _linear(self, rest: Sequence[Argument]) -> nn.Linear | None:
        weight, bias = self._constants(rest[:2])
        if weight is None or weight.dim() != 2 or (bias is None) != (len(rest) < 2 or rest[1] is None):
            return None
        with torch.device("meta"):
            layer = nn.Linear(weight.shape[1], weight.shape[0], bias=bias is not None)
        _fill(layer, weight, bias)
        return layer

    def _normalisation(self, rest: Sequence[Argument]) -> nn.BatchNorm2d | None:
        weight, bias, mean, variance = self._constants(rest[:4])
        epsilon = rest[6] if len(rest) > 6 else None
        if weight is None or bias is None or mean is None or variance is None or not isinstance(epsilon, float):
            return None
        with torch.device("meta"):
            layer = nn.BatchNorm2d(weight.shape[0], eps=epsilon)
        _fill(layer, weight, bias)
        layer.running_mean, layer.running_var = mean, variance
        layer.num_batches_tracked = torch.zeros((), dtype=torch.int64, device=mean.device)
        return layer

    def _constants(self, arguments: Sequence[Argument]) -> list[Tensor | None]:
        found = [self._tensors.get(item.name) if isinstance(item, Reference) else None for item in arguments]
        return [*found, *[None] * (2 - len(found))]

    def _call(self, target: str, operation: Operation) -> fx.Node:
        positional = tuple(self._value(argument) for argument in operation.positional)
        named = {name: self._value(argument) for name, argument in operation.named.items()}
        return self._made.call_function(function_of(target), positional, named)

    def _value(self, argument: Argument) -> Any:
        if isinstance(argument, Reference):
            return self._node(argument)
        if isinstance(argument, Symbol):
            return self._device() if argument.kind == "device" else getattr(torch, argument.name)
        if isinstance(argument, tuple):
            return [self._value(item) for item in argument]
        return argument

    def _device(self) -> fx.Node:
        return self._made.call_function(getattr, (self._image, "device"))

    def _node(self, argument: Argument) -> fx.Node:
        if not isinstance(argument, Reference):
            raise ValueError("a number in the place of a tensor")
        if argument.name not in self._values:
            name = f"constant_{len(self._values)}"
            self._root.register_buffer(name, self._tensors[argument.name])
            self._values[argument.name] = self._made.get_attr(name)
        return self._values[argument.name]


def _item(results: Sequence[object], place: int) -> object:
    return results[place]


def _pooling(rest: Sequence[Argument]) -> nn.MaxPool2d:
    options = dict(zip(("kernel_size", "stride", "padding", "dilation"), map(_pair, rest), strict=False))
    return nn.MaxPool2d(ceil_mode=len(rest) > 4 and bool(rest[4]), **options)


def _pair(value: Argument) -> Any:
    """Return a size as torch.nn takes it: one number for both sides, or one for each."""
    if isinstance(value, tuple):
        return value[0] if len(value) == 1 else value
    return value


def _fill(layer: nn.Conv2d | nn.Linear | nn.BatchNorm2d, weight: Tensor, bias: Tensor | None) -> None:
    layer.weight = nn.Parameter(weight)
    if bias is not None:
        layer.bias = nn.Parameter(bias)
