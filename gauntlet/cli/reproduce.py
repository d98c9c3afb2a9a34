"""``gauntlet reproduce``: a report's evaluation, run again."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from gauntlet.cli.compare import ReportPath
from gauntlet.cli.console import AsJson, DataDir, ExitCode, Preprocessing, percent, print_json
from gauntlet.cli.models import load_reported
from gauntlet.cli.progress import evaluation_bar
from gauntlet.cli.reports import read_report

if TYPE_CHECKING:
    from benchmark.reproduction import Difference, Reproduction

_SHOWN_POINTS = 20


def reproduce(
    report: ReportPath,
    checkpoint: Annotated[
        Path | None, typer.Option(help="The model's file.", show_default="the zoo's with the recorded hash")
    ] = None,
    architecture: Annotated[
        str | None, typer.Option(help="Registered architecture, where an older report does not name it.")
    ] = None,
    data_dir: DataDir = None,
    preprocessing: Preprocessing = None,
    as_json: AsJson = False,
) -> None:
    """Run a report's evaluation again and say whether the result is bit-identical, and if not, what differs.

    Points, protocol, seed, device, threads, batches and shards are those that the report records. Exit code 1 means
    that the result differs.
    """
    recorded = read_report(report)

    from benchmark.allocator import keep_freed_memory
    from benchmark.reproduction import compare_runs
    from benchmark.rerun import rerun

    keep_freed_memory()
    model = load_reported(recorded, checkpoint, architecture)

    with evaluation_bar(silent=as_json) as show:
        found = rerun(recorded, model, data_dir=data_dir, preprocessing=preprocessing, progress=show)
    reproduction = compare_runs(recorded, found)
    if as_json:
        print_json(reproduction.model_dump(mode="json"))
    else:
        _show(reproduction, recorded.n_points)
    if not reproduction.bit_identical:
        raise typer.Exit(ExitCode.FAILED)


def _show(reproduction: Reproduction, n_points: int) -> None:
    identical = "bit-identical" if reproduction.bit_identical else "not bit-identical"
    examples = "" if reproduction.examples == "not recorded" else f", examples {reproduction.examples}"
    print(f"The result is {identical}: {n_points} points{examples}.")
    _list("Not as recorded in the environment", reproduction.environment)
    if reproduction.bit_identical:
        return
    changed = reproduction.changed_points
    flipped = sum(point.robustness_changed for point in changed)
    print(f"Verdicts changed on {len(changed)} points, {flipped} of them between robust and broken.")
    for point in changed[:_SHOWN_POINTS]:
        print(f"  point {point.index}: {point.recorded or 'robust'}, now {point.found or 'robust'}")
    if len(changed) > _SHOWN_POINTS:
        print(f"  and {len(changed) - _SHOWN_POINTS} more; --json lists all")
    print(
        f"Robust accuracy: {percent(reproduction.recorded_robust_accuracy)}, "
        f"now {percent(reproduction.found_robust_accuracy)}."
    )
    if reproduction.moved_points:
        print(f"The same verdict at another step or distance: {len(reproduction.moved_points)} points.")
    _list("Not as recorded of the attacks", reproduction.attacks)
    _list("Not as recorded of the checks", reproduction.checks)


def _list(title: str, differences: Sequence[Difference]) -> None:
    if differences:
        print(f"{title}:")
    for difference in differences:
        print(f"  {difference.name}: {difference.recorded}, now {difference.found}")
