"""Files of adversarial examples: what is taken, for which points, what the tensor is, and what is said of the rest."""

from __future__ import annotations

import json
import math
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import save_file

from benchmark import datasets
from benchmark.errors import InvalidCheckpoint, InvalidExamples, NotFound
from gauntlet.admission import ZooAdmission
from model_zoo.checkpoints.examples import ExamplesFile, check_examples, check_examples_fit, check_examples_of
from model_zoo.checkpoints.formats import check_file, check_upload
from model_zoo.checkpoints.header import ITEM_BYTES
from model_zoo.examples import load_examples
from model_zoo.registry import bundled_checkpoint, card
from tests.model_zoo.exported import Small, export
from tests.model_zoo.files import entry, npy, npy_header, packed
from tests.model_zoo.test_readers_properties import bounded, change_bytes, change_value

IMAGES = np.random.default_rng(0).random((5, 2, 3, 4), dtype=np.float32)
SHAPE = (2, 3, 4)
PIXELS = IMAGES.tobytes()


def save(path: Path, tensors: dict[str, np.ndarray[Any, Any]]) -> Path:
    save_file({name: torch.from_numpy(array) for name, array in tensors.items()}, path)
    return path


def save_npy(path: Path, array: np.ndarray[Any, Any]) -> Path:
    np.save(path, array)
    return path


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_both_formats_give_the_images_whatever_the_files_name(tmp_path: Path, dtype: str) -> None:
    images = IMAGES.astype(dtype)
    for name, path in (
        ("npy", save_npy(tmp_path / "a.npy", images)),
        ("safetensors", save(tmp_path / "b.npy", {"adversarial": images})),
        ("safetensors", save(tmp_path / "c", {"a": images[:1], "x_adv": images, "y": np.zeros(5, np.int64)})),
    ):
        found = check_examples(path)
        assert found == ExamplesFile(found.format, (5, 2, 3, 4), found.dtype, found.data_start)
        assert (found.format, found.dtype) == (name, {"float32": "F32", "float64": "F64"}[dtype])
        loaded = load_examples(path)
        assert loaded.dtype == torch.float32
        assert torch.equal(loaded, torch.from_numpy(IMAGES))
        loaded.zero_()  # of the caller's own: the file stays as it is
        assert torch.equal(load_examples(path), torch.from_numpy(IMAGES))


def test_float64_is_rounded_to_float32(tmp_path: Path) -> None:
    images = np.random.default_rng(1).random((20, 1, 8, 8))
    loaded = load_examples(save_npy(tmp_path / "x.npy", images))
    assert torch.equal(loaded, torch.from_numpy(images).to(torch.float32))
    assert float((loaded.double() - torch.from_numpy(images)).abs().max()) < 3e-8


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_values_are_not_judged(tmp_path: Path, dtype: str) -> None:
    images = IMAGES.astype(dtype)
    images[0, 0, 0] = [np.nan, np.inf, -np.inf, -3]
    images[1, 0, 0, 0] = 7
    for path in (save_npy(tmp_path / "x.npy", images), save(tmp_path / "x.safetensors", {"x_adv": images})):
        loaded = load_examples(path)
        assert np.array_equal(loaded.numpy(), images.astype("float32"), equal_nan=True)


def test_channels_moved_in_numpy_are_taken_in_the_order_that_numpy_shows(tmp_path: Path) -> None:
    last = np.ascontiguousarray(IMAGES.transpose(0, 2, 3, 1))
    loaded = load_examples(save_npy(tmp_path / "x.npy", last.transpose(0, 3, 1, 2)))
    assert torch.equal(loaded, torch.from_numpy(IMAGES))


def zipped(path: Path) -> Path:
    np.savez(path, x_adv=IMAGES)
    return path.with_name(path.name + ".npz")


def torch_saved(path: Path, *, legacy: bool) -> Path:
    torch.save(torch.from_numpy(IMAGES), path, _use_new_zipfile_serialization=not legacy)
    return path


def raw(content: bytes) -> Callable[[Path], Path]:
    def write(path: Path) -> Path:
        path.write_bytes(content)
        return path

    return write


def listed(header: dict[str, object], data: bytes) -> Callable[[Path], Path]:
    return raw(packed(header, data))


# What is wrong: (makes the file, a word of the message, a word of the remedy).
REFUSED: dict[str, tuple[Callable[[Path], Path], str, str]] = {
    "nothing": (raw(b""), "0 bytes", "whole file"),
    "noise": (raw(b"\xff" * 80), "another kind", "numpy.save"),
    "a text": (raw(b"0.1, 0.2, 0.3\n" * 9), "another kind", "numpy.save"),
    "an archive of arrays": (zipped, "zip archive", "numpy.save"),
    "a tensor of torch.save": (lambda path: torch_saved(path, legacy=False), "zip archive", "numpy.save"),
    "an old one": (lambda path: torch_saved(path, legacy=True), "a pickle", "numpy.save"),
    "a single image": (lambda path: save_npy(path, IMAGES[0]), "[2, 3, 4]", "channels first"),
    "rows": (lambda path: save_npy(path, IMAGES.reshape(5, -1)), "[5, 24]", "channels first"),
    "grey images": (lambda path: save(path, {"x": IMAGES[:, 0].copy()}), "[5, 3, 4]", "grey images"),
    "no images": (lambda path: save_npy(path, IMAGES[:0]), "[0, 2, 3, 4]", "all images"),
    "images without pixels": (lambda path: save(path, {"x": IMAGES[:, :, :0].copy()}), "[5, 2, 0, 4]", "all images"),
    "a number": (lambda path: save_npy(path, np.array(0.5, np.float32)), "[]", "all images"),
    "several tensors": (
        lambda path: save(path, {name: IMAGES.copy() for name in "abcd"}),
        "'a', 'b', 'c' and more",
        "x_adv",
    ),
    "no tensor": (listed({}, b""), "no tensors", "x_adv"),
    "a cut tensor": (listed({"x_adv": entry(0, 480, (5, 2, 3, 4))}, PIXELS[:-1]), "479 bytes", "the whole file"),
    "a cut array": (raw(npy(npy_header(shape="(5, 2, 3, 4)"), PIXELS[:-1])), "479 bytes", "truncated"),
    "more than a tensor": (listed({"x_adv": entry(0, 480, (5, 2, 3, 4))}, PIXELS + b"\0"), "1 bytes after", "x_adv"),
    "half precision": (listed({"x": entry(0, 128, (1, 1, 8, 8), "F16")}, bytes(128)), "dtype F16", "0.00024"),
    "bfloat16": (listed({"x": entry(0, 128, (1, 1, 8, 8), "BF16")}, bytes(128)), "dtype BF16", "0.00024"),
    "8-bit pixels": (listed({"x": entry(0, 128, (2, 1, 8, 8), "U8")}, bytes(128)), "dtype U8", "8-bit pixels by 255"),
    "integers": (listed({"x": entry(0, 512, (1, 1, 8, 8), "I64")}, bytes(512)), "dtype I64", "[0, 1]"),
    "8-bit pixels of numpy": (lambda path: save_npy(path, IMAGES.astype("uint8")), "|u1", "8-bit pixels by 255"),
    "half precision of numpy": (lambda path: save_npy(path, IMAGES.astype("float16")), "<f2", "0.00024"),
    "Fortran's order": (lambda path: save_npy(path, np.asfortranarray(IMAGES)), "fortran_order", "ascontiguousarray"),
}


@pytest.mark.parametrize("trouble", REFUSED)
def test_what_is_no_file_of_images_is_refused_with_the_way_out(tmp_path: Path, trouble: str) -> None:
    write, word, remedy = REFUSED[trouble]
    path = write(tmp_path / "x.npy")
    with pytest.raises(InvalidExamples) as caught:
        check_examples(path)
    error = caught.value
    assert error.code == "invalid_examples"
    assert word in error.message
    assert error.detail is not None
    assert remedy in error.detail.remedy
    json.dumps(error.as_json()).encode("ascii")
    for again in (load_examples, lambda path: check_examples_fit(path, SHAPE, 5)):
        with pytest.raises(InvalidExamples) as same:
            again(path)
        assert same.value.message == error.message


def test_examples_fit_the_points_they_are_for(tmp_path: Path) -> None:
    path = save_npy(tmp_path / "x.npy", IMAGES)
    assert check_examples_fit(path, SHAPE, 5) == check_examples(path)


@pytest.mark.parametrize(
    ("shape", "count", "found", "expected", "remedy"),
    [
        ((2, 3, 4), 6, "5 images of 2×3×4", "shape (6, 2, 3, 4)", "the clean one"),
        ((2, 3, 4), 4, "5 images of 2×3×4", "shape (4, 2, 3, 4)", "the clean one"),
        ((4, 2, 3), 5, "5 images of 2×3×4: channels last?", "shape (5, 4, 2, 3)", "transpose(0, 3, 1, 2)"),
        ((4, 2, 3), 6, "5 images of 2×3×4: channels last?", "shape (6, 4, 2, 3)", "transpose(0, 3, 1, 2)"),
        ((3, 32, 32), 5, "5 images of 2×3×4", "shape (5, 3, 32, 32)", "at their own size"),
    ],
)
def test_other_shapes_and_numbers_are_refused_with_words_that_help(
    tmp_path: Path, shape: tuple[int, int, int], count: int, found: str, expected: str, remedy: str
) -> None:
    for path in (save_npy(tmp_path / "x.npy", IMAGES), save(tmp_path / "x", {"x_adv": IMAGES})):
        with pytest.raises(InvalidExamples) as caught:
            check_examples_fit(path, shape, count)
        detail = caught.value.detail
        assert detail is not None
        assert detail.found == found
        assert detail.expected.startswith(expected)
        assert remedy in detail.remedy


def test_images_of_one_shape_either_way_round_are_taken_as_they_are(tmp_path: Path) -> None:
    cubes = np.zeros((2, 3, 3, 3), np.float32)
    assert check_examples_fit(save_npy(tmp_path / "x.npy", cubes), (3, 3, 3), 2).shape == (2, 3, 3, 3)


def test_a_data_set_says_what_fits_its_points(tmp_path: Path) -> None:
    x = datasets.load("digits", n=7).x.numpy()
    path = save_npy(tmp_path / "x.npy", x)
    admission = ZooAdmission(1)
    assert check_examples_of(path, "digits", 7).shape == (7, 1, 8, 8)
    admission.check_examples(path, "digits", 7)
    with pytest.raises(InvalidExamples, match="7 images of 1×8×8"):
        admission.check_examples(path, "digits", 8)
    with pytest.raises(InvalidExamples, match="8×8×1: channels last"):
        admission.check_examples(save_npy(tmp_path / "y.npy", x.transpose(0, 2, 3, 1)), "digits", 7)
    with pytest.raises(NotFound, match="cifar11"):
        admission.check_examples(path, "cifar11", 7)


def test_an_upload_is_a_checkpoint_or_examples(tmp_path: Path) -> None:
    checkpoint = bundled_checkpoint(card("Digits_Standard", "digits", "Linf"))
    examples = save_npy(tmp_path / "a.npy", IMAGES)
    tensors = save(tmp_path / "b", {"x_adv": IMAGES})
    network = export(Small(), tmp_path / "c")
    assert [check_upload(path) for path in (checkpoint, examples, tensors, network)] == [
        "safetensors", "npy", "safetensors", "pt2",
    ]  # fmt: skip
    for path in (checkpoint, examples, tensors, network):
        ZooAdmission(1).check_upload(path)
    with pytest.raises(InvalidExamples, match="u1"):
        ZooAdmission(1).check_upload(save_npy(tmp_path / "d.npy", IMAGES.astype("uint8")))
    with pytest.raises(InvalidCheckpoint, match="another kind"):
        ZooAdmission(1).check_upload(raw(b"import torch\n" * 9)(tmp_path / "e"))
    with pytest.raises(InvalidCheckpoint, match="another kind"):
        check_file(examples)


def changed_npy(draw: Callable[..., Any]) -> bytearray:
    """A file of numpy's with up to two fields changed, which may or may not be true of its values."""
    fields: dict[str, Any] = {"descr": "'<f4'", "order": "False", "sizes": [5, 2, 3, 4], "version": (1, 0), "copies": 1}
    others: dict[str, tuple[object, ...]] = {
        "descr": ("'<f8'", "'|O'", "'<f2'", "[('a', '<f4')]", "None", "'" + "<f4" * 500 + "'"),
        "order": ("True", "0"),
        "sizes": ([2, 5, 3, 4], [10, 2, 3, 4], [5, 2, 3, 2], [5, 24], [5, -2, -3, 4], [0] * 4, [2**62, 4], [10**30]),
        "version": ((2, 0), (3, 0), (9, 9)),
        "copies": (0, 2),
    }
    for name in draw(st.lists(st.sampled_from(list(others)), max_size=2)):
        fields[name] = draw(st.sampled_from(others[name]))
    shape = f"({', '.join(str(size) for size in fields['sizes'])},)"
    return bytearray(
        npy(npy_header(fields["descr"], fields["order"], shape), PIXELS * fields["copies"], fields["version"])
    )


def changed_tensors(draw: Callable[..., Any]) -> bytearray:
    """A safetensors file with other statements about its tensors."""
    header: dict[str, Any] = {"x_adv": entry(0, 480, [5, 2, 3, 4]), "y": entry(480, 500, [5], "I32")}
    for _ in range(draw(st.integers(0, 3))):
        change_value(header, draw)
    return bytearray(packed(header, PIXELS + bytes(20)))


@pytest.fixture(scope="module")
def changed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("changed") / "x"


@given(data=st.data())
@settings(max_examples=300)
def test_a_changed_file_loads_or_is_refused(changed: Path, data: st.DataObject) -> None:
    content = data.draw(st.sampled_from((changed_npy, changed_tensors)))(data.draw)
    for _ in range(data.draw(st.sampled_from((0, 0, 0, 1, 2)))):
        change_bytes(content, data.draw)
    changed.write_bytes(content)
    with bounded(changed):
        try:
            found = check_examples(changed)
        except InvalidExamples as error:
            json.dumps(error.as_json()).encode("ascii")
            with pytest.raises(InvalidExamples):
                load_examples(changed)
            return
        images = load_examples(changed)
    assert tuple(images.shape) == found.shape
    assert images.dtype == torch.float32
    assert math.prod(found.shape) * ITEM_BYTES[found.dtype] <= len(content) - found.data_start


def test_a_file_is_checked_without_reading_its_images(tmp_path: Path) -> None:
    shape = (2**20, 1, 8, 8)
    large = npy(npy_header(shape=str(shape))), packed({"x_adv": entry(0, 4 * math.prod(shape), shape)}, b"")
    for number, header in enumerate(large):
        path = tmp_path / str(number)
        with path.open("wb") as file:
            file.write(header)
            file.truncate(len(header) + 4 * math.prod(shape))
        tracemalloc.start()
        assert check_examples_fit(path, (1, 8, 8), 2**20).shape == shape
        assert tracemalloc.get_traced_memory()[1] < 2**20
        tracemalloc.stop()
