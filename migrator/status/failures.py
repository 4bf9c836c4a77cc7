"""Reads and writes what a failed run said that an operator has to do."""

from collections.abc import Sequence
from uuid import UUID

import sqlalchemy as sa
from msgspec import Struct
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncConnection

from migrator.ledger.schema import failures, holds


class Failure(Struct, frozen=True):
    """What settles the failure of a run. It holds no secrets, and no values of rows if they are masked."""

    next_step: str
    flags: Sequence[str] = ()
    """Flags for the next run, as a shell takes them."""
    rules: str = ""
    """Lines for ``migrator.toml``."""


async def write_failure(connection: AsyncConnection, run_id: UUID, failure: Failure) -> None:
    """Write what settles the failure of a run. A second line about the same run replaces the first."""
    values = {"next_step": failure.next_step, "flags": list(failure.flags), "rules": failure.rules}
    line = insert(failures).values(run_id=run_id, **values)
    await connection.execute(line.on_conflict_do_update(constraint=failures.primary_key, set_=values))


async def failure_of(connection: AsyncConnection, run_id: UUID) -> Failure | None:
    """Return what settles the failure of a run; None if the run didn't say, or an earlier version made the ledger."""
    if not await holds(connection, failures):
        return None
    line = (await connection.execute(sa.select(failures).where(failures.c.run_id == run_id))).one_or_none()
    return None if line is None else Failure(line.next_step, tuple(line.flags), line.rules)
