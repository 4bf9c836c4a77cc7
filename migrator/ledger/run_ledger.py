"""A run's access to the ledger: its own lines are written only while the migration is this run's to write."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncConnection

from migrator.ledger import state
from migrator.ledger.migration import Migration
from migrator.target.database import Target


@dataclass(frozen=True, slots=True)
class RunLedger:
    """The ledger as one run of one migration writes it."""

    target: Target
    migration: Migration
    run_id: UUID

    async def take_over(self, connection: AsyncConnection) -> None:
        """Record that this run is the one that may write; waits for what another has under way to be committed."""
        await state.remember(connection, self.migration, state.OWNER, str(self.run_id))

    async def hold(self, connection: AsyncConnection) -> None:
        """Hold the right to write until the transaction ends; raises GaveUp if another run has taken over."""
        await state.check_owner(connection, self.migration, self.run_id)

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[AsyncConnection]:
        """Open a transaction that holds the right to write; raises GaveUp if another run has taken over."""
        async with self.target.transaction() as connection:
            await self.hold(connection)
            yield connection
