"""Archives for the tests: small networks as torch exports them, and the same with a part replaced."""

from __future__ import annotations

import json
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn


class Small(nn.Module):
    """A convolution, batch normalisation with a mean subtracted before it, and a linear layer."""

    mean: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("mean", torch.full((1, 1, 1, 1), 0.5))
        self.conv = nn.Conv2d(1, 4, 3, padding=1)
        self.norm = nn.BatchNorm2d(4)
        self.last = nn.Linear(4, 10)

    def forward(self, x: Tensor) -> Tensor:
        features = torch.relu_(self.norm(self.conv(x - self.mean)))
        last: Tensor = self.last(features.mean((2, 3)).view(x.shape[0], -1))
        return last


def export(model: nn.Module, path: Path, example: Tensor | None = None, *, batch: bool = True) -> Path:
    """Export a network as its author would."""
    images = torch.rand(4, 1, 8, 8) if example is None else example
    dynamic = ({0: torch.export.Dim("n")},) if batch else None
    torch.export.save(torch.export.export(model.eval(), (images,), dynamic_shapes=dynamic), path)
    return path


Change = Callable[[bytes], bytes | None]


def changed(
    source: Path, target: Path, changes: Mapping[str, Change] | None = None, added: Mapping[str, bytes] | None = None
) -> Path:
    """Copy an archive with some members changed, left out (None) or added; names are without the top folder."""
    with zipfile.ZipFile(source) as old, zipfile.ZipFile(target, "w") as new:
        root = old.namelist()[0].partition("/")[0]
        for info in old.infolist():
            name = info.filename.partition("/")[2]
            content: bytes | None = old.read(info)
            if changes and name in changes:
                content = changes[name](old.read(info))
            if content is not None:
                new.writestr(info.filename, content)
        for name, content in (added or {}).items():
            new.writestr(f"{root}/{name}", content)
    return target


def edited(edit: Callable[[dict[str, Any]], object]) -> Change:
    """Edit a member that is JSON."""

    def change(content: bytes) -> bytes:
        document = json.loads(content)
        edit(document)
        return json.dumps(document).encode()

    return change
