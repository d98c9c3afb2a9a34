"""From the verdicts on points to a report: accuracies, intervals, and what the attacks' counts say of them.

Nothing here needs torch.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from benchmark.corruption_table import CorruptionTable
from benchmark.report import (
    AttackOutcome,
    Check,
    CheckOutcome,
    ClassAccuracy,
    EvaluationReport,
    Evidence,
    Interval,
    Points,
    Provenance,
    SecondAttack,
    kept_of,
    scores_of,
)


def wilson_interval(successes: int, trials: int) -> Interval:
    """Return the 95 % Wilson score interval of ``successes / trials``.

    Source:
        Wilson 1927, with z = 1.959964.
    """
    return _wilson(successes / trials, trials)


def _wilson(rate: float, trials: float) -> Interval:
    z = 1.959964
    centre = (rate + z * z / (2 * trials)) / (1 + z * z / trials)
    half = z / (1 + z * z / trials) * math.sqrt(rate * (1 - rate) / trials + z * z / (4 * trials * trials))
    return Interval(low=max(0.0, centre - half), high=min(1.0, centre + half))


def clustered_interval(kept: Sequence[int], cells: int) -> Interval:
    """Return a 95 % interval of the share of images that are kept, where images of one point resemble each other.

    Args:
        kept: of each point, in how many cells it is classified correctly.
        cells: number of cells.
    Returns:
        Wilson's interval for as many independent images as vary as much between points: from the number of points,
        where a point is right in all cells or in none, up to the number of images, where they have nothing in common.
    Source:
        Kish 1965, Survey Sampling, section 8.2: the effective number of trials in clusters.
    """
    points = len(kept)
    rate = sum(kept) / (points * cells)
    between = math.fsum((one / cells - rate) ** 2 for one in kept) / points
    images = points * cells
    effective = rate * (1 - rate) * points / between if between > 0 else images
    return _wilson(rate, min(max(effective, points), images))


def unreliability_check(n_points: int, attacks: Sequence[AttackOutcome]) -> Check:
    """Tell whether Square found more than 0.2 points that the white-box attacks had missed.

    The rule is in integers, so that one point of 500 does not wobble: flagged iff 1000 × broken > 2 × n.
    """
    code, threshold = "square_helps", 0.002
    square = [attack for attack in attacks if attack.name.startswith("square")]
    if not square or len(square) == len(attacks) or not attacks[-1].name.startswith("square"):
        return Check(
            code=code,
            outcome=CheckOutcome.NOT_ASSESSED,
            threshold=threshold,
            message="The protocol does not run Square after all its white-box attacks.",
            remedy="Evaluate with the standard protocol.",
        )
    broken = sum(attack.broken for attack in square)
    flagged = 1000 * broken > 2 * n_points
    return Check(
        code=code,
        outcome=CheckOutcome.FLAGGED if flagged else CheckOutcome.PASSED,
        value=broken / n_points,
        threshold=threshold,
        message=f"Square broke {broken} of {n_points} points that the white-box attacks had missed.",
        remedy="The gradients may be masked: an adaptive attack will probably find a lower value." if flagged else "",
    )


def unannounced_check(second: SecondAttack) -> Check:
    """Tell whether an attack of another family found points that the whole ensemble had missed.

    Source:
        The threshold is far above what honest models show: of the eight that come with the program, each under each
        family, none lost more than one point of 64.
    """
    attacked, broken = len(second.index), sum(second.broken)
    flagged = broken >= _UNANNOUNCED_LEAST and 100 * broken >= _UNANNOUNCED_PERCENT * attacked
    return Check(
        code="unannounced_attack",
        outcome=CheckOutcome.FLAGGED if flagged else CheckOutcome.PASSED,
        value=broken / max(attacked, 1),
        threshold=_UNANNOUNCED_PERCENT / 100,
        message=f"An attack that was not announced, {second.outcome.name}, broke {broken} of {attacked} points that "
        "all others had left.",
        remedy="The model may be made for the announced attacks: expect an adaptive one to find a lower value."
        if flagged
        else "",
    )


_UNANNOUNCED_LEAST, _UNANNOUNCED_PERCENT = 3, 5


def build_report(
    *,
    norm: str,
    epsilon: str,
    dataset: str | None,
    protocol: str,
    attacks: Sequence[AttackOutcome],
    checks: Sequence[Check],
    provenance: Provenance,
    points: Points,
    policy: int | None = None,
    evidence: Sequence[Evidence] = (),
    second_attack: SecondAttack | None = None,
    corruptions: CorruptionTable | None = None,
    examples_sha256: str | None = None,
) -> EvaluationReport:
    """Derive every summary number from the points and return the report.

    Each attack's ``robust_accuracy_after`` and the checks of whether Square or the second attack helps are computed
    here, so that a report over all points and a report merged from shards are made by the same code.
    """
    n_points, standard_accuracy, robust_accuracy = scores_of(points, corruptions)
    correct = round(n_points * standard_accuracy)
    left, outcomes = correct, []
    for attack in attacks:
        left -= attack.broken
        outcomes.append(attack.model_copy(update={"robust_accuracy_after": left / n_points}))
    return EvaluationReport(
        norm=norm,
        epsilon=epsilon,
        dataset=dataset,
        protocol=protocol,
        n_points=n_points,
        standard_accuracy=standard_accuracy,
        standard_interval=wilson_interval(correct, n_points),
        robust_accuracy=robust_accuracy,
        robust_interval=_robust_interval(points, corruptions),
        attacks=tuple(outcomes),
        policy=policy,
        evidence=tuple(evidence),
        checks=(
            *(check for check in checks if check.code not in {"square_helps", "unannounced_attack"}),
            *((unreliability_check(n_points, outcomes),) if corruptions is None else ()),
            *((unannounced_check(second_attack),) if second_attack is not None else ()),
        ),
        classwise=_classwise(points, corruptions),
        provenance=provenance,
        points=points,
        second_attack=second_attack,
        corruptions=corruptions,
        examples_sha256=examples_sha256,
    )


def _robust_interval(points: Points, corruptions: CorruptionTable | None) -> Interval:
    kept, of = kept_of(points, corruptions)
    return wilson_interval(sum(kept), len(kept)) if of == 1 else clustered_interval(kept, of)


def _classwise(points: Points, corruptions: CorruptionTable | None) -> tuple[ClassAccuracy, ...]:
    kept, of = kept_of(points, corruptions)
    rows: dict[int, list[tuple[bool, int]]] = {}
    for label, times, by in zip(points.label, kept, points.broken_by, strict=True):
        rows.setdefault(label, []).append((by != "clean", times))
    return tuple(
        ClassAccuracy(
            label=label,
            points=len(verdicts),
            standard_accuracy=sum(correct for correct, _ in verdicts) / len(verdicts),
            robust_accuracy=sum(times for _, times in verdicts) / (len(verdicts) * of),
        )
        for label, verdicts in sorted(rows.items())
    )
