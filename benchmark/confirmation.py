"""Whether the examples of a report still hold where another process judges them, with nothing but the files.

Nothing here needs torch.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from benchmark.report import Check, CheckOutcome, EvaluationReport
from benchmark.verdicts import Verdict, Verdicts

CODE = "unconfirmed_examples"
_PERMILLE = 2
"""Of a thousand points so many may be judged otherwise, as at the very edge of the decision on another processor."""


def expected_verdicts(report: EvaluationReport) -> Iterator[tuple[tuple[int, ...], tuple[bool, ...]]]:
    """Yield what must be found in each file of a report's examples: positions of its points, and which are broken.

    The first file holds the examples of all points, the second, where there is one, those of the second attack. Where
    nobody attacked, there are none.
    """
    if report.corruptions is not None:
        return
    yield report.points.index, tuple(not robust for robust in report.points.robust)
    if report.second_attack is not None:
        yield report.second_attack.index, report.second_attack.broken


def unconfirmed(expected: Sequence[tuple[tuple[int, ...], tuple[bool, ...]]], found: Sequence[Verdicts]) -> set[int]:
    """Return the points, by position in the data set, that are broken in one of the two and not in the other.

    Args:
        expected: see `expected_verdicts`, of all reports.
        found: the verdicts on each of these files, in the same order.
    Raises:
        ValueError: they are not about the same points.
    """
    points: set[int] = set()
    for (index, broken), verdicts in zip(expected, found, strict=True):
        if verdicts.index != index:
            raise ValueError("verdicts: they are about other points")
        holds = (verdict is Verdict.HOLDS for verdict in verdicts.verdict)
        points.update(point for point, was, again in zip(index, broken, holds, strict=True) if was != again)
    return points


def confirmation_check(points: int, count: int) -> Check:
    """Tell how many points another process judges otherwise.

    Args:
        points: all points of the evaluation.
        count: those that are judged otherwise.
    """
    outcome = CheckOutcome.PASSED
    if count:
        outcome = CheckOutcome.REJECTED if 1_000 * count > _PERMILLE * points else CheckOutcome.FLAGGED
    message = f"Another process, which had nothing but the files, judged {count} of {points} points otherwise."
    return Check(
        code=CODE,
        outcome=outcome,
        value=count / points,
        threshold=_PERMILLE / 1_000 if outcome is CheckOutcome.REJECTED else 1 / points,
        message=message,
        remedy="Make the model's answers depend on the image alone: not on the process, the order or the time."
        if count
        else "",
    )
