"""What is known of a data set before any of it is there. Nothing here needs torch or numpy."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from benchmark.data_formats.rows import Rows


@dataclass(frozen=True)
class DataFile:
    """A file that a data set consists of, or a folder.

    Args:
        name: of the file, below the folder of its form; that of a folder ends with a slash.
        checksum: "md5:..." or "sha256:..."; None where none is known.
        size: in bytes; None where it is not known.
        url: where to get it; None where it comes in an archive.
    """

    name: str
    checksum: str | None = None
    size: int | None = None
    url: str | None = None

    @property
    def known(self) -> str:
        """Size and checksum in words."""
        size = f"{self.size:,} bytes" if self.size is not None else None
        return ", ".join(filter(None, (size, (self.checksum or "").replace(":", " "))))


@dataclass(frozen=True)
class Form:
    """One way in which a data set may lie in a folder.

    Args:
        folders: where it is looked for, below the folder of all data sets; it belongs into the first.
        files: what each split needs.
        reader: from the folder and the split to its rows.
    """

    folders: tuple[str, ...]
    files: Mapping[str, tuple[DataFile, ...]]
    reader: Callable[[Path, str], Rows]


@dataclass(frozen=True)
class DataSet:
    """A data set by name: what it is, and how it comes to this machine.

    Args:
        name: what commands and reports call it.
        title: what people call it.
        labels: whose classes it has, see `benchmark.data_formats.classes`.
        shape: channels, height and width of an image as it is loaded by default.
        splits: number of points of each split.
        page: where it is described.
        terms: its licence, or what its authors say of its use.
        forms: ways in which it may lie on a disk, the one that is looked for first, first.
        downloads: files to get.
        unpack: whether they are archives that must be unpacked first.
        how: how to get it, where that is no download of files.
        instead: what is read as well, in words.
        preprocessing: what is done to images by default, where they come in several sizes.
    """

    name: str
    title: str
    labels: str
    shape: tuple[int, int, int]
    splits: Mapping[str, int]
    page: str
    terms: str
    forms: tuple[Form, ...] = ()
    downloads: tuple[DataFile, ...] = ()
    unpack: bool = False
    how: str | None = None
    instead: str | None = None
    preprocessing: str | None = None

    @property
    def needed(self) -> tuple[str, ...]:
        """Splits that an evaluation asks for: the test split, or all where there is none."""
        return ("test",) if "test" in self.splits else tuple(self.splits)

    @property
    def comes_along(self) -> bool:
        """Whether there is nothing to get."""
        return not any(form.folders for form in self.forms)

    def home(self, root: Path) -> Path:
        """Return the folder that it belongs into."""
        return root / self.name

    def instructions(self, root: Path, split: str | None = None) -> str:
        """Say how to get it, or one split of it."""
        if self.how is not None:
            return self.how.format(folder=self.home(root))
        needed = {file for form in self.forms for file in form.files.get(split or "", ())}
        files = [file for file in self.downloads if file in needed] or self.downloads
        addresses = " and ".join(f"{file.url}" + (f" ({file.known})" if self.unpack else "") for file in files)
        unpacked = f", and unpack it there with tar -xf {files[0].name}" if self.unpack else ""
        return f"download {addresses} into {self.home(root)}{unpacked}"
