"""
The benchmark's source: a SQLite file of a wanted shape and size, made inside SQLite, and the tables that wait for it.

Every row is computed from its number, so the same shape and size give the same file. Both ends have the same keys,
indexes and foreign keys, as if one application had made them.
"""

import re
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass, replace
from hashlib import shake_256
from pathlib import Path
from typing import Final

SENSORS: Final = 5000
"""The rows of the one table that others refer to; it doesn't grow."""

_WORDS = "'the quick brown fox jumps over the lazy dog and '"

# Bytes of every kind, NUL and backslash among them, that don't compress. BLOBs are cut out of it at shifting places.
_BYTES = f"x'{shake_256(b'benchmark').hexdigest(8192)}'"


@dataclass(frozen=True, slots=True)
class Kind:
    """One table: how it is declared at both ends, what its rows are, and how many make a megabyte of SQLite."""

    name: str
    sqlite: str
    postgres: str
    """Columns and types behind ``id``, as are ``sqlite`` and ``row``."""
    row: str
    """SQL for the values of row ``n``."""
    rows_per_megabyte: int
    indexed: tuple[str, ...] = ()
    refers: tuple[tuple[str, str], ...] = ()
    """Column and table for each foreign key."""

    @property
    def create_source(self) -> str:
        """The statement that makes the table in SQLite."""
        keys = "".join(f", FOREIGN KEY ({column}) REFERENCES {table} (id)" for column, table in self.refers)
        return f"CREATE TABLE {self.name} (id INTEGER NOT NULL PRIMARY KEY, {self.sqlite}{keys})"

    @property
    def create_bare(self) -> str:
        """The statement that makes the table in PostgreSQL, without key and index."""
        return f"CREATE TABLE {self.name} (id bigint NOT NULL, {self.postgres})"

    @property
    def source_columns(self) -> tuple[tuple[str, str], ...]:
        """Each column with the first word of its type in SQLite."""
        return (("id", "INTEGER"), *re.findall(r"(\w+) (\w+)[^,(]*(?:\([^)]*\)[^,]*)?", self.sqlite))

    @property
    def primary_key(self) -> str:
        """The statement that adds the primary key."""
        return f"ALTER TABLE {self.name} ADD PRIMARY KEY (id)"

    @property
    def indexes(self) -> Iterator[str]:
        """The statements that make its indexes, at either end."""
        return (f"CREATE INDEX idx_{self.name}_{column} ON {self.name} ({column})" for column in self.indexed)

    @property
    def foreign_keys(self) -> Iterator[str]:
        """The statements that add its foreign keys."""
        return (
            f"ALTER TABLE {self.name} ADD FOREIGN KEY ({column}) REFERENCES {table} (id)"
            for column, table in self.refers
        )


_SENSORS = Kind("sensors", "name VARCHAR(40) NOT NULL", "name varchar(40) NOT NULL", "'sensor ' || n", 40_000)

_READINGS = Kind(
    "readings",
    "sensor INTEGER NOT NULL, level BIGINT NOT NULL, value DOUBLE, ok BOOLEAN",
    "sensor bigint NOT NULL, level bigint NOT NULL, value double precision, ok boolean",
    f"1 + n % {SENSORS}, n * 7919 % 1000003, CASE WHEN n % 11 THEN n / 7.0 END, n % 2",
    28_700,
    ("sensor",),
    (("sensor", "sensors"),),
)

_ARTICLES = Kind(
    "articles",
    "title VARCHAR(200) NOT NULL, body TEXT NOT NULL",
    "title varchar(200) NOT NULL, body text NOT NULL",
    f"'Article ' || n || ' ä 世界', hex(n * 2654435761) || replace(printf('%.*c', 20 + n % 30, 'x'), 'x', {_WORDS})",
    405,
)

_EVENTS = Kind(
    "events",
    "kind VARCHAR(20) NOT NULL, payload JSON NOT NULL, at DATETIME NOT NULL",
    "kind varchar(20) NOT NULL, payload jsonb NOT NULL, at timestamptz NOT NULL",
    "'kind-' || n % 17, "
    "json_object('user', n % 9973, 'path', '/a/' || n, 'tags', json_array('x', 'y', n % 5), 'ms', n % 1000 / 8.0), "
    "strftime('%Y-%m-%d %H:%M:%f', 1600000000 + n, 'unixepoch') || '123'",
    7_300,
    ("at",),
)

_FILES = Kind(
    "files",
    "sensor INTEGER, name TEXT NOT NULL, content BLOB NOT NULL",
    "sensor bigint, name text NOT NULL, content bytea NOT NULL",
    f"CASE WHEN n % 4 THEN 1 + n % {SENSORS} END, 'file-' || n || '.bin', "
    f"substr({_BYTES}, 1 + n * 37 % 3000, 1000 + n * 1009 % 4000)",
    293,
    (),
    (("sensor", "sensors"),),
)

_ORDERS = Kind(
    "orders",
    "customer CHAR(36) NOT NULL, total NUMERIC(12, 2) NOT NULL, placed DATETIME NOT NULL, note TEXT",
    "customer uuid NOT NULL, total numeric(12, 2) NOT NULL, placed timestamp NOT NULL, note text",
    "printf('%08x-0000-4000-8000-%012x', n % 65521, n), n % 10000000 / 100.0, "
    "strftime('%Y-%m-%d %H:%M:%S', 1500000000 + n * 3, 'unixepoch'), "
    "CASE WHEN n % 3 THEN 'note ' || n WHEN n % 2 THEN '' END",
    7_800,
    ("customer",),
)

_SMALL = Kind(
    "small",
    "name VARCHAR(40) NOT NULL, amount NUMERIC(12, 2), at DATETIME",
    "name varchar(40) NOT NULL, amount numeric(12, 2), at timestamp",
    "'name ' || n, n / 4.0, strftime('%Y-%m-%d %H:%M:%S', 1500000000 + n * 3, 'unixepoch')",
    13_400,
    ("name",),
)


@dataclass(frozen=True, slots=True)
class Dataset:
    """Tables with the rows that each is to have; those that are referred to come first."""

    shape: str
    megabytes: float
    counts: tuple[tuple[Kind, int], ...]

    @property
    def kinds(self) -> tuple[Kind, ...]:
        """Every table."""
        return tuple(kind for kind, _ in self.counts)

    @property
    def rows(self) -> int:
        """The rows of all tables."""
        return sum(count for _, count in self.counts)

    def target_schema(self) -> str:
        """Return the statements that make the tables at the target, as an application's migrations would."""
        return ";\n".join([self.bare_schema(), *self.keys(), *self.foreign_keys()])

    def bare_schema(self) -> str:
        """Return the statements that make the same tables without keys and indexes."""
        return ";\n".join(kind.create_bare for kind in self.kinds)

    def keys(self) -> tuple[str, ...]:
        """Return the statements that make keys and indexes of bare tables; the keys first."""
        return (*(kind.primary_key for kind in self.kinds), *(index for kind in self.kinds for index in kind.indexes))

    def foreign_keys(self) -> tuple[str, ...]:
        """Return the statements that make the foreign keys; they need the keys."""
        return tuple(key for kind in self.kinds for key in kind.foreign_keys)

    def make_source(self, path: Path) -> int:
        """Write the SQLite file and return its size in bytes."""
        path.unlink(missing_ok=True)
        with closing(sqlite3.connect(path)) as connection:
            connection.executescript("PRAGMA journal_mode = OFF; PRAGMA synchronous = OFF; PRAGMA cache_size = -200000")
            connection.execute("BEGIN")
            for kind, count in self.counts:
                connection.execute(kind.create_source)
                connection.execute(
                    f"WITH RECURSIVE numbers(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM numbers WHERE n < ?) "
                    f"INSERT INTO {kind.name} SELECT n, {kind.row} FROM numbers",
                    (count,),
                )
                for index in kind.indexes:
                    connection.execute(index)
            connection.commit()
        return path.stat().st_size


def _shared(*kinds: Kind) -> Callable[[float, int], Iterator[tuple[Kind, int]]]:
    """Return what gives each of the kinds the same share of the megabytes, behind the table they refer to."""

    def counts(megabytes: float, _: int) -> Iterator[tuple[Kind, int]]:
        if any(kind.refers for kind in kinds):
            yield _SENSORS, SENSORS
        for kind in kinds:
            yield kind, max(1, int(kind.rows_per_megabyte * megabytes / len(kinds)))

    return counts


def _many(megabytes: float, tables: int) -> Iterator[tuple[Kind, int]]:
    for number in range(tables):
        name = f"small_{number:04d}"
        yield replace(_SMALL, name=name), max(1, int(_SMALL.rows_per_megabyte * megabytes / tables))


SHAPES: Final[dict[str, Callable[[float, int], Iterator[tuple[Kind, int]]]]] = {
    "mixed": _shared(_READINGS, _ARTICLES, _EVENTS, _FILES, _ORDERS),
    "many": _many,
    "giant": _shared(replace(_ORDERS, name="giant")),
    "narrow": _shared(_READINGS),
    "text": _shared(_ARTICLES),
    "json": _shared(_EVENTS),
    "blobs": _shared(_FILES),
    "money": _shared(_ORDERS),
}
"""``mixed`` is one application with tables of five kinds, ``many`` is as many small tables as are asked for."""


def dataset(shape: str, megabytes: float, tables: int) -> Dataset:
    """Return the tables of a shape for a file of about so many megabytes (10^6 bytes); ``many`` takes ``tables``."""
    return Dataset(shape, megabytes, tuple(SHAPES[shape](megabytes, tables)))
