"""
Finds what keeps tables from being made after the source's tables.

PostgreSQL can't have or can't distinguish some names, and some types are none on which the application's models work.
"""

import re
from collections.abc import Collection, Iterable, Iterator
from itertools import count

from migrator.names import POSTGRES_NAME_BYTES, cut, pattern
from migrator.planning.table_parts import Obstacle
from migrator.schema.table_ddl import TableDdl
from migrator.source.schema import SourceColumn
from migrator.sql.lexing import fold

_KEPT = frozenset({"tableoid", "xmin", "cmin", "xmax", "cmax", "ctid"})
"""Names of the columns that PostgreSQL adds to each table ("System Columns")."""

_ROOM_FOR_NUMBER = 5
"""The bytes that a number may need at the end of a name that is made for a rule."""

_MOST_COLUMNS = 1600
"""The largest number of columns of a table (PostgreSQL, "Limits")."""


def obstacles(tables_ddl: Iterable[TableDdl]) -> Iterator[Obstacle]:
    """Yield the reasons why tables can't be made: their names, columns' names and types, and too many columns."""
    tables_ddl = list(tables_ddl)
    taken = {table_ddl.name.name for table_ddl in tables_ddl}
    known = {
        name: table.name for name, table in ((each.name.name, each.table) for each in tables_ddl) if name == table.name
    }
    for table_ddl in tables_ddl:
        yield from table_ddl.obstacles
        yield from _columns(table_ddl)
        table, name = table_ddl.table.name, table_ddl.name.name
        reason = ""
        if not name:
            reason = "the table's name is empty"
        elif (owner := known.setdefault(name, table)) != table:
            reason = f"the table's name {_is_that_of(table, name, owner)}"
        if reason:
            yield _renamed(table or '""', reason, f'[tables."{pattern(table)}"]', _free(name or "table", taken))


def _columns(table_ddl: TableDdl) -> Iterator[Obstacle]:
    table = table_ddl.table.name
    if len(table_ddl.columns_made) > _MOST_COLUMNS:
        reason = (
            f"it has {len(table_ddl.columns_made)} columns, and a table of PostgreSQL's has at most {_MOST_COLUMNS}"
        )
        yield Obstacle(table, reason, f"--exclude {pattern(table)}, or columns of it as {pattern(table)}.COLUMN")
    taken = set(table_ddl.names.values())
    known = {made.name: made.name for made in table_ddl.columns_made if table_ddl.names[fold(made.name)] == made.name}
    for column, name in zip((made.name for made in table_ddl.columns_made), table_ddl.names.values(), strict=True):
        reason = ""
        if not name:
            reason = "the name of a column is empty"
        elif name in _KEPT:
            reason = (
                f"column {column}: PostgreSQL keeps {'this name' if column == name else f'the name {name}'} for itself"
            )
        elif (owner := known.setdefault(name, column)) != column:
            reason = f"column {column}: the name {_is_that_of(column, name, owner)}"
        if reason:
            rule = f'[columns."{pattern(table)}.{pattern(column)}"]'
            yield _renamed(table, reason, rule, _free(name or "column", taken))


def _is_that_of(name: str, made: str, other: str) -> str:
    """Return words for two names of the source that are one name in the target."""
    if len(made.encode()) >= POSTGRES_NAME_BYTES - 3 and name != made:
        return f"is that of {other}, cut at {POSTGRES_NAME_BYTES} bytes"
    return f"is that of {other}" if name == made else f"becomes {made}, which is that of {other}"


def _renamed(table: str, reason: str, rule: str, name: str) -> Obstacle:
    """Return an obstacle that another name settles."""
    return Obstacle(table, reason, f'{rule} with rename = "{name}"', f'{rule}\nrename = "{name}"')


def _free(name: str, taken: set[str]) -> str:
    """Return a similar name that is not in ``taken``, and add it to ``taken``."""
    stem = cut(name, POSTGRES_NAME_BYTES - _ROOM_FOR_NUMBER)
    free_name = next(free for number in count(1) if (free := f"{stem}_{number}") not in taken)
    taken.add(free_name)
    return free_name


_DJANGO = "django_migrations"

_DJANGO_TYPES = {"datetime": "timestamptz", "char(32)": "uuid", "char(39)": "inet"}
"""What Django declares in SQLite for DateTimeField, UUIDField and GenericIPAddressField, and uses in PostgreSQL.

Django sends parameters of these types, so its models don't work on columns of other types (Django,
``DatabaseWrapper.data_types`` of the backends ``sqlite3`` and ``postgresql``).
"""

_JSON_CHECK = re.compile(r'\(?\s*JSON_VALID\("(?P<column>(?:[^"]|"")+)"\)', re.IGNORECASE)


def missing_types(tables_ddl: Iterable[TableDdl], sources: Collection[str]) -> Iterator[Obstacle]:
    """
    Yield what would keep Django's models from working on the new tables, each with the rule that settles it.

    ``sources`` are the folded names of all tables of the source. Yields nothing for another application, and nothing
    for a column whose type a rule decides.
    """
    if _DJANGO not in sources:
        return
    tables_ddl = list(tables_ddl)
    for declared, needed in _DJANGO_TYPES.items():
        columns = [
            f"{table_ddl.table.name}.{column.name}"
            for table_ddl in tables_ddl
            for column in table_ddl.undecided
            if column.declared_type.lower() == declared and table_ddl.types[column.name] != needed
        ]
        if columns:
            yield _undecided(columns, f"declared {declared}", needed, f'[types."{declared}"]')
    for table_ddl in tables_ddl:
        for column in _json_columns(table_ddl):
            name = f"{table_ddl.table.name}.{column.name}"
            yield _undecided([name], "JSON by its CHECK", "jsonb", f'[columns."{pattern(name)}"]')


def _json_columns(table_ddl: TableDdl) -> Iterator[SourceColumn]:
    checked = {match["column"].replace('""', '"') for sql in table_ddl.checks if (match := _JSON_CHECK.match(sql))}
    return (column for column in table_ddl.undecided if column.name in checked)


def _undecided(columns: list[str], declared: str, needed: str, rule: str) -> Obstacle:
    table, _, first = columns[0].partition(".")
    more = f" and {len(columns) - 1} more" if len(columns) > 1 else ""
    what = f"column {first}{more}: it is {declared}, and Django's models need {needed} in PostgreSQL"
    return Obstacle(table, what, f'{rule} with type = "{needed}"', f'{rule}\ntype = "{needed}"')
