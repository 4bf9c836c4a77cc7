"""
The benchmark's source: a SQLite file of a wanted size, made inside SQLite, and the tables that wait for it.

Five tables of one application: narrow numbers, wide text, JSON, BLOBs, and money with timestamps. Every row is computed
from its number, so the same size gives the same file.
"""

import sqlite3
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Kind:
    """One table: how it is declared at both ends, what its rows are, and how many make a megabyte."""

    name: str
    sqlite: str
    postgres: str
    row: str
    """SQL for the values of row ``n``, behind the key."""
    rows_per_megabyte: int
    indexes: tuple[str, ...] = ()


WORDS = "'the quick brown fox jumps over the lazy dog and '"

KINDS = (
    Kind(
        "readings",
        "id INTEGER PRIMARY KEY, sensor INTEGER, level INTEGER, value REAL, ok BOOLEAN",
        "id bigint PRIMARY KEY, sensor integer NOT NULL, level bigint NOT NULL, value double precision, ok boolean",
        "n % 5000, n * 7919 % 1000003, CASE WHEN n % 11 THEN n / 7.0 END, n % 2",
        42_000,
        ("CREATE INDEX idx_readings_sensor ON readings (sensor)",),
    ),
    Kind(
        "articles",
        "id INTEGER PRIMARY KEY, title VARCHAR(200), body TEXT",
        "id bigint PRIMARY KEY, title varchar(200) NOT NULL, body text NOT NULL",
        f"'Article ' || n || ' ä 世界', hex(n * 2654435761) || replace(printf('%.*c', 20 + n % 30, 'x'), 'x', {WORDS})",
        405,
    ),
    Kind(
        "events",
        "id INTEGER PRIMARY KEY, kind VARCHAR(20), payload JSON, at DATETIME",
        "id bigint PRIMARY KEY, kind varchar(20) NOT NULL, payload jsonb NOT NULL, at timestamptz NOT NULL",
        "'kind-' || n % 17, "
        "json_object('user', n % 9973, 'path', '/a/' || n, 'tags', json_array('x', 'y', n % 5), 'ms', n % 1000 / 8.0), "
        "strftime('%Y-%m-%d %H:%M:%f', 1600000000 + n, 'unixepoch') || '123'",
        9_800,
        ("CREATE INDEX idx_events_at ON events (at)",),
    ),
    Kind(
        "files",
        "id INTEGER PRIMARY KEY, name TEXT, content BLOB",
        "id bigint PRIMARY KEY, name text NOT NULL, content bytea NOT NULL",
        "'file-' || n || '.bin', CAST(hex(n * 40503) || printf('%.*c', 1000 + n % 4000, 'b') AS BLOB)",
        284,
    ),
    Kind(
        "orders",
        "id INTEGER PRIMARY KEY, customer CHAR(36), total NUMERIC(12, 2), placed DATETIME, note TEXT",
        "id bigint PRIMARY KEY, customer uuid NOT NULL, total numeric(12, 2) NOT NULL, placed timestamp NOT NULL, "
        "note text",
        "printf('%08x-0000-4000-8000-%012x', n % 65521, n), n % 10000000 / 100.0, "
        "strftime('%Y-%m-%d %H:%M:%S', 1500000000 + n * 3, 'unixepoch'), CASE WHEN n % 3 THEN 'note ' || n END",
        12_000,
        ("CREATE INDEX idx_orders_customer ON orders (customer)",),
    ),
)


def make_source(path: Path, megabytes: int) -> dict[str, int]:
    """Write the file, about ``megabytes`` large, and return the rows of each table."""
    path.unlink(missing_ok=True)
    share = megabytes / len(KINDS)
    counts = {kind.name: max(1, int(kind.rows_per_megabyte * share)) for kind in KINDS}
    with closing(sqlite3.connect(path)) as connection:
        connection.executescript("PRAGMA journal_mode = OFF; PRAGMA synchronous = OFF; PRAGMA page_size = 4096;")
        for kind in KINDS:
            connection.execute(f"CREATE TABLE {kind.name} ({kind.sqlite})")
            connection.execute(
                f"WITH RECURSIVE numbers(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM numbers WHERE n < ?) "
                f"INSERT INTO {kind.name} SELECT n, {kind.row} FROM numbers",
                (counts[kind.name],),
            )
        connection.commit()
    return counts


def target_schema() -> str:
    """Return the statements that make the tables at the target, keys and indexes included."""
    tables = [f"CREATE TABLE {kind.name} ({kind.postgres})" for kind in KINDS]
    return ";\n".join([*tables, *(index for kind in KINDS for index in kind.indexes)])


def bare_schema() -> str:
    """Return the statements that make the same tables without keys and indexes."""
    return ";\n".join(f"CREATE TABLE {kind.name} ({kind.postgres.replace(' PRIMARY KEY', '')})" for kind in KINDS)


def keys() -> tuple[str, ...]:
    """Return the statements that make the keys and indexes of bare tables, and their statistics."""
    primary = (f"ALTER TABLE {kind.name} ADD PRIMARY KEY (id)" for kind in KINDS)
    return (*primary, *(index for kind in KINDS for index in kind.indexes), "ANALYZE")
