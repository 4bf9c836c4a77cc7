"""
Refuses a target that reads amounts of type ``money`` differently from how the job writes them.

PostgreSQL stores an amount as a whole number of the smallest coins. The reader's locale decides how many coins make one
unit: there are two digits after the point in most countries, none in Japan, three in Kuwait (PostgreSQL, "Monetary
Types"). The job writes and compares with two digits.
"""

from collections.abc import Mapping, Sequence
from typing import Final

from sqlalchemy import text

from migrator.errors import TargetRefused
from migrator.names import TableName
from migrator.target.database import Target

_DIGITS: Final = 2
"""Digits after the point in the locale ``C``, which every session of the job has (``sessions/settings.py``)."""


async def refuse_other_money(target: Target, columns: Mapping[TableName, Sequence[str]]) -> None:
    """
    Raise TargetRefused if some of ``columns`` hold money, and the database's own locale doesn't have two digits.

    A column of an array, a composite, a range or a domain over ``money`` holds money too. ``columns`` has the names of
    the columns by table.
    """
    requested = [(table, column) for table, names in columns.items() for column in names]
    bound = {"tables": [table.quoted for table, _ in requested], "columns": [column for _, column in requested]}
    async with target.transaction() as connection:
        rows = (await connection.execute(text(_HOLDING_MONEY), bound)).all()
        if not rows:
            return
        locale = await connection.scalar(text("SELECT reset_val FROM pg_settings WHERE name = 'lc_monetary'"))
        await connection.execute(text("SELECT set_config('lc_monetary', :locale, true)"), {"locale": locale})
        digits = await connection.scalar(text("SELECT scale(CAST(CAST(1 AS money) AS numeric))"))
    if digits == _DIGITS:
        return
    listed = [f"{requested[row.place - 1][0]}.{row.column_name}" for row in rows]
    excluded = " ".join(f"--exclude '{requested[row.place - 1][0].name}.{row.column_name}'" for row in rows)
    raise TargetRefused(
        f"columns of type money, in a database whose lc_monetary is {locale!r} with {digits} digits after the point, "
        f"would hold other amounts than were written: {', '.join(listed)}",
        next_step="Give the columns the type numeric, which depends on no setting. Or set lc_monetary of the database "
        f"to a locale with two digits, if the application runs under it, or leave the columns out with {excluded}.",
        columns=listed,
    )


_HOLDING_MONEY = """
WITH RECURSIVE given AS (
    SELECT place, a.attname, a.atttypid
    FROM unnest(CAST(:tables AS text[]), CAST(:columns AS text[])) WITH ORDINALITY AS g (relation, name, place)
    JOIN pg_attribute a ON a.attrelid = to_regclass(g.relation) AND a.attname = g.name AND NOT a.attisdropped
), holding AS (
    SELECT DISTINCT atttypid AS whole, atttypid AS part FROM given
    UNION
    SELECT h.whole, inner_type.oid FROM holding h JOIN pg_type t ON t.oid = h.part
    CROSS JOIN LATERAL (
        SELECT t.typelem AS oid WHERE t.typelem <> 0
        UNION ALL SELECT t.typbasetype WHERE t.typbasetype <> 0
        UNION ALL SELECT r.rngsubtype FROM pg_range r WHERE r.rngtypid = t.oid
        UNION ALL SELECT a.atttypid FROM pg_attribute a WHERE a.attrelid = t.typrelid AND a.attnum > 0
            AND t.typtype = 'c' AND NOT a.attisdropped
    ) inner_type
)
SELECT g.place, g.attname::text AS column_name FROM given g
WHERE EXISTS (SELECT FROM holding h WHERE h.whole = g.atttypid AND h.part = 'money'::regtype)
ORDER BY g.place
"""
