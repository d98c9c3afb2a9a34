"""Where the files of data sets are looked for, and whether they are the right ones, without torch or numpy."""

from __future__ import annotations

import contextlib
import hashlib
import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from benchmark.cache import cache_directory
from benchmark.dataset_entry import DataFile, DataSet, Form
from benchmark.errors import InvalidData, NotFound

VARIABLE = "GAUNTLET_DATA_DIR"
"""Environment variable that names the folder of all data sets."""
_WITHIN_CACHE = "data"

_VERIFIED: set[tuple[str, str]] = set()
"""Files that this process has hashed, with what was then known of them."""


@dataclass(frozen=True)
class Place:
    """Where a split of a data set was found.

    Args:
        form: in which form.
        folder: in which folder.
    """

    form: Form
    folder: Path


def data_directory(data_dir: str | Path | None = None) -> Path:
    """Return the folder of all data sets: the one given, else the environment's, else one in the user's cache."""
    by_default = cache_directory() / _WITHIN_CACHE
    try:
        return Path(data_dir or os.environ.get(VARIABLE) or by_default).expanduser()
    except RuntimeError:  # a user without a home, as in a container
        return by_default


def find(dataset: DataSet, split: str, root: Path) -> Place | None:
    """Return where a split lies; None where it does not, or not whole."""
    for form in dataset.forms:
        for folder in [root / name for name in form.folders] or [root]:
            if not _missing(folder, form.files.get(split, ())):
                return Place(form, folder)
    return None


def require(dataset: DataSet, split: str, root: Path, *, hashed: set[Path] | None = None) -> Place:
    """Return where a split lies, its files looked at.

    Args:
        dataset: the data set.
        split: one of its splits.
        root: folder of all data sets.
        hashed: where it is given, every file is hashed that is not among these, and becomes one of them; otherwise a
            file is hashed once, see `verify`.
    Raises:
        NotFound: it does not lie there; the error says what to get, where, and which path it belongs to.
        InvalidData: a file of it has another size or another checksum.
    """
    place = find(dataset, split, root)
    if place is None:
        raise _not_there(dataset, split, root)
    for file in place.form.files.get(split, ()):
        again = hashed is not None and place.folder / file.name not in hashed
        verify(place.folder, file, remedy=f"delete it, and {dataset.instructions(root, split)}", again=again)
        if hashed is not None:
            hashed.add(place.folder / file.name)
    return place


def has_all(dataset: DataSet, root: Path) -> bool:
    """Tell whether what an evaluation asks for is there: the test split, or every split where there is none."""
    try:
        return all(find(dataset, split, root) is not None for split in dataset.needed)
    except OSError:  # such as a folder that may not be read
        return False


def paths_of(dataset: DataSet, root: Path) -> list[Path]:
    """Return the files and folders of a data set that are there, and what was kept of their checksums."""
    paths = dict.fromkeys(
        root / folder / file.name
        for form in dataset.forms
        for folder in form.folders
        for files in form.files.values()
        for file in files
    )
    there = [path for path in paths if _exists(path)]
    return there + [stamp for stamp in map(_stamp, there) if _exists(stamp)]


def _exists(path: Path) -> bool:
    try:
        return path.exists()
    except OSError:  # such as a folder that may not be read
        return False


def verify(folder: Path, file: DataFile, *, remedy: str, again: bool = False) -> None:
    """Hold a file against its size and its checksum.

    A file is hashed once: what was found is kept beside it, where that folder can be written, and holds as long as its
    size and time stay.

    Args:
        folder: where it lies.
        file: what is known of it; nothing is looked at of a folder.
        remedy: what to do about another file.
        again: hash it even so.
    Raises:
        InvalidData: it is another file, or a part of it.
    """
    if file.name.endswith("/"):
        return
    path = folder / file.name
    status = path.stat()
    if file.size is not None and status.st_size != file.size:
        raise InvalidData.because(
            str(path), found=f"{status.st_size:,} bytes", expected=f"{file.size:,} bytes", remedy=remedy
        )
    if file.checksum is None:
        return
    known = f"{file.checksum} {status.st_size} {status.st_mtime_ns}"
    if not again and _is_verified(path, known):
        return
    algorithm, _, expected = file.checksum.partition(":")
    found = _hashed(path, algorithm)
    if found != expected:
        raise InvalidData.because(
            str(path), found=f"{algorithm} {found}", expected=f"{algorithm} {expected}", remedy=remedy
        )
    _remember(path, known)


def adopt(fetched: Path, folder: Path, file: DataFile, *, remedy: str) -> None:
    """Put a file that was fetched into its place, once it is known to be the right one.

    Args:
        fetched: the file, in the same file system.
        folder: where it belongs.
        file: what is known of it.
        remedy: what to do about another file; what was fetched is deleted then.
    Raises:
        InvalidData: it is another file.
    """
    try:
        verify(fetched.parent, replace(file, name=fetched.name), remedy=remedy, again=True)
    except InvalidData:
        fetched.unlink()
        raise
    finally:
        _stamp(fetched).unlink(missing_ok=True)
    status = fetched.stat()
    fetched.replace(folder / file.name)
    _remember(folder / file.name, f"{file.checksum} {status.st_size} {status.st_mtime_ns}")


def _remember(path: Path, known: str) -> None:
    """Keep what was found of a file, in this process and beside it."""
    _VERIFIED.add((str(path), known))
    with contextlib.suppress(OSError):  # a folder that cannot be written: each process hashes the file anew
        _stamp(path).write_text(f"{known}\n", encoding="ascii")


def _is_verified(path: Path, known: str) -> bool:
    if (str(path), known) in _VERIFIED:
        return True
    try:
        return _stamp(path).read_text(encoding="ascii").strip() == known
    except (OSError, UnicodeDecodeError):
        return False


def _stamp(path: Path) -> Path:
    return path.with_name(f".{path.name}.verified")


def _hashed(path: Path, algorithm: str) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, lambda: hashlib.new(algorithm, usedforsecurity=False)).hexdigest()


def _missing(folder: Path, files: Sequence[DataFile]) -> list[DataFile]:
    return [
        file
        for file in files
        if not ((folder / file.name).is_dir() if file.name.endswith("/") else (folder / file.name).is_file())
    ]


def _not_there(dataset: DataSet, split: str, root: Path) -> NotFound:
    """Say what is missing of a split, and how to get it."""
    places = [
        (form, root / name, _missing(root / name, form.files[split])) for form in dataset.forms for name in form.folders
    ]
    begun = [place for place in places if 0 < len(place[2]) < len(place[0].files[split])]
    found = f"nothing of it in {root}"
    if begun:
        _, folder, missing = begun[0]
        found = f"{folder} without {missing[0].name}" + (f" and {len(missing) - 1} more" if len(missing) > 1 else "")
    wanted = [file for form in dataset.forms for file in form.files[split] if file in dataset.downloads]
    wanted = wanted or list(dataset.forms[0].files[split])
    paths = [f"{dataset.home(root) / file.name}" + (f" ({file.known})" if file.known else "") for file in wanted]
    return NotFound.because(
        f"dataset {dataset.name}, split {split}",
        found=found,
        expected=" and ".join(paths) + (f"; or {dataset.instead}" if dataset.instead else ""),
        remedy=f"{dataset.instructions(root, split)}; or name the folder that holds {dataset.home(root).name} as "
        f"data_dir, or in {VARIABLE}",
    )
