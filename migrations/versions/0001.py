"""Create all tables."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "lease",
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("holder", sa.Text(), nullable=False),
        sa.Column("until_ms", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("name", name=op.f("pk_lease")),
    )
    op.create_table(
        "meta",
        sa.Column("key", sa.Text(), nullable=False),
        sa.Column("value", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("key", name=op.f("pk_meta")),
    )
    op.create_table(
        "submission",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("dataset", sa.Text(), nullable=False),
        sa.Column("threat_model", sa.Text(), nullable=False),
        sa.Column("architecture", sa.Text(), nullable=False),
        sa.Column("checkpoint_sha256", sa.Text(), nullable=False),
        sa.Column("title", sa.Text(), nullable=False),
        sa.Column("authors", sa.Text(), nullable=False),
        sa.Column("paper_url", sa.Text(), nullable=False),
        sa.Column("venue", sa.Text(), nullable=False),
        sa.Column("extra_data", sa.Text(), nullable=False),
        sa.Column("claimed_standard_accuracy", sa.Double(), nullable=True),
        sa.Column("claimed_robust_accuracy", sa.Double(), nullable=True),
        sa.Column("licence", sa.Text(), nullable=False),
        sa.Column("notes", sa.Text(), nullable=False),
        sa.Column("baseline", sa.Boolean(), nullable=False),
        sa.Column("zoo_id", sa.Text(), nullable=True),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("fault", sa.Text(), nullable=True),
        sa.Column("created_ms", sa.BigInteger(), nullable=False),
        sa.Column("updated_ms", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_submission")),
    )
    with op.batch_alter_table("submission", schema=None) as batch_op:
        batch_op.create_index(
            batch_op.f("ix_submission_dataset_threat_model_name"), ["dataset", "threat_model", "name"], unique=False
        )
        batch_op.create_index(batch_op.f("ix_submission_state"), ["state"], unique=False)
        batch_op.create_index(
            "uq_submission_open_name",
            ["dataset", "threat_model", "name"],
            unique=True,
            sqlite_where=sa.text("state IN ('received', 'checking', 'queued', 'running', 'evaluated')"),
            postgresql_where=sa.text("state IN ('received', 'checking', 'queued', 'running', 'evaluated')"),
        )

    op.create_table(
        "run",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("submission_id", sa.Text(), nullable=False),
        sa.Column("protocol", sa.Text(), nullable=False),
        sa.Column("seed", sa.Integer(), nullable=False),
        sa.Column("norm", sa.Text(), nullable=False),
        sa.Column("epsilon", sa.Text(), nullable=False),
        sa.Column("points", sa.Integer(), nullable=False),
        sa.Column("parameters", sa.BigInteger(), nullable=True),
        sa.Column("checks", sa.Text(), nullable=False),
        sa.Column("created_ms", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(["submission_id"], ["submission.id"], name=op.f("fk_run_submission_id_submission")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_run")),
    )
    with op.batch_alter_table("run", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_run_submission_id"), ["submission_id"], unique=False)

    op.create_table(
        "transition",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("submission_id", sa.Text(), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("at_ms", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(
            ["submission_id"], ["submission.id"], name=op.f("fk_transition_submission_id_submission")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_transition")),
    )
    with op.batch_alter_table("transition", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_transition_submission_id"), ["submission_id"], unique=False)

    op.create_table(
        "report",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("run_id", sa.Integer(), nullable=False),
        sa.Column("summary", sa.LargeBinary(), nullable=False),
        sa.Column("summary_sha256", sa.Text(), nullable=False),
        sa.Column("points_sha256", sa.Text(), nullable=False),
        sa.Column("created_ms", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(["run_id"], ["run.id"], name=op.f("fk_report_run_id_run")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_report")),
        sa.UniqueConstraint("run_id", name=op.f("uq_report_run_id")),
    )
    op.create_table(
        "shard",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("run_id", sa.Integer(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("first", sa.Integer(), nullable=False),
        sa.Column("last", sa.Integer(), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("attempt", sa.Integer(), nullable=False),
        sa.Column("lease_token", sa.Text(), nullable=True),
        sa.Column("lease_until", sa.BigInteger(), nullable=True),
        sa.Column("worker", sa.Text(), nullable=True),
        sa.Column("beat_at", sa.BigInteger(), nullable=True),
        sa.Column("progress_at", sa.BigInteger(), nullable=True),
        sa.Column("progress", sa.Text(), nullable=True),
        sa.Column("checkpoint", sa.Text(), nullable=True),
        sa.Column("cancel_requested", sa.Boolean(), nullable=False),
        sa.Column("report_sha256", sa.Text(), nullable=True),
        sa.Column("x_adv_sha256", sa.Text(), nullable=True),
        sa.ForeignKeyConstraint(["run_id"], ["run.id"], name=op.f("fk_shard_run_id_run")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_shard")),
        sa.UniqueConstraint("run_id", "kind", "first", "last", name=op.f("uq_shard_run_id_kind_first_last")),
    )
    with op.batch_alter_table("shard", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_shard_state"), ["state"], unique=False)

    op.create_table(
        "entry",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("dataset", sa.Text(), nullable=False),
        sa.Column("threat_model", sa.Text(), nullable=False),
        sa.Column("model_id", sa.Text(), nullable=False),
        sa.Column("badge", sa.Text(), nullable=False),
        sa.Column("title", sa.Text(), nullable=False),
        sa.Column("authors", sa.Text(), nullable=False),
        sa.Column("venue", sa.Text(), nullable=False),
        sa.Column("link", sa.Text(), nullable=False),
        sa.Column("architecture", sa.Text(), nullable=False),
        sa.Column("extra_data", sa.Text(), nullable=False),
        sa.Column("epsilon", sa.Text(), nullable=True),
        sa.Column("footnote", sa.Text(), nullable=False),
        sa.Column("standard_accuracy", sa.Double(), nullable=True),
        sa.Column("robust_accuracy", sa.Double(), nullable=True),
        sa.Column("best_known_robust_accuracy", sa.Double(), nullable=True),
        sa.Column("best_known_source", sa.Text(), nullable=False),
        sa.Column("claimed_robust_accuracy", sa.Double(), nullable=True),
        sa.Column("standard_low", sa.Double(), nullable=True),
        sa.Column("standard_high", sa.Double(), nullable=True),
        sa.Column("robust_low", sa.Double(), nullable=True),
        sa.Column("robust_high", sa.Double(), nullable=True),
        sa.Column("potentially_unreliable", sa.Boolean(), nullable=True),
        sa.Column("findings", sa.Text(), nullable=False),
        sa.Column("forward_passes", sa.Integer(), nullable=True),
        sa.Column("parameters", sa.BigInteger(), nullable=True),
        sa.Column("zoo_id", sa.Text(), nullable=True),
        sa.Column("baseline", sa.Boolean(), nullable=False),
        sa.Column("protocol", sa.Text(), nullable=True),
        sa.Column("mce", sa.Double(), nullable=True),
        sa.Column("corruption_accuracy_3d", sa.Double(), nullable=True),
        sa.Column("mce_3d", sa.Double(), nullable=True),
        sa.Column("submission_id", sa.Text(), nullable=True),
        sa.Column("report_id", sa.Integer(), nullable=True),
        sa.Column("published_ms", sa.BigInteger(), nullable=True),
        sa.ForeignKeyConstraint(["report_id"], ["report.id"], name=op.f("fk_entry_report_id_report")),
        sa.ForeignKeyConstraint(["submission_id"], ["submission.id"], name=op.f("fk_entry_submission_id_submission")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_entry")),
        sa.UniqueConstraint("dataset", "threat_model", "model_id", name=op.f("uq_entry_dataset_threat_model_model_id")),
    )
    op.create_table(
        "entry_history",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("entry_id", sa.Integer(), nullable=False),
        sa.Column("source", sa.Text(), nullable=False),
        sa.Column("standard_accuracy", sa.Double(), nullable=True),
        sa.Column("robust_accuracy", sa.Double(), nullable=True),
        sa.Column("recorded_ms", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(["entry_id"], ["entry.id"], name=op.f("fk_entry_history_entry_id_entry")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_entry_history")),
        sa.UniqueConstraint("entry_id", "source", name=op.f("uq_entry_history_entry_id_source")),
    )


def downgrade() -> None:
    op.drop_table("entry_history")
    op.drop_table("entry")
    with op.batch_alter_table("shard", schema=None) as batch_op:
        batch_op.drop_index(batch_op.f("ix_shard_state"))

    op.drop_table("shard")
    op.drop_table("report")
    with op.batch_alter_table("transition", schema=None) as batch_op:
        batch_op.drop_index(batch_op.f("ix_transition_submission_id"))

    op.drop_table("transition")
    with op.batch_alter_table("run", schema=None) as batch_op:
        batch_op.drop_index(batch_op.f("ix_run_submission_id"))

    op.drop_table("run")
    with op.batch_alter_table("submission", schema=None) as batch_op:
        batch_op.drop_index(
            "uq_submission_open_name",
            sqlite_where=sa.text("state IN ('received', 'checking', 'queued', 'running', 'evaluated')"),
            postgresql_where=sa.text("state IN ('received', 'checking', 'queued', 'running', 'evaluated')"),
        )
        batch_op.drop_index(batch_op.f("ix_submission_state"))
        batch_op.drop_index(batch_op.f("ix_submission_dataset_threat_model_name"))

    op.drop_table("submission")
    op.drop_table("meta")
    op.drop_table("lease")
