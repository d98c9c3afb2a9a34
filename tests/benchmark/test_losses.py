from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from benchmark import losses


def _logits(classes: int) -> tuple[Tensor, Tensor, Tensor]:
    generator = torch.Generator().manual_seed(classes)
    logits = torch.randn(50, classes, generator=generator, dtype=torch.float64) * 5
    y = torch.randint(0, classes, (50,), generator=generator)
    target = (y + torch.randint(1, classes, (50,), generator=generator)) % classes
    return logits, y, target


@pytest.mark.parametrize("classes", [2, 3, 4, 10])
def test_losses_of_any_number_of_classes(classes: int) -> None:
    logits, y, target = _logits(classes)
    for row, (z, label, other) in enumerate(zip(logits.tolist(), y.tolist(), target.tolist(), strict=True)):
        ce = math.log(sum(math.exp(value) for value in z)) - z[label]
        margin = z[label] - max(value for i, value in enumerate(z) if i != label)
        assert float(losses.cross_entropy(logits, y)[row]) == pytest.approx(ce)
        assert float(losses.margin(logits, y)[row]) == pytest.approx(margin)
        assert float(losses.logit_gap(logits, y, target)[row]) == pytest.approx(z[other] - z[label])


@pytest.mark.parametrize("classes", [3, 4, 10])
def test_dlr(classes: int) -> None:
    logits, y, _ = _logits(classes)
    found = losses.dlr(logits, y)
    for row, (z, label) in enumerate(zip(logits.tolist(), y.tolist(), strict=True)):
        down = sorted(z, reverse=True)
        largest_other = max(value for i, value in enumerate(z) if i != label)
        assert float(found[row]) == pytest.approx(-(z[label] - largest_other) / (down[0] - down[2] + 1e-12))


@pytest.mark.parametrize("classes", [4, 10])
def test_targeted_dlr(classes: int) -> None:
    logits, y, target = _logits(classes)
    found = losses.targeted_dlr(logits, y, target)
    for row, (z, label, other) in enumerate(zip(logits.tolist(), y.tolist(), target.tolist(), strict=True)):
        down = sorted(z, reverse=True)
        expected = -(z[label] - z[other]) / (down[0] - (down[2] + down[3]) / 2 + 1e-12)
        assert float(found[row]) == pytest.approx(expected)


def test_dlr_does_not_depend_on_shift_or_scale() -> None:
    logits, y, target = _logits(10)
    torch.testing.assert_close(losses.dlr(3 * logits + 7, y), losses.dlr(logits, y))
    moved = losses.targeted_dlr(0.01 * logits - 2, y, target)
    torch.testing.assert_close(moved, losses.targeted_dlr(logits, y, target))


def test_sign_tells_who_wins() -> None:
    """Every loss that attacks maximise is above 0 exactly where the label no longer wins (to the target)."""
    logits, y, target = _logits(4)
    wrong = logits.argmax(1) != y
    assert torch.equal(losses.dlr(logits, y) > 0, wrong)
    assert torch.equal(losses.margin(logits, y) < 0, wrong)
    ahead = logits.gather(1, target[:, None])[:, 0] > logits.gather(1, y[:, None])[:, 0]
    assert torch.equal(losses.targeted_dlr(logits, y, target) > 0, ahead)
    assert torch.equal(losses.logit_gap(logits, y, target) > 0, ahead)


def test_equal_logits_give_finite_losses_and_gradients() -> None:
    logits = torch.zeros(1, 4, requires_grad=True)
    y, target = torch.tensor([0]), torch.tensor([1])
    for loss in (losses.dlr(logits, y), losses.targeted_dlr(logits, y, target), losses.cross_entropy(logits, y)):
        (grad,) = torch.autograd.grad(loss.sum(), logits, retain_graph=True)
        assert bool(torch.isfinite(loss).all())
        assert bool(torch.isfinite(grad).all())
