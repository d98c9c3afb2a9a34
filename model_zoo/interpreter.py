"""A graph of operations as a network: run one by one, with nothing of its author's but numbers."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Sequence
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.fx import GraphModule

from benchmark.errors import InvalidCheckpoint
from benchmark.graph import Argument, Graph, Operation, Reference, Symbol
from model_zoo.aliasing import reached_in_place
from model_zoo.arguments import check_arguments, guarded
from model_zoo.checkpoints.archive import StoredTensor
from model_zoo.checkpoints.operations import ALLOWED, require_runnable
from model_zoo.checkpoints.pt2 import read_program
from model_zoo.checkpoints.zip_archive import opened
from model_zoo.functions import function_of
from model_zoo.layers import as_layers

MAX_RESULT_BYTES = 256 * 1024 * 1024
"""What one result may take for each image; the largest of ViT, ConvNeXt, DenseNet and U-Nets take a fifth of it."""

_ASKED = re.compile(r"tried to allocate ([\d.]+) (bytes|[KMGT]iB)", re.IGNORECASE)
_UNITS = {"bytes": 1, "kib": 2**10, "mib": 2**20, "gib": 2**30, "tib": 2**40}
_REASON_CHARACTERS = 200


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
    require_runnable(program.graph)
    with opened(path) as archive:
        storages: dict[str, bytearray] = {}
        for stored in program.tensors.values():
            if stored.member not in storages:
                storages[stored.member] = bytearray(archive.read(stored.member))  # which checks its sum
    tensors = {name: _tensor(storages[stored.member], stored) for name, stored in program.tensors.items()}
    return Interpreter(program.graph, tensors).eval()


def _tensor(storage: bytearray, stored: StoredTensor) -> Tensor:
    dtype = getattr(torch, stored.dtype)
    if not math.prod(stored.shape):
        return torch.empty(stored.shape, dtype=dtype)
    if dtype == torch.bool:
        # A byte that is neither 0 nor 1 is true to one kernel and false to another.
        storage = bytearray(map(bool, storage))
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
        self.steps = [Step(operation, places, number, last) for number, operation in enumerate(graph.operations)]
        self._places = len(places)
        self.output = places[graph.output]
        # What is written in place must be this call's own: neither the caller's images nor what the next call reads.
        written = reached_in_place(graph)
        self._written = tuple(
            name in written for name in (*(constant.name for constant in graph.constants), graph.input)
        )

    def forward(self, images: Tensor) -> Tensor:
        """Return the logits of images in [0, 1], (n, c, h, w)."""
        values = self.beginning(images, self.constants())
        done = 0
        try:
            for done, step in enumerate(self.steps):  # noqa: B007 - says which one failed, at no cost while none does
                step.run(values, images)
        except Exception as error:
            raise self.failure(done, error, len(images)) from error
        logits = values[self.output]
        if not isinstance(logits, Tensor):
            raise InvalidCheckpoint.because(
                "graph",
                found="a result that is no tensor",
                expected="logits",
                remedy="export a model that returns logits",
            )
        return logits

    def as_layers(self) -> GraphModule:
        """Return a copy in layers of torch.nn, for whoever can make those faster.

        Raises:
            ValueError: an operation works in place in a way that layers cannot.
        """
        return as_layers(self.graph, dict(zip(self.graph.constants, self.constants(), strict=True)))

    def constants(self) -> list[Tensor]:
        """Return parameters and buffers in the graph's order."""
        return [getattr(self, attribute) for attribute in self._attributes]

    def beginning(self, images: Tensor, constants: Sequence[Tensor]) -> list[object]:
        """Return the place of every value, filled where no operation computes it."""
        values: list[object] = [None] * self._places
        for place, tensor in enumerate((*constants, images)):
            values[place] = tensor.clone() if self._written[place] else tensor
        return values

    def failure(self, number: int, error: Exception, images: int) -> Exception:
        """Return what to raise for an operation that has failed.

        Args:
            number: the operation's place in the graph.
            error: what it raised.
            images: how many there were.
        Returns:
            The error itself where it is the machine that is at fault: its device, or memory too small for the batch.
        """
        asked = _ASKED.search(str(error))
        short = isinstance(error, torch.OutOfMemoryError | MemoryError) or asked is not None
        greedy = asked and float(asked[1]) * _UNITS[asked[2].lower()] > MAX_RESULT_BYTES * max(images, 1)
        if isinstance(error, InvalidCheckpoint | torch.AcceleratorError) or (short and not greedy):
            return error
        reason = (str(error).splitlines() or [""])[0][:_REASON_CHARACTERS]
        return InvalidCheckpoint.because(
            f"operation {number}",
            found=f"{self.steps[number].target}, which fails: {type(error).__name__}: {reason}",
            expected="a graph that runs",
            remedy="export the model again with gauntlet.export(model, example), which tries it",
        )


class Step:
    """An operation with places in a list instead of names.

    Args:
        operation: what to do.
        places: where each value given so far is kept; the results' places are added.
        number: its place in the graph.
        last: the place of the last operation that reads a value.
    """

    def __init__(self, operation: Operation, places: dict[str, int], number: int, last: dict[str, int]) -> None:
        self.target = operation.target
        function = function_of(operation.target)
        alone = operation.target in ALLOWED and check_arguments(operation, function)
        self._function = guarded(operation.target, function, len(operation.outputs))
        self._positional = [_filler(argument, places) for argument in operation.positional]
        self._named = {name: _filler(argument, places) for name, argument in operation.named.items()}
        if alone:
            self._named["device"] = lambda _, images: images.device
        self._makes_default = alone and operation.named.get("dtype") is None
        self.outputs: list[int | None] = []
        for name in operation.outputs:
            if name is not None:
                places[name] = len(places)
            self.outputs.append(None if name is None else places[name])
        # What nobody takes any more is let go, so that memory is that of the network itself.
        self.done = [places[name] for name in dict.fromkeys(operation.reads()) if last[name] == number]
        self.done += [places[name] for name in operation.outputs if name is not None and name not in last]

    def run(self, values: list[object], images: Tensor) -> None:
        """Compute, keep the results and let go what is no longer needed."""
        self.keep(values, self.compute(values, images))

    def compute(self, values: list[object], images: Tensor) -> Sequence[object]:
        """Return the results."""
        arguments = [fill(values, images) for fill in self._positional]
        named = {name: fill(values, images) for name, fill in self._named.items()}
        result = self._function(*arguments, **named)
        if self._makes_default and isinstance(result, Tensor) and result.dtype is torch.float32:
            result = result.to(images.dtype)
        if len(self.outputs) == 1 and not isinstance(result, list | tuple):
            result = (result,)
        if not isinstance(result, list | tuple) or len(result) != len(self.outputs):
            raise InvalidCheckpoint.because(
                "graph",
                found=f"another number of results of {self.target}",
                expected=str(len(self.outputs)),
                remedy="export the model again",
            )
        return result

    def keep(self, values: list[object], results: Sequence[object]) -> None:
        """Put results in their places and empty those that nobody reads any more."""
        for place, value in zip(self.outputs, results, strict=True):
            if place is not None:
                values[place] = value
        for place in self.done:
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
