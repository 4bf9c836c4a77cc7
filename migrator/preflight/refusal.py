"""
Makes one error of everything that stands in the way, for ``run`` and ``check`` alike.

An operator who reads it can settle everything before the next run. The error has the exit code of its first reason, in
the order that docs/reference/exit-codes.md states.
"""

import asyncio
from collections.abc import Iterable, Mapping, Sequence

from msgspec import Struct, field
from msgspec.structs import replace

from migrator.catalog.keys import Keys, keys_of
from migrator.catalog.sequences import Stray, feeds_of
from migrator.errors import ConfigurationError, MigratorError, TargetRefused, ValuesRefused, in_one
from migrator.findings.finding import Finding
from migrator.findings.settlement import DROPS, chosen_lines, section_of
from migrator.names import TableName
from migrator.planning.plan import Plan
from migrator.preflight.checker import refusal_of_values
from migrator.preflight.existing_rows import OccupiedTable
from migrator.preflight.giving_way import refusal_of_existing
from migrator.preflight.table_check import TableCheck
from migrator.runtime.reason import Reason
from migrator.runtime.settlement import RuleSection, Settlement
from migrator.runtime.wording import counted
from migrator.selection.following import following_orphans
from migrator.source.database import Source
from migrator.target.database import Target
from migrator.trials.untried import untried_refusal


class InTheWay(Struct, frozen=True):
    """What preflight has found, and what the operator has decided about it."""

    checks: Sequence[TableCheck]
    existing: Sequence[OccupiedTable]
    kept_bytes: int
    """The most bytes of existing rows of a table that are kept when they give way."""
    untried: Sequence[str] = ()
    """Patterns of the constraints that the operator allows to be untried."""
    others: Sequence[MigratorError | None] = ()
    """Other reasons, which are told after values and before existing rows."""
    unmade: Mapping[TableName, Keys] = field(default_factory=dict)
    """The keys of planned tables that don't exist in the target yet."""

    @property
    def findings(self) -> list[Finding]:
        """The findings of all tables."""
        return [finding for check in self.checks for finding in check.findings]


async def refusal_of_all(source: Source, target: Target, plan: Plan, found: InTheWay) -> MigratorError | None:
    """
    Return one error with everything that stands in the way, or None; log each part of it.

    If there is an error anyway, it tells two things more: the rows that have to stay behind if orphans do, and the
    sequences that can't be attributed to their columns. Raises SourceUnreadable.
    """
    refused = in_one(
        (
            refusal_of_values(found.findings),
            *found.others,
            await refusal_of_existing(target, found.existing, found.kept_bytes),
            untried_refusal((entry for check in found.checks for entry in check.untried), found.untried),
        )
    )
    if refused is None:
        return None
    existing = replace(
        plan,
        tables=tuple(table for table in plan.tables if table.name not in found.unmade),
        floors={} if found.unmade else plan.floors,
    )
    return in_one((refused, await _following(source, target, plan, found), await _strays(target, existing)))


async def _following(source: Source, target: Target, plan: Plan, found: InTheWay) -> ValuesRefused | None:
    """Return what is to be told about rows that refer to orphans, for which the settlement has "drop", or None."""
    dropped = {
        (finding.table, finding.column)
        for finding in found.findings
        if finding.refuses and any(line.startswith(DROPS) for line in chosen_lines(finding))
    }
    if not dropped:
        return None
    async with target.connect() as connection:
        keys = {**await keys_of(connection, plan.schema), **found.unmade}
    try:
        following = await asyncio.to_thread(following_orphans, source, plan, keys, dropped)
    except ConfigurationError:
        return None  # such a rule can't be used for one of these tables, which the next run says
    if not following:
        return None
    sections = tuple(
        RuleSection(
            section_of(rows.table, rows.column), f"{DROPS}  # in {counted(rows.rows, 'row')}, by the rules above"
        )
        for rows in following
    )
    error = ValuesRefused(
        f"if orphans stay behind, what refers to them has to stay behind, too: {', '.join(map(str, following))}",
        next_step='Write orphans = "drop" for these columns, too.',
    ).settled_with(Settlement(sections=sections))
    return error.told_as(
        "if orphans stay behind, what refers to them has to stay behind, too",
        (
            Reason(f"{rows.table}.{rows.column}", "refers to rows that stay behind", rows.rows, remedy=DROPS)
            for rows in following
        ),
    )


async def _strays(target: Target, plan: Plan) -> TargetRefused | None:
    """Return what is to be told about sequences that can't be attributed. Alone, it would be no reason to refuse."""
    async with target.connect() as connection:
        names = [table.name for table in plan.tables]
        strays = (await feeds_of(connection, names, plan.sequence_rules)).strays
    if not strays:
        return None
    listed = ", ".join(stray.sequence for stray in strays)
    error = TargetRefused(
        f"besides, it can't be told which column takes values from these sequences, or how: {listed}",
        next_step="Find out whether the application uses these sequences, and write their rules, which stand beside "
        "the others, with the right columns.",
    ).settled_with(Settlement(sections=tuple(_sequence_sections(plan, strays))))
    reasons = [Reason(stray.sequence, "it can't be told which column takes its values, or how") for stray in strays]
    return error.told_as(str(error), reasons)


def _sequence_sections(plan: Plan, strays: Iterable[Stray]) -> Iterable[RuleSection]:
    """Yield the rules by which the job itself sets the sequences; where no column is likely, as a comment."""
    columns = {
        (table.name, column.target.name): section_of(table.source.name, column.source.name)
        for table in plan.tables
        for column in table.columns
    }
    for stray in strays:
        name, line = stray.rule
        fed = (stray.table, stray.column) if stray.table and stray.column and not stray.certain else None
        section = columns.get(fed) if fed else None
        if section is not None:
            yield RuleSection(section, f"{line}  # if the column takes its values from it")
        else:
            yield RuleSection(name, others=(line,))
