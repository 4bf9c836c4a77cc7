"""
Finds the source row that the target refused in a copy.

Preflight can't check every constraint, for example a CHECK with a function that isn't immutable. The server's error has
the number of the row in the COPY, and values of the row, which don't belong in a log. So this module looks up the row's
key in the source.
"""

import re
from typing import Final

import asyncpg

from migrator.errors import TargetRefused
from migrator.planning.plan import TablePlan
from migrator.source.database import Source
from migrator.source.scan import ScanColumn, StorageClass
from migrator.source.schema import SourceTable

_LINE = re.compile(r"^COPY .*, line (\d+)", re.MULTILINE)

_COLUMN = re.compile(r"^COPY .*, line \d+, column ([^:\n]+)", re.MULTILINE)

_RECODED = "22P05"

_KINDS: Final = {"23502": "not-null", "23503": "foreign key", "23505": "unique", "23514": "check", "23P01": "exclusion"}


def is_about_a_row(error: asyncpg.PostgresError) -> bool:
    """Return whether the server's error is about a row: its data, a constraint, or a limit that the row exceeds."""
    return (error.sqlstate or "")[:2] in {"22", "23", "54"} and "COPY " in _context(error)


def check_violation_error(source: Source, table: TablePlan, where: str, error: asyncpg.PostgresError) -> TargetRefused:
    """
    Return the error to raise after the server has refused a row in a COPY.

    ``where`` is the SQL condition by which the copied rows were selected in the source, and ``error`` is the server's.
    Blocks while the source is scanned up to the row; raises SourceUnreadable.
    """
    context = _context(error)
    # The server recodes text before it splits the text into lines, so this error has no number of the row.
    line_match = _LINE.search(context) if error.sqlstate != _RECODED else None
    key = _key(source, table, where, int(line_match[1])) if line_match else None
    column_match = _COLUMN.search(context)
    column = getattr(error, "column_name", None) or (column_match[1] if column_match else None)
    constraint = getattr(error, "constraint_name", None)
    row = f"the row {key} of {table.source.name!r}" if key else f"a row of {table.source.name!r}"
    if constraint:
        refusal = f"violates {_KINDS.get(error.sqlstate or '', 'the')} constraint {constraint!r} of {table.name}"
    else:
        at = f", column {column}" if column else ""
        refusal = f"is refused by {table.name}{at}: {_server_message(error)}"
    facts = {"key": key, "constraint": constraint, "column": column}
    return TargetRefused(
        f"{row} {refusal}",
        next_step="Correct the row in the source, decide with a rule (MIGRATOR_RULES), or change what refuses it in "
        "the target; then run the job again.",
        table=str(table.name),
        sqlstate=error.sqlstate,
        **{name: value for name, value in facts.items() if value is not None},
    )


def _context(error: asyncpg.PostgresError) -> str:
    return getattr(error, "context", None) or ""


def _server_message(error: asyncpg.PostgresError) -> str:
    """Return the server's message without the value in it."""
    return str(error).partition("\n")[0].partition(': "')[0]


def _key(source: Source, table: TablePlan, where: str, line: int) -> str | None:
    """Return the key of the row with number ``line``, counted from 1, in the order of the copier's scan."""
    scan_columns = [_name(table.source), *table.scan_columns]
    with source.session() as session:
        for batch in session.scan(table.source, scan_columns, batch_rows=1000, where=where):
            if line <= len(batch):
                return str(batch.column(0)[line - 1].as_py())
            line -= len(batch)
    return None


def _name(table: SourceTable) -> ScanColumn:
    if table.key:
        names = ", ".join(column.name for column in table.key).replace("'", "''")
        values = " || ', ' || ".join(f"quote({column.quoted})" for column in table.key)
        return ScanColumn(f"'{names} = ' || {values}", StorageClass.TEXT)
    return ScanColumn(f"'rowid ' || {table.rowid}" if table.rowid else "'?'", StorageClass.TEXT)
