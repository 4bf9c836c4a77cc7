"""
The job's memory: schema ``migrator`` in the target itself.

What was done is written in the transaction that did it, so the ledger is true whenever somebody looks. It is read by
``status`` and by the next run, which goes on from here.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import JSONB, TIMESTAMP, insert
from sqlalchemy.ext.asyncio import AsyncConnection

from migrator import takeover
from migrator.errors import GaveUp
from migrator.migration import SETUP_LOCK_KEY, Migration
from migrator.names import LEDGER_SCHEMA, TableName, quote_postgres
from migrator.source.file import Fingerprint

metadata = sa.MetaData(schema=LEDGER_SCHEMA)
now = sa.func.clock_timestamp()
_moment = TIMESTAMP(timezone=True)

migrations = sa.Table(
    "migrations",
    metadata,
    sa.Column("name", sa.Text, primary_key=True),
    sa.Column("target_schema", sa.Text, nullable=False),
    sa.Column("source", JSONB, comment="path, size and schema of the file; null where an earlier version kept none"),
    sa.Column("version", sa.Text, nullable=False),
    sa.Column("created_at", _moment, nullable=False, server_default=now),
    comment="one line a migration; several live side by side in one database",
)
claims = sa.Table(
    "claims",
    metadata,
    sa.Column("schema_name", sa.Text, primary_key=True),
    sa.Column("table_name", sa.Text, primary_key=True),
    sa.Column("migration", sa.Text, nullable=False),
    comment="which migration a table belongs to; one that another has is not taken",
)
runs = sa.Table(
    "runs",
    metadata,
    sa.Column("id", sa.Uuid, primary_key=True),
    sa.Column("migration", sa.Text, nullable=False),
    sa.Column("version", sa.Text, nullable=False),
    sa.Column("source", JSONB, nullable=False),
    sa.Column("settings", JSONB, nullable=False),
    sa.Column("started_at", _moment, nullable=False, server_default=now),
    sa.Column("ended_at", _moment),
    sa.Column("exit_code", sa.Integer, comment="null while the run goes on, or if it was killed"),
    sa.Column("message", sa.Text),
)
stages = sa.Table(
    "stages",
    metadata,
    sa.Column("run_id", sa.Uuid, sa.ForeignKey(runs.c.id), primary_key=True),
    sa.Column("stage", sa.Text, primary_key=True),
    sa.Column("started_at", _moment, nullable=False, server_default=now),
    sa.Column("ended_at", _moment),
)
tables = sa.Table(
    "tables",
    metadata,
    sa.Column("migration", sa.Text, primary_key=True),
    sa.Column("schema_name", sa.Text, primary_key=True),
    sa.Column("table_name", sa.Text, primary_key=True),
    sa.Column("run_id", sa.Uuid, sa.ForeignKey(runs.c.id), nullable=False),
    sa.Column("rows", sa.BigInteger, nullable=False),
    sa.Column("bytes", sa.BigInteger, nullable=False),
    sa.Column("seconds", sa.Double, nullable=False),
    sa.Column("copied_at", _moment, nullable=False, server_default=now),
    sa.Column("digest", sa.Text),
    sa.Column("verified_at", _moment),
    comment="one line a table, committed together with its rows",
)
carried = sa.Table(
    "carried",
    metadata,
    sa.Column("migration", sa.Text, primary_key=True),
    sa.Column("schema_name", sa.Text, primary_key=True),
    sa.Column("table_name", sa.Text, primary_key=True),
    sa.Column("terms", JSONB, nullable=False, comment="the source's table, its columns, and the rules about these"),
    sa.Column("relation", sa.BigInteger, comment="the target table's oid; one made anew has another"),
    sa.Column("recipe", JSONB(none_as_null=True), comment="how the source's digest can be made again; null if unknown"),
    sa.Column("digest", sa.Text),
    sa.Column("rows", sa.BigInteger),
    comment="one line a table that was begun: by it a later run sees that the source or the settings have changed",
)
chunks = sa.Table(
    "chunks",
    metadata,
    sa.Column("migration", sa.Text, primary_key=True),
    sa.Column("schema_name", sa.Text, primary_key=True),
    sa.Column("table_name", sa.Text, primary_key=True),
    sa.Column("position", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("run_id", sa.Uuid, sa.ForeignKey(runs.c.id), nullable=False),
    sa.Column("after", sa.Text, comment="key of the row before its first, as SQL literals; null for the first chunk"),
    sa.Column("last", sa.Text, comment="key of its last row, as SQL literals; null for the last chunk of a table"),
    sa.Column("rows", sa.BigInteger, comment="null, like all that follows, while its rows aren't there"),
    sa.Column("bytes", sa.BigInteger),
    sa.Column("seconds", sa.Double),
    sa.Column("transaction", sa.BigInteger, comment="which brought the rows: their xmin, with an epoch"),
    sa.Column("copied_at", _moment),
    comment="one line a piece of a table, filled in together with its rows; a small table is one piece",
)
seeded = sa.Table(
    "seeded",
    metadata,
    sa.Column("migration", sa.Text, primary_key=True),
    sa.Column("schema_name", sa.Text, primary_key=True),
    sa.Column("table_name", sa.Text, primary_key=True),
    sa.Column("rows", sa.BigInteger, nullable=False),
    sa.Column("content", sa.Text, comment="stands for all values of these rows"),
    comment="rows that the schema's own migrations put into a schema that was empty; they give way to the source's",
)
parked = sa.Table(
    "parked",
    metadata,
    sa.Column("id", sa.BigInteger, sa.Identity(), primary_key=True),
    sa.Column("migration", sa.Text, nullable=False),
    sa.Column("schema_name", sa.Text, nullable=False),
    sa.Column("table_name", sa.Text, nullable=False),
    sa.Column("kind", sa.Text, nullable=False),
    sa.Column("name", sa.Text, nullable=False),
    sa.Column("statements", JSONB, nullable=False),
    sa.Column("restored_at", _moment),
    sa.Column("parked_at", _moment, nullable=False, server_default=now),
    comment="keys and indexes taken away for the load, with the statements that bring them back",
)
state = sa.Table(
    "state",
    metadata,
    sa.Column("migration", sa.Text, primary_key=True),
    sa.Column("name", sa.Text, primary_key=True),
    sa.Column("value", JSONB, nullable=False),
    sa.Column("written_at", _moment, nullable=False, server_default=now),
    comment="facts about a migration as a whole: began_empty, source, owner, completed, left_out, ready",
)
SOURCE = "source"
"""Fingerprint of the file whose rows are brought."""
OWNER = "owner"
"""The run that may write."""
COMPLETED = "completed"
"""Written when every row is verified."""
LEFT_OUT = "left_out"
"""Tables of the source that the operator had excluded when the migration was completed."""
READY = "ready"
"""Written when nothing is left to do: rows verified, newest schema reached."""

# Only where it is missing: a second role that runs the job may have no right to grant.
_MAY_NOT_READ = sa.text(
    f"SELECT true FROM pg_roles WHERE rolname = :role AND NOT has_schema_privilege(oid, '{LEDGER_SCHEMA}', 'USAGE')"
)


FOREIGN_KEY = "foreign key"
"""The kind of parked entry that needs all the others back first."""


@dataclass(frozen=True, slots=True)
class Taken:
    """A key or an index that is to be taken away, and how it comes back."""

    table: TableName
    kind: str
    name: str
    statements: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Parked:
    """The same, as the ledger has it."""

    id: int
    table: TableName
    kind: str
    name: str
    statements: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class NewRun:
    """What is known of a run when it starts; ``settings`` hold no secret."""

    id: UUID
    version: str
    source: Fingerprint
    settings: Mapping[str, Any]


async def exists(connection: AsyncConnection) -> bool:
    """Return whether a job has ever written its ledger here."""
    return bool(await connection.scalar(sa.text("SELECT to_regclass('migrator.state') IS NOT NULL")))


async def create(connection: AsyncConnection, reader: str | None = None) -> None:
    """
    Make the ledger's schema and tables where they are missing; let the role ``reader`` read them, if it exists.

    A ledger of an earlier version is brought up to date. One transaction at a time does so in a database: the first
    runs of two migrations may begin together. Raises TargetRefused as ``takeover.take_over`` does.
    """
    await connection.execute(sa.text("SELECT pg_advisory_xact_lock(:key)"), {"key": SETUP_LOCK_KEY})
    if not await connection.scalar(sa.text("SELECT to_regnamespace('migrator') IS NOT NULL")):
        await connection.execute(sa.schema.CreateSchema(LEDGER_SCHEMA, if_not_exists=True))
    if await takeover.is_unnamed(connection):
        await takeover.take_over(connection)
    await connection.run_sync(metadata.create_all)
    await takeover.let_readers_read(connection)
    if reader is not None and await connection.scalar(_MAY_NOT_READ, {"role": reader}):
        role = quote_postgres(reader)
        await connection.execute(sa.text(f"GRANT USAGE ON SCHEMA {LEDGER_SCHEMA} TO {role}"))
        await connection.execute(sa.text(f"GRANT SELECT ON ALL TABLES IN SCHEMA {LEDGER_SCHEMA} TO {role}"))


async def begin_run(connection: AsyncConnection, migration: Migration, line: "NewRun") -> None:
    """Write the line of a run that starts; nothing if it is there, by a try whose answer was lost."""
    values = {"id": line.id, "version": line.version, "source": asdict(line.source), "settings": dict(line.settings)}
    line_of_run = insert(runs).values(values | {"migration": migration.name})
    await connection.execute(line_of_run.on_conflict_do_nothing())


async def end_run(connection: AsyncConnection, run_id: UUID, *, exit_code: int | None, message: str) -> None:
    """Write how a run ended."""
    ended = runs.update().where(runs.c.id == run_id)
    await connection.execute(ended.values(ended_at=now, exit_code=exit_code, message=message))


async def begin_stage(connection: AsyncConnection, run_id: UUID, stage: str) -> None:
    """Write that a stage starts."""
    line = insert(stages).values(run_id=run_id, stage=stage)
    again = line.on_conflict_do_update(constraint=stages.primary_key, set_={"started_at": now, "ended_at": None})
    await connection.execute(again)


async def end_stage(connection: AsyncConnection, run_id: UUID, stage: str) -> None:
    """Write that a stage is done."""
    line = stages.update().where(stages.c.run_id == run_id, stages.c.stage == stage)
    await connection.execute(line.values(ended_at=now))


async def remember(connection: AsyncConnection, migration: Migration, name: str, value: object) -> None:
    """Write a fact about the migration, in place of what was known under that name."""
    line = insert(state).values(migration=migration.name, name=name, value=value)
    again = line.on_conflict_do_update(constraint=state.primary_key, set_={"value": value, "written_at": now})
    await connection.execute(again)


async def recall(connection: AsyncConnection, migration: Migration, name: str) -> Any:  # noqa: ANN401 - JSON
    """Return a fact about the migration, or None if nothing was written under that name."""
    return await connection.scalar(_fact(migration, name).with_only_columns(state.c.value))


async def completed_at(connection: AsyncConnection, migration: Migration) -> datetime | None:
    """Return when the migration was found complete, or None."""
    completed = _fact(migration, COMPLETED).with_only_columns(state.c.written_at)
    moment: datetime | None = await connection.scalar(completed)
    return moment


def _fact(migration: Migration, name: str) -> sa.Select[Any]:
    return migration.lines(state).where(state.c.name == name)


async def check_owner(connection: AsyncConnection, migration: Migration, run_id: UUID) -> None:
    """
    Hold this run's right to write until the transaction ends; raises GaveUp if another run has taken over.

    The advisory lock lives and dies with one connection. Should that be lost while others still work, a second job may
    begin; then this keeps the first one from writing another line.
    """
    line = _fact(migration, OWNER).with_only_columns(state.c.value).with_for_update(read=True)
    owner = await connection.scalar(line)
    if owner != str(run_id):
        raise GaveUp(
            f"another run has taken over: {owner}, of the migration {migration.name!r}",
            next_step="wait for it to end; `migrator status` shows how far it is",
        )


async def write_parked(connection: AsyncConnection, migration: Migration, taken: "Taken") -> None:
    """Write what is taken away; belongs into the transaction that takes it."""
    values = {
        "migration": migration.name,
        "schema_name": taken.table.schema,
        "table_name": taken.table.name,
        "kind": taken.kind,
        "name": taken.name,
        "statements": list(taken.statements),
    }
    await connection.execute(parked.insert().values(values))


async def still_parked(connection: AsyncConnection, migration: Migration) -> list[Parked]:
    """Return what the migration has taken away and isn't back, in the order in which it was taken."""
    left = migration.lines(parked).where(parked.c.restored_at.is_(None)).order_by(parked.c.id)
    found = await connection.execute(left)
    return [
        Parked(row.id, TableName(row.schema_name, row.table_name), row.kind, row.name, tuple(row.statements))
        for row in found
    ]


async def write_restored(connection: AsyncConnection, entry: Parked) -> None:
    """Write that something is back; belongs into the transaction that brings it."""
    await connection.execute(parked.update().where(parked.c.id == entry.id).values(restored_at=now))


@dataclass(frozen=True, slots=True)
class RunLine:
    """A run as the ledger has it."""

    id: UUID
    version: str
    started_at: datetime
    ended_at: datetime | None
    exit_code: int | None
    message: str | None


async def last_runs(connection: AsyncConnection, migration: Migration, limit: int) -> list[RunLine]:
    """Return the newest runs of the migration, the newest first."""
    newest = migration.lines(runs).order_by(runs.c.started_at.desc()).limit(limit)
    found = (await connection.execute(newest)).all()
    return [RunLine(r.id, r.version, r.started_at, r.ended_at, r.exit_code, r.message) for r in found]


@dataclass(frozen=True, slots=True)
class StageLine:
    """A stage of a run as the ledger has it."""

    stage: str
    started_at: datetime
    ended_at: datetime | None


async def stages_of(connection: AsyncConnection, run_id: UUID) -> list[StageLine]:
    """Return the stages of a run in the order in which they began."""
    chosen = sa.select(stages).where(stages.c.run_id == run_id).order_by(stages.c.started_at)
    found = (await connection.execute(chosen)).all()
    return [StageLine(row.stage, row.started_at, row.ended_at) for row in found]
