"""
Describes a schema without its rows: columns and defaults, constraints, indexes, triggers, sequences.

For the load, the job parks keys and indexes, disables triggers and sets sequences. So the job records the schema
before the load, and verify compares.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from types import MappingProxyType

from msgspec import Struct
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from migrator.catalog.floor_standing import floor_standings
from migrator.catalog.sequences import NO_SEQUENCE_RULES, SequenceRules, feeds_of, standings
from migrator.names import LEDGER_SCHEMA, TableName
from migrator.target.glances import glance
from migrator.target.lock_room import lock_room

Catalog = dict[str, str]
"""The definition of each object of a schema, by the object's name: ``index users_email_key of public.users``."""


async def describe(connection: AsyncConnection, schema: str) -> Catalog:
    """
    Return the catalog of ``schema``.

    Leaves the transaction with an empty search_path, so that every name in a definition has its schema.
    """
    await _qualify_names(connection)
    lines = [row for query in _QUERIES for row in await connection.execute(text(query), {"schema": schema})]
    return {row.name: row.definition for row in lines}


async def of_tables(connection: AsyncConnection, catalog: Mapping[str, str], tables: Iterable[TableName]) -> Catalog:
    """Return the lines of ``catalog`` about constraints and indexes of ``tables``. Call it after ``describe``."""
    names = {"tables": [table.quoted for table in tables]}
    spelled = await connection.execute(text("SELECT to_regclass(unnest(CAST(:tables AS text[])))::text"), names)
    endings = tuple(f" of {name}" for name in spelled.scalars())
    return {name: line for name, line in catalog.items() if name.endswith(endings)}


async def about(connection: AsyncConnection, catalog: Mapping[str, str], tables: Iterable[TableName]) -> Catalog:
    """Return the lines of ``catalog`` about ``tables``, their parts and their sequences. Call it after ``describe``."""
    names = {"tables": [table.quoted for table in tables]}
    spelled = await connection.execute(text("SELECT to_regclass(unnest(CAST(:tables AS text[])))::text"), names)
    known = {name for name in spelled.scalars() if name is not None}
    owned = tuple(f" owned by {name} " for name in known)
    return {
        name: line
        for name, line in catalog.items()
        if is_about_one_of(name, known)
        or (name.startswith("sequence ") and any(owner in f" {line} " for owner in owned))
    }


def is_about_one_of(name: str, tables: Collection[str]) -> bool:
    """Return whether a line of this name is about one of the tables, which are spelled as the catalogs spell them."""
    kind, _, label = name.partition(" ")
    match kind:
        case "table":
            return label in tables
        case "column":
            return any(label[:at] in tables for at, sign in enumerate(label) if sign == ".")
        case "constraint" | "index" | "trigger":
            return any(label[at + 4 :] in tables for at in range(len(label)) if label.startswith(" of ", at))
    return False


def changes(before: Mapping[str, str], after: Mapping[str, str]) -> list[str]:
    """Return, in words, each line of ``before`` that is missing or different in ``after``, and each new line."""
    missing = [f"{name} is missing" for name in before if name not in after]
    new = [f"{name} is new" for name in after if name not in before]
    other = [
        f"{name} was {definition!r}, is {after[name]!r}"
        for name, definition in before.items()
        if name in after and after[name] != definition
    ]
    return sorted([*missing, *other, *new])


class Behind(Struct, frozen=True):
    """A sequence whose next value its column already has, or has passed."""

    sequence: str
    table: TableName | None
    """The table of the column; None for a sequence for which a rule says where it has to stand."""
    column: str
    next_value: int
    passed: int
    """The largest value in use, or the smallest value if the sequence counts down."""

    def __str__(self) -> str:
        """Return the sentence for messages."""
        if self.table is None:
            return f"sequence {self.sequence} gives {self.next_value} next, its rule at_least gives {self.passed}"
        return f"sequence {self.sequence} gives {self.next_value} next, {self.table}.{self.column} has {self.passed}"


async def sequences_behind(
    connection: AsyncConnection,
    tables: Sequence[TableName],
    marks: Mapping[tuple[TableName, str], int],
    rules: SequenceRules = NO_SEQUENCE_RULES,
    floors: Mapping[str, int] = MappingProxyType({}),
) -> list[Behind]:
    """
    Return the sequences whose next value is a value that their column already has, or has passed.

    ``rules`` is what rules say about sequences, and ``floors`` what their queries gave, by name. ``marks`` holds the
    highest key that was ever used, by table and column, even if its row is deleted. Values outside a sequence's own
    limits don't count, because the sequence can't reach them. Leaves the transaction with an empty search_path.
    """
    await _qualify_names(connection)
    behind = []
    feeds = (await feeds_of(connection, tables, rules)).by_table
    for group in (await lock_room(connection, list(feeds))).few(list(feeds)):
        async with glance(connection):
            listed = [(table, feed) for table in group for feed in feeds[table]]
            positions = await standings(connection, listed)
            for (table, feed), position in zip(listed, positions, strict=True):
                passed = position.passed(marks.get((table, feed.column)))
                if passed is not None:
                    behind.append(Behind(feed.sequence, table, feed.column, position.next_value, passed))
    for position in await floor_standings(connection, rules.schema, floors):
        passed = position.passed(None)
        if passed is not None:
            behind.append(Behind(position.feed.sequence, None, "", position.next_value, passed))
    return behind


async def _qualify_names(connection: AsyncConnection) -> None:
    await connection.execute(text("SELECT set_config('search_path', '', true)"))


_OF_TABLES = f"n.nspname = :schema AND n.nspname <> '{LEDGER_SCHEMA}'"

_QUERIES = (
    f"""
    SELECT 'table ' || c.oid::regclass AS name,
           concat_ws(' ', c.relkind, c.relpersistence, c.reloptions::text, c.relreplident, c.relrowsecurity,
                     c.relforcerowsecurity, c.relispartition, pg_get_userbyid(c.relowner)) AS definition
    FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
    WHERE {_OF_TABLES} AND c.relkind IN ('r', 'p', 'v', 'm')
    """,
    f"""
    SELECT 'column ' || c.oid::regclass || '.' || quote_ident(a.attname) AS name,
           concat_ws(' ', format_type(a.atttypid, a.atttypmod), CASE WHEN a.attnotnull THEN 'NOT NULL' END,
                     'COLLATE ' || nullif(a.attcollation, 0)::regcollation::text,
                     'DEFAULT ' || pg_get_expr(d.adbin, d.adrelid),
                     'IDENTITY ' || nullif(a.attidentity::text, ''),
                     'GENERATED ' || nullif(a.attgenerated::text, '')) AS definition
    FROM pg_attribute a JOIN pg_class c ON c.oid = a.attrelid JOIN pg_namespace n ON n.oid = c.relnamespace
    LEFT JOIN pg_attrdef d ON d.adrelid = c.oid AND d.adnum = a.attnum
    WHERE {_OF_TABLES} AND c.relkind IN ('r', 'p') AND a.attnum > 0 AND NOT a.attisdropped
    """,
    f"""
    SELECT 'constraint ' || quote_ident(k.conname) || ' of ' || k.conrelid::regclass AS name,
           concat_ws(' ', pg_get_constraintdef(k.oid), CASE WHEN NOT k.convalidated THEN 'not validated' END,
                     obj_description(k.oid, 'pg_constraint')) AS definition
    FROM pg_constraint k JOIN pg_class c ON c.oid = k.conrelid JOIN pg_namespace n ON n.oid = c.relnamespace
    WHERE {_OF_TABLES}
    """,
    f"""
    SELECT 'index ' || quote_ident(i.relname) || ' of ' || x.indrelid::regclass AS name,
           concat_ws(' ', pg_get_indexdef(x.indexrelid), CASE WHEN NOT x.indisvalid THEN 'invalid' END,
                     CASE WHEN x.indisclustered THEN 'clustered' END, CASE WHEN x.indisreplident THEN 'replica' END,
                     t.spcname, obj_description(x.indexrelid, 'pg_class')) AS definition
    FROM pg_index x JOIN pg_class i ON i.oid = x.indexrelid JOIN pg_class c ON c.oid = x.indrelid
    JOIN pg_namespace n ON n.oid = c.relnamespace LEFT JOIN pg_tablespace t ON t.oid = i.reltablespace
    WHERE {_OF_TABLES}
    """,
    f"""
    SELECT 'trigger ' || quote_ident(t.tgname) || ' of ' || t.tgrelid::regclass AS name,
           concat_ws(' ', pg_get_triggerdef(t.oid), t.tgenabled) AS definition
    FROM pg_trigger t JOIN pg_class c ON c.oid = t.tgrelid JOIN pg_namespace n ON n.oid = c.relnamespace
    WHERE {_OF_TABLES} AND NOT t.tgisinternal
    """,
    f"""
    SELECT 'sequence ' || s.seqrelid::regclass AS name,
           concat_ws(' ', s.seqtypid::regtype, s.seqstart, s.seqincrement, s.seqmin, s.seqmax, s.seqcache, s.seqcycle,
                     (SELECT 'owned by ' || d.refobjid::regclass || ' ' || d.refobjsubid FROM pg_depend d
                      WHERE d.classid = 'pg_class'::regclass AND d.objid = c.oid AND d.deptype IN ('a', 'i')
                        AND d.refclassid = 'pg_class'::regclass)) AS definition
    FROM pg_sequence s JOIN pg_class c ON c.oid = s.seqrelid JOIN pg_namespace n ON n.oid = c.relnamespace
    WHERE {_OF_TABLES}
    """,
)
