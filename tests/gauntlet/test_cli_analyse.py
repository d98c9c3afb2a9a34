"""``gauntlet analyse``: what it computes and how it says so."""

from __future__ import annotations

import json

import pytest

from benchmark.analysis.results import Study, Transferability
from gauntlet.cli.console import ExitCode
from tests.gauntlet.test_cli import assert_refused, gauntlet

BOARD = ("--board", "digits/Linf", "--points", "32")


@pytest.mark.slow
def test_analyses_models_one_by_one_and_together() -> None:
    found = gauntlet("analyse", "Digits_Standard", "Digits_FGSM", *BOARD, "--json")
    assert (found.returncode, found.stderr) == (0, "")
    answer = json.loads(found.stdout)
    studies = {name: Study.model_validate(one) for name, one in answer["models"].items()}
    assert list(studies) == ["Digits_Standard", "Digits_FGSM"]
    assert all(None not in (one.calibration, one.fairness, one.privacy, one.smoothness) for one in studies.values())
    transfer = Transferability.model_validate(answer["transfer"])
    assert transfer.names == ("Digits_Standard", "Digits_FGSM")
    assert transfer.robust[0][0] < studies["Digits_Standard"].standard_accuracy


@pytest.mark.slow
def test_shows_what_was_asked_for_to_people() -> None:
    found = gauntlet("analyse", "Digits_FGSM", *BOARD, "--analysis", "calibration")
    assert found.returncode == 0, found.stderr
    assert "ECE" in found.stdout
    assert "Source" not in found.stdout


@pytest.mark.slow
@pytest.mark.parametrize(
    ("more", "field"),
    [
        (("Digits_FGSM", *BOARD, "--analysis", "beauty"), "analysis"),
        (("Digits_FGSM", "--board", "digits"), "board"),
        (("Nobody", *BOARD, "--analysis", "calibration"), "model"),
    ],
)
def test_what_cannot_be_analysed_is_refused(more: tuple[str, ...], field: str) -> None:
    assert_refused(gauntlet("analyse", *more, "--json"), ExitCode.INVALID, field, as_json=True)
