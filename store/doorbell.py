"""How workers learn of new work. The database says what there is to do; the bell only says that it is worth a look."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol


class Doorbell(Protocol):
    """Wakes workers."""

    def ring(self, shard_ids: Sequence[int]) -> None:
        """Tell that these pieces of work are queued.

        It never raises and need not arrive: the sweeper rings again for work that nobody came for.
        """


class Silence:
    """A bell that nobody hears, for those who look by themselves."""

    def ring(self, shard_ids: Sequence[int]) -> None:
        """Do nothing."""
