"""Submissions: sent in, watched, cancelled."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Body, Path, Query, Request, Response

from api.errors import responses
from api.schemas import Reason, SubmissionList, SubmissionRequest
from api.services import Client, Store, Who
from benchmark.report import EvaluationReport
from store.actors import needs_approval, require_account, require_sender
from store.checkpoint_deletion import delete_checkpoint
from store.moderation_views import get_submission_report
from store.rates import Counted
from store.resubmission import require_not_anothers
from store.submissions import cancel, get_submission, list_submissions, submit
from store.submitters import submitter_of
from store.views import SubmissionView

router = APIRouter(prefix="/submissions", tags=["submissions"])

SubmissionId = Annotated[str, Path(max_length=100, description="Id that the submission got when it was received")]


@router.post("", status_code=201, responses=responses(400, 401, 403, 404, 409, 429, 503))
def post_submission(
    body: SubmissionRequest, *, request: Request, response: Response, store: Store, who: Who, client: Client
) -> SubmissionView:
    """Submit a checkpoint that was uploaded before; its live state is at the address in Location."""
    require_sender(who)
    store.rates.spend(Counted.SUBMISSION, who.submitter or client)
    submitter = submitter_of(store.db, who, client)
    require_not_anothers(store.db, submitter, body.checkpoint_sha256)
    view = submit(
        store.db,
        store.blobs,
        body.as_new(),
        store.admission,
        submitter=submitter,
        owner_id=who.account_id,
        needs_approval=needs_approval(who, store.approval),
    )
    response.headers["Location"] = request.url_for("read_submission", submission_id=view.id).path
    return view


@router.get("", responses=responses(401, 403))
def read_submissions(
    store: Store,
    who: Who,
    limit: Annotated[int, Query(ge=1, le=500, description="Most submissions to return")] = 100,
    own: Annotated[bool, Query(description="Only those of the account that asks")] = False,
) -> SubmissionList:
    """List the submissions that whoever asks may see, the latest first."""
    if own:
        require_account(who)
    return SubmissionList(submissions=list_submissions(store.db, limit, who, own=own))


@router.get("/{submission_id}", responses=responses(404))
def read_submission(submission_id: SubmissionId, store: Store, who: Who) -> SubmissionView:
    """Return a submission with its live state, progress and checks."""
    return get_submission(store.db, submission_id, who)


@router.get("/{submission_id}/report", response_model=EvaluationReport, responses=responses(404))
def read_submission_report(submission_id: SubmissionId, store: Store, who: Who) -> Response:
    """Return the report of an evaluated submission in canonical form, to whoever may see it, even before it is
    published."""
    report = get_submission_report(store.db, store.blobs, submission_id, who)
    return Response(report.to_bytes(), media_type="application/json")


@router.post("/{submission_id}/cancel", responses=responses(400, 401, 403, 404, 409))
def cancel_submission(
    submission_id: SubmissionId,
    store: Store,
    who: Who,
    body: Annotated[Reason | None, Body(examples=[{"reason": "Its checkpoint was the wrong one."}])] = None,
) -> SubmissionView:
    """Cancel a submission that has no result yet; the workers drop it within seconds, and its owner reads the reason
    if there is one."""
    return cancel(store.db, submission_id, who, body.reason if body is not None else "")


@router.delete("/{submission_id}/checkpoint", responses=responses(401, 403, 404, 409, 503))
def delete_submitted_checkpoint(submission_id: SubmissionId, store: Store, who: Who) -> SubmissionView:
    """Delete the checkpoint of a submission that has ended; its entry and evidence stay, and say so."""
    return delete_checkpoint(store.db, store.blobs, submission_id, who)
