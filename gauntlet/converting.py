"""From a file that training code saved to one that the service loads, on its author's machine."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path

from torch import Tensor

from benchmark.errors import InvalidCheckpoint, InvalidInput
from model_zoo.building import build
from model_zoo.checkpoints.formats import EXPORTED, Format, check_file, check_fits, is_old_pickle
from model_zoo.checkpoints.header import read_header, shown
from model_zoo.checkpoints.safetensors import load_checkpoint
from model_zoo.conversion import convert_state_dict
from model_zoo.registry import architecture as registered

_SHOWN_DIFFERENCES = 20


class DoesNotFit(InvalidCheckpoint):
    """The tensors are not those of the architecture.

    Args:
        differences: each in words, with the nearest name on the other side; the first of them where there are many.
    """

    differences: tuple[str, ...] = ()


@dataclass(frozen=True)
class Converted:
    """A file that the service takes.

    Args:
        path: the file that was written, or the one that was given where it needs no conversion.
        format: its format.
        new: whether it was written.
        tensors: how many it holds; None of an exported network.
        steps: what was done on the way, in words.
    """

    path: Path
    format: Format
    new: bool
    tensors: int | None
    steps: tuple[str, ...]


def convert(
    source: str | Path,
    target: str | Path | None = None,
    *,
    architecture: str | None = None,
    dataset: str | None = None,
    key: str | None = None,
    overwrite: bool = False,
) -> Converted:
    """Write the state dict in a `.pt` or `.pth` file as safetensors; nothing that the file holds is run.

    Args:
        source: a file of ``torch.save``; one that the service takes as it is, is checked and left alone.
        target: where to write; by default beside the source, with the suffix `.safetensors`.
        architecture: name of the registered architecture that it should fit; with ``dataset``.
        dataset: the data set that fixes the number of classes.
        key: the entry that holds the parameters, such as "ema"; by default the usual ones are tried.
        overwrite: replace a file that is at ``target``.
    Raises:
        HoldsObjects: the file holds a whole module or other objects.
        DoesNotFit: its keys or shapes are not the architecture's; nothing is written.
        InvalidCheckpoint: it is of another format, malformed, or refused by the strict reader.
        NotFound: no such architecture for the data set.
        InvalidInput: an argument cannot be used.
    """
    source = Path(source)
    if not source.is_file():
        raise InvalidInput.because(
            "file", found=f"no file at {str(source)!r}", expected="a file of torch.save", remedy="check the path"
        )
    if (architecture is None) != (dataset is None):
        raise InvalidInput.because(
            "architecture" if architecture is None else "dataset",
            found="nothing",
            expected="architecture and dataset together",
            remedy="name both, or neither to convert the file without a comparison",
        )
    if architecture is not None and dataset is not None and architecture != EXPORTED:
        registered(architecture, dataset)
    if not is_old_pickle(source) and (found := check_file(source)) != "state_dict":
        return _as_it_is(source, found, architecture, dataset)
    target = source.with_suffix(".safetensors") if target is None else Path(target)
    if target.exists() and not overwrite:
        raise InvalidInput.because(
            "output",
            found=f"a file at {str(target)!r}",
            expected="none",
            remedy="name another one, or replace it with --force, in Python overwrite=True",
        )
    with tempfile.TemporaryDirectory(dir=target.resolve().parent) as directory:
        conversion = convert_state_dict(source, Path(directory) / target.name, key=key)
        _compare(conversion.path, architecture, dataset)
        conversion.path.replace(target)
    return Converted(target, "safetensors", True, conversion.tensors, conversion.steps)


def _as_it_is(source: Path, found: Format, architecture: str | None, dataset: str | None) -> Converted:
    if architecture is not None:
        check_fits(source, architecture)
    if found == "pt2":
        return Converted(source, found, False, None, ())
    _compare(source, architecture, dataset)
    return Converted(source, found, False, len(read_header(source).tensors), ())


def _compare(path: Path, architecture: str | None, dataset: str | None) -> None:
    """Load a safetensors file into its architecture, after listing all that does not fit."""
    if architecture is None or dataset is None:
        return
    wanted = build(architecture, dataset).state_dict()
    differences = _differences(path, wanted)
    if differences:
        more = len(differences) - _SHOWN_DIFFERENCES
        error = DoesNotFit.because(
            "keys",
            found=f"{len(differences)} differences, such as {differences[0]}",
            expected=f"exactly the {len(wanted)} keys of {architecture}, in its shapes",
            remedy="choose the architecture that was trained, or export the network: gauntlet.export(model, example)",
        )
        error.differences = (*differences[:_SHOWN_DIFFERENCES], *((f"and {more} more",) if more > 0 else ()))
        raise error
    load_checkpoint(path, architecture, dataset)


def _differences(path: Path, wanted: Mapping[str, Tensor]) -> list[str]:
    there = {name: list(entry.shape) for name, entry in read_header(path).tensors.items()}
    shapes = {name: list(tensor.shape) for name, tensor in wanted.items()}
    missing = [name for name in shapes if name not in there]
    unexpected = [name for name in there if name not in shapes]
    return [
        *(f"missing {shown(name)} {shapes[name]}{_nearest(name, unexpected, there)}" for name in missing),
        *(f"unexpected {shown(name)} {there[name]}{_nearest(name, missing, shapes)}" for name in unexpected),
        *(
            f"{shown(name)} of shape {there[name]}, where the architecture has {shape}"
            for name, shape in shapes.items()
            if name in there and there[name] != shape
        ),
    ]


def _nearest(name: str, others: Sequence[str], shapes: Mapping[str, list[int]]) -> str:
    """Name the most similar of the others, where there is one, among the first so many."""
    found = get_close_matches(name, others[: 10 * _SHOWN_DIFFERENCES], n=1, cutoff=0.5)
    return f"; nearest on the other side is {shown(found[0])} {shapes[found[0]]}" if found else ""
