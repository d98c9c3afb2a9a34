"""Transactions and the database's clock."""

from __future__ import annotations

import time
from collections.abc import Callable

import pytest
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError, IntegrityError
from sqlalchemy.orm import Session

from store.database import Database, database_now_ms, take_turns
from store.tables import MetaRow, RunRow
from tests.store.interleaving import at_once


def test_sqlite_is_set_up_for_many_writers(on_sqlite: Database) -> None:
    with on_sqlite.snapshot() as session:
        pragmas = {
            name: session.scalar(text(f"PRAGMA {name}")) for name in ("journal_mode", "foreign_keys", "busy_timeout")
        }
    assert pragmas == {"journal_mode": "wal", "foreign_keys": 1, "busy_timeout": 30_000}


def test_on_postgresql_nobody_waits_for_ever(on_postgresql: Database) -> None:
    limits = text("SELECT current_setting('lock_timeout'), current_setting('idle_in_transaction_session_timeout')")
    with on_postgresql.transaction() as session:
        assert session.execute(limits).one() == ("30s", "20s")
    with on_postgresql.snapshot() as session:  # which may take its time, for it keeps nobody from writing
        assert session.execute(limits).one() == ("0", "0")


def test_on_postgresql_a_paused_writer_lets_go(on_postgresql: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("store.database.SILENCE_MS", 200)
    with on_postgresql.transaction() as session:
        session.add(MetaRow(key="a", value="before"))

    def write(value: str, meanwhile: Callable[[], None] | None = None) -> None:
        with on_postgresql.transaction() as session:
            session.get_one(MetaRow, "a", with_for_update=True).value = value
            session.flush()
            if meanwhile is not None:
                meanwhile()

    with pytest.raises(DBAPIError, match="idle-in-transaction timeout"):
        write("paused", meanwhile=lambda: write("overtaking"))
    with on_postgresql.snapshot() as session:
        assert session.get_one(MetaRow, "a").value == "overtaking"


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


def count_at_once(db: Database, read: Callable[[Session], MetaRow]) -> str:
    """Let four threads add 5 each to a row that they read before they write it."""
    with db.transaction() as session:
        session.add(MetaRow(key="count", value="0"))

    def increment() -> None:
        for _ in range(5):
            with db.transaction() as session:
                row = read(session)
                row.value = str(int(row.value) + 1)

    outcomes = at_once(*[increment] * 4)
    assert [outcome.error for outcome in outcomes] == [None] * 4
    with db.snapshot() as session:
        return session.get_one(MetaRow, "count").value


def test_writers_wait_for_each_other(db: Database) -> None:
    assert count_at_once(db, lambda session: session.get_one(MetaRow, "count", with_for_update=True)) == "20"


def test_writers_take_turns(db: Database) -> None:
    def read(session: Session) -> MetaRow:
        take_turns(session, "count")
        return session.get_one(MetaRow, "count")

    assert count_at_once(db, read) == "20"


def test_on_sqlite_writers_wait_from_the_beginning(on_sqlite: Database) -> None:
    """Under a deferred BEGIN one of the two would fail or lose its increment."""
    assert count_at_once(on_sqlite, lambda session: session.get_one(MetaRow, "count")) == "20"


def test_on_postgresql_only_those_of_one_thing_take_turns(on_postgresql: Database) -> None:
    with on_postgresql.transaction() as one, on_postgresql.transaction() as two:
        take_turns(one, "this")
        take_turns(two, "that")


def test_text_may_hold_any_character(db: Database) -> None:
    with db.transaction() as session:
        session.add(MetaRow(key="nul", value="a\0b ü 😀"))
    with db.snapshot() as session:
        assert session.get_one(MetaRow, "nul").value == "a\ufffdb ü 😀"
        assert session.get(MetaRow, "nul\0") is None


def test_a_snapshot_sees_one_moment(db: Database) -> None:
    with db.snapshot() as session:
        assert session.get(MetaRow, "late") is None
        with db.transaction() as writer:
            writer.add(MetaRow(key="late", value=""))
        assert session.scalar(text("SELECT count(*) FROM meta WHERE key = 'late'")) == 0
    with db.snapshot() as session:
        assert session.scalar(text("SELECT count(*) FROM meta WHERE key = 'late'")) == 1


def test_a_missing_schema_is_an_error(empty_database: str) -> None:
    empty = Database(empty_database)
    with pytest.raises(DBAPIError, match=r"no such table|does not exist"), empty.snapshot() as session:
        session.get(MetaRow, "a")
    empty.close()
