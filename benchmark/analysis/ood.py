"""Out-of-distribution detection: whether a model is surer of its own data than of foreign ones."""

from __future__ import annotations

import torch
from torch import Tensor

from benchmark.errors import InvalidInput


def auroc(inside: Tensor, outside: Tensor) -> float:
    """Return the chance that a point of the own data scores higher than a foreign one; a draw counts as half.

    That is the area under the receiver operating characteristic: 1 where the score tells them apart, 1/2 where it says
    nothing.

    Args:
        inside: scores of points of the model's own data, (n,).
        outside: scores of foreign points, (m,).
    Raises:
        InvalidInput: either is empty, or a score is no number.
    Source:
        Hendrycks & Gimpel 2017, arXiv:1610.02136; as in Croce et al. 2021, arXiv:2010.09670, the score is that of
        `benchmark.analysis.calibration.maximum_confidence`, against CIFAR-100, SVHN and Describable Textures.
    """
    for name, scores in (("inside", inside), ("outside", outside)):
        if not len(scores) or bool(scores.isnan().any()):
            raise InvalidInput.because(
                name, found="no scores" if not len(scores) else "a score that is no number",
                expected="a number for every point", remedy="give the logits of all points of both data sets",
            )  # fmt: skip
    ordered = outside.double().sort().values
    scores = inside.double()
    below = torch.searchsorted(ordered, scores, right=False)
    not_above = torch.searchsorted(ordered, scores, right=True)
    return float((below + not_above).double().mean()) / (2 * len(ordered))
