"""
What a SQLite file declares of its tables beside names and types: defaults, keys, indexes, CHECKs, foreign keys.

PRAGMAs say most of it. What only stands in the text of a definition is taken from there by SQLAlchemy's reflection.
"""

import warnings
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, Row, inspect, text
from sqlalchemy.exc import SAWarning
from sqlalchemy.ext.asyncio import AsyncConnection


@dataclass(frozen=True, slots=True)
class Index:
    """An index, or what is made by one: a UNIQUE constraint has no name of its own."""

    name: str | None
    columns: tuple[str | None, ...]
    """None for an expression."""
    unique: bool
    where: str | None = None
    """SQL that says which rows are in it; None for all, empty where that can't be read from the definition."""


@dataclass(frozen=True, slots=True)
class ForeignKey:
    """A foreign key. Without ``referred`` columns it means the other table's primary key."""

    columns: tuple[str, ...]
    table: str
    referred: tuple[str, ...]
    on_update: str
    on_delete: str
    deferred: bool
    """Whether it is checked at the end of a transaction."""


@dataclass(frozen=True, slots=True)
class Check:
    """A CHECK: an expression over a row."""

    name: str | None
    sql: str


@dataclass(frozen=True, slots=True)
class Declared:
    """What is declared of one table."""

    defaults: Mapping[str, str]
    """SQL by column, as it stands in the definition."""
    indexes: tuple[Index, ...]
    foreign_keys: tuple[ForeignKey, ...]
    checks: tuple[Check, ...]
    triggers: tuple[str, ...]


async def declared(connection: AsyncConnection, tables: Sequence[str]) -> dict[str, Declared]:
    """Return what is declared of each table."""
    defaults = _by_table((await connection.execute(text(_DEFAULTS))).all())
    triggers = _by_table((await connection.execute(text(_TRIGGERS))).all())
    references = _by_table((await connection.execute(text(_FOREIGN_KEYS))).all())
    indexed = _by_table((await connection.execute(text(_INDEXES))).all())
    with_checks = set((await connection.scalars(text(_WITH_CHECKS))).all())
    reflected = await connection.run_sync(
        _reflected,
        [name for name in tables if name in with_checks],
        [name for name in tables if any(row.partial for row in indexed[name])],
    )
    return {
        name: Declared(
            {row.column_name: row.sql for row in defaults[name]},
            tuple(_indexes(indexed[name], reflected.conditions)),
            tuple(_foreign_keys(references[name])),
            reflected.checks.get(name, ()),
            tuple(row.trigger_name for row in triggers[name]),
        )
        for name in tables
    }


@dataclass(frozen=True, slots=True)
class _Reflected:
    checks: Mapping[str, tuple[Check, ...]]
    """By table."""
    conditions: Mapping[str, str]
    """Of partial indexes, by their names."""


def _reflected(connection: Connection, with_checks: Sequence[str], with_conditions: Sequence[str]) -> _Reflected:
    inspector = inspect(connection)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", SAWarning)  # of an index on expressions, which the PRAGMAs tell too
        indexes = [index for table in with_conditions for index in inspector.get_indexes(table)]
    checks = {
        table: tuple(Check(one["name"], one["sqltext"]) for one in inspector.get_check_constraints(table))
        for table in with_checks
    }
    options = {str(index["name"]): index.get("dialect_options", {}) for index in indexes}
    return _Reflected(
        checks, {name: str(given["sqlite_where"]) for name, given in options.items() if "sqlite_where" in given}
    )


def _by_table(rows: Sequence[Row[Any]]) -> dict[str, list[Row[Any]]]:
    found: dict[str, list[Row[Any]]] = defaultdict(list)
    for row in rows:
        found[row.table_name].append(row)
    return found


def _indexes(rows: Sequence[Row[Any]], conditions: Mapping[str, str]) -> Iterator[Index]:
    columns: dict[str, list[str | None]] = defaultdict(list)
    for row in rows:
        columns[row.index_name].append(row.column_name)
    for row in {row.index_name: row for row in rows}.values():
        name = row.index_name if row.origin == "c" else None
        where = conditions.get(row.index_name, "") if row.partial else None
        yield Index(name, tuple(columns[row.index_name]), bool(row.is_unique), where)


def _foreign_keys(rows: Sequence[Row[Any]]) -> Iterator[ForeignKey]:
    """Yield the keys; that they are deferred is believed where a definition says so as often as it has keys."""
    keys: dict[int, list[Row[Any]]] = defaultdict(list)
    for row in rows:
        keys[row.id].append(row)
    for parts in keys.values():
        [first, *_] = parts
        yield ForeignKey(
            tuple(part.own for part in parts),
            first.referred_table,
            tuple(part.referred for part in parts if part.referred is not None),
            first.on_update,
            first.on_delete,
            deferred=str(first.sql).upper().count("INITIALLY DEFERRED") == len(keys),
        )


_DEFAULTS = """
SELECT l.name AS table_name, c.name AS column_name, c.dflt_value AS sql
FROM pragma_table_list l, pragma_table_xinfo(l.name) c
WHERE l.schema = 'main' AND l.type IN ('table', 'shadow') AND c.dflt_value IS NOT NULL
"""

_WITH_CHECKS = "SELECT name FROM sqlite_schema WHERE type = 'table' AND sql LIKE '%check%'"

_TRIGGERS = (
    "SELECT tbl_name AS table_name, name AS trigger_name FROM sqlite_schema WHERE type = 'trigger' ORDER BY name"
)

# The primary key's own index (origin pk) is left out: the columns say what is in the key.
_INDEXES = """
SELECT l.name AS table_name, i.name AS index_name, i."unique" AS is_unique, i.origin, i.partial, c.name AS column_name
FROM pragma_table_list l, pragma_index_list(l.name) i, pragma_index_info(i.name) c
WHERE l.schema = 'main' AND l.type IN ('table', 'shadow') AND i.origin IN ('c', 'u')
ORDER BY l.name, i.name, c.seqno
"""

_FOREIGN_KEYS = """
SELECT l.name AS table_name, f.id, f."table" AS referred_table, f."from" AS own, f."to" AS referred,
       f.on_update, f.on_delete, s.sql
FROM pragma_table_list l JOIN sqlite_schema s ON s.name = l.name AND s.type = 'table', pragma_foreign_key_list(l.name) f
WHERE l.schema = 'main' AND l.type IN ('table', 'shadow') ORDER BY l.name, f.id, f.seq
"""
