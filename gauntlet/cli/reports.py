"""Report files, read and written by several commands."""

from __future__ import annotations

from pathlib import Path
from typing import Protocol

from pydantic import ValidationError

from benchmark.errors import InvalidInput
from benchmark.report import EvaluationReport
from benchmark.threat_models import CORRUPTIONS


def read_report(path: Path) -> EvaluationReport:
    """Read a report that the command line or a service wrote.

    Raises:
        InvalidInput: there is no such file, or it is no report.
    """
    try:
        return EvaluationReport.model_validate_json(path.read_bytes())
    except OSError as error:
        found = f"{str(path)!r}: {error.strerror}"
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        place = ".".join(map(str, first["loc"]))
        found = f"{str(path)!r}: {place + ': ' if place else ''}{first['msg']}"
    raise InvalidInput.because(
        "report", found=found[:500], expected="an evaluation report in JSON",
        remedy="write one with gauntlet evaluate --json, or download it from an entry's page",
    )  # fmt: skip


class Threatened(Protocol):
    """What has been held against a threat model, or against none."""

    @property
    def norm(self) -> str: ...
    @property
    def epsilon(self) -> str: ...


def threat_of(what: Threatened) -> str:
    """Say against which threat model."""
    return f"{what.norm}, epsilon {what.epsilon}" if what.norm != CORRUPTIONS else "common corruptions"


def require_writable(path: Path) -> None:
    """Refuse a path that the report could not be written to, before hours are spent on it."""
    existed = path.exists()
    if existed and not path.is_file() and not path.is_dir():
        return  # a pipe or a device: opening and closing it would be seen at its other end
    try:
        path.open("ab").close()
    except OSError as error:
        raise InvalidInput.because(
            "json",
            found=f"{str(path)!r}: {error.strerror}",
            expected="a file that may be written, in an existing directory",
            remedy="choose another path",
        ) from None
    if not existed:
        path.unlink()
