"""Let many workers share the work: who they are, whose work it is, and in which order it is claimed."""

from __future__ import annotations

import secrets

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "worker",
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("host", sa.Text(), nullable=False),
        sa.Column("devices", sa.Text(), nullable=False),
        sa.Column("datasets", sa.Text(), nullable=False),
        sa.Column("draining", sa.Boolean(), nullable=False),
        sa.Column("started_ms", sa.BigInteger(), nullable=False),
        sa.Column("seen_ms", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("name", name=op.f("pk_worker")),
    )
    op.create_table(
        "share",
        sa.Column("submitter", sa.Text(), nullable=False),
        sa.Column("served_ms", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("submitter", name=op.f("pk_share")),
    )
    meta = sa.table("meta", sa.column("key", sa.Text()), sa.column("value", sa.Text()))
    op.bulk_insert(meta, [{"key": "submitter_salt", "value": secrets.token_hex(24)}])
    # A default only for the rows that are there already.
    with op.batch_alter_table("submission", schema=None) as batch_op:
        batch_op.add_column(sa.Column("submitter", sa.Text(), nullable=False, server_default=""))
        batch_op.create_index(batch_op.f("ix_submission_submitter"), ["submitter"], unique=False)
    with op.batch_alter_table("run", schema=None) as batch_op:
        batch_op.add_column(sa.Column("purpose", sa.Text(), nullable=False, server_default="ranking"))
        batch_op.add_column(sa.Column("priority", sa.Integer(), nullable=False, server_default="0"))
        batch_op.add_column(sa.Column("needs_cuda", sa.Boolean(), nullable=False, server_default=sa.false()))
    with op.batch_alter_table("shard", schema=None) as batch_op:
        batch_op.add_column(sa.Column("queued_ms", sa.BigInteger(), nullable=False, server_default="0"))


def downgrade() -> None:
    with op.batch_alter_table("shard", schema=None) as batch_op:
        batch_op.drop_column("queued_ms")
    with op.batch_alter_table("run", schema=None) as batch_op:
        batch_op.drop_column("needs_cuda")
        batch_op.drop_column("priority")
        batch_op.drop_column("purpose")
    with op.batch_alter_table("submission", schema=None) as batch_op:
        batch_op.drop_index(batch_op.f("ix_submission_submitter"))
        batch_op.drop_column("submitter")
    meta = sa.table("meta", sa.column("key", sa.Text()))
    op.execute(sa.delete(meta).where(meta.c.key == "submitter_salt"))
    op.drop_table("share")
    op.drop_table("worker")
