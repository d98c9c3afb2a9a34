"""One attack over many models of a board, each model's result as soon as it is there."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from fnmatch import fnmatchcase
from pathlib import Path

import torch
from torch import Tensor, nn

from benchmark.dataset_table import DATASETS
from benchmark.datasets import LabelledPoints, load
from benchmark.ensemble import EvaluationProgress, Run
from benchmark.errors import ErrorDetail, EvaluationFailed, GauntletError, NotFound
from benchmark.own_attacks import OwnAttack
from benchmark.own_evaluation import OwnRun, evaluate_own
from benchmark.pipeline import Evaluation, evaluate_points, slot_width
from benchmark.protocols import Protocol
from benchmark.report import EvaluationReport, Points
from benchmark.threat_models import Board
from model_zoo.building import load_model
from model_zoo.checkpoints.published import load_published_file
from model_zoo.downloads.fetching import Fetcher, sha256_of
from model_zoo.licences import tell_licence
from model_zoo.registry import Card, PublishedCard, bundled_checkpoint, cards, published

Attack = Protocol | OwnAttack

_SHOWN_TEXT = 300


@dataclass(frozen=True)
class Candidate:
    """A model of a board whose checkpoint is at hand.

    Args:
        card: of the model.
        checkpoint: its file.
    """

    card: Card | PublishedCard
    checkpoint: Path

    @property
    def id(self) -> str:
        """The model's id."""
        return self.card.id

    def load(self, board: Board) -> nn.Module:
        """Load it from that very file, in eval mode.

        Raises:
            GauntletError: the file is not what its card says.
        """
        if isinstance(self.card, Card):
            return load_model(self.card.id, dataset=board.dataset, threat_model=board.threat_model)
        tell_licence(self.card)
        return load_published_file(self.card, self.checkpoint)

    def sha256(self) -> str:
        """Hash its file."""
        return sha256_of(self.checkpoint)


@dataclass(frozen=True)
class Choice:
    """The models of a board that can be attacked, and those that cannot.

    Args:
        candidates: models at hand, in the order of the zoo's list.
        left_out: ids of the others, with the reason.
    """

    candidates: tuple[Candidate, ...]
    left_out: dict[str, str]


@dataclass(frozen=True)
class Setting:
    """What all models of a run have in common.

    Args:
        board: the threat model is its.
        points: what is attacked.
        seed: of all random draws.
        batch_size: rows of a full batch; by default as for `evaluate`.
        device: where the models run.
        data_dir: folder of the data sets, as for `benchmark.datasets.load`.
    """

    board: Board
    points: LabelledPoints
    seed: int = 0
    batch_size: int | None = None
    device: torch.device = field(default_factory=lambda: torch.device("cpu"))
    data_dir: Path | None = None

    def seen_by(self, candidate: Candidate) -> Setting:
        """Return the setting with the images as a model wants them, where its card says what is done to them first."""
        wanted = candidate.card.preprocessing if isinstance(candidate.card, PublishedCard) else None
        if wanted in {None, DATASETS[self.board.dataset].preprocessing}:
            return self
        index = self.points.index
        points = load(self.board.dataset, "test", index=index, data_dir=self.data_dir, preprocessing=wanted)
        return replace(self, points=points)


@dataclass(frozen=True)
class Trial:
    """What came of an attack on one model: a report, or an error, which says nothing of the model's robustness.

    Args:
        model: its id.
        report: of the attack alone.
        error: why there is none.
        compared: report of the ensemble that was run beside it, where one was asked for.
        x_adv: the judged example of each point, else the clean image, (n, c, h, w); None where the report is an earlier
            run's.
    """

    model: str
    report: EvaluationReport | None = None
    error: GauntletError | None = None
    compared: EvaluationReport | None = None
    x_adv: Tensor | None = None


@dataclass(frozen=True)
class Overlap:
    """Where an attack and another evaluation of the same model part.

    Args:
        newly_broken: positions of points that the other had left robust and the attack broke.
        missed: positions of points that the other broke and the attack left robust.
        robust: points that the other left robust, of those that the attack was run on.
        standard: points that the other found classified correctly, of the same.
    """

    newly_broken: tuple[int, ...]
    missed: tuple[int, ...]
    robust: int
    standard: int


def choose(
    board: Board,
    patterns: Sequence[str] = (),
    folders: Sequence[Path] = (),
    fetch: Callable[[PublishedCard], Path] | None = None,
) -> Choice:
    """Return the models of a board whose checkpoints come along, lie in one of some folders, or are in the cache.

    Args:
        board: which one.
        patterns: ids, in upper or lower case, or shell patterns such as "Digits_PGD*"; all models by default.
        folders: searched in this order for ``<id>.safetensors``, before the cache.
        fetch: asked for checkpoints that are not at hand; by default these models are left out.
    Raises:
        NotFound: a pattern fits no model of the board, or no checkpoint is at hand.
    """
    everything: list[Card | PublishedCard] = [*cards(), *published()]
    on_board = [card for card in everything if _is_on(card, board)]
    for pattern in patterns:
        if not any(_fits(card.id, pattern) for card in on_board):
            raise NotFound.because(
                "models", found=pattern, expected=f"a model of {board.name}, or a pattern that fits one",
                remedy="see gauntlet zoo list",
            )  # fmt: skip
    candidates, left_out = [], {}
    for card in on_board:
        if not patterns or any(_fits(card.id, pattern) for pattern in patterns):
            candidate = _candidate(card, folders, fetch)
            if isinstance(candidate, Candidate):
                candidates.append(candidate)
            else:
                left_out[card.id] = candidate
    if not candidates:
        first = next(iter(left_out.values()), "the board has none")
        raise NotFound.because(
            "models", found=f"no checkpoint of {len(left_out)} models: {first}", expected="one at hand",
            remedy="fetch some with gauntlet zoo fetch, or name a folder of <id>.safetensors with --model-dir",
        )  # fmt: skip
    return Choice(tuple(candidates), left_out)


def attack_models(
    candidates: Iterable[Candidate],
    attack: Attack,
    setting: Setting,
    *,
    compared_with: Protocol | None = None,
    known: Callable[[Candidate], Trial | None] | None = None,
    progress: Callable[[str, EvaluationProgress], None] | None = None,
) -> Iterator[Trial]:
    """Run one attack over models, and yield what came of each.

    A model that cannot be loaded and an attack that fails on it become a trial with an error, and the next model's turn
    comes. A built-in attack gives each model the verdicts that `evaluate` gives it.

    Args:
        candidates: the models.
        attack: a protocol, which may be of one attack or of several; or somebody's own.
        setting: points, seed, batch and device.
        compared_with: an ensemble that is run on each model too.
        known: asked before a model is loaded for what came of it earlier, which is then taken as it is.
        progress: told the model's id and how far its evaluation is; what it raises counts as the model's failure.
    """
    for candidate in candidates:

        def tell(standing: EvaluationProgress, model: str = candidate.id) -> None:
            if progress is not None:
                progress(model, standing)

        earlier = known(candidate) if known is not None else None
        yield earlier or _trial(candidate, attack, setting, compared_with, tell)


def overlap(report: EvaluationReport, points: Points) -> Overlap | None:
    """Compare an attack's verdicts with another evaluation's; None where that does not hold all of the points."""
    others = dict(zip(points.index, points.broken_by, strict=True))
    labels = dict(zip(points.index, points.label, strict=True))
    ours = report.points
    rows = list(zip(ours.index, ours.broken_by, strict=True))
    if any(labels.get(index) != label for index, label in zip(ours.index, ours.label, strict=True)):
        return None
    return Overlap(
        newly_broken=tuple(i for i, by in rows if others[i] is None and by not in {None, "clean"}),
        missed=tuple(i for i, by in rows if others[i] not in {None, "clean"} and by is None),
        robust=sum(others[i] is None for i, _ in rows),
        standard=sum(others[i] != "clean" for i, _ in rows),
    )


def _trial(
    candidate: Candidate,
    attack: Attack,
    setting: Setting,
    compared_with: Protocol | None,
    progress: Callable[[EvaluationProgress], None],
) -> Trial:
    try:
        network = candidate.load(setting.board).to(setting.device)
        sha256 = candidate.sha256()
        setting = setting.seen_by(candidate)
    except Exception as error:  # noqa: BLE001 - one model's fault must not end the others' turn
        return Trial(candidate.id, error=_as_failure("model", "could not be loaded", error))
    try:
        found = _evaluated(network, sha256, attack, setting, progress)
        other = None if compared_with is None else _evaluated(network, sha256, compared_with, setting, progress)
    except Exception as error:  # noqa: BLE001 - likewise; whoever interrupts raises none of these
        return Trial(candidate.id, error=_as_failure("attack", "could not be run", error))
    return Trial(candidate.id, found.report, compared=other.report if other else None, x_adv=found.x_adv)


def _evaluated(
    network: nn.Module,
    sha256: str,
    attack: Attack,
    setting: Setting,
    progress: Callable[[EvaluationProgress], None],
) -> Evaluation:
    x, y = setting.points.x.to(setting.device), setting.points.y.to(setting.device)
    width = slot_width(setting.batch_size, network, x)
    budget, index = setting.board.budget, setting.points.index
    if isinstance(attack, OwnAttack):
        own = OwnRun(attack, budget, setting.seed, width, setting.device, sha256)
        return evaluate_own(network, x, y, index, own, progress=progress)
    run = Run(budget, attack, setting.seed, width, setting.device, sha256)
    return evaluate_points(network, x, y, index, run, progress=progress)


def _as_failure(field_name: str, what: str, error: Exception) -> GauntletError:
    # Whoever keeps an error keeps the model and the batch with it, unless what led to it is let go.
    error.__traceback__ = error.__cause__ = error.__context__ = None
    if isinstance(error, GauntletError):
        return error
    found = " ".join(f"{type(error).__name__}: {error}".split())[:_SHOWN_TEXT]
    return EvaluationFailed(
        f"The {field_name} {what}: {found}",
        ErrorDetail(field_name, found, "no error", "see what it says; the other models were tried all the same"),
    )


def _candidate(
    card: Card | PublishedCard, folders: Sequence[Path], fetch: Callable[[PublishedCard], Path] | None
) -> Candidate | str:
    """Return the model with its file, or why there is none."""
    if isinstance(card, Card):
        return Candidate(card, bundled_checkpoint(card))
    for folder in folders:
        path = folder / f"{card.id}.safetensors"
        if path.is_file():
            return Candidate(card, path)
    fetched = Fetcher().cached(card)
    if fetched is not None:
        return Candidate(card, fetched.path)
    if fetch is None:
        return " nor ".join(("it is neither in the cache", *(f"in {folder}" for folder in folders or ("a folder",))))
    try:
        return Candidate(card, fetch(card))
    except GauntletError as error:
        return error.message


def _is_on(card: Card | PublishedCard, board: Board) -> bool:
    threat_models = card.threat_models if isinstance(card, Card) else (card.threat_model,)
    return card.dataset == board.dataset and board.threat_model in threat_models


def _fits(model_id: str, pattern: str) -> bool:
    return fnmatchcase(model_id.casefold(), pattern.casefold())
