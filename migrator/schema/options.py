"""Holds the options of stage `schema`: how the target's tables are made."""

from pathlib import Path
from typing import Literal

from msgspec import Struct

from migrator.planning.rules import Rules


class SchemaOptions(Struct, frozen=True):
    """
    The settings that stage ``schema`` uses.

    ``rules`` include the names of ``--leave-out``. The rules record which of these names have matched something, so
    each attempt of the stage gets new options.
    """

    mode: Literal["alembic", "command", "create", "existing"]
    target_schema: str | None
    """The schema of the target's tables; None means the first schema on the search_path."""
    alembic_config: Path | None
    command: str | None
    rules: Rules
