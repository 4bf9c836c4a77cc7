"""
Describes the tables that `--schema create` would make: makes them in a transaction and rolls it back.

`check` compares the source's values with them. What the server refuses is refused before any table is made.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

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
    Make the ``new`` tables of ``wanted``, some at a time, without those that are ``gone``; describe them and roll back.

    Nothing lasts. Raises what the server raises if the connection is lost.
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


@dataclass(frozen=True, slots=True)
class _TableGroup:
    """Tables that are made together."""

    names: frozenset[TableName]
    due: frozenset[TableName]
    """All that are to be made."""

    def parents(self, wanted: SchemaDdl) -> frozenset[TableName]:
        """Return the tables of other groups that foreign keys of this group refer to."""
        referred = {one.refers_to for one in wanted.additions if one.part.table in self.names and one.refers_to}
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
    own = group.names & made
    for addition in _additions(wanted, made, own):
        reason = await _refused(connection, addition.statement)
        if reason is not None and addition.part.table in own:
            unmade.left_out.append(LeftOut(addition.part, reason))
    await _describe(connection, target, own, unmade)
    unmade.statements |= {name: wanted.tables[name] for name in own}


def _settled_by(source: str) -> str:
    return f'[columns."{pattern(source)}.…"] with another `type`, or --exclude {pattern(source)}'


def _additions(wanted: SchemaDdl, made: set[TableName], own: frozenset[TableName]) -> Iterable[AlterStatement]:
    """Yield what the tables get: of those that are only referred to, no foreign keys."""
    for one in wanted.additions:
        if one.part.table not in made or (one.refers_to and one.part.table not in own):
            continue
        if one.refers_to is None or one.refers_to in made or one.refers_to not in wanted.tables:
            yield one


async def _describe(connection: AsyncConnection, target: Target, own: frozenset[TableName], unmade: Unmade) -> None:
    for schema in sorted({name.schema for name in own}):
        described = await target.describe(connection, schema)
        tables = [table for table in described.tables if table.name in own]
        unmade.tables += tables
        for table in tables:
            if any(family_of(column).asks_server or column.domain for column in table.columns):
                types = (await connection.exec_driver_sql(types_statement(table.name))).all()
                columns = (await connection.exec_driver_sql(columns_statement(table.name))).all()
                unmade.types[table.name] = columns_of(types, columns)
        unmade.keys |= _of(own, await keys_of(connection, schema))
        before = await connection.scalar(text("SELECT current_setting('search_path')"))
        unmade.judged |= _of(own, await judged_of(connection, schema))
        await connection.execute(text("SELECT set_config('search_path', :path, true)"), {"path": before})


def _of(own: frozenset[TableName], found: Mapping[TableName, Fact]) -> dict[TableName, Fact]:
    return {name: fact for name, fact in found.items() if name in own}


async def _drop(connection: AsyncConnection, names: Sequence[TableName]) -> None:
    if names:
        await connection.exec_driver_sql(f"DROP TABLE IF EXISTS {', '.join(name.quoted for name in names)}")


async def _refused(connection: AsyncConnection, statement: str) -> str | None:
    """Run a statement; return the server's error message, or None."""
    try:
        async with connection.begin_nested():
            await connection.exec_driver_sql(statement)
    except DBAPIError as error:
        if is_transient(error) or connection.closed:
            raise
        return short_message(error)
    return None
