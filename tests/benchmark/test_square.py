from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from benchmark import randomness
from benchmark.attacks.base import Slots
from benchmark.attacks.square import Square, SquareLinf
from benchmark.attacks.square_exchange import SquareL2
from benchmark.classifier import Classifier
from benchmark.norms import L2, Linf
from tests.benchmark.models import Cnn, Shape, points

SHAPES: list[Shape] = [(1, 8, 8), (3, 6, 10), (3, 10, 6), (1, 3, 4), (3, 28, 20)]


def _slots(x: Tensor, y: Tensor) -> Slots:
    index = torch.arange(len(x))
    key = randomness.item_keys(0, "square", 0, 0, index)
    zeros = torch.zeros_like(index)
    return Slots(x=x.flatten(1), y=y, target=y, key=key, restart=zeros, step=zeros.clone())


@pytest.mark.parametrize("shape", SHAPES)
def test_linf_candidates_stay_on_the_corners_of_the_box_around_the_image(shape: Shape) -> None:
    epsilon = 0.1
    attack = SquareLinf(Linf(), epsilon, shape, queries=60)
    x, y = points(16, shape, 4)
    state = attack.start(_slots(x, y))
    classifier = Classifier(Cnn(shape, 4).eval(), shape, 16)
    low, high = (state.x - epsilon).clamp_min(0), (state.x + epsilon).clamp_max(1)
    for number in range(60):
        before = state.x_best.clone()
        proposal = attack.step(state, classifier, 16)
        assert proposal.done.tolist() == [number == 59] * 16
        assert bool(((proposal.x_adv == low) | (proposal.x_adv == high)).all())
        changed = (proposal.x_adv != before).view(16, *shape).any(1)
        assert bool((changed.flatten(1).sum(1) <= int(attack.sides.max()) ** 2).all())


def test_linf_starts_with_vertical_stripes() -> None:
    shape = (3, 6, 10)
    attack = SquareLinf(Linf(), 0.1, shape)
    delta = attack.start(_slots(torch.full((8, *shape), 0.5), torch.zeros(8, dtype=torch.int64))).x_best - 0.5
    image = delta.view(8, *shape)
    assert torch.equal(image, image[:, :, :1].expand_as(image))
    assert len({tuple(row) for row in image[:, :, 0].flatten(1).sign().tolist()}) == 8


@pytest.mark.parametrize("shape", SHAPES)
def test_windows_cover_every_position_and_lie_inside(shape: Shape) -> None:
    _, height, width = shape
    attack = SquareLinf(Linf(), 0.1, shape)
    for side in sorted({1, 2, min(height, width)}):
        n = 30_000
        draw = randomness.uniform(randomness.item_keys(side, "test", 0, 0, torch.arange(n)), 2)
        draw[0], draw[1] = 0, 1 - 2**-24
        mask = attack._windows(draw, torch.full((n,), side)).mask
        assert mask.shape == (n, 1, height, width)
        assert mask.sum((1, 2, 3)).unique().tolist() == [side * side]
        corner = mask.flatten(1).float().argmax(1)
        positions = {(top, left) for top in range(height - side + 1) for left in range(width - side + 1)}
        found = {divmod(value, width) for value in corner.tolist()}
        assert found == positions
        counts = corner.bincount()
        assert int(counts[counts > 0].min()) > n / len(positions) / 4
        assert corner[1] == (height - side) * width + width - side


@pytest.mark.parametrize(
    ("iteration", "halvings"),
    [(1, 0), (10, 0), (11, 1), (50, 1), (51, 2), (201, 3), (501, 4), (1001, 5), (2001, 6), (4000, 6), (4001, 7)],
)
@pytest.mark.parametrize(("kind", "norm"), [(SquareLinf, Linf()), (SquareL2, L2())], ids=["Linf", "L2"])
def test_share_halves_on_schedule(kind: type[Square], norm: Linf | L2, iteration: int, halvings: int) -> None:
    """The window's side is read off what one step changes, in an image where every window differs from the start."""
    shape = (1, 32, 32)
    attack = kind(norm, 0.1, shape)
    share = 0.8 / 2**halvings
    side = max(round(math.sqrt(share * 32 * 32)), 1)
    if kind is SquareL2:
        side = min(max(side, 3) + 1 - max(side, 3) % 2, 31)
    assert int(attack.sides[halvings]) == side
    asked: list[float] = []

    class Listening(kind):  # type: ignore[misc, valid-type]
        def _prepare(self, draw: Tensor, halvings: Tensor) -> Tensor:
            return torch.cat((super()._prepare(draw, halvings), halvings[:, None]), 1)

        def _change(self, state: object, prepared: Tensor) -> Tensor:
            asked.extend(prepared[:, -1].tolist())
            return Tensor(super()._change(state, prepared[:, :-1]))

    listening = Listening(norm, 0.1, shape)
    state = listening.start(_slots(torch.full((8, *shape), 0.5), torch.zeros(8, dtype=torch.int64)))
    state.step += iteration
    listening.step(state, Classifier(Cnn(shape, 4).eval(), shape, 8), 8)
    assert set(asked) == {halvings}


@pytest.mark.parametrize(("kind", "norm"), [(SquareLinf, Linf()), (SquareL2, L2())], ids=["Linf", "L2"])
def test_drawing_ahead_changes_nothing(kind: type[Square], norm: Linf | L2) -> None:
    """Numbers belong to the query, not to the moment at which they are drawn."""
    shape, n = (3, 6, 10), 8
    x, y = points(n, shape, 4)
    classifier = Classifier(Cnn(shape, 4).eval(), shape, n)
    paths = []
    for ahead in (1, 32):
        attack = kind(norm, 0.1, shape, queries=50)
        attack.ahead = ahead
        state = attack.start(_slots(x, y))
        paths.append(torch.stack([attack.step(state, classifier, n).x_adv for _ in range(50)]))
    assert torch.equal(*paths)
    assert len({tuple(step.flatten().tolist()) for step in paths[0]}) == 50


@pytest.mark.parametrize("shape", SHAPES)
def test_l2_exchange_keeps_the_length(shape: Shape) -> None:
    """Andriushchenko et al. 2020, proposition A.1: before clipping, every candidate has length epsilon."""
    epsilon, n = 0.6, 16
    attack = SquareL2(L2(), epsilon, shape, queries=50)
    x, y = points(n, shape, 4)
    state = attack.start(_slots(x, y))
    classifier = Classifier(Cnn(shape, 4).eval(), shape, n)
    for step in range(1, 50):
        draw = randomness.uniform(randomness.at_step(state.key, state.step), attack._numbers)
        halvings = torch.full((n,), step % len(attack.sides))
        delta = attack.exchange(state.x, state.x_best, draw, halvings)
        torch.testing.assert_close(delta.double().norm(dim=1), torch.full((n,), epsilon).double(), rtol=1e-5, atol=0)
        proposal = attack.step(state, classifier, n)
        length = (proposal.x_adv.double() - state.x.double()).norm(dim=1)
        assert bool((length <= epsilon * (1 + 1e-5)).all())


def test_l2_windows_that_overlap_keep_the_new_content() -> None:
    """With one position left both windows are the same: emptying it last would lose everything."""
    shape = (1, 7, 7)
    attack = SquareL2(L2(), 0.5, shape)
    assert int(attack.sides[0]) == 7
    x = torch.full((8, 49), 0.5)
    state = attack.start(_slots(x.view(8, *shape), torch.zeros(8, dtype=torch.int64)))
    draw = randomness.uniform(state.key, attack._numbers)
    delta = attack.exchange(x, state.x_best, draw, torch.zeros(8, dtype=torch.int64))
    torch.testing.assert_close(delta.norm(dim=1), torch.full((8,), 0.5))


@pytest.mark.parametrize("shape", [(1, 8, 8), (3, 6, 10)])
def test_l2_exchange_of_an_empty_perturbation(shape: Shape) -> None:
    """Nothing to take over: all length comes from what is unused, and no zero is divided by."""
    attack = SquareL2(L2(), 0.5, shape)
    x = points(8, shape, 2)[0].flatten(1)
    key = randomness.item_keys(0, "square", 0, 0, torch.arange(8))
    draw = randomness.uniform(key, attack._numbers)
    delta = attack.exchange(x, x, draw, torch.zeros(8, dtype=torch.int64))
    assert bool(torch.isfinite(delta).all())
    torch.testing.assert_close(delta.norm(dim=1), torch.full((8,), 0.5))


@pytest.mark.parametrize("shape", [*SHAPES, (1, 2, 2), (1, 1, 9)])
def test_l2_sides_are_odd_and_fit(shape: Shape) -> None:
    sides = SquareL2(L2(), 0.5, shape).sides
    smallest = min(shape[1:])
    assert int(sides.max()) <= smallest
    if smallest >= 3:
        assert bool((sides % 2 == 1).all())
        assert int(sides.min()) >= 3


@pytest.mark.parametrize("kind", ["Linf", "L2"])
def test_only_smaller_margins_are_kept(kind: str) -> None:
    shape = (3, 6, 10)
    attack = SquareLinf(Linf(), 0.1, shape) if kind == "Linf" else SquareL2(L2(), 0.5, shape)
    x, y = points(8, shape, 4)
    state = attack.start(_slots(x, y))
    model = Cnn(shape, 4).eval()
    classifier = Classifier(model, shape, 8)
    margins = [state.margin]
    for _ in range(40):
        attack.step(state, classifier, 8)
        margins.append(state.margin)
        with torch.no_grad():
            logits = model(state.x_best.view(8, *shape))
        top = logits.gather(1, y[:, None])[:, 0] - logits.scatter(1, y[:, None], -torch.inf).amax(1)
        torch.testing.assert_close(state.margin, top)
    path = torch.stack(margins)
    assert bool((path[1:] <= path[:-1]).all())
    assert bool((path[-1] < path[1]).any())
