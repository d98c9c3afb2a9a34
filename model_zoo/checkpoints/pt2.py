"""The file that ``torch.export.save`` writes, read as hostile input, without torch and without running any of it.

It is a zip archive with a graph of operations as JSON and the bytes of every tensor. torch's own reader unpickles some of
its members, evaluates expressions in it and loads libraries from it. This one takes the graph's operations one by one from
a list of those that are allowed, and the tensors as raw bytes whose every position was checked; whatever else the archive
holds is refused, or, like the sample inputs, never opened.
"""

from __future__ import annotations

import math
import re
import zipfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import NoReturn

from benchmark.errors import InvalidCheckpoint
from benchmark.graph import Argument, Constant, Graph, Operation, Reference, Symbol
from model_zoo.checkpoints.header import MAX_DIMENSION, MAX_DIMENSIONS, shown
from model_zoo.checkpoints.operations import ALLOWED, INTEGERS
from model_zoo.checkpoints.strict_json import Malformed, Value, parse

MAX_MEMBERS = 20_000
MAX_PROGRAM_BYTES = 64 * 1024 * 1024
"""Size of the graph as JSON; a network of a hundred layers has a few megabytes, most of it traces of its source."""
MAX_OPERATIONS = 50_000
MAX_CONSTANT_RATIO = 4
"""How many times the file the tensors may be, where several lie on the same bytes."""

_MEMBERS = re.compile(
    r"(?P<root>[^/]{1,200})/"
    r"(?:(?P<program>models/model\.json)|(?P<weights>data/weights/model_weights_config\.json)"
    r"|(?P<constants>data/constants/model_constants_config\.json)|(?P<tensor>data/(?:weights/weight|constants/tensor)_\d{1,9})"
    r"|data/sample_inputs/model\.pt|archive_format|archive_version|byteorder|version|\.data/version|\.data/serialization_id"
    r"|\.format_version|\.storage_alignment)"
)
DTYPES: Mapping[int, tuple[str, int]] = MappingProxyType(
    {
        1: ("uint8", 1),
        2: ("int8", 1),
        3: ("int16", 2),
        4: ("int32", 4),
        5: ("int64", 8),
        6: ("float16", 2),
        7: ("float32", 4),
        8: ("float64", 8),
        12: ("bool", 1),
        13: ("bfloat16", 2),
    }
)
"""Name and size of each element type by the number that the format gives it."""
_MEMORY_FORMATS = {1: "contiguous_format", 2: "channels_last", 3: "channels_last_3d", 4: "preserve_format"}
_STRIDED = 7
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
_TRAINING = MappingProxyType(
    {
        "aten.batch_norm.default": ("training", 5),
        "aten.dropout.default": ("train", 2),
        "aten.dropout_.default": ("train", 2),
        "aten.scaled_dot_product_attention.default": ("dropout_p", 4),
    }
)
"""Where an operation is told to behave as in training: the argument's name and place."""
_EXPORT_AGAIN = "export the model in eval mode with gauntlet.export(model, example) and upload that file"


@dataclass(frozen=True)
class StoredTensor:
    """Where a tensor lies in the archive.

    Args:
        member: name of the member that holds its bytes.
        dtype: element type.
        shape: size along each dimension.
        strides: elements from one index to the next, along each dimension.
        offset: elements before the first.
    """

    member: str
    dtype: str
    shape: tuple[int, ...]
    strides: tuple[int, ...]
    offset: int


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
        with zipfile.ZipFile(path) as archive:
            members = _members(archive, path.stat().st_size)
            program = _json(archive, members, "program")
            stored = {
                **_stored(_json(archive, members, "weights"), archive, members),
                **_stored(_json(archive, members, "constants"), archive, members),
            }
    except (zipfile.BadZipFile, NotImplementedError, EOFError, UnicodeDecodeError) as error:
        _refuse("file", found=shown(str(error)), expected="a zip archive as torch.export.save writes it")
    return _Reading(program, stored).program()


def _refuse(field: str, *, found: str, expected: str, remedy: str = _EXPORT_AGAIN) -> NoReturn:
    raise InvalidCheckpoint.because(field, found=found, expected=expected, remedy=remedy)


# The archive.


@dataclass(frozen=True)
class _Members:
    root: str
    files: Mapping[str, zipfile.ZipInfo]
    size: int


def _members(archive: zipfile.ZipFile, size: int) -> _Members:
    infos = archive.infolist()
    if len(infos) > MAX_MEMBERS:
        _refuse("archive", found=f"{len(infos)} members", expected=f"at most {MAX_MEMBERS}")
    files: dict[str, zipfile.ZipInfo] = {}
    roots = set()
    for info in infos:
        match = _MEMBERS.fullmatch(info.filename)
        if match is None:
            _refuse(
                "archive",
                found=f"the member {shown(info.filename)}",
                expected="a graph, its tensors and nothing else",
            )
        if info.filename in files:
            _refuse("archive", found=f"the member {shown(info.filename)} twice", expected="every member once")
        if info.compress_type != zipfile.ZIP_STORED or info.file_size != info.compress_size or info.flag_bits & 0x1:
            _refuse("archive", found=f"{shown(info.filename)} compressed or encrypted", expected="members as they are")
        roots.add(match["root"])
        files[info.filename] = info
    if len(roots) != 1:
        _refuse("archive", found=f"{len(roots)} top folders", expected="one")
    if sum(info.file_size for info in infos) > size:
        _refuse("archive", found="members that overlap", expected="members one after the other")
    return _Members(roots.pop(), MappingProxyType(files), size)


def _json(archive: zipfile.ZipFile, members: _Members, group: str) -> Value:
    (name,) = [name for name in (
        {"program": "models/model.json", "weights": "data/weights/model_weights_config.json",
         "constants": "data/constants/model_constants_config.json"}[group],
    )]  # fmt: skip
    info = members.files.get(f"{members.root}/{name}")
    if info is None:
        _refuse("archive", found=f"no {name}", expected="a graph and its tensors")
    if info.file_size > MAX_PROGRAM_BYTES:
        _refuse(name, found=f"{info.file_size} bytes", expected=f"at most {MAX_PROGRAM_BYTES}")
    try:
        return parse(archive.read(info), name)
    except Malformed as error:
        _refuse(name, found=error.found, expected=error.expected)


def _stored(config: Value, archive: zipfile.ZipFile, members: _Members) -> dict[str, StoredTensor]:
    try:
        entries = config["config"].items()
        return {name: _stored_tensor(name, entry, members) for name, entry in entries}
    except Malformed as error:
        _refuse(error.field, found=error.found, expected=error.expected)


def _stored_tensor(name: str, entry: Value, members: _Members) -> StoredTensor:
    field = f"tensor {shown(name)}"
    if entry["use_pickle"].boolean():
        _refuse(field, found="a pickled tensor", expected="raw bytes")
    member = entry["path_name"].text()
    info = next(
        (
            members.files[place]
            for place in (f"{members.root}/data/weights/{member}", f"{members.root}/data/constants/{member}")
            if place in members.files and _MEMBERS.fullmatch(place)["tensor"]  # type: ignore[index]  # it matched before
        ),
        None,
    )
    if info is None:
        _refuse(field, found=f"a place {shown(member)} that is no tensor", expected="a member of the archive")
    meta = entry["tensor_meta"]
    dtype, item = _dtype(meta["dtype"], field)
    shape = tuple(size["as_int"].count(MAX_DIMENSION) for size in meta["sizes"].items_of_list(MAX_DIMENSIONS))
    strides = tuple(size["as_int"].count(MAX_DIMENSION) for size in meta["strides"].items_of_list(MAX_DIMENSIONS))
    offset = meta["storage_offset"]["as_int"].count(MAX_DIMENSION)
    if meta["layout"].count(100) != _STRIDED or len(shape) != len(strides):
        _refuse(field, found="another layout", expected="a dense tensor")
    elements = math.prod(shape)
    last = offset + sum((size - 1) * stride for size, stride in zip(shape, strides, strict=True)) if elements else 0
    if elements * item > info.file_size or (elements and (last + 1) * item > info.file_size):
        _refuse(
            field,
            found=f"shape {list(shape)} with strides {list(strides)} in {info.file_size} bytes",
            expected="a dense tensor within its bytes",
        )
    return StoredTensor(info.filename, dtype, shape, strides, offset)


def _dtype(value: Value, field: str) -> tuple[str, int]:
    number = value.count(100)
    if number not in DTYPES:
        _refuse(field, found=f"element type {number}", expected=f"one of {', '.join(n for n, _ in DTYPES.values())}")
    return DTYPES[number]


# The graph.


class _Reading:
    """A program as JSON on its way to a graph."""

    def __init__(self, program: Value, stored: Mapping[str, StoredTensor]) -> None:
        self._json = program
        self._stored = stored
        self._given: set[str] = set()
        self._tensors: dict[str, StoredTensor] = {}

    def program(self) -> Program:
        try:
            version = self._json["schema_version"]["major"].count(1_000)
            if version != _SUPPORTED_SCHEMA:
                _refuse(
                    "schema_version",
                    found=str(version),
                    expected=str(_SUPPORTED_SCHEMA),
                    remedy="export the model with the torch that `gauntlet convert` installs",
                )
            graph = self._graph(self._json["graph_module"])
        except Malformed as error:
            _refuse(error.field, found=error.found, expected=error.expected)
        return Program(graph, MappingProxyType(self._tensors))

    def _graph(self, module: Value) -> Graph:
        content, signature = module["graph"], module["signature"]
        constants, image = self._inputs(signature)
        shape = self._image_shape(content, image)
        nodes = content["nodes"].items_of_list(MAX_OPERATIONS)
        operations = tuple(operation for node in nodes if (operation := self._operation(node)) is not None)
        return Graph(constants, image, shape, operations, self._output(signature))

    def _give(self, name: str) -> str:
        if name in self._given:
            _refuse("graph", found=f"the name {shown(name)} given twice", expected="every name given once")
        self._given.add(name)
        return name

    def _taken(self, name: str) -> Reference:
        if name not in self._given:
            _refuse("graph", found=f"{shown(name)} taken before it is given", expected="operations in their order")
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
                _refuse("signature", found=f"an input of kind {shown(kind)}", expected="one batch of images")
        if len(images) != 1:
            _refuse(
                "signature",
                found=f"{len(images)} inputs",
                expected="one batch of images",
                remedy="export a model that takes one batch of images in [0, 1] and nothing else",
            )
        return tuple(constants), images[0]

    def _constant(self, name: str, key: str, kind: str) -> Constant:
        tensor = self._stored.get(key)
        if tensor is None:
            _refuse(f"tensor {shown(key)}", found="nothing", expected="a tensor in the archive")
        self._tensors[self._give(name)] = tensor
        return Constant(name, key, tensor.dtype, tensor.shape, trained=kind == "parameter")

    def _image_shape(self, content: Value, image: str) -> tuple[int, ...]:
        sizes = content["tensor_values"][image]["sizes"].items_of_list(MAX_DIMENSIONS)
        if len(sizes) != 4:
            _refuse(
                "input", found=f"{len(sizes)} dimensions", expected="a batch of images, (n, channels, height, width)"
            )
        if "as_int" in sizes[0].keys_of_one():
            _refuse(
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
                buffer = shown(spec[kind]["buffer_name"].text())
                _refuse(
                    "graph", found=f"a change of the buffer {buffer} in each call", expected="a model without state"
                )
            if kind != "user_output":
                _refuse("signature", found=f"an output of kind {shown(kind)}", expected="logits and nothing else")
            outputs.append(self._taken(spec[kind]["arg"]["as_tensor"]["name"].text()).name)
        if len(outputs) != 1:
            _refuse("signature", found=f"{len(outputs)} outputs", expected="logits and nothing else")
        return outputs[0]

    def _operation(self, node: Value) -> Operation | None:
        target = node["target"].text()
        if target in _IGNORED:
            return None
        name = target.removeprefix("torch.ops.")
        module, _, function = target.rpartition(".")
        if module == "_operator" and function in INTEGERS:
            name = f"operator.{function}"
        elif name not in ALLOWED or name == target:
            _refuse(
                "graph",
                found=f"the operation {shown(target)}",
                expected="operations that compute their result from their arguments alone",
                remedy="replace it in the model, or ask for it to be allowed if it is one of these",
            )
        positional: list[Argument] = []
        named: dict[str, Argument] = {}
        for item in node["inputs"].items_of_list(100):
            value = self._argument(item["arg"])
            word = item["name"].text()
            if item["kind"].count(2) == 2 or named:
                named[word] = value
            else:
                positional.append(value)
        operation = Operation(name, tuple(positional), MappingProxyType(named), tuple(self._outputs(node)))
        _check_training(operation)
        self._check_state(operation)
        return operation

    def _check_state(self, operation: Operation) -> None:
        """Refuse a change in place of a parameter or buffer; of a view of one, it is lost at the end of the call."""
        written = operation.positional[0] if operation.writes and operation.positional else None
        if isinstance(written, Reference) and written.name in self._tensors:
            key = shown(written.name)
            _refuse("graph", found=f"a change of {key} in each call", expected="a model without state")

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
                _refuse("graph", found=f"a result of kind {shown(kind)}", expected="tensors and sizes")

    def _argument(self, value: Value) -> Argument:
        (kind,) = value.keys_of_one()
        body = value[kind]
        match kind:
            case "as_none":
                return None
            case "as_tensor":
                return self._taken(body["name"].text())
            case "as_tensors":
                return tuple(self._taken(item["name"].text()) for item in body.items_of_list(MAX_MEMBERS))
            case "as_optional_tensors":
                return tuple(self._argument(item) for item in body.items_of_list(MAX_MEMBERS))
            case "as_int":
                return body.integer()
            case "as_bool":
                return body.boolean()
            case "as_float":
                return body.number()
            case "as_string":
                return body.text()
            case "as_ints":
                return tuple(item.integer() for item in body.items_of_list(MAX_MEMBERS))
            case "as_bools":
                return tuple(item.boolean() for item in body.items_of_list(MAX_MEMBERS))
            case "as_floats":
                return tuple(item.number() for item in body.items_of_list(MAX_MEMBERS))
            case "as_sym_int":
                return self._size(body)
            case "as_sym_ints":
                return tuple(self._size(item) for item in body.items_of_list(MAX_MEMBERS))
            case "as_scalar_type":
                return Symbol("dtype", _dtype(body, "graph")[0])
            case "as_memory_format":
                return Symbol("memory_format", _MEMORY_FORMATS.get(body.count(100), "preserve_format"))
            case "as_layout":
                return Symbol("layout", "strided")
            case "as_device":
                return Symbol("device", "same")
            case _:
                _refuse("graph", found=f"an argument of kind {shown(kind)}", expected="tensors, numbers and words")

    def _size(self, value: Value) -> Argument:
        (kind,) = value.keys_of_one()
        return self._taken(value[kind].text()) if kind == "as_name" else value["as_int"].integer()


def _check_training(operation: Operation) -> None:
    if operation.target not in _TRAINING:
        return
    name, place = _TRAINING[operation.target]
    given = operation.named.get(name)
    if given is None and len(operation.positional) > place:
        given = operation.positional[place]
    if given:
        _refuse("graph", found=f"{operation.target} as in training", expected="a model in eval mode")
