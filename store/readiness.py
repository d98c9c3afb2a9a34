"""Whether the service can do its work: the database answers in the program's schema, and blobs can be stored."""

from __future__ import annotations

import logging

from sqlalchemy import exc

from benchmark.errors import ErrorDetail, GauntletError
from store.blobs import Blobs
from store.database import Database
from store.errors import StorageFull
from store.migrate import program_revision, revision_of

logger = logging.getLogger(__name__)

_NEVER_STORED = "0" * 64


class NotReady(GauntletError):
    """A part without which the service cannot work does not; the detail names the part, and shows nothing of it."""

    code = "not_ready"

    @classmethod
    def because(cls, part: str, *, found: str, expected: str, remedy: str) -> NotReady:
        """Build the error from its four parts."""
        return cls(f"The service is not ready: {part} {found}.", ErrorDetail(part, found, expected, remedy))


def check_database(db: Database) -> None:
    """See that the database answers and that its schema is the program's.

    Raises:
        NotReady: it does not, or another version of the program has changed the schema.
    """
    try:
        with db.snapshot() as session:
            revision = revision_of(session.connection())
    except (exc.DBAPIError, exc.TimeoutError) as error:
        logger.warning("the database does not answer: %s", error)
        raise NotReady.because(
            "database",
            found="does not answer",
            expected="an answer",
            remedy="start the database or mend the way to it; the service's log has the reason",
        ) from None
    if revision != program_revision():
        raise NotReady.because(
            "schema",
            found=f"is at revision {revision}",
            expected=f"revision {program_revision()}",
            remedy="run the version of the program that the database was made by, or a newer one",
        )


def check_blobs(blobs: Blobs) -> None:
    """See that blobs can be looked up and that there is room for more.

    Raises:
        NotReady: they cannot, or there is not.
    """
    try:
        blobs.exists(_NEVER_STORED)
        blobs.writer(0).abort()  # on a file system this also shows whether it may be written to
    except StorageFull:
        raise NotReady.because(
            "blobs",
            found="have too little space left",
            expected="free space above the floor",
            remedy="make room; uploads and results wait until then",
        ) from None
    except Exception:
        logger.exception("the blobs cannot be used")
        raise NotReady.because(
            "blobs",
            found="cannot be used",
            expected="a store that can be read and written",
            remedy="mend the storage; the service's log has the reason",
        ) from None
