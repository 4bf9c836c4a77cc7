"""
Notes know their length: a migration of data, which runs on the rows that are there.

Revision ID: 0003
Revises: 0002
"""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the column, and fill it."""
    op.add_column("notes", sa.Column("length", sa.Integer(), nullable=False, server_default="0"))
    op.execute("UPDATE notes SET length = length(body)")
