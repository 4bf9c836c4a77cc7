"""
Tries rows on PostgreSQL before anything is written: loads them into a temporary table that resembles the target's.

This trial table has the constraints and indexes that only PostgreSQL can judge, and the columns that they are about. It
exists in one transaction, which is rolled back, so nothing lasts. Rows are sent with the copier's own conversion, one
record batch at a time. A batch that is refused is halved until the refused rows are known.
"""

import asyncio
import re
from collections import deque
from collections.abc import AsyncIterator

import asyncpg
import pyarrow as pa
import pyarrow.compute as pc
from msgspec import Struct, field
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from migrator.catalog.constraints import Constraint, Kind
from migrator.concurrency.blocking import BlockingConnection
from migrator.concurrency.prefetch import prefetch
from migrator.names import TableName, quote_postgres
from migrator.source.scan import ScanSession
from migrator.target.copy_in import CopyTarget, copy_in
from migrator.target.database import Target
from migrator.trials.references import referring_rows
from migrator.trials.server_errors import code_of, message_of
from migrator.trials.trial_rows import batches, encoded
from migrator.trials.trial_table import ROW, Trial, TrialTable, made
from migrator.types import ProblemCode

_BY_LINE = 64
"""The largest batch for which the line number in the server's message is used. Larger batches are halved instead."""

_BESIDE = 20
"""The number of refused rows of one constraint for which the conflicting rows are looked up."""


class Offence(Struct):
    """Rows that PostgreSQL refuses for the same reason."""

    constraint: Constraint | None
    column: str | None
    """The column that the server named, if it named one."""
    code: ProblemCode
    """The problem code of the server's error."""
    message: str
    """The server's message, without values; or a key of another table's row, if the offence is about such rows."""
    rows: dict[str, None] = field(default_factory=dict)
    at_least: bool = False
    referencing_rows: int = 0
    """The number of rows in another table of the target, if the offence is about those and not about source rows."""


async def try_rows(target: Target, reading: BlockingConnection[ScanSession], trial: Trial) -> list[Offence]:
    """
    Return the rows that PostgreSQL refuses, grouped by reason.

    The trial is rolled back, so nothing lasts in the target. Raises UntriedError if the trial table can't be made,
    SourceUnreadable, and the errors of the connection to PostgreSQL.
    """
    async with target.connect() as connection:
        table = await made(connection, trial)
        row_trial = _RowTrial(connection, trial, table, target.address.stall_timeout_seconds)
        async for batch in prefetch(batches(reading, trial)):
            if row_trial.closed:
                break
            await row_trial.try_batch(batch)
        await row_trial.compare()
        return list(row_trial.offences.values())


class _RowTrial:
    """Tries rows, and collects the refused ones as offences."""

    def __init__(self, connection: AsyncConnection, trial: Trial, table: TrialTable, stall_seconds: float) -> None:
        self._connection = connection
        self._trial = trial
        self._table = table
        self._stall_seconds = stall_seconds
        self._causes: dict[str, Constraint | None] = {}
        """The constraints behind errors that name no constraint, by the server's message."""
        self._keeps = any(constraint.spans_rows for constraint in trial.constraints)
        """Whether tried rows stay in the table, since later rows are judged together with them."""
        self.offences: dict[tuple[str, str | None, str], Offence] = {}
        self.closed = False
        """Whether further rows would show nothing new."""

    # Rows -----------------------------------------------------------------------------------------------------------

    async def try_batch(self, batch: pa.RecordBatch) -> None:
        """Try a record batch and note the rows that are refused; raises the errors of the connection to PostgreSQL."""
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
            position = line - 1 if line is not None and line <= len(part) else None
            if position is None:
                middle = len(part) // 2
                parts.extendleft([part.slice(middle), part.slice(0, middle)])
            else:  # the row is sent again, alone, to make sure that it is the refused row
                around = [part.slice(position + 1), part.slice(position, 1), part.slice(0, position)]
                parts.extendleft(rows for rows in around if len(rows))
        if not self._keeps:
            await self._connection.exec_driver_sql(f"TRUNCATE {self._table.place.trial.quoted}")

    async def _refused(self, rows: pa.RecordBatch, into: TableName | None = None) -> asyncpg.PostgresError | None:
        """Send rows; return the server's error if it refuses them, otherwise None."""
        data = await asyncio.to_thread(encoded, self._trial.table, rows)

        async def once() -> AsyncIterator[bytes]:
            yield data

        savepoint = await self._connection.begin_nested()
        try:
            await copy_in(
                self._connection,
                CopyTarget(into or self._table.place.trial, rows.schema.names, self._trial.table.form),
                once(),
                stall_seconds=self._stall_seconds,
            )
        except asyncpg.PostgresError as error:
            if (error.sqlstate or "")[:2] not in _ABOUT_ROWS:
                raise
            await savepoint.rollback()
            return error
        await savepoint.commit()
        return None

    # Findings -------------------------------------------------------------------------------------------------------

    async def _note(self, row: pa.RecordBatch, error: asyncpg.PostgresError) -> None:
        code, message = code_of(error), message_of(error)
        constraint = self._constraint(row, error) or await self._guilty(row, message)
        context = _COLUMN.search(getattr(error, "context", None) or "")
        column = getattr(error, "column_name", None) or (context[1] if context else None)
        offence = self._offence(constraint, None if constraint else column, code, message)
        conflicting: list[str] = []
        if constraint and constraint.spans_rows and len(offence.rows) < _BESIDE:
            conflicting = await self._beside(row, constraint)
        for key in (*conflicting, str(row.column(row.num_columns - 1)[0].as_py())):
            offence.rows[key] = None
        if len(offence.rows) >= self._trial.most:
            offence.at_least = True
            await self._set_aside(constraint)

    def _offence(
        self, constraint: Constraint | None, column: str | None, code: ProblemCode, message: str = ""
    ) -> Offence:
        is_known = constraint and code not in {ProblemCode.CONSTRAINT_FAILS, ProblemCode.NOT_IN_ENCODING}
        reason = (constraint.relation + constraint.name if constraint else "", column, "" if is_known else message)
        return self.offences.setdefault(reason, Offence(constraint, column, code, message))

    def _constraint(self, row: pa.RecordBatch, error: asyncpg.PostgresError) -> Constraint | None:
        """Return the constraint that refused the row, from the server's error or from the sizes of the row's values."""
        index = _INDEX.search(str(error))
        name = getattr(error, "constraint_name", None) or (index[1] if index else "")
        if name in self._table.by_name:
            return self._table.by_name[name]
        match code_of(error):
            case ProblemCode.NO_PARTITION:
                return self._of_kind(Kind.PARTITION)
            case ProblemCode.ROW_TOO_WIDE:
                return self._of_kind(Kind.ROW)
            case ProblemCode.INDEX_ENTRY_TOO_LONG:  # the message doesn't name the index
                return max(
                    (
                        constraint
                        for constraint in self._trial.constraints
                        if constraint.kind in {Kind.INDEX, Kind.UNIQUE}
                    ),
                    key=lambda constraint: sum(_bytes_of(row, name) for name in constraint.columns),
                    default=None,
                )
        return None

    def _of_kind(self, kind: Kind) -> Constraint | None:
        return next((constraint for constraint in self._trial.constraints if constraint.kind is kind), None)

    async def _guilty(self, row: pa.RecordBatch, message: str) -> Constraint | None:
        """Return the constraint whose removal lets the server accept the row, for an error that names no constraint."""
        if message in self._causes:
            return self._causes[message]
        cause = next((constraint for constraint in self._trial.constraints if constraint.kind is Kind.GENERATED), None)
        for name, constraint in self._table.by_name.items():
            if constraint.kind is Kind.PARTITION:
                continue
            savepoint = await self._connection.begin_nested()
            await self._table.remove(name, constraint)
            is_accepted = await self._refused(row) is None
            await savepoint.rollback()
            if is_accepted:
                cause = constraint
                break
        self._causes[message] = cause
        return cause

    async def _beside(self, row: pa.RecordBatch, constraint: Constraint) -> list[str]:
        """Return the keys of at most three rows that conflict with ``row``."""
        one_row = self._table.place.single_row
        if await self._refused(row, one_row):
            return []
        name = next(name for name, other in self._table.by_name.items() if other is constraint)
        result = await self._connection.execute(text(_PARTS), {"index": self._table.place.named(name)})
        parts = result.all()
        if not parts:
            return []
        listed = ", ".join(f"({part.expression}){part.collation} AS e{n}" for n, part in enumerate(parts))
        where = f" WHERE {parts[0].predicate}" if parts[0].predicate else ""
        met = " AND ".join(f"a.e{n} {part.operator} b.e{n}" for n, part in enumerate(parts))
        relation = self._table.relation(constraint)
        keys = await self._connection.exec_driver_sql(
            f"SELECT a.row FROM (SELECT {quote_postgres(ROW)} AS row, {listed} FROM {relation}{where}) a, "
            f"(SELECT {listed} FROM {one_row.quoted}{where}) b WHERE {met} LIMIT 3"
        )
        await self._connection.exec_driver_sql(f"TRUNCATE {one_row.quoted}")
        return [str(key) for key in keys.scalars()]

    async def _set_aside(self, constraint: Constraint | None) -> None:
        """Remove a constraint that has refused enough rows, so that the other constraints can judge the next rows."""
        name = next((name for name, other in self._table.by_name.items() if other is constraint), None)
        if constraint is None or name is None or self._table.relations:
            self.closed = True
        else:
            await self._table.remove(name, constraint)

    async def compare(self) -> None:
        """Check foreign keys between the tried rows and tables that the job doesn't fill."""
        limit = self._trial.most
        for constraint in self._trial.constraints:
            if constraint.kind is Kind.FOREIGN:
                result = await self._connection.exec_driver_sql(
                    f"SELECT t.{quote_postgres(ROW)} FROM {self._table.place.trial.quoted} t "
                    f"WHERE {constraint.definition} LIMIT {limit}"
                )
                if keys := [str(key) for key in result.scalars()]:
                    offence = self._offence(constraint, None, ProblemCode.ORPHAN)
                    offence.rows, offence.at_least = dict.fromkeys(keys), len(keys) == limit
            elif constraint.kind is Kind.REFERENCING:
                condition = self._table.definition(constraint)
                count, example = await referring_rows(self._connection, constraint, condition)
                if count:
                    offence = self._offence(constraint, None, ProblemCode.STILL_REFERENCED)
                    offence.referencing_rows, offence.message = count, example


_ABOUT_ROWS = frozenset({"22", "23", "54", "2F", "0A", "P0", "XX", "42", "21"})
"""Classes of SQLSTATEs for errors about a row: data, integrity, limits, and errors of functions in an expression."""

_LINE = re.compile(r"^COPY .*, line (\d+)", re.MULTILINE)

_COLUMN = re.compile(r"^COPY .*, line \d+, column ([^:\n]+)", re.MULTILINE)

_INDEX = re.compile(r'index "(.+)"')

_RECODED = "22P05"


def _line(error: asyncpg.PostgresError) -> int | None:
    # The server recodes text before it splits the text into lines, so the line number of such an error is not usable.
    match = _LINE.search(getattr(error, "context", None) or "")
    return int(match[1]) if match and error.sqlstate != _RECODED else None


def _bytes_of(row: pa.RecordBatch, name: str) -> int:
    if name not in row.schema.names:
        return 0
    value = row.column(row.schema.names.index(name))
    if not (pa.types.is_string(value.type) or pa.types.is_binary(value.type) or pa.types.is_large_string(value.type)):
        return 8
    return pc.binary_length(value)[0].as_py() or 0


# A unique index has no exclusion operator: IS NOT DISTINCT FROM stands for its equality and also finds equal NULLs.
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
