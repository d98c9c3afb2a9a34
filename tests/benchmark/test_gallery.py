"""Which points a gallery shows, and what passes for one."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence

import pytest

from benchmark.dataset_table import DATASETS
from benchmark.gallery import MAX_GALLERY_BYTES, MOST, SHOWN, Gallery, chosen
from benchmark.report import Points, canonical_json
from tests.store.pictures import clean_values, gallery_of, perturbed_values, pixels


def points(broken: Sequence[tuple[str | None, int, float]], first: int = 0) -> Points:
    """Points by what broke them, their class and the distance."""
    return Points(
        index=tuple(range(first, first + len(broken))),
        label=tuple(label for _, label, _ in broken),
        robust=tuple(by is None for by, _, _ in broken),
        broken_by=tuple(by for by, _, _ in broken),
        step=tuple(None for _ in broken),
        distance=tuple(None if by is None else distance for by, _, distance in broken),
    )


def test_attacks_take_turns_and_classes_are_spread() -> None:
    block = points([("apgd-ce", place % 10, 0.2) for place in range(300)] + [("square", 3, 0.1), ("fab-t", 3, 0.1)])
    found = chosen([block])
    assert len(found) == MOST
    assert {300, 301} <= set(found), "an attack that broke a single point has its place"
    others = Counter(block.label[index] for index in found if index < 300)
    assert others[3] == 0, "the class that the others have taken comes last"
    assert set(others.values()) <= {1, 2}


def test_the_nearest_come_first_and_of_equals_the_first_in_the_data_set() -> None:
    near = points([("apgd-ce", 0, 0.2), ("apgd-ce", 0, 0.05), ("apgd-ce", 1, 0.2), ("apgd-ce", 1, 0.2)] * 10)
    assert chosen([near]) == (1, 2, 3, 5, 6, 7, 9, 10, 11, 13, 17, 21), "six of either class"


def test_the_choice_follows_from_the_verdicts_and_not_from_the_shards() -> None:
    by = ("apgd-ce", "square", None, "clean")
    rows = [(by[place % 4], place % 10, 0.01 * (place % 7 + 1)) for place in range(90)]
    together = chosen([points(rows)])
    assert together == chosen([points(rows[:31]), points(rows[31:], 31)])
    assert together == tuple(sorted(together))
    assert all(rows[index][0] in {"apgd-ce", "square"} for index in together)


@pytest.mark.parametrize("rows", [[], [(None, 0, 0.0)], [("clean", 0, 0.0)]])
def test_where_no_attack_broke_anything_there_is_nothing_to_see(rows: list[tuple[str | None, int, float]]) -> None:
    assert chosen([points(rows)] if rows else []) == ()


def test_few_broken_points_are_all_shown() -> None:
    assert chosen([points([(None, 0, 0.0), ("square", 1, 0.2), ("square", 1, 0.2)])]) == (1, 2)


def test_only_images_are_shown_that_may_be() -> None:
    """ImageNet's never, and none that are kept to some uses."""
    assert not [name for name in SHOWN if "imagenet" in name]
    for name, shown in SHOWN.items():
        entry = DATASETS[name]
        assert shown.shape == entry.shape
        assert shown.credit.startswith(entry.title)
        assert entry.terms.split(",")[0] in shown.credit or entry.terms.startswith("no licence is stated")
    forbidding = ("ImageNet", "non-commercial", "research purposes")
    assert not [name for name in SHOWN if any(word in DATASETS[name].terms for word in forbidding)]


def test_comes_back_as_it_was_written() -> None:
    gallery = gallery_of([3, 7])
    again = Gallery.from_bytes(gallery.to_bytes())
    assert (again, again.to_bytes()) == (gallery, gallery.to_bytes())
    assert again.images(7) == (tuple(clean_values(7, 64)), tuple(perturbed_values(7, 64)))


def altered(**changes: object) -> bytes:
    return canonical_json(gallery_of([3, 7]).model_dump(mode="json") | changes)


def with_image(values: Sequence[float]) -> bytes:
    return altered(perturbed=[pixels(values), pixels(perturbed_values(7, 64))])


def one_value(value: float) -> bytes:
    return with_image([value, *perturbed_values(3, 64)[1:]])


HOSTILE: dict[str, Callable[[], bytes]] = {
    "nothing": lambda: b"",
    "no JSON": lambda: b"\x00\xff",
    "no gallery": lambda: b"[]",
    "deeply nested": lambda: b"[" * 100_000,
    "too large": lambda: b" " * MAX_GALLERY_BYTES + gallery_of([3]).to_bytes(),
    "an unknown field": lambda: altered(extra=1),
    "no image": lambda: altered(index=[], clean=[], perturbed=[]),
    "more than there may be": lambda: canonical_json(
        {name: value * 7 if isinstance(value, list) and name != "shape" else value
         for name, value in gallery_of([3, 7]).model_dump(mode="json").items()}
    ),
    "fewer images than points": lambda: altered(clean=gallery_of([3]).clean),
    "the same point twice": lambda: altered(index=[3, 3]),
    "a point that is none": lambda: altered(index=[-1, 7]),
    "images that may not be shown": lambda: altered(dataset="imagenet", shape=[3, 224, 224]),
    "an unknown data set": lambda: altered(dataset="../../etc"),
    "another shape": lambda: altered(shape=[1, 8, 9]),
    "an absurd shape": lambda: altered(shape=[2**40, 2**40, 2**40]),
    "an image that is too short": lambda: with_image(perturbed_values(3, 63)),
    "an image that is too long": lambda: with_image(perturbed_values(3, 65)),
    "no base64": lambda: altered(perturbed=["<svg onload=alert(1)>", pixels(perturbed_values(7, 64))]),
    "not a number": lambda: one_value(float("nan")),
    "infinity": lambda: one_value(float("inf")),
    "below black": lambda: one_value(-0.01),
    "above white": lambda: one_value(1.01),
    "over the budget": lambda: one_value(0.9),
    "the clean image": lambda: with_image(clean_values(3, 64)),
    "a budget that is none": lambda: altered(epsilon="1/0"),
    "a budget in words": lambda: altered(epsilon="much"),
    "another norm": lambda: altered(norm="L0"),
    "too far in another norm": lambda: altered(norm="L2"),
}  # fmt: skip


@pytest.mark.parametrize("kind", HOSTILE)
def test_what_is_no_sound_gallery_is_refused(kind: str) -> None:
    with pytest.raises(ValueError, match=r"\w"):
        Gallery.from_bytes(HOSTILE[kind]())


def test_what_is_not_altered_is_sound() -> None:
    assert Gallery.from_bytes(altered()).index == (3, 7)


@pytest.mark.parametrize(("norm", "epsilon", "fits"), [("L2", "71/100", True), ("L2", "7/10", False),
                                                       ("L1", "4", True), ("L1", "399/100", False)])  # fmt: skip
def test_distances_are_those_of_the_norm(norm: str, epsilon: str, fits: bool) -> None:
    """32 of 64 pixels are moved by 1/8: that is 4 in L1, and the root of one half in L2."""
    try:
        gallery_of([3], norm=norm, epsilon=epsilon)
    except ValueError:
        assert not fits
    else:
        assert fits


def test_colours_fit_too() -> None:
    gallery = gallery_of(range(MOST), dataset="cifar10", epsilon="8/255", perturbed=[
        pixels([value + 0.03 for value in clean_values(index, 3072)]) for index in range(MOST)
    ])  # fmt: skip
    assert len(gallery.to_bytes()) < MAX_GALLERY_BYTES / 8
