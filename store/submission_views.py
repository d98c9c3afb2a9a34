"""How submissions are shown: their state, history, place in the queue and progress, in a fixed number of queries."""

from __future__ import annotations

import json
from collections.abc import Sequence

from sqlalchemy import select
from sqlalchemy.orm import Session

from benchmark.report import Check
from store.states import WAITING
from store.tables import RunRow, ShardRow, SubmissionRow, TransitionRow
from store.views import NewSubmission, Progress, State, SubmissionView, Transition


def view_submissions(session: Session, rows: Sequence[SubmissionRow]) -> tuple[SubmissionView, ...]:
    """Show the submissions in the given order, with as many queries for many as for one."""
    ids = [row.id for row in rows]
    transitions: dict[str, list[Transition]] = {}
    for step in session.scalars(
        select(TransitionRow).where(TransitionRow.submission_id.in_(ids)).order_by(TransitionRow.id)
    ):
        shown = Transition(state=State(step.state), at_ms=step.at_ms, reason=step.reason)
        transitions.setdefault(step.submission_id, []).append(shown)
    runs = {
        run.submission_id: run
        for run in session.scalars(select(RunRow).where(RunRow.submission_id.in_(ids)).order_by(RunRow.id))
    }
    shards: dict[int, list[ShardRow]] = {}
    wanted = [run.id for run in runs.values()]
    for shard in session.scalars(select(ShardRow).where(ShardRow.run_id.in_(wanted), ShardRow.kind == "shard")):
        shards.setdefault(shard.run_id, []).append(shard)
    waiting = session.scalars(
        select(SubmissionRow.id).where(SubmissionRow.state.in_(WAITING)).order_by(SubmissionRow.id)
    )
    places = {submission_id: place for place, submission_id in enumerate(waiting, start=1)}
    return tuple(
        SubmissionView(
            id=row.id,
            submission=as_submitted(row),
            state=State(row.state),
            reason=row.reason,
            fault=row.fault,
            created_ms=row.created_ms,
            updated_ms=row.updated_ms,
            queue_position=places.get(row.id),
            progress=combine_progress(runs[row.id].points, shards.get(runs[row.id].id, [])),
            checks=tuple(Check.model_validate(check) for check in json.loads(runs[row.id].checks)),
            transitions=tuple(transitions.get(row.id, ())),
        )
        for row in rows
    )


def as_submitted(row: SubmissionRow) -> NewSubmission:
    """Return the submission as its author sent it."""
    return NewSubmission.model_validate({name: getattr(row, name) for name in NewSubmission.model_fields})


def combine_progress(points: int, shards: Sequence[ShardRow]) -> Progress:
    """Add the shards' progress up; the attack shown is the one of the shard that is furthest behind."""
    parts = [
        (shard, Progress.model_validate_json(shard.progress) if shard.progress else Progress()) for shard in shards
    ]
    if not parts:
        return Progress(points=points)
    done = sum(shard.last - shard.first if shard.state == "done" else part.points_done for shard, part in parts)
    unfinished = [part for shard, part in parts if shard.state != "done"]
    attacks = max(part.attacks for _, part in parts)
    bounds = [(shard.last - shard.first, part.robust_accuracy_at_most) for shard, part in parts]
    known = any(bound is not None for _, bound in bounds)
    at_most = sum(size * (1.0 if bound is None else bound) for size, bound in bounds) / points
    if not unfinished:
        last = Progress(points=points, points_done=points, attacks=attacks, attacks_done=attacks, fraction=1.0)
        return last.model_copy(update={"robust_accuracy_at_most": at_most if known else None})
    behind = min(unfinished, key=lambda part: (part.attacks_done, part.fraction))
    return Progress(
        points=points,
        points_done=done,
        attack=behind.attack,
        attacks_done=behind.attacks_done,
        attacks=attacks,
        fraction=behind.fraction,
        robust_accuracy_at_most=at_most if known else None,
    )
