"""Which kind of file a submission is, by its content, and whether it is a sound one; free of torch."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Literal, NoReturn

from benchmark.errors import InvalidCheckpoint
from model_zoo.checkpoints.archive import opened
from model_zoo.checkpoints.header import read_header
from model_zoo.checkpoints.pt2 import read_program

Format = Literal["safetensors", "pt2"]
EXPORTED = "exported"
"""What a submission names in place of a registered architecture where its file holds the whole network."""

_ZIP = b"PK\x03\x04"
_PICKLE = b"\x80"
_CONVERT = "run `gauntlet convert FILE` where the model was trained, and submit what it writes"
_EXPORT = "call gauntlet.export(model, example) where the model was trained, and submit the file that it writes"


def check_file(path: Path) -> Format:
    """Return the format of a file that is a sound checkpoint of it.

    Raises:
        InvalidCheckpoint: it is of another format, with the way to one that is accepted, or not sound.
    """
    with path.open("rb") as file:
        beginning = file.read(8)
    if beginning.startswith(_ZIP):
        _refuse_other_archives(path)
        read_program(path)
        return "pt2"
    if beginning.startswith(_PICKLE):
        _refuse("a pickle", remedy=_CONVERT)
    if beginning[:1] == b"\x08":  # the first field of a protocol buffer, as ONNX files have it
        _refuse("an ONNX file", remedy=_EXPORT)
    read_header(path)
    return "safetensors"


def check_fits(path: Path, architecture: str) -> None:
    """Check a file again, and that it is of the kind that the submission says.

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
    if found == "safetensors" and architecture == EXPORTED:
        raise InvalidCheckpoint.because(
            "architecture",
            found=f"{EXPORTED} with a file that holds parameters alone",
            expected="the registered architecture that was trained",
            remedy="choose it, or export the network as a whole",
        )


def _refuse_other_archives(path: Path) -> None:
    """Refuse the other archives that torch writes, with the way out that each has."""
    with opened(path) as archive:
        names = archive.namelist()
    parts = [name.partition("/")[2] for name in names]
    if _has(parts, "code/") or _has(parts, "constants.pkl"):
        _refuse("a TorchScript archive", remedy=_EXPORT)
    if _has(parts, "data.pkl"):
        _refuse("a file of torch.save", remedy=_CONVERT)


def _has(names: Sequence[str], beginning: str) -> bool:
    return any(name.startswith(beginning) for name in names)


def _refuse(found: str, *, remedy: str) -> NoReturn:
    raise InvalidCheckpoint.because(
        "file", found=found, expected="a safetensors file, or a .pt2 file of torch.export", remedy=remedy
    )
