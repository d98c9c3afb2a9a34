"""How often one may do something: what is counted, and for whom. Who counts is chosen by the composition root."""

from __future__ import annotations

from enum import StrEnum
from typing import Protocol


class Counted(StrEnum):
    """What is counted, in the words that whoever does it too often is told."""

    SIGN_IN = "attempts to sign in"
    REGISTER = "registrations"
    LINK = "uses of links"
    PASSWORD = "changes of the password"  # noqa: S105 - words, no password
    TOKEN = "new tokens"  # noqa: S105
    SUBMISSION = "submissions"
    EXTERNAL = "evaluations sent in"
    UPLOAD = "uploads"
    DRAWING = "drawings"


class Rates(Protocol):
    """Who counts."""

    def spend(self, what: Counted, *whose: str) -> None:
        """Count something towards each of those whom it is counted for.

        Args:
            what: what is done.
            whose: network addresses, accounts, or names of accounts; an empty one counts for nobody.
        Raises:
            RateLimited: one of them has done so too often.
        """


class Uncounted:
    """Nobody counts, such as in programs that open the store themselves."""

    def spend(self, what: Counted, *whose: str) -> None:
        """Do nothing."""
