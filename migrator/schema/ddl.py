"""
Builds the DDL of PostgreSQL tables from the tables of a SQLite file, for an application without its own migrations.

A column's type comes from its declaration, or from its values if the declaration gives no type. Every other part of a
table becomes a separate ALTER or CREATE statement, if it certainly means the same in PostgreSQL.
"""

import shlex
from collections.abc import Iterable, Mapping, Sequence

from msgspec import Struct

from migrator.errors import TargetRefused
from migrator.names import TableName, pattern
from migrator.planning.rules import Rules
from migrator.planning.table_parts import AlterStatement, LeftOut, Obstacle
from migrator.runtime.reason import Reason
from migrator.runtime.settlement import NO_LINE, RuleSection, Settlement
from migrator.runtime.wording import listed
from migrator.schema.column_types import Held
from migrator.schema.obstacles import missing_types, obstacles
from migrator.schema.table_ddl import TableDdl
from migrator.source.declarations import TableDeclarations
from migrator.source.schema import SourceTable
from migrator.sql.lexing import fold


class SchemaDdl(Struct, frozen=True):
    """The statements that make the tables, and the parts that are left out."""

    tables: Mapping[TableName, str]
    """The statement that makes each table."""
    sources: Mapping[TableName, str]
    """The source's name of each table."""
    additions: tuple[AlterStatement, ...]
    """The statements that add further parts when all tables exist."""
    left_out: tuple[LeftOut, ...]
    """The parts that the tables will not have."""
    obstacles: tuple[Obstacle, ...] = ()
    """The reasons why some tables can't be made."""


def build_ddl(
    schema: str,
    tables: Iterable[SourceTable],
    declared: Mapping[str, TableDeclarations],
    rules: Rules,
    storage_classes: Held,
) -> SchemaDdl:
    """
    Return the DDL that makes the tables in the target's schema ``schema``, without tables that a rule excludes.

    ``declared`` has the declarations of each table by the source's name. ``storage_classes`` has the facts about the
    columns whose type depends on their values (see ``column_types``). The result names everything that can't be made.
    """
    tables = list(tables)
    tables_ddl = {
        fold(table.name): TableDdl(schema, table, declared[table.name], rules, storage_classes)
        for table in tables
        if not rules.of_table(table.name).exclude
    }
    sources = {fold(table.name) for table in tables}
    taken = {name for table_ddl in tables_ddl.values() for name in table_ddl.relations}
    parts = [part for table_ddl in tables_ddl.values() for part in table_ddl.parts(taken)]
    parts += [
        part for table_ddl in tables_ddl.values() for part in table_ddl.foreign_keys(tables_ddl, sources)
    ]  # after all keys, since a foreign key refers to a key
    return SchemaDdl(
        {table_ddl.name: table_ddl.statement() for table_ddl in tables_ddl.values()},
        {table_ddl.name: table_ddl.table.name for table_ddl in tables_ddl.values()},
        tuple(part for part in parts if isinstance(part, AlterStatement)),
        tuple(part for part in parts if isinstance(part, LeftOut)),
        (*obstacles(tables_ddl.values()), *missing_types(tables_ddl.values(), sources)),
    )


def refuse(missing: Iterable[LeftOut], hindrances: Iterable[Obstacle] = (), note: str = "") -> None:
    """
    Raise TargetRefused if there are obstacles, or missing guards of rows that the operator hasn't named.

    ``missing`` are the parts that are left out, ``hindrances`` the obstacles. ``note`` replaces the beginning of the
    message. Returns without an error if the tables can be made.
    """
    unnamed = [left_out for left_out in missing if left_out.stands_in_the_way]
    hindrances = list(hindrances)
    if not unnamed and not hindrances:
        return
    handles = ",".join(dict.fromkeys(left_out.part.handle for left_out in unnamed))
    rules = [obstacle.rule for obstacle in hindrances if obstacle.rule]
    steps = []
    if len(rules) < len(hindrances):
        steps.append("Write the rules that are named.")
    if rules:
        heading = "Write these lines into the rules file (--rules), or decide otherwise there, and run again:"
        steps.append("\n".join([heading, *rules, ""]))
    if unnamed:
        still = "still named then" if hindrances else "named"
        steps.append(f"To do without what is {still}, add --leave-out '{handles}'.")
        steps.append("Or make the tables yourself, and choose --schema existing.")
    lines = [
        *(obstacle.line() for obstacle in hindrances),
        *(f"{left_out.line()} (allowed by --leave-out {left_out.part.handle})" for left_out in unnamed),
    ]
    raise (
        TargetRefused(
            f"{note or 'tables after the source would be without something, and nothing was made'}: {'; '.join(lines)}",
            next_step=" ".join(steps),
            missing=[
                *(
                    {"table": obstacle.table, "what": obstacle.what, "settled_by": obstacle.settled_by}
                    for obstacle in hindrances
                ),
                *(
                    {
                        "table": str(left_out.part.table),
                        "what": left_out.part.what,
                        "reason": left_out.reason,
                        "leave_out": left_out.part.handle,
                    }
                    for left_out in unnamed
                ),
            ],
        )
        .settled_with(_settlement(hindrances, handles))
        .told_as(
            f"{note or 'tables after the source would be without something, and nothing was made'}: "
            f"{listed([*(one.table for one in hindrances), *(one.part.handle for one in unnamed)])}",
            [
                *(
                    Reason(one.table, one.what, remedy=one.rule.partition("\n")[2] or one.settled_by)
                    for one in hindrances
                ),
                *(
                    Reason(
                        str(one.part.table),
                        f"without {one.part.what}: {one.reason}",
                        remedy=f"--leave-out={shlex.quote(one.part.handle)}",
                    )
                    for one in unnamed
                ),
            ],
        )
    )


def _settlement(hindrances: Sequence[Obstacle], handles: str) -> Settlement:
    """Return the rules that settle obstacles, and the flag that leaves parts out by their names."""
    sections = []
    for obstacle in hindrances:
        section, _, line = obstacle.rule.partition("\n")
        about = f"{obstacle.table}: {obstacle.what}"
        if line:
            sections.append(RuleSection(section, line, about=about))
        else:
            table = f'[tables."{pattern(obstacle.table)}"]'
            sections.append(RuleSection(table, others=(f"{NO_LINE}{obstacle.settled_by}",), about=about))
    return Settlement((f"--leave-out={shlex.quote(handles)}",) if handles else (), tuple(sections))
