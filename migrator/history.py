"""Whether a migration is complete, as the ledger has it."""

from collections.abc import Sequence
from dataclasses import asdict

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from migrator import ledger
from migrator.errors import GaveUp, SourceChanged
from migrator.migration import Migration
from migrator.run_ledger import RunLedger
from migrator.source.file import TOUCHED, Fingerprint
from migrator.target.database import Target


async def is_complete(target: Target, migration: Migration) -> bool:
    """Return whether everything was migrated under this name, and verified."""
    async with target.connect() as connection:
        if not await ledger.exists(connection):
            return False
        return bool(await ledger.recall(connection, migration, ledger.COMPLETED))


async def remember_source(run: RunLedger, fingerprint: Fingerprint) -> None:
    """
    Write that a file holds what was migrated, though it isn't the file that it was.

    Raises GaveUp if the migration has been taken back meanwhile.
    """
    async with run.target.transaction() as connection:
        if not await ledger.recall(connection, run.migration, ledger.COMPLETED):
            raise _taken_back()
        await ledger.remember(connection, run.migration, ledger.SOURCE, asdict(fingerprint))


async def make_ready(target: Target, migration: Migration) -> None:
    """
    Write that nothing is left to do and the application may start; where that is known, nothing is written.

    Raises GaveUp if somebody has taken the migration back meanwhile: the tables are empty then.
    """
    async with target.transaction() as connection:
        if not await ledger.recall(connection, migration, ledger.COMPLETED):
            raise _taken_back()
        if not await ledger.recall(connection, migration, ledger.READY):
            await ledger.remember(connection, migration, ledger.READY, value=True)


async def upgrade_has_begun(connection: AsyncConnection, migration: Migration) -> bool:
    """Return whether the application's migrations have gone on, from the revision that the rows were brought at."""
    lines = sa.select(ledger.stages.c.stage).join(ledger.runs, ledger.runs.c.id == ledger.stages.c.run_id)
    begun = lines.where(ledger.stages.c.stage == "upgrade")
    if not migration.unnamed:
        begun = begun.where(ledger.runs.c.migration == migration.name)
    return await connection.scalar(begun.limit(1)) is not None


async def reopen(connection: AsyncConnection, migration: Migration) -> None:
    """Forget that the migration is complete; belongs into the transaction of the run that goes on with it."""
    facts = ledger.state.c.name.in_([ledger.COMPLETED, ledger.LEFT_OUT, ledger.READY])
    await connection.execute(ledger.state.delete().where(ledger.state.c.migration == migration.name, facts))


def _taken_back() -> GaveUp:
    return GaveUp(
        "what was migrated has been taken back meanwhile, by `migrator reset` or a run with --restart",
        next_step="run again, when nobody else does",
    )


async def complete(run: RunLedger, before: Fingerprint, after: Fingerprint, left_out: Sequence[str]) -> None:
    """
    Write that all is there and verified, but for the source's tables ``left_out`` by the operator.

    Raises SourceChanged if the source is another than when the run began, GaveUp if another run has taken over.
    """
    if changes := before.differences(after, but=TOUCHED):
        raise SourceChanged(
            f"somebody wrote to the source while it was copied: {', '.join(changes)}",
            next_step="stop the application and run again with --restart, or use --snapshot to leave it running",
            changes=changes,
        )
    async with run.transaction() as connection:
        await ledger.remember(connection, run.migration, ledger.SOURCE, asdict(before))
        await ledger.remember(connection, run.migration, ledger.COMPLETED, value=True)
        await ledger.remember(connection, run.migration, ledger.LEFT_OUT, list(left_out))
