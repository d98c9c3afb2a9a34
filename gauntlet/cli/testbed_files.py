"""The folder of a run over the zoo: its settings, a report for each model, and the rows as they come."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from pydantic import ValidationError

from benchmark.errors import InvalidInput
from benchmark.report import EvaluationReport
from gauntlet.cli.testbed_rows import Row, rows_as_csv

if TYPE_CHECKING:
    from torch import Tensor

    from model_zoo.testbed import Candidate, Trial

SETTINGS, RESULTS, TABLE = "run.json", "results.json", "results.csv"
REPORTS, COMPARED, EXAMPLES = "reports", "compared", "examples"


@dataclass(frozen=True)
class RunFolder:
    """Where a run writes.

    Args:
        path: the folder; it is made.
        settings: what the whole run has in common; only a run of equal ones goes on here.
        examples: whether the examples that broke their points are written too.
    """

    path: Path
    settings: dict[str, object]
    examples: bool = False

    def begin(self, *, resume: bool) -> None:
        """Make the folder, or take it up.

        Raises:
            InvalidInput: it cannot be written to, or holds another run.
        """
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            wanted = {REPORTS: True, COMPARED: self.settings["reference"], EXAMPLES: self.examples}
            for name in (name for name, needed in wanted.items() if needed):
                (self.path / name).mkdir(exist_ok=True)
        except OSError as error:
            raise InvalidInput.because(
                "output", found=f"{str(error.filename)!r}: {error.strerror}", expected="a folder that may be made",
                remedy="choose another path",
            ) from None  # fmt: skip
        earlier = self._earlier()
        if earlier is not None:
            self._check(earlier, resume)
        _write(self.path / SETTINGS, _as_json(self.settings))

    def known(self, candidate: Candidate) -> Trial | None:
        """Return what an earlier run of equal settings found of a model, if it came to an end and the file is still the
        same."""
        from model_zoo.testbed import Trial

        report, compared = (self._report(name, candidate.id) for name in (REPORTS, COMPARED))
        if report is None or (self.settings["reference"] and compared is None):
            return None
        if self.examples and not self._path(EXAMPLES, candidate.id, ".npy").is_file():
            return None
        if report.provenance.checkpoint_sha256 != candidate.sha256():
            return None
        return Trial(candidate.id, report, compared=compared if self.settings["reference"] else None)

    def keep(self, trial: Trial, rows: Sequence[Row], summary: dict[str, object]) -> None:
        """Write what came of a model, and all rows so far; the report last, for it says that the rest is there."""
        if self.examples and trial.report is not None and trial.x_adv is not None:
            self._keep_examples(trial.model, trial.report, trial.x_adv)
        for name, report in ((COMPARED, trial.compared), (REPORTS, trial.report)):
            if report is not None:
                _write(self._path(name, trial.model), f"{report.to_bytes().decode()}\n")
        _write(self.path / RESULTS, _as_json(summary))
        _write(self.path / TABLE, rows_as_csv(rows))

    def _keep_examples(self, model: str, report: EvaluationReport, x_adv: Tensor) -> None:
        """Write the examples that broke their points, and the points' positions: what `gauntlet external` takes."""
        import numpy as np

        rows = [row for row, by in enumerate(report.points.broken_by) if by not in {None, "clean"}]
        positions = ", ".join(str(report.points.index[row]) for row in rows)
        _write(self._path(EXAMPLES, model, ".txt"), f"{positions}\n")
        np.save(self._path(EXAMPLES, model, ".npy"), x_adv[rows].cpu().numpy())

    def _path(self, name: str, model: str, suffix: str = ".json") -> Path:
        return self.path / name / f"{model}{suffix}"

    def _report(self, name: str, model: str) -> EvaluationReport | None:
        path = self._path(name, model)
        try:
            return EvaluationReport.model_validate_json(path.read_bytes()) if path.is_file() else None
        except ValidationError:
            return None

    def _earlier(self) -> dict[str, object] | None:
        path = self.path / SETTINGS
        if not path.is_file():
            return None
        try:
            found = json.loads(path.read_bytes())
        except ValueError:
            found = None
        return found if isinstance(found, dict) else {}

    def _check(self, earlier: dict[str, object], resume: bool) -> None:
        if not resume:
            raise InvalidInput.because(
                "output", found=f"an earlier run in {str(self.path)!r}", expected="a folder without one",
                remedy="go on with --resume, or name another folder",
            )  # fmt: skip
        for name, value in self.settings.items():
            if earlier.get(name) != value:
                raise InvalidInput.because(
                    "output", found=f"a run with {name} {earlier.get(name)} in {str(self.path)!r}",
                    expected=f"one with {value}, as this", remedy="name another folder, or run with those settings",
                )  # fmt: skip


def _as_json(content: object) -> str:
    return f"{json.dumps(content, indent=2, ensure_ascii=False, allow_nan=False)}\n"


def _write(path: Path, text: str) -> None:
    """Write a file so that it is there whole or not at all."""
    unfinished = path.with_name(f"{path.name}.unfinished")
    unfinished.write_text(text, encoding="utf-8")
    unfinished.replace(path)
