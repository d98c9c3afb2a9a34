"""Where downloads are kept, and whether there may be any: said by the environment, for the library has no settings."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from benchmark.cache import cache_directory
from benchmark.errors import InvalidInput

OFFLINE, MIRROR = "GAUNTLET_OFFLINE", "GAUNTLET_ZOO_MIRROR"
_YES, _NO = frozenset(("1", "true", "yes", "on")), frozenset(("", "0", "false", "no", "off"))
_LOOPBACK = frozenset(("localhost", "127.0.0.1", "::1"))


@dataclass(frozen=True)
class Places:
    """Where to look for files, and where to put them.

    Args:
        cache: folder of everything that is downloaded; made when first needed.
        offline: whether to go without the network.
        mirror: address below which files lie under their SHA-256, asked before the source; None for none.
    """

    cache: Path
    offline: bool = False
    mirror: str | None = None

    @classmethod
    def from_environment(cls, environment: Mapping[str, str] = os.environ) -> Places:
        """Read ``GAUNTLET_CACHE``, ``GAUNTLET_OFFLINE`` and ``GAUNTLET_ZOO_MIRROR``.

        Raises:
            InvalidInput: one of them has a value that cannot be used.
        """
        said = environment.get(OFFLINE, "").strip().casefold()
        if said not in _YES | _NO:
            raise InvalidInput.because(OFFLINE, found=repr(said), expected="1 or 0", remedy="set it to 1, or unset it")
        mirror = environment.get(MIRROR, "").strip().rstrip("/")
        if mirror:
            check_address(mirror, MIRROR)
        return cls(cache_directory(environment), said in _YES, mirror or None)


def check_address(url: str, field: str, *, after: str | None = None) -> None:
    """Refuse an address that is not https, or http to this machine.

    Args:
        url: the address.
        field: what it is called in the message.
        after: the address that led to it: one elsewhere may not lead to the services of this machine.
    Raises:
        InvalidInput: it may not be asked.
    """
    try:
        parts = urlsplit(url)
        sound = bool(parts.hostname) and parts.username is None
        here = parts.scheme == "http" and parts.hostname in _LOOPBACK and not (after or "").startswith("https:")
        sound = sound and (parts.scheme == "https" or here)
    except ValueError:
        sound = False
    if not sound:
        raise InvalidInput.because(
            field, found=repr(url[:200]), expected="an address that begins with https://",
            remedy="use https: what is fetched otherwise may be anybody's",
        )  # fmt: skip
