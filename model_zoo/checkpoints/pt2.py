"""The file that ``torch.export.save`` writes, read as hostile input, without torch and without running any of it.

It is a zip archive with a graph of operations as JSON and the bytes of every tensor. torch's own reader unpickles some
of its members, evaluates expressions in it and loads libraries from it. This one takes the operations one by one from a
list of those that are allowed, and the tensors as raw bytes whose every position was checked; whatever else the archive
holds is refused, or, like the sample inputs, never opened.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from types import MappingProxyType

from benchmark.graph import Argument, Constant, Graph, Operation, Reference, Symbol, breach_of
from model_zoo.checkpoints.archive import PROGRAM, Archive, StoredTensor, dtype_of, refuse
from model_zoo.checkpoints.header import MAX_DIMENSION, MAX_DIMENSIONS, shown
from model_zoo.checkpoints.operations import ALLOWED, INTEGERS
from model_zoo.checkpoints.strict_json import Malformed, Value
from model_zoo.checkpoints.zip_archive import MAX_MEMBERS, opened

MAX_OPERATIONS = 50_000

_MEMORY_FORMATS = ("preserve_format", "contiguous_format", "channels_last", "channels_last_3d", "preserve_format")
_SUPPORTED_SCHEMA = 8
_IGNORED = frozenset(
    (
        "torch.ops.aten._assert_scalar.default",
        "torch.ops.aten._assert_tensor_metadata.default",
        "torch.ops.aten.sym_constrain_range_for_size.default",
        "torch.ops.aten.sym_constrain_range.default",
    )
)
"""Checks of the exporter's, which compute nothing."""


@dataclass(frozen=True)
class Program:
    """An archive whose every statement was found to be true.

    Args:
        graph: the model.
        tensors: where each of the graph's constants lies, by the constant's name.
    """

    graph: Graph
    tensors: Mapping[str, StoredTensor]


def read_program(path: Path) -> Program:
    """Read and validate a `.pt2` file.

    Raises:
        InvalidCheckpoint: the file is malformed, or holds what no submission may.
    """
    try:
        with opened(path) as file:
            archive = Archive(file, path.stat().st_size)
            return _Reading(archive.document(PROGRAM), archive.tensors()).program()
    except Malformed as error:
        refuse(error.field, found=error.found, expected=error.expected)


class _Reading:
    """A program as JSON on its way to a graph."""

    def __init__(self, program: Value, stored: Mapping[str, StoredTensor]) -> None:
        self._json = program
        self._stored = stored
        self._given: set[str] = set()
        self._keys: set[str] = set()
        self._kept: list[str] = []
        one: dict[str, Callable[[Value], Argument]] = {
            "as_tensor": self._named,
            "as_int": Value.integer,
            "as_bool": Value.boolean,
            "as_float": Value.number,
            "as_sym_int": self._size,
        }
        self._kinds: dict[str, Callable[[Value], Argument]] = {
            **one,
            **{f"{kind}s": partial(_each, read) for kind, read in one.items()},
            "as_none": lambda _: None,
            "as_optional_tensors": partial(_each, self._argument),
            "as_string": Value.text,
            "as_scalar_type": lambda value: Symbol("dtype", dtype_of(value, "graph")[0]),
            "as_memory_format": lambda value: Symbol("memory_format", _MEMORY_FORMATS[value.count(4)]),
            "as_layout": lambda _: Symbol("layout", "strided"),
            "as_device": lambda _: Symbol("device", "same"),
        }
        self._tensors: dict[str, StoredTensor] = {}

    def program(self) -> Program:
        version = self._json["schema_version"]["major"].count(1_000)
        if version != _SUPPORTED_SCHEMA:
            refuse(
                "schema_version",
                found=str(version),
                expected=str(_SUPPORTED_SCHEMA),
                remedy="export the model with a torch of the service's version",
            )
        graph = self._graph(self._json["graph_module"])
        return Program(graph, MappingProxyType(self._tensors))

    def _graph(self, module: Value) -> Graph:
        content, signature = module["graph"], module["signature"]
        constants, image = self._inputs(signature)
        shape = self._image_shape(content, image)
        nodes = content["nodes"].items_of_list(MAX_OPERATIONS)
        operations = tuple(operation for node in nodes if (operation := self._operation(node)) is not None)
        output = self._output(signature)
        return Graph(constants, image, shape, operations, output, tuple(self._kept))

    def _give(self, name: str) -> str:
        if name in self._given:
            refuse("graph", found=f"the name {shown(name)} given twice", expected="every name given once")
        self._given.add(name)
        return name

    def _taken(self, name: str) -> Reference:
        if name not in self._given:
            refuse("graph", found=f"{shown(name)} taken before it is given", expected="operations in their order")
        return Reference(name)

    def _inputs(self, signature: Value) -> tuple[tuple[Constant, ...], str]:
        constants, images = [], []
        for spec in signature["input_specs"].items_of_list(MAX_MEMBERS):
            (kind,) = spec.keys_of_one()
            body = spec[kind]
            if kind == "user_input":
                images.append(self._give(body["arg"]["as_tensor"]["name"].text()))
            elif kind in {"parameter", "buffer", "tensor_constant"}:
                constants.append(self._constant(body["arg"]["name"].text(), body[f"{kind}_name"].text(), kind))
            else:
                refuse("signature", found=f"an input of kind {shown(kind)}", expected="one batch of images")
        if len(images) != 1:
            refuse(
                "signature",
                found=f"{len(images)} inputs",
                expected="one batch of images",
                remedy="export a model that takes one batch of images in [0, 1] and nothing else",
            )
        return tuple(constants), images[0]

    def _constant(self, name: str, key: str, kind: str) -> Constant:
        tensor = self._stored.get(key)
        if tensor is None:
            refuse(f"tensor {shown(key)}", found="nothing", expected="a tensor in the archive")
        if key in self._keys:
            refuse(f"tensor {shown(key)}", found="two names", expected="one")
        self._keys.add(key)
        self._tensors[self._give(name)] = tensor
        return Constant(name, key, tensor.dtype, tensor.shape, trained=kind == "parameter")

    def _image_shape(self, content: Value, image: str) -> tuple[int, ...]:
        sizes = content["tensor_values"][image]["sizes"].items_of_list(MAX_DIMENSIONS)
        if len(sizes) != 4:
            refuse(
                "input", found=f"{len(sizes)} dimensions", expected="a batch of images, (n, channels, height, width)"
            )
        if "as_int" in sizes[0].keys_of_one():
            refuse(
                "input",
                found=f"a batch of always {sizes[0]['as_int'].count(MAX_DIMENSION)} images",
                expected="a batch of any size",
            )
        return tuple(size["as_int"].count(MAX_DIMENSION) for size in sizes[1:])

    def _output(self, signature: Value) -> str:
        outputs = []
        for spec in signature["output_specs"].items_of_list(MAX_MEMBERS):
            (kind,) = spec.keys_of_one()
            if kind == "buffer_mutation":
                self._keep(spec[kind]["buffer_name"].text())
                continue
            if kind != "user_output":
                refuse("signature", found=f"an output of kind {shown(kind)}", expected="logits and nothing else")
            outputs.append(self._taken(spec[kind]["arg"]["as_tensor"]["name"].text()).name)
        if len(outputs) != 1:
            refuse("signature", found=f"{len(outputs)} outputs", expected="logits and nothing else")
        return outputs[0]

    def _keep(self, key: str) -> None:
        if key not in self._keys:
            refuse("signature", found=f"a change of {shown(key)}", expected="a change of a buffer that there is")
        self._kept.append(key)

    def _operation(self, node: Value) -> Operation | None:
        target = node["target"].text()
        if target in _IGNORED:
            return None
        name = target.removeprefix("torch.ops.")
        module, _, function = target.rpartition(".")
        against_rules = name != target and breach_of(name) is not None
        if module == "_operator" and function in INTEGERS:
            name = f"operator.{function}"
        elif (name not in ALLOWED and not against_rules) or name == target:
            refuse(
                "graph",
                found=f"the operation {shown(target)}",
                expected="operations that compute their result from their arguments alone",
                remedy="replace it in the model, or ask for it to be allowed if it is one of these",
            )
        positional: list[Argument] = []
        named: dict[str, Argument] = {}
        for item in node["inputs"].items_of_list(100):
            # What breaks a rule may take graphs of its own, which nobody needs to know.
            value = None if against_rules and self._is_unknown(item["arg"]) else self._argument(item["arg"])
            word = item["name"].text()
            if item["kind"].count(2) == 2 or named:
                named[word] = value
            else:
                positional.append(value)
        return Operation(name, tuple(positional), MappingProxyType(named), tuple(self._outputs(node)))

    def _outputs(self, node: Value) -> Iterator[str | None]:
        for output in node["outputs"].items_of_list(MAX_MEMBERS):
            (kind,) = output.keys_of_one()
            body = output[kind]
            if kind == "as_tensor":
                yield self._give(body["name"].text())
            elif kind == "as_sym_int":
                yield self._give(body["as_name"].text())
            elif kind == "as_tensors":
                for item in body.items_of_list(MAX_MEMBERS):
                    yield self._give(item["name"].text())
            elif kind == "as_none":
                yield None
            else:
                refuse("graph", found=f"a result of kind {shown(kind)}", expected="tensors and sizes")

    def _is_unknown(self, value: Value) -> bool:
        (kind,) = value.keys_of_one()
        return kind not in self._kinds

    def _argument(self, value: Value) -> Argument:
        (kind,) = value.keys_of_one()
        read = self._kinds.get(kind)
        if read is None:
            refuse("graph", found=f"an argument of kind {shown(kind)}", expected="tensors, numbers and words")
        return read(value[kind])

    def _named(self, value: Value) -> Reference:
        return self._taken(value["name"].text())

    def _size(self, value: Value) -> Argument:
        (kind,) = value.keys_of_one()
        return self._taken(value[kind].text()) if kind == "as_name" else value["as_int"].integer()


def _each(read: Callable[[Value], Argument], value: Value) -> Argument:
    return tuple(read(item) for item in value.items_of_list(MAX_MEMBERS))
