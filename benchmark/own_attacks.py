"""An attack that somebody brings along as a function: how it is called, and what is taken from it."""

from __future__ import annotations

import inspect
import traceback
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import torch
from torch import Tensor, nn

from benchmark.errors import ErrorDetail, EvaluationFailed, InvalidInput
from benchmark.surroundings import Changes, Passes, counted_copy, kept_surroundings, same_model
from benchmark.threat_models import ThreatModel

KEYWORDS = ("norm", "epsilon", "seed")
"""What a function is given by keyword, as far as it takes them."""
CALL = f"(model, x, y, *, {', '.join(KEYWORDS)})"
"""How a function is called."""

_LONGEST_NAME = 80
_VERSION_SHOWN = 12
_SHOWN_PLACES = 3
_SHOWN_TEXT = 300


@dataclass(frozen=True)
class OwnAttack:
    """A function that takes points and gives back adversarial examples.

    Args:
        name: what reports call it, such as "mine.py:attack".
        function: called as ``CALL`` says, with images (n, c, h, w) in [0, 1], labels (n,), the name of the norm, the
            budget in pixel units, and a seed of the batch; gives back one image for each, (n, c, h, w).
        keywords: those of ``KEYWORDS`` that it takes.
        version: what tells it from earlier ones of that name, such as the hash of its file.
    """

    name: str
    function: Callable[..., object]
    keywords: tuple[str, ...]
    version: str = ""

    @classmethod
    def of(cls, function: object, name: str, version: str = "") -> Self:
        """Return a function as an attack.

        Raises:
            InvalidInput: it is no function, or cannot be called with a model, images and labels.
        """
        if not callable(function):
            raise InvalidInput.because(
                "attack", found=f"{name}, of type {type(function).__name__}", expected=f"a function {CALL}",
                remedy="name the function that returns the adversarial examples",
            )  # fmt: skip
        return cls(name[:_LONGEST_NAME], function, _keywords(function, name), version)

    @property
    def label(self) -> str:
        """What reports bear in a protocol's place; another version of the function has another."""
        return f"{self.name}@{self.version[:_VERSION_SHOWN]}" if self.version else self.name

    def examples(
        self, model: nn.Module, x: Tensor, y: Tensor, threat_model: ThreatModel, seed: int, seen: tuple[Passes, Changes]
    ) -> Tensor:
        """Call the function on a batch, with a copy of everything, and return its examples in float32, (n, c, h, w).

        Args:
            model: in eval mode with frozen parameters.
            x: clean points, (n, c, h, w).
            y: labels, (n,).
            threat_model: norm and budget.
            seed: of the batch.
            seen: told what went through the model, and what the function changed.
        Raises:
            EvaluationFailed: it raised, or gave back something else than one image for each point.
        """
        passes, changes = seen
        values: Mapping[str, object] = {"norm": threat_model.norm, "epsilon": threat_model.radius, "seed": seed}
        own_model, own_x, own_y = counted_copy(model, passes), x.clone(), y.clone()
        with kept_surroundings(x.device, seed, changes):
            try:
                found = self.function(own_model, own_x, own_y, **{word: values[word] for word in self.keywords})
            except (Exception, SystemExit) as error:
                raise self._raised(error) from error
        changes.model |= not same_model(model, own_model)
        changes.points |= not (torch.equal(own_x, x) and torch.equal(own_y, y))
        return self._taken(found, x)

    def _taken(self, found: object, x: Tensor) -> Tensor:
        usable = isinstance(found, Tensor) and found.layout is torch.strided and not found.is_meta
        if not (usable and isinstance(found, Tensor) and found.shape == x.shape and found.is_floating_point()):
            what = f"{found.dtype}, {tuple(found.shape)}" if isinstance(found, Tensor) else type(found).__name__
            expected = f"a tensor of floats, {tuple(x.shape)}: one image for each of the batch"
            remedy = "return the adversarial examples alone, in [0, 1] and in the shape of x"
            raise EvaluationFailed(
                f"{self.name} gave back {what}; expected {expected}.", ErrorDetail("attack", what, expected, remedy)
            )
        # A copy, for the function may keep what it gave back and write into it.
        return found.detach().to(x.device, torch.float32, copy=True).contiguous()

    def _raised(self, error: BaseException) -> EvaluationFailed:
        what = " ".join(f"{type(error).__name__}: {error}".split())[:_SHOWN_TEXT]
        code = getattr(inspect.unwrap(self.function), "__code__", None)
        places = () if code is None else places_in(error, Path(code.co_filename).parent)
        found = f"{what}{', at ' if places else ''}{'; '.join(places)}"
        remedy = "mend the function and run it again"
        return EvaluationFailed(
            f"{self.name} raised {found}.", ErrorDetail("attack", found, "adversarial examples", remedy)
        )


def places_in(error: BaseException, folder: Path) -> tuple[str, ...]:
    """Return where in the files of a folder an error came from, the last few lines of its traceback."""
    frames = [frame for frame in traceback.extract_tb(error.__traceback__) if Path(frame.filename).parent == folder]
    return tuple(
        f"{Path(frame.filename).name}, line {frame.lineno}, in {frame.name}: {frame.line}"
        for frame in frames[-_SHOWN_PLACES:]
    )


def _keywords(function: Callable[..., object], name: str) -> tuple[str, ...]:
    try:
        signature = inspect.signature(function)
    except ValueError:  # a function in C need not tell
        return KEYWORDS
    kinds = [parameter.kind for parameter in signature.parameters.values()]
    takes_all = inspect.Parameter.VAR_KEYWORD in kinds
    keywords = tuple(word for word in KEYWORDS if takes_all or word in signature.parameters)
    try:
        signature.bind(None, None, None, **dict.fromkeys(keywords))
    except TypeError as error:
        raise InvalidInput.because(
            "attack", found=f"{name}{signature}: {error}", expected=f"{name}{CALL}",
            remedy="take model, images and labels first, these names by keyword, and give everything else a default",
        ) from None  # fmt: skip
    return keywords
