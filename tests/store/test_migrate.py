"""The schema goes up and down, and is the one that the tables describe."""

from __future__ import annotations

from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import inspect

from store.database import Database
from store.migrate import downgrade, upgrade
from store.tables import Base
from tests.store.interleaving import at_once


def tables(url: str) -> set[str]:
    database = Database(url)
    try:
        return set(inspect(database.engine).get_table_names())
    finally:
        database.close()


def test_up_and_down(empty_database: str) -> None:
    url = empty_database
    upgrade(url)
    assert tables(url) == {*Base.metadata.tables, "alembic_version"}
    upgrade(url)
    downgrade(url)
    assert tables(url) == {"alembic_version"}
    upgrade(url)
    assert tables(url) == {*Base.metadata.tables, "alembic_version"}


def test_services_that_start_at_once_make_one_schema(empty_database: str) -> None:
    outcomes = at_once(*[lambda: upgrade(empty_database)] * 3)
    assert [outcome.error for outcome in outcomes] == [None] * 3
    assert tables(empty_database) == {*Base.metadata.tables, "alembic_version"}


def test_no_drift(db: Database) -> None:
    with db.engine.connect() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True})
        assert compare_metadata(context, Base.metadata) == []


def test_drift_would_be_seen(db: Database) -> None:
    with db.transaction() as session:
        session.connection().exec_driver_sql("ALTER TABLE run DROP COLUMN parameters")
    with db.engine.connect() as connection:
        (difference,) = compare_metadata(MigrationContext.configure(connection), Base.metadata)
    assert difference[0] == "add_column"
