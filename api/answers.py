"""From an answer that was rendered before to a response."""

from __future__ import annotations

from collections.abc import Mapping

from starlette.requests import Request
from starlette.responses import Response

from store.rendered import Answer


def respond(
    request: Request, answer: Answer, media_type: str = "application/json", more: Mapping[str, str] | None = None
) -> Response:
    """Send an answer in the form that the reader takes; who has it already gets 304 instead.

    Args:
        request: what was asked.
        answer: what to send.
        media_type: what it is.
        more: other headers; Vary names what else but the form the answer depends on.
    """
    given = dict(more or {})
    varies = ", ".join(filter(None, (given.pop("Vary", ""), "Accept-Encoding")))
    headers = given | {"Cache-Control": "no-cache", "ETag": answer.etag, "Vary": varies}
    if answer.is_known(request.headers.get("if-none-match")):
        return Response(status_code=304, headers=headers)
    if "gzip" in request.headers.get("accept-encoding", ""):
        return Response(answer.packed, headers=headers | {"Content-Encoding": "gzip"}, media_type=media_type)
    return Response(answer.plain, headers=headers, media_type=media_type)
