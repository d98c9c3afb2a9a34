"""Work for the tests: submissions of real models, claims on them, and looks at what became of them."""

from __future__ import annotations

import re
import shutil
import sys
import textwrap
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import replace
from functools import cache
from pathlib import Path

from benchmark.report import Check, CheckOutcome, EvaluationReport, SandboxLevel
from gauntlet.admission import ZooAdmission
from model_zoo.registry import bundled_checkpoint, card
from store.blobs import LocalBlobs
from store.claims import Claim, claim
from store.database import Database
from store.outcomes import finish_check
from store.services import Services
from store.submissions import get_submission, submit
from store.tables import ShardRow
from store.views import NewSubmission, SubmissionView
from store.workers import Worker
from worker.attempt import run_attempt
from worker.limits import Limits
from worker.sandbox import Sandbox, find_sandbox

LEASE_MS = 60_000
MAX_BYTES = 10_000_000
OPEN = Sandbox(SandboxLevel.LIMITS)
PASSED = Check(code="zero_gradient", outcome=CheckOutcome.PASSED, message="It was measured.")


@contextmanager
def opened(path: Path, url: str) -> Iterator[Services]:
    """Open a store on that database, with its blobs in that directory and the zoo's real rules."""
    with closing(Database(url)) as db:
        yield Services(db, LocalBlobs(path / "blobs", 0), ZooAdmission(MAX_BYTES), MAX_BYTES)


def copied(migrated: Path, path: Path) -> str:
    """Copy an SQLite database into that directory and return the copy's URL."""
    shutil.copy(migrated, path / "gauntlet.sqlite")
    return f"sqlite:///{path / 'gauntlet.sqlite'}"


# What every played child needs: it reads its request, and can say things.
_PROLOGUE = """
import json, os, signal, sys, time
request = json.loads(sys.stdin.readline())
def say(**message):
    sys.stdout.write(json.dumps(message) + "\\n")
    sys.stdout.flush()
def progress(fraction=0.5):
    say(type="progress", points=500, points_done=1, attack="apgd-ce", attacks_done=0, attacks=4, fraction=fraction,
        robust_accuracy_at_most=0.9, forward_passes=90, backward_passes=40)
"""


def played(program: str) -> tuple[str, ...]:
    """A child of the test's own: a small program in place of the real one."""
    return (sys.executable, "-I", "-c", _PROLOGUE + textwrap.dedent(program))


def limits(tmp_path: Path, command: Sequence[str] | None = None, **changes: float) -> Limits:
    """How to run attempts: real children in this machine's sandbox, played ones, which reach out of it, without."""
    sandbox = OPEN if command else real_sandbox()
    base = Limits(scratch=tmp_path / "scratch", sandbox=sandbox, lease_ms=LEASE_MS, beat_ms=15_000)
    changed = replace(base, **changes)  # type: ignore[arg-type]  # all of its times are numbers
    return replace(changed, command=command) if command else changed


@cache
def real_sandbox() -> Sandbox:
    """The strongest that this machine can put up; the tests demand the strongest there is."""
    return find_sandbox(SandboxLevel.NAMESPACES)


def submitted(
    services: Services, model: str = "Digits_Standard", *, content: bytes | None = None, threat_model: str = "Linf"
) -> SubmissionView:
    """Submit a model of the zoo, or other content in its place."""
    new = new_submission(services, model, content=content, threat_model=threat_model)
    return submit(services.db, services.blobs, new, services.admission)


def new_submission(
    services: Services, model: str = "Digits_Standard", *, content: bytes | None = None, threat_model: str = "Linf"
) -> NewSubmission:
    """What is to be submitted, its file already here."""
    entry = card(model, "digits", threat_model)
    data = bundled_checkpoint(entry).read_bytes() if content is None else content
    return NewSubmission(
        name=entry.id,
        dataset="digits",
        threat_model=threat_model,
        architecture=entry.architecture,
        checkpoint_sha256=services.blobs.put(data),
    )


def must_claim(services: Services, worker: str = "test", lease_ms: int = LEASE_MS) -> Claim:
    work = claim(services.db, Worker(name=worker, datasets=("digits",)), lease_ms)
    assert work is not None
    return work


def claimed_shard(
    services: Services, model: str = "Digits_Standard", points: int = 500, threat_model: str = "Linf"
) -> Claim:
    """Submit a model, pass its check unseen and claim its first shard, of at most that many points."""
    submitted(services, model, threat_model=threat_model)
    finish_check(services.db, must_claim(services), [PASSED], parameters=1, shard_points=points)
    return must_claim(services)


def run(services: Services, work: Claim, how: Limits, stop: threading.Event | None = None) -> None:
    run_attempt(services, work, how, stop or threading.Event())


def shard(services: Services, work: Claim) -> ShardRow:
    with services.db.snapshot() as session:
        return session.get_one(ShardRow, work.shard_id)


def submission(services: Services, work: Claim) -> SubmissionView:
    return get_submission(services.db, work.submission_id)


def stored_report(services: Services, work: Claim) -> EvaluationReport:
    sha256 = shard(services, work).report_sha256
    assert sha256 is not None
    return EvaluationReport.model_validate_json(services.blobs.read(sha256))


def wait_for(condition: Callable[[], object], timeout_s: float = 30.0) -> None:
    """Wait until the condition holds."""
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.02)


def alive(pid: int) -> bool:
    """Whether the process runs; one that is dead and not yet waited for does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text(encoding="ascii").rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


_CHILD = re.compile(rb"worker\.child|held_child\.py")


def children_of(parent: int) -> list[int]:
    """Return the running children of the worker that a process has started."""
    lists = Path(f"/proc/{parent}/task").glob("*/children")  # a child hangs on the thread that started it
    found = [int(child) for children in lists for child in children.read_text(encoding="ascii").split()]
    return [pid for pid in found if alive(pid) and _CHILD.search(Path(f"/proc/{pid}/cmdline").read_bytes())]


def descendants_of(pid: int) -> list[int]:
    """Return the processes that a process has started and those that they have, the innermost last."""
    found: list[int] = []
    for children in Path(f"/proc/{pid}/task").glob("*/children"):
        for child in map(int, children.read_text(encoding="ascii").split()):
            found += [child, *descendants_of(child)]
    return found
