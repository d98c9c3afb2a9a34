"""Where all that is downloaded lies: said by the environment, for the libraries have no settings."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

VARIABLE = "GAUNTLET_CACHE"
"""Environment variable that names the folder of all downloads."""
_WITHOUT_HOME = Path("/var/cache/gauntlet")


def cache_directory(environment: Mapping[str, str] = os.environ) -> Path:
    """Return the folder that the environment names, else one in the user's cache."""
    home = environment.get("XDG_CACHE_HOME") or "~/.cache"
    try:
        return Path(environment.get(VARIABLE) or Path(home, "gauntlet")).expanduser()
    except RuntimeError:  # a user without a home, as in a container
        return _WITHOUT_HOME
