"""Keep evidence, secret seeds, closer looks with the points they are at, and evaluations by others."""

from __future__ import annotations

import secrets

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None

_META = sa.table("meta", sa.column("key", sa.Text()), sa.column("value", sa.Text()))
_FOLLOW_UPS = sa.text("purpose = 'follow_up'")


def upgrade() -> None:
    op.bulk_insert(_META, [{"key": "seed_secret", "value": secrets.token_hex(32)}])
    op.drop_index("ix_run_follow_up", "run")
    # Defaults only for the rows that are there already.
    with op.batch_alter_table("run", schema=None) as batch_op:
        batch_op.alter_column("seed", existing_type=sa.Integer(), type_=sa.BigInteger(), existing_nullable=False)
        batch_op.add_column(sa.Column("seed_key", sa.Text(), nullable=False, server_default=""))
        batch_op.add_column(sa.Column("policy", sa.Integer(), nullable=True))
        batch_op.add_column(sa.Column("evidence", sa.Text(), nullable=False, server_default="[]"))
        batch_op.add_column(sa.Column("indices", sa.Text(), nullable=True))
        batch_op.add_column(sa.Column("sources", sa.Text(), nullable=False, server_default="[]"))
        batch_op.add_column(sa.Column("concluded", sa.Boolean(), nullable=False, server_default=sa.false()))
    # Closer looks of the older kind have ended, as far as anybody waits for them.
    op.execute("UPDATE run SET concluded = (purpose <> 'ranking')")
    op.create_index(
        "ix_run_open_look",
        "run",
        ["submission_id"],
        sqlite_where=sa.text("purpose <> 'ranking' AND concluded = 0"),
        postgresql_where=sa.text("purpose <> 'ranking' AND NOT concluded"),
    )
    with op.batch_alter_table("shard", schema=None) as batch_op:
        batch_op.add_column(sa.Column("second_sha256", sa.Text(), nullable=True))
    with op.batch_alter_table("entry", schema=None) as batch_op:
        batch_op.add_column(sa.Column("best_known_sha256", sa.Text(), nullable=True))
    with op.batch_alter_table("entry_history", schema=None) as batch_op:
        batch_op.add_column(sa.Column("newly_broken", sa.Integer(), nullable=True))
    op.create_table(
        "external",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("entry_id", sa.Integer(), nullable=False),
        sa.Column("run_id", sa.Integer(), nullable=False),
        sa.Column("title", sa.Text(), nullable=False),
        sa.Column("authors", sa.Text(), nullable=False),
        sa.Column("paper_url", sa.Text(), nullable=False),
        sa.Column("attack", sa.Text(), nullable=False),
        sa.Column("examples_sha256", sa.Text(), nullable=False),
        sa.Column("claimed_robust_accuracy", sa.Double(), nullable=True),
        sa.Column("submitter", sa.Text(), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("counts", sa.Text(), nullable=False),
        sa.Column("robust_accuracy", sa.Double(), nullable=True),
        sa.Column("newly_broken", sa.Integer(), nullable=True),
        sa.Column("created_ms", sa.BigInteger(), nullable=False),
        sa.Column("concluded_ms", sa.BigInteger(), nullable=True),
        sa.ForeignKeyConstraint(["entry_id"], ["entry.id"], name=op.f("fk_external_entry_id_entry")),
        sa.ForeignKeyConstraint(["run_id"], ["run.id"], name=op.f("fk_external_run_id_run")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_external")),
        sa.UniqueConstraint("run_id", name=op.f("uq_external_run_id")),
    )
    op.create_index(op.f("ix_external_entry_id"), "external", ["entry_id"])
    op.create_index(op.f("ix_external_submitter_state"), "external", ["submitter", "state"])


def downgrade() -> None:
    op.drop_table("external")
    with op.batch_alter_table("entry_history", schema=None) as batch_op:
        batch_op.drop_column("newly_broken")
    with op.batch_alter_table("entry", schema=None) as batch_op:
        batch_op.drop_column("best_known_sha256")
    with op.batch_alter_table("shard", schema=None) as batch_op:
        batch_op.drop_column("second_sha256")
    op.drop_index("ix_run_open_look", "run")
    with op.batch_alter_table("run", schema=None) as batch_op:
        for column in ("concluded", "sources", "indices", "evidence", "policy", "seed_key"):
            batch_op.drop_column(column)
        batch_op.alter_column("seed", existing_type=sa.BigInteger(), type_=sa.Integer(), existing_nullable=False)
    op.create_index(
        "ix_run_follow_up", "run", ["submission_id"], sqlite_where=_FOLLOW_UPS, postgresql_where=_FOLLOW_UPS
    )
    op.execute(sa.delete(_META).where(_META.c.key == "seed_secret"))
