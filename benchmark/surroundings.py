"""What a function of somebody else's may change: it gets a copy of the model, and the rest is put back."""

from __future__ import annotations

import copy
import random
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import chain
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn


@dataclass
class Passes:
    """Images that went through a model.

    Args:
        forward: images sent forward.
        backward: images whose gradient came back.
    """

    forward: int = 0
    backward: int = 0


@dataclass
class Changes:
    """What a function changed or used while it ran.

    Args:
        model: parameters, buffers, gradients or modes of the model that it was given.
        points: the images or labels that it was given.
        settings: settings of torch that hold for the whole process.
        random_numbers: it drew from the global random numbers of torch, NumPy or Python.
    """

    model: bool = False
    points: bool = False
    settings: bool = False
    random_numbers: bool = False


def counted_copy(model: nn.Module, passes: Passes) -> nn.Module:
    """Return a copy of a model that counts what goes through it, or through copies made of it.

    Args:
        model: left as it is.
        passes: counted there.
    """
    made = copy.deepcopy(model)
    made.register_forward_hook(_counting(passes))
    return made


def same_model(model: nn.Module, other: nn.Module) -> bool:
    """Tell whether a copy is still as it was made: parameters and buffers, their gradients, and every module's mode."""
    ours, theirs = _tensors(model), _tensors(other)
    if ours.keys() != theirs.keys() or [m.training for m in model.modules()] != [m.training for m in other.modules()]:
        return False
    return all(_same_tensor(value, theirs[name]) for name, value in ours.items())


@contextmanager
def kept_surroundings(device: torch.device, seed: int, changes: Changes) -> Iterator[None]:
    """Seed the global random numbers, and afterwards put them and torch's settings back as they were.

    Args:
        device: whose random numbers are seeded beside the CPU's.
        seed: below 2**32, which is as much as NumPy takes.
        changes: told what was changed or used within.
    """
    devices = [device] if device.type == "cuda" else []
    in_python, in_numpy = random.getstate(), np.random.get_state()
    with torch.random.fork_rng(devices=devices), torch.enable_grad():
        torch.default_generator.manual_seed(seed)
        for one in devices:
            with torch.cuda.device(one):
                torch.cuda.manual_seed(seed)
        random.seed(seed)
        np.random.seed(seed)
        begin, settings = _random_state(devices), _settings()
        try:
            yield
        finally:
            changes.random_numbers |= _random_state(devices) != begin
            changes.settings |= _put_back(settings)
            random.setstate(in_python)
            np.random.set_state(in_numpy)


_SETTINGS: tuple[tuple[Callable[[], Any], Callable[[Any], object]], ...] = (
    (torch.is_grad_enabled, torch.set_grad_enabled),
    (torch.get_default_dtype, torch.set_default_dtype),
    (torch.get_default_device, torch.set_default_device),
    (torch.get_num_threads, torch.set_num_threads),
    (torch.are_deterministic_algorithms_enabled, torch.use_deterministic_algorithms),
)
"""How each setting is read and written."""


def _settings() -> tuple[object, ...]:
    return tuple(read() for read, _ in _SETTINGS)


def _put_back(settings: tuple[object, ...]) -> bool:
    """Put settings back, and tell whether any was another."""
    changed = [(write, before) for (read, write), before in zip(_SETTINGS, settings, strict=True) if read() != before]
    for write, before in changed:
        write(before)
    return bool(changed)


def _counting(passes: Passes) -> Callable[[nn.Module, object, object], None]:
    # A plain function, for a copy of a model shares those with it, but would have a counter of its own.
    def count(_module: nn.Module, _images: object, logits: object) -> None:
        if not isinstance(logits, Tensor) or logits.ndim == 0:
            return
        rows = len(logits)
        passes.forward += rows

        def count_back(_grad: Tensor) -> None:
            passes.backward += rows

        if logits.requires_grad:
            logits.register_hook(count_back)

    return count


def _random_state(devices: list[torch.device]) -> tuple[object, ...]:
    numpy_state = np.random.get_state(legacy=False)
    return (
        torch.default_generator.get_state().numpy().tobytes(),
        *(torch.cuda.get_rng_state(device).numpy().tobytes() for device in devices),
        repr(numpy_state["state"]),
        random.getstate(),
    )


def _tensors(model: nn.Module) -> dict[str, Tensor]:
    return dict(chain(model.named_parameters(), model.named_buffers()))


def _same_tensor(ours: Tensor, theirs: Tensor) -> bool:
    if (ours.shape, ours.dtype, ours.requires_grad) != (theirs.shape, theirs.dtype, theirs.requires_grad):
        return False
    if (ours.grad is None) != (theirs.grad is None) or ours.device != theirs.device:
        return False
    return torch.equal(ours, theirs) or (
        ours.is_floating_point() and torch.allclose(ours, theirs, rtol=0, atol=0, equal_nan=True)
    )
