"""Count uploads for those who sent them, and remember that a checkpoint was deleted."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "upload",
        sa.Column("submitter", sa.Text(), nullable=False),
        sa.Column("sha256", sa.Text(), nullable=False),
        sa.Column("bytes", sa.BigInteger(), nullable=False),
        sa.Column("sent_ms", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("submitter", "sha256", name=op.f("pk_upload")),
    )
    op.create_index(op.f("ix_upload_sha256"), "upload", ["sha256"])
    op.add_column("submission", sa.Column("checkpoint_deleted_ms", sa.BigInteger(), nullable=True))


def downgrade() -> None:
    op.drop_column("submission", "checkpoint_deleted_ms")
    op.drop_table("upload")
