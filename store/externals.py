"""Evaluations by others: adversarial examples for an entry, judged here instead of being believed."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from benchmark.errors import Conflict, InvalidSubmission, NotFound
from benchmark.threat_models import official_board
from benchmark.verdicts import Verdict
from store.admission import LONGEST, Admission, check_url, cleaned_text
from store.blobs import Blobs
from store.database import Database, database_now_ms, new_id, take_turns
from store.errors import QueueFull
from store.queue import NORMAL, queue_work
from store.runs import add_run
from store.tables import EntryRow, ExternalRow, ReportRow, RunRow, SubmissionRow
from store.views import Badge, ExternalState, ExternalView, NewExternal, Purpose

PROTOCOL = "external-1"
"""Label of the runs that judge examples of others."""
MAX_OPEN = 200
MAX_OPEN_EACH = 10
"""Evaluations that may wait to be judged, of all and of one submitter."""
LONGEST_ATTACK = 2_000
_FIELDS = ("title", "authors", "paper_url")


def submit_external(
    db: Database,
    blobs: Blobs,
    place: tuple[str, str, str],
    new: NewExternal,
    admission: Admission,
    *,
    submitter: str = "",
) -> ExternalView:
    """Take an evaluation of an entry in and queue the judging of its examples.

    Args:
        db: the database.
        blobs: where the examples are.
        place: data set, threat model and name of the entry.
        new: what was sent.
        admission: looks at the file.
        submitter: for whom it counts in the fair share, see `store.submitters`.
    Raises:
        NotFound: there is no such board or entry.
        Conflict: the entry was not evaluated here, or its board has no attacker.
        InvalidSubmission: a field breaks a rule.
        InvalidExamples: the file is no sound file of examples, or not of so many images of the data set.
        QueueFull: too many are waiting.
    """
    new = _cleaned(new)
    with db.snapshot() as session:
        entry = _evaluated_entry(session, place)
        points = _points_of(session, entry)
    indices = _indices(new, points)
    _check_file(new, blobs, admission, place[0], len(indices))
    with db.transaction() as session:
        take_turns(session, "external")
        entry = _evaluated_entry(session, place)
        _require_room(session, submitter)
        return _insert(session, entry, new, indices, points, submitter)


def get_external(db: Database, external_id: str) -> ExternalView:
    """Return an evaluation with what came of it.

    Raises:
        NotFound: there is none.
    """
    with db.snapshot() as session:
        row = session.get(ExternalRow, external_id)
        if row is None:
            raise NotFound.because(
                "external",
                found=repr(external_id[:80]),
                expected="the id of an evaluation by others",
                remedy="look it up on the page of the entry",
            )
        return view_externals(session, [row])[0]


def list_externals(db: Database, place: tuple[str, str, str], limit: int) -> tuple[ExternalView, ...]:
    """Return the newest evaluations by others of an entry, the newest first.

    Raises:
        NotFound: there is no such entry.
    """
    with db.snapshot() as session:
        entry = _entry(session, place)
        newest = select(ExternalRow).where(ExternalRow.entry_id == entry.id).order_by(ExternalRow.id.desc())
        return view_externals(session, session.scalars(newest.limit(limit)).all())


def points_to_attack(db: Database, place: tuple[str, str, str]) -> int:
    """Return how many points an entry's evaluation has.

    Raises:
        NotFound: there is no such board or entry.
        Conflict: the entry was not evaluated here, or its board has no attacker.
    """
    with db.snapshot() as session:
        return _points_of(session, _evaluated_entry(session, place))


def require_external_room(db: Database, place: tuple[str, str, str], new: NewExternal, submitter: str) -> int:
    """Raise what `submit_external` would raise for anything but the file; return how many images that must hold."""
    new = _cleaned(new)
    with db.snapshot() as session:
        points = _points_of(session, _evaluated_entry(session, place))
        _require_room(session, submitter)
    return len(_indices(new, points))


def view_externals(session: Session, rows: Sequence[ExternalRow]) -> tuple[ExternalView, ...]:
    """Show evaluations by others in the given order, with as many queries for many as for one."""
    entries = {
        entry.id: entry
        for entry in session.scalars(select(EntryRow).where(EntryRow.id.in_([row.entry_id for row in rows])))
    }
    runs = {run.id: run for run in session.scalars(select(RunRow).where(RunRow.id.in_([row.run_id for row in rows])))}
    return tuple(_view(row, entries[row.entry_id], runs[row.run_id]) for row in rows)


def _cleaned(new: NewExternal) -> NewExternal:
    fields = {field: cleaned_text(field, getattr(new, field), LONGEST[field]) for field in _FIELDS}
    fields["attack"] = cleaned_text("attack", new.attack, LONGEST_ATTACK, keep="\n")
    check_url(fields["paper_url"])
    if not fields["title"] and not fields["attack"]:
        raise InvalidSubmission.because(
            "attack", found="nothing", expected="how the examples were found, or the title of the paper",
            remedy="name the attack in a few words",
        )  # fmt: skip
    claim = new.claimed_robust_accuracy
    if claim is not None and not (math.isfinite(claim) and 0 <= claim <= 1):
        raise InvalidSubmission.because(
            "claimed_robust_accuracy", found=claim, expected="a number from 0 to 1",
            remedy="give a fraction, or leave it out",
        )  # fmt: skip
    return new.model_copy(update=fields)


def _evaluated_entry(session: Session, place: tuple[str, str, str]) -> EntryRow:
    entry = _entry(session, place)
    if entry.badge != Badge.EVALUATED or entry.submission_id is None:
        raise Conflict.because(
            "model", found="an entry that was not evaluated here", expected="one with the badge evaluated_here",
            remedy="submit the model first: examples can only be judged where its checkpoint is",
        )  # fmt: skip
    if entry.withdrawn_ms is not None:
        raise Conflict.because(
            "model", found="an entry that was withdrawn", expected="one that ranks",
            remedy="choose another entry: nothing is held against this one any more",
        )  # fmt: skip
    if session.get_one(SubmissionRow, entry.submission_id).checkpoint_deleted_ms is not None:
        raise Conflict.because(
            "checkpoint", found="one that its owner has deleted", expected="an entry whose checkpoint is kept",
            remedy="choose another entry: without the checkpoint no example can be judged",
        )  # fmt: skip
    if not official_board(entry.dataset, entry.threat_model).attacked:
        raise Conflict.because(
            "threat_model", found=f"{entry.dataset}/{entry.threat_model}", expected="a board with an attacker",
            remedy="send examples for the model's entry on such a board: on this one nobody attacks",
        )  # fmt: skip
    return entry


def _entry(session: Session, place: tuple[str, str, str]) -> EntryRow:
    dataset, threat_model, model_id = place
    entry = session.scalars(
        select(EntryRow).where(
            EntryRow.dataset == dataset, EntryRow.threat_model == threat_model, EntryRow.model_id == model_id
        )
    ).one_or_none()
    if entry is None:
        raise NotFound.because(
            "model", found=repr(model_id[:80]), expected=f"an entry of {dataset}/{threat_model}",
            remedy="choose one from the leaderboard",
        )  # fmt: skip
    return entry


def _points_of(session: Session, entry: EntryRow) -> int:
    """Return how many points the entry's evaluation has."""
    return _run_of(session, entry).points


def _run_of(session: Session, entry: EntryRow) -> RunRow:
    """Return the evaluation whose numbers an entry bears."""
    run = select(RunRow).join(ReportRow, ReportRow.run_id == RunRow.id).where(ReportRow.id == entry.report_id)
    return session.scalars(run).one()


def _indices(new: NewExternal, points: int) -> tuple[int, ...]:
    if new.points is None:
        return tuple(range(points))
    ascending = all(one < other for one, other in zip(new.points, new.points[1:], strict=False))
    if not new.points or not ascending or new.points[0] < 0 or new.points[-1] >= points:
        raise InvalidSubmission.because(
            "points", found=f"{len(new.points)} positions, such as {list(new.points[:5])}",
            expected=f"different positions from 0 to {points - 1}, in ascending order",
            remedy="sort them, and the examples in the file with them; or leave them out for all points",
        )  # fmt: skip
    return new.points


def _check_file(new: NewExternal, blobs: Blobs, admission: Admission, dataset: str, count: int) -> None:
    sha256 = new.examples_sha256
    try:
        path = blobs.path(sha256)
    except NotFound:
        raise InvalidSubmission.because(
            "examples_sha256", found=repr(sha256[:80]), expected="the SHA-256 of an uploaded file",
            remedy="upload the examples first",
        ) from None  # fmt: skip
    admission.check_examples(path, dataset, count)


def _require_room(session: Session, submitter: str) -> None:
    waiting = select(func.count()).select_from(ExternalRow).where(ExternalRow.state == ExternalState.QUEUED)
    if (session.scalar(waiting) or 0) >= MAX_OPEN:
        raise QueueFull("Too many evaluations by others are waiting; this one was not taken in. Try again later.")
    if submitter and (session.scalar(waiting.where(ExternalRow.submitter == submitter)) or 0) >= MAX_OPEN_EACH:
        raise QueueFull("Too many of your evaluations are waiting; this one was not taken in. Try again later.")


def _insert(
    session: Session, entry: EntryRow, new: NewExternal, indices: Sequence[int], points: int, submitter: str
) -> ExternalView:
    now = database_now_ms(session)
    submission = session.get_one(SubmissionRow, entry.submission_id)
    ranking = _run_of(session, entry)
    run = add_run(
        session,
        submission.id,
        Purpose.EXTERNAL,
        PROTOCOL,
        key="",
        norm=ranking.norm,
        epsilon=ranking.epsilon,
        points=len(indices),
        indices=indices if len(indices) < points else None,
        parameters=ranking.parameters,
        priority=NORMAL,
        needs_cuda=ranking.needs_cuda,
    )
    row = ExternalRow(
        id=new_id(now),
        entry_id=entry.id,
        run_id=run.id,
        title=new.title,
        authors=new.authors,
        paper_url=new.paper_url,
        attack=new.attack,
        examples_sha256=new.examples_sha256,
        claimed_robust_accuracy=new.claimed_robust_accuracy,
        submitter=submitter,
        state=ExternalState.QUEUED,
        reason="",
        counts="{}",
        created_ms=now,
    )
    session.add(row)
    session.flush()
    queue_work(session, run.id, "judge", [(0, len(indices))])
    return _view(row, entry, run)


def _view(row: ExternalRow, entry: EntryRow, run: RunRow) -> ExternalView:
    return ExternalView(
        id=row.id,
        dataset=entry.dataset,
        threat_model=entry.threat_model,
        model_id=entry.model_id,
        submitted=NewExternal(
            examples_sha256=row.examples_sha256,
            points=None if run.indices is None else tuple(json.loads(run.indices)),
            title=row.title,
            authors=row.authors,
            paper_url=row.paper_url,
            attack=row.attack,
            claimed_robust_accuracy=row.claimed_robust_accuracy,
        ),
        state=ExternalState(row.state),
        reason=row.reason,
        counts={Verdict(name): count for name, count in json.loads(row.counts).items()},
        robust_accuracy=row.robust_accuracy,
        newly_broken=row.newly_broken,
        created_ms=row.created_ms,
        concluded_ms=row.concluded_ms,
    )
