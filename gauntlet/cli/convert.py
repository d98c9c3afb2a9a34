"""``gauntlet convert``: from what training code saved to what the service loads."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from gauntlet.cli.console import AsJson, print_json

if TYPE_CHECKING:
    from gauntlet.converting import Converted

_TO_EXPORT = """
If this is the network itself, export it from the program that made the file, where it is still a network, with an image
of the size that it takes:

    import gauntlet, torch
    gauntlet.export(model, torch.rand(1, 3, 32, 32), {target!r})

If it is more than the network, save the parameters alone there and convert that file:

    torch.save(model.state_dict(), {state!r})
"""


def convert(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="What torch.save wrote: a state dict.")],
    architecture: Annotated[
        str | None, typer.Option(help="Registered architecture that it should fit; with --dataset.")
    ] = None,
    dataset: Annotated[str | None, typer.Option(help='Data set, such as "digits".')] = None,
    output: Annotated[
        Path | None, typer.Option(help="Where to write.", show_default="FILE with the suffix .safetensors")
    ] = None,
    key: Annotated[
        str | None, typer.Option(help='Entry that holds the parameters, such as "ema".', show_default="the usual ones")
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Replace a file that is there.")] = False,
    as_json: AsJson = False,
) -> None:
    """Write a state dict as safetensors: on this machine, and without running anything that the file holds."""
    from gauntlet.converting import DoesNotFit
    from gauntlet.converting import convert as convert_file
    from model_zoo.checkpoints.pickles import HoldsObjects

    try:
        converted = convert_file(file, output, architecture=architecture, dataset=dataset, key=key, overwrite=force)
    except HoldsObjects:
        target, state = str(file.with_suffix(".pt2")), str(file.with_name(f"{file.stem}-state.pt"))
        print(_TO_EXPORT.format(target=target, state=state), file=sys.stderr)
        raise
    except DoesNotFit as error:
        print("\n".join(error.differences), file=sys.stderr)
        raise
    if as_json:
        print_json(
            {
                "file": str(converted.path),
                "format": converted.format,
                "converted": converted.new,
                "tensors": converted.tensors,
                "steps": list(converted.steps),
                "architecture": architecture,
                "dataset": dataset,
            }
        )
    else:
        _show(converted, architecture, dataset)


def _show(converted: Converted, architecture: str | None, dataset: str | None) -> None:
    for step in converted.steps:
        print(step)
    if converted.new:
        print(f"wrote {converted.path} with {converted.tensors} tensors")
    else:
        print(f"{converted.path} is sound and needs no conversion")
    command = f"gauntlet check {converted.path} --dataset {dataset or 'DATASET'} --threat-model Linf"
    if converted.format == "pt2":
        print(f"next: {command}")
    elif architecture is None:
        print(f"next: {command} --architecture NAME; `gauntlet zoo list` shows the architectures")
    else:
        print(f"it loads as {architecture} for {dataset}; next: {command} --architecture {architecture}")
