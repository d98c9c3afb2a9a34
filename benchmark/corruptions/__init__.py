"""The 15 common corruptions at five severities, as a deterministic function of the image.

The paper's authors publish the corrupted images of CIFAR-10, CIFAR-100 and ImageNet; for every other data set these
generators make them. A corrupted image is a pure function of (image, corruption, severity, position in the data set,
seed) and has 8 bits a channel like the published ones.

Source:
    Hendrycks & Dietterich 2019, arXiv:1903.12261. The constants are those of the authors' programs, make_cifar_c.py and
    make_imagenet_c.py in github.com/hendrycks/robustness; the code is ours. Each file says what differs.
"""

from __future__ import annotations

import operator
from collections.abc import Sequence
from importlib import import_module
from typing import TYPE_CHECKING

from benchmark.corruptions.names import CORRUPTIONS, SEVERITIES, VERSION
from benchmark.errors import InvalidInput, NotFound

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["CORRUPTIONS", "SEVERITIES", "VERSION", "corrupt"]

LEAST_SIDE = 8


def corrupt(x: Tensor, corruption: str, severity: int, index: Sequence[int], seed: int = 0) -> Tensor:
    """Corrupt the given points.

    Args:
        x: clean points, (n, c, h, w), float32 in [0, 1], with 1 or 3 channels and sides of at least 8.
        corruption: one of CORRUPTIONS.
        severity: 1 to 5.
        index: position of each point in its data set.
        seed: seed of the random numbers.
    Returns:
        Corrupted points, same shape, float32, multiples of 1/255 in [0, 1]. The clean points are rounded to such
        multiples first, as if they came from a file with 8 bits a channel.
    Raises:
        NotFound: no such corruption or severity.
        InvalidInput: the points or their positions cannot be used.
    Source:
        Hendrycks & Dietterich 2019, arXiv:1903.12261. Differs: the authors' programs cut off what is below a level,
        these round.
    """
    import numpy as np
    import torch

    from benchmark.corruptions.draws import Draws
    from benchmark.corruptions.images import from_levels, to_levels

    _check_name(corruption, severity)
    _check_points(x, index)
    module = import_module(f"{__name__}.{corruption}")
    clean = x.detach().permute(0, 2, 3, 1).cpu()
    corrupted = np.empty(clean.shape, dtype=np.uint8)
    for place, position in enumerate(index):
        image = from_levels(to_levels(clean[place].double().numpy()))
        draws = Draws(operator.index(seed), corruption, severity, operator.index(position))
        corrupted[place] = to_levels(module.CORRUPTION.corrupted(image, severity, draws))
    levels = torch.from_numpy(corrupted).permute(0, 3, 1, 2).contiguous()
    return (levels.to(torch.float32) / 255).to(x.device)


def _check_name(corruption: str, severity: int) -> None:
    if corruption not in CORRUPTIONS:
        raise NotFound.because(
            "corruption",
            found=corruption,
            expected=f"one of {', '.join(CORRUPTIONS)}",
            remedy="choose one of the 15 common corruptions",
        )
    if severity not in SEVERITIES:
        raise NotFound.because("severity", found=severity, expected="1, 2, 3, 4 or 5", remedy="choose one of these")


def _check_points(x: Tensor, index: Sequence[int]) -> None:
    import torch

    if x.ndim != 4 or x.shape[1] not in {1, 3} or min(x.shape[2:]) < LEAST_SIDE:
        raise InvalidInput.because(
            "x",
            found=f"the shape {tuple(x.shape)}",
            expected=f"(n, c, h, w) with 1 or 3 channels and sides of at least {LEAST_SIDE}",
            remedy="pass a batch of images; enlarge smaller ones first",
        )
    if x.dtype != torch.float32:
        raise InvalidInput.because(
            "x", found=str(x.dtype), expected="torch.float32", remedy="convert the points with .float()"
        )
    if not bool(((x >= 0) & (x <= 1)).all()):
        raise InvalidInput.because(
            "x",
            found="pixels outside [0, 1], or that are no number",
            expected="pixels in [0, 1]",
            remedy="divide 8-bit pixels by 255, and leave normalisation to the model",
        )
    if len(index) != len(x) or any(position < 0 for position in index):
        raise InvalidInput.because(
            "index",
            found=f"{len(index)} positions for {len(x)} points, the least of them {min(index, default=None)}",
            expected="one position for each point, 0 or more",
            remedy="pass the index of the points as the data set gives it",
        )
