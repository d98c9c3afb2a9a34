"""What the thread at hand works on, for whoever writes its log."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from types import MappingProxyType

from store.claims import Claim

NOTHING: Mapping[str, str | int] = MappingProxyType({})
_WORK: ContextVar[Mapping[str, str | int]] = ContextVar("work", default=NOTHING)


@contextmanager
def working_on(claim: Claim, worker: str) -> Iterator[None]:
    """Name the work and the worker in every record that this thread logs until the end of the block.

    A thread that is started inside the block begins without: it has a context of its own.
    """
    names: dict[str, str | int] = {
        "submission": claim.submission_id,
        "run": claim.run_id,
        "shard": claim.shard_id,
        "attempt": claim.attempt,
        "worker": worker,
    }
    token = _WORK.set(names)
    try:
        yield
    finally:
        _WORK.reset(token)


def present_work() -> Mapping[str, str | int]:
    """Return the names of what this thread works on; nothing where it works on nothing."""
    return _WORK.get()
