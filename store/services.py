"""What the API, the pages and the worker share."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property

from store.admission import Admission
from store.blobs import Blobs
from store.database import Database
from store.quotas import Quotas
from store.rates import Rates, Uncounted
from store.rendered import Rendered
from store.ties import KnownVerdicts

DRAWINGS_BYTES = 32 * 1024 * 1024
"""What all plots that are kept together may take."""


@dataclass(frozen=True)
class Services:
    """The store and its limits, made once by the composition root.

    Args:
        db: the database.
        blobs: large files by content.
        admission: what the store must know of the model zoo.
        max_checkpoint_bytes: size above which an upload is refused.
        rendered: answers of this process that need not be made anew.
        drawings: the same for plots, so that many of those do not push all pages out.
        quotas: what each may upload.
        rates: counts what each does.
        registration: whether people may make accounts for themselves.
        unverified_days: after which an unverified entry ends.
        webhooks: whether messages are sent to addresses that people name.
        approval: whether a maintainer must agree before others' work is published.
    """

    db: Database
    blobs: Blobs
    admission: Admission
    max_checkpoint_bytes: int
    rendered: Rendered = field(default_factory=Rendered)
    drawings: Rendered = field(default_factory=lambda: Rendered(DRAWINGS_BYTES))
    quotas: Quotas = field(default_factory=Quotas)
    rates: Rates = field(default_factory=Uncounted)
    registration: bool = True
    unverified_days: int = 180
    webhooks: bool = False
    approval: bool = False

    @cached_property
    def verdicts(self) -> KnownVerdicts:
        """The verdicts on single points that this process has read."""
        return KnownVerdicts(self.blobs)
