"""
Dryad, the reference application: an AI agent's backend with users, conversations, documents and groves.

``models`` is its schema, ``migrations`` the Alembic revisions that lead there, ``sample`` fills a SQLite file with rows
that look like years of use, in the words of ``phrases``. The migrator knows nothing of it; the demo and the tests move
it.
"""

from pathlib import Path
from typing import Final

ALEMBIC_INI: Final = Path(__file__).with_name("alembic.ini")
"""What ``alembic -c`` takes to build Dryad's schema."""
