"""Secrets that people and programs show: made at random, known here only by their hash."""

from __future__ import annotations

import hashlib
import secrets
import zlib

TOKEN_PREFIX = "gnt_"  # noqa: S105 - what every token begins with, so that scanners of leaked secrets find it
_BYTES = 32


def new_secret() -> str:
    """Return a secret for a cookie or a link: 43 letters, digits, - and _."""
    return secrets.token_urlsafe(_BYTES)


def new_token() -> str:
    """Return a token: the prefix, 64 random hexadecimal digits, and 8 that check them."""
    body = secrets.token_hex(_BYTES)
    return f"{TOKEN_PREFIX}{body}{_checksum(body)}"


def is_token(text: str) -> bool:
    """Tell whether a text can be a token at all; a mistyped one is known without asking the database."""
    body, check = text[len(TOKEN_PREFIX) : -8], text[-8:]
    return (
        text.isascii()
        and text.startswith(TOKEN_PREFIX)
        and len(body) == 2 * _BYTES
        and secrets.compare_digest(check, _checksum(body))
    )


def hash_of(secret: str) -> str:
    """Return what is kept of a secret. It is long and random, so a plain hash cannot be undone."""
    return hashlib.sha256(secret.encode(errors="surrogatepass")).hexdigest()


def _checksum(body: str) -> str:
    return f"{zlib.crc32(body.encode()):08x}"
