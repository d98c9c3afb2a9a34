"""``gauntlet zoo attack``: one attack over the models of a board."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from contextlib import redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from benchmark.errors import InvalidInput
from benchmark.threat_models import official_board
from gauntlet.cli.console import AsJson, DataDir, Device, ExitCode, board_place, print_json, progress_bar
from gauntlet.cli.progress import standing_text

if TYPE_CHECKING:
    from benchmark import EvaluationProgress
    from benchmark.protocols import Protocol
    from benchmark.threat_models import Board
    from gauntlet.cli.board_columns import Columns
    from gauntlet.cli.testbed_files import RunFolder
    from gauntlet.cli.testbed_rows import Row
    from model_zoo.registry import PublishedCard
    from model_zoo.testbed import Attack, Choice, Setting


def attack_zoo(
    attack: Annotated[
        str,
        typer.Option(help='An attack by name, such as "pgd(steps=50)", or a function of yours as path.py:function.'),
    ],
    board: Annotated[str, typer.Option(metavar="DATASET/THREAT_MODEL", help='Such as "digits/Linf".')],
    points: Annotated[int | None, typer.Option(min=1, help="Only the first N points.", show_default="all")] = None,
    models: Annotated[
        list[str] | None,
        typer.Option(
            help='Ids or patterns such as "Digits_PGD*", joined by commas or given again.', show_default="all"
        ),
    ] = None,
    seed: Annotated[int, typer.Option(help="Seed of all random draws.")] = 0,
    batch_size: Annotated[int | None, typer.Option(min=1, help="Points in a batch.", show_default="64")] = None,
    device: Device = "cpu",
    model_dir: Annotated[
        Path | None, typer.Option(help="Folder of published checkpoints, <id>.safetensors.", show_default="none")
    ] = None,
    fetch: Annotated[
        bool, typer.Option("--fetch", help="Fetch the checkpoints that are not at hand, which may be many gigabytes.")
    ] = False,
    data_dir: DataDir = None,
    server: Annotated[
        str | None,
        typer.Option("--server", envvar="GAUNTLET_SERVER", help="Compare with the board of this service."),
    ] = None,
    reference: Annotated[
        str | None, typer.Option(metavar="PROTOCOL", help="Compare with this ensemble, run here on the same points.")
    ] = None,
    output: Annotated[
        Path | None, typer.Option(metavar="FOLDER", help="Write tables, plots and a report for each model there.")
    ] = None,
    examples: Annotated[
        bool, typer.Option("--examples", help="Also write the examples that broke a point, for gauntlet external.")
    ] = False,
    resume: Annotated[bool, typer.Option("--resume", help="Go on with an earlier run in FOLDER.")] = False,
    as_json: AsJson = False,
) -> None:
    """Run one attack over all models of a board that are at hand, and compare with the board.

    A function of yours is called with model, x and y, and by keyword with norm, epsilon and seed, and returns the
    adversarial examples; see docs/adding-an-attack.md. It is code of yours, and it is run on this machine.
    """
    for field, given in (("resume", resume), ("examples", examples)):
        if given and output is None:
            raise InvalidInput.because(
                field, found="no --output", expected="a folder", remedy="name the folder of the run with --output"
            )
    chosen_board = _board(board)
    if model_dir is not None and not model_dir.is_dir():
        raise InvalidInput.because(
            "model_dir", found=f"no folder at {str(model_dir)!r}", expected="a folder", remedy="check the path"
        )

    patterns = [pattern.strip() for given in models or () for pattern in given.split(",") if pattern.strip()]
    options = (points, seed, batch_size, device, data_dir)
    plan = _plan(chosen_board, (attack, reference), options, (patterns, model_dir, fetch))
    columns = _columns(server, plan)
    folder = None if output is None else plan.folder(output, examples=examples, resume=resume)
    rows = _run(plan, columns, folder, silent=as_json)
    if as_json:
        print_json(plan.summary(rows))
    else:
        _show(plan, rows, folder)
    if folder is not None:
        from gauntlet.cli.testbed_plot import write_plots

        write_plots(rows, folder.path, plan.title)
    if any(row.error is not None for row in rows):
        raise typer.Exit(ExitCode.FAILED)


@dataclass(frozen=True)
class _Plan:
    """What is run on which models, and against what it is compared."""

    attack: Attack
    reference: Protocol | None
    setting: Setting
    choice: Choice

    @property
    def title(self) -> str:
        board, count = self.setting.board, len(self.setting.points.index)
        return f"{self.attack.label} · {board.name}, epsilon {board.epsilon} · {count} points"

    @property
    def settings(self) -> dict[str, object]:
        """What the results of a run have in common."""
        import torch

        from benchmark.pipeline import installed_versions

        return {
            "board": self.setting.board.name,
            "attack": self.attack.label,
            "reference": None if self.reference is None else self.reference.label,
            "points": len(self.setting.points.index),
            "seed": self.setting.seed,
            "batch_size": self.setting.batch_size,
            "device": str(self.setting.device),
            "threads": torch.get_num_threads(),
            "versions": installed_versions(),
        }

    def summary(self, rows: Sequence[Row]) -> dict[str, object]:
        results = [row.model_dump(mode="json") for row in rows]
        return self.settings | {"results": results, "left_out": self.choice.left_out}

    def folder(self, path: Path, *, examples: bool, resume: bool) -> RunFolder:
        from gauntlet.cli.testbed_files import RunFolder

        folder = RunFolder(path, self.settings, examples)
        folder.begin(resume=resume)
        return folder


def _plan(
    board: Board,
    attacks: tuple[str, str | None],
    options: tuple[int | None, int, int | None, str, Path | None],
    models: tuple[Sequence[str], Path | None, bool],
) -> _Plan:
    from benchmark import datasets
    from benchmark.allocator import keep_freed_memory
    from benchmark.pipeline import device_named
    from benchmark.protocols import Protocol, protocol_named
    from gauntlet.cli.own_attack import attack_of
    from model_zoo.testbed import Setting, choose

    keep_freed_memory()
    n_points, seed, batch_size, device, data_dir = options
    patterns, model_dir, fetch = models
    folders = [] if model_dir is None else [model_dir]
    choice = None if fetch else choose(board, patterns, folders)
    place = device_named(device)
    points = datasets.load(board.dataset, "test", n_points, data_dir=data_dir)
    reference = None if attacks[1] is None else protocol_named(attacks[1])
    with redirect_stdout(sys.stderr):  # what somebody's file prints is no result
        attack = attack_of(attacks[0])
    for protocol in (attack, reference):
        if isinstance(protocol, Protocol):
            protocol.check_norm(board.budget.norm)
    # Whatever is wrong is said before gigabytes are fetched.
    choice = choice or choose(board, patterns, folders, fetched)
    return _Plan(attack, reference, Setting(board, points, seed, batch_size, place, data_dir), choice)


def fetched(card: PublishedCard) -> Path:
    """Fetch a published checkpoint, and show how far that is."""
    from model_zoo.downloads.fetching import fetch_checkpoint

    return fetch_checkpoint(card).path


def _board(name: str) -> Board:
    dataset, threat_model = board_place(name)
    board = official_board(dataset, threat_model)
    if not board.attacked:
        raise InvalidInput.because(
            "board", found=name, expected="a board with an attacker", remedy='choose one such as "digits/Linf"'
        )
    return board


def _columns(server: str | None, plan: _Plan) -> dict[str, Columns]:
    from gauntlet.cli.board_columns import columns_at_hand, columns_of_service

    models = [candidate.id for candidate in plan.choice.candidates]
    board = plan.setting.board
    return columns_at_hand(board, models) if server is None else columns_of_service(server, board, models)


def _run(plan: _Plan, columns: Mapping[str, Columns], folder: RunFolder | None, *, silent: bool) -> list[Row]:
    from gauntlet.cli.testbed_rows import row_of
    from model_zoo.testbed import attack_models

    rows: list[Row] = []
    candidates = plan.choice.candidates
    with redirect_stdout(sys.stderr), progress_bar(silent=silent) as bar:
        task = bar.add_task("Loading", total=len(candidates))

        def show(model: str, standing: EvaluationProgress) -> None:
            share = (standing.attacks_done + standing.fraction) / standing.attacks
            text = f"{len(rows) + 1} of {len(candidates)} · {model} · {standing_text(standing)}"
            bar.update(task, description=text, completed=len(rows) + share)

        for trial in attack_models(
            candidates,
            plan.attack,
            plan.setting,
            compared_with=plan.reference,
            known=None if folder is None else folder.known,
            progress=show,
        ):
            rows.append(row_of(trial, columns.get(trial.model)))
            bar.update(task, completed=len(rows))
            if folder is not None:
                folder.keep(trial, rows, plan.summary(rows))
    return rows


def _show(plan: _Plan, rows: Sequence[Row], folder: RunFolder | None) -> None:
    from gauntlet.cli.testbed_rows import show_rows

    show_rows(rows, plan.title)
    for reason in dict.fromkeys(plan.choice.left_out.values()):
        models = [model for model, why in plan.choice.left_out.items() if why == reason]
        print(f"Left out, for {reason}: {', '.join(models)}.")
    if folder is not None:
        print(f"Written to {folder.path}: tables, plots and reports.")
