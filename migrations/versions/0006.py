"""Accounts with sessions, tokens and links; moderation, claims, the audit log and messages."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None


def upgrade() -> None:
    _create_accounts()
    _create_secrets()
    _create_records()
    # Defaults only for the rows that are there already.
    _add_owner("submission")
    with op.batch_alter_table("submission", schema=None) as batch_op:
        batch_op.add_column(sa.Column("private_checkpoint", sa.Boolean(), nullable=False, server_default="1"))
        batch_op.add_column(sa.Column("zoo_consent", sa.Boolean(), nullable=False, server_default="0"))
        batch_op.add_column(sa.Column("anonymous", sa.Boolean(), nullable=False, server_default="0"))
        batch_op.add_column(sa.Column("embargo_until_ms", sa.BigInteger(), nullable=True))
        batch_op.add_column(sa.Column("approval", sa.Text(), nullable=False, server_default="none"))
    _add_owner("entry")
    with op.batch_alter_table("entry", schema=None) as batch_op:
        batch_op.add_column(sa.Column("anonymous", sa.Boolean(), nullable=False, server_default="0"))
        batch_op.add_column(sa.Column("expires_ms", sa.BigInteger(), nullable=True))
        batch_op.add_column(sa.Column("withdrawn_ms", sa.BigInteger(), nullable=True))
        batch_op.add_column(sa.Column("withdrawn_reason", sa.Text(), nullable=False, server_default=""))


def _add_owner(table: str) -> None:
    """In one statement, for SQLite adds no constraint to a table but with its column; nor may a table be made anew
    while others refer to its rows."""
    op.execute(
        f"ALTER TABLE {table} ADD COLUMN owner_id TEXT CONSTRAINT fk_{table}_owner_id_account REFERENCES account (id)"
    )
    op.create_index(f"ix_{table}_owner_id", table, ["owner_id"])


def _create_accounts() -> None:
    op.create_table(
        "account",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("email", sa.Text(), nullable=True),
        sa.Column("team", sa.Text(), nullable=False),
        sa.Column("password_hash", sa.Text(), nullable=True),
        sa.Column("role", sa.Text(), nullable=False),
        sa.Column("disabled", sa.Boolean(), nullable=False),
        sa.Column("created_ms", sa.BigInteger(), nullable=False),
        sa.Column("deleted_ms", sa.BigInteger(), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_account")),
        sa.UniqueConstraint("email", name=op.f("uq_account_email")),
        sa.UniqueConstraint("name", name=op.f("uq_account_name")),
    )


def _create_secrets() -> None:
    op.create_table(
        "session",
        sa.Column("sha256", sa.Text(), nullable=False),
        sa.Column("account_id", sa.Text(), nullable=False),
        sa.Column("created_ms", sa.BigInteger(), nullable=False),
        sa.Column("expires_ms", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(["account_id"], ["account.id"], name=op.f("fk_session_account_id_account")),
        sa.PrimaryKeyConstraint("sha256", name=op.f("pk_session")),
    )
    op.create_index(op.f("ix_session_account_id"), "session", ["account_id"])
    op.create_table(
        "token",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("account_id", sa.Text(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("sha256", sa.Text(), nullable=False),
        sa.Column("scopes", sa.Text(), nullable=False),
        sa.Column("created_ms", sa.BigInteger(), nullable=False),
        sa.Column("expires_ms", sa.BigInteger(), nullable=True),
        sa.Column("used_ms", sa.BigInteger(), nullable=True),
        sa.Column("revoked_ms", sa.BigInteger(), nullable=True),
        sa.ForeignKeyConstraint(["account_id"], ["account.id"], name=op.f("fk_token_account_id_account")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_token")),
        sa.UniqueConstraint("sha256", name=op.f("uq_token_sha256")),
    )
    op.create_index(op.f("ix_token_account_id"), "token", ["account_id"])
    op.create_table(
        "link",
        sa.Column("sha256", sa.Text(), nullable=False),
        sa.Column("account_id", sa.Text(), nullable=False),
        sa.Column("expires_ms", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(["account_id"], ["account.id"], name=op.f("fk_link_account_id_account")),
        sa.PrimaryKeyConstraint("sha256", name=op.f("pk_link")),
    )
    op.create_index(op.f("ix_link_account_id"), "link", ["account_id"])
    op.create_table(
        "webhook",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("account_id", sa.Text(), nullable=False),
        sa.Column("url", sa.Text(), nullable=False),
        sa.Column("secret", sa.Text(), nullable=False),
        sa.Column("created_ms", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(["account_id"], ["account.id"], name=op.f("fk_webhook_account_id_account")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_webhook")),
    )
    op.create_index(op.f("ix_webhook_account_id"), "webhook", ["account_id"])


def _create_records() -> None:
    op.create_table(
        "audit",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("at_ms", sa.BigInteger(), nullable=False),
        sa.Column("actor", sa.Text(), nullable=False),
        sa.Column("action", sa.Text(), nullable=False),
        sa.Column("subject", sa.Text(), nullable=False),
        sa.Column("detail", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_audit")),
    )
    op.create_index(op.f("ix_audit_subject"), "audit", ["subject"])
    op.create_table(
        "claim",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("entry_id", sa.Integer(), nullable=False),
        sa.Column("account_id", sa.Text(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("message", sa.Text(), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("reply", sa.Text(), nullable=False),
        sa.Column("created_ms", sa.BigInteger(), nullable=False),
        sa.Column("concluded_ms", sa.BigInteger(), nullable=True),
        sa.ForeignKeyConstraint(["account_id"], ["account.id"], name=op.f("fk_claim_account_id_account")),
        sa.ForeignKeyConstraint(["entry_id"], ["entry.id"], name=op.f("fk_claim_entry_id_entry")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_claim")),
    )
    op.create_index(op.f("ix_claim_account_id"), "claim", ["account_id"])
    op.create_index(op.f("ix_claim_entry_id"), "claim", ["entry_id"])
    op.create_table(
        "notice",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("account_id", sa.Text(), nullable=False),
        sa.Column("channel", sa.Text(), nullable=False),
        sa.Column("target", sa.Text(), nullable=False),
        sa.Column("event", sa.Text(), nullable=False),
        sa.Column("content", sa.Text(), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("attempts", sa.Integer(), nullable=False),
        sa.Column("due_ms", sa.BigInteger(), nullable=False),
        sa.Column("error", sa.Text(), nullable=False),
        sa.ForeignKeyConstraint(["account_id"], ["account.id"], name=op.f("fk_notice_account_id_account")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_notice")),
    )
    op.create_index(op.f("ix_notice_account_id"), "notice", ["account_id"])
    op.create_index(op.f("ix_notice_state_due_ms"), "notice", ["state", "due_ms"])


def downgrade() -> None:
    with op.batch_alter_table("entry", schema=None) as batch_op:
        batch_op.drop_index(batch_op.f("ix_entry_owner_id"))
        for column in ("withdrawn_reason", "withdrawn_ms", "expires_ms", "anonymous", "owner_id"):
            batch_op.drop_column(column)
    with op.batch_alter_table("submission", schema=None) as batch_op:
        batch_op.drop_index(batch_op.f("ix_submission_owner_id"))
        for column in (
            "approval",
            "embargo_until_ms",
            "anonymous",
            "zoo_consent",
            "private_checkpoint",
            "owner_id",
        ):
            batch_op.drop_column(column)
    for table in ("notice", "claim", "audit", "webhook", "link", "token", "session", "account"):
        op.drop_table(table)
