"""How often one account or network address may do something: counted in Redis, or in this process."""

from __future__ import annotations

import ipaddress
import logging
import math
import time
from collections.abc import Mapping

from limits import RateLimitItem, parse_many
from limits.storage import MemoryStorage, Storage, storage_from_string
from limits.strategies import SlidingWindowCounterRateLimiter

from store.errors import RateLimited
from store.rates import Counted, Rates

logger = logging.getLogger(__name__)

LIMITS: Mapping[Counted, str] = {
    Counted.SIGN_IN: "10/minute; 50/hour",
    Counted.REGISTER: "10/hour",
    Counted.LINK: "20/hour",
    Counted.PASSWORD: "10/hour",
    Counted.TOKEN: "30/hour",
    Counted.SUBMISSION: "300/hour",
    Counted.EXTERNAL: "300/hour",
    Counted.UPLOAD: "1200/hour",
    Counted.DRAWING: "1200/hour",
}
_NETWORK = 64
"""Leading bits of an IPv6 address that belong to one household or machine: the rest anybody can choose anew."""


class CountedRates(Rates):
    """Counts within sliding windows.

    Args:
        redis_url: where the counts are kept, shared by all processes; None keeps them in this one. While Redis does not
            answer, each process counts for itself, so that nobody is shut out and nobody has free play.
    """

    def __init__(self, redis_url: str | None = None) -> None:
        self._own = SlidingWindowCounterRateLimiter(MemoryStorage())
        self._shared = None if redis_url is None else SlidingWindowCounterRateLimiter(_redis(redis_url))
        self._limits = {what: parse_many(text) for what, text in LIMITS.items()}

    def spend(self, what: Counted, *whose: str) -> None:
        """Count something towards each of those whom it is counted for."""
        waits = [
            wait
            for one in whose
            if one
            for limit in self._limits[what]
            if (wait := self._wait(limit, what.name, network_of(one)))
        ]
        if waits:
            raise RateLimited(what.value, max(waits))

    def _wait(self, limit: RateLimitItem, what: str, whose: str) -> int:
        """Count one and return the seconds to wait; 0 where it is within the limit."""
        limiter = self._shared or self._own
        try:
            return _wait(limiter, limit, what, whose)
        except Exception as error:  # of whichever client of Redis
            if limiter is self._own:
                raise
            logger.warning("the counts in Redis cannot be read, this process counts alone: %s", type(error).__name__)
            return _wait(self._own, limit, what, whose)


def network_of(text: str) -> str:
    """Return whom something is counted for: an IPv6 address counts as its network, all else as itself."""
    try:
        address = ipaddress.ip_address(text)
    except ValueError:
        return text
    if isinstance(address, ipaddress.IPv6Address):
        if address.ipv4_mapped is not None:
            return str(address.ipv4_mapped)
        return str(ipaddress.ip_network((int(address), _NETWORK), strict=False))
    return text


def _wait(limiter: SlidingWindowCounterRateLimiter, limit: RateLimitItem, what: str, whose: str) -> int:
    if limiter.hit(limit, what, whose):
        return 0
    return max(1, math.ceil(limiter.get_window_stats(limit, what, whose).reset_time - time.time()))


def _redis(url: str) -> Storage:
    # The library calls a socket's address by another scheme than the rest of the service.
    storage = storage_from_string(url.replace("redis+socket://", "redis+unix://", 1))
    if not isinstance(storage, Storage):
        raise TypeError("expected a storage that is not asynchronous")
    return storage
