"""Forms without a file, as browsers send them where nothing says otherwise; read within limits."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Annotated
from urllib.parse import parse_qsl

from fastapi import Depends, Request

from benchmark.errors import GauntletError, InvalidInput, TooLarge
from web.multipart import WHOLE_FORM

MOST_BYTES = 64 * 1024
_MOST_FIELDS = 50


async def _fields(request: Request) -> dict[str, str]:
    kind = request.headers.get("content-type", "nothing").partition(";")[0].strip().lower()
    if kind != "application/x-www-form-urlencoded":
        raise InvalidInput.because(
            "Content-Type", found=ascii(kind)[:80], expected="application/x-www-form-urlencoded",
            remedy="send the form from its page",
        )  # fmt: skip
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


def refused_at(error: GauntletError, fields: Mapping[str, object]) -> str:
    """Return the field of the form that an error belongs to."""
    field = error.detail.field if error.detail else WHOLE_FORM
    return field if field in fields else WHOLE_FORM


def tried(action: Callable[[], object], fields: Mapping[str, object]) -> dict[str, GauntletError]:
    """Do what a form asks for, and return what is wrong with it, by field; whoever may not ask learns that at once.

    Raises:
        GauntletError: it is no matter of what was filled in.
    """
    try:
        action()
    except GauntletError as error:
        if error.code in {"unauthorized", "forbidden", "not_found"}:
            raise
        return {refused_at(error, fields): error}
    return {}
