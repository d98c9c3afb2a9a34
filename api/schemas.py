"""What the API says beyond the store's own views."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field

from store.views import BoardSummary, NewSubmission, SubmissionView


class Upload(BaseModel):
    """A file in the blob store."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"sha256": "9f" * 32, "bytes": 145_832}]})

    sha256: str
    bytes: int


class SubmissionRequest(NewSubmission):
    """A submission; a field that it does not know is an error, not ignored."""

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={
            "examples": [
                {
                    "name": "Doe2026Careful",
                    "dataset": "digits",
                    "threat_model": "Linf",
                    "architecture": "digits_cnn",
                    "checkpoint_sha256": "9f" * 32,
                    "title": "Careful training of small networks",
                    "authors": "Jane Doe",
                    "paper_url": "https://example.org/paper",
                    "extra_data": "none",
                    "claimed_robust_accuracy": 0.62,
                }
            ]
        },
    )

    def as_new(self) -> NewSubmission:
        """Return what the store takes."""
        return NewSubmission(**{name: getattr(self, name) for name in NewSubmission.model_fields})


class SubmissionList(BaseModel):
    """Submissions, the latest first."""

    submissions: tuple[SubmissionView, ...]


class BoardList(BaseModel):
    """All official boards."""

    boards: tuple[BoardSummary, ...]


class Health(BaseModel):
    """That the service answers, and its version."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"status": "ok", "version": "0.1.0"}]})

    status: str = Field(pattern="^ok$")
    version: str


class ErrorDetailBody(BaseModel):
    """Where the input was wrong."""

    field: str
    found: str
    expected: str
    remedy: str


class ErrorBody(BaseModel):
    """What went wrong."""

    code: str
    message: str
    detail: ErrorDetailBody | None


class ErrorResponse(BaseModel):
    """The shape of every error."""

    error: ErrorBody
