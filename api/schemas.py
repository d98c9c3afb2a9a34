"""What the API says beyond the store's own views."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, StrictInt

from store.audit import AuditView
from store.queue import MOST_PRIORITY
from store.submission_log import LogLine
from store.views import BoardSummary, ExternalView, NewExternal, NewSubmission, SubmissionView


class Upload(BaseModel):
    """A file in the blob store."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"sha256": "9f" * 32, "bytes": 145_832}]})

    sha256: str
    bytes: int


class PartialUpload(BaseModel):
    """What has arrived of a file that comes in several goes."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"sha256": "9f" * 32, "received": 65_536}]})

    sha256: str
    received: int


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


class Reason(BaseModel):
    """Why something is decided; whoever it is decided about reads it."""

    model_config = ConfigDict(
        extra="forbid", json_schema_extra={"examples": [{"reason": "The paper was retracted by its authors."}]}
    )

    reason: str = Field(max_length=4_000)


class Priority(BaseModel):
    """A place in the queue: the greater is claimed first, 0 is normal."""

    model_config = ConfigDict(extra="forbid", json_schema_extra={"examples": [{"priority": 10}]})

    priority: StrictInt = Field(ge=-MOST_PRIORITY, le=MOST_PRIORITY)


class Requeued(BaseModel):
    """The pieces of work that anybody may claim now."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"pieces": [17]}]})

    pieces: tuple[int, ...]


class AuditList(BaseModel):
    """What people with accounts did, the latest first."""

    records: tuple[AuditView, ...]


class SubmissionList(BaseModel):
    """Submissions, the latest first."""

    submissions: tuple[SubmissionView, ...]


class LogLines(BaseModel):
    """What happened to a submission, in order, and last how its work stands."""

    lines: tuple[LogLine, ...]


class ExternalRequest(NewExternal):
    """Adversarial examples for an entry; a field that it does not know is an error, not ignored."""

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={
            "examples": [
                {
                    "examples_sha256": "9f" * 32,
                    "points": [3, 17, 20],
                    "title": "A closer walk to the boundary",
                    "authors": "Jane Doe",
                    "paper_url": "https://example.org/paper",
                    "attack": "MultiTargeted, 20 restarts, on the logits before the last scaling",
                }
            ]
        },
    )

    def as_new(self) -> NewExternal:
        """Return what the store takes."""
        return NewExternal(**{name: getattr(self, name) for name in NewExternal.model_fields})


class ExternalList(BaseModel):
    """Evaluations by others, the latest first."""

    external_evaluations: tuple[ExternalView, ...]


class ZooFile(BaseModel):
    """A checkpoint of the zoo that may be passed on."""

    model_id: str
    dataset: str
    threat_models: tuple[str, ...]
    sha256: str
    bytes: int
    licence: str
    """SPDX identifier."""


class ZooFileList(BaseModel):
    """All of them that this service has."""

    checkpoints: tuple[ZooFile, ...]


class BoardList(BaseModel):
    """All official boards."""

    boards: tuple[BoardSummary, ...]


class Health(BaseModel):
    """That the process is alive, and its version."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"status": "ok", "version": "0.1.0"}]})

    status: str = Field(pattern="^ok$")
    version: str


class Readiness(BaseModel):
    """That the service can do its work, and what it does without for now."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"status": "degraded", "broker": "down"}]})

    status: Literal["ready", "degraded"]
    broker: Literal["none", "up", "down"]
    """"none" where work is done without one. While it is down, submissions are taken in and wait."""


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
