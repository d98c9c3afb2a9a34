"""How far a download is, for people who wait at a terminal."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TransferSpeedColumn

from model_zoo.downloads.transfer import Progress as Told


@contextmanager
def told(name: str, *, silent: bool = False) -> Iterator[Told]:
    """Show a bar on stderr once there is something to show, where that is a terminal.

    Args:
        name: what is fetched.
        silent: whether to show nothing.
    """
    columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TransferSpeedColumn())
    shown = sys.stderr.isatty() and not silent
    with Progress(*columns, console=Console(stderr=True), disable=not shown, transient=True) as bar:
        task = bar.add_task(f"Fetching {name}", total=None, visible=False)

        def progress(done: int, total: int | None) -> None:
            bar.update(task, completed=done, total=total, visible=True)

        yield progress
