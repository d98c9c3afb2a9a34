"""Entries of boards on which nobody attacks, evaluated to the end without a model."""

from __future__ import annotations

from benchmark.corruption_table import CELLS, GENERATED, CorruptionCell, CorruptionTable
from benchmark.report import CheckOutcome, EvaluationReport, Points
from benchmark.summing_up import build_report
from benchmark.threat_models import CORRUPTIONS
from store.blobs import Blobs
from store.boards import get_model
from store.claims import Claim
from store.database import Database
from store.outcomes import finish_check, finish_shard
from store.submissions import ensure_submission, submit
from store.views import State
from tests.store.material import Rules, check, must_claim, new_submission, shard_report


def as_attacked(work: Claim) -> Claim:
    return work.model_copy(update={"norm": "Linf", "epsilon": "1/5"})


def corruption_report(work: Claim, *, lost: int = 1, checks: int = 0) -> EvaluationReport:
    """A report of a shard: every point is right but in as many cells as are lost, at the greatest severities."""
    kept = len(CELLS) - lost
    right = [number < kept for number in range(len(CELLS))]
    by = None if not lost else f"{CELLS[kept][0]}-{CELLS[kept][1]}"
    count = len(work.indices)
    template = shard_report(as_attacked(work)).provenance
    return build_report(
        norm=work.norm,
        epsilon=work.epsilon,
        dataset=work.submission.dataset,
        protocol=work.protocol,
        attacks=(),
        checks=[check("changed_answers", CheckOutcome.FLAGGED)] * checks,
        provenance=template,
        corruptions=CorruptionTable(
            source=GENERATED,
            cells=tuple(
                CorruptionCell(corruption=name, severity=severity, correct=count if one else 0)
                for (name, severity), one in zip(CELLS, right, strict=True)
            ),
            forward_passes=count * (len(CELLS) + 1),
        ),
        points=Points(
            index=work.indices,
            label=tuple(i % 10 for i in work.indices),
            robust=(by is None,) * count,
            broken_by=(by,) * count,
            step=(None,) * count,
            distance=(None,) * count,
            kept=(kept,) * count,
        ),
    )


def publish_corrupted(
    db: Database,
    blobs: Blobs,
    name: str,
    *,
    losses: tuple[int, int] = (1, 1),
    baseline: bool = False,
    flags: int = 0,
    **fields: object,
) -> EvaluationReport:
    """Submit, and evaluate to the end in two shards."""
    new = new_submission(blobs, name=name, threat_model=CORRUPTIONS, **fields)
    if baseline:
        ensure_submission(db, blobs, new, Rules(), baseline=True, zoo_id=name)
    else:
        submit(db, blobs, new, Rules())
    finish_check(db, must_claim(db), [check()], parameters=1_234, shard_points=250)
    states = []
    for lost in losses:
        work = must_claim(db)
        states.append(finish_shard(db, blobs, work, corruption_report(work, lost=lost, checks=flags).to_bytes()))
    assert states == [State.RUNNING, State.PUBLISHED]
    report = get_model(db, blobs, "digits", CORRUPTIONS, name).report
    assert report is not None
    return report
