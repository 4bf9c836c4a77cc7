"""
PostgreSQL tables drawn from those of a SQLite file, for an application that has nothing else to make them with.

Types come from what a column was declared as; where that says nothing, from what the column holds. All that belongs to
a table beside its columns is drawn as an addition, if it can be shown to mean the same in PostgreSQL.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from migrator.errors import TargetRefused
from migrator.names import TableName
from migrator.planning.rules import Rules
from migrator.planning.table_parts import AlterStatement, LeftOut, Obstacle
from migrator.schema.column_types import Held
from migrator.schema.naming import obstacles
from migrator.schema.table_ddl import Drawing
from migrator.source.declarations import TableDeclarations
from migrator.source.schema import SourceTable
from migrator.sql.lexing import fold


@dataclass(frozen=True, slots=True)
class SchemaDdl:
    """What is to be made, and what isn't."""

    tables: Mapping[TableName, str]
    """The statement that makes each table."""
    sources: Mapping[TableName, str]
    """What the source calls each table."""
    additions: tuple[AlterStatement, ...]
    left_out: tuple[LeftOut, ...]
    obstacles: tuple[Obstacle, ...] = ()
    """What stands in the way of tables."""


def build_ddl(
    schema: str,
    tables: Iterable[SourceTable],
    declared: Mapping[str, TableDeclarations],
    rules: Rules,
    storage_classes: Held,
) -> SchemaDdl:
    """
    Return how the tables that no rule excludes are made in ``schema`` of the target.

    ``storage_classes`` has the columns whose type depends on their values (see ``column_types``).
    """
    tables = list(tables)
    drawings = {
        fold(table.name): Drawing(schema, table, declared[table.name], rules, storage_classes)
        for table in tables
        if not rules.of_table(table.name).exclude
    }
    sources = {fold(table.name) for table in tables}
    taken = {name for one in drawings.values() for name in one.relations}
    parts = [part for one in drawings.values() for part in one.parts(taken)]
    parts += [
        part for one in drawings.values() for part in one.foreign_keys(drawings, sources)
    ]  # to keys that stand by then
    return SchemaDdl(
        {one.name: one.statement() for one in drawings.values()},
        {one.name: one.table.name for one in drawings.values()},
        tuple(part for part in parts if isinstance(part, AlterStatement)),
        tuple(part for part in parts if isinstance(part, LeftOut)),
        tuple(obstacles(drawings.values())),
    )


def refuse(missing: Iterable[LeftOut], hindrances: Iterable[Obstacle] = (), note: str = "") -> None:
    """Raise TargetRefused for all that nobody has decided about: what stands in the way, and guards nobody named."""
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
