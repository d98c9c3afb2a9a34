"""``gauntlet zoo attack``: one attack over the models of a board, against the board's columns."""

from __future__ import annotations

import csv
import json
import signal
import subprocess
import sys
import time
import xml.etree.ElementTree as ET
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from benchmark.errors import NotFound
from benchmark.report import EvaluationReport
from benchmark.threat_models import official_board
from gauntlet.cli import main
from gauntlet.cli.console import ExitCode
from gauntlet.cli.testbed_plot import write_plots
from gauntlet.cli.testbed_rows import BoardSays, Row
from gauntlet.cli.zoo_attack import fetched
from model_zoo.registry import bundled_checkpoint, bundled_report, card, cards
from model_zoo.testbed import choose
from store.outcomes import finish_check
from store.submissions import submit
from store.views import NewSubmission
from tests.gauntlet.inside import Command, Found, command
from tests.gauntlet.test_cli import ROOT, gauntlet
from tests.running import Running
from tests.store import material

BOARD = ("--board", "digits/Linf")
FEW = (*BOARD, "--points", "30", "--models", "Digits_PGD2,Digits_Standard")
OWN = """
import time

import torch
import torch.nn.functional as F


def fgsm(model, x, y, *, epsilon, scale=1.0):
    print("printed by somebody's file")
    x = x.clone().requires_grad_()
    F.cross_entropy(model(x), y).backward()
    return (x + scale * epsilon * x.grad.sign()).clamp(0, 1)


def too_far(model, x, y, epsilon):
    return fgsm(model, x, y, epsilon=epsilon, scale=2)


def slow(model, x, y):
    time.sleep(0.05)
    return x


def tells_models_apart(model, x, y):
    if sum(p.numel() for p in model.parameters()) < 20_000:
        raise ValueError("no residual networks")
    return x


NOT_A_FUNCTION = 3
"""


@pytest.fixture
def attack(capsys: pytest.CaptureFixture[str]) -> Command:
    return command(capsys, "zoo", "attack")


@pytest.fixture
def own(tmp_path: Path) -> Path:
    path = tmp_path / "mine.py"
    path.write_text(OWN, encoding="utf-8")
    return path


def rows(found: Found) -> dict[str, Any]:
    return {row["model"]: row for row in found.json["results"]}


def table_of(output: Path) -> list[dict[str, str]]:
    return list(csv.DictReader((output / "results.csv").read_text(encoding="utf-8").splitlines()))


def verdicts(model: str, points: int) -> list[str | None]:
    """Who broke the first points, as the report says that comes along."""
    report = EvaluationReport.model_validate_json(bundled_report(card(model, "digits", "Linf"), "Linf").read_bytes())
    return list(report.points.broken_by[:points])


def test_a_built_in_attack_over_the_board_as_people_call_it() -> None:
    """All models, in a process of its own."""
    found = gauntlet("zoo", "attack", "--attack", "apgd-ce(steps=3)", *BOARD, "--points", "10", "--json")
    assert (found.returncode, found.stderr) == (0, "")
    content = json.loads(found.stdout)
    assert [row["model"] for row in content["results"]] == [c.id for c in cards() if "Linf" in c.threat_models]
    assert (content["attack"], content["points"], content["left_out"]) == ("apgd-ce(steps=3)-1", 10, {})
    for row in content["results"]:
        assert row["robust_low"] <= row["robust_accuracy"] <= row["robust_high"]
        assert row["robust_accuracy"] <= row["standard_accuracy"] == row["board"]["standard_accuracy"]
        assert row["forward_passes"] >= row["backward_passes"] > 0
        assert (row["points"], row["refused"], row["error"], row["findings"]) == (10, 0, None, [])


def test_points_are_compared_with_what_the_board_broke(attack: Command) -> None:
    found = attack("--attack", "fgsm", *FEW, "--json")
    assert found.code == 0
    for model, row in rows(found).items():
        there = verdicts(model, 30)
        board = row["board"]
        assert (board["source"], board["same_points"], board["n_points"]) == ("standard-1, comes along", True, 500)
        assert board["standard_accuracy"] == row["standard_accuracy"] == sum(by != "clean" for by in there) / 30
        assert board["robust_accuracy"] == board["best_known_robust_accuracy"] == there.count(None) / 30
        # One step breaks nothing here that the ensemble leaves.
        assert board["newly_broken"] == []
        assert all(there[point] not in {None, "clean"} for point in board["missed"])
        assert len(board["missed"]) == round(30 * (row["robust_accuracy"] - board["robust_accuracy"]))
    assert rows(found)["Digits_PGD2"]["board"]["missed"]


def test_an_attack_of_ones_own_is_run_and_judged(attack: Command, own: Path) -> None:
    ours = attack("--attack", f"{own}:fgsm", *FEW, "--json")
    theirs = attack("--attack", "fgsm", *FEW, "--json")
    assert ours.code == 0
    assert "printed by somebody's file" in ours.err
    assert ours.json["attack"].startswith("mine.py:fgsm@")
    for model, row in rows(ours).items():
        assert row["robust_accuracy"] == rows(theirs)[model]["robust_accuracy"]
        attacked = round(30 * row["standard_accuracy"])
        assert (row["forward_passes"], row["backward_passes"], row["refused"]) == (attacked, attacked, 0)


def test_examples_over_the_budget_are_counted_and_break_nothing(attack: Command, own: Path) -> None:
    found = attack("--attack", f"{own}:too_far", *FEW, "--json")
    assert found.code == 0
    for row in rows(found).values():
        assert row["robust_accuracy"] == row["standard_accuracy"]
        assert row["refused"] == 30 * row["standard_accuracy"]
        assert [finding["code"] for finding in row["findings"]] == ["refused_examples"]
    table = attack("--attack", f"{own}:too_far", *FEW)
    assert "refused_examples: " in table.out
    assert "over the budget" in table.out


def test_a_failure_has_a_row_and_no_number(attack: Command, own: Path, tmp_path: Path) -> None:
    output = tmp_path / "run"
    found = attack("--attack", f"{own}:tells_models_apart", *FEW, "--json", "--output", str(output))
    assert found.code == ExitCode.FAILED
    failed, fine = rows(found)["Digits_Standard"], rows(found)["Digits_PGD2"]
    assert (failed["robust_accuracy"], failed["standard_accuracy"], failed["points"]) == (None, None, None)
    assert failed["error"]["code"] == "evaluation_failed"
    assert "ValueError: no residual networks, at mine.py, line " in failed["error"]["detail"]["found"]
    assert fine["error"] is None
    assert [finding["code"] for finding in fine["findings"]] == ["unmoved_examples"]
    assert sorted(path.name for path in (output / "reports").iterdir()) == ["Digits_PGD2.json"]
    (line,) = [line for line in table_of(output) if line["model"] == "Digits_Standard"]
    assert line["robust_accuracy"] == ""
    assert "no residual networks" in line["error"]
    assert "Digits_Standard: no result." in (output / "plot.svg").read_text(encoding="utf-8")

    table = attack("--attack", f"{own}:tells_models_apart", *FEW)
    assert table.code == ExitCode.FAILED
    assert "Digits_Standard failed: mine.py:tells_models_apart raised ValueError: no residual networks" in table.out


@pytest.mark.parametrize(
    ("arguments", "field", "words"),
    [
        (("--attack", "fgsn", *BOARD), "protocol", "fgsm"),
        (("--attack", "fgsm(steps=3)", *BOARD), "protocol", "no options"),
        (("--attack", "fgsm", "--board", "digits"), "board", "DATASET/THREAT_MODEL"),
        (("--attack", "fgsm", "--board", "digits/L9"), "board", "digits/Linf"),
        (("--attack", "fgsm", "--board", "cifar10/corruptions"), "board", "attacker"),
        (("--attack", "fgsm", *BOARD, "--models", "Nobody*"), "models", "Nobody*"),
        (("--attack", "fgsm", "--board", "cifar10/Linf"), "models", "--model-dir"),
        (("--attack", "fgsm", *BOARD, "--points", "501"), "n", "500"),
        (("--attack", "fgsm", *BOARD, "--device", "abacus"), "device", "cpu"),
        (("--attack", "fgsm", *BOARD, "--reference", "standart"), "protocol", "standard"),
        (("--attack", "fgsm", *BOARD, "--model-dir", "nowhere"), "model_dir", "nowhere"),
        (("--attack", "fgsm", *BOARD, "--resume"), "resume", "--output"),
        (("--attack", "fgsm", *BOARD, "--examples"), "examples", "--output"),
        (("--attack", "nowhere.py:fgsm", *BOARD), "attack", "nowhere.py"),
        (("--attack", "mine.py", *BOARD), "attack", "fgsm, too_far, slow, tells_models_apart"),
        (("--attack", "mine.py:", *BOARD), "attack", "fgsm, too_far, slow, tells_models_apart"),
        (("--attack", "mine.py:pgd", *BOARD), "attack", "fgsm, too_far, slow, tells_models_apart"),
        (("--attack", "mine.py:NOT_A_FUNCTION", *BOARD), "attack", "of type int"),
        (BOARD, "attack", "--attack"),
        (("--attack", "fgsm"), "board", "--board"),
    ],
)  # fmt: skip
def test_what_cannot_be_run_is_refused(
    attack: Command, own: Path, arguments: tuple[str, ...], field: str, words: str
) -> None:
    found = attack(*arguments, "--json")
    assert found.code == ExitCode.INVALID
    (line,) = found.err.splitlines()
    assert line.startswith("error: ")
    assert words in line
    assert "Remedy: " in line
    assert found.json["error"]["detail"]["field"] == field


@pytest.mark.parametrize(
    ("source", "words"),
    [
        ("import torch\n\ndef fgsm(:\n", "SyntaxError"),
        ("import no_such_module\n", "No module named 'no_such_module', at mine.py, line 1, in <module>"),
        ("raise SystemExit(3)\n", "SystemExit: 3"),
        ("from sibling import fgsm\n", "ZeroDivisionError: division by zero, at mine.py, line 1"),
        ("\0", "null"),
    ],
)
def test_a_file_that_cannot_be_run_is_told_with_its_line(attack: Command, own: Path, source: str, words: str) -> None:
    own.write_text(source, encoding="utf-8")
    (own.parent / "sibling.py").write_text("1 / 0\n", encoding="utf-8")
    found = attack("--attack", f"{own}:fgsm", *FEW)
    assert found.code == ExitCode.INVALID
    assert words in found.err
    assert "Traceback" not in found.err
    assert len(found.err.splitlines()) == 1


def test_a_file_finds_those_beside_it_and_is_read_anew(attack: Command, tmp_path: Path) -> None:
    """It may be called like a module that is there, and may have changed within a second."""
    folder = tmp_path / "mine"
    folder.mkdir()
    (folder / "far.py").write_text("SCALE = 0\n", encoding="utf-8")
    path = folder / "torch.py"
    codes = []
    for sign in ("+", "*"):
        path.write_text(f"from far import SCALE\ndef stay(model, x, y): return x {sign} SCALE\n", encoding="utf-8")
        found = attack("--attack", f"{path}:stay", *FEW, "--json")
        assert found.code == 0, found.err
        codes.append([row["findings"][0]["code"] for row in rows(found).values()])
    assert codes == [["unmoved_examples"] * 2, ["refused_examples"] * 2]
    assert not (folder / "__pycache__" / "torch.cpython-311.pyc").exists()


def test_a_run_writes_what_others_can_use(attack: Command, own: Path, tmp_path: Path) -> None:
    output = tmp_path / "deep" / "run"
    arguments = ("--attack", f"{own}:fgsm", *FEW)
    found = attack(*arguments, "--output", str(output), "--examples")
    assert found.code == 0
    assert f"Written to {output}" in found.out
    names = {str(path.relative_to(output)) for path in output.rglob("*") if path.is_file()}
    assert names == {
        "run.json", "results.json", "results.csv", "plot.svg", "plot.png",
        *(f"reports/{model}.json" for model in ("Digits_PGD2", "Digits_Standard")),
        *(f"examples/{model}{end}" for model in ("Digits_PGD2", "Digits_Standard") for end in (".npy", ".txt")),
    }  # fmt: skip
    content = json.loads((output / "results.json").read_bytes())
    for line, row in zip(table_of(output), content["results"], strict=True):
        assert line["model"] == row["model"]
        assert float(line["robust_accuracy"]) == row["robust_accuracy"]
        assert int(line["missed"]) == len(row["board"]["missed"])
        report = EvaluationReport.model_validate_json((output / "reports" / f"{row['model']}.json").read_bytes())
        assert report.robust_accuracy == row["robust_accuracy"]
        broken = [i for i, by in enumerate(report.points.broken_by) if by == "mine.py:fgsm"]
        assert (output / "examples" / f"{row['model']}.txt").read_text().strip() == ", ".join(map(str, broken))
        examples = np.load(output / "examples" / f"{row['model']}.npy")
        assert examples.shape == (len(broken), 1, 8, 8)
        assert examples.dtype == np.float32


def test_a_run_goes_on_where_it_stopped(attack: Command, own: Path, tmp_path: Path) -> None:
    output = ("--output", str(tmp_path / "run"))
    arguments = ("--attack", f"{own}:fgsm", *FEW, *output)
    first = attack(*arguments, "--json")
    assert first.code == 0
    (tmp_path / "run/reports/Digits_Standard.json").write_text('{"half a', encoding="utf-8")

    assert_refused_here(attack(*arguments), "an earlier run", "--resume")
    again = attack(*arguments, "--resume", "--json")
    assert again.code == 0
    assert _without_times(again) == _without_times(first)
    assert again.err.count("printed by somebody's file") < first.err.count("printed by somebody's file")
    assert rows(again)["Digits_PGD2"]["seconds"] == rows(first)["Digits_PGD2"]["seconds"]

    assert_refused_here(attack(*arguments, "--resume", "--seed", "1"), "a run with seed 0", "1, as this")
    own.write_text(f"{OWN}\n# another version\n", encoding="utf-8")
    assert_refused_here(attack(*arguments, "--resume"), "a run with attack mine.py:fgsm@", "another folder")
    (tmp_path / "run/run.json").write_text("nonsense", encoding="utf-8")
    assert_refused_here(attack(*arguments, "--resume"), "a run with board None", "another folder")


@pytest.mark.slow
def test_a_run_that_was_interrupted_goes_on(own: Path, tmp_path: Path) -> None:
    output = tmp_path / "run"
    arguments = ["zoo", "attack", "--attack", f"{own}:slow", *BOARD, "--batch-size", "8", "--output", str(output)]
    environment = {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", "PATH": "/usr/bin:/bin"}
    command = [sys.executable, "-m", "gauntlet", *arguments]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment) as child:
        try:
            while not list(output.glob("reports/*.json")):
                assert child.poll() is None
                time.sleep(0.05)
            child.send_signal(signal.SIGINT)
            out, errors = child.communicate(timeout=60)
        finally:
            child.kill()
    assert (child.returncode, out, errors) == (ExitCode.INTERRUPTED, "", "interrupted\n")
    kept = {path: path.read_bytes() for path in output.glob("reports/*.json")}
    models = [c.id for c in cards() if "Linf" in c.threat_models]
    assert 0 < len(kept) < len(models)
    assert len(table_of(output)) == len(kept)

    found = gauntlet(*arguments, "--resume", "--json")
    assert found.returncode == 0, found.stderr
    assert [row["model"] for row in json.loads(found.stdout)["results"]] == models
    assert all(row["seconds"] > 60 * 0.05 for row in json.loads(found.stdout)["results"])
    assert all(path.read_bytes() == content for path, content in kept.items())


def assert_refused_here(found: Found, *words: str) -> None:
    assert found.code == ExitCode.INVALID
    (line,) = [line for line in found.err.splitlines() if line.startswith("error: ")]
    assert all(word in line for word in words), line


def _without_times(found: Found) -> Any:
    content = found.json
    for row in content["results"]:
        del row["seconds"]
    return content


def test_a_folder_that_cannot_be_made_is_told_before_anything_runs(attack: Command, tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    found = attack("--attack", "fgsm", *FEW, "--output", str(tmp_path / "file" / "run"))
    assert_refused_here(found, "output", "choose another path")


def test_an_ensemble_can_be_run_in_the_boards_place(attack: Command, tmp_path: Path) -> None:
    arguments = ("--attack", "fgsm", *FEW, "--reference", "apgd-ce(steps=3)", "--output", str(tmp_path / "run"))
    found = attack(*arguments, "--json")
    board = rows(found)["Digits_PGD2"]["board"]
    assert board["source"] == "apgd-ce(steps=3)-1, run here"
    report = EvaluationReport.model_validate_json((tmp_path / "run/compared/Digits_PGD2.json").read_bytes())
    assert (report.protocol, report.robust_accuracy) == ("apgd-ce(steps=3)-1", board["robust_accuracy"])
    assert board["best_known_robust_accuracy"] <= board["robust_accuracy"]
    again = attack(*arguments, "--resume", "--json")
    assert again.json == found.json


def publish(service: Running, name: str, points: EvaluationReport, content: bytes) -> None:
    """Publish an entry whose file has this content, with the verdicts of a report."""
    db, blobs = service.services.db, service.services.blobs
    new = NewSubmission(
        name=name,
        dataset="digits",
        threat_model="Linf",
        architecture="digits_cnn",
        checkpoint_sha256=blobs.put(content),
    )
    submit(db, blobs, new, service.services.admission)
    finish_check(db, material.must_claim(db), [material.check()], parameters=1, shard_points=512)
    work = material.must_claim(db)
    changes = {"seed": work.seed, "checkpoint_sha256": work.checkpoint_sha256}
    report = points.model_copy(
        update={"protocol": work.protocol, "provenance": points.provenance.model_copy(update=changes)}
    )
    material.finish(db, blobs, work, report.to_bytes())


@pytest.mark.slow
def test_the_board_of_a_service_is_compared_with(attack: Command, service: Running) -> None:
    """One entry is of the very file, one bears the name of another file, and one model has none."""
    files = {model: card(model, "digits", "Linf") for model in ("Digits_PGD2", "Digits_PGD10")}
    report = EvaluationReport.model_validate_json(bundled_report(files["Digits_PGD2"], "Linf").read_bytes())
    publish(service, "Digits_PGD2", report, bundled_checkpoint(files["Digits_PGD2"]).read_bytes())
    publish(service, "Digits_PGD10", report, bundled_checkpoint(card("Digits_FGSM", "digits", "Linf")).read_bytes())
    server = ("--server", service.url)
    arguments = ("--attack", "fgsm", *BOARD, "--points", "30", "--models", "Digits_PGD*,Digits_Standard", *server)
    found = attack(*arguments, "--json")
    assert found.code == 0, found.err
    same, other, none = (rows(found)[model]["board"] for model in ("Digits_PGD2", "Digits_PGD10", "Digits_Standard"))
    assert (same["source"], same["n_points"], same["same_points"]) == (service.url, 500, True)
    assert same["robust_accuracy"] == verdicts("Digits_PGD2", 30).count(None) / 30
    assert same["missed"]
    assert (other["robust_accuracy"], other["missed"]) == (None, None)
    assert "of another file" in other["footnote"]
    assert none is None
    table = attack(*arguments, "--output", "run", "--examples")
    assert "Digits_PGD10: The board's entry of this name is of another file." in table.out

    sent = [
        "external", "run/examples/Digits_PGD2.npy", "--points-file", "run/examples/Digits_PGD2.txt",
        "--dataset", "digits", "--threat-model", "Linf", "--model", "Digits_PGD2", "--attack", "one step", *server,
    ]  # fmt: skip
    with pytest.raises(SystemExit) as ended:
        main(sent)
    assert ended.value.code == 0


def test_a_service_that_does_not_answer_is_told_before_anything_runs(attack: Command, own: Path) -> None:
    found = attack("--attack", f"{own}:fgsm", *FEW, "--server", "http://127.0.0.1:9", "--json")
    assert found.code == ExitCode.UNREACHABLE
    assert found.json["error"]["code"] == "service_unreachable"
    assert "printed by" not in found.err


def test_no_checkpoint_is_fetched_where_there_is_to_be_no_network() -> None:
    with pytest.raises(NotFound, match="GAUNTLET_OFFLINE is set"):
        choose(official_board("cifar10", "Linf"), ["Wong2020Fast"], fetch=fetched)


def _row(model: str, robust: float, board: float | None) -> Row:
    says = None if board is None else BoardSays(
        source="", n_points=500, same_points=True, standard_accuracy=0.9, robust_accuracy=board,
        best_known_robust_accuracy=board,
    )  # fmt: skip
    return Row(
        model=model, points=500, standard_accuracy=0.9, robust_accuracy=robust, robust_low=max(0, robust - 0.04),
        robust_high=robust + 0.04, forward_passes=1, backward_passes=1, seconds=1.0, refused=0, board=says,
    )  # fmt: skip


@pytest.mark.parametrize("count", [1, 6, 25])
def test_plots_are_readable_by_all_and_the_same_each_time(tmp_path: Path, count: int) -> None:
    drawn = [_row(f"Model_{i}", 0.5 + i / 200, 0.48 + i / 200 if i % 3 else None) for i in range(count)]
    failed = Row(model="Broken", error={"code": "x", "message": "m", "detail": None})
    contents = []
    for name in ("first", "second"):
        (tmp_path / name).mkdir()
        write_plots([*drawn, failed], tmp_path / name, 'a <title> & "$more$"')
        contents.append([(tmp_path / name / file).read_bytes() for file in ("plot.svg", "plot.png")])
    assert contents[0] == contents[1]
    svg, png = contents[0]
    assert png.startswith(b"\x89PNG")
    root = ET.fromstring(svg)  # noqa: S314 - our own
    inside = {element.tag.rpartition("}")[2]: element for element in list(root)[:2]}
    assert root.get("role") == "img"
    assert root.get("aria-labelledby") == "title description"
    assert inside["title"].text == 'a <title> & "$more$"'
    assert "Broken: no result." in (inside["desc"].text or "")
    words = {"".join(element.itertext()) for element in root.iter() if element.tag.endswith("}text")}
    assert {f"Model_{i}" in {word.split("  ")[0] for word in words} for i in range(count)} == {True}
    assert b"dc:date" not in svg


def test_nothing_is_drawn_where_nothing_came_out(tmp_path: Path) -> None:
    write_plots([Row(model="Broken", error={"code": "x", "message": "m", "detail": None})], tmp_path, "title")
    assert list(tmp_path.iterdir()) == []
