"""What each corruption does, where it can be said in closed form."""

from __future__ import annotations

import colorsys

import pytest
import torch

from benchmark.corruptions import CORRUPTIONS, SEVERITIES, corrupt
from tests.benchmark.pictures import images, levels, plain


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
