"""Errors that only the store can raise."""

from __future__ import annotations

from benchmark.errors import GauntletError


class StaleClaim(GauntletError):
    """A worker wrote with a lease that it no longer holds; nothing was changed."""

    code = "stale_claim"


class QueueFull(GauntletError):
    """More submissions are waiting than the service takes on; it is busy, and the request is not at fault."""

    code = "queue_full"


class StorageFull(GauntletError):
    """The disk holds too little free space to accept more data; the service is at fault, not the request."""

    code = "storage_full"


class StorageUnavailable(GauntletError):
    """The files lie on another machine, which does not serve them now; trying again later may help."""

    code = "storage_unavailable"


class RateLimited(GauntletError):
    """Somebody asks for something more often than the service does it for one; nothing was done.

    Args:
        what: what they do too often.
        retry_after_s: seconds after which they may do it again.
    """

    code = "rate_limited"

    def __init__(self, what: str, retry_after_s: int) -> None:
        wait = f"{retry_after_s} seconds" if retry_after_s < 120 else f"{-(-retry_after_s // 60)} minutes"
        super().__init__(f"Too many {what} in a short time. Try again in {wait}.")
        self.retry_after_s = retry_after_s
