"""What the forms have in common: words that become numbers, refusals noted at their field, and the answer's status."""

from __future__ import annotations

from collections.abc import Mapping
from urllib.parse import parse_qs, urlencode

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from benchmark.errors import Conflict, GauntletError, InvalidInput, InvalidSubmission, TooLarge
from store.errors import QueueFull, StorageFull, StorageUnavailable
from web.multipart import FormReader

SHORT = 400
"""Bytes that a field for a name or a number may hold."""
_BYTES_PER_CHARACTER = 4  # the most that UTF-8 needs


def room_for(longest: int) -> int:
    """Return the bytes that a text may hold: more than is admitted, so that the store's own rule speaks first."""
    return 2 * longest * _BYTES_PER_CHARACTER


def client_of(request: Request) -> str:
    """Return the address that the request comes from."""
    return request.client.host if request.client else ""


def to_sign_in(request: Request) -> Response:
    """Send the browser to the page where people sign in, and from there back to this one."""
    target = request.url.path + (f"?{request.url.query}" if request.url.query else "")
    return RedirectResponse(f"/sign-in?{urlencode({'next': target})}", status_code=303)


async def texts_in(request: Request, limits: Mapping[str, int]) -> dict[str, str]:
    """Return the fields of a form without a file, with nothing for those that were not sent.

    Args:
        request: whose body it is; how long that may be is seen to before.
        limits: the fields that may occur, with the bytes that each may hold.
    Raises:
        InvalidInput: the body is no such form.
        TooLarge: a field holds more.
    """
    try:
        body = (await request.body()).decode("ascii")
        sent = parse_qs(body, keep_blank_values=True, errors="strict", max_num_fields=2 * len(limits))
    except ValueError:
        raise InvalidInput.because(
            "form", found="a body that cannot be read", expected="the fields of the form",
            remedy="send the form from its page",
        ) from None  # fmt: skip
    texts = {field: sent.get(field, [""])[0].replace("\r\n", "\n") for field in limits}
    for field, limit in limits.items():
        if len(texts[field].encode()) > limit:
            raise TooLarge.because(
                field, found=f"more than {limit} bytes", expected=f"at most {limit} bytes", remedy="shorten the text"
            )
    return texts


def refuse(form: FormReader, field: str, found: str, expected: str, remedy: str) -> None:
    """Note what is wrong with a field, unless something is noted already."""
    form.errors.setdefault(field, InvalidSubmission.because(field, found=found, expected=expected, remedy=remedy))


def accuracy_in(form: FormReader, field: str) -> float | None:
    """Return the number in a field; None where it is empty, or holds none, which is then noted."""
    text = form.values.get(field, "").strip()
    if not text:
        return None
    try:
        return float(text)
    except ValueError:
        refuse(form, field, ascii(text)[:80], "a number from 0 to 1", "give a fraction such as 0.62, or leave it out")
        return None


def status_of(errors: Mapping[str, GauntletError]) -> int:
    """Return the status of a form that is shown again."""
    return max(_status(error) for error in errors.values())


def _status(error: GauntletError) -> int:
    match error:
        case StorageFull():
            return 507
        case QueueFull() | StorageUnavailable():
            return 503
        case TooLarge():
            return 413
        case Conflict():
            return 409
        case InvalidInput():
            return 422
        case _:
            return 500
