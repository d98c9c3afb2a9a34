"""What comes of claimed work: the findings of a check, the report of a shard. Both are hostile until validated."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from pydantic import ValidationError

from benchmark.corruption_table import CELLS, source_for
from benchmark.errors import EvaluationFailed
from benchmark.report import Check, CheckOutcome, EvaluationReport, Evidence, SandboxLevel, canonical_json
from benchmark.verdicts import Verdicts
from store.blobs import Blobs
from store.claims import Claim, write_held
from store.database import Database
from store.galleries import sound_gallery
from store.publication import reduce_run
from store.queue import SHARD_POINTS, blocks, queue_work
from store.states import lock_submission, move
from store.submissions import close_run
from store.tables import RunRow
from store.views import Progress, Purpose, State

MAX_PARAMETERS = 2**63
MAX_REPORT_BYTES = 64 * 1024 * 1024


def finish_check(
    db: Database,
    claim: Claim,
    checks: Sequence[Check],
    *,
    policy: int | None = None,
    evidence: Sequence[Evidence] = (),
    parameters: int | None = None,
    shard_points: int = SHARD_POINTS,
) -> State:
    """Store the findings of a check run; reject the model, or queue its evaluation in shards.

    Args:
        db: the database.
        claim: the check that was claimed.
        checks: all checks, the passed ones too.
        policy: version of the restrictions that they are of.
        evidence: the tests for gradients that mislead.
        parameters: number of parameters of the model.
        shard_points: most points of one shard.
    Returns:
        The submission's new state.
    Raises:
        EvaluationFailed: the number of parameters cannot be one; nothing was changed.
        StaleClaim: the lease is no longer held; nothing was changed.
    """
    if parameters is not None and not 0 <= parameters < MAX_PARAMETERS:
        raise EvaluationFailed("The check reports an impossible number of parameters.")
    rejected = [check for check in checks if check.outcome is CheckOutcome.REJECTED]
    with db.transaction() as session:
        submission = lock_submission(session, claim.submission_id)
        write_held(session, claim, state="done")
        run = session.get_one(RunRow, claim.run_id)
        run.checks = canonical_json([check.model_dump(mode="json") for check in checks]).decode()
        run.evidence = canonical_json([one.model_dump(mode="json") for one in evidence]).decode()
        run.policy, run.parameters = policy, parameters
        if rejected:
            close_run(session, run.id, "cancelled")
        else:
            queue_work(session, run.id, "shard", blocks(run.points, shard_points))
        if run.purpose == Purpose.AGAIN:  # whatever comes of it, the entry is published
            return State(submission.state)
        if rejected:
            move(session, claim.submission_id, State.REJECTED, reason=rejected[0].code, fault="model")
            return State.REJECTED
        move(session, claim.submission_id, State.QUEUED)
        return State.QUEUED


def finish_shard(
    db: Database,
    blobs: Blobs,
    claim: Claim,
    report_bytes: bytes,
    *,
    x_adv_sha256: str | None = None,
    second_sha256: str | None = None,
    sandbox: SandboxLevel | None = None,
) -> State:
    """Store a shard's report; after the last shard of a run its examples are judged again.

    Args:
        db: the database.
        blobs: where the report goes.
        claim: the shard that was claimed.
        report_bytes: the report as JSON, from whoever ran the untrusted model.
        x_adv_sha256: blob of the adversarial examples.
        second_sha256: blob of those of the second attack; None where the report tells of none.
        sandbox: what was around whoever ran the model.
    Returns:
        The submission's state.
    Raises:
        EvaluationFailed: the report is not a valid one of this very shard; nothing was changed.
        StaleClaim: the lease is no longer held; nothing was changed.
    """
    report = _validated(claim, report_bytes)
    if (report.second_attack is None) != (second_sha256 is None):
        raise EvaluationFailed("The report tells of a second attack, or its examples are there, but not both.")
    # Said by whoever put it up, never from inside.
    report = report.model_copy(update={"provenance": report.provenance.model_copy(update={"sandbox": sandbox})})
    report_sha256 = blobs.put(report.to_bytes())
    progress = _final_progress(report).model_dump_json()
    with db.transaction() as session:
        write_held(
            session,
            claim,
            state="done",
            progress=progress,
            report_sha256=report_sha256,
            x_adv_sha256=x_adv_sha256,
            second_sha256=second_sha256,
        )
    return reduce_run(db, blobs, claim.run_id)


def finish_judge(
    db: Database,
    blobs: Blobs,
    claim: Claim,
    verdicts_bytes: Sequence[bytes],
    indices: Sequence[Sequence[int]],
    *,
    gallery: bytes | None = None,
    sandbox: SandboxLevel | None = None,
) -> State:
    """Store the verdicts on a run's examples, and do what follows from them.

    Args:
        db: the database.
        blobs: where the verdicts go.
        claim: the judging that was claimed.
        verdicts_bytes: the verdicts on each file of examples, from whoever ran the untrusted model.
        indices: the points that each file is about, by position in the data set.
        gallery: a few of the examples, to look at; dropped where it is not sound.
        sandbox: what was around whoever ran the model.
    Returns:
        The submission's state.
    Raises:
        EvaluationFailed: the verdicts are no valid ones of these very examples; nothing was changed.
        StaleClaim: the lease is no longer held; nothing was changed.
    """
    if len(verdicts_bytes) != len(indices):
        raise EvaluationFailed(f"There are verdicts on {len(verdicts_bytes)} files, not on {len(indices)}.")
    verdicts = [_judged(claim, content, index) for content, index in zip(verdicts_bytes, indices, strict=True)]
    # Said by whoever put it up, never from inside.
    stored = [one.model_copy(update={"sandbox": sandbox}).model_dump(mode="json") for one in verdicts]
    verdicts_sha256 = blobs.put(canonical_json(stored))
    sound = sound_gallery(claim, gallery, verdicts) if gallery is not None else None
    gallery_sha256 = blobs.put(sound.to_bytes()) if sound is not None else None
    with db.transaction() as session:
        lock_submission(session, claim.submission_id)  # first, as whoever else writes to its runs
        write_held(session, claim, state="done", report_sha256=verdicts_sha256)
        session.get_one(RunRow, claim.run_id).gallery_sha256 = gallery_sha256
    return reduce_run(db, blobs, claim.run_id)


def _judged(claim: Claim, content: bytes, index: Sequence[int]) -> Verdicts:
    try:
        verdicts = Verdicts.from_bytes(content)
    except ValueError as error:
        raise EvaluationFailed(f"The verdicts are not valid: {str(error)[:300]}") from None
    found = {
        "norm": verdicts.norm,
        "epsilon": verdicts.epsilon,
        "dataset": verdicts.dataset,
        "checkpoint": verdicts.checkpoint_sha256,
        "points": verdicts.index,
    }
    _require_own(found, _own(claim) | {"points": tuple(index)}, "verdicts")
    return verdicts


def _final_progress(report: EvaluationReport) -> Progress:
    """Return where a finished shard stands; its last sign of life may have come before its last attack's end."""
    attacks = len(report.attacks)
    return Progress(
        points=report.n_points,
        points_done=report.n_points,
        attacks_done=attacks,
        attacks=attacks,
        fraction=1.0,
        robust_accuracy_at_most=report.robust_accuracy,
        forward_passes=sum(attack.forward_passes for attack in report.attacks),
        backward_passes=sum(attack.backward_passes for attack in report.attacks),
    )


def _validated(claim: Claim, report_bytes: bytes) -> EvaluationReport:
    if len(report_bytes) > MAX_REPORT_BYTES:
        raise EvaluationFailed(f"The report has {len(report_bytes)} bytes, more than {MAX_REPORT_BYTES}.")
    try:
        report = EvaluationReport.model_validate_json(report_bytes)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        raise EvaluationFailed(f"The report is not valid: {first['loc']}: {first['msg']}") from None
    found: dict[str, object] = {
        "norm": report.norm,
        "epsilon": report.epsilon,
        "dataset": report.dataset,
        "protocol": report.protocol,
        "checkpoint": report.provenance.checkpoint_sha256,
        "seed": report.provenance.seed,
        "points": report.points.index,
    }
    of_the_run: dict[str, object] = {"protocol": claim.protocol, "seed": claim.seed, "points": claim.indices}
    if report.corruptions is not None:
        found |= {"corruptions": report.corruptions.places, "corrupted images": report.corruptions.source}
        of_the_run |= {"corruptions": CELLS, "corrupted images": source_for(claim.submission.dataset)}
    _require_own(found, _own(claim) | of_the_run, "report")
    return report


def _own(claim: Claim) -> dict[str, object]:
    """Return what everything about the claimed work says."""
    return {
        "norm": claim.norm,
        "epsilon": claim.epsilon,
        "dataset": claim.submission.dataset,
        "checkpoint": claim.checkpoint_sha256,
    }


def _require_own(found: Mapping[str, object], expected: Mapping[str, object], what: str) -> None:
    wrong = [name for name, value in expected.items() if found[name] != value]
    if wrong:
        raise EvaluationFailed(f"The {what} is not one of this work: its {', '.join(wrong)} differ.")
