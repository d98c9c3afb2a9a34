"""The model as the search runs it: the same function, laid out to be fast. The judge never sees it.

A private copy of the model is made in which every batch normalisation right behind a convolution is folded into it and
whose weights lie as convolutions like them best. For `mixed`, the inner layers compute in bfloat16. A copy counts only
if it answers as the model does; else the search runs the model itself.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Literal, Self

import torch
from torch import Tensor, nn
from torch.fx import GraphModule, Node, Tracer
from torch.nn.utils.fusion import fuse_conv_bn_eval

from benchmark.input_convolution import InputConvolution, block_side

Precision = Literal["float32", "mixed"]

_AGREEMENT = {"float32": 1e-4, "mixed": 0.1}
"""Largest difference of an answer, relative to the largest answer: what folding and what bfloat16 may cost."""
_LAYERS = (nn.Conv2d, nn.Linear)


@dataclass(frozen=True)
class SearchModel:
    """What the search runs.

    Args:
        model: from images (n, c, h, w) to logits.
        memory_format: how its images lie in memory.
        layout: memory format, and whether anything was folded, for the report.
        precision: the precision in which it computes.
    """

    model: nn.Module
    memory_format: torch.memory_format
    layout: str
    precision: Precision

    @classmethod
    def of(cls, model: nn.Module) -> Self:
        """Return a model as it is."""
        return cls(model, torch.contiguous_format, "contiguous", "float32")


def search_model(model: nn.Module, images: Tensor, answers: Tensor, precision: Precision = "float32") -> SearchModel:
    """Return the fastest form of a model that still answers as the model does.

    Args:
        model: in eval mode with frozen parameters; left as it is.
        images: on which the two are compared, (n, c, h, w).
        answers: the model's own, (n, classes).
        precision: "float32", or "mixed" for inner layers in bfloat16; where that fails, float32 is taken instead.
    Source:
        Folding: Jacob et al. 2018, arXiv:1712.05877, section 3.2.
    """
    for form in _forms(model, images, precision):
        candidate = _made(form, images, answers)
        if candidate is not None:
            return candidate
    return SearchModel.of(model)


def _made(form: Callable[[], SearchModel], images: Tensor, answers: Tensor) -> SearchModel | None:
    try:
        candidate = form()
        return candidate if _agrees(candidate, images, answers) else None
    except Exception:  # noqa: BLE001 - a model need not be copyable, traceable or able to run in bfloat16
        return None


def _forms(model: nn.Module, images: Tensor, precision: Precision) -> list[Callable[[], SearchModel]]:
    """Return what makes the forms worth trying, the best first."""
    convolutions, normalisations = (_has(model, kind) for kind in (nn.Conv2d, nn.BatchNorm2d))
    memory_format = torch.channels_last if convolutions else torch.contiguous_format
    layout = "channels_last" if convolutions else "contiguous"

    def form(*, fold: bool, lower: bool) -> SearchModel:
        made = _folded(model) if fold else copy.deepcopy(model)
        if images.device.type == "cpu":
            _speed_up_inputs(made)
        made.to(memory_format=memory_format)  # type: ignore[call-overload]
        if lower:
            _lower(made, images)
        name = f"{layout}, folded" if fold else layout
        return SearchModel(made, memory_format, name, "mixed" if lower else "float32")

    lowerings = (True, False) if precision == "mixed" else (False,)
    foldings = (True, False) if convolutions and normalisations else (False,)
    worthwhile = [(lower, fold) for lower in lowerings for fold in foldings if lower or convolutions]
    return [partial(form, fold=fold, lower=lower) for lower, fold in worthwhile]


def _has(model: nn.Module, kind: type[nn.Module]) -> bool:
    return any(isinstance(module, kind) for module in model.modules())


def _folded(model: nn.Module) -> nn.Module:
    """Return a copy in which every batch normalisation right behind a convolution is part of it."""
    twin = copy.deepcopy(model)
    graph = Tracer().trace(twin)
    modules = dict(twin.named_modules())
    calls = [str(node.target) for node in graph.nodes if node.op == "call_module"]
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
        parent, _, name = first.rpartition(".")
        modules[first] = fuse_conv_bn_eval(convolution, normalisation)
        setattr(modules[parent], name, modules[first])
        node.replace_all_uses_with(before)
        graph.erase_node(node)
    return GraphModule(twin, graph).eval().requires_grad_(False)


def _speed_up_inputs(model: nn.Module) -> None:
    """Replace the convolutions whose input gradients can be had for less, in place."""
    for parent in list(model.modules()):
        for name, layer in parent.named_children():
            if type(layer) is nn.Conv2d and block_side(layer) > 1:
                setattr(parent, name, InputConvolution(layer))


def _lower(model: nn.Module, images: Tensor) -> None:
    """Have all layers but the first and the last that run compute in bfloat16, in place.

    The first sees the perturbation itself, which bfloat16 would round away; the last makes the logits, whose small
    differences decide.

    Raises:
        ValueError: there is no layer between the first and the last.
    """
    order: list[nn.Module] = []
    layers = [module for module in model.modules() if isinstance(module, _LAYERS)]
    handles = [layer.register_forward_pre_hook(lambda module, _: order.append(module)) for layer in layers]
    with torch.no_grad():
        model(images)
    for handle in handles:
        handle.remove()
    inner = [layer for layer in layers if layer not in (order[0], order[-1])]
    if not inner:
        raise ValueError("no layer lies between the first and the last")
    for layer in inner:
        layer.bfloat16()
    for layer in layers:
        layer.register_forward_pre_hook(_cast_to_weight)
    order[0].register_forward_hook(lambda _module, _inputs, output: output.bfloat16())


def _cast_to_weight(layer: nn.Module, inputs: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    dtype = layer.get_parameter("weight").dtype
    return tuple(value.to(dtype) for value in inputs)


def _agrees(candidate: SearchModel, images: Tensor, answers: Tensor) -> bool:
    with torch.no_grad():
        found = candidate.model(images.clone(memory_format=candidate.memory_format)).float()
    limit = _AGREEMENT[candidate.precision] * answers.abs().max()
    same = found.shape == answers.shape and bool(torch.isfinite(found).all())
    return same and bool(((found - answers).abs() <= limit).all())
