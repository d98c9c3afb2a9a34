"""What torch.save writes, taken apart without running it: a state dict passes, and nothing else does."""

from __future__ import annotations

import contextlib
import os
import time
import tracemalloc
import warnings
import zipfile
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from benchmark.errors import InvalidCheckpoint
from model_zoo.checkpoints.pickles import MAX_INSTRUCTIONS, HoldsObjects
from model_zoo.checkpoints.state_dicts import MAX_PICKLE_BYTES, check_state_dict
from tests.model_zoo.exported import Small, changed
from tests.model_zoo.pickles import archived, dictionary, name, number, numbers, storage, tensor, text

SOUND = tensor(storage(4), numbers(2, 2), numbers(2, 1))
FOUR = {"0": bytes(16)}


def saved(content: object, folder: Path) -> Path:
    path = folder / "saved.pt"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch's own, of sparse and quantised tensors
        torch.save(content, path)
    return path


def refusal(path: Path) -> InvalidCheckpoint:
    with pytest.raises(InvalidCheckpoint) as refused:
        check_state_dict(path)
    return refused.value


def trained() -> dict[str, object]:
    model = Small()
    optimizer = torch.optim.Adam(model.parameters())
    model(torch.rand(2, 1, 8, 8)).sum().backward()
    optimizer.step()
    return {"state_dict": model.state_dict(), "optimizer": optimizer.state_dict(), "epoch": 3, "history": [0.5, None]}


def sparse_beyond_its_size() -> torch.Tensor:
    return torch.sparse_coo_tensor(torch.tensor([[9]]), torch.ones(1), (2,), check_invariants=False)


@pytest.mark.parametrize(
    "content",
    [
        Small().state_dict(),
        trained(),
        dict(Small().named_parameters()),
        {"half": torch.ones(3, dtype=torch.float16), "flags": torch.ones(2, dtype=torch.bool), "empty": torch.empty(0)},
        {"transposed": torch.rand(3, 5).t(), "part": torch.rand(10)[2:7:2], "large": 2**40, "less": -7},
    ],
)
def test_what_training_code_saves_passes(content: object, tmp_path: Path) -> None:
    check_state_dict(saved(content, tmp_path))


@pytest.mark.parametrize(
    ("content", "found", "remedy"),
    [
        ({"a": torch.ones(2).to_sparse()}, "a sparse tensor", "to_dense"),
        (
            {"a": torch.sparse_coo_tensor(torch.tensor([[9]]), torch.ones(1), (2,), check_invariants=False)},
            "a sparse tensor",
            "to_dense",
        ),
        ({"a": torch.ones(2, dtype=torch.complex64)}, "complex", "real"),
        ({"a": torch.ones(2, device="meta")}, "without values", "load the parameters"),
        ({"a": torch.ones(2, dtype=torch.float8_e4m3fn)}, "not supported", "float()"),
        ({"a": torch.ones(2).numpy()}, "numpy", "torch.save(model.state_dict()"),
        ({"a": torch.ones(1).expand(5)}, "shape [5] with strides [0]", "contiguous"),
        (torch.ones(2), "a Tensor", "torch.save(model.state_dict()"),
        ([torch.ones(2)], "a list", "torch.save(model.state_dict()"),
        ({(1, 2): torch.ones(2)}, "neither a text", "torch.save(model.state_dict()"),
    ],
)
def test_what_is_no_state_dict_of_dense_tensors_is_refused_by_name(
    content: object, found: str, remedy: str, tmp_path: Path
) -> None:
    error = refusal(saved(content, tmp_path))
    assert found in error.message
    assert error.detail is not None
    assert remedy in error.detail.remedy


@pytest.mark.parametrize("content", [nn.Sequential(nn.Linear(2, 2)), {"model": Small(), "epoch": 3}])
def test_a_pickled_module_is_refused_with_the_way_to_export_it(content: object, tmp_path: Path) -> None:
    error = refusal(saved(content, tmp_path))
    assert isinstance(error, HoldsObjects)
    assert error.detail is not None
    assert "gauntlet.export(model, example)" in error.detail.remedy


@pytest.mark.parametrize(
    ("tensors", "storages"),
    [
        # A file of 1.6 KB that claims 10**12 elements: by its storage, by strides of zero, by a shape beyond it.
        (tensor(storage(10**12), numbers(10**6, 10**6), numbers(10**6, 1)), FOUR),
        (tensor(storage(4), numbers(10**6, 10**6), numbers(0, 0)), FOUR),
        (tensor(storage(4), numbers(10**6, 10**6), numbers(10**6, 1)), FOUR),
        (tensor(storage(4), numbers(2, 2), numbers(2, 2**62)), FOUR),
        # Bytes that nobody wrote.
        (tensor(storage(4096), numbers(4096), numbers(1)), FOUR),
        (tensor(storage(4), numbers(4), numbers(1)), {}),
        (tensor(storage(4), numbers(4), numbers(1), offset=1), FOUR),
        (tensor(storage(4), numbers(4), numbers(1), offset=-1), FOUR),
        (tensor(storage(4), numbers(2), numbers(-1)), FOUR),
        (tensor(storage(-4), numbers(2), numbers(1)), FOUR),
        (tensor(storage(4), numbers(2), numbers(2, 1)), FOUR),
        (tensor(storage(4), numbers(*[1] * 40), numbers(*[1] * 40)), FOUR),
        (tensor(storage(4), number(4), numbers(1)), FOUR),
        # One storage as two types: torch keeps the first.
        (b"(" + SOUND + tensor(storage(2, kind="DoubleStorage"), numbers(2), numbers(1)) + b"t", FOUR),
        (tensor(storage(4, "../secret"), numbers(2), numbers(1)), FOUR),
        (tensor(storage(4, "data.pkl"), numbers(2), numbers(1)), FOUR),
    ],
)
def test_a_tensor_lies_within_bytes_that_are_there(tensors: bytes, storages: dict[str, bytes], tmp_path: Path) -> None:
    check_state_dict(archived(tmp_path, dictionary(a=SOUND), FOUR))
    refusal(archived(tmp_path, dictionary(a=tensors), storages))


class Marking:
    """What leaves a mark when it is unpickled."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> tuple[Callable[[str], int], tuple[str]]:
        return os.system, (f"touch {self.mark}",)


def shell(mark: Path) -> bytes:
    return text(f"touch {mark}")


INSTRUCTIONS: dict[str, Callable[[Path], bytes]] = {
    "reduce": lambda mark: name("os", "system") + shell(mark) + b"\x85R",
    "builtin": lambda mark: name("builtins", "eval") + text(f"open({str(mark)!r}, 'w')") + b"\x85R",
    "stack_global": lambda mark: text("os") + text("system") + b"\x93" + shell(mark) + b"\x85R",
    "inst": lambda mark: b"(" + shell(mark) + b"ios\nsystem\n",
    "obj": lambda mark: b"(" + name("os", "system") + shell(mark) + b"o",
    "newobj": lambda mark: name("torch.nn", "Linear") + shell(mark) + b"\x85\x81",
    "newobj_ex": lambda mark: name("os", "system") + shell(mark) + b"\x85}\x92",
    "build": lambda _: SOUND + b"}" + text("__class__") + number(1) + b"sb",
    "build_ordered": lambda _: name("collections", "OrderedDict") + b")R}" + text("__class__") + number(1) + b"sb",
    "ordered_of_pairs": lambda _: name("collections", "OrderedDict") + b"]\x85R",
    "extension": lambda _: b"\x82\x01",
    "extension_2": lambda _: b"\x83\x01\x00",
    "extension_4": lambda _: b"\x84\x01\x00\x00\x00",
    "persid": lambda _: b"Pstorage\n",
    "persid_of_a_module": lambda _: b"(" + text("module") + name("torch", "FloatStorage") + text("x") + b"tQ",
    "call_of_a_storage": lambda _: name("torch", "FloatStorage") + number(10**10) + b"\x85R",
    "call_of_a_tensor": lambda _: SOUND + b")R",
    "hooks": lambda _: tensor(storage(4), numbers(4), numbers(1)).replace(b")R", b")R}" + text("a") + b"Nsb"),
    "remembered_call": lambda mark: name("os", "system") + b"q\x000" + b"h\x00" + shell(mark) + b"\x85R",
    "forgotten": lambda _: b"h\x07",
    "far_memory": lambda _: b"j\xff\xff\xff\xff",
    "protocol_4": lambda _: b"\x80\x04N",
    "frame": lambda _: b"\x95" + bytes(8) + b"N",
    "buffer": lambda _: b"\x97",
    "byte_text": lambda _: b"C\x01a",
    "underflow": lambda _: b"\x87\x87",
    "mark_underflow": lambda _: b"ttt",
    "large_number": lambda _: number(2**200),
    "append_to_nothing": lambda _: b"NNa",
    "unended_text": lambda _: b"X\xff\xff\xff\x7fa",
    "no_utf8": lambda _: b"X\x01\x00\x00\x00\xff",
    "set_attribute": lambda _: name("torch", "nn.Module.forward"),
    "dotted": lambda mark: name("torch._utils", "torch.os.system") + shell(mark) + b"\x85R",
}


@pytest.mark.parametrize("kind", INSTRUCTIONS)
def test_nothing_but_the_instructions_of_a_state_dict_passes_and_none_is_run(kind: str, tmp_path: Path) -> None:
    mark = tmp_path / "mark"
    refusal(archived(tmp_path, dictionary(a=SOUND, b=INSTRUCTIONS[kind](mark)), FOUR))
    assert not mark.exists()


def test_the_malicious_file_would_run_its_code_where_it_is_unpickled(tmp_path: Path) -> None:
    mark = tmp_path / "mark"
    path = saved({"a": torch.ones(2), "b": Marking(mark)}, tmp_path)
    assert "posix" in refusal(path).message
    assert not mark.exists()
    function, arguments = Marking(mark).__reduce__()  # as an unpickler would
    function(*arguments)
    assert mark.exists()


def test_a_small_file_that_unpacks_to_a_large_one_is_refused(tmp_path: Path) -> None:
    size = 256 * 2**20
    path = archived(
        tmp_path,
        dictionary(a=tensor(storage(size // 4), numbers(size // 4), numbers(1))),
        {"0": bytes(size)},
        deflated=True,
    )
    assert path.stat().st_size < 300_000
    tracemalloc.start()
    assert "compressed" in refusal(path).message
    assert tracemalloc.get_traced_memory()[1] < 10 * 2**20
    tracemalloc.stop()


@pytest.mark.parametrize(
    ("value", "found"),
    [
        (b"]" * 10**5 + b"a" * (10**5 - 1), None),  # lists within lists
        (b")" + b"\x85" * 10**6, "more than"),
        (b"}" + b")" + b"\x85" * 10**5 + b"Ns", "neither a text"),  # whose hash would recurse
        (b"](" + b"h\x00" * 10**5 + b"e", None),
        (b"]q\x01h\x01a", None),  # a list in itself
        (b"](" + b"]q\x01h\x01h\x01\x86q\x02h\x02h\x02\x86q\x03h\x03h\x03\x86" * 1000 + b"e", None),
        (b"}(" + text("a") + b"N" + text("a") + b"Nu", "twice"),
        (b"](" + b"]" * MAX_INSTRUCTIONS + b"e", "more than"),
    ],
)
def test_nesting_and_memory_of_the_pickle_cost_little(value: bytes, found: str | None, tmp_path: Path) -> None:
    path = archived(tmp_path, dictionary(a=b"]q\x00", b=value), FOUR)
    began = time.monotonic()
    if found is None:
        check_state_dict(path)
    else:
        assert found in refusal(path).message
    assert time.monotonic() - began < 20


def test_a_pickle_is_of_a_few_megabytes(tmp_path: Path) -> None:
    path = archived(tmp_path, dictionary(a=SOUND, b=text("x" * MAX_PICKLE_BYTES)), FOUR)
    assert "bytes, expected at most" in refusal(path).message


def test_nothing_follows_the_pickle(tmp_path: Path) -> None:
    assert "more than one value" in refusal(archived(tmp_path, dictionary(a=SOUND) + b"N.", FOUR)).message
    assert "more than one value" in refusal(archived(tmp_path, b"\x80\x02N}.", FOUR)).message


@pytest.mark.parametrize(
    ("member", "found"),
    [
        ("evil.py", "evil.py"),
        ("code/__torch__.py", "code"),
        ("data/../../x", "data"),
        ("data/0.so", "data/0.so"),
        (".data/serialization_id2", "serialization_id2"),
    ],
)
def test_an_archive_has_no_other_members(member: str, found: str, tmp_path: Path) -> None:
    path = changed(archived(tmp_path, dictionary(a=SOUND), FOUR), tmp_path / "other.pt", added={member: b"x"})
    assert found in refusal(path).message


def test_every_member_is_there_once_in_one_folder(tmp_path: Path) -> None:
    path = archived(tmp_path, dictionary(a=SOUND), FOUR)
    with zipfile.ZipFile(path, "a") as archive, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that the name is there already
        archive.writestr("model/data/0", bytes(16))
    assert "twice" in refusal(path).message
    path = archived(tmp_path, dictionary(a=SOUND), FOUR)
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr("other/data/1", bytes(16))
    assert "2 top folders" in refusal(path).message


@pytest.mark.parametrize(
    ("changes", "found"),
    [
        ({"data.pkl": None}, "no data.pkl"),
        ({"byteorder": b"big"}, "byteorder"),
        ({"version": b"3" * 100}, "100 bytes"),
    ],
)
def test_the_members_say_what_torch_says(changes: dict[str, bytes | None], found: str, tmp_path: Path) -> None:
    path = archived(tmp_path, dictionary(a=SOUND), FOUR)
    edits = {member: (lambda _, content=content: content) for member, content in changes.items()}
    assert found in refusal(changed(path, tmp_path / "other.pt", edits)).message


def test_a_damaged_pickle_is_told(tmp_path: Path) -> None:
    path = archived(tmp_path, dictionary(a=SOUND), FOUR)
    content = path.read_bytes()
    path.write_bytes(content.replace(b"_rebuild_tensor_v2", b"_rebuild_tensor_v3", 1))
    assert "CRC" in refusal(path).message
    path.write_bytes(content[: len(content) // 2])
    refusal(path)


def test_an_ordered_dictionary_with_versions_of_its_modules_passes(tmp_path: Path) -> None:
    state = OrderedDict(a=torch.ones(2))
    state._metadata = {"": {"version": 1}}  # type: ignore[attr-defined]  # as a module's state dict has it
    check_state_dict(saved(state, tmp_path))
    state.other = 1  # type: ignore[attr-defined]
    assert "attributes" in refusal(saved(state, tmp_path)).message


BYTES = dictionary(a=SOUND, b=name("collections", "OrderedDict") + b")R}" + text("_metadata") + b"}sb", c=b"]Na(NNe")


@given(
    st.lists(st.tuples(st.integers(0, len(BYTES) - 1), st.sampled_from([0, 1]), st.binary(max_size=4)), max_size=4),
    st.sampled_from([None, *range(len(BYTES))]),
)
def test_whatever_the_pickle_is_it_passes_or_is_refused(
    tmp_path_factory: pytest.TempPathFactory, edits: list[tuple[int, int, bytes]], cut: int | None
) -> None:
    content = BYTES
    for place, removed, inserted in edits:
        content = content[:place] + inserted + content[place + removed :]
    path = archived(tmp_path_factory.mktemp("edited"), content[:cut], FOUR)
    with contextlib.suppress(InvalidCheckpoint):
        check_state_dict(path)
