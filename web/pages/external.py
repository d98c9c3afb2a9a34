"""The form that takes in adversarial examples for an entry, without any script."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

from fastapi import APIRouter, Request, Response
from starlette.concurrency import run_in_threadpool
from starlette.responses import RedirectResponse

from benchmark.errors import Conflict, GauntletError, InvalidExamples, InvalidInput, NotFound
from benchmark.threat_models import official_board
from store.actors import ANYBODY, Actor, require_sender
from store.admission import LONGEST
from store.blobs import BlobWriter
from store.errors import StorageFull, StorageUnavailable
from store.externals import LONGEST_ATTACK, points_to_attack, require_external_room, submit_external
from store.positions import read_positions
from store.quotas import count_upload
from store.rates import Counted
from store.services import Services
from store.submitters import submitter_of
from store.uploading import upload_limit
from store.views import NewExternal
from web.forms import SHORT, accuracy_in, refuse, room_for, status_of, to_sign_in
from web.multipart import WHOLE_FORM, FormReader, read_form
from web.pages.error import Problem, problems_of
from web.rendering import Page, external_address, model_address, render
from web.services import Client, Store, Who

router = APIRouter()

FILE_FIELD = "examples"
LONGEST_TEXTS: Mapping[str, int] = {
    "attack": LONGEST_ATTACK,
    **{field: LONGEST[field] for field in ("title", "authors", "paper_url")},
}
LIMITS: Mapping[str, int] = {
    "points": 96 * 1024,  # every point of the largest board, each with a comma and a blank
    **{field: room_for(longest) for field, longest in LONGEST_TEXTS.items()},
    "claimed_robust_accuracy": SHORT,
}
"""Every field of the form but the file, with the bytes it may hold."""

Place = tuple[str, str, str]
"""Data set, threat model and name of an entry."""


class ExternalFormPage(Page):
    """The form, with whatever was filled in and whatever is wrong with it."""

    template: ClassVar[str] = "external.html"
    section: ClassVar[str] = "boards"

    model_id: str
    board_title: str
    epsilon: str | None
    address: str
    """Of the entry's page."""
    points: int | None
    """Points of the entry's evaluation; None where there is no form."""
    reason: str
    """Why there is no form; empty where there is."""
    longest: dict[str, int]
    max_bytes: int
    values: dict[str, str]
    problems: dict[str, Problem]
    filename: str
    """The file that was sent along with a form that was refused; browsers do not let us fill it in again."""


def external_form_page(
    services: Services,
    place: Place,
    values: Mapping[str, str],
    errors: Mapping[str, GauntletError] | None = None,
    filename: str = "",
) -> ExternalFormPage:
    """Return the form, or why there is none.

    Raises:
        NotFound: there is no such board or entry.
    """
    dataset, threat_model, model_id = place
    board = official_board(dataset, threat_model)
    points, reason = None, ""
    try:
        points = points_to_attack(services.db, place)
    except Conflict as error:
        reason = error.detail.remedy if error.detail else error.message
    return ExternalFormPage(
        title=f"Examples for {model_id}",
        model_id=model_id,
        board_title=board.title,
        epsilon=str(board.epsilon) if board.epsilon is not None else None,
        address=model_address(dataset, threat_model, model_id),
        points=points,
        reason=reason,
        longest=dict(LONGEST_TEXTS),
        max_bytes=services.admission.max_checkpoint_bytes,
        values={field: values.get(field, "") for field in LIMITS},
        problems=problems_of(errors),
        filename=filename,
    )


ADDRESS = "/models/{dataset}/{threat_model}/{model_id}/external"


@router.get(ADDRESS)
def show_external_form(
    request: Request, dataset: str, threat_model: str, model_id: str, *, store: Store, who: Who
) -> Response:
    """Show the empty form, to those who may send it."""
    if not who.may_send:
        return to_sign_in(request)
    return render(request, external_form_page(store, (dataset, threat_model, model_id), {}))


@router.post(ADDRESS)
async def post_external(
    request: Request, dataset: str, threat_model: str, model_id: str, *, store: Store, who: Who, client: Client
) -> Response:
    """Take examples in; or show the form again, with everything that was filled in."""
    require_sender(who)
    place = (dataset, threat_model, model_id)
    await run_in_threadpool(points_to_attack, store.db, place)  # raises where there is no form, before a byte is stored

    await run_in_threadpool(store.rates.spend, Counted.EXTERNAL, who.submitter or client)
    submitter = await run_in_threadpool(submitter_of, store.db, who, client)
    most = await run_in_threadpool(upload_limit, store, submitter, who.submitter or client)

    def open_file() -> BlobWriter:
        return store.blobs.writer(most)

    form = await read_form(request, LIMITS, FILE_FIELD, open_file)
    try:
        external_id = await run_in_threadpool(take_in, store, place, form, client, who)
    finally:
        form.discard()
    if external_id is not None:
        return RedirectResponse(external_address(external_id), status_code=303)
    errors = {field: form.errors[field] for field in (WHOLE_FORM, FILE_FIELD, *LIMITS) if field in form.errors}
    page = await run_in_threadpool(external_form_page, store, place, form.values, errors, form.filename)
    return render(request, page, status_of(errors))


def take_in(services: Services, place: Place, form: FormReader, address: str = "", who: Actor = ANYBODY) -> str | None:
    """Submit what the form holds and return the evaluation's id; None where the form has errors, which it then holds.

    The file becomes a blob only once everything else is known to be right: nothing stays of a form that is refused.
    """
    if form.file is None and WHOLE_FORM not in form.errors:
        refuse(form, FILE_FIELD, "no file", "adversarial examples", "choose the file")
    new = _as_external(form)
    submitter = submitter_of(services.db, who, address)
    count = _note_refusals(services, place, form, new, submitter)
    if form.errors or form.file is None:
        return None
    try:
        new = new.model_copy(update={"examples_sha256": form.file.sha256})
        sha256 = form.file.commit(check=lambda path: services.admission.check_examples(path, place[0], count))
        count_upload(services.db, submitter, sha256, services.blobs.size(sha256))
        return submit_external(services.db, services.blobs, place, new, services.admission, submitter=submitter).id
    except GauntletError as error:
        form.errors[_field_of(error)] = error
        return None


def _as_external(form: FormReader) -> NewExternal:
    return NewExternal(
        examples_sha256="",
        points=_points_in(form),
        claimed_robust_accuracy=accuracy_in(form, "claimed_robust_accuracy"),
        **{field: form.values.get(field, "") for field in LONGEST_TEXTS},
    )


def _points_in(form: FormReader) -> tuple[int, ...] | None:
    text = form.values.get("points", "")
    if not text.strip():
        return None
    try:
        return read_positions(text)
    except InvalidInput as error:
        form.errors.setdefault("points", error)
        return None


def _note_refusals(services: Services, place: Place, form: FormReader, new: NewExternal, submitter: str) -> int:
    """Note all that the store would refuse, and return how many images the file must hold.

    It tells one thing at a time, so what is known already is mended, and the store is asked again.
    """
    for field in form.errors:
        new = _mended(new, field)
    while True:
        try:
            return require_external_room(services.db, place, new, submitter)
        except (NotFound, Conflict):
            raise  # the entry has gone: there is no form to show again
        except GauntletError as error:
            field = _field_of(error)
            form.errors.setdefault(field, error)
            before, new = new, _mended(new, field)
            if new == before:
                return 0


def _mended(new: NewExternal, field: str) -> NewExternal:
    """Return the evaluation with something harmless in that field."""
    if field in {"points", "claimed_robust_accuracy"}:
        return new.model_copy(update={field: None})
    if field in {"attack", "title"}:
        return new.model_copy(update={field: "x"})  # one of the two must be there
    return new.model_copy(update={field: ""}) if field in LONGEST_TEXTS else new


def _field_of(error: GauntletError) -> str:
    """Return the field of the form that an error of the store belongs to."""
    if isinstance(error, InvalidExamples | StorageFull | StorageUnavailable):
        return FILE_FIELD
    field = error.detail.field if error.detail else WHOLE_FORM
    return field if field in LIMITS else WHOLE_FORM
