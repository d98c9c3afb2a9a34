"""``gauntlet analyse``: what models are like beside their robustness, on this machine."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from benchmark.analysis.results import TITLES, Analysis, Study
from benchmark.errors import InvalidInput
from gauntlet.cli.analysis_tables import reasons, table_for
from gauntlet.cli.console import AsJson, DataDir, board_place, print_json, print_table, progress_bar, table_of
from gauntlet.cli.models import load_named

if TYPE_CHECKING:
    from benchmark.analysis.material import Material

METHODS = ("pgd-10", "fgsm")


def analyse(
    models: Annotated[list[str], typer.Argument(metavar="MODEL...", help="Ids of models of the zoo.")],
    board: Annotated[str, typer.Option(help="DATASET/THREAT_MODEL, which fixes points and budget.")],
    analysis: Annotated[
        list[str] | None,
        typer.Option(help=f"One of {', '.join(Analysis)}; may be repeated.", show_default="all that apply"),
    ] = None,
    layer: Annotated[
        str | None, typer.Option(help="Layer whose smoothness is measured, by name.", show_default="the logits")
    ] = None,
    method: Annotated[
        str | None,
        typer.Option(help=f"How examples are made for transfer: {', '.join(METHODS)}.", show_default=METHODS[0]),
    ] = None,
    plots: Annotated[
        Path | None,
        typer.Option(metavar="FOLDER", help="Draw every analysis there, as SVG and PNG.", show_default=False),
    ] = None,
    csv: Annotated[
        Path | None,
        typer.Option(metavar="FOLDER", help="Write the numbers of every analysis there.", show_default=False),
    ] = None,
    points: Annotated[int | None, typer.Option(min=1, help="Only the first N points.", show_default="all")] = None,
    seed: Annotated[int, typer.Option(help="Seed of all random draws.")] = 0,
    data_dir: DataDir = None,
    as_json: AsJson = False,
) -> None:
    """Analyse models beside their robustness: from calibration and fairness to transfer among several.

    None of these numbers ranks.
    """
    several = len(set(models)) > 1
    wanted = _wanted(analysis, several=several)
    _check_applies("layer", layer, Analysis.SMOOTHNESS, wanted)
    _check_applies("method", method, Analysis.TRANSFER, wanted)
    place = board_place(board)

    from benchmark import datasets
    from benchmark.analysis import smoothness
    from benchmark.analysis.material import Material
    from benchmark.analysis.transfer import Method
    from benchmark.threat_models import official_board

    how = Method(_one_of("method", method or METHODS[0], METHODS))
    budget = official_board(*place).budget
    test = datasets.load(place[0], "test", points, data_dir=data_dir)
    networks = {model: load_named(model, *place, None).network for model in dict.fromkeys(models)}
    if layer is not None:
        for network in networks.values():
            smoothness.layer(network, layer)
    materials = {
        name: Material(network, test, budget, seed, data_dir=data_dir, name=name, method=how, layer=layer)
        for name, network in networks.items()
    }
    _make_folders({"plots": plots, "csv": csv})
    studies = _studies(materials, wanted, silent=as_json)
    _write(studies, plots, csv)
    if as_json:
        print_json(_as_json(studies))
    else:
        _show(studies, wanted)


def _wanted(analyses: Sequence[str] | None, *, several: bool) -> tuple[Analysis, ...]:
    from benchmark.analysis.study import TABLE

    offered = [analysis for analysis in Analysis if analysis in TABLE]
    for name in analyses or ():
        _one_of("analysis", name, offered)
    if analyses:
        return tuple(analysis for analysis in offered if analysis in analyses)
    return tuple(analysis for analysis in offered if several or analysis is not Analysis.TRANSFER)


def _one_of(field: str, name: str, offered: Sequence[str]) -> str:
    if name not in offered:
        raise InvalidInput.because(
            field, found=repr(name[:80]), expected=f"one of {', '.join(offered)}", remedy="choose one of them"
        )
    return name


def _check_applies(field: str, value: str | None, analysis: Analysis, wanted: Sequence[Analysis]) -> None:
    """Refuse an option of an analysis that is not made, which would say nothing."""
    if value is not None and analysis not in wanted:
        raise InvalidInput.because(
            field, found=repr(value[:80]), expected=f"no {field} where {analysis} is not made",
            remedy=f"add --analysis {analysis}" + (" and other models" if analysis is Analysis.TRANSFER else ""),
        )  # fmt: skip


def _studies(materials: Mapping[str, Material], wanted: Sequence[Analysis], *, silent: bool) -> dict[str, Study]:
    """Make all analyses, model by model; the models are carried over to each other at once, at the end."""
    from benchmark.analysis.study import study
    from benchmark.analysis.transfer import transferability

    together = Analysis.TRANSFER in wanted and len(materials) > 1
    of_one = [analysis for analysis in wanted if not (together and analysis is Analysis.TRANSFER)]
    with progress_bar(silent=silent) as bar:
        task = bar.add_task("analysing", total=len(materials) * len(of_one) + together)

        def analysed(name: str, before: int) -> Study:
            def tell(analysis: Analysis, done: int, _of: int) -> None:
                bar.update(task, completed=before + done, description=f"{name}: {TITLES[analysis].lower()}")

            return study(materials[name], of_one, progress=tell)

        studies = {name: analysed(name, number * len(of_one)) for number, name in enumerate(materials)}
        if together:
            bar.update(task, completed=len(materials) * len(of_one), description="transfer")
            one = next(iter(materials.values()))
            began = time.perf_counter()
            networks = {name: material.model for name, material in materials.items()}
            transfer = transferability(
                networks, one.test.x, one.test.y, one.threat_model, method=one.method, seed=one.seed
            )
            taken = {Analysis.TRANSFER: time.perf_counter() - began}
            studies = {
                name: each.model_copy(update={"transfer": transfer, "seconds": each.seconds | taken})
                for name, each in studies.items()
            }
    return studies


def _make_folders(folders: Mapping[str, Path | None]) -> None:
    """Make the folders before anything is computed."""
    for field, folder in folders.items():
        try:
            if folder is not None:
                folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise InvalidInput.because(
                field, found=f"{str(folder)!r}: {error.strerror}", expected="a folder that may be made",
                remedy="choose another path",
            ) from None  # fmt: skip


def _write(studies: Mapping[str, Study], plots: Path | None, csv: Path | None) -> None:
    """Write drawings and tables of the analyses that were made; the matrix is the same in all studies."""
    from benchmark.analysis.plots import as_png, as_svg
    from benchmark.analysis.tables import as_csv

    for analysis in Analysis:
        having = {name: one for name, one in studies.items() if analysis in one.made}
        if analysis is Analysis.TRANSFER:
            having = dict(list(having.items())[:1])
        if not having:
            continue
        if plots is not None:
            (plots / f"{analysis}.svg").write_text(as_svg(analysis, having), encoding="utf-8")
            (plots / f"{analysis}.png").write_bytes(as_png(analysis, having))
        if csv is not None:
            (csv / f"{analysis}.csv").write_text(as_csv(analysis, having), encoding="utf-8", newline="")


def _as_json(studies: Mapping[str, Study]) -> dict[str, object]:
    """Return all studies; the matrix, which is the same for each model, stands once beside them."""
    transfer = next((one.transfer for one in studies.values()), None)
    return {
        "models": {name: one.model_dump(mode="json", exclude={"transfer"}) for name, one in studies.items()},
        "transfer": transfer.model_dump(mode="json") if transfer is not None else None,
    }


def _show(studies: Mapping[str, Study], wanted: Sequence[Analysis]) -> None:
    for table in (*(table_for(analysis, studies) for analysis in wanted), reasons(studies)):
        if table is not None:
            print_table(table_of(table.columns, table.rows, title=table.title))
