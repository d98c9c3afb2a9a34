"""The parent against children that lie, hang, flood and die: small real processes in place of the real child."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from benchmark.summing_up import wilson_interval
from store.blobs import LocalBlobs
from store.claims import Claim
from store.services import Services
from store.submissions import cancel
from store.tables import ShardRow
from store.views import State
from tests.worker.work import (
    alive,
    claimed_shard,
    copied,
    limits,
    must_claim,
    opened,
    played,
    run,
    shard,
    submission,
    submitted,
    wait_for,
)


@pytest.fixture(params=["sqlite", "postgresql"])
def services(request: pytest.FixtureRequest, migrated: Path, tmp_path: Path) -> Iterator[Services]:
    """A store of the test's own, on either dialect."""
    on_sqlite = request.param == "sqlite"
    url = copied(migrated, tmp_path) if on_sqlite else request.getfixturevalue("postgres_database")
    with opened(tmp_path, url) as services:
        yield services


HANGING = """
    progress()
    time.sleep(600)
"""
EVALUATED = 'say(type="evaluated")'

BROKEN = {
    "garbage": ('print("{]", flush=True)', "something that is no message"),
    "binary": ('os.write(1, bytes(range(256)) + b"\\n")', "something that is no message"),
    "unknown field": ('say(type="evaluated", path="/etc/passwd")', "something that is no message"),
    "NaN": ("progress(float('nan'))", "something that is no message"),
    "impossible fraction": ("progress(1.5)", "something that is no message"),
    "endless line": ('\nwhile True: os.write(1, b"a" * 65536)', "a line longer than any message"),
    "long line": ('os.write(1, b" " * 1100000 + b"\\n")', "a line longer than any message"),
    "two answers": (EVALUATED + "\n" + EVALUATED, "went on after its last message"),
    "a check's answer": (
        'say(type="checked", checks=[dict(code="a", outcome="passed", message="b")])',
        "answered another question",
    ),
    "no answer": ("progress()", "ended with no answer"),
    "no report": (EVALUATED, "left no readable report.json"),
    "exit status": (EVALUATED + "\nsys.exit(3)", "exit status 3"),
    "killed": ("os.kill(os.getpid(), signal.SIGKILL)", "signal SIGKILL"),
    "no snapshot": ('say(type="saved", number=1)', "left no readable snapshot-1"),
    "snapshot left out": ('say(type="saved", number=2)', "left out a snapshot"),
    "link": ('os.symlink("/etc/passwd", "report.json")\n' + EVALUATED, "left no readable report.json"),
    "pipe": ('os.mkfifo("report.json")\n' + EVALUATED, "no plain file"),
    "directory": ('os.mkdir("report.json")\n' + EVALUATED, "no plain file"),
    "huge report": ('open("report.json", "wb").truncate(10**10)\n' + EVALUATED, "no plain file of at most"),
    "false report": (
        'open("report.json", "w").write("{}")\nopen("x_adv.safetensors", "w").write("x")\n' + EVALUATED,
        "The report is not valid",
    ),
    "closed pipes": ("os.close(1)\nos.close(2)\ntime.sleep(600)", "fell silent and did not end"),
}


@pytest.mark.parametrize("case", BROKEN)
def test_a_broken_child_is_a_failed_attempt_and_never_a_result(services: Services, tmp_path: Path, case: str) -> None:
    program, reason = BROKEN[case]
    work = last_attempt(services, claimed_shard(services))
    started = time.monotonic()
    run(services, work, limits(tmp_path, played(program)))
    assert time.monotonic() - started < 10
    view = submission(services, work)
    assert (view.state, view.fault) == (State.FAILED, "service")
    assert reason in view.reason
    assert shard(services, work).report_sha256 is None
    assert list((tmp_path / "scratch").iterdir()) == []


@pytest.mark.parametrize(
    ("limit", "reason"), [("silence_s", "said nothing for"), ("wall_clock_s", "did not end in time")]
)
def test_a_hanging_child_is_given_up(services: Services, tmp_path: Path, limit: str, reason: str) -> None:
    work = last_attempt(services, claimed_shard(services))
    run(services, work, limits(tmp_path, played(HANGING), **{limit: 0.5}))
    assert reason in submission(services, work).reason


def test_a_child_that_does_not_end_after_its_answer_is_given_up(
    services: Services, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("worker.attempt._LAST_WORD_S", 0.5)
    work = last_attempt(services, claimed_shard(services))
    run(services, work, limits(tmp_path, played(EVALUATED + "\ntime.sleep(600)")))
    assert "did not end in time" in submission(services, work).reason


def test_a_first_broken_attempt_is_tried_again(services: Services, tmp_path: Path) -> None:
    work = claimed_shard(services)
    run(services, work, limits(tmp_path, played("os.kill(os.getpid(), signal.SIGKILL)")))
    again = must_claim(services)
    assert (again.shard_id, again.attempt) == (work.shard_id, 2)
    assert submission(services, work).state is State.RUNNING


def test_a_model_at_fault_is_not_tried_again(services: Services, tmp_path: Path) -> None:
    work = claimed_shard(services)
    program = 'say(type="failed", reason="The model answered with noise.", fault="model")'
    run(services, work, limits(tmp_path, played(program)))
    view = submission(services, work)
    assert (view.state, view.fault, view.reason) == (State.FAILED, "model", "The model answered with noise.")


def test_a_reason_shows_neither_paths_nor_control_characters(services: Services, tmp_path: Path) -> None:
    work = claimed_shard(services)
    program = r"""
    say(type="failed", reason="cannot read " + os.getcwd() + "/a.bin\x1b[31m at 8/255 \u202eevil", fault="model")
    """
    run(services, work, limits(tmp_path, played(program)))
    reason = submission(services, work).reason
    assert str(tmp_path) not in reason
    assert reason.isprintable()
    assert "cannot read …" in reason
    assert "at 8/255" in reason


def test_the_child_sees_no_environment_of_the_service(
    services: Services, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GAUNTLET_SECRET", "hunter2")
    work = claimed_shard(services)
    program = 'say(type="failed", reason=" ".join(sorted(os.environ)), fault="model")'
    run(services, work, limits(tmp_path, played(program)))
    names = submission(services, work).reason.split()
    assert set(names) - {"LC_CTYPE"} == {
        "HOME", "LC_ALL", "OMP_NUM_THREADS", "TMPDIR",
    }  # fmt: skip


def test_what_a_child_has_started_ends_with_it(services: Services, tmp_path: Path) -> None:
    program = f"""
    pid = os.fork()
    if pid == 0:
        time.sleep(600)
    open({str(tmp_path / "grandchild")!r}, "w").write(str(pid))
    os._exit(0)
    """
    run(services, claimed_shard(services), limits(tmp_path, played(program), silence_s=0.5))
    grandchild = int((tmp_path / "grandchild").read_text(encoding="ascii"))
    wait_for(lambda: not alive(grandchild), 5)


def test_cancelling_frees_the_child_within_two_seconds(services: Services, tmp_path: Path) -> None:
    work = claimed_shard(services)
    thread = threading.Thread(target=run, args=(services, work, limits(tmp_path, played(reporting(tmp_path)))))
    thread.start()
    child = reported(tmp_path)
    cancel(services.db, work.submission_id)
    cancelled = time.monotonic()
    thread.join(10)
    assert not thread.is_alive()
    assert time.monotonic() - cancelled < 2
    assert not alive(child)
    assert (submission(services, work).state, shard(services, work).state) == (State.CANCELLED, "cancelled")


def test_a_lost_lease_ends_the_child_and_writes_nothing(services: Services, tmp_path: Path) -> None:
    work = claimed_shard(services)
    thread = threading.Thread(target=run, args=(services, work, limits(tmp_path, played(reporting(tmp_path)))))
    thread.start()
    child = reported(tmp_path)
    with services.db.transaction() as session:  # as a sweeper and another worker would, after a long pause of ours
        row = session.get_one(ShardRow, work.shard_id)
        row.lease_token, row.worker, row.attempt = "another", "another", 2
    thread.join(10)
    assert not thread.is_alive()
    assert not alive(child)
    row = shard(services, work)
    assert (row.state, row.worker, row.attempt, row.report_sha256) == ("running", "another", 2, None)


def test_stopping_the_service_gives_the_work_back_uncounted(services: Services, tmp_path: Path) -> None:
    work, stop = claimed_shard(services), threading.Event()
    thread = threading.Thread(target=run, args=(services, work, limits(tmp_path, played(reporting(tmp_path))), stop))
    thread.start()
    child = reported(tmp_path)
    stop.set()
    thread.join(5)
    assert not alive(child)
    row = shard(services, work)
    assert (row.state, row.attempt, row.lease_token) == ("queued", 0, None)


def test_beats_renew_the_lease_and_show_the_progress(services: Services, tmp_path: Path) -> None:
    work = claimed_shard(services)
    stop = threading.Event()
    before = shard(services, work).lease_until
    thread = threading.Thread(target=run, args=(services, work, limits(tmp_path, played(reporting(tmp_path))), stop))
    thread.start()
    wait_for(lambda: submission(services, work).progress.attack == "apgd-ce", 10)
    progress = submission(services, work).progress
    assert (progress.points, progress.points_done) == (500, 1)
    assert (progress.forward_passes, progress.backward_passes) == (90, 40)
    assert progress.robust_interval_at_most == wilson_interval(450, 500)
    after = shard(services, work).lease_until
    stop.set()
    thread.join(5)
    assert before is not None
    assert after is not None
    assert after > before


def test_a_damaged_model_file_is_never_evaluated(services: Services, tmp_path: Path) -> None:
    work = last_attempt(services, claimed_shard(services))
    with services.blobs.path(work.checkpoint_sha256).open("r+b") as file:
        file.seek(-1, os.SEEK_END)
        file.write(b"\xff")
    run(services, work, limits(tmp_path, played(EVALUATED)))
    assert "damaged" in submission(services, work).reason


@pytest.mark.parametrize("damage", ["gone", "changed"])
def test_a_lost_snapshot_only_costs_time(services: Services, tmp_path: Path, damage: str) -> None:
    work = claimed_shard(services)
    snapshot = services.blobs.put(b"a snapshot")
    if damage == "gone":
        services.blobs.path(snapshot).unlink()
    else:
        services.blobs.path(snapshot).write_bytes(b"another")
    program = 'say(type="failed", reason=f"resume {request[\'resume\']} {os.listdir()}", fault="model")'
    run(services, work.model_copy(update={"resume_sha256": snapshot}), limits(tmp_path, played(program)))
    assert submission(services, work).reason == "resume False ['model.safetensors']"


SAVING = """
    open("snapshot-1.safetensors", "w").write("a snapshot")
    say(type="saved", number=1)
    say(type="failed", reason="the end", fault="model")
"""


def test_a_snapshot_is_kept_for_the_next_attempt(services: Services, tmp_path: Path) -> None:
    work = claimed_shard(services)
    run(services, work, limits(tmp_path, played(SAVING.replace('"model"', '"service"'))))
    again = must_claim(services)
    assert again.resume_sha256 is not None
    assert services.blobs.read(again.resume_sha256) == b"a snapshot"


def test_a_full_disk_costs_the_snapshot_and_not_the_evaluation(services: Services, tmp_path: Path) -> None:
    work = claimed_shard(services)
    full = replace(services, blobs=LocalBlobs(tmp_path / "blobs", free_floor_bytes=2**62))
    run(full, work, limits(tmp_path, played(SAVING)))
    assert submission(services, work).reason == "the end"
    assert shard(services, work).checkpoint is None


def test_a_check_takes_no_snapshot(services: Services, tmp_path: Path) -> None:
    submitted(services)
    work = last_attempt(services, must_claim(services))
    run(services, work, limits(tmp_path, played(SAVING)))
    assert "answered another question" in submission(services, work).reason


def last_attempt(services: Services, work: Claim) -> Claim:
    """Make it the last that is granted, so that its failure ends the submission and shows its reason."""
    with services.db.transaction() as session:
        session.get_one(ShardRow, work.shard_id).attempt = 3
    return work.model_copy(update={"attempt": 3})


def reporting(tmp_path: Path) -> str:
    """A program that says its process id, works a while and never ends."""
    return f"""
    with open({str(tmp_path / "pid.part")!r}, "w") as file:
        file.write(str(os.getpid()))
    os.rename({str(tmp_path / "pid.part")!r}, {str(tmp_path / "pid")!r})
    while True:
        progress()
        time.sleep(0.1)
    """


def reported(tmp_path: Path) -> int:
    wait_for((tmp_path / "pid").exists, 10)
    child = int((tmp_path / "pid").read_text(encoding="ascii"))
    assert alive(child)
    return child
