"""Transfer: examples made on other models and tried on this one."""

from __future__ import annotations

import torch
from torch import Tensor

from benchmark import losses
from benchmark.attacks.base import Slots, Source
from benchmark.attacks.momentum import Momentum, MomentumSlots, Slope
from benchmark.classifier import MIN_ROWS, Classifier, pad_rows
from benchmark.errors import EvaluationFailed, InvalidInput
from benchmark.norms import Norm


class Transfer(Momentum):
    """Run the momentum method on one other model after another, and try every iterate on the model under attack.

    That model is asked for its answers alone, so masking its gradients does not help it. Its forward passes are counted
    as those of every attack; the passes of the sources are not the model's, and nobody counts them. Each source has one
    restart, which begins at the clean point, so nothing here is random.

    Args:
        norm: geometry of the threat model.
        epsilon: budget in pixel units, > 0.
        image_shape: (c, h, w).
        sources: the other models, in the order in which they are tried; at least one.
        classes: number of logits that each of them must answer with.
        iterations: steps after the start, on each source.
        step_size: length of each step, in pixel units; by default 2.5 × epsilon / iterations.
        decay: share of the accumulated gradient that the next step keeps.
    Raises:
        InvalidInput: there is no source.
    Source:
        Dong et al. 2018, arXiv:1710.06081, section 3.1; Liu et al. 2017, arXiv:1611.02770, section 3, for attacks that
        carry over between models. Differs: all iterates are tried instead of the last one alone, and sources one by one
        instead of joined.
    """

    name = "transfer"

    def __init__(
        self,
        norm: Norm,
        epsilon: float,
        image_shape: tuple[int, int, int],
        *,
        sources: tuple[Source, ...],
        classes: int,
        iterations: int = 40,
        step_size: float | None = None,
        decay: float = 1.0,
    ) -> None:
        super().__init__(
            norm, epsilon, image_shape,
            iterations=iterations, step_size=step_size, decay=decay, restarts=len(sources),
        )  # fmt: skip
        if not sources:
            raise InvalidInput.because(
                "sources", found="none", expected="at least one other model",
                remedy="name one, or leave this attack out",
            )  # fmt: skip
        self._names = tuple(source.name for source in sources)
        self._sources = tuple(
            Classifier(source.model, image_shape, MIN_ROWS, search=True, classes=classes) for source in sources
        )

    @property
    def parameters(self) -> dict[str, int | float | str | bool]:
        names = {f"source {number}": name for number, name in enumerate(self._names, start=1)}
        return super().parameters | names

    def _first(self, slots: Slots) -> Tensor:
        return slots.x.clone()

    def _slope(self, state: MomentumSlots, classifier: Classifier, live: int) -> Slope:
        grad = torch.zeros_like(state.x_adv)
        # Slots of different sources may share the batch: every source sees its own.
        for number in state.restart.unique().tolist():
            rows = torch.nonzero(state.restart == number).flatten()
            padded = pad_rows(rows, classifier.padded(len(rows)))
            grad[rows] = self._grad_of(number, state.x_adv[padded], state.y[padded])[: len(rows)]
        return Slope(classifier.logits(state.x_adv, live), grad)

    def _grad_of(self, number: int, x_adv: Tensor, y: Tensor) -> Tensor:
        """Return the gradient of a source's cross-entropy, (n, d)."""
        try:
            return self._sources[number].gradient(x_adv, lambda logits: losses.cross_entropy(logits, y)).grad
        except EvaluationFailed as error:
            raise EvaluationFailed(
                f'The source "{self._names[number]}" failed in the transfer attack, not the model under attack. '
                f"Its error: {error.message}"
            ) from error
