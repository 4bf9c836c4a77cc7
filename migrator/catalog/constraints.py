"""
Finds the constraints that only PostgreSQL can check: CHECKs, exclusions, partitions, expressions, index sizes.

The catalogs list these constraints and indexes for each table, and the columns on which they depend. ``trial_load``
then lets PostgreSQL judge the values of these columns before anything is written.
"""

import re
from collections import defaultdict
from enum import StrEnum
from typing import Any

from msgspec import Struct
from sqlalchemy import Row, text
from sqlalchemy.ext.asyncio import AsyncConnection

from migrator.catalog.constraint_queries import CHECKS, FOREIGN, GENERATED, INDEXES, PARTITIONS, WIDE
from migrator.names import TableName


class Kind(StrEnum):
    """The kind of a constraint."""

    CHECK = "check constraint"
    EXCLUSION = "exclusion constraint"
    INDEX = "index"
    UNIQUE = "unique index"
    PARTITION = "partition"
    GENERATED = "generated column"
    FOREIGN = "foreign key"
    REFERENCING = "foreign key of another table"
    ROW = "row"
    ENCODING = "encoding"


class Constraint(Struct, frozen=True):
    """A constraint, an index or another property of a table by which PostgreSQL judges rows."""

    kind: Kind
    name: str
    relation: str
    """The table or partition that has the constraint, quoted and with its schema."""
    definition: str
    """The SQL after ADD CONSTRAINT or ``ON table``; for a foreign key a condition, see ``FOREIGN``."""
    columns: tuple[str, ...]
    """All columns that the constraint depends on."""
    most_bytes: int | None = None
    """A row passes for sure if its ``columns`` have fewer bytes in the source; None if every row must be judged."""

    @property
    def spans_rows(self) -> bool:
        """Whether the constraint compares rows with each other, or with rows of another table."""
        return self.kind in {Kind.EXCLUSION, Kind.UNIQUE, Kind.FOREIGN, Kind.REFERENCING}


class Partition(Struct, frozen=True):
    """A partition of a table, or of a partition."""

    relation: str
    parent: str
    bound: str
    """The clause FOR VALUES …"""
    key: str | None
    """The clause PARTITION BY …, if the partition is itself partitioned."""


class Judged(Struct, frozen=True):
    """The constraints and partitions by which PostgreSQL judges the rows of one table."""

    constraints: tuple[Constraint, ...] = ()
    key: str | None = None
    """The clause PARTITION BY …, if the table is partitioned."""
    partitions: tuple[Partition, ...] = ()
    """The partitions, each after its parent."""
    unstable: tuple[str, ...] = ()
    """CHECKs that depend on more than a row's values (other rows, the time, the table), so rows may fail later."""


NOTHING = Judged()


async def judged_of(connection: AsyncConnection, schema: str) -> dict[TableName, Judged]:
    """
    Return the constraints that only PostgreSQL can check, for the tables of ``schema`` that have them.

    Leaves the transaction with an empty search_path, so that every name in a definition has its schema.
    """
    await connection.execute(text("SELECT set_config('search_path', '', true)"))
    bound = {"schema": schema}
    constraints: dict[str, list[Constraint]] = defaultdict(list)
    unstable: dict[str, list[str]] = defaultdict(list)
    for row in (await connection.execute(text(CHECKS), bound)).all():
        by_table = _TABLE_ITSELF.search(_without_literals(row.definition)) is not None
        if not by_table:
            constraints[row.root].append(_constraint(Kind(row.kind), row, _bare(row.definition)))
        if by_table or any(_may_read_rows(source) for source in row.unstable) or _VOLATILE.search(row.definition):
            unstable[row.root].append(row.name)
    for row in (await connection.execute(text(INDEXES), bound)).all():
        if constraint := _of_index(row):
            constraints[row.root].append(constraint)
    for query in (GENERATED, FOREIGN, WIDE):
        for row in (await connection.execute(text(query), bound)).all():
            constraints[row.root].append(_constraint(Kind(row.kind), row, row.definition))
    keys: dict[str, str] = {}
    partitions: dict[str, list[Partition]] = defaultdict(list)
    for row in (await connection.execute(text(PARTITIONS), bound)).all():
        if row.parent is None:
            keys[row.root] = row.key
            constraints[row.root].append(_constraint(Kind.PARTITION, row, ""))
        else:
            partitions[row.root].append(Partition(row.relation, row.parent, row.bound, row.key))
    return {
        TableName(schema, root): Judged(
            tuple(constraints[root]), keys.get(root), tuple(partitions[root]), tuple(unstable[root])
        )
        for root in {*constraints, *unstable}
    }


def _constraint(kind: Kind, row: Row[Any], definition: str, most_bytes: int | None = None) -> Constraint:
    return Constraint(kind, row.name, row.relation, definition, tuple(row.columns), most_bytes)


def _bare(definition: str) -> str:
    """Return a constraint's definition without the words that limit or delay its check."""
    return re.sub(r"( NOT VALID| NO INHERIT| INITIALLY DEFERRED| DEFERRABLE)+$", "", definition)


def _may_read_rows(source: str) -> bool:
    """
    Return whether the result of an application's function may depend on more than its arguments and the time.

    ``source`` is the body of a function in SQL or PL/pgSQL, and empty for any other language. The answer is true if the
    body calls a function outside ``_OF_ARGUMENTS`` (PostgreSQL, "Function Volatility Categories").
    """
    bare = re.sub(r"'(?:[^']|'')*'|--[^\n]*|/\*.*?\*/", "''", source, flags=re.DOTALL).casefold()
    called = {name.rpartition(".")[2] for name in re.findall(r"([\w.\"]+)\s*\(", bare)}
    return not bare.strip() or bool(_READS.search(bare)) or not called <= _OF_ARGUMENTS


def _without_literals(definition: str) -> str:
    """Return a definition from the catalogs with empty string literals."""
    return re.sub(r"'(?:[^']|'')*'", "''", definition)


_TABLE_ITSELF = re.compile(r"\b(tableoid|current_query)\b")
"""Names by which a CHECK can distinguish the table from the trial's copy, so that the trial can't decide the CHECK
(PostgreSQL, "System Columns")."""

_VOLATILE = re.compile(r"\b(random|gen_random_uuid|clock_timestamp|timeofday|nextval|txid_current|pg_\w+)\(")
"""PostgreSQL's own functions with a different answer each time. The catalogs don't record which CHECKs use them."""

_READS = re.compile(r"\b(from|execute|perform|exists|insert|update|delete|table|call|query|with|into)\b")

_OF_ARGUMENTS = frozenset(
    (
        *("lower", "upper", "length", "char_length", "octet_length", "btrim", "ltrim", "rtrim", "left", "right"),
        *("coalesce", "nullif", "greatest", "least", "abs", "round", "floor", "ceil", "mod", "strpos", "position"),
        *("now", "date_part", "date_trunc", "make_date", "to_char", "to_date", "jsonb_typeof", "json_typeof"),
        *("array_length", "cardinality", "regexp_replace", "replace", "substr", "split_part", "starts_with", "concat"),
        *("if", "and", "or", "not", "in", "when", "then", "else", "return", "any", "all", "select", "elsif", "case"),
    )
)
"""Functions whose answer depends only on arguments and time, and keywords that may stand before a parenthesis."""

# Indexes ----------------------------------------------------------------------------------------------------------

_SAME_SPELLING = frozenset(
    (
        "int2",
        "int4",
        "int8",
        "bool",
        "text",
        "varchar",
        "bpchar",
        "name",
        "citext",
        "uuid",
        "bytea",
        "date",
        "time",
        "timetz",
        "timestamp",
        "timestamptz",
        "float4",
        "float8",
        "inet",
        "cidr",
        "macaddr",
        "macaddr8",
        "oid",
    )
)
"""Types whose equal values ``key_violations`` and ``server_equality`` recognise."""

_TEXTS = frozenset({"text", "varchar", "bpchar", "name", "citext", "bytea"})

_SIZED = frozenset({"btree", "gist", "spgist", "gin", "brin"})
"""Kinds of index that store the values themselves, each value in at most a third of a page, or a page."""

_MOST_BYTES = 2_000
"""A shorter key always fits. The lowest limit is 2,704 bytes with headers (src/include/access/nbtree.h:
BTMaxItemSize)."""

_MOST_BYTES_FOLDED = 800
"""The same limit, if an expression may make letters longer: one byte may become three (Unicode, SpecialCasing)."""

_MOST_BYTES_OF_LEXEMES = 250_000
"""The same limit for text that becomes a tsvector, which has at most a megabyte (PostgreSQL, "Text Search
Limitations")."""

_OTHER_TYPES = 10
"""The bytes that PostgreSQL may need for one byte of the source's text, if the type isn't text: digits in jsonb."""


def _of_index(row: Row[Any]) -> Constraint | None:
    """Return an index by which only PostgreSQL can judge; None if every row fits, or ``key_violations`` judges it."""
    needs_trial = row.unique and (
        row.expressions is not None
        or row.predicate is not None
        or row.nondeterministic
        or any(name not in _SAME_SPELLING and kind != "e" for name, kind in zip(row.types, row.kinds, strict=True))
    )
    if needs_trial or row.computed or not _is_total(row.expressions) or not _is_total(row.predicate):
        return _constraint(Kind.UNIQUE if needs_trial else Kind.INDEX, row, row.definition)
    if row.method not in _SIZED or not (row.variable or row.expressions):
        return None
    if row.method == "gin" and "to_tsvector(" in (row.expressions or ""):
        return _constraint(Kind.INDEX, row, row.definition, _MOST_BYTES_OF_LEXEMES)
    most = _MOST_BYTES_FOLDED if row.expressions else _MOST_BYTES
    other = row.expressions is None and any(name not in _TEXTS for name in row.variable)
    return _constraint(Kind.INDEX, row, row.definition, most // _OTHER_TYPES if other else most)


_TOTAL = frozenset({"lower", "upper", "coalesce", "md5", "length", "btrim", "to_tsvector", "and", "or", "not", "in"})
"""Functions that have an answer for every value, and keywords that may stand before a parenthesis."""

_TOTAL_CASTS = frozenset({"text", "character varying", "character", "regconfig", "text[]", "character varying[]"})


def _is_total(expression: str | None) -> bool:
    """Return whether an index's expression has a value for every row, judged by its words; false if in doubt."""
    if expression is None:
        return True
    bare = _without_literals(expression)
    called = {name.rpartition(".")[2].casefold() for name in re.findall(r"([\w.\"]+)\(", bare)}
    casts = set(re.findall(r"::([a-z ]+(?:\[\])?)", bare))
    arithmetic = re.search(r"[-+*/%^]", re.sub(r"->>?", "", bare))
    return called <= _TOTAL and {cast.strip() for cast in casts} <= _TOTAL_CASTS and not arithmetic
