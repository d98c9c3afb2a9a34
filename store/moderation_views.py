"""What maintainers look at before they decide, and the report of a submission that is not published yet."""

from __future__ import annotations

import json
from collections.abc import Sequence

from sqlalchemy import ColumnElement, Select, or_, select
from sqlalchemy.orm import Session

from benchmark.errors import NotFound
from benchmark.report import EvaluationReport
from benchmark.threat_models import official_board
from store.actors import Actor, require_maintainer, require_visible
from store.blobs import Blobs
from store.database import Database
from store.reports import read_report
from store.resubmission import may_repeat
from store.submission_views import view_submissions
from store.tables import AccountRow, EntryRow, ReportRow, RunRow, SubmissionRow
from store.views import Approval, Badge, Purpose, State, SubmissionView, View

MOST = 100
"""Most lines of each list."""


class SubmissionRights(View):
    """What somebody may decide about a submission as it stands."""

    decide: bool = False
    """Approve it, or decline to publish it."""
    withdraw: bool = False
    restore: bool = False
    reveal: bool = False
    evaluate_again: bool = False
    analyse: bool = False
    repeat: bool = False
    """Submit it again, with the file that is here."""
    step_in: bool = False
    """Change its place in the queue, take work away, give it up."""


class PendingView(View):
    """A submission that waits for a maintainer."""

    submission: SubmissionView
    sent_by: str
    """Name of the account; empty where nobody was signed in."""


class EntryLine(View):
    """An entry of any board that a maintainer may want to look at."""

    dataset: str
    threat_model: str
    model_id: str
    submission_id: str | None
    findings: tuple[str, ...]
    withdrawn_ms: int | None
    withdrawn_reason: str


class ModerationView(View):
    """Everything that waits for maintainers, or may need them."""

    pending: tuple[PendingView, ...]
    """The oldest first."""
    flagged: tuple[EntryLine, ...]
    """The newest first."""
    withdrawn: tuple[EntryLine, ...]
    """Those withdrawn last first."""


def view_moderation(db: Database, who: Actor) -> ModerationView:
    """Return what waits for maintainers, or may need them.

    Raises:
        SignInNeeded: they must say who they are.
        Forbidden: they are no maintainer.
    """
    require_maintainer(who)
    flagged = (
        EntryRow.badge == Badge.EVALUATED,
        EntryRow.withdrawn_ms.is_(None),
        or_(EntryRow.findings != "[]", EntryRow.potentially_unreliable.is_(True)),
    )
    with db.snapshot() as session:
        return ModerationView(
            pending=_pending(session, who),
            flagged=_lines(session, flagged, EntryRow.published_ms.desc()),
            withdrawn=_lines(session, (EntryRow.withdrawn_ms.is_not(None),), EntryRow.withdrawn_ms.desc()),
        )


def rights_on_submission(db: Database, submission_id: str, who: Actor, submitter: str = "") -> SubmissionRights:
    """Return what somebody may decide about a submission as it stands.

    Args:
        db: the database.
        submission_id: which one.
        who: who asks.
        submitter: for whom their work counts, see `store.submitters`.
    Raises:
        NotFound: there is no such submission, or they may not see it.
    """
    with db.snapshot() as session:
        row = require_visible(who, session.get(SubmissionRow, submission_id), submission_id)
        published = row.state == State.PUBLISHED and who.may_change(row)
        waits = row.state == State.EVALUATED and row.approval == Approval.PENDING
        return SubmissionRights(
            decide=waits and who.moderates,
            withdraw=published,
            restore=row.state == State.WITHDRAWN and who.moderates,
            reveal=row.anonymous and who.may_reveal(row),
            evaluate_again=published,
            analyse=published and official_board(row.dataset, row.threat_model).attacked,
            repeat=may_repeat(row, who, submitter),
            step_in=who.moderates,
        )


def get_submission_report(db: Database, blobs: Blobs, submission_id: str, who: Actor) -> EvaluationReport:
    """Return the report of a submission that is evaluated, whether it is published or not.

    Raises:
        NotFound: there is no such submission, they may not see it, or it is not evaluated.
    """
    with db.snapshot() as session:
        require_visible(who, session.get(SubmissionRow, submission_id), submission_id)
        report_id = session.scalar(_report_of(submission_id))
        if report_id is None:
            raise NotFound.because(
                "report", found="a submission without a report", expected="one that is evaluated",
                remedy="wait for the end of its evaluation",
            )  # fmt: skip
        return read_report(session, blobs, report_id)


def _report_of(submission_id: str) -> Select[int]:
    return (
        select(ReportRow.id)
        .join(RunRow, RunRow.id == ReportRow.run_id)
        .where(RunRow.submission_id == submission_id, RunRow.purpose == Purpose.RANKING)
        .order_by(RunRow.id.desc())
        .limit(1)
    )


def _pending(session: Session, who: Actor) -> tuple[PendingView, ...]:
    found = session.execute(
        select(SubmissionRow, AccountRow.name)
        .outerjoin(AccountRow, AccountRow.id == SubmissionRow.owner_id)
        .where(SubmissionRow.state == State.EVALUATED, SubmissionRow.approval == Approval.PENDING)
        .order_by(SubmissionRow.id)
        .limit(MOST)
    ).all()
    views = view_submissions(session, [row for row, _ in found], who)
    names = [name or "" for _, name in found]
    return tuple(PendingView(submission=view, sent_by=name) for view, name in zip(views, names, strict=True))


def _lines(
    session: Session, conditions: Sequence[ColumnElement[bool]], order: ColumnElement[int | None]
) -> tuple[EntryLine, ...]:
    rows = session.scalars(select(EntryRow).where(*conditions).order_by(order, EntryRow.id.desc()).limit(MOST))
    return tuple(
        EntryLine(
            dataset=row.dataset,
            threat_model=row.threat_model,
            model_id=row.model_id,
            submission_id=row.submission_id,
            findings=tuple(json.loads(row.findings)),
            withdrawn_ms=row.withdrawn_ms,
            withdrawn_reason=row.withdrawn_reason,
        )
        for row in rows
    )
