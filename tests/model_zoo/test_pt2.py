"""Exported graphs: read without running anything of theirs, run as the network that they were made from."""

from __future__ import annotations

import json
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from benchmark.errors import InvalidCheckpoint
from model_zoo.checkpoints.pt2 import read_program
from model_zoo.interpreter import load_program
from tests.model_zoo.exported import Small, changed, edited, export

PROGRAM = "models/model.json"
WEIGHTS = "data/weights/model_weights_config.json"


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch.manual_seed(0)
    return export(Small(), tmp_path_factory.mktemp("pt2") / "model.pt2")


def run(model: nn.Module, images: Tensor) -> tuple[Tensor, Tensor]:
    """Logits, and the gradient of their log-sum-exp."""
    x = images.clone().requires_grad_()
    logits = model(x)
    (gradient,) = torch.autograd.grad(logits.logsumexp(1).sum(), x)
    return logits, gradient


@pytest.mark.parametrize("rows", [1, 5])
def test_it_is_the_network_that_was_exported(tmp_path: Path, rows: int) -> None:
    torch.manual_seed(1)
    model = Small()
    model.norm.running_mean.uniform_()  # type: ignore[union-attr]
    loaded = load_program(export(model, tmp_path / "m.pt2"))
    images = torch.rand(rows, 1, 8, 8)
    for ours, theirs in zip(run(loaded, images), run(model, images), strict=True):
        torch.testing.assert_close(ours, theirs, rtol=0, atol=0)
    assert loaded.graph.image_shape == (1, 8, 8)


def test_nothing_is_left_from_one_call_to_the_next(archive: Path) -> None:
    model = load_program(archive)
    images = torch.rand(3, 1, 8, 8)
    kept = images.clone()
    state = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    first = model(images)
    assert torch.equal(model(images), first)
    assert torch.equal(images, kept)
    assert all(torch.equal(tensor, state[name]) for name, tensor in model.state_dict().items())


def test_it_moves_as_any_network_does(archive: Path) -> None:
    model = load_program(archive)
    images = torch.rand(3, 1, 8, 8)
    expected = model(images)
    model.double()
    torch.testing.assert_close(model(images.double()).float(), expected)
    model.float().to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # torch's stubs leave it out
    torch.testing.assert_close(model(images.to(memory_format=torch.channels_last)), expected)


class Stateful(Small):
    calls: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("calls", torch.zeros(()))

    def forward(self, x: Tensor) -> Tensor:
        self.calls += 1
        return super().forward(x) * self.calls


class Drawing(Small):
    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x + 0.1 * torch.randn_like(x))


class Training(Small):
    def forward(self, x: Tensor) -> Tensor:
        return nn.functional.dropout(super().forward(x), training=True)


class TwoResults(Small):
    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:  # type: ignore[override]
        logits = super().forward(x)
        return logits, logits


@pytest.mark.parametrize(
    ("model", "found"),
    [
        (Stateful, "'calls' in each call"),
        (Drawing, "randn_like"),
        (Training, "as in training"),
        (TwoResults, "2 outputs"),
    ],
)
def test_what_is_no_classifier_is_refused_with_the_reason(model: type[nn.Module], found: str, tmp_path: Path) -> None:
    with pytest.raises(InvalidCheckpoint) as refused:
        load_program(export(model(), tmp_path / "m.pt2"))
    assert found in refused.value.message


def test_a_fixed_batch_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InvalidCheckpoint, match="a batch of always 4 images"):
        read_program(export(Small(), tmp_path / "m.pt2", batch=False))


def target(name: str) -> Callable[[dict[str, Any]], object]:
    """Have the first tensor operation be another one."""
    return lambda program: program["graph_module"]["graph"]["nodes"][1].update(target=name)


def weight(**changes: object) -> Callable[[dict[str, Any]], object]:
    return lambda config: config["config"]["conv.weight"].update(changes)


def meta(**changes: object) -> Callable[[dict[str, Any]], object]:
    return lambda config: config["config"]["conv.weight"]["tensor_meta"].update(changes)


def sizes(*numbers: int) -> list[dict[str, int]]:
    return [{"as_int": number} for number in numbers]


@pytest.mark.parametrize(
    ("member", "edit", "found"),
    [
        (PROGRAM, target("torch.ops.aten.from_file.default"), "from_file"),
        (PROGRAM, target("torch.ops.aten.rand.default"), "aten.rand"),
        (PROGRAM, target("torch.ops.inductor.resize_storage_bytes_.default"), "inductor"),
        (PROGRAM, target("torch.ops.higher_order.cond"), "higher_order"),
        (PROGRAM, target("_operator.attrgetter"), "attrgetter"),
        (PROGRAM, target("builtins.eval"), "builtins.eval"),
        (PROGRAM, target("os.system"), "os.system"),
        (PROGRAM, target("aten.sub.Tensor"), "aten.sub.Tensor"),
        (WEIGHTS, weight(use_pickle=True), "a pickled tensor"),
        (WEIGHTS, weight(path_name="../../sample_inputs/model.pt"), "no tensor"),
        (WEIGHTS, weight(path_name="model_weights_config.json"), "no tensor"),
        (WEIGHTS, meta(sizes=sizes(2**20, 2**20, 1, 1)), "in 144 bytes"),
        (WEIGHTS, meta(strides=sizes(0, 0, 0, 10**6)), "in 144 bytes"),
        (WEIGHTS, meta(strides=sizes(-1, 9, 3, 1)), "-1"),
        (WEIGHTS, meta(storage_offset={"as_int": 10**9}), "in 144 bytes"),
        (WEIGHTS, meta(dtype=99), "element type 99"),
        (WEIGHTS, meta(layout=1), "another layout"),
        (WEIGHTS, meta(sizes=[{"as_expr": {"expr_str": "__import__('os').system('true')"}}] * 4), "as_expr"),
    ],
)
def test_hostile_edits_are_refused(
    archive: Path, tmp_path: Path, member: str, edit: Callable[[dict[str, Any]], object], found: str
) -> None:
    hostile = changed(archive, tmp_path / "hostile.pt2", {member: edited(edit)})
    with pytest.raises(InvalidCheckpoint) as refused:
        load_program(hostile)
    assert found in refused.value.message


@pytest.mark.parametrize(
    "name",
    [
        "data/aotinductor/model/x.so",
        "code/__torch__.py",
        "data/constants/custom_obj_0",
        "../evil",
        "extra/a.txt",
        "data.pkl",
    ],
)
def test_other_members_are_refused(archive: Path, tmp_path: Path, name: str) -> None:
    hostile = changed(archive, tmp_path / "hostile.pt2", added={name: b"x"})
    with pytest.raises(InvalidCheckpoint, match="the member"):
        read_program(hostile)


def test_sample_inputs_are_never_opened(archive: Path, tmp_path: Path) -> None:
    fired = tmp_path / "fired"
    pickle = b"cos\nsystem\n(S'touch " + str(fired).encode() + b"'\ntR."
    hostile = changed(archive, tmp_path / "hostile.pt2", {"data/sample_inputs/model.pt": lambda _: pickle})
    load_program(hostile)
    assert not fired.exists()


def test_a_deflated_bomb_is_refused(archive: Path, tmp_path: Path) -> None:
    path = tmp_path / "bomb.pt2"
    with zipfile.ZipFile(archive) as old, zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as new:
        for info in old.infolist():
            new.writestr(info.filename, old.read(info) if "weight_0" not in info.filename else bytes(10**7))
    with pytest.raises(InvalidCheckpoint, match="compressed"):
        read_program(path)


def test_a_damaged_tensor_is_refused(archive: Path, tmp_path: Path) -> None:
    with zipfile.ZipFile(archive) as file:
        weight = next(name for name in file.namelist() if name.endswith("weights/weight_0"))
        content = file.read(weight)
    whole = archive.read_bytes()
    place = whole.index(content)
    damaged = tmp_path / "damaged.pt2"
    damaged.write_bytes(whole[:place] + bytes([whole[place] ^ 1]) + whole[place + 1 :])
    with pytest.raises(InvalidCheckpoint, match="CRC"):
        load_program(damaged)


@pytest.mark.parametrize("content", [b"", b"PK", b"PK\x03\x04" + bytes(100), b"{}", bytes(1000)])
def test_what_is_no_archive_is_refused(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "m.pt2"
    path.write_bytes(content)
    with pytest.raises(InvalidCheckpoint):
        read_program(path)


@pytest.mark.parametrize("text", ["[" * 100_000, '{"a": 1, "a": 2}', "NaN", "{", "\ud800", "9" * 5000])
def test_what_is_no_json_is_refused(archive: Path, tmp_path: Path, text: str) -> None:
    content = text.encode("utf-8", "surrogatepass")
    hostile = changed(archive, tmp_path / "hostile.pt2", {PROGRAM: lambda _: content})
    with pytest.raises(InvalidCheckpoint):
        read_program(hostile)


def test_values_are_given_once_and_before_they_are_taken(archive: Path, tmp_path: Path) -> None:
    def twice(program: dict[str, Any]) -> None:
        nodes = program["graph_module"]["graph"]["nodes"]
        nodes.append(json.loads(json.dumps(nodes[1])))

    def backwards(program: dict[str, Any]) -> None:
        program["graph_module"]["graph"]["nodes"].reverse()

    for edit, found in ((twice, "given twice"), (backwards, "before it is given")):
        with pytest.raises(InvalidCheckpoint, match=found):
            read_program(changed(archive, tmp_path / f"{edit.__name__}.pt2", {PROGRAM: edited(edit)}))
