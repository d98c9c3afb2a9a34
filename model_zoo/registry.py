"""What the zoo holds: registered architectures and one card per model. Free of torch, for the service reads it."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from functools import cache
from pathlib import Path
from typing import Annotated

from pydantic import Field

from benchmark.datasets import CLASSES, SHAPES
from benchmark.errors import NotFound
from model_zoo.recipe import Measured, Part, Recipe, Text

_ROOM = Path(__file__).parent
_SHOWN_IDS = 12


@dataclass(frozen=True)
class ArchitectureEntry:
    """A network that a checkpoint can be loaded into.

    Args:
        name: what submissions and cards call it.
        datasets: the data sets whose images it takes.
        description: one line for people choosing.
        module: where the network's class is defined.
        network: name of that class.
        arguments: its arguments apart from the number of classes.
        parameters: number of trained parameters on its first data set.
    """

    name: str
    datasets: tuple[str, ...]
    description: str
    module: str
    network: str
    arguments: Mapping[str, bool | int]
    parameters: int


_ENTRIES = (
    ArchitectureEntry(
        name="digits_cnn",
        datasets=("digits",),
        description="two convolutions and two linear layers, no normalisation",
        module="model_zoo.architectures.digits_cnn",
        network="DigitsCnn",
        arguments={"width": 16},
        parameters=38_282,
    ),
    ArchitectureEntry(
        name="digits_resnet",
        datasets=("digits",),
        description="two pre-activation residual blocks with BatchNorm",
        module="model_zoo.architectures.digits_resnet",
        network="DigitsResNet",
        arguments={"width": 8},
        parameters=10_978,
    ),
    ArchitectureEntry(
        name="mnist_cnn",
        datasets=("mnist", "fashion-mnist"),
        description="two convolutions of stride 2 and two linear layers, no normalisation",
        module="model_zoo.architectures.mnist_cnn",
        network="MnistCnn",
        arguments={},
        parameters=166_406,
    ),
    ArchitectureEntry(
        name="preact_resnet18",
        datasets=("cifar10", "cifar100", "svhn"),
        description="ResNet-18 with BatchNorm before each convolution",
        module="model_zoo.architectures.resnet",
        network="PreActResNet",
        arguments={"final_norm": True},
        parameters=11_172_170,
    ),
    ArchitectureEntry(
        name="resnet18",
        datasets=("cifar10", "cifar100", "svhn"),
        description="ResNet-18 with a 3×3 stem",
        module="model_zoo.architectures.resnet",
        network="ResNet",
        arguments={"depth": 18},
        parameters=11_173_962,
    ),
    ArchitectureEntry(
        name="wrn_28_10",
        datasets=("cifar10", "cifar100", "svhn"),
        description="wide residual network of 28 layers and ten times the channels",
        module="model_zoo.architectures.wide_resnet",
        network="WideResNet",
        arguments={"depth": 28, "width": 10},
        parameters=36_479_194,
    ),
)
ARCHITECTURES: Mapping[str, ArchitectureEntry] = {entry.name: entry for entry in _ENTRIES}
"""Every registered architecture under its name."""


class Card(Part):
    """One model of the zoo: whose idea, which network, how trained, which file."""

    id: Annotated[str, Field(pattern=r"^[A-Za-z0-9_]{1,80}$")]
    dataset: Text
    threat_models: Annotated[tuple[Text, ...], Field(min_length=1)]
    """The boards of the data set that it is ranked on."""
    title: Text
    """The paper's title, or a plain name where there is no paper."""
    authors: Text
    venue: Text | None = None
    link: Annotated[str, Field(pattern=r"^https://\S+$", max_length=500)] | None = None
    architecture: Text
    recipe: Recipe
    measured: Measured | None = None
    sha256: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
    """Hash of the checkpoint file."""
    licence: Text
    permission: Text | None = None
    """Where its authors have agreed to its being listed and passed on."""
    extra_data: bool
    """Whether training saw more than the data set's training split."""
    footnote: Text | None = None
    baseline: bool = False
    """Whether it stands on the board only for comparison."""


class PublishedCard(Part):
    """A published checkpoint: whose it is, which network it fits, where it lies. It does not come along."""

    id: Annotated[str, Field(pattern=r"^[A-Za-z0-9_-]{1,80}$")]
    dataset: Text
    threat_model: Text
    """The board that it is ranked on."""
    title: Text
    authors: Text | None = None
    venue: Text | None = None
    link: Annotated[str, Field(pattern=r"^https?://\S+$", max_length=500)] | None = None
    module: Annotated[str, Field(pattern=r"^[a-z_]+$")]
    """Within `model_zoo.architectures`."""
    network: Annotated[str, Field(pattern=r"^[A-Za-z]+$")]
    """The class there."""
    arguments: Mapping[str, bool | int | float | str | tuple[int, ...]] = {}
    """Of the class, beside the number of classes."""
    parameters: Annotated[int, Field(gt=0)]
    """Number of trained parameters."""
    unused: tuple[Text, ...] = ()
    """Beginnings of keys that the checkpoint holds beside the network's, and that nothing uses."""
    unused_endings: tuple[Text, ...] = ()
    """Endings of such keys."""
    renamed: Mapping[Text, str] = {}
    """Beginnings of keys in the checkpoint, where they are not the network's, and what the network has for them."""
    google_drive: tuple[Text, ...] = ()
    """Ids of its files there: one, or one for each member of an ensemble, whose keys the network has under "models.0.",
    "models.1." and so on."""
    entries: tuple[Text, ...] = ()
    """Entries of the last of several files, where it holds several state dicts; its keys then begin with them."""
    hugging_face: Text | None = None
    """Its file on that hub, as "owner/repository@revision/path"."""
    url: Annotated[str, Field(pattern=r"^https://\S+$", max_length=500)] | None = None
    """Address of its file, where it lies elsewhere."""
    torchvision: Text | None = None
    """Name of the weights, where torchvision has them."""
    licence: Text | None = None
    """Of the checkpoint, by SPDX identifier where it has one; None where none is stated."""
    permission: Text | None = None
    """Where its authors have agreed to its being listed and passed on; None where that is unknown."""
    preprocessing: Text | None = None
    """What is done to images of other sizes first."""
    extra_data: bool | None = None
    """Whether training saw more than the data set's training split; None where that is unknown."""

    @property
    def classes(self) -> int:
        """Number of classes of its data set."""
        return CLASSES[self.dataset]

    @property
    def size(self) -> int:
        """Height and width of the images that its network takes."""
        return SHAPES[self.dataset][-1]


@cache
def cards() -> tuple[Card, ...]:
    """Return the cards of all models that come along, ordered by data set and id.

    Raises:
        ValueError: a card file is malformed, or lies elsewhere than its data set and id say.
    """
    found = []
    for path in sorted((_ROOM / "cards").glob("*/*.toml")):
        entry = Card.model_validate(tomllib.loads(path.read_text(encoding="utf-8")))
        if (path.parent.name, path.stem) != (entry.dataset, entry.id):
            raise ValueError(f"{path.parent.name}/{path.name}: holds the card of {entry.dataset}/{entry.id}")
        found.append(entry)
    return tuple(found)


def read_published(path: Path) -> PublishedCard:
    """Return the card of a published checkpoint in a file.

    Raises:
        ValueError: the file is no TOML, or fields are missing, unknown or malformed.
    """
    return PublishedCard.model_validate(tomllib.loads(path.read_text(encoding="utf-8")))


@cache
def published() -> tuple[PublishedCard, ...]:
    """Return the cards of all published checkpoints, ordered by data set, threat model and id.

    Raises:
        ValueError: a card file is malformed, or lies elsewhere than its board and id say.
    """
    found = []
    for path in sorted((_ROOM / "cards").glob("*/*/*.toml")):
        entry = read_published(path)
        place = (entry.dataset, entry.threat_model, entry.id)
        if (path.parent.parent.name, path.parent.name, path.stem) != place:
            raise ValueError(f"{path.relative_to(_ROOM)}: holds the card of {'/'.join(place)}")
        found.append(entry)
    return tuple(found)


def published_card(model_id: str, dataset: str, threat_model: str) -> PublishedCard | None:
    """Return the card of a published checkpoint on a board, its id in upper or lower case; None where there is none."""
    wanted = (dataset.casefold(), threat_model.casefold(), model_id.casefold())
    for entry in published():
        if (entry.dataset.casefold(), entry.threat_model.casefold(), entry.id.casefold()) == wanted:
            return entry
    return None


def card(model_id: str, dataset: str, threat_model: str) -> Card:
    """Return the card of a model that comes along, on a board.

    Args:
        model_id: id of the model, in upper or lower case.
        dataset: data set of the board.
        threat_model: threat model of the board.
    Raises:
        NotFound: the board has no model of that id; the message names the nearest.
    """
    wanted = (dataset.casefold(), threat_model.casefold())
    on_board = {entry.id.casefold(): entry for entry in cards() if wanted in _boards(entry)}
    if model_id.casefold() in on_board:
        return on_board[model_id.casefold()]
    raise NotFound.because(
        "model",
        found=f"{model_id} on {dataset}/{threat_model}",
        expected=f"one of {_listed(list_models(wanted[0], wanted[1]))}",
        remedy=_remedy(model_id, dataset, threat_model),
    )


def list_models(dataset: str | None = None, threat_model: str | None = None) -> tuple[str, ...]:
    """Return the ids of the zoo's models, all of them or those of a data set or threat model.

    Those that come along are first. An id stands once, though its checkpoints on several boards may differ.

    Args:
        dataset: in upper or lower case.
        threat_model: likewise.
    """
    found = {
        entry.id: None
        for entry in _everything()
        if any(
            (dataset is None or board[0] == dataset.casefold())
            and (threat_model is None or board[1] == threat_model.casefold())
            for board in _boards(entry)
        )
    }
    return tuple(found)


def bundled_checkpoint(entry: Card) -> Path:
    """Return where the checkpoint file of a card lies."""
    return _ROOM / "bundled" / f"{entry.id}.safetensors"


def bundled_report(entry: Card, threat_model: str) -> Path:
    """Return where the report of a model that comes along lies: what `standard` left of it on a board's points."""
    return _ROOM / "reports" / entry.dataset / threat_model / f"{entry.id}.json"


def architecture(name: str, dataset: str) -> ArchitectureEntry:
    """Return a registered architecture that takes the data set's images.

    Raises:
        NotFound: there is none of that name, or it does not fit.
    """
    fitting = [entry.name for entry in ARCHITECTURES.values() if dataset in entry.datasets]
    if name not in fitting:
        raise NotFound.because(
            "architecture",
            found=f"{name} for {dataset}",
            expected=f"one of {_listed(fitting)}",
            remedy="name a registered architecture that takes the data set's images",
        )
    return ARCHITECTURES[name]


def _everything() -> tuple[Card | PublishedCard, ...]:
    return (*cards(), *published())


def _shown_boards(entry: Card | PublishedCard) -> list[tuple[str, str]]:
    threat_models = (entry.threat_model,) if isinstance(entry, PublishedCard) else entry.threat_models
    return [(entry.dataset, threat_model) for threat_model in threat_models]


def _boards(entry: Card | PublishedCard) -> list[tuple[str, str]]:
    return [(dataset.casefold(), threat_model.casefold()) for dataset, threat_model in _shown_boards(entry)]


def _remedy(model_id: str, dataset: str, threat_model: str) -> str:
    if published_card(model_id, dataset, threat_model) is not None:
        return "its checkpoint does not come along: fetch it with load_model or gauntlet zoo fetch"
    elsewhere = [
        "/".join(board)
        for entry in _everything()
        if entry.id.casefold() == model_id.casefold()
        for board in _shown_boards(entry)
    ]
    if elsewhere:
        return f"use the board {' or '.join(elsewhere)}"
    ids = {entry.id.casefold(): entry.id for entry in _everything()}
    nearest = get_close_matches(model_id.casefold(), ids, n=1, cutoff=0.5)
    return f"did you mean {ids[nearest[0]]}?" if nearest else "list the zoo's models and choose one of them"


def _listed(names: Sequence[str]) -> str:
    """Join names for a message, the first few of many."""
    more = len(names) - _SHOWN_IDS
    shown = ", ".join(names[:_SHOWN_IDS]) or "none"
    return f"{shown} and {more} more" if more > 0 else shown
