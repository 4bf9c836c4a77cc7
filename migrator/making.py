"""Makes the target's tables after those of the source, where nobody else does: drawn, made, and remembered."""

from collections.abc import Iterable, Iterator, Sequence
from typing import TypeVar

import structlog
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncConnection

from migrator import ledger, loads
from migrator.blueprint import Addition, Blueprint, Held, LeftOut, draw, undecided
from migrator.contents import SourceTable
from migrator.declared import declared
from migrator.events import Event
from migrator.migration import Migration
from migrator.names import TableName, partner, quote_sqlite
from migrator.retry import is_transient, plainly
from migrator.rules import Rules
from migrator.run_ledger import RunLedger
from migrator.scanning import StorageClass
from migrator.source import Source
from migrator.target import row_counts

T = TypeVar("T")
log = structlog.get_logger()
_MADE = "made"
"""What the ledger calls it."""


async def blueprint(source: Source, tables: Sequence[SourceTable], schema: str, rules: Rules) -> Blueprint:
    """Return what the source's tables are to become; raises what ``draw`` raises, and SourceUnreadable."""
    async with source.connect() as connection:
        found = await declared(connection, [table.name for table in tables])
        held = await _held(connection, tables, rules)
    return draw(schema, tables, found, rules, held)


async def make_tables(run: RunLedger, wanted: Blueprint) -> list[LeftOut]:
    """
    Make the tables that are not there, and return what they do without.

    Tables that this migration has made before give way if the work wasn't finished, or if they would be made otherwise
    now, because of a rule say: as long as all are empty, and no row was brought. Others stay as they are. Raises GaveUp
    if another run has taken over.
    """
    async with run.transaction() as connection:
        made, new = await _compared(connection, run, wanted)
    for names in _some(list(new)):
        async with run.transaction() as connection:
            for name in names:
                await connection.exec_driver_sql(new[name])
            made |= {name: new[name] for name in names}
            await _remember(connection, run.migration, made, finished=False)
    left_out = [one for one in wanted.left_out if one.table in new]
    for additions in _some([one for one in wanted.additions if one.table in new]):
        async with run.transaction() as connection:
            left_out += [refused for one in additions if (refused := await _refused(connection, one))]
    async with run.transaction() as connection:
        await _remember(connection, run.migration, made, finished=True)
    for one in left_out:
        log.warning(Event.SCHEMA_LEFT_OUT, table=str(one.table), what=one.what, reason=one.reason)
    return left_out


_AT_ONCE = 50
"""Tables or additions in a transaction, which locks each until its end (PostgreSQL: ``max_locks_per_transaction``)."""


def _some(things: Sequence[T]) -> Iterator[Sequence[T]]:
    return (things[start : start + _AT_ONCE] for start in range(0, len(things), _AT_ONCE))


Statements = dict[TableName, str]


async def _remember(
    connection: AsyncConnection, migration: Migration, statements: Statements, *, finished: bool
) -> None:
    tables = [[name.schema, name.name, statement] for name, statement in statements.items()]
    await ledger.remember(connection, migration, _MADE, {"tables": tables, "finished": finished})


async def _compared(connection: AsyncConnection, run: RunLedger, wanted: Blueprint) -> tuple[Statements, Statements]:
    """
    Return how the tables were made that this migration has made, and how those are to be that are not there.

    What was made otherwise before, and holds nothing yet, is taken away.
    """
    schemas = {name.schema for name in wanted.tables}
    there = [table.name for schema in schemas for table in (await run.target.describe(connection, schema)).tables]
    known = await ledger.recall(connection, run.migration, _MADE) or {"tables": (), "finished": True}
    made = {TableName(schema, name): sql for schema, name, sql in known["tables"]}
    is_due = known["finished"] and all(wanted.tables.get(name) == sql for name, sql in made.items())
    ours = [name for name in there if name in made]
    if not is_due and await _are_untouched(connection, run.migration, ours):
        await connection.exec_driver_sql(f"DROP TABLE {', '.join(name.quoted for name in ours)}")
        await _remember(connection, run.migration, {}, finished=True)
        there = [name for name in there if name not in ours]
        made = {}
    names = [name.name for name in there]
    return made, {name: sql for name, sql in wanted.tables.items() if partner(name.name, names) is None}


async def _are_untouched(connection: AsyncConnection, migration: Migration, names: Sequence[TableName]) -> bool:
    """Return whether there are such tables, and nobody has put a row into any."""
    if await loads.copied(connection, migration) or await loads.begun(connection, migration):
        return False
    return bool(names) and not await row_counts(connection, names)


async def _refused(connection: AsyncConnection, addition: Addition) -> LeftOut | None:
    """Add something to a table; return what the server has against it, or None."""
    try:
        async with connection.begin_nested():
            await connection.exec_driver_sql(addition.statement)
    except DBAPIError as error:
        if is_transient(error) or connection.closed:
            raise
        return LeftOut(addition.table, addition.what, plainly(error))
    return None


async def _held(connection: AsyncConnection, tables: Iterable[SourceTable], rules: Rules) -> Held:
    found = {}
    for table in tables:
        for column in undecided(table, rules):
            given = quote_sqlite(column.name)
            classes = await connection.exec_driver_sql(
                f"SELECT DISTINCT typeof({given}) FROM {table.origin} WHERE {given} IS NOT NULL"
            )
            found[table.name, column.name] = {StorageClass(name) for (name,) in classes.all()}
    return found
