"""What the owners of submissions are told of them."""

from __future__ import annotations

from collections.abc import Mapping

from sqlalchemy.orm import Session

from store.notices import Event, entry_path, tell
from store.tables import SubmissionRow
from store.views import State

_TOLD: Mapping[State, tuple[Event, str]] = {
    State.RECEIVED: (Event.SUBMISSION_RECEIVED, "was received; its check is queued"),
    State.QUEUED: (Event.SUBMISSION_CHECKED, "has passed its check and waits for its evaluation"),
    State.REJECTED: (Event.SUBMISSION_REJECTED, "was rejected"),
    State.PUBLISHED: (Event.SUBMISSION_PUBLISHED, "is published"),
    State.FAILED: (Event.SUBMISSION_FAILED, "failed"),
    State.CANCELLED: (Event.SUBMISSION_CANCELLED, "was cancelled"),
    State.WITHDRAWN: (Event.SUBMISSION_WITHDRAWN, "was withdrawn from its board"),
}
_LONGEST_REASON = 400


def tell_owner(session: Session, row: SubmissionRow, to: State, by: str | None = None) -> None:
    """Tell the owner of a submission that it has come to a new state, unless that is their own doing.

    Args:
        session: the transaction that moves it.
        row: the submission, as it is now.
        to: the state that it is in now.
        by: the account that has moved it; None for the service.
    """
    told = _TOLD.get(to)
    if told is None or row.owner_id is None or row.owner_id == by:
        return
    event, what = told
    if to is State.REJECTED and row.approval == "declined":
        event, what = Event.SUBMISSION_DECLINED, "was declined by a maintainer"
    reason = f": {row.reason[:_LONGEST_REASON]}" if row.reason else ""
    blame = " The service failed, not your model." if row.fault == "service" and to is State.FAILED else ""
    published = to is State.PUBLISHED
    path = entry_path(row.dataset, row.threat_model, row.name) if published else f"/submissions/{row.id}"
    message = f"Your submission {row.name} to {row.dataset}/{row.threat_model} {what}{reason}.{blame}"
    tell(session, row.owner_id, event, message, path)


def tell_of_names(session: Session, row: SubmissionRow, by: str | None = None) -> None:
    """Tell the owner of an anonymous submission that its names are shown from now on, unless that is their own doing.

    Args:
        session: the transaction that reveals them.
        row: the submission.
        by: the account that does so; None for the service.
    """
    if row.owner_id is not None and row.owner_id != by:
        message = f"The names of your submission {row.name} to {row.dataset}/{row.threat_model} are shown from now on."
        tell(session, row.owner_id, Event.EMBARGO_ENDED, message, f"/submissions/{row.id}")
