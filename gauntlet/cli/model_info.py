"""``gauntlet import-model-info``."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from benchmark.errors import InvalidInput
from gauntlet.cli.console import AsJson, print_json

if TYPE_CHECKING:
    from store.model_info import InfoFile


def import_model_info(
    path: Annotated[Path, typer.Argument(help="A file, or a folder of them, each at DATASET/THREAT_MODEL/ID.json.")],
    as_json: AsJson = False,
) -> None:
    """Take reported entries from RobustBench's files of model information, straight into the database.

    All of them, or none. Entries evaluated here are never changed.
    """
    from gauntlet.app import open_database
    from gauntlet.settings import read_settings
    from store.model_info_import import import_model_info as put

    files = list(_files(path))
    with closing(open_database(read_settings(), upgrading=False)) as db:
        done = put(db, files)
    if as_json:
        print_json(done.model_dump(mode="json"))
        return
    for remark in done.remarks:
        print(remark)
    print(f"{len(done.created)} entries created, {len(done.updated)} updated, {len(done.unchanged)} unchanged")


def _files(path: Path) -> Iterator[InfoFile]:
    """Read the files; which entry one is of, its name and the two folders above it say.

    Raises:
        InvalidInput: there is none.
    """
    from store.model_info import LARGEST_BYTES, InfoFile

    found = [path] if path.is_file() else sorted(one for one in path.rglob("*.json") if one.is_file())
    if not found:
        raise InvalidInput.because(
            "path",
            found=repr(str(path)),
            expected="a JSON file, or a folder that holds some",
            remedy="name the folder that holds the data sets' folders",
        )
    for one in found:
        folder = one.resolve().parent
        with one.open("rb") as file:
            content = file.read(LARGEST_BYTES + 1)
        yield InfoFile(str(one), folder.parent.name, folder.name, one.stem, content)
