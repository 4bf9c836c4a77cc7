"""The options of stage `schema`: who makes the target's tables, and with what."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from migrator.planning.rules import Rules


@dataclass(frozen=True, slots=True)
class SchemaOptions:
    """
    What stage ``schema`` needs to know of the settings.

    ``rules`` come with the names of ``--leave-out``. They note which of them matched something, so each try of the
    stage gets options of its own.
    """

    mode: Literal["alembic", "command", "create", "existing"]
    target_schema: str | None
    """The schema of the target's tables; None is the first on the search_path."""
    alembic_config: Path | None
    command: str | None
    rules: Rules
