"""Runs as they begin: what all of them have in common."""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy.orm import Session

from benchmark.report import canonical_json
from store.database import database_now_ms
from store.seeds import seed_of_key
from store.tables import RunRow
from store.views import Purpose, Source


def add_run(
    session: Session,
    submission_id: str,
    purpose: Purpose,
    protocol: str,
    *,
    key: str,
    norm: str,
    epsilon: str,
    points: int,
    indices: Sequence[int] | None = None,
    sources: Sequence[Source] = (),
    parameters: int | None = None,
    priority: int,
    needs_cuda: bool,
) -> RunRow:
    """Add a run of which nothing is done yet; its work is queued afterwards.

    Args:
        session: the transaction.
        submission_id: whose model it is about.
        purpose: what it is for.
        protocol: label of the protocol.
        key: of all that is secret of it; empty where nothing is.
        norm: of the threat model.
        epsilon: its budget, as reports write it.
        points: how many it is about.
        indices: their positions in the data set; None for the first so many.
        sources: models whose examples are tried.
        parameters: of the model, where they were counted.
        priority: the greater is claimed first.
        needs_cuda: whether only a worker with a CUDA device can run it.
    """
    run = RunRow(
        submission_id=submission_id,
        protocol=protocol,
        seed=seed_of_key(key) if key else 0,
        seed_key=key,
        norm=norm,
        epsilon=epsilon,
        points=points,
        indices=None if indices is None else canonical_json(list(indices)).decode(),
        sources=canonical_json([source.model_dump(mode="json") for source in sources]).decode(),
        parameters=parameters,
        checks="[]",
        evidence="[]",
        purpose=purpose,
        concluded=False,
        priority=priority,
        needs_cuda=needs_cuda,
        created_ms=database_now_ms(session),
    )
    session.add(run)
    session.flush()
    return run
