"""Forms without a file, as browsers send them where nothing says otherwise; read within limits."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from typing import Annotated
from urllib.parse import parse_qs, parse_qsl

from fastapi import Depends, Request

from benchmark.errors import GauntletError, InvalidInput, TooLarge
from web.multipart import WHOLE_FORM

MOST_BYTES = 64 * 1024
_MOST_FIELDS = 50


def _require_form(request: Request) -> None:
    kind = request.headers.get("content-type", "nothing").partition(";")[0].strip().lower()
    if kind != "application/x-www-form-urlencoded":
        raise InvalidInput.because(
            "Content-Type", found=ascii(kind)[:80], expected="application/x-www-form-urlencoded",
            remedy="send the form from its page",
        )  # fmt: skip


async def _fields(request: Request) -> dict[str, str]:
    _require_form(request)
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > MOST_BYTES:
            raise TooLarge.because(
                "body", found=f"more than {MOST_BYTES} bytes", expected=f"at most {MOST_BYTES} bytes",
                remedy="shorten what you have written",
            )  # fmt: skip
    try:
        pairs = parse_qsl(body.decode(errors="replace"), keep_blank_values=True, max_num_fields=_MOST_FIELDS)
    except ValueError:
        raise InvalidInput.because(
            "form", found=f"more than {_MOST_FIELDS} fields", expected="those of the form",
            remedy="send the form from its page",
        ) from None  # fmt: skip
    return {name: value.replace("\r\n", "\n") for name, value in pairs}


Fields = Annotated[Mapping[str, str], Depends(_fields)]
"""What somebody has filled in."""


def number_in(fields: Mapping[str, str], field: str) -> float:
    """Return the number in a field.

    Raises:
        InvalidInput: it holds none.
    """
    text = fields.get(field, "").strip()
    try:
        return float(text)
    except ValueError:
        raise InvalidInput.because(
            field, found=ascii(text)[:80] if text else "nothing", expected="a number from 0 to 1",
            remedy="give a fraction such as 0.62",
        ) from None  # fmt: skip


async def read_fields(request: Request, names: Collection[str]) -> dict[str, str]:
    """Read a form without files; a field that was not sent is empty.

    Raises:
        InvalidInput: the body is no such form, or has something else than these fields, each once.
    """
    _require_form(request)
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


def noted_at(error: GauntletError, fields: Collection[str], otherwise: str) -> dict[str, GauntletError]:
    """Return an error of the store by the field of the form that it belongs to."""
    field = error.detail.field if error.detail is not None else otherwise
    return {field if field in fields else otherwise: error}


def tried(action: Callable[[], object], fields: Collection[str]) -> dict[str, GauntletError]:
    """Do what a form asks for, and return what is wrong with it, by field; whoever may not ask learns that at once.

    Raises:
        GauntletError: it is no matter of what was filled in.
    """
    try:
        action()
    except GauntletError as error:
        if error.code in {"unauthorized", "forbidden", "not_found"}:
            raise
        return noted_at(error, fields, WHOLE_FORM)
    return {}
