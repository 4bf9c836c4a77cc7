"""
What a database holds, by digests that PostgreSQL computes: how complete and how equal a result is.

Nothing of the migrator is used here. Two tables pass as equal if they have as many rows and the sums of 64-bit hashes
of their rows agree, each row spelt by PostgreSQL. What differs is then looked for by column.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final, Self

import pyarrow as pa
import pyarrow.compute as pc
from adbc_driver_postgresql import dbapi

# How values are spelt must not depend on where this runs.
_SPELLING: Final = (
    "SET timezone = 'UTC'; SET bytea_output = 'hex'; SET extra_float_digits = 1; SET search_path = public"
)
_SHOWN: Final = 48
_NAMED: Final = 2
_NOT_NULL: Final = " NOT NULL"

_COLUMNS: Final = """
    SELECT c.relname, a.attname,
           format_type(a.atttypid, a.atttypmod) || CASE WHEN a.attnotnull THEN ' NOT NULL' ELSE '' END
    FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace JOIN pg_attribute a ON a.attrelid = c.oid
    WHERE n.nspname = 'public' AND c.relkind = 'r' AND a.attnum > 0 AND NOT a.attisdropped
    ORDER BY c.relname, a.attnum"""

_KEYS: Final = """
    SELECT c.relname
           || CASE WHEN x.indisprimary THEN ' PRIMARY KEY ' WHEN x.indisunique THEN ' UNIQUE ' ELSE ' INDEX ' END
           || (SELECT string_agg(pg_get_indexdef(x.indexrelid, k, true), ', ' ORDER BY k)
               FROM generate_series(1, x.indnkeyatts) AS k)
    FROM pg_index x JOIN pg_class c ON c.oid = x.indrelid JOIN pg_namespace n ON n.oid = c.relnamespace
    WHERE n.nspname = 'public' AND x.indisvalid
    UNION ALL
    SELECT c.relname || ' ' || pg_get_constraintdef(k.oid)
    FROM pg_constraint k JOIN pg_class c ON c.oid = k.conrelid JOIN pg_namespace n ON n.oid = c.relnamespace
    WHERE n.nspname = 'public' AND k.contype = 'f' AND k.convalidated"""


@dataclass(frozen=True, slots=True)
class Contents:
    """What a database is to hold: the types of its columns, its keys, and a digest of each table."""

    url: str
    columns: Mapping[str, Mapping[str, str]]
    keys: frozenset[str]
    digests: Mapping[str, tuple[int, int]]
    """Rows and the sum of their hashes."""


def contents(url: str) -> Contents:
    """Look a database over."""
    with _Reader(url) as reader:
        columns = reader.columns()
        return Contents(url, columns, reader.keys(), {table: reader.digest(table, of) for table, of in columns.items()})


def shortcomings(url: str, wanted: Contents, *, with_keys: bool) -> list[str]:
    """Return what a database lacks, or has otherwise than the wanted one, a sentence each; nothing if all is equal."""
    with _Reader(url) as reader, _Reader(wanted.url) as original:
        found = _Comparison(reader, original, wanted)
        return [*found.tables(), *found.types(), *found.values(), *(found.keys() if with_keys else ())]


def differing_values(url: str, wanted: Contents) -> list[str]:
    """Return the columns whose values differ, a sentence each, of the tables that have all their rows."""
    with _Reader(url) as reader, _Reader(wanted.url) as original:
        return list(_Comparison(reader, original, wanted).values())


def rows_in(url: str, wanted: Contents) -> int:
    """Return the rows of all the wanted tables."""
    with _Reader(url) as reader:
        return sum(reader.count(table) for table in reader.columns() if table in wanted.columns)


class _Reader:
    """One connection, and the questions asked on it."""

    def __init__(self, url: str) -> None:
        self._connection = dbapi.connect(url, autocommit=True)
        self._cursor = self._connection.cursor()

    def __enter__(self) -> Self:
        for statement in _SPELLING.split("; "):
            self._cursor.execute(statement)
        return self

    def __exit__(self, *_: object) -> None:
        self._cursor.close()
        self._connection.close()

    def rows(self, sql: str) -> list[Any]:
        self._cursor.execute(sql)
        return list(self._cursor.fetchall())

    def arrow(self, sql: str) -> pa.Table:
        self._cursor.execute(sql)
        return self._cursor.fetch_arrow_table()

    def columns(self) -> dict[str, dict[str, str]]:
        found: dict[str, dict[str, str]] = {}
        for table, column, declared in self.rows(_COLUMNS):
            found.setdefault(table, {})[column] = declared
        return found

    def keys(self) -> frozenset[str]:
        return frozenset(key for (key,) in self.rows(_KEYS))

    def count(self, table: str) -> int:
        [(count,)] = self.rows(f'SELECT count(*) FROM "{table}"')
        return int(count)

    def digest(self, table: str, columns: Mapping[str, str]) -> tuple[int, int]:
        row = ", ".join(_cast(column, declared) for column, declared in columns.items())
        [(count, total)] = self.rows(f'SELECT count(*), sum({_hash(f"ROW({row})")})::text FROM "{table}"')
        return int(count), int(total or 0)


@dataclass(frozen=True, slots=True)
class _Comparison:
    """A database next to the one that it should be like."""

    reader: _Reader
    original: _Reader
    wanted: Contents

    def _shared(self) -> Iterator[tuple[str, Mapping[str, str]]]:
        there = self.reader.columns()
        for table, columns in self.wanted.columns.items():
            if columns.keys() <= there.get(table, {}).keys():
                yield table, columns

    def tables(self) -> Iterator[str]:
        """Say which tables are missing or hold another number of rows."""
        shared = dict(self._shared())
        if missing := [table for table in self.wanted.columns if table not in shared]:
            yield f"{_some(missing)}: missing, or without some of its columns"
        counted = {table: (self.reader.count(table), self.wanted.digests[table][0]) for table in shared}
        if wrong := [f"{table} ({count:,} of {of:,})" for table, (count, of) in counted.items() if count != of]:
            yield f"rows missing or too many: {_some(wrong)}"

    def types(self) -> Iterator[str]:
        """Say which columns have another type or may be NULL."""
        there = self.reader.columns()
        other = [
            f"{table}.{column} {there[table][column]} instead of {declared}"
            for table, columns in self._shared()
            for column, declared in columns.items()
            if there[table][column] != declared
        ]
        if other:
            total = sum(map(len, self.wanted.columns.values()))
            yield f"{len(other)} of {total} columns have another type: {_some(other)}"

    def values(self) -> Iterator[str]:
        """Say in which columns values differ, of tables that have all their rows."""
        for table, columns in self._shared():
            count, _ = self.wanted.digests[table]
            if self.reader.count(table) == count and not self._is_equal(table, columns):
                yield from filter(None, (self._column(table, name, kind) for name, kind in columns.items()))

    def _is_equal(self, table: str, columns: Mapping[str, str]) -> bool:
        try:
            return self.reader.digest(table, columns) == self.wanted.digests[table]
        except dbapi.Error:
            return False  # a value of another type that doesn't read as the wanted one; its column is found below

    def _column(self, table: str, column: str, declared: str) -> str:
        """Return what is wrong with a column, empty if nothing is."""
        query = f'SELECT id::bigint AS id, {_hash(_cast(column, declared))} AS hash FROM "{table}" ORDER BY 1'
        theirs = self.original.arrow(query)
        try:
            ours = self.reader.arrow(query)
        except dbapi.Error as error:
            return f"{table}.{column}: does not read as {declared.removesuffix(_NOT_NULL)}: {_reason(error)}"
        if not ours["id"].equals(theirs["id"]):
            return f"{table}.{column}: rows have other keys"
        differs = pc.not_equal(ours["hash"], theirs["hash"])
        if not (count := pc.sum(differs).as_py()):
            return ""
        first = pc.index(differs, pa.scalar(value=True)).as_py()
        where = (
            f'SELECT {_cast(column, declared)}::text FROM "{table}" WHERE id::bigint = {theirs["id"][first].as_py()}'
        )
        [(came,)], [(was,)] = self.reader.rows(where), self.original.rows(where)
        return f"{table}.{column}: {count:,} values differ, such as {_short(came)} instead of {_short(was)}"

    def keys(self) -> Iterator[str]:
        """Say which keys and indexes are missing."""
        there = self.reader.keys()
        if missing := sorted(self.wanted.keys - there):
            yield f"{len(missing)} of {len(self.wanted.keys)} keys and indexes are missing: {_some(missing)}"


def _cast(column: str, declared: str) -> str:
    return f'CAST("{column}" AS {declared.removesuffix(_NOT_NULL)})'


def _hash(value: str) -> str:
    return f"coalesce(hashtextextended(({value})::text, 0), 1)"


def _some(things: list[str]) -> str:
    shown, more = things[:_NAMED], things[_NAMED:]
    return ", ".join(shown) + (f", and {len(more):,} more" if more else "")


def _reason(error: dbapi.Error) -> str:
    """Return the server's own sentence from among what the driver says."""
    said = re.search(r"ERROR:\s+(.*)", str(error))
    return said[1] if said else str(error)


def _short(value: str | None) -> str:
    if value is None:
        return "NULL"
    return f"`{value}`" if len(value) <= _SHOWN else f"`{value[:_SHOWN]}…`"
