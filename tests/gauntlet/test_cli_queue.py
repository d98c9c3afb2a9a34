"""`gauntlet queue`, `gauntlet worker` and `gauntlet sweep`: what they show, change and refuse."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from benchmark.analysis.results import Analysis
from model_zoo.registry import bundled_checkpoint, card
from store.audit import list_audit
from store.blobs import LocalBlobs
from store.database import Database
from store.migrate import upgrade
from store.queue import view_queue
from store.submissions import submit
from store.tables import SubmissionRow
from store.workers import announce, list_workers
from tests.store.material import Rules, a_worker, must_claim, new_submission, published

ROOT = Path(__file__).parents[2]
CARD = card("Digits_Standard", "digits", "Linf")


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """A database with the schema and nothing in it, named as an operator would."""
    if request.param == "postgresql":
        found: str = request.getfixturevalue("postgres_database")
        return found
    return migrated(tmp_path)


@pytest.fixture
def db(url: str) -> Iterator[Database]:
    with closing(Database(url)) as database:
        yield database


def environment(url: str | None, **settings: str) -> dict[str, str]:
    base = {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", "PATH": "/usr/bin:/bin"}
    return base | ({"GAUNTLET_DATABASE_URL": url} if url else {}) | settings


def gauntlet(*arguments: str, url: str | None = None, **settings: str) -> subprocess.CompletedProcess[str]:
    """Run the command as people do."""
    command = [sys.executable, "-W", "error", "-m", "gauntlet", *arguments]
    return subprocess.run(
        command, capture_output=True, text=True, check=False, timeout=120, env=environment(url, **settings)
    )


@pytest.mark.slow
def test_the_queue_is_shown_to_people_and_to_programs(db: Database, tmp_path: Path) -> None:
    blobs = LocalBlobs(tmp_path / "blobs", 0)
    first, second = (submit(db, blobs, new_submission(blobs, name=name), Rules()) for name in ("One", "Two"))
    must_claim(db, "somebody")
    shown = gauntlet("queue", "show", url=db.url)
    assert (shown.returncode, shown.stderr) == (0, "")
    rows = shown.stdout.splitlines()
    at_work, waiting = (next(row for row in rows if name in row) for name in ("One", "Two"))
    assert all(word in at_work for word in (first.id, "digits/Linf", "check", "0–499", "running", "somebody"))
    assert all(word in waiting for word in (second.id, "queued"))
    document = gauntlet("queue", "show", "--json", url=db.url)
    assert (document.returncode, document.stderr) == (0, "")
    pieces = json.loads(document.stdout)
    assert [(piece["submission_id"], piece["state"], piece["worker"]) for piece in pieces] == [
        (first.id, "running", "somebody"),
        (second.id, "queued", None),
    ]
    assert set(pieces[0]) == set(type(view_queue(db)[0]).model_fields)


@pytest.mark.slow
def test_an_empty_queue_is_shown_too(db: Database) -> None:
    for what in ("show", "workers"):
        assert gauntlet("queue", what, url=db.url).returncode == 0
        assert json.loads(gauntlet("queue", what, "--json", url=db.url).stdout) == []


@pytest.mark.slow
def test_workers_are_shown_drained_and_let_go_on(db: Database) -> None:
    announce(db, a_worker("here-cpu-1", host="here", datasets=("digits", "cifar10")))
    shown = gauntlet("queue", "workers", url=db.url)
    assert all(word in shown.stdout for word in ("here-cpu-1", "here", "cpu", "digits, cifar10", "no"))
    drained = gauntlet("queue", "drain", "here-cpu-1", url=db.url)
    assert (drained.returncode, drained.stdout) == (0, "worker here-cpu-1 claims nothing more\n")
    assert list_workers(db)[0].draining
    (worker,) = json.loads(gauntlet("queue", "workers", "--json", url=db.url).stdout)
    assert (worker["name"], worker["draining"], worker["running"]) == ("here-cpu-1", True, 0)
    resumed = gauntlet("queue", "resume", "here-cpu-1", "--json", url=db.url)
    assert json.loads(resumed.stdout) == {"worker": "here-cpu-1", "draining": False}
    assert not list_workers(db)[0].draining


@pytest.mark.slow
@pytest.mark.parametrize("value", ["7", "-7", "0"])
def test_a_priority_is_set(db: Database, tmp_path: Path, value: str) -> None:
    blobs = LocalBlobs(tmp_path / "blobs", 0)
    view = submit(db, blobs, new_submission(blobs), Rules())
    found = gauntlet("queue", "priority", view.id, value, url=db.url)
    assert (found.returncode, found.stderr) == (0, "")
    assert found.stdout == f"submission {view.id} has priority {value}\n"
    assert view_queue(db)[0].priority == int(value)
    again = gauntlet("queue", "priority", view.id, value, "--json", url=db.url)
    assert json.loads(again.stdout) == {"submission": view.id, "priority": int(value)}


@pytest.mark.slow
def test_an_operator_steps_in(db: Database, tmp_path: Path) -> None:
    settings = {"GAUNTLET_VAR_DIR": str(tmp_path / "var")}
    blobs = LocalBlobs(tmp_path / "var" / "blobs", 0)
    new = new_submission(blobs, architecture=CARD.architecture)
    new = new.model_copy(update={"checkpoint_sha256": blobs.put(bundled_checkpoint(CARD).read_bytes())})
    view = submit(db, blobs, new_submission(blobs), Rules())
    with db.transaction() as session:
        row = session.get_one(SubmissionRow, view.id)
        row.architecture, row.checkpoint_sha256 = new.architecture, new.checkpoint_sha256
    held = must_claim(db, "w")
    requeued = gauntlet("queue", "requeue", str(held.shard_id), url=db.url)
    assert (requeued.returncode, requeued.stdout) == (0, f"anybody may claim piece {held.shard_id}\n")
    assert view_queue(db)[0].state == "queued"
    failed = gauntlet("queue", "fail", view.id, "--reason", "No disk.", url=db.url)
    assert (failed.returncode, failed.stdout) == (0, f"submission {view.id} is failed: No disk.\n")
    again = gauntlet("queue", "send-again", view.id, "--json", url=db.url, **settings)
    assert (again.returncode, again.stderr) == (0, "")
    sent = json.loads(again.stdout)
    assert (sent["state"], sent["submission"]["name"]) == ("received", "Method A")
    cancelled = gauntlet("queue", "cancel", sent["id"], "--reason", "A copy.", "--json", url=db.url)
    assert json.loads(cancelled.stdout)["reason"] == "cancelled by a maintainer: A copy."
    once_more = gauntlet("queue", "cancel", sent["id"], "--reason", "A copy.", "--json", url=db.url)
    assert once_more.returncode == 2
    assert json.loads(once_more.stdout)["error"]["detail"]["field"] == "state"
    actions = [record.action for record in list_audit(db, None)]
    assert actions == ["cancel", "send_again", "fail", "requeue"]


@pytest.mark.slow
def test_an_operator_has_an_entry_analysed(db: Database, tmp_path: Path) -> None:
    view = published(db, LocalBlobs(tmp_path / "var" / "blobs", 0))
    asked = gauntlet("queue", "analyse", view.id, "--json", url=db.url, GAUNTLET_VAR_DIR=str(tmp_path / "var"))
    assert (asked.returncode, asked.stderr) == (0, "")
    assert json.loads(asked.stdout)["id"] == view.id
    assert [piece.analysis for piece in view_queue(db)] == list(Analysis)
    shown = gauntlet("queue", "show", url=db.url).stdout
    assert all(analysis in shown for analysis in Analysis)


@pytest.mark.parametrize(
    ("arguments", "field"),
    [
        pytest.param(("queue", "analyse", "nothing"), "submission", marks=pytest.mark.slow),
        (("queue", "drain", "nobody"), "worker"),
        pytest.param(("queue", "resume", "nobody"), "worker", marks=pytest.mark.slow),
        pytest.param(("queue", "drain"), "name", marks=pytest.mark.slow),
        (("queue", "priority", "nothing", "3"), "submission"),
        (("queue", "priority", "nothing", "1001"), "value"),
        pytest.param(("queue", "priority", "nothing", "-1001"), "value", marks=pytest.mark.slow),
        pytest.param(("queue", "priority", "nothing", "high"), "value", marks=pytest.mark.slow),
        pytest.param(("queue", "requeue", "17"), "piece", marks=pytest.mark.slow),
        (("queue", "fail", "nothing", "--reason", "x"), "submission"),
        pytest.param(("queue", "fail", "nothing"), "reason", marks=pytest.mark.slow),
        pytest.param(("queue", "nothing"), "command line", marks=pytest.mark.slow),
        (("worker",), "redis_url"),
        pytest.param(("worker", "--device", "gpu"), "worker_devices.0", marks=pytest.mark.slow),
    ],
    ids=" ".join,
)
def test_what_is_wrong_is_told_in_one_line_and_in_json(tmp_path: Path, arguments: tuple[str, ...], field: str) -> None:
    found = gauntlet(*arguments, "--json", url=migrated(tmp_path))
    assert found.returncode == 2, found
    (line,) = found.stderr.splitlines()
    assert line.startswith("error: ")
    assert "Remedy: " in line
    error = json.loads(found.stdout)["error"]
    assert set(error) == {"code", "message", "detail"}
    assert error["detail"]["field"] == field


@pytest.mark.parametrize(
    "command",
    ["queue show", *(pytest.param(one, marks=pytest.mark.slow) for one in ("queue workers", "worker", "sweep"))],
)
def test_a_database_that_no_service_has_made_is_refused(tmp_path: Path, command: str) -> None:
    found = gauntlet(*command.split(), url=f"sqlite:///{tmp_path / 'none.sqlite'}", GAUNTLET_REDIS_URL="redis://[::1]")
    assert (found.returncode, found.stdout) == (2, "")
    assert "database_url" in found.stderr
    assert not (tmp_path / "none.sqlite").exists()


def test_a_sweeper_says_who_it_is_and_ends_in_order(tmp_path: Path) -> None:
    command = [sys.executable, "-W", "error", "-m", "gauntlet", "sweep", "--json"]
    with subprocess.Popen(command, env=environment(migrated(tmp_path)), stdout=subprocess.PIPE, text=True) as sweeper:
        assert sweeper.stdout is not None
        try:
            said = json.loads("".join(sweeper.stdout.readline() for _ in range(3)))
            sweeper.send_signal(signal.SIGTERM)
            assert sweeper.wait(60) == 0
        finally:
            sweeper.kill()
    assert set(said) == {"sweeper"}
    assert "-sweeper-" in said["sweeper"]


def migrated(tmp_path: Path) -> str:
    url = f"sqlite:///{tmp_path / 'gauntlet.sqlite'}"
    upgrade(url)
    return url
