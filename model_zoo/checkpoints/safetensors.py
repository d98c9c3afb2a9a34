"""Loading a safetensors file into a registered architecture, and writing one."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NoReturn

import torch
from safetensors.torch import save
from torch import Tensor, nn

from benchmark.errors import InvalidCheckpoint
from model_zoo.building import build
from model_zoo.checkpoints.header import Header, read_header, shown

_DTYPES: Mapping[str, torch.dtype] = {
    "BOOL": torch.bool,
    "U8": torch.uint8,
    "F16": torch.float16,
    "BF16": torch.bfloat16,
    "I32": torch.int32,
    "F32": torch.float32,
    "I64": torch.int64,
    "F64": torch.float64,
}
_NAMES: Mapping[torch.dtype, str] = {dtype: name for name, dtype in _DTYPES.items()}
_SHOWN_KEYS = 3


def load_checkpoint(path: Path, architecture: str, dataset: str) -> nn.Module:
    """Load a checkpoint into its architecture, or say what is wrong with it.

    Args:
        path: a safetensors file; nothing in it is trusted.
        architecture: name of a registered architecture.
        dataset: the data set that fixes the number of classes.
    Returns:
        The network in eval mode.
    Raises:
        InvalidCheckpoint: the file is malformed, or its keys, shapes, types or values are not the architecture's.
        NotFound: no such architecture for the data set.
    """
    return load_into(build(architecture, dataset), path, read_header(path), architecture, dataset)


def load_into(model: nn.Module, path: Path, header: Header, architecture: str, dataset: str) -> nn.Module:
    """Load a checkpoint into a network, or say what is wrong with it.

    Args:
        model: whose keys, shapes and types the checkpoint must have.
        path: a safetensors file; nothing in it is trusted.
        header: of the file, its tensors under the names that the network has for them.
        architecture: what the network is called in messages.
        dataset: likewise.
    Returns:
        The network in eval mode.
    Raises:
        InvalidCheckpoint: keys, shapes, types or values are not the network's.
    """
    wanted = model.state_dict()
    _check_keys(header, wanted, architecture)
    _check_shapes(header, wanted, dataset, architecture)
    _check_dtypes(header, wanted)
    state = _read_tensors(path, header)
    _check_finite(state)
    model.load_state_dict(state, strict=True)
    return model.eval()


def write_checkpoint(state_dict: Mapping[str, Tensor], path: Path) -> str:
    """Write a state dict as a safetensors file, equal bytes for equal tensors.

    Returns:
        The file's sha256.
    """
    data = save({name: tensor.detach().cpu().contiguous() for name, tensor in state_dict.items()})
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_name(f"{path.name}.part")
    unfinished.write_bytes(data)
    unfinished.replace(path)
    return hashlib.sha256(data).hexdigest()


def _refuse(field: str, *, found: str, expected: str, remedy: str) -> NoReturn:
    raise InvalidCheckpoint.because(field, found=found, expected=expected, remedy=remedy)


def _check_keys(header: Header, wanted: Mapping[str, Tensor], architecture: str) -> None:
    missing = [name for name in wanted if name not in header.tensors]
    unexpected = [name for name in header.tensors if name not in wanted]
    if missing or unexpected:
        _refuse(
            "keys",
            found="; ".join(
                f"{len(names)} {trouble} ({_few(names)})"
                for trouble, names in (("missing", missing), ("unexpected", unexpected))
                if names
            ),
            expected=f"exactly the {len(wanted)} keys of {architecture}",
            remedy="choose the architecture that was trained, and save its state dict without prefixes such as module.",
        )


def _check_shapes(header: Header, wanted: Mapping[str, Tensor], dataset: str, architecture: str) -> None:
    wrong = [name for name, tensor in wanted.items() if header.tensors[name].shape != tuple(tensor.shape)]
    if not wrong:
        return
    # Networks here define their final layer last.
    last = list(wanted)[-1]
    final = last.rpartition(".")[0]
    only_classes = all(name.rpartition(".")[0] == final for name in wrong)
    name = wrong[0]
    found = f"shape {list(header.tensors[name].shape)}"
    if len(wrong) > 1:
        found += f" (and {len(wrong) - 1} more of a wrong shape: {_few(wrong[1:])})"
    classes = wanted[last].shape[0]
    _refuse(
        f"tensor {shown(name)}",
        found=found,
        expected=f"shape {list(wanted[name].shape)}" + (f", for the {classes} classes of {dataset}" * only_classes),
        remedy=f"{dataset} has {classes} classes: train a final layer of {classes} outputs"
        if only_classes
        else f"choose the architecture that was trained; {architecture} has other sizes",
    )


def _check_dtypes(header: Header, wanted: Mapping[str, Tensor]) -> None:
    wrong = [name for name, tensor in wanted.items() if header.tensors[name].dtype != _NAMES[tensor.dtype]]
    if wrong:
        _refuse(
            f"tensor {shown(wrong[0])}",
            found=f"dtype {header.tensors[wrong[0]].dtype}",
            expected=f"dtype {_NAMES[wanted[wrong[0]].dtype]}",
            remedy="convert the network with model.float() before saving its state dict",
        )


def _read_tensors(path: Path, header: Header) -> dict[str, Tensor]:
    """Copy every tensor out of the file; the header has already vouched for every position."""
    tensors = {}
    with path.open("rb") as file:
        for name, entry in header.tensors.items():
            file.seek(header.data_start + entry.begin)
            data = bytearray(file.read(entry.end - entry.begin))
            tensors[name] = torch.frombuffer(data, dtype=_DTYPES[entry.dtype]).reshape(entry.shape)
    return tensors


def _check_finite(state: Mapping[str, Tensor]) -> None:
    broken = [name for name, tensor in state.items() if not bool(torch.isfinite(tensor).all())]
    if broken:
        values = state[broken[0]]
        count = int((~torch.isfinite(values)).sum())
        _refuse(
            "values",
            found=f"{count} of {values.numel()} values NaN or infinite in {_few(broken)}",
            expected="finite values only",
            remedy="training has diverged: upload an earlier checkpoint or train again",
        )


def _few(names: Sequence[str]) -> str:
    listed = ", ".join(shown(name) for name in names[:_SHOWN_KEYS])
    return listed if len(names) <= _SHOWN_KEYS else f"{listed} and {len(names) - _SHOWN_KEYS} more"
