"""How an attempt ends when it brings no result."""

from __future__ import annotations


class Ended(Exception):
    """The attempt ends without a result of its own."""


class Discarded(Ended):
    """The lease is lost or the submission cancelled: nothing more may be written."""


class Stopped(Ended):
    """The service shuts down."""


class Broken(Ended):
    """The child failed in a way that is the service's fault until proven otherwise."""
