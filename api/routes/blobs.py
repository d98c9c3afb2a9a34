"""Blobs for workers that share no disk with the service; guarded by a token, and no part of the public interface."""

from __future__ import annotations

import hmac
from dataclasses import dataclass
from typing import Annotated

from fastapi import APIRouter, Depends, Request, Response
from pydantic import SecretStr
from starlette.concurrency import run_in_threadpool
from starlette.responses import FileResponse

from api.errors import Unauthorized
from api.receiving import receive
from api.routes.uploads import Sha256
from api.schemas import Upload
from api.services import Store

MEDIA_TYPE = "application/octet-stream"


@dataclass(frozen=True)
class WorkerAccess:
    """What workers may do.

    Args:
        token: what a worker must show.
        max_bytes: size above which a worker's file is refused.
    """

    token: SecretStr
    max_bytes: int


def _access(request: Request) -> WorkerAccess:
    """Return what workers may do, to one of them."""
    access = request.app.state.worker_access
    if not isinstance(access, WorkerAccess):
        raise TypeError("the application was not made by gauntlet.app.create_app")
    given = request.headers.get("authorization", "")
    expected = f"Bearer {access.token.get_secret_value()}"
    if not hmac.compare_digest(given.encode(), expected.encode()):
        raise Unauthorized.because(
            "Authorization",
            found="another token" if given else "no token",
            expected="the token of the service's workers",
            remedy="set GAUNTLET_WORKER_TOKEN to the same value for the service and its workers",
        )
    return access


Access = Annotated[WorkerAccess, Depends(_access)]

router = APIRouter(prefix="/internal/v1/blobs", include_in_schema=False, dependencies=[Depends(_access)])


@router.get("/{sha256}")
def get_blob(sha256: Sha256, store: Store) -> Response:
    """Send a blob."""
    return FileResponse(store.blobs.path(sha256), media_type=MEDIA_TYPE)


@router.head("/{sha256}")
def head_blob(sha256: Sha256, store: Store) -> Response:
    """Tell a blob's size without fetching it from where it lies."""
    return Response(media_type=MEDIA_TYPE, headers={"Content-Length": str(store.blobs.size(sha256))})


@router.put("/{sha256}")
async def put_blob(sha256: Sha256, request: Request, response: Response, store: Store, access: Access) -> Upload:
    """Store a blob under its hash: 201 when it was stored, 200 when it had been there already."""
    existed = await run_in_threadpool(store.blobs.exists, sha256)
    writer = await run_in_threadpool(store.blobs.writer, access.max_bytes)
    try:
        size = await receive(request, writer)
        await run_in_threadpool(writer.commit, sha256)
    finally:
        writer.abort()
    response.status_code = 200 if existed else 201
    return Upload(sha256=sha256, bytes=size)
