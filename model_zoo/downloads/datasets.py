"""The files of data sets, fetched from their publishers into the folder where they are looked for."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from benchmark.dataset_entry import DataFile, DataSet
from benchmark.dataset_files import adopt, find, require, verify
from benchmark.errors import NotFound
from model_zoo.downloads.locking import held
from model_zoo.downloads.places import OFFLINE
from model_zoo.downloads.transfer import CUSTOMARY, Patience, Progress, fetch


@dataclass(frozen=True)
class FetchedFile:
    """A file of a data set that is in its place and the right one.

    Args:
        path: of it.
        was_here: whether nothing had to be fetched.
    """

    path: Path
    was_here: bool


def fetch_dataset(
    dataset: DataSet,
    root: Path,
    splits: Sequence[str] = (),
    *,
    offline: bool = False,
    patience: Patience = CUSTOMARY,
    progress: Progress | None = None,
) -> Iterator[FetchedFile]:
    """Fetch what a data set is published as, file by file, and put each into its place once its checksum is right.

    Where all is there in any form, nothing is fetched. What broke off is gone on from by a later call. Archives stay
    packed.

    Args:
        dataset: which.
        root: folder of all data sets.
        splits: only what these need; by default everything.
        offline: whether there is to be no network: then all must be there.
        patience: limits of each transfer.
        progress: told how far it is.
    Raises:
        NotFound: no such split; or the data set is not fetched, and the error says how to get it.
        DownloadFailed: a file cannot be had.
        InvalidData: what came, or what is there, is another file.
    """
    wanted, home = _wanted(dataset, root, splits), dataset.home(root)
    if all(find(dataset, split, root) is not None for split in splits or dataset.splits):
        for split in splits or dataset.splits:
            require(dataset, split, root)
        return
    for file in wanted:
        if (home / file.name).is_file():
            verify(home, file, remedy=f"delete it, and fetch it again ({file.url})")
            yield FetchedFile(home / file.name, was_here=True)
            continue
        if offline:
            raise NotFound.because(
                f"dataset {dataset.name}", found=f"no {home / file.name}, and {OFFLINE} is set",
                expected="the file in its place", remedy=f"unset {OFFLINE}, or {dataset.instructions(root)}",
            )  # fmt: skip
        with held(home / ".lock"):
            was_here = (home / file.name).is_file()  # another process may have been faster
            if not was_here:
                _fetch(file, home, patience, progress)
        yield FetchedFile(home / file.name, was_here)


def _fetch(file: DataFile, home: Path, patience: Patience, progress: Progress | None) -> None:
    fetched = home / f".{file.name}.fetched"
    bounded = patience if file.size is None else replace(patience, max_bytes=file.size)
    fetch(str(file.url), fetched, patience=bounded, progress=progress)
    remedy = "what its publisher has now is another file than was published: ask there, or take it from a copy"
    adopt(fetched, home, file, remedy=remedy)


def _wanted(dataset: DataSet, root: Path, splits: Sequence[str]) -> list[DataFile]:
    """Return the files to fetch."""
    unknown = [split for split in splits if split not in dataset.splits]
    if unknown:
        raise NotFound.because(
            "split", found=unknown[0], expected=f"one of {', '.join(dataset.splits)}", remedy="leave it out for all"
        )
    if dataset.comes_along:
        return []
    needed = {file for form in dataset.forms for split in splits for file in form.files[split]}
    files = [file for file in dataset.downloads if file in needed] or list(dataset.downloads)
    if not files or any(file.url is None or not _is_safe(file.url) for file in files):
        raise NotFound.because(
            f"dataset {dataset.name}", found="no address that it may be fetched from by a program",
            expected="its files, put there by you", remedy=dataset.instructions(root),
        )  # fmt: skip
    return files


def _is_safe(url: str) -> bool:
    return url.startswith(("https://", "http://127.0.0.1:"))
