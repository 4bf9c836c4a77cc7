"""
Finds existing rows that hold something in a column for which the source has no value.

If such a row is loaded anew, the column gets its default. So a row is the source's only if it holds the default.
"""

import re
from typing import Any

from sqlalchemy import Row, text
from sqlalchemy.ext.asyncio import AsyncConnection

from migrator.names import quote_postgres
from migrator.planning.plan import TablePlan
from migrator.target.database import own_rows

# A constant as ``pg_get_expr`` writes it, with or without a cast. Other defaults may give another value for each row.
_CONSTANT = re.compile(
    r"(?:'(?:[^']|'')*'|\(?-?\d+(?:\.\d+)?\)?|true|false|NULL)"
    r"(?:::(?:[\w .]|\"(?:[^\"]|\"\")*\")+(?:\(\d+(?:,\d+)?\))?(?: with(?:out)? time zone)?(?:\[\])*)?"
)


async def unfilled_columns(connection: AsyncConnection, table: TablePlan) -> dict[str, str]:
    """
    Return the columns without a value from the source in which existing rows hold something other than the default.

    For each of them, the result has SQL that is true for the rows that hold the default. A default that isn't constant
    (a sequence, the present time) can't be compared: then no row fulfils the condition. Columns that the
    target computes itself are left out.
    """
    filled = {column.target.name for column in table.columns}
    names = [
        column.name
        for column in table.target.columns
        if column.name not in filled and not column.generated and not column.trigger
    ]
    if not names:
        return {}
    await connection.execute(text("SELECT set_config('search_path', '', true)"))  # so that types have their schema
    rows = await connection.execute(text(_DEFAULTS), {"table": table.name.quoted, "names": names})
    conditions = {row.attname: _holds_default(row) for row in rows}
    own = (await own_rows(connection, [table.name]))[table.name]
    listed = ", ".join(f"bool_or(NOT ({condition}))" for condition in conditions.values())
    found = (await connection.exec_driver_sql(f"SELECT {listed} FROM {own}")).one()
    return {name: condition for (name, condition), holds in zip(conditions.items(), found, strict=True) if holds}


def _holds_default(row: Row[Any]) -> str:
    column = quote_postgres(row.attname)
    if row.expression is None and not row.counted:
        return f"{column} IS NULL"
    if row.expression is not None and _CONSTANT.fullmatch(row.expression):
        # As text, because some types have no equality.
        default = f"CAST(CAST({row.expression} AS {row.type}) AS text)"
        return f"CAST({column} AS text) IS NOT DISTINCT FROM {default}"
    return NEVER


NEVER = "false"
"""The condition that no row fulfils."""

_DEFAULTS = """
SELECT a.attname, pg_get_expr(d.adbin, d.adrelid) AS expression, format_type(a.atttypid, a.atttypmod) AS type,
       a.attidentity::text <> '' AS counted
FROM pg_attribute a LEFT JOIN pg_attrdef d ON d.adrelid = a.attrelid AND d.adnum = a.attnum
WHERE a.attrelid = CAST(:table AS regclass) AND a.attname = ANY (CAST(:names AS text[])) AND NOT a.attisdropped
ORDER BY a.attnum
"""
