"""
Which row of the source it was that a CHECK of the target refused.

CHECKs are PostgreSQL's own to evaluate, so a row that breaks one is met only in the copy. The server says which row of
the COPY it was by its number, and shows its values, which don't belong in a log. So the row's key is looked up here.
"""

import re

from asyncpg.exceptions import CheckViolationError

from migrator.contents import SourceTable
from migrator.errors import TargetRefused
from migrator.plan import TablePlan
from migrator.scanning import Lane, StorageClass
from migrator.source import Source

_LINE = re.compile(r"^COPY .*, line (\d+)", re.MULTILINE)


def refusal(source: Source, table: TablePlan, where: str, error: CheckViolationError) -> TargetRefused:
    """
    Return the error to raise for a COPY of the table's rows ``where`` that a CHECK has ended.

    Blocks while the source is scanned up to the row; raises SourceUnreadable.
    """
    counted = _LINE.search(error.context or "")
    key = _key(source, table, where, int(counted[1])) if counted else "?"
    return TargetRefused(
        f"the row {key} of {table.source.name!r} violates check constraint {error.constraint_name!r} of {table.name}",
        next_step="correct the row in the source, or decide with a rule or a change of the constraint",
        table=str(table.name),
        key=key,
        constraint=error.constraint_name,
    )


def _key(source: Source, table: TablePlan, where: str, line: int) -> str:
    """Return the key of the ``line``-th row, counted from 1, that the copier's scan gives."""
    lanes = [_name(table.source), *table.lanes]
    with source.session() as session:
        for batch in session.scan(table.source, lanes, batch_rows=1000, where=where):
            if line <= len(batch):
                return str(batch.column(0)[line - 1].as_py())
            line -= len(batch)
    return "?"


def _name(table: SourceTable) -> Lane:
    if table.key:
        names = ", ".join(column.name for column in table.key).replace("'", "''")
        values = " || ', ' || ".join(f"quote({column.quoted})" for column in table.key)
        return Lane(f"'{names} = ' || {values}", StorageClass.TEXT)
    return Lane(f"'rowid ' || {table.rowid}" if table.rowid else "'?'", StorageClass.TEXT)
