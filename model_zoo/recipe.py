"""How a checkpoint was trained, as a card tells it. Free of torch, for the service reads cards."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from benchmark.errors import InvalidInput

RECIPE_PATTERN = r"^(standard|fgsm|fgsm-rs|pgd-([2-9]|[1-9]\d{1,2})|free-([2-9]|[1-9]\d)|grad-align|trades)$"
"""Names of recipes; the number is that of PGD's steps or of Free's replays."""

Text = Annotated[str, Field(min_length=1, max_length=500)]
Accuracy = Annotated[float, Field(ge=0, le=1)]


_WEIGHTED = frozenset(("grad-align", "trades"))
"""Recipes whose loss has a second term."""
_STEPPED = frozenset(("trades",))
"""Recipes whose number of steps their name does not tell."""


class Part(BaseModel):
    """Base of what a card holds: frozen, and refusing fields it does not know."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Recipe(Part):
    """How a checkpoint was trained, complete enough to train it again."""

    name: Annotated[str, Field(pattern=RECIPE_PATTERN)]
    """What training defends against, and how."""
    norm: Literal["Linf", "L2"] | None = None
    """Norm of the perturbation; None for standard training."""
    epsilon: Annotated[str, Field(pattern=r"^\d{1,4}(/[1-9]\d{0,3})?$")] | None = None
    """Budget of the perturbation as an exact fraction; None for standard training."""
    steps: Annotated[int, Field(gt=0)] | None = None
    """Gradient steps, where the name does not tell them."""
    step_size: Annotated[float, Field(gt=0)] | None = None
    """Length of a gradient step as a part of epsilon; None for the recipe's own."""
    penalty: Annotated[float, Field(ge=0)] | None = None
    """Weight of what is added to the cross-entropy: λ of grad-align, β of trades."""
    epochs: Annotated[int, Field(gt=0)]
    """Passes over the images, replays included."""
    batch_size: Annotated[int, Field(gt=0)]
    learning_rate: Annotated[float, Field(gt=0)]
    """The highest of the schedule."""
    schedule: Literal["cyclic", "piecewise"] = "cyclic"
    """How the learning rate changes: up and down in straight lines, or to a tenth at half and at three quarters."""
    weight_decay: Annotated[float, Field(ge=0)]
    augmentation: Literal["none", "crop-flip"] = "none"
    """What is done to images before they are trained upon."""
    validation: Annotated[int, Field(ge=0)] = 0
    """How many images of the training split are held out, to watch the training on."""
    early_stopping: bool = False
    """Whether the weights of the best epoch on the held-out images are kept instead of the last."""
    patience: Annotated[int, Field(gt=0)] | None = None
    """After how many epochs without a better one training ends; None for never."""
    stop_on_overfitting: bool = False
    """Whether training ends where catastrophic overfitting is seen, with the weights of the best epoch before."""
    seed: Annotated[int, Field(ge=0)]

    @model_validator(mode="after")
    def _is_consistent(self) -> Self:
        defended, weighted, stepped = self.name != "standard", self.name in _WEIGHTED, self.name in _STEPPED
        for field, value, wanted, allowed in (
            ("norm", self.norm, defended, defended),
            ("epsilon", self.epsilon, defended, defended),
            ("penalty", self.penalty, weighted, weighted),
            ("steps", self.steps, stepped, stepped),
            ("step_size", self.step_size, False, defended),
        ):
            if value is None and wanted:
                raise _inconsistent(field, "nothing", f"a value with the recipe {self.name}", "name it")
            if value is not None and not allowed:
                raise _inconsistent(field, value, f"none with the recipe {self.name}", "leave it out")
        if self.validation == 0 and (self.early_stopping or self.stop_on_overfitting):
            raise _inconsistent("validation", 0, "images to choose the best epoch on", "hold some out")
        if self.patience is not None and not self.early_stopping:
            raise _inconsistent("patience", self.patience, "none without early stopping", "ask for early stopping too")
        return self


def unusable(error: ValidationError) -> InvalidInput:
    """Return, in this project's words, why a part of a card is not valid."""
    first = error.errors()[0]
    field = ".".join(map(str, first["loc"])) or "card"
    found = "nothing" if first["type"] == "missing" else repr(first["input"])
    return InvalidInput.because(field, found=found, expected=first["msg"], remedy="correct it")


def _inconsistent(field: str, found: object, expected: str, remedy: str) -> InvalidInput:
    return InvalidInput.because(field, found=found, expected=expected, remedy=remedy)


class Measured(Part):
    """What training has seen on the images that it held out: no result of an evaluation."""

    epoch: Annotated[int, Field(gt=0)]
    """After which the weights are."""
    validation_points: Annotated[int, Field(gt=0)]
    validation_standard_accuracy: Accuracy
    validation_one_step_accuracy: Accuracy | None = None
    """Under a single step."""
    validation_robust_accuracy: Accuracy | None = None
    """Under ten steps of epsilon/4, one random start: an upper bound, and a loose one."""
    overfitted_in: Annotated[int, Field(gt=0)] | None = None
    """First epoch in which catastrophic overfitting was seen, if any."""
