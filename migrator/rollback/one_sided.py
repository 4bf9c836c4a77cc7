"""Finds the tables and columns that hold values in PostgreSQL and have no place in the old file."""

from collections.abc import Sequence

from sqlalchemy.ext.asyncio import AsyncConnection

from migrator.bookkeeping.tools import recognised
from migrator.errors import NoMatch
from migrator.names import pattern
from migrator.planning.plan import Plan
from migrator.planning.rules import Rules
from migrator.target.database import own_rows, row_counts
from migrator.target.schema import TargetDatabase


async def refuse_one_sided(
    connection: AsyncConnection, plan: Plan, existing: TargetDatabase, exclude: Sequence[str]
) -> None:
    """
    Raise NoMatch, which names what only PostgreSQL has; nothing is raised for what holds no value or is excluded.

    ``exclude`` has patterns of names. Bookkeeping tables are no data: the versions are compared. Columns that the
    target computes are none, either.
    """
    rules = Rules.load(None, exclude)
    planned = {table.name: table for table in plan.tables}
    others = [
        table.name
        for table in existing.tables
        if table.name not in planned
        and not rules.of_table(table.name.name).exclude
        and not recognised(table.name.name, (column.name for column in table.columns))
    ]
    found = [table.name for table in (await row_counts(connection, others))]
    spelled = await own_rows(connection, list(planned))
    for name, table in planned.items():
        filled = {column.target.name for column in table.compared}
        columns = [
            column
            for column in table.target.columns
            if column.name not in filled
            and not column.generated
            and not column.trigger
            and not rules.of_column(name.name, column.name).exclude
        ]
        for column in columns:
            held = await connection.exec_driver_sql(
                f"SELECT EXISTS (SELECT FROM {spelled[name]} WHERE {column.quoted} IS NOT NULL)"
            )
            if held.scalar_one():
                found.append(f"{name.name}.{column.name}")
    if found:
        _refuse(sorted(found))


def _refuse(names: Sequence[str]) -> None:
    flags = ",".join(map(pattern, names))
    raise NoMatch(
        f"only PostgreSQL has these, and they hold values: {', '.join(names)}",
        next_step="Give as --like a copy of the old file that the application's own migrations have brought to "
        f"PostgreSQL's revision; or leave these values behind with --exclude '{flags}'.",
        only_in_target=list(names),
    )
