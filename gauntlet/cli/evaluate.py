"""``gauntlet evaluate``: the evaluation on this machine, without the service."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from benchmark.errors import InvalidInput
from benchmark.threat_models import official_board
from gauntlet.cli.console import DataDir, Device, ExitCode, Preprocessing, percent, print_table, table_of
from gauntlet.cli.models import load_named
from gauntlet.cli.progress import evaluation_bar
from gauntlet.cli.reports import require_writable, threat_of

if TYPE_CHECKING:
    from benchmark.corruption_table import CorruptionTable
    from benchmark.report import EvaluationReport
    from benchmark.seeds import SeedStudy, Spread


def evaluate(
    model: Annotated[str, typer.Argument(metavar="FILE_OR_ID", help="A safetensors file, or the id of a zoo model.")],
    dataset: Annotated[str, typer.Option(help='Data set, such as "digits".')],
    threat_model: Annotated[str, typer.Option(help='Such as "Linf"; the board fixes epsilon.')],
    architecture: Annotated[str | None, typer.Option(help="Registered architecture; needed with a file.")] = None,
    protocol: Annotated[str, typer.Option(help="Ensemble of attacks.")] = "standard",
    points: Annotated[int | None, typer.Option(min=1, help="Only the first N points.", show_default="all")] = None,
    seed: Annotated[int, typer.Option(help="Seed of all random draws.")] = 0,
    seeds: Annotated[
        int | None,
        typer.Option(min=2, help="Evaluate under N seeds, from --seed on, and show their spread.", show_default="one"),
    ] = None,
    batch_size: Annotated[int | None, typer.Option(min=1, help="Points in a batch.", show_default="64")] = None,
    device: Device = "cpu",
    data_dir: DataDir = None,
    preprocessing: Preprocessing = None,
    evidence: Annotated[
        bool,
        typer.Option("--evidence/--no-evidence", help="Also test for gradients that mislead, which takes seconds."),
    ] = True,
    json_path: Annotated[
        Path | None,
        typer.Option("--json", metavar="PATH", allow_dash=True, help="Write the report here; - is stdout."),
    ] = None,
) -> None:
    """Evaluate a model on this machine, exactly as the service does.

    With --seeds, what is shown and written is the spread over the seeds, with each seed's numbers and results hash.
    """
    to_stdout = json_path == Path("-")
    if json_path is not None and not to_stdout:
        require_writable(json_path)
    board = official_board(dataset, threat_model)
    if not board.attacked:
        _refuse_attacks(protocol, seed, seeds)

    import benchmark
    from benchmark import datasets
    from benchmark.allocator import keep_freed_memory
    from benchmark.corrupted import corrupted_images

    keep_freed_memory()
    loaded = load_named(model, dataset, threat_model, architecture)

    prepared = preprocessing or loaded.preprocessing
    labelled = datasets.load(dataset, "test", points, data_dir=data_dir, preprocessing=prepared)
    names = {"checkpoint_sha256": loaded.sha256, "architecture": loaded.architecture, "zoo_id": loaded.zoo_id}
    names["preprocessing"] = prepared
    reports = []
    for number in range(seed, seed + (seeds or 1)):
        with evaluation_bar(silent=to_stdout) as show:
            if board.attacked:
                report = benchmark.evaluate(
                    loaded.network,
                    labelled.x,
                    labelled.y,
                    board.budget,
                    protocol=protocol,
                    seed=number,
                    batch_size=batch_size,
                    device=device,
                    diagnostics=evidence,
                    progress=show,
                ).report
            else:
                corrupted = corrupted_images(dataset, labelled.x, labelled.index, data_dir)
                report = benchmark.evaluate_corruptions(
                    loaded.network,
                    labelled.x,
                    labelled.y,
                    dataset=dataset,
                    index=labelled.index,
                    images=corrupted.images,
                    source=corrupted.source,
                    batch_size=batch_size,
                    device=device,
                    progress=show,
                )
        reports.append(report.model_copy(update={"provenance": report.provenance.model_copy(update=names)}))
    content = _shown_report(reports[0], to_stdout) if seeds is None else _shown_study(reports, to_stdout)
    if to_stdout:
        sys.stdout.write(f"{content.decode()}\n")
    elif json_path is not None:
        json_path.write_bytes(content + b"\n")
    if any(check.outcome.value == "rejected" for report in reports for check in report.checks):
        raise typer.Exit(ExitCode.FAILED)


def _refuse_attacks(protocol: str, seed: int, seeds: int | None) -> None:
    """Refuse options that say how to attack, on a board where nobody does."""
    given = {"--protocol": protocol != "standard", "--seed": seed != 0, "--seeds": seeds is not None}
    for option, used in given.items():
        if used:
            raise InvalidInput.because(
                option, found="given", expected="nothing: on this board nobody attacks",
                remedy="leave it out; the corrupted images are the same for every model",
            )  # fmt: skip


def _shown_report(report: EvaluationReport, silent: bool) -> bytes:
    if not silent:
        _show(report)
    return report.to_bytes()


def _shown_study(reports: list[EvaluationReport], silent: bool) -> bytes:
    from benchmark.seeds import study_seeds

    study = study_seeds(reports)
    if not silent:
        _show_study(study)
    return json.dumps(study.model_dump(mode="json"), indent=2, ensure_ascii=False, allow_nan=False).encode()


def _show_study(study: SeedStudy) -> None:
    print(f"{study.dataset} · {study.norm}, epsilon {study.epsilon} · {study.protocol} · {study.n_points} points")
    print(f"Standard accuracy: {percent(study.standard_accuracy)}")
    robust, seeds = study.robust_accuracy, ", ".join(str(one.seed) for one in study.seeds)
    print(
        f"Robust accuracy: {percent(robust.mean)} ± {percent(robust.standard_deviation, digits=3)} over seeds {seeds}"
    )
    rows: list[Sequence[str | None]] = [
        *(_spread_row(f"Robust after {name}", of) for name, of in zip(study.attacks, study.after, strict=True)),
        _spread_row("Robust accuracy", robust),
        ("Seconds", *(f"{value:.1f}" for value in study.seconds.model_dump().values())),
    ]
    print_table(table_of(("Number", "Mean", "Standard deviation", "Minimum", "Maximum"), rows))
    results = [
        (one.seed, percent(one.robust_accuracy), f"{one.seconds:.1f}", one.results_sha256) for one in study.seeds
    ]
    print_table(table_of(("Seed", "Robust accuracy", "Seconds", "Results, SHA-256"), results))


def _spread_row(name: str, spread: Spread) -> tuple[str | None, ...]:
    return (
        name,
        percent(spread.mean),
        percent(spread.standard_deviation, digits=3),
        percent(spread.minimum),
        percent(spread.maximum),
    )


def _show(report: EvaluationReport) -> None:
    standard, robust = report.standard_interval, report.robust_interval
    print(f"{report.dataset} · {threat_of(report)} · {report.protocol} · {report.n_points} points")
    score = "Robust accuracy" if report.corruptions is None else "Accuracy on corruptions"
    for name, accuracy, interval in (
        ("Standard accuracy", report.standard_accuracy, standard),
        (score, report.robust_accuracy, robust),
    ):
        print(f"{name}: {percent(accuracy)} (95 % interval {percent(interval.low)} to {percent(interval.high)})")
    if report.corruptions is None:
        _show_attacks(report)
    else:
        _show_cells(report.corruptions, report.n_points)
    for check in report.findings:
        print(f"{check.code}: {check.outcome.value}: {check.message} {check.remedy}".rstrip())


def _show_cells(table: CorruptionTable, points: int) -> None:
    rows = []
    for corruption, cells in table.by_type().items():
        accuracies = [cell.correct / points for cell in cells]
        shown = [percent(accuracy) for accuracy in (*accuracies, sum(accuracies) / len(accuracies))]
        rows.append((corruption.replace("_", " "), *shown))
    severities = [f"Severity {cell.severity}" for cell in next(iter(table.by_type().values()))]
    print_table(table_of(("Corruption", *severities, "Mean"), rows))


def _show_attacks(report: EvaluationReport) -> None:
    rows = [
        (
            attack.name,
            attack.attacked,
            attack.broken,
            percent(attack.robust_accuracy_after),
            attack.forward_passes,
            attack.backward_passes,
            round(attack.seconds, 1),
        )
        for attack in report.attacks
    ]
    columns = ("Attack", "Attacked", "Broken", "Robust after", "Forward passes", "Backward passes", "Seconds")
    print_table(table_of(columns, rows))
