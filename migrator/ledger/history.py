"""Tells from the ledger whether a migration is complete, and whether a source is the file that it began with."""

from collections.abc import Sequence
from pathlib import Path
from shlex import quote

import sqlalchemy as sa
from msgspec import Struct
from msgspec.structs import asdict
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
    """Return whether the migration has copied and verified all rows."""
    async with target.connect() as connection:
        if not await schema.exists(connection):
            return False
        return bool(await state.recall(connection, migration, state.COMPLETED))


async def write_fingerprint(run: RunLedger, fingerprint: Fingerprint) -> None:
    """
    Write the new fingerprint of a source file that has changed but still holds the migrated rows.

    Raises GaveUp if another command has reset the migration meanwhile.
    """
    async with run.target.transaction() as connection:
        if not await state.recall(connection, run.migration, state.COMPLETED):
            raise _taken_back()
        await state.remember(connection, run.migration, state.SOURCE, asdict(fingerprint))


async def make_ready(target: Target, migration: Migration) -> None:
    """
    Write that nothing remains to be done and the application may start.

    Writes nothing if the ledger has this fact already. Raises GaveUp if another command has reset the migration
    meanwhile: then its tables are empty.
    """
    async with target.transaction() as connection:
        if not await state.recall(connection, migration, state.COMPLETED):
            raise _taken_back()
        if not await state.recall(connection, migration, state.READY):
            await state.remember(connection, migration, state.READY, value=True)
            await state.drop(connection, migration, state.REHEARSED)


async def upgrade_has_begun(connection: AsyncConnection, migration: Migration) -> bool:
    """Return whether a run has begun the stage ``upgrade``, which goes beyond the revision of the copied rows."""
    lines = sa.select(schema.stages.c.stage).join(schema.runs, schema.runs.c.id == schema.stages.c.run_id)
    begun = lines.where(schema.stages.c.stage == "upgrade")
    if not migration.unnamed:
        begun = begun.where(schema.runs.c.migration == migration.name)
    return await connection.scalar(begun.limit(1)) is not None


async def reopen(connection: AsyncConnection, migration: Migration) -> None:
    """Delete the facts that the migration is complete. Call it in the transaction of the run that continues it."""
    facts = schema.state.c.name.in_([state.COMPLETED, schema.LEFT_OUT, state.READY, state.REHEARSED])
    await connection.execute(schema.state.delete().where(schema.state.c.migration == migration.name, facts))


def _taken_back() -> GaveUp:
    return GaveUp(
        "another command has taken back what was migrated: `migrator reset`, or a run with --restart",
        next_step="Run the job again when no other run works on this migration.",
    )


async def complete(
    run: RunLedger, before: Fingerprint, after: Fingerprint, left_out: Sequence[str], *, rehearsal: bool = False
) -> None:
    """
    Write that all tables are copied and verified, and whether that was a ``rehearsal``.

    ``left_out`` names the source tables that the operator has excluded. ``before`` and ``after`` are the fingerprints
    of the source at the start and at the end of the run. Raises SourceChanged if they differ, and GaveUp if another run
    has taken over.
    """
    if changes := before.differences(after, but=TOUCHED):
        raise SourceChanged(
            f"somebody wrote to the source while it was copied: {', '.join(changes)}",
            next_step="Stop the application and run again with --refresh, which brings what has changed. Or leave it "
            "running, and read a copy with --snapshot.",
            changes=changes,
        )
    async with run.transaction() as connection:
        await state.remember(connection, run.migration, state.SOURCE, asdict(before))
        await state.remember(connection, run.migration, state.COMPLETED, value=True)
        await state.remember(connection, run.migration, schema.LEFT_OUT, list(left_out))
        if rehearsal:
            await state.remember(connection, run.migration, state.REHEARSED, value=True)
        else:
            await state.drop(connection, run.migration, state.REHEARSED)


class SourceIdentity(Struct, frozen=True):
    """A source in terms that an operator knows: its path, its tables, and its fingerprint."""

    path: str
    tables: tuple[str, ...]
    """The names of its tables; empty in a ledger of an earlier version, which stored no names."""
    fingerprint: Fingerprint

    def __str__(self) -> str:
        """Return the path, the size and the number of tables, for a message."""
        tables = f", {len(self.tables)} tables" if self.tables else ""
        return f"{self.path!r} ({decimal(self.fingerprint.size_bytes)}{tables})"


async def identity_of(path: Path, source: Source) -> SourceIdentity:
    """Return the identity of a source whose file is at ``path``. Raises SourceUnreadable."""
    tables = tuple(table.name for table in (await source.describe()).tables)
    spelled = str(path).encode(errors="backslashreplace").decode()  # the ledger stores UTF-8, a path need not be
    return SourceIdentity(spelled, tables, await source.fingerprint())


async def read_identity(connection: AsyncConnection, migration: Migration) -> SourceIdentity | None:
    """Return the source of a migration, or None if it is unknown. An earlier version stored the path with each run."""
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
"""Whether a run has copied rows. A run that has only begun, or was refused, doesn't tell which source was copied."""


async def write_identity(connection: AsyncConnection, migration: Migration, source: SourceIdentity) -> None:
    """Write the identity of the migration's source."""
    line = schema.migrations.update().where(schema.migrations.c.name == migration.name)
    values = asdict(source) | {"fingerprint": asdict(source.fingerprint)}
    await connection.execute(line.values(source=values))


def refusal(migration: Migration, known: SourceIdentity, now: SourceIdentity) -> MigratorError:
    """Return the error for a source that is not the migration's; its next step says how to name a new migration."""
    name = Path(now.path).stem or "other"
    name = f"{name}-2" if name == migration.name else name
    return TargetRefused(
        f"the migration {migration.name!r} is of another source: the ledger knows {known}, this one is {now}",
        next_step=f"Give this source a name of its own with --migration {quote(name)} (MIGRATOR_MIGRATION), and where "
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
    Return one description for each difference between the source's file ``now`` and its fingerprint ``before``.

    The list is empty if the file is the same. An earlier version stored only sizes and counters, and these may be equal
    in another file. Then the path decides: raises TargetRefused for a file at another path.
    """
    changes = before.differences(now.fingerprint)
    if not changes and before.file is None:
        refuse_another(migration, known, now)
    return changes


def refuse_another(
    migration: Migration, known: SourceIdentity | None, now: SourceIdentity, *, certain: bool = True
) -> None:
    """Raise TargetRefused if ``is_another`` says that ``now`` is not the migration's source."""
    if known is not None and is_another(known, now, certain=certain):
        raise refusal(migration, known, now)


def is_another(known: SourceIdentity, now: SourceIdentity, *, certain: bool = True) -> bool:
    """
    Return whether the file ``now`` is another database than the known one, and not only a later state of it.

    ``certain`` says that the rows are known to differ. A file at the same path is the same database, with changes,
    unless the two have no table in common. A file at another path is another database: SQLite gives its files no
    identity, and the files of all tenants have the same schema.
    """
    unrelated = bool(known.tables) and not set(known.tables) & set(now.tables)
    if known.path == now.path:
        return unrelated
    return unrelated or certain or known.fingerprint.schema_digest != now.fingerprint.schema_digest
