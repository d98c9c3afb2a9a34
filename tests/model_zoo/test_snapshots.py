"""Trainings interrupted after every batch, or killed, and snapshots that were damaged."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from benchmark.datasets import load
from benchmark.errors import InvalidCheckpoint
from model_zoo.recipes import Snapshots, Trained, TrainingInterrupted, train_network, write_checkpoint
from model_zoo.recipes.snapshots import read_snapshot
from tests.house.layout import ROOT
from tests.model_zoo.trainings import bits, network, recipe, until

POINTS = load("digits", "train", 96)
CHANGES = {"validation": 16, "early_stopping": True, "augmentation": "crop-flip"}


def train(name: str, epochs: int = 2, **options: object) -> Trained:
    return train_network(network(), POINTS, recipe(name, epochs=epochs, **CHANGES), **options)  # type: ignore[arg-type]


def interrupt(path: Path, name: str, batches: int, *, resume: bool = False) -> None:
    with pytest.raises(TrainingInterrupted):
        train(name, proceed=until(batches), snapshots=Snapshots(path, resume=resume))


@pytest.mark.parametrize(("name", "batches"), [("fgsm-rs", 6), ("free-2", 3), ("trades", 6), ("grad-align", 6)])
def test_wherever_it_is_interrupted_it_comes_to_the_same_bits(name: str, batches: int, tmp_path: Path) -> None:
    """Within an epoch, at its end, and after the very last batch."""
    whole = train(name)
    for number in range(1, batches + 1):
        path = tmp_path / f"{number}.snapshot"
        interrupt(path, name, number)
        again = train(name, snapshots=Snapshots(path, resume=True))
        assert bits(again.state) == bits(whole.state), number
        assert (again.epoch, again.history) == (whole.epoch, whole.history)


def test_what_is_interrupted_again_and_again_comes_to_the_same_bits(tmp_path: Path) -> None:
    path = tmp_path / "a.snapshot"
    for attempt in range(5):
        interrupt(path, "trades", 1, resume=attempt > 0)
    assert bits(train("trades", snapshots=Snapshots(path, resume=True)).state) == bits(train("trades").state)
    assert [file.name for file in tmp_path.iterdir()] == ["a.snapshot"]


def assert_damaged(path: Path) -> None:
    with pytest.raises(InvalidCheckpoint, match="none or damaged") as raised:
        read_snapshot(path, {})
    assert raised.value.detail is not None
    assert raised.value.detail.remedy == "delete it and begin anew"


@pytest.mark.parametrize("kept", [0, 7, 100, 2000, -400, -1])
def test_a_snapshot_that_was_cut_off_is_refused(kept: int, tmp_path: Path) -> None:
    path = tmp_path / "a.snapshot"
    interrupt(path, "fgsm-rs", 2)
    path.write_bytes(path.read_bytes()[:kept])
    assert_damaged(path)


def test_a_snapshot_with_a_flipped_bit_is_refused(tmp_path: Path) -> None:
    """Wherever it is: else what comes out would be other bits than it claims to be."""
    path = tmp_path / "a.snapshot"
    interrupt(path, "fgsm-rs", 2)
    content = path.read_bytes()
    for place in [*range(0, 3000, 17), *range(3000, len(content), len(content) // 41), len(content) - 1]:
        path.write_bytes(content[:place] + bytes([content[place] ^ 1]) + content[place + 1 :])
        assert_damaged(path)


def test_a_checkpoint_is_no_snapshot(tmp_path: Path) -> None:
    write_checkpoint(network().state_dict(), tmp_path / "a.snapshot")
    assert_damaged(tmp_path / "a.snapshot")


KILLED = """
import sys
from pathlib import Path
from model_zoo.recipes import Snapshots
from tests.model_zoo.test_snapshots import train
train("fgsm-rs", 400, snapshots=Snapshots(Path(sys.argv[1]), interval_s=0))
"""


@pytest.mark.slow
def test_who_is_killed_leaves_a_snapshot_to_go_on_from(tmp_path: Path) -> None:
    path = tmp_path / "a.snapshot"
    environment = {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", "PATH": "/usr/bin:/bin"}
    with subprocess.Popen([sys.executable, "-c", KILLED, str(path)], env=environment) as process:
        deadline = time.monotonic() + 60
        while not path.exists():
            assert process.poll() is None
            assert time.monotonic() < deadline
            time.sleep(0.01)
        time.sleep(0.3)
        assert process.poll() is None, "it has ended before it was killed"
        process.send_signal(signal.SIGKILL)
        assert process.wait() == -signal.SIGKILL
    again = train("fgsm-rs", 400, snapshots=Snapshots(path, resume=True))
    assert bits(again.state) == bits(train("fgsm-rs", 400).state)
