"""What becomes of evaluations by others once their examples are judged: a claim holds, or it is refused with counts."""

from __future__ import annotations

import math
from functools import partial

from sqlalchemy import select
from sqlalchemy.orm import Session

from benchmark.merging import MAX_LABEL
from benchmark.report import Points, canonical_json
from benchmark.verdicts import Verdict, Verdicts
from store.best_known import Contribution, contribute, points_sha256
from store.blobs import Blobs
from store.database import Database, database_now_ms
from store.notices import Event, tell
from store.tables import EntryRow, ExternalRow, RunRow
from store.views import ExternalState

_ROUNDING = 5e-5
"""Claims are made in percent with two decimals."""


def conclude_external(db: Database, blobs: Blobs, run_id: int, verdicts: Verdicts) -> None:
    """Hold a claim against what was found of its examples; where it holds, count what they broke.

    Args:
        db: the database.
        blobs: where points lie.
        run_id: the evaluation's run.
        verdicts: on its examples.
    """
    with db.snapshot() as session:
        external = session.scalars(select(ExternalRow).where(ExternalRow.run_id == run_id)).one()
        entry = session.get_one(EntryRow, external.entry_id)
        points = Points.from_bytes(blobs.read(points_sha256(session, entry)))
        named = session.get_one(RunRow, run_id).indices is not None
    broken = {
        index: (f"external {external.id}"[:MAX_LABEL], distance)
        for index, verdict, distance in zip(verdicts.index, verdicts.verdict, verdicts.distance, strict=True)
        if verdict is Verdict.HOLDS and distance is not None
    }
    misclassified = _misclassified(points)
    left = 1 - len({*broken, *misclassified}) / len(points.index)
    rightly = len(broken.keys() - misclassified)
    robust = dict(zip(points.index, points.robust, strict=True))
    complain = partial(_complaint, external, named=named, left=left, rightly=rightly, verdicts=verdicts)

    def keep(session: Session, newly_broken: int) -> bool:
        # Asked again: meanwhile another evaluation may have broken what this one was the first to break.
        complaint = complain(newly=newly_broken)
        return _conclude(session, run_id, verdicts, left, newly_broken, complaint) and not complaint

    if complain(newly=sum(robust[index] for index in broken)):
        with db.transaction() as session:
            keep(session, 0)
        return
    contribute(db, blobs, external.entry_id, Contribution(source_of(external), broken), keep)


def source_of(external: ExternalRow) -> str:
    """Return how an evaluation is called where its numbers stand."""
    name = external.title or external.attack.partition("\n")[0][:80] or "adversarial examples"
    who = f"{external.authors}: " if external.authors else ""
    return f"{who}{name} (external evaluation {external.id})"


def _conclude(
    session: Session, run_id: int, verdicts: Verdicts, left: float, newly_broken: int, complaint: str
) -> bool:
    run = session.get_one(RunRow, run_id, with_for_update=True, populate_existing=True)
    if run.concluded:
        return False
    run.concluded = True
    row = session.scalars(select(ExternalRow).where(ExternalRow.run_id == run_id)).one()
    row.state = ExternalState.REFUSED if complaint else ExternalState.VERIFIED
    row.reason = complaint or (
        f"The claim holds: these examples alone leave {left:.4f}, and {newly_broken} of the points that they break "
        "nobody had broken before."
    )
    row.counts = canonical_json({verdict.value: count for verdict, count in verdicts.counts.items()}).decode()
    row.robust_accuracy, row.newly_broken = left, newly_broken
    row.concluded_ms = database_now_ms(session)
    _tell_owner(session, row)
    session.flush()
    return True


def _tell_owner(session: Session, row: ExternalRow) -> None:
    entry = session.get_one(EntryRow, row.entry_id)
    message = (
        f"An evaluation by others of your entry {entry.model_id} on {entry.dataset}/{entry.threat_model} was judged "
        f"and {row.state}. {row.reason}"
    )
    tell(session, entry.owner_id, Event.EXTERNAL_JUDGED, message, f"/external-evaluations/{row.id}")


def _complaint(external: ExternalRow, *, named: bool, left: float, rightly: int, newly: int, verdicts: Verdicts) -> str:
    """Say why a claim does not hold, with all counts; nothing where it holds.

    Args:
        external: what is claimed.
        named: whether the examples are for named points.
        left: what they leave alone.
        rightly: points broken that the model classifies correctly.
        newly: points broken that nobody had broken before.
        verdicts: on its examples.
    """
    counts = verdicts.counts
    tally = (
        f"Of {len(verdicts.index)} examples {counts[Verdict.HOLDS]} hold, "
        f"{counts[Verdict.CLASSIFIED_CORRECTLY]} are classified correctly, {counts[Verdict.OVER_BUDGET]} are farther "
        f"away than the budget allows, {counts[Verdict.OUTSIDE_BOX]} have values outside [0, 1] and "
        f"{counts[Verdict.NOT_FINITE]} have values that are not finite; alone they leave {left:.4f}."
    )
    claim = external.claimed_robust_accuracy
    if not rightly:
        return (
            f"No point is broken that the model classifies correctly. {tally} Send examples within the budget that it "
            "classifies wrongly."
        )
    if claim is not None and left > claim + _ROUNDING:
        return f"The claim of {claim:.4f} does not hold. {tally} Claim {_claimable(left):.4f}, or nothing."
    if named and counts[Verdict.HOLDS] < len(verdicts.index):
        return f"Not every example for the named points holds. {tally} Name only the points whose examples hold."
    if not named and claim is None and newly == 0:
        return f"No point is broken that was not broken before. {tally} Claim what they leave, to have it recorded."
    return ""


def _claimable(left: float) -> float:
    """Return the least claim in percent with two decimals that holds where so much is left."""
    return math.ceil(round(left * 1e4, 6)) / 1e4  # 0.818 * 1e4 is a little more than 8,180


def _misclassified(points: Points) -> set[int]:
    return {index for index, by in zip(points.index, points.broken_by, strict=True) if by == "clean"}
