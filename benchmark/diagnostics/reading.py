"""How a measurement becomes evidence."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from benchmark.diagnostics.sample import Sample
from benchmark.report import CheckOutcome, Evidence

Diagnostic = Callable[[Sample], Evidence]

_SHARE = 0.03
_POINTS = 2


@dataclass(frozen=True)
class Reading:
    """What the outcomes of a test say.

    Args:
        code: the symptom that the test looks for.
        flagged: what it means where it is there.
        passed: what it means where it is not.
        remedy: what the author can do about it.
    """

    code: str
    flagged: str
    passed: str
    remedy: str

    def evidence(
        self,
        *,
        flagged: bool,
        value: float,
        threshold: float,
        message: str,
        numbers: Mapping[str, float],
    ) -> Evidence:
        """Return the evidence.

        Args:
            flagged: whether the symptom is there.
            value: the number that decides.
            threshold: the value from which on it is there.
            message: what was measured, in one sentence.
            numbers: everything that was measured.
        """
        return Evidence(
            code=self.code,
            outcome=CheckOutcome.FLAGGED if flagged else CheckOutcome.PASSED,
            value=value,
            threshold=threshold,
            message=message,
            remedy=self.remedy if flagged else "",
            numbers={name: float(number) for name, number in numbers.items()},
            meaning=self.flagged if flagged else self.passed,
        )

    def not_assessed(self, why: str, numbers: Mapping[str, float] | None = None) -> Evidence:
        """Return evidence of a test that could not decide, for a reason that is half a sentence."""
        return not_assessed(self.code, why, numbers)


def not_assessed(code: str, why: str, numbers: Mapping[str, float] | None = None) -> Evidence:
    """Return evidence of a test that was not run or could not decide."""
    return Evidence(
        code=code,
        outcome=CheckOutcome.NOT_ASSESSED,
        message=f"Not assessed: {why}.",
        remedy="Judge the robust accuracy by the other tests.",
        numbers={name: float(number) for name, number in (numbers or {}).items()},
        meaning="This test says nothing for or against the robust accuracy.",
    )


def least_share(points: int, share: float = _SHARE) -> float:
    """Return the share of the points from which on a symptom is there: never a single point, whatever the number."""
    return max(share, _POINTS / points)
