"""``gauntlet analyse``: what models are like beside their robustness, on this machine."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from benchmark.errors import InvalidInput
from gauntlet.cli.console import AsJson, DataDir, board_place, percent, print_json, print_table, progress_bar, table_of
from gauntlet.cli.models import load_named

if TYPE_CHECKING:
    from benchmark.analysis.results import Study, Transferability

OF_ONE = ("calibration", "fairness", "privacy", "smoothness")
TRANSFER = "transfer"
ALL = (*OF_ONE, TRANSFER)


def analyse(
    models: Annotated[list[str], typer.Argument(metavar="MODEL...", help="Ids of models of the zoo.")],
    board: Annotated[str, typer.Option(help="DATASET/THREAT_MODEL, which fixes points and budget.")],
    analysis: Annotated[
        list[str] | None,
        typer.Option(help=f"One of {', '.join(ALL)}; may be repeated.", show_default="all that apply"),
    ] = None,
    points: Annotated[int | None, typer.Option(min=1, help="Only the first N points.", show_default="all")] = None,
    seed: Annotated[int, typer.Option(help="Seed of all random draws.")] = 0,
    data_dir: DataDir = None,
    as_json: AsJson = False,
) -> None:
    """Analyse models beside their robustness: calibration, fairness, privacy, smoothness, and transfer among several.

    None of these numbers ranks.
    """
    wanted = _wanted(analysis, models)
    place = board_place(board)

    from benchmark import datasets
    from benchmark.analysis.results import Analysis
    from benchmark.analysis.study import Material, study
    from benchmark.analysis.transfer import transferability
    from benchmark.threat_models import official_board

    budget = official_board(*place).budget
    test = datasets.load(place[0], "test", points, data_dir=data_dir)
    networks = {model: load_named(model, *place, None).network for model in dict.fromkeys(models)}
    chosen = [Analysis(name) for name in wanted if name != TRANSFER]
    studies: dict[str, Study] = {}
    with progress_bar(silent=as_json) as bar:
        task = bar.add_task("analysing", total=len(networks) * bool(chosen) + (TRANSFER in wanted))
        for name, network in networks.items():
            if chosen:
                studies[name] = study(Material(network, test, budget, seed=seed, data_dir=data_dir, name=name), chosen)
                bar.advance(task)
        transfer = transferability(networks, test.x, test.y, budget, seed=seed) if TRANSFER in wanted else None
        bar.advance(task)
    if as_json:
        print_json(
            {
                "models": {name: one.model_dump(mode="json") for name, one in studies.items()},
                "transfer": transfer.model_dump(mode="json") if transfer is not None else None,
            }
        )
    else:
        _show(studies, transfer)


def _wanted(analyses: list[str] | None, models: list[str]) -> tuple[str, ...]:
    unknown = [name for name in analyses or () if name not in ALL]
    if unknown:
        raise InvalidInput.because(
            "analysis", found=repr(unknown[0][:80]), expected=f"one of {', '.join(ALL)}", remedy="choose one of them"
        )
    several = len(set(models)) > 1
    return tuple(name for name in ALL if (name in analyses if analyses else name != TRANSFER or several))


def _show(studies: dict[str, Study], transfer: Transferability | None) -> None:
    if studies:
        columns = (
            "Model", "Standard", "ECE", "T", "ECE at T", "Robust spread", "Worst class", "Members guessed",
            "… adversarial", "Lipschitz", "… angular",
        )  # fmt: skip
        print_table(table_of(columns, [_row(name, one) for name, one in studies.items()]))
    if transfer is not None:
        rows = [
            (source, *(percent(value) for value in row))
            for source, row in zip(transfer.names, transfer.robust, strict=True)
        ]
        title = f"Robust accuracy of each column under {transfer.method} made on each row, %"
        print_table(table_of(("Source", *transfer.names), rows, title=title))


def _row(name: str, one: Study) -> tuple[object, ...]:
    calibration, fairness, privacy, smoothness = one.calibration, one.fairness, one.privacy, one.smoothness
    return (
        name,
        percent(one.standard_accuracy),
        percent(calibration.ece) if calibration else None,
        f"{calibration.temperature:g}{' (border)' if calibration.on_border else ''}" if calibration else None,
        percent(calibration.ece_at_temperature) if calibration else None,
        f"{fairness.robust_spread:.3f}" if fairness and fairness.robust_spread is not None else None,
        f"{fairness.worst_class}: {percent(fairness.worst_robust_accuracy)}" if fairness else None,
        percent(privacy.benign.by_confidence) if privacy else None,
        percent(privacy.adversarial.by_confidence) if privacy else None,
        f"{smoothness.lipschitz:.1f}" if smoothness else None,
        f"{smoothness.angular_lipschitz:.2f}" if smoothness else None,
    )
