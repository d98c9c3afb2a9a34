from __future__ import annotations

import hashlib
from typing import Any

import numpy as np
import pytest
import torch
from sklearn.datasets import load_digits

from benchmark.datasets import CLASSES, SHAPES, load
from benchmark.errors import InvalidInput, NotFound

SPLITS = {"train": 1097, "test": 500, "twin": 200}


@pytest.mark.parametrize(("split", "size"), SPLITS.items())
def test_a_split_has_its_size_and_form(split: str, size: int) -> None:
    points = load("digits", split)
    assert points.x.shape == (size, *SHAPES["digits"])
    assert points.x.dtype == torch.float32
    assert (float(points.x.min()), float(points.x.max())) == (0.0, 1.0)
    assert points.y.shape == (size,)
    assert points.y.dtype == torch.int64
    assert points.index == tuple(range(size))
    # Every class has its share: a tenth, give or take half of it.
    shares = torch.bincount(points.y, minlength=CLASSES["digits"]) / size
    assert float(shares.min()) >= 0.05
    assert float(shares.max()) <= 0.15


def test_the_splits_are_all_digits_once() -> None:
    rows = torch.cat(
        [torch.cat([load("digits", split).x.flatten(1) * 16, load("digits", split).y[:, None]], 1) for split in SPLITS]
    )
    original = np.column_stack([load_digits().data, load_digits().target])
    assert sorted(map(tuple, rows.tolist())) == sorted(map(tuple, original.tolist()))


def test_the_splits_never_change() -> None:
    """Published numbers hold for these points in this order."""
    digest = hashlib.sha256()
    for split in SPLITS:
        points = load("digits", split)
        digest.update((points.x * 16).to(torch.uint8).numpy().tobytes())
        digest.update(points.y.to(torch.uint8).numpy().tobytes())
    assert digest.hexdigest() == "43ace439e241ec0c93334e7e51d14e8cbade28048728149dda00e773ae47797b"


def test_a_few_points_are_the_first() -> None:
    assert torch.equal(load("digits", n=7).x, load("digits").x[:7])
    assert load("digits", n=7).index == tuple(range(7))


def test_the_caller_may_change_what_it_got() -> None:
    load("digits").x.zero_()
    assert float(load("digits").x.max()) == 1.0


@pytest.mark.parametrize(
    ("name", "split", "known"), [("minst", "test", "digits, mnist"), ("digits", "val", "train, test")]
)
def test_unknown_names_are_answered_with_the_known(name: str, split: str, known: str) -> None:
    with pytest.raises(NotFound, match=known):
        load(name, split)


@pytest.mark.parametrize("n", [0, -1, 501, 5.0, "5"])
def test_more_points_than_there_are_cannot_be_had(n: Any) -> None:
    with pytest.raises(InvalidInput, match="1 to 500"):
        load("digits", n=n)


@pytest.mark.parametrize("index", [[2, 0, 2], (2, 0, 2), np.array([2, 0, 2]), torch.tensor([2, 0, 2])])
def test_some_points_are_those_at_their_positions(index: Any) -> None:
    points = load("digits", index=index)
    assert torch.equal(points.x, load("digits").x[[2, 0, 2]])
    assert points.index == (2, 0, 2)


@pytest.mark.parametrize(
    "index", [[], [-1], [500], [0.5], ["1"], [True, False], torch.arange(500) % 2 == 0, range(501)]
)
def test_what_is_no_position_is_refused(index: Any) -> None:
    with pytest.raises(InvalidInput, match="index: found"):
        load("digits", index=index)


def test_positions_and_a_number_contradict_each_other() -> None:
    with pytest.raises(InvalidInput, match="n as well"):
        load("digits", n=2, index=[0, 1])
