"""Loading a published checkpoint into the network of its card."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from torch import nn

from benchmark.errors import InvalidCheckpoint
from model_zoo.building import build_published
from model_zoo.checkpoints.header import Header, TensorEntry, read_header, shown
from model_zoo.checkpoints.safetensors import load_into
from model_zoo.registry import PublishedCard

_PREFIXES = ("module.", "model.")
"""What wrappers put before every key, the outer first."""
_CONSTANTS = ("mu", "sigma", "mean", "std")
_CONSTANTS_LAYER = "normalize."
"""Statistics of the normalisation, or the layer that holds them: networks here have them from the card."""


def load_published_file(card: PublishedCard, path: Path) -> nn.Module:
    """Load a published checkpoint, or say what is wrong with it.

    Wrappers' prefixes, the constants of the normalisation and what the card declares unused may be in the file; beyond
    that it must have exactly the network's keys.

    Args:
        card: of the checkpoint.
        path: a safetensors file; nothing in it is trusted.
    Returns:
        The network in eval mode.
    Raises:
        InvalidCheckpoint: it is malformed, or does not fit the network.
    """
    header = network_keys(read_header(path), card)
    return load_into(build_published(card), path, header, f"{card.network} of {card.id}", card.dataset)


def network_keys(header: Header, card: PublishedCard) -> Header:
    """Return a header with the network's names for its tensors, and without what the network has no place for.

    Raises:
        InvalidCheckpoint: two tensors would have one name.
    """
    tensors: dict[str, TensorEntry] = {}
    for name, entry in header.tensors.items():
        key = network_key(name, card)
        if key is None:
            continue
        if key in tensors:
            raise InvalidCheckpoint.because(
                f"tensor {shown(name)}",
                found=f"another that is {shown(key)} too, once wrappers' prefixes are taken off",
                expected="one tensor for each of the network's names",
                remedy="save the state dict of one network, with or without its wrappers",
            )
        tensors[key] = entry
    return replace(header, tensors=tensors)


def network_key(name: str, card: PublishedCard) -> str | None:
    """Return what the network calls a tensor of the file, None where it has no place for it."""
    for prefix in _PREFIXES:
        name = name.removeprefix(prefix)
    if name in _CONSTANTS or name.startswith((_CONSTANTS_LAYER, *card.unused)) or name.endswith(card.unused_endings):
        return None
    for beginning, here in card.renamed.items():
        if name.startswith(beginning):
            return here + name.removeprefix(beginning)
    return name
