"""The moments at which things are killed: a check at work, the beginning of each attack, a result half published."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager, suppress

import psycopg

from store.tables import ShardRow
from tests.faults.cases import ATTACKS, USUAL
from tests.faults.stack import Stack
from tests.servers import libpq

FINISH = "finish"
BOUNDARIES = ("check", *ATTACKS, FINISH)


def started(stack: Stack, boundary: str) -> str:
    """Submit the usual case, with a check at work where the boundary is in one, and return the submission's id."""
    return stack.submit(USUAL) if boundary == BOUNDARIES[0] else stack.begin(USUAL)


@contextmanager
def reached(stack: Stack, submission_id: str, boundary: str) -> Iterator[ShardRow]:
    """Hold the work on a submission at a boundary until the end of the block, and yield the piece that stands there."""
    if boundary == FINISH:
        with _publishing(stack, submission_id) as work:
            yield work
    else:
        yield wait_at(stack, submission_id, boundary)
        stack.let_go()


def wait_at(stack: Stack, submission_id: str, boundary: str) -> ShardRow:
    """Wait until the work on a submission has just begun with a part of it, hold it there, and return that piece.

    It goes on when the stack lets it go, or waits for the submission's end.

    Args:
        stack: where it runs.
        submission_id: whose work.
        boundary: "check", or the name of an attack: for the first, when it runs; for the others, when the snapshot that
            was taken at its beginning is stored.
    """
    found: list[ShardRow] = []
    held = stack.hold(boundary)

    def there() -> bool:
        work = stack.running(submission_id)
        if work is None or not held():
            return False
        found[:] = [work]
        if boundary == BOUNDARIES[0]:
            return work.kind == "check"
        number = ATTACKS.index(boundary)
        if number == 0:
            return work.kind == "shard" and json.loads(work.progress or "{}").get("attack") == boundary
        return work.checkpoint is not None and stack.attacks_done(work.checkpoint) >= number

    stack.wait(there, f"{boundary} of {submission_id}")
    return found[0]


@contextmanager
def _publishing(stack: Stack, submission_id: str) -> Iterator[ShardRow]:
    """Hold a worker in the middle of the transaction that publishes its result."""
    wait_at(stack, submission_id, ATTACKS[-1])
    with merging(stack, submission_id):
        yield next(shard for shard in stack.shards(submission_id) if shard.kind == "shard")


@contextmanager
def merging(stack: Stack, submission_id: str) -> Iterator[None]:
    """Let the work on a submission go on to where its report is to be stored, and hold it there."""
    connection = psycopg.connect(libpq(stack.postgres.url))
    try:
        connection.execute("LOCK TABLE report IN SHARE MODE")
        stack.let_go()
        stack.wait(lambda: _held_up(stack), f"the end of {submission_id}")
        yield
    finally:
        with suppress(psycopg.OperationalError):  # the server may have been killed
            connection.rollback()
        connection.close()


def _held_up(stack: Stack) -> bool:
    with stack.sql() as connection:
        waiting = connection.execute(
            "SELECT count(*) FROM pg_locks WHERE relation = 'report'::regclass AND NOT granted"
        ).fetchone()
    return waiting is not None and waiting[0] != 0
