"""What the forms have in common: words that become numbers, refusals noted at their field, and the answer's status."""

from __future__ import annotations

from collections.abc import Mapping
from urllib.parse import urlencode, urlsplit

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from benchmark.errors import Conflict, GauntletError, InvalidInput, InvalidSubmission, TooLarge
from store.errors import QueueFull, RateLimited, StorageFull, StorageUnavailable
from web.multipart import FormReader

SHORT = 400
"""Bytes that a field for a name or a number may hold."""
_BYTES_PER_CHARACTER = 4  # the most that UTF-8 needs


def room_for(longest: int) -> int:
    """Return the bytes that a text may hold: more than is admitted, so that the store's own rule speaks first."""
    return 2 * longest * _BYTES_PER_CHARACTER


def to_sign_in(request: Request) -> Response:
    """Send the browser to the page where people sign in, and from there back to this one."""
    target = request.url.path + (f"?{request.url.query}" if request.url.query else "")
    return RedirectResponse(f"/sign-in?{urlencode({'next': target})}", status_code=303)


def place_on_site(target: str) -> str:
    """Return where to go after signing in: a path of this service, or its start for whatever leads anywhere else."""
    try:
        parts = urlsplit(target)
    except ValueError:
        return "/"
    # Browsers take "//host" and "/\\host" for addresses of other hosts, and leave control characters out first.
    plain = target.startswith("/") and not target.startswith(("//", "/\\")) and "\\" not in target
    sound = plain and target.isascii() and target.isprintable() and not parts.scheme and not parts.netloc
    return target if sound and len(target) <= SHORT else "/"


def repeated_wrongly(field: str) -> GauntletError:
    """Return the error about two fields for one new password that hold different ones."""
    return InvalidInput.because(
        field, found="another password", expected="the same password twice", remedy="type both again"
    )


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
        case RateLimited():
            return 429
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
