"""Rewrites of a model's graph that shorten its passes and leave its answers as they are."""

from __future__ import annotations

import copy
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.fx import Graph, GraphModule, Node, Tracer
from torch.nn.utils.fusion import fuse_conv_bn_eval

from benchmark.input_convolution import sizes

_POOLING_OPTIONS = ("kernel_size", "stride", "padding", "dilation", "ceil_mode")
_POOLINGS = (F.max_pool2d, torch.max_pool2d)
_RELUS = (F.relu, torch.relu)


class Pooling(nn.MaxPool2d):
    """Max pooling; where no gradient is wanted, blocks of 2×2 are reduced by three maxima of whole slices.

    On a CPU this takes less than half of the time, in bfloat16 a fifth: torch's kernel also finds the places of the
    maxima, which only the way back needs.
    """

    def __init__(self, kernel_size: int | tuple[int, int], **options: Any) -> None:
        super().__init__(kernel_size, **options)
        given = [sizes(value) for value in (self.kernel_size, self.stride, self.padding, self.dilation)]
        self._by_blocks = given == [(2, 2), (2, 2), (0, 0), (1, 1)] and not self.ceil_mode

    def forward(self, input: Tensor) -> Tensor:  # noqa: A002 - the name is torch's
        """Return the maxima, (n, channels, h, w)."""
        if input.requires_grad or input.is_cuda or not self._by_blocks:
            pooled: Tensor = super().forward(input)
            return pooled
        height, width = (size - size % 2 for size in input.shape[2:])
        upper, lower = input[:, :, 0:height:2, :width], input[:, :, 1:height:2, :width]
        return torch.maximum(
            torch.maximum(upper[..., 0::2], upper[..., 1::2]), torch.maximum(lower[..., 0::2], lower[..., 1::2])
        )


def rewritten(model: nn.Module) -> tuple[GraphModule, tuple[str, ...]]:
    """Return a copy of a model with a shorter graph, and what was done to it.

    - "folded": every batch normalisation right behind a convolution is part of it.
    - "pooled first": every max pooling is a `Pooling`, and runs before a ReLU in front of it, which then has less to
      do; the two may change places because a ReLU keeps the order.

    Raises:
        ValueError: there is nothing to rewrite.
    Source:
        Folding: Jacob et al. 2018, arXiv:1712.05877, section 3.2.
    """
    twin = copy.deepcopy(model)
    graph = Tracer().trace(twin)
    steps = {"folded": _fold(twin, graph), "pooled first": _pool_first(twin, graph)}
    if not any(steps.values()):
        raise ValueError("there is nothing to rewrite")
    graph.lint()
    return GraphModule(twin, graph), tuple(name for name, done in steps.items() if done)


def _fold(twin: nn.Module, graph: Graph) -> int:
    """Fold normalisations into convolutions, in place, and return how many."""
    modules = dict(twin.named_modules())
    calls = [str(node.target) for node in graph.nodes if node.op == "call_module"]
    folded = 0
    for node in list(graph.nodes):
        before = node.args[0] if node.args else None
        if node.op != "call_module" or not isinstance(before, Node) or before.op != "call_module":
            continue
        first, second = str(before.target), str(node.target)
        convolution, normalisation = modules[first], modules[second]
        if type(convolution) is not nn.Conv2d or type(normalisation) is not nn.BatchNorm2d:
            continue
        # A layer that serves in two places, or whose answer is used elsewhere too, must stay what it is.
        if len(before.users) > 1 or calls.count(first) > 1 or calls.count(second) > 1:
            continue
        if normalisation.running_mean is None:
            continue
        modules[first] = fuse_conv_bn_eval(convolution, normalisation)
        twin.set_submodule(first, modules[first])
        node.replace_all_uses_with(before)
        graph.erase_node(node)
        folded += 1
    return folded


def _pool_first(twin: nn.Module, graph: Graph) -> int:
    """Let every max pooling be a `Pooling`, and run before the ReLU in front of it; return how many poolings."""
    pooled = 0
    for node in list(graph.nodes):
        options = _pooling_options(twin, node)
        if options is None:
            continue
        name = f"_pooling_{pooled}"
        twin.add_module(name, Pooling(**options))
        (before,) = node.all_input_nodes
        with graph.inserting_before(node):
            pooling = graph.call_module(name, (before,))
        node.replace_all_uses_with(pooling)
        graph.erase_node(node)
        if _is_relu(twin, before):
            _swap(before, pooling)
        pooled += 1
    return pooled


def _swap(relu: Node, pooling: Node) -> None:
    """Let a ReLU run behind the pooling, unless somebody else reads it or, as it may work in place, what it reads."""
    (source,) = relu.all_input_nodes
    if len(relu.users) > 1 or len(source.users) > 1:
        return
    pooling.replace_input_with(relu, source)
    pooling.replace_all_uses_with(relu)
    relu.replace_input_with(source, pooling)
    pooling.append(relu)


def _pooling_options(twin: nn.Module, node: Node) -> dict[str, Any] | None:
    """Return the options of a call that pools by maxima, None for any other."""
    if node.op == "call_module":
        module = twin.get_submodule(str(node.target))
        if type(module) is not nn.MaxPool2d or module.return_indices:
            return None
        return {name: getattr(module, name) for name in _POOLING_OPTIONS}
    if node.op != "call_function" or node.target not in _POOLINGS or not node.args:
        return None
    options = dict(zip(_POOLING_OPTIONS, node.args[1:], strict=False)) | node.kwargs
    if options.pop("return_indices", False) or len(node.args) > 1 + len(_POOLING_OPTIONS):
        return None
    return None if any(isinstance(value, Node) for value in options.values()) else options


def _is_relu(twin: nn.Module, node: Node) -> bool:
    if node.op == "call_module":
        return type(twin.get_submodule(str(node.target))) is nn.ReLU
    return (node.op == "call_function" and node.target in _RELUS) or (
        node.op == "call_method" and node.target == "relu"
    )
