"""
Makes the trial table, on which rows are tried: a temporary table like the target's, in a transaction that rolls back.

The trial table has the necessary columns, the partitions, and the constraints and indexes that the trial is about. If
the role may not make temporary tables, the trial table gets a separate schema, which is rolled back as well.
"""

from collections.abc import Iterator
from uuid import uuid4

from msgspec import Struct
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncConnection

from migrator.catalog.constraints import Constraint, Judged, Kind
from migrator.names import TableName, quote_literal, quote_postgres
from migrator.planning.plan import TablePlan
from migrator.runtime.retry import is_transient, short_message
from migrator.source.size import TableSize

ROW = "migrator row"
"""The trial table's column with the key of each source row."""

_TEMPORARY = "pg_temp"


class Place(Struct, frozen=True):
    """The schema in which the tables of a trial are made."""

    schema: str
    made_by: str = ""
    """The statement that makes the schema; empty if the schema exists."""

    @property
    def trial(self) -> TableName:
        """The table into which the rows are loaded."""
        return TableName(self.schema, "trial")

    @property
    def single_row(self) -> TableName:
        """A table for a single row, without constraints."""
        return TableName(self.schema, "trial_row")

    def named(self, name: str) -> str:
        """Return the quoted name, for SQL, of an object in this schema."""
        return TableName(self.schema, name).quoted


def places() -> Iterator[Place]:
    """Yield the places in which a trial table can be made, the best place first."""
    yield Place(_TEMPORARY)
    new_schema = f"migrator trial {uuid4().hex}"
    yield Place(new_schema, f"CREATE SCHEMA {quote_postgres(new_schema)}")


class Trial(Struct, frozen=True):
    """The rows, columns and constraints of one table that are tried on PostgreSQL."""

    table: TablePlan
    """The plan with only the necessary columns, and with ``ROW`` as the last column."""
    table_size: TableSize
    judged: Judged
    constraints: tuple[Constraint, ...]
    where: str
    """A condition for the rows to try; empty for all rows."""
    batch_bytes: int
    most: int
    """The largest number of rows that are named for one constraint. Then the constraint is removed, so that the other
    constraints can judge the next rows."""
    unmade: str = ""
    """The statement that makes the target's table if it doesn't exist yet; otherwise empty."""


class TrialTable:
    """The trial table of one transaction."""

    def __init__(self, connection: AsyncConnection, trial: Trial, place: Place) -> None:
        self._connection = connection
        self._trial = trial
        self.place = place
        self.by_name: dict[str, Constraint] = {}
        """Constraints by their names in the trial."""
        self.relations = {
            partition.relation: place.named(f"trial_{n}") for n, partition in enumerate(trial.judged.partitions)
        }
        """The trial's partitions, by the names of the target's partitions."""

    async def make(self) -> None:
        """Make the table, with its partitions, constraints and indexes. Raises DBAPIError if the server refuses."""
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
            trial_partition = self.relations[partition.relation]
            await self._make_one(partition.relation, trial_partition, partition.key, "EXCLUDING IDENTITY")
            await self._drop_others(trial_partition, kept)
            parent = self.relations.get(partition.parent, self.place.trial.quoted)
            await self._do(f"ALTER TABLE {parent} ATTACH PARTITION {trial_partition} {partition.bound}")
        for constraint in trial.constraints:
            await self._add(constraint)
        if any(constraint.kind in {Kind.EXCLUSION, Kind.UNIQUE} for constraint in trial.constraints):
            like = f"(LIKE {self.place.trial.quoted} INCLUDING DEFAULTS INCLUDING GENERATED)"
            await self._do(f"CREATE TABLE {self.place.single_row.quoted} {like}")

    async def _root(self) -> str:
        """Return the table whose structure the trial copies; make a model of it if it doesn't exist yet."""
        root = self._trial.table.name
        if not self._trial.unmade:
            return root.quoted
        model = self.place.named("trial_model")
        await self._do(f"CREATE TABLE {model}{self._trial.unmade.removeprefix(f'CREATE TABLE {root.quoted}')}")
        return model

    async def _make_one(self, like: str, name: str, key: str | None, excluding: str) -> None:
        # Objects with names (indexes, constraints) are not copied here: `_add` makes only those that the trial needs.
        parts = "INCLUDING ALL EXCLUDING INDEXES EXCLUDING CONSTRAINTS EXCLUDING COMMENTS EXCLUDING STATISTICS"
        by = f" PARTITION BY {key}" if key else ""
        await self._do(f"CREATE TABLE {name} (LIKE {like} {parts} {excluding}){by}")
        await self._do(f"ALTER TABLE {name} ADD COLUMN {quote_postgres(ROW)} text")

    async def _drop_others(self, relation: str, kept: set[str]) -> None:
        result = await self._connection.execute(
            text(
                "SELECT attname FROM pg_catalog.pg_attribute "
                "WHERE attrelid = CAST(:relation AS regclass) AND attnum > 0 AND NOT attisdropped"
            ),
            {"relation": relation},
        )
        drops = [
            f"DROP COLUMN IF EXISTS {quote_postgres(name)} CASCADE"
            for name in result.scalars()
            if name not in kept | {ROW}
        ]
        if drops:
            await self._do(f"ALTER TABLE {relation} {', '.join(drops)}")

    async def _feed_others(self, root: str, kept: set[str]) -> None:
        """Give columns without source values a sequence that belongs to the trial, since nextval isn't rolled back."""
        filled = {column.target.name for column in self._trial.table.columns}
        result = await self._connection.execute(
            text(
                "SELECT a.attname FROM pg_catalog.pg_attribute a JOIN pg_catalog.pg_attrdef d "
                "ON d.adrelid = a.attrelid AND d.adnum = a.attnum WHERE a.attrelid = CAST(:relation AS regclass) "
                "AND a.attgenerated = '' AND pg_catalog.pg_get_expr(d.adbin, d.adrelid) LIKE '%nextval(%'"
            ),
            {"relation": root},
        )
        for n, name in enumerate(column for column in result.scalars() if column in kept - filled):
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
        """Remove a constraint or index from the trial table; ``name`` is its name in the trial."""
        relation = self.relation(constraint)
        if constraint.kind in {Kind.CHECK, Kind.EXCLUSION}:
            await self._do(f"ALTER TABLE {relation} DROP CONSTRAINT {quote_postgres(name)}")
        else:
            await self._do(f"DROP INDEX {self.place.named(name)}")

    def relation(self, constraint: Constraint) -> str:
        """Return the trial's table or partition that has the constraint."""
        return self.relations.get(constraint.relation, self.place.trial.quoted)

    def definition(self, constraint: Constraint) -> str:
        """Return a foreign key's condition over the trial's rows."""
        return constraint.definition.replace("pg_temp.trial", self.place.trial.quoted)

    async def _do(self, statement: str) -> None:
        await self._connection.exec_driver_sql(statement)


class UntriedError(Exception):
    """The trial table can't be made: no privilege, a standby, no locks left, event triggers, unusual definitions."""


async def made(connection: AsyncConnection, trial: Trial) -> TrialTable:
    """Make the trial table in the first place that works; raise UntriedError with the first error if no place works."""
    first: DBAPIError | None = None
    for place in places():
        table = TrialTable(connection, trial, place)
        savepoint = await connection.begin_nested()
        try:
            await table.make()
        except DBAPIError as error:
            if is_transient(error) or connection.closed:
                raise
            await savepoint.rollback()
            first = first or error
        else:
            return table
    raise UntriedError(short_message(first) if first else "there is no place for it") from first
