"""`gauntlet leaderboard --format` and `gauntlet import-model-info`, as people run them."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from api.exports.table import as_csv
from benchmark.threat_models import official_board
from store.bibtex import as_bibtex
from store.boards import get_board
from store.model_info import write_info
from tests.gauntlet.test_cli import assert_refused, gauntlet
from tests.gauntlet.test_cli_queue import gauntlet as operate
from tests.running import Running
from tests.store.material import fill_board


def test_a_board_is_written_for_others(service: Running, tmp_path: Path) -> None:
    db, server = service.services.db, ("--server", service.url)
    fill_board(db, 1_001)
    path = tmp_path / "board.csv"
    found = gauntlet("leaderboard", "digits/L2", "--format", "csv", "--output", str(path), *server)
    assert (found.returncode, found.stdout, found.stderr) == (0, "", "")
    assert path.read_bytes().decode() == as_csv(get_board(db, "digits", "L2"))
    found = gauntlet("leaderboard", "cifar10/Linf", "--format", "bibtex", *server)
    assert found.stdout == as_bibtex(get_board(db, "cifar10", "Linf"))


@pytest.mark.slow
def test_entries_leave_as_files_and_come_back_unchanged(service: Running, tmp_path: Path) -> None:
    db, server = service.services.db, ("--server", service.url)
    out = ("--format", "model-info", "--output", str(tmp_path / "out"))
    assert gauntlet("leaderboard", "cifar10/L2", *out, *server).returncode == 0
    board = official_board("cifar10", "L2")
    before = {row.model_id: write_info(row, board) for row in get_board(db, "cifar10", "L2").rows}
    files = {path.stem: path.read_bytes() for path in (tmp_path / "out/cifar10/L2").iterdir()}
    assert files == before
    done = operate("import-model-info", str(tmp_path / "out"), "--json", url=db.url)
    assert (done.returncode, done.stderr) == (0, "")
    assert {name: len(value) for name, value in json.loads(done.stdout).items()} == {
        "created": 0,
        "updated": 0,
        "unchanged": 21,
        "remarks": 0,
    }
    new = tmp_path / "out/cifar10/L2/New.json"
    shutil.copy(new.with_name("Standard.json"), new)
    assert "1 entries created" in operate("import-model-info", str(new), url=db.url).stdout
    new.write_bytes(new.read_bytes().replace(b'"eps": "0.5"', b'"eps": "5"'))
    refused = operate("import-model-info", str(tmp_path / "out"), "--json", url=db.url)
    assert_refused(refused, 2, f"{new}: eps", as_json=True)


@pytest.mark.slow
def test_what_cannot_be_written_or_read_is_said(service: Running, tmp_path: Path) -> None:
    board = ("leaderboard", "digits/L2", "--server", "http://127.0.0.1:1")
    found = gauntlet("leaderboard", "cifar10/Linf", "--as-of", "yesterday", "--server", service.url)
    assert_refused(found, 2, "as_of")
    assert_refused(gauntlet(*board, "--format", "model-info"), 2, "output")
    assert_refused(gauntlet(*board, "--output", "x"), 2, "format")
    assert_refused(gauntlet(*board, "--format", "csv", "--json"), 2, "format", as_json=True)
    database = f"sqlite:///{tmp_path / 'none.sqlite'}"
    assert_refused(operate("import-model-info", str(tmp_path), url=database), 2, "path")
