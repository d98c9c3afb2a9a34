"""What people decide about submissions: approved, declined, withdrawn, restored, revealed, evaluated again; and how
maintainers step in."""

from __future__ import annotations

from fastapi import APIRouter, Request, Response

from api.errors import responses
from api.routes.submissions import SubmissionId
from api.schemas import Priority, Reason
from api.services import Store, Who
from store.again import evaluate_again
from store.analyses import analyse
from store.intervention import fail_by_service, send_again
from store.moderation import approve, decline, restore, reveal, withdraw
from store.queue import set_priority
from store.views import SubmissionView

router = APIRouter(prefix="/submissions/{submission_id}", tags=["moderation"], responses=responses(401, 403, 404, 409))


@router.post("/approve")
def approve_submission(submission_id: SubmissionId, store: Store, who: Who) -> SubmissionView:
    """Publish a submission that is evaluated and waits for a maintainer."""
    return approve(store.db, store.blobs, submission_id, who)


@router.post("/decline", responses=responses(400))
def decline_submission(submission_id: SubmissionId, body: Reason, store: Store, who: Who) -> SubmissionView:
    """Decline to publish a submission that waits for a maintainer; its owner reads the reason."""
    return decline(store.db, submission_id, who, body.reason)


@router.post("/withdraw", responses=responses(400))
def withdraw_submission(submission_id: SubmissionId, body: Reason, store: Store, who: Who) -> SubmissionView:
    """Take an entry off its board; its page stays, and everybody reads the reason there."""
    return withdraw(store.db, submission_id, who, body.reason)


@router.post("/restore")
def restore_submission(submission_id: SubmissionId, store: Store, who: Who) -> SubmissionView:
    """Put a withdrawn entry back on its board."""
    return restore(store.db, submission_id, who)


@router.post("/reveal")
def reveal_submission(submission_id: SubmissionId, store: Store, who: Who) -> SubmissionView:
    """Say who made an anonymous submission, for good."""
    return reveal(store.db, submission_id, who)


@router.post("/re-evaluate", responses=responses(503))
def evaluate_submission_again(submission_id: SubmissionId, store: Store, who: Who) -> SubmissionView:
    """Queue another evaluation of a published entry by its board's present protocol."""
    return evaluate_again(store.db, store.blobs, submission_id, who)


@router.post("/analyse")
def analyse_submission(submission_id: SubmissionId, store: Store, who: Who) -> SubmissionView:
    """Have a published entry analysed beside its robustness, also where it was before; none of it ranks."""
    return analyse(store.db, store.blobs, submission_id, who)


@router.post("/fail", responses=responses(400))
def fail_submission(submission_id: SubmissionId, body: Reason, store: Store, who: Who) -> SubmissionView:
    """Give a submission up through no fault of its model's; its owner reads the reason, and may send it again."""
    return fail_by_service(store.db, submission_id, body.reason, who)


@router.post("/send-again", status_code=201, responses=responses(503))
def send_submission_again(
    submission_id: SubmissionId, *, request: Request, response: Response, store: Store, who: Who
) -> SubmissionView:
    """Take a submission that failed through the service in anew, for whoever had sent it."""
    view = send_again(store.db, store.blobs, store.admission, submission_id, who)
    response.headers["Location"] = request.url_for("read_submission", submission_id=view.id).path
    return view


@router.post("/priority", status_code=204, responses=responses(400))
def prioritise_submission(submission_id: SubmissionId, body: Priority, store: Store, who: Who) -> None:
    """Give the work of a submission another place in the queue."""
    set_priority(store.db, submission_id, body.priority, who)
