"""Everything that only CUDA needs: precision of products, captured passes, widths that fit into memory.

On a CPU nothing here does anything.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import cast

import torch
from torch import Tensor, nn

from benchmark.errors import EvaluationFailed

FULL_WIDTH = 512
"""Rows of a full batch on a device with memory to spare."""
_WARM_UP_PASSES = 3
"""Passes before a capture, in which libraries choose their kernels: torch's notes on CUDA graphs."""


@contextmanager
def products(convolutions: str) -> Iterator[None]:
    """Set the precision of convolutions for a while; matrix products stay in float32.

    Args:
        convolutions: "tf32" for the search, as the reference implementation has it by default; "ieee" for the judge.
    """
    settings = (
        (torch.backends.cudnn.conv, convolutions),  # type: ignore[attr-defined]
        (torch.backends.cuda.matmul, "ieee"),
    )
    before = [setting.fp32_precision for setting, _ in settings]
    for setting, precision in settings:
        setting.fp32_precision = precision
    try:
        yield
    finally:
        for (setting, _), precision in zip(settings, before, strict=True):
            setting.fp32_precision = precision


def precision_of(device: torch.device, *, search: bool) -> AbstractContextManager[None]:
    """Return the context in which passes on a device run."""
    if device.type != "cuda":
        return nullcontext()
    return products("tf32" if search else "ieee")


class Captured(nn.Module):
    """A model whose passes are recorded once for every batch size and then replayed as one call.

    A pass of a small network is hundreds of short kernels, and starting them one by one costs more than they do.

    Args:
        model: in eval mode with frozen parameters, on a CUDA device.
        widths: batch sizes to record; others run the model as it is.
    """

    def __init__(self, model: nn.Module, widths: tuple[int, ...]) -> None:
        super().__init__()
        self._model = model
        self._widths = widths
        self._recorded: dict[int, Callable[[Tensor], Tensor] | None] = {}

    def forward(self, images: Tensor) -> Tensor:
        """Return the logits; what an earlier call returned stays as it is."""
        rows = len(images)
        if rows not in self._widths or not images.is_cuda:
            return torch.as_tensor(self._model(images))
        if rows not in self._recorded:
            self._recorded[rows] = self._record(images)
        replay = self._recorded[rows]
        return torch.as_tensor(self._model(images)) if replay is None else replay(images).clone()

    def _record(self, images: Tensor) -> Callable[[Tensor], Tensor] | None:
        sample = images.detach().clone(memory_format=torch.preserve_format).requires_grad_()
        try:
            with torch.enable_grad():
                replay = torch.cuda.make_graphed_callables(
                    _Call(self._model), (sample,), num_warmup_iters=_WARM_UP_PASSES
                )
        except RuntimeError:  # a model that waits for the host cannot be recorded
            torch.cuda.synchronize()
            return None
        return cast(Callable[[Tensor], Tensor], replay)


class _Call(nn.Module):
    """A module of its own for every recording, because recording replaces a module's forward pass."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self._model = model

    def forward(self, images: Tensor) -> Tensor:
        return torch.as_tensor(self._model(images))


def widths_below(full: int, least: int) -> tuple[int, ...]:
    """Return the few batch sizes in which a run on CUDA works: the full one, its half, and so on down to an eighth."""
    return tuple(sorted({max(full // part, least) for part in (1, 2, 4, 8)}))


def fitting_width(trial: Callable[[int], None], least: int, full: int = FULL_WIDTH) -> int:
    """Return the largest batch size, halving from the full one, that a trial survives.

    Args:
        trial: makes the passes that need most memory, with that many rows.
        least: the batch size that must fit.
        full: where to begin.
    Raises:
        EvaluationFailed: not even the least batch fits.
    """
    width = full
    while True:
        try:
            trial(width)
        except torch.OutOfMemoryError as error:
            if torch.cuda.is_available():
                torch.cuda.empty_cache()
            if width <= least:
                raise EvaluationFailed(
                    f"The model does not fit into the device's memory even with {least} images at once: {error}"
                ) from error
            width = max(width // 2, least)
        else:
            return width
