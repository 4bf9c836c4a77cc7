"""
Shows rows to PostgreSQL before anything is written: they go into a temporary table made like the target's.

That table has the constraints and indexes that only PostgreSQL can judge by, and the columns these are about. It exists
in one transaction, which is rolled back: nothing of it lasts. Rows come by the copier's own way, a batch at a time; a
batch that is refused is halved, down to the rows to blame.
"""

import asyncio
import re
from collections import deque
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, field

import asyncpg
import pyarrow as pa
import pyarrow.compute as pc
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from migrator.batches import scan
from migrator.blocking import Blocking
from migrator.bridge import bridge
from migrator.constraints import Constraint, Judged, Kind
from migrator.copy_in import copy_in
from migrator.encode import encoder_for
from migrator.findings import Profile
from migrator.names import TableName, quote_postgres
from migrator.plan import TablePlan
from migrator.scanning import ScanSession
from migrator.target import Target

ROW = "migrator row"
"""The column of the rows' own keys."""
_TRIAL = TableName("pg_temp", "trial")
_ONE = TableName("pg_temp", "trial_row")
_BY_LINE = 64
"""Rows of a batch from which on the line that the server names is believed, instead of trying halves."""
_BESIDE = 20
"""Rows of one constraint whose counterparts are looked for."""


@dataclass(frozen=True, slots=True)
class Trial:
    """What is shown to PostgreSQL of one table."""

    table: TablePlan
    """With the columns that are needed, and with ``ROW`` as its last."""
    profile: Profile
    judged: Judged
    constraints: tuple[Constraint, ...]
    where: str
    """Which rows; all, if empty."""
    batch_bytes: int
    most: int
    """Rows that are named for one constraint; with more it is taken away, so that others get their turn."""


@dataclass(slots=True)
class Offence:
    """Rows that are refused for one reason."""

    constraint: Constraint | None
    column: str | None
    """What the server named, if it did."""
    said: str
    """The server's words, without values."""
    rows: dict[str, None] = field(default_factory=dict)
    at_least: bool = False
    theirs: int = 0
    """Rows of another table of the target that it is about, where it is about none of the source's."""


async def try_rows(target: Target, reading: Blocking[ScanSession], trial: Trial) -> list[Offence]:
    """
    Return what PostgreSQL refuses of the rows, and for which reasons.

    Nothing of it lasts. Raises DBAPIError if the trial table can't be made, and what scanning and sending raise.
    """
    async with target.connect() as connection:
        court = _Court(connection, trial, target.address.stall_timeout_seconds)
        await court.open()
        async for batch in bridge(_batches(reading, trial)):
            if court.closed:
                break
            await court.hear(batch)
        await court.compare()
        return list(court.offences.values())


def _batches(reading: Blocking[ScanSession], trial: Trial) -> Iterator[pa.RecordBatch]:
    """Yield the rows as they would be sent. Blocks while it reads."""
    table = trial.table
    with reading.lent() as session:
        for batch in scan(
            session,
            table.source,
            table.lanes,
            profile=trial.profile,
            batch_bytes=trial.batch_bytes,
            where=trial.where,
        ):
            yield table.convert(batch)


class _Court:
    """The trial table of one transaction."""

    def __init__(self, connection: AsyncConnection, trial: Trial, stall_seconds: float) -> None:
        self._connection = connection
        self._trial = trial
        self._stall_seconds = stall_seconds
        self._by_name: dict[str, Constraint] = {}
        """By the name that it has in the trial."""
        self._relations = {one.relation: f"pg_temp.trial_{n}" for n, one in enumerate(trial.judged.partitions)}
        self._learnt: dict[str, Constraint | None] = {}
        """What errors were due to that didn't say so."""
        self._keeps = any(one.spans_rows for one in trial.constraints)
        """Whether rows are kept for those that come after."""
        self.offences: dict[tuple[str, str | None, str], Offence] = {}
        self.closed = False
        """Whether nothing more can be learnt."""

    # Making it ------------------------------------------------------------------------------------------------------

    async def open(self) -> None:
        """Make the table, with its partitions, constraints and indexes."""
        trial, judged = self._trial, self._trial.judged
        kept = {name for one in trial.constraints for name in one.columns}
        kept.update(
            name
            for one in judged.constraints
            if one.kind is Kind.GENERATED and one.name in kept
            for name in one.columns
        )
        root = trial.table.name
        await self._make(root.quoted, "trial", judged.key if self._relations else None, "")
        await self._drop_others(_TRIAL.quoted, kept)
        await self._feed_others(root, kept)
        for partition in judged.partitions if self._relations else ():
            own = self._relations[partition.relation]
            await self._make(partition.relation, own.removeprefix("pg_temp."), partition.key, "EXCLUDING IDENTITY")
            await self._drop_others(own, kept)
            parent = self._relations.get(partition.parent, _TRIAL.quoted)
            await self._do(f"ALTER TABLE {parent} ATTACH PARTITION {own} {partition.bound}")
        for one in trial.constraints:
            await self._add(one)
        if any(one.kind in {Kind.EXCLUSION, Kind.UNIQUE} for one in trial.constraints):
            await self._do(f"CREATE TEMP TABLE trial_row (LIKE {_TRIAL.quoted} INCLUDING DEFAULTS INCLUDING GENERATED)")

    async def _make(self, like: str, name: str, key: str | None, excluding: str) -> None:
        # Without what has a name of its own: that is added one by one, where it is needed.
        parts = "INCLUDING ALL EXCLUDING INDEXES EXCLUDING CONSTRAINTS EXCLUDING COMMENTS EXCLUDING STATISTICS"
        by = f" PARTITION BY {key}" if key else ""
        await self._do(f"CREATE TEMP TABLE {name} (LIKE {like} {parts} {excluding}){by}")
        await self._do(f"ALTER TABLE pg_temp.{name} ADD COLUMN {quote_postgres(ROW)} text")

    async def _drop_others(self, relation: str, kept: set[str]) -> None:
        found = await self._connection.execute(
            text(
                "SELECT attname FROM pg_catalog.pg_attribute "
                "WHERE attrelid = CAST(:relation AS regclass) AND attnum > 0 AND NOT attisdropped"
            ),
            {"relation": relation},
        )
        drops = [
            f"DROP COLUMN IF EXISTS {quote_postgres(name)} CASCADE"
            for name in found.scalars()
            if name not in kept | {ROW}
        ]
        if drops:
            await self._do(f"ALTER TABLE {relation} {', '.join(drops)}")

    async def _feed_others(self, root: TableName, kept: set[str]) -> None:
        """Give columns that the source doesn't feed a sequence of the trial's own: nextval isn't rolled back."""
        fed = {column.target.name for column in self._trial.table.columns}
        found = await self._connection.execute(
            text(
                "SELECT a.attname FROM pg_catalog.pg_attribute a JOIN pg_catalog.pg_attrdef d "
                "ON d.adrelid = a.attrelid AND d.adnum = a.attnum WHERE a.attrelid = CAST(:relation AS regclass) "
                "AND a.attgenerated = '' AND pg_catalog.pg_get_expr(d.adbin, d.adrelid) LIKE '%nextval(%'"
            ),
            {"relation": root.quoted},
        )
        for n, name in enumerate(one for one in found.scalars() if one in kept - fed):
            await self._do(f"CREATE TEMP SEQUENCE trial_sequence_{n}")
            await self._do(
                f"ALTER TABLE {_TRIAL.quoted} ALTER COLUMN {quote_postgres(name)} "
                f"SET DEFAULT pg_catalog.nextval('pg_temp.trial_sequence_{n}')"
            )

    async def _add(self, one: Constraint) -> None:
        relation = self._relations.get(one.relation, _TRIAL.quoted)
        name = one.name if one.name not in self._by_name else f"{one.name[:50]} {len(self._by_name)}"
        match one.kind:
            case Kind.CHECK | Kind.EXCLUSION:
                await self._do(f"ALTER TABLE {relation} ADD CONSTRAINT {quote_postgres(name)} {one.definition}")
            case Kind.INDEX:
                definition = one.definition.replace(" NULLS NOT DISTINCT", "")
                await self._do(f"CREATE INDEX {quote_postgres(name)} ON {relation}{definition}")
            case Kind.UNIQUE:
                await self._do(f"CREATE UNIQUE INDEX {quote_postgres(name)} ON {relation}{one.definition}")
            case _:
                return
        self._by_name[name] = one

    async def _do(self, statement: str) -> None:
        await self._connection.exec_driver_sql(statement)

    # Rows -----------------------------------------------------------------------------------------------------------

    async def hear(self, batch: pa.RecordBatch) -> None:
        """Try a batch, and find the rows that are refused."""
        parts = deque([batch])
        while parts and not self.closed:
            part = parts.popleft()
            error = await self._refused(part)
            if error is None:
                continue
            if len(part) == 1:
                await self._note(part, error)
                continue
            line = _line(error) if len(part) <= _BY_LINE else None
            at = line - 1 if line is not None and line <= len(part) else None
            if at is None:
                middle = len(part) // 2
                parts.extendleft([part.slice(middle), part.slice(0, middle)])
            else:  # the row comes once more, by itself, so that it is sure to be the one
                around = [part.slice(at + 1), part.slice(at, 1), part.slice(0, at)]
                parts.extendleft(one for one in around if len(one))
        if not self._keeps:
            await self._do(f"TRUNCATE {_TRIAL.quoted}")

    async def _refused(self, rows: pa.RecordBatch, into: TableName = _TRIAL) -> asyncpg.PostgresError | None:
        """Send rows, and return the server's error if it refuses them."""
        data = await asyncio.to_thread(self._encoded, rows)

        async def once() -> AsyncIterator[bytes]:
            yield data

        save = await self._connection.begin_nested()
        try:
            await copy_in(
                self._connection,
                into,
                rows.schema.names,
                once(),
                form=self._trial.table.form,
                freeze=False,
                stall_seconds=self._stall_seconds,
            )
        except asyncpg.PostgresError as error:
            if (error.sqlstate or "")[:2] not in _ABOUT_ROWS:
                raise
            await save.rollback()
            return error
        await save.commit()
        return None

    def _encoded(self, rows: pa.RecordBatch) -> bytes:
        columns = self._trial.table.columns
        builders = [
            column.carrier.encoder(one) if column.carrier.encoder else None
            for column, one in zip(columns, rows.schema, strict=True)
        ]
        encoder = encoder_for(self._trial.table.form, rows.schema, builders)
        return encoder.start() + encoder.rows(rows) + encoder.end()

    # Findings -------------------------------------------------------------------------------------------------------

    async def _note(self, row: pa.RecordBatch, error: asyncpg.PostgresError) -> None:
        constraint = self._constraint(row, error) or await self._guilty(row, said(error))
        context = _COLUMN.search(getattr(error, "context", None) or "")
        column = getattr(error, "column_name", None) or (context[1] if context else None)
        offence = self._offence(constraint, None if constraint else column, said(error))
        beside: list[str] = []
        if constraint and constraint.spans_rows and len(offence.rows) < _BESIDE:
            beside = await self._beside(row, constraint)
        for key in (*beside, str(row.column(row.num_columns - 1)[0].as_py())):
            offence.rows[key] = None
        if len(offence.rows) >= self._trial.most:
            offence.at_least = True
            await self._spare(constraint)

    def _offence(self, constraint: Constraint | None, column: str | None, words: str) -> Offence:
        about = "" if constraint and any(usual in words for usual in _USUAL) else words
        place = (constraint.relation + constraint.name if constraint else "", column, about)
        return self.offences.setdefault(place, Offence(constraint, column, words))

    def _constraint(self, row: pa.RecordBatch, error: asyncpg.PostgresError) -> Constraint | None:
        """Return what refused the row, as far as the server says, or its size."""
        words = str(error)
        named = _INDEX.search(words)
        name = getattr(error, "constraint_name", None) or (named[1] if named else "")
        if name in self._by_name:
            return self._by_name[name]
        if "no partition of relation" in words:
            return next((one for one in self._trial.constraints if one.kind is Kind.PARTITION), None)
        if error.sqlstate == _LIMIT and "index row" in words:  # one that doesn't say of which index
            return max(
                (one for one in self._trial.constraints if one.kind in {Kind.INDEX, Kind.UNIQUE}),
                key=lambda one: sum(_bytes_of(row, name) for name in one.columns),
                default=None,
            )
        return next(
            (one for one in self._trial.constraints if one.kind is Kind.ROW and "row is too big" in words), None
        )

    async def _guilty(self, row: pa.RecordBatch, words: str) -> Constraint | None:
        """Return the constraint without which the server takes a row of whose error it doesn't say where it arose."""
        if words in self._learnt:
            return self._learnt[words]
        found = next((one for one in self._trial.constraints if one.kind is Kind.GENERATED), None)
        for name, one in self._by_name.items():
            if one.kind is Kind.PARTITION:
                continue
            save = await self._connection.begin_nested()
            await self._remove(name, one)
            taken = await self._refused(row) is None
            await save.rollback()
            if taken:
                found = one
                break
        self._learnt[words] = found
        return found

    async def _beside(self, row: pa.RecordBatch, constraint: Constraint) -> list[str]:
        """Return the keys of rows that ``row`` can't stand beside."""
        if await self._refused(row, _ONE):
            return []
        name = next(name for name, one in self._by_name.items() if one is constraint)
        found = await self._connection.execute(text(_PARTS), {"index": f"pg_temp.{quote_postgres(name)}"})
        parts = found.all()
        if not parts:
            return []
        listed = ", ".join(f"({one.expression}){one.collation} AS e{n}" for n, one in enumerate(parts))
        where = f" WHERE {parts[0].predicate}" if parts[0].predicate else ""
        met = " AND ".join(f"a.e{n} {one.operator} b.e{n}" for n, one in enumerate(parts))
        relation = self._relations.get(constraint.relation, _TRIAL.quoted)
        keys = await self._connection.exec_driver_sql(
            f"SELECT a.row FROM (SELECT {quote_postgres(ROW)} AS row, {listed} FROM {relation}{where}) a, "
            f"(SELECT {listed} FROM {_ONE.quoted}{where}) b WHERE {met} LIMIT 3"
        )
        await self._do(f"TRUNCATE {_ONE.quoted}")
        return [str(key) for key in keys.scalars()]

    async def _spare(self, constraint: Constraint | None) -> None:
        """Take away what has refused enough rows, so that the rest can be judged by the others."""
        name = next((name for name, one in self._by_name.items() if one is constraint), None)
        if constraint is None or name is None or self._relations:
            self.closed = True
        else:
            await self._remove(name, constraint)

    async def _remove(self, name: str, constraint: Constraint) -> None:
        relation = self._relations.get(constraint.relation, _TRIAL.quoted)
        if constraint.kind in {Kind.CHECK, Kind.EXCLUSION}:
            await self._do(f"ALTER TABLE {relation} DROP CONSTRAINT {quote_postgres(name)}")
        else:
            await self._do(f"DROP INDEX pg_temp.{quote_postgres(name)}")

    async def compare(self) -> None:
        """Hold the rows against those of tables that stay as they are: foreign keys."""
        most = self._trial.most
        for one in self._trial.constraints:
            if one.kind is Kind.FOREIGN:
                found = await self._connection.exec_driver_sql(
                    f"SELECT t.{quote_postgres(ROW)} FROM {_TRIAL.quoted} t WHERE {one.definition} LIMIT {most}"
                )
                if keys := [str(key) for key in found.scalars()]:
                    offence = self._offence(one, None, "")
                    offence.rows, offence.at_least = dict.fromkeys(keys), len(keys) == most
            elif one.kind is Kind.REFERENCING:
                found = await self._connection.exec_driver_sql(
                    f"SELECT count(*) FROM {one.relation} c WHERE {one.definition}"
                )
                if count := int(found.scalar_one()):
                    self._offence(one, None, "").theirs = count


_ABOUT_ROWS = frozenset({"22", "23", "54", "2F", "0A", "P0", "XX", "42", "21"})
"""Classes of SQLSTATEs that speak of a row: data, integrity, a limit; and what functions of an expression raise."""
_LIMIT = "54000"
_LINE = re.compile(r"^COPY .*, line (\d+)", re.MULTILINE)
_COLUMN = re.compile(r"^COPY .*, line \d+, column ([^:\n]+)", re.MULTILINE)
_INDEX = re.compile(r'index "(.+)"')
_RECODED = "22P05"
_USUAL = ("violates", "duplicate key", "index row", "conflicting key", "no partition of relation", "row is too big")
"""In what the server says where a row breaks what the constraint demands; else it can't say whether it does."""


def _line(error: asyncpg.PostgresError) -> int | None:
    # Text is recoded before it is cut into lines.
    found = _LINE.search(getattr(error, "context", None) or "")
    return int(found[1]) if found and error.sqlstate != _RECODED else None


def _bytes_of(row: pa.RecordBatch, name: str) -> int:
    if name not in row.schema.names:
        return 0
    value = row.column(row.schema.names.index(name))
    if not (pa.types.is_string(value.type) or pa.types.is_binary(value.type) or pa.types.is_large_string(value.type)):
        return 8
    return pc.binary_length(value)[0].as_py() or 0


def said(error: asyncpg.PostgresError) -> str:
    """Return the server's words without the value in them, which may not be shown."""
    return str(error).partition("\n")[0].partition(': "')[0]


# The operator of a unique index is the equality of its operator class; NULLs that aren't distinct are found by it too.
_PARTS = """
SELECT pg_get_indexdef(x.indexrelid, place::int, true) AS expression, pg_get_expr(x.indpred, x.indrelid) AS predicate,
       coalesce((SELECT format(' COLLATE %I.%I', n.nspname, l.collname) FROM pg_collation l
                 JOIN pg_namespace n ON n.oid = l.collnamespace
                 WHERE l.oid = (x.indcollation::oid[])[place - 1]), '') AS collation,
       coalesce((SELECT format('OPERATOR(%I.%s)', n.nspname, o.oprname) FROM pg_operator o
                 JOIN pg_namespace n ON n.oid = o.oprnamespace WHERE o.oid = k.conexclop[place]),
                'IS NOT DISTINCT FROM') AS operator
FROM pg_index x LEFT JOIN pg_constraint k ON k.conindid = x.indexrelid AND k.contype = 'x'
CROSS JOIN generate_series(1, x.indnkeyatts) AS place
WHERE x.indexrelid = CAST(:index AS regclass) ORDER BY place
"""
