"""From the reports of shards to the report of their run. Nothing here needs torch."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterable, Mapping, Sequence

from benchmark.corruption_table import merge_tables
from benchmark.report import (
    AttackOutcome,
    Check,
    CheckOutcome,
    EvaluationReport,
    Evidence,
    Points,
    SandboxLevel,
    SecondAttack,
    Shard,
    canonical_json,
)
from benchmark.summing_up import build_report

MAX_LABEL = 100
"""Characters of the name of what broke a point."""
_SEVERITY = (CheckOutcome.NOT_ASSESSED, CheckOutcome.PASSED, CheckOutcome.FLAGGED, CheckOutcome.REJECTED)


def merge_reports(
    shards: Sequence[EvaluationReport],
    checks: Sequence[Check],
    *,
    policy: int | None = None,
    evidence: Sequence[Evidence] = (),
) -> EvaluationReport:
    """Merge the reports of disjoint shards of one run into the report over all their points.

    Args:
        shards: at least one, in any order; same threat model, protocol, checkpoint and seed.
        checks: the checks of the whole model.
        policy: version of the restrictions that they are of.
        evidence: the tests for gradients that mislead, of the whole model.
    Raises:
        ValueError: there is none, or they overlap or do not belong to one run.
    """
    if not shards:
        raise ValueError("at least one shard is needed")
    shards = sorted(shards, key=lambda shard: shard.points.index[0])
    first = shards[0]
    for shard in shards:
        if _identity(shard) != _identity(first):
            raise ValueError("the shards do not belong to one run")
    points = Points(
        index=tuple(i for shard in shards for i in shard.points.index),
        label=tuple(i for shard in shards for i in shard.points.label),
        robust=tuple(i for shard in shards for i in shard.points.robust),
        broken_by=tuple(i for shard in shards for i in shard.points.broken_by),
        step=tuple(i for shard in shards for i in shard.points.step),
        distance=tuple(i for shard in shards for i in shard.points.distance),
        kept=tuple(i for shard in shards for i in shard.points.kept or ()) if first.corruptions else None,
    )
    tables = [shard.corruptions for shard in shards if shard.corruptions is not None]
    attacks = [_sum_outcomes(list(parts)) for parts in zip(*(shard.attacks for shard in shards), strict=True)]
    seconds = sum(shard.provenance.seconds for shard in shards)
    return build_report(
        norm=first.norm,
        epsilon=first.epsilon,
        dataset=first.dataset,
        protocol=first.protocol,
        attacks=attacks,
        policy=policy,
        checks=checks,
        evidence=evidence,
        second_attack=_joint_attack([shard.second_attack for shard in shards]),
        provenance=first.provenance.model_copy(
            update={"seconds": seconds, "shards": _blocks(shards), "sandbox": _weakest(shards)}
        ),
        points=points,
        corruptions=merge_tables(tables) if tables else None,
        examples_sha256=_joint_sha256([shard.examples_sha256 for shard in shards]),
    )


def worst_of(checks: Iterable[Check]) -> tuple[Check, ...]:
    """Return one check per code, in order of first appearance: the one with the worst outcome."""
    worst: dict[str, Check] = {}
    for check in checks:
        present = worst.setdefault(check.code, check)
        if _SEVERITY.index(check.outcome) > _SEVERITY.index(present.outcome):
            worst[check.code] = check
    return tuple(worst.values())


def worst_case(points: Points, broken: Mapping[int, tuple[str, float]]) -> Points:
    """Return the verdicts on the same points where examples of another evaluation count as well.

    A point that was robust is broken by an example that holds; its step stays None, for nothing but the image is known
    of such an example. A point that was broken, or misclassified clean, stays as it was: who broke it is on record.

    Args:
        points: the verdicts so far.
        broken: for each point with an example that holds, by its position in the data set: what to call the evaluation,
            and the example's distance in the threat model's norm.
    Raises:
        ValueError: an index is none of the points', or a name or distance is none.
    """
    _check_broken(points, broken)
    new = [broken.get(index) if robust else None for index, robust in zip(points.index, points.robust, strict=True)]
    return Points(
        index=points.index,
        label=points.label,
        robust=tuple(robust and example is None for robust, example in zip(points.robust, new, strict=True)),
        broken_by=tuple(
            by if example is None else example[0] for by, example in zip(points.broken_by, new, strict=True)
        ),
        step=points.step,
        distance=tuple(
            known if example is None else example[1] for known, example in zip(points.distance, new, strict=True)
        ),
        kept=points.kept,
    )


def _check_broken(points: Points, broken: Mapping[int, tuple[str, float]]) -> None:
    unknown = broken.keys() - set(points.index)
    if unknown:
        raise ValueError(f"points: there is no point {min(unknown)}")
    for index, (name, distance) in broken.items():
        # That name is taken: it would lower the standard accuracy.
        if not 0 < len(name) <= MAX_LABEL or name == "clean":
            raise ValueError(f'point {index}: what broke it needs a name of 1 to {MAX_LABEL} characters, not "clean"')
        if not (math.isfinite(distance) and distance >= 0):
            raise ValueError(f"point {index}: its distance must be a finite number from 0")


def _blocks(shards: Sequence[EvaluationReport]) -> tuple[Shard, ...]:
    return tuple(
        Shard(
            points=shard.n_points,
            examples_sha256=shard.examples_sha256,
            threads=shard.provenance.threads,
            layout=shard.provenance.layout,
            device=shard.provenance.device,
            hardware=shard.provenance.hardware,
            versions=shard.provenance.versions,
            sandbox=shard.provenance.sandbox,
        )
        for shard in shards
    )


def _weakest(shards: Sequence[EvaluationReport]) -> SandboxLevel | None:
    levels = [shard.provenance.sandbox for shard in shards]
    known = [level for level in levels if level is not None]
    return min(known, key=lambda level: level.rank) if len(known) == len(levels) else None


def _joint_sha256(hashes: Sequence[str | None]) -> str | None:
    if len(hashes) == 1:
        return hashes[0]
    known = [bytes.fromhex(sha256) for sha256 in hashes if sha256 is not None]
    return hashlib.sha256(b"".join(known)).hexdigest() if len(known) == len(hashes) else None


def _identity(report: EvaluationReport) -> tuple[object, ...]:
    provenance = report.provenance
    return (
        report.schema_version,
        report.norm,
        report.epsilon,
        report.dataset,
        report.protocol,
        tuple((attack.name, canonical_json(attack.parameters)) for attack in report.attacks),
        provenance.checkpoint_sha256,
        provenance.seed,
        provenance.slot_width,
        provenance.precision,
    )


def _joint_attack(parts: Sequence[SecondAttack | None]) -> SecondAttack | None:
    """Join what the second attack found in each shard; shards in which no point was left have none."""
    found = [part for part in parts if part is not None]
    if not found:
        return None
    outcome = _sum_outcomes([part.outcome for part in found])
    left = outcome.attacked - outcome.broken
    return SecondAttack(
        protocol=found[0].protocol,
        outcome=outcome.model_copy(update={"robust_accuracy_after": left / max(outcome.attacked, 1)}),
        index=tuple(i for part in found for i in part.index),
        broken=tuple(i for part in found for i in part.broken),
        distance=tuple(i for part in found for i in part.distance),
        examples_sha256=_joint_sha256([part.examples_sha256 for part in found]),
    )


def _sum_outcomes(parts: list[AttackOutcome]) -> AttackOutcome:
    counts = ("attacked", "broken", "over_budget", "forward_passes", "backward_passes", "seconds")
    return parts[0].model_copy(update={name: sum(getattr(part, name) for part in parts) for name in counts})
