"""Which kind of file a submission is, by its content, and whether it is a sound one; free of torch."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Literal, NoReturn

from benchmark.errors import InvalidCheckpoint
from model_zoo.checkpoints.examples import check_examples
from model_zoo.checkpoints.header import is_no_length, read_header, shown
from model_zoo.checkpoints.npy import begins_npy
from model_zoo.checkpoints.pickles import EXPORT
from model_zoo.checkpoints.pt2 import read_program
from model_zoo.checkpoints.state_dicts import check_state_dict
from model_zoo.checkpoints.zip_archive import opened

Format = Literal["safetensors", "pt2", "state_dict"]
EXPORTED = "exported"
"""What a submission names in place of a registered architecture where its file holds the whole network."""

_ZIP = b"PK\x03\x04"
_PICKLE = b"\x80"
_ONNX = b"\x08"
"""The first field of a protocol buffer."""
_CONVERT = "run `gauntlet convert FILE` where the model was trained, and submit what it writes"


def check_file(path: Path) -> Format:
    """Return the format of a file that is a sound checkpoint of it.

    Raises:
        InvalidCheckpoint: it is of another format, with the way to one that is accepted, or not sound.
    """
    beginning = _beginning(path)
    if beginning.startswith(_ZIP):
        return _check_archive(path)
    if is_no_length(beginning):
        _refuse_other_kind(beginning)
    read_header(path)
    return "safetensors"


def check_upload(path: Path) -> Format | Literal["npy"]:
    """Return the format of a file that is a sound checkpoint, or a sound .npy file of adversarial examples.

    A safetensors file may be either; which, whoever refers to it says.

    Raises:
        InvalidCheckpoint: it is neither a .npy file nor a sound checkpoint.
        InvalidExamples: it is a .npy file, but not a sound one of images.
    """
    if begins_npy(_beginning(path)):
        check_examples(path)
        return "npy"
    return check_file(path)


def is_zip(path: Path) -> bool:
    """Tell whether a file is a zip archive, as torch.save has written since 1.6."""
    return _beginning(path).startswith(_ZIP)


def is_old_pickle(path: Path) -> bool:
    """Tell whether a file is what torch.save wrote before torch 1.6."""
    beginning = _beginning(path)
    return beginning.startswith(_PICKLE) and is_no_length(beginning)


def check_fits(path: Path, architecture: str) -> Format:
    """Check a file again, and that it is of the kind that the submission says; return its format.

    Raises:
        InvalidCheckpoint: it is not.
    """
    found = check_file(path)
    if found == "pt2" and architecture != EXPORTED:
        raise InvalidCheckpoint.because(
            "architecture",
            found=f"{architecture} with a file that holds a whole network",
            expected=EXPORTED,
            remedy=f"choose {EXPORTED}",
        )
    if found != "pt2" and architecture == EXPORTED:
        raise InvalidCheckpoint.because(
            "architecture",
            found=f"{EXPORTED} with a file that holds parameters alone",
            expected="the registered architecture that was trained",
            remedy="choose it, or export the network as a whole",
        )
    return found


def _check_archive(path: Path) -> Format:
    """Check an archive of one of the kinds that torch writes, by the members that tell them apart."""
    with opened(path) as archive:
        parts = [info.filename.partition("/")[2] for info in archive.infolist()]
    if _has(parts, "code/") or _has(parts, "constants.pkl"):
        _refuse("a TorchScript archive", remedy=EXPORT)
    if _has(parts, "data.pkl"):
        check_state_dict(path)
        return "state_dict"
    read_program(path)
    return "pt2"


def _beginning(path: Path) -> bytes:
    with path.open("rb") as file:
        return file.read(8)


def _refuse_other_kind(beginning: bytes) -> NoReturn:
    """Refuse a file whose first bytes are no length of a safetensors header, with the way out that it has."""
    if beginning.startswith(_PICKLE):
        _refuse("a pickle of the format before torch 1.6", remedy=_CONVERT)
    if beginning.startswith(_ONNX):
        _refuse("an ONNX file", remedy=EXPORT)
    _refuse(f"a file of another kind, which begins with {shown(beginning)}", remedy=EXPORT)


def _has(names: Sequence[str], beginning: str) -> bool:
    return any(name.startswith(beginning) for name in names)


def _refuse(found: str, *, remedy: str) -> NoReturn:
    raise InvalidCheckpoint.because(
        "file", found=found, expected="safetensors, a .pt2 file of torch.export, or a state dict", remedy=remedy
    )
