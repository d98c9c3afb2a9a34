"""From an answer that was rendered before to a response."""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import Response

from store.rendered import Answer


def respond(request: Request, answer: Answer, media_type: str = "application/json") -> Response:
    """Send an answer in the form that the reader takes; who has it already gets 304 instead."""
    headers = {"Cache-Control": "no-cache", "ETag": answer.etag, "Vary": "Accept-Encoding"}
    if answer.is_known(request.headers.get("if-none-match")):
        return Response(status_code=304, headers=headers)
    if "gzip" in request.headers.get("accept-encoding", ""):
        return Response(answer.packed, headers=headers | {"Content-Encoding": "gzip"}, media_type=media_type)
    return Response(answer.plain, headers=headers, media_type=media_type)
