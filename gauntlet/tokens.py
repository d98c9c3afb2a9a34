"""Where commands and programs find the token of an account: the environment, or else the system's keyring."""

from __future__ import annotations

import os

import keyring
from keyring.errors import KeyringError

from benchmark.errors import InvalidInput

VARIABLE = "GAUNTLET_TOKEN"
_SERVICE = "gauntlet"


def find_token(server: str) -> str | None:
    """Return the token for a service; None where there is none, or this machine has no keyring.

    Args:
        server: the service's address. A token from the keyring is for this address alone.
    """
    given = os.environ.get(VARIABLE, "").strip()
    if given:
        return given
    try:
        return keyring.get_password(_SERVICE, server)
    except (KeyringError, RuntimeError):  # such as no keyring at all
        return None


def store_token(server: str, token: str) -> None:
    """Keep a token in the keyring.

    Raises:
        InvalidInput: this machine has no keyring.
    """
    try:
        keyring.set_password(_SERVICE, server, token)
    except (KeyringError, RuntimeError):
        raise InvalidInput.because(
            "keyring", found="none that can be used", expected="a keyring of this system",
            remedy=f"set the variable {VARIABLE} instead",
        ) from None  # fmt: skip


def forget_token(server: str) -> bool:
    """Remove a token from the keyring, and tell whether there was one."""
    try:
        keyring.delete_password(_SERVICE, server)
    except (KeyringError, RuntimeError):
        return False
    return True
