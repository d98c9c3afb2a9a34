"""What a child is asked for each kind of work, and what is done with its answer, which is hostile until validated."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

from benchmark.analysis.results import MAX_STUDY_BYTES
from benchmark.confirmation import expected_verdicts
from benchmark.errors import EvaluationFailed
from benchmark.gallery import MAX_GALLERY_BYTES, SHOWN, chosen
from benchmark.report import EvaluationReport
from benchmark.threat_models import CORRUPTIONS, official_board
from benchmark.unannounced import unannounced_protocol
from benchmark.verdicts import MAX_VERDICTS_BYTES
from store import claims, outcomes
from store.analyses import finish_analysis
from store.claims import Claim
from store.errors import StaleClaim
from store.services import Services
from store.states import Fault
from store.views import Purpose
from worker import messages
from worker.endings import Broken
from worker.handover import Handover
from worker.limits import Limits
from worker.messages import Analysed, Checked, Evaluated, Failed, Judged, OtherModel, Progressed, Request, Saved

logger = logging.getLogger(__name__)

UNANNOUNCED_POINTS = 32
"""Most points of one shard that the unannounced attack is run on."""

Final = Checked | Evaluated | Judged | Analysed | Failed
ANSWERS: Mapping[str, tuple[type, ...]] = MappingProxyType(
    {
        "check": (Checked,),
        "shard": (Progressed, Saved, Evaluated),
        "judge": (Progressed, Judged),
        "analysis": (Progressed, Analysed),
    }
)
"""What a child may say for each kind of work, beside that it failed."""


@dataclass(frozen=True)
class Task:
    """Claimed work with all that it takes to do it.

    Args:
        services: the store.
        claim: the work.
        limits: how it is run.
        handover: the scratch directory.
    """

    services: Services
    claim: Claim
    limits: Limits
    handover: Handover


def request_of(task: Task) -> Request:
    """Put the files of the work into the scratch directory and return what is to be asked.

    Raises:
        Broken: a file that the work needs is gone or damaged.
    """
    claim, limits, handover = task.claim, task.limits, task.handover
    handover.give(claim.checkpoint_sha256, messages.MODEL_FILE)
    evaluation = claim.purpose in {Purpose.RANKING, Purpose.AGAIN}
    secret = claim.kind == "shard" and evaluation and claim.seed_key
    return Request(
        kind=claim.kind,
        confinement=limits.sandbox.confinement(limits.device, limits.wall_clock_s * (limits.threads + 1)),
        architecture=claim.submission.architecture,
        dataset=claim.submission.dataset,
        data_dir=None if limits.data_dir is None else str(limits.data_dir),
        norm=claim.norm,
        epsilon=claim.epsilon,
        protocol=claim.protocol,
        seed=claim.seed,
        indices=claim.indices,
        unannounced=unannounced_protocol(bytes.fromhex(claim.seed_key)) if secret else None,
        unannounced_points=UNANNOUNCED_POINTS if secret else 0,
        sources=_sources(task) if claim.kind in {"shard", "analysis"} else (),
        examples=_examples(task) if claim.kind == "judge" else (),
        gallery=_gallery_points(task) if claim.kind == "judge" else (),
        analysis=claim.analysis,
        name=claim.submission.name if claim.analysis is not None else "",
        checkpoint_sha256=claim.checkpoint_sha256,
        claimed_standard_accuracy=claim.submission.claimed_standard_accuracy,
        limit_s=official_board(claim.submission.dataset, claim.submission.threat_model).limit_s,
        resume=handover.offer(claim.resume_sha256, messages.RESUME_FILE),
        slot_width=limits.slot_width,
        threads=limits.threads,
        save_every_s=limits.save_every_s,
    )


def bring(final: Final, task: Task) -> None:
    """Bring a child's last word to the store.

    Raises:
        Broken: what it left is not what it should be.
        StaleClaim: the lease is no longer held.
    """
    services, claim = task.services, task.claim
    try:
        match final:
            case Failed():
                report_failure(services, claim, final.reason, final.fault)
            case Checked():
                outcomes.finish_check(
                    services.db, claim, final.checks,
                    policy=final.policy, evidence=final.evidence, parameters=final.parameters,
                )  # fmt: skip
            case Evaluated():
                _bring_shard(task, second=final.second)
            case Judged():
                _bring_verdicts(task)
            case Analysed():
                content = task.handover.read(messages.STUDY_FILE, MAX_STUDY_BYTES)
                finish_analysis(services.db, services.blobs, claim, content)
    except EvaluationFailed as error:
        raise Broken(error.message) from None


def report_failure(services: Services, claim: Claim, reason: str, fault: Fault) -> None:
    """Tell the store of an attempt that came to nothing, unless the lease is lost anyway."""
    try:
        claims.fail_attempt(services.db, claim, reason, fault)
    except StaleClaim:
        return


def _bring_shard(task: Task, *, second: bool) -> None:
    handover = task.handover
    report = handover.read(messages.REPORT_FILE, outcomes.MAX_REPORT_BYTES)
    outcomes.finish_shard(
        task.services.db,
        task.services.blobs,
        task.claim,
        report,
        x_adv_sha256=handover.keep(messages.EXAMPLES_FILE) if task.claim.norm != CORRUPTIONS else None,
        second_sha256=handover.keep(messages.SECOND_FILE) if second else None,
        sandbox=task.limits.sandbox.level,
    )


def _bring_verdicts(task: Task) -> None:
    files = _files(task)
    outcomes.finish_judge(
        task.services.db,
        task.services.blobs,
        task.claim,
        [task.handover.read(messages.VERDICTS_FILE.format(number), MAX_VERDICTS_BYTES) for number in range(len(files))],
        [indices for _, indices in files],
        gallery=_left_gallery(task),
        sandbox=task.limits.sandbox.level,
    )


def _examples(task: Task) -> tuple[tuple[int, ...], ...]:
    """Hand all examples over; return the points that each file is about."""
    files = _files(task)
    for number, (sha256, _) in enumerate(files):
        task.handover.give(sha256, messages.JUDGED_FILE.format(number))
    return tuple(indices for _, indices in files)


def _files(task: Task) -> list[tuple[str, tuple[int, ...]]]:
    """Return every file that a judge is to look at, with the positions of its points in the data set."""
    files: list[tuple[str, tuple[int, ...]]] = []
    for examples in task.claim.examples:
        if examples.report_sha256 is None:
            files.append((examples.x_adv_sha256, task.claim.indices))
            continue
        report = EvaluationReport.model_validate_json(task.services.blobs.read(examples.report_sha256))
        hashes = (examples.x_adv_sha256, examples.second_sha256 or "")
        files += [(sha256, index) for sha256, (index, _) in zip(hashes, expected_verdicts(report), strict=False)]
    return files


def _gallery_points(task: Task) -> tuple[int, ...]:
    """Return the points of an evaluation that people will want to look at; none where their images may not be shown."""
    if task.claim.purpose not in {Purpose.RANKING, Purpose.AGAIN} or task.claim.submission.dataset not in SHOWN:
        return ()
    hashes = (examples.report_sha256 for examples in task.claim.examples)
    blobs = task.services.blobs
    return chosen(EvaluationReport.model_validate_json(blobs.read(sha256)).points for sha256 in hashes if sha256)


def _left_gallery(task: Task) -> bytes | None:
    """Return the gallery that the child has left; None, with a line in the log, where there is none."""
    try:
        return task.handover.read(messages.GALLERY_FILE, MAX_GALLERY_BYTES)
    except Broken as error:
        logger.info("work %s has no gallery: %s", task.claim.shard_id, error)
        return None


def _sources(task: Task) -> tuple[OtherModel, ...]:
    """Hand the other models over; one that is gone is left out, as the report then says."""
    given: list[OtherModel] = []
    for source in task.claim.sources:
        if task.handover.offer(source.checkpoint_sha256, messages.SOURCE_FILE.format(len(given))):
            given.append(OtherModel(name=source.name, architecture=source.architecture))
    return tuple(given)
