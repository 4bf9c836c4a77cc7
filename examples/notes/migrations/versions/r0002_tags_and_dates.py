"""
Tags, and a date that a note is due on.

Revision ID: 0002
Revises: 0001
"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the columns."""
    tags = sa.JSON().with_variant(postgresql.JSONB(), "postgresql")
    op.add_column("notes", sa.Column("tags", tags, nullable=False, server_default=sa.text("'[]'")))
    op.add_column("notes", sa.Column("due", sa.Date()))
