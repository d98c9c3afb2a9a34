"""The model as attacks see it: logits and input gradients of flat float32 points, every pass counted."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from benchmark.cuda import precision_of
from benchmark.errors import EvaluationFailed, InvalidInput

MIN_ROWS = 8
"""No batch is smaller: on CPU a batch of one row takes other kernels, and its gradients differ."""


@dataclass(frozen=True)
class Gradient:
    """One gradient pass over n points.

    Args:
        logits: (n, classes).
        value: the objective at each point, (n,).
        grad: its gradient, (n, d), with 0 in place of what is not finite.
    """

    logits: Tensor
    value: Tensor
    grad: Tensor


class Classifier:
    """Runs a model on flat points (n, d) and counts the passes of live rows.

    Args:
        model: from images (n, c, h, w) in [0, 1] to logits (n, classes); used as it is, see `frozen`.
        image_shape: (c, h, w).
        width: rows of a full batch.
        passes: how often `logits_of_all` asks the model, to answer with the mean; more than once for a model that draws
            at random.
        memory_format: how the images that the model sees lie in memory.
        search: whether the passes are an attack's, which on CUDA may round as the reference's do; a judge's may not.
        sizes: batch sizes to keep to, ascending; by default 8, 16, 32, … and the width.
        classes: number of logits of every answer; by default that of the first.
    """

    def __init__(
        self,
        model: nn.Module,
        image_shape: tuple[int, int, int],
        width: int,
        passes: int = 1,
        *,
        memory_format: torch.memory_format = torch.contiguous_format,
        search: bool = False,
        sizes: tuple[int, ...] = (),
        classes: int | None = None,
    ) -> None:
        self._model = model
        self._search = search
        self._sizes = sizes
        self.classes = classes
        """Number of logits of every answer; None before the first."""
        self._passes = passes
        self._memory_format = memory_format
        self.image_shape = image_shape
        self.width = max(width, MIN_ROWS)
        self.forward_passes = 0
        self.backward_passes = 0
        self.rows_run = 0
        """Rows sent through the model forward, idle ones included."""

    def logits(self, x: Tensor, live: int | None = None) -> Tensor:
        """Return the logits of flat points, (n, classes), without a graph.

        Args:
            x: flat points, (n, d).
            live: rows that count as passes; all by default.
        """
        self._count(x, live)
        with torch.no_grad(), precision_of(x.device, search=self._search):
            return self._forward(x)

    def gradient(
        self, x: Tensor, objective: Callable[[Tensor], Tensor], live: int | None = None, samples: int = 1
    ) -> Gradient:
        """Return logits, objective and its input gradient at flat points.

        Args:
            x: flat points, (n, d).
            objective: from logits to one number per point.
            live: rows that count as passes; all by default.
            samples: passes over which all three are averaged, for models that draw at random.
        """
        found = self._one_gradient(x, objective, live)
        if samples == 1:
            return found
        all_found = [found, *(self._one_gradient(x, objective, live) for _ in range(samples - 1))]
        return Gradient(
            torch.stack([one.logits for one in all_found]).mean(0),
            torch.stack([one.value for one in all_found]).mean(0),
            torch.stack([one.grad for one in all_found]).mean(0),
        )

    def _one_gradient(self, x: Tensor, objective: Callable[[Tensor], Tensor], live: int | None) -> Gradient:
        rows = self._count(x, live)
        self.backward_passes += rows
        with torch.enable_grad(), precision_of(x.device, search=self._search):
            leaf = x.detach().requires_grad_()
            logits = self._forward(leaf)
            value = objective(logits)
            if not value.requires_grad:
                return Gradient(logits.detach(), value.detach(), torch.zeros_like(x))
            try:
                (grad,) = torch.autograd.grad(value.sum(), leaf, allow_unused=True)
            except Exception as error:
                raise _failure("backward", error) from error
        return Gradient(logits.detach(), value.detach(), _finite(grad, x))

    def gradients(
        self, x: Tensor, objectives: Callable[[Tensor], Tensor], live: int | None = None
    ) -> Iterator[Gradient]:
        """Yield several objectives at flat points one by one, each with its input gradient.

        All share one forward pass; each costs a backward pass when its turn comes, so that no more than one gradient is
        held here.

        Args:
            x: flat points, (n, d).
            objectives: from logits to k numbers per point, (n, k).
            live: rows that count as passes; all by default.
        """
        rows = self._count(x, live)
        with torch.enable_grad(), precision_of(x.device, search=self._search):
            leaf = x.detach().clone().requires_grad_()
            logits = self._forward(leaf)
            value = objectives(logits)
        for number in range(value.shape[1]):
            self.backward_passes += rows
            grad = None
            if value.requires_grad:
                chosen = torch.zeros_like(value)
                chosen[:, number] = 1
                try:
                    (grad,) = torch.autograd.grad(value, leaf, chosen, retain_graph=True, allow_unused=True)
                except Exception as error:
                    raise _failure("backward", error) from error
            yield Gradient(logits.detach(), value.detach()[:, number], _finite(grad, x))

    def logits_of_all(self, x: Tensor) -> Tensor:
        """Return the logits of any number of flat points in padded batches, so that shapes stay those of the run."""
        parts = []
        for first in range(0, len(x), self.width):
            rows = x[first : first + self.width]
            padded = pad_rows(rows, self.padded(len(rows)))
            logits = self.logits(padded, len(rows))
            if self._passes > 1:
                again = (self.logits(padded, len(rows)) for _ in range(self._passes - 1))
                logits = torch.stack([logits, *again]).mean(0)
            parts.append(logits[: len(rows)])
        return torch.cat(parts)

    @property
    def has_fixed_sizes(self) -> bool:
        """Whether batches must have one of a few sizes."""
        return bool(self._sizes)

    def padded(self, rows: int) -> int:
        """Return the batch size in which ``rows`` rows run: one of the sizes, by default 8, 16, 32, …, or the width.

        They are few, because kernels are made, and kept, for every size.
        """
        if self._sizes:
            size = next((size for size in self._sizes if size >= rows), rows)
        else:
            size = max(MIN_ROWS, 1 << max(rows - 1, 0).bit_length())
        return min(size, max(self.width, rows))

    def _count(self, x: Tensor, live: int | None) -> int:
        rows = len(x) if live is None else live
        self.forward_passes += rows
        self.rows_run += len(x)
        return rows

    def _forward(self, x: Tensor) -> Tensor:
        # A copy, so that a model that writes into its input does not write into the points or an attack's state.
        images = x.view(len(x), *self.image_shape).clone(memory_format=self._memory_format)
        try:
            logits = self._model(images)
        except Exception as error:
            raise _failure("forward", error) from error
        if not isinstance(logits, Tensor) or not self._usable(logits, len(x)):
            found = tuple(logits.shape) if isinstance(logits, Tensor) else type(logits).__name__
            classes = "classes" if self.classes is None else self.classes
            raise EvaluationFailed(
                f"The model answered {len(x)} images with {found}, not with ({len(x)}, {classes}) real numbers."
            )
        self.classes = logits.shape[1]
        return logits.float()

    def _usable(self, logits: Tensor, rows: int) -> bool:
        # A width that changes between batches would pair targets and logits of different classes.
        return (
            logits.layout is torch.strided
            and not logits.is_complex()
            and logits.ndim == 2
            and len(logits) == rows
            and self.classes in {None, logits.shape[1]}
        )


def _finite(grad: Tensor | None, x: Tensor) -> Tensor:
    return torch.zeros_like(x) if grad is None else torch.nan_to_num(grad, nan=0.0, posinf=0.0, neginf=0.0)


def _failure(direction: str, error: Exception) -> EvaluationFailed:
    return EvaluationFailed(f"The model's {direction} pass raised {type(error).__name__}: {str(error)[:300]}")


def pad_rows(rows: Tensor, size: int) -> Tensor:
    """Repeat the last row until there are ``size`` rows."""
    missing = size - len(rows)
    return rows if missing <= 0 else torch.cat((rows, rows[-1:].expand(missing, *rows.shape[1:])))


def check_classes(classes: int | None, y: Tensor) -> None:
    """Refuse a model that has no classes to choose from, or none of its own for some label.

    Args:
        classes: number of its logits.
        y: labels, (n,).
    Raises:
        InvalidInput: model and labels do not belong together.
    """
    if classes is None or classes < 2:
        raise InvalidInput.because(
            "model", found=f"{classes} logits for each image", expected="at least 2",
            remedy="return one logit for each class",
        )  # fmt: skip
    if int(y.max()) >= classes:
        raise InvalidInput.because(
            "y", found=f"label {int(y.max())}", expected=f"labels below the model's {classes} classes",
            remedy="check that model and data set belong together",
        )  # fmt: skip


@contextmanager
def frozen(model: nn.Module) -> Iterator[nn.Module]:
    """Hold the model in eval mode with frozen parameters; afterwards modes and parameters are as they were."""
    modes = {module: module.training for module in model.modules()}
    trainable = [parameter for parameter in model.parameters() if parameter.requires_grad]
    try:
        model.eval()
        for parameter in trainable:
            parameter.requires_grad_(False)
        # The caller's surroundings must not reach the model: under inference mode every gradient would silently be
        # zero, and under autocast the precision would not be float32.
        with torch.inference_mode(False), torch.autocast("cpu", enabled=False), torch.autocast("cuda", enabled=False):
            yield model
    finally:
        for module, training in modes.items():
            module.training = training
        for parameter in trainable:
            parameter.requires_grad_(True)


def check_points(x: Tensor, y: Tensor) -> None:
    """Refuse points that no evaluation can use.

    Raises:
        InvalidInput: wrong type, shape, range or length of ``x`` or ``y``.
    """
    for name, value in (("x", x), ("y", y)):
        if not isinstance(value, Tensor):
            raise InvalidInput.because(
                name, found=type(value).__name__, expected="a torch tensor", remedy=f"convert {name} before the call"
            )
    n = x.shape[0] if x.ndim else 0
    problems = (
        (x.ndim != 4, "x", f"shape {tuple(x.shape)}", "shape (n, channels, height, width)"),
        (x.dtype != torch.float32, "x", str(x.dtype), "torch.float32"),
        (y.dtype != torch.int64, "y", str(y.dtype), "torch.int64"),
        (tuple(y.shape) != (n,), "y", f"shape {tuple(y.shape)}", f"shape ({n},)"),
        (x.numel() == 0, "x", f"shape {tuple(x.shape)}", "at least one point and one pixel"),
    )
    for wrong, field, found, expected in problems:
        if wrong:
            raise InvalidInput.because(field, found=found, expected=expected, remedy=f"convert {field} before the call")
    x = x.detach()
    low, high = float(x.min()), float(x.max())
    if not (low >= 0 and high <= 1) or not bool(torch.isfinite(x).all()):
        raise InvalidInput.because(
            "x", found=f"values in [{low:g}, {high:g}]", expected="finite values in [0, 1]", remedy="scale the images"
        )
    if int(y.min()) < 0:
        raise InvalidInput.because("y", found=f"label {int(y.min())}", expected="labels from 0", remedy="renumber them")
