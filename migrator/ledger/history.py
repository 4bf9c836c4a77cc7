"""Knows from the ledger whether a migration is complete, and whether a source is the one that it began with."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from shlex import quote

import sqlalchemy as sa
from rich.filesize import decimal
from sqlalchemy.ext.asyncio import AsyncConnection

from migrator.errors import GaveUp, MigratorError, SourceChanged, TargetRefused
from migrator.ledger import schema, state
from migrator.ledger.migration import Migration
from migrator.ledger.run_ledger import RunLedger
from migrator.source.database import Source
from migrator.source.file import TOUCHED, Fingerprint
from migrator.source.url import path_of
from migrator.target.database import Target


async def is_complete(target: Target, migration: Migration) -> bool:
    """Return whether everything was migrated under this name and verified."""
    async with target.connect() as connection:
        if not await schema.exists(connection):
            return False
        return bool(await state.recall(connection, migration, state.COMPLETED))


async def write_fingerprint(run: RunLedger, fingerprint: Fingerprint) -> None:
    """
    Write the fingerprint of a file that holds what was migrated, although the file has changed.

    Raises GaveUp if the migration has been taken back meanwhile.
    """
    async with run.target.transaction() as connection:
        if not await state.recall(connection, run.migration, state.COMPLETED):
            raise _taken_back()
        await state.remember(connection, run.migration, state.SOURCE, asdict(fingerprint))


async def make_ready(target: Target, migration: Migration) -> None:
    """
    Write that nothing remains to be done and the application may start. Writes nothing if the ledger has that already.

    Raises GaveUp if the migration has been taken back meanwhile: its tables are empty then.
    """
    async with target.transaction() as connection:
        if not await state.recall(connection, migration, state.COMPLETED):
            raise _taken_back()
        if not await state.recall(connection, migration, state.READY):
            await state.remember(connection, migration, state.READY, value=True)


async def upgrade_has_begun(connection: AsyncConnection, migration: Migration) -> bool:
    """Return whether the application's migrations have gone beyond the revision at which the rows were copied."""
    lines = sa.select(schema.stages.c.stage).join(schema.runs, schema.runs.c.id == schema.stages.c.run_id)
    begun = lines.where(schema.stages.c.stage == "upgrade")
    if not migration.unnamed:
        begun = begun.where(schema.runs.c.migration == migration.name)
    return await connection.scalar(begun.limit(1)) is not None


async def reopen(connection: AsyncConnection, migration: Migration) -> None:
    """Forget that the migration is complete. Belongs into the transaction of the run that continues it."""
    facts = schema.state.c.name.in_([state.COMPLETED, schema.LEFT_OUT, state.READY])
    await connection.execute(schema.state.delete().where(schema.state.c.migration == migration.name, facts))


def _taken_back() -> GaveUp:
    return GaveUp(
        "another command has taken back what was migrated: `migrator reset`, or a run with --restart",
        next_step="Run the job again when no other run works on this migration.",
    )


async def complete(run: RunLedger, before: Fingerprint, after: Fingerprint, left_out: Sequence[str]) -> None:
    """
    Write that all tables are copied and verified, except the source's tables ``left_out`` by the operator.

    Raises SourceChanged if the source is another than when the run began, GaveUp if another run has taken over.
    """
    if changes := before.differences(after, but=TOUCHED):
        raise SourceChanged(
            f"somebody wrote to the source while it was copied: {', '.join(changes)}",
            next_step="Stop the application and run again with --restart, or leave it running and use --snapshot.",
            changes=changes,
        )
    async with run.transaction() as connection:
        await state.remember(connection, run.migration, state.SOURCE, asdict(before))
        await state.remember(connection, run.migration, state.COMPLETED, value=True)
        await state.remember(connection, run.migration, schema.LEFT_OUT, list(left_out))


@dataclass(frozen=True, slots=True)
class SourceIdentity:
    """A source as an operator knows it: its path, its tables, and its state."""

    path: str
    tables: tuple[str, ...]
    """Empty where the ledger is of an earlier version, which kept no names."""
    fingerprint: Fingerprint

    def __str__(self) -> str:
        """Say which file it is."""
        tables = f", {len(self.tables)} tables" if self.tables else ""
        return f"{self.path!r} ({decimal(self.fingerprint.size_bytes)}{tables})"


async def identity_of(path: Path, source: Source) -> SourceIdentity:
    """Return the identity of a source that the operator knows by ``path``; raises SourceUnreadable."""
    tables = tuple(table.name for table in (await source.describe()).tables)
    spelled = str(path).encode(errors="backslashreplace").decode()  # a path need not be UTF-8, and what is kept must be
    return SourceIdentity(spelled, tables, await source.fingerprint())


async def read_identity(connection: AsyncConnection, migration: Migration) -> SourceIdentity | None:
    """Return the source of a migration, as far as it is known; an earlier version kept its path with each run."""
    columns = schema.migrations.c
    if not migration.unnamed:
        known = await connection.scalar(sa.select(columns.source).where(columns.name == migration.name))
        if known is not None:
            return SourceIdentity(known["path"], tuple(known["tables"]), Fingerprint(**known["fingerprint"]))
    runs = migration.lines(schema.runs).with_only_columns(schema.runs.c.settings["source_url"].astext)
    url = await connection.scalar(runs.order_by(_HAS_BROUGHT.desc(), schema.runs.c.started_at.desc()).limit(1))
    fingerprint = await state.recall(connection, migration, state.SOURCE)
    if url is None or fingerprint is None:
        return None
    return SourceIdentity(str(path_of(url).absolute()), (), Fingerprint(**fingerprint))


_HAS_BROUGHT = sa.or_(
    *(
        sa.exists(sa.select(sa.literal(1)).where(lines.c.run_id == schema.runs.c.id))
        for lines in (schema.tables, schema.chunks)
    )
)
"""Whether a run has copied rows: a run that has just begun, or was refused, doesn't tell whose the rows are."""


async def write_identity(connection: AsyncConnection, migration: Migration, source: SourceIdentity) -> None:
    """Write which source the migration is of."""
    line = schema.migrations.update().where(schema.migrations.c.name == migration.name)
    await connection.execute(line.values(source=asdict(source)))


def refusal(migration: Migration, known: SourceIdentity, now: SourceIdentity) -> MigratorError:
    """Return the error that says which source the migration is of, and how to give this one a name of its own."""
    own = Path(now.path).stem or "other"
    own = f"{own}-2" if own == migration.name else own
    return TargetRefused(
        f"the migration {migration.name!r} is of another source: the ledger knows {known}, this one is {now}",
        next_step=f"Give this source a name of its own with --migration {quote(own)} (MIGRATOR_MIGRATION), and where "
        "its tables have the same names a schema of its own with --target-schema. If it is the same database, moved "
        "and changed since, put it back to where it was.",
        known=known.path,
        source=now.path,
        migration=migration.name,
    )


def changes_of_file(
    migration: Migration, known: SourceIdentity | None, before: Fingerprint, now: SourceIdentity
) -> list[str]:
    """
    Return in words what of the source's file is different from what it was ``before``; nothing if it is that file.

    An earlier version kept sizes and counters alone, which another file may share. Where these are equal the path has
    to tell; raises TargetRefused for a file at another one.
    """
    changes = before.differences(now.fingerprint)
    if not changes and before.file is None:
        refuse_another(migration, known, now)
    return changes


def refuse_another(
    migration: Migration, known: SourceIdentity | None, now: SourceIdentity, *, certain: bool = True
) -> None:
    """Raise TargetRefused if ``now`` is another source than the migration's, as ``is_another`` has it."""
    if known is not None and is_another(known, now, certain=certain):
        raise refusal(migration, known, now)


def is_another(known: SourceIdentity, now: SourceIdentity, *, certain: bool = True) -> bool:
    """
    Return whether a file is another database, not the known one as it is by now; ``certain``: its rows do differ.

    At the same path it is the same database, changed since, unless they have no table in common. At another path it is
    another one: SQLite gives its files no identity, and a tenant's file has the schema of every other tenant's.
    """
    unrelated = bool(known.tables) and not set(known.tables) & set(now.tables)
    if known.path == now.path:
        return unrelated
    return unrelated or certain or known.fingerprint.schema_digest != now.fingerprint.schema_digest
