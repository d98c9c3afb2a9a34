"""The check run: everything worth knowing before hours are spent on a model."""

from __future__ import annotations

import math
import time
from dataclasses import replace

from torch import nn

from benchmark.attacks.apgd import Apgd
from benchmark.classifier import Classifier, frozen
from benchmark.corrupted import CorruptionRun, corrupt_points
from benchmark.corruption_table import CELLS, GENERATED
from benchmark.corruptions import CORRUPTIONS
from benchmark.datasets import CLASSES, LabelledPoints
from benchmark.ensemble import Run
from benchmark.judging import misclassified
from benchmark.pipeline import Found, evaluate_points, evidence_of, twin_on
from benchmark.protocols import Protocol
from benchmark.report import PREDICTED_COST, Check, CheckOutcome, EvaluationReport
from benchmark.restrictions import POLICY, run_checks
from benchmark.restrictions.policy import Policy

_SAMPLE = 1_000
_PROBED = 64
_CORRUPTED = 8
_PROBE = Protocol("probe", 1, lambda s: (Apgd(s.norm, s.epsilon, s.image_shape, loss="ce", iterations=10),))
_CLAIM_TOLERANCE = 0.01
_FORWARD = 101 + 909 + 1800 + 5000
_BACKWARD = 101 + 909 + 900
"""Passes of the standard ensemble on a point that nothing breaks, with nine targets."""


def admit(
    model: nn.Module,
    points: LabelledPoints,
    run: Run,
    claimed_standard_accuracy: float | None,
    limit_s: float = math.inf,
    policy: Policy = POLICY,
) -> Found:
    """Check the restrictions, standard accuracy against the claim, what a short attack shows, and the predicted cost.

    A model that breaks no rule is also tested for gradients that mislead.

    Args:
        model: the model.
        points: those of the board.
        run: the evaluation that is to follow.
        claimed_standard_accuracy: in [0, 1], where the author claims one.
        limit_s: predicted seconds of one worker above which the model is rejected.
        policy: which restrictions.
    """
    checks = _restrictions(model, points, run, policy)
    if any(check.outcome is CheckOutcome.REJECTED for check in checks):
        return Found(policy.version, checks)
    started = time.monotonic()
    rows = slice(_PROBED)
    probe = replace(run, protocol=_PROBE)
    report = evaluate_points(model, points.x[rows], points.y[rows], points.index[rows], probe).report
    seconds = time.monotonic() - started
    checks = (
        *checks,
        _standard_accuracy(model, points, run.width, claimed_standard_accuracy),
        _short_attack(report),
        _attack_cost(report, len(points.y), seconds, limit_s),
    )
    return Found(policy.version, checks, evidence_of(model, points.x, points.y, points.index, run))


def admit_to_corruptions(
    model: nn.Module,
    points: LabelledPoints,
    run: CorruptionRun,
    claimed_standard_accuracy: float | None,
    limit_s: float = math.inf,
    policy: Policy = POLICY,
) -> Found:
    """Check a model for a board of corruptions, as `admit` does, but for what only an attacker would ask.

    Where a restriction moves images, it moves them as far as `neighbourhood` says. The predicted cost is that of the
    model and of making the images it is asked about, where they are not published ones.
    """
    checks = _restrictions(model, points, run, policy)
    if any(check.outcome is CheckOutcome.REJECTED for check in checks):
        return Found(policy.version, checks)
    started = time.monotonic()
    accuracy = _standard_accuracy(model, points, run.width, claimed_standard_accuracy)
    per_image = (time.monotonic() - started) / min(_SAMPLE, len(points.y))
    if run.source == GENERATED:
        per_image += _seconds_to_corrupt(points)
    cost = per_image * len(points.y) * len(CELLS)
    return Found(policy.version, (*checks, accuracy, _predicted_cost(cost, limit_s)))


def _seconds_to_corrupt(points: LabelledPoints) -> float:
    """Return the mean time that making one corrupted image takes, measured on a few in every type."""
    x, index = points.x[:_CORRUPTED].cpu(), points.index[:_CORRUPTED]

    def corrupt_all() -> None:
        for corruption in CORRUPTIONS:
            corrupt_points(x, index, corruption, 3)

    corrupt_all()  # the first time, much is loaded that stays
    started = time.monotonic()
    corrupt_all()
    return (time.monotonic() - started) / (len(x) * len(CORRUPTIONS))


def _restrictions(
    model: nn.Module, points: LabelledPoints, run: Run | CorruptionRun, policy: Policy
) -> tuple[Check, ...]:
    dataset = run.threat_model.dataset
    classes = CLASSES[dataset] if dataset else None
    twin = twin_on(dataset, run.device)
    return run_checks(model, points.x, points.y, run.threat_model, classes=classes, twin=twin, policy=policy)


def _standard_accuracy(model: nn.Module, points: LabelledPoints, width: int, claimed: float | None) -> Check:
    x, y = points.x[:_SAMPLE], points.y[:_SAMPLE]
    with frozen(model):
        logits = Classifier(model, (x.shape[1], x.shape[2], x.shape[3]), width).logits_of_all(x.flatten(1))
    accuracy = 1 - misclassified(logits, y).float().mean().item()
    message = f"Standard accuracy is {accuracy:.4f} on {len(y)} points"
    far = claimed is not None and abs(accuracy - claimed) > _CLAIM_TOLERANCE
    return Check(
        code="standard_accuracy",
        outcome=CheckOutcome.FLAGGED if far else CheckOutcome.PASSED,
        value=accuracy,
        threshold=None if claimed is None else claimed,
        message=f"{message}; {claimed:.4f} was claimed." if claimed is not None else f"{message}; nothing was claimed.",
        remedy="Check the normalisation and that the right checkpoint was uploaded." if far else "",
    )


def _short_attack(report: EvaluationReport) -> Check:
    return Check(
        code="short_attack",
        outcome=CheckOutcome.PASSED,
        value=report.robust_accuracy,
        message=f"Ten steps of APGD leave {report.robust_accuracy:.4f} of {report.n_points} points robust.",
    )


def _attack_cost(report: EvaluationReport, points: int, seconds: float, limit_s: float) -> Check:
    """Tell how long the ensemble takes if nothing more breaks than in the short attack."""
    passes = sum(attack.forward_passes + 2 * attack.backward_passes for attack in report.attacks)
    per_pass = seconds / max(passes, 1)
    return _predicted_cost(points * report.robust_accuracy * (_FORWARD + 2 * _BACKWARD) * per_pass, limit_s)


def _predicted_cost(cost: float, limit_s: float) -> Check:
    above = cost > limit_s
    return Check(
        code=PREDICTED_COST,
        outcome=CheckOutcome.REJECTED if above else CheckOutcome.PASSED,
        value=round(cost, 1),
        threshold=limit_s if math.isfinite(limit_s) else None,
        message=f"The evaluation will take about {cost:.0f} seconds of one worker at most.",
        remedy="Submit a smaller or faster model: the board's limit holds for everybody." if above else "",
    )
