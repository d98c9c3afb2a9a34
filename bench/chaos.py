"""Kill parts of a whole service at random while it evaluates, and see that nothing is lost, doubled or different.

    python -m bench.chaos --runs 20 --seed 0

Children, workers, the sweeper, the service, Redis and PostgreSQL are ended by SIGKILL and started again after a moment.
The seed decides in which order and after which pauses; how far the work is by then is the machine's own affair. What
stands in its last attempt is spared: work that nobody survives three times is given up by rule, and that is another
test's subject.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import signal
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from types import TracebackType
from typing import Self

import psycopg
from sqlalchemy import func, select
from sqlalchemy.exc import DBAPIError

from benchmark.errors import GauntletError
from model_zoo.registry import bundled_checkpoint
from store.claims import MAX_ATTEMPTS
from store.tables import EntryRow, ShardRow, SubmissionRow
from store.views import Badge
from tests.faults.cases import FLAGGED, USUAL, Case
from tests.faults.evidence import FINAL, WAY, difference, with_work_left
from tests.faults.stack import Stack

CASES = (USUAL, replace(USUAL, blocks=4), FLAGGED)
OPEN_AT_ONCE = 4
VICTIMS = ("child", "worker", "service", "redis", "postgres", "sweeper")
WEIGHTS = (4, 3, 2, 2, 2, 1)
PAUSE_S = (0.5, 4.0)
DOWN_S = (0.0, 2.0)
"""How long a killed part stays away: less than a lease, so that an outage by itself costs no attempt."""
LIMIT_S = 3_600.0
_LOOK_S = 0.5


@dataclass
class Verdict:
    """What came of it.

    Args:
        seed: of the order of the kills.
        runs: submissions.
        killed: how many times each part was.
        attempts: pieces of work by the attempts that they took.
        seconds: from the first submission to the end of the last.
        wrong: everything that should not be; empty where all is well.
    """

    seed: int
    runs: int
    killed: dict[str, int] = field(default_factory=dict)
    attempts: dict[int, int] = field(default_factory=dict)
    seconds: float = 0.0
    wrong: list[str] = field(default_factory=list)


class Reaper:
    """Kills in the background, for the time of a ``with`` block; afterwards everything runs again.

    Args:
        stack: whose parts.
        seed: of the order and the pauses.
        say: told what is killed.
    """

    def __init__(self, stack: Stack, seed: int, say: Callable[[str], None]) -> None:
        self._stack = stack
        self._random = random.Random(seed)  # noqa: S311 - nothing secret
        self._say = say
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._reap, name="reaper")
        self._error: BaseException | None = None
        self.killed: Counter[str] = Counter()

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop.set()
        self._thread.join()
        self._stack.mend()
        if self._error is not None:
            raise self._error

    def _reap(self) -> None:
        try:
            while not self._stop.wait(self._random.uniform(*PAUSE_S)):
                (victim,) = self._random.choices(VICTIMS, WEIGHTS)
                which, down = self._random.random(), self._random.uniform(*DOWN_S)
                if self._kill(victim, which):
                    self.killed[victim] += 1
                    self._say(f"killed: {victim}")
                    self._stop.wait(down)
                    self._stack.mend()
        except BaseException as error:  # noqa: BLE001 - raised again at the end of the block
            self._error = error

    def _kill(self, victim: str, which: float) -> bool:
        """Kill a part, the one at that place in [0, 1) of those there are; tell whether there was one to be killed."""
        stack = self._stack
        last = self._workers_in_their_last_attempt()
        if victim == "service":
            stack.service.kill()
        elif victim == "sweeper":
            stack.sweeper.kill()
        elif victim == "redis":
            stack.redis.kill()
        elif victim == "postgres":
            if last:
                return False
            stack.postgres.kill()
        else:
            workers = [worker for worker in stack.workers if worker.said("worker") not in last]
            if victim == "worker":
                if not workers:
                    return False
                workers[int(which * len(workers))].kill()
            else:
                children = [child for worker in workers for child in worker.children]
                if not children:
                    return False
                os.kill(children[int(which * len(children))], signal.SIGKILL)
        return True

    def _workers_in_their_last_attempt(self) -> set[str | None]:
        running = select(ShardRow.worker).where(ShardRow.state == "running", ShardRow.attempt >= MAX_ATTEMPTS)
        with self._stack.db.snapshot() as session:
            return set(session.scalars(running))


def chaos(stack: Stack, runs: int, seed: int, say: Callable[[str], None]) -> Verdict:
    """Have models evaluated while parts are killed, and compare all that came of it with undisturbed runs.

    Args:
        stack: with all of it running.
        runs: submissions, by turns of each case.
        seed: of the kills.
        say: told what happens.
    """
    for case in CASES:
        stack.undisturbed(case)
        say(f"undisturbed: {case.model}, {case.points} points in {case.blocks}")
    submitted: dict[str, Case] = {}
    started = time.monotonic()
    with Reaper(stack, seed, say) as reaper:
        while len(submitted) < runs or _open(stack, submitted):
            if time.monotonic() - started > LIMIT_S:
                break
            if len(submitted) < runs and _open(stack, submitted) < OPEN_AT_ONCE:
                case = CASES[len(submitted) % len(CASES)]
                submission_id = submit(stack, case, f"Chaos {len(submitted)}")
                submitted[submission_id] = case
                say(f"submitted: {len(submitted)} of {runs}, {submission_id}")
            else:
                time.sleep(_LOOK_S)
    verdict = Verdict(seed, runs, dict(reaper.killed), seconds=time.monotonic() - started)
    verdict.wrong = [
        wrong for submission_id, case in submitted.items() for wrong in _wrongs(stack, submission_id, case)
    ]
    verdict.wrong += _wrong_altogether(stack)
    verdict.attempts = _attempts(stack, list(submitted))
    return verdict


def submit(stack: Stack, case: Case, name: str) -> str:
    """Submit as a person would whose service may break off at any moment; return the one submission's id."""
    deadline = time.monotonic() + LIMIT_S
    while time.monotonic() < deadline:
        try:
            with stack.client() as client:
                stored = {view.submission.name: view.id for view in client.list_submissions()}
                if name in stored:
                    return stored[name]
                sha256 = client.upload(bundled_checkpoint(case.card)).sha256
                return client.submit(stack.new(case, sha256, name)).id
        except (GauntletError, psycopg.OperationalError, RuntimeError):
            time.sleep(_LOOK_S)
    raise RuntimeError(f"{name} could not be submitted")


def _open(stack: Stack, submitted: dict[str, Case]) -> int:
    """The number of submissions that are not final or have work left; all of them while the database is away."""
    try:
        with stack.db.snapshot() as session:
            final = set(session.scalars(select(SubmissionRow.id).where(SubmissionRow.state.in_(FINAL))))
            busy = with_work_left(session)
    except DBAPIError:
        return len(submitted)
    return sum(1 for submission_id in submitted if submission_id not in final or submission_id in busy)


def _wrongs(stack: Stack, submission_id: str, case: Case) -> list[str]:
    wrong = stack.wrongs(submission_id)
    view = stack.view(submission_id)
    steps = tuple(step.state for step in view.transitions)
    if steps != WAY:
        wrong.append(f"{submission_id} went through {', '.join(steps)}: {view.reason}")
    elif differs := difference(stack.evidence(submission_id), stack.undisturbed(case)):
        wrong.append(f"{submission_id} ({case.model}) differs from an undisturbed run: {differs}")
    return wrong


def _wrong_altogether(stack: Stack) -> list[str]:
    """What no submission by itself can show: entries without one, files that are missing or not what they should be."""
    wrong = []
    with stack.db.snapshot() as session:
        submissions = session.scalars(select(func.count()).select_from(SubmissionRow)).one()
        names = session.scalars(select(func.count(SubmissionRow.name.distinct()))).one()
        evaluated = session.scalars(select(func.count()).where(EntryRow.badge == Badge.EVALUATED)).one()
        examples = {sha256 for sha256 in session.scalars(select(ShardRow.x_adv_sha256)) if sha256 is not None}
    if not submissions == names == evaluated:
        wrong.append(f"{submissions} submissions of {names} names made {evaluated} entries")
    wrong += [f"file {sha256} is missing" for sha256 in sorted(examples) if not stack.blobs.exists(sha256)]
    return wrong


def _attempts(stack: Stack, submitted: Sequence[str]) -> dict[int, int]:
    return dict(sorted(Counter(shard.attempt for one in submitted for shard in stack.shards(one)).items()))


def table(verdict: Verdict) -> str:
    """Return the verdict as Markdown."""
    kills = ", ".join(f"{verdict.killed.get(victim, 0)} {victim}" for victim in VICTIMS)
    attempts = ", ".join(f"{count} in {number}" for number, count in verdict.attempts.items())
    wrong = len(verdict.wrong) or "nothing"
    return "\n".join(
        (
            "| seed | submissions | killed | pieces of work by attempts | seconds | wrong |",
            "|---|---|---|---|---|---|",
            f"| {verdict.seed} | {verdict.runs} | {kills} | {attempts} | {verdict.seconds:.0f} | {wrong} |",
        )
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=20, help="submissions (default 20)")
    parser.add_argument("--seed", type=int, default=0, help="of the order of the kills (default 0)")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--json", type=Path, help="also write the verdict to this file")
    chosen = parser.parse_args()
    started = time.monotonic()

    def say(line: str) -> None:
        print(f"{time.monotonic() - started:7.1f} s  {line}", file=sys.stderr, flush=True)

    with Stack(workers=chosen.workers) as stack:
        verdict = chaos(stack, chosen.runs, chosen.seed, say)
        if verdict.wrong:
            print(stack.logs(), file=sys.stderr)
    print(table(verdict))
    for wrong in verdict.wrong:
        print(f"- {wrong}")
    if chosen.json:
        chosen.json.write_text(json.dumps(asdict(verdict), indent=1) + "\n")
    if verdict.wrong:
        sys.exit(1)
    print("\nEvery submission came to its end; nothing was lost, doubled or different.")


if __name__ == "__main__":
    main()
