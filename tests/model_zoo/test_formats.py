"""What a submission may be, by its content alone, and what is said to whoever sends something else."""

from __future__ import annotations

import io
import struct
import tracemalloc
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from benchmark.errors import InvalidCheckpoint
from model_zoo import build
from model_zoo.checkpoints.formats import EXPORTED, check_file, check_fits
from model_zoo.loading import load_submitted
from model_zoo.registry import bundled_checkpoint, card
from tests.model_zoo.exported import Small, export

ENTRY = card("Digits_Standard", "digits", "Linf")


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return export(Small(), tmp_path_factory.mktemp("formats") / "model.bin")


def test_the_content_decides_and_not_the_name(exported: Path) -> None:
    assert check_file(exported) == "pt2"
    assert check_file(bundled_checkpoint(ENTRY)) == "safetensors"


def test_a_state_dict_of_torch_is_one_and_needs_an_architecture(tmp_path: Path) -> None:
    path = tmp_path / "model.safetensors"
    path.write_bytes(saved(legacy=False))
    assert check_file(path) == check_fits(path, ENTRY.architecture) == "state_dict"
    with pytest.raises(InvalidCheckpoint, match="parameters alone"):
        check_fits(path, EXPORTED)


def test_a_file_must_be_of_the_kind_that_the_submission_says(exported: Path) -> None:
    check_fits(exported, EXPORTED)
    check_fits(bundled_checkpoint(ENTRY), ENTRY.architecture)
    with pytest.raises(InvalidCheckpoint, match="holds a whole network"):
        check_fits(exported, ENTRY.architecture)
    with pytest.raises(InvalidCheckpoint, match="parameters alone"):
        check_fits(bundled_checkpoint(ENTRY), EXPORTED)


def scripted() -> bytes:
    buffer = io.BytesIO()
    torch.jit.save(torch.jit.trace(nn.Linear(2, 2), torch.rand(1, 2)), buffer)
    return buffer.getvalue()


def saved(*, legacy: bool) -> bytes:
    buffer = io.BytesIO()
    torch.save(build(ENTRY.architecture, "digits").state_dict(), buffer, _use_new_zipfile_serialization=not legacy)
    return buffer.getvalue()


@pytest.mark.parametrize(
    ("content", "found", "way_out"),
    [
        (saved(legacy=True), "a pickle of the format before torch 1.6", "gauntlet convert"),
        (b"\x08\x09\x12\x07pytorch\x1a\x052.13.", "an ONNX file", "gauntlet.export"),
        (b"import torch\n\nclass Net(torch.nn.Module):\n", "begins with", "gauntlet.export"),
        (b"https://example.org/model.pt", "begins with", "gauntlet.export"),
    ],
)
def test_other_formats_are_refused_with_the_way_out(tmp_path: Path, content: bytes, found: str, way_out: str) -> None:
    path = tmp_path / "model.pt2"
    path.write_bytes(content)
    with pytest.raises(InvalidCheckpoint) as refused:
        check_file(path)
    assert found in refused.value.message
    assert refused.value.detail is not None
    assert way_out in refused.value.detail.remedy


@pytest.mark.parametrize("remainder", [0x08, 0x50, 0x80])
def test_a_safetensors_file_is_one_whatever_the_length_of_its_header(remainder: int, tmp_path: Path) -> None:
    """The first byte of a file is the last one of that length, which other formats begin with."""
    path = tmp_path / "model.safetensors"
    for length in range(1, 600):
        save_file({"weight": torch.ones(2)}, path, metadata={"note": "x" * length})
        if path.read_bytes()[0] == remainder:
            break
    assert path.read_bytes()[0] == remainder
    assert check_file(path) == "safetensors"


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_torchscript_is_refused_with_the_way_out(tmp_path: Path) -> None:
    path = tmp_path / "model.pt"
    path.write_bytes(scripted())
    with pytest.raises(InvalidCheckpoint, match="a TorchScript archive"):
        check_file(path)


@pytest.mark.parametrize("claimed", [3 * 10**5, 10**8])
def test_a_long_list_of_members_is_not_read(tmp_path: Path, claimed: int) -> None:
    path = tmp_path / "model.pt"
    entry = struct.pack("<4s6H3L5H2L", b"PK\x01\x02", *[20] * 6, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0) + b"a"
    listed = entry * 3 * 10**5
    end = struct.pack("<4s4H2LH", b"PK\x05\x06", 0, 0, 65_535, 65_535, claimed * len(entry) % 2**32, 4, 0)
    path.write_bytes(b"PK\x03\x04" + listed + end)
    tracemalloc.start()
    with pytest.raises(InvalidCheckpoint):
        check_file(path)
    assert tracemalloc.get_traced_memory()[1] < 10 * 2**20
    tracemalloc.stop()


def test_images_of_another_size_are_refused(tmp_path: Path) -> None:
    path = export(Small(), tmp_path / "m.pt2", torch.rand(2, 1, 28, 28))
    with pytest.raises(InvalidCheckpoint, match="1×28×28"):
        load_submitted(path, EXPORTED, "digits")
