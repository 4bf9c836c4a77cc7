"""
Messages know their position in the conversation: a data migration.

Revision ID: 0004
Revises: 0003
Created: 2025-01-17 16:20:05+00:00
"""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Give the messages of each conversation different numbers, from 0 in the order of their ids."""
    with op.batch_alter_table("messages") as messages:
        messages.add_column(sa.Column("position", sa.Integer(), nullable=True))

    _number_the_messages()

    # Reflection loses AUTOINCREMENT: without the argument, SQLite's new table would use the ids of deleted rows again.
    with op.batch_alter_table("messages", table_kwargs={"sqlite_autoincrement": True}) as messages:
        messages.alter_column("position", existing_type=sa.Integer(), nullable=False)
        messages.create_unique_constraint(op.f("uq_messages_conversation_id_position"), ["conversation_id", "position"])


def _number_the_messages() -> None:
    messages = sa.table("messages", sa.column("id"), sa.column("conversation_id"), sa.column("position"))
    ordinal = sa.func.row_number().over(partition_by=messages.c.conversation_id, order_by=messages.c.id)
    numbered = sa.select(messages.c.id, (ordinal - 1).label("position")).subquery("numbered")
    op.execute(sa.update(messages).values(position=numbered.c.position).where(messages.c.id == numbered.c.id))


def downgrade() -> None:
    """Drop the positions. The messages stay."""
    with op.batch_alter_table("messages", table_kwargs={"sqlite_autoincrement": True}) as messages:
        messages.drop_constraint(op.f("uq_messages_conversation_id_position"), type_="unique")
        messages.drop_column("position")
