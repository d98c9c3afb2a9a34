"""Passwords: hashed by argon2id, a few at a time, for each takes 64 MiB; beyond a few more, nobody waits."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterator
from contextlib import contextmanager
from threading import BoundedSemaphore

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError
from argon2.profiles import RFC_9106_LOW_MEMORY

from benchmark.errors import InvalidInput
from store.errors import QueueFull

SHORTEST, LONGEST = 10, 200
_hasher = PasswordHasher.from_parameters(RFC_9106_LOW_MEMORY)
AT_ONCE = 2
MOST_WAITING = 10
"""Threads that may hold or wait for a turn; the service's other threads have other things to do."""
_turns, _places = BoundedSemaphore(AT_ONCE), BoundedSemaphore(MOST_WAITING)
_NOBODYS = _hasher.hash("the password of nobody")
"""What is compared with where there is no account, so that an answer takes as long and tells nothing."""


def hash_password(password: str) -> str:
    """Return what is kept of a password.

    Raises:
        QueueFull: too many wait for the same.
    """
    with _turn():
        return _hasher.hash(_plain(password))


def is_password(password: str, kept: str | None) -> bool:
    """Tell whether a password is the one that was kept; in equal time where none was.

    Raises:
        QueueFull: too many wait for the same.
    """
    with _turn():
        try:
            return _hasher.verify(kept or _NOBODYS, _plain(password)) and kept is not None
        except (VerificationError, InvalidHashError):
            return False


@contextmanager
def _turn() -> Iterator[None]:
    if not _places.acquire(blocking=False):
        raise QueueFull("Too many people are signing in at this moment. Try again in a few seconds.")
    try:
        with _turns:
            yield
    finally:
        _places.release()


def _plain(password: str) -> bytes:
    """Return a password as it is hashed: the same whichever way a keyboard puts its accents together."""
    return unicodedata.normalize("NFC", password).encode(errors="surrogatepass")


def check_password(password: str, *others: str | None) -> None:
    """Refuse a password that is easily guessed.

    Args:
        password: what somebody chose.
        others: texts that it may not be, such as their name and address.
    Raises:
        InvalidInput: it is too short or too long, one character again and again, or one of those texts.
    """
    if not SHORTEST <= len(password) <= LONGEST:
        raise _weak(f"{len(password)} characters", f"{SHORTEST} to {LONGEST} characters")
    if len(set(password)) < 4:
        raise _weak("a few characters again and again", "at least four different characters")
    if password.lower() in {other.lower() for other in others if other}:
        raise _weak("the name or address of the account", "something that only you know")


def _weak(found: str, expected: str) -> InvalidInput:
    return InvalidInput.because("password", found=found, expected=expected, remedy="choose another password")
