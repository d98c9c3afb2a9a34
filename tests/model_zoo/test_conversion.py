"""From a state dict to safetensors: the same numbers, and nothing left out or renamed without a word."""

from __future__ import annotations

import io
from collections import OrderedDict
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import load_file
from torch import Tensor, nn

from benchmark.errors import InvalidCheckpoint
from model_zoo import load_model
from model_zoo.checkpoints.formats import check_fits
from model_zoo.checkpoints.header import read_header
from model_zoo.checkpoints.pickles import HoldsObjects
from model_zoo.conversion import Conversion, convert_state_dict
from model_zoo.loading import load_submitted
from model_zoo.registry import card
from tests.model_zoo.exported import Small
from tests.model_zoo.pickles import Marking, archived, dictionary, numbers, storage, tensor

IDS = ("Digits_Standard", "Digits_PGD10")


def converted(content: object, folder: Path, *, legacy: bool = False, key: str | None = None) -> Conversion:
    torch.save(content, folder / "model.pt", _use_new_zipfile_serialization=not legacy)
    return convert_state_dict(folder / "model.pt", folder / "model.safetensors", key=key)


def assert_same(found: Path, state: dict[str, Tensor]) -> None:
    """Check names, types, shapes and bits."""
    tensors = load_file(found)
    assert tensors.keys() == state.keys()
    for name, value in state.items():
        assert tensors[name].dtype == value.dtype
        assert torch.equal(tensors[name], value)


STATE = Small().state_dict()


@pytest.mark.parametrize("legacy", [False, True])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16, torch.float16])
def test_the_tensors_are_the_same(dtype: torch.dtype, legacy: bool, tmp_path: Path) -> None:
    state = Small().to(dtype).state_dict()
    conversion = converted(state, tmp_path, legacy=legacy)
    assert_same(conversion.path, state)
    assert conversion.tensors == len(state)
    assert conversion.steps == ()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["model.pt", "model.safetensors"]


@pytest.mark.parametrize("model_id", IDS)
@pytest.mark.parametrize("suffix", [".pt", ".pth", ".safetensors", ""])
def test_a_submitted_state_dict_answers_as_its_safetensors_file_does(
    model_id: str, suffix: str, tmp_path: Path
) -> None:
    model = load_model(model_id, dataset="digits", threat_model="Linf")
    # The name says nothing.
    path = tmp_path / f"submitted{suffix}"
    torch.save({"state_dict": {f"module.{name}": value for name, value in model.state_dict().items()}}, path)
    loaded = load_submitted(path, card(model_id, "digits", "Linf").architecture, "digits")
    images = torch.rand(5, 1, 8, 8)
    assert torch.equal(loaded(images), model(images))
    assert not loaded.training
    assert list(tmp_path.iterdir()) == [path]


def prefixed(*prefixes: str) -> dict[str, Tensor]:
    return {"".join(prefixes) + name: value for name, value in STATE.items()}


@pytest.mark.parametrize(
    ("content", "steps"),
    [
        (STATE, []),
        (dict(Small().state_dict()), []),
        (prefixed("module."), ["removed the prefix 'module.'"]),
        (prefixed("module.", "model."), ["removed the prefix 'module.'", "removed the prefix 'model.'"]),
        (prefixed("_orig_mod."), ["removed the prefix '_orig_mod.'"]),
        ({"state_dict": STATE}, ["took the entry 'state_dict'"]),
        (
            {"epoch": 3, "net": STATE, "best": 0.5},
            ["took the entry 'net'", "left out the entries beside it: 'epoch', 'best'"],
        ),
        ({"model": {"state_dict": STATE}}, ["took the entry 'model'", "took the entry 'state_dict'"]),
        (
            {"model_state_dict": prefixed("module."), "ema": STATE},
            [
                "took the entry 'model_state_dict'",
                "left out the entries beside it: 'ema'",
                "removed the prefix 'module.'",
            ],
        ),
    ],
)
def test_nests_and_prefixes_are_removed_and_told(content: object, steps: list[str], tmp_path: Path) -> None:
    conversion = converted(content, tmp_path)
    assert list(conversion.steps) == steps
    assert load_file(conversion.path).keys() == STATE.keys()


def test_an_average_is_taken_only_where_it_is_named(tmp_path: Path) -> None:
    average = {name: value + 1 for name, value in STATE.items()}
    content = {"ema": average, "state_dict": STATE}
    assert_same(converted(content, tmp_path).path, dict(STATE))
    conversion = converted(content, tmp_path, key="ema")
    assert_same(conversion.path, average)
    assert conversion.steps == ("took the entry 'ema'", "left out the entries beside it: 'state_dict'")


@pytest.mark.parametrize(
    ("content", "key", "found", "remedy"),
    [
        ({"ema": STATE, "epoch": 3}, None, "the entries 'ema', 'epoch'", "--key ema"),
        ({"model": STATE, "net": STATE}, None, "the entries 'model', 'net'", "--key model or net"),
        ({"state_dict": STATE}, "ema", "no dictionary under 'ema'", "the entry that holds"),
        ({"state_dict": STATE, "epoch": 3}, "epoch", "no dictionary under 'epoch'", "the entry that holds"),
        ({**STATE, "epoch": 3}, None, "a value of type int", "leave it out"),
        (dict[object, Tensor]({**STATE}) | {3: torch.ones(1)}, None, "3", "torch.save"),
        ({**STATE, "a\nb": torch.ones(1)}, None, "a\\nb", "torch.save"),
        ({}, None, "an empty dictionary", "torch.save"),
        ({"state_dict": {}}, None, "no tensors at the top", "NAME"),
        ([STATE], None, "a list", "torch.save"),
        ({f"copy{i}": STATE["conv.weight"] for i in range(3)}, None, "tensors of 432 bytes in 144", "clone"),
    ],
)
def test_nothing_is_guessed(content: object, key: str | None, found: str, remedy: str, tmp_path: Path) -> None:
    (tmp_path / "model.safetensors").write_bytes(b"the one before")
    with pytest.raises(InvalidCheckpoint) as refused:
        converted(content, tmp_path, key=key)
    assert found in refused.value.message
    assert refused.value.detail is not None
    assert remedy in refused.value.detail.remedy
    assert (tmp_path / "model.safetensors").read_bytes() == b"the one before"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["model.pt", "model.safetensors"]


def test_tied_weights_views_and_other_layouts_are_written_as_what_they_are(tmp_path: Path) -> None:
    weight = torch.rand(4, 3, 5, 5)
    state = {
        "weight": weight.to(memory_format=torch.channels_last),
        "tied": weight,
        "tied_again": weight,
        "transposed": weight[0, 0].t(),
        "part": torch.rand(100)[10:90:2],
        "empty": torch.empty(0, 3),
        "number": torch.tensor(3),
        "flag": torch.tensor([True]),
    }
    assert_same(converted(state, tmp_path).path, state)


def test_values_that_are_not_finite_are_left_to_the_reader(tmp_path: Path) -> None:
    model = load_model("Digits_Standard", dataset="digits", threat_model="Linf")
    state = model.state_dict()
    state["head.bias"][3] = float("nan")
    torch.save(state, tmp_path / "model.pt")
    with pytest.raises(InvalidCheckpoint, match="NaN"):
        load_submitted(tmp_path / "model.pt", card("Digits_Standard", "digits", "Linf").architecture, "digits")


@pytest.mark.parametrize("legacy", [False, True])
@pytest.mark.parametrize("content", [nn.Linear(2, 2), OrderedDict(net=Small())])
def test_a_pickled_module_is_not_made(content: object, legacy: bool, tmp_path: Path) -> None:
    with pytest.raises(HoldsObjects):
        converted(content, tmp_path, legacy=legacy)


@pytest.mark.parametrize(
    "content",
    [
        dictionary(a=tensor(storage(10**12), numbers(10**6, 10**6), numbers(10**6, 1))),
        dictionary(a=tensor(storage(4), numbers(10**6, 10**6), numbers(0, 0))),
        dictionary(a=tensor(storage(4), numbers(10**6, 10**6), numbers(10**6, 1))),
    ],
)
def test_a_tensor_larger_than_its_file_is_refused_before_anything_is_made(content: bytes, tmp_path: Path) -> None:
    path = archived(tmp_path, content, {"0": bytes(16)})
    with pytest.raises(InvalidCheckpoint):
        convert_state_dict(path, tmp_path / "model.safetensors")


def test_an_old_file_whose_tensor_counts_its_numbers_twice_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InvalidCheckpoint, match="in 4 bytes"):
        converted({"a": torch.ones(1).expand(10**6, 10**6)}, tmp_path, legacy=True)


@pytest.mark.parametrize("legacy", [False, True])
def test_nothing_of_the_file_is_run(legacy: bool, tmp_path: Path) -> None:
    with pytest.raises(HoldsObjects, match="system"):
        converted({"a": torch.ones(2), "b": Marking(tmp_path / "mark")}, tmp_path, legacy=legacy)
    assert not (tmp_path / "mark").exists()


@pytest.mark.parametrize("share", [0.0, 0.01, 0.3, 0.6, 0.99])
def test_a_file_that_breaks_off_is_refused(share: float, tmp_path: Path) -> None:
    buffer = io.BytesIO()
    torch.save(STATE, buffer, _use_new_zipfile_serialization=False)
    content = buffer.getvalue()
    (tmp_path / "model.pt").write_bytes(content[: int(share * len(content))])
    with pytest.raises(InvalidCheckpoint):
        convert_state_dict(tmp_path / "model.pt", tmp_path / "model.safetensors")


def sound(folder: Path) -> bytes:
    state = {"a": torch.arange(4.0).view(2, 2), "b": torch.ones(3, dtype=torch.float64), "c": torch.tensor(3)}
    torch.save({"state_dict": state, "epoch": 3}, folder / "sound.pt")
    return (folder / "sound.pt").read_bytes()


@settings(max_examples=300)
@given(
    st.lists(st.tuples(st.floats(0, 1, exclude_max=True), st.integers(0, 2), st.binary(max_size=3)), max_size=3),
    st.sampled_from([None, 0.5, 0.9, 0.99]),
)
def test_whatever_the_file_is_it_is_converted_or_refused(
    tmp_path_factory: pytest.TempPathFactory, edits: list[tuple[float, int, bytes]], cut: float | None
) -> None:
    folder = tmp_path_factory.mktemp("edited")
    content = sound(folder)
    for share, removed, inserted in edits:
        place = int(share * len(content))
        content = content[:place] + inserted + content[place + removed :]
    (folder / "model.pt").write_bytes(content[: None if cut is None else int(cut * len(content))])
    try:
        check_fits(folder / "model.pt", "digits_cnn")
        convert_state_dict(folder / "model.pt", folder / "model.safetensors")
    except InvalidCheckpoint:
        assert not (folder / "model.safetensors").exists()
    else:
        assert read_header(folder / "model.safetensors").tensors
