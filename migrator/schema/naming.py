"""Finds names that PostgreSQL can't have, or can't tell apart, in tables that are made after the source's."""

from collections import defaultdict
from collections.abc import Iterable, Iterator
from itertools import count

from migrator.names import POSTGRES_NAME_BYTES, pattern
from migrator.planning.table_parts import Obstacle
from migrator.schema.table_ddl import TableDdl

_KEPT = frozenset({"tableoid", "xmin", "cmin", "xmax", "cmax", "ctid"})
"""Columns that each table has (PostgreSQL, "System Columns")."""

_MOST_COLUMNS = 1600
"""Of a table (PostgreSQL, "Limits")."""


def obstacles(tables_ddl: Iterable[TableDdl]) -> Iterator[Obstacle]:
    """Yield what prevents each table from being made: names, and numbers of columns."""
    tables_ddl = list(tables_ddl)
    taken: dict[str, list[TableDdl]] = defaultdict(list)
    for one in tables_ddl:
        taken[one.name.name].append(one)
        yield from one.obstacles
        yield from _columns(one)
    for name, some in taken.items():
        for place, one in enumerate(some):
            settled = f'[tables."{pattern(one.table.name)}"] with rename = "…"'
            if not name:
                yield Obstacle(one.table.name or '""', "the table's name is empty", settled)
            elif place:
                yield Obstacle(one.table.name, f"the table's name is that of {some[0].table.name}{_cut(name)}", settled)


def _columns(one: TableDdl) -> Iterator[Obstacle]:
    table = one.table.name
    if len(one.columns_made) > _MOST_COLUMNS:
        what = f"it has {len(one.columns_made)} columns, and a table of PostgreSQL's has at most {_MOST_COLUMNS}"
        yield Obstacle(table, what, f"--exclude {pattern(table)}, or columns of it as {pattern(table)}.COLUMN")
    known: dict[str, str] = {}
    taken = set(one.names.values())
    for column, name in zip((made.name for made in one.columns_made), one.names.values(), strict=True):
        what = ""
        if not name:
            what = "the name of a column is empty"
        elif name in _KEPT:
            what = f"column {column}: PostgreSQL keeps this name for itself"
        elif name in known:
            what = f"column {column}: the name is that of {known[name]}{_cut(name)}"
        known.setdefault(name, column)
        if what:
            renamed = _free(name, taken)
            yield Obstacle(table, what, f'[columns."{pattern(table)}.{pattern(column)}"] with rename = "{renamed}"')


def _free(name: str, taken: set[str]) -> str:
    """Return a name like it that isn't taken yet, and take it."""
    stem = (name or "column")[: POSTGRES_NAME_BYTES // 4]
    found = next(free for number in count(1) if (free := f"{stem}_{number}") not in taken)
    taken.add(found)
    return found


def _cut(name: str) -> str:
    return f", cut at {POSTGRES_NAME_BYTES} bytes" if len(name.encode()) >= POSTGRES_NAME_BYTES - 3 else ""
