"""What is asked before a byte of an upload is read."""

from __future__ import annotations

from store.quotas import upload_room
from store.rates import Counted
from store.services import Services


def upload_limit(services: Services, submitter: str, whose: str, announced: int | None = None) -> int:
    """Count an upload towards its rate, and return the most bytes that it may have.

    Args:
        services: the store and its limits.
        submitter: whose quota counts, see `store.submitters`.
        whose: whose rate counts: the same, or the network address itself; empty where it was counted before.
        announced: the length that was announced, if it was.
    Raises:
        RateLimited: they upload too often, or too much within a day.
        Conflict: they keep too much here.
    """
    services.rates.spend(Counted.UPLOAD, whose)
    return min(services.admission.max_checkpoint_bytes, upload_room(services.db, services.quotas, submitter, announced))
