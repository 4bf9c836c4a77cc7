"""
Stage ``park`` drops foreign keys and indexes for the load, and writes them into the ledger first.

Loading into tables without them takes a quarter of the time, and foreign keys could not be satisfied while tables are
filled in any order. Each table's entries are dropped in the transaction that writes them into the ledger, so the ledger
knows every dropped entry at any time. Stage ``restore`` makes them again, in this run or the next.
"""

from collections.abc import Mapping

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from migrator.ledger.parked import Entry, qualifying, take, take_foreign_keys
from migrator.ledger.run_ledger import RunLedger
from migrator.ledger.schema import Taken
from migrator.names import TableName, quote_literal, quote_postgres
from migrator.planning.plan import Plan
from migrator.target.lock_room import lock_room

PAYS_FROM_ROWS = 20_000
"""Number of rows below which an index costs less during the load than dropping and building it again."""


async def park(plan: Plan, rows: Mapping[TableName, int], run: RunLedger) -> int:
    """
    Drop the planned tables' foreign keys, from and to them, and the keys and indexes of the large tables.

    ``rows`` has the number of source rows of each table that still has to be loaded. A table that isn't in ``rows``
    keeps its keys and indexes. Returns the number of dropped entries. Raises GaveUp if another run has taken over.
    """
    target = run.target
    async with target.connect() as connection:
        room = await lock_room(connection)
    taken = await take_foreign_keys(run, [table.name for table in plan.tables if table.name in rows], room)
    for table in plan.tables:
        # Rows that stay beside the source's are found by their keys, and must not have a key twice.
        keeps = table.on_existing_rows == "keep"
        if rows.get(table.name, 0) >= PAYS_FROM_ROWS and not table.target.partitioned and not keeps:
            async with qualifying(target) as connection:
                entries = await _keys_and_indexes(connection, table.name)
            for group in room.few_statements(entries):
                async with qualifying(target) as connection:
                    await take(connection, group, run)
            taken += len(entries)
    return taken


async def _keys_and_indexes(connection: AsyncConnection, table: TableName) -> list[Entry]:
    entries = []
    for row in await connection.execute(text(_INDEXES), {"table": table.quoted}):
        index = TableName(table.schema, row.name)
        alter = f"ALTER TABLE {table.quoted}"
        name = quote_postgres(row.name)
        # The definition has everything except the tablespace, clustering, statistics targets and comments. The empty
        # name of a tablespace means the database's own, whatever the role's default is.
        tablespace = quote_postgres(row.tablespace) if row.tablespace else "''"
        restore = [f"SET LOCAL default_tablespace = {tablespace}", row.definition]
        if row.constraint_kind is None:
            drop = f"DROP INDEX {index.quoted}"
        else:
            drop = f"{alter} DROP CONSTRAINT {name}"
            restore.append(f"{alter} ADD CONSTRAINT {name} {row.constraint_kind} USING INDEX {name}{row.deferral}")
            if row.constraint_comment is not None:
                comment = quote_literal(row.constraint_comment)
                restore.append(f"COMMENT ON CONSTRAINT {name} ON {table.quoted} IS {comment}")
        restore += [
            f"ALTER INDEX {index.quoted} ALTER COLUMN {number} SET STATISTICS {statistics}"
            for number, statistics in zip(row.statistics_columns, row.statistics_targets, strict=True)
        ]
        if row.clustered:
            restore.append(f"{alter} CLUSTER ON {name}")
        if row.replica_identity:
            restore.append(f"{alter} REPLICA IDENTITY USING INDEX {name}")
        if row.comment is not None:
            restore.append(f"COMMENT ON INDEX {index.quoted} IS {quote_literal(row.comment)}")
        entries.append(Entry(Taken(table, row.kind, row.name, tuple(restore)), drop))
    return entries


# Left in place: exclusion constraints (they can't be made from an index), invalid indexes (they would come back valid),
# and keys that another object depends on (a foreign key that this job may not drop, a view grouped by the key).
_INDEXES = """
SELECT i.relname AS name, pg_get_indexdef(x.indexrelid) AS definition, s.spcname AS tablespace,
       CASE k.contype WHEN 'p' THEN 'primary key' WHEN 'u' THEN 'unique key' ELSE 'index' END AS kind,
       CASE k.contype WHEN 'p' THEN 'PRIMARY KEY' WHEN 'u' THEN 'UNIQUE' END AS constraint_kind,
       CASE WHEN k.condeferrable THEN ' DEFERRABLE' ELSE '' END
           || CASE WHEN k.condeferred THEN ' INITIALLY DEFERRED' ELSE '' END AS deferral,
       x.indisclustered AS clustered, x.indisreplident AS replica_identity,
       obj_description(x.indexrelid, 'pg_class') AS comment,
       obj_description(k.oid, 'pg_constraint') AS constraint_comment,
       ARRAY(SELECT a.attnum::int FROM pg_attribute a
             WHERE a.attrelid = x.indexrelid AND a.attstattarget > 0 ORDER BY a.attnum) AS statistics_columns,
       ARRAY(SELECT a.attstattarget::int FROM pg_attribute a
             WHERE a.attrelid = x.indexrelid AND a.attstattarget > 0 ORDER BY a.attnum) AS statistics_targets
FROM pg_index x
JOIN pg_class i ON i.oid = x.indexrelid
LEFT JOIN pg_tablespace s ON s.oid = i.reltablespace
LEFT JOIN pg_constraint k ON k.conindid = x.indexrelid AND k.conrelid = x.indrelid AND k.contype IN ('p', 'u', 'x')
WHERE x.indrelid = CAST(:table AS regclass) AND x.indisvalid AND NOT x.indisexclusion
  AND coalesce(k.contype, 'i') <> 'x'
  AND NOT EXISTS (SELECT 1 FROM pg_depend d
                  WHERE d.refclassid = 'pg_constraint'::regclass AND d.refobjid = k.oid AND d.deptype = 'n')
  AND NOT EXISTS (SELECT 1 FROM pg_depend d
                  JOIN pg_constraint f ON d.classid = 'pg_constraint'::regclass AND f.oid = d.objid AND f.contype = 'f'
                  WHERE d.refclassid = 'pg_class'::regclass AND d.refobjid = x.indexrelid)
ORDER BY k.contype NULLS LAST, i.relname
"""
