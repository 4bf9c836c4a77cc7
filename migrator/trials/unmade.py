"""What is known of tables that don't exist yet."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from migrator.catalog.constraints import Judged
from migrator.catalog.keys import Keys
from migrator.names import TableName
from migrator.planning.table_parts import LeftOut, Obstacle
from migrator.target.schema import TargetTable
from migrator.target.spelling import TypeOfColumn


@dataclass(slots=True)
class Unmade:
    """What is known of tables that don't exist yet."""

    tables: list[TargetTable] = field(default_factory=list)
    statements: dict[TableName, str] = field(default_factory=dict)
    """The statement that makes each table."""
    keys: dict[TableName, Keys] = field(default_factory=dict)
    judged: dict[TableName, Judged] = field(default_factory=dict)
    types: dict[TableName, Mapping[str, TypeOfColumn]] = field(default_factory=dict)
    """Of the columns of tables with a type that only PostgreSQL can read."""
    left_out: list[LeftOut] = field(default_factory=list)
    """What the server doesn't put there."""
    obstacles: list[Obstacle] = field(default_factory=list)
    """Tables that the server doesn't make."""
