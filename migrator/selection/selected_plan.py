"""Applies the rules for orphans to a plan: its tables then read only the rows that are carried."""

import asyncio
from collections.abc import Collection, Mapping

import structlog
from msgspec import Struct
from msgspec.structs import replace

from migrator.catalog.keys import Keys, keys_of
from migrator.errors import TargetRefused
from migrator.events import Event
from migrator.ledger import loads, parked, schema
from migrator.ledger.migration import Migration
from migrator.ledger.run_ledger import RunLedger
from migrator.names import TableName
from migrator.planning.plan import Plan
from migrator.planning.rules import Rules
from migrator.selection import recorded
from migrator.selection.key_file import KeyFile
from migrator.selection.left_behind import without_orphans
from migrator.selection.recorded import RowRules
from migrator.selection.references import Reference, references_of
from migrator.source.database import Source
from migrator.source.schema import SourceDatabase
from migrator.target.database import Target

log = structlog.get_logger()


class Selecting(Struct, frozen=True):
    """What the rules for orphans are applied to: a source, and the plan for it under these rules."""

    source: Source
    plan: Plan
    rules: Rules
    unmade: Mapping[TableName, Keys]
    """The keys of tables that don't exist in the target yet."""
    key_file: KeyFile | None = None


async def select_for_run(selecting: Selecting, run: RunLedger) -> Plan:
    """
    Return the plan with the rows that the rules carry, and keep the rules in the ledger.

    Raises ConfigurationError for a rule that can't be used, TargetRefused if a table was begun while the rules carried
    other rows of it, SourceUnreadable, and GaveUp if another run has taken over.
    """
    async with run.transaction() as connection:
        known = await recorded.read(connection, run.migration)
        begun = await loads.begun(connection, run.migration)
        is_parked = bool(await parked.still_parked(connection, run.migration))
        keys = await keys_of(connection, selecting.plan.schema)
    now = _row_rules(selecting, known.completed(keys) if begun or is_parked else keys)
    tables = {table.name: table.source.name for table in selecting.plan.tables}
    _refuse_changed(known.changed(now, [tables[name] for name in begun if name in tables]))
    if known != now:
        async with run.transaction() as connection:
            await recorded.write(connection, run.migration, now)
    return await _selected(selecting, now.references)


async def select_to_look(selecting: Selecting, target: Target, migration: Migration) -> Plan:
    """Return the plan with the rows that the rules carry, and write nothing; raises as ``select_for_run``."""
    async with target.connect() as connection:
        known = await recorded.read(connection, migration) if await schema.exists(connection) else RowRules()
        keys = await keys_of(connection, selecting.plan.schema)
    return await _selected(selecting, _row_rules(selecting, known.completed({**keys, **selecting.unmade})).references)


def _row_rules(selecting: Selecting, keys: Mapping[TableName, Keys]) -> RowRules:
    references = references_of(selecting.plan, keys, selecting.rules)
    names = {(reference.table, reference.foreign_key) for reference in references}
    return RowRules(
        {
            table.source.name: table.source.selection.where
            for table in selecting.plan.tables
            if table.source.selection.where
        },
        tuple(references),
        {
            table.name: tuple(key for key in keys[table.name].foreign if (table.source.name, key.name) in names)
            for table in selecting.plan.tables
            if any(table.source.name == reference.table for reference in references)
        },
    )


def _refuse_changed(tables: Collection[str]) -> None:
    if tables:
        raise TargetRefused(
            f"the rules for rows have changed since these tables were begun, and other rows of them would be carried "
            f"now: {', '.join(tables)}",
            next_step="Give the rules that they were begun under, or give up what was copied and start over with "
            "--restart.",
            tables=list(tables),
        )


async def _selected(selecting: Selecting, references: Collection[Reference]) -> Plan:
    plan, key_file = selecting.plan, selecting.key_file
    if not references:
        if key_file is not None:
            await asyncio.to_thread(key_file.write, selecting.source, ())
        return plan
    contents = SourceDatabase(tuple(table.source for table in plan.tables), (), ())
    selected = await asyncio.to_thread(without_orphans, selecting.source, contents, list(references))
    if key_file is not None:
        await asyncio.to_thread(key_file.write, selecting.source, selected.tables)
    sources = {table.name: table for table in selected.tables}
    for table in selected.tables:
        for orphans in table.selection.orphans:
            log.info(
                Event.ROWS_ORPHANED,
                table=table.name,
                column=orphans.column,
                foreign_key=orphans.foreign_key,
                rule=orphans.rule,
                rows=orphans.rows,
            )
    return replace(plan, tables=tuple(replace(table, source=sources[table.source.name]) for table in plan.tables))
