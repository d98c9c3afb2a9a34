"""``gauntlet data``: the data sets, which of them are here, and whether their files are the right ones."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from gauntlet.cli.console import EPILOG, AsJson, DataDir, print_json, print_table, table_of

if TYPE_CHECKING:
    from benchmark.dataset_entry import DataSet

app = typer.Typer(help="List the data sets, fetch them and check their files.", epilog=EPILOG, no_args_is_help=False)

_MEGABYTE = 1_000_000


@app.command("list", epilog=EPILOG)
def list_datasets(data_dir: DataDir = None, as_json: AsJson = False) -> None:
    """List the data sets: which are here, where the others belong, how much there is to download, and from where."""
    from benchmark.dataset_files import data_directory
    from benchmark.dataset_table import DATASETS

    root = data_directory(data_dir).absolute()
    if as_json:
        print_json({"data_dir": str(root), "datasets": [_described(entry, root) for entry in DATASETS.values()]})
        return
    rows = [
        (
            entry.name,
            entry.title,
            _splits_here(entry, root),
            _megabytes(entry),
            "comes along" if entry.comes_along else entry.home(root),
            entry.page,
        )
        for entry in DATASETS.values()
    ]
    print_table(table_of(("Name", "Data set", "Here", "Download, MB", "Place", "Page"), rows))


@app.command("check", epilog=EPILOG)
def check_dataset(
    name: Annotated[str, typer.Argument(help="Name of a data set.")], data_dir: DataDir = None, as_json: AsJson = False
) -> None:
    """Hash the files of a data set that are here, and read every image of it."""
    from benchmark.dataset_inventory import check

    found: dict[str, int] = {}
    for split in check(name, data_dir):
        found[split.name] = split.points
        if not as_json:
            print(f"{split.name}: {split.points:,} points", flush=True)
    if as_json:
        print_json({"name": name, "splits": found})


@app.command("fetch", epilog=EPILOG)
def fetch_dataset(
    name: Annotated[str, typer.Argument(help="Name of a data set.")],
    split: Annotated[list[str] | None, typer.Option(help="Only what this split needs.", show_default="all")] = None,
    data_dir: DataDir = None,
    as_json: AsJson = False,
) -> None:
    """Fetch the files of a data set from its publisher, and check their checksums. Its terms are yours to keep.

    ImageNet is never fetched. With GAUNTLET_OFFLINE nothing is.
    """
    from benchmark.dataset_files import data_directory
    from benchmark.dataset_inventory import dataset_named
    from model_zoo.downloads import datasets
    from model_zoo.downloads.places import Places
    from model_zoo.downloads.telling import told

    entry, root = dataset_named(name), data_directory(data_dir).absolute()
    offline = Places.from_environment().offline
    files = []
    with told(entry.title, silent=as_json) as progress:
        for file in datasets.fetch_dataset(entry, root, split or (), offline=offline, progress=progress):
            files.append(file)
            if not as_json:
                print(f"{file.path}{' was here' if file.was_here else ''}", flush=True)
    if as_json:
        fetched = [{"path": str(file.path), "was_here": file.was_here} for file in files]
        print_json({"name": name, "files": fetched, "unpack": entry.unpack, "terms": entry.terms})
        return
    if not files:
        print(f"Nothing to fetch: all of {name} is here")
    elif entry.unpack:
        print(f"Unpack it there: tar -xf {entry.downloads[0].name} -C {entry.home(root)}")
    print(f"Terms: {entry.terms}")


def _described(entry: DataSet, root: Path) -> dict[str, object]:
    from benchmark.dataset_files import find
    from benchmark.dataset_inventory import CLASSES

    places = {split: find(entry, split, root) for split in entry.splits}
    downloads = [{"url": file.url, "bytes": file.size, "checksum": file.checksum} for file in entry.downloads]
    return {
        "name": entry.name,
        "title": entry.title,
        "classes": CLASSES[entry.name],
        "shape": list(entry.shape),
        "splits": dict(entry.splits),
        "here": {split: str(place.folder) for split, place in places.items() if place is not None},
        "place": None if entry.comes_along else str(entry.home(root)),
        "downloads": downloads,
        "instructions": None if entry.comes_along else entry.instructions(root),
        "page": entry.page,
        "terms": entry.terms,
    }


def _splits_here(entry: DataSet, root: Path) -> str | None:
    """Name the splits that are here; None for none of them."""
    from benchmark.dataset_files import find

    splits = [split for split in entry.splits if find(entry, split, root) is not None]
    if len(splits) == len(entry.splits):
        return "all of it"
    named = "test" in entry.splits
    return (", ".join(splits) if named else f"{len(splits)} of {len(entry.splits)} cells") if splits else None


def _megabytes(entry: DataSet) -> int | None:
    sizes = [file.size for file in entry.downloads if file.size is not None]
    return -(-sum(sizes) // _MEGABYTE) if sizes and len(sizes) == len(entry.downloads) else None
