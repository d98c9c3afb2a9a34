"""Smoothness: how fast the output, or that of any layer, can change around a point."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from benchmark import randomness
from benchmark.errors import InvalidInput

POINTS = 256
STEPS = 50
STEPS_ACROSS = 5
"""How many steps the budget takes."""
_TINY = 1e-9

Function = Callable[[Tensor], Tensor]


def local_lipschitz(
    function: Function,
    x: Tensor,
    epsilon: float,
    *,
    steps: int = STEPS,
    angular: bool = False,
    seed: int = 0,
    index: Tensor | None = None,
) -> Tensor:
    """Search the greatest ratio of change in the output to change in the input among pairs of images near each point.

    The output changes in l1, the input in linf. Both images of a pair climb by signed steps of a fifth of the budget,
    and stay within the budget around the point and within [0, 1]. What is found is a lower bound of the true constant;
    of linear maps, whose constants are known, it reached nine tenths and more.

    Args:
        function: from images (n, c, h, w) to outputs of any shape (n, …), differentiable; see `layer`.
        x: clean points, (n, c, h, w), float32 in [0, 1].
        epsilon: the budget in pixel units, > 0.
        steps: how many steps are taken.
        angular: whether outputs are brought to length 1 in l2 first, so that only their direction counts.
        seed: of the first image of each pair, which is drawn near the point; the second begins at the point.
        index: positions of the points in the data set, (n,), int64, to which the draws belong; by default 0 to n - 1.
    Returns:
        The greatest ratio found at each point, (n,), float32.
    Raises:
        InvalidInput: the budget or the number of steps is not positive.
    Source:
        Croce et al. 2021, arXiv:2010.09670; equations 4.2 and 4.3 of Andriushchenko's thesis (2024): 256 points,
        epsilon 8/255, 50 steps of epsilon/5. Differs: the greatest ratio is kept point by point, not of a batch's mean.
    """
    if epsilon <= 0 or steps < 1:
        raise InvalidInput.because(
            "epsilon" if epsilon <= 0 else "steps", found=epsilon if epsilon <= 0 else steps,
            expected="more than 0", remedy="the paper takes 8/255 and 50",
        )  # fmt: skip
    places = torch.arange(len(x), device=x.device) if index is None else index
    key = randomness.item_keys(seed, "smoothness", 0, 0, places)
    size = epsilon / STEPS_ACROSS
    low, high = (x - epsilon).clamp(0, 1), (x + epsilon).clamp(0, 1)
    first = torch.clamp(x + size * randomness.normal(key, x[0].numel()).view_as(x), low, high)
    second = x.clone()
    greatest = x.new_zeros(len(x))
    for step in range(steps + 1):
        pair = torch.stack((first, second)).requires_grad_(step < steps)
        with torch.set_grad_enabled(step < steps):
            ratio = _ratio(function, pair[0], pair[1], angular=angular)
        greatest = torch.maximum(greatest, ratio.detach().nan_to_num(0.0, 0.0, 0.0))
        if step < steps:
            (grad,) = torch.autograd.grad(ratio.sum(), pair)
            first, second = torch.clamp(pair.detach() + size * grad.nan_to_num(0.0).sign(), low, high)
    return greatest


def layer(model: nn.Module, name: str) -> Function:
    """Return the function from images to what a layer puts out, for `local_lipschitz`.

    Args:
        model: in eval mode.
        name: the layer's, as `model.named_modules` has it.
    Raises:
        InvalidInput: there is no such layer, or it puts out more than one tensor or none at all.
    """
    modules = dict(model.named_modules())
    if name not in modules or not name:
        raise InvalidInput.because(
            "layer", found=repr(name[:80]), expected="the name of a layer of this model",
            remedy=f"choose one of {', '.join(list(modules)[1:11])}" + (", …" if len(modules) > 11 else ""),
        )  # fmt: skip

    def output(x: Tensor) -> Tensor:
        kept: list[object] = []
        handle = modules[name].register_forward_hook(lambda _module, _given, put_out: kept.append(put_out))
        try:
            model(x)
        finally:
            handle.remove()
        last = kept[-1] if kept else None
        if not isinstance(last, Tensor):
            raise InvalidInput.because(
                "layer", found=f"{name} with {'no' if last is None else 'another kind of'} output",
                expected="a layer that puts out one tensor", remedy="choose another layer",
            )  # fmt: skip
        return last

    return output


def _ratio(function: Function, first: Tensor, second: Tensor, *, angular: bool) -> Tensor:
    a, b = function(torch.cat((first, second))).flatten(1).chunk(2)
    if angular:
        a, b = nn.functional.normalize(a), nn.functional.normalize(b)
    moved = (first - second).flatten(1).abs().amax(1)
    return (a - b).abs().sum(1) / (moved + _TINY)
