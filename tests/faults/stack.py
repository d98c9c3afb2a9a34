"""A whole service: PostgreSQL, Redis, the service, workers and a sweeper, each a process that a test may end."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import httpx
import psycopg
import redis
from sqlalchemy import select, update
from sqlalchemy.exc import DBAPIError

from benchmark.errors import GauntletError
from gauntlet.admission import ZooAdmission
from gauntlet.client import Client
from model_zoo.registry import bundled_checkpoint
from store.blobs import LocalBlobs
from store.claims import claim
from store.database import Database
from store.outcomes import finish_check
from store.submissions import get_submission, submit
from store.tables import SEED_SECRET, MetaRow, RunRow, ShardRow, SubmissionRow
from store.views import NewSubmission, State, SubmissionView
from store.workers import Worker
from tests.faults.cases import INSTALL, Case, cut
from tests.faults.evidence import FINAL, WAY, Evidence, difference, evidence, with_work_left, wrongs
from tests.faults.programs import HOLDS, ROOT, Program
from tests.servers import PostgresServer, RedisServer, libpq
from worker.bell import CeleryBell

LEASE_MS, BEAT_MS, SWEEP_MS = 6_000, 1_000, 1_000
MAX_BYTES = 10_000_000
PATIENCE_S = 120.0
_LOOK_S = 0.05

UNDISTURBED: dict[Case, Evidence] = {}
"""What undisturbed runs have come to, kept for all stacks of this process."""
PASSED: dict[Case, dict[str, Any]] = {}
"""What the checks of undisturbed runs have handed in."""


class Stack:
    """Everything that the distributed engine is made of, on servers and in a directory of its own.

    Args:
        workers: how many are started.
        settings: of all programs, beside short leases, beats and sweeps; by name, without the prefix.
    """

    def __init__(self, workers: int = 2, settings: Mapping[str, str] | None = None) -> None:
        self.directory = Path(tempfile.mkdtemp(prefix="gauntlet-faults-"))
        (self.directory / HOLDS).mkdir()
        self.postgres, self.redis = PostgresServer(), RedisServer()
        self._settings = {
            "LEASE_MS": str(LEASE_MS),
            "BEAT_MS": str(BEAT_MS),
            "SWEEP_MS": str(SWEEP_MS),
            "EVALUATE_ZOO": "false",
            "LOG_LEVEL": "info",
            **(settings or {}),
        }
        self._workers_at_start = workers
        self._submitted = 0
        self.programs: list[Program] = []

    def __enter__(self) -> Self:
        try:
            self.postgres.start()
            self.redis.start()
            self._settings |= {"DATABASE_URL": self.postgres.url, "REDIS_URL": self.redis.url}
            self.db = Database(self.postgres.url)
            self.blobs = LocalBlobs(self.directory / "var" / "blobs", 0)
            self.service = self.program("serve", "serve", "--port", "0")
            self.service.said("url")  # the schema exists
            with self.sql() as connection:
                connection.execute(INSTALL)
            share_seeds(self.db)
            self.sweeper = self.program("sweep", "sweep")
            self.workers = [self.program(f"worker-{number}", "worker") for number in range(self._workers_at_start)]
            for worker in self.workers:
                worker.said("worker")
        except BaseException:
            self._end()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._end()

    def _end(self) -> None:
        for program in self.programs:
            program.kill()
        if hasattr(self, "db"):
            self.db.close()
        for server in (self.postgres, self.redis):
            server.kill()
            shutil.rmtree(server.directory, ignore_errors=True)
        shutil.rmtree(self.directory, ignore_errors=True)

    # The parts.

    def program(self, name: str, *arguments: str, **settings: str | None) -> Program:
        """Start one more program, with settings of its own or without some, and do not wait until it is ready."""
        program = Program(self.directory, name, arguments, self.environment(**settings))
        self.programs.append(program)
        program.begin()
        return program

    def environment(self, **settings: str | None) -> dict[str, str]:
        """Return the environment of a program, with settings of its own or without some."""
        kept = {key: value for key, value in os.environ.items() if not key.startswith("GAUNTLET_")}
        chosen = {"VAR_DIR": str(self.directory / "var")} | self._settings | settings
        return kept | {f"GAUNTLET_{key}": value for key, value in chosen.items() if value is not None}

    def mend(self) -> None:
        """Start again whatever does not run, let go on whatever is paused or held, and wait until all is ready."""
        self.let_go()
        for server in (self.postgres, self.redis):
            if not server.running:
                server.start()
        for program in (self.service, self.sweeper, *self.workers):
            program.go_on()
            if not program.running:
                program.begin()
        self.service.said("url")
        for worker in self.workers:
            worker.said("worker")

    @property
    def url(self) -> str:
        """Where the service is now."""
        return self.service.said("url")

    def worker_of(self, shard: ShardRow) -> Program:
        """Return the worker that holds a piece of work."""
        return next(worker for worker in self.workers if worker.running and worker.said("worker") == shard.worker)

    @contextmanager
    def sql(self) -> Iterator[psycopg.Connection[tuple[object, ...]]]:
        """Yield a connection to the database, past all of the program."""
        with psycopg.connect(libpq(self.postgres.url)) as connection:
            yield connection

    # The work.

    def submit(self, case: Case, address: str | None = None) -> str:
        """Submit a model over HTTP, from that address of the loopback network, and return the submission's id."""
        with self.client(address) as client:
            sha256 = client.upload(bundled_checkpoint(case.card)).sha256
            return client.submit(self.new(case, sha256)).id

    def begin(self, case: Case) -> str:
        """Submit a model and pass its check as in an undisturbed run, at once; return the submission's id.

        It spares the check's time where a test is about what comes after it.
        """
        self.undisturbed(case)
        new = self.new(case, self.blobs.put(bundled_checkpoint(case.card).read_bytes()))
        submission_id = submit(self.db, self.blobs, new, ZooAdmission(MAX_BYTES)).id
        work = claim(self.db, Worker(name="test", datasets=("digits",)), LEASE_MS)
        if work is not None:  # else a worker that looked just then has it
            with closing(Database(self.postgres.url, CeleryBell(self.redis.url))) as db:
                finish_check(db, work, **PASSED[case])
        return submission_id

    def new(self, case: Case, sha256: str, name: str | None = None) -> NewSubmission:
        """Return a submission of the case, by default under a name that no other has, and have its runs cut."""
        self._submitted += 1
        new = NewSubmission(
            name=name or f"{case.model} {self._submitted}",
            dataset="digits",
            threat_model=case.threat_model,
            architecture=case.card.architecture,
            checkpoint_sha256=sha256,
        )
        with self.sql() as connection:
            cut(connection, new.name, case)
        return new

    def client(self, address: str | None = None) -> Client:
        """Return a client of the service, that calls from that address of the loopback network."""
        return Client(self.url, transport=httpx.HTTPTransport(local_address=address), timeout=60)

    def command(self, *arguments: str) -> str:
        """Run a command of the program beside the service, and return what it says on stdout."""
        command = [sys.executable, "-m", "gauntlet", *arguments]
        environment = self.environment() | {"PYTHONPATH": str(ROOT)}
        done = subprocess.run(command, env=environment, cwd=self.directory, capture_output=True, text=True, check=False)
        if done.returncode != 0:
            raise AssertionError(f"gauntlet {' '.join(arguments)} ended with {done.returncode}: {done.stderr}")
        return done.stdout

    def bells(self) -> int:
        """Return the number of messages that nobody has heard yet."""
        with redis.Redis.from_url(self.redis.url) as broker:
            waiting: int = broker.llen("gauntlet")
            return waiting

    def state(self, submission_id: str) -> State:
        """Return the state of a submission."""
        with self.db.snapshot() as session:
            return State(session.scalars(select(SubmissionRow.state).where(SubmissionRow.id == submission_id)).one())

    def view(self, submission_id: str) -> SubmissionView:
        """Return all that is shown of a submission."""
        return get_submission(self.db, submission_id)

    def shards(self, submission_id: str) -> list[ShardRow]:
        """Return the pieces of work of a submission, its checks first."""
        with self.db.snapshot() as session:
            rows = (
                select(ShardRow)
                .join(RunRow, RunRow.id == ShardRow.run_id)
                .where(RunRow.submission_id == submission_id)
                .order_by(ShardRow.run_id, ShardRow.kind, ShardRow.first)
            )
            return list(session.scalars(rows))

    def running(self, submission_id: str) -> ShardRow | None:
        """Return a piece of work of a submission that is in work, if there is one."""
        return next((shard for shard in self.shards(submission_id) if shard.state == "running"), None)

    def wait_for_attempt(self, submission_id: str, number: int) -> ShardRow:
        """Wait until a submission's work is in that attempt, and a process of its own does it; return the piece."""
        found: list[ShardRow] = []

        def there() -> bool:
            work = self.running(submission_id)
            if work is None or work.attempt != number or not self.worker_of(work).children:
                return False
            found[:] = [work]
            return True

        self.wait(there, f"attempt {number} of {submission_id}")
        return found[0]

    def hold(self, place: str) -> Callable[[], bool]:
        """Hold the next evaluation that comes to a place; return what tells whether one stands there.

        Args:
            place: "check", an attack, or "last word".
        """
        holds = self.directory / HOLDS
        (holds / place).touch()
        return lambda: any(_state_of(pid) == "T" for pid in self._held(place))

    def let_go(self, until: str | None = None) -> Callable[[], bool]:
        """Let all evaluations go on that are held, and hold none any more but the next one that comes to a place.

        Args:
            until: the place; None for none.
        Returns:
            What tells whether one stands there.
        """
        pids = self._held("*")
        for file in (self.directory / HOLDS).iterdir():
            file.unlink()
        held = self.hold(until) if until is not None else lambda: False  # before they go on, or they may be past it
        for pid in pids:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGCONT)
        return held

    def _held(self, place: str) -> list[int]:
        return [int(file.suffix[1:]) for file in (self.directory / HOLDS).glob(f"{place}.*")]

    def wait(self, condition: Callable[[], object], what: str, timeout_s: float = PATIENCE_S) -> float:
        """Wait until the condition holds and return the seconds; a database that is away does not fulfil it."""
        started = time.monotonic()
        while True:
            try:
                if condition():
                    return time.monotonic() - started
            except (DBAPIError, psycopg.OperationalError, GauntletError):
                pass
            if time.monotonic() - started > timeout_s:
                raise AssertionError(f"{what}: it did not happen in {timeout_s:g} s\n{self.logs()}")
            time.sleep(_LOOK_S)

    def wait_until_final(self, submission_id: str, state: State = State.PUBLISHED) -> None:
        """Wait until a submission has come to its end, which must be this one, and until nothing works on it."""
        self.let_go()
        self.wait(lambda: self.state(submission_id) in FINAL, f"the end of {submission_id}")
        view = self.view(submission_id)
        if view.state is not state:
            raise AssertionError(f"{submission_id} is {view.state}: {view.reason}\n{self.logs()}")
        self.wait(lambda: submission_id not in self._with_work_left(), f"the end of all work on {submission_id}")

    def _with_work_left(self) -> set[str]:
        with self.db.snapshot() as session:
            return with_work_left(session)

    def attacks_done(self, snapshot: str) -> int:
        """Return the number of attacks that were over when a snapshot was taken."""
        with self.blobs.path(snapshot).open("rb") as file:
            length = int.from_bytes(file.read(8), "little")
            header = httpx.Response(200, content=file.read(length)).json()
        rows: int = header["counts"]["shape"][0]
        return rows

    # What came of it.

    def evidence(self, submission_id: str) -> Evidence:
        """Return all that a submission has come to."""
        return evidence(self.db, self.blobs, submission_id)

    def undisturbed(self, case: Case) -> Evidence:
        """Return what the case comes to where nothing happens to it."""
        if case not in UNDISTURBED:
            submission_id = self.submit(case)
            self.wait_until_final(submission_id)
            shards = self.shards(submission_id)
            if any(shard.attempt != 1 for shard in shards) or self.wrongs(submission_id):
                raise AssertionError(f"a run that nobody disturbed was disturbed\n{self.logs()}")
            with self.db.snapshot() as session:
                run = session.scalars(select(RunRow).where(RunRow.submission_id == submission_id).limit(1)).one()
            view = self.view(submission_id)
            PASSED[case] = {
                "checks": view.checks,
                "policy": run.policy,
                "evidence": view.evidence,
                "parameters": run.parameters,
            }
            UNDISTURBED[case] = self.evidence(submission_id)
        return UNDISTURBED[case]

    def wrongs(self, submission_id: str) -> list[str]:
        """Return what is wrong with a submission in the database; nothing where all is well."""
        return wrongs(self.db, submission_id)

    def check(self, submission_id: str, case: Case) -> None:
        """Wait for a published result, and see that nothing of it is lost, doubled or different."""
        self.wait_until_final(submission_id)
        if found := self.wrongs(submission_id):
            raise AssertionError("\n".join([*found, self.logs()]))
        steps = [step.state for step in self.view(submission_id).transitions]
        if tuple(steps) != WAY:
            raise AssertionError(f"{submission_id} went through {steps}\n{self.logs()}")
        if differs := difference(self.evidence(submission_id), self.undisturbed(case)):
            raise AssertionError(f"{submission_id} differs from an undisturbed run: {differs}\n{self.logs()}")

    def logs(self, lines: int = 25) -> str:
        """Return the end of every log."""
        parts = [
            f"== {program.name}\n" + "\n".join(program.log_text.splitlines()[-lines:]) for program in self.programs
        ]
        return "\n".join(parts)


def share_seeds(db: Database) -> None:
    """Let a service draw by the same keys as every other in these tests, so that their results can be compared."""
    with db.transaction() as session:
        session.execute(update(MetaRow).where(MetaRow.key == SEED_SECRET).values(value="5eed" * 16))


def _state_of(pid: int) -> str | None:
    """Return the kernel's letter for what a process does, "T" where it is stopped; None where there is none."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return None
