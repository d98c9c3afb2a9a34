"""The model as the search runs it: the same function, laid out to be fast. The judge never sees it.

A private copy of the model is made whose graph is rewritten to be shorter and whose weights lie as convolutions like
them best. For `mixed`, the inner layers compute in bfloat16. A copy counts only if it answers as the model does; else
the search runs the model itself.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Literal, Self

import torch
from torch import Tensor, nn

from benchmark.input_convolution import InputConvolution, block_side
from benchmark.rewriting import Pooling, rewritten

Precision = Literal["float32", "mixed"]

_AGREEMENT = {"float32": 1e-4, "mixed": 0.1}
"""Largest difference of an answer, relative to the largest answer: what rewriting and what bfloat16 may cost."""
_LAYERS = (nn.Conv2d, nn.Linear)


@dataclass(frozen=True)
class SearchModel:
    """What the search runs.

    Args:
        model: from images (n, c, h, w) to logits.
        memory_format: how its images lie in memory.
        layout: memory format, and what was rewritten, for the report.
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
    """
    for form in _forms(_in_layers(model), images, precision):
        candidate = _made(form, images, answers)
        if candidate is not None:
            return candidate
    return SearchModel.of(model)


def _in_layers(model: nn.Module) -> nn.Module:
    """Return a model that can be had in layers of torch.nn in that form, for only those can be made faster."""
    as_layers = getattr(model, "as_layers", None)
    if as_layers is None:
        return model
    try:
        layers: nn.Module = as_layers()
    except ValueError:
        return model
    return layers


def _made(form: Callable[[], SearchModel], images: Tensor, answers: Tensor) -> SearchModel | None:
    try:
        candidate = form()
        return candidate if _agrees(candidate, images, answers) else None
    except Exception:  # noqa: BLE001 - a model need not be copyable, traceable or able to run in bfloat16
        return None


def _forms(model: nn.Module, images: Tensor, precision: Precision) -> list[Callable[[], SearchModel]]:
    """Return what makes the forms worth trying, the best first."""
    convolutions = _has(model, nn.Conv2d)
    memory_format = torch.channels_last if convolutions else torch.contiguous_format
    layout = "channels_last" if convolutions else "contiguous"

    def form(*, rewrite: bool, lower: bool) -> SearchModel:
        made, steps = rewritten(model) if rewrite else (copy.deepcopy(model), ())
        made.eval().requires_grad_(False)
        if images.device.type == "cpu":
            _speed_up_inputs(made)
        made.to(memory_format=memory_format)  # type: ignore[call-overload]
        if lower:
            _lower(made, images)
        return SearchModel(made, memory_format, ", ".join((layout, *steps)), "mixed" if lower else "float32")

    lowerings = (True, False) if precision == "mixed" else (False,)
    rewritings = (True, False) if convolutions else (False,)
    worthwhile = [(lower, rewrite) for lower in lowerings for rewrite in rewritings if lower or convolutions]
    return [partial(form, lower=lower, rewrite=rewrite) for lower, rewrite in worthwhile]


def _has(model: nn.Module, kind: type[nn.Module]) -> bool:
    return any(isinstance(module, kind) for module in model.modules())


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
    modules = [module for module in model.modules() if isinstance(module, (*_LAYERS, Pooling))]
    handles = [module.register_forward_pre_hook(lambda module, _: order.append(module)) for module in modules]
    with torch.no_grad():
        model(images)
    for handle in handles:
        handle.remove()
    layers = [module for module in order if isinstance(module, _LAYERS)]
    inner = [layer for layer in layers if layer not in (layers[0], layers[-1])]
    if not inner:
        raise ValueError("no layer lies between the first and the last")
    for layer in inner:
        layer.bfloat16()
    for layer in layers:
        layer.register_forward_pre_hook(_cast_to_weight)
    if isinstance(layers[0], InputConvolution):
        layers[0].lower_gradient()
    # Pooling is slower in bfloat16, and leaves less to convert.
    behind = order[order.index(layers[0]) + 1]
    last_precise = behind if isinstance(behind, Pooling) else layers[0]
    last_precise.register_forward_hook(lambda _module, _inputs, output: output.bfloat16())


def _cast_to_weight(layer: nn.Module, inputs: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    dtype = layer.get_parameter("weight").dtype
    return tuple(value.to(dtype) for value in inputs)


def _agrees(candidate: SearchModel, images: Tensor, answers: Tensor) -> bool:
    with torch.no_grad():
        found = candidate.model(images.clone(memory_format=candidate.memory_format)).float()
    limit = _AGREEMENT[candidate.precision] * answers.abs().max()
    same = found.shape == answers.shape and bool(torch.isfinite(found).all())
    return same and bool(((found - answers).abs() <= limit).all())
