"""
Finds the rows that become orphans if other rows stay behind as orphans, before any rule says so.

With the rule ``orphans = "drop"`` for one foreign key, the rows that refer to a dropped row need such a rule, too. An
operator wants to know all of them at once, and not one after another.
"""

from collections.abc import Collection, Mapping

from msgspec import Struct
from msgspec.structs import replace

from migrator.catalog.keys import Keys
from migrator.names import TableName
from migrator.planning.key_columns import columns_of
from migrator.planning.plan import ColumnPlan, Plan, TablePlan
from migrator.planning.rules import Rules
from migrator.selection.left_behind import without_orphans
from migrator.selection.references import DROP, references_of
from migrator.source.database import Source
from migrator.source.schema import SourceDatabase
from migrator.sql.selection import Selection


class Following(Struct, frozen=True):
    """Rows that refer to rows which would stay behind."""

    table: str
    column: str
    """The first column of the foreign key."""
    rows: int

    def __str__(self) -> str:
        """Return the finding in words."""
        refer = "1 row refers to a row" if self.rows == 1 else f"{self.rows} rows refer to rows"
        return f"{self.table}.{self.column}: {refer} that would stay behind"


def following_orphans(
    source: Source, plan: Plan, keys: Mapping[TableName, Keys], dropped: Collection[tuple[str, str]]
) -> list[Following]:
    """
    Return the rows that become orphans if the orphans of the ``dropped`` foreign keys stay behind.

    ``dropped`` has the first column of each foreign key, as names of the source's table and column. What refers to the
    found rows is among them, too. Reads each table that refers to another one of these at least once. Blocks. Raises
    SourceUnreadable, and ConfigurationError if the rows of such a table can't be told apart.
    """
    first = _first_columns(plan, keys)
    names = {table.name: table.source.name for table in plan.tables}
    reached, size = {table for table, _ in dropped}, 0
    while size != len(reached):
        size = len(reached)
        reached |= {names[child] for (child, _), parents in first.items() if reached & {names[one] for one in parents}}
    within = {
        (names[child], column)
        for (child, column), parents in first.items()
        if reached & {names[parent] for parent in parents}
    }
    supposed = replace(plan, tables=tuple(_supposing(table, within | set(dropped)) for table in plan.tables))
    contents = SourceDatabase(tuple(table.source for table in supposed.tables), (), ())
    selected = without_orphans(source, contents, references_of(supposed, keys, Rules()))
    ruled = {
        (table.source.name, column.source.name)
        for table in plan.tables
        for column in table.compared
        if column.rule.orphans
    }
    return [
        Following(table.name, orphans.column, orphans.rows)
        for table in selected.tables
        for orphans in table.selection.orphans
        if orphans.rows and (table.name, orphans.column) not in ruled | set(dropped)
    ]


def _first_columns(plan: Plan, keys: Mapping[TableName, Keys]) -> dict[tuple[TableName, str], set[TableName]]:
    """Return the first column of each foreign key between planned tables, with the tables that it refers to."""
    planned = {table.name for table in plan.tables}
    found: dict[tuple[TableName, str], set[TableName]] = {}
    for table in plan.tables:
        for key in keys.get(table.name, Keys()).foreign:
            children = columns_of(table, key.columns)
            if children and key.parent in planned:
                found.setdefault((table.name, children[0].source.name), set()).add(key.parent)
    return found


def _supposing(table: TablePlan, columns: Collection[tuple[str, str]]) -> TablePlan:
    """Return the plan of a table as if ``orphans = "drop"`` was said of them, and its rows not selected yet."""

    def ruled(column: ColumnPlan) -> ColumnPlan:
        if column.rule.orphans or (table.source.name, column.source.name) not in columns:
            return column
        return replace(column, rule=column.rule.model_copy(update={"orphans": DROP}))

    own = table.source.selection
    stored = replace(table.source, selection=Selection(own.where, own.excluded_by_where))
    return replace(table, source=stored, columns=tuple(map(ruled, table.columns)))
