"""
Finds rows of the target that can't stay beside the source's rows, since a unique key of theirs would be there twice.

With ``on_existing_rows = "keep"``, a row of the target stays if the source doesn't have its primary key. Another unique
index, or an exclusion constraint, may still not accept it beside a row of the source. Only PostgreSQL can judge by
expressions, predicates and the equality of its types. So the parts of these indexes are computed by PostgreSQL, for the
target's rows once, and for the source's rows in a trial table, a record batch at a time. All of it is rolled back.
"""

import asyncio
from collections.abc import AsyncIterator, Sequence
from typing import Any

import asyncpg
from msgspec import Struct
from msgspec.structs import replace
from sqlalchemy import Row, text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncConnection

from migrator.catalog.constraints import Constraint, Judged, Kind, judged_of
from migrator.concurrency.blocking import BlockingConnection
from migrator.concurrency.prefetch import prefetch
from migrator.names import quote_literal, quote_postgres
from migrator.planning.plan import TablePlan
from migrator.runtime.retry import is_transient
from migrator.source.scan import ScanSession
from migrator.source.size import TableSize
from migrator.target.copy_in import CopyTarget, copy_in
from migrator.target.database import Target, own_rows
from migrator.trials.trial_rows import batches, encoded
from migrator.trials.trial_table import Trial, TrialTable, UntriedError, made


class Clash(Struct, frozen=True):
    """Rows that only the target holds, and that one unique index doesn't accept beside the source's rows."""

    index: str
    definition: str
    """The index's columns or expressions, as PostgreSQL writes them."""
    rows: int
    """The number of the target's rows."""
    staying: str
    """The key of one of these rows."""
    arriving: str
    """The key of the row of the source that has the same values."""

    def __str__(self) -> str:
        """Return the clash in words."""
        number = "1 row" if self.rows == 1 else f"{self.rows} rows"
        return (
            f"{number} can't stay beside the source's by {self.index} ({self.definition}), "
            f"such as {self.staying} beside the source's {self.arriving}"
        )

    def to_json(self) -> dict[str, Any]:
        """Return the clash for programs."""
        return {
            "index": self.index,
            "definition": self.definition,
            "rows": self.rows,
            "example": {"staying": self.staying, "arriving": self.arriving},
        }


class _Index(Struct, frozen=True):
    """A unique index or an exclusion constraint, as SQL over a row that has the table's columns."""

    place: int
    name: str
    parts: tuple[Row[Any], ...]
    columns: frozenset[str]

    @property
    def definition(self) -> str:
        return ", ".join(part.expression for part in self.parts)

    @property
    def names(self) -> list[str]:
        """The names of the computed parts; the last says whether the index has an entry for the row."""
        return [f"e{self.place}_{number}" for number in range(len(self.parts))] + [f"has{self.place}"]

    @property
    def computed(self) -> list[str]:
        """SQL that computes the parts."""
        sql = [f"({part.expression}){part.collation}" for part in self.parts]
        sql.append(f"coalesce(({self.parts[0].predicate or 'true'}), false)")
        return [f"{part} AS {name}" for part, name in zip(sql, self.names, strict=True)]

    @property
    def meets(self) -> str:
        """A condition that is true if the index doesn't accept the rows ``a`` and ``s`` together."""
        *names, has = self.names
        equal = []
        for part, name in zip(self.parts, names, strict=True):
            condition = f"a.{name} {part.operator} s.{name}"
            both_null = f"(a.{name} IS NULL AND s.{name} IS NULL)"
            equal.append(f"({condition} OR {both_null})" if part.nulls_are_equal else condition)
        return " AND ".join((f"a.{has}", f"s.{has}", *equal))


class _Search(Struct, frozen=True):
    """The tables of one search."""

    connection: AsyncConnection
    trial: Trial
    table: TrialTable
    indexes: tuple[_Index, ...]
    key: tuple[str, ...]

    @property
    def staying(self) -> str:
        return self.table.place.named("trial_staying")

    @property
    def found(self) -> str:
        return self.table.place.named("trial_clashes")

    @property
    def same_key(self) -> str:
        return " AND ".join(f"a.key{place} = s.key{place}" for place in range(len(self.key)))

    def computed(self) -> str:
        keys = [f"CAST({quote_postgres(name)} AS text) AS key{place}" for place, name in enumerate(self.key)]
        return ", ".join((*keys, *(sql for index in self.indexes for sql in index.computed)))

    async def begin(self) -> None:
        """Compute the parts of the target's rows."""
        own = (await own_rows(self.connection, [self.trial.table.name]))[self.trial.table.name]
        await self.do(
            f"CREATE TABLE {self.staying} AS SELECT row_number() OVER () AS number, {self.computed()} FROM {own}"
        )
        await self.do(f"CREATE TABLE {self.found} (number bigint, place int, arriving text[])")
        await self.do(f"CREATE INDEX ON {self.staying} ({', '.join(f'key{at}' for at in range(len(self.key)))})")
        await self.do(f"ANALYZE {self.staying}")

    async def add(self, data: bytes, columns: Sequence[str], stall_seconds: float) -> None:
        """Compare a record batch of the source's rows with the target's rows."""

        async def once() -> AsyncIterator[bytes]:
            yield data

        trial = self.table.place.trial
        await copy_in(
            self.connection,
            CopyTarget(trial, list(columns), self.trial.table.form),
            once(),
            stall_seconds=stall_seconds,
        )
        arriving = f"(SELECT {self.computed()} FROM {trial.quoted}) AS a"
        keys = ", ".join(f"a.key{place}" for place in range(len(self.key)))
        for index in self.indexes:
            await self.do(
                f"INSERT INTO {self.found} SELECT s.number, {index.place}, ARRAY[{keys}] FROM {arriving} "
                f"JOIN {self.staying} AS s ON {index.meets}"
            )
        await self.do(f"DELETE FROM {self.staying} AS s USING {arriving} WHERE {self.same_key}")
        await self.do(f"TRUNCATE {trial.quoted}")

    async def clashes(self) -> list[Clash]:
        """Return what was found of the rows whose key the source doesn't have."""
        keys = ", ".join(f"s.key{place}" for place in range(len(self.key)))
        result = await self.connection.exec_driver_sql(
            "SELECT DISTINCT ON (place) place, count(*) OVER (PARTITION BY place) AS rows, staying, arriving FROM ("
            f"SELECT DISTINCT ON (place, number) place, number, ARRAY[{keys}] AS staying, arriving FROM {self.found} "
            f"JOIN {self.staying} AS s USING (number) ORDER BY place, number, arriving) AS found ORDER BY place, number"
        )
        by_place = {index.place: index for index in self.indexes}
        return [
            Clash(
                by_place[row.place].name,
                by_place[row.place].definition,
                row.rows,
                self._named(row.staying),
                self._named(row.arriving),
            )
            for row in result.all()
        ]

    def _named(self, key: Sequence[str]) -> str:
        return ", ".join(f"{name} = {quote_literal(value)}" for name, value in zip(self.key, key, strict=True))

    async def do(self, statement: str) -> None:
        await self.connection.exec_driver_sql(statement)


async def clashes_of(
    target: Target, reading: BlockingConnection[ScanSession], table: TablePlan, table_size: TableSize, batch_bytes: int
) -> tuple[Clash, ...]:
    """
    Return, for each unique index other than the primary key, the target's rows that can't stay beside the source's.

    Reads the key columns of the whole source table. If the trial table can't be made, or a key gets its values from the
    target, nothing is found here; then the copy notices the clash, in the transaction that fills the table. Raises
    SourceUnreadable, and the errors of the connection to PostgreSQL.
    """
    plain = table.fast if table_size.fast else table
    fed = {column.target.name: column for column in plain.columns}
    if not set(table.target.key) <= set(fed):
        return ()
    async with target.connect() as connection:
        judged = (await judged_of(connection, table.name.schema)).get(table.name, Judged())
        generated = tuple(one for one in judged.constraints if one.kind is Kind.GENERATED)
        indexes = [
            index
            for index in await _indexes_of(connection, table)
            if all(name in fed or _is_known(table, name) for name in index.columns)
        ]
        if not indexes:
            return ()
        names = {*table.target.key, *(name for index in indexes for name in index.columns)}
        for one in generated:
            names |= set(one.columns) if one.name in names else set()
        sent = tuple(column for name, column in fed.items() if name in names)
        shown = replace(plain, columns=sent, computed=())
        needed = Constraint(Kind.ROW, "", table.name.quoted, "", tuple(names))
        trial = Trial(shown, table_size, Judged(generated), (needed,), "", batch_bytes, most=0)
        try:
            trial_table = await made(connection, trial)
        except UntriedError:
            return ()
        search = _Search(connection, trial, trial_table, tuple(indexes), table.target.key)
        try:
            await search.begin()
            async for batch in prefetch(batches(reading, trial)):
                data = await asyncio.to_thread(encoded, shown, batch)
                await search.add(data, batch.schema.names, target.address.stall_timeout_seconds)
            return tuple(await search.clashes())
        except (DBAPIError, asyncpg.PostgresError) as error:
            if is_transient(error) or connection.closed:
                raise
            return ()  # an expression fails for a row: preflight has tried it, and refuses the row in its own words


def _is_known(table: TablePlan, name: str) -> bool:
    """Return whether a row gets the same value in the trial as in the target, for a column without the source's."""
    column = next(column for column in table.target.columns if column.name == name)
    return column.generated or not (column.has_default or column.identity or column.trigger)


async def _indexes_of(connection: AsyncConnection, table: TablePlan) -> list[_Index]:
    rows = (await connection.execute(text(_PARTS), {"table": table.name.quoted})).all()
    by_index: dict[str, list[Row[Any]]] = {}
    for row in rows:
        by_index.setdefault(row.name, []).append(row)
    return [
        _Index(place, name, tuple(parts), frozenset(parts[0].columns))
        for place, (name, parts) in enumerate(by_index.items())
    ]


# A unique index compares with the equality of its operator class, the third strategy of a B-tree.
_PARTS = """
SELECT i.relname AS name, pg_get_indexdef(x.indexrelid, place::int, true) AS expression,
       pg_get_expr(x.indpred, x.indrelid) AS predicate,
       coalesce((SELECT format(' COLLATE %I.%I', n.nspname, l.collname) FROM pg_collation l
                 JOIN pg_namespace n ON n.oid = l.collnamespace
                 WHERE l.oid = (x.indcollation::oid[])[place - 1]), '') AS collation,
       (SELECT format('OPERATOR(%I.%s)', n.nspname, o.oprname) FROM pg_operator o
        JOIN pg_namespace n ON n.oid = o.oprnamespace WHERE o.oid = coalesce(k.conexclop[place], (
            SELECT m.amopopr FROM pg_opclass c JOIN pg_amop m ON m.amopfamily = c.opcfamily AND m.amopstrategy = 3
            AND m.amoplefttype = c.opcintype AND m.amoprighttype = c.opcintype
            WHERE c.oid = (x.indclass::oid[])[place - 1]))) AS operator,
       coalesce(to_jsonb(x) ->> 'indnullsnotdistinct', 'false') = 'true' AS nulls_are_equal,
       ARRAY(SELECT DISTINCT a.attname::text FROM pg_attribute a
             WHERE a.attrelid = x.indrelid AND a.attnum > 0 AND NOT a.attisdropped
             AND (a.attnum = ANY (x.indkey::int2[]) OR EXISTS (
                 SELECT FROM pg_depend d WHERE d.classid = 'pg_class'::regclass
                 AND d.objid = x.indexrelid AND d.refclassid = 'pg_class'::regclass AND d.refobjid = x.indrelid
                 AND d.refobjsubid IN (0, a.attnum))
             OR k.oid IS NOT NULL AND EXISTS (
                 SELECT FROM pg_depend d WHERE d.classid = 'pg_constraint'::regclass
                 AND d.objid = k.oid AND d.refclassid = 'pg_class'::regclass AND d.refobjid = x.indrelid
                 AND d.refobjsubid = a.attnum))) AS columns
FROM pg_index x JOIN pg_class i ON i.oid = x.indexrelid
LEFT JOIN pg_constraint k ON k.conindid = x.indexrelid AND k.conrelid = x.indrelid AND k.contype IN ('x', 'u')
CROSS JOIN generate_series(1, x.indnkeyatts) AS place
WHERE x.indrelid = CAST(:table AS regclass) AND (x.indisunique OR x.indisexclusion) AND NOT x.indisprimary
  AND x.indisvalid
ORDER BY i.relname, place
"""
