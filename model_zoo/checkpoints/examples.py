"""Files of adversarial examples, read as hostile input and without torch: format, shape, and points they are for."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal, NoReturn

from benchmark.datasets import SHAPES
from benchmark.errors import InvalidCheckpoint, InvalidExamples, NotFound
from model_zoo.checkpoints.header import Header, is_no_length, read_header, shown
from model_zoo.checkpoints.npy import KEEP_PRECISION, SCALE, WRITE_AGAIN, DType, begins_npy, read_npy_header

TENSOR = "x_adv"
"""Name of the tensor that holds the examples, in a safetensors file with several."""

_DTYPES: Mapping[str, DType] = {"F32": "F32", "F64": "F64"}
_REMEDIES: Mapping[str, str] = {
    "F16": KEEP_PRECISION,
    "BF16": KEEP_PRECISION,
    "F8_E5M2": KEEP_PRECISION,
    "F8_E4M3": KEEP_PRECISION,
}
"""What to do about a tensor of another type; the rest are integers."""

_SHOWN_NAMES = 3
_SAVE_TENSOR = 'upload the whole file, or write it again with safetensors.torch.save_file({"x_adv": x_adv}, file)'


@dataclass(frozen=True)
class ExamplesFile:
    """A sound file of images; its values are not looked at.

    Args:
        format: of the file.
        shape: (n, c, h, w), each at least 1.
        dtype: element type in safetensors' words.
        data_start: where the values begin in the file; they lie there in order, without a gap.
    """

    format: Literal["npy", "safetensors"]
    shape: tuple[int, int, int, int]
    dtype: DType
    data_start: int


def check_examples(path: Path) -> ExamplesFile:
    """Check that a file holds images: a .npy file, or a safetensors file with one tensor or with one named x_adv.

    Half precision is refused although it could be read: it moves pixels by more than the judge's tolerance, so honest
    examples would be found over budget.

    Raises:
        InvalidExamples: it is of another format or type, or not sound.
    """
    with path.open("rb") as file:
        beginning = file.read(8)
    if begins_npy(beginning):
        header = read_npy_header(path)
        return ExamplesFile("npy", _images_shape(header.shape), header.dtype, header.data_start)
    if is_no_length(beginning):
        _refuse_other_kind(beginning)
    return _check_tensor(_read_header(path))


def check_examples_fit(path: Path, shape: tuple[int, int, int], count: int) -> ExamplesFile:
    """Check a file again, and that it holds one image for each point.

    Args:
        path: of the file.
        shape: (c, h, w) of the points.
        count: number of points.
    Raises:
        InvalidExamples: it is not sound, or holds images of another shape or another number of them.
    """
    found = check_examples(path)
    expected = f"shape ({count}, {shape[0]}, {shape[1]}, {shape[2]}): one image for each of the {count} points"
    if found.shape[1:] != shape:
        channels, height, width = shape
        last = found.shape[1:] == (height, width, channels)
        images = _images(found.shape)
        _refuse(
            "shape",
            found=f"{images}: channels last?" if last else images,
            expected=expected,
            remedy="put the channels first: x_adv.transpose(0, 3, 1, 2) in numpy, x_adv.permute(0, 3, 1, 2) in torch"
            if last
            else "attack the points of this data set, at their own size",
        )
    if found.shape[0] != count:
        _refuse(
            "count",
            found=_images(found.shape),
            expected=expected,
            remedy="give every point an image, in their order: where none was found, the clean one",
        )
    return found


def check_examples_of(path: Path, dataset: str, count: int) -> ExamplesFile:
    """Check that a file holds one image for each of the points of a data set.

    Args:
        path: of the file.
        dataset: data set id, such as "digits".
        count: number of points.
    Raises:
        InvalidExamples: it does not.
        NotFound: no such data set is evaluated here.
    """
    if dataset not in SHAPES:
        raise NotFound.because(
            "dataset",
            found=dataset,
            expected=f"one of {', '.join(SHAPES)}",
            remedy="choose a data set that is evaluated here",
        )
    return check_examples_fit(path, SHAPES[dataset], count)


def _read_header(path: Path) -> Header:
    try:
        return read_header(path)
    except InvalidCheckpoint as error:
        # What is wrong with the file is the same; what to do about it is not.
        detail = error.detail and replace(error.detail, remedy=_SAVE_TENSOR)
        raise InvalidExamples(error.message, detail) from error


def _check_tensor(header: Header) -> ExamplesFile:
    names = list(header.tensors)
    if len(names) > 1 and TENSOR not in names:
        listed = ", ".join(shown(name) for name in names[:_SHOWN_NAMES])
        found = f"{len(names)} tensors: {listed}" + (" and more" if len(names) > _SHOWN_NAMES else "")
        _refuse("tensors", found=found, expected=f'one, or one named "{TENSOR}"', remedy=f'name the images "{TENSOR}"')
    name = TENSOR if TENSOR in names else names[0]
    entry = header.tensors[name]
    if entry.dtype not in _DTYPES:
        _refuse(
            f"tensor {shown(name)}",
            found=f"dtype {entry.dtype}",
            expected="dtype F32 or F64",
            remedy=_REMEDIES.get(entry.dtype, SCALE),
        )
    return ExamplesFile(
        "safetensors", _images_shape(entry.shape), _DTYPES[entry.dtype], header.data_start + entry.begin
    )


def _images_shape(shape: tuple[int, ...]) -> tuple[int, int, int, int]:
    if len(shape) != 4 or min(shape) < 1:
        _refuse(
            "shape",
            found=str(list(shape)),
            expected="[n, channels, height, width], each at least 1",
            remedy="save all images in one array, channels first, with a dimension for the channels of grey images too",
        )
    return shape


def _images(shape: tuple[int, int, int, int]) -> str:
    return f"{shape[0]} images of {'×'.join(str(size) for size in shape[1:])}"


def _refuse_other_kind(beginning: bytes) -> NoReturn:
    if beginning.startswith(b"PK\x03\x04"):
        found = "a zip archive, as numpy.savez and torch.save write"
    elif beginning.startswith(b"\x80"):
        found = "a pickle, which is never read"
    else:
        found = f"a file of another kind, which begins with {shown(beginning)}"
    _refuse("file", found=found, expected="a .npy file or a safetensors file", remedy=WRITE_AGAIN)


def _refuse(field: str, *, found: str, expected: str, remedy: str) -> NoReturn:
    raise InvalidExamples.because(field, found=found, expected=expected, remedy=remedy)
