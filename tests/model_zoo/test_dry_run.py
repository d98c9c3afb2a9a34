"""What a graph asks for is known before it runs; what fails when it runs is a refusal that says where."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from benchmark.errors import InvalidCheckpoint
from benchmark.graph import Argument, Constant, Graph, Operation, Reference, Symbol
from model_zoo import dry_run
from model_zoo.checkpoints.archive import StoredTensor
from model_zoo.dry_run import classes_of
from model_zoo.interpreter import MAX_RESULT_BYTES, Interpreter, _tensor, load_program
from tests.model_zoo.exported import Small, export


def graph(*operations: Operation, output: str, image_shape: tuple[int, ...] = (1, 8, 8)) -> Interpreter:
    """A network without parameters."""
    return Interpreter(Graph((), "x", image_shape, operations, output), {})


def operation(target: str, *arguments: object, out: str = "y", **named: object) -> Operation:
    return Operation(target, arguments, named, (out,))  # type: ignore[arg-type]  # what a file may say


def flat(out: str = "logits") -> Operation:
    return operation("aten.flatten.using_ints", Reference("x"), 1, out=out)


X = Reference("x")


def test_the_number_of_classes_is_known_without_an_image(tmp_path: Path) -> None:
    assert classes_of(load_program(export(Small(), tmp_path / "m.pt2"))) == 10
    assert classes_of(graph(flat(), output="logits")) == 64


def test_nothing_is_allocated(monkeypatch: pytest.MonkeyPatch) -> None:
    """A result of a hundred terabytes is refused by its size alone, and so is one that a step computes on the way."""
    monkeypatch.setattr(dry_run, "MAX_RESULT_BYTES", 10**30)
    monkeypatch.setattr(dry_run, "MAX_ALL_BYTES", 10**30)
    huge = operation("aten.full.default", (10**7, 10**7), 1.0)
    with pytest.raises(InvalidCheckpoint, match="bytes of results in use at once"):
        classes_of(graph(huge, flat(), output="logits"))
    # Nothing reads it, so it is let go; that it has no device of its own to be on is the interpreter's doing.
    monkeypatch.setattr(dry_run, "MAX_ALIVE_BYTES", 10**30)
    assert classes_of(graph(huge, flat(), output="logits")) == 64


@pytest.mark.parametrize(
    ("operations", "found"),
    [
        ([operation("aten.zeros.default", (10**6, 10**6))], "a result of 4000000000000 bytes"),
        ([operation("aten.expand.default", X, (-1, 10**8, 8, 8))], "a result of"),
        ([operation("aten.relu.default", X, out=f"y{n}") for n in range(9)], None),
        ([operation("aten.sum.dim_IntList", X, (7,))], "operation 0: found aten.sum.dim_IntList, which fails"),
        ([operation("aten.one_hot.default", X)], "operation 0"),
    ],
)
def test_what_a_graph_asks_for_is_bounded(operations: list[Operation], found: str | None) -> None:
    network = graph(*operations, flat(), output="logits")
    if found is None:
        assert classes_of(network) == 64
        return
    with pytest.raises(InvalidCheckpoint, match=found):
        classes_of(network)


def test_what_is_alive_is_counted_once_and_let_go() -> None:
    """Results one after the other are fine and kept together they are not; views of one cost nothing."""
    elements = MAX_RESULT_BYTES // 4
    first = operation("aten.full.default", (elements,), 1.0, out="y0")
    after = [operation("aten.neg.default", Reference(f"y{n}"), out=f"y{n + 1}") for n in range(30)]
    assert classes_of(graph(first, *after, flat(), output="logits")) == 64

    views = [operation("aten.view.default", Reference("y0"), (-1,), out=f"v{n}") for n in range(30)]
    stack = operation("aten.cat.default", tuple(Reference(f"v{n}") for n in range(30)), out="all")
    narrow = [operation("aten.narrow.default", Reference(f"v{n}"), 0, 0, 8, out=f"n{n}") for n in range(30)]
    last = operation("aten.cat.default", tuple(Reference(f"n{n}") for n in range(30)), out="all")
    assert classes_of(graph(first, *views, *narrow, last, flat(), output="logits")) == 64
    with pytest.raises(InvalidCheckpoint, match="a result of"):
        classes_of(graph(first, *views, stack, flat(), output="logits"))

    kept = [operation("aten.full.default", (elements,), 1.0, out=f"k{n}") for n in range(30)]
    narrow = [operation("aten.narrow.default", Reference(f"k{n}"), 0, 0, 8, out=f"n{n}") for n in range(30)]
    with pytest.raises(InvalidCheckpoint, match="in use at once"):
        classes_of(graph(*kept, *narrow, last, flat(), output="logits"))


def test_multiplications_within_an_operation_count(monkeypatch: pytest.MonkeyPatch) -> None:
    product = operation("aten.mm.default", Reference("f"), Reference("w"), out="logits")
    weight = Constant("w", "w", "float32", (64, 10), trained=True)
    network = Interpreter(Graph((weight,), "x", (1, 8, 8), (flat("f"), product), "logits"), {"w": torch.zeros(64, 10)})
    assert classes_of(network) == 10
    monkeypatch.setattr(dry_run, "MAX_OPERATIONS", 2 * 64 * 10 - 1)
    with pytest.raises(InvalidCheckpoint, match="multiplications"):
        classes_of(network)


def test_a_size_that_depends_on_values_is_refused_as_such() -> None:
    mask = operation("aten.gt.Scalar", X, 0.5, out="mask")
    pick = operation("aten.index.Tensor", X, (Reference("mask"),), out="picked")
    with pytest.raises(InvalidCheckpoint, match="a result whose size depends on values"):
        classes_of(graph(mask, pick, flat(), output="logits"))


@pytest.mark.parametrize(
    ("operations", "found"),
    [
        ([operation("aten.alias.default", X, out="logits")], r"\[2, 1, 8, 8\]"),
        ([flat("f"), operation("aten.t.default", Reference("f"), out="logits")], r"\[64, 2\]"),
        ([flat("f"), operation("aten.to.dtype", Reference("f"), Symbol("dtype", "int64"), out="logits")], "int64"),
        ([flat("f"), operation("aten.mm.default", Reference("f"), Reference("f"), out="logits")], "operation 1"),
        ([operation("aten.reshape.default", X, (2, 64), out="logits")], "operation 0"),
        ([operation("aten.sym_size.int", X, 0, out="logits")], "no tensor"),
    ],
)
def test_what_comes_out_must_be_logits(operations: list[Operation], found: str) -> None:
    with pytest.raises(InvalidCheckpoint, match=found):
        classes_of(graph(*operations, output="logits"))


def test_the_number_of_classes_may_not_depend_on_the_batch() -> None:
    rows = operation("aten.sym_size.int", X, 0, out="n")
    wide = operation("aten.zeros.default", (Reference("n"), Reference("n")), out="logits")
    with pytest.raises(InvalidCheckpoint, match="depends on the batch"):
        classes_of(graph(rows, wide, output="logits"))


def failing(error: Exception) -> Interpreter:
    network = graph(flat(), output="logits")

    def fail(*_: object) -> None:
        raise error

    network.steps[0].run = fail  # type: ignore[method-assign,assignment]
    return network


def test_a_failure_names_the_operation_and_its_place() -> None:
    with pytest.raises(InvalidCheckpoint) as refused:
        failing(RuntimeError("first line\nsecond line"))(torch.zeros(1, 1, 8, 8))
    assert "operation 0" in refused.value.message
    assert "aten.flatten.using_ints" in refused.value.message
    assert "first line" in refused.value.message
    assert "second line" not in refused.value.message


GREEDY = "DefaultCPUAllocator: can't allocate memory: you tried to allocate 4000000000000 bytes. Error code 12"
MODEST = "DefaultCPUAllocator: can't allocate memory: you tried to allocate 4096 bytes. Error code 12"


@pytest.mark.parametrize(
    ("error", "refused"),
    [
        (RuntimeError(GREEDY), True),
        (RuntimeError(MODEST), False),
        (torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 3.64 TiB. GPU 0 has"), True),
        (torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 MiB. GPU 0 has"), False),
        (MemoryError(), False),
        (torch.AcceleratorError("CUDA error: an illegal memory access", 700), False),
    ],
)
def test_a_machine_that_is_too_small_is_not_the_networks_fault(error: Exception, refused: bool) -> None:
    with pytest.raises(InvalidCheckpoint if refused else type(error)) as raised:
        failing(error)(torch.zeros(1, 1, 8, 8))
    assert refused or raised.value is error


class Deep(nn.Module):
    """Fifty blocks of the sizes of a large network of the literature."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv2d(3, 64, 3, stride=4, padding=1)
        self.blocks = nn.ModuleList(
            nn.Sequential(nn.Conv2d(64, 64, 3, padding=1), nn.BatchNorm2d(64), nn.GELU()) for _ in range(50)
        )
        self.last = nn.Linear(64, 1000)

    def forward(self, x: Tensor) -> Tensor:
        x = self.first(x)
        for block in self.blocks:
            x = x + block(x)
        logits: Tensor = self.last(x.mean((2, 3)))
        return logits


def test_it_takes_little_time(tmp_path: Path) -> None:
    network = load_program(export(Deep(), tmp_path / "m.pt2", torch.rand(2, 3, 224, 224)))
    classes_of(graph(flat(), output="logits"))  # what torch imports when it is first needed
    began = time.perf_counter()
    assert classes_of(network) == 1000
    assert time.perf_counter() - began < 2


ODD: dict[str, Callable[[], object]] = {
    "element type by number": lambda: operation("aten.to.dtype", X, 9),
    "layout by number": lambda: operation("aten.zeros.default", (2,), layout=1),
    "device by name": lambda: operation("aten.to.device", X, "meta", Symbol("dtype", "float32")),
    "word for a number": lambda: operation("aten.mul.Scalar", X, Symbol("dtype", "float32")),
    "mode that is none": lambda: operation("aten.grid_sampler.default", X, X, 3, 0, False),
    "unknown argument": lambda: operation("aten.relu.default", X, other=1),
    "argument twice": lambda: operation("aten.relu.default", X, self=X),
    "too many arguments": lambda: operation("aten.relu.default", X, X),
    "statistics kept": lambda: operation("aten.instance_norm.default", X, None, None, X, X, True, 0.1, 1e-5, False),
}


@pytest.mark.parametrize("name", ODD)
def test_arguments_are_of_the_kinds_that_torch_declares(name: str) -> None:
    odd = ODD[name]()
    assert isinstance(odd, Operation)
    with pytest.raises(InvalidCheckpoint):
        graph(odd, flat(), output="logits")


def test_statistics_of_another_size_are_never_read() -> None:
    few = operation("aten.ones.default", (1,), out="few")
    arguments: tuple[Argument, ...] = (X, *[Reference("few")] * 4, 0.1, 1e-5)
    norm = Operation("aten._native_batch_norm_legit_no_training.default", arguments, {}, ("y", None, None))
    logits = operation("aten.flatten.using_ints", Reference("y"), 1, out="logits")
    network = graph(few, norm, logits, output="logits", image_shape=(64, 2, 2))
    with pytest.raises(InvalidCheckpoint, match="statistics of"):
        network(torch.zeros(1, 64, 2, 2))
    with pytest.raises(InvalidCheckpoint, match="statistics of"):
        classes_of(network)
    assert graph(few, norm, logits, output="logits", image_shape=(1, 2, 2))(torch.zeros(3, 1, 2, 2)).shape == (3, 4)


@pytest.mark.parametrize(
    "cut",
    [
        operation("aten.unbind.int", X, 3),
        operation("aten.split.Tensor", X, 1, 2),
        operation("aten.chunk.default", X, 5, -1),
        operation("aten.tensor_split.sections", X, 2**31),
    ],
)
def test_pieces_that_nobody_takes_are_not_made(cut: Operation) -> None:
    with pytest.raises(InvalidCheckpoint, match="results"):
        graph(cut, flat(), output="logits")(torch.zeros(2, 1, 8, 8))


def test_a_truth_value_is_0_or_1_whatever_its_byte_is() -> None:
    found = _tensor(bytearray([0, 1, 2, 255]), StoredTensor("m", "bool", (4,), (1,), 0))
    assert found.view(torch.uint8).tolist() == [0, 1, 1, 1]
