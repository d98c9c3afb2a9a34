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
