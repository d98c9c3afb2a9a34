"""A protocol drawn from a secret, so that nobody can prepare a model for its attack. Nothing here needs torch."""

from __future__ import annotations

import hmac
from collections.abc import Mapping, Sequence

from benchmark.errors import InvalidInput

KEY_BYTES = 32
COMPOSED_VERSION = 1
"""Version of every composed protocol; raised when a default of an attack in the catalogue changes.

Reports name a composed protocol by its text, a hyphen and this number.
"""
FAMILIES: Mapping[str, Mapping[str, Sequence[int]]] = {
    "mi-fgsm": {"restarts": range(3, 11), "steps": range(40, 161, 20)},
    "multi-targeted": {"restarts": range(1, 4), "steps": range(20, 61, 10)},
    "spsa": {"samples": range(16, 41, 8), "steps": range(20, 61, 10)},
}
"""What is drawn from: attacks, and for each option, in the order in which labels have them, the values it may take.

Step sizes are left out, for the attacks' own grow with the budget. At the upper ends a point of ten classes that
nothing breaks costs 4,830, 4,941 and 4,941 passes, a backward pass counted as two.
"""


def unannounced_protocol(key: bytes) -> str:
    """Draw an attack and its settings, each uniformly from what `FAMILIES` allows.

    Args:
        key: 32 secret bytes; equal keys give equal protocols.
    Returns:
        The label of a composed protocol, such as "spsa(samples=24,steps=40)-1": what an evaluation is asked for by, and
        what its report bears.
    Raises:
        InvalidInput: the key has another length.
    """
    if len(key) != KEY_BYTES:
        raise InvalidInput.because(
            "key", found=f"{len(key)} bytes", expected=f"{KEY_BYTES} bytes", remedy="draw it with secrets.token_bytes"
        )
    families = tuple(FAMILIES)
    family = families[_number(key, "family", len(families))]
    chosen = {
        option: values[_number(key, f"{family} {option}", len(values))] for option, values in FAMILIES[family].items()
    }
    written = ",".join(f"{option}={value}" for option, value in chosen.items())
    return f"{family}({written})-{COMPOSED_VERSION}"


def _number(key: bytes, what: str, below: int) -> int:
    """Draw a whole number from 0; of 256 bits the remainder favours no number by more than 2**-240."""
    digest = hmac.digest(key, f"unannounced protocol: {what}".encode(), "sha256")
    return int.from_bytes(digest, "big") % below
