"""Bodies on their way into the blob store."""

from __future__ import annotations

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request

from store.blobs import BlobWriter

WRITE_BYTES = 1024 * 1024


async def receive(request: Request, writer: BlobWriter) -> int:
    """Write a request's body piece by piece and return its length in bytes."""
    size, pending = 0, bytearray()
    async for chunk in request.stream():
        size += len(chunk)
        pending += chunk
        if len(pending) >= WRITE_BYTES:
            await run_in_threadpool(writer.write, bytes(pending))
            pending.clear()
    await run_in_threadpool(writer.write, bytes(pending))
    return size
