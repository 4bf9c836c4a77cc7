"""Which source column goes into which target column: frozen plans, and a refusal for what has no partner."""

import shlex
from collections.abc import Collection, Hashable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property

import pyarrow as pa

from migrator.errors import NoMatch, SourceUnreadable
from migrator.names import TableName, find_match
from migrator.planning.rewrites import rewritten
from migrator.planning.rules import NO_RULE, ColumnRule, Rules
from migrator.source.scan import ScanColumn, StorageClass
from migrator.source.schema import Skipped, SourceColumn, SourceDatabase, SourceTable
from migrator.sql.utf8 import is_broken_utf16
from migrator.target.schema import CopyFormat, TargetColumn, TargetTable
from migrator.types import Family, Problem
from migrator.verification.canonical import ColumnPair

NO_RULES = Rules()


@dataclass(frozen=True)
class ColumnPlan:
    """One column's way; what it comes to is worked out once, which thousands of small tables would notice."""

    source: SourceColumn
    target: TargetColumn
    family: Family
    form: CopyFormat
    rule: ColumnRule = NO_RULE
    fast: bool = False
    """Whether it is known to hold nothing unusual, and so is read the cheaper way."""

    @cached_property
    def active_family(self) -> Family:
        """The family in the form that the table is sent in, and in the way that the column is read."""
        family = (self.family.as_text or self.family) if self.form is CopyFormat.TEXT else self.family
        return (family.fast or family) if self.fast else family

    @cached_property
    def source_expression(self) -> str:
        """SQL over the source's table that reads the column; the copier and the verifier both begin with it."""
        expression = rewritten(self.source.quoted, self.rule, self.target)
        return self.family.source_rewrite(expression) if self.family.source_rewrite else expression

    @property
    def timezone(self) -> str:
        """Where the clocks stood that showed times without an offset."""
        return self.rule.timezone or "UTC"

    @cached_property
    def is_rewritten(self) -> bool:
        """Whether a rule makes another value of some that are stored."""
        return rewritten(self.source.quoted, self.rule, self.target) != self.source.quoted

    @property
    def may_lose(self) -> bool:
        """Whether a rule says that PostgreSQL may keep a part of a value: the last of a document's equal keys."""
        return self.rule.duplicate_keys == "last"

    @property
    def asks_server(self) -> bool:
        """Whether only PostgreSQL can say if a value may go into the column."""
        return self.family.asks_server or self.target.domain

    @cached_property
    def scan_columns(self) -> tuple[ScanColumn, ...]:
        """How the scan reads it."""
        return self.active_family.scan_columns(self.source_expression, self.target)

    @cached_property
    def problems(self) -> tuple[Problem, ...]:
        """What can't be carried, as conditions in SQLite's SQL."""
        problems = self.active_family.problems(self.source_expression, self.target)
        if not self.source.utf16 or not {StorageClass.TEXT, StorageClass.BLOB} & {
            lane.storage for lane in self.scan_columns
        }:
            return problems
        return (*problems, Problem(is_broken_utf16(self.source_expression), "is not valid UTF-16"))

    @cached_property
    def fast_path(self) -> "ColumnPlan":
        """The same way, read the cheaper way."""
        return replace(self, fast=True)

    @cached_property
    def pair(self) -> ColumnPair:
        """What verification compares: the source's own text, before the copier has it restated."""
        return ColumnPair(rewritten(self.source.quoted, self.rule, self.target), self.target, self.timezone)

    @cached_property
    def conversion_key(self) -> Hashable:
        """What two columns have in common whose values can be converted as one array a lane."""
        return self.active_family, replace(self.target, name=""), tuple(lane.storage for lane in self.scan_columns)

    def convert(self, arrays: Sequence[pa.Array]) -> pa.Array:
        """Return the array to send; raises Unfit or ``pa.ArrowInvalid`` rather than change a value."""
        return self.active_family.convert(arrays, self.target)


@dataclass(frozen=True)
class TablePlan:
    """One table's way."""

    source: SourceTable
    target: TargetTable
    columns: tuple[ColumnPlan, ...]
    """What is sent."""
    form: CopyFormat
    computed: tuple[ColumnPlan, ...] = ()
    """What PostgreSQL computes itself, and the source has too."""

    @cached_property
    def compared(self) -> tuple[ColumnPlan, ...]:
        """The columns that must be equal in the end."""
        return self.columns + self.computed

    @property
    def name(self) -> TableName:
        """The target's name, by which the ledger, the logs and the report know the table."""
        return self.target.name

    @cached_property
    def pairs(self) -> tuple[ColumnPair, ...]:
        """What verification compares."""
        return tuple(column.pair for column in self.compared)

    @cached_property
    def fast(self) -> "TablePlan":
        """The same way, with every column read the cheaper way."""
        columns, computed = ([column.fast_path for column in some] for some in (self.columns, self.computed))
        return replace(self, columns=tuple(columns), computed=tuple(computed))

    @cached_property
    def scan_columns(self) -> tuple[ScanColumn, ...]:
        """The lanes of all columns, side by side."""
        return tuple(lane for column in self.columns for lane in column.scan_columns)

    @cached_property
    def conversion_key(self) -> Hashable:
        """What two tables have in common whose rows can be converted, and encoded, as those of one."""
        return self.form, tuple(column.conversion_key for column in self.compared)

    def convert(self, batch: pa.RecordBatch) -> pa.RecordBatch:
        """Return the batch to send, one array a column, named like the target's; what follows the lanes is left out."""
        arrays: list[pa.Array] = []
        read = batch.columns  # made anew each time one asks
        at = 0
        for column in self.columns:
            width = len(column.scan_columns)
            arrays.append(column.convert(read[at : at + width]))
            at += width
        return pa.record_batch(arrays, names=[column.target.name for column in self.columns])


@dataclass(frozen=True, slots=True)
class Plan:
    """What is copied, what isn't and why."""

    schema: str
    tables: tuple[TablePlan, ...]
    skipped: tuple[Skipped, ...] = field(default=())


def without_rows_of_their_own(source: SourceDatabase, rules: Rules, wanted: Collection[str]) -> list[Skipped]:
    """
    Return what of the source is left behind beside its tables.

    Raises NoPartner for virtual tables that no rule excludes and that hold rows of their own: they can't be read, and
    nobody has said that their rows may stay. Of an index over a table's rows they may, unless the target is to have a
    table for it, as the names in ``wanted`` say.
    """
    skipped = [
        Skipped(one.name, "excluded") if one.rows != 0 and rules.of_table(one.name).exclude else one
        for one in source.skipped
    ]
    lost = [one for one in skipped if one.may_lose or (one.rows != 0 and find_match(one.name, wanted) is not None)]
    if lost:
        told = ", ".join(f"{one.name!r} ({one.reason})" for one in lost)
        flags = " ".join(f"--exclude {shlex.quote(one.name)}" for one in lost)
        raise NoMatch(
            f"rows of the source that can't be carried: {told}",
            next_step=f"Have the application put them into an ordinary table, or leave them behind with {flags}.",
            missing=[one.name for one in lost],
        )
    return skipped


def computed_alike(source: SourceDatabase, rules: Rules, wanted: Mapping[str, TargetTable]) -> list[Skipped]:
    """
    Return the columns that can't be read here, and needn't be: the target computes them itself.

    Raises SourceUnreadable for the others that no rule excludes.
    """
    alike: list[Skipped] = []
    stuck: list[tuple[str, SourceColumn]] = []
    for table in source.tables:
        rule = rules.of_table(table.name)
        found = find_match(rule.rename or table.name, wanted)
        computed = {column.name for column in wanted[found].columns if column.generated} if found is not None else set()
        for column in table.columns:
            name = f"{table.name}.{column.name}"
            of_column = rules.of_column(table.name, column.name)
            if not column.missing or rule.exclude or of_column.exclude:
                continue
            if find_match(of_column.rename or column.name, computed) is not None:
                alike.append(Skipped(name, f"computed by the target too; here by {column.missing}, which isn't known"))
            else:
                stuck.append((name, column))
    if stuck:
        told = ", ".join(f"{name!r} calls {column.missing}" for name, column in stuck)
        flags = " ".join(f"--exclude {shlex.quote(name)}" for name, _ in stuck)
        raise SourceUnreadable(
            f"the source computes columns by functions that only the application has: {told}",
            next_step=f"Leave the columns out with {flags}. Or have the application store them.",
            columns=[name for name, _ in stuck],
        )
    return alike
