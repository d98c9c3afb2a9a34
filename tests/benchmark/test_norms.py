from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.optimize import linprog
from torch import Tensor

from benchmark import randomness
from benchmark.errors import UnsupportedNorm
from benchmark.norms import L1, L2, Linf, Norm, norm_named

NORMS: list[Norm] = [Linf(), L2(), L1()]
DUALS = [(Linf(), 1), (L2(), 2), (L1(), torch.inf)]
SIZES = st.sampled_from([1, 2, 7, 192, 3072])
SEEDS = st.integers(0, 10_000)
EPSILONS = st.sampled_from([1e-3, 8 / 255, 0.5, 3.0])


def _vectors(seed: int, n: int, size: int) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    scale = torch.rand(n, 1, generator=generator) * 2
    return torch.randn(n, size, generator=generator) * scale


@pytest.mark.parametrize("norm", NORMS, ids=lambda norm: norm.name)
@given(seed=SEEDS, size=SIZES, epsilon=EPSILONS)
def test_project_reaches_the_ball_once_and_leaves_its_inside_alone(
    norm: Norm, seed: int, size: int, epsilon: float
) -> None:
    delta = _vectors(seed, 5, size)
    delta[0] = 0
    projected = norm.project(delta, epsilon)
    assert bool((norm.distance(projected.double()) <= epsilon * (1 + 1e-6)).all())
    torch.testing.assert_close(norm.project(projected, epsilon), projected, rtol=3e-7, atol=0)
    inside = delta * (0.99 * epsilon / norm.distance(delta).clamp_min(epsilon))[:, None]
    assert torch.equal(norm.project(inside, epsilon), inside)


@pytest.mark.parametrize("norm", NORMS, ids=lambda norm: norm.name)
@given(seed=SEEDS, size=st.sampled_from([1, 2, 7, 50]))
def test_project_finds_the_closest_point(norm: Norm, seed: int, size: int) -> None:
    delta = _vectors(seed, 1, size).double()
    projected = norm.project(delta, 0.3)
    others = norm.project(projected + _vectors(seed + 1, 200, size).double() / 10, 0.3)
    assert bool(((others - delta).norm(dim=1) >= (projected - delta).norm(dim=1) - 1e-12).all())


@pytest.mark.parametrize(("norm", "dual"), DUALS, ids=["Linf", "L2", "L1"])
@given(seed=SEEDS, size=SIZES)
def test_steepest_attains_the_dual_norm(norm: Norm, dual: float, seed: int, size: int) -> None:
    grad = _vectors(seed, 4, size)
    step = norm.steepest(grad)
    assert bool((norm.distance(step) <= 1 + 1e-6).all())
    torch.testing.assert_close(norm.dual(grad), torch.linalg.vector_norm(grad, dual, dim=1), rtol=1e-5, atol=0)
    torch.testing.assert_close((grad * step).sum(1), torch.linalg.vector_norm(grad, dual, dim=1), rtol=1e-5, atol=0)
    assert torch.equal(norm.steepest(torch.zeros(2, size)), torch.zeros(2, size))


@pytest.mark.parametrize("norm", NORMS, ids=lambda norm: norm.name)
@given(seed=st.integers(0, 2**63 - 1), size=SIZES)
def test_random_direction_has_length_one_and_depends_on_the_key_alone(norm: Norm, seed: int, size: int) -> None:
    keys = randomness.item_keys(seed, "test", 0, 0, torch.arange(6))
    global_state = torch.random.get_rng_state()
    draws = norm.random_direction(keys, size)
    torch.testing.assert_close(norm.distance(draws), torch.ones(6), rtol=1e-5, atol=0)
    assert torch.equal(norm.random_direction(keys.flip(0)[2:4], size), draws.flip(0)[2:4])
    assert torch.equal(torch.random.get_rng_state(), global_state)
    if size > 2:
        assert len({tuple(draw) for draw in draws.tolist()}) == 6


def _shortest(norm: Norm, x: Tensor, weight: Tensor, gap: float) -> float | None:
    """The length of the shortest step onto the plane within the box, in float64; None where there is none."""
    low, high = -x.numpy(), 1 - x.numpy()
    w = weight.numpy()
    reach = np.where(w * np.sign(gap) > 0, high, low)
    if (w @ reach) * np.sign(gap) < abs(gap):
        return None
    if norm.name == "Linf":
        size = len(w)
        objective = np.append(np.zeros(size), 1.0)
        ones = np.ones((size, 1))
        bounds_of_length = np.block([[np.eye(size), -ones], [-np.eye(size), -ones]])
        found = linprog(
            objective,
            A_ub=bounds_of_length,
            b_ub=np.zeros(2 * size),
            A_eq=np.append(w, 0.0)[None],
            b_eq=[gap],
            bounds=[*zip(low, high, strict=True), (0, None)],
        )
        assert found.status == 0
        return float(found.fun)
    if norm.name == "L1":
        ups_and_downs = [*((0, limit) for limit in high), *((0, -limit) for limit in low)]
        found = linprog(np.ones(2 * len(w)), A_eq=np.append(w, -w)[None], b_eq=[gap], bounds=ups_and_downs)
        assert found.status == 0
        return float(found.fun)
    least, most = 0.0, 1.0
    while (np.clip(np.sign(gap) * most * w, low, high) @ w) * np.sign(gap) < abs(gap) and most < 1e12:
        most *= 2
    for _ in range(200):
        middle = (least + most) / 2
        enough = (np.clip(np.sign(gap) * middle * w, low, high) @ w) * np.sign(gap) >= abs(gap)
        least, most = (least, middle) if enough else (middle, most)
    return float(np.linalg.norm(np.clip(np.sign(gap) * most * w, low, high)))


@pytest.mark.parametrize("norm", NORMS, ids=lambda norm: norm.name)
@given(
    seed=SEEDS,
    size=st.sampled_from([1, 2, 3, 10, 40]),
    share=st.sampled_from([-0.99, -0.5, -0.01, 0.0, 1e-4, 0.2, 0.7, 0.95]),
    scale=st.sampled_from([1e-18, 1e-6, 1.0, 1e4]),
)
def test_to_hyperplane_is_the_shortest_step(norm: Norm, seed: int, size: int, share: float, scale: float) -> None:
    generator = torch.Generator().manual_seed(seed)
    x = torch.rand(1, size, generator=generator)
    x[:, ::5] = x[:, ::5].round()
    weight = torch.randn(1, size, generator=generator) ** 3
    weight[:, 1::4] = 0
    weight /= weight.abs().max()  # or a gap may be lost among the tolerances below
    room = torch.where(weight * share > 0, 1 - x, x)
    gap = share * (weight.abs() * room).sum(1)
    step = norm.to_hyperplane(x, weight * scale, gap * scale)
    assert bool(((x + step) >= -1e-6).all())
    assert bool(((x + step) <= 1 + 1e-6).all())
    torch.testing.assert_close((weight * step).sum(1), gap, rtol=1e-5, atol=1e-6)
    expected = _shortest(norm, x[0].double(), weight[0].double(), float(gap) * (1 - 1e-6))
    assert expected is not None
    assert float(norm.distance(step)) == pytest.approx(expected, rel=1e-3, abs=1e-6)


@pytest.mark.parametrize("norm", NORMS, ids=lambda norm: norm.name)
@pytest.mark.parametrize("size", [192, 3072])
def test_to_hyperplane_in_large_images(norm: Norm, size: int) -> None:
    generator = torch.Generator().manual_seed(size)
    x = torch.rand(6, size, generator=generator)
    weight = torch.randn(6, size, generator=generator)
    reach = (weight.abs() * torch.where(weight > 0, 1 - x, x)).sum(1)
    gap = reach * torch.tensor([1e-3, 0.05, 0.3, 0.8, 0.99, 0.999])
    step = norm.to_hyperplane(x, weight, gap)
    assert bool((x + step).min() >= -1e-6)
    assert bool((x + step).max() <= 1 + 1e-6)
    torch.testing.assert_close((weight * step).sum(1), gap, rtol=1e-4, atol=0)
    if norm.name == "L2":
        expected = [
            _shortest(norm, image, normal, float(wanted))
            for image, normal, wanted in zip(x.double(), weight.double(), gap.double(), strict=True)
        ]
        assert norm.distance(step).tolist() == pytest.approx(expected, rel=1e-4)


@pytest.mark.parametrize("norm", NORMS, ids=lambda norm: norm.name)
def test_to_hyperplane_out_of_reach_goes_to_the_nearest_corner(norm: Norm) -> None:
    x = torch.tensor([[0.2, 0.9, 0.5]])
    weight = torch.tensor([[1.0, -2.0, 0.0]])
    step = norm.to_hyperplane(x, weight, torch.tensor([10.0]))
    torch.testing.assert_close(x + step, torch.tensor([[1.0, 0.0, 0.5]]))


@pytest.mark.parametrize("norm", NORMS, ids=lambda norm: norm.name)
def test_to_hyperplane_without_gap_weight_or_sense_stays(norm: Norm) -> None:
    x = torch.full((4, 3), 0.5)
    weight = torch.tensor([[1.0, -1.0, 2.0], [0.0, 0.0, 0.0], [0.0, 0.0, 0.0], [1.0, 1.0, 1.0]])
    gap = torch.tensor([0.0, 0.0, 1.0, torch.nan])
    assert torch.equal(norm.to_hyperplane(x, weight, gap).abs(), torch.zeros(4, 3))


@pytest.mark.parametrize("norm", NORMS, ids=lambda norm: norm.name)
def test_to_hyperplane_does_not_look_at_neighbours(norm: Norm) -> None:
    generator = torch.Generator().manual_seed(3)
    x = torch.rand(40, 192, generator=generator)
    weight = torch.randn(40, 192, generator=generator) ** 3
    gap = torch.randn(40, generator=generator) * 60
    together = norm.to_hyperplane(x, weight, gap)
    for row in range(0, 40, 8):
        rows = slice(row, row + 8)
        assert torch.equal(norm.to_hyperplane(x[rows], weight[rows], gap[rows]), together[rows])


def test_norm_named() -> None:
    assert [norm_named(name).name for name in ("Linf", "L2", "L1")] == ["Linf", "L2", "L1"]
    with pytest.raises(UnsupportedNorm, match="L0"):
        norm_named("L0")


@pytest.mark.parametrize("norm", NORMS, ids=lambda norm: norm.name)
@given(seed=SEEDS, size=SIZES, epsilon=EPSILONS)
def test_confine_gives_points_of_box_and_ball_and_keeps_those(norm: Norm, seed: int, size: int, epsilon: float) -> None:
    generator = torch.Generator().manual_seed(seed)
    x = torch.rand(5, size, generator=generator)
    x[:, ::3] = x[:, ::3].round()
    found = norm.confine(x, x + _vectors(seed, 5, size), epsilon)
    assert float(found.min()) >= 0
    assert float(found.max()) <= 1
    assert bool((norm.distance(found.double() - x.double()) <= epsilon * (1 + 1e-5) + 1e-7).all())
    torch.testing.assert_close(norm.confine(x, found, epsilon), found, rtol=0, atol=1e-6)
    assert torch.equal(norm.confine(x, x, epsilon), x)


@given(
    seed=SEEDS,
    size=st.sampled_from([1, 2, 7, 30]),
    scale=st.sampled_from([0.1, 1.0, 5.0]),
    epsilon=st.sampled_from([1e-2, 0.3, 1.0, 4.0]),
)
def test_l1_confine_finds_the_closest_point(seed: int, size: int, scale: float, epsilon: float) -> None:
    """The closest point y of a convex set C to a is the one with (a - y) · (c - y) <= 0 for all c in C.

    So the largest value of that linear function on C, which a linear programme finds, must be its value at y.
    """
    generator = torch.Generator().manual_seed(seed)
    x = torch.rand(1, size, generator=generator, dtype=torch.float64)
    x[:, ::3] = x[:, ::3].round()
    wanted = x + scale * torch.randn(1, size, generator=generator, dtype=torch.float64)
    found = L1().confine(x, wanted, epsilon)
    normal = (wanted - found)[0].numpy()
    room = [*((0, 1 - value) for value in x[0].tolist()), *((0, value) for value in x[0].tolist())]
    best = linprog(np.append(-normal, normal), A_ub=np.ones((1, 2 * size)), b_ub=[epsilon], bounds=room)
    assert best.status == 0
    reached = float(normal @ (found - x)[0].numpy())
    assert reached == pytest.approx(-float(best.fun), rel=1e-6, abs=1e-7)
    assert float(L1().distance(found - x)) <= epsilon * (1 + 1e-7)


@given(seed=SEEDS, size=SIZES)
def test_l1_confine_takes_a_radius_for_each_point_and_does_not_look_at_neighbours(seed: int, size: int) -> None:
    x, delta = torch.rand(9, size, generator=torch.Generator().manual_seed(seed)), _vectors(seed, 9, size) * 3
    radius = torch.linspace(0.1, 4, 9)
    together = L1().confine(x, x + delta, radius)
    for row in range(9):
        alone = L1().confine(x[row : row + 1], (x + delta)[row : row + 1], float(radius[row]))
        torch.testing.assert_close(together[row : row + 1], alone, rtol=0, atol=1e-6)


@given(seed=SEEDS, size=st.sampled_from([1, 2, 7, 40]), length=st.sampled_from([0.05, 0.8, 3.0]))
def test_l1_climb_is_the_best_step_in_the_box(seed: int, size: int, length: float) -> None:
    generator = torch.Generator().manual_seed(seed)
    x = torch.rand(1, size, generator=generator)
    x[:, ::3] = x[:, ::3].round()
    grad = _vectors(seed, 1, size)
    grad[:, 1::4] = 0
    step = L1().climb(x, grad, length) - x
    weight = grad[0].double().numpy()
    room = [*((0, 1 - value) for value in x[0].tolist()), *((0, value) for value in x[0].tolist())]
    best = linprog(np.append(-weight, weight), A_ub=np.ones((1, 2 * size)), b_ub=[length], bounds=room)
    assert float((grad * step).sum()) == pytest.approx(-float(best.fun), rel=1e-4, abs=1e-6)
    assert float(L1().distance(step)) <= length * (1 + 1e-5)


@pytest.mark.parametrize("norm", [Linf(), L2()], ids=lambda norm: norm.name)
def test_climb_is_the_steepest_step_where_the_box_is_far(norm: Norm) -> None:
    x, grad = torch.full((4, 9), 0.5), _vectors(1, 4, 9)
    torch.testing.assert_close(norm.climb(x, grad, 0.1), x + 0.1 * norm.steepest(grad))
