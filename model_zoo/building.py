"""From a name to a network."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from importlib import import_module
from pathlib import Path

import torch
from torch import nn

from benchmark.datasets import CLASSES
from benchmark.errors import InvalidCheckpoint
from model_zoo.licences import tell_licence
from model_zoo.registry import PublishedCard, bundled_checkpoint, card, published_card
from model_zoo.registry import architecture as registered


def build(architecture: str, dataset: str, seed: int = 0) -> nn.Module:
    """Build a registered architecture with random weights, leaving torch's own random numbers where they were.

    Args:
        architecture: name of a registered architecture.
        dataset: the data set that fixes the number of classes.
        seed: decides the weights.
    Raises:
        NotFound: no such architecture for the data set.
    """
    entry = registered(architecture, dataset)
    return _seeded(entry.module, entry.network, {"classes": CLASSES[dataset], **entry.arguments}, seed)


def build_published(entry: PublishedCard, seed: int = 0) -> nn.Module:
    """Build the network of a published checkpoint, likewise with random weights, in eval mode."""
    arguments = {"classes": entry.classes, **entry.arguments}
    return _seeded(f"model_zoo.architectures.{entry.module}", entry.network, arguments, seed).eval()


def _seeded(module: str, network: str, arguments: Mapping[str, object], seed: int) -> nn.Module:
    make: type[nn.Module] = getattr(import_module(module), network)
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)
        return make(**arguments)


def load_model(
    model_name: str,
    *,
    dataset: str,
    threat_model: str,
    model_dir: str | Path | None = None,
    pretrained: bool = True,
    device: str | torch.device = "cpu",
) -> nn.Module:
    """Load a model of the zoo.

    Args:
        model_name: its id, in upper or lower case.
        dataset: data set of its board.
        threat_model: threat model of its board.
        model_dir: folder whose ``<id>.safetensors`` is taken where it exists, instead of what comes along with the
            package or is fetched. A published checkpoint is fetched once, into the folder that ``GAUNTLET_CACHE``
            names (by default ``~/.cache/gauntlet``), and pinned by its hash.
        pretrained: False gives the architecture with random weights, the same in every call.
        device: where to put it.
    Returns:
        The network in eval mode, from images in [0, 1] to logits.
    Raises:
        NotFound: the board has no model of that name, or its checkpoint is not here and may not be fetched.
        DownloadFailed: its checkpoint could not be fetched.
        InvalidCheckpoint: the checkpoint file is not the one that the card describes, or that was verified before.
    """
    from model_zoo.checkpoints.safetensors import load_checkpoint

    other = published_card(model_name, dataset, threat_model)
    if other is not None:
        if not pretrained:
            return build_published(other).to(device)
        tell_licence(other)
        return _published(other, model_dir).to(device)
    entry = card(model_name, dataset, threat_model)
    if not pretrained:
        return build(entry.architecture, entry.dataset, entry.recipe.seed).eval().to(device)
    tell_licence(entry)
    path = bundled_checkpoint(entry)
    if model_dir is not None and (own := Path(model_dir) / path.name).is_file():
        path = own
    found = hashlib.sha256(path.read_bytes()).hexdigest()
    if found != entry.sha256:
        raise InvalidCheckpoint.because(
            path.name,
            found=f"sha256 {found}",
            expected=entry.sha256,
            remedy="the file is damaged or of another version: delete it, or install the package again",
        )
    return load_checkpoint(path, entry.architecture, entry.dataset).to(device)


def _published(entry: PublishedCard, model_dir: str | Path | None) -> nn.Module:
    """Load a published checkpoint from the caller's folder, or else from the cache, fetching it if need be."""
    from model_zoo.checkpoints.published import load_published_file
    from model_zoo.downloads.fetching import fetch_checkpoint

    own = Path(model_dir) / f"{entry.id}.safetensors" if model_dir is not None else None
    path = own if own is not None and own.is_file() else fetch_checkpoint(entry).path
    return load_published_file(entry, path)
