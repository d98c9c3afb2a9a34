"""From the state dict that ``torch.save`` wrote to a safetensors file with the same tensors."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

import torch
from torch import Tensor

from benchmark.errors import InvalidCheckpoint
from model_zoo.checkpoints.header import read_header, shown
from model_zoo.checkpoints.pickles import SAVE_ALONE, STORAGES, check_names
from model_zoo.checkpoints.safetensors import write_checkpoint
from model_zoo.checkpoints.state_dicts import check_state_dict

NESTS = ("state_dict", "model_state_dict", "model", "net", "last")
"""Under which training code keeps the parameters beside an optimiser's state and the like."""
PREFIXES = ("module.", "model.", "_orig_mod.")
"""What DataParallel, wrappers for normalisation or training, and torch.compile put before every key."""

_DTYPES = frozenset(getattr(torch, name) for name, _ in STORAGES.values())
_ZIP = b"PK\x03\x04"
_LEGACY_PICKLES = 4
"""A magic number, a version, the machine, and what was saved."""
_SHOWN_ENTRIES = 8
# Tied weights are one storage under two keys. More than that is no network, and would write a file without bounds.
_MOST_COPIES = 2


@dataclass(frozen=True)
class Conversion:
    """A safetensors file that was made of a state dict.

    Args:
        path: the file.
        tensors: how many it holds.
        steps: what was done on the way, in words; nothing else was left out or renamed.
    """

    path: Path
    tensors: int
    steps: tuple[str, ...]


def convert_state_dict(source: Path, target: Path, *, key: str | None = None) -> Conversion:
    """Write the tensors of a `.pt` or `.pth` file as safetensors.

    Args:
        source: what ``torch.save`` wrote; nothing in it is trusted, but only a zip archive, as torch writes since 1.6,
            is checked before torch reads it. Give files of the older format only where their author is.
        target: where to write; a file that is there is replaced once the new one is whole.
        key: the entry that holds the parameters; by default one of ``NESTS``, where the tensors are not at the top.
    Raises:
        HoldsObjects: it holds objects of classes, such as a whole module.
        InvalidCheckpoint: it is malformed, or holds anything but dense tensors where the parameters should be.
    """
    steps: list[str] = []
    state = _unwrapped(_loaded(source), key, steps)
    tensors = {name: _dense(name, value) for name, value in _without_prefixes(state, steps).items()}
    _check_total(tensors)
    # In the same directory, because a confined process may rename files within one alone.
    unfinished = target.with_name(f"{target.name}.unfinished")
    try:
        write_checkpoint(_separated(tensors), unfinished)
        read_header(unfinished)
        unfinished.replace(target)
    finally:
        unfinished.unlink(missing_ok=True)
    return Conversion(target, len(tensors), tuple(steps))


def _refuse(field: str, *, found: str, expected: str, remedy: str = SAVE_ALONE) -> NoReturn:
    raise InvalidCheckpoint.because(field, found=found, expected=expected, remedy=remedy)


def _loaded(source: Path) -> object:
    with source.open("rb") as file:
        if file.read(len(_ZIP)) == _ZIP:
            check_state_dict(source)
        else:
            file.seek(0)
            check_names(file, _LEGACY_PICKLES)
        file.seek(0)
        try:
            # By the open file: of a path torch looks at the suffix, and would read some as other formats.
            content: object = torch.load(file, weights_only=True, map_location="cpu", mmap=False)
        except Exception as error:
            reason = " ".join(str(error).split())
            raise InvalidCheckpoint.because(
                "file",
                found=f"what torch cannot load as tensors alone: {type(error).__name__}: {shown(reason)}",
                expected="a state dict that torch.save wrote",
                remedy=SAVE_ALONE,
            ) from error
    return content


def _unwrapped(content: object, key: str | None, steps: list[str]) -> Mapping[object, object]:
    """Return the entry that holds the tensors."""
    if not isinstance(content, Mapping) or not content:
        _refuse("file", found=_kind(content), expected="a dictionary of tensors")
    if key is not None:
        if not isinstance(content.get(key), Mapping):
            _refuse(
                "key",
                found=f"no dictionary under {shown(key)}",
                expected=f"one of {_listed(_dictionaries(content))}",
                remedy="name the entry that holds the parameters",
            )
        return _taken(content, key, steps)
    while not any(isinstance(value, Tensor) for value in content.values()):
        nests = [name for name in NESTS if isinstance(content.get(name), Mapping)]
        if len(nests) != 1:
            _refuse(
                "file",
                found=f"no tensors at the top, and the entries {_listed(list(content))}",
                expected=f"tensors, or one of the entries {', '.join(NESTS)}",
                remedy=f"name the entry that holds the parameters: gauntlet convert FILE --key "
                f"{' or '.join(_dictionaries(content)[:_SHOWN_ENTRIES]) or 'NAME'}",
            )
        content = _taken(content, nests[0], steps)
    return content


def _taken(content: Mapping[object, object], key: str, steps: list[str]) -> Mapping[object, object]:
    entry = content[key]
    if not isinstance(entry, Mapping):
        raise TypeError(f"{key} is no dictionary")
    steps.append(f"took the entry {shown(key)}")
    others = [name for name in content if name != key]
    if others:
        steps.append(f"left out the entries beside it: {_listed(others)}")
    return entry


def _without_prefixes(state: Mapping[object, object], steps: list[str]) -> dict[str, object]:
    named: dict[str, object] = {}
    for name, value in state.items():
        if not isinstance(name, str) or not name.isprintable():
            _refuse("keys", found=shown(name), expected="the names of parameters")
        named[name] = value
    if not named:
        _refuse("file", found="no entries", expected="the parameters of a network")
    while prefix := next((prefix for prefix in PREFIXES if all(name.startswith(prefix) for name in named)), None):
        named = {name.removeprefix(prefix): value for name, value in named.items()}
        steps.append(f"removed the prefix {shown(prefix)}")
    return named


def _dense(name: str, value: object) -> Tensor:
    """Return the tensor, without a copy, if it is one whose numbers are all there."""
    field = f"tensor {shown(name)}"
    if not isinstance(value, Tensor):
        _refuse(field, found=_kind(value), expected="a tensor", remedy="leave it out of the state dict, or export it")
    if value.layout is not torch.strided or value.is_quantized or value.device.type != "cpu":
        _refuse(field, found=f"a tensor of layout {value.layout}", expected="a dense one", remedy="save it as dense")
    if value.dtype not in _DTYPES:
        _refuse(
            field,
            found=f"type {value.dtype}",
            expected=f"one of {', '.join(sorted(str(dtype) for dtype in _DTYPES))}",
            remedy="call model.float() and save again",
        )
    # A tensor that counts its numbers more than once could be of any size.
    if value.numel() * value.itemsize > value.untyped_storage().nbytes():
        _refuse(
            field,
            found=f"shape {list(value.shape)} in {value.untyped_storage().nbytes()} bytes",
            expected="a tensor within its bytes",
            remedy="save {key: value.clone().contiguous() for key, value in model.state_dict().items()}",
        )
    return value.detach()


def _check_total(tensors: Mapping[str, Tensor]) -> None:
    storages = {tensor.untyped_storage().data_ptr(): tensor.untyped_storage().nbytes() for tensor in tensors.values()}
    there, claimed = sum(storages.values()), sum(tensor.nbytes for tensor in tensors.values())
    if claimed > _MOST_COPIES * there:
        _refuse(
            "file",
            found=f"tensors of {claimed} bytes in {there}",
            expected="tensors with memory of their own",
            remedy="save {key: value.clone().contiguous() for key, value in model.state_dict().items()}",
        )


def _separated(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Copy what shares its memory with another tensor, which safetensors does not write."""
    seen: set[int] = set()
    separated = {}
    for name, tensor in tensors.items():
        place = tensor.untyped_storage().data_ptr()
        separated[name] = tensor.clone() if place in seen else tensor
        seen.add(place)
    return separated


def _dictionaries(content: Mapping[object, object]) -> list[str]:
    return [str(name) for name, value in content.items() if isinstance(value, Mapping)]


def _listed(names: list[object] | list[str]) -> str:
    more = len(names) - _SHOWN_ENTRIES
    text = ", ".join(shown(name) for name in names[:_SHOWN_ENTRIES]) or "none"
    return f"{text} and {more} more" if more > 0 else text


def _kind(value: object) -> str:
    empty = isinstance(value, Mapping) and not value
    return "an empty dictionary" if empty else f"a value of type {type(value).__name__}"
