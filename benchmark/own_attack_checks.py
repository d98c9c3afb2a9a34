"""What the report of somebody's own attack says of how the function behaved."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

from benchmark.report import Check, CheckOutcome
from benchmark.surroundings import Changes
from benchmark.verdicts import Verdict, largest_distance

_REFUSED = {
    Verdict.NOT_FINITE: "with a value that is NaN or infinite",
    Verdict.OUTSIDE_BOX: "with a value outside [0, 1]",
    Verdict.OVER_BUDGET: "over the budget",
}


@dataclass
class Seen:
    """What was seen of a function's examples and of what it changed.

    Args:
        verdicts: how often each verdict was reached.
        farthest: the largest finite distance of an example.
        changes: what it changed or used.
    """

    verdicts: Counter[Verdict] = field(default_factory=Counter)
    farthest: float = 0.0
    changes: Changes = field(default_factory=Changes)

    @property
    def examples(self) -> int:
        """Examples that were judged."""
        return sum(self.verdicts.values())

    @property
    def refused(self) -> int:
        """Examples that the threat model does not allow."""
        return sum(self.verdicts[verdict] for verdict in _REFUSED)

    def add(self, verdicts: Counter[Verdict], distances: Sequence[float]) -> None:
        """Take in a batch."""
        self.verdicts += verdicts
        self.farthest = max((self.farthest, *(value for value in distances if math.isfinite(value))))


def checks_of(seen: Seen, epsilon: float) -> tuple[Check, ...]:
    """Return the checks of a function that has run on all its points.

    Args:
        seen: what was seen of it.
        epsilon: the budget in pixel units.
    """
    changes = seen.changes
    return (
        _refused(seen, epsilon),
        _unmoved(seen, epsilon),
        _changed("changed_model", changes.model, "the model that it was given", "copy the model before changing it"),
        _changed("changed_points", changes.points, "the images or labels that it was given", "start from x.clone()"),
        _changed("changed_settings", changes.settings, "torch's settings", "put them back, or leave them alone"),
        Check(
            code="global_random_numbers",
            outcome=CheckOutcome.PASSED,
            value=float(changes.random_numbers),
            message=f"The function {'drew' if changes.random_numbers else 'did not draw'} from global random numbers, "
            "which are seeded for every batch.",
        ),
    )


def _refused(seen: Seen, epsilon: float) -> Check:
    examples, refused = seen.examples, seen.refused
    parts = [f"{seen.verdicts[verdict]} {words}" for verdict, words in _REFUSED.items() if seen.verdicts[verdict]]
    reasons = f": {', '.join(parts)}" if parts else ""
    return Check(
        code="refused_examples",
        outcome=CheckOutcome.FLAGGED if refused else CheckOutcome.PASSED,
        value=refused / max(examples, 1),
        threshold=0.0,
        message=f"{refused} of {examples} examples were refused{reasons}. The farthest lies at {seen.farthest:.6g}; "
        f"the budget reaches to {largest_distance(epsilon):.6g}.",
        remedy="Bring the examples within epsilon of x and then into [0, 1]; a refused one breaks nothing."
        if refused
        else "",
    )


def _unmoved(seen: Seen, epsilon: float) -> Check:
    unmoved = seen.examples > seen.verdicts[Verdict.NOT_FINITE] and seen.farthest == 0
    return Check(
        code="unmoved_examples",
        outcome=CheckOutcome.FLAGGED if unmoved else CheckOutcome.PASSED,
        value=seen.farthest / epsilon,
        threshold=0.0,
        message="No example differs from its clean image." if unmoved else "Some examples differ from their images.",
        remedy="Return the adversarial examples rather than x." if unmoved else "",
    )


def _changed(code: str, changed: bool, what: str, remedy: str) -> Check:
    return Check(
        code=code,
        outcome=CheckOutcome.FLAGGED if changed else CheckOutcome.PASSED,
        message=f"The function {'changed' if changed else 'left'} {what}{'' if changed else ' alone'}.",
        remedy=f"{remedy[0].upper()}{remedy[1:]}: the next batch gets everything as it was." if changed else "",
    )
