"""A pickle of a state dict, followed without unpickling it.

A pickle is a program. This one is not run: ``pickletools`` takes it apart, and a machine without functions and classes
follows the few instructions that a state dict needs, so that every tensor can be held against the bytes that are there.
"""

from __future__ import annotations

import io
import math
import pickletools
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import BinaryIO, NoReturn

from benchmark.errors import InvalidCheckpoint
from model_zoo.checkpoints.header import MAX_DIMENSION, MAX_DIMENSIONS, shown

MAX_INSTRUCTIONS = 1_000_000
"""Each may make a list of 64 bytes; a state dict has about 35 for a tensor."""

STORAGES: Mapping[str, tuple[str, int]] = MappingProxyType(
    {
        "torch BoolStorage": ("bool", 1),
        "torch ByteStorage": ("uint8", 1),
        "torch CharStorage": ("int8", 1),
        "torch ShortStorage": ("int16", 2),
        "torch IntStorage": ("int32", 4),
        "torch LongStorage": ("int64", 8),
        "torch HalfStorage": ("float16", 2),
        "torch BFloat16Storage": ("bfloat16", 2),
        "torch FloatStorage": ("float32", 4),
        "torch DoubleStorage": ("float64", 8),
    }
)
"""Element type and its size in bytes by what the pickle calls a storage of it."""

EXPORT = "call gauntlet.export(model, example) where the model was trained, and submit the file that it writes"
SAVE_ALONE = "save the parameters alone, as torch.save(model.state_dict(), FILE)"
_SAVE_DENSE = "save {key: value.clone().contiguous() for key, value in model.state_dict().items()}"

_ORDERED, _TENSOR, _PARAMETER = (
    "collections OrderedDict",
    "torch._utils _rebuild_tensor_v2",
    "torch._utils _rebuild_parameter",
)
_KNOWN = frozenset((_ORDERED, _TENSOR, _PARAMETER, *STORAGES))
_OTHER_TENSORS = (
    (re.compile(r"sparse|_get_layout"), "a sparse tensor", "turn it into a dense one with to_dense() and save again"),
    (re.compile(r"qtensor|torch Q"), "a quantised tensor", "save the network as it was before it was quantised"),
    (re.compile(r"meta_tensor"), "a tensor without values", "load the parameters before saving them"),
    (re.compile(r"torch Complex"), "a tensor of complex numbers", "save a network of real numbers"),
    (
        re.compile(r"_rebuild_tensor_v3|UntypedStorage"),
        "a tensor of a type that is not supported",
        "call model.float() and save again",
    ),
    (re.compile(r"torch\.distributed|_rebuild_wrapper"), "a tensor of several devices", "gather the whole state dict"),
    (re.compile(r"numpy"), "numbers of numpy", SAVE_ALONE),
)


class HoldsObjects(InvalidCheckpoint):
    """The file holds objects of classes, such as a whole module; to make them, their code would have to run."""


@dataclass(frozen=True)
class _Global:
    """What the pickle would import, by its name alone."""

    name: str


@dataclass(frozen=True)
class _Storage:
    key: str
    kind: str
    elements: int


@dataclass(frozen=True)
class _Tensor:
    storage: _Storage


class _Ordered(dict[object, object]):
    """What would be an OrderedDict."""


def check_pickle(pickled: bytes, sizes: Mapping[str, int]) -> None:
    """Check that a pickle makes a dictionary of dense tensors and plain values, and nothing else.

    Args:
        pickled: the pickle.
        sizes: bytes of each storage that it may speak of, by its key.
    Raises:
        HoldsObjects: it holds objects of classes, such as a whole module.
        InvalidCheckpoint: it is malformed, or holds what no state dict needs.
    """
    content = _Machine(sizes).run(pickled)
    if not isinstance(content, dict):
        _refuse("data.pkl", found=f"a {type(content).__name__.lstrip('_')}", expected="a dictionary of tensors")


def check_names(pickled: BinaryIO, pickles: int) -> None:
    """Check what pickles that follow each other would import, as old versions of torch wrote them, without doing so.

    Args:
        pickled: the file, from the first of them on.
        pickles: how many to read.
    Raises:
        HoldsObjects: one names a class or function that no state dict needs.
        InvalidCheckpoint: they are malformed.
    """
    try:
        for _ in range(pickles):
            for opcode, argument, _ in pickletools.genops(pickled):
                if opcode.name == "GLOBAL":
                    _check_name(str(argument))
    except (ValueError, TypeError) as error:
        _refuse("file", found=f"no pickle: {shown(str(error))}", expected="a file of torch.save")


def _refuse(field: str, *, found: str, expected: str, remedy: str = SAVE_ALONE) -> NoReturn:
    raise InvalidCheckpoint.because(field, found=found, expected=expected, remedy=remedy)


def _check_name(name: str) -> None:
    """Refuse what no state dict needs, with the way out that it has."""
    if name in _KNOWN:
        return
    for pattern, found, remedy in _OTHER_TENSORS:
        if pattern.search(name):
            dotted = shown(name.replace(" ", "."))
            _refuse("data.pkl", found=f"{found} ({dotted})", expected="dense tensors", remedy=remedy)
    what = "a pickled module, with" if name.startswith("torch.nn.") else "an object of"
    raise HoldsObjects.because(
        "data.pkl",
        found=f"{what} {shown(name.replace(' ', '.'))}",
        expected="dense tensors and plain values",
        remedy=f"{EXPORT}; if it is not the model itself that was saved, {SAVE_ALONE}",
    )


class _Machine:
    """Follows the instructions of a pickle with values that are plain, and can do nothing else.

    Args:
        sizes: bytes of each storage by its key.
    """

    def __init__(self, sizes: Mapping[str, int]) -> None:
        self._sizes = sizes
        self._storages: dict[str, _Storage] = {}
        self._stack: list[object] = []
        self._below: list[list[object]] = []
        self._memo: dict[object, object] = {}
        push = self._stack_push
        self._instructions: Mapping[str, Callable[[object], None]] = {
            "PROTO": _check_protocol,
            "MARK": lambda _: self._mark(),
            "STOP": lambda _: None,
            "EMPTY_DICT": lambda _: push({}),
            "EMPTY_LIST": lambda _: push([]),
            "EMPTY_TUPLE": lambda _: push(()),
            "TUPLE": lambda _: push(tuple(self._marked())),
            "TUPLE1": lambda _: push(self._last(1)),
            "TUPLE2": lambda _: push(self._last(2)),
            "TUPLE3": lambda _: push(self._last(3)),
            **dict.fromkeys(("BINUNICODE", "BININT", "BININT1", "BININT2", "BINFLOAT"), push),
            "LONG1": lambda value: push(_number(value)),
            "NONE": lambda _: push(None),
            "NEWTRUE": lambda _: push(True),
            "NEWFALSE": lambda _: push(False),
            **dict.fromkeys(("BINPUT", "LONG_BINPUT"), self._remember),
            **dict.fromkeys(("BINGET", "LONG_BINGET"), lambda place: push(self._memo[place])),
            "GLOBAL": self._name,
            "BINPERSID": lambda _: push(self._storage(self._pop())),
            "REDUCE": lambda _: self._call(*self._last(2)),
            "BUILD": lambda _: self._set_attributes(self._pop()),
            "SETITEM": lambda _: self._set_items(self._last(2)),
            "SETITEMS": lambda _: self._set_items(self._marked()),
            "APPEND": lambda _: self._append(self._last(1)),
            "APPENDS": lambda _: self._append(self._marked()),
        }

    def run(self, pickled: bytes) -> object:
        """Return what the pickle comes to."""
        try:
            end = self._follow(io.BytesIO(pickled))
            content = self._pop()
        except (ValueError, TypeError, IndexError, KeyError) as error:
            _refuse("data.pkl", found=f"no sound pickle: {shown(str(error))}", expected="that of a state dict")
        if self._stack or self._below or end != len(pickled):
            _refuse("data.pkl", found="more than one value", expected="a dictionary of tensors")
        return content

    def _follow(self, pickled: io.BytesIO) -> int:
        for number, (opcode, argument, _) in enumerate(pickletools.genops(pickled)):
            if number >= MAX_INSTRUCTIONS:
                _refuse("data.pkl", found=f"more than {MAX_INSTRUCTIONS} instructions", expected="a state dict alone")
            instruction = self._instructions.get(opcode.name)
            if instruction is None:
                _refuse("data.pkl", found=f"the instruction {opcode.name}", expected="those of a state dict")
            instruction(argument)
        return pickled.tell()

    def _stack_push(self, value: object) -> None:
        self._stack.append(value)

    def _pop(self) -> object:
        return self._stack.pop()

    def _last(self, count: int) -> tuple[object, ...]:
        if len(self._stack) < count:
            raise IndexError("a value is taken that was not given")
        values = tuple(self._stack[-count:])
        del self._stack[-count:]
        return values

    def _mark(self) -> None:
        self._below.append(self._stack)
        self._stack = []

    def _marked(self) -> list[object]:
        values, self._stack = self._stack, self._below.pop()
        return values

    def _remember(self, place: object) -> None:
        self._memo[place] = self._stack[-1]

    def _name(self, name: object) -> None:
        _check_name(str(name))
        self._stack.append(_Global(str(name)))

    def _append(self, values: list[object] | tuple[object, ...]) -> None:
        if not isinstance(self._stack[-1], list):
            raise TypeError("values are appended to what is no list")
        self._stack[-1].extend(values)

    def _set_items(self, values: list[object] | tuple[object, ...]) -> None:
        target = self._stack[-1]
        if not isinstance(target, dict) or len(values) % 2:
            raise TypeError("keys and values are set in what is no dictionary")
        for key, value in zip(values[::2], values[1::2], strict=True):
            # Nothing else: the hash of nested tuples recurses, and that of chosen numbers collides.
            if not isinstance(key, str | int):
                raise TypeError("a key is neither a text nor a whole number")
            if key in target:
                raise ValueError(f"the key {key!r} is there twice")
            target[key] = value

    def _set_attributes(self, state: object) -> None:
        # A state dict bears the versions of its modules as an attribute.
        if not isinstance(self._stack[-1], _Ordered) or not isinstance(state, dict) or set(state) - {"_metadata"}:
            _refuse("data.pkl", found="attributes set on an object", expected="dense tensors and plain values")

    def _storage(self, key: object) -> _Storage:
        match key:
            case ("storage", _Global(kind), str(name), str(), int(elements)) if kind in STORAGES:
                storage = _Storage(name, kind, elements)
            case _:
                raise TypeError("a reference to something that is no storage")
        size, there = elements * STORAGES[kind][1], self._sizes.get(name)
        # torch reads a storage as it was named first.
        if self._storages.setdefault(name, storage) != storage or there != size:
            _refuse(
                f"storage {shown(name)}",
                found=f"{'no' if there is None else there} bytes, or another type at first",
                expected=f"{size}, for {elements} numbers of type {STORAGES[kind][0]}",
                remedy="the file is damaged or was made by hand: save it again",
            )
        return storage

    def _call(self, function: object, arguments: object) -> None:
        match function, arguments:
            case _Global(name), () if name == _ORDERED:
                self._stack.append(_Ordered())
            case _Global(name), (_Tensor() as tensor, bool(), _Ordered(hooks)) if name == _PARAMETER and not hooks:
                self._stack.append(tensor)
            case (
                _Global(name),
                (_Storage() as storage, int(offset), tuple(shape), tuple(strides), bool(), _Ordered(hooks)),
            ) if name == _TENSOR and not hooks:
                _check_place(storage, offset, shape, strides)
                self._stack.append(_Tensor(storage))
            case _:
                _refuse("data.pkl", found="a call other than those that make tensors", expected="dense tensors")


def _check_protocol(version: object) -> None:
    if version != 2:
        _refuse("data.pkl", found=f"version {version} of pickle", expected="version 2, which torch.save writes")


def _number(value: object) -> int:
    if not isinstance(value, int) or not -(2**63) <= value < 2**63:
        raise ValueError("a whole number of more than 64 bits")
    return value


def _check_place(storage: _Storage, offset: int, shape: tuple[object, ...], strides: tuple[object, ...]) -> None:
    """Refuse a tensor that is larger than its storage, or reaches beyond it."""
    sizes = [size for size in shape if type(size) is int and 0 <= size <= MAX_DIMENSION]
    steps = [step for step in strides if type(step) is int and 0 <= step < 2**63]
    if not len(sizes) == len(steps) == len(shape) == len(strides) or len(shape) > MAX_DIMENSIONS or offset < 0:
        raise ValueError("a tensor without proper sizes")
    elements = math.prod(sizes)
    last = offset + sum((size - 1) * step for size, step in zip(sizes, steps, strict=True))
    if elements and max(elements, last + 1) > storage.elements:
        _refuse(
            f"storage {shown(storage.key)}",
            found=f"a tensor of shape {sizes} with strides {steps} from {offset} on, in {storage.elements} numbers",
            expected="tensors within their storage, each number once",
            remedy=_SAVE_DENSE,
        )
