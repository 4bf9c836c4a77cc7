"""
The system account, which every Dryad database has.

Revision ID: 0006
Revises: 0005
Created: 2025-10-08 08:30:00+00:00
"""

from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None

SYSTEM_USER_ID = "00000000-0000-4000-8000-000000000001"


def upgrade() -> None:
    """Add the account if it doesn't exist. Nobody can log in to it."""
    # A bound string doesn't become an enum label on PostgreSQL. A literal gets the type of its column, also an enum.
    op.execute(
        "INSERT INTO users (id, email, username, display_name, password_hash, role)"
        f" SELECT '{SYSTEM_USER_ID}', 'system@dryad.invalid', 'system', 'Dryad', '!', 'admin'"
        f" WHERE NOT EXISTS (SELECT 1 FROM users WHERE id = '{SYSTEM_USER_ID}')"
    )


def downgrade() -> None:
    """Keep the account, because conversations and documents may belong to it."""
