"""Reads and writes the state of each source table, and its rules, at the time when its rows were copied."""

import json
from collections.abc import Mapping, Sequence
from typing import Any, Self

import sqlalchemy as sa
from msgspec import Struct
from msgspec.structs import asdict
from sqlalchemy.ext.asyncio import AsyncConnection

from migrator.ledger.migration import Migration
from migrator.ledger.schema import carried
from migrator.names import TableName, names_bound


class Terms(Struct, frozen=True):
    """The facts that decide how a source table is read. Two runs with equal terms read equal values from equal rows."""

    source: str
    """The table's name in the source."""
    columns: Mapping[str, str]
    """The declared type of each column."""
    rules: Mapping[str, Mapping[str, Any]]
    """The rules about columns, by column; a column without a rule has no entry."""
    rename: str | None = None
    """The table's name in the target, if a rule or the naming style gives it another name than in the source."""
    where: str | None = None
    """The rule ``where``: the condition of the rows that are carried; None for all rows."""
    names: str = "as-is"
    """The naming style: what the rule ``names`` said. A ledger of an earlier version doesn't have it."""

    def to_json(self) -> dict[str, Any]:
        """Return the terms as JSON values, as the ledger stores them."""
        return asdict(self)

    @classmethod
    def from_json(cls, fields: Mapping[str, Any]) -> Self:
        """Return the terms that ``to_json`` has turned into ``fields``."""
        return cls(**fields)

    def other_rules(self, now: "Terms", *, but_excluded: bool = False) -> list[str]:
        """
        Return one description for each rule that differs between these terms and the terms ``now``.

        Only columns that exist in both terms are compared. With ``but_excluded``, a column that is excluded now is not
        compared either.
        """
        compared = [
            name
            for name in self.columns
            if name in now.columns and not (but_excluded and now.rules.get(name, {}).get("exclude"))
        ]
        other_rules = [
            f"{self.source}.{name} ({_words(self.rules.get(name))} then, {_words(now.rules.get(name))} now)"
            for name in compared
            if self.rules.get(name, {}) != now.rules.get(name, {})
        ]
        if self.rename != now.rename:
            other_rules.append(f"{self.source} (renamed to {self.rename!r} then, {now.rename!r} now)")
        rows = []
        if self.where != now.where:
            rows.append(f"{self.source} ({_rows(self.where)} then, {_rows(now.where)} now)")
        if self.names == now.names or not other_rules:
            return other_rules + rows
        # One line instead of one for each name; rules that differ in more than the name are named besides.
        return [
            f'names ("{self.names}" then, "{now.names}" now)',
            *(
                f"{self.source}.{name} ({_words(then)} then, {_words(here)} now)"
                for name in compared
                for then, here in [(_but_name(self.rules.get(name)), _but_name(now.rules.get(name)))]
                if then != here
            ),
            *rows,
        ]

    def other_columns(self, now: "Terms") -> list[str]:
        """Return one description for each column that is new, is gone, or has another declared type ``now``."""
        gone = [f"column {name} is gone" for name in self.columns if name not in now.columns]
        new = [f"column {name} is new" for name in now.columns if name not in self.columns]
        redeclared = [
            f"column {name} was {declared or 'untyped'}, is {now.columns[name] or 'untyped'}"
            for name, declared in self.columns.items()
            if name in now.columns and now.columns[name] != declared
        ]
        return [*gone, *new, *redeclared]


def _rows(where: str | None) -> str:
    return f"where = {where!r}" if where else "all rows"


def _but_name(rule: Mapping[str, Any] | None) -> dict[str, Any]:
    return {name: value for name, value in (rule or {}).items() if name != "rename"}


def _words(rule: Mapping[str, Any] | None) -> str:
    return ", ".join(f"{name} = {value!r}" for name, value in rule.items()) if rule else "no rule"


class Recorded(Struct, frozen=True):
    """The digest of a source table, and the recipe with which it can be computed again (``recipe.Recipe``, as JSON)."""

    recipe: Mapping[str, Any]
    digest: str
    rows: int


class Carried(Struct, frozen=True):
    """A table whose copy has begun; the copy may be complete or not."""

    terms: Terms
    recorded: Recorded | None = None
    """None while no digest is known that can be computed again."""
    relation: int | None = None
    """The target table's oid."""


async def write(connection: AsyncConnection, migration: Migration, tables: Mapping[TableName, Carried]) -> None:
    """Write the terms of tables whose copy begins. Call it in the transaction that begins the copy."""
    if tables:
        terms = [json.dumps(table.terms.to_json()) for table in tables.values()]
        bound = _bound(migration, list(tables), [table.recorded for table in tables.values()])
        await connection.execute(sa.text(_WRITE), bound | {"terms": terms, "quoted": [name.quoted for name in tables]})


async def record(connection: AsyncConnection, migration: Migration, tables: Mapping[TableName, Recorded]) -> None:
    """Write the digests of tables whose copy has begun."""
    if tables:
        await connection.execute(sa.text(_RECORD), _bound(migration, list(tables), list(tables.values())))


async def read(connection: AsyncConnection, migration: Migration) -> dict[TableName, Carried]:
    """Return the tables whose copy the migration has begun."""
    lines = (await connection.execute(migration.lines(carried))).all()
    return {
        TableName(row.schema_name, row.table_name): Carried(
            Terms.from_json(row.terms),
            None if row.recipe is None else Recorded(row.recipe, row.digest, row.rows),
            row.relation,
        )
        for row in lines
    }


def _bound(migration: Migration, tables: Sequence[TableName], recorded: Sequence[Recorded | None]) -> dict[str, object]:
    return {
        "migration": migration.name,
        **names_bound(tables),
        "recipes": [json.dumps(dict(known.recipe)) if known else None for known in recorded],
        "digests": [known.digest if known else None for known in recorded],
        "rows": [known.rows if known else None for known in recorded],
    }


# One statement for all tables: to begin a statement takes longer than to write a line.
_WRITE = """
INSERT INTO migrator.carried AS l (migration, schema_name, table_name, relation, terms, recipe, digest, rows)
SELECT CAST(:migration AS text), schema_name, table_name, CAST(to_regclass(quoted) AS oid)::bigint,
       CAST(terms AS jsonb), CAST(recipe AS jsonb), digest, rows
FROM unnest(
    CAST(:schemas AS text[]), CAST(:names AS text[]), CAST(:quoted AS text[]), CAST(:terms AS text[]),
    CAST(:recipes AS text[]), CAST(:digests AS text[]), CAST(:rows AS bigint[])
) AS t (schema_name, table_name, quoted, terms, recipe, digest, rows)
ON CONFLICT (migration, schema_name, table_name) DO UPDATE
SET relation = coalesce(excluded.relation, l.relation), terms = excluded.terms,
    recipe = excluded.recipe, digest = excluded.digest, rows = excluded.rows
"""

_RECORD = """
UPDATE migrator.carried l SET recipe = CAST(t.recipe AS jsonb), digest = t.digest, rows = t.rows
FROM unnest(
    CAST(:schemas AS text[]), CAST(:names AS text[]),
    CAST(:recipes AS text[]), CAST(:digests AS text[]), CAST(:rows AS bigint[])
) AS t (schema_name, table_name, recipe, digest, rows)
WHERE l.migration = :migration AND (l.schema_name, l.table_name) = (t.schema_name, t.table_name)
"""
