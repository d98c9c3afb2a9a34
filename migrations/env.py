"""Runs migrations on the connection that store.migrate hands over, or on the one that alembic.ini names."""

from __future__ import annotations

from alembic import context
from sqlalchemy.engine import Connection

from store.database import Database
from store.tables import Base


def run(connection: Connection) -> None:
    """Run the migrations that were asked for, in the connection's transaction."""
    # SQLite cannot alter most things in place, so tables are rebuilt there.
    context.configure(connection=connection, target_metadata=Base.metadata, render_as_batch=True)
    with context.begin_transaction():
        context.run_migrations()


given = context.config.attributes.get("connection")
if isinstance(given, Connection):
    run(given)
else:
    database = Database(context.get_x_argument(as_dictionary=True)["url"])
    with database.transaction() as session:
        run(session.connection())
