"""Privacy leakage: how well a model's answers tell the images it was trained on from others."""

from __future__ import annotations

import torch
from torch import Tensor

from benchmark.analysis.results import Membership
from benchmark.errors import InvalidInput


def membership(members: Tensor, others: Tensor, y_members: Tensor, y_others: Tensor) -> Membership:
    """Measure how well membership in the training data can be inferred.

    Both kinds count as much, however many there are of each. On adversarial images the logits are those of examples.

    Args:
        members: logits of points of the training split, (n, classes).
        others: logits of points of the test split, (m, classes).
        y_members: their labels, (n,), int64.
        y_others: (m,), int64.
    Raises:
        InvalidInput: there are no points of one kind.
    Source:
        Yeom et al. 2018, arXiv:1709.01604, and Song & Mittal 2021, arXiv:2003.10595, as in Croce et al. 2021,
        arXiv:2010.09670.
    """
    if not len(members) or not len(others):
        raise InvalidInput.because(
            "members" if not len(members) else "others", found="no points", expected="at least one",
            remedy="give points of the training and of the test split",
        )  # fmt: skip
    sure, sure_of_others = _of_truth(members, y_members), _of_truth(others, y_others)
    # The least of them takes everybody for trained on, so that no guess is worse than chance.
    thresholds = torch.cat((sure, sure_of_others)).unique()
    found, missed = (_share_above(scores, thresholds) for scores in (sure, sure_of_others))
    guessed = (1 + found - missed) / 2
    best = int(guessed.argmax())
    right, right_of_others = ((logits.argmax(1) == y).double().mean() for logits, y in (
        (members, y_members), (others, y_others),
    ))  # fmt: skip
    return Membership(
        members=len(members),
        others=len(others),
        by_confidence=float(guessed[best]),
        threshold=float(thresholds[best]),
        by_label=float(1 + right - right_of_others) / 2,
    )


def _of_truth(logits: Tensor, y: Tensor) -> Tensor:
    """Return the probability of the true class, (n,), in float64."""
    return logits.double().softmax(1).gather(1, y[:, None]).squeeze(1)


def _share_above(scores: Tensor, thresholds: Tensor) -> Tensor:
    """Return for each threshold which share of the scores is at least as great."""
    ordered = scores.sort().values
    return 1 - torch.searchsorted(ordered, thresholds, right=False).double() / len(ordered)
