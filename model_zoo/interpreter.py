"""A graph of operations as a network: run one by one, with nothing of its author's but numbers."""

from __future__ import annotations

import operator
import zipfile
from collections.abc import Callable, Sequence
from pathlib import Path

import torch
from torch import Tensor, nn

from benchmark.errors import InvalidCheckpoint
from benchmark.graph import Argument, Graph, Operation, Reference, Symbol
from model_zoo.checkpoints.archive import StoredTensor
from model_zoo.checkpoints.pt2 import read_program

MAX_SIZE = 2**31 - 1
"""Greatest number that a graph may compute from sizes."""
_FACTORIES = frozenset(("arange", "eye", "full", "ones", "zeros"))
"""What makes tensors of torch's default type, unless it is told another one."""


def load_program(path: Path) -> Interpreter:
    """Load a `.pt2` file.

    Args:
        path: nothing in it is trusted.
    Returns:
        The network in eval mode.
    Raises:
        InvalidCheckpoint: the file is malformed, or holds what no submission may.
    """
    program = read_program(path)
    with zipfile.ZipFile(path) as archive:
        storages: dict[str, bytearray] = {}
        for stored in program.tensors.values():
            if stored.member not in storages:
                storages[stored.member] = _bytes(archive, stored.member)
        tensors = {name: _tensor(storages[stored.member], stored) for name, stored in program.tensors.items()}
    return Interpreter(program.graph, tensors).eval()


def _bytes(archive: zipfile.ZipFile, member: str) -> bytearray:
    info = archive.getinfo(member)
    try:
        content = bytearray(archive.read(info))  # which checks its sum
    except zipfile.BadZipFile as error:
        raise InvalidCheckpoint.because(
            "archive", found=str(error)[:80], expected="members as they were written", remedy="upload the file again"
        ) from None
    return content


def _tensor(storage: bytearray, stored: StoredTensor) -> Tensor:
    dtype = getattr(torch, stored.dtype)
    if not storage:
        return torch.empty(stored.shape, dtype=dtype)
    flat = torch.frombuffer(storage, dtype=dtype, count=len(storage) // dtype.itemsize)
    return flat.as_strided(stored.shape, stored.strides, stored.offset).clone()


class Interpreter(nn.Module):
    """A network that runs a graph.

    Its parameters and buffers are under the names that they had in the network that was exported, so it can be moved to
    another device, memory format or element type as any network can; images are then of that type too.

    Args:
        graph: what is run.
        tensors: the graph's constants by name.
    """

    def __init__(self, graph: Graph, tensors: dict[str, Tensor]) -> None:
        super().__init__()
        self.graph = graph
        self._attributes: list[str] = []
        for place, constant in enumerate(graph.constants):
            attribute = f"{place}_{constant.key.replace('.', '_')}"
            self._attributes.append(attribute)
            tensor = tensors[constant.name]
            if constant.trained and tensor.is_floating_point():
                self.register_parameter(attribute, nn.Parameter(tensor))
            else:
                self.register_buffer(attribute, tensor)
        places: dict[str, int] = {}
        for name in (*(constant.name for constant in graph.constants), graph.input):
            places[name] = len(places)
        last = {name: len(graph.operations) for name in (graph.output,)}
        for number, operation in reversed(list(enumerate(graph.operations))):
            for name in operation.reads():
                last.setdefault(name, number)
        self._steps = [_Step(operation, places, number, last) for number, operation in enumerate(graph.operations)]
        self._places = len(places)
        self._output = places[graph.output]
        # What is written in place must be this call's own: neither the caller's images nor what the next call reads.
        self._writes = any(operation.writes for operation in graph.operations)

    def forward(self, images: Tensor) -> Tensor:
        """Return the logits of images in [0, 1], (n, c, h, w)."""
        values: list[object] = [None] * self._places
        for place, attribute in enumerate(self._attributes):
            tensor: Tensor = getattr(self, attribute)
            values[place] = tensor.clone() if self._writes else tensor
        values[len(self._attributes)] = images.clone() if self._writes else images
        for step in self._steps:
            step.run(values, images)
        logits = values[self._output]
        if not isinstance(logits, Tensor):
            raise InvalidCheckpoint.because(
                "graph",
                found="a result that is no tensor",
                expected="logits",
                remedy="export a model that returns logits",
            )
        return logits


class _Step:
    """An operation with places in a list instead of names."""

    def __init__(self, operation: Operation, places: dict[str, int], number: int, last: dict[str, int]) -> None:
        self._target = operation.target
        self._function = _function(operation.target)
        self._positional = [_filler(argument, places) for argument in operation.positional]
        self._named = {name: _filler(argument, places) for name, argument in operation.named.items()}
        self._makes = operation.target.split(".")[1] in _FACTORIES and operation.named.get("dtype") is None
        self._outputs = []
        for name in operation.outputs:
            if name is not None:
                places[name] = len(places)
            self._outputs.append(None if name is None else places[name])
        # What nobody takes any more is let go, so that memory is that of the network itself.
        self._done = [places[name] for name in dict.fromkeys(operation.reads()) if last[name] == number]
        self._done += [places[name] for name in operation.outputs if name is not None and name not in last]

    def run(self, values: list[object], images: Tensor) -> None:
        arguments = [fill(values, images) for fill in self._positional]
        named = {name: fill(values, images) for name, fill in self._named.items()}
        result = self._function(*arguments, **named)
        if self._makes and isinstance(result, Tensor) and result.dtype is torch.float32:
            result = result.to(images.dtype)
        if len(self._outputs) == 1 and not isinstance(result, list | tuple):
            result = (result,)
        if not isinstance(result, list | tuple) or len(result) != len(self._outputs):
            raise InvalidCheckpoint.because(
                "graph",
                found=f"another number of results of {self._target}",
                expected=str(len(self._outputs)),
                remedy="export the model again",
            )
        for place, value in zip(self._outputs, result, strict=True):
            if place is not None:
                values[place] = value
        for place in self._done:
            values[place] = None


Filler = Callable[[Sequence[object], Tensor], object]


def _filler(argument: Argument, places: dict[str, int]) -> Filler:
    """Return what gives the argument's value in a call."""
    if isinstance(argument, Reference):
        place = places[argument.name]
        return lambda values, _: values[place]
    if isinstance(argument, Symbol):
        if argument.kind == "device":
            return lambda _, images: images.device
        if argument.name == "float32":
            # What was made in the type of the images, for networks are exported in float32; they may run in another.
            return lambda _, images: images.dtype
        word = getattr(torch, argument.name)
        return lambda _values, _images: word
    if isinstance(argument, tuple) and any(isinstance(item, Reference | Symbol | tuple) for item in argument):
        parts = [_filler(item, places) for item in argument]
        return lambda values, images: [part(values, images) for part in parts]
    constant = list(argument) if isinstance(argument, tuple) else argument
    return lambda _values, _images: constant


def _function(target: str) -> Callable[..., object]:
    module, name, *overload = target.split(".")
    if module == "operator":
        return _bounded(getattr(operator, name))
    function: Callable[..., object] = getattr(getattr(torch.ops.aten, name), overload[0])
    return function


def _bounded(function: Callable[..., int]) -> Callable[..., int]:
    def compute(*sizes: int) -> int:
        value = function(*sizes)
        if not -MAX_SIZE <= value <= MAX_SIZE:
            raise InvalidCheckpoint.because(
                "graph", found=f"the size {value}", expected=f"at most {MAX_SIZE}", remedy="export the model again"
            )
        return value

    return compute
