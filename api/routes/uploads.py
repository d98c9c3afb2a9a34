"""Uploads: files on their way into the blob store."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Header, Path, Request, Response
from starlette.concurrency import run_in_threadpool

from api.errors import responses
from api.parts import Parts, Range
from api.receiving import receive
from api.schemas import PartialUpload, Upload
from api.services import Client, Store, Who
from store.actors import require_sender
from store.blobs import not_found
from store.quotas import count_upload
from store.resubmission import is_anothers
from store.services import Services
from store.submitters import submitter_of
from store.uploading import upload_limit

router = APIRouter(prefix="/uploads", tags=["uploads"])

Sha256 = Annotated[str, Path(pattern=r"^[0-9a-f]{64}$", description="SHA-256 of the file, in lower-case hexadecimal")]


@router.put(
    "/{sha256}",
    status_code=201,
    response_model=Upload,
    responses={
        200: {"model": Upload, "description": "It had been there already"},
        202: {"model": PartialUpload, "description": "These bytes have arrived, and the rest may follow"},
        **responses(401, 403, 409, 429, 503, 507),
    },
    openapi_extra={
        "requestBody": {
            "required": True,
            "content": {"application/octet-stream": {"schema": {"type": "string", "format": "binary"}}},
        }
    },
)
async def put_upload(
    sha256: Sha256,
    *,
    request: Request,
    response: Response,
    store: Store,
    who: Who,
    client: Client,
    content_range: Annotated[
        str | None, Header(description="Which bytes of the file these are, such as bytes 0-99/200", max_length=100)
    ] = None,
) -> Upload | Response:
    """Store a checkpoint or adversarial examples under the file's hash.

    A checkpoint is a safetensors file, a `.pt2` file, or a state dict of torch.save; examples are a `.npy` file or a
    safetensors file.

    The body is the file itself. 201 when it was stored, 200 when it had been there already. Nothing is kept of a file
    that is broken off, too large, of another hash, or whose content is none of these. A file that nobody has submitted
    within a week is discarded.

    With Content-Range a file comes in several goes: what has arrived stays for a day, also of a request that is broken
    off, and the next goes on from there. 202 while some is missing. Where all has arrived and could not be stored,
    `bytes */SIZE` without a body tries again.
    """
    require_sender(who)
    there = None if content_range is None else Range.read(content_range)
    sender = await run_in_threadpool(submitter_of, store.db, who, client)
    # A file in several goes is one upload, counted with its first.
    whose = (who.submitter or client) if there is None or there.first == 0 else ""
    limit = await run_in_threadpool(upload_limit, store, sender, whose, _announced(request))
    existed = await run_in_threadpool(store.blobs.exists, sha256)
    if there is None:
        size = await _whole(request, store, sha256, limit)
    else:
        there.require_within(limit)
        parts: Parts = request.app.state.parts
        with parts.held(sender, sha256):
            received = await parts.append(sender, sha256, there, request.stream())
            if received < there.size:
                part = PartialUpload(sha256=sha256, received=received)
                return Response(part.model_dump_json(), status_code=202, media_type="application/json")
            size = await run_in_threadpool(_finish, parts, store, sender, sha256, limit)
    await run_in_threadpool(count_upload, store.db, sender, sha256, size)
    response.status_code = 200 if existed else 201
    response.headers["Location"] = request.url_for("get_upload", sha256=sha256).path
    return Upload(sha256=sha256, bytes=size)


@router.get("/{sha256}/part", responses=responses(401, 403))
def get_part(sha256: Sha256, request: Request, store: Store, who: Who, client: Client) -> PartialUpload:
    """Tell how many bytes have arrived of a file that comes in several goes; 0 where nobody has begun with it."""
    require_sender(who)
    parts: Parts = request.app.state.parts
    return PartialUpload(sha256=sha256, received=parts.received(submitter_of(store.db, who, client), sha256))


@router.get("/{sha256}", responses=responses(404))
def get_upload(sha256: Sha256, store: Store, who: Who, client: Client) -> Upload:
    """Tell whether a file is here, so that it need not be sent again.

    404 for a private file of others, whatever its hash: whoever has it too sends it.
    """
    if is_anothers(store.db, submitter_of(store.db, who, client), sha256):
        raise not_found(sha256)
    return Upload(sha256=sha256, bytes=store.blobs.size(sha256))


async def _whole(request: Request, store: Services, sha256: str, limit: int) -> int:
    writer = await run_in_threadpool(store.blobs.writer, limit)
    try:
        size = await receive(request, writer)
        await run_in_threadpool(writer.commit, sha256, store.admission.check_upload)
        return size
    finally:
        writer.abort()


def _finish(parts: Parts, store: Services, sender: str, sha256: str, limit: int) -> int:
    writer = store.blobs.writer(limit)
    try:
        return parts.finish(sender, sha256, writer, store.admission.check_upload)
    finally:
        writer.abort()


def _announced(request: Request) -> int | None:
    length = request.headers.get("content-length", "")
    return int(length) if length.isdecimal() and len(length) <= 18 else None
