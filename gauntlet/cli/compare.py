"""``gauntlet compare``: two reports side by side."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from gauntlet.cli.console import AsJson, percent, print_json, print_table, table_of
from gauntlet.cli.reports import read_report, threat_of

if TYPE_CHECKING:
    from benchmark.report import Interval
    from benchmark.statistics import Comparison

ReportPath = Annotated[Path, typer.Argument(metavar="REPORT.json", help="A report of the command line or a service.")]


def compare(a: ReportPath, b: ReportPath, as_json: AsJson = False) -> None:
    """Compare two reports on the same points: accuracies, differences, and McNemar's exact test, attack by attack."""
    from benchmark.statistics import compare_reports

    comparison = compare_reports(read_report(a), read_report(b))
    if as_json:
        print_json(comparison.model_dump(mode="json"))
    else:
        _show(comparison)


def _show(comparison: Comparison) -> None:
    a, b = comparison.a, comparison.b
    print(f"{comparison.dataset} · {threat_of(comparison)} · {comparison.n_points} points")
    rows = [
        (
            name,
            side.protocol,
            side.seed,
            _within(side.standard_accuracy, side.standard_interval),
            _within(side.robust_accuracy, side.robust_interval),
            (side.checkpoint_sha256 or "–")[:16],
        )
        for name, side in (("A", a), ("B", b))
    ]
    sides = ("Report", "Protocol", "Seed", "Standard accuracy", "Robust accuracy", "Checkpoint")
    print_table(table_of(sides, rows))
    stages = [
        (
            "clean images" if stage.after == "clean" else stage.after,
            percent(stage.accuracy_a),
            percent(stage.accuracy_b),
            f"{100 * stage.difference:+.2f}",
            stage.both,
            stage.only_a,
            stage.only_b,
            stage.neither,
            f"{stage.p_value:.4g}",
        )
        for stage in (*comparison.stages, comparison.robust)
    ]
    columns = ("After", "A", "B", "B − A, %", "Both right", "Only A", "Only B", "Neither", "McNemar's p")
    print_table(table_of(columns, stages))
    if a.protocol != b.protocol:
        print("The protocols differ: a difference may be one of the attacks rather than of the models.")


def _within(accuracy: float, interval: Interval) -> str:
    return f"{percent(accuracy)} ({percent(interval.low)} to {percent(interval.high)})"
