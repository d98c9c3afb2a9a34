"""What a worker announces of the data sets in its folder."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest

from benchmark.errors import InvalidData, NotFound
from gauntlet.app import limits_of
from gauntlet.data import datasets_of
from gauntlet.settings import Settings
from tests.benchmark.data_files import of_form, publish, write_mnist

N = 20


@pytest.fixture
def with_mnist(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    write_mnist(tmp_path / "mnist", *of_form("mnist", N))
    publish(monkeypatch, "mnist", tmp_path, {"test": N})
    return tmp_path


def test_all_that_is_there_is_announced_and_hashed_once(with_mnist: Path) -> None:
    assert datasets_of(Settings(data_dir=with_mnist)) == ("digits", "mnist")
    assert (with_mnist / "mnist/.t10k-images-idx3-ubyte.gz.verified").is_file()
    assert datasets_of(Settings(data_dir=with_mnist / "elsewhere")) == ("digits",)


def test_what_is_named_is_announced_alone_and_must_be_there(with_mnist: Path) -> None:
    assert datasets_of(Settings(data_dir=with_mnist, worker_datasets=("mnist",))) == ("mnist",)
    for missing in ("cifar10", "cifar11"):
        with pytest.raises(NotFound, match=missing):
            datasets_of(Settings(data_dir=with_mnist, worker_datasets=("digits", missing)))


def test_a_damaged_data_set_is_left_out_and_the_log_says_why(
    with_mnist: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = with_mnist / "mnist/t10k-labels-idx1-ubyte.gz"
    path.write_bytes(bytes(path.stat().st_size))
    with caplog.at_level(logging.WARNING):
        assert datasets_of(Settings(data_dir=with_mnist)) == ("digits",)
    assert "mnist is left out" in caplog.text
    with pytest.raises(InvalidData, match="md5"):
        datasets_of(Settings(data_dir=with_mnist, worker_datasets=("mnist",)))


def test_evaluations_may_read_the_files_and_nothing_beside_them(with_mnist: Path) -> None:
    (with_mnist / "mnist/secret").write_bytes(b"")
    limits = limits_of(Settings(data_dir=with_mnist), with_mnist / "scratch")
    names = ("t10k-images-idx3-ubyte.gz", "t10k-labels-idx1-ubyte.gz")
    assert set(limits.sandbox.readable) == {with_mnist / "mnist" / name for name in names}
    assert limits.data_dir == with_mnist
