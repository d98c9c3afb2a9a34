"""Transactions and the database's clock."""

from __future__ import annotations

import threading
import time

import pytest
from sqlalchemy import text
from sqlalchemy.exc import IntegrityError, OperationalError

from store.database import Database, database_now_ms
from store.tables import MetaRow, RunRow


def test_sqlite_is_set_up_for_many_writers(db: Database) -> None:
    with db.snapshot() as session:
        pragmas = {
            name: session.scalar(text(f"PRAGMA {name}")) for name in ("journal_mode", "foreign_keys", "busy_timeout")
        }
    assert pragmas == {"journal_mode": "wal", "foreign_keys": 1, "busy_timeout": 30_000}


def test_the_clock_is_in_milliseconds(db: Database) -> None:
    with db.snapshot() as session:
        assert abs(database_now_ms(session) - time.time() * 1000) < 2_000
        before = database_now_ms(session)
        time.sleep(0.02)
        assert 10 <= database_now_ms(session.connection()) - before < 2_000


def test_an_error_rolls_everything_back(db: Database) -> None:
    def break_off() -> None:
        with db.transaction() as session:
            session.add(MetaRow(key="a", value="b"))
            session.flush()
            raise RuntimeError("half-way")

    with pytest.raises(RuntimeError, match="half-way"):
        break_off()
    with db.snapshot() as session:
        assert session.get(MetaRow, "a") is None


def test_foreign_keys_hold(db: Database) -> None:
    orphan = RunRow(
        submission_id="nobody", protocol="p", seed=0, norm="L2", epsilon="1", points=1, checks="[]", created_ms=0
    )
    with pytest.raises(IntegrityError), db.transaction() as session:
        session.add(orphan)


def test_writers_wait_for_each_other(db: Database) -> None:
    """Read, then write: under a deferred BEGIN one of the two would fail or lose its increment."""
    with db.transaction() as session:
        session.add(MetaRow(key="count", value="0"))
    together = threading.Barrier(4)

    def increment() -> None:
        together.wait()
        for _ in range(5):
            with db.transaction() as session:
                row = session.get_one(MetaRow, "count")
                row.value = str(int(row.value) + 1)

    threads = [threading.Thread(target=increment) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    with db.snapshot() as session:
        assert session.get_one(MetaRow, "count").value == "20"


def test_a_snapshot_sees_one_moment(db: Database) -> None:
    with db.snapshot() as session:
        assert session.get(MetaRow, "late") is None
        with db.transaction() as writer:
            writer.add(MetaRow(key="late", value=""))
        assert session.scalar(text("SELECT count(*) FROM meta WHERE key = 'late'")) == 0
    with db.snapshot() as session:
        assert session.scalar(text("SELECT count(*) FROM meta WHERE key = 'late'")) == 1


def test_a_missing_schema_is_an_error(tmp_path_factory: pytest.TempPathFactory) -> None:
    empty = Database(f"sqlite:///{tmp_path_factory.mktemp('empty') / 'x.sqlite'}")
    with pytest.raises(OperationalError, match="no such table"), empty.snapshot() as session:
        session.get(MetaRow, "a")
    empty.close()
