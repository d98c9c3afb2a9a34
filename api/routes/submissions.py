"""Submissions: sent in, watched, cancelled."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Path, Query, Request, Response

from api.errors import responses
from api.schemas import SubmissionList, SubmissionRequest
from api.services import Store
from store.submissions import cancel, get_submission, list_submissions, submit
from store.submitters import submitter_at
from store.views import SubmissionView

router = APIRouter(prefix="/submissions", tags=["submissions"])

SubmissionId = Annotated[str, Path(max_length=100, description="Id that the submission got when it was received")]


@router.post("", status_code=201, responses=responses(400, 409, 503))
def post_submission(body: SubmissionRequest, request: Request, response: Response, store: Store) -> SubmissionView:
    """Submit a checkpoint that was uploaded before; its live state is at the address in Location."""
    submitter = submitter_at(store.db, request.client.host if request.client else "")
    view = submit(store.db, store.blobs, body.as_new(), store.admission, submitter=submitter)
    response.headers["Location"] = request.url_for("read_submission", submission_id=view.id).path
    return view


@router.get("", responses=responses())
def read_submissions(store: Store, limit: Annotated[int, Query(ge=1, le=500)] = 100) -> SubmissionList:
    """List submissions, the latest first."""
    return SubmissionList(submissions=list_submissions(store.db, limit))


@router.get("/{submission_id}", responses=responses(404))
def read_submission(submission_id: SubmissionId, store: Store) -> SubmissionView:
    """Return a submission with its live state, progress and checks."""
    return get_submission(store.db, submission_id)


@router.post("/{submission_id}/cancel", responses=responses(404, 409))
def cancel_submission(submission_id: SubmissionId, store: Store) -> SubmissionView:
    """Cancel a submission that has no result yet; the workers drop it within seconds."""
    return cancel(store.db, submission_id)
