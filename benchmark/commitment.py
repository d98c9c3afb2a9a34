"""Seeds that are fixed before a run and told after it: nobody can choose one, and nobody knows it beforehand.

A run draws by a key of 32 secret bytes. Before the run its hash is published, after the run the key itself; whoever
compares the two knows that the seed was not chosen for its result. Nothing here needs torch.
"""

from __future__ import annotations

import hashlib

KEY_BYTES = 32
_SEED_BYTES = 6
"""Seeds of 48 bits are exact in every language's numbers."""


def commitment_of(key: bytes) -> str:
    """Return what is published of a key before the run: its SHA-256, in lower-case hexadecimal."""
    return hashlib.sha256(key).hexdigest()


def seed_of(key: bytes) -> int:
    """Return the seed of the run that draws by a key."""
    return int.from_bytes(hashlib.sha256(b"seed" + key).digest()[:_SEED_BYTES], "big")
