"""
Finds existing rows that hold something in a column for which the source has no value.

If such a row is loaded anew, the column gets its default. So a row is the source's only if it holds the default.
"""

import re

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from migrator.names import quote_postgres
from migrator.planning.plan import TablePlan

# A constant as ``pg_get_expr`` writes it, with or without a cast. Other defaults may give another value for each row.
_CONSTANT = re.compile(
    r"(?:'(?:[^']|'')*'|\(?-?\d+(?:\.\d+)?\)?|true|false|NULL)"
    r"(?:::(?:[\w .]|\"(?:[^\"]|\"\")*\")+(?:\(\d+(?:,\d+)?\))?(?: with(?:out)? time zone)?(?:\[\])*)?"
)


def unfilled_columns(table: TablePlan) -> tuple[str, ...]:
    """Return the target's columns that get no value from the source, and that the target doesn't compute either."""
    filled = {column.target.name for column in table.columns}
    return tuple(
        column.name
        for column in table.target.columns
        if column.name not in filled and not column.generated and not column.trigger
    )


async def defaults_only(connection: AsyncConnection, table: TablePlan) -> str:
    """
    Return SQL that is true for rows in which every unfilled column holds its default; empty if there is no such column.

    A default that isn't constant (a sequence, the present time) can't be compared: then no row fulfils the condition.
    """
    names = unfilled_columns(table)
    if not names:
        return ""
    await connection.execute(text("SELECT set_config('search_path', '', true)"))  # so that types have their schema
    bound = {"table": table.name.quoted, "names": list(names)}
    conditions = []
    for row in await connection.execute(text(_DEFAULTS), bound):
        column = quote_postgres(row.attname)
        if row.expression is None and not row.counted:
            conditions.append(f"{column} IS NULL")
        elif row.expression is not None and _CONSTANT.fullmatch(row.expression):
            # As text, because some types have no equality.
            conditions.append(
                f"CAST({column} AS text) IS NOT DISTINCT FROM CAST(CAST({row.expression} AS {row.type}) AS text)"
            )
        else:
            conditions.append("false")
    return " AND ".join(conditions)


_DEFAULTS = """
SELECT a.attname, pg_get_expr(d.adbin, d.adrelid) AS expression, format_type(a.atttypid, a.atttypmod) AS type,
       a.attidentity::text <> '' AS counted
FROM pg_attribute a LEFT JOIN pg_attrdef d ON d.adrelid = a.attrelid AND d.adnum = a.attnum
WHERE a.attrelid = CAST(:table AS regclass) AND a.attname = ANY (CAST(:names AS text[])) AND NOT a.attisdropped
ORDER BY a.attnum
"""
