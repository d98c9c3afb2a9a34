"""The log of a submission: what happened to it, for those who sent it."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from datetime import UTC, datetime

from sqlalchemy import select
from sqlalchemy.orm import Session

from store.actors import Actor, require_visible
from store.database import Database
from store.queue import analysis_of
from store.states import submission_not_found
from store.tables import AuditRow, RunRow, ShardRow, SubmissionRow, TransitionRow
from store.views import Progress, Purpose, View

LONGEST = 500
FAILED_ATTEMPT = "attempt_failed"
"""What the audit log calls an attempt that came to nothing and is made again."""
_PATH = re.compile(r"(?<![\w.])(?:[A-Za-z]:)?(?:[/\\][\w.@+-]+){2,}[/\\]?")
_AT_WORK = {
    "queued": "waits",
    "running": "runs",
    "done": "is done",
    "failed": "has failed",
    "cancelled": "is cancelled",
}


class LogLine(View):
    """Something that happened.

    Args:
        at_ms: when, by the database's clock; None for how work stands now.
        text: what, in one line.
    """

    at_ms: int | None
    text: str

    def as_text(self) -> str:
        """Return the line with its time, in UTC."""
        if self.at_ms is None:
            return f"now                   {self.text}"
        return f"{datetime.fromtimestamp(self.at_ms / 1000, UTC):%Y-%m-%d %H:%M:%S}Z  {self.text}"


def read_log(db: Database, submission_id: str, who: Actor | None = None) -> tuple[LogLine, ...]:
    """Return what happened to a submission, in order, and last how its pieces of work stand.

    Args:
        db: the database.
        submission_id: which one.
        who: who asks; None for the service itself.
    Raises:
        NotFound: there is no such submission, or its log is for others.
    """
    with db.snapshot() as session:
        row = require_visible(who, session.get(SubmissionRow, submission_id), submission_id)
        if who is not None and not who.may_read_log(row):
            raise submission_not_found(submission_id)
        happened = [*_states(session, submission_id), *_attempts(session, submission_id)]
        return (*sorted(happened, key=lambda line: line.at_ms or 0), *_work(session, submission_id))


def presentable(reason: str) -> str:
    """Return a reason in one short line, without paths of the machine that it comes from."""
    line = " ".join("".join(char if char.isprintable() else " " for char in reason).split())
    line = _PATH.sub("…", line)
    return line if len(line) <= LONGEST else f"{line[: LONGEST - 1]}…"


def _states(session: Session, submission_id: str) -> Iterator[LogLine]:
    steps = select(TransitionRow).where(TransitionRow.submission_id == submission_id).order_by(TransitionRow.id)
    for step in session.scalars(steps):
        yield LogLine(at_ms=step.at_ms, text=presentable(f"{step.state}: {step.reason}" if step.reason else step.state))


def _attempts(session: Session, submission_id: str) -> Iterator[LogLine]:
    failed = (
        select(AuditRow)
        .where(AuditRow.subject == f"submission {submission_id}", AuditRow.action == FAILED_ATTEMPT)
        .order_by(AuditRow.id)
    )
    for row in session.scalars(failed):
        detail = json.loads(row.detail)
        text = f"attempt {detail['attempt']} at {detail['piece']} came to nothing and is made again: {detail['reason']}"
        yield LogLine(at_ms=row.at_ms, text=presentable(text))


def _work(session: Session, submission_id: str) -> Iterator[LogLine]:
    pieces = (
        select(ShardRow)
        .join(RunRow, RunRow.id == ShardRow.run_id)
        .where(RunRow.submission_id == submission_id, RunRow.purpose == Purpose.RANKING)
        .order_by(ShardRow.id)
    )
    for piece in session.scalars(pieces):
        text = f"{name_of(piece.kind, piece.first, piece.last)} {_AT_WORK[piece.state]}, attempt {piece.attempt}"
        if piece.progress is not None and piece.state == "running":
            progress = Progress.model_validate_json(piece.progress)
            text += (
                f", {progress.attack or 'beginning'}: {progress.points_done} of {piece.last - piece.first} points done"
            )
        yield LogLine(at_ms=None, text=text)


def name_of(kind: str, first: int, last: int) -> str:
    """Return what a piece of work is called."""
    if kind == "analysis":
        return f"the analysis {analysis_of(first)}"
    return {"check": "the check", "judge": "the second judgement"}.get(kind, f"points {first} to {last - 1}")
