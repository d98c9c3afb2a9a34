"""One submission, live."""

from __future__ import annotations

import math
import time
from typing import ClassVar, Literal

from fastapi import APIRouter, Request, Response
from pydantic import BaseModel, ConfigDict
from starlette.concurrency import run_in_threadpool
from starlette.responses import RedirectResponse

from benchmark.report import PREDICTED_COST
from benchmark.threat_models import CORRUPTIONS
from store.actors import ANYBODY, Actor
from store.admission import LONGEST_REASON
from store.checkpoint_deletion import delete_checkpoint, may_delete_checkpoint
from store.moderation_views import SubmissionRights, rights_on_submission
from store.services import Services
from store.states import LEGAL, OPEN
from store.submissions import cancel, get_submission
from store.submitters import submitter_of
from store.views import Approval, Progress, State, SubmissionView
from web.formats import as_sentence, percent, span, words
from web.forms import SHORT, room_for
from web.rendering import Page, model_address, render, submission_address
from web.services import Client, Store, Who
from web.urlencoded import texts_in

router = APIRouter()

REFRESH_S = 3
THE_LIST = "submissions"
"""What a form says that is on the list of submissions."""
_CANCEL_FIELDS = {"reason": room_for(LONGEST_REASON), "back": SHORT}
PATH = (State.RECEIVED, State.CHECKING, State.QUEUED, State.RUNNING, State.EVALUATED, State.PUBLISHED)
"""The states of a submission with which all goes well."""
_STEP_S = 10
"""What a time that is left is rounded up to."""


class Step(BaseModel):
    """A state that the submission was in, is in, or is still to reach."""

    model_config = ConfigDict(frozen=True)

    state: State
    place: Literal["done", "current", "ahead"]
    at_ms: int | None
    reason: str


class SubmissionPage(Page):
    """A submission as it stands now."""

    template: ClassVar[str] = "submission.html"
    section: ClassVar[str] = "submissions"

    view: SubmissionView
    steps: tuple[Step, ...]
    summary: str
    """Where it stands, in a sentence or two."""
    overall: float | None
    """Share of all attacks' work that is done; None before the first attack."""
    left_s: float | None = None
    """Seconds that the attacks still take at most, as the check has predicted; None where that is not known."""
    cancellable: bool
    checkpoint_deletable: bool = False
    """Whether whoever looks may delete the checkpoint."""
    model_address: str | None
    report_address: str | None = None
    """The report, where it is not on the page of an entry."""
    rights: SubmissionRights = SubmissionRights()
    """What the reader may decide about it."""

    @property
    def attacked(self) -> bool:
        """Whether its board has an attacker."""
        return is_attacked(self.view)

    @property
    def ended(self) -> bool:
        """Whether nothing more will happen, or nothing before somebody decides."""
        return self.view.state not in OPEN or self.view.rests


def submission_page(
    services: Services, submission_id: str, who: Actor | None = None, submitter: str = ""
) -> SubmissionPage:
    """Return what the page of a submission shows.

    Args:
        services: the store.
        submission_id: which one.
        who: who looks; None for the service itself.
        submitter: for whom their work counts, see `store.submitters`.
    Raises:
        NotFound: there is no such submission, or they may not see it.
    """
    view = get_submission(services.db, submission_id, who)
    new = view.submission
    published = view.state in {State.PUBLISHED, State.WITHDRAWN}
    unpublished_report = view.rests or view.approval is Approval.DECLINED
    return SubmissionPage(
        title=f"{new.name} · Submission",
        refresh_s=REFRESH_S if view.state in OPEN and not view.rests else None,
        view=view,
        steps=timeline(view),
        summary=summary(view),
        overall=overall(view.progress),
        left_s=time_left_s(view, 1000 * time.time()),
        cancellable=State.CANCELLED in LEGAL[view.state],
        checkpoint_deletable=may_delete_checkpoint(services.db, view.id, who or ANYBODY),
        model_address=model_address(new.dataset, new.threat_model, new.name) if published else None,
        report_address=f"/api/v1/submissions/{view.id}/report" if unpublished_report else None,
        rights=SubmissionRights() if who is None else rights_on_submission(services.db, submission_id, who, submitter),
    )


@router.get("/submissions/{submission_id}")
def show_submission(request: Request, submission_id: str, store: Store, who: Who, client: Client) -> Response:
    """Show a submission."""
    return render(request, submission_page(store, submission_id, who, submitter_of(store.db, who, client)))


@router.post("/submissions/{submission_id}/cancel")
async def cancel_submission(request: Request, submission_id: str, store: Store, who: Who) -> Response:
    """Cancel a submission and go back to where its button was."""
    sent = await texts_in(request, _CANCEL_FIELDS)
    view = await run_in_threadpool(cancel, store.db, submission_id, who, sent["reason"])
    address = "/submissions" if sent["back"] == THE_LIST else submission_address(view.id)
    return RedirectResponse(address, status_code=303)


@router.post("/submissions/{submission_id}/delete-checkpoint")
def delete_submitted_checkpoint(submission_id: str, store: Store, who: Who) -> Response:
    """Delete the checkpoint of a submission and show it again."""
    view = delete_checkpoint(store.db, store.blobs, submission_id, who)
    return RedirectResponse(submission_address(view.id), status_code=303)


def is_attacked(view: SubmissionView) -> bool:
    """Tell whether the submission's board has an attacker."""
    return view.submission.threat_model != CORRUPTIONS


def timeline(view: SubmissionView) -> tuple[Step, ...]:
    """Return the states passed, the present one, and those ahead if all goes well."""
    steps = [Step(state=step.state, place="done", at_ms=step.at_ms, reason=step.reason) for step in view.transitions]
    if view.state in OPEN and steps:
        steps[-1] = steps[-1].model_copy(update={"place": "current"})
        ahead = PATH[PATH.index(view.state) + 1 :]
        steps.extend(Step(state=state, place="ahead", at_ms=None, reason="") for state in ahead)
    return tuple(steps)


def overall(progress: Progress) -> float | None:
    """Return the share of the whole ensemble that is done."""
    if not progress.attacks:
        return None
    return min(1.0, (progress.attacks_done + progress.fraction) / progress.attacks)


def time_left_s(view: SubmissionView, now_ms: float) -> float | None:
    """Return how long the attacks still take at most, by what the check has predicted for one worker.

    Args:
        view: the submission.
        now_ms: the present time.
    """
    predicted = next((check.value for check in view.checks if check.code == PREDICTED_COST), None)
    if view.state is not State.RUNNING or predicted is None:
        return None
    left = predicted - (now_ms - view.transitions[-1].at_ms) / 1000
    return float(_STEP_S * math.ceil(left / _STEP_S)) if left > 0 else None


def summary(view: SubmissionView) -> str:
    """Say where the submission stands and, where it did not succeed, who is to blame."""
    return _decision(view) or _standing(view)


def _decision(view: SubmissionView) -> str:
    """Say what somebody has decided about its result, or is to decide; empty where nobody need do so."""
    if view.rests:
        return "The evaluation is done. Its result waits for a maintainer, who decides whether it is published."
    if view.state is State.REJECTED and view.approval is Approval.DECLINED:
        return f"A maintainer declined to publish the result. {as_sentence(view.reason)}"
    return as_sentence(view.reason) if view.state is State.WITHDRAWN else ""


def _standing(view: SubmissionView) -> str:
    attacked = is_attacked(view)
    work, score = ("attacks", "Robust accuracy") if attacked else ("corrupted images", "Accuracy on corruptions")
    match view.state:
        case State.RECEIVED | State.QUEUED:
            place = f"Number {view.queue_position} in the queue." if view.queue_position else "In the queue."
            what = "its check" if view.state is State.RECEIVED else f"the {work}"
            return f"{place} Waiting for {what}. You may close this page and come back."
        case State.CHECKING:
            return "The checkpoint is loaded and checked against the rules."
        case State.RUNNING:
            bound = view.progress.robust_accuracy_at_most
            interval = view.progress.robust_interval_at_most
            within = f" (95\u202f% interval {span(interval)})" if interval else ""
            known = "" if bound is None else f" {score} is at most {percent(bound, unit=True)}{within} so far."
            return f"The attacks are at work.{known}" if attacked else f"The corrupted images are classified.{known}"
        case State.EVALUATED:
            return f"All {work} are done. The result is being published."
        case State.PUBLISHED:
            return "The result is on the leaderboard."
        case State.WITHDRAWN:
            return "The entry was withdrawn from the leaderboard."
        case State.CANCELLED:
            return "The submission was cancelled. Nothing was published; the model may be submitted again."
        case State.REJECTED:
            return f"The model breaks a rule of the benchmark: {words(view.reason)}. What was measured is below."
        case State.FAILED if view.fault == "model":
            return f"The evaluation failed because of the model: {view.reason}"
        case State.FAILED:
            reason = f" {as_sentence(view.reason)}" if view.reason else ""
            return f"The service failed, not your model.{reason} Submit it again; nothing was published."
