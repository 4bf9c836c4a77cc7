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
    """Add the account, unless an earlier upgrade did; nobody can log in to it."""
    # On PostgreSQL a string is no enum label, and only the column's own type says which enum; a bare literal fits all.
    op.execute(
        "INSERT INTO users (id, email, username, display_name, password_hash, role)"
        f" SELECT '{SYSTEM_USER_ID}', 'system@dryad.invalid', 'system', 'Dryad', '!', 'admin'"
        f" WHERE NOT EXISTS (SELECT 1 FROM users WHERE id = '{SYSTEM_USER_ID}')"
    )


def downgrade() -> None:
    """Leave the account: by now conversations and documents may belong to it."""
