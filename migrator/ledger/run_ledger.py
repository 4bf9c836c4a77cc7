"""Gives a run access to the ledger. A run may write only while it owns the migration."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from uuid import UUID

from msgspec import Struct
from sqlalchemy.ext.asyncio import AsyncConnection

from migrator.errors import GaveUp
from migrator.ledger import state
from migrator.ledger.migration import Migration
from migrator.target.database import Target

_OWNER = "owner"
"""The name of the fact that holds the id of the owner."""


class RunLedger(Struct, frozen=True):
    """The ledger for one run of one migration."""

    target: Target
    migration: Migration
    run_id: UUID

    async def take_over(self, connection: AsyncConnection) -> None:
        """Make this run the owner. Waits until another run has committed or rolled back its open transaction."""
        await state.remember(connection, self.migration, _OWNER, str(self.run_id))

    async def hold(self, connection: AsyncConnection) -> None:
        """
        Hold the right to write until the transaction ends. Raises GaveUp if another run has taken over.

        The advisory lock ends with its connection. If that connection is lost while the job's other connections still
        work, a second job may begin. Then the owner's line in the ledger keeps the first job from writing.
        """
        line = state.fact(self.migration, _OWNER).with_only_columns(state.VALUE).with_for_update(read=True)
        owner = await connection.scalar(line)
        if owner != str(self.run_id):
            raise GaveUp(
                f"another run has taken over: {owner}, of the migration {self.migration.name!r}",
                next_step="Wait for it to end; `migrator status` shows how far it is.",
            )

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[AsyncConnection]:
        """Open a transaction that holds the right to write. Raises GaveUp if another run has taken over."""
        async with self.target.transaction() as connection:
            await self.hold(connection)
            yield connection
