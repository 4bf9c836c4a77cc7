"""
The PostgreSQL end: the ways into it, and how it describes itself.

Statements go through SQLAlchemy. The catalogs are asked in one query a subject, with values bound, because reflection
leaves out what decides how a value is carried (type modifiers, identity, domains, enum labels).
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Iterable, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

import asyncpg
from sqlalchemy import Row, text
from sqlalchemy.ext.asyncio import AsyncConnection, create_async_engine
from sqlalchemy.pool import NullPool

from migrator.address import (
    KEEPALIVE_COUNT,
    KEEPALIVE_IDLE_SECONDS,
    KEEPALIVE_INTERVAL_SECONDS,
    UNACKNOWLEDGED_MILLISECONDS,
    TargetAddress,
)
from migrator.answers import Answers, end_sessions
from migrator.errors import ConfigurationError
from migrator.names import TableName, quote_postgres

LEDGER_SCHEMA = "migrator"
"""The job's own schema; never copied into, never described."""


class CopyForm(StrEnum):
    """The two forms in which COPY takes rows (PostgreSQL, "COPY")."""

    BINARY = "binary"
    TEXT = "text"


@dataclass(frozen=True, slots=True)
class TargetColumn:
    """A column as the catalogs describe it; for a domain, the facts of the type that it is over."""

    name: str
    type_name: str
    """``pg_type.typname`` of the base type: int4, timestamptz, bpchar, …"""
    declared: str
    """The type as PostgreSQL writes it: ``numeric(10,2)``."""
    not_null: bool
    has_default: bool
    identity: str
    """``a`` for GENERATED ALWAYS AS IDENTITY, ``d`` for BY DEFAULT, empty for none."""
    generated: bool
    enum_labels: tuple[str, ...] = ()
    modifier: int = -1
    domain: bool = False
    deterministic: bool = True
    """Whether its collation tells apart all that differs in a byte."""

    @property
    def quoted(self) -> str:
        """The name as it stands in a statement."""
        return quote_postgres(self.name)

    @property
    def fills_itself(self) -> bool:
        """Whether PostgreSQL finds a value for a row that brings none."""
        return self.has_default or bool(self.identity) or self.generated

    @property
    def length(self) -> int | None:
        """The n of varchar(n) and char(n) in characters; None where there is no limit."""
        return self.modifier - _HEADER if self.type_name in {"varchar", "bpchar"} and self.modifier >= _HEADER else None

    @property
    def precision(self) -> int | None:
        """The p of numeric(p, s), in digits; None for bare numeric."""
        return (self.modifier - _HEADER) >> 16 if self._is_bounded_numeric() else None

    @property
    def scale(self) -> int | None:
        """The s of numeric(p, s), in digits, negative for numeric(2, -3); None for bare numeric."""
        # Eleven bits with a sign, since PostgreSQL 15 (src/backend/utils/adt/numeric.c: numeric_typmod_scale).
        return (((self.modifier - _HEADER) & 0x7FF) ^ 1024) - 1024 if self._is_bounded_numeric() else None

    def _is_bounded_numeric(self) -> bool:
        return self.type_name == "numeric" and self.modifier >= _HEADER


_HEADER = 4  # VARHDRSZ, which type modifiers of varchar, bpchar and numeric count in


@dataclass(frozen=True, slots=True)
class TargetTable:
    """A table that can take rows."""

    name: TableName
    columns: tuple[TargetColumn, ...]
    key: tuple[str, ...]
    """The primary key's columns in the key's order; empty if there is none."""
    partitioned: bool
    owned: bool
    """Whether the job's role owns it, directly or as a member of the owning role."""


@dataclass(frozen=True, slots=True)
class TargetDatabase:
    """What a schema of the target holds."""

    schema: str
    tables: tuple[TargetTable, ...]


class Target:
    """A PostgreSQL database, and the ways into it."""

    def __init__(self, address: TargetAddress) -> None:
        self.address = address
        arguments = address.asyncpg_arguments()
        # Limits that an administrator set for the application's short statements would cut a long COPY.
        arguments["server_settings"] |= {
            "statement_timeout": "0",
            "idle_in_transaction_session_timeout": "0",
            # The server's side of a connection that fell silent has to end as well, or it holds the job's lock and the
            # tables' for hours (two, by most systems' defaults) against the next try.
            "tcp_keepalives_idle": str(KEEPALIVE_IDLE_SECONDS),
            "tcp_keepalives_interval": str(KEEPALIVE_INTERVAL_SECONDS),
            "tcp_keepalives_count": str(KEEPALIVE_COUNT),
            "tcp_user_timeout": str(UNACKNOWLEDGED_MILLISECONDS),
            # What the job takes for done has to outlive a crash, also on a server that is set to promise less.
            "synchronous_commit": "on",
            "standard_conforming_strings": "on",
            "datestyle": "ISO, YMD",
            "intervalstyle": "postgres",
            "bytea_output": "hex",
            "extra_float_digits": "1",
            "jit": "off",
        }
        self.driver_arguments = arguments
        # No pool of SQLAlchemy's: it would keep sessions beyond a change of search_path by the init SQL.
        self._engine = create_async_engine("postgresql+asyncpg://", connect_args=arguments, poolclass=NullPool)
        self._answers = Answers(self._engine)
        self._kept: list[_Session] | None = None
        """Sessions that wait for their next use; None unless they are to be kept."""
        self._given_up: set[int] = set()
        """Server processes of sessions that ended here with an error; the server may not have heard of it."""

    async def close(self) -> None:
        """Close what is open."""
        await self._engine.dispose()

    async def check_answers(self, stall_seconds: float) -> None:
        """Raise TimeoutError if a session waits for an answer that doesn't come any more, as ``Answers.check`` does."""
        await self._answers.check(self.driver_arguments, stall_seconds)

    async def end_given_up(self) -> None:
        """
        Let the server end the sessions that were given up here, if it can be reached; to be called before a new try.

        It need not have noticed that they are over: where the network swallows everything it waits on, and what they
        have locked would stand in the way.
        """
        numbers = set(self._given_up)
        if numbers and await end_sessions(self.driver_arguments, numbers, self.address.stall_timeout_seconds):
            self._given_up -= numbers

    @asynccontextmanager
    async def keeping(self) -> AsyncIterator[None]:
        """
        Keep sessions while the block lasts: one that ``connect`` got back whole serves its next caller.

        To log in costs the server a process, and both ends several round trips; a run asks dozens of short questions.
        """
        self._kept = []
        whole = False
        try:
            yield
            whole = True
        finally:
            kept, self._kept = self._kept, None
            if not whole:  # nobody waits for a goodbye that may not get through
                for session in kept:
                    session.cut()
            await _close_all(kept)

    async def begin_anew(self) -> None:
        """Have new sessions opened from now on: what a role or a database is set to holds from the next login."""
        if self._kept:
            kept, self._kept = self._kept, []
            await _close_all(kept)

    @asynccontextmanager
    async def connect(self) -> AsyncIterator[AsyncConnection]:
        """Open a connection that begins a transaction with its first statement and rolls it back at the end."""
        async with self._lent(await self._kept_session() or await self._session(), keep=True) as connection:
            yield connection

    @asynccontextmanager
    async def autocommit(self) -> AsyncIterator[AsyncConnection]:
        """Open a connection on which every statement is its own transaction."""
        async with self._lent(await self._session()) as connection:
            yield await connection.execution_options(isolation_level="AUTOCOMMIT")

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[AsyncConnection]:
        """Open a connection in one transaction, committed at the end, rolled back by an error."""
        async with self.connect() as connection, in_transaction(connection):
            yield connection

    @asynccontextmanager
    async def driver(self) -> AsyncIterator[Any]:
        """Open a plain asyncpg connection, for scripts of many statements."""
        async with self._lent(await self._session()) as connection:
            yield await driver_of(connection)

    @asynccontextmanager
    async def _lent(self, session: "_Session", *, keep: bool = False) -> AsyncIterator[AsyncConnection]:
        """Give the session's connection, and keep or close it at the end; what became of it is not forgotten."""
        try:
            yield session.connection
        except BaseException:
            self._given_up.add(session.number)
            await _undisturbed(session.connection.close())
            raise
        await _undisturbed(self._take_back(session, keep=keep))

    async def _take_back(self, session: "_Session", *, keep: bool) -> None:
        if keep and self._kept is not None and is_open(session.connection):
            with suppress(Exception):  # then it is none to keep
                await session.connection.rollback()
                self._kept.append(session)
                return
        if not is_open(session.connection):
            self._given_up.add(session.number)
        await session.connection.close()

    async def _session(self) -> "_Session":
        # asyncpg limits the login, and nobody what is asked right after it (how JSON is to be read): a server that
        # falls silent there would be waited for without end.
        address = self.address
        seconds = address.connect_timeout_seconds * len(address.hosts) + address.stall_timeout_seconds
        async with asyncio.timeout(seconds):
            connection = await self._engine.connect()
            driver = await driver_of(connection)
            return _Session(connection, driver, driver.get_server_pid())

    async def _kept_session(self) -> "_Session | None":
        """Return a session that was kept and answers, if there is one."""
        while self._kept:
            session = self._kept.pop()
            answers = False
            try:
                answers = await session.answers(self.address.connect_timeout_seconds)
            finally:
                if not answers:
                    self._given_up.add(session.number)
                    session.cut()
                    await _close_all([session])
            if answers:
                return session
        return None

    async def schema_of_application(self, connection: AsyncConnection, wanted: str | None) -> str:
        """
        Return the schema whose tables are filled: the one that is ``wanted``, or the first on the search path.

        Raises ConfigurationError if there is no such schema.
        """
        found = await connection.scalar(
            text("SELECT nspname FROM pg_namespace WHERE nspname = coalesce(:wanted, current_schema())"),
            {"wanted": wanted},
        )
        if found is None:
            what = f"schema {wanted!r}" if wanted else "any schema of the role's search_path"
            raise ConfigurationError(
                f"the target has no {what}", next_step="create it, or name another one with --target-schema"
            )
        return str(found)

    async def describe(self, connection: AsyncConnection, schema: str) -> TargetDatabase:
        """Return the tables of ``schema`` that can take rows, with everything that decides how a value is carried."""
        bound = {"schema": schema}
        labels = _grouped((await connection.execute(text(_ENUM_LABELS))).all())
        columns = _grouped((await connection.execute(text(_COLUMNS), bound)).all())
        keys = _grouped((await connection.execute(text(_KEYS), bound)).all())
        tables = (await connection.execute(text(_TABLES), bound)).all()
        return TargetDatabase(
            schema,
            tuple(
                TargetTable(
                    TableName(schema, row.relname),
                    tuple(_column(column, labels) for column in columns.get(row.oid, ())),
                    tuple(key.attname for key in keys.get(row.oid, ())),
                    partitioned=row.partitioned,
                    owned=row.owned,
                )
                for row in tables
            ),
        )


@dataclass(frozen=True, slots=True)
class _Session:
    connection: AsyncConnection
    driver: Any
    """asyncpg's connection, which has no types."""
    number: int
    """Of the server process."""

    async def answers(self, seconds: float) -> bool:
        """Return whether it can be used: whether it answers in so many seconds."""
        if not is_open(self.connection):
            return False
        try:
            async with asyncio.timeout(seconds):
                await self.driver.execute("SELECT 1")
        except (OSError, asyncpg.PostgresError, asyncpg.InterfaceError, asyncpg.InternalClientError):
            return False
        return True

    def cut(self) -> None:
        """End it without a word."""
        self.driver.terminate()


async def _close_all(sessions: Iterable[_Session]) -> None:
    """Close sessions that nobody uses; one that doesn't take leave in time is cut."""

    async def close(session: _Session) -> None:
        try:
            async with asyncio.timeout(_GOODBYE_SECONDS):
                await session.connection.close()
        except Exception:  # noqa: BLE001 - nothing was under way in it that could be lost
            session.cut()

    await _undisturbed(asyncio.gather(*map(close, sessions)))


async def _undisturbed(work: Awaitable[object]) -> None:
    """Wait for work that is done also if whoever waits is cancelled."""
    await asyncio.shield(asyncio.ensure_future(work))


_GOODBYE_SECONDS = 2


@asynccontextmanager
async def in_transaction(connection: AsyncConnection) -> AsyncIterator[None]:
    """
    Run the block in one transaction of the connection, committed at its end, rolled back if it raises.

    What the block raised is what comes out, also if the ROLLBACK fails: on a session that was lost, or left in the
    middle of a statement, it always does, and would hide why.
    """
    transaction = await connection.begin()
    try:
        yield
    except BaseException:
        with suppress(Exception):
            await transaction.rollback()
        raise
    await transaction.commit()


async def driver_of(connection: AsyncConnection) -> Any:  # noqa: ANN401 - asyncpg's connection, which has no types
    """Return the asyncpg connection beneath."""
    return (await connection.get_raw_connection()).driver_connection


def is_open(connection: AsyncConnection) -> bool:
    """Return whether a connection still is one, as far as this end has been told."""
    if connection.closed or connection.invalidated or connection.sync_connection is None:
        return False
    driver: Any = connection.sync_connection.connection.driver_connection
    return driver is not None and not driver.is_closed()


async def row_counts(connection: AsyncConnection, tables: Sequence[TableName]) -> dict[TableName, int]:
    """Return the rows of those tables that hold any; an empty one is not scanned."""
    counts: dict[TableName, int] = {}
    for start in range(0, len(tables), _ASKED_AT_ONCE):
        asked = enumerate(tables[start : start + _ASKED_AT_ONCE], start)
        union = " UNION ALL ".join(f"SELECT {place} WHERE EXISTS (SELECT FROM {name.quoted})" for place, name in asked)
        for (place,) in (await connection.exec_driver_sql(union)).all():
            count = await connection.exec_driver_sql(f"SELECT count(*) FROM {tables[place].quoted}")
            counts[tables[place]] = count.scalar_one()
    return counts


_ASKED_AT_ONCE = 100


def _grouped(rows: Sequence[Row[Any]]) -> dict[int, list[Row[Any]]]:
    grouped: dict[int, list[Row[Any]]] = {}
    for row in rows:
        grouped.setdefault(row[0], []).append(row)
    return grouped


def _column(row: Row[Any], labels: dict[int, list[Row[Any]]]) -> TargetColumn:
    return TargetColumn(
        name=row.attname,
        type_name=row.type_name,
        declared=row.declared,
        not_null=row.not_null,
        has_default=row.has_default,
        identity=row.identity,
        generated=row.generated,
        enum_labels=tuple(label.enumlabel for label in labels.get(row.base_oid, ())),
        modifier=row.modifier,
        domain=row.domain,
        deterministic=row.deterministic,
    )


_TABLES = """
SELECT c.oid, c.relname, c.relkind = 'p' AS partitioned, pg_has_role(c.relowner, 'USAGE') AS owned
FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE n.nspname = :schema AND c.relkind IN ('r', 'p') AND NOT c.relispartition
ORDER BY c.relname
"""

# A domain over a domain is followed down to the type at the bottom; the first modifier on the way is what holds.
_COLUMNS = """
WITH RECURSIVE base(oid, at, modifier, not_null) AS (
    SELECT oid, oid, -1, false FROM pg_type
    UNION ALL
    SELECT base.oid, t.typbasetype, CASE WHEN base.modifier >= 0 THEN base.modifier ELSE t.typtypmod END,
           base.not_null OR t.typnotnull
    FROM base JOIN pg_type t ON t.oid = base.at WHERE t.typtype = 'd'
)
SELECT a.attrelid, a.attname, bottom.typname AS type_name, bottom.oid AS base_oid,
       a.atttypid <> bottom.oid AS domain,
       format_type(a.atttypid, a.atttypmod) AS declared,
       CASE WHEN a.atttypmod >= 0 THEN a.atttypmod ELSE base.modifier END AS modifier,
       a.attnotnull OR base.not_null AS not_null, a.atthasdef AS has_default,
       a.attidentity::text AS identity, a.attgenerated::text <> '' AS generated,
       coalesce(l.collisdeterministic, true) AS deterministic
FROM pg_attribute a
LEFT JOIN pg_collation l ON l.oid = a.attcollation
JOIN pg_class c ON c.oid = a.attrelid
JOIN pg_namespace n ON n.oid = c.relnamespace
JOIN base ON base.oid = a.atttypid
JOIN pg_type bottom ON bottom.oid = base.at AND bottom.typtype <> 'd'
WHERE n.nspname = :schema AND c.relkind IN ('r', 'p') AND a.attnum > 0 AND NOT a.attisdropped
ORDER BY a.attrelid, a.attnum
"""

_KEYS = """
SELECT k.conrelid, a.attname
FROM pg_constraint k
JOIN pg_namespace n ON n.oid = k.connamespace
CROSS JOIN unnest(k.conkey) WITH ORDINALITY AS part(attnum, place)
JOIN pg_attribute a ON a.attrelid = k.conrelid AND a.attnum = part.attnum
WHERE n.nspname = :schema AND k.contype = 'p'
ORDER BY k.conrelid, part.place
"""

_ENUM_LABELS = """
SELECT enumtypid, enumlabel FROM pg_enum ORDER BY enumtypid, enumsortorder
"""
