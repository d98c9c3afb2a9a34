"""``gauntlet analyse``: what it computes and how it says so."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import pytest

from benchmark import datasets
from benchmark.analysis.material import Material
from benchmark.analysis.results import TITLES, Analysis, Study, Transferability
from benchmark.analysis.study import TABLE, study
from benchmark.threat_models import official_board
from gauntlet.cli.analysis_tables import reasons, table_for
from gauntlet.cli.console import ExitCode
from model_zoo import load_model
from tests.gauntlet.test_cli import assert_refused, gauntlet

BOARD = ("--board", "digits/Linf", "--points", "32")
FEW = ("--board", "digits/Linf", "--points", "8")


@pytest.mark.slow
def test_analyses_models_one_by_one_and_together() -> None:
    found = gauntlet("analyse", "Digits_Standard", "Digits_FGSM", *FEW, "--json")
    assert (found.returncode, found.stderr) == (0, "")
    answer = json.loads(found.stdout)
    studies = {name: Study.model_validate(one) for name, one in answer["models"].items()}
    assert list(studies) == ["Digits_Standard", "Digits_FGSM"]
    assert all(set(one.made) == set(TABLE) - {Analysis.TRANSFER} for one in studies.values())
    assert all(set(one.seconds) == set(TABLE) for one in studies.values())
    transfer = Transferability.model_validate(answer["transfer"])
    assert transfer.names == ("Digits_Standard", "Digits_FGSM")
    assert transfer.robust[0][0] < studies["Digits_Standard"].standard_accuracy


@pytest.mark.slow
def test_shows_what_was_asked_for_to_people() -> None:
    found = gauntlet("analyse", "Digits_FGSM", *BOARD, "--analysis", "calibration", "--analysis", "ood")
    assert found.returncode == 0, found.stderr
    assert TITLES[Analysis.CALIBRATION] in found.stdout
    assert "photographs" in found.stdout
    assert "Source" not in found.stdout
    assert TITLES[Analysis.FAIRNESS] not in found.stdout


@pytest.mark.slow
def test_the_layer_and_the_method_are_those_asked_for() -> None:
    asked = ("--analysis", "smoothness", "--analysis", "transfer", "--layer", "conv1", "--method", "fgsm")
    found = gauntlet("analyse", "Digits_PGD2", "Digits_FGSM", *FEW, *asked, "--json")
    assert found.returncode == 0, found.stderr
    answer = json.loads(found.stdout)
    studies = [Study.model_validate(one) for one in answer["models"].values()]
    assert [one.smoothness.layer for one in studies if one.smoothness] == ["conv1", "conv1"]
    assert answer["transfer"]["method"] == "fgsm"


@pytest.mark.slow
def test_says_why_an_analysis_is_left_out() -> None:
    found = gauntlet("analyse", "Digits_FGSM", *FEW, "--analysis", "transfer")
    assert found.returncode == 0, found.stderr
    assert "there is no other model" in " ".join(found.stdout.split())


@pytest.mark.slow
def test_plots_and_numbers_are_written_as_files(tmp_path: Path) -> None:
    asked = ("--analysis", "calibration", "--analysis", "transfer", "--plots", str(tmp_path / "a" / "plots"))
    found = gauntlet("analyse", "Digits_PGD2", "Digits_FGSM", *FEW, *asked, "--csv", str(tmp_path), "--json")
    assert found.returncode == 0, found.stderr
    folder = tmp_path / "a" / "plots"
    assert sorted(path.name for path in folder.iterdir()) == [
        "calibration.png", "calibration.svg", "transfer.png", "transfer.svg",
    ]  # fmt: skip
    assert (folder / "transfer.png").read_bytes().startswith(b"\x89PNG")
    assert "Digits_PGD2" in (folder / "calibration.svg").read_text(encoding="utf-8")
    rows = list(csv.DictReader((tmp_path / "calibration.csv").read_text(encoding="utf-8").splitlines()))
    study = Study.model_validate(json.loads(found.stdout)["models"]["Digits_FGSM"])
    assert study.calibration is not None
    (ece,) = [
        float(row["value"])
        for row in rows
        if (row["model"], row["measure"]) == ("Digits_FGSM", "expected_calibration_error")
    ]
    assert ece == study.calibration.ece


@pytest.mark.slow
@pytest.mark.parametrize(
    ("more", "field"),
    [
        (("Digits_FGSM", *BOARD, "--analysis", "beauty"), "analysis"),
        (("Digits_FGSM", "--board", "digits"), "board"),
        (("Digits_FGSM", *BOARD, "--plots", "/dev/null/x"), "plots"),
        (("Nobody", *BOARD, "--analysis", "calibration"), "model"),
        (("Digits_FGSM", *BOARD, "--layer", "nowhere"), "layer"),
        (("Digits_FGSM", *BOARD, "--analysis", "calibration", "--layer", "conv1"), "layer"),
        (("Digits_FGSM", *BOARD, "--method", "fgsm"), "method"),
        (("Digits_FGSM", "Digits_Standard", *BOARD, "--method", "guessing"), "method"),
    ],
)
def test_what_cannot_be_analysed_is_refused(more: tuple[str, ...], field: str) -> None:
    assert_refused(gauntlet("analyse", *more, "--json"), ExitCode.INVALID, field, as_json=True)


@pytest.mark.slow
def test_there_is_a_table_for_everything_that_an_analysis_can_find() -> None:
    points = datasets.load("digits", "test", 8)
    model, other = (load_model(name, dataset="digits", threat_model="Linf") for name in ("Digits_FGSM", "Digits_PGD2"))
    one = study(Material(model, points, official_board("digits", "Linf").budget, others={"other": other}))
    assert not one.left_out
    tables = [table_for(analysis, {"A": one, "B": one}) for analysis in Analysis]
    assert all(table is not None for table in tables)
    for table in tables:
        assert table is not None
        assert table.rows
        assert {len(row) for row in table.rows} == {len(table.columns)}
    without = one.model_copy(update={"shift": None, "left_out": {Analysis.SHIFT: "no data"}})
    assert table_for(Analysis.SHIFT, {"A": without}) is None
    table = table_for(Analysis.SHIFT, {"A": without, "B": one})
    assert table is not None
    assert {row[0] for row in table.rows} == {"B"}
    left_out = reasons({"A": without, "B": one})
    assert left_out is not None
    assert left_out.rows == (("A", "Distribution shifts", "no data"),)
    assert reasons({"B": one}) is None
