"""Finds the planned columns of the target's unique keys, and whether a key of the source enforces them already."""

from collections.abc import Iterator, Mapping, Sequence

from migrator.catalog.keys import Keys, UniqueKey
from migrator.planning.plan import ColumnPlan, TablePlan
from migrator.source.scan import ScanSession
from migrator.source.schema import Affinity

_SAME_EQUALITY = frozenset({"int2", "int4", "int8", "bool", "text", "varchar", "bytea"})


def unique_columns(table: TablePlan, keys: Keys) -> Iterator[tuple[UniqueKey, list[ColumnPlan]]]:
    """Yield the unique keys whose columns the source fills, each with the plans of its columns."""
    for key in keys.unique:
        if columns := columns_of(table, key.columns):
            yield key, columns


def columns_of(table: TablePlan, names: Sequence[str]) -> list[ColumnPlan]:
    """Return the plans of the target columns ``names``, or an empty list if the source doesn't fill all of them."""
    by_name: Mapping[str, ColumnPlan] = {column.target.name: column for column in table.compared}
    return [by_name[name] for name in names] if all(name in by_name for name in names) else []


def enforced_on(session: ScanSession, table: TablePlan, columns: Sequence[ColumnPlan]) -> bool:
    """Return whether a key of the source already enforces that these columns are unique, by the same equality."""
    if any(column.target.type_name not in _SAME_EQUALITY or column.is_rewritten for column in columns):
        return False
    if any(
        column.target.type_name in {"text", "varchar"} and column.source.affinity is not Affinity.TEXT
        for column in columns
    ):
        return False
    names = {column.source.name.casefold() for column in columns}
    alias = table.source.rowid_alias
    if alias is not None and names == {alias.name.casefold()}:
        return True
    literal = table.source.name.replace("'", "''")
    indexes = session.ask(f"SELECT name FROM pragma_index_list('{literal}') WHERE \"unique\" AND NOT partial")
    for index in indexes:
        name = str(index["name"]).replace("'", "''")
        parts = session.ask(f"SELECT name, coll FROM pragma_index_xinfo('{name}') WHERE key")
        if {str(part["name"]).casefold() for part in parts} == names and all(p["coll"] == "BINARY" for p in parts):
            return True
    return False
