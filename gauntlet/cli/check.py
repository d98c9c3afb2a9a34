"""``gauntlet check``: what the service would say of a file, before it is sent."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from gauntlet.cli.console import EXPORTED, AsJson, ExitCode, print_json, print_table, table_of

if TYPE_CHECKING:
    from benchmark.report import Check


def check(
    file: Annotated[Path, typer.Argument(metavar="FILE", exists=True, dir_okay=False, help="What is to be submitted.")],
    dataset: Annotated[str, typer.Option(help='Data set, such as "digits".')],
    threat_model: Annotated[str, typer.Option(help='Such as "Linf"; the board fixes epsilon.')],
    architecture: Annotated[
        str, typer.Option(help="Registered architecture, for a safetensors file; else what an exported network is.")
    ] = EXPORTED,
    claimed_standard_accuracy: Annotated[
        float | None, typer.Option(min=0, max=1, help="Standard accuracy that is claimed, from 0 to 1.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Check a file as the service does before it evaluates one: on this machine, and nothing is sent."""
    from gauntlet.checking import check_submission

    checked = check_submission(file, dataset, threat_model, architecture, claimed_standard_accuracy)
    if as_json:
        print_json(checked.model_dump(mode="json", exclude={"type"}))
    else:
        _show(checked.checks, "Checks")
        if checked.evidence:
            _show(checked.evidence, "Evidence of gradients that mislead")
    if any(found.outcome.value == "rejected" for found in checked.checks):
        raise typer.Exit(ExitCode.FAILED)


def _show(checks: Sequence[Check], title: str) -> None:
    rows = [(found.code, found.outcome.value, found.value, found.threshold, found.message) for found in checks]
    print_table(table_of(("check", "outcome", "value", "threshold", "what was found"), rows, title=title))
    for found in checks:
        if found.outcome.value != "passed" and found.remedy:
            print(f"{found.code}: {found.remedy}")
