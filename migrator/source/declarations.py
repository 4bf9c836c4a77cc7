"""
Reads the defaults, keys, indexes, CHECKs and foreign keys that a SQLite file declares.

PRAGMAs return most of these declarations. The others are read from the text of the definitions
(``sql/definitions.py``).
"""

import re
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from msgspec import Struct, field
from sqlalchemy import Row, text
from sqlalchemy.ext.asyncio import AsyncConnection

from migrator.sql.definitions import Clause, IndexText, clauses, foreign_key_columns, index_text
from migrator.sql.lexing import Unreadable, fold


class Term(Struct, frozen=True):
    """One part of an index: a column or an expression. The expression's text is empty if it can't be read."""

    column: str | None
    expression: str = ""
    collation: str = "BINARY"
    descending: bool = False


class Index(Struct, frozen=True):
    """An index, a UNIQUE constraint or a primary key. Only an index has a name."""

    name: str | None
    terms: tuple[Term, ...]
    unique: bool
    where: str | None = None
    """The SQL condition of a partial index; None if all rows are in the index, empty if it can't be read."""


class ForeignKey(Struct, frozen=True):
    """A foreign key. Without ``referred`` columns it refers to the other table's primary key."""

    columns: tuple[str, ...]
    table: str
    referred: tuple[str, ...]
    on_update: str
    on_delete: str
    deferred: bool
    """Whether the key is checked only at the end of a transaction."""


class Check(Struct, frozen=True):
    """A CHECK: an expression over a row."""

    name: str | None
    sql: str


class TableDeclarations(Struct, frozen=True):
    """The declarations of one table."""

    defaults: Mapping[str, str] = field(default_factory=dict)
    """The SQL of each column's default, as it stands in the definition."""
    indexes: tuple[Index, ...] = ()
    primary_key: Index | None = None
    """None if there is no primary key, and for an alias of the rowid, which has no index."""
    foreign_keys: tuple[ForeignKey, ...] = ()
    checks: tuple[Check, ...] = ()
    triggers: tuple[str, ...] = ()
    guarding_triggers: frozenset[str] = frozenset()
    """Those of the triggers that may refuse or ignore a row, by RAISE (SQLite, "CREATE TRIGGER", 4)."""
    generated: Mapping[str, str] = field(default_factory=dict)
    """The expressions of generated columns, by their folded names."""
    collations: Mapping[str, str] = field(default_factory=dict)
    """The collations in capital letters, by the folded names of the columns that have a collation."""
    conflicts: tuple[str, ...] = ()
    """Conflict clauses, by which a broken key isn't an error: ``UNIQUE ON CONFLICT REPLACE``."""
    unreadable: str = ""
    """Why the definition's text could not be read; empty if it could."""


async def read_declarations(connection: AsyncConnection, tables: Sequence[str]) -> dict[str, TableDeclarations]:
    """Return the declarations of each table, by the table's name."""
    rows_by_kind = {
        name: _by_table((await connection.execute(text(query))).all())
        for name, query in (
            ("defaults", _DEFAULTS),
            ("triggers", _TRIGGERS),
            ("references", _FOREIGN_KEYS),
            ("indexes", _INDEXES),
            ("definitions", _DEFINITIONS),
        )
    }
    return {name: _of_table({kind: rows[fold(name)] for kind, rows in rows_by_kind.items()}) for name in tables}


def _of_table(rows: Mapping[str, Sequence[Row[Any]]]) -> TableDeclarations:
    written: tuple[Clause, ...] = ()
    unreadable = ""
    try:
        written = tuple(clause for row in rows["definitions"] for clause in clauses(row.sql))
    except Unreadable as error:
        unreadable = str(error)
    indexes = list(_indexes(rows["indexes"]))
    return TableDeclarations(
        {row.column_name: row.sql for row in rows["defaults"]},
        tuple(index for origin, index in indexes if origin != "pk"),
        next((index for origin, index in indexes if origin == "pk"), None),
        tuple(_foreign_keys(rows["references"], written)),
        tuple(Check(clause.name, clause.inner) for clause in written if clause.words == "CHECK"),
        tuple(row.trigger_name for row in rows["triggers"]),
        frozenset(row.trigger_name for row in rows["triggers"] if _RAISES.search(row.sql)),
        {fold(clause.column): clause.inner for clause in written if clause.words == "GENERATED" and clause.column},
        {fold(clause.column): clause.inner for clause in written if clause.words == "COLLATE" and clause.column},
        tuple(f"{clause.words} ON CONFLICT {clause.conflict}" for clause in written if clause.conflict),
        unreadable,
    )


def _by_table(rows: Sequence[Row[Any]]) -> dict[str, list[Row[Any]]]:
    by_table: dict[str, list[Row[Any]]] = defaultdict(list)
    for row in rows:
        by_table[fold(row.table_name)].append(row)
    return by_table


def _indexes(rows: Sequence[Row[Any]]) -> Iterator[tuple[str, Index]]:
    """Yield the indexes with their origins: ``c`` for CREATE INDEX, ``u`` for UNIQUE, ``pk`` for a primary key."""
    parts: dict[str, list[Row[Any]]] = defaultdict(list)
    for row in rows:
        parts[row.index_name].append(row)
    for name, columns in parts.items():
        first = columns[0]
        written = _index_text(first.sql)
        expressions = written.terms if written and len(written.terms) == len(columns) else ("",) * len(columns)
        terms = tuple(
            Term(row.column_name, "" if row.column_name else expression, row.coll.upper(), bool(row.descending))
            for row, expression in zip(columns, expressions, strict=True)
        )
        where = (written.where if written else "") or "" if first.partial else None
        yield first.origin, Index(name if first.origin == "c" else None, terms, bool(first.is_unique), where)


def _index_text(sql: str | None) -> IndexText | None:
    try:
        return index_text(sql) if sql else None
    except Unreadable:
        return None


def _foreign_keys(rows: Sequence[Row[Any]], written: Sequence[Clause]) -> Iterator[ForeignKey]:
    deferred = {foreign_key_columns(clause) for clause in written if clause.words == "FOREIGN KEY" and clause.deferred}
    keys: dict[int, list[Row[Any]]] = defaultdict(list)
    for row in rows:
        keys[row.id].append(row)
    for parts in keys.values():
        first = parts[0]
        yield ForeignKey(
            tuple(part.own for part in parts),
            first.referred_table,
            tuple(part.referred for part in parts if part.referred is not None),
            first.on_update,
            first.on_delete,
            deferred=tuple(fold(part.own) for part in parts) in deferred,
        )


_RAISES = re.compile(r"\bRAISE\s*\(\s*(ABORT|FAIL|ROLLBACK|IGNORE)\b", re.IGNORECASE)

_DEFAULTS = """
SELECT l.name AS table_name, c.name AS column_name, c.dflt_value AS sql
FROM pragma_table_list l, pragma_table_xinfo(l.name) c
WHERE l.schema = 'main' AND l.type IN ('table', 'shadow') AND c.dflt_value IS NOT NULL AND c.hidden = 0
"""

_DEFINITIONS = "SELECT tbl_name AS table_name, sql FROM sqlite_schema WHERE type = 'table' AND sql IS NOT NULL"

_TRIGGERS = (
    "SELECT tbl_name AS table_name, name AS trigger_name, sql FROM sqlite_schema WHERE type = 'trigger' ORDER BY name"
)

_INDEXES = """
SELECT l.name AS table_name, i.name AS index_name, i."unique" AS is_unique, i.origin, i.partial, c.name AS column_name,
       c."desc" AS descending, c.coll, s.sql
FROM pragma_table_list l, pragma_index_list(l.name) i, pragma_index_xinfo(i.name) c
LEFT JOIN sqlite_schema s ON s.type = 'index' AND s.name = i.name
WHERE l.schema = 'main' AND l.type IN ('table', 'shadow') AND c.key
ORDER BY l.name, i.name, c.seqno
"""

_FOREIGN_KEYS = """
SELECT l.name AS table_name, f.id, f."table" AS referred_table, f."from" AS own, f."to" AS referred,
       f.on_update, f.on_delete
FROM pragma_table_list l, pragma_foreign_key_list(l.name) f
WHERE l.schema = 'main' AND l.type IN ('table', 'shadow') ORDER BY l.name, f.id, f.seq
"""
