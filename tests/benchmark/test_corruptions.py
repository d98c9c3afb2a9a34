from __future__ import annotations

import colorsys
import hashlib
import os
import random
import subprocess
import sys
from collections.abc import Sequence
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


def images(n: int, shape: tuple[int, int, int]) -> Tensor:
    """Pictures with an edge, a slope and a texture, made of whole numbers alone: the same bytes everywhere."""
    channels, height, width = shape
    point, channel = torch.arange(n)[:, None, None, None], torch.arange(channels)[:, None, None]
    row, column = torch.arange(height)[:, None], torch.arange(width)
    inside = (row - height // 2) ** 2 + (column - width // 3 - point) ** 2 < (min(height, width) // 3) ** 2
    slope = 100 * row // height + 60 * column // width + 20 * channel
    texture = (7 * row + 13 * column * (point + 1) + 5 * row * column) % 23
    return (slope + texture + 50 * inside).clamp(0, 255).to(torch.float32) / 255


def plain(level: int, shape: Sequence[int]) -> Tensor:
    return torch.full(tuple(shape), level, dtype=torch.float32) / 255


def levels(x: Tensor) -> Tensor:
    return (x.double() * 255).round().to(torch.int64)


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
    "corruption",
    ["defocus_blur", "glass_blur", "motion_blur", "zoom_blur", "elastic_transform", "pixelate", "contrast"],
)
@pytest.mark.parametrize("shape", [(1, 1, 8, 8), (1, 3, 24, 40), (1, 3, 90, 88)], ids=str)
def test_what_only_moves_pixels_leaves_a_plain_image_alone(corruption: str, shape: tuple[int, ...]) -> None:
    for severity in SEVERITIES:
        for level in (0, 77, 255):
            x = plain(level, shape)
            assert torch.equal(corrupt(x, corruption, severity, [0]), x)


@pytest.mark.parametrize("severity", SEVERITIES)
def test_a_grey_image_is_corrupted_like_a_colour_image_that_is_grey(severity: int) -> None:
    x = images(1, (1, 32, 32))
    tinted = {"gaussian_noise", "shot_noise", "impulse_noise", "frost"}
    for corruption in CORRUPTIONS:
        if corruption not in tinted:
            grey = levels(corrupt(x, corruption, severity, [0]))
            colour = levels(corrupt(x.expand(-1, 3, -1, -1), corruption, severity, [0]))
            # JPEG rounds twice more on the way to luma and back.
            assert (colour - grey).abs().max() <= (2 if corruption == "jpeg_compression" else 0), corruption


@pytest.mark.parametrize(("severity", "deviation"), [(1, 0.04), (5, 0.10)])
def test_gaussian_noise_has_its_deviation(severity: int, deviation: float) -> None:
    noise = corrupt(plain(128, (4, 3, 64, 64)), "gaussian_noise", severity, range(4)).double() - 128 / 255
    assert float(noise.mean()) == pytest.approx(0, abs=4 * deviation / noise.numel() ** 0.5)
    assert float(noise.std()) == pytest.approx(deviation, rel=0.02)
    assert float((noise.abs() < deviation).double().mean()) == pytest.approx(0.683, abs=0.02)
    for neighbour in (noise.roll(1, 3), noise.roll(1, 1), noise.roll(1, 0)):
        assert abs(float((noise * neighbour).mean())) < 4 * deviation**2 / noise.numel() ** 0.5


@pytest.mark.parametrize(("side", "severity", "photons"), [(64, 1, 500), (64, 5, 50), (96, 1, 60), (96, 5, 3)])
def test_shot_noise_is_poisson_distributed(side: int, severity: int, photons: int) -> None:
    counts = corrupt(plain(40, (2, 3, side, side)), "shot_noise", severity, range(2)).double() * photons
    expected = photons * 40 / 255
    assert float(counts.mean()) == pytest.approx(expected, rel=0.02)
    # Rounding to levels adds a twelfth of a level's square.
    assert float(counts.var()) == pytest.approx(expected + (photons / 255) ** 2 / 12, rel=0.05)
    black = plain(0, (1, 1, side, side))
    assert torch.equal(corrupt(black, "shot_noise", severity, [0]), black)


@pytest.mark.parametrize(("severity", "fraction"), [(1, 0.01), (5, 0.07)])
def test_impulse_noise_hits_its_fraction_with_black_and_white(severity: int, fraction: float) -> None:
    found = levels(corrupt(plain(128, (8, 3, 64, 64)), "impulse_noise", severity, range(8)))
    assert set(found.unique().tolist()) == {0, 128, 255}
    assert float((found != 128).double().mean()) == pytest.approx(fraction, rel=0.05)
    assert float((found == 255).double().mean()) == pytest.approx(fraction / 2, rel=0.1)


def test_defocus_makes_a_disc_of_a_point() -> None:
    x = plain(0, (1, 1, 224, 224))
    x[0, 0, 100, 120] = 1
    found = levels(corrupt(x, "defocus_blur", 1, [0]))[0, 0]
    row, column = (found > 0).nonzero(as_tuple=True)
    # As many points of the grid as have a distance of at most 3.
    assert len(row) == 29
    assert ((row - 100) ** 2 + (column - 120) ** 2).max() == 9
    assert found.unique().tolist() == [0, round(255 / 29)]


@pytest.mark.parametrize("point", range(5))
def test_motion_draws_a_point_out_to_one_side(point: int) -> None:
    x = plain(0, (1, 1, 32, 32))
    x[0, 0, 16, 25] = 1
    found = corrupt(x, "motion_blur", 5, [point])[0, 0].double()
    assert float(found.sum()) == pytest.approx(1, abs=0.05)
    assert found.argmax() == 16 * 32 + 25
    row, column = found.nonzero(as_tuple=True)
    along, across = 25 - column, (row - 16).abs()
    assert bool((along >= 0).all())
    assert bool((across <= along).all())
    assert along.max() > 3


def test_zoom_moves_what_is_off_centre_outwards() -> None:
    x = plain(0, (1, 1, 64, 64))
    x[0, 0, 31:33, 50:52] = 1
    found = corrupt(x, "zoom_blur", 5, [0])[0, 0].double()
    column = (found.sum(0) * torch.arange(64)).sum() / found.sum()
    row = (found.sum(1) * torch.arange(64)).sum() / found.sum()
    # The mean magnification is near 1 + 0.25 / 2.
    assert float(column) == pytest.approx(31.5 + 19 * 1.125, abs=1)
    assert float(row) == pytest.approx(31.5, abs=1)


def test_snow_on_black_is_a_layer_and_the_same_upside_down() -> None:
    x = plain(0, (2, 3, 32, 40))
    found = levels(corrupt(x, "snow", 2, range(2)))
    assert torch.equal(found, found.flip(2, 3))
    # A tenth of the scene becomes a pale one, whose black is at half.
    assert found.min() == round(0.1 * 0.5 * 255)
    assert found.max() > 3 * found.min()
    assert bool((levels(corrupt(images(2, (3, 32, 40)), "snow", 2, range(2))) >= levels(images(2, (3, 32, 40)))).all())


def test_frost_adds_panes_of_their_own_over_a_weaker_scene() -> None:
    pane = corrupt(plain(0, (20, 1, 32, 32)), "frost", 5, range(20)).double() / 0.45
    brightness, contrast = pane.mean((1, 2, 3)), pane.std((1, 2, 3))
    assert 0.44 < brightness.min() < 0.55
    assert 0.7 < brightness.max() < 0.83
    assert 0.05 < contrast.min() < 0.1
    assert 0.13 < contrast.max() < 0.17
    scene = corrupt(plain(100, (20, 1, 32, 32)), "frost", 5, range(20)).double()
    assert float((scene - 0.45 * pane).mean()) == pytest.approx(0.75 * 100 / 255, abs=0.5 / 255)


def test_fog_keeps_the_range_of_the_image() -> None:
    black, dim = plain(0, (1, 3, 32, 32)), plain(90, (1, 3, 32, 32))
    assert torch.equal(corrupt(black, "fog", 5, [0]), black)
    found = levels(corrupt(dim, "fog", 5, [0]))
    brightest = 90 / 255
    # The cloud reaches 0 and 1 somewhere.
    assert found.min() == round(255 * brightest * brightest / (brightest + 1.5))
    assert found.max() == round(255 * brightest * (brightest + 1.5) / (brightest + 1.5))


def test_brightness_adds_to_the_value_and_keeps_hue_and_saturation() -> None:
    x = images(1, (3, 96, 96))
    before, after = levels(x)[0].flatten(1).T.tolist(), corrupt(x, "brightness", 3, [0])[0].flatten(1).T.tolist()
    for old, new in list(zip(before, after, strict=True))[::97]:
        hue, saturation, value = colorsys.rgb_to_hsv(*(channel / 255 for channel in old))
        expected = colorsys.hsv_to_rgb(hue, saturation, min(value + 0.3, 1))
        assert new == pytest.approx(expected, abs=0.51 / 255)
    black = plain(0, (1, 3, 96, 96))
    assert levels(corrupt(black, "brightness", 2, [0])).unique().tolist() == [51]


def test_halves_of_a_level_are_rounded_up_wherever_they_come_from() -> None:
    """A tenth of the range is 25.5 levels, so every pixel is half way between two."""
    ramp = (torch.arange(256).to(torch.float32) / 255).reshape(1, 1, 16, 16)
    assert levels(corrupt(ramp, "brightness", 2, [0])).flatten().tolist() == [min(i + 26, 255) for i in range(256)]


def test_contrast_shrinks_every_channel_towards_its_mean() -> None:
    x = images(2, (3, 24, 40))
    mean = x.double().mean((2, 3), keepdim=True)
    expected = mean + (x.double() - mean) * 0.15
    assert float((corrupt(x, "contrast", 5, [0, 1]).double() - expected).abs().max()) < 0.501 / 255


def test_elastic_transform_maps_a_plane_to_a_plane_where_it_only_stretches() -> None:
    row, column = torch.arange(32)[:, None], torch.arange(32)
    x = ((3 * row + 4 * column).to(torch.float32) / 255)[None, None].expand(6, -1, -1, -1)
    middle = levels(corrupt(x, "elastic_transform", 1, range(6)))[:, 0, 10:22, 10:22].double()
    # Rounding moves each of the three pixels in a second difference by half a level.
    assert middle.diff(n=2, dim=1).abs().max() <= 2
    assert middle.diff(n=2, dim=2).abs().max() <= 2
    assert (middle - x[:, 0, 10:22, 10:22] * 255).abs().mean() > 1


def test_pixelation_leaves_blocks_of_its_own_size_alone() -> None:
    blocks = images(1, (3, 56, 56)).repeat_interleave(4, 2).repeat_interleave(4, 3)
    assert torch.equal(corrupt(blocks, "pixelate", 5, [0]), blocks)
    assert torch.equal(corrupt(blocks, "pixelate", 2, [0]), blocks)
    found = corrupt(images(1, (3, 224, 224)), "pixelate", 5, [0])
    assert torch.equal(found, found[:, :, ::4, ::4].repeat_interleave(4, 2).repeat_interleave(4, 3))


def test_jpeg_leaves_most_of_a_smooth_image_and_less_of_a_rough_one() -> None:
    smooth, rough = plain(0, (1, 1, 32, 32)) + torch.arange(32) / 64, images(1, (1, 32, 32))
    lost = [float((corrupt(x, "jpeg_compression", 5, [0]) - x).abs().mean()) for x in (smooth, rough)]
    assert lost[0] < 2 / 255 < lost[1]


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
