"""The data sets that this machine has, for its workers and for the evaluations that they put into a sandbox."""

from __future__ import annotations

import logging
from dataclasses import replace
from pathlib import Path

from benchmark import dataset_inventory
from benchmark.errors import GauntletError
from benchmark.report import SandboxLevel
from gauntlet.settings import Settings
from worker.sandbox import Sandbox, find_sandbox

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


def sandbox_with_data(minimum: SandboxLevel, data_dir: Path) -> Sandbox:
    """Return this machine's sandbox, in which an evaluation sees the data sets that are there, and nothing else.

    Args:
        minimum: the weakest that will do.
        data_dir: folder of the data sets, an absolute path.
    Raises:
        SandboxTooWeak: this machine cannot put up such a sandbox.
    """
    return replace(find_sandbox(minimum), readable=dataset_inventory.paths(data_dir))


def _is_sound(name: str, settings: Settings) -> bool:
    try:
        dataset_inventory.require_all(name, settings.data_dir)
    except (GauntletError, OSError) as error:
        logger.warning("the data set %s is left out: %s", name, error)
        return False
    return True
