"""
Describes the tables that `--schema create` would make: makes them in a transaction that is rolled back.

`check` tests the source's values against these tables. If the server refuses a table or a part, the job learns it
before any table is made for good.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import TypeVar

from msgspec import Struct
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncConnection

from migrator.catalog.constraints import judged_of
from migrator.catalog.keys import keys_of
from migrator.meaning.type_shapes import columns_statement, types_statement
from migrator.names import TableName, pattern
from migrator.planning.table_parts import AlterStatement, LeftOut, Obstacle
from migrator.runtime.retry import is_transient, short_message
from migrator.schema.ddl import SchemaDdl
from migrator.target.database import Target
from migrator.target.lock_room import lock_room
from migrator.target.spelling import columns_of
from migrator.trials.unmade import Unmade
from migrator.types import family_of

Fact = TypeVar("Fact")


async def try_out(target: Target, wanted: SchemaDdl, new: Sequence[TableName], gone: Sequence[TableName]) -> Unmade:
    """
    Make the ``new`` tables of ``wanted`` in transactions that are rolled back, and return their description.

    A transaction makes only as many tables as the server has locks for. The tables in ``gone`` are dropped first in
    each transaction. Nothing lasts in the target. Raises DBAPIError if the connection is lost.
    """
    unmade = Unmade()
    due = set(new)
    async with target.connect() as connection:
        room = await lock_room(connection)
    for names in room.few_statements(list(new)):
        async with target.connect() as connection:
            await _drop(connection, gone)
            await _try_some(connection, target, wanted, _TableGroup(frozenset(names), frozenset(due)), unmade)
    return unmade


class _TableGroup(Struct, frozen=True):
    """Tables that are made in the same transaction."""

    names: frozenset[TableName]
    due: frozenset[TableName]
    """All tables that have to be made."""

    def parents(self, wanted: SchemaDdl) -> frozenset[TableName]:
        """Return the tables of other groups that foreign keys of this group refer to."""
        referred = {
            addition.refers_to
            for addition in wanted.additions
            if addition.part.table in self.names and addition.refers_to
        }
        return frozenset(referred & self.due - self.names)


async def _try_some(
    connection: AsyncConnection, target: Target, wanted: SchemaDdl, group: _TableGroup, unmade: Unmade
) -> None:
    made: set[TableName] = set()
    for name in [*sorted(group.parents(wanted)), *sorted(group.names)]:
        reason = await _refused(connection, wanted.tables[name])
        if reason is None:
            made.add(name)
        elif name in group.names:
            source = wanted.sources[name]
            unmade.obstacles.append(Obstacle(source, f"the table can't be made: {reason}", _settled_by(source)))
    made_of_group = group.names & made
    for addition in _additions(wanted, made, made_of_group):
        reason = await _refused(connection, addition.statement, addition.without_name)
        if reason is not None and addition.part.table in made_of_group:
            unmade.left_out.append(LeftOut(addition.part, reason))
    await _describe(connection, target, made_of_group, unmade)
    unmade.statements |= {name: wanted.tables[name] for name in made_of_group}


def _settled_by(source: str) -> str:
    return f'[columns."{pattern(source)}.…"] with another `type`, or --exclude {pattern(source)}'


def _additions(
    wanted: SchemaDdl, made: set[TableName], made_of_group: frozenset[TableName]
) -> Iterable[AlterStatement]:
    """Yield the parts to add to the tables; tables that are only referred to get no foreign keys."""
    for addition in wanted.additions:
        if addition.part.table not in made or (addition.refers_to and addition.part.table not in made_of_group):
            continue
        if addition.refers_to is None or addition.refers_to in made or addition.refers_to not in wanted.tables:
            yield addition


async def _describe(
    connection: AsyncConnection, target: Target, made_of_group: frozenset[TableName], unmade: Unmade
) -> None:
    for schema in sorted({name.schema for name in made_of_group}):
        described = await target.describe(connection, schema)
        tables = [table for table in described.tables if table.name in made_of_group]
        unmade.tables += tables
        for table in tables:
            if any(family_of(column).asks_server or column.domain for column in table.columns):
                types = (await connection.exec_driver_sql(types_statement(table.name))).all()
                columns = (await connection.exec_driver_sql(columns_statement(table.name))).all()
                unmade.types[table.name] = columns_of(types, columns)
        unmade.keys |= _of(made_of_group, await keys_of(connection, schema))
        search_path = await connection.scalar(text("SELECT current_setting('search_path')"))
        unmade.judged |= _of(made_of_group, await judged_of(connection, schema))
        await connection.execute(text("SELECT set_config('search_path', :path, true)"), {"path": search_path})


def _of(names: frozenset[TableName], facts: Mapping[TableName, Fact]) -> dict[TableName, Fact]:
    return {name: fact for name, fact in facts.items() if name in names}


async def _drop(connection: AsyncConnection, names: Sequence[TableName]) -> None:
    if names:
        await connection.exec_driver_sql(f"DROP TABLE IF EXISTS {', '.join(name.quoted for name in names)}")


def is_name_taken(error: DBAPIError) -> bool:
    """Return whether another relation has the name of an index (PostgreSQL, "Error Codes": duplicate_table)."""
    return getattr(error.orig, "sqlstate", None) == "42P07"


async def _refused(connection: AsyncConnection, statement: str, without_name: str = "") -> str | None:
    """Run a statement, or the one without a name if the name is taken; return the server's error message, or None."""
    try:
        async with connection.begin_nested():
            await connection.exec_driver_sql(statement)
    except DBAPIError as error:
        if is_transient(error) or connection.closed:
            raise
        if without_name and is_name_taken(error):
            return await _refused(connection, without_name)
        return short_message(error)
    return None
