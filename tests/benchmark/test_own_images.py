"""Image folders and .npz files of one's own, careful and careless ones."""

from __future__ import annotations

import os
import re
import struct
import zipfile
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from benchmark import ThreatModel, evaluate
from benchmark.datasets import load
from benchmark.errors import InvalidData, InvalidInput, NotFound
from tests.benchmark.data_files import drawn, labels_of, write_image
from tests.benchmark.models import Linear


def write_folder(folder: Path, classes: int = 3, each: int = 4, side: int = 16) -> None:
    for label in range(classes):
        for number in range(each):
            pixels = np.full((side, side, 3), 60 * label + number, dtype=np.uint8)
            write_image(folder / f"class{label}" / f"{number}.png", pixels)


def test_a_folder_gives_labels_by_the_order_of_its_classes(tmp_path: Path) -> None:
    write_folder(tmp_path)
    points = load(tmp_path)
    assert points.x.shape == (12, 3, 16, 16)
    levels = (points.x[:, 0, 0, 0] * 255).round().int()
    assert (levels // 60).tolist() == points.y.tolist()
    assert sorted(levels.tolist()) == [60 * label + number for label in range(3) for number in range(4)]
    assert set(points.y[:6].tolist()) == {0, 1, 2}
    for name in (f"folder:{tmp_path}", str(tmp_path)):
        assert torch.equal(load(name).x, points.x)
    assert torch.equal(load(tmp_path, index=[5]).x, points.x[5:6])


def test_an_added_image_leaves_the_order_of_the_others(tmp_path: Path) -> None:
    write_folder(tmp_path)
    before = load(tmp_path)
    write_image(tmp_path / "class1/new.png", np.full((16, 16, 3), 255, dtype=np.uint8))
    after = load(tmp_path)
    kept = [place for place in range(13) if float(after.x[place].mean()) < 1]
    assert torch.equal(after.x[kept], before.x)


def test_a_split_is_a_folder_within(tmp_path: Path) -> None:
    write_folder(tmp_path / "test", each=2)
    write_folder(tmp_path / "train", each=3)
    assert len(load(tmp_path).y) == 6
    assert len(load(tmp_path, "train").y) == 9
    with pytest.raises(NotFound, match="no folder val"):
        load(tmp_path, "val")


def test_what_belongs_to_no_class_is_left_out(tmp_path: Path) -> None:
    write_folder(tmp_path)
    (tmp_path / ".git").mkdir()
    (tmp_path / "__MACOSX").mkdir()
    (tmp_path / "README.txt").write_text("images", encoding="ascii")
    (tmp_path / "class0/Thumbs.db").write_bytes(b"x")
    (tmp_path / "class0/._0.png").write_bytes(b"x")
    assert len(load(tmp_path).y) == 12


def bad_folder(tmp_path: Path, kind: str) -> Path:
    match kind:
        case "empty":
            pass
        case "images without classes":
            write_image(tmp_path / "0.png", drawn(1)[0])
        case "a class without images":
            write_folder(tmp_path)
            (tmp_path / "class9").mkdir()
        case "a class of other files":
            write_folder(tmp_path)
            (tmp_path / "class9").mkdir()
            (tmp_path / "class9/a.txt").write_text("no image", encoding="ascii")
        case "a level above":
            write_folder(tmp_path / "pictures")
        case "splits":
            write_folder(tmp_path / "train/inner")
            write_folder(tmp_path / "val/inner")
        case _:
            return tmp_path / "nowhere"
    return tmp_path


@pytest.mark.parametrize(
    ("kind", "message"),
    [
        ("empty", "found no folders"),
        ("images without classes", "no folders, 1 images"),
        ("a class without images", "class9: found nothing"),
        ("a class of other files", "class9: found no images, 1 other files"),
        ("a level above", "pictures: found no images, but the folder class0"),
        ("splits", "names of splits"),
        ("missing", "nowhere"),
    ],
)
def test_a_folder_of_another_layout_is_refused_with_what_was_found(tmp_path: Path, kind: str, message: str) -> None:
    with pytest.raises(InvalidInput, match=message):
        load(bad_folder(tmp_path, kind))


def one_image(tmp_path: Path, image: Image.Image, name: str = "0.png", **options: Any) -> Path:
    (tmp_path / "a").mkdir()
    image.save(tmp_path / "a" / name, **options)
    return tmp_path


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGBA", "CMYK", "YCbCr"])
def test_images_of_every_mode_become_rgb(tmp_path: Path, mode: str) -> None:
    image = Image.fromarray(drawn(1, 16)[0]).convert(mode)
    name = "0.jpg" if mode in ("CMYK", "YCbCr") else "0.png"
    points = load(one_image(tmp_path, image, name))
    assert points.x.shape == (1, 3, 16, 16)
    if mode == "L":
        assert torch.equal(points.x[0, 0], points.x[0, 2])


def test_a_palette_may_be_transparent(tmp_path: Path) -> None:
    image = Image.fromarray(drawn(1, 16)[0]).convert("P")
    points = load(one_image(tmp_path, image, transparency=bytes(256)))
    expected = np.array(image.convert("RGB"))
    assert torch.equal(points.x[0], torch.from_numpy(expected).permute(2, 0, 1).to(torch.float32) / 255)


def test_a_cameras_note_of_how_it_was_held_is_not_followed(tmp_path: Path) -> None:
    image = Image.fromarray(drawn(1, 16)[0, :, :8])
    exif = Image.Exif()
    exif[0x0112] = 6  # rotate by 90 degrees
    assert load(one_image(tmp_path, image, "0.jpg", exif=exif)).x.shape == (1, 3, 16, 8)


def png_of_size(width: int, height: int) -> bytes:
    """A file whose header promises that size, with next to nothing behind it."""

    def chunk(kind: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    data = chunk(b"IDAT", zlib.compress(bytes(1000)))
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + data + chunk(b"IEND", b"")


BAD_IMAGES: dict[str, tuple[bytes, str]] = {
    "empty": (b"", "an image in one of the formats"),
    "text": (b"no image at all", "an image in one of the formats"),
    "svg": (b"<svg xmlns='http://www.w3.org/2000/svg'/>", "an image in one of the formats"),
    "postscript": (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", "an image in one of the formats"),
    "large": (png_of_size(9_000, 9_000), "at most"),
    "huge": (png_of_size(60_000, 60_000), "at most"),
    "cut off": (png_of_size(100, 100), "an image in one of the formats"),
}


@pytest.mark.parametrize("kind", BAD_IMAGES)
def test_a_file_that_is_no_sound_image_is_named(tmp_path: Path, kind: str) -> None:
    write_folder(tmp_path, classes=1, each=1)
    content, message = BAD_IMAGES[kind]
    (tmp_path / "class0/bad.png").write_bytes(content)
    with pytest.raises(InvalidData, match=rf"bad\.png.*{message}"):
        load(tmp_path)


def test_sixteen_bits_are_refused_rather_than_cut_off(tmp_path: Path) -> None:
    image = Image.fromarray(np.full((8, 8), 40_000, dtype=np.uint16))
    with pytest.raises(InvalidData, match="mode I;16"):
        load(one_image(tmp_path, image))


def test_a_pipe_is_no_image(tmp_path: Path) -> None:
    write_folder(tmp_path, classes=1)
    os.mkfifo(tmp_path / "class0/pipe.png")
    with pytest.raises(InvalidData, match="1 of 5 images are missing"):
        load(tmp_path)


def test_images_of_several_sizes_need_a_preprocessing(tmp_path: Path) -> None:
    write_folder(tmp_path)
    write_image(tmp_path / "class0/large.png", drawn(1, 40)[0])
    with pytest.raises(InvalidInput, match=r"preprocessing: found images of .* of 3×16×16 and of 3×40×40"):
        load(tmp_path)
    assert load(tmp_path, preprocessing="Res32Crop32").x.shape == (13, 3, 32, 32)
    assert load(tmp_path, shape=(1, 20, 20)).x.shape == (13, 1, 20, 20)
    with pytest.raises(NotFound, match="Res256Crop224"):
        load(tmp_path, preprocessing="Res512")
    with pytest.raises(InvalidInput, match="one of them"):
        load(tmp_path, preprocessing="none", shape=(3, 8, 8))
    with pytest.raises(InvalidInput, match="a height that is the width"):
        load(tmp_path, shape=(3, 8, 9))


def test_several_sizes_are_found_beyond_the_first_chunk(tmp_path: Path) -> None:
    write_folder(tmp_path, classes=2, each=130, side=4)
    last = load(tmp_path, index=[259])
    label, number = int(last.y), round(float(last.x.mean()) * 255) - 60 * int(last.y)
    write_image(tmp_path / f"class{label}/{number}.png", drawn(1, 5)[0])
    with pytest.raises(InvalidInput, match="3×4×4 and of 3×5×5"):
        load(tmp_path)


def save(path: Path, **arrays: Any) -> Path:
    np.savez(path, **arrays)
    return path


IMAGES, LABELS = drawn(6, 8), labels_of(6, 3)


@pytest.mark.parametrize(
    ("arrays", "channels"),
    [
        ({"x": IMAGES, "y": LABELS}, 3),
        ({"images": IMAGES, "labels": LABELS.astype(np.int32)}, 3),
        ({"x": IMAGES.transpose(0, 3, 1, 2), "y": LABELS}, 3),
        ({"x": np.asfortranarray(IMAGES), "y": LABELS[:, None]}, 3),
        ({"x": (IMAGES / np.float32(255)).astype(np.float32), "y": LABELS}, 3),
        ({"x": IMAGES / 255, "y": LABELS}, 3),
        ({"x_test": IMAGES, "y_test": LABELS, "x_train": IMAGES[:2], "y_train": LABELS[:2]}, 3),
        ({"x": IMAGES[..., 0], "y": LABELS}, 1),
        ({"x": IMAGES[..., :1], "y": LABELS}, 1),
    ],
)
def test_a_file_of_arrays_is_read_whatever_their_order(tmp_path: Path, arrays: dict[str, Any], channels: int) -> None:
    points = load(save(tmp_path / "points.npz", **arrays))
    expected = torch.from_numpy(IMAGES).permute(0, 3, 1, 2).to(torch.float32) / 255
    assert torch.equal(points.x, expected[:, :channels])
    assert points.y.tolist() == LABELS.tolist()
    if "x_train" in arrays:
        assert len(load(tmp_path / "points.npz", "train").y) == 2


def with_value(value: float) -> Any:
    changed = (IMAGES / 255).astype(np.float32)
    changed[3, 1, 1, 1] = value
    return changed


BAD_ARRAYS: dict[str, tuple[dict[str, Any], str]] = {
    "levels as floats": ({"x": IMAGES.astype(np.float32), "y": LABELS}, "divide by 255"),
    "normalised": ({"x": IMAGES / 127.5 - 1, "y": LABELS}, "undo the normalisation"),
    "slightly above": ({"x": with_value(1.0001), "y": LABELS}, "values from 0 to 1"),
    "not a number": ({"x": with_value(float("nan")), "y": LABELS}, "1 images with values that are no numbers.* at 3"),
    "infinite": ({"x": with_value(float("inf")), "y": LABELS}, "no numbers"),
    "integers": ({"x": IMAGES.astype(np.int64), "y": LABELS}, "uint8"),
    "flat": ({"x": IMAGES.reshape(6, -1), "y": LABELS}, r"\(n, h, w, c\)"),
    "five dimensions": ({"x": IMAGES[None], "y": LABELS}, r"\(n, h, w, c\)"),
    "either way": ({"x": IMAGES[:, :3], "y": LABELS}, "both may be the channels"),
    "four channels": ({"x": np.concatenate([IMAGES, IMAGES[..., :1]], -1), "y": LABELS}, "neither has"),
    "one-hot": ({"x": IMAGES, "y": np.eye(3, dtype=np.uint8)[LABELS]}, "argmax"),
    "labels as floats": ({"x": IMAGES, "y": LABELS.astype(np.float32)}, "int64"),
    "labels below 0": ({"x": IMAGES, "y": LABELS.astype(np.int64) - 1}, "labels from -1"),
    "labels beyond": ({"x": IMAGES, "y": LABELS.astype(np.uint64) + 2**63}, "labels from"),
    "fewer labels": ({"x": IMAGES, "y": LABELS[:5]}, "6 images and 5 labels"),
    "other names": ({"data": IMAGES, "target": LABELS}, "found data, target, expected x_test and y_test or x and y"),
    "no labels": ({"x": IMAGES}, "found x"),
    "no points": ({"x": IMAGES[:0], "y": LABELS[:0]}, "x of shape"),
    "objects": ({"x": np.array([object()]), "y": LABELS}, "type object"),
    "words": ({"x": IMAGES, "y": np.array(["cat"] * 6)}, "numbers"),
}


@pytest.mark.parametrize("kind", BAD_ARRAYS)
def test_arrays_that_are_no_points_are_refused_with_what_to_do(tmp_path: Path, kind: str) -> None:
    arrays, message = BAD_ARRAYS[kind]
    np.savez(tmp_path / "points.npz", allow_pickle=True, **arrays)
    with pytest.raises(InvalidData) as error:
        load(tmp_path / "points.npz")
    assert error.value.detail is not None
    assert re.search(message, f"{error.value.message} {error.value.detail.remedy}")


def test_a_zip_bomb_is_not_unpacked(tmp_path: Path) -> None:
    """An array whose header says little and whose member holds much, and one whose header says much."""
    path = tmp_path / "points.npz"
    save(path, x=IMAGES, y=LABELS)
    with zipfile.ZipFile(path) as archive:
        small = archive.read("x.npy")
        labels = archive.read("y.npy")
    large = small.replace(b"(6, 8, 8, 3), }         ", b"(99999999, 8, 8, 3), }  ")
    assert len(large) == len(small)
    assert large != small
    for content, message in ((small + bytes(50_000_000), "longer than its header says"), (large, "of shape")):
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
            archive.writestr("x.npy", content)
            archive.writestr("y.npy", labels)
        with pytest.raises(InvalidData, match=message):
            load(path)


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04" + bytes(50), b"\x93NUMPY", b"<!DOCTYPE html>"])
def test_a_file_that_is_no_archive_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "points.npz").write_bytes(content)
    with pytest.raises(InvalidData, match=r"numpy\.savez"):
        load(tmp_path / "points.npz")


def test_a_damaged_archive_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "points.npz"
    np.savez_compressed(path, x=IMAGES, y=LABELS)
    content = bytearray(path.read_bytes())
    content[200] ^= 0xFF
    path.write_bytes(content)
    with pytest.raises(InvalidData):
        load(path)


def test_other_files_and_names_are_answered_with_what_would_do(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "points.npy").write_bytes(b"")
    with pytest.raises(InvalidInput, match=r"a file of kind \.npy"):
        load(tmp_path / "points.npy")
    with pytest.raises(NotFound, match=r"nowhere\.npz"):
        load(tmp_path / "nowhere.npz")
    monkeypatch.chdir(tmp_path)
    write_folder(tmp_path / "pictures")
    with pytest.raises(NotFound) as error:
        load("pictures")
    assert error.value.detail is not None
    assert '"./pictures"' in error.value.detail.remedy
    assert len(load("./pictures").y) == 12


def test_ones_own_points_are_evaluated(tmp_path: Path) -> None:
    points = load(save(tmp_path / "points.npz", x=IMAGES, y=LABELS))
    report = evaluate(Linear((3, 8, 8), 3), points.x, points.y, ThreatModel("Linf", "1/255")).report
    assert report.n_points == 6
