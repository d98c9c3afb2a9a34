"""The verdict on every adversarial example of a file, for whoever checks them again. Nothing here needs torch."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from enum import StrEnum
from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from benchmark.errors import InvalidInput
from benchmark.report import (
    MAX_POINTS,
    MAX_POINTS_BYTES,
    Count,
    Name,
    Part,
    SandboxLevel,
    Sha256,
    Text,
    canonical_json,
)
from benchmark.threat_models import NormName, ThreatModel

RELATIVE_TOLERANCE = 1e-5
ABSOLUTE_TOLERANCE = 1e-7
"""A float32 clamp of x ± epsilon overshoots by up to 2e-6 relative; nothing honest needs more than this."""

MAX_VERDICTS_BYTES = MAX_POINTS_BYTES

Distance = Annotated[float, Field(ge=0, allow_inf_nan=False)]


class Verdict(StrEnum):
    """What an example is worth: the first of these that applies, else that it holds."""

    HOLDS = "holds"
    """Permitted by the threat model and misclassified: the point is broken."""
    NOT_FINITE = "not_finite"
    """A value is NaN or infinite."""
    OUTSIDE_BOX = "outside_box"
    """A value is below 0 or above 1."""
    OVER_BUDGET = "over_budget"
    """It is farther from the clean point than epsilon and the tolerance allow."""
    CLASSIFIED_CORRECTLY = "classified_correctly"
    """The model gives it the point's label."""


class Verdicts(Part):
    """The verdicts on one example for each of some points, column by column, and where they were reached."""

    schema_version: Literal[1] = 1
    norm: NormName
    epsilon: Name
    """The budget as an exact fraction, such as "8/255"."""
    dataset: Name | None
    checkpoint_sha256: Sha256 | None = None
    examples_sha256: Sha256
    """Hash of the examples in their order, of their float32 values as little-endian bytes: what the report of an
    evaluation in one piece says of its own."""
    index: tuple[Count, ...]
    """Position in the data set."""
    verdict: tuple[Verdict, ...]
    distance: tuple[Distance | None, ...]
    """Distance from the clean point in the threat model's norm; None where the example is not finite."""
    slot_width: Count
    """Rows of a full batch."""
    threads: Count
    device: Name
    hardware: Text
    versions: dict[Name, Text]
    sandbox: SandboxLevel | None = None
    """What was around the process that ran the model; None where it was the caller's."""

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        columns = (self.verdict, self.distance)
        if not 0 < len(self.index) <= MAX_POINTS or any(len(column) != len(self.index) for column in columns):
            raise ValueError("verdicts: every column must have one value per point")
        if any(a >= b for a, b in zip(self.index, self.index[1:], strict=False)):
            raise ValueError("verdicts.index: must increase strictly")
        limit = largest_distance(_budget(self.norm, self.epsilon).radius)
        if not all(_agree(*row, limit) for row in zip(self.verdict, self.distance, strict=True)):
            raise ValueError("verdicts: a verdict contradicts its distance")
        return self

    @property
    def counts(self) -> Mapping[Verdict, int]:
        """How often each verdict was reached, those that never were included."""
        counts = Counter(self.verdict)
        return {verdict: counts[verdict] for verdict in Verdict}

    @property
    def broken(self) -> tuple[int, ...]:
        """Positions in the data set of the points whose examples hold."""
        return tuple(index for index, verdict in zip(self.index, self.verdict, strict=True) if verdict is Verdict.HOLDS)

    def to_bytes(self) -> bytes:
        """Return canonical JSON, equal for equal verdicts."""
        return canonical_json(self.model_dump(mode="json"))

    @classmethod
    def from_bytes(cls, data: bytes) -> Verdicts:
        """Read what `to_bytes` wrote.

        Raises:
            ValueError: the verdicts are inconsistent or too large.
        """
        if len(data) > MAX_VERDICTS_BYTES:
            raise ValueError(f"verdicts: more than {MAX_VERDICTS_BYTES} bytes")
        return cls.model_validate_json(data)


def largest_distance(epsilon: float) -> float:
    """Return the distance up to which an example counts as within the budget.

    Args:
        epsilon: the budget in pixel units.
    """
    return epsilon * (1 + RELATIVE_TOLERANCE) + ABSOLUTE_TOLERANCE


def _budget(norm: str, epsilon: str) -> ThreatModel:
    try:
        budget = ThreatModel(norm, epsilon)
    except InvalidInput as error:
        raise ValueError(f"verdicts.{error.message}") from error
    if str(budget.epsilon) != epsilon:
        raise ValueError(f"verdicts.epsilon: must be written as {budget.epsilon}")
    return budget


def _agree(verdict: Verdict, distance: float | None, limit: float) -> bool:
    if distance is None or verdict is Verdict.NOT_FINITE:
        return distance is None and verdict is Verdict.NOT_FINITE
    return verdict is Verdict.OUTSIDE_BOX or (distance > limit) == (verdict is Verdict.OVER_BUDGET)
