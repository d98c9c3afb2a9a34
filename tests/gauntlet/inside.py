"""Commands run within the test's own process, for torch takes seconds to load."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest

from gauntlet.cli import main


@dataclass(frozen=True)
class Found:
    """How a command ended."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)


Command = Callable[..., Found]


def command(capsys: pytest.CaptureFixture[str], *first: str) -> Command:
    """Return what runs a command with these arguments first."""

    def run(*arguments: str) -> Found:
        capsys.readouterr()
        with pytest.raises(SystemExit) as ended:
            main([*first, *arguments])
        out, err = capsys.readouterr()
        return Found(int(ended.value.code or 0), out, err)

    return run
