"""Loading a published checkpoint into the network of its card."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from torch import nn

from benchmark.errors import InvalidCheckpoint
from model_zoo.building import build_published
from model_zoo.checkpoints.header import Header, read_header
from model_zoo.checkpoints.safetensors import load_into
from model_zoo.registry import PublishedCard

_PREFIXES = ("module.", "model.")
"""What wrappers put before every key, the outer first."""
_CONSTANTS = ("mu", "sigma", "mean", "std", "normalize.")
"""Statistics of the normalisation: networks here have them from the card."""


def load_published(card: PublishedCard, model_dir: str | Path | None) -> nn.Module:
    """Load a published checkpoint, or say what is wrong with it.

    Wrappers' prefixes, the constants of the normalisation and what the card declares unused may be in the file; beyond
    that it must have exactly the network's keys.

    Args:
        card: of the checkpoint.
        model_dir: folder with ``<id>.safetensors``; nothing in the file is trusted.
    Returns:
        The network in eval mode.
    Raises:
        InvalidCheckpoint: there is no such file, it is malformed, or it does not fit the network.
    """
    path = Path(model_dir or ".") / f"{card.id}.safetensors"
    if model_dir is None or not path.is_file():
        raise InvalidCheckpoint.because(
            path.name,
            found="no such file" if model_dir is not None else "no model_dir",
            expected="the published checkpoint as safetensors in model_dir",
            remedy=f"download it from {_source(card)}, make it safetensors with gauntlet convert, and name its folder",
        )
    header = network_keys(read_header(path), card)
    return load_into(build_published(card), path, header, f"{card.network} of {card.id}", card.dataset)


def network_keys(header: Header, card: PublishedCard) -> Header:
    """Return a header with the network's names for its tensors, and without what the network has no place for."""
    tensors = {}
    for name, entry in header.tensors.items():
        key = name
        for prefix in _PREFIXES:
            key = key.removeprefix(prefix)
        if not key.startswith((*card.unused, _CONSTANTS[-1])) and key not in _CONSTANTS:
            tensors[key] = entry
    return replace(header, tensors=tensors)


def _source(card: PublishedCard) -> str:
    if card.google_drive:
        return " and ".join(f"https://drive.google.com/uc?id={file}" for file in card.google_drive)
    return f"torchvision ({card.torchvision})" if card.torchvision else "its authors"
