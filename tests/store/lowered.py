"""What lowers a number once it is published: an unannounced attack, a closer look, evaluations by others."""

from __future__ import annotations

from collections.abc import Sequence

from benchmark.report import CheckOutcome, Evidence
from benchmark.verdicts import Verdict
from store.externals import get_external, submit_external
from store.outcomes import finish_check, finish_judge, finish_shard
from store.services import Services
from store.submissions import submit
from store.views import ExternalView, NewExternal, Purpose, SubmissionView
from tests.store.material import (
    Rules,
    check,
    examples,
    finish,
    judge,
    must_claim,
    new_submission,
    shard_report,
    verdicts_of,
    with_second,
)

EVIDENCE = (
    Evidence(
        code="noise_helps",
        outcome=CheckOutcome.FLAGGED,
        value=0.125,
        threshold=0.03,
        message="Random noise broke 8 of 64 points that the gradient attacks had missed.",
        remedy="Look for gradients that say nothing.",
        numbers={"points": 64, "broken_by_noise_alone": 8},
        meaning="Noise does not even know the answers. The robust accuracy is probably too high.",
    ),
    Evidence(
        code="gradient_alignment",
        outcome=CheckOutcome.NOT_ASSESSED,
        message="Not assessed: too few points.",
        remedy="Judge the robust accuracy by the other tests.",
        meaning="This test says nothing for or against the robust accuracy.",
    ),
    Evidence(
        code="unbounded_attack_fails",
        outcome=CheckOutcome.PASSED,
        value=0.0,
        threshold=0.01,
        message="With the whole box allowed, the gradient attacks left 0 of 64 points.",
        numbers={"points": 64, "robust_accuracy": 0.0},
        meaning="With the whole box allowed the attack breaks every point.",
    ),
)
CHECKS = (check(), check("zero_gradient_in_graph"), check("stateful_in_graph", CheckOutcome.NOT_ASSESSED))


def doubt(services: Services, name: str, *, unannounced: int = 1, **fields: object) -> SubmissionView:
    """Publish an entry in doubt, so that somebody is to look closer.

    Of 500 points 10 are misclassified, APGD breaks 50 more, and the unannounced attack the next few: 440 are left, or a
    little less.
    """
    view = submit(services.db, services.blobs, new_submission(services.blobs, name=name, **fields), Rules())
    work = must_claim(services.db)
    finish_check(services.db, work, CHECKS, policy=2, evidence=EVIDENCE, parameters=1_234, shard_points=500)
    work = must_claim(services.db)
    report = with_second(shard_report(work), broken=unannounced)
    finish_shard(services.db, services.blobs, work, report.to_bytes(), second_sha256=services.blobs.put(b"second"))
    judge(services.db, services.blobs)
    return view


def look_closer(services: Services, *, broken: int) -> None:
    """Look closer at the entry in doubt, and break so many of the points looked at, the first ones."""
    work = must_claim(services.db)
    assert work.purpose is Purpose.FOLLOW_UP
    report = shard_report(work, misclassified=0, broken=broken)
    finish(services.db, services.blobs, work, report.to_bytes())


def send_examples(
    services: Services, name: str, *, points: tuple[int, ...] | None = None, **fields: object
) -> ExternalView:
    """Send examples in for all points of an entry of digits/Linf, or for the named ones."""
    sha256 = services.blobs.put(examples("digits", 500 if points is None else len(points)))
    new = NewExternal.model_validate({"examples_sha256": sha256, "points": points, "attack": "by hand"} | fields)
    return submit_external(services.db, services.blobs, ("digits", "Linf", name), new, Rules())


def judge_examples(services: Services, view: ExternalView, broken: Sequence[int]) -> ExternalView:
    """Judge the examples that were sent in: they hold for these points, and others are classified correctly."""
    work = must_claim(services.db)
    assert (work.kind, work.purpose) == ("judge", Purpose.EXTERNAL)
    verdicts = verdicts_of(work, work.indices, [index in broken for index in work.indices])
    finish_judge(services.db, services.blobs, work, [verdicts.to_bytes()], [work.indices])
    seen = get_external(services.db, view.id)
    assert seen.counts[Verdict.HOLDS] == len(set(broken))
    return seen
