"""A backup holds all of a running service, and comes back whole or not at all, on either dialect."""

from __future__ import annotations

import hashlib
import io
import itertools
import json
import os
import shutil
import signal
import subprocess
import sys
import tarfile
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from sqlalchemy import MetaData, inspect, select, text

from benchmark.errors import Conflict, GauntletError, InvalidInput
from benchmark.report import CheckOutcome, canonical_json
from store.archive import ArchiveReader, ArchiveWriter, InvalidBackup, Manifest
from store.backup import BLOBS, TRANSIENT, save
from store.blobs import LocalBlobs
from store.boards import get_board, get_model
from store.claims import Beat, beat, claim, fail_attempt, save_checkpoint
from store.database import Database
from store.errors import StaleClaim, StorageFull
from store.figures import read_figures
from store.migrate import program_revision, upgrade
from store.outcomes import finish_check, finish_judge, finish_shard
from store.reference import import_reference_boards
from store.restore import restore
from store.submissions import cancel, get_submission, list_submissions, submit
from store.sweeping import DISPATCHER, elect
from store.tables import Base, EntryRow, ShardRow, SubmissionRow
from store.views import Progress, State
from store.workers import announce, list_workers
from tests.servers import Databases
from tests.store.material import (
    LEASE_MS,
    Rules,
    a_worker,
    check,
    must_claim,
    new_submission,
    published,
    running,
    shard_report,
    verdicts_on,
)

ROOT = Path(__file__).parents[2]
Rows = dict[str, list[dict[str, object]]]
DIALECTS = ("sqlite", "postgresql")


@pytest.fixture
def databases(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Callable[[str], Database]]:
    """Opens empty databases of either dialect, without a schema."""
    numbers = itertools.count()
    with ExitStack() as stack:

        def opened(dialect: str) -> Database:
            if dialect == "sqlite":
                database = Database(f"sqlite:///{tmp_path / f'database-{next(numbers)}.sqlite'}")
            else:
                servers: Databases = request.getfixturevalue("postgres_databases")
                database = Database(stack.enter_context(servers.database()))
            stack.callback(database.close)
            return database

        yield opened


@pytest.fixture
def target(tmp_path: Path) -> LocalBlobs:
    """Where blobs are restored to."""
    return LocalBlobs(tmp_path / "restored", free_floor_bytes=0)


@pytest.fixture(scope="session")
def small(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A backup of a service with one of everything, to be damaged by tests."""
    path = tmp_path_factory.mktemp("small")
    upgrade(f"sqlite:///{path / 'db.sqlite'}")
    db, blobs = Database(f"sqlite:///{path / 'db.sqlite'}"), LocalBlobs(path / "blobs", 0)
    populate(db, blobs)
    save(db, blobs, path / "backup.tar", program="1")
    db.close()
    return path / "backup.tar"


def populate(db: Database, blobs: LocalBlobs) -> None:
    """Let a service have lived: every state, every kind of blob, and work in the middle of it."""
    rules = Rules()
    published(db, blobs, "Published")
    running(db, blobs, "Failed")
    fail_attempt(db, must_claim(db), "it is at fault: ünïcödé ‖ 8/255", "model")
    submit(db, blobs, new_submission(blobs, name="Rejected", notes="two\nlines", claimed_robust_accuracy=0.1), rules)
    finish_check(db, must_claim(db), [check(outcome=CheckOutcome.REJECTED)])
    view = submit(db, blobs, new_submission(blobs, name="Cancelled"), rules)
    must_claim(db)
    cancel(db, view.id)
    running(db, blobs, "Half-way", shard_points=200)
    work = must_claim(db)
    finish_shard(db, blobs, work, shard_report(work).to_bytes(), x_adv_sha256=blobs.put(b"examples"))
    work = must_claim(db)
    save_checkpoint(db, work, blobs.put(b"a snapshot"))
    beat(db, work, LEASE_MS, Progress(points=167, points_done=3, attack="apgd-ce", forward_passes=11))
    submit(db, blobs, new_submission(blobs, name="Checking"), rules)
    must_claim(db)
    submit(db, blobs, new_submission(blobs, name="Received"), rules)
    elect(db, DISPATCHER, "somebody", LEASE_MS)
    announce(db, a_worker("w"))


def rows_of(db: Database) -> Rows:
    """Return every row that a backup saves."""
    with db.snapshot() as session:
        return {
            table.name: [
                dict(row) for row in session.execute(select(table).order_by(*table.primary_key.columns)).mappings()
            ]
            for table in Base.metadata.sorted_tables
            if table.name not in TRANSIENT
        }


def given_back(rows: Rows) -> Rows:
    """Return the rows as a restored service has them: nobody works on anything."""
    for shard in rows["shard"]:
        if shard["state"] == "running":
            shard |= {
                "state": "queued",
                "attempt": int(str(shard["attempt"])) - 1,
                "lease_token": None,
                "lease_until": None,
                "worker": None,
                "queued_ms": None,
            }
    return rows


def restored_rows(db: Database, source: Rows) -> Rows:
    """Return the rows of a restored database; the time at which work was given back is that of the restoration."""
    rows, given_up = rows_of(db), {shard["id"] for shard in source["shard"] if shard["queued_ms"] is None}
    for shard in rows["shard"]:
        if shard["id"] in given_up:
            shard["queued_ms"] = None
    return rows


def referred(db: Database) -> set[str]:
    rows = rows_of(db)
    return {str(row[column]) for table, column in BLOBS for row in rows[table] if row[column] is not None}


def stored(blobs: LocalBlobs) -> set[str]:
    return {path.name for path in blobs.root.rglob("*") if path.is_file()}


def is_untouched(db: Database, blobs: LocalBlobs) -> bool:
    return inspect(db.engine).get_table_names() == [] and stored(blobs) == set()


@pytest.mark.parametrize("of", DIALECTS)
@pytest.mark.parametrize("into", DIALECTS)
def test_everything_comes_back_on_either_dialect(
    databases: Callable[[str], Database], blobs: LocalBlobs, target: LocalBlobs, tmp_path: Path, of: str, into: str
) -> None:
    source, restored, path = databases(of), databases(into), tmp_path / "backup.tar"
    upgrade(source.url)
    import_reference_boards(source)
    populate(source, blobs)
    blobs.put(b"nobody refers to this")
    manifest = save(source, blobs, path, program="1.2.3")
    assert manifest.lost == ()
    assert manifest.rows == {name: len(rows) for name, rows in rows_of(source).items()}

    told: list[tuple[int, int]] = []
    assert restore(restored, target, path, progress=lambda done, total: told.append((done, total))) == manifest
    expected = given_back(rows_of(source))
    assert restored_rows(restored, expected) == expected
    assert stored(target) == referred(source) == referred(restored)
    assert all(target.read(sha256) == blobs.read(sha256) for sha256 in stored(target))
    assert told == sorted(told)
    assert told[-1] == (2 * path.stat().st_size, 2 * path.stat().st_size)
    assert get_board(restored, "cifar10", "Linf") == get_board(source, "cifar10", "Linf")
    with source.snapshot() as session:
        name = session.scalars(select(EntryRow.model_id).where(EntryRow.submission_id.is_not(None))).one()
    assert get_model(restored, target, "digits", "Linf", name) == get_model(source, blobs, "digits", "Linf", name)
    assert read_figures(restored).failed_attempts == read_figures(source).failed_attempts


@pytest.mark.parametrize("into", DIALECTS)
def test_a_restored_service_goes_on(
    databases: Callable[[str], Database], small: Path, target: LocalBlobs, into: str
) -> None:
    db, rules = databases(into), Rules()
    restore(db, target, small)
    assert elect(db, DISPATCHER, "another", LEASE_MS)  # nobody else's role was restored
    assert list_workers(db) == ()
    new = submit(db, target, new_submission(target, name="After"), rules)  # its rows get numbers of their own
    names = set()
    while work := claim(db, a_worker("w"), LEASE_MS):
        names.add(work.submission.name)
        if work.resume_sha256 is not None:
            assert (work.attempt, target.read(work.resume_sha256)) == (1, b"a snapshot")
        if work.kind == "check":
            finish_check(db, work, [check()])
        elif work.kind == "judge":
            finish_judge(db, target, work, *verdicts_on(target, work))
        else:
            finish_shard(db, target, work, shard_report(work).to_bytes())
    assert names == {"Half-way", "Checking", "Received", "After"}
    states = {view.submission.name: view.state for view in list_submissions(db)}
    assert {states[name] for name in names} == {State.PUBLISHED}
    assert get_submission(db, new.id).state is State.PUBLISHED


def test_who_worked_before_the_backup_changes_nothing_after_it(
    databases: Callable[[str], Database], blobs: LocalBlobs, target: LocalBlobs, tmp_path: Path
) -> None:
    source, restored = databases("sqlite"), databases("sqlite")
    upgrade(source.url)
    running(source, blobs)
    work = must_claim(source)
    save(source, blobs, tmp_path / "backup.tar", program="1")
    restore(restored, target, tmp_path / "backup.tar")
    assert beat(restored, work, LEASE_MS) is Beat.LOST
    with pytest.raises(StaleClaim):
        finish_shard(restored, target, work, shard_report(work).to_bytes())


@pytest.mark.parametrize("of", DIALECTS)
def test_a_backup_of_a_service_at_work_is_of_one_moment(
    databases: Callable[[str], Database], blobs: LocalBlobs, target: LocalBlobs, tmp_path: Path, of: str
) -> None:
    """Submissions are published all the while; a backup never has a row without its parents, nor without its blobs."""
    source, stop, failures = databases(of), threading.Event(), []
    upgrade(source.url)

    def work_on() -> None:
        number = 0
        try:
            while not stop.is_set():
                published(source, blobs, f"Method {number}", broken=number % 400)
                number += 1
        except BaseException as error:
            failures.append(error)
            raise

    worker = threading.Thread(target=work_on)
    worker.start()
    try:
        for number in range(4):
            path, restored = tmp_path / f"{number}.tar", databases("sqlite")
            assert save(source, blobs, path, program="1").lost == ()
            files = LocalBlobs(tmp_path / f"files-{number}", 0)
            restore(restored, files, path)
            assert stored(files) == referred(restored)
            rows = rows_of(restored)
            complete = {row["submission_id"] for row in rows["entry"]}
            assert complete == {row["id"] for row in rows["submission"] if row["state"] == "published"}
            assert len(rows["report"]) == len(complete)
    finally:
        stop.set()
        worker.join()
    assert failures == []


def test_a_backup_is_for_its_owner_alone_and_never_overwrites(db: Database, blobs: LocalBlobs, tmp_path: Path) -> None:
    path = tmp_path / "backup.tar"
    save(db, blobs, path, program="1")
    before = path.read_bytes()
    assert path.stat().st_mode & 0o777 == 0o600
    with pytest.raises(InvalidInput, match="exists"):
        save(db, blobs, path, program="1")
    assert path.read_bytes() == before
    assert sorted(entry.name for entry in tmp_path.iterdir() if "tar" in entry.name) == ["backup.tar"]


def test_a_backup_that_breaks_off_leaves_no_file(db: Database, blobs: LocalBlobs, tmp_path: Path) -> None:
    published(db, blobs)

    def interrupt(_done: int, _total: int) -> None:
        raise KeyboardInterrupt

    (tmp_path / "out").mkdir()
    with pytest.raises(KeyboardInterrupt):
        save(db, blobs, tmp_path / "out/backup.tar", program="1", progress=interrupt)
    assert list((tmp_path / "out").iterdir()) == []


def test_another_versions_schema_is_not_saved(db: Database, blobs: LocalBlobs, tmp_path: Path) -> None:
    with db.transaction() as session:
        session.execute(text("UPDATE alembic_version SET version_num = 'f00'"))
    with pytest.raises(Conflict, match="f00"):
        save(db, blobs, tmp_path / "backup.tar", program="1")
    assert not (tmp_path / "backup.tar").exists()


def test_lost_blobs_are_named_and_the_rest_is_saved(
    databases: Callable[[str], Database], db: Database, blobs: LocalBlobs, target: LocalBlobs, tmp_path: Path
) -> None:
    populate(db, blobs)
    gone, damaged, *_ = sorted(referred(db))
    blobs.path(gone).unlink()
    blobs.path(damaged).write_bytes(b"rotten")
    manifest = save(db, blobs, tmp_path / "backup.tar", program="1")
    assert manifest.lost == (gone, damaged)
    restored = databases("sqlite")
    assert restore(restored, target, tmp_path / "backup.tar").lost == (gone, damaged)
    expected = given_back(rows_of(db))
    assert restored_rows(restored, expected) == expected
    assert stored(target) == referred(db) - {gone, damaged}


def test_a_target_with_data_is_left_alone(
    databases: Callable[[str], Database], small: Path, target: LocalBlobs
) -> None:
    db = databases("sqlite")
    upgrade(db.url)
    import_reference_boards(db)
    before = rows_of(db)
    with pytest.raises(Conflict, match="an empty database"):
        restore(db, target, small)
    assert rows_of(db) == before
    assert stored(target) == set()


@pytest.mark.parametrize("into", DIALECTS)
def test_an_empty_schema_is_no_data(
    databases: Callable[[str], Database], small: Path, target: LocalBlobs, into: str
) -> None:
    db = databases(into)
    upgrade(db.url)
    restore(db, target, small)
    assert len(rows_of(db)["submission"]) == 7


def sealed(path: Path, source: Path, change: Callable[[Manifest, dict[str, bytes]], Manifest]) -> Path:
    """Write a backup anew with other content and a manifest that fits it, as somebody with bad intentions would."""
    with tarfile.open(source) as tar:
        members = {info.name: file.read() for info in tar if (file := tar.extractfile(info)) is not None}
    manifest = Manifest.model_validate_json(members.pop("manifest.json"))
    members.pop("manifest.sha256")
    manifest = change(manifest, members)
    listed = [
        {"name": name, "bytes": len(content), "sha256": hashlib.sha256(content).hexdigest()}
        for name, content in members.items()
    ]
    content = canonical_json(manifest.model_dump(mode="json") | {"members": listed})
    seal = hashlib.sha256(content).hexdigest().encode()
    with tarfile.open(path, "w") as tar:
        for name, data in {**members, "manifest.json": content, "manifest.sha256": seal}.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    return path


def with_rows(table: str, change: Callable[[list[dict[str, object]]], object]) -> Callable[..., Manifest]:
    """Change the rows of a table."""

    def changed(manifest: Manifest, members: dict[str, bytes]) -> Manifest:
        name = f"tables/{table}/000000.jsonl"
        rows = [json.loads(line) for line in members[name].splitlines()]
        change(rows)
        members[name] = b"".join(json.dumps(row).encode() + b"\n" for row in rows)
        return manifest.model_copy(update={"rows": manifest.rows | {table: len(rows)}})

    return changed


def renamed(old: str, new: str) -> Callable[..., Manifest]:
    def changed(manifest: Manifest, members: dict[str, bytes]) -> Manifest:
        members[new] = members.pop(old)
        return manifest

    return changed


def in_another_table(manifest: Manifest, members: dict[str, bytes]) -> Manifest:
    members["tables/alembic_version/000000.jsonl"] = b'{"version_num": "0001"}\n'
    return manifest.model_copy(update={"rows": manifest.rows | {"alembic_version": 1}})


HOSTILE: dict[str, Callable[..., Manifest]] = {
    "path upwards": renamed("tables/run/000000.jsonl", "../../tables/run/000000.jsonl"),
    "absolute path": renamed("tables/run/000000.jsonl", "/tmp/evil"),
    "path in a table": renamed("tables/run/000000.jsonl", "tables/../run/000000.jsonl"),
    "unknown member": renamed("tables/run/000000.jsonl", "tables/run/rows.jsonl"),
    "other table": renamed("tables/run/000000.jsonl", "tables/nothing/000000.jsonl"),
    "migrations' own table": in_another_table,
    "row without a column": with_rows("run", lambda rows: rows[0].pop("seed")),
    "row with another column": with_rows("run", lambda rows: rows[0].update(evil=1)),
    "row that is none": with_rows("run", lambda rows: rows.append([])),  # type: ignore[arg-type]  # on purpose
    "object as a value": with_rows("run", lambda rows: rows[0].update(protocol={"a": 1})),
    "number as a text": with_rows("run", lambda rows: rows[0].update(protocol=1)),
    "truth as a number": with_rows("run", lambda rows: rows[0].update(seed=True)),
    "text as a number": with_rows("run", lambda rows: rows[0].update(created_ms="'; DROP TABLE run")),
    "endless number": with_rows("run", lambda rows: rows[0].update(created_ms=10**30)),
    "half a character": with_rows("run", lambda rows: rows[0].update(protocol="\ud800")),
    "missing value": with_rows("run", lambda rows: rows[0].update(protocol=None)),
    "missing parent": with_rows("run", lambda rows: rows[0].update(submission_id="nobody")),
    "the same row twice": with_rows("run", lambda rows: rows.append(rows[0])),
    "bytes that are none": with_rows("report", lambda rows: rows[0].update(summary="é")),
    "number of rows": lambda manifest, _: manifest.model_copy(update={"rows": manifest.rows | {"run": 1}}),
    "table without a count": lambda manifest, _: manifest.model_copy(update={"rows": {}}),
    "newer schema": lambda manifest, _: manifest.model_copy(update={"revision": "9999"}),
    "revision that is a range": lambda manifest, _: manifest.model_copy(update={"revision": "base:head"}),
    "newer format": lambda manifest, _: manifest.model_copy(update={"format": 2}),
}


@pytest.mark.parametrize("into", DIALECTS)
@pytest.mark.parametrize("case", HOSTILE)
def test_what_no_backup_holds_is_refused(
    databases: Callable[[str], Database], small: Path, target: LocalBlobs, tmp_path: Path, case: str, into: str
) -> None:
    path, db = sealed(tmp_path / "hostile.tar", small, HOSTILE[case]), databases(into)
    with pytest.raises(GauntletError) as caught:
        restore(db, target, path)
    assert isinstance(caught.value, InvalidBackup | Conflict)
    assert inspect(db.engine).get_table_names() == []
    assert not Path("/tmp/evil").exists()
    restore(db, target, small)  # what was written of its blobs is in nobody's way
    assert len(rows_of(db)["submission"]) == 7


ODD_MEMBERS = {
    "symbolic link": (tarfile.SYMTYPE, "/etc/passwd"),
    "hard link": (tarfile.LNKTYPE, "manifest.json"),
    "directory": (tarfile.DIRTYPE, ""),
    "device": (tarfile.CHRTYPE, ""),
    "pipe": (tarfile.FIFOTYPE, ""),
    "contiguous file": (tarfile.CONTTYPE, ""),
    "sparse file": (tarfile.GNUTYPE_SPARSE, ""),
}


@pytest.mark.parametrize("kind", ODD_MEMBERS)
@pytest.mark.parametrize("name", ["blobs/" + "0" * 64, "manifest.json", "x"])
def test_only_plain_files_are_members(
    databases: Callable[[str], Database], small: Path, target: LocalBlobs, tmp_path: Path, kind: str, name: str
) -> None:
    shutil.copy(small, tmp_path / "odd.tar")
    info = tarfile.TarInfo(name)
    info.type, info.linkname = ODD_MEMBERS[kind]
    with tarfile.open(tmp_path / "odd.tar", "a") as tar:
        tar.addfile(info)
    db = databases("sqlite")
    with pytest.raises(InvalidBackup):
        restore(db, target, tmp_path / "odd.tar")
    assert is_untouched(db, target)


def test_no_name_occurs_twice(
    databases: Callable[[str], Database], small: Path, target: LocalBlobs, tmp_path: Path
) -> None:
    """What is checked under a name must be what is read under it."""
    shutil.copy(small, tmp_path / "twice.tar")
    info = tarfile.TarInfo("tables/run/000000.jsonl")
    info.size = 3
    with tarfile.open(tmp_path / "twice.tar", "a") as tar:
        tar.addfile(info, io.BytesIO(b"{}\n"))
    db = databases("sqlite")
    with pytest.raises(InvalidBackup, match="a member that no backup has"):
        restore(db, target, tmp_path / "twice.tar")
    assert is_untouched(db, target)


@pytest.mark.parametrize("share", [0.0, 0.0001, 0.01, 0.3, 0.6, 0.9, 0.97])
def test_a_file_that_is_cut_off_is_refused(
    databases: Callable[[str], Database], small: Path, target: LocalBlobs, tmp_path: Path, share: float
) -> None:
    content, db = small.read_bytes(), databases("sqlite")
    end = content.rindex(b"manifest.sha256")
    (tmp_path / "cut.tar").write_bytes(content[: int(end * share)])
    with pytest.raises(InvalidBackup):
        restore(db, target, tmp_path / "cut.tar")
    assert is_untouched(db, target)


def test_no_flipped_bit_passes(
    databases: Callable[[str], Database], small: Path, target: LocalBlobs, tmp_path: Path
) -> None:
    """Flip one bit at a time, all over the file: it is refused, or lies where nothing is read from."""
    content, db, refused, path = bytearray(small.read_bytes()), databases("sqlite"), 0, tmp_path / "flipped.tar"
    with ArchiveReader(small) as archive:
        whole = archive.manifest
    positions = range(3, len(content), 977)
    for position in positions:
        content[position] ^= 1 << position % 8
        path.write_bytes(content)
        content[position] ^= 1 << position % 8
        try:
            with ArchiveReader(path) as archive:
                assert archive.manifest == whole
        except InvalidBackup:
            refused += 1
    assert refused > len(positions) / 2
    content[small.read_bytes().index(b'"Half-way"')] ^= 1
    path.write_bytes(content)
    with pytest.raises(InvalidBackup):
        restore(db, target, path)
    assert is_untouched(db, target)


@pytest.mark.parametrize("content", [b"", b"no backup at all" * 1_000, bytes(100_000)])
def test_what_is_no_backup_is_refused(
    databases: Callable[[str], Database], target: LocalBlobs, tmp_path: Path, content: bytes
) -> None:
    (tmp_path / "x.tar").write_bytes(content)
    db = databases("sqlite")
    with pytest.raises(InvalidBackup):
        restore(db, target, tmp_path / "x.tar")
    assert is_untouched(db, target)


def test_a_file_that_changes_while_it_is_read_is_refused(
    databases: Callable[[str], Database], small: Path, target: LocalBlobs, tmp_path: Path
) -> None:
    path, db = tmp_path / "changing.tar", databases("sqlite")
    shutil.copy(small, path)
    place, size = path.read_bytes().index(b'"Half-way"'), path.stat().st_size

    def change(done: int, _total: int) -> None:
        if done > size:  # all of it has been found sound
            with path.open("r+b") as file:
                file.seek(place)
                file.write(b'"Half-baked')

    with pytest.raises(InvalidBackup):
        restore(db, target, path, progress=change)
    assert inspect(db.engine).get_table_names() == []


def test_a_full_disk_leaves_the_database_as_it_was(
    databases: Callable[[str], Database], small: Path, tmp_path: Path
) -> None:
    db = databases("sqlite")
    with pytest.raises(StorageFull):
        restore(db, LocalBlobs(tmp_path / "full", free_floor_bytes=2**62), small)
    assert inspect(db.engine).get_table_names() == []


KILLED = """
import os, signal, sys
from pathlib import Path
import store.restore
from store.blobs import LocalBlobs
from store.database import Database

def kill(session):
    session.flush()
    os.kill(os.getpid(), signal.SIGKILL)

store.restore._give_back = kill
store.restore.restore(Database(sys.argv[1]), LocalBlobs(Path(sys.argv[2]), 0), Path(sys.argv[3]))
"""


@pytest.mark.parametrize("into", DIALECTS)
def test_a_restore_that_is_killed_has_restored_nothing_and_can_be_repeated(
    databases: Callable[[str], Database], small: Path, target: LocalBlobs, into: str
) -> None:
    db = databases(into)
    command = [sys.executable, "-c", KILLED, db.url, str(target.root), str(small)]
    done = subprocess.run(command, env={**os.environ, "PYTHONPATH": str(ROOT)}, check=False, timeout=60)
    assert done.returncode == -signal.SIGKILL
    assert inspect(db.engine).get_table_names() == []
    restore(db, target, small)
    assert len(rows_of(db)["submission"]) == 7


@pytest.mark.parametrize("into", DIALECTS)
def test_a_backup_of_an_older_version_is_brought_up_to_date(
    databases: Callable[[str], Database], blobs: LocalBlobs, target: LocalBlobs, tmp_path: Path, into: str
) -> None:
    """Rows of the first schema ever, as the version of that time would have saved them."""
    old, restored, path = databases("sqlite"), databases(into), tmp_path / "old.tar"
    upgrade(old.url, "0001")
    values: dict[str, object] = {
        "id": "0a", "name": "Old", "dataset": "digits", "threat_model": "Linf", "architecture": "tiny-cnn",
        "checkpoint_sha256": blobs.put(b"weights"), "title": "", "authors": "", "paper_url": "", "venue": "",
        "extra_data": "none", "licence": "", "notes": "", "baseline": False, "state": "cancelled", "reason": "",
        "created_ms": 1, "updated_ms": 2,
    }  # fmt: skip
    run: dict[str, object] = {
        "id": 3, "submission_id": "0a", "protocol": "standard-1", "seed": 0, "norm": "Linf", "epsilon": "1/5",
        "points": 500, "parameters": None, "checks": "[]", "created_ms": 1,
    }  # fmt: skip
    tables = MetaData()
    tables.reflect(old.engine)
    columns = [column.name for column in tables.tables["submission"].columns]
    with path.open("wb") as file:
        archive = ArchiveWriter(file)
        archive.add_rows("submission", [{name: values.get(name) for name in columns}])
        archive.add_rows("run", [run])
        archive.add_blob(str(values["checkpoint_sha256"]), io.BytesIO(b"weights"), 7)
        archive.seal(program="0.1.0", revision="0001", made_at="2025-11-21T00:00:00+00:00", lost=())
    restore(restored, target, path)
    (view,) = list_submissions(restored)
    assert (view.submission.name, view.state, view.created_ms) == ("Old", State.CANCELLED, 1)
    assert save(restored, target, tmp_path / "new.tar", program="2").revision == program_revision()


def test_every_table_and_every_reference_to_a_blob_is_known() -> None:
    hashes = {
        (table.name, column.name)
        for table in Base.metadata.sorted_tables
        for column in table.columns
        if column.name.endswith("sha256") or column.name == "checkpoint"
    }
    secrets = {("session", "sha256"), ("token", "sha256"), ("link", "sha256"), ("upload", "sha256")}
    # None of these need be a blob's: a column's, those of secrets, and of uploads that nobody has submitted.
    assert hashes - set(BLOBS) == {("report", "summary_sha256"), *secrets}
    assert set(BLOBS) <= hashes
    assert {"lease", "worker"} == TRANSIENT < set(Base.metadata.tables)


def test_rows_of_many_members_come_back_in_order(db: Database, blobs: LocalBlobs, tmp_path: Path) -> None:
    """A table larger than one member of the archive, and a row larger than that."""
    with (tmp_path / "big.tar").open("wb") as file:
        archive = ArchiveWriter(file)
        archive.add_rows("meta", ({"key": f"{n:06}", "value": "v" * (100 if n else 9_000_000)} for n in range(60_000)))
        manifest = archive.seal(program="1", revision="0001", made_at="now", lost=())
    assert len(manifest.members) == 3
    with ArchiveReader(tmp_path / "big.tar") as reader:
        assert [row["key"] for row in reader.rows("meta")] == [f"{n:06}" for n in range(60_000)]


def test_a_submission_in_a_backup_keeps_its_words(
    databases: Callable[[str], Database], blobs: LocalBlobs, target: LocalBlobs, tmp_path: Path
) -> None:
    source, restored = databases("sqlite"), databases("postgresql")
    upgrade(source.url)
    words = {
        "title": "Ünïcödé ‖ 数 \"quoted\" \\ 'single' %s {x}",
        "notes": "a\nb\u2029c\td",
        "claimed_robust_accuracy": 0.1 + 0.2,
    }
    view = submit(source, blobs, new_submission(blobs, **words), Rules())
    with source.transaction() as session:
        session.get_one(SubmissionRow, view.id).notes = "raw \x1b[31m\u202e\r\n\x85 notes"
        session.query(ShardRow).one().progress = Progress(robust_accuracy_at_most=1 / 3).model_dump_json()
    save(source, blobs, tmp_path / "backup.tar", program="1")
    restore(restored, target, tmp_path / "backup.tar")
    assert rows_of(restored) == rows_of(source)
