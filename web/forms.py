"""What the forms have in common: words that become numbers, refusals noted at their field, and the answer's status."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from urllib.parse import parse_qs, parse_qsl, urlencode, urlsplit

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


async def read_fields(request: Request, names: Collection[str]) -> dict[str, str]:
    """Read a form without files; a field that was not sent is empty.

    Raises:
        InvalidInput: the body is no such form, or has something else than these fields, each once.
    """
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind != "application/x-www-form-urlencoded":
        raise InvalidInput.because(
            "Content-Type", found=ascii(kind[:80] or "nothing"), expected="application/x-www-form-urlencoded",
            remedy="send the form from its page",
        )  # fmt: skip
    try:
        pairs = parse_qsl((await request.body()).decode(), keep_blank_values=True, max_num_fields=2 * len(names) + 1)
        pairs = [(name, value.encode().decode()) for name, value in pairs]
    except ValueError:
        pairs = [("", "")]
    found = dict(pairs)
    if len(found) != len(pairs) or not found.keys() <= set(names):
        raise InvalidInput.because(
            "form", found="other fields", expected=f"each once, of {', '.join(names)}",
            remedy="send the form from its page",
        )  # fmt: skip
    return {name: found.get(name, "") for name in names}


def noted_at(error: GauntletError, fields: Collection[str], otherwise: str) -> dict[str, GauntletError]:
    """Return an error of the store by the field of the form that it belongs to."""
    field = error.detail.field if error.detail is not None else otherwise
    return {field if field in fields else otherwise: error}


def repeated_wrongly(field: str) -> GauntletError:
    """Return the error about two fields for one new password that hold different ones."""
    return InvalidInput.because(
        field, found="another password", expected="the same password twice", remedy="type both again"
    )


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
