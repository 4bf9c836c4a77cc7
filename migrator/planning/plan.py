"""Defines the plan: which source column goes into which target column, and how it is read, converted and compared."""

from collections.abc import Hashable, Mapping, Sequence
from functools import cached_property

import pyarrow as pa
from msgspec import Struct, field
from msgspec.structs import replace

from migrator.catalog.sequences import AssignedSequence, SequenceRules
from migrator.names import TableName
from migrator.planning.rewrites import rewritten
from migrator.planning.rules import NO_RULE, ColumnRule, OnExistingRows, Rules
from migrator.source.scan import ScanColumn, StorageClass
from migrator.source.schema import Skipped, SourceColumn, SourceTable
from migrator.sql.utf8 import is_broken_utf16
from migrator.target.schema import CopyFormat, TargetColumn, TargetTable
from migrator.types import Problem, ProblemCode, TypeFamily
from migrator.verification.canonical import ColumnPair

NO_RULES = Rules()


class ColumnPlan(Struct, frozen=True, dict=True):
    """
    The plan of one column.

    Its properties are computed once, because columns of thousands of small tables share one plan.
    """

    source: SourceColumn
    target: TargetColumn
    family: TypeFamily
    form: CopyFormat
    rule: ColumnRule = NO_RULE
    fast: bool = False
    """Whether the column is known to hold nothing unusual, so that the fast family reads it."""

    @cached_property
    def active_family(self) -> TypeFamily:
        """The family that reads and converts the column, for the format in which its table is sent."""
        family = (self.family.as_text or self.family) if self.form is CopyFormat.TEXT else self.family
        return (family.fast or family) if self.fast else family

    @cached_property
    def source_expression(self) -> str:
        """SQL over the source's table that reads the column for the copier, with the rules and the family's rewrite."""
        expression = rewritten(self.source.quoted, self.rule, self.target)
        return self.family.source_rewrite(expression) if self.family.source_rewrite else expression

    @property
    def timezone(self) -> str:
        """The time zone of times without an offset."""
        return self.rule.timezone or "UTC"

    @cached_property
    def is_rewritten(self) -> bool:
        """Whether a rule may change stored values."""
        return rewritten(self.source.quoted, self.rule, self.target) != self.source.quoted

    @property
    def may_lose(self) -> bool:
        """Whether a rule allows PostgreSQL to keep only a part of a document: the last value of a duplicate key."""
        return self.rule.duplicate_keys == "last"

    @property
    def asks_server(self) -> bool:
        """Whether only PostgreSQL can tell if the column accepts a value."""
        return self.family.asks_server or self.target.domain

    @cached_property
    def scan_columns(self) -> tuple[ScanColumn, ...]:
        """The SQL expressions by which the scan reads the column."""
        return self.active_family.scan_columns(self.source_expression, self.target)

    @cached_property
    def proof(self) -> str | None:
        """DuckDB's SQL that is true for stored values which can be carried; None if only the conversion can tell."""
        return self.active_family.proof(self.target)

    @cached_property
    def problems(self) -> tuple[Problem, ...]:
        """The conditions, in SQLite's SQL, of values that can't be carried."""
        problems = self.active_family.problems(self.source_expression, self.target)
        if not self.source.utf16 or not {StorageClass.TEXT, StorageClass.BLOB} & {
            column.storage for column in self.scan_columns
        }:
            return problems
        return (
            *problems,
            Problem(ProblemCode.INVALID_UTF16, "is not valid UTF-16", is_broken_utf16(self.source_expression)),
        )

    @cached_property
    def fast_path(self) -> "ColumnPlan":
        """The plan of the same column, read by the fast family."""
        return replace(self, fast=True)

    @cached_property
    def pair(self) -> ColumnPair:
        """What verification compares: the stored value under the rules, without the copier's ``source_rewrite``."""
        return ColumnPair(rewritten(self.source.quoted, self.rule, self.target), self.target, self.timezone)

    @cached_property
    def conversion_key(self) -> Hashable:
        """A key. Columns with equal keys can be converted together, with one array for each scan column."""
        return self.active_family, replace(self.target, name=""), tuple(column.storage for column in self.scan_columns)

    def convert(self, arrays: Sequence[pa.Array]) -> pa.Array:
        """Return the array to send; raises ConversionError or ``pa.ArrowInvalid`` if a value would change."""
        return self.active_family.convert(arrays, self.target)


class TablePlan(Struct, frozen=True, dict=True):
    """The plan of one table."""

    source: SourceTable
    target: TargetTable
    columns: tuple[ColumnPlan, ...]
    """The columns that are sent."""
    form: CopyFormat
    computed: tuple[ColumnPlan, ...] = ()
    """The columns that PostgreSQL computes itself and that the source also has."""
    on_existing_rows: OnExistingRows = "refuse"

    @cached_property
    def compared(self) -> tuple[ColumnPlan, ...]:
        """The columns that must be equal in the end."""
        return self.columns + self.computed

    @property
    def name(self) -> TableName:
        """The name of the target's table. The ledger, the logs and the report use this name."""
        return self.target.name

    @cached_property
    def pairs(self) -> tuple[ColumnPair, ...]:
        """The column pairs that verification compares."""
        return tuple(column.pair for column in self.compared)

    @cached_property
    def fast(self) -> "TablePlan":
        """The plan of the same table, with every column read by its fast family."""
        columns = tuple(column.fast_path for column in self.columns)
        return replace(self, columns=columns, computed=tuple(column.fast_path for column in self.computed))

    @cached_property
    def scan_columns(self) -> tuple[ScanColumn, ...]:
        """The scan columns of all columns, side by side."""
        return tuple(scan_column for column in self.columns for scan_column in column.scan_columns)

    @cached_property
    def conversion_key(self) -> Hashable:
        """A key. Rows of tables with equal keys can be converted and encoded together."""
        return self.form, tuple(column.conversion_key for column in self.compared)

    def convert(self, batch: pa.RecordBatch) -> pa.RecordBatch:
        """Return the batch to send, with one array for each target column. Further columns of ``batch`` are ignored."""
        arrays: list[pa.Array] = []
        scanned = batch.columns  # pyarrow makes this list anew at each access
        start = 0
        for column in self.columns:
            end = start + len(column.scan_columns)
            arrays.append(column.convert(scanned[start:end]))
            start = end
        return pa.record_batch(arrays, names=[column.target.name for column in self.columns])


class Plan(Struct, frozen=True):
    """The tables that are copied, and the tables and columns that are skipped, each with the reason."""

    schema: str
    tables: tuple[TablePlan, ...]
    skipped: tuple[Skipped, ...] = ()
    floors: Mapping[str, str] = field(default_factory=dict)
    """The queries over the source that say where sequences have to stand at least, by the sequence's name."""

    @property
    def sequence_rules(self) -> SequenceRules:
        """What rules say about sequences."""
        assigned = (
            AssignedSequence(table.name, column.target.name, name)
            for table in self.tables
            for column in table.columns
            for name in ([column.rule.sequence] if isinstance(column.rule.sequence, str) else column.rule.sequence)
        )
        return SequenceRules(tuple(assigned), self.schema, tuple(self.floors))
