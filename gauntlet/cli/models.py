"""Which model a command means: a file, or one of the zoo."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from benchmark.errors import InvalidInput

if TYPE_CHECKING:
    from torch import nn

    from benchmark.report import EvaluationReport
    from model_zoo.registry import Card, PublishedCard


@dataclass(frozen=True)
class Loaded:
    """A model and where it comes from.

    Args:
        network: the model, in eval mode.
        sha256: hash of its checkpoint.
        architecture: what it was loaded into.
        zoo_id: its id, where it was asked for by id.
        preprocessing: what its card says is done to images of other sizes first.
    """

    network: nn.Module
    sha256: str
    architecture: str
    zoo_id: str | None
    preprocessing: str | None = None


def load_named(model: str, dataset: str, threat_model: str, architecture: str | None) -> Loaded:
    """Load a checkpoint file or a model of the zoo.

    Raises:
        InvalidInput: there is no such file or id, or a file comes without its architecture.
        InvalidCheckpoint: the file does not fit.
    """
    from gauntlet.client import sha256_of
    from model_zoo import registry

    path = Path(model)
    if path.is_file():
        if architecture is None:
            raise _unnamed_architecture(dataset)
        from model_zoo.loading import load_submitted

        return Loaded(load_submitted(path, architecture, dataset), sha256_of(path), architecture, None)
    if path.suffix or path.name != model:
        raise InvalidInput.because(
            "model", found=f"no file at {model!r}", expected="a safetensors file or a zoo id", remedy="check the path"
        )
    published = registry.published_card(model, dataset, threat_model)
    if published is not None:
        return _fetched(published)
    card = registry.card(model, dataset, threat_model)

    from model_zoo import load_model

    network = load_model(model, dataset=dataset, threat_model=threat_model)
    return Loaded(network, sha256_of(registry.bundled_checkpoint(card)), card.architecture, card.id)


def _fetched(card: PublishedCard) -> Loaded:
    """Load a published checkpoint, fetching it where it is not in the cache."""
    from model_zoo.checkpoints.published import load_published_file
    from model_zoo.downloads.fetching import fetch_checkpoint
    from model_zoo.licences import tell_licence

    tell_licence(card)
    found = fetch_checkpoint(card)
    network = load_published_file(card, found.path)
    return Loaded(network, found.pin.safetensors, card.network, card.id, card.preprocessing)


def bundled_card(model_id: str, dataset: str, threat_model: str | None) -> Card:
    """Return the card of a model that comes along, on a board, or on any of its data set's.

    Raises:
        NotFound: there is none.
    """
    from model_zoo.registry import card, cards

    if threat_model is None:
        boards = [c.threat_models[0] for c in cards() if (c.id.casefold(), c.dataset) == (model_id.casefold(), dataset)]
        threat_model = boards[0] if boards else "Linf"
    return card(model_id, dataset, threat_model)


def load_reported(report: EvaluationReport, checkpoint: Path | None, architecture: str | None) -> nn.Module:
    """Load the very model that a report is about.

    Args:
        report: the report.
        checkpoint: its file; by default the model of the zoo with the recorded hash.
        architecture: where the report does not name it.
    Raises:
        InvalidInput: there is no file of the recorded hash, or nothing says into which architecture it belongs.
        InvalidCheckpoint: the file does not fit.
    """
    from gauntlet.client import sha256_of
    from model_zoo import registry
    from model_zoo.loading import load_submitted

    wanted, dataset = report.provenance.checkpoint_sha256, report.dataset
    if wanted is None or dataset is None:
        raise InvalidInput.because(
            "report", found="no checkpoint or no data set recorded", expected="a report of a checkpoint on a data set",
            remedy="reproduce a report that the command line or a service wrote",
        )  # fmt: skip
    cards = [card for card in registry.cards() if card.sha256 == wanted]
    if checkpoint is None:
        if not cards:
            raise InvalidInput.because(
                "checkpoint", found="nothing", expected=f"the file with sha256 {wanted}",
                remedy="name it with --checkpoint: no model of the zoo has this hash",
            )  # fmt: skip
        checkpoint = registry.bundled_checkpoint(cards[0])
    elif not checkpoint.is_file():
        raise InvalidInput.because(
            "checkpoint",
            found=f"no file at {str(checkpoint)!r}",
            expected="a safetensors file",
            remedy="check the path",
        )
    found = sha256_of(checkpoint)
    if found != wanted:
        raise InvalidInput.because(
            "checkpoint", found=f"sha256 {found}", expected=f"sha256 {wanted}",
            remedy="the report is about another file: name that one",
        )  # fmt: skip
    name = report.provenance.architecture or architecture or (cards[0].architecture if cards else None)
    if name is None:
        raise _unnamed_architecture(dataset)
    return load_submitted(checkpoint, name, dataset)


def _unnamed_architecture(dataset: str) -> InvalidInput:
    from model_zoo import registry

    known = ", ".join(name for name, entry in registry.ARCHITECTURES.items() if dataset in entry.datasets)
    return InvalidInput.because(
        "architecture", found="nothing", expected=f"one of {known}", remedy="name it with --architecture"
    )
