"""From a network of one's own to a file that the service takes, checked before it is sent."""

from __future__ import annotations

import copy
import math
import tempfile
import warnings
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from benchmark.errors import InvalidCheckpoint, InvalidInput
from model_zoo.dry_run import classes_of
from model_zoo.interpreter import Interpreter, load_program

TOLERANCE = 1e-5
"""Largest difference between the network and its file, relative to the network's own numbers."""
_ROWS = (2, 5)
"""Sizes of the batches on which the two are compared; neither is that of the example."""
_REASON_CHARACTERS = 600


@dataclass(frozen=True)
class Exported:
    """A file that was written and found to be the network.

    Args:
        path: the file.
        operations: number of operations of its graph.
        difference: greatest difference of logits and of their gradients, relative to the network's own.
    """

    path: Path
    operations: int
    difference: float


def export(model: nn.Module, example: Tensor, path: str | Path = "model.pt2") -> Exported:
    """Write a network as a `.pt2` file, read it back as the service does, and compare the two.

    Args:
        model: from images (n, c, h, w) in [0, 1] to logits (n, classes), normalisation inside; it is not changed.
        example: one image or a batch of the size that the network takes, (n, c, h, w) in [0, 1].
        path: where to write; a file that is there is replaced once the new one is found good.
    Raises:
        InvalidInput: the example is no batch of images, or the network cannot be exported.
        InvalidCheckpoint: it uses what no submission may, or its file would not be the same network.
    """
    if example.dim() != 4 or len(example) == 0 or not example.is_floating_point():
        raise InvalidInput.because(
            "example",
            found=f"a tensor of shape {list(example.shape)} and type {example.dtype}",
            expected="a batch of images, (n, channels, height, width), as floating-point numbers in [0, 1]",
            remedy="pass one image, such as torch.rand(1, 3, 32, 32)",
        )
    network = copy.deepcopy(model).cpu().float().eval()
    images = example.detach().cpu().float()[:1].expand(4, -1, -1, -1).contiguous()
    target = Path(path)
    with tempfile.TemporaryDirectory(dir=target.resolve().parent) as directory:
        unfinished = Path(directory) / target.name
        _write(network, images, unfinished)
        loaded = load_program(unfinished)
        classes_of(loaded)  # refuses what the service would
        difference = max(_difference(network, loaded, images[0], rows) for rows in _ROWS)
        if not difference <= TOLERANCE:
            raise InvalidCheckpoint.because(
                "graph",
                found=f"answers that differ from the network's by {difference:.1e} of their size",
                expected=f"at most {TOLERANCE:.0e}",
                remedy="look for a part of the network that depends on the batch, draws at random or keeps state",
            )
        unfinished.replace(target)
    return Exported(target, len(loaded.graph.operations), difference)


def _write(network: nn.Module, images: Tensor, path: Path) -> None:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            program = torch.export.export(network, (images,), dynamic_shapes=({0: torch.export.Dim("batch")},))
            torch.export.save(program, path)
    except Exception as error:
        reason = " ".join(str(error).split())[:_REASON_CHARACTERS]
        raise InvalidInput.because(
            "model",
            found=f"a network that torch.export cannot export: {type(error).__name__}: {reason}",
            expected="a network without steps that depend on the values of its input or on the size of the batch",
            remedy="replace such a step by operations on tensors, and len(x) by x.shape[0]",
        ) from error


def _difference(network: nn.Module, loaded: Interpreter, image: Tensor, rows: int) -> float:
    generator = torch.Generator().manual_seed(rows)
    images = torch.rand((rows, *image.shape), generator=generator)
    pairs = zip(_answers(network, images), _answers(loaded, images), strict=True)
    return max(_relative(ours, theirs) for theirs, ours in pairs)


def _relative(ours: Tensor, theirs: Tensor) -> float:
    """Return the length of the difference relative to the network's own; what is not a number must be so in both."""
    if not torch.equal(ours.isnan(), theirs.isnan()):
        return math.inf
    ours, theirs = ours.nan_to_num(), theirs.nan_to_num()
    return float((ours - theirs).norm() / theirs.norm().clamp_min(1e-12))


def _answers(model: nn.Module, images: Tensor) -> tuple[Tensor, Tensor]:
    """Return logits, and the gradient with respect to the images of what draws on all of them."""
    images = images.clone().requires_grad_()
    with torch.enable_grad():
        logits: Tensor = model(images.clone())  # which a network may change in place
        # A network without gradients can be exported; what comes of it the restrictions say.
        gradient = None
        if logits.requires_grad:
            (gradient,) = torch.autograd.grad(logits.float().logsumexp(1).sum(), images, allow_unused=True)
    return logits.detach(), torch.zeros_like(images) if gradient is None else gradient
