"""``gauntlet evaluate``: the evaluation on this machine, without the service."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from benchmark.errors import InvalidInput
from benchmark.threat_models import official_board
from gauntlet.cli.console import ExitCode, percent, print_table, table_of
from gauntlet.cli.progress import evaluation_bar

if TYPE_CHECKING:
    from torch import nn

    from benchmark.report import EvaluationReport


def evaluate(
    model: Annotated[str, typer.Argument(metavar="FILE_OR_ID", help="A safetensors file, or the id of a zoo model.")],
    dataset: Annotated[str, typer.Option(help='Data set, such as "digits".')],
    threat_model: Annotated[str, typer.Option(help='Such as "Linf"; the board fixes epsilon.')],
    architecture: Annotated[str | None, typer.Option(help="Registered architecture; needed with a file.")] = None,
    protocol: Annotated[str, typer.Option(help="Ensemble of attacks.")] = "standard",
    points: Annotated[int | None, typer.Option(min=1, help="Only the first N points.", show_default="all")] = None,
    seed: Annotated[int, typer.Option(help="Seed of all random draws.")] = 0,
    batch_size: Annotated[int | None, typer.Option(min=1, help="Points in a batch.", show_default="64")] = None,
    device: Annotated[str, typer.Option(help='Where to run, such as "cuda".')] = "cpu",
    json_path: Annotated[
        Path | None,
        typer.Option("--json", metavar="PATH", allow_dash=True, help="Write the report here; - is stdout."),
    ] = None,
) -> None:
    """Evaluate a model on this machine, exactly as the service does."""
    to_stdout = json_path == Path("-")
    if json_path is not None and not to_stdout:
        _require_writable(json_path)
    budget = official_board(dataset, threat_model).budget
    network, sha256 = _load(model, dataset, threat_model, architecture)

    import benchmark
    from benchmark import datasets

    labelled = datasets.load(dataset, "test", points)
    with evaluation_bar(silent=to_stdout) as show:
        report = benchmark.evaluate(
            network,
            labelled.x,
            labelled.y,
            budget,
            protocol=protocol,
            seed=seed,
            batch_size=batch_size,
            device=device,
            progress=show,
        ).report
    provenance = report.provenance.model_copy(update={"checkpoint_sha256": sha256})
    report = report.model_copy(update={"provenance": provenance})
    if to_stdout:
        sys.stdout.write(f"{report.to_bytes().decode()}\n")
    else:
        _show(report)
    if json_path is not None and not to_stdout:
        json_path.write_bytes(report.to_bytes() + b"\n")
    if any(check.outcome.value == "rejected" for check in report.checks):
        raise typer.Exit(ExitCode.FAILED)


def _require_writable(path: Path) -> None:
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


def _load(model: str, dataset: str, threat_model: str, architecture: str | None) -> tuple[nn.Module, str]:
    """Return the model and the hash of its checkpoint."""
    from gauntlet.client import sha256_of
    from model_zoo import registry

    path = Path(model)
    if path.is_file():
        if architecture is None:
            known = ", ".join(name for name, entry in registry.ARCHITECTURES.items() if dataset in entry.datasets)
            raise InvalidInput.because(
                "architecture", found="nothing", expected=f"one of {known}", remedy="name it with --architecture"
            )
        from model_zoo.checkpoints.safetensors import load_checkpoint

        return load_checkpoint(path, architecture, dataset), sha256_of(path)
    if path.suffix or path.name != model:
        raise InvalidInput.because(
            "model", found=f"no file at {model!r}", expected="a safetensors file or a zoo id", remedy="check the path"
        )
    card = registry.card(model, dataset, threat_model)

    from model_zoo import load_model

    network = load_model(model, dataset=dataset, threat_model=threat_model)
    return network, sha256_of(registry.bundled_checkpoint(card))


def _show(report: EvaluationReport) -> None:
    standard, robust = report.standard_interval, report.robust_interval
    print(f"{report.dataset} · {report.norm}, epsilon {report.epsilon} · {report.protocol} · {report.n_points} points")
    for name, accuracy, interval in (
        ("Standard accuracy", report.standard_accuracy, standard),
        ("Robust accuracy", report.robust_accuracy, robust),
    ):
        print(f"{name}: {percent(accuracy)} (95 % interval {percent(interval.low)} to {percent(interval.high)})")
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
    for check in report.findings:
        print(f"{check.code}: {check.outcome.value}: {check.message} {check.remedy}".rstrip())
