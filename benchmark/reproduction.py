"""Whether a repeated evaluation gave what a report says; if not, what differs: the surroundings, then the results.

Nothing here needs torch.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import accumulate, pairwise
from typing import Literal

from benchmark.report import TIMED_CHECKS, AttackOutcome, Check, Count, EvaluationReport, Name, Part, Sha256, Text

_SETTINGS = ("seed", "slot_width", "threads", "layout", "precision", "device", "hardware")
_OF_A_SHARD = ("threads", "layout", "device", "hardware")
_COUNTS = ("attacked", "broken", "over_budget", "forward_passes", "backward_passes")


class Difference(Part):
    """A fact that is not as recorded."""

    name: Name
    recorded: Text
    found: Text


class ChangedPoint(Part):
    """A point whose verdict is not as recorded."""

    index: Count
    """Position in the data set."""
    recorded: Name | None
    """Name of the attack that broke it, "clean", or None where it is robust."""
    found: Name | None
    robustness_changed: bool
    """Whether it is robust in one of the two and not in the other; else only another attack broke it."""


class Reproduction(Part):
    """A report beside the same evaluation, run again."""

    bit_identical: bool
    """Whether all that ``results_sha256`` covers is equal, apart from the surroundings."""
    recorded_results_sha256: Sha256
    found_results_sha256: Sha256
    environment: tuple[Difference, ...]
    """Versions, hardware, threads, layout and the like that are not as recorded: they can explain what follows."""
    recorded_robust_accuracy: float
    found_robust_accuracy: float
    changed_points: tuple[ChangedPoint, ...]
    """Points with another verdict."""
    moved_points: tuple[Count, ...]
    """Points with the same verdict at another step or distance."""
    examples: Literal["equal", "different", "not recorded"]
    attacks: tuple[Difference, ...]
    """Counts and parameters of attacks that are not as recorded, of the second one too."""
    checks: tuple[Difference, ...]
    """Checks and evidence with another outcome, value or message; measured times are left out."""


def compare_runs(recorded: EvaluationReport, found: EvaluationReport) -> Reproduction:
    """Say whether an evaluation gave again what its report says.

    Args:
        recorded: the report.
        found: that of the same evaluation, run again on the same points.
    """
    same_surroundings = found.model_copy(update={"provenance": recorded.provenance})
    if recorded.examples_sha256 is None:  # an older report
        same_surroundings = same_surroundings.model_copy(update={"examples_sha256": None})
    return Reproduction(
        bit_identical=same_surroundings.results_sha256() == recorded.results_sha256(),
        recorded_results_sha256=recorded.results_sha256(),
        found_results_sha256=found.results_sha256(),
        environment=_environment(recorded, found),
        recorded_robust_accuracy=recorded.robust_accuracy,
        found_robust_accuracy=found.robust_accuracy,
        changed_points=_changed(recorded, found),
        moved_points=_moved(recorded, found),
        examples=_examples(recorded.examples_sha256, found.examples_sha256),
        attacks=_attacks(_all_attacks(recorded), _all_attacks(found)),
        checks=_checks((*recorded.checks, *recorded.evidence), (*found.checks, *found.evidence)),
    )


def _environment(recorded: EvaluationReport, found: EvaluationReport) -> tuple[Difference, ...]:
    one, other = recorded.provenance, found.provenance
    differences = _differences(
        {name: getattr(one, name) for name in _SETTINGS} | _versions(one.versions),
        {name: getattr(other, name) for name in _SETTINGS} | _versions(other.versions),
    )
    if one.shards is None or other.shards is None:
        return differences
    bounds = pairwise(accumulate((shard.points for shard in one.shards), initial=0))
    for (first, last), shard, again in zip(bounds, one.shards, other.shards, strict=True):
        of_shard = _differences(
            {name: getattr(shard, name) for name in _OF_A_SHARD} | _versions(shard.versions),
            {name: getattr(again, name) for name in _OF_A_SHARD} | _versions(again.versions),
        )
        # What holds for the whole run need not be said of each of its shards.
        differences += tuple(
            difference.model_copy(update={"name": f"{difference.name} of points {first} to {last - 1}"})
            for difference in of_shard
            if difference not in differences
        )
    return differences


def _versions(versions: Mapping[str, str]) -> dict[str, object]:
    return {f"version of {package}": version for package, version in versions.items()}


def _changed(recorded: EvaluationReport, found: EvaluationReport) -> tuple[ChangedPoint, ...]:
    rows = zip(found.points.index, recorded.points.broken_by, found.points.broken_by, strict=True)
    return tuple(
        ChangedPoint(index=index, recorded=one, found=other, robustness_changed=(one is None) != (other is None))
        for index, one, other in rows
        if one != other
    )


def _moved(recorded: EvaluationReport, found: EvaluationReport) -> tuple[int, ...]:
    columns = [
        zip(report.points.broken_by, report.points.step, report.points.distance, strict=True)
        for report in (recorded, found)
    ]
    rows = zip(found.points.index, *columns, strict=True)
    return tuple(index for index, one, other in rows if one[0] == other[0] and one != other)


def _examples(recorded: str | None, found: str | None) -> Literal["equal", "different", "not recorded"]:
    if recorded is None:
        return "not recorded"
    return "equal" if recorded == found else "different"


def _all_attacks(report: EvaluationReport) -> tuple[AttackOutcome, ...]:
    """Return the attacks of the ensemble, and the second attack under a name of its own."""
    if report.second_attack is None:
        return report.attacks
    outcome = report.second_attack.outcome
    return (*report.attacks, outcome.model_copy(update={"name": f"unannounced {outcome.name}"}))


def _attacks(recorded: Sequence[AttackOutcome], found: Sequence[AttackOutcome]) -> tuple[Difference, ...]:
    def facts(attacks: Sequence[AttackOutcome]) -> dict[str, object]:
        counts = {f"{attack.name}: {name}": getattr(attack, name) for attack in attacks for name in _COUNTS}
        return counts | {
            f"{attack.name}: {name}": value for attack in attacks for name, value in attack.parameters.items()
        }

    return _differences(facts(recorded), facts(found))


def _checks(recorded: Sequence[Check], found: Sequence[Check]) -> tuple[Difference, ...]:
    def facts(checks: Sequence[Check]) -> dict[str, object]:
        return {
            check.code: f"{check.outcome.value}, value {check.value}: {check.message}"
            for check in checks
            if check.code not in TIMED_CHECKS
        }

    return _differences(facts(recorded), facts(found))


def _differences(recorded: Mapping[str, object], found: Mapping[str, object]) -> tuple[Difference, ...]:
    names = [*recorded, *(name for name in found if name not in recorded)]
    return tuple(
        Difference(name=name[:100], recorded=str(recorded.get(name))[:2_000], found=str(found.get(name))[:2_000])
        for name in names
        if recorded.get(name) != found.get(name)
    )
