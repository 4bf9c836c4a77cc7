"""Finds names that PostgreSQL can't have or can't distinguish, in tables that are made from the source's tables."""

from collections import defaultdict
from collections.abc import Iterable, Iterator
from itertools import count

from migrator.names import POSTGRES_NAME_BYTES, pattern
from migrator.planning.table_parts import Obstacle
from migrator.schema.table_ddl import TableDdl

_KEPT = frozenset({"tableoid", "xmin", "cmin", "xmax", "cmax", "ctid"})
"""Names of the columns that PostgreSQL adds to each table ("System Columns")."""

_MOST_COLUMNS = 1600
"""The largest number of columns of a table (PostgreSQL, "Limits")."""


def obstacles(tables_ddl: Iterable[TableDdl]) -> Iterator[Obstacle]:
    """Yield the reasons why tables can't be made: their names, columns' names and types, and too many columns."""
    tables_ddl = list(tables_ddl)
    taken: dict[str, list[TableDdl]] = defaultdict(list)
    for table_ddl in tables_ddl:
        taken[table_ddl.name.name].append(table_ddl)
        yield from table_ddl.obstacles
        yield from _columns(table_ddl)
    for name, same_name in taken.items():
        for position, table_ddl in enumerate(same_name):
            settled = f'[tables."{pattern(table_ddl.table.name)}"] with rename = "…"'
            if not name:
                yield Obstacle(table_ddl.table.name or '""', "the table's name is empty", settled)
            elif position:
                yield Obstacle(
                    table_ddl.table.name, f"the table's name is that of {same_name[0].table.name}{_cut(name)}", settled
                )


def _columns(table_ddl: TableDdl) -> Iterator[Obstacle]:
    table = table_ddl.table.name
    if len(table_ddl.columns_made) > _MOST_COLUMNS:
        reason = (
            f"it has {len(table_ddl.columns_made)} columns, and a table of PostgreSQL's has at most {_MOST_COLUMNS}"
        )
        yield Obstacle(table, reason, f"--exclude {pattern(table)}, or columns of it as {pattern(table)}.COLUMN")
    known: dict[str, str] = {}
    taken = set(table_ddl.names.values())
    for column, name in zip((made.name for made in table_ddl.columns_made), table_ddl.names.values(), strict=True):
        reason = ""
        if not name:
            reason = "the name of a column is empty"
        elif name in _KEPT:
            reason = f"column {column}: PostgreSQL keeps this name for itself"
        elif name in known:
            reason = f"column {column}: the name is that of {known[name]}{_cut(name)}"
        known.setdefault(name, column)
        if reason:
            renamed = _free(name, taken)
            yield Obstacle(table, reason, f'[columns."{pattern(table)}.{pattern(column)}"] with rename = "{renamed}"')


def _free(name: str, taken: set[str]) -> str:
    """Return a similar name that is not in ``taken``, and add it to ``taken``."""
    stem = (name or "column")[: POSTGRES_NAME_BYTES // 4]
    free_name = next(free for number in count(1) if (free := f"{stem}_{number}") not in taken)
    taken.add(free_name)
    return free_name


def _cut(name: str) -> str:
    return f", cut at {POSTGRES_NAME_BYTES} bytes" if len(name.encode()) >= POSTGRES_NAME_BYTES - 3 else ""
