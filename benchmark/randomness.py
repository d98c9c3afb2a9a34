"""Counter-based random numbers: a draw belongs to a point, never to a batch.

Every draw is a pure function of (run seed, attack, restart, target, position of the point in the data set, step), so it
does not depend on batch size, order, shard, retry or device count, and no global generator is read or moved.

Source:
    The mixing function is the finaliser of splitmix64, Steele, Lea & Flood 2014.
"""

from __future__ import annotations

import hashlib
import math

import torch
from torch import Tensor


def _signed(value: int) -> int:
    return value - (1 << 64) if value >= 1 << 63 else value


_GOLDEN = _signed(0x9E3779B97F4A7C15)
_MIX_1 = _signed(0xBF58476D1CE4E5B9)
_MIX_2 = _signed(0x94D049BB133111EB)


def item_keys(seed: int, attack: str, restart: int, target: int, index: Tensor) -> Tensor:
    """Return one key per work item.

    Args:
        seed: seed of the run.
        attack: name of the attack.
        restart: number of the restart, from 0.
        target: rank of the target among the item's targets, from 0.
        index: positions of the points in the data set, (n,), int64.
    Returns:
        Keys, (n,), int64.
    """
    text = f"{seed}/{attack}/{restart}/{target}"
    stem = int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "little", signed=True)
    return _mix(_mix(index * _GOLDEN + stem) + stem)


def at_step(key: Tensor, step: Tensor) -> Tensor:
    """Return the keys of a step, (n,); ``step`` is (n,), int64."""
    return _mix(key + (step + 1) * _GOLDEN)


def uniform(key: Tensor, size: int) -> Tensor:
    """Draw float32 numbers in [0, 1) on a grid of 2**-24, (n, size)."""
    counter = torch.arange(1, size + 1, device=key.device) * _GOLDEN
    bits = _mix(key[:, None] + counter)
    return _shift(bits, 40).to(torch.float32) * 2.0**-24


def normal(key: Tensor, size: int) -> Tensor:
    """Draw standard normal float32 numbers, (n, size), by the Box-Muller transform."""
    half = (size + 1) // 2
    draw = uniform(key, 2 * half)
    radius = torch.sqrt(-2 * torch.log(draw[:, :half] + 2.0**-25))
    angle = 2 * math.pi * draw[:, half:]
    return torch.cat((radius * torch.cos(angle), radius * torch.sin(angle)), 1)[:, :size]


def rademacher(key: Tensor, size: int) -> Tensor:
    """Draw float32 numbers that are -1 or +1, (n, size); every bit is a draw, so this costs less than `uniform`."""
    counter = torch.arange(1, -(-size // 64) + 1, device=key.device) * _GOLDEN
    bits = _mix(key[:, None] + counter)
    place = torch.arange(64, device=key.device)
    drawn = (bits[:, :, None] >> place).bitwise_and_(1).flatten(1)[:, :size]
    return drawn.to(torch.float32).mul_(2).sub_(1)


def signs(draw: Tensor) -> Tensor:
    """Turn uniform draws into -1 and +1."""
    return torch.where(draw < 0.5, -1.0, 1.0)


def _mix(bits: Tensor) -> Tensor:
    bits = _shift(bits, 30).bitwise_xor_(bits).mul_(_MIX_1)
    bits = _shift(bits, 27).bitwise_xor_(bits).mul_(_MIX_2)
    return _shift(bits, 31).bitwise_xor_(bits)


def _shift(bits: Tensor, by: int) -> Tensor:
    """Shift right without sign: torch's own shift of int64 copies the sign bit."""
    return (bits >> by).bitwise_and_((1 << (64 - by)) - 1)
