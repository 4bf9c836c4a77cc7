"""A run's access to the ledger: a run writes only while the migration is its own to write."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncConnection

from migrator.errors import GaveUp
from migrator.ledger import state
from migrator.ledger.migration import Migration
from migrator.target.database import Target

_OWNER = "owner"
"""The fact that names the run that may write."""


@dataclass(frozen=True, slots=True)
class RunLedger:
    """The ledger as one run of one migration writes it."""

    target: Target
    migration: Migration
    run_id: UUID

    async def take_over(self, connection: AsyncConnection) -> None:
        """Record that this run is the one that may write. Waits until another run has committed what it is writing."""
        await state.remember(connection, self.migration, _OWNER, str(self.run_id))

    async def hold(self, connection: AsyncConnection) -> None:
        """
        Hold the right to write until the transaction ends. Raises GaveUp if another run has taken over.

        The advisory lock lives and dies with one connection. If that is lost while other connections still work, a
        second job may begin. The ownership line then keeps the first job from writing.
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
