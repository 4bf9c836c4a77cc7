"""
Stage ``reset`` empties the tables that this job filled, so that the job can be repeated or begun with another source.

It empties only tables that the ledger has as filled, and only if nobody has written to them since. A row's ``xmin`` is
the transaction that wrote it (PostgreSQL, "System Columns"), and the ledger knows the job's own transactions.
"""

from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager

from msgspec import Struct
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from migrator.catalog import foreign_keys
from migrator.catalog.foreign_keys import ForeignKey
from migrator.catalog.triggers import triggers_disabled
from migrator.errors import RowsInTheWay
from migrator.ledger import claims, loads, schema
from migrator.ledger.loads import LoadedRows, touched_since
from migrator.ledger.parked import take_foreign_keys
from migrator.ledger.run_ledger import RunLedger
from migrator.names import TableName, quote_postgres
from migrator.target.database import own_rows
from migrator.target.glances import glance
from migrator.target.lock_room import LockRoom, lock_room


class FilledTable(Struct, frozen=True):
    """A table that the ledger has as filled, and that ``reset`` empties."""

    name: TableName
    rows: int
    """The number of rows that the job has brought."""
    changes: str = ""
    """What somebody has changed since, in words."""


async def filled_tables(run: RunLedger, *, with_changes: bool) -> list[FilledTable]:
    """
    Return the tables that ``reset`` empties. Writes nothing.

    ``with_changes`` also tells what somebody has changed since, for which every table is read.
    """
    async with run.target.transaction() as connection:
        if not await schema.exists(connection):
            return []
        loaded = await loads.loaded(connection, run.migration)
        present = await own_rows(connection, list(loaded))
        changes = await touched_since(connection, present, loaded) if with_changes else {}
    return [FilledTable(name, loaded[name].rows, changes.get(str(name), "")) for name in present]


async def reset(run: RunLedger, *, force: bool) -> int:
    """
    Empty the tables that the ledger has as filled, delete their ledger lines, and return the number of tables.

    Tables that foreign keys connect are emptied in one transaction, other tables several at a time, always together
    with their ledger lines. If the server has no room for the locks of all connected tables, their foreign keys are
    parked first. Parked entries stay in the ledger for ``restore``.

    With ``force``, rows that somebody has added or changed since the load are deleted, too. Without it, RowsInTheWay
    names their tables, and nothing was emptied unless the rows were written during the reset. In both cases
    RowsInTheWay names other tables whose rows refer to these tables, and MissingPrivilege names other roles' tables
    that refer to these tables.
    """
    async with run.target.transaction() as connection:
        if not await schema.exists(connection):
            return 0
        await run.take_over(connection)
        loaded = await loads.loaded(connection, run.migration)
        present = await own_rows(connection, list(loaded))
        room = await lock_room(connection, list(present))
        if not force:
            await _refuse_touched(connection, present, loaded)
        await foreign_keys.refuse_those_of_others(connection, list(present))
        await _refuse_referring(connection, await _from_outside(connection, list(present)))
        groups = _packed(await _tied(connection, list(present)), room)
        await loads.forget(connection, run.migration, [name for name in loaded if name not in present])
    large = [group for group in groups if not room.fits(group)]
    for group in large:  # too many at once: without their foreign keys they needn't be emptied together
        await take_foreign_keys(run, group, room)
    groups = [group for group in groups if group not in large]
    for names in [*groups, *(part for group in large for part in room.few(group))]:
        rows_of = {name: present[name] for name in names}
        listed = ", ".join(rows_of.values())
        async with run.transaction() as connection:
            await connection.exec_driver_sql(f"LOCK TABLE {listed}")
            if not force:
                await _refuse_touched(connection, rows_of, loaded)
            async with _without_keys_of_others(connection, names), triggers_disabled(connection, names):
                await connection.exec_driver_sql(f"TRUNCATE {listed}")  # TRUNCATE would fire triggers, too
            await loads.forget(connection, run.migration, names)
    async with run.transaction() as connection:
        await claims.release(connection, run.migration)
    return len(present)


async def _tied(connection: AsyncConnection, names: Sequence[TableName]) -> list[list[TableName]]:
    """Return the tables in groups that foreign keys connect: TRUNCATE accepts connected tables only together."""
    group_of = {name: [name] for name in names}
    for row in await connection.execute(text(_TIES), {"names": [name.quoted for name in names]}):
        referring, referred = group_of[names[row.one - 1]], group_of[names[row.other - 1]]
        if referring is not referred:
            referring += referred
            group_of |= dict.fromkeys(referred, referring)
    return list({id(group): group for group in group_of.values()}.values())


def _packed(groups: Iterable[list[TableName]], room: LockRoom) -> list[list[TableName]]:
    """Combine small groups, up to as many tables as may be locked at once."""
    packed: list[list[TableName]] = []
    for group in groups:
        if packed and room.fits([*packed[-1], *group]):
            packed[-1] += group
        else:
            packed.append(list(group))
    return packed


# A foreign key may belong to a partition, or refer to a partition.
_TIES = """
WITH RECURSIVE given AS (
    SELECT place, to_regclass(name)::oid AS oid
    FROM unnest(CAST(:names AS text[])) WITH ORDINALITY AS listed(name, place)
    UNION
    SELECT given.place, i.inhrelid FROM given JOIN pg_inherits i ON i.inhparent = given.oid
    JOIN pg_class c ON c.oid = i.inhrelid AND c.relispartition
)
SELECT DISTINCT one.place AS one, other.place AS other FROM pg_constraint k
JOIN given one ON one.oid = k.conrelid JOIN given other ON other.oid = k.confrelid
WHERE k.contype = 'f' AND one.place <> other.place
"""


async def _from_outside(connection: AsyncConnection, names: Sequence[TableName]) -> list[ForeignKey]:
    return [key for key in await foreign_keys.keys_of(connection, names) if key.is_outside]


@asynccontextmanager
async def _without_keys_of_others(connection: AsyncConnection, names: Sequence[TableName]) -> AsyncIterator[None]:
    """
    Drop the foreign keys from other tables to these tables while the block runs, inside the transaction.

    TRUNCATE refuses a table that another table refers to, even if that is empty. DELETE would search for references to
    every single row, or delete the other table's rows, too (PostgreSQL, "TRUNCATE"; "CREATE TABLE": ON DELETE). Raises
    RowsInTheWay if rows of other tables refer to these tables.
    """
    await connection.execute(
        text("SELECT set_config('search_path', '', true)")
    )  # so that definitions name the schema of each table
    keys = await _from_outside(connection, names)
    for sql_name in (await own_rows(connection, list({key.table for key in keys}))).values():
        await connection.exec_driver_sql(f"LOCK TABLE {sql_name}")
    await _refuse_referring(connection, keys)
    for key in keys:
        await connection.exec_driver_sql(key.drop)
    yield
    for key in keys:
        for statement in key.restore:
            await connection.exec_driver_sql(statement)


async def _refuse_referring(connection: AsyncConnection, keys: Sequence[ForeignKey]) -> None:
    """Raise RowsInTheWay if other tables have rows that refer to these tables: they would become orphans."""
    violated: list[ForeignKey] = []
    sql_names = await own_rows(connection, list({key.table for key in keys}))
    for group in (await lock_room(connection)).few_statements(keys):
        async with glance(connection):
            for key in group:
                all_set = " AND ".join(f"{quote_postgres(column)} IS NOT NULL" for column in key.columns)
                query = f"SELECT EXISTS (SELECT FROM {sql_names[key.table]} WHERE {all_set})"
                if (await connection.exec_driver_sql(query)).scalar():
                    violated.append(key)
    if violated:
        raise RowsInTheWay(
            "tables that this migration did not fill have rows that refer to its own by a foreign key: "
            + ", ".join(map(str, violated)),
            next_step="Take the rows of these tables away or set their columns to null, or drop the foreign keys; "
            "then give the command again.",
            keys=[str(key) for key in violated],
        )


async def _refuse_touched(
    connection: AsyncConnection, present: Mapping[TableName, str], tables: Mapping[TableName, LoadedRows]
) -> None:
    """Raise RowsInTheWay for tables that have changed since they were loaded; ``present`` has their names in SQL."""
    touched = await touched_since(connection, present, tables)
    if touched:
        listed = ", ".join(f"{name} ({difference})" for name, difference in touched.items())
        raise RowsInTheWay(
            f"tables have been written to since they were filled: {listed}",
            next_step="Keep them, or give --force to remove their rows all the same.",
            tables=touched,
        )
