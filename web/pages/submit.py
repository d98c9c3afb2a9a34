"""The form that takes a submission in, without any script."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date
from typing import ClassVar

from fastapi import APIRouter, Request, Response
from pydantic import BaseModel, ConfigDict
from starlette.concurrency import run_in_threadpool
from starlette.responses import RedirectResponse

from benchmark.errors import GauntletError, InvalidCheckpoint, InvalidInput, TooLarge
from benchmark.threat_models import BOARDS, Board
from store.actors import ANYBODY, Actor, needs_approval, require_sender
from store.admission import LONGEST, admit_fields
from store.blobs import BlobWriter
from store.errors import StorageFull, StorageUnavailable
from store.quotas import count_upload
from store.rates import Counted
from store.resubmission import earlier_submission, require_own_upload
from store.services import Services
from store.submissions import require_admissible, submit
from store.submitters import submitter_of
from store.uploading import upload_limit
from store.views import ExtraData, NewSubmission
from web.forms import SHORT, accuracy_in, refuse, room_for, status_of, to_sign_in
from web.multipart import WHOLE_FORM, FormReader, read_form
from web.pages.error import Problem, problems_of
from web.rendering import Page, render, submission_address
from web.services import Client, Store, Who

router = APIRouter()

FILE_FIELD = "checkpoint"
HASH_FIELD = "checkpoint_sha256"
"""Names a file that the same submitter has sent before, in the place of a new one."""
LIMITS: Mapping[str, int] = {
    "name": SHORT,
    "board": SHORT,
    "architecture": SHORT,
    "extra_data": SHORT,
    "claimed_standard_accuracy": SHORT,
    "claimed_robust_accuracy": SHORT,
    "private_checkpoint": SHORT,
    "zoo_consent": SHORT,
    "analyse": SHORT,
    "anonymous": SHORT,
    "embargo_until": SHORT,
    HASH_FIELD: SHORT,
    **{field: room_for(longest) for field, longest in LONGEST.items()},
}
"""Every field of the form but the file, with the bytes it may hold."""
_REQUIRED = {
    "name": ("a name for the method", "fill in the name"),
    "board": ("one of the boards", "choose a board"),
    "architecture": ("a registered architecture", "choose an architecture"),
}
_WISHES: Mapping[str, bool | None] = {
    "private_checkpoint": True,
    "zoo_consent": False,
    "anonymous": False,
    "embargo_until": None,
}
"""What somebody may want of their file and names, and what is taken where they say nothing."""
_PUBLIC_FILE = "no"
_YES = "yes"
_FIELDS_ELSEWHERE = {"dataset": "board", "threat_model": "board", HASH_FIELD: FILE_FIELD, "file": FILE_FIELD}


class Family(BaseModel):
    """The registered architectures that fit a data set."""

    model_config = ConfigDict(frozen=True)

    dataset: str
    architectures: tuple[str, ...]


class SubmitPage(Page):
    """The form, with whatever was filled in and whatever is wrong with it."""

    template: ClassVar[str] = "submit.html"
    section: ClassVar[str] = "submit"

    boards: tuple[Board, ...]
    families: tuple[Family, ...]
    kinds: tuple[ExtraData, ...]
    longest: dict[str, int]
    max_bytes: int
    values: dict[str, str]
    problems: dict[str, Problem]
    filename: str
    """The file that was sent along with a form that was refused; browsers do not let us fill it in again."""


def submit_page(
    services: Services,
    values: Mapping[str, str],
    errors: Mapping[str, GauntletError] | None = None,
    filename: str = "",
) -> SubmitPage:
    """Return the form."""
    boards = tuple(board for board in BOARDS if board.evaluated_here)
    datasets = dict.fromkeys(board.dataset for board in boards)
    return SubmitPage(
        title="Submit a model",
        boards=boards,
        families=tuple(
            Family(dataset=dataset, architectures=services.admission.architectures(dataset)) for dataset in datasets
        ),
        kinds=tuple(ExtraData),
        longest=dict(LONGEST),
        max_bytes=services.admission.max_checkpoint_bytes,
        values={field: values.get(field, "") for field in LIMITS},
        problems=problems_of(errors),
        filename=filename,
    )


@router.get("/submit")
def show_submit(request: Request, store: Store, who: Who, client: Client, board: str = "", again: str = "") -> Response:
    """Show the form to those who may send it: empty, or with all that they had sent with an earlier submission."""
    if not who.may_send:
        return to_sign_in(request)
    if again:
        return render(request, submit_page(store, values_of(store, again, who, client)))
    chosen = board if board in {one.name for one in BOARDS} else ""
    return render(request, submit_page(store, {"board": chosen, "extra_data": ExtraData.UNKNOWN.value}))


@router.post("/submit")
async def post_submit(request: Request, store: Store, who: Who, client: Client) -> Response:
    """Take a submission in; or show the form again, with everything that was filled in."""

    require_sender(who)

    await run_in_threadpool(store.rates.spend, Counted.SUBMISSION, who.submitter or client)
    submitter = await run_in_threadpool(submitter_of, store.db, who, client)
    most = await run_in_threadpool(upload_limit, store, submitter, who.submitter or client)

    def open_file() -> BlobWriter:
        return store.blobs.writer(most)

    form = await read_form(request, LIMITS, FILE_FIELD, open_file)
    try:
        submission_id = await run_in_threadpool(take_in, store, form, client, who)
    finally:
        form.discard()
    if submission_id is not None:
        return RedirectResponse(submission_address(submission_id), status_code=303)
    in_order = (WHOLE_FORM, "name", "board", "architecture", FILE_FIELD, *LIMITS)
    errors = {field: form.errors[field] for field in in_order if field in form.errors}
    page = submit_page(store, form.values, errors, form.filename)
    return render(request, page, status_of(errors))


def values_of(services: Services, submission_id: str, who: Actor, address: str) -> dict[str, str]:
    """Return the fields of the form as they were for an earlier submission of the same submitter.

    Raises:
        NotFound: there is no such submission, or it is not theirs.
    """
    new = earlier_submission(services.db, submission_id, who, submitter_of(services.db, who, address))
    claims = ("claimed_standard_accuracy", "claimed_robust_accuracy")
    accuracies = {field: getattr(new, field) for field in claims}
    return {
        "name": new.name,
        "board": f"{new.dataset}/{new.threat_model}",
        "architecture": new.architecture,
        "extra_data": new.extra_data.value,
        "private_checkpoint": "" if new.private_checkpoint else _PUBLIC_FILE,
        "zoo_consent": _YES if new.zoo_consent else "",
        "anonymous": _YES if new.anonymous else "",
        "analyse": _YES if new.analyse else "",
        "embargo_until": new.embargo_until.isoformat() if new.embargo_until else "",
        HASH_FIELD: new.checkpoint_sha256,
        **{field: "" if value is None else str(value) for field, value in accuracies.items()},
        **{field: getattr(new, field) for field in LONGEST},
    }


def take_in(services: Services, form: FormReader, address: str = "", who: Actor = ANYBODY) -> str | None:
    """Submit what the form holds and return the submission's id; None where the form has errors, which it then holds.

    The file becomes a blob only once everything else is known to be right: nothing stays of a form that is refused.
    """
    _require_fields(form)
    new = _as_submission(form)
    _note_refusals(services, form, new)
    if form.errors:
        return None
    try:
        sent_before = form.values.get(HASH_FIELD, "").strip()
        sha256 = form.file.sha256 if form.file is not None else sent_before
        new = new.model_copy(update={"checkpoint_sha256": sha256})
        submitter = submitter_of(services.db, who, address)
        if form.file is None:
            require_own_upload(services.db, submitter, sha256)
        require_admissible(services.db, new, services.admission, submitter=submitter, owner_id=who.account_id)
        if form.file is not None:
            form.file.commit(check=services.admission.check_file)
            count_upload(services.db, submitter, sha256, services.blobs.size(sha256))
        return submit(
            services.db,
            services.blobs,
            new,
            services.admission,
            submitter=submitter,
            owner_id=who.account_id,
            needs_approval=needs_approval(who, services.approval),
        ).id
    except GauntletError as error:
        form.errors[_field_of(error)] = error
        return None


def _require_fields(form: FormReader) -> None:
    if WHOLE_FORM in form.errors:
        return
    for field, (expected, remedy) in _REQUIRED.items():
        if not form.values.get(field, "").strip():
            refuse(form, field, "nothing", expected, remedy)
    if form.file is None and not form.values.get(HASH_FIELD, "").strip():
        refuse(form, FILE_FIELD, "no file", "a checkpoint", "choose the file")


def _note_refusals(services: Services, form: FormReader, new: NewSubmission) -> None:
    """Note all that the store would refuse.

    It tells one thing at a time, so what is known already is mended, and the store is asked again.
    """
    for field in form.errors:
        new = _mended(services, new, field)
    while True:
        try:
            admit_fields(new, services.admission)
        except InvalidInput as error:
            field = _field_of(error)
            form.errors.setdefault(field, error)
            before, new = new, _mended(services, new, field)
            if new == before:
                return
        else:
            return


def _mended(services: Services, new: NewSubmission, field: str) -> NewSubmission:
    """Return the submission with something harmless in that field."""
    if field == "board":
        board = next(board for board in BOARDS if board.evaluated_here)
        return new.model_copy(update={"dataset": board.dataset, "threat_model": board.threat_model})
    if field == "architecture":
        known = services.admission.architectures(new.dataset)
        return new.model_copy(update={"architecture": known[0] if known else ""})
    if field in {"claimed_standard_accuracy", "claimed_robust_accuracy"}:
        return new.model_copy(update={field: None})
    if field == "analyse":
        return new.model_copy(update={field: False})
    if field in _WISHES:
        return new.model_copy(update=_WISHES)
    if field == "name":
        return new.model_copy(update={"name": "x"})
    return new.model_copy(update={field: ""}) if field in LONGEST else new


def _as_submission(form: FormReader) -> NewSubmission:
    dataset, _, threat_model = form.values.get("board", "").partition("/")
    kind = form.values.get("extra_data") or ExtraData.UNKNOWN.value
    if kind not in set(ExtraData):
        refuse(form, "extra_data", ascii(kind)[:80], f"one of {', '.join(ExtraData)}", "choose one of them")
        kind = ExtraData.UNKNOWN.value
    texts = {field: form.values.get(field, "") for field in LONGEST}
    return NewSubmission(
        name=form.values.get("name", ""),
        dataset=dataset,
        threat_model=threat_model,
        architecture=form.values.get("architecture", ""),
        checkpoint_sha256="",
        extra_data=ExtraData(kind),
        claimed_standard_accuracy=accuracy_in(form, "claimed_standard_accuracy"),
        claimed_robust_accuracy=accuracy_in(form, "claimed_robust_accuracy"),
        # A form that says nothing leaves the file private.
        private_checkpoint=form.values.get("private_checkpoint") != _PUBLIC_FILE,
        zoo_consent=bool(form.values.get("zoo_consent")),
        anonymous=bool(form.values.get("anonymous")),
        analyse=bool(form.values.get("analyse")),
        embargo_until=_day_in(form, "embargo_until"),
        title=texts["title"],
        authors=texts["authors"],
        paper_url=texts["paper_url"],
        venue=texts["venue"],
        licence=texts["licence"],
        notes=texts["notes"],
    )


def _day_in(form: FormReader, field: str) -> date | None:
    """Return the day in a field; None where it is empty, or holds none, which is then noted."""
    text = form.values.get(field, "").strip()
    if not text:
        return None
    try:
        return date.fromisoformat(text)
    except ValueError:
        refuse(form, field, ascii(text)[:80], "a day such as 2027-03-01", "write year, month and day, or leave it out")
        return None


def _field_of(error: GauntletError) -> str:
    """Return the field of the form that an error of the store belongs to."""
    if isinstance(error, InvalidCheckpoint | TooLarge | StorageFull | StorageUnavailable):
        return FILE_FIELD
    field = error.detail.field if error.detail else WHOLE_FORM
    field = _FIELDS_ELSEWHERE.get(field, field)
    return field if field in LIMITS or field == FILE_FIELD else WHOLE_FORM
