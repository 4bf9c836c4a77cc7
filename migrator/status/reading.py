"""
Reads the state of migrations from the ledger, also while runs are under way. Writes nothing and takes no lock.

Whether a run still lives is told by its advisory lock, which ends with the run's session: a time limit could not tell a
killed run from a slow one.
"""

from datetime import datetime
from typing import Any, Final

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from migrator.errors import ExitCode
from migrator.ledger import loads, registry, schema
from migrator.ledger import parked as ledger_parked
from migrator.ledger import runs as ledger_runs
from migrator.ledger import state as facts
from migrator.ledger.kept import kept_rows
from migrator.ledger.migration import LOCK_KEY, Migration, Wanted
from migrator.ledger.runs import RunLine
from migrator.status.failures import failure_of
from migrator.status.progress import progress_of
from migrator.status.state import MigrationStatus, State, TableBegun
from migrator.target.advisory import is_held

_SHOWN_RUNS: Final = 5


async def read_all(connection: AsyncConnection, wanted: Wanted) -> tuple[list[MigrationStatus], str | None]:
    """
    Return the state of the migrations that the settings may refer to, and a message if the ledger knows only others.

    A migration that is alone is described with its stages and tables; of several only the states are read.
    """
    several = await registry.left_open(connection, wanted)
    if several:
        return [await _read_state(connection, known.migration) for known in several], None
    migration = await registry.chosen(connection, wanted)
    if migration is not None:
        return [await _read(connection, migration)], None
    unknown = await registry.unknown(connection, wanted)
    to_begin = await registry.of_run(connection, wanted)
    state = State.UNDER_WAY if await is_held(connection, to_begin.lock_key) else State.NEVER_BEGUN
    return [MigrationStatus(to_begin.name, state, await _now(connection))], unknown


async def _read_state(connection: AsyncConnection, migration: Migration) -> MigrationStatus:
    # Asked before the run's line is read: a run first writes how it ended, and then gives up its lock.
    alive = await _is_alive(connection, migration)
    ready = bool(await facts.recall(connection, migration, facts.READY))
    rehearsed = bool(await facts.recall(connection, migration, facts.REHEARSED))
    completed_at = await facts.completed_at(connection, migration)
    runs = await ledger_runs.last_runs(connection, migration, limit=_SHOWN_RUNS)
    newest = runs[0] if runs else None
    if newest and newest.ended_at is None and alive is False:  # it may have begun in between
        alive = await _is_alive(connection, migration)
    state = (
        State.COMPLETE
        if ready
        else _state_of(newest, alive=alive, copied=completed_at is not None, rehearsed=rehearsed)
    )
    now = await _now(connection)
    return MigrationStatus(migration.name, state, now, completed_at, tuple(runs), rehearsed=rehearsed)


async def _now(connection: AsyncConnection) -> datetime:
    moment: datetime = (await connection.execute(sa.select(schema.now))).scalar_one()
    return moment


async def _is_alive(connection: AsyncConnection, migration: Migration) -> bool | None:
    """Return whether a job holds the migration's lock; None from a standby, which doesn't know its primary's locks."""
    if await connection.scalar(sa.text("SELECT pg_is_in_recovery()")):
        return None
    # An earlier version, which knew only one migration in a database, locked the whole database.
    return await is_held(connection, LOCK_KEY if migration.unnamed else migration.lock_key)


def _state_of(newest: RunLine | None, *, alive: bool | None, copied: bool, rehearsed: bool) -> State:
    """Return the state of a migration after which the application may not start yet."""
    if alive or (alive is None and newest is not None and newest.ended_at is None):
        return State.UNDER_WAY  # also before the new run has its line, and while `reset` or `repair` is at work
    if newest is None:
        return State.NEVER_BEGUN
    failed = newest.ended_at is not None and newest.exit_code not in {ExitCode.DONE, *_STOPPED}
    if copied and rehearsed and not failed:
        return State.REHEARSED  # also after a refresh that was stopped before it changed anything, as --watch mostly is
    if newest.ended_at is None or newest.exit_code in _STOPPED:
        return State.INTERRUPTED
    if failed:
        return State.FAILED
    # After a run that ended well, `reset` has taken everything back; or every row is there, and the upgrade isn't.
    return State.INTERRUPTED if copied else State.NEVER_BEGUN


_STOPPED = frozenset({ExitCode.SIGINT, ExitCode.SIGTERM})


async def _read(connection: AsyncConnection, migration: Migration) -> MigrationStatus:
    found = await _read_state(connection, migration)
    newest = found.newest_run
    copied = await loads.copied(connection, migration)
    parked = await ledger_parked.still_parked(connection, migration)
    known: dict[str, Any] = {}
    if newest is not None:
        stages = await ledger_runs.stages_of(connection, newest.id)
        # What the run has written is some seconds old: stages that have ended since are at work no more.
        ended = {stage.stage for stage in stages if stage.ended_at is not None}
        progress = await progress_of(connection, migration, newest.id) if found.state is State.UNDER_WAY else None
        known = {
            "settings": await ledger_runs.settings_of(connection, newest.id),
            "stages": tuple(stages),
            "progress": progress.but(ended) if progress else None,
            "failure": await failure_of(connection, newest.id) if found.state is State.FAILED else None,
        }
    return MigrationStatus(
        found.name,
        found.state,
        found.now,
        found.completed_at,
        found.runs,
        tables=tuple(copied.values()),
        begun=tuple(
            TableBegun(name, one.brought.rows, one.brought.bytes, one.chunks, one.chunks + len(one.left))
            for name, one in (await loads.begun(connection, migration)).items()
            if one.left
        ),
        tables_total=await _claimed(connection, migration),
        parked=tuple(f"{entry.kind} {entry.name} of {entry.table}" for entry in parked),
        rehearsed=found.rehearsed,
        refreshed=await facts.last_refresh(connection, migration),
        kept=tuple(entry.line() for entry in await kept_rows(connection, migration)),
        **known,
    )


async def _claimed(connection: AsyncConnection, migration: Migration) -> int | None:
    """Return the number of tables that the migration takes, or None if that isn't known yet."""
    if migration.unnamed:
        return None
    columns = schema.claims.c
    count = sa.select(sa.func.count()).select_from(schema.claims).where(columns.migration == migration.name)
    return (await connection.scalar(count)) or None
