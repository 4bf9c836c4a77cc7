"""
Accounts and conversations.

Revision ID: 0001
Revises:
Created: 2024-03-04 09:12:40+00:00
"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

type_json = sa.JSON().with_variant(postgresql.JSONB(), "postgresql")
type_counted = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    """Create ``users``, ``conversations`` and ``messages``."""
    op.create_table(
        "users",
        sa.Column("id", sa.String(36), nullable=False),
        sa.Column("email", sa.String(320), nullable=False),
        sa.Column("username", sa.String(64), nullable=False),
        sa.Column("display_name", sa.String(200)),
        sa.Column("password_hash", sa.String(255), nullable=False),
        sa.Column(
            "role",
            sa.Enum("admin", "member", "guest", name="user_role"),
            server_default=sa.text("'member'"),
            nullable=False,
        ),
        sa.Column("is_active", sa.Boolean(), server_default=sa.true(), nullable=False),
        sa.Column("date_of_birth", sa.Date()),
        sa.Column("credit", sa.Numeric(12, 2), server_default=sa.text("0"), nullable=False),
        sa.Column("preferences", type_json, server_default=sa.text("'{}'"), nullable=False),
        sa.Column("avatar", sa.LargeBinary()),
        sa.Column("last_login_at", sa.DateTime(timezone=True)),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.func.now(), nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), server_default=sa.func.now(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_users")),
        sa.UniqueConstraint("username", name=op.f("uq_users_username")),
    )
    op.create_index(op.f("idx_users_email"), "users", ["email"], unique=True)

    op.create_table(
        "conversations",
        sa.Column("id", sa.String(36), nullable=False),
        sa.Column("user_id", sa.String(36), nullable=False),
        sa.Column("title", sa.String(500)),
        sa.Column(
            "status",
            sa.Enum("active", "archived", "deleted", name="conversation_status"),
            server_default=sa.text("'active'"),
            nullable=False,
        ),
        sa.Column("model", sa.String(100), nullable=False),
        sa.Column("temperature", sa.Float()),
        sa.Column("token_budget", sa.BigInteger()),
        sa.Column("cost", sa.Numeric(14, 6), server_default=sa.text("0"), nullable=False),
        sa.Column("is_pinned", sa.Boolean(), server_default=sa.false(), nullable=False),
        sa.Column("context", type_json),
        sa.Column("last_message_id", type_counted),
        sa.Column("archived_at", sa.DateTime(timezone=True)),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.func.now(), nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), server_default=sa.func.now(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_conversations")),
        sa.ForeignKeyConstraint(
            ["user_id"], ["users.id"], name=op.f("fk_conversations_user_id_users"), ondelete="CASCADE"
        ),
    )
    op.create_index(op.f("idx_conversations_user_id"), "conversations", ["user_id"])
    op.create_index(
        "idx_conversations_open",
        "conversations",
        ["user_id", "updated_at"],
        sqlite_where=sa.text("archived_at IS NULL"),
        postgresql_where=sa.text("archived_at IS NULL"),
    )

    op.create_table(
        "messages",
        sa.Column("id", type_counted, nullable=False),
        sa.Column("conversation_id", sa.String(36), nullable=False),
        sa.Column("author_id", sa.String(36)),
        sa.Column("role", sa.Enum("system", "user", "assistant", name="message_role"), nullable=False),
        sa.Column("content", sa.Text(), nullable=False),
        sa.Column("token_count", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.Column("latency_ms", sa.Float()),
        sa.Column("cost", sa.Numeric(10, 6)),
        sa.Column("attachments", type_json),
        sa.Column("embedding", sa.LargeBinary()),
        sa.Column("is_edited", sa.Boolean(), server_default=sa.false(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.func.now(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_messages")),
        sa.ForeignKeyConstraint(
            ["conversation_id"],
            ["conversations.id"],
            name=op.f("fk_messages_conversation_id_conversations"),
            ondelete="CASCADE",
        ),
        sa.ForeignKeyConstraint(
            ["author_id"], ["users.id"], name=op.f("fk_messages_author_id_users"), ondelete="SET NULL"
        ),
        sa.CheckConstraint("token_count >= 0", name=op.f("ck_messages_token_count_not_negative")),
        sqlite_autoincrement=True,
    )
    op.create_index(op.f("idx_messages_conversation_id"), "messages", ["conversation_id"])
    op.create_index(op.f("idx_messages_author_id"), "messages", ["author_id"])
    op.create_index(op.f("idx_messages_created_at"), "messages", ["created_at"])

    # The two tables refer to each other, so one of the foreign keys is added after both tables exist.
    with op.batch_alter_table("conversations") as conversations:
        conversations.create_foreign_key(
            op.f("fk_conversations_last_message_id_messages"),
            "messages",
            ["last_message_id"],
            ["id"],
            ondelete="SET NULL",
        )


def downgrade() -> None:
    """Drop the three tables, and on PostgreSQL their enum types."""
    with op.batch_alter_table("conversations") as conversations:
        conversations.drop_constraint(op.f("fk_conversations_last_message_id_messages"), type_="foreignkey")
    op.drop_table("messages")
    op.drop_table("conversations")
    op.drop_table("users")
    if op.get_context().dialect.name == "postgresql":
        op.execute("DROP TYPE message_role")
        op.execute("DROP TYPE conversation_status")
        op.execute("DROP TYPE user_role")
