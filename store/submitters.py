"""For whom a submission counts where submitters share the workers."""

from __future__ import annotations

import hashlib

from store.actors import Actor
from store.database import Database
from store.tables import SUBMITTER_SALT, MetaRow


def submitter_of(db: Database, who: Actor, address: str) -> str:
    """Return for whom somebody's work counts: their account, or else the network address that they ask from."""
    return who.submitter or submitter_at(db, address)


def submitter_at(db: Database, address: str) -> str:
    """Return the name under which submissions from a network address share the workers.

    It is a keyed hash: equal for equal addresses, and of no use for finding the address.
    """
    with db.snapshot() as session:
        salt = session.get_one(MetaRow, SUBMITTER_SALT).value
    return "address-" + hashlib.blake2b(address.encode(), key=salt.encode(), digest_size=12).hexdigest()
