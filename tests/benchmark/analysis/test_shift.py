from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from benchmark import datasets
from benchmark.analysis.material import LeftOut, Material
from benchmark.analysis.results import Analysis
from benchmark.analysis.shift import ATTACKED, PROTOCOL, balanced_sample, measured, shift
from benchmark.analysis.study import study
from benchmark.corrupted import corrupt_points
from benchmark.corruption_table import CELLS
from benchmark.datasets import LabelledPoints
from benchmark.threat_models import ThreatModel, official_board
from model_zoo import load_model
from tests.benchmark.data_files import drawn, labels_of, publish, write_mnist, write_npy

NOWHERE = "/nowhere"


class OnePixel(nn.Module):
    """Class 1 where the first pixel is above one half, else class 0; two more classes are never chosen."""

    def forward(self, x: Tensor) -> Tensor:
        over = 4 * (x.flatten(1)[:, 0] - 0.5)
        return torch.stack((-over, over, over * 0 - 10, over * 0 - 11), 1)


class Linear(nn.Module):
    """The digits apart by a fixed map, the same in every test."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("map", torch.randn(64, 10, generator=torch.Generator().manual_seed(0)))

    def forward(self, x: Tensor) -> Tensor:
        return x.flatten(1) @ self.map  # type: ignore[operator]


def budget(epsilon: str = "0.12", dataset: str = "digits") -> ThreatModel:
    return ThreatModel("Linf", epsilon, dataset)


def material(
    model: nn.Module, points: LabelledPoints, dataset: str = "digits", where: Path | str = NOWHERE
) -> Material:
    return Material(model.eval(), points, budget(dataset=dataset), data_dir=where)


@pytest.mark.parametrize(
    ("severity", "standard", "robust"),
    # A quarter becomes 0.30, 0.35, 0.40, 0.45 and 0.55, and the budget moves it by 0.12 at most.
    [(1, 1.0, 1.0), (2, 1.0, 1.0), (3, 1.0, 0.0), (4, 1.0, 0.0), (5, 0.0, 0.0)],
)
def test_a_known_change_of_the_one_pixel_that_counts(severity: int, standard: float, robust: float) -> None:
    clean = LabelledPoints(torch.full((6, 1, 8, 8), 64 / 255), torch.zeros(6, dtype=torch.int64), tuple(range(6)))
    shifted = LabelledPoints(corrupt_points(clean.x, clean.index, "brightness", severity), clean.y, clean.index)
    found = measured(material(OnePixel(), clean), "brighter", shifted)
    assert (found.standard_accuracy, found.robust_accuracy) == (standard, robust)
    assert (found.name, found.points, found.attacked) == ("brighter", 6, 6)


def test_a_shift_to_the_same_data_changes_nothing() -> None:
    points = datasets.load("digits", n=120)
    of = material(Linear(), points)
    assert measured(of, "digits", points) == shift(of).own
    assert shift(of).own.points == 120
    assert shift(of).own.attacked == ATTACKED


def test_the_sample_is_balanced_and_made_of_the_boards_images() -> None:
    points = datasets.load("digits", n=2 * len(CELLS) + 10)
    sample = balanced_sample("digits", points)
    of_cell = Counter[tuple[str, int]]()
    for corruption, severity in CELLS:
        whole = corrupt_points(points.x, points.index, corruption, severity)
        number = CELLS.index((corruption, severity))
        places = range(number, len(points.y), len(CELLS))
        assert torch.equal(sample.x[list(places)], whole[list(places)])
        of_cell[corruption, severity] += len(places)
    assert set(of_cell.values()) == {2, 3}
    assert sum(of_cell.values()) == len(sample.y)
    assert torch.equal(sample.y, points.y)
    assert sample.index == points.index


def test_what_is_here_is_measured_and_the_rest_left_out() -> None:
    found = shift(material(Linear(), datasets.load("digits", n=20)))
    assert found.protocol == PROTOCOL
    assert [(one.name, one.points, one.attacked) for one in found.sets] == [("digits-c", 20, 20)]


def test_other_digits_are_brought_to_the_same_shape(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    images, labels = drawn(12, side=28, channels=1), labels_of(12)
    write_mnist(tmp_path / "mnist", images, labels)
    publish(monkeypatch, "mnist", tmp_path, {"test": 12})
    of = material(Linear(), datasets.load("digits", n=20), where=tmp_path)
    found = {one.name: one for one in shift(of).sets}
    assert (found["mnist"].points, found["mnist"].attacked) == (12, 12)
    there = datasets.load("mnist", data_dir=tmp_path, shape=(1, 8, 8))
    right = (Linear()(there.x).argmax(1) == there.y).double().mean()
    assert found["mnist"].standard_accuracy == pytest.approx(float(right))


def test_data_of_cifar_s_classes_are_taken_from_all_over(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The published sets are read by their readers, and what is not here is named."""
    images, labels = drawn(30), labels_of(30)
    write_npy(tmp_path / "cifar10.1" / "cifar10.1_v6_data.npy", images)
    write_npy(tmp_path / "cifar10.1" / "cifar10.1_v6_labels.npy", labels)
    publish(monkeypatch, "cifar10.1", tmp_path, {"test": 30})
    x = torch.from_numpy(drawn(8, seed=1)).permute(0, 3, 1, 2) / 255
    points = LabelledPoints(x.contiguous(), torch.arange(8), tuple(range(8)))
    model = nn.Sequential(nn.AvgPool2d(32), nn.Flatten(), nn.Linear(3, 10))
    of = material(model, points, "cifar10", tmp_path)
    taken = of.load_spread("cifar10.1")
    assert len(set(taken.index)) == 8
    assert max(taken.index) - min(taken.index) > 20, "from all over the set, not its first points"
    assert [one.name for one in shift(of).sets] == ["cifar10.1"]


def test_without_any_other_data_it_is_left_out() -> None:
    points = LabelledPoints(torch.rand(4, 3, 32, 32), torch.arange(4), (0, 1, 2, 3))
    of = material(nn.Sequential(nn.Flatten(), nn.Linear(3072, 10)), points, "cifar10")
    with pytest.raises(LeftOut, match=r"cifar10-c are not here.*cifar10\.1 is not here.*cinic10 is not here"):
        shift(of)
    assert Analysis.SHIFT in study(of, [Analysis.SHIFT]).left_out


@pytest.mark.slow
def test_a_robust_model_of_the_board_is_measured_within_its_budget() -> None:
    model = load_model("Digits_PGD10", dataset="digits", threat_model="Linf")
    of = Material(model, datasets.load("digits", n=8), official_board("digits", "Linf").budget, data_dir=NOWHERE)
    found = shift(of)
    expected = of.attack(of.test, PROTOCOL).report
    assert found.own.robust_accuracy == expected.robust_accuracy
    assert found.own.standard_accuracy == expected.standard_accuracy
    assert found.sets[0].robust_accuracy <= found.sets[0].standard_accuracy
