"""Count the changes of entries, so that a board that was rendered once is known to be the present one."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None


def upgrade() -> None:
    with op.batch_alter_table("entry", schema=None) as batch_op:
        batch_op.add_column(sa.Column("revision", sa.Integer(), nullable=False, server_default="0"))
    op.create_index("ix_entry_revision", "entry", ["dataset", "threat_model", "revision", "id"])


def downgrade() -> None:
    op.drop_index("ix_entry_revision", "entry")
    with op.batch_alter_table("entry", schema=None) as batch_op:
        batch_op.drop_column("revision")
