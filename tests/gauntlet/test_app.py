"""The service as a whole: what it loads, how it starts, what it brings along."""

from __future__ import annotations

import sqlite3
import subprocess
import sys
import time
from pathlib import Path

import pytest

from benchmark.errors import InvalidInput
from gauntlet.app import make_services
from model_zoo.registry import cards
from store.boards import get_board
from store.submissions import list_submissions
from tests.running import quiet_settings, running

ROOT = Path(__file__).parents[2]


def test_the_service_loads_no_torch() -> None:
    code = (
        "import sys, gauntlet.app, gauntlet.client, gauntlet.cli; "
        "print([name for name in ('torch', 'torchvision', 'sklearn') if name in sys.modules])"
    )
    found = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "[]"


def test_the_front_door_offers_what_other_programs_use() -> None:
    code = (
        "import gauntlet, sys; assert 'torch' not in sys.modules; "
        "from gauntlet import ThreatModel, benchmark, check_restrictions, evaluate, load_model; "
        "import benchmark as library, model_zoo; "
        "assert (benchmark, evaluate, load_model) == (library.benchmark, library.evaluate, model_zoo.load_model); "
        "assert set(gauntlet.__all__) <= set(dir(gauntlet)); "
        "print(callable(benchmark), hasattr(gauntlet, 'nothing'))"
    )
    found = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "True False"


def test_a_second_start_finds_everything_as_it_was(tmp_path: Path) -> None:
    settings = quiet_settings(tmp_path / "var").model_copy(update={"evaluate_zoo": True})
    expected = sorted((card.id, card.dataset, threat_model) for card in cards() for threat_model in card.threat_models)
    seen = []
    for _ in range(2):
        with running(settings) as service:
            end = time.monotonic() + 10
            while len(submissions := list_submissions(service.services.db, 100)) < len(expected):
                assert time.monotonic() < end
                time.sleep(0.02)
            rows = get_board(service.services.db, "cifar10", "Linf").rows
        seen.append((submissions, rows, service.files()))
    assert seen[0] == seen[1]
    submissions, _, files = seen[0]
    sent = [view.submission for view in submissions]
    assert sorted((view.name, view.dataset, view.threat_model) for view in sent) == expected
    assert files == sorted({card.sha256 for card in cards()})


@pytest.mark.parametrize(
    ("address", "reason"),
    [
        ("sqlite:///damaged.sqlite", "file is not a database"),
        ("sqlite:///newer.sqlite", "f00"),
        ("nonsense", "parse"),
        ("nosuchkind://user:secret@host/x", "nosuchkind"),
    ],
)
def test_a_database_that_cannot_be_used_is_told_in_one_line(tmp_path: Path, address: str, reason: str) -> None:
    (tmp_path / "damaged.sqlite").write_bytes(b"no database " * 100)
    with sqlite3.connect(tmp_path / "newer.sqlite") as newer:
        newer.execute("CREATE TABLE alembic_version (version_num TEXT)")
        newer.execute("INSERT INTO alembic_version VALUES ('f00')")
    newer.close()
    settings = quiet_settings(tmp_path / "var").model_copy(update={"database_url": address})
    with pytest.raises(InvalidInput) as caught:
        make_services(settings)
    assert caught.value.detail is not None
    assert caught.value.detail.field == "database_url"
    assert reason in caught.value.message
    assert "secret" not in caught.value.message
    assert len(caught.value.message.splitlines()) == 1
