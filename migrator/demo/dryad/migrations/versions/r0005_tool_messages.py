"""
Tools speak in conversations too.

Revision ID: 0005
Revises: 0004
Created: 2025-06-30 11:58:27+00:00
"""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Allow the role ``tool`` for messages. On SQLite the column is plain text and accepts it already."""
    if op.get_context().dialect.name == "postgresql":
        op.execute("ALTER TYPE message_role ADD VALUE IF NOT EXISTS 'tool'")


def downgrade() -> None:
    """Give messages of the role ``tool`` the role ``assistant``, and remove the role ``tool``."""
    messages = sa.table("messages", sa.column("role"))
    if op.get_context().dialect.name != "postgresql":
        op.execute(sa.update(messages).values(role="assistant").where(messages.c.role == "tool"))
        return
    # PostgreSQL can't remove a label from an enum type, so the column gets a new type.
    op.execute("ALTER TYPE message_role RENAME TO message_role_with_tool")
    op.execute("CREATE TYPE message_role AS ENUM ('system', 'user', 'assistant')")
    op.execute(
        "ALTER TABLE messages ALTER COLUMN role TYPE message_role"
        " USING (CASE role::text WHEN 'tool' THEN 'assistant' ELSE role::text END)::message_role"
    )
    op.execute("DROP TYPE message_role_with_tool")
