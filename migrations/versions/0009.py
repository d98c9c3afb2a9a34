"""Keep a few examples of an evaluation to look at."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("run", sa.Column("gallery_sha256", sa.Text(), nullable=True))


def downgrade() -> None:
    op.drop_column("run", "gallery_sha256")
