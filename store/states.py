"""Where a submission may go from where it stands: the only code that changes a submission's state."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

from sqlalchemy.orm import Session
from sqlalchemy.sql.selectable import ForUpdateParameter

from benchmark.errors import Conflict, NotFound
from store.database import database_now_ms
from store.submission_notices import tell_owner
from store.tables import SubmissionRow, TransitionRow
from store.views import State

Fault = Literal["model", "service"]

LEGAL: Mapping[State, frozenset[State]] = {
    State.RECEIVED: frozenset({State.CHECKING, State.FAILED, State.CANCELLED}),
    State.CHECKING: frozenset({State.REJECTED, State.QUEUED, State.FAILED, State.CANCELLED}),
    State.QUEUED: frozenset({State.RUNNING, State.FAILED, State.CANCELLED}),
    # A check that needs the whole run, such as replaying its first batch, can still reject the model after it.
    State.RUNNING: frozenset({State.EVALUATED, State.REJECTED, State.FAILED, State.CANCELLED}),
    # Where a maintainer must agree to its publication, a submission rests here until one has decided.
    State.EVALUATED: frozenset({State.PUBLISHED, State.REJECTED, State.FAILED}),
    State.PUBLISHED: frozenset({State.WITHDRAWN}),
    State.REJECTED: frozenset(),
    State.WITHDRAWN: frozenset({State.PUBLISHED}),
    State.FAILED: frozenset(),
    State.CANCELLED: frozenset(),
}
"""Every state, and the states that may follow it."""

OPEN: tuple[State, ...] = (State.RECEIVED, State.CHECKING, State.QUEUED, State.RUNNING, State.EVALUATED)
"""States of a submission that is still on its way to a result."""

UNDER_WAY: tuple[State, ...] = (State.RECEIVED, State.CHECKING, State.QUEUED, State.RUNNING)
"""States in which it still moves by itself. What is evaluated is published at once, or rests until somebody decides."""

WAITING: tuple[State, ...] = (State.RECEIVED, State.QUEUED)
"""States in which nothing works on the submission yet."""


def move(
    session: Session,
    submission_id: str,
    to: State,
    *,
    reason: str = "",
    fault: Fault | None = None,
    by: str | None = None,
) -> None:
    """Change a submission's state, write the audit row, and the message to its owner.

    Args:
        session: the transaction that the change belongs to.
        submission_id: whose state.
        to: the new state.
        reason: why, for everything but success.
        fault: who is to blame where it did not succeed.
        by: the account that does it, which need not be told; None for the service.
    Raises:
        NotFound: there is no such submission.
        Conflict: the state may not follow the present one.
    """
    row = lock_submission(session, submission_id)
    present = State(row.state)
    if to not in LEGAL[present]:
        raise _illegal(present, to)
    now = database_now_ms(session)
    row.state, row.reason, row.fault, row.updated_ms = to, reason, fault, now
    session.add(TransitionRow(submission_id=submission_id, state=to, reason=reason, at_ms=now))
    tell_owner(session, row, to, by)
    session.flush()


def lock_submission(session: Session, submission_id: str, *, wait: bool = True) -> SubmissionRow:
    """Return a submission as it is now, and keep others from changing it until the transaction ends.

    Whoever changes a submission and its shards locks the submission first; in the other order two of them could wait
    for each other.

    Args:
        session: the transaction.
        submission_id: whose row.
        wait: for one who holds a shard already: False raises OperationalError where somebody else has the submission.
    Raises:
        NotFound: there is no such submission.
    """
    lock: ForUpdateParameter = {"nowait": not wait}
    row = session.get(SubmissionRow, submission_id, with_for_update=lock, populate_existing=True)
    if row is None:
        raise submission_not_found(submission_id)
    return row


def submission_not_found(submission_id: str) -> NotFound:
    """Return the error for an id that names no submission."""
    return NotFound.because(
        "submission",
        found=repr(submission_id[:80]),
        expected="the id of a submission",
        remedy="look the id up in the list of submissions",
    )


def _illegal(present: State, to: State) -> Conflict:
    allowed = " or ".join(sorted(LEGAL[present])) or "no further change"
    return Conflict.because(
        "state", found=present.value, expected=f"a state before {to.value}", remedy=f"{present.value} allows {allowed}"
    )
