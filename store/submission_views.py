"""How submissions are shown: their state, history, place in the queue and progress, in a fixed number of queries."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import UTC, date, datetime

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from benchmark.commitment import commitment_of
from benchmark.report import Check, Evidence
from benchmark.summing_up import wilson_interval
from store.actors import Actor
from store.states import WAITING
from store.tables import RunRow, ShardRow, SubmissionRow, TransitionRow
from store.views import (
    AgainView,
    Approval,
    LookState,
    NewSubmission,
    Progress,
    Purpose,
    SeedView,
    State,
    SubmissionView,
    Transition,
)

TOLD = frozenset({State.PUBLISHED, State.WITHDRAWN})
"""States in which a submission's key is told. A run that broke off may be begun again with the same key."""


_HIDDEN_TEXTS = ("title", "authors", "paper_url", "venue", "licence", "notes")
"""Everything in an author's own words but the name, which the entry bears."""


def view_submissions(session: Session, rows: Sequence[SubmissionRow], who: Actor | None) -> tuple[SubmissionView, ...]:
    """Show the submissions in the given order, with as many queries for many as for one.

    Args:
        session: the transaction.
        rows: what to show.
        who: whom it is shown to: of what is anonymous, most see no names; None for the service itself.
    """
    ids = [row.id for row in rows]
    transitions: dict[str, list[Transition]] = {}
    for step in session.scalars(
        select(TransitionRow).where(TransitionRow.submission_id.in_(ids)).order_by(TransitionRow.id)
    ):
        shown = Transition(state=State(step.state), at_ms=step.at_ms, reason=step.reason)
        transitions.setdefault(step.submission_id, []).append(shown)
    evaluations = (Purpose.RANKING, Purpose.AGAIN)
    runs: dict[str, RunRow] = {}
    again: dict[str, RunRow] = {}
    for run in session.scalars(
        select(RunRow).where(RunRow.submission_id.in_(ids), RunRow.purpose.in_(evaluations)).order_by(RunRow.id)
    ):
        (again if run.purpose == Purpose.AGAIN else runs)[run.submission_id] = run
    # One that is older than the evaluation whose numbers stand is of no interest any more.
    again = {of: run for of, run in again.items() if run.id > runs[of].id}
    shards: dict[int, list[ShardRow]] = {}
    wanted = [run.id for run in (*runs.values(), *again.values())]
    for shard in session.scalars(select(ShardRow).where(ShardRow.run_id.in_(wanted), ShardRow.kind == "shard")):
        shards.setdefault(shard.run_id, []).append(shard)
    place = func.row_number().over(order_by=SubmissionRow.id)
    waiting = select(SubmissionRow.id, place.label("place")).where(SubmissionRow.state.in_(WAITING)).subquery()
    found = session.execute(select(waiting.c.id, waiting.c.place).where(waiting.c.id.in_(ids)))
    places: dict[str, int] = {row.id: row.place for row in found}
    return tuple(
        SubmissionView(
            id=row.id,
            submission=as_submitted(row) if who is None or who.knows_names(row) else without_names(row),
            state=State(row.state),
            reason=row.reason,
            fault=row.fault,
            created_ms=row.created_ms,
            updated_ms=row.updated_ms,
            queue_position=places.get(row.id),
            progress=combine_progress(runs[row.id].points, shards.get(runs[row.id].id, [])),
            checks=tuple(Check.model_validate(check) for check in json.loads(runs[row.id].checks)),
            evidence=tuple(Evidence.model_validate(one) for one in json.loads(runs[row.id].evidence)),
            seed=view_seed(runs[row.id], told=row.state in TOLD),
            transitions=tuple(transitions.get(row.id, ())),
            checkpoint_deleted_ms=row.checkpoint_deleted_ms,
            approval=Approval(row.approval),
            again=_view_again(again[row.id], shards.get(again[row.id].id, [])) if row.id in again else None,
        )
        for row in rows
    )


def _view_again(run: RunRow, shards: Sequence[ShardRow]) -> AgainView:
    rejected = [check["code"] for check in json.loads(run.checks) if check["outcome"] == "rejected"]
    begun = any(shard.state in {"running", "done"} for shard in shards)
    state = LookState.FAILED if run.concluded else LookState.RUNNING if begun else LookState.QUEUED
    return AgainView(
        protocol=run.protocol,
        state=state,
        reason=rejected[0] if rejected else "",
        progress=combine_progress(run.points, shards),
        created_ms=run.created_ms,
    )


def view_seed(run: RunRow, *, told: bool) -> SeedView | None:
    """Show what a run draws by: its commitment, and the key once it may be told; None for runs that are older."""
    if not run.seed_key:
        return None
    commitment = commitment_of(bytes.fromhex(run.seed_key))
    return SeedView(commitment=commitment, key=run.seed_key if told else None, seed=run.seed if told else None)


def as_submitted(row: SubmissionRow) -> NewSubmission:
    """Return the submission as its author sent it."""
    fields: dict[str, object] = {name: getattr(row, name) for name in NewSubmission.model_fields if name != _EMBARGO}
    return NewSubmission.model_validate(fields | {_EMBARGO: _day_of(row.embargo_until_ms)})


def without_names(row: SubmissionRow) -> NewSubmission:
    """Return the submission without what could tell who made it; the day of the embargo may tell the venue."""
    return as_submitted(row).model_copy(update={**dict.fromkeys(_HIDDEN_TEXTS, ""), _EMBARGO: None})


def as_columns(new: NewSubmission) -> dict[str, object]:
    """Return a submission as the columns of its row."""
    columns = new.model_dump(mode="json", exclude={_EMBARGO})
    return columns | {f"{_EMBARGO}_ms": _beginning_of(new.embargo_until)}


_EMBARGO = "embargo_until"


def _beginning_of(day: date | None) -> int | None:
    return None if day is None else int(datetime(day.year, day.month, day.day, tzinfo=UTC).timestamp()) * 1000


def _day_of(at_ms: int | None) -> date | None:
    return None if at_ms is None else datetime.fromtimestamp(at_ms / 1000, UTC).date()


def combine_progress(points: int, shards: Sequence[ShardRow]) -> Progress:
    """Add the shards' progress up; the attack shown is the one of the shard that is furthest behind."""
    parts = [
        (shard, Progress.model_validate_json(shard.progress) if shard.progress else Progress()) for shard in shards
    ]
    if not parts:
        return Progress(points=points)
    combined = Progress(
        points=points,
        points_done=sum(
            shard.last - shard.first if shard.state == "done" else part.points_done for shard, part in parts
        ),
        attacks=max(part.attacks for _, part in parts),
        forward_passes=sum(part.forward_passes for _, part in parts),
        backward_passes=sum(part.backward_passes for _, part in parts),
    )
    unfinished = [part for shard, part in parts if shard.state != "done"]
    behind = min(unfinished, key=lambda part: (part.attacks_done, part.fraction), default=None)
    now: dict[str, object] = {"attacks_done": combined.attacks, "fraction": 1.0}
    if behind is not None:
        now = {"attack": behind.attack, "attacks_done": behind.attacks_done, "fraction": behind.fraction}
    return combined.model_copy(update=now | _bound(points, parts))


def _bound(points: int, parts: Sequence[tuple[ShardRow, Progress]]) -> dict[str, object]:
    """Bound the robust accuracy by the points that no shard has found broken; a shard that is silent has found none."""
    sizes = [(shard.last - shard.first, part.robust_accuracy_at_most) for shard, part in parts]
    if all(bound is None for _, bound in sizes):
        return {}
    left = sum(size if bound is None else round(size * bound) for size, bound in sizes)
    return {"robust_accuracy_at_most": left / points, "robust_interval_at_most": wilson_interval(left, points)}
