"""What earlier runs have left in the ledger, and whether this one may go on from there."""

from dataclasses import asdict
from uuid import UUID

from migrator import ledger, loads
from migrator.errors import GaveUp, SourceChanged
from migrator.source_file import TOUCHED, Fingerprint
from migrator.target import Target


async def migrated(target: Target) -> Fingerprint | None:
    """Return the source that was migrated here, if one was, and completely."""
    async with target.connect() as connection:
        if not await ledger.exists(connection) or not await ledger.recall(connection, ledger.COMPLETED):
            return None
        return Fingerprint(**await ledger.recall(connection, ledger.SOURCE))


async def go_on_with(target: Target, fingerprint: Fingerprint, run_id: UUID) -> None:
    """
    Remember the source; raise SourceChanged if an earlier run has copied from one that was different.

    Raises GaveUp if another run has taken over.
    """
    async with target.transaction() as connection:
        await ledger.check_owner(connection, run_id)
        known = await ledger.recall(connection, ledger.SOURCE)
        if known is None or not await loads.begun(connection):
            await ledger.remember(connection, ledger.SOURCE, asdict(fingerprint))
            return
    if changes := Fingerprint(**known).differences(fingerprint, but=(*TOUCHED, "file")):
        raise SourceChanged(
            f"the source is not the one an earlier run has begun to copy: {', '.join(changes)}",
            next_step="bring that file back, or give up what was copied and start over with --restart",
            changes=changes,
        )


async def make_ready(target: Target) -> None:
    """
    Write that nothing is left to do and the application may start; where that is known, nothing is written.

    Raises GaveUp if somebody has taken the migration back meanwhile: the tables are empty then.
    """
    async with target.transaction() as connection:
        if not await ledger.recall(connection, ledger.COMPLETED):
            raise GaveUp(
                "what was migrated has been taken back meanwhile, by `migrator reset` or a run with --restart",
                next_step="run again, when nobody else does",
            )
        if not await ledger.recall(connection, ledger.READY):
            await ledger.remember(connection, ledger.READY, value=True)


async def complete(target: Target, before: Fingerprint, after: Fingerprint, run_id: UUID) -> None:
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
    async with target.transaction() as connection:
        await ledger.check_owner(connection, run_id)
        await ledger.remember(connection, ledger.SOURCE, asdict(before))
        await ledger.remember(connection, ledger.COMPLETED, value=True)
