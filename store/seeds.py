"""The secret keys by which runs draw: made from a secret of the service and what is evaluated, and told after the run.

Equal files on one board always draw by the same key: whoever submits a file again, in the hope of a luckier seed, gets
the same numbers.
"""

from __future__ import annotations

import hashlib
import hmac

from sqlalchemy.orm import Session

from benchmark.commitment import seed_of
from store.tables import SEED_SECRET, MetaRow
from store.views import Purpose


def key_of_run(
    session: Session, *, purpose: Purpose, protocol: str, dataset: str, threat_model: str, checkpoint_sha256: str
) -> str:
    """Return the key of a run, 64 hexadecimal digits."""
    secret = bytes.fromhex(session.get_one(MetaRow, SEED_SECRET).value)
    message = f"{purpose}/{protocol}/{dataset}/{threat_model}/{checkpoint_sha256}"
    return hmac.new(secret, message.encode(), hashlib.sha256).hexdigest()


def seed_of_key(key: str) -> int:
    """Return the seed of the run that draws by a key."""
    return seed_of(bytes.fromhex(key))
