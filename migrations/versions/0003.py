"""Let boards be read in their order and by the page, and finished runs be found without looking at all of them."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    # Unknown numbers come last. SQLite does not know the words in an index, and needs none: NULL is least there.
    last = " NULLS LAST" if op.get_bind().dialect.name == "postgresql" else ""
    op.create_index(
        "ix_entry_ranking",
        "entry",
        [
            "dataset",
            "threat_model",
            sa.text(f"best_known_robust_accuracy DESC{last}"),
            sa.text(f"standard_accuracy DESC{last}"),
            "published_ms",
            "model_id",
        ],
    )
    op.create_index("ix_entry_dataset_threat_model_badge", "entry", ["dataset", "threat_model", "badge"])
    follow_ups = sa.text("purpose = 'follow_up'")
    op.create_index("ix_run_follow_up", "run", ["submission_id"], sqlite_where=follow_ups, postgresql_where=follow_ups)


def downgrade() -> None:
    op.drop_index("ix_run_follow_up", "run")
    op.drop_index("ix_entry_dataset_threat_model_badge", "entry")
    op.drop_index("ix_entry_ranking", "entry")
