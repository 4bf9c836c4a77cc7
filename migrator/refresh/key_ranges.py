"""Names the rows of ranges of keys at both ends, where the rowids of the source's table are the target's key."""

from collections.abc import Sequence

from msgspec import Struct
from msgspec.structs import replace

from migrator.names import TableName, quote_postgres
from migrator.planning.plan import TablePlan
from migrator.source.schema import SourceTable


class KeyRange(Struct, frozen=True):
    """The rows with keys from ``first`` to ``last``, both included."""

    first: int
    last: int


LEAST_KEY, GREATEST_KEY = -(1 << 63), (1 << 63) - 1
"""The bounds of a rowid, and of a bigint."""


def target_key(table: TablePlan) -> str | None:
    """Return the target's column that has the source's row numbers, if it is the table's key; otherwise None."""
    alias = table.source.rowid_alias
    columns = [column for column in table.columns if column.source == alias]
    if alias is None or not columns or [column.target.name for column in columns] != list(table.target.key):
        return None
    [column] = columns
    is_number = column.target.type_name in {"int2", "int4", "int8"}
    is_as_stored = column.pair.expression == column.source.quoted
    return quote_postgres(column.target.name) if is_number and is_as_stored else None


def of_source(table: SourceTable, ranges: Sequence[KeyRange]) -> SourceTable:
    """Return the source table, of which only the rows in the ranges are read. It must have a rowid."""
    given = ", ".join(f"({one.first}, {one.last})" for one in ranges)
    condition = (
        f"{table.rowid} IN (WITH given(first, last) AS (VALUES {given}) SELECT keys.{table.rowid} "
        f"FROM given CROSS JOIN {table.quoted} AS keys NOT INDEXED "
        f"WHERE keys.{table.rowid} >= first AND keys.{table.rowid} <= last)"
    )
    conditions = filter(None, (table.selection.not_dropped, condition))
    return replace(table, selection=replace(table.selection, not_dropped=" AND ".join(conditions)))


def of_target(name: TableName, key: str, ranges: Sequence[KeyRange]) -> str:
    """Return PostgreSQL's SQL that is true for the rows of a table whose ``key`` is in the ranges."""
    first, last = (
        f"'{{{','.join(str(number) for number in numbers)}}}'::bigint[]"
        for numbers in ([one.first for one in ranges], [one.last for one in ranges])
    )
    # An array of places is looked up row by row, whatever the server thinks of the number of rows.
    return (
        f"ctid = ANY (ARRAY(SELECT keys.ctid FROM unnest({first}, {last}) AS given(first, last) "
        f"JOIN ONLY {name.quoted} AS keys ON keys.{key} BETWEEN given.first AND given.last))"
    )
