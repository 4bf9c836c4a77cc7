"""
Keeps the rules for rows in the ledger, as they were when the copy began.

A later run needs them where the target no longer has the foreign keys: they are parked during the load, and the
application may change them afterwards.
"""

from collections.abc import Collection, Mapping, Sequence
from typing import Any, Self

from msgspec import Struct, field
from msgspec.structs import asdict
from sqlalchemy.ext.asyncio import AsyncConnection

from migrator.catalog.keys import ForeignKey, Keys
from migrator.ledger import state
from migrator.ledger.migration import Migration
from migrator.names import TableName
from migrator.selection.references import Reference

_ROW_RULES = "row_rules"
"""The name of the fact that holds the rules for rows."""


class RowRules(Struct, frozen=True):
    """The rules for rows of all tables, with the foreign keys that they are about."""

    conditions: Mapping[str, str] = field(default_factory=dict)
    """The rule ``where`` of each source table that has one."""
    references: tuple[Reference, ...] = ()
    keys: Mapping[TableName, Sequence[ForeignKey]] = field(default_factory=dict)
    """The foreign keys of the target's tables to which the references belong."""

    def behind(self, table: str) -> list[Any]:
        """Return everything that decides which rows of a source table are carried, in a form that can be compared."""
        tables, seen = [table], {table}
        for name in tables:
            parents = sorted({reference.parent for reference in self.references if reference.table == name} - seen)
            seen |= {*parents}
            tables += parents
        references = [reference.to_json() for reference in self.references if reference.table in seen]
        conditions = {name: where for name, where in self.conditions.items() if name in seen}
        return [conditions, sorted(references, key=lambda record: (record["table"], record["foreign_key"]))]

    def changed(self, now: "RowRules", tables: Collection[str]) -> list[str]:
        """Return those of the ``tables`` of which other rows are carried under the rules ``now``."""
        return [name for name in sorted(tables) if self.behind(name) != now.behind(name)]

    def to_json(self) -> dict[str, Any]:
        """Return the rules as JSON values, as the ledger stores them."""
        return {
            "conditions": dict(self.conditions),
            "references": [reference.to_json() for reference in self.references],
            "keys": [
                {"table": asdict(table), "keys": [asdict(key) | {"parent": asdict(key.parent)} for key in keys]}
                for table, keys in self.keys.items()
            ],
        }

    @classmethod
    def from_json(cls, record: Mapping[str, Any]) -> Self:
        """Return the rules that ``to_json`` has turned into ``record``."""
        return cls(
            record["conditions"],
            tuple(map(Reference.from_json, record["references"])),
            {TableName(**entry["table"]): tuple(map(_key, entry["keys"])) for entry in record["keys"]},
        )

    def completed(self, keys: Mapping[TableName, Keys]) -> dict[TableName, Keys]:
        """Return the ``keys`` of the target, with these foreign keys where they are missing now."""
        result = dict(keys)
        for table, kept in self.keys.items():
            present = result.get(table, Keys())
            names = {key.name for key in present.foreign}
            missing = tuple(key for key in kept if key.name not in names)
            result[table] = Keys(present.unique, (*present.foreign, *missing))
        return result


def _key(record: Mapping[str, Any]) -> ForeignKey:
    lists = {name: tuple(record[name]) for name in ("columns", "parent_columns")}
    return ForeignKey(**{**record, **lists, "parent": TableName(**record["parent"])})


async def read(connection: AsyncConnection, migration: Migration) -> RowRules:
    """Return the rules of an earlier run; no rules if there was none."""
    record = await state.recall(connection, migration, _ROW_RULES)
    return RowRules.from_json(record) if record else RowRules()


async def write(connection: AsyncConnection, migration: Migration, rules: RowRules) -> None:
    """Write the rules into the ledger. Call it before the first foreign key is parked."""
    await state.remember(connection, migration, _ROW_RULES, rules.to_json())
