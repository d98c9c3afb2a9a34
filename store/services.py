"""What the API, the pages and the worker share."""

from __future__ import annotations

from dataclasses import dataclass, field

from store.admission import Admission
from store.blobs import Blobs
from store.database import Database
from store.rendered import Rendered


@dataclass(frozen=True)
class Services:
    """The store and its limits, made once by the composition root.

    Args:
        db: the database.
        blobs: large files by content.
        admission: what the store must know of the model zoo.
        max_checkpoint_bytes: size above which an upload is refused.
        rendered: answers of this process that need not be made anew.
        approval: whether a maintainer must agree before others' work is published.
    """

    db: Database
    blobs: Blobs
    admission: Admission
    max_checkpoint_bytes: int
    rendered: Rendered = field(default_factory=Rendered)
    approval: bool = False
