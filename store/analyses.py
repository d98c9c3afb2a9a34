"""Analyses of published entries: what a model is like beside its robustness. None of it ranks.

Each analysis is a piece of work of its own, with the least priority of all; one that fails takes no other along.
"""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Sequence

from sqlalchemy import ColumnElement, Select, func, select
from sqlalchemy.orm import Session

from benchmark.analysis.results import Analysis, Study, merge_studies
from benchmark.errors import Conflict, EvaluationFailed, NotFound
from benchmark.report import canonical_json
from benchmark.threat_models import Board, official_board
from store.actors import Actor, require_changeable
from store.audit import note
from store.blobs import Blobs
from store.board_filters import of_board
from store.checkpoints import require_file
from store.claims import Claim, conclude_where_done, write_held
from store.database import Database, database_now_ms
from store.queue import ANALYSIS, analysis_of, queue_work
from store.runs import add_run
from store.seeds import key_of_run
from store.states import lock_submission
from store.submission_log import presentable
from store.submission_views import view_submissions
from store.tables import EntryRow, RunRow, ShardRow, SubmissionRow
from store.views import Purpose, State, SubmissionView, View

logger = logging.getLogger(__name__)

ANALYSIS_PROTOCOL = "analysis-1"
"""Label of what analyses are made by."""
MOST_POINTS = 500
"""Points of the test split that analyses are made on, at most."""
AGAIN_AFTER_MS = 24 * 3_600_000
"""How long the owner of an entry waits before it may be analysed anew."""


class StoredStudy(View):
    """What is known of an entry beside its robustness."""

    sha256: str
    """Of all of it: it changes with any number."""
    study: Study | None
    """None where no analysis is done."""
    pending: tuple[Analysis, ...]
    """Those that wait or run."""
    failed: tuple[Analysis, ...]
    """Those that came to nothing through the service."""


def queue_analyses(session: Session, submission: SubmissionRow) -> None:
    """Queue all analyses of an entry, each as a piece of work of its own.

    Args:
        session: the transaction.
        submission: whose; on a board with an attacker.
    """
    board = official_board(submission.dataset, submission.threat_model)
    key = key_of_run(
        session,
        purpose=Purpose.ANALYSIS,
        protocol=ANALYSIS_PROTOCOL,
        dataset=submission.dataset,
        threat_model=submission.threat_model,
        checkpoint_sha256=submission.checkpoint_sha256,
    )
    run = add_run(
        session,
        submission.id,
        Purpose.ANALYSIS,
        ANALYSIS_PROTOCOL,
        key=key,
        norm=board.norm,
        epsilon=board.epsilon_text,
        points=min(board.points, MOST_POINTS),
        priority=ANALYSIS,
        needs_cuda=board.needs_cuda,
    )
    queue_work(session, run.id, "analysis", [(number, number + 1) for number in range(len(Analysis))])


def analyse(db: Database, blobs: Blobs, submission_id: str, who: Actor | None = None) -> SubmissionView:
    """Have a published entry analysed, also where it was before.

    The same model, points and seed give the same numbers: anew it is worth it where something was left out or failed,
    or where there are other models to carry examples over to. So its owner may ask once a day.

    Args:
        db: the database.
        blobs: where its checkpoint is.
        submission_id: whose.
        who: its owner or a maintainer; None for the operator, who has the database anyway.
    Raises:
        NotFound: there is no such submission, or they may not see it.
        SignInNeeded: they must say who they are.
        Forbidden: it is not theirs.
        Conflict: it is not on a board with an attacker, is being analysed or was today, or its file was deleted.
    """
    with db.transaction() as session:
        row = require_changeable(who, lock_submission(session, submission_id), submission_id)
        if row.state != State.PUBLISHED:
            raise Conflict.because(
                "state", found=row.state, expected="published", remedy="have analysed what is on its board"
            )
        if not official_board(row.dataset, row.threat_model).attacked:
            raise Conflict.because(
                "board", found=f"{row.dataset}/{row.threat_model}", expected="a board with an attacker",
                remedy="submit the model to such a board",
            )  # fmt: skip
        under_way = _runs([submission_id]).where(RunRow.concluded.is_(False))
        if session.scalars(under_way).first() is not None:
            raise Conflict.because(
                "submission", found="analyses that are under way", expected="none", remedy="wait for their end"
            )
        require_file(row, blobs)
        latest = session.scalar(select(func.max(RunRow.created_ms)).where(*_of([submission_id])))
        by_owner = who is not None and not who.moderates
        if by_owner and latest is not None and latest > database_now_ms(session) - AGAIN_AFTER_MS:
            raise Conflict.because(
                "submission", found="analyses that are less than a day old", expected="none, or older ones",
                remedy="ask again tomorrow, or ask a maintainer",
            )  # fmt: skip
        queue_analyses(session, row)
        by = who.account_id if who is not None else None
        note(session, by, "analyse", f"submission {submission_id}", protocol=ANALYSIS_PROTOCOL)
        return view_submissions(session, [row], who)[0]


def finish_analysis(db: Database, blobs: Blobs, claim: Claim, content: bytes) -> None:
    """Store what came of one analysis.

    Args:
        db: the database.
        blobs: where it goes.
        claim: the analysis that was claimed.
        content: what was found, from whoever ran the untrusted model.
    Raises:
        EvaluationFailed: it is not valid, or not of this very work; nothing was changed.
        StaleClaim: the lease is no longer held; nothing was changed.
    """
    study = _sound(claim, content)
    report_sha256 = blobs.put(study.to_bytes())
    with db.transaction() as session:
        lock_submission(session, claim.submission_id)  # first, as whoever else writes to its runs
        write_held(session, claim, state="done", report_sha256=report_sha256)
        conclude_where_done(session, claim.run_id)


def find_study(db: Database, blobs: Blobs, board: Board, model_id: str) -> StoredStudy | None:
    """Return what the latest analyses of an entry have found; None where it was never to be analysed.

    Raises:
        NotFound: there is no such entry.
    """
    return find_studies(db, blobs, board, [model_id])[model_id]


def find_studies(db: Database, blobs: Blobs, board: Board, model_ids: Sequence[str]) -> dict[str, StoredStudy | None]:
    """Return the same of several entries, in a fixed number of queries.

    Raises:
        NotFound: there is no such entry.
    """
    with db.snapshot() as session:
        named = session.scalars(select(EntryRow).where(of_board(board), EntryRow.model_id.in_(model_ids))).all()
        of = {entry.model_id: entry.submission_id for entry in named}
        for model_id in model_ids:
            if model_id not in of:
                raise NotFound.because(
                    "model", found=repr(model_id[:80]), expected=f"an entry of {board.name}",
                    remedy="look the name up on its board",
                )  # fmt: skip
        runs = session.scalars(_runs([one for one in of.values() if one]).order_by(RunRow.id)).all()
        shards = session.scalars(
            select(ShardRow)
            .where(ShardRow.run_id.in_([run.id for run in runs]))
            .order_by(ShardRow.run_id, ShardRow.first)
        ).all()
    return {
        model_id: _told(blobs, [run for run in runs if run.submission_id == of[model_id]], shards)
        for model_id in model_ids
    }


def _told(blobs: Blobs, runs: Sequence[RunRow], shards: Sequence[ShardRow]) -> StoredStudy | None:
    """Return what the runs of an entry, in their order, have found."""
    if not runs:
        return None
    latest = [shard for shard in shards if shard.run_id == runs[-1].id]
    alike = {run.id for run in runs if _kind(run) == _kind(runs[-1])}
    # While it is analysed anew, what was found before stands.
    done = {shard.first: shard for shard in shards if shard.run_id in alike and shard.state == "done"}
    studies = [study for shard in done.values() if (study := _read(blobs, shard)) is not None]
    study = merge_studies(studies) if studies else None
    pending = _analyses_in(latest, {"queued", "running"})
    failed = _analyses_in(latest, {"failed", "cancelled"})
    told = canonical_json([study.model_dump(mode="json") if study else None, pending, failed])
    return StoredStudy(sha256=hashlib.sha256(told).hexdigest(), study=study, pending=pending, failed=failed)


def _runs(submission_ids: Sequence[str]) -> Select[RunRow]:
    return select(RunRow).where(*_of(submission_ids))


def _of(submission_ids: Sequence[str]) -> tuple[ColumnElement[bool], ...]:
    return RunRow.submission_id.in_(submission_ids), RunRow.purpose == Purpose.ANALYSIS


def _kind(run: RunRow) -> tuple[object, ...]:
    """Return what must be equal for analyses of two runs to be told together."""
    return run.protocol, run.norm, run.epsilon, run.points, run.seed


def _analyses_in(shards: Sequence[ShardRow], states: set[str]) -> tuple[Analysis, ...]:
    return tuple(analysis_of(shard.first) for shard in shards if shard.state in states)


def _read(blobs: Blobs, shard: ShardRow) -> Study | None:
    try:
        return Study.from_bytes(blobs.read(shard.report_sha256 or ""))
    except (NotFound, FileNotFoundError, ValueError):
        logger.warning("what the analysis %s has found is gone or damaged", shard.id)
        return None


def _sound(claim: Claim, content: bytes) -> Study:
    """Return what an analysis has found, with nothing in it that is not fit to be shown.

    Raises:
        EvaluationFailed: it is not valid, or not of this very work.
    """
    try:
        study = Study.from_bytes(content)
        study = Study.model_validate(_shown(study.model_dump(mode="json")))
    except ValueError as error:
        raise EvaluationFailed(f"The analysis is not valid: {str(error)[:300]}") from None
    names = [claim.submission.name, *(source.name for source in claim.sources)]
    told = {*study.made, *study.left_out}
    found: dict[str, object] = {
        "norm": study.norm,
        "epsilon": study.epsilon,
        "dataset": study.dataset,
        "checkpoint": study.checkpoint_sha256,
        "seed": study.seed,
        "points": study.points,
        "analysis": told,
    }
    expected: dict[str, object] = {
        "norm": claim.norm,
        "epsilon": claim.epsilon,
        "dataset": claim.submission.dataset,
        "checkpoint": claim.checkpoint_sha256,
        "seed": claim.seed,
        "points": len(claim.indices),
        "analysis": {claim.analysis},
    }
    wrong = [name for name, value in expected.items() if found[name] != value]
    if study.transfer is not None and not (
        study.transfer.names[0] == names[0] and set(study.transfer.names) <= set(names)
    ):
        wrong.append("other models")
    if wrong:
        raise EvaluationFailed(f"The analysis is not one of this work: its {', '.join(wrong)} differ.")
    return study


def _shown(value: object) -> object:
    """Return JSON with every text made fit for pages and logs; its keys are fixed names."""
    match value:
        case str():
            return presentable(value)
        case list():
            return [_shown(one) for one in value]
        case dict():
            return {key: _shown(one) for key, one in value.items()}
        case _:
            return value
