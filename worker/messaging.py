"""What the ways of sending a message have in common."""

from __future__ import annotations

from collections.abc import Callable

from store.deliveries import Delivery


class NotDelivered(Exception):
    """A message did not arrive.

    Args:
        reason: why, in words that its receiver may read.
        lasting: whether trying again cannot help.
        everywhere: whether the fault is the server's that sends, so that nothing else arrives either.
    """

    def __init__(self, reason: str, *, lasting: bool = False, everywhere: bool = False) -> None:
        super().__init__(reason)
        self.reason, self.lasting, self.everywhere = reason, lasting, everywhere


Send = Callable[[Delivery], None]
"""Sends one message, or raises NotDelivered."""
