"""One attack over many models: each gets the verdicts that it gets alone, and no failure counts as robustness."""

from __future__ import annotations

import gc
import weakref
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from benchmark import datasets
from benchmark.datasets import LabelledPoints
from benchmark.ensemble import EvaluationProgress
from benchmark.errors import EvaluationFailed, InvalidCheckpoint, NotFound
from benchmark.own_attacks import OwnAttack
from benchmark.pipeline import evaluate
from benchmark.protocols import protocol_named
from benchmark.report import EvaluationReport, Points
from benchmark.threat_models import official_board
from model_zoo.building import build_published, load_model
from model_zoo.registry import Card, PublishedCard, bundled_report, card, cards, published_card
from model_zoo.testbed import Candidate, Setting, Trial, attack_models, choose, overlap

BOARD = official_board("digits", "Linf")
POINTS = datasets.load("digits", "test", 40)
SETTING = Setting(BOARD, POINTS, batch_size=16)
SHORT = protocol_named("apgd-ce(steps=5)")
PUBLISHED = official_board("cifar10", "Linf")
IMAGES = LabelledPoints(
    torch.rand(8, 3, 32, 32, generator=torch.Generator().manual_seed(0)), torch.arange(8), tuple(range(8))
)

ON_BOARDS = [
    (entry, threat_model)
    for entry in cards()
    for threat_model in entry.threat_models
    if official_board(entry.dataset, threat_model).attacked
]
REPORTED = pytest.mark.parametrize(("entry", "threat_model"), ON_BOARDS, ids=lambda value: getattr(value, "id", value))


def own(function: Callable[..., object]) -> OwnAttack:
    return OwnAttack.of(function, "mine.py:attack")


def reported(trial: Trial) -> EvaluationReport:
    assert trial.error is None
    assert trial.report is not None
    return trial.report


def test_a_built_in_attack_gives_every_model_the_verdicts_of_an_evaluation() -> None:
    told: list[tuple[str, EvaluationProgress]] = []
    trials = list(
        attack_models(choose(BOARD).candidates, SHORT, SETTING, progress=lambda *standing: told.append(standing))
    )
    assert [trial.model for trial in trials] == [entry.id for entry in cards() if "Linf" in entry.threat_models]
    assert [model for model, _ in told if model == trials[0].model]
    assert {model for model, _ in told} == {trial.model for trial in trials}
    for trial in trials:
        model = load_model(trial.model, dataset="digits", threat_model="Linf")
        alone = evaluate(
            model, POINTS.x, POINTS.y, BOARD.budget, protocol=SHORT.label, batch_size=16, diagnostics=False
        )
        report = reported(trial)
        assert report.points == alone.report.points
        assert trial.x_adv is not None
        assert torch.equal(trial.x_adv, alone.x_adv)
        (ours,), (theirs,) = report.attacks, alone.report.attacks
        assert ours.model_copy(update={"seconds": 0.0}) == theirs.model_copy(update={"seconds": 0.0})
        assert report.provenance.checkpoint_sha256 in {entry.sha256 for entry in cards() if entry.id == trial.model}


def test_an_attack_that_fails_on_one_model_is_run_on_the_others() -> None:
    calls: list[int] = []

    def second(model: nn.Module, x: Tensor, y: Tensor) -> Tensor:
        calls.append(len(x))
        if len(calls) == 4:  # the first batch of the second model
            raise ValueError("not this one")
        return x

    trials = list(attack_models(choose(BOARD).candidates, own(second), SETTING))
    assert [trial.error is None for trial in trials] == [True, False, True, True, True]
    assert trials[1].report is None
    assert isinstance(trials[1].error, EvaluationFailed)
    assert "ValueError: not this one" in trials[1].error.message


def test_an_error_does_not_keep_the_model() -> None:
    seen: list[weakref.ref[nn.Module]] = []

    def raises(model: nn.Module, x: Tensor, y: Tensor) -> Tensor:
        seen.append(weakref.ref(model))
        raise ValueError

    trials = list(attack_models(choose(BOARD, ["Digits_PGD2"]).candidates, own(raises), SETTING))
    gc.collect()
    assert [trial.error is not None for trial in trials] == [True]
    assert [model() for model in seen] == [None]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """One published checkpoint, and one that is damaged."""
    entry = published_card("Wong2020Fast", "cifar10", "Linf")
    assert entry is not None
    save_file(build_published(entry).state_dict(), tmp_path / f"{entry.id}.safetensors")
    (tmp_path / "Andriushchenko2020Understanding.safetensors").write_bytes(bytes(100))
    return tmp_path


def test_published_models_are_tried_where_their_checkpoint_is(folder: Path) -> None:
    choice = choose(PUBLISHED, folders=[folder / "nothing", folder])
    assert [candidate.id for candidate in choice.candidates] == ["Andriushchenko2020Understanding", "Wong2020Fast"]
    assert "Carmon2019Unlabeled" in choice.left_out
    why = f"it is neither in the cache nor in {folder / 'nothing'} nor in {folder}"
    assert choice.left_out["Carmon2019Unlabeled"] == why

    damaged, sound = attack_models(choice.candidates, protocol_named("fgsm"), Setting(PUBLISHED, IMAGES))
    assert isinstance(damaged.error, InvalidCheckpoint)
    assert damaged.report is None
    report = reported(sound)
    assert (report.n_points, report.epsilon) == (8, "8/255")
    assert report.provenance.checkpoint_sha256 == choice.candidates[1].sha256()


def test_a_file_that_vanishes_is_the_models_own_failure(folder: Path) -> None:
    choice = choose(PUBLISHED, ["Wong2020Fast"], [folder])
    (folder / "Wong2020Fast.safetensors").unlink()
    (trial,) = attack_models(choice.candidates, SHORT, Setting(PUBLISHED, IMAGES))
    assert trial.report is None
    assert isinstance(trial.error, EvaluationFailed)
    assert trial.error.message.startswith("The model could not be loaded: FileNotFoundError")


def test_checkpoints_that_are_not_at_hand_are_fetched_where_that_is_asked_for(folder: Path) -> None:
    asked: list[str] = []

    def fetch(card: PublishedCard) -> Path:
        asked.append(card.id)
        if card.id == "Rice2020Overfitting":
            raise InvalidCheckpoint("It is another file than was pinned.")
        return folder / "Wong2020Fast.safetensors"

    patterns = ["Wong2020Fast", "Rice2020Overfitting", "Sehwag2021Proxy_R18"]
    choice = choose(PUBLISHED, patterns, [folder], fetch)
    assert asked == ["Rice2020Overfitting", "Sehwag2021Proxy_R18"]
    assert [candidate.id for candidate in choice.candidates] == ["Sehwag2021Proxy_R18", "Wong2020Fast"]
    assert choice.left_out == {"Rice2020Overfitting": "It is another file than was pinned."}
    choose(BOARD, fetch=fetch)
    assert len(asked) == 2


def test_models_are_chosen_by_id_or_pattern() -> None:
    def chosen(*patterns: str) -> list[str]:
        return [candidate.id for candidate in choose(BOARD, patterns).candidates]

    assert chosen("digits_pgd2") == ["Digits_PGD2"]
    assert chosen("Digits_PGD*") == ["Digits_PGD10", "Digits_PGD2"]
    assert chosen("*_RS", "Digits_Standard") == ["Digits_FGSM_RS", "Digits_Standard"]


@pytest.mark.parametrize("patterns", [["Digits_PGD10_L2"], ["Digits_PGD10", "digits"], [""]])
def test_a_pattern_that_fits_no_model_of_the_board_is_refused(patterns: list[str]) -> None:
    with pytest.raises(NotFound) as refused:
        choose(BOARD, patterns)
    assert refused.value.detail is not None
    assert (refused.value.detail.field, refused.value.detail.found) == ("models", patterns[-1])


def test_a_board_without_a_checkpoint_is_refused(tmp_path: Path) -> None:
    for folders in ([], [tmp_path]):
        with pytest.raises(NotFound, match=r"no checkpoint of \d+ models"):
            choose(PUBLISHED, folders=folders)


def test_what_is_known_already_is_not_run_again() -> None:
    candidates = choose(BOARD, ["Digits_FGSM*"]).candidates
    (first, _) = attack_models(candidates, SHORT, SETTING)

    def known(candidate: Candidate) -> Trial | None:
        return first if candidate.id == first.model else None

    calls: list[str] = []
    again, other = attack_models(candidates, SHORT, SETTING, known=known, progress=lambda model, _: calls.append(model))
    assert again is first
    assert set(calls) == {other.model} == {"Digits_FGSM_RS"}


def test_another_ensemble_is_run_beside_on_the_same_points() -> None:
    (trial,) = attack_models(
        choose(BOARD, ["Digits_PGD2"]).candidates, protocol_named("fgsm"), SETTING, compared_with=SHORT
    )
    assert trial.compared is not None
    report = reported(trial)
    assert (report.protocol, trial.compared.protocol) == ("fgsm-1", SHORT.label)
    both = overlap(report, trial.compared.points)
    assert both is not None
    assert both.robust == sum(trial.compared.points.robust)
    assert both.standard == 40 * report.standard_accuracy
    gained = len(both.missed) - len(both.newly_broken)
    assert gained == sum(report.points.robust) - both.robust
    assert gained > 0


def test_the_overlap_counts_what_only_one_of_two_evaluations_broke() -> None:
    report = reported(next(attack_models(choose(BOARD, ["Digits_PGD2"]).candidates, SHORT, SETTING)))
    robust = [place for place, by in enumerate(report.points.broken_by) if by is None]
    broken = [place for place, by in enumerate(report.points.broken_by) if by == "apgd-ce"]
    assert len(robust) > 2
    assert len(broken) > 2
    others = list(report.points.broken_by)
    others[robust[0]] = others[robust[1]] = "square"
    others[broken[0]] = None
    both = overlap(report, _points(report.points, others))
    assert both is not None
    assert (both.missed, both.newly_broken) == (tuple(robust[:2]), (broken[0],))
    assert both.robust == len(robust) - 1

    fewer = Points(**{name: value and value[1:] for name, value in report.points.model_dump().items()})
    relabelled = report.points.model_copy(update={"label": tuple((label + 1) % 10 for label in report.points.label)})
    assert overlap(report, fewer) is None
    assert overlap(report, relabelled) is None


def _points(points: Points, broken_by: list[str | None]) -> Points:
    return points.model_copy(update={"broken_by": tuple(broken_by), "robust": tuple(by is None for by in broken_by)})


@REPORTED
def test_every_model_that_comes_along_has_its_report(entry: Card, threat_model: str) -> None:
    """Where it is missing: gauntlet evaluate ID --dataset … --threat-model … --no-evidence --json PATH."""
    report = EvaluationReport.model_validate_json(bundled_report(entry, threat_model).read_bytes())
    board = official_board(entry.dataset, threat_model)
    assert (report.dataset, report.norm, report.epsilon) == (entry.dataset, board.threat_model, str(board.epsilon))
    assert (report.protocol, report.n_points, report.provenance.seed) == ("standard-1", board.points, 0)
    assert (report.provenance.checkpoint_sha256, report.provenance.zoo_id) == (entry.sha256, entry.id)


def test_every_report_that_comes_along_is_of_a_model() -> None:
    folder = bundled_report(*ON_BOARDS[0]).parents[2]
    files = {path for path in folder.rglob("*") if path.is_file()}
    assert files == {bundled_report(entry, threat_model) for entry, threat_model in ON_BOARDS}


@REPORTED
def test_the_reports_that_come_along_are_what_the_models_give(entry: Card, threat_model: str) -> None:
    """The first attack on the first points, for the whole takes minutes; other machines may differ by a point."""
    report = EvaluationReport.model_validate_json(bundled_report(entry, threat_model).read_bytes())
    board = official_board(entry.dataset, threat_model)
    points = datasets.load(entry.dataset, "test", 30)
    model = load_model(entry.id, dataset=entry.dataset, threat_model=threat_model)
    found = evaluate(model, points.x, points.y, board.budget, protocol="apgd-ce", diagnostics=False).report
    there = [by if by in {"clean", "apgd-ce"} else None for by in report.points.broken_by[:30]]
    assert sum(ours != theirs for ours, theirs in zip(found.points.broken_by, there, strict=True)) <= 1


@pytest.mark.slow
def test_a_report_that_comes_along_is_what_the_whole_ensemble_gives() -> None:
    entry = card("Digits_FGSM_RS", "digits", "Linf")
    report = EvaluationReport.model_validate_json(bundled_report(entry, "Linf").read_bytes())
    (trial,) = attack_models(
        choose(BOARD, [entry.id]).candidates, protocol_named("standard"), Setting(BOARD, datasets.load("digits"))
    )
    found = reported(trial)
    differ = sum(ours != theirs for ours, theirs in zip(found.points.robust, report.points.robust, strict=True))
    assert differ <= 0.005 * report.n_points  # other machines round otherwise
    assert found.standard_accuracy == report.standard_accuracy
