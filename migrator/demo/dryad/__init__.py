"""
Dryad, the reference application: an AI agent's backend with users, conversations, documents and groves.

``models`` defines its schema, and ``migrations`` holds the Alembic revisions that build this schema. ``sample`` fills a
SQLite file with rows as after years of use; their texts come from ``phrases``. The migrator knows nothing of Dryad; the
demo and the tests migrate it.
"""

from pathlib import Path
from typing import Final

ALEMBIC_INI: Final = Path(__file__).with_name("alembic.ini")
"""The configuration file for ``alembic -c``, which builds Dryad's schema."""
