"""Selects the rows of the source that the rule ``where`` carries, and counts the rows that it leaves behind."""

import asyncio
from collections.abc import Mapping
from typing import TYPE_CHECKING

import structlog
from msgspec.structs import replace

from migrator.errors import ConfigurationError, SourceUnreadable
from migrator.events import Event
from migrator.planning.rules import Rules
from migrator.source.database import Source
from migrator.source.schema import SourceDatabase, SourceTable
from migrator.sql.conditions import check_condition
from migrator.sql.lexing import Unreadable
from migrator.sql.selection import Selection

if TYPE_CHECKING:
    from migrator.source.scan import ScanSession  # loads Arrow, which a run with nothing left to do does without

log = structlog.get_logger()


async def carried_rows(source: Source, contents: SourceDatabase, rules: Rules) -> SourceDatabase:
    """
    Return ``contents`` with the conditions of the rules, and log how many rows each of them leaves behind.

    Reads each table with a condition once. Raises ConfigurationError for a condition that is no SQL over a row of its
    table, that fails for some row, or whose answer may change with time, and SourceUnreadable.
    """
    conditions = {
        table.name: rule.where
        for table in contents.tables
        if (rule := rules.of_table(table.name)).where is not None and not rule.exclude
    }
    selected = await under_conditions(source, contents, conditions)
    for table in selected.tables:
        if table.selection.where:
            rows, where = table.selection.excluded_by_where, table.selection.where
            log.info(Event.ROWS_LEFT_BEHIND, table=table.name, rows=rows, where=where)
    return selected


async def under_conditions(source: Source, contents: SourceDatabase, conditions: Mapping[str, str]) -> SourceDatabase:
    """Return ``contents`` with a condition for each table that ``conditions`` names; raises as ``carried_rows``."""
    if not conditions:
        return contents
    return await asyncio.to_thread(_under_conditions, source, contents, conditions)


def _under_conditions(source: Source, contents: SourceDatabase, conditions: Mapping[str, str]) -> SourceDatabase:
    with source.session() as session:
        tables = tuple(
            _selected(session, table, conditions[table.name]) if table.name in conditions else table
            for table in contents.tables
        )
    return replace(contents, tables=tables)


def _selected(session: "ScanSession", table: SourceTable, where: str) -> SourceTable:
    selected = replace(table, selection=Selection(where))
    try:
        check_condition(where)
        # On its own, so that text which closes the parenthesis around it is an error here.
        session.ask(f"EXPLAIN SELECT 1 FROM {table.stored} WHERE {selected.condition}")
        [row] = session.ask(
            f"SELECT count(*) AS stored, coalesce(sum(iif({selected.condition}, 0, 1)), 0) AS behind "
            f"FROM {table.stored}"
        )
    except Unreadable as error:
        raise _refusal(table, where, str(error)) from error
    except SourceUnreadable as error:
        if not error.is_about_a_statement:
            raise
        raise _refusal(table, where, error.driver_message) from error
    return replace(selected, selection=Selection(where, int(row["behind"])))


def _refusal(table: SourceTable, where: str, reason: str) -> ConfigurationError:
    return ConfigurationError(
        f"the rule where of table {table.name!r} is no condition over its rows: {where!r}: {reason}",
        next_step=f"Correct it; `sqlite3 FILE 'SELECT count(*) FROM {table.quoted} WHERE …'` can try it.",
        table=table.name,
        where=where,
    )
