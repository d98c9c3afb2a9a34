"""Official boards on published images: what benchmark() evaluates, and what a report of it is repeated on."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from benchmark import ThreatModel, benchmark, evaluate
from benchmark.corrupted import corrupted_images, evaluate_corruptions
from benchmark.corruptions.names import CORRUPTIONS, SEVERITIES
from benchmark.dataset_table import DATASETS
from benchmark.datasets import load, load_corrupted
from benchmark.errors import InvalidData, NotFound
from benchmark.rerun import rerun
from tests.benchmark.data_files import as_written, cifar_records, drawn, labels_of, npy, publish, write_tar
from tests.benchmark.models import Linear

N = 12


@pytest.fixture
def data_dir(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """CIFAR-10 and CIFAR-10-C of a few points, whose corrupted images no generator here would make."""
    images, labels = drawn(N), labels_of(N)
    folder = "cifar-10-batches-bin"
    write_tar(
        tmp_path / "cifar10/cifar-10-binary.tar.gz", {f"{folder}/test_batch.bin": cifar_records(images, labels)}, "w:gz"
    )
    arrays = {
        f"CIFAR-10-C/{corruption}.npy": npy(drawn(5 * N, seed=number)) for number, corruption in enumerate(CORRUPTIONS)
    }
    write_tar(tmp_path / "cifar10-c/CIFAR-10-C.tar", {**arrays, "CIFAR-10-C/labels.npy": npy(np.tile(labels, 5))})
    corrupted = as_written(DATASETS["cifar10-c"], tmp_path, dict.fromkeys(DATASETS["cifar10-c"].splits, N))
    publish(monkeypatch, "cifar10", tmp_path, {"test": N}, corrupted)
    return tmp_path


@pytest.fixture
def model() -> nn.Module:
    return Linear((3, 32, 32), 10)


def test_a_board_is_evaluated_on_the_published_points(data_dir: Path, model: nn.Module) -> None:
    standard, robust = benchmark(model, dataset="cifar10", threat_model="Linf", n_examples=8, data_dir=data_dir)
    points = load("cifar10", n=8, data_dir=data_dir)
    report = evaluate(model, points.x, points.y, ThreatModel("Linf", "8/255", "cifar10"), diagnostics=False).report
    assert (standard, robust) == (report.standard_accuracy, report.robust_accuracy)


def test_a_board_of_corruptions_is_evaluated_on_the_published_images(data_dir: Path, model: nn.Module) -> None:
    _, accuracy = benchmark(model, dataset="cifar10", threat_model="corruptions", n_examples=N, data_dir=data_dir)
    right = []
    for corruption in CORRUPTIONS:
        for severity in SEVERITIES:
            points = load_corrupted("cifar10", corruption, severity, data_dir=data_dir)
            right.append((model(points.x).argmax(1) == points.y).double().mean())
    assert accuracy == pytest.approx(float(torch.stack(right).mean()))


def test_a_report_on_published_images_is_repeated_on_them(data_dir: Path, model: nn.Module) -> None:
    points = load("cifar10", index=(1, 4, 9), data_dir=data_dir)
    corrupted = corrupted_images("cifar10", points.x, points.index, data_dir)
    report = evaluate_corruptions(
        model, points.x, points.y, dataset="cifar10", index=points.index, images=corrupted.images,
        source=corrupted.source,
    )  # fmt: skip
    assert report.corruptions is not None
    assert report.corruptions.source == "CIFAR-10-C"
    assert rerun(report, model, data_dir=data_dir).results_sha256() == report.results_sha256()
    with pytest.raises(NotFound, match="cifar-10-binary"):
        rerun(report, model, data_dir=data_dir / "elsewhere")


def test_images_are_not_made_where_the_published_ones_are_missing(data_dir: Path, model: nn.Module) -> None:
    (data_dir / "cifar10-c/CIFAR-10-C.tar").unlink()
    with pytest.raises(NotFound, match=r"CIFAR-10-C\.tar"):
        benchmark(model, dataset="cifar10", threat_model="corruptions", n_examples=N, data_dir=data_dir)


def test_a_board_without_its_data_says_what_to_get(tmp_path: Path, model: nn.Module) -> None:
    with pytest.raises(NotFound, match=r"cifar-10-binary\.tar\.gz"):
        benchmark(model, data_dir=tmp_path)
    with pytest.raises(NotFound, match="imagenet/val"):
        benchmark(model, dataset="imagenet", data_dir=tmp_path)
    (tmp_path / "cifar10").mkdir()
    (tmp_path / "cifar10/cifar-10-binary.tar.gz").write_bytes(b"<!DOCTYPE html>")
    with pytest.raises(InvalidData, match="15 bytes, expected 170,052,171"):
        benchmark(model, data_dir=tmp_path)
