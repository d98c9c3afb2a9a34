from __future__ import annotations

from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from sklearn.datasets import load_sample_images
from sklearn.metrics import roc_auc_score
from torch import Tensor, nn

from benchmark import datasets
from benchmark.analysis.calibration import maximum_confidence
from benchmark.analysis.material import LeftOut, Material
from benchmark.analysis.ood import (
    BINS,
    NOISE,
    PATCH,
    PHOTOGRAPHS,
    auroc,
    histogram,
    noise,
    out_of_distribution,
    photographs,
)
from benchmark.analysis.results import ForeignSet
from benchmark.datasets import LabelledPoints
from benchmark.errors import InvalidInput
from benchmark.threat_models import official_board
from model_zoo import load_model
from tests.benchmark.data_files import drawn, labels_of, publish, write_mnist

SCORES = st.lists(st.sampled_from([0.1, 0.2, 0.2000001, 0.5, 0.9, 1.0]), min_size=1, max_size=30)


@given(SCORES, SCORES)
def test_is_scikit_learn_s(inside: list[float], outside: list[float]) -> None:
    expected = roc_auc_score([1] * len(inside) + [0] * len(outside), inside + outside)
    found = auroc(torch.tensor(inside, dtype=torch.float64), torch.tensor(outside, dtype=torch.float64))
    assert found == pytest.approx(expected)


def test_in_closed_form() -> None:
    assert auroc(torch.tensor([0.9, 0.8]), torch.tensor([0.1, 0.2, 0.3])) == 1
    assert auroc(torch.tensor([0.1]), torch.tensor([0.9])) == 0
    assert auroc(torch.tensor([0.5, 0.5]), torch.tensor([0.5])) == 0.5


def test_the_score_is_the_greatest_probability() -> None:
    found = maximum_confidence(torch.tensor([[0.0, 0.0], [torch.log(torch.tensor(3.0)), 0.0], [1e30, 0.0]]))
    assert found.tolist() == pytest.approx([0.5, 0.75, 1.0])


@pytest.mark.parametrize(("inside", "outside", "field"), [([], [0.1], "inside"), ([0.1], [float("nan")], "outside")])
def test_nothing_to_compare_is_refused(inside: list[float], outside: list[float], field: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        auroc(torch.tensor(inside), torch.tensor(outside))
    assert caught.value.detail is not None
    assert caught.value.detail.field == field


class Told(nn.Module):
    """Sure of an image by how bright its first pixel is."""

    def forward(self, x: Tensor) -> Tensor:
        first = x.flatten(1)[:, 0]
        return torch.stack((3 * first, *[torch.zeros_like(first)] * 9), 1)


class Constant(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return (x.flatten(1).sum(1, keepdim=True) * 0).expand(-1, 10)


def material(model: nn.Module, first: float = 1.0, n: int = 40, where: str | Path = "/nowhere") -> Material:
    """Digits whose first pixel has one value."""
    points = datasets.load("digits", "test", n)
    points.x[:, 0, 0, 0] = first
    return Material(model.eval(), points, official_board("digits", "Linf").budget, data_dir=where)


def by_name(of: Material) -> dict[str, ForeignSet]:
    return {one.name: one for one in out_of_distribution(of).sets}


def test_what_separates_perfectly_gives_1_and_what_knows_nothing_one_half() -> None:
    of = material(Told(), n=500)
    assert float(photographs((1, 8, 8), 500)[:, 0, 0, 0].max()) < 1, "no patch is as bright as the digits are made"
    assert {name: one.auroc for name, one in by_name(of).items()} == {PHOTOGRAPHS: 1.0, NOISE: 1.0}
    assert {one.auroc for one in by_name(material(Constant())).values()} == {0.5}
    assert by_name(material(Told(), first=0.0))[NOISE].auroc == 0.0


def test_is_that_of_the_maximum_softmax() -> None:
    model = load_model("Digits_PGD10", dataset="digits", threat_model="Linf")
    of = Material(model, datasets.load("digits", "test", 60), official_board("digits", "Linf").budget)
    with torch.no_grad():
        own, foreign = (model(x).double().softmax(1).amax(1) for x in (of.test.x, noise((1, 8, 8), 60, of.seed)))
    found = by_name(of)[NOISE]
    labels = [1] * 60 + [0] * 60
    assert found.auroc == pytest.approx(roc_auc_score(labels, torch.cat((own, foreign)).numpy()), abs=1e-6)
    assert found.mean_confidence == pytest.approx(float(foreign.mean()), abs=1e-6)
    assert found.points == sum(found.histogram) == 60
    assert len(found.histogram) == BINS


def test_a_confidence_on_a_border_counts_below_it() -> None:
    counts = histogram(torch.tensor([0.0, 0.01, 0.5, 0.51, 1.0], dtype=torch.float64))
    assert [(place, count) for place, count in enumerate(counts) if count] == [(0, 2), (9, 1), (10, 1), (19, 1)]


def test_patches_are_always_the_same_and_none_comes_twice() -> None:
    patches = photographs((1, 8, 8), 10_000)
    assert patches.shape == (520, 1, 8, 8), "all there are"
    assert len(patches.flatten(1).unique(dim=0)) == 520
    assert torch.equal(photographs((1, 8, 8), 7), patches[:7])
    pixel = load_sample_images().images[0][:PATCH, :PATCH]
    assert torch.equal(
        photographs((3, PATCH, PATCH), 1)[0].mul(255).round().byte().permute(1, 2, 0), torch.tensor(pixel)
    )


def test_the_noise_is_that_of_its_seed_and_place() -> None:
    many = noise((1, 8, 8), 2_000, 3)
    assert torch.equal(noise((1, 8, 8), 10, 3), many[:10])
    assert not torch.equal(noise((1, 8, 8), 10, 4), many[:10])
    assert float(many.mean()) == pytest.approx(0.5, abs=0.01)
    assert (float(many.min()) >= 0, float(many.max()) < 1) == (True, True)


def test_foreign_data_sets_that_are_here_come_with_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_mnist(tmp_path / "fashion-mnist", drawn(9, side=28, channels=1), labels_of(9))
    publish(monkeypatch, "fashion-mnist", tmp_path, {"test": 9})
    found = by_name(material(Told(), where=tmp_path))
    assert list(found) == [PHOTOGRAPHS, NOISE, "fashion-mnist"]
    assert found["fashion-mnist"].points == 9


def test_without_any_foreign_data_it_is_left_out() -> None:
    points = LabelledPoints(torch.rand(4, 3, 32, 32), torch.arange(4), (0, 1, 2, 3))
    of = Material(Told(), points, official_board("cifar10", "Linf").budget, data_dir="/nowhere")
    with pytest.raises(LeftOut, match=r"cifar100 is not here.*svhn is not here.*dtd is not here"):
        out_of_distribution(of)
