from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor

from benchmark.errors import ErrorDetail, InvalidCheckpoint, NotFound
from model_zoo import build
from model_zoo.checkpoints.safetensors import load_checkpoint, write_checkpoint
from model_zoo.registry import ARCHITECTURES

State = dict[str, Tensor]

OF_DIGITS = tuple(name for name, entry in ARCHITECTURES.items() if "digits" in entry.datasets)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "checkpoint.safetensors"


def refusal(path: Path, state: State, architecture: str = "digits_cnn") -> ErrorDetail:
    write_checkpoint(state, path)
    with pytest.raises(InvalidCheckpoint) as caught:
        load_checkpoint(path, architecture, "digits")
    assert caught.value.detail is not None
    return caught.value.detail


def state_of(architecture: str) -> State:
    return dict(build(architecture, "digits", seed=1).state_dict())


@pytest.mark.parametrize("architecture", OF_DIGITS)
def test_what_is_written_is_what_is_loaded(path: Path, architecture: str) -> None:
    state = state_of(architecture)
    write_checkpoint(state, path)
    model = load_checkpoint(path, architecture, "digits")
    assert not model.training
    assert all(torch.equal(tensor, state[name]) for name, tensor in model.state_dict().items())
    assert load_file(path).keys() == state.keys()


def test_equal_tensors_give_equal_files(tmp_path: Path) -> None:
    first = write_checkpoint(state_of("digits_cnn"), tmp_path / "first")
    backwards = dict(reversed(state_of("digits_cnn").items()))
    assert write_checkpoint(backwards, tmp_path / "second") == first


def test_missing_and_unexpected_keys_are_named(path: Path) -> None:
    state = state_of("digits_cnn")
    state["fc.weight"] = state.pop("head.weight")
    detail = refusal(path, state)
    assert detail.field == "keys"
    assert "1 missing ('head.weight')" in detail.found
    assert "1 unexpected ('fc.weight')" in detail.found


def test_only_a_few_keys_are_named(path: Path) -> None:
    detail = refusal(path, state_of("digits_cnn"), "digits_resnet")
    assert detail.found.count("'") == 2 * 3 * 2
    assert "31 missing" in detail.found
    assert "and 28 more" in detail.found


def test_a_prefix_is_not_guessed_away(path: Path) -> None:
    detail = refusal(path, {f"module.{name}": tensor for name, tensor in state_of("digits_cnn").items()})
    assert "8 unexpected" in detail.found
    assert "module." in detail.remedy


@pytest.mark.parametrize("architecture", OF_DIGITS)
def test_another_number_of_classes_is_explained(path: Path, architecture: str) -> None:
    state = state_of(architecture)
    state["head.weight"] = torch.zeros(100, state["head.weight"].shape[1])
    state["head.bias"] = torch.zeros(100)
    detail = refusal(path, state, architecture)
    features = state["head.weight"].shape[1]
    assert detail.field == "tensor 'head.weight'"
    assert f"[100, {features}]" in detail.found
    assert f"[10, {features}], for the 10 classes of digits" in detail.expected
    assert "final layer of 10 outputs" in detail.remedy


def test_another_width_is_not_taken_for_another_number_of_classes(path: Path) -> None:
    state = state_of("digits_cnn")
    state["conv1.weight"] = torch.zeros(8, 1, 3, 3)
    detail = refusal(path, state)
    assert detail.field == "tensor 'conv1.weight'"
    assert detail.expected == "shape [16, 1, 3, 3]"
    assert "classes" not in detail.remedy


@pytest.mark.parametrize(
    ("name", "dtype", "found", "expected"),
    [
        ("conv2.weight", torch.float16, "F16", "F32"),
        ("conv2.weight", torch.float64, "F64", "F32"),
        ("conv2.weight", torch.float8_e5m2, "F8_E5M2", "F32"),
        ("norm.num_batches_tracked", torch.float32, "F32", "I64"),
    ],
)
def test_another_element_type_is_refused(path: Path, name: str, dtype: torch.dtype, found: str, expected: str) -> None:
    architecture = "digits_cnn" if name.startswith("conv2") else "digits_resnet"
    state = state_of(architecture)
    state[name] = state[name].to(dtype)
    detail = refusal(path, state, architecture)
    assert (detail.field, detail.found, detail.expected) == (f"tensor '{name}'", f"dtype {found}", f"dtype {expected}")


@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
def test_values_that_are_not_finite_are_refused(path: Path, value: float) -> None:
    state = state_of("digits_cnn")
    state["hidden.weight"][3, 7] = value
    detail = refusal(path, state)
    assert detail.field == "values"
    assert "1 of 32768 values" in detail.found
    assert "'hidden.weight'" in detail.found


def test_an_unknown_architecture_is_not_found(path: Path) -> None:
    write_checkpoint(state_of("digits_cnn"), path)
    with pytest.raises(NotFound, match="digits_cnn, digits_resnet"):
        load_checkpoint(path, "digits_vit", "digits")


def test_a_file_that_lies_about_its_size_costs_no_memory(path: Path) -> None:
    """The shapes are compared before any tensor is read or allocated."""
    header = b'{"a":{"dtype":"F32","shape":[2000000000,2000000000],"data_offsets":[0,16000000000000000000]}}'
    path.write_bytes(len(header).to_bytes(8, "little") + header)
    with pytest.raises(InvalidCheckpoint, match="0 bytes of tensors"):
        load_checkpoint(path, "digits_cnn", "digits")
