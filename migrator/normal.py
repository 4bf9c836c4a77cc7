"""
The normal form of a value, by PostgreSQL itself, for types that only it can read: arrays, inet, ranges and the rest.

The source's text is read and written once by the type's own functions. It then equals the target's text if and only
if both are the same value, whatever the type; DuckDB has none of these types to compare with.
"""

import json
from collections.abc import Sequence
from contextlib import ExitStack
from typing import Self

import adbc_driver_postgresql.dbapi as adbc
import pyarrow as pa
import pyarrow.compute as pc

from migrator.address import TargetAddress
from migrator.names import TableName, quote_literal
from migrator.reading import ReadingSession
from migrator.retry import is_transient

AT_ONCE = 5_000
"""Different texts in one question."""


class NormalForms:
    """Answers for the columns of one table. It connects when it is first asked."""

    def __init__(self, address: TargetAddress, table: TableName) -> None:
        self._address = address
        self._table = table
        self._opened = ExitStack()
        self._session: ReadingSession | None = None
        self._readings: dict[str, str] = {}

    def __enter__(self) -> Self:
        """Return itself."""
        return self

    def __exit__(self, *_details: object) -> None:
        """Close the session, if there is one."""
        self._opened.close()

    def of(self, column: str, text: pa.Array) -> pa.Array:
        """
        Return ``text`` as the type of ``column`` spells it.

        What the type doesn't take comes back as it is, and so equals nothing that the column can hold. Lengths and
        precisions are those of the text, not the column's: what the column cut or rounded is a difference.
        """
        different = text.dictionary_encode()
        spelled: list[str | None] = []
        for start in range(0, len(different.dictionary), AT_ONCE):
            spelled += self._spell(column, different.dictionary[start : start + AT_ONCE].to_pylist())
        return pc.take(pa.array(spelled, pa.string()), different.indices)

    def _spell(self, column: str, texts: Sequence[str]) -> Sequence[str]:
        session = self._connected()
        statement = (
            f"SELECT ({self._readings[column]})::text AS spelled "
            "FROM json_array_elements_text($1::json) WITH ORDINALITY AS given(v, place) ORDER BY place"
        )
        try:
            spelled: list[str] = session.table(statement, (json.dumps(texts),))["spelled"].to_pylist()
        except (adbc.Error, UnicodeError) as error:
            if is_transient(error):  # it says nothing about the texts
                raise
            if len(texts) == 1:
                return texts
            middle = len(texts) // 2
            return [*self._spell(column, texts[:middle]), *self._spell(column, texts[middle:])]
        return spelled

    def _connected(self) -> ReadingSession:
        if self._session is None:
            self._session = self._opened.enter_context(ReadingSession(self._address))
            self._readings = dict(self._session.rows(_TYPES.format(table=quote_literal(self._table.quoted))))
        return self._session


# By its qualified name and without a modifier: `bit` as a keyword would mean bit(1). Domains are followed down.
# An array of numeric(p, s) shows s digits of every number; so does the text, where these are enough for it.
_TYPES = """
WITH RECURSIVE base(attname, declared, oid) AS (
    SELECT attname::text, format_type(atttypid, atttypmod), atttypid
    FROM pg_attribute WHERE attrelid = {table}::regclass AND attnum > 0 AND NOT attisdropped
    UNION ALL
    SELECT base.attname, base.declared, t.typbasetype
    FROM base JOIN pg_type t ON t.oid = base.oid WHERE t.typtype = 'd'
)
SELECT base.attname,
       CASE WHEN t.typname = '_numeric'
                THEN format('CASE WHEN v::%1$s = v::%2$s THEN v::%2$s ELSE v::%1$s END', 'numeric[]', base.declared)
            ELSE 'v::' || quote_ident(n.nspname) || '.' || quote_ident(t.typname) END AS reading
FROM base JOIN pg_type t ON t.oid = base.oid AND t.typtype <> 'd' JOIN pg_namespace n ON n.oid = t.typnamespace
"""
