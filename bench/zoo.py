"""Compare the zoo's networks of published checkpoints with another implementation; the result is a page.

    python -m pip install --no-deps --target PEER robustbench timm pandas requests torchdiffeq tqdm
    python -m bench.zoo --peer PEER

Both sides get the same random state dict and the same images, in one process with one thread. What the peer imports and
does not need to build a network is stood in for; it reads no checkpoint and downloads none. The networks that it would
download weights for are compared with torchvision's.
"""

from __future__ import annotations

import argparse
import gc
import json
import sys
import time
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib import import_module
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from importlib.metadata import version
from pathlib import Path
from types import ModuleType
from typing import Any

import torch
from torch import Tensor, nn

from bench.families import with_statistics
from model_zoo.architectures.normalization import normalization
from model_zoo.architectures.torchvision_models import models
from model_zoo.building import build_published
from model_zoo.registry import PublishedCard, published

PAGE = Path(__file__).resolve().parents[1] / "docs/benchmarks/zoo.md"
TOLERANCE = 1e-4
"""Greatest difference of logits, relative to the greatest logit."""
SIZES = {"cifar10": 32, "cifar100": 32, "imagenet": 224}
STOOD_IN = ("autoattack", "gdown", "geotorch", "pkg_resources", "wandb")
DOWNLOADED = "Standard_R50"
"""The id for which the peer downloads weights while it builds the network."""
IMAGES = 2

Peer = Callable[[str], nn.Module]


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


@dataclass(frozen=True)
class Parity:
    """What became of one model.

    Args:
        model: data set, threat model and id.
        network: class and arguments.
        parameters: trained ones.
        keys: entries of the state dict, on both sides.
        difference: greatest of all logits.
        scale: greatest logit of the peer's.
        against: whose network it was compared with.
    """

    model: str
    network: str
    parameters: int
    keys: int
    difference: float
    scale: float
    against: str

    @property
    def relative(self) -> float:
        return self.difference / self.scale


def peer_networks(folder: Path) -> Peer:
    """Return what builds the peer's network of a model."""
    models("resnet")  # so that the peer can import torchvision
    sys.path.insert(0, str(folder))
    sys.meta_path.append(_StandIns())
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model_dicts = import_module("robustbench.model_zoo.models").model_dicts
    boards = {
        (dataset.value, threat_model.value): entries
        for dataset, board in model_dicts.items()
        for threat_model, entries in board.items()
    }

    def build(model: str) -> nn.Module:
        dataset, threat_model, model_id = model.split("/")
        network: nn.Module = boards[dataset, threat_model][model_id]["model"]()
        return network

    return build


def torchvision_network(_model: str) -> nn.Module:
    """Return torchvision's ResNet-50 behind the usual normalisation."""
    return nn.Sequential(normalization("imagenet"), models("resnet").resnet50())


def compare(card: PublishedCard, build: Peer, against: str) -> Parity:
    """Give both sides the peer's random weights, and compare their logits.

    Raises:
        ValueError: the keys or the shapes of the two state dicts differ.
    """
    model = f"{card.dataset}/{card.threat_model}/{card.id}"
    torch.manual_seed(0)
    peer = with_statistics(build(model).eval())
    theirs = _weights(peer, card.unused)
    ours = build_published(card)
    expected = {key: tuple(value.shape) for key, value in ours.state_dict().items()}
    found = {key: tuple(value.shape) for key, value in theirs.items()}
    if found != expected:
        raise ValueError(f"{model}: {sorted(found.items() ^ expected.items())[:4]}")
    ours.load_state_dict(theirs, assign=True)
    size = SIZES[card.dataset]
    x = torch.rand(IMAGES, 3, size, size, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        right, left = peer(x), ours(x)
    arguments = ", ".join(f"{name}={value}" for name, value in card.arguments.items())
    return Parity(
        model=model,
        network=f"{card.network}({arguments})",
        parameters=card.parameters,
        keys=len(expected),
        difference=float((left - right).abs().max()),
        scale=float(right.abs().max()),
        against=against,
    )


def _weights(peer: nn.Module, unused: Sequence[str]) -> dict[str, Tensor]:
    """Return the peer's state dict without constants, without what nothing uses and without its wrappers' prefixes."""
    found = {}
    for key, value in peer.state_dict().items():
        name = key.removeprefix("model.").removeprefix("1.")
        constant = name in {"mu", "sigma"} or name.startswith("normalize.")
        doubled = name.startswith("branch")  # the members of the ensemble once more, under a second name
        if not (constant or doubled or name.startswith(tuple(unused))):
            found[name] = value
    return found


def page(results: Sequence[Parity]) -> str:
    """Write the page."""
    worst = max(results, key=lambda result: result.relative)
    agreeing = sum(result.relative <= TOLERANCE for result in results)
    closer = sum(result.difference <= TOLERANCE for result in results)
    rest = ", ".join(
        f"{result.model} (logits up to {result.scale:.2g})" for result in results if result.difference > TOLERANCE
    )
    rows = "\n".join(
        f"| {result.model} | `{result.network}` | {result.parameters:,} | {result.keys} | {result.difference:.1e} | "
        f"{result.scale:.2g} | {result.against} |"
        for result in results
    )
    return f"""# The zoo's networks and their peers

One command builds the network of every published checkpoint that has a card, twice: ours, and that of the package
`robustbench` {version("robustbench")}, which nothing here depends on. Both get one random state dict, BatchNorm's
statistics included, and the same {IMAGES} images. All 98 models that the tables of the RobustBench paper name are among
them:

```
python -m pip install --no-deps --target PEER robustbench timm pandas requests torchdiffeq tqdm
python -m bench.zoo --peer PEER
```

torch {torch.__version__}, one thread, float32.

- **{agreeing} of {len(results)} agree within {TOLERANCE:g} of the greatest logit**; the greatest such difference is
  {worst.relative:.1e}, of {worst.model}. Absolutely, {closer} agree within {TOLERANCE:g}; the others: {rest or "none"}.
- **Keys and shapes** are equal in all of them, the constants of the normalisation aside, which are no part of our state
  dicts, and blocks that published checkpoints hold though nothing uses them.
- The peer downloads weights as it builds `{DOWNLOADED}`, so that one is compared with torchvision's network.

| model | our network | parameters | keys | greatest difference of logits | greatest logit | compared with |
|---|---|---|---|---|---|---|
{rows}
"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Compare, write the page, and say whether all agree."""
    parser = argparse.ArgumentParser(prog="python -m bench.zoo", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--peer", type=Path, required=True, help="folder with the package robustbench")
    parser.add_argument(
        "--models", nargs="+", help="as data set, threat model and id with slashes between; default all"
    )
    parser.add_argument("--json", type=Path, help="write the numbers there, and no page")
    chosen = parser.parse_args(arguments)
    torch.set_num_threads(1)
    build = peer_networks(chosen.peer)
    results = []
    for card in published():
        if chosen.models is not None and f"{card.dataset}/{card.threat_model}/{card.id}" not in chosen.models:
            continue
        began = time.perf_counter()
        if card.id == DOWNLOADED:
            results.append(compare(card, torchvision_network, "torchvision"))
        else:
            results.append(compare(card, build, "robustbench"))
        seconds = time.perf_counter() - began
        print(f"{results[-1].model}: {results[-1].difference:.1e} in {seconds:.0f} s", file=sys.stderr)
        gc.collect()
    if chosen.json is not None:
        chosen.json.write_text(json.dumps([vars(result) for result in results], indent=1) + "\n", encoding="utf-8")
    elif chosen.models is None:
        PAGE.write_text(page(results), encoding="utf-8")
    return 0 if all(result.relative <= TOLERANCE for result in results) else 1


if __name__ == "__main__":
    raise SystemExit(main())
