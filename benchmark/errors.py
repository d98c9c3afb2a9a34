"""The one error family of Gauntlet and the one JSON shape it takes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Self


@dataclass(frozen=True)
class ErrorDetail:
    """Where the input was wrong, in terms its author can act on.

    Args:
        field: name of the offending field, parameter or file part.
        found: what was there.
        expected: what should have been there.
        remedy: what to do about it.
    """

    field: str
    found: str
    expected: str
    remedy: str

    def as_json(self) -> dict[str, str]:
        """Return the detail as the JSON object every interface shows."""
        return {"field": self.field, "found": self.found, "expected": self.expected, "remedy": self.remedy}


class GauntletError(Exception):
    """Base of every error that Gauntlet raises on purpose.

    Args:
        message: one sentence that says what is wrong.
        detail: field, found, expected and remedy, where the input is at fault.
    """

    code: ClassVar[str] = "gauntlet_error"

    def __init__(self, message: str, detail: ErrorDetail | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.detail = detail

    def as_json(self) -> dict[str, dict[str, object]]:
        """Return ``{"error": {"code", "message", "detail"}}``."""
        detail = self.detail.as_json() if self.detail else None
        return {"error": {"code": self.code, "message": self.message, "detail": detail}}


class InvalidInput(GauntletError):
    """An argument cannot be used as it is."""

    code = "invalid_input"

    @classmethod
    def because(cls, field: str, *, found: object, expected: str, remedy: str) -> Self:
        """Build the error from its four parts."""
        return cls(f"{field}: found {found}, expected {expected}.", ErrorDetail(field, str(found), expected, remedy))


class UnsupportedNorm(InvalidInput):
    """The threat model's norm is not one the attack is defined for."""

    code = "unsupported_norm"


class InvalidSubmission(InvalidInput):
    """A submission or its checkpoint breaks a rule that is checked before any evaluation."""

    code = "invalid_submission"


class InvalidCheckpoint(InvalidInput):
    """A checkpoint file is not what its format or its architecture says."""

    code = "invalid_checkpoint"


class InvalidExamples(InvalidInput):
    """A file of adversarial examples is not what its format says, or does not fit the points it is for."""

    code = "invalid_examples"


class InvalidData(InvalidInput):
    """A file of a data set is damaged, or is not what its format or its data set says."""

    code = "invalid_data"


class NotFound(InvalidInput):
    """No such board, model, submission, checkpoint or file."""

    code = "not_found"


class Conflict(InvalidInput):
    """The request contradicts the present state."""

    code = "conflict"


class TooLarge(InvalidInput):
    """A body or file exceeds its limit."""

    code = "too_large"


class EvaluationFailed(GauntletError):
    """An evaluation could not be completed; it never counts as robustness."""

    code = "evaluation_failed"
