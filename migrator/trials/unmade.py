"""Holds what the job knows about target tables that don't exist yet."""

from collections.abc import Mapping

from msgspec import Struct, field

from migrator.catalog.constraints import Judged
from migrator.catalog.keys import Keys
from migrator.names import TableName
from migrator.planning.table_parts import LeftOut, Obstacle
from migrator.target.schema import TargetTable
from migrator.target.spelling import TypeOfColumn


class Unmade(Struct):
    """The definitions, statements, keys and types of target tables that don't exist yet."""

    tables: list[TargetTable] = field(default_factory=list)
    statements: dict[TableName, str] = field(default_factory=dict)
    """The statement that makes each table."""
    keys: dict[TableName, Keys] = field(default_factory=dict)
    judged: dict[TableName, Judged] = field(default_factory=dict)
    types: dict[TableName, Mapping[str, TypeOfColumn]] = field(default_factory=dict)
    """The column types of those tables that have a type which only PostgreSQL can read."""
    left_out: list[LeftOut] = field(default_factory=list)
    """Constraints and indexes that the server refuses to make."""
    obstacles: list[Obstacle] = field(default_factory=list)
    """Reasons why the server refuses to make a table."""
