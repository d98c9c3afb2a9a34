"""The commands that read reports: compared, studied over seeds, and reproduced."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from safetensors.torch import load, save

from benchmark.report import EvaluationReport
from benchmark.reproduction import Reproduction
from benchmark.seeds import SeedStudy
from benchmark.statistics import Comparison, mcnemar
from gauntlet.cli.console import ExitCode
from model_zoo.registry import bundled_checkpoint, card
from tests.gauntlet.test_cli import assert_refused, gauntlet

CARD = card("Digits_PGD10", "digits", "Linf")
OTHER = card("Digits_FGSM", "digits", "Linf")
BOARD = ("--dataset", "digits", "--threat-model", "Linf")
SHORT = ("--protocol", "apgd-ce(steps=10)+square(queries=50)", "--points", "60", "--batch-size", "16", "--no-evidence")


def evaluated(path: Path, model: str, *more: str) -> EvaluationReport:
    found = gauntlet("evaluate", model, *BOARD, *SHORT, *more, "--json", str(path))
    assert found.returncode == 0, found.stderr
    return EvaluationReport.model_validate_json(path.read_bytes())


@pytest.fixture(scope="module")
def of_zoo(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The report of a model of the zoo."""
    path = tmp_path_factory.mktemp("reports") / "report.json"
    evaluated(path, CARD.id, "--seed", "3")
    return path


def changed(source: Path, target: Path, provenance: dict[str, Any] | None = None, **changes: Any) -> Path:
    """Write a report with other content."""
    content = json.loads(source.read_bytes())
    content["provenance"] |= provenance or {}
    target.write_text(json.dumps(content | changes), encoding="utf-8")
    return target


@pytest.mark.slow
def test_compares_two_models_on_the_same_points(tmp_path: Path, of_zoo: Path) -> None:
    path = tmp_path / "other.json"
    other = evaluated(path, OTHER.id)
    report = EvaluationReport.model_validate_json(of_zoo.read_bytes())
    found = gauntlet("compare", str(of_zoo), str(path), "--json")
    assert (found.returncode, found.stderr) == (0, "")
    comparison = Comparison.model_validate_json(found.stdout)
    test = mcnemar(report, other)
    assert test.only_a > test.only_b
    assert comparison.robust.p_value == test.p_value < 0.05
    assert (comparison.a.checkpoint_sha256, comparison.b.checkpoint_sha256) == (CARD.sha256, OTHER.sha256)
    assert [stage.after for stage in comparison.stages] == ["clean", "apgd-ce", "square"]

    table = gauntlet("compare", str(of_zoo), str(path))
    assert (table.returncode, table.stderr) == (0, "")
    for text in (f"{100 * test.difference:+.2f}", f"{test.p_value:.4g}", "clean images", "all attacks", "McNemar"):
        assert text in table.stdout


def test_reports_of_other_points_are_not_compared(tmp_path: Path, of_zoo: Path) -> None:
    path = changed(of_zoo, tmp_path / "other.json", epsilon="1/4")
    assert_refused(gauntlet("compare", str(of_zoo), str(path), "--json"), ExitCode.INVALID, "epsilon", as_json=True)


@pytest.mark.slow
def test_studies_seeds_as_if_each_were_evaluated_alone(tmp_path: Path, of_zoo: Path) -> None:
    path = tmp_path / "study.json"
    found = gauntlet("evaluate", CARD.id, *BOARD, *SHORT, "--seed", "2", "--seeds", "3", "--json", str(path))
    assert (found.returncode, found.stderr) == (0, "")
    study = SeedStudy.model_validate_json(path.read_bytes())
    assert [result.seed for result in study.seeds] == [2, 3, 4]
    alone = EvaluationReport.model_validate_json(of_zoo.read_bytes())
    assert study.seeds[1].results_sha256 == alone.results_sha256()
    assert study.seeds[1].after == tuple(attack.robust_accuracy_after for attack in alone.attacks)
    assert (study.attacks, study.checkpoint_sha256) == (("apgd-ce", "square"), CARD.sha256)
    for text in ("± ", "seeds 2, 3, 4", "Robust after apgd-ce", "Seconds", alone.results_sha256()):
        assert text in found.stdout


@pytest.mark.slow
def test_reproduces_a_report_of_the_zoo_by_its_hash(of_zoo: Path) -> None:
    found = gauntlet("reproduce", str(of_zoo))
    assert (found.returncode, found.stderr) == (0, "")
    assert found.stdout == "The result is bit-identical: 60 points, examples equal.\n"


@pytest.mark.slow
def test_reproduces_a_report_of_a_file(tmp_path: Path) -> None:
    checkpoint = tmp_path / "mine.safetensors"
    shutil.copy(bundled_checkpoint(CARD), checkpoint)
    path = tmp_path / "report.json"
    report = evaluated(path, str(checkpoint), "--architecture", CARD.architecture)
    assert report.provenance.architecture == CARD.architecture
    assert report.provenance.zoo_id is None
    found = gauntlet("reproduce", str(path), "--checkpoint", str(checkpoint), "--json")
    assert (found.returncode, found.stderr) == (0, "")
    reproduction = Reproduction.model_validate_json(found.stdout)
    assert (reproduction.bit_identical, reproduction.environment, reproduction.examples) == (True, (), "equal")
    assert reproduction.found_results_sha256 == report.results_sha256()


@pytest.mark.slow
def test_reproduces_a_report_that_is_older_than_examples_and_architectures(tmp_path: Path, of_zoo: Path) -> None:
    content = json.loads(of_zoo.read_bytes())
    del content["examples_sha256"]
    for name in ("architecture", "zoo_id", "shards"):
        del content["provenance"][name]
    path = tmp_path / "old.json"
    path.write_text(json.dumps(content), encoding="utf-8")
    found = gauntlet("reproduce", str(path))
    assert (found.returncode, found.stdout) == (0, "The result is bit-identical: 60 points.\n")


@pytest.mark.slow
def test_an_architecture_that_nothing_names_must_be_given(tmp_path: Path) -> None:
    checkpoint, path = tmp_path / "mine.safetensors", tmp_path / "report.json"
    checkpoint.write_bytes(save(load(bundled_checkpoint(CARD).read_bytes()), metadata={"note": "another hash"}))
    evaluated(path, str(checkpoint), "--architecture", CARD.architecture)
    old = changed(path, tmp_path / "old.json", {"architecture": None})
    command = ("reproduce", str(old), "--checkpoint", str(checkpoint))
    assert_refused(gauntlet(*command, "--json"), ExitCode.INVALID, "architecture", as_json=True)
    assert gauntlet(*command, "--architecture", CARD.architecture).returncode == 0


@pytest.mark.slow
def test_says_what_differs_environment_first(tmp_path: Path, of_zoo: Path) -> None:
    recorded = json.loads(of_zoo.read_bytes())["provenance"]
    other = {"seed": 4, "hardware": "an abacus", "versions": recorded["versions"] | {"torch": "0.1"}}
    path = changed(of_zoo, tmp_path / "other.json", other)
    found = gauntlet("reproduce", str(path))
    assert (found.returncode, found.stderr) == (ExitCode.FAILED, "")
    lines = found.stdout.splitlines()
    assert lines[0] == "The result is not bit-identical: 60 points, examples different."
    order = [
        "Not as recorded in the environment:",
        "hardware: an abacus",
        "version of torch: 0.1",
        "Verdicts changed on",
    ]
    order += ["Robust accuracy: ", "Not as recorded of the attacks:"]
    places = [next(i for i, line in enumerate(lines) if text in line) for text in order]
    assert places == sorted(places)

    as_json = gauntlet("reproduce", str(path), "--json")
    assert (as_json.returncode, as_json.stderr) == (ExitCode.FAILED, "")
    reproduction = Reproduction.model_validate_json(as_json.stdout)
    assert not reproduction.bit_identical
    assert [difference.name for difference in reproduction.environment] == ["hardware", "version of torch"]


@pytest.mark.slow
def test_another_file_than_the_reports_is_refused(of_zoo: Path) -> None:
    found = gauntlet("reproduce", str(of_zoo), "--checkpoint", str(bundled_checkpoint(OTHER)), "--json")
    assert_refused(found, ExitCode.INVALID, "checkpoint", as_json=True)
    assert CARD.sha256 in found.stderr
    assert OTHER.sha256 in found.stderr


@pytest.mark.slow
@pytest.mark.parametrize(
    ("provenance", "field"),
    [({"checkpoint_sha256": "0" * 64}, "checkpoint"), ({"checkpoint_sha256": None}, "report")],
)
def test_a_model_that_is_nowhere_to_be_found_is_named(
    tmp_path: Path, of_zoo: Path, provenance: dict[str, Any], field: str
) -> None:
    path = changed(of_zoo, tmp_path / "other.json", provenance)
    assert_refused(gauntlet("reproduce", str(path), "--json"), ExitCode.INVALID, field, as_json=True)
