"""Another evaluation of a published entry: by its board's present protocol, from the same file, for the same row.

It is a run beside the one whose numbers stand, and replaces them in one transaction; until then, and where nothing
comes of it, the entry is what it was.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

from sqlalchemy import Select, select
from sqlalchemy.orm import Session

from benchmark.errors import Conflict
from benchmark.merging import worst_case
from benchmark.report import CheckOutcome, EvaluationReport, Points, canonical_json
from benchmark.threat_models import official_board
from store.actors import Actor, require_changeable
from store.audit import note
from store.best_known import name_sources, points_sha256, remember
from store.blobs import Blobs
from store.checkpoints import require_file
from store.corruption_errors import score_errors
from store.database import Database, take_turns
from store.entry_values import in_doubt, set_numbers
from store.looks import FOLLOW_UP_PROTOCOL, queue_follow_up
from store.queue import AGAIN
from store.reports import store_report
from store.states import lock_submission
from store.submission_views import view_submissions
from store.submissions import queue_evaluation, require_room
from store.tables import EntryRow, RunRow, SubmissionRow
from store.views import Purpose, State, SubmissionView

OWN_SOURCE = "Evaluated here"


def evaluate_again(db: Database, blobs: Blobs, submission_id: str, who: Actor) -> SubmissionView:
    """Queue another evaluation of a published entry by its board's present protocol.

    Equal files draw by equal keys, so by the same protocol nobody gets luckier numbers. For all but maintainers it
    counts among their waiting submissions.

    Raises:
        NotFound: there is no such submission, or they may not see it.
        SignInNeeded: they must say who they are.
        Forbidden: it is not theirs.
        Conflict: it is not published, is evaluated again already, or its file is gone.
        QueueFull: too many submissions are waiting.
    """
    with db.transaction() as session:
        take_turns(session, "submit")
        row = require_changeable(who, lock_submission(session, submission_id), submission_id)
        board = official_board(row.dataset, row.threat_model)
        if row.state != State.PUBLISHED:
            raise Conflict.because(
                "state", found=row.state, expected="published", remedy="evaluate again what is on its board",
            )  # fmt: skip
        if session.scalar(_open_again(submission_id)) is not None:
            raise Conflict.because(
                "submission", found="another evaluation that is under way", expected="none", remedy="wait for its end"
            )
        require_file(row, blobs)
        if not who.moderates:
            require_room(session, row.submitter)
        queue_evaluation(session, row, board, Purpose.AGAIN, AGAIN)
        note(session, who.account_id, "re-evaluate", f"submission {submission_id}", protocol=board.protocol)
        return view_submissions(session, [row], who)[0]


@dataclass(frozen=True)
class _Replacement:
    """What an evaluation comes to together with all that was found before.

    Args:
        report: of the evaluation.
        before: the worst case so far, point by point; None where that was within another budget.
        after: the worst case from now on.
    """

    report: EvaluationReport
    before: Points | None
    after: Points

    @property
    def newly_broken(self) -> int | None:
        """Points that nobody had broken before; None where nothing before is comparable."""
        if self.before is None:
            return None
        robust = dict(zip(self.before.index, self.before.robust, strict=True))
        verdicts = zip(self.after.index, self.after.robust, strict=True)
        return sum(robust.get(index, False) and not still for index, still in verdicts)


def replace_numbers(db: Database, blobs: Blobs, run_id: int, report: EvaluationReport, worst: Points) -> None:
    """Replace an entry's numbers by those of another evaluation; what was found of its file before still counts.

    Args:
        db: the database.
        blobs: where points lie.
        run_id: the evaluation's run.
        report: what it found.
        worst: the worst case, point by point, with what its second attack broke.
    """
    blobs.put(report.points.to_bytes())
    while True:
        with db.snapshot() as session:
            run = session.get_one(RunRow, run_id)
            entry = session.scalars(select(EntryRow).where(EntryRow.submission_id == run.submission_id)).one()
            present, comparable = points_sha256(session, entry), entry.epsilon == run.epsilon
        before = Points.from_bytes(blobs.read(present)) if comparable else None
        replacement = _Replacement(report, before, _with_known(worst, before))
        blobs.put(replacement.after.to_bytes())
        with db.transaction() as session:
            submission = lock_submission(session, run.submission_id)
            entry = session.get_one(EntryRow, entry.id, with_for_update=True, populate_existing=True)
            if points_sha256(session, entry) != present:
                continue  # an evaluation by others came in between, and counts as well
            run = session.get_one(RunRow, run_id, with_for_update=True, populate_existing=True)
            if not run.concluded and submission.state == State.PUBLISHED:
                _replace(session, submission, entry, run, replacement)
            return


def _replace(
    session: Session, submission: SubmissionRow, entry: EntryRow, run: RunRow, replacement: _Replacement
) -> None:
    report, after, attacked = replacement.report, replacement.after, replacement.report.corruptions is None
    run.concluded = True
    run.checks = canonical_json([check.model_dump(mode="json") for check in report.checks]).decode()
    if any(check.outcome is CheckOutcome.REJECTED for check in report.checks):
        return  # it breaks a rule by now: the entry stays as it is, and its submission's page says why
    run.purpose = Purpose.RANKING
    set_numbers(entry, run, report, store_report(session, run, report))
    own = f"{OWN_SOURCE}, {run.protocol} (run {run.id})"
    remember(session, entry, own, report.robust_accuracy, replacement.newly_broken)
    entry.best_known_robust_accuracy = sum(after.robust) / report.n_points if attacked else report.robust_accuracy
    entry.best_known_source = own if replacement.before is None else name_sources(session, entry)
    entry.best_known_sha256 = hashlib.sha256(after.to_bytes()).hexdigest() if after != report.points else None
    session.flush()
    if not attacked:
        score_errors(session, entry)
    elif in_doubt(report) and not _was_looked_at(session, submission.id):
        queue_follow_up(session, submission, run, report)


def _with_known(worst: Points, before: Points | None) -> Points:
    """Return the worst case where examples found before count as well: the file is the same, so they still hold."""
    if before is None:
        return worst
    rows = zip(before.index, before.broken_by, before.distance, strict=True)
    points = set(worst.index)
    known = {
        index: (by, distance)
        for index, by, distance in rows
        if by is not None and by != "clean" and distance is not None and index in points
    }
    return worst_case(worst, known)


def _open_again(submission_id: str) -> Select[int]:
    return select(RunRow.id).where(
        RunRow.submission_id == submission_id, RunRow.purpose == Purpose.AGAIN, RunRow.concluded.is_(False)
    )


def _was_looked_at(session: Session, submission_id: str) -> bool:
    """Tell whether a closer look by the present protocol is there: another one would be at the same points."""
    look = select(RunRow.id).where(RunRow.submission_id == submission_id, RunRow.protocol == FOLLOW_UP_PROTOCOL)
    return session.scalar(look.limit(1)) is not None
