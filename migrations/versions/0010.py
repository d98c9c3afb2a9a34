"""Find the submissions of a file without looking at all of them."""

from __future__ import annotations

from alembic import op

revision = "0010"
down_revision = "0009"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_index(op.f("ix_submission_checkpoint_sha256"), "submission", ["checkpoint_sha256"])


def downgrade() -> None:
    op.drop_index(op.f("ix_submission_checkpoint_sha256"), "submission")
