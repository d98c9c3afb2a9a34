"""What a malicious file is made of."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from model_zoo.checkpoints.formats import EXPORTED
from tests.model_zoo.exported import changed, edited

PROGRAM = "models/model.json"
WEIGHTS = "data/weights/model_weights_config.json"
CONSTANTS = "data/constants/model_constants_config.json"

Json = dict[str, Any]


@dataclass(frozen=True)
class Workplace:
    """What a file is made from and where.

    Args:
        honest: an exported network of the digits.
        path: the file to write.
        mark: a file that is there once code of the case has run.
    """

    honest: Path
    path: Path
    mark: Path


@dataclass(frozen=True)
class Case:
    """A malicious file.

    Args:
        name: for the tests' output.
        tries: what it is after.
        write: makes the file.
        ends: "refused", or "ignored" where what is malicious is in a part that is never read, so the network runs.
        architecture: what the submission says.
        raw: when torch's own loader runs its code: while it loads, once the network runs, or never as far as is known.
    """

    name: str
    tries: str
    write: Callable[[Workplace], object]
    ends: Literal["refused", "ignored"] = "refused"
    architecture: str = EXPORTED
    raw: Literal["load", "run"] | None = None


def program(edit: Callable[[Json], object]) -> Callable[[Workplace], object]:
    """Write the honest network with its program edited."""
    return member(PROGRAM, edit)


def member(name: str, edit: Callable[[Json], object]) -> Callable[[Workplace], object]:
    """Write the honest network with a member that is JSON edited."""
    return lambda place: changed(place.honest, place.path, {name: edited(edit)})


def replaced(name: str, content: bytes) -> Callable[[Workplace], object]:
    """Write the honest network with a member replaced."""
    return lambda place: changed(place.honest, place.path, {name: lambda _: content})


def raw(content: bytes) -> Callable[[Workplace], object]:
    """Write just that."""
    return lambda place: place.path.write_bytes(content)


def nodes(document: Json) -> list[Json]:
    """Return the operations of a program."""
    found: list[Json] = document["graph_module"]["graph"]["nodes"]
    return found


def node(target: str, *arguments: Json, out: str = "evil", **named: Json) -> Json:
    """Make an operation as the format writes it; its first outcome is a tensor of that name."""
    inputs = [{"name": "", "arg": argument, "kind": 1} for argument in arguments]
    inputs += [{"name": name, "arg": argument, "kind": 2} for name, argument in named.items()]
    name = target if ":" in target or not target.startswith("aten.") else f"torch.ops.{target}"
    return {"target": name, "inputs": inputs, "outputs": [tensor(out)], "metadata": {}}


def tensor(name: str) -> Json:
    return {"as_tensor": {"name": name}}


def number(value: int) -> Json:
    return {"as_int": value}


def numbers(*values: int) -> Json:
    return {"as_ints": list(values)}


def real(value: float) -> Json:
    return {"as_float": value}


def text(value: str) -> Json:
    return {"as_string": value}


def inserted(*operations: Json, at: int = 1) -> Callable[[Workplace], object]:
    """Write the honest network with operations put in."""

    def edit(document: Json) -> None:
        nodes(document)[at:at] = json.loads(json.dumps(operations))

    return program(edit)


def ending(*operations: Json) -> Callable[[Workplace], object]:
    """Write the honest network with operations after its own, the last of which gives what comes out."""

    def edit(document: Json) -> None:
        nodes(document).extend(json.loads(json.dumps(operations)))
        name = next(iter(operations[-1]["outputs"][0].values()))["name"]
        document["graph_module"]["graph"]["outputs"] = [tensor(name)]
        document["graph_module"]["signature"]["output_specs"] = [{"user_output": {"arg": tensor(name)}}]

    return program(edit)
