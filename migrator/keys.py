"""
The target's unique and foreign keys, and the source's rows that would break them.

They are built after the load, by PostgreSQL, which stops at the first row in the way. Here all such rows are found
before anything is written, in SQLite, with PostgreSQL's idea of which values are equal: 1, 1.0 and '1' are one number,
two spellings are one uuid, and ``citext`` doesn't see case.
"""

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from migrator.names import TableName
from migrator.plan import ColumnPlan, TablePlan
from migrator.source.scan import ScanSession
from migrator.source.schema import Affinity
from migrator.sql.utf8 import utf8_bytes


@dataclass(frozen=True, slots=True)
class UniqueKey:
    """A primary key, a unique constraint or a plain unique index."""

    name: str
    columns: tuple[str, ...]
    nulls_distinct: bool

    def words(self) -> str:
        """Say why a value mustn't be there twice."""
        return f"and {self.name} of the target is unique ({', '.join(self.columns)})"


@dataclass(frozen=True, slots=True)
class ForeignKey:
    """A foreign key; its columns and those of ``parent`` go together in order."""

    name: str
    columns: tuple[str, ...]
    parent: TableName
    parent_columns: tuple[str, ...]
    whole: bool = False
    """MATCH FULL: either all of its columns are NULL, or none is."""


@dataclass(frozen=True, slots=True)
class Breach:
    """Rows of a table that a key won't take: a condition in SQLite's SQL that is true for them, and why."""

    column: ColumnPlan
    """The key's first column, by which the breach is known."""
    condition: str
    reason: str


@dataclass(frozen=True, slots=True)
class Keys:
    """The keys of one table."""

    unique: tuple[UniqueKey, ...] = ()
    foreign: tuple[ForeignKey, ...] = ()


async def keys_of(connection: AsyncConnection, schema: str) -> dict[TableName, Keys]:
    """
    Return the keys of those tables of ``schema`` that have any.

    Partial indexes and those of expressions are left to PostgreSQL.
    """
    server = int(str(await connection.scalar(text("SELECT current_setting('server_version_num')"))))
    # NULLS NOT DISTINCT came with version 15.
    nulls = "NOT x.indnullsnotdistinct" if server >= 150_000 else "true"  # noqa: PLR2004
    bound = {"schema": schema}
    unique: dict[TableName, list[UniqueKey]] = defaultdict(list)
    for row in (await connection.execute(text(_UNIQUE.format(nulls_distinct=nulls)), bound)).all():
        table = TableName(schema, row.relname)
        unique[table].append(UniqueKey(row.name, tuple(row.columns), row.nulls_distinct))
    foreign: dict[TableName, list[ForeignKey]] = defaultdict(list)
    for row in (await connection.execute(text(_FOREIGN), bound)).all():
        table, parent = TableName(schema, row.relname), TableName(row.parent_schema, row.parent)
        foreign[table].append(ForeignKey(row.name, tuple(row.columns), parent, tuple(row.parent_columns), row.whole))
    return {table: Keys(tuple(unique[table]), tuple(foreign[table])) for table in [*unique, *foreign]}


def breaches(
    tables: Mapping[TableName, TablePlan], table: TablePlan, keys: Keys, session: ScanSession
) -> Iterator[Breach]:
    """
    Yield what to look for in a table, whose ``keys`` refer to others of the planned ``tables``.

    Keys that SQLite has enforced itself, with the same idea of equality, are left out.
    """
    for key, columns in unique_columns(table, keys):
        # Digits beyond a double's only PostgreSQL can compare: it is shown them (`trial_load`).
        if all(column.target.type_name != "numeric" for column in columns) and not _enforced(session, table, columns):
            yield _duplicates(table, columns, key)
    for reference in keys.foreign:
        parent = tables.get(reference.parent)
        if parent is None:
            continue
        children, parents = _columns(table, reference.columns), _columns(parent, reference.parent_columns)
        if children and parents:
            yield _orphans(children, parent, parents, reference)


def unique_columns(table: TablePlan, keys: Keys) -> Iterator[tuple[UniqueKey, list[ColumnPlan]]]:
    """Yield the unique keys of a table that the source feeds, each with the plans of its columns."""
    for key in keys.unique:
        if columns := _columns(table, key.columns):
            yield key, columns


def _columns(table: TablePlan, names: Sequence[str]) -> list[ColumnPlan]:
    """Return the plans of target columns; nothing if the source doesn't feed them all."""
    by_name: Mapping[str, ColumnPlan] = {column.target.name: column for column in table.compared}
    return [by_name[name] for name in names] if all(name in by_name for name in names) else []


def _duplicates(table: TablePlan, columns: Sequence[ColumnPlan], key: UniqueKey) -> Breach:
    compared = [equal_form(column) for column in columns]
    listed = ", ".join(compared)
    present = " AND ".join(f"{form} IS NOT NULL" for form in compared) if key.nulls_distinct else "true"
    condition = (
        f"{present} AND ({listed}) IN "
        f"(SELECT {listed} FROM {table.source.origin} WHERE {present} GROUP BY {listed} HAVING count(*) > 1)"
    )
    if not key.nulls_distinct:  # IN knows no NULL
        joined = " || '|' || ".join(f"quote({form})" for form in compared)
        condition = f"{joined} IN (SELECT {joined} FROM {table.source.origin} GROUP BY {joined} HAVING count(*) > 1)"
    return Breach(columns[0], condition, f"is there more than once, {key.words()}")


def _orphans(
    children: Sequence[ColumnPlan],
    parent: TablePlan,
    parents: Sequence[ColumnPlan],
    key: ForeignKey,
) -> Breach:
    compared = [equal_form(column) for column in children]
    present = " AND ".join(f"{form} IS NOT NULL" for form in compared)
    # A key that is the rowid is never NULL. Without a WHERE SQLite looks it up in the table, and makes no list of it.
    missing = [equal_form(column) for column in parents if column.source != parent.source.rowid_alias]
    where = f" WHERE {' AND '.join(f'{form} IS NOT NULL' for form in missing)}" if missing else ""
    condition = (
        f"{present} AND ({', '.join(compared)}) NOT IN "
        f"(SELECT {', '.join(equal_form(column) for column in parents)} FROM {parent.source.origin}{where})"
    )
    if key.whole and len(compared) > 1:
        missing_parts = " + ".join(f"({form} IS NULL)" for form in compared)
        condition = f"({condition}) OR {missing_parts} BETWEEN 1 AND {len(compared) - 1}"
    reason = f"refers to a row of {parent.source.name} that isn't there, and {key.name} of the target wants it"
    return Breach(children[0], condition, reason)


def equal_form(column: ColumnPlan) -> str:  # noqa: PLR0911 - a table, read from the top
    """Return SQL whose values are equal in SQLite, byte by byte, where the column's are in PostgreSQL."""
    expression = column.source_expression
    match column.target.type_name:
        case "citext":
            return f"lower(CAST({expression} AS TEXT))"
        case "bpchar":
            return f"rtrim(CAST({expression} AS TEXT), ' ') COLLATE BINARY"
        case "numeric":
            # Exact for integers of 64 bits; other digits as a double, which is enough to find what to look at.
            number = "CASE typeof(n) WHEN 'text' THEN CAST(n AS NUMERIC) ELSE n END"
            return f"(SELECT {number} FROM (SELECT {expression} AS n))"
        case "uuid":
            return f"CASE typeof({expression}) WHEN 'blob' THEN {expression} ELSE unhex({expression}, '-') END"
        case "bytea":
            return f"{utf8_bytes(expression)} COLLATE BINARY"
        case "timestamp" | "timestamptz" | "time" if not column.rule.timezone:
            return _moment(expression)
        case "text" | "varchar" | "name":
            return f"CAST({expression} AS TEXT) COLLATE BINARY"
        case "int2" | "int4" | "int8" | "bool":
            return expression  # numbers, which know no collation; bare, so that SQLite may use an index
        case _:
            return f"{expression} COLLATE BINARY"


def _moment(expression: str) -> str:
    """
    Return SQL for the moment that a text means: seconds, and a fraction without zeros that say nothing.

    SQLite rounds fractions, so it gets the text without. What it can't read stays as it is, and meets only itself.
    """
    return (
        "(SELECT coalesce(strftime('%s', whole) || '.' || rtrim(digits, '0'), given) COLLATE BINARY FROM ("
        "SELECT given, iif(dot, substr(given, 1, dot - 1) || zone, given) AS whole, "
        "iif(dot, substr(rest, 1, length(rest) - length(zone)), '') AS digits FROM ("
        "SELECT given, dot, rest, ltrim(rest, '0123456789') AS zone FROM ("
        "SELECT given, instr(given, '.') AS dot, substr(given, instr(given, '.') + 1) AS rest "
        f"FROM (SELECT {expression} AS given)))))"
    )


_SAME_EQUALITY = frozenset({"int2", "int4", "int8", "bool", "text", "varchar", "bytea"})


def _enforced(session: ScanSession, table: TablePlan, columns: Sequence[ColumnPlan]) -> bool:
    """Return whether a key of the source already keeps these columns unique in the same sense."""
    if any(column.target.type_name not in _SAME_EQUALITY or column.is_rewritten for column in columns):
        return False
    if any(
        column.target.type_name in {"text", "varchar"} and column.source.affinity is not Affinity.TEXT
        for column in columns
    ):
        return False
    wanted = {column.source.name.casefold() for column in columns}
    alias = table.source.rowid_alias
    if alias is not None and wanted == {alias.name.casefold()}:
        return True
    literal = table.source.name.replace("'", "''")
    indexes = session.ask(f"SELECT name FROM pragma_index_list('{literal}') WHERE \"unique\" AND NOT partial")
    for index in indexes:
        name = str(index["name"]).replace("'", "''")
        parts = session.ask(f"SELECT name, coll FROM pragma_index_xinfo('{name}') WHERE key")
        if {str(part["name"]).casefold() for part in parts} == wanted and all(p["coll"] == "BINARY" for p in parts):
            return True
    return False


_UNIQUE = """
SELECT c.relname, i.relname AS name, {nulls_distinct} AS nulls_distinct,
       ARRAY(SELECT a.attname::text FROM unnest(x.indkey::int2[]) WITH ORDINALITY AS part(attnum, place)
             JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum = part.attnum
             WHERE part.place <= x.indnkeyatts ORDER BY part.place) AS columns
FROM pg_index x
JOIN pg_class c ON c.oid = x.indrelid
JOIN pg_class i ON i.oid = x.indexrelid
JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE n.nspname = :schema AND x.indisunique AND x.indpred IS NULL AND x.indexprs IS NULL AND NOT c.relispartition
ORDER BY c.relname, i.relname
"""

# One that isn't validated comes back as it was: nobody looks for its parents.
_FOREIGN = """
SELECT c.relname, k.conname AS name, k.confmatchtype = 'f' AS whole, p.relname AS parent, pn.nspname AS parent_schema,
       ARRAY(SELECT a.attname::text FROM unnest(k.conkey) WITH ORDINALITY AS part(attnum, place)
             JOIN pg_attribute a ON a.attrelid = k.conrelid AND a.attnum = part.attnum ORDER BY part.place) AS columns,
       ARRAY(SELECT a.attname::text FROM unnest(k.confkey) WITH ORDINALITY AS part(attnum, place)
             JOIN pg_attribute a ON a.attrelid = k.confrelid AND a.attnum = part.attnum ORDER BY part.place)
           AS parent_columns
FROM pg_constraint k
JOIN pg_class c ON c.oid = k.conrelid
JOIN pg_namespace n ON n.oid = c.relnamespace
JOIN pg_class p ON p.oid = k.confrelid
JOIN pg_namespace pn ON pn.oid = p.relnamespace
WHERE n.nspname = :schema AND k.contype = 'f' AND k.conparentid = 0 AND k.convalidated
ORDER BY c.relname, k.conname
"""
