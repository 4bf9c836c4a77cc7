"""
Finds columns that only a trigger of the target fills, and that stay empty because triggers don't fire during the load.

PostgreSQL's own triggers for ``tsvector`` columns do fire (``triggers``). Any other trigger runs the application's
code, which may change other columns and other tables too. So the operator is told of the column, and how to fill it.
"""

import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any

from msgspec import Struct
from sqlalchemy import Row, text
from sqlalchemy.ext.asyncio import AsyncConnection

from migrator.names import TableName, quote_postgres
from migrator.target.database import FILLS_TSVECTOR


class UnfilledByTrigger(Struct, frozen=True):
    """A column of the target that the source has no values for, and a trigger that would fill it."""

    table: TableName
    column: str
    trigger: str
    statement: str
    """The SQL that fills the column by the trigger after the migration."""
    certain: bool
    """Whether the trigger's function certainly assigns the column."""

    @property
    def reason(self) -> str:
        """What is the case, in words."""
        fills = "fills it" if self.certain else "may fill it"
        return f"the source has no values for it, and the trigger {self.trigger} that {fills} doesn't fire for its rows"

    @property
    def next_step(self) -> str:
        """An instruction for the operator."""
        return f"Run {self.statement} after the migration, unless the application fills the column itself."

    def line(self) -> str:
        """Return one line for a person."""
        return f"column {self.table}.{self.column} stays empty: {self.reason}. {self.next_step}"


async def unfilled_by_triggers(
    connection: AsyncConnection, columns: Mapping[TableName, Collection[str]]
) -> list[UnfilledByTrigger]:
    """Return the columns that triggers would fill. ``columns`` has the names of each table's columns without values."""
    tables = [table for table, names in columns.items() if names]
    if not tables:
        return []
    rows = (await connection.execute(text(_TRIGGERS), {"tables": [table.quoted for table in tables]})).all()
    return [found for row in rows for found in _of_trigger(row, tables[row.place - 1], columns, rows)]


def _of_trigger(
    row: Row[Any], table: TableName, columns: Mapping[TableName, Collection[str]], rows: Sequence[Row[Any]]
) -> Iterator[UnfilledByTrigger]:
    assigned = _assigned(row.source)
    known = {name for other in rows if other.place == row.place for name in _assigned(other.source)}
    for name in columns[table]:
        certain = name in assigned
        # Full-text columns are filled by triggers in nearly all cases, also by functions that can't be read here.
        if certain or (name in row.tsvectors and name not in known):
            yield UnfilledByTrigger(table, name, row.name, _statement(row, table, name), certain)


def _statement(row: Row[Any], table: TableName, column: str) -> str:
    """Return SQL that fires the trigger for each row. A trigger for some columns fires only if one of these is set."""
    of_columns = [name for name in row.of_columns or () if name]
    named = quote_postgres(of_columns[0] if of_columns else column)
    update = f"UPDATE {table.quoted} SET {named} = {named}"
    if row.on_update:
        return f"`{update}`"
    once = quote_postgres("migrator fills")
    call = row.definition[row.definition.index(" EXECUTE ") + 1 :]
    return (
        f"`BEGIN; CREATE TRIGGER {once} BEFORE UPDATE ON {table.quoted} FOR EACH ROW {call}; "
        f"UPDATE {table.quoted} SET {quote_postgres(column)} = {quote_postgres(column)}; "
        f"DROP TRIGGER {once} ON {table.quoted}; COMMIT`"
    )


_COMMENTS = re.compile(r"--[^\n]*|/\*.*?\*/", re.DOTALL)
_NAME = r'NEW\s*\.\s*("(?:[^"]|"")+"|\w+)'
_ASSIGNMENT = re.compile(
    rf"(?:^|;|\bBEGIN\b|\bTHEN\b|\bELSE\b|\bLOOP\b)\s*{_NAME}\s*:?=|{_NAME}\s*:=|\bINTO\s+(?:STRICT\s+)?{_NAME}",
    re.IGNORECASE,
)


def _assigned(source: str) -> frozenset[str]:
    """Return the columns that a function in PL/pgSQL assigns: ``NEW.x := …`` and ``SELECT … INTO NEW.x``."""
    found = (next(filter(None, names)) for names in _ASSIGNMENT.findall(_COMMENTS.sub(" ", source)))
    return frozenset(name[1:-1].replace('""', '"') if name.startswith('"') else name.lower() for name in found)


# The numbers are TRIGGER_TYPE_ROW, _BEFORE and _INSERT, and then _UPDATE (src/include/catalog/pg_trigger.h).
_TRIGGERS = f"""
SELECT place, g.tgname::text AS name, p.prosrc AS source, g.tgtype & 16 <> 0 AS on_update,
       pg_get_triggerdef(g.oid) AS definition,
       ARRAY(SELECT a.attname::text FROM pg_attribute a
             WHERE a.attrelid = g.tgrelid AND a.attnum = ANY (g.tgattr)) AS of_columns,
       ARRAY(SELECT a.attname::text FROM pg_attribute a
             WHERE a.attrelid = g.tgrelid AND a.atttypid = 'tsvector'::regtype AND NOT a.attisdropped) AS tsvectors
FROM unnest(CAST(:tables AS text[])) WITH ORDINALITY AS given(relation, place)
JOIN pg_trigger g ON g.tgrelid = to_regclass(relation) JOIN pg_proc p ON p.oid = g.tgfoid
WHERE NOT g.tgisinternal AND g.tgenabled IN ('O', 'A') AND g.tgtype & 7 = 7 AND NOT ({FILLS_TSVECTOR})
ORDER BY place, g.tgname
"""
