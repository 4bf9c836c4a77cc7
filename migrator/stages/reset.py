"""
Stage ``reset``: takes back what this job loaded, so that a rehearsal can be repeated or another source begun.

Only tables that the ledger says it filled, and only if nobody has touched them since: a row's ``xmin`` tells which
transaction wrote it (PostgreSQL, "System Columns"), and the ledger knows the transactions of its own.
"""

from collections.abc import Iterable, Mapping, Sequence

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from migrator import claims, ledger, loads
from migrator.errors import RowsInTheWay
from migrator.glances import AT_ONCE, glance, some
from migrator.loads import Loaded
from migrator.names import TableName
from migrator.run_ledger import RunLedger
from migrator.target import own_rows
from migrator.triggers import silenced

_XID_VALUES = 1 << 32
"""An ``xmin`` has 32 bits, a transaction's number 64."""


async def reset(run: RunLedger, *, force: bool) -> int:
    """
    Empty the tables that the ledger says were filled, forget that, and return how many those were.

    Tables that foreign keys tie together are emptied in one transaction, others some at a time, each with its lines of
    the ledger. What is parked stays in the ledger for ``restore``. With ``force`` rows that somebody has added or
    changed since go too; without, RowsInTheWay names their tables, and nothing was done unless that happened just now.
    """
    async with run.target.transaction() as connection:
        if not await ledger.exists(connection):
            return 0
        await run.take_over(connection)
        loaded = await loads.loaded(connection, run.migration)
        present = await own_rows(connection, list(loaded))
        if not force:
            await _refuse_touched(connection, present, loaded)
        groups = _packed(await _tied(connection, list(present)))
        await loads.forget(connection, run.migration, [name for name in loaded if name not in present])
    for names in groups:
        rows_of = {name: present[name] for name in names}
        listed = ", ".join(rows_of.values())
        async with run.transaction() as connection:
            await connection.exec_driver_sql(f"LOCK TABLE {listed}")
            if not force:
                await _refuse_touched(connection, rows_of, loaded)
            async with silenced(connection, names):  # a trigger may be set off by TRUNCATE, too
                await connection.exec_driver_sql(f"TRUNCATE {listed}")
            await loads.forget(connection, run.migration, names)
    async with run.transaction() as connection:
        await claims.release(connection, run.migration)
    return len(present)


async def _tied(connection: AsyncConnection, names: Sequence[TableName]) -> list[list[TableName]]:
    """Return the tables, those together that foreign keys tie to each other: TRUNCATE takes them only together."""
    group_of = {name: [name] for name in names}
    for row in await connection.execute(text(_TIES), {"names": [name.quoted for name in names]}):
        one, other = group_of[names[row.one - 1]], group_of[names[row.other - 1]]
        if one is not other:
            one += other
            group_of |= dict.fromkeys(other, one)
    return list({id(group): group for group in group_of.values()}.values())


def _packed(groups: Iterable[list[TableName]]) -> list[list[TableName]]:
    """Put small groups together, as many tables as may be locked at once."""
    packed: list[list[TableName]] = []
    for group in groups:
        if packed and len(packed[-1]) + len(group) <= AT_ONCE:
            packed[-1] += group
        else:
            packed.append(list(group))
    return packed


_TIES = """
WITH given AS (
    SELECT place, to_regclass(name)::oid AS oid
    FROM unnest(CAST(:names AS text[])) WITH ORDINALITY AS listed(name, place)
)
SELECT one.place AS one, other.place AS other FROM pg_constraint k
JOIN given one ON one.oid = k.conrelid JOIN given other ON other.oid = k.confrelid
WHERE k.contype = 'f' AND one.place <> other.place
"""


async def _refuse_touched(
    connection: AsyncConnection, present: Mapping[TableName, str], tables: Mapping[TableName, Loaded]
) -> None:
    """Raise RowsInTheWay for ``present`` tables, given as a statement names their own rows, that aren't as loaded."""
    touched: dict[str, str] = {}
    for names in some(list(present)):
        async with glance(connection):
            for name in names:
                loaded = tables[name]
                own = [number % _XID_VALUES for number in loaded.transactions]
                counted = await connection.exec_driver_sql(
                    "SELECT count(*) FILTER (WHERE xmin::text::bigint = ANY ($1::bigint[])), count(*) "
                    f"FROM {present[name]}",
                    (own,),
                )
                ours, rows = (int(number) for number in counted.one())
                if (ours, rows) != (loaded.rows, loaded.rows):
                    touched[str(name)] = f"{rows - ours} new or changed, {loaded.rows - ours} changed or removed"
    if touched:
        listed = ", ".join(f"{name} ({what})" for name, what in touched.items())
        raise RowsInTheWay(
            f"tables have been written to since they were filled: {listed}",
            next_step="keep them, or give --force to remove their rows all the same",
            tables=touched,
        )
