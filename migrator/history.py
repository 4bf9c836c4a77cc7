"""What earlier runs have left in the ledger, and whether this one may go on from there."""

from dataclasses import asdict

from migrator import ledger, loads
from migrator.errors import GaveUp, SourceChanged
from migrator.migration import Migration
from migrator.run_ledger import RunLedger
from migrator.source_file import TOUCHED, Fingerprint
from migrator.target import Target


async def migrated(target: Target, migration: Migration) -> Fingerprint | None:
    """Return the source that was migrated under this name, if one was, and completely."""
    async with target.connect() as connection:
        if not await ledger.exists(connection) or not await ledger.recall(connection, migration, ledger.COMPLETED):
            return None
        return Fingerprint(**await ledger.recall(connection, migration, ledger.SOURCE))


async def go_on_with(run: RunLedger, fingerprint: Fingerprint) -> None:
    """
    Remember the source; raise SourceChanged if an earlier run has copied from one that was different.

    Raises GaveUp if another run has taken over.
    """
    async with run.transaction() as connection:
        known = await ledger.recall(connection, run.migration, ledger.SOURCE)
        if known is None or not await loads.begun(connection, run.migration):
            await ledger.remember(connection, run.migration, ledger.SOURCE, asdict(fingerprint))
            return
    if changes := Fingerprint(**known).differences(fingerprint, but=(*TOUCHED, "file")):
        raise SourceChanged(
            f"the source is not the one an earlier run has begun to copy: {', '.join(changes)}",
            next_step="bring that file back, or give up what was copied and start over with --restart",
            changes=changes,
        )


async def make_ready(target: Target, migration: Migration) -> None:
    """
    Write that nothing is left to do and the application may start; where that is known, nothing is written.

    Raises GaveUp if somebody has taken the migration back meanwhile: the tables are empty then.
    """
    async with target.transaction() as connection:
        if not await ledger.recall(connection, migration, ledger.COMPLETED):
            raise GaveUp(
                "what was migrated has been taken back meanwhile, by `migrator reset` or a run with --restart",
                next_step="run again, when nobody else does",
            )
        if not await ledger.recall(connection, migration, ledger.READY):
            await ledger.remember(connection, migration, ledger.READY, value=True)


async def complete(run: RunLedger, before: Fingerprint, after: Fingerprint) -> None:
    """
    Write that all is there and verified.

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
