"""
The table on which rows are tried: a temporary one, like the target's, in a transaction that is rolled back.

It has the columns that are needed, the partitions, and the constraints and indexes that the trial is about. Where the
role may not make temporary tables it is made in a schema of its own, which is rolled back with it.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from uuid import uuid4

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from migrator.catalog.constraints import Constraint, Judged, Kind
from migrator.names import TableName, quote_literal, quote_postgres
from migrator.planning.plan import TablePlan
from migrator.source.size import TableSize

ROW = "migrator row"
"""The column of the rows' own keys."""

_TEMPORARY = "pg_temp"


@dataclass(frozen=True, slots=True)
class Place:
    """The schema in which the tables of a trial are made."""

    schema: str
    made_by: str = ""
    """The statement that makes the schema, if it isn't there."""

    @property
    def trial(self) -> TableName:
        """The table that the rows go into."""
        return TableName(self.schema, "trial")

    @property
    def single_row(self) -> TableName:
        """A table for a single row, without constraints."""
        return TableName(self.schema, "trial_row")

    def named(self, name: str) -> str:
        """Return how a statement names something that is made there."""
        return TableName(self.schema, name).quoted


def places() -> Iterator[Place]:
    """Yield where a trial may be made, the best first."""
    yield Place(_TEMPORARY)
    own = f"migrator trial {uuid4().hex}"
    yield Place(own, f"CREATE SCHEMA {quote_postgres(own)}")


@dataclass(frozen=True, slots=True)
class Trial:
    """What is shown to PostgreSQL of one table."""

    table: TablePlan
    """With the columns that are needed, and with ``ROW`` as its last."""
    table_size: TableSize
    judged: Judged
    constraints: tuple[Constraint, ...]
    where: str
    """Which rows; all, if empty."""
    batch_bytes: int
    most: int
    """Rows that are named for one constraint; with more it is taken away, so that others get their turn."""
    unmade: str = ""
    """The statement that makes the table, if it doesn't exist yet."""


class TrialTable:
    """The trial table of one transaction."""

    def __init__(self, connection: AsyncConnection, trial: Trial, place: Place) -> None:
        self._connection = connection
        self._trial = trial
        self.place = place
        self.by_name: dict[str, Constraint] = {}
        """Constraints by the names that they have in the trial."""
        self.relations = {
            partition.relation: place.named(f"trial_{n}") for n, partition in enumerate(trial.judged.partitions)
        }
        """Of the partitions, by their originals."""

    async def make(self) -> None:
        """Make the table, with its partitions, constraints and indexes."""
        trial, judged = self._trial, self._trial.judged
        kept = {name for constraint in trial.constraints for name in constraint.columns}
        kept.update(
            name
            for constraint in judged.constraints
            if constraint.kind is Kind.GENERATED and constraint.name in kept
            for name in constraint.columns
        )
        if self.place.made_by:
            await self._do(self.place.made_by)
        root = await self._root()
        await self._make_one(root, self.place.trial.quoted, judged.key if self.relations else None, "")
        await self._drop_others(self.place.trial.quoted, kept)
        await self._feed_others(root, kept)
        for partition in judged.partitions if self.relations else ():
            own = self.relations[partition.relation]
            await self._make_one(partition.relation, own, partition.key, "EXCLUDING IDENTITY")
            await self._drop_others(own, kept)
            parent = self.relations.get(partition.parent, self.place.trial.quoted)
            await self._do(f"ALTER TABLE {parent} ATTACH PARTITION {own} {partition.bound}")
        for constraint in trial.constraints:
            await self._add(constraint)
        if any(constraint.kind in {Kind.EXCLUSION, Kind.UNIQUE} for constraint in trial.constraints):
            like = f"(LIKE {self.place.trial.quoted} INCLUDING DEFAULTS INCLUDING GENERATED)"
            await self._do(f"CREATE TABLE {self.place.single_row.quoted} {like}")

    async def _root(self) -> str:
        """Return the table that the trial is like, made now if it doesn't exist yet."""
        root = self._trial.table.name
        if not self._trial.unmade:
            return root.quoted
        model = self.place.named("trial_model")
        await self._do(f"CREATE TABLE {model}{self._trial.unmade.removeprefix(f'CREATE TABLE {root.quoted}')}")
        return model

    async def _make_one(self, like: str, name: str, key: str | None, excluding: str) -> None:
        # Without what has a name of its own: that is added one by one, where it is needed.
        parts = "INCLUDING ALL EXCLUDING INDEXES EXCLUDING CONSTRAINTS EXCLUDING COMMENTS EXCLUDING STATISTICS"
        by = f" PARTITION BY {key}" if key else ""
        await self._do(f"CREATE TABLE {name} (LIKE {like} {parts} {excluding}){by}")
        await self._do(f"ALTER TABLE {name} ADD COLUMN {quote_postgres(ROW)} text")

    async def _drop_others(self, relation: str, kept: set[str]) -> None:
        found = await self._connection.execute(
            text(
                "SELECT attname FROM pg_catalog.pg_attribute "
                "WHERE attrelid = CAST(:relation AS regclass) AND attnum > 0 AND NOT attisdropped"
            ),
            {"relation": relation},
        )
        drops = [
            f"DROP COLUMN IF EXISTS {quote_postgres(name)} CASCADE"
            for name in found.scalars()
            if name not in kept | {ROW}
        ]
        if drops:
            await self._do(f"ALTER TABLE {relation} {', '.join(drops)}")

    async def _feed_others(self, root: str, kept: set[str]) -> None:
        """Give columns that the source doesn't feed a sequence of the trial's own: nextval isn't rolled back."""
        fed = {column.target.name for column in self._trial.table.columns}
        found = await self._connection.execute(
            text(
                "SELECT a.attname FROM pg_catalog.pg_attribute a JOIN pg_catalog.pg_attrdef d "
                "ON d.adrelid = a.attrelid AND d.adnum = a.attnum WHERE a.attrelid = CAST(:relation AS regclass) "
                "AND a.attgenerated = '' AND pg_catalog.pg_get_expr(d.adbin, d.adrelid) LIKE '%nextval(%'"
            ),
            {"relation": root},
        )
        for n, name in enumerate(column for column in found.scalars() if column in kept - fed):
            sequence = self.place.named(f"trial_sequence_{n}")
            await self._do(f"CREATE SEQUENCE {sequence}")
            await self._do(
                f"ALTER TABLE {self.place.trial.quoted} ALTER COLUMN {quote_postgres(name)} "
                f"SET DEFAULT pg_catalog.nextval({quote_literal(sequence)})"
            )

    async def _add(self, constraint: Constraint) -> None:
        relation = self.relation(constraint)
        name = constraint.name if constraint.name not in self.by_name else f"{constraint.name[:50]} {len(self.by_name)}"
        match constraint.kind:
            case Kind.CHECK | Kind.EXCLUSION:
                await self._do(f"ALTER TABLE {relation} ADD CONSTRAINT {quote_postgres(name)} {constraint.definition}")
            case Kind.INDEX:
                definition = constraint.definition.replace(" NULLS NOT DISTINCT", "")
                await self._do(f"CREATE INDEX {quote_postgres(name)} ON {relation}{definition}")
            case Kind.UNIQUE:
                await self._do(f"CREATE UNIQUE INDEX {quote_postgres(name)} ON {relation}{constraint.definition}")
            case _:
                return
        self.by_name[name] = constraint

    async def remove(self, name: str, constraint: Constraint) -> None:
        """Take a constraint away."""
        relation = self.relation(constraint)
        if constraint.kind in {Kind.CHECK, Kind.EXCLUSION}:
            await self._do(f"ALTER TABLE {relation} DROP CONSTRAINT {quote_postgres(name)}")
        else:
            await self._do(f"DROP INDEX {self.place.named(name)}")

    def relation(self, constraint: Constraint) -> str:
        """Return the table of the trial that has the constraint."""
        return self.relations.get(constraint.relation, self.place.trial.quoted)

    def definition(self, constraint: Constraint) -> str:
        """Return a foreign key's condition over the trial's rows."""
        return constraint.definition.replace("pg_temp.trial", self.place.trial.quoted)

    async def _do(self, statement: str) -> None:
        await self._connection.exec_driver_sql(statement)
