"""Whether the card of a published checkpoint is right about its network."""

from __future__ import annotations

from dataclasses import dataclass
from importlib import import_module, util

import torch
from torch import nn

from benchmark.errors import InvalidInput
from model_zoo.architectures.normalization import NORMALIZATIONS
from model_zoo.building import build_published
from model_zoo.checkpoints.published import network_key
from model_zoo.registry import PublishedCard

_ALONE = 1e-3
"""How far an image's answer may move with its neighbours, relative to the greatest answer; float32 leaves 1e-5."""


@dataclass(frozen=True)
class CardCheck:
    """What the network of a card turned out to be.

    Args:
        network: its class.
        parameters: number of trained parameters.
        keys: number of tensors that a checkpoint must have.
        classes: number of classes that it answers with.
    """

    network: str
    parameters: int
    keys: int
    classes: int


def check_published(card: PublishedCard) -> CardCheck:
    """Build the network of a card with random weights, ask it, and compare it with what the card says.

    Raises:
        InvalidInput: the card names no network here, its arguments do not fit, it counts other parameters, it renames
            or leaves out what is the network's, or answers are not a finite number for each class, of each image alone.
    """
    network = _built(card)
    parameters = sum(parameter.numel() for parameter in network.parameters())
    if parameters != card.parameters:
        raise InvalidInput.because(
            "parameters",
            found=f"{card.parameters:_}",
            expected=f"{parameters:_}, as {card.network} has with these arguments",
            remedy="correct the number, or the arguments",
        )
    _check_names(card, network)
    _check_answers(card, network)
    return CardCheck(card.network, parameters, len(network.state_dict()), card.classes)


def _built(card: PublishedCard) -> nn.Module:
    module = f"model_zoo.architectures.{card.module}"
    if util.find_spec(module) is None or not hasattr(import_module(module), card.network):
        raise InvalidInput.because(
            "network",
            found=f"{card.network} in {card.module}",
            expected="a class in a file of model_zoo/architectures",
            remedy="name one that is there, or add the file",
        )
    normalization = card.arguments.get("normalization", "none")
    if normalization not in NORMALIZATIONS:
        raise InvalidInput.because(
            "normalization",
            found=repr(normalization),
            expected=f"one of {', '.join(NORMALIZATIONS)}",
            remedy="add its statistics to model_zoo/architectures/normalization.py",
        )
    try:
        return build_published(card)
    except (TypeError, KeyError) as error:
        raise InvalidInput.because(
            "arguments",
            found=f"{dict(card.arguments)} ({error})",
            expected=f"arguments of {card.network}",
            remedy="correct them; the class's docstring tells what they are",
        ) from error


def _check_names(card: PublishedCard, network: nn.Module) -> None:
    kept = [key for key in network.state_dict() if not key.startswith(tuple(card.renamed))]
    lost = [key for key in kept if network_key(key, card) != key]
    if lost:
        raise InvalidInput.because(
            "unused",
            found=f"names that are the network's: {', '.join(lost[:3])}",
            expected="names of what nothing uses",
            remedy="take these out of unused and unused_endings; mu, sigma, mean, std and normalize.* are never read",
        )
    unknown = [here for here in card.renamed.values() if not any(key.startswith(here) for key in network.state_dict())]
    if unknown:
        raise InvalidInput.because(
            "renamed",
            found=", ".join(unknown),
            expected="beginnings of the network's names",
            remedy="write the file's beginning first, and the network's after the equals sign",
        )


def _check_answers(card: PublishedCard, network: nn.Module) -> None:
    x = torch.rand(2, 3, card.size, card.size, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        together, alone = network(x), network(x[:1])
    if together.shape != (2, card.classes) or not bool(torch.isfinite(together).all()):
        raise InvalidInput.because(
            "answers",
            found=f"shape {list(together.shape)}, {int(torch.isfinite(together).sum())} values of them finite",
            expected=f"shape [2, {card.classes}] for two images of {card.dataset}, all values finite",
            remedy=f"correct {card.network} or its arguments",
        )
    if (together[:1] - alone).abs().max() > _ALONE * together.abs().max():
        raise InvalidInput.because(
            "answers",
            found="an answer that changes with the other images of the batch",
            expected="answers of each image alone",
            remedy=f"remove what {card.network} computes over the batch",
        )
