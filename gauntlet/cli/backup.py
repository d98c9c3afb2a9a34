"""``gauntlet backup`` and ``gauntlet restore``."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from benchmark.errors import InvalidInput
from gauntlet.cli.console import AsJson, ExitCode, print_json, progress_bar

if TYPE_CHECKING:
    from gauntlet.settings import Settings
    from store.archive import Manifest

VarDir = Annotated[Path | None, typer.Option(help="Directory of all data.", show_default="./var")]


def backup(
    file: Annotated[Path, typer.Argument(help="File to write; there must be none of this name.")],
    var_dir: VarDir = None,
    as_json: AsJson = False,
) -> None:
    """Write everything that the service has into one file; the service may go on meanwhile.

    The file holds checkpoints that their authors may want to keep to themselves. Only its owner can read it.
    """
    from gauntlet import __version__
    from gauntlet.app import database_errors_told
    from gauntlet.settings import read_settings
    from gauntlet.storage import open_blobs
    from store.backup import save
    from store.database import Database

    settings = read_settings(var_dir=var_dir)
    _require_database(settings)
    with closing(open_blobs(settings)) as blobs, database_errors_told(), progress_bar(silent=as_json) as bar:
        db = Database(settings.database_address)
        try:
            task = bar.add_task("Reading the database", total=None)
            manifest = save(
                db,
                blobs,
                file,
                program=__version__,
                progress=lambda done, total: bar.update(task, description="Saving files", completed=done, total=total),
            )
        finally:
            db.close()
    _report("Saved", manifest, file, as_json=as_json)
    if manifest.lost:
        raise typer.Exit(ExitCode.FAILED)


def restore(
    file: Annotated[Path, typer.Argument(help="File that `gauntlet backup` has written.")],
    var_dir: VarDir = None,
    as_json: AsJson = False,
) -> None:
    """Put a backup into an empty database and directory; what was being worked on waits in the queue again.

    The file is checked in full before anything is written, and the database has all of it or nothing.
    """
    from gauntlet.app import database_errors_told
    from gauntlet.settings import read_settings
    from gauntlet.storage import open_blobs
    from store.database import Database
    from store.restore import restore as put_back

    settings = read_settings(var_dir=var_dir)
    if not file.is_file():
        raise InvalidInput.because(
            "file", found=f"no file at {str(file)!r}", expected="a backup", remedy="check the path"
        )
    with (
        closing(open_blobs(settings)) as blobs,
        database_errors_told(),
        progress_bar(silent=as_json, as_bytes=True) as bar,
    ):
        db = Database(settings.database_address)
        try:
            task = bar.add_task("Restoring", total=None)
            manifest = put_back(
                db,
                blobs,
                file,
                progress=lambda done, total: bar.update(task, completed=done, total=total),
            )
        finally:
            db.close()
    _report("Restored", manifest, file, as_json=as_json)


def _require_database(settings: Settings) -> None:
    """Opening an SQLite database that is not there would make one, and then save nothing."""
    from sqlalchemy.engine import make_url

    address = make_url(settings.database_address)
    path = Path(address.database or "")
    if address.get_backend_name() == "sqlite" and not path.is_file():
        raise InvalidInput.because(
            "database_url",
            found=f"no database at {str(path)!r}",
            expected="the database of a service",
            remedy="set GAUNTLET_VAR_DIR or GAUNTLET_DATABASE_URL as the service has it",
        )


def _report(done: str, manifest: Manifest, file: Path, *, as_json: bool) -> None:
    size = file.stat().st_size
    blobs = [member for member in manifest.members if member.name.startswith("blobs/")]
    if as_json:
        print_json(
            {
                "file": str(file),
                "bytes": size,
                "made_at": manifest.made_at,
                "program": manifest.program,
                "revision": manifest.revision,
                "rows": manifest.rows,
                "files": len(blobs),
                "lost": list(manifest.lost),
            }
        )
        return
    submissions, entries = manifest.rows.get("submission", 0), manifest.rows.get("entry", 0)
    print(f"{done} {submissions} submissions, {entries} entries and {len(blobs)} files; {file} has {size} bytes.")
    for sha256 in manifest.lost:
        print(f"Lost: the file {sha256} was gone or damaged when the backup was made.")
