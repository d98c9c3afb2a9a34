"""What a recipe descends on: one class for each kind of loss.

An objective turns a batch into a loss; the loop does the rest. Perturbations are looked for with BatchNorm in eval
mode, so that its statistics are those of the images trained upon, unless an objective says otherwise.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from benchmark.norms import norm_named
from benchmark.threat_models import ThreatModel
from model_zoo.recipe import Recipe
from model_zoo.recipes.perturbations import Scheme, ascend, noise, perturb, scheme_of

_TRADES_START = 0.001
"""Standard deviation of the start; at the image itself the divergence is flat. Zhang et al. 2019, algorithm 1."""
_LEAST_GRADIENT = 1e-20
"""Below it a gradient counts as zero: what its direction depends on cannot be differentiated in float32."""


@dataclass(frozen=True)
class Loss:
    """What an objective makes of a batch.

    Args:
        value: mean loss, to be descended on.
        logits: answers that the accuracy while training is counted on, (n, classes).
    """

    value: Tensor
    logits: Tensor


class Objective(ABC):
    """What a recipe descends on.

    Args:
        generator: source of everything drawn.
    """

    replays: int = 1
    """How many updates in a row each batch is used for."""

    def __init__(self, generator: torch.Generator) -> None:
        self._generator = generator
        self.carried: dict[str, Tensor] = {}
        """What goes from batch to batch, under the names that a snapshot keeps it by."""

    @abstractmethod
    def loss(self, model: nn.Module, x: Tensor, y: Tensor) -> Loss:
        """Return the loss of a batch, with a graph back to the parameters; the network is left in train mode."""


class Standard(Objective):
    """The cross-entropy of the images as they are."""

    def loss(self, model: nn.Module, x: Tensor, y: Tensor) -> Loss:
        logits = model.train()(x)
        return Loss(F.cross_entropy(logits, y), logits)


class Adversarial(Objective):
    """The cross-entropy of perturbed images.

    Args:
        generator: source of the random start.
        threat_model: budget of the perturbation.
        scheme: how it is looked for.
    Source:
        Madry et al. 2018, arXiv:1706.06083, equation 2.1; the schemes have their own.
    """

    def __init__(self, generator: torch.Generator, threat_model: ThreatModel, scheme: Scheme) -> None:
        super().__init__(generator)
        self._threat_model = threat_model
        self._scheme = scheme

    def loss(self, model: nn.Module, x: Tensor, y: Tensor) -> Loss:
        x_adv = perturb(model.eval(), x, y, self._threat_model, self._scheme, self._generator)
        logits = model.train()(x_adv)
        return Loss(F.cross_entropy(logits, y), logits)


class GradAlign(Adversarial):
    """The cross-entropy of FGSM's images, and a penalty where gradients turn within the budget.

    The penalty is differentiated with BatchNorm in train mode: running statistics are constants to it, and weights that
    outrun them would lower it without making the network any straighter.

    Args:
        generator: source of the noise.
        threat_model: budget of the perturbation.
        scheme: how it is looked for.
        penalty: λ, the weight of the mean of 1 − cos(∇l(x), ∇l(x + η)).
    Source:
        Andriushchenko & Flammarion 2020, arXiv:2007.02617, equation 5. Differs: BatchNorm's running statistics are
        those of FGSM's images alone; and the authors' code holds ∇l(x) constant.
    """

    def __init__(self, generator: torch.Generator, threat_model: ThreatModel, scheme: Scheme, penalty: float) -> None:
        super().__init__(generator, threat_model, scheme)
        self._penalty = penalty

    def loss(self, model: nn.Module, x: Tensor, y: Tensor) -> Loss:
        fitted = super().loss(model, x, y)
        with _untracked(model):
            cosine = alignment(model, x, y, self._threat_model, self._generator, differentiable=True)
        turned = (1 - cosine).mean() if len(cosine) else torch.zeros_like(fitted.value)
        return Loss(fitted.value + self._penalty * turned, fitted.logits)


class Trades(Objective):
    """The cross-entropy of the images as they are, and how far the answer can be moved from there.

    Args:
        generator: source of the start.
        threat_model: budget of the perturbation.
        scheme: steps on the divergence; the start is its own.
        penalty: β, the weight of the divergence.
    Source:
        Zhang et al. 2019, arXiv:1901.08573, equation 5 and algorithm 1.
    """

    def __init__(self, generator: torch.Generator, threat_model: ThreatModel, scheme: Scheme, penalty: float) -> None:
        super().__init__(generator)
        self._threat_model = threat_model
        self._scheme = scheme
        self._penalty = penalty

    def loss(self, model: nn.Module, x: Tensor, y: Tensor) -> Loss:
        x_adv = self._furthest(model.eval(), x)
        logits = model.train()(x)
        moved = divergence(logits, model(x_adv)) / len(y)
        return Loss(F.cross_entropy(logits, y) + self._penalty * moved, logits)

    def _furthest(self, model: nn.Module, x: Tensor) -> Tensor:
        with torch.no_grad():
            logits = model(x)
        draw = _TRADES_START * torch.randn(x.shape, generator=self._generator, dtype=x.dtype).to(x.device)
        start = norm_named(self._threat_model.norm).project(draw.flatten(1), self._threat_model.radius).view_as(x)
        return ascend(lambda x_adv: divergence(logits, model(x_adv)), x, start, self._threat_model, self._scheme)


class Free(Objective):
    """The cross-entropy of perturbed images, whose perturbation is a by-product of each update.

    One backward pass gives the gradients of the parameters and of the images. Each batch is used for several updates,
    and the next batch begins with the perturbation that the last one ended with. BatchNorm is in train mode throughout,
    for there is but one pass.

    Args:
        generator: not used; nothing is drawn.
        threat_model: budget of the perturbation.
        replays: updates on each batch.
        step_size: of the perturbation, as a part of epsilon.
    Source:
        Shafahi et al. 2019, arXiv:1904.12843, algorithm 1.
    """

    def __init__(self, generator: torch.Generator, threat_model: ThreatModel, replays: int, step_size: float) -> None:
        super().__init__(generator)
        self._threat_model = threat_model
        self._step_size = step_size
        self.replays = replays

    def loss(self, model: nn.Module, x: Tensor, y: Tensor) -> Loss:
        delta = self.carried.setdefault("delta", torch.zeros_like(x))
        # The last batch of an epoch may be smaller, and then takes the first perturbations.
        x_adv = (x + delta[: len(x)]).clamp(0, 1).requires_grad_()
        x_adv.register_hook(self._climb)
        logits = model.train()(x_adv)
        return Loss(F.cross_entropy(logits, y), logits)

    def _climb(self, grad: Tensor) -> None:
        """Move the perturbation by what the backward pass of the update has found."""
        norm, epsilon = norm_named(self._threat_model.norm), self._threat_model.radius
        delta = self.carried["delta"][: len(grad)]
        step = self._step_size * epsilon * norm.steepest(grad.flatten(1))
        delta.copy_(norm.project(delta.flatten(1) + step, epsilon).view_as(delta))


def objective_of(recipe: Recipe, generator: torch.Generator) -> Objective:
    """Return what a recipe descends on."""
    if recipe.norm is None or recipe.epsilon is None:
        return Standard(generator)
    budget, scheme = ThreatModel(recipe.norm, recipe.epsilon), scheme_of(recipe)
    if recipe.name == "grad-align":
        return GradAlign(generator, budget, scheme, recipe.penalty or 0.0)
    if recipe.name == "trades":
        return Trades(generator, budget, scheme, recipe.penalty or 0.0)
    if recipe.name.startswith("free-"):
        return Free(generator, budget, int(recipe.name.removeprefix("free-")), scheme.step_size)
    return Adversarial(generator, budget, scheme)


@contextmanager
def _untracked(model: nn.Module) -> Iterator[None]:
    """Normalise by the batch's statistics without remembering them."""
    layers = [layer for layer in model.modules() if isinstance(layer, _BatchNorm) and layer.track_running_stats]
    for layer in layers:
        layer.track_running_stats = False
    try:
        yield
    finally:
        for layer in layers:
            layer.track_running_stats = True


def alignment(
    model: nn.Module,
    x: Tensor,
    y: Tensor,
    threat_model: ThreatModel,
    generator: torch.Generator,
    *,
    differentiable: bool = False,
) -> Tensor:
    """Return the cosine between the loss's gradients at images and at random points around them.

    Args:
        model: the network, in the mode that it is to be judged in.
        x: images, (n, c, h, w).
        y: labels, (n,).
        threat_model: budget of the noise; it is not brought into the box.
        generator: source of the noise.
        differentiable: whether the cosines have a graph back to the parameters.
    Returns:
        One cosine for each image both of whose gradients are other than zero, (m,).
    """

    def gradient(at: Tensor) -> Tensor:
        at = at.detach().requires_grad_()
        value = F.cross_entropy(model(at), y, reduction="sum")
        (grad,) = torch.autograd.grad(value, at, create_graph=differentiable)
        return grad.flatten(1)

    here, around = gradient(x), gradient(x + noise(x, threat_model, generator))
    # A confident answer's gradient can be so small that its square is 0 in float32, so rows are brought to one scale.
    largest = torch.stack((here.detach().abs().amax(1), around.detach().abs().amax(1)))
    usable = (largest > _LEAST_GRADIENT).all(0)
    here, around = (rows[usable] / size[usable, None] for rows, size in zip((here, around), largest, strict=True))
    cosine: Tensor = (here * around).sum(1) / (here.norm(dim=1) * around.norm(dim=1))
    return cosine


def divergence(logits: Tensor, others: Tensor) -> Tensor:
    """Return the Kullback-Leibler divergence of other answers from the given ones, summed over the images."""
    return F.kl_div(others.log_softmax(1), logits.log_softmax(1), reduction="sum", log_target=True)
