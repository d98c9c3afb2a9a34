from __future__ import annotations

import hashlib
import os
import random
import subprocess
import sys
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

import benchmark.corruptions
from benchmark import datasets
from benchmark.corruptions import CORRUPTIONS, SEVERITIES, VERSION, corrupt
from benchmark.corruptions.scale import Scale
from benchmark.errors import InvalidInput, NotFound
from tests.benchmark.pictures import images, levels, plain

SHAPES = ((1, 8, 8), (1, 28, 28), (3, 32, 32), (3, 24, 40))
WITHOUT_CHANCE = ("defocus_blur", "zoom_blur", "brightness", "contrast", "pixelate", "jpeg_compression")
WITH_CHANCE = tuple(name for name in CORRUPTIONS if name not in WITHOUT_CHANCE)

# Changed only on purpose, together with VERSION: every published number on generated images hangs on these.
GOLDEN_VERSION = 1
GOLDEN = {
    "gaussian_noise": "ea28fb2e50b9393f7f19be6f5a2211691f87af3603f78ee20454f443ecbc923f",
    "shot_noise": "10db03a1e5faa59b8f3895d5737aacec226cd13c5a058e41d0bf43eac8e6283d",
    "impulse_noise": "64df9b7eb6b429b8efba20c1ebcc0524ee743aa67e12b9305238ba917da25618",
    "defocus_blur": "93ff4ad3db6d6645c07882f7f1bae03898d859dec7d3c63ae99dc161414b9594",
    "glass_blur": "c1db667048708ec8e0f19bfff4133972206939bdfd0a4152256bc95d138d2615",
    "motion_blur": "b3e6242ab63672e9f17d5a9ef95437127e11617238641f2002f0245c4cba9657",
    "zoom_blur": "da17c3d38a95c9b28747f5b00a31ea7910f0fa1189a6e6ee8f28969dbc335e44",
    "snow": "8a275a600f4c80d1dae03eb0bad8140e29ffe42554ef25642fe23fdb1f74b700",
    "frost": "8faa8e752bf2e36223a49c17f7b661eb5f09a8e6389f2a842090ca6bd96a1f6a",
    "fog": "f5eca539c951ba00db059f35957a74ef74d8e95cfa3c4e17087354bbceaae0f1",
    "brightness": "fe7da550f9e0fe5f180ba9b398997ac857e530693a5354b17862453b4e18bbb0",
    "contrast": "6c65cfae8dc4f40791fcfa160acfb1acd01054fef4bfb706587251593f2aa51b",
    "elastic_transform": "a69df37842b3d36277a177a692683337e736680bc3b9aa9072a2afd198a77b25",
    "pixelate": "8cdd2591ed065347e957442e708eeb8269887f2690aee1133a76c33da7ea16c3",
    "jpeg_compression": "626e496949f8b56d6cf38acf31f81ee2a2a110541ddee170961adaf54ef035a7",
}

NOT_RISING = {"glass_blur": {4}, "snow": {3}, "frost": {4}, "elastic_transform": {2, 5}, "pixelate": {5}}
"""Severities that leave the digits nearer to the clean image, on average, than the one before. The authors' constants
exchange one means for another there: glass smooths less, flakes are larger and fewer, frost weakens the scene, rubber
is stretched less and creased more. And blocks of 8/5 pixels happen to fit strokes better than those of 8/6."""


def fingerprint(corruption: str) -> str:
    digest = hashlib.sha256()
    for shape in ((1, 8, 8), (3, 32, 32), (3, 88, 96)):
        for severity in SEVERITIES:
            found = corrupt(images(1, shape), corruption, severity, [499], seed=1)
            digest.update(levels(found).to(torch.uint8).numpy().tobytes())
    return digest.hexdigest()


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("corruption", CORRUPTIONS)
def test_contract(corruption: str, shape: tuple[int, int, int]) -> None:
    x = images(3, shape)
    before = x.clone()
    states = torch.get_rng_state(), np.random.get_state(), random.getstate()
    for severity in SEVERITIES:
        found = corrupt(x, corruption, severity, [5, 0, 7], seed=3)
        assert found.shape == x.shape
        assert found.dtype == torch.float32
        assert found.is_contiguous()
        assert torch.equal(found, levels(found).to(torch.float32) / 255)
        assert 0 <= found.min() <= found.max() <= 1
        assert not torch.equal(found, x)
        assert torch.equal(found, corrupt(x, corruption, severity, [5, 0, 7], seed=3))
        one_by_one = [corrupt(x[i : i + 1], corruption, severity, [j], seed=3) for i, j in ((2, 7), (0, 5), (1, 0))]
        assert torch.equal(found[[2, 0, 1]], torch.cat(one_by_one))
    assert torch.equal(x, before)
    assert torch.equal(torch.get_rng_state(), states[0])
    assert all(np.array_equal(a, b) for a, b in zip(np.random.get_state(), states[1], strict=True))
    assert random.getstate() == states[2]


@pytest.mark.parametrize("corruption", WITH_CHANCE)
def test_chance_belongs_to_seed_severity_and_point(corruption: str) -> None:
    x = images(1, (3, 32, 32)).expand(2, -1, -1, -1)
    found = corrupt(x, corruption, 3, [0, 1])
    assert not torch.equal(found[0], found[1])
    assert not torch.equal(found, corrupt(x, corruption, 3, [0, 1], seed=1))
    assert torch.equal(found, corrupt(x, corruption, 3, range(2), seed=0))


@pytest.mark.parametrize("corruption", WITHOUT_CHANCE)
def test_where_there_is_no_chance_neither_seed_nor_point_matters(corruption: str) -> None:
    x = images(1, (3, 32, 32)).expand(2, -1, -1, -1)
    found = corrupt(x, corruption, 3, [0, 1])
    assert torch.equal(found[0], found[1])
    assert torch.equal(found, corrupt(x, corruption, 3, [0, 1], seed=1))


@pytest.mark.parametrize("corruption", CORRUPTIONS)
def test_pixels_never_change_within_a_version(corruption: str) -> None:
    assert VERSION == GOLDEN_VERSION
    assert fingerprint(corruption) == GOLDEN[corruption]


def test_another_process_with_more_threads_makes_the_same_bytes() -> None:
    x = images(2, (3, 40, 32))
    program = (
        "import hashlib, sys, torch\n"
        "from benchmark.corruptions import CORRUPTIONS, corrupt\n"
        "torch.set_num_threads(2)\n"
        "x = torch.frombuffer(bytearray(sys.stdin.buffer.read()), dtype=torch.float32).reshape(2, 3, 40, 32)\n"
        "for name in CORRUPTIONS:\n"
        "    print(hashlib.sha256(corrupt(x, name, 4, [8, 2]).numpy().tobytes()).hexdigest())\n"
    )
    threads = dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"), "2")
    printed = _run(program, x.numpy().tobytes(), threads)
    expected = [hashlib.sha256(corrupt(x, name, 4, [8, 2]).numpy().tobytes()).hexdigest() for name in CORRUPTIONS]
    assert printed.split() == expected


def test_names_are_read_without_torch_and_numpy() -> None:
    program = (
        "import sys\n"
        "from benchmark.corruptions import CORRUPTIONS, SEVERITIES, VERSION, corrupt\n"
        "print(*CORRUPTIONS, *({'torch', 'numpy', 'scipy', 'PIL'} & set(sys.modules)))\n"
    )
    assert tuple(_run(program).split()) == CORRUPTIONS


def _run(program: str, given: bytes = b"", settings: dict[str, str] | None = None) -> str:
    environment = {**os.environ, **(settings or {}), "PYTHONPATH": str(Path(benchmark.__path__[0]).parent)}
    command = [sys.executable, "-c", program]
    return subprocess.run(command, input=given, env=environment, capture_output=True, check=True).stdout.decode()


def test_every_corruption_is_the_file_of_its_name() -> None:
    folder = Path(benchmark.corruptions.__path__[0])
    files = {path.stem for path in folder.glob("*.py") if "\nCORRUPTION = " in path.read_text(encoding="utf-8")}
    assert files == set(CORRUPTIONS)
    assert len(CORRUPTIONS) == 15


@pytest.mark.parametrize("corruption", CORRUPTIONS)
def test_digits_move_farther_with_severity(corruption: str) -> None:
    points = datasets.load("digits", n=150)
    moved = [
        float((corrupt(points.x, corruption, severity, points.index) - points.x).abs().mean())
        for severity in SEVERITIES
    ]
    assert moved[0] > 1 / 255
    assert moved[4] > moved[0]
    falling = {severity for severity, (before, now) in enumerate(pairwise(moved), 2) if now <= before}
    assert falling == NOT_RISING.get(corruption, set())


@pytest.mark.parametrize(
    ("side", "small", "proportional", "length", "short_length"),
    [
        (8, True, 1, 2, 4),
        (24, True, 3, 3, 4),
        (32, True, 4, 4, 4),
        (64, True, 8, 8, 8),
        (84, True, 10.5, 10.5, 10.5),
        (85, False, 85 / 56, 85 / 56, 85 / 56),
        (112, False, 2, 2, 2),
        (224, False, 4, 4, 4),
        (448, False, 8, 8, 8),
    ],
)
def test_lengths_follow_the_side(
    side: int, small: bool, proportional: float, length: float, short_length: float
) -> None:
    scale = Scale(side)
    assert scale.small is small
    assert scale.proportional(4) == pytest.approx(proportional)
    assert scale.length(4) == pytest.approx(length)
    assert scale.short_length(4) == pytest.approx(short_length)


def test_clean_points_are_rounded_to_levels_first() -> None:
    x = torch.linspace(0, 1, 64).reshape(1, 1, 8, 8)
    rounded = levels(x).to(torch.float32) / 255
    for corruption in CORRUPTIONS:
        found = corrupt(x, corruption, 2, [0])
        assert torch.equal(found, corrupt(rounded, corruption, 2, [0]))


def test_no_points_are_no_points() -> None:
    assert corrupt(plain(0, (0, 1, 8, 8)), "fog", 1, []).shape == (0, 1, 8, 8)


@pytest.mark.parametrize(("corruption", "severity", "field"), [("rain", 1, "corruption"), ("fog", 6, "severity")])
def test_unknown_names_are_not_found(corruption: str, severity: int, field: str) -> None:
    with pytest.raises(NotFound) as caught:
        corrupt(plain(0, (1, 1, 8, 8)), corruption, severity, [0])
    assert caught.value.detail is not None
    assert caught.value.detail.field == field
    assert caught.value.detail.found in {corruption, str(severity)}


@pytest.mark.parametrize(
    ("x", "index", "field"),
    [
        (plain(0, (1, 8, 8)), [0], "x"),
        (plain(0, (1, 2, 8, 8)), [0], "x"),
        (plain(0, (1, 1, 8, 7)), [0], "x"),
        (plain(0, (1, 1, 8, 8)).double(), [0], "x"),
        (plain(0, (1, 1, 8, 8)) + 1.01, [0], "x"),
        (plain(0, (1, 1, 8, 8)) * float("nan"), [0], "x"),
        (plain(0, (2, 1, 8, 8)), [0], "index"),
        (plain(0, (1, 1, 8, 8)), [-1], "index"),
    ],
)
def test_unusable_points_are_refused(x: Tensor, index: list[int], field: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        corrupt(x, "fog", 1, index)
    assert caught.value.detail is not None
    assert caught.value.detail.field == field
    assert caught.value.detail.remedy
