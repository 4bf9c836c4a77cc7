"""Which source column goes into which target column: frozen plans, and a refusal for what has no partner."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase

import pyarrow as pa

from migrator.errors import ConfigurationError, NoPartner, TargetRefused
from migrator.names import TableName, nearest, partner
from migrator.source import Lane, Skipped, SourceColumn, SourceDatabase, SourceTable
from migrator.target import CopyForm, TargetColumn, TargetDatabase, TargetTable
from migrator.types import Family, family_of


@dataclass(frozen=True, slots=True)
class ColumnPlan:
    """One column's way."""

    source: SourceColumn
    target: TargetColumn
    family: Family
    form: CopyForm

    @property
    def carrier(self) -> Family:
        """The family in the form that the table is sent in."""
        return (self.family.as_text or self.family) if self.form is CopyForm.TEXT else self.family

    @property
    def source_expression(self) -> str:
        """SQL over the source's table that reads the column; the copier and the verifier both begin with it."""
        return self.source.quoted

    @property
    def lanes(self) -> tuple[Lane, ...]:
        """How the scan reads it."""
        return self.carrier.lanes(self.source_expression, self.target)

    def convert(self, arrays: Sequence[pa.Array]) -> pa.Array:
        """Return the array to send; raises Unfit or ``pa.ArrowInvalid`` rather than change a value."""
        return self.carrier.convert(arrays, self.target)


@dataclass(frozen=True, slots=True)
class TablePlan:
    """One table's way."""

    source: SourceTable
    target: TargetTable
    columns: tuple[ColumnPlan, ...]
    form: CopyForm

    @property
    def name(self) -> TableName:
        """The target's name, by which the ledger, the logs and the report know the table."""
        return self.target.name

    @property
    def lanes(self) -> tuple[Lane, ...]:
        """The lanes of all columns, side by side."""
        return tuple(lane for column in self.columns for lane in column.lanes)

    def convert(self, batch: pa.RecordBatch) -> pa.RecordBatch:
        """Return the batch to send, one array a column, named like the target's columns."""
        arrays: list[pa.Array] = []
        at = 0
        for column in self.columns:
            width = len(column.lanes)
            arrays.append(column.convert(batch.columns[at : at + width]))
            at += width
        return pa.record_batch(arrays, names=[column.target.name for column in self.columns])


@dataclass(frozen=True, slots=True)
class Plan:
    """What is copied, what isn't and why."""

    schema: str
    tables: tuple[TablePlan, ...]
    skipped: tuple[Skipped, ...] = field(default=())


def make_plan(source: SourceDatabase, target: TargetDatabase, exclude: Sequence[str] = ()) -> Plan:
    """
    Pair every table and column of ``source`` that isn't excluded with its partner in ``target``.

    ``exclude`` holds patterns of tables (``audit_*``) and of columns (``users.legacy_*``).
    Raises NoPartner with all that lack one, TargetRefused for target columns that must have a value and would get none,
    ConfigurationError for a pattern that matches nothing.
    """
    exclusion = _Exclusion(exclude)
    by_name = {table.name.name: table for table in target.tables}
    lonely: list[str] = []
    starved: list[str] = []
    plans: list[TablePlan] = []
    skipped = list(source.skipped)
    for table in source.tables:
        if exclusion.covers(table.name):
            skipped.append(Skipped(table.name, "excluded"))
            continue
        found = partner(table.name, by_name)
        if found is None:
            hint = nearest(table.name, by_name)
            lonely.append(f"table {table.name!r}" + (f" (did you mean {hint!r}?)" if hint else ""))
            continue
        plan = _pair(table, by_name[found], exclusion, lonely, starved)
        plans.append(plan)
    exclusion.check_all_used(source)
    _refuse(target.schema, lonely, starved)
    _refuse_shared_partners(plans)
    return Plan(target.schema, tuple(plans), tuple(skipped))


def _pair(
    source: SourceTable, target: TargetTable, exclusion: "_Exclusion", lonely: list[str], starved: list[str]
) -> TablePlan:
    by_name = {column.name: column for column in target.columns}
    pairs: list[tuple[SourceColumn, TargetColumn]] = []
    for column in source.columns:
        if exclusion.covers(f"{source.name}.{column.name}"):
            continue
        found = partner(column.name, by_name)
        if found is None:
            lonely.append(f"column {source.name}.{column.name}")
        elif not by_name[found].generated:  # PostgreSQL computes it; verification compares what it computed
            pairs.append((column, by_name[found]))
    fed = {column.name for _, column in pairs}
    starved.extend(
        f"{target.name}.{column.name}"
        for column in target.columns
        if column.name not in fed
        and column.not_null
        and not (column.has_default or column.identity or column.generated)
    )
    families = [family_of(column) for _, column in pairs]
    form = CopyForm.BINARY if all(family.encoder for family in families) else CopyForm.TEXT
    columns = tuple(ColumnPlan(s, t, family, form) for (s, t), family in zip(pairs, families, strict=True))
    return TablePlan(source, target, columns, form)


def _refuse(schema: str, lonely: list[str], starved: list[str]) -> None:
    if lonely:
        raise NoPartner(
            f"the target's schema {schema!r} has no partner for: {', '.join(lonely)}",
            next_step="bring the target's schema up to date, or leave them out on purpose with --exclude",
            missing=lonely,
        )
    if starved:
        raise TargetRefused(
            f"these target columns are NOT NULL without a default and the source has nothing for them: "
            f"{', '.join(starved)}",
            next_step="the source is of an older version of the application: upgrade it first, or add a default",
            columns=starved,
        )


def _refuse_shared_partners(plans: Sequence[TablePlan]) -> None:
    seen: dict[TableName, str] = {}
    for plan in plans:
        other = seen.setdefault(plan.name, plan.source.name)
        if other != plan.source.name:
            raise NoPartner(
                f"the source's tables {other!r} and {plan.source.name!r} both mean the target's {plan.name}",
                next_step="leave one of them out with --exclude",
            )
        names = [column.target.name for column in plan.columns]
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            raise NoPartner(
                f"several columns of the source's {plan.source.name!r} mean the same column of {plan.name}: "
                f"{', '.join(twice)}",
                next_step="leave all but one of them out with --exclude",
            )


class _Exclusion:
    """Patterns of what is left out, and whether each of them met something."""

    def __init__(self, patterns: Sequence[str]) -> None:
        self._used = dict.fromkeys(patterns, False)

    def covers(self, name: str) -> bool:
        covering = [pattern for pattern in self._used if fnmatchcase(name.casefold(), pattern.casefold())]
        self._used.update(dict.fromkeys(covering, True))
        return bool(covering)

    def check_all_used(self, source: SourceDatabase) -> None:
        unused = [
            pattern for pattern, used in self._used.items() if not used and not self._names_skipped(pattern, source)
        ]
        if unused:
            known = [t.name for t in source.tables] + [f"{t.name}.{c.name}" for t in source.tables for c in t.columns]
            hint = nearest(unused[0], known)
            raise ConfigurationError(
                f"--exclude {unused[0]!r} matches no table or column of the source",
                next_step=f"did you mean {hint!r}?" if hint else "take it out",
            )

    @staticmethod
    def _names_skipped(pattern: str, source: SourceDatabase) -> bool:
        return any(fnmatchcase(skipped.name.casefold(), pattern.casefold()) for skipped in source.skipped)
