"""From a submitted file to a network, whatever its format."""

from __future__ import annotations

import tempfile
from pathlib import Path

from torch import nn

from benchmark.datasets import CLASSES, SHAPES
from benchmark.errors import InvalidCheckpoint
from benchmark.graph import Graph
from model_zoo.checkpoints.formats import EXPORTED, check_fits
from model_zoo.checkpoints.pt2 import read_program
from model_zoo.checkpoints.safetensors import load_checkpoint
from model_zoo.conversion import convert_state_dict
from model_zoo.dry_run import classes_of
from model_zoo.interpreter import load_program


def graph_of_submission(path: Path, architecture: str) -> Graph | None:
    """Return what a file that holds a whole network would run, without running it; None where it holds weights alone.

    Args:
        path: nothing in it is trusted.
        architecture: what the submission says.
    Raises:
        InvalidCheckpoint: the file is malformed, or of another kind than the submission says.
    """
    found = check_fits(path, architecture)
    return read_program(path).graph if found == "pt2" else None


def load_submitted(path: Path, architecture: str, dataset: str) -> nn.Module:
    """Load a file, or say what is wrong with it.

    A state dict is unpickled by torch, restricted to tensors, and written as safetensors into the current directory
    for the moment. The service calls this within the confined child alone, whose directory is its scratch space.

    Args:
        path: nothing in it is trusted.
        architecture: name of a registered architecture, or "exported" for a file that holds the network itself.
        dataset: the data set that fixes the images and the number of classes.
    Returns:
        The network in eval mode.
    Raises:
        InvalidCheckpoint: the file is malformed, or does not fit the architecture or the data set.
        NotFound: no such architecture for the data set.
    """
    found = check_fits(path, architecture)
    if found == "state_dict":
        with tempfile.TemporaryDirectory(dir=Path.cwd()) as directory:
            converted = convert_state_dict(path, Path(directory) / "converted.safetensors").path
            return load_checkpoint(converted, architecture, dataset)
    if architecture != EXPORTED:
        return load_checkpoint(path, architecture, dataset)
    network = load_program(path)
    if network.graph.image_shape != SHAPES[dataset]:
        raise InvalidCheckpoint.because(
            "input",
            found=f"images of {_sizes(network.graph.image_shape)}",
            expected=f"those of {dataset}, {_sizes(SHAPES[dataset])}",
            remedy="export the model with an example of that size",
        )
    classes = classes_of(network)
    if classes != CLASSES[dataset]:
        raise InvalidCheckpoint.because(
            "output",
            found=f"{classes} classes",
            expected=f"the {CLASSES[dataset]} of {dataset}",
            remedy=f"train a final layer of {CLASSES[dataset]} outputs",
        )
    return network


def _sizes(shape: tuple[int, ...]) -> str:
    return "×".join(str(size) for size in shape)
