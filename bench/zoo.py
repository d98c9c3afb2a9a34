"""Compare the zoo's networks of published checkpoints with another implementation; the numbers go into a table.

    python -m pip install --no-deps --target PEER robustbench timm==1.0.9 torchdiffeq geotorch pandas requests tqdm \
        pyyaml huggingface_hub filelock
    python -m bench.zoo --peer PEER

Both sides get the same random state dict and the same images, in one process with one thread. What the peer imports and
does not need to build a network is stood in for; it reads no checkpoint and downloads none. The networks that it would
download weights for are compared with torchvision's.
"""

from __future__ import annotations

import argparse
import gc
import re
import sys
import time
import warnings
from collections import OrderedDict
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, redirect_stdout
from functools import partial
from importlib import import_module
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from importlib.metadata import version
from io import StringIO
from pathlib import Path
from types import ModuleType
from typing import Any
from unittest.mock import patch

import torch
from torch import Tensor, nn

from bench.zoo_table import Parity, Table, described, merged, place, read_table, write_table
from model_zoo.architectures.normalization import normalization
from model_zoo.architectures.torchvision_models import models
from model_zoo.building import build_published
from model_zoo.checkpoints.published import network_key
from model_zoo.registry import PublishedCard, published

STOOD_IN = ("autoattack", "gdown", "pkg_resources", "wandb")
DOWNLOADED = "Standard_R50"
"""The id for which the peer downloads weights while it builds the network."""
IMAGES = 2

Make = Callable[[], nn.Module]
Peer = Callable[[PublishedCard], Make | None]
"""What makes the peer's network of a card; None where the peer has none."""


class _StandIn(ModuleType):
    __path__: list[str] = []  # noqa: RUF012 - a module's own

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return type(name, (), {})


class _StandIns(MetaPathFinder, Loader):
    """Finds a module of nothing for what the peer imports and does not need."""

    def find_spec(self, fullname: str, path: object = None, target: object = None) -> ModuleSpec | None:
        return ModuleSpec(fullname, self, is_package=True) if fullname.partition(".")[0] in STOOD_IN else None

    def create_module(self, spec: ModuleSpec) -> ModuleType:
        return _StandIn(spec.name)

    def exec_module(self, module: ModuleType) -> None:
        """There is nothing to run."""


def peer_networks(folder: Path) -> Peer:
    """Return the peer's networks.

    The peer looks first whether timm has an entry of the model's name. An id that it does not have may be one of
    another board, listed twice: the one with the same file.
    """
    models("resnet")  # so that the peer can import torchvision
    sys.path.insert(0, str(folder))
    sys.meta_path.append(_StandIns())
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model_dicts = import_module("robustbench.model_zoo.models").model_dicts
    timm = import_module("timm")
    boards = {
        (dataset.value, threat_model.value): entries
        for dataset, board in model_dicts.items()
        for threat_model, entries in board.items()
    }
    by_file = {str([entry["gdrive_id"]]): entry["model"] for board in boards.values() for entry in board.values()}

    def network(card: PublishedCard) -> Make | None:
        name = f"{card.id}_{card.dataset}_{card.threat_model}".lower().replace("-", "_")
        if timm.is_model(name):
            return partial(timm.create_model, name, num_classes=card.classes)
        entry = boards[card.dataset, card.threat_model].get(card.id)
        make: Make | None = by_file.get(str(list(card.google_drive))) if entry is None else entry["model"]
        return make

    return network


@contextmanager
def on_cpu() -> Iterator[None]:
    """Let tensors stay where they are when they are told to move to a GPU, as one of the peer's networks tells some."""
    with patch.object(Tensor, "cuda", lambda tensor: tensor), redirect_stdout(StringIO()):
        yield


def torchvision_network() -> nn.Module:
    """Return torchvision's ResNet-50 behind the usual normalisation."""
    return nn.Sequential(OrderedDict(normalize=normalization("imagenet"), model=models("resnet").resnet50()))


def compare(card: PublishedCard, make: Make, against: str) -> Parity:
    """Give both sides the peer's random weights, and compare their logits of each image by itself.

    Raises:
        ValueError: the keys or the shapes of the two state dicts differ.
    """
    torch.manual_seed(0)
    with warnings.catch_warnings(), on_cpu():
        warnings.simplefilter("ignore")
        peer = drawn(make().eval(), card.size)
    theirs = _weights(peer, card)
    ours = build_published(card)
    expected = {key: tuple(value.shape) for key, value in ours.state_dict().items()}
    found = {key: tuple(value.shape) for key, value in theirs.items()}
    if found != expected:
        raise ValueError(f"{place(card)}: {sorted(found.items() ^ expected.items())[:4]}")
    ours.load_state_dict(theirs, assign=True)
    x = torch.rand(IMAGES, 3, card.size, card.size, generator=torch.Generator().manual_seed(1))
    with torch.no_grad(), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        right, left = (torch.cat([network(image[None]) for image in x]) for network in (peer, ours))
    return Parity(
        model=place(card),
        network=described(card),
        keys=len(expected),
        difference=float((left - right).abs().max()),
        scale=float(right.abs().max()),
        spread=float((right[0] - right[1]).abs().max()),
        against=against,
    )


def drawn(network: nn.Module, size: int) -> nn.Module:
    """Give a fresh network what it has no random numbers for, so that each of its parts has a say.

    Parameters that are all equal are drawn, and BatchNorm gets the statistics of a few images: with others, the answers
    of a deep network would hardly depend on the image.
    """
    norms = [module for module in network.modules() if isinstance(module, nn.BatchNorm1d | nn.BatchNorm2d)]
    with torch.no_grad():
        for name, parameter in network.named_parameters():
            constant = not parameter.requires_grad or name.endswith((".mean", ".std"))
            if not constant and parameter.min() == parameter.max():
                parameter.add_(0.1 * torch.randn(parameter.shape))
        if norms:
            for norm in norms:
                norm.train().momentum = 1.0
            network(torch.rand(2 * IMAGES, 3, size, size))
        for norm in norms:
            norm.eval()
        for module in network.modules():
            buffers = dict(module.named_buffers(recurse=False))
            if "threshold" in buffers:  # a layer that sets features near their mean to it
                buffers["running_mean"].normal_(0, 0.1)
                buffers["running_var"].uniform_(0.5, 1.5)
                buffers["threshold"].fill_(0.2)
    return network


def _weights(peer: nn.Module, card: PublishedCard) -> dict[str, Tensor]:
    """Return the peer's state dict under the network's names."""
    found = {}
    for key, value in _published_names(peer).items():
        if key.startswith(("branch", "_comp_model.")):  # the members of an ensemble once more, under a second name
            continue
        name = network_key(key.removeprefix("comp_model."), card)
        if name is not None:
            found[name] = value
    return found


def _published_names(peer: nn.Module) -> dict[str, Tensor]:
    """Return the peer's state dict under the names that the published files have.

    They differ where timm has renamed layers of Swin transformers since; its own function from the files' names to
    today's is asked whether these are the files'.
    """
    state = peer.state_dict()
    for prefix, module in peer.named_modules():
        if type(module).__module__ != "timm.models.swin_transformer" or type(module).__name__ != "SwinTransformer":
            continue
        renamed = {_older(key): value for key, value in module.state_dict().items()}
        today = import_module("timm.models.swin_transformer").checkpoint_filter_fn(dict(renamed), module)
        if set(today) != set(module.state_dict()):
            raise ValueError(
                f"{prefix}: timm takes the files' names for others: {sorted(set(today) ^ set(renamed))[:4]}"
            )
        others = {key: value for key, value in state.items() if not key.startswith(f"{prefix}.")}
        state = others | {f"{prefix}.{key}": value for key, value in renamed.items()}
    return state


def _older(key: str) -> str:
    """Return the name that a Swin transformer's parameter had before layers that merge patches moved one stage on."""
    key = re.sub(r"^layers\.(\d+)\.downsample", lambda found: f"layers.{int(found[1]) - 1}.downsample", key)
    return key.replace("head.fc.", "head.")


def main(arguments: Sequence[str] | None = None) -> int:
    """Compare, keep the numbers, and say whether all agree."""
    parser = argparse.ArgumentParser(prog="python -m bench.zoo", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--peer", type=Path, required=True, help="folder with the package robustbench")
    parser.add_argument(
        "--models",
        nargs="+",
        default=[""],
        help="those whose data set, threat model and id, with slashes between, begin so; default all",
    )
    chosen = parser.parse_args(arguments)
    torch.set_num_threads(1)
    peer = peer_networks(chosen.peer)
    versions = {name: version(name) for name in ("robustbench", "timm", "torch")}
    old = read_table()
    known = old.results if old.versions == versions else ()
    results: list[Parity] = []
    for card in published():
        if not place(card).startswith(tuple(chosen.models)):
            continue
        make = torchvision_network if card.id == DOWNLOADED else peer(card)
        if make is None:
            print(f"{place(card)}: the peer has no such network", file=sys.stderr, flush=True)
            continue
        began = time.perf_counter()
        results.append(compare(card, make, "torchvision" if card.id == DOWNLOADED else "robustbench"))
        seconds = time.perf_counter() - began
        result = results[-1]
        told = f"{result.model}: {result.relative:.1e}, spread {result.spread / result.scale:.1e}, {seconds:.0f} s"
        print(told, file=sys.stderr, flush=True)
        write_table(Table(versions, merged(known, results)))
        gc.collect()
    return 0 if all(result.agrees for result in results) else 1


if __name__ == "__main__":
    raise SystemExit(main())
