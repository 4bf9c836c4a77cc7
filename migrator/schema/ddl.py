"""
Builds PostgreSQL tables from those of a SQLite file, for an application without migrations of its own.

A column's type comes from its declaration; where that says nothing, from what the column holds. Everything else of a
table becomes an ALTER or CREATE statement of its own, if it can be shown to mean the same in PostgreSQL.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from migrator.errors import TargetRefused
from migrator.names import TableName
from migrator.planning.rules import Rules
from migrator.planning.table_parts import AlterStatement, LeftOut, Obstacle
from migrator.schema.column_types import Held
from migrator.schema.naming import obstacles
from migrator.schema.table_ddl import TableDdl
from migrator.source.declarations import TableDeclarations
from migrator.source.schema import SourceTable
from migrator.sql.lexing import fold


@dataclass(frozen=True, slots=True)
class SchemaDdl:
    """The statements that make the tables, and what they leave out."""

    tables: Mapping[TableName, str]
    """The statement that makes each table."""
    sources: Mapping[TableName, str]
    """What the source calls each table."""
    additions: tuple[AlterStatement, ...]
    left_out: tuple[LeftOut, ...]
    obstacles: tuple[Obstacle, ...] = ()
    """What prevents tables from being made."""


def build_ddl(
    schema: str,
    tables: Iterable[SourceTable],
    declared: Mapping[str, TableDeclarations],
    rules: Rules,
    storage_classes: Held,
) -> SchemaDdl:
    """
    Return the DDL that makes the tables in ``schema`` of the target, without those that a rule excludes.

    ``storage_classes`` has the columns whose type depends on their values (see ``column_types``).
    """
    tables = list(tables)
    tables_ddl = {
        fold(table.name): TableDdl(schema, table, declared[table.name], rules, storage_classes)
        for table in tables
        if not rules.of_table(table.name).exclude
    }
    sources = {fold(table.name) for table in tables}
    taken = {name for one in tables_ddl.values() for name in one.relations}
    parts = [part for one in tables_ddl.values() for part in one.parts(taken)]
    parts += [
        part for one in tables_ddl.values() for part in one.foreign_keys(tables_ddl, sources)
    ]  # to keys that stand by then
    return SchemaDdl(
        {one.name: one.statement() for one in tables_ddl.values()},
        {one.name: one.table.name for one in tables_ddl.values()},
        tuple(part for part in parts if isinstance(part, AlterStatement)),
        tuple(part for part in parts if isinstance(part, LeftOut)),
        tuple(obstacles(tables_ddl.values())),
    )


def refuse(missing: Iterable[LeftOut], hindrances: Iterable[Obstacle] = (), note: str = "") -> None:
    """Raise TargetRefused for every obstacle, and for every guard of rows that would be missing and nobody named."""
    unnamed = [one for one in missing if one.stands_in_the_way]
    hindrances = list(hindrances)
    if not unnamed and not hindrances:
        return
    handles = ",".join(dict.fromkeys(one.part.handle for one in unnamed))
    steps = ["Write the rules that are named."] if hindrances else []
    if unnamed:
        steps.append(f"To do without what is named, add --leave-out '{handles}'.")
        steps.append("Or make the tables yourself, and choose --schema existing.")
    lines = [
        *(one.line() for one in hindrances),
        *(f"{one.line()} (allowed by --leave-out {one.part.handle})" for one in unnamed),
    ]
    raise TargetRefused(
        f"{note or 'tables after the source would be without something, and nothing was made'}: {'; '.join(lines)}",
        next_step=" ".join(steps),
        missing=[
            *({"table": one.table, "what": one.what, "settled_by": one.settled_by} for one in hindrances),
            *(
                {
                    "table": str(one.part.table),
                    "what": one.part.what,
                    "reason": one.reason,
                    "leave_out": one.part.handle,
                }
                for one in unnamed
            ),
        ],
    )
