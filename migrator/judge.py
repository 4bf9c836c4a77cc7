"""
Asks PostgreSQL whether texts are values of a column, before anything is written.

That is for types that only it can read, and for domains, whose CHECKs are its own.
"""

import json
from collections.abc import Sequence
from contextlib import ExitStack
from typing import Self

import adbc_driver_postgresql.dbapi as adbc

from migrator.address import TargetAddress
from migrator.names import TableName, quote_literal
from migrator.reading import ReadingSession
from migrator.target import TargetColumn


class Judge:
    """Answers for the columns of one table, in a session that can only read. It connects when it is first asked."""

    def __init__(self, address: TargetAddress, table: TableName) -> None:
        self._address = address
        self._table = table
        self._opened = ExitStack()
        self._session: ReadingSession | None = None
        self._types: dict[str, tuple[str, str]] = {}

    def __enter__(self) -> Self:
        """Return itself."""
        return self

    def __exit__(self, *_details: object) -> None:
        """Close the session, if there is one."""
        self._opened.close()

    def objection(self, column: TargetColumn, texts: Sequence[str]) -> str | None:
        """
        Return why ``texts`` can't all be values of ``column``; None if they can, each as it is.

        Raises what the ADBC driver raises if the server is lost.
        """
        if not texts:
            return None
        session = self._connected()
        declared, bare = self._types[column.name]
        # A cast cuts and rounds what COPY would refuse or round: the value without length and precision shows that.
        narrows = column.modifier >= 0 or column.type_name == "_float4"
        # As text, since a row with a NULL in it is neither NULL nor NOT NULL (PostgreSQL, "Comparison Operators").
        exact = f"v::{declared}::{bare} = v::{bare}" if narrows else f"v::{declared}::text IS NOT NULL"
        try:
            [(exact_all,)] = session.rows(
                f"SELECT bool_and(coalesce({exact}, true)) FROM json_array_elements_text($1::json) AS given(v)",
                [json.dumps(texts)],
            )
        except adbc.Error as error:
            if not {error.sqlstate, (error.sqlstate or "")[:2]} & _ABOUT_VALUES:
                raise
            return f"can't become {column.declared}: {_said(error)}"
        return None if exact_all else f"can't become {column.declared} exactly"

    def folded(self, column: TargetColumn, texts: Sequence[str]) -> Sequence[str]:
        """
        Return ``texts`` in the one spelling that equal values of ``column`` have; as they are, if some are no values.

        Raises what the ADBC driver raises if the server is lost.
        """
        session = self._connected()
        # citext folds by the database's own collation, whatever the column's is (PostgreSQL, "citext", Limitations).
        one = "lower(v)" if column.type_name == "citext" else f"v::{self._types[column.name][1]}::text"
        try:
            rows = session.rows(
                f"SELECT {one} FROM json_array_elements_text($1::json) WITH ORDINALITY AS given(v, place) "
                "ORDER BY place",
                [json.dumps(texts)],
            )
        except adbc.Error as error:
            if not {error.sqlstate, (error.sqlstate or "")[:2]} & _ABOUT_VALUES:
                raise
            return texts
        return [folded for (folded,) in rows]

    def _connected(self) -> ReadingSession:
        if self._session is None:
            self._session = self._opened.enter_context(ReadingSession(self._address))
            types = self._session.rows(_TYPES.format(table=quote_literal(self._table.quoted)))
            self._types = {name: (declared, bare) for name, declared, bare in types}
        return self._session


_ABOUT_VALUES = frozenset({"22", "23", "0A", "2F", "54", "42601", "XX000"})
"""
SQLSTATEs, and classes of them, that speak of a value: data exception, integrity (a domain's), not supported, limit.

And what the input functions of extensions say, hstore's for one: a syntax error, or just an error.
"""


def _said(error: adbc.Error) -> str:
    """Return the server's words without the value in them, which may not be shown."""
    line = str(error).split("ERROR:")[-1].strip().splitlines()[0]
    return line.split(': "')[0]


# Without a modifier, `bit` as a keyword would mean bit(1): so types go by their qualified names.
_TYPES = """
WITH RECURSIVE base(attname, declared, oid) AS (
    SELECT attname::text, format_type(atttypid, atttypmod), atttypid
    FROM pg_attribute WHERE attrelid = {table}::regclass AND attnum > 0 AND NOT attisdropped
    UNION ALL
    SELECT base.attname, base.declared, t.typbasetype
    FROM base JOIN pg_type t ON t.oid = base.oid WHERE t.typtype = 'd'
)
SELECT base.attname, base.declared,
       CASE t.typname WHEN '_float4' THEN 'double precision[]'
                      ELSE quote_ident(n.nspname) || '.' || quote_ident(t.typname) END AS bare
FROM base JOIN pg_type t ON t.oid = base.oid AND t.typtype <> 'd' JOIN pg_namespace n ON n.oid = t.typnamespace
"""
