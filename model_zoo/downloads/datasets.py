"""The files of a data set from where its authors publish them to where the loader looks for them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from benchmark.dataset_files import DataSet, verify
from benchmark.errors import InvalidInput, NotFound
from model_zoo.downloads.locking import held
from model_zoo.downloads.places import OFFLINE
from model_zoo.downloads.transfer import CUSTOMARY, Patience, Progress, fetch


def fetch_dataset(
    dataset: DataSet, root: Path, *, offline: bool = False, patience: Patience = CUSTOMARY, progress: Progress
) -> Iterator[Path]:
    """Fetch the files of a data set that are not there, and yield each once its checksum is right.

    Args:
        dataset: whose.
        root: folder of the data sets.
        offline: whether to go without the network.
        patience: limits of each transfer.
        progress: told how far the present file is.
    Raises:
        NotFound: they are to be got in another way, which the error tells, or there is to be no download.
        DownloadFailed: a file cannot be had.
        InvalidData: what is there, or was fetched, is another file.
    """
    if not dataset.downloads or dataset.unpack or any(file.url is None for file in dataset.downloads):
        raise NotFound.because(
            "dataset", found=f"{dataset.name}, of which there are no files to fetch", expected="files that are read as "
            "they are published",
            remedy="it comes along" if dataset.comes_along else dataset.instructions(root),
        )  # fmt: skip
    home = dataset.home(root)
    with held(home / ".lock"):
        for file in dataset.downloads:
            path = home / file.name
            if not path.is_file():
                if offline:
                    raise NotFound.because(
                        "dataset", found=f"no {path}, and {OFFLINE} is set", expected="the file",
                        remedy=f"unset {OFFLINE}, or copy it there",
                    )  # fmt: skip
                fetch(_address(file.url), path, patience=patience, progress=progress)
            try:
                verify(home, file, remedy="delete it and fetch it again")
            except InvalidInput:
                path.rename(path.with_name(f"{path.name}.wrong"))
                raise
            yield path


def _address(url: str | None) -> str:
    if url is None:
        raise ValueError("the file has no address")
    return url
