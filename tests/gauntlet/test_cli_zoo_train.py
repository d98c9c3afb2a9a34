"""``gauntlet zoo train`` and ``gauntlet zoo retrain``: what they write, print and refuse."""

from __future__ import annotations

import hashlib
import json
import os
import signal
import threading
import time
from pathlib import Path

import pytest

from gauntlet.cli.console import ExitCode
from model_zoo.card_files import read_card
from tests.benchmark.data_files import of_form, publish
from tests.benchmark.test_published_data import write_cifar10
from tests.gauntlet.inside import Command, Found, command
from tests.gauntlet.test_cli import gauntlet

FGSM = ("fgsm-rs", "--epsilon", "0.2", "--architecture", "digits_cnn", "--epochs", "1")


@pytest.fixture
def zoo(capsys: pytest.CaptureFixture[str]) -> Command:
    return command(capsys, "zoo")


@pytest.mark.slow
def test_a_network_is_trained_and_trained_again_from_its_card_as_people_do_it(tmp_path: Path) -> None:
    """Both in processes of their own, and the same bits."""
    output = tmp_path / "mine.safetensors"
    found = gauntlet("zoo", "train", *FGSM, "--output", str(output), "--licence", "MIT", "--json")
    assert (found.returncode, found.stderr) == (0, "")
    content = json.loads(found.stdout)
    written = read_card(tmp_path / "mine.toml")
    assert content["card"] == written.model_dump(mode="json")
    assert written.sha256 == hashlib.sha256(output.read_bytes()).hexdigest()
    assert (written.id, written.licence, written.dataset) == ("mine", "MIT", "digits")
    assert (written.recipe.name, written.recipe.epsilon, written.recipe.validation) == ("fgsm-rs", "1/5", 137)
    assert written.measured is not None
    assert (written.measured.epoch, written.measured.validation_points) == (1, 137)
    assert len(content["epochs"]) == 1
    assert sorted(path.name for path in tmp_path.iterdir()) == ["mine.safetensors", "mine.toml"]

    again = gauntlet("zoo", "retrain", str(tmp_path / "mine.toml"), "--output", str(tmp_path / "again"), "--json")
    assert (again.returncode, again.stderr) == (0, "")
    assert json.loads(again.stdout) == {
        "path": str(tmp_path / "again"), "sha256": written.sha256, "equals_card": True,
    }  # fmt: skip


def test_another_seed_is_not_as_on_the_card(zoo: Command) -> None:
    table = zoo("train", *FGSM, "--output", "a.safetensors")
    assert table.code == 0
    assert "Robust accuracy, at most" in table.out
    assert zoo("retrain", "a.toml", "--output", "b.safetensors").out.endswith(", as on the card\n")
    assert zoo("retrain", "a.toml", "--seed", "1", "--output", "c.safetensors").out.endswith(", not as on the card\n")


def test_another_data_set_is_read_from_the_folder_named(
    zoo: Command, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """With the network that its papers train: small files of CIFAR-10's form, two updates."""
    write_cifar10(tmp_path, *of_form("cifar10", 8))
    publish(monkeypatch, "cifar10", tmp_path, {"train": 40})
    options = ("--epsilon", "8/255", "--epochs", "1", "--batch-size", "20", "--augmentation", "crop-flip", "--json")
    found = zoo(
        "train",
        "fgsm-rs",
        *options,
        "--dataset",
        "cifar10",
        "--data-dir",
        str(tmp_path),
        "--output",
        "a.safetensors",
        "--json",
    )
    assert found.code == 0
    assert (found.json["card"]["architecture"], found.json["card"]["dataset"]) == ("preact_resnet18", "cifar10")
    assert found.json["card"]["recipe"]["validation"] == 5


BUDGET = ("--epsilon", "0.2")


@pytest.mark.parametrize(
    ("arguments", "field", "words"),
    [
        (("fgsm-sr", *BUDGET), "recipe", "did you mean fgsm-rs?"),
        (("pgd-1", *BUDGET), "recipe", "did you mean pgd-10?"),
        (("Digits_PGD10", *BUDGET), "recipe", "gauntlet zoo retrain Digits_PGD10"),
        (("fgsm",), "epsilon", "a value with the recipe fgsm"),
        (("standard", *BUDGET), "epsilon", "none with the recipe standard"),
        (("fgsm", "--epsilon", "little"), "epsilon", "little"),
        (("fgsm", *BUDGET, "--penalty", "1"), "penalty", "leave it out"),
        (("fgsm", *BUDGET, "--patience", "2"), "patience", "early stopping"),
        (("fgsm", *BUDGET, "--validation", "0", "--early-stopping"), "validation", "hold some out"),
        (("fgsm", *BUDGET, "--validation", "5000"), "validation", "1097"),
        (("fgsm", *BUDGET, "--learning-rate", "-1"), "learning_rate", "greater than 0"),
        (("fgsm", *BUDGET, "--architecture", "no_such_net"), "architecture", "digits_cnn"),
        (("fgsm", *BUDGET, "--resume"), "snapshot", "leave out --resume"),
        (("fgsm", *BUDGET, "--id", "no spaces"), "id", "no spaces"),
        (("fgsm", *BUDGET, "--device", "tpu"), "device", "tpu"),
        (("fgsm", *BUDGET, "--dataset", "cifar10", "--data-dir", "no_data"), "dataset cifar10, split train", "no_data"),
    ],
)
def test_what_cannot_be_trained_is_refused(zoo: Command, arguments: tuple[str, ...], field: str, words: str) -> None:
    found = zoo("train", *arguments, "--output", "a.safetensors", "--json")
    assert found.code == ExitCode.INVALID
    (line,) = found.err.splitlines()
    assert line.startswith("error: ")
    assert words in line
    assert "Remedy: " in line
    assert found.json["error"]["detail"]["field"] == field
    assert list(Path().glob("a.*")) == []


@pytest.mark.parametrize("output", ["nowhere/a.safetensors", ".", "a.toml", "a.snapshot"])
@pytest.mark.parametrize("command", [("train", *FGSM), ("retrain", "Digits_PGD2")])
def test_an_output_that_cannot_be_is_refused(zoo: Command, command: tuple[str, ...], output: str) -> None:
    """The snapshot's path above all: it is removed in the end."""
    found = zoo(*command, "--output", output, "--json")
    assert found.code == ExitCode.INVALID
    assert found.json["error"]["detail"]["field"] == "output"


def test_a_file_that_is_no_card_is_refused(zoo: Command) -> None:
    Path("a.toml").write_text("id = [", encoding="utf-8")
    found = zoo("retrain", "a.toml", "--output", "b.safetensors", "--json")
    assert found.code == ExitCode.INVALID
    assert found.json["error"]["detail"]["field"] == "card"


def interrupt(zoo: Command, *arguments: str) -> Found:
    """Run the command and send SIGINT as soon as it listens for it."""
    before = signal.getsignal(signal.SIGINT)

    def send() -> None:
        deadline = time.monotonic() + 30
        while signal.getsignal(signal.SIGINT) is before and time.monotonic() < deadline:
            time.sleep(0.001)
        os.kill(os.getpid(), signal.SIGINT)

    thread = threading.Thread(target=send)
    thread.start()
    try:
        return zoo(*arguments)
    finally:
        thread.join()


def test_ctrl_c_leaves_a_snapshot_from_which_it_goes_on_to_the_same_bits(zoo: Command) -> None:
    arguments = ("train", *FGSM, "--epochs", "4")
    assert zoo(*arguments, "--output", "whole.safetensors").code == 0
    found = interrupt(zoo, *arguments, "--output", "a.safetensors")
    assert found.code == 130
    assert "--resume goes on from there" in found.err
    assert [path.name for path in Path().glob("a.*")] == ["a.snapshot"]

    refused = zoo(*arguments, "--output", "a.safetensors", "--json")
    assert refused.code == ExitCode.INVALID
    assert "go on with --resume" in refused.err
    other = zoo(*arguments, "--output", "a.safetensors", "--seed", "1", "--resume", "--json")
    assert other.json["error"]["detail"]["field"] == "recipe.seed"

    assert zoo(*arguments, "--output", "a.safetensors", "--resume").code == 0
    assert Path("a.safetensors").read_bytes() == Path("whole.safetensors").read_bytes()
    assert not Path("a.snapshot").exists()
