"""Finds the foreign keys for whose orphans a rule decides, and writes them as SQL over the source."""

from collections.abc import Container, Iterator, Mapping, Sequence
from typing import Any, Self

from msgspec import Struct
from msgspec.structs import asdict

from migrator.catalog.keys import ForeignKey, Keys
from migrator.errors import ConfigurationError
from migrator.names import TableName
from migrator.planning.equality import ParentKeys, equality_key, orphan_condition, parent_keys
from migrator.planning.key_columns import columns_of
from migrator.planning.plan import ColumnPlan, Plan, TablePlan
from migrator.planning.rules import Rules
from migrator.source.schema import SourceTable

DROP = "drop"
NULL = "null"


class Reference(Struct, frozen=True):
    """A foreign key with a rule for its orphans. Everything is in terms of the source, so that it can be kept."""

    foreign_key: str
    table: str
    column: str
    """The key's first column, at which the rule stands."""
    rule: str
    own: tuple[str, ...]
    """The key's columns, as SQL over a row of ``table``."""
    parent: str
    referred: ParentKeys
    set_null: tuple[str, ...] = ()
    """The columns of the source that are read as NULL in an orphan; empty if orphans are dropped."""
    whole: bool = False
    """Whether the key is MATCH FULL."""
    columns: tuple[str, ...] = ()
    """The key's columns in the source."""

    def condition(self, parent: SourceTable) -> str:
        """Return the condition of the orphans, in SQL over a row of the table, if ``parent`` has these rows."""
        return f"({orphan_condition(self.own, self.referred, parent.origin, whole=self.whole)})"

    def to_json(self) -> dict[str, Any]:
        """Return the reference as JSON values, as the ledger stores them."""
        return asdict(self) | {"referred": asdict(self.referred)}

    @classmethod
    def from_json(cls, record: Mapping[str, Any]) -> Self:
        """Return the reference that ``to_json`` has turned into ``record``."""
        referred = ParentKeys(*map(tuple, (record["referred"]["expressions"], record["referred"]["nullable"])))
        lists = {name: tuple(record[name]) for name in ("own", "set_null", "columns")}
        return cls(**{**record, **lists, "referred": referred})


def references_of(plan: Plan, keys: Mapping[TableName, Keys], rules: Rules) -> list[Reference]:
    """
    Return the foreign keys with a rule for their orphans; ``keys`` are the keys of the target's tables.

    Raises ConfigurationError for a rule that names a column with which no foreign key begins, for ``orphans = "null"``
    where no column can be NULL, and for a table whose rows can't be told apart.
    """
    tables = {table.name: table for table in plan.tables}
    references: list[Reference] = []
    for table in plan.tables:
        ruled = {column.source.name for column in table.compared if column.rule.orphans}
        if not ruled:
            continue
        of_table = keys.get(table.name, Keys())
        references += _of_table(table, tables, of_table, ruled)
        first = {
            children[0].source.name
            for key in of_table.foreign
            if key.parent in tables and (children := columns_of(table, key.columns))
        }
        for name in sorted(ruled - first):
            rule = rules.naming(table.source.name, name)
            if rule and rule.orphans:  # a pattern may well match columns that refer to nothing
                raise _without_key(table, name, of_table)
    return references


def _of_table(
    table: TablePlan, tables: Mapping[TableName, TablePlan], keys: Keys, ruled: Container[str]
) -> Iterator[Reference]:
    for key in keys.foreign:
        parent = tables.get(key.parent)
        children = columns_of(table, key.columns)
        referred = columns_of(parent, key.parent_columns) if parent else []
        if not children or children[0].source.name not in ruled:
            continue
        if parent and referred:
            yield _reference(table, children, key, parent.source.name, parent_keys(parent, referred))


def _reference(
    table: TablePlan, children: Sequence[ColumnPlan], key: ForeignKey, parent: str, referred: ParentKeys
) -> Reference:
    rule = str(children[0].rule.orphans)
    column = children[0].source.name
    if table.source.rowid is None and table.source.key_index is None:
        raise ConfigurationError(
            f"the rule orphans of {table.source.name}.{column} can't be used: columns have taken all names of "
            "the rowid, so that the table's rows can't be told apart",
            next_step="Remove the orphans in the source, or use the rule where for this table.",
            column=f"{table.source.name}.{column}",
        )
    nullable = [child.source.name for child in children if not child.target.not_null]
    if rule == NULL and (not nullable or (key.whole and len(nullable) < len(children))):
        raise ConfigurationError(
            f'the rule orphans = "null" of {table.source.name}.{column} can\'t be used: the columns of {key.name} '
            f"({', '.join(key.columns)}) are NOT NULL in the target",
            next_step='Write orphans = "drop", which leaves these rows behind.',
            column=f"{table.source.name}.{column}",
        )
    return Reference(
        key.name,
        table.source.name,
        column,
        rule,
        tuple(map(equality_key, children)),
        parent,
        referred,
        tuple(nullable) if rule == NULL else (),
        key.whole,
        tuple(child.source.name for child in children),
    )


def _without_key(table: TablePlan, name: str, keys: Keys) -> ConfigurationError:
    """Return the error for a rule at a column with which no foreign key begins that refers to a carried table."""
    source_names = {column.target.name: column.source.name for column in table.compared}
    within = [key for key in keys.foreign if name in {source_names.get(column) for column in key.columns}]
    elsewhere = [key for key in keys.foreign if source_names.get(key.columns[0]) == name]
    if elsewhere:
        return ConfigurationError(
            f"the rule orphans of {table.source.name}.{name} can't be used: {elsewhere[0].name} refers to "
            f"{elsewhere[0].parent}, whose rows don't come from the source",
            next_step=f'Leave these rows behind with a condition, [tables."{table.source.name}"] and where = "…", '
            "or take the rule out.",
            column=f"{table.source.name}.{name}",
        )
    first = source_names.get(within[0].columns[0], within[0].columns[0]) if within else ""
    return ConfigurationError(
        f"the rule orphans of {table.source.name}.{name} has no meaning: no foreign key of the target begins there",
        next_step=f'Write it at the key\'s first column: [columns."{table.source.name}.{first}"].'
        if within
        else "Take it out there.",
        column=f"{table.source.name}.{name}",
    )
