"""The data sets that this machine's workers have."""

from __future__ import annotations

import logging

from benchmark import dataset_inventory
from benchmark.errors import GauntletError
from gauntlet.settings import Settings

logger = logging.getLogger(__name__)


def datasets_of(settings: Settings) -> tuple[str, ...]:
    """Return the data sets to announce: those that the settings name, else all that are there and sound.

    Large files are hashed at the first start, which takes seconds for each gigabyte.

    Raises:
        NotFound: one that is named is not there.
        InvalidData: one that is named is damaged.
    """
    for name in settings.worker_datasets:
        dataset_inventory.require_all(name, settings.data_dir)
    return settings.worker_datasets or tuple(
        name for name in dataset_inventory.available(settings.data_dir) if _is_sound(name, settings)
    )


def _is_sound(name: str, settings: Settings) -> bool:
    try:
        dataset_inventory.require_all(name, settings.data_dir)
    except (GauntletError, OSError) as error:
        logger.warning("the data set %s is left out: %s", name, error)
        return False
    return True
