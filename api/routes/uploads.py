"""Uploads: files on their way into the blob store."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Path, Request, Response
from starlette.concurrency import run_in_threadpool

from api.errors import responses
from api.receiving import receive
from api.schemas import Upload
from api.services import Store, Who
from store.actors import require_sender

router = APIRouter(prefix="/uploads", tags=["uploads"])

Sha256 = Annotated[str, Path(pattern=r"^[0-9a-f]{64}$", description="SHA-256 of the file, in lower-case hexadecimal")]


@router.put(
    "/{sha256}",
    status_code=201,
    responses={200: {"model": Upload, "description": "It had been there already"}, **responses(401, 403, 507)},
    openapi_extra={
        "requestBody": {
            "required": True,
            "content": {"application/octet-stream": {"schema": {"type": "string", "format": "binary"}}},
        }
    },
)
async def put_upload(sha256: Sha256, request: Request, response: Response, store: Store, who: Who) -> Upload:
    """Store a checkpoint or adversarial examples under the file's hash.

    A checkpoint is a safetensors file, a `.pt2` file, or a state dict of torch.save; examples are a `.npy` file or a
    safetensors file.

    The body is the file itself. 201 when it was stored, 200 when it had been there already. Nothing is kept of a file
    that is broken off, too large, of another hash, or whose content is none of these.
    """
    require_sender(who)
    limit = store.admission.max_checkpoint_bytes
    existed = await run_in_threadpool(store.blobs.exists, sha256)
    writer = await run_in_threadpool(store.blobs.writer, limit)
    try:
        size = await receive(request, writer)
        await run_in_threadpool(writer.commit, sha256, store.admission.check_upload)
    finally:
        writer.abort()
    response.status_code = 200 if existed else 201
    response.headers["Location"] = request.url_for("get_upload", sha256=sha256).path
    return Upload(sha256=sha256, bytes=size)


@router.get("/{sha256}", responses=responses(404))
def get_upload(sha256: Sha256, store: Store) -> Upload:
    """Tell whether a file is here, so that it need not be sent again."""
    return Upload(sha256=sha256, bytes=store.blobs.size(sha256))
