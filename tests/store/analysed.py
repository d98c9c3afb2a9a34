"""Entries that were analysed, with made-up numbers."""

from __future__ import annotations

from collections.abc import Collection

from benchmark.analysis.results import Analysis, Study
from store.actors import Actor
from store.analyses import analyse, finish_analysis
from store.claims import Claim, claim
from store.services import Services
from tests.benchmark.analysis.studies import a_study
from tests.store.deciders import evaluate, send
from tests.store.material import CHECKPOINT, LEASE_MS, a_worker

LEFT_OUT = "it has no data set of that kind"


def publish_analysed(
    services: Services, owner: Actor, name: str, seed: int = 0, without: Collection[Analysis] = (), *, most: int = 99
) -> str:
    """Put an entry on its board, have it analysed, and return its submission's id; nothing else may wait.

    Args:
        services: the store.
        owner: who submits it.
        name: of the entry.
        seed: other numbers for other ones.
        without: analyses that are left out, with a reason.
        most: how many analyses are done; the others wait.
    """
    sha256 = services.blobs.put(CHECKPOINT + name.encode())  # a file of its own
    submission_id = send(services, owner, name, checkpoint_sha256=sha256)
    evaluate(services)
    analyse(services.db, services.blobs, submission_id, owner)
    for _ in range(min(most, len(Analysis))):
        work = claim(services.db, a_worker(), LEASE_MS)
        assert work is not None
        assert work.analysis is not None
        finish_analysis(services.db, services.blobs, work, study_for(work, seed, without).to_bytes())
    return submission_id


def study_for(work: Claim, seed: int, without: Collection[Analysis]) -> Study:
    """What the claimed analysis finds: it alone, or why there is none."""
    made = work.analysis is not None and work.analysis not in without
    study = a_study(seed, own=work.submission.name, others=0)
    return study.model_copy(
        update={one.value: None for one in Analysis if not made or one is not work.analysis}
        | {
            "norm": work.norm,
            "epsilon": work.epsilon,
            "points": len(work.indices),
            "seed": work.seed,
            "checkpoint_sha256": work.checkpoint_sha256,
            "left_out": {} if made or work.analysis is None else {work.analysis: LEFT_OUT},
        }
    )
