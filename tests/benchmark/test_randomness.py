from __future__ import annotations

import hashlib
import math

import pytest
import torch

from benchmark import randomness

MASK = (1 << 64) - 1
GOLDEN = 0x9E3779B97F4A7C15
GOLDEN_KEYS = [-5179495079496839365, -315957887340639123]
GOLDEN_UNIFORM = [[0.6826238036155701, 0.20344901084899902], [0.013168573379516602, 0.8648678064346313]]
GOLDEN_NORMAL = [
    [-0.2798815369606018, 0.8418101072311401, 0.8278217315673828],
    [2.9288268089294434, 0.2582128345966339, 0.28602907061576843],
]


def _mix(bits: int) -> int:
    bits = ((bits ^ (bits >> 30)) * 0xBF58476D1CE4E5B9) & MASK
    bits = ((bits ^ (bits >> 27)) * 0x94D049BB133111EB) & MASK
    return bits ^ (bits >> 31)


def _signed(bits: int) -> int:
    return bits - (1 << 64) if bits >> 63 else bits


def _key(seed: int, attack: str, restart: int, target: int, index: int) -> int:
    digest = hashlib.sha256(f"{seed}/{attack}/{restart}/{target}".encode()).digest()
    stem = int.from_bytes(digest[:8], "little")
    return _mix((_mix((index * GOLDEN + stem) & MASK) + stem) & MASK)


def test_the_reference_mixes_as_splitmix64_is_published_to() -> None:
    """The first outputs for seed 1234567, as other implementations of splitmix64 quote them."""
    outputs = [_mix((1234567 + i * GOLDEN) & MASK) for i in (1, 2, 3)]
    assert outputs == [6457827717110365317, 3203168211198807973, 9817491932198370423]


def test_keys_steps_and_draws_follow_the_reference() -> None:
    key = randomness.item_keys(7, "square", 2, 5, torch.tensor([0, 1, 499, 10**12]))
    expected = [_key(7, "square", 2, 5, index) for index in (0, 1, 499, 10**12)]
    assert key.tolist() == [_signed(value) for value in expected]
    stepped = randomness.at_step(key, torch.tensor([0, 1, 4999, 3]))
    expected = [
        _mix((value + (step + 1) * GOLDEN) & MASK) for value, step in zip(expected, (0, 1, 4999, 3), strict=True)
    ]
    assert stepped.tolist() == [_signed(value) for value in expected]
    draws = randomness.uniform(stepped, 5)
    rows = [[(_mix((value + i * GOLDEN) & MASK) >> 40) / 2**24 for i in range(1, 6)] for value in expected]
    assert draws.tolist() == rows


def test_draws_never_change() -> None:
    """A change here moves every published number: it needs a new protocol version."""
    key = randomness.item_keys(0, "apgd-ce", 0, 0, torch.tensor([0, 1]))
    assert key.tolist() == GOLDEN_KEYS
    assert randomness.uniform(key, 2).tolist() == GOLDEN_UNIFORM
    torch.testing.assert_close(randomness.normal(key, 3), torch.tensor(GOLDEN_NORMAL), rtol=1e-5, atol=1e-6)


def test_every_part_of_the_key_matters() -> None:
    index = torch.arange(100)
    names = [(0, "a", 0, 0), (1, "a", 0, 0), (0, "b", 0, 0), (0, "a", 1, 0), (0, "a", 0, 1), (0, "a", 1, 1)]
    keys = torch.cat([randomness.item_keys(*name, index) for name in names])
    assert len(set(keys.tolist())) == 600


def test_uniform_is_uniform() -> None:
    draws = randomness.uniform(randomness.item_keys(1, "test", 0, 0, torch.arange(2000)), 500).double()
    assert float(draws.min()) >= 0
    assert float(draws.max()) < 1
    counts = torch.histc(draws.flatten(), 100, 0, 1)
    chi_squared = float(((counts - 10_000) ** 2 / 10_000).sum())
    assert 50 < chi_squared < 160
    assert float(draws.mean()) == pytest.approx(0.5, abs=0.002)
    assert float(draws.var()) == pytest.approx(1 / 12, abs=0.001)


@pytest.mark.parametrize("neighbour", ["draw", "point", "step", "target"])
def test_neighbours_are_independent(neighbour: str) -> None:
    index, steps = torch.arange(3000), torch.zeros(3000, dtype=torch.int64)
    key = randomness.item_keys(1, "test", 0, 0, index)
    one = randomness.uniform(randomness.at_step(key, steps), 30).double() - 0.5
    others = {
        "draw": lambda: one.roll(1, 1),
        "point": lambda: one.roll(1, 0),
        "step": lambda: randomness.uniform(randomness.at_step(key, steps + 1), 30).double() - 0.5,
        "target": lambda: (
            randomness.uniform(randomness.at_step(randomness.item_keys(1, "test", 0, 1, index), steps), 30).double()
            - 0.5
        ),
    }
    correlation = float((one * others[neighbour]()).mean() * 12)
    assert abs(correlation) < 4 / math.sqrt(90_000)


@pytest.mark.parametrize("size", [1, 2, 3, 7, 64, 193])
def test_normal_is_normal_and_finite(size: int) -> None:
    draws = randomness.normal(randomness.item_keys(1, "test", 0, 0, torch.arange(40_000 // size + 1)), size)
    assert draws.shape[1] == size
    assert bool(torch.isfinite(draws).all())
    assert float(draws.mean()) == pytest.approx(0, abs=0.025)
    assert float(draws.std()) == pytest.approx(1, abs=0.025)
    assert float((draws.abs() < 1).float().mean()) == pytest.approx(0.6827, abs=0.015)
    assert float((draws.abs() < 2).float().mean()) == pytest.approx(0.9545, abs=0.01)


def test_normal_of_a_longer_image_pairs_other_numbers() -> None:
    """Halves of a Box-Muller pair must not be equal: radius and angle come from different draws."""
    draws = randomness.normal(randomness.item_keys(1, "test", 0, 0, torch.arange(20_000)), 2).double()
    assert abs(float((draws[:, 0] * draws[:, 1]).mean())) < 0.03
    assert float((draws[:, 0] ** 2 * draws[:, 1] ** 2).mean()) == pytest.approx(1, abs=0.08)


@pytest.mark.parametrize("size", [1, 63, 64, 65, 200])
def test_rademacher_draws_are_the_bits_of_the_reference(size: int) -> None:
    key = randomness.item_keys(7, "spsa", 0, 0, torch.tensor([0, 499]))
    expected = [
        [2.0 * (_mix((int(one) + (i // 64 + 1) * GOLDEN) & MASK) >> i % 64 & 1) - 1 for i in range(size)]
        for one in key.tolist()
    ]
    draws = randomness.rademacher(key, size)
    assert draws.dtype == torch.float32
    assert draws.tolist() == expected


def test_rademacher_draws_are_fair_and_independent() -> None:
    draws = randomness.rademacher(randomness.item_keys(1, "test", 0, 0, torch.arange(2000)), 150).double()
    assert float(draws.mean(0).abs().max()) < 0.1
    products = draws.T @ draws / 2000 - torch.eye(150, dtype=torch.float64)
    # The largest of 11,175 correlations of 2,000 fair draws lies near 4 / sqrt(2000).
    assert float(products.abs().max()) < 0.13


def test_signs_are_plus_or_minus_one() -> None:
    draws = randomness.uniform(randomness.item_keys(1, "test", 0, 0, torch.arange(1000)), 100)
    signs = randomness.signs(draws)
    assert set(signs.unique().tolist()) == {-1.0, 1.0}
    assert abs(float(signs.mean())) < 0.015
    assert randomness.signs(torch.tensor([0.0, 0.49, 0.5, 0.99])).tolist() == [-1, -1, 1, 1]
