"""Makes the plan: finds the match of every source table and column in the target, and refuses missing matches."""

import shlex
from collections.abc import Mapping, Sequence
from collections.abc import Set as AbstractSet

from msgspec import Struct, field

from migrator.errors import NoMatch
from migrator.names import TableName, find_match, first_match, pattern
from migrator.planning.plan import NO_RULES, ColumnPlan, Plan, TablePlan
from migrator.planning.rewrites import check_meaning
from migrator.planning.rules import ColumnRule, Rules
from migrator.planning.skipped import skipped_columns, skipped_tables
from migrator.planning.unmatched import UnfilledColumn, Unmatched
from migrator.source.schema import Skipped, SourceColumn, SourceDatabase, SourceTable
from migrator.target.schema import CopyFormat, TargetColumn, TargetDatabase, TargetTable
from migrator.types import family_of


def make_plan(source: SourceDatabase, target: TargetDatabase, rules: Rules = NO_RULES) -> Plan:
    """
    Return the plan that copies every table and column of ``source`` that no rule excludes to its match in ``target``.

    Raises NoMatch with all tables and columns that have no match, among them target columns that must have a value and
    would get none, SourceUnreadable for columns that can't be read, and ConfigurationError for a rule that
    matches nothing, or that names a single column and has no meaning for its type.
    """
    by_name = {table.name.name: table for table in target.tables}
    matcher = _Matcher(rules, by_name)
    skipped = skipped_tables(source, rules, by_name)
    skipped += skipped_columns(source, rules, by_name)
    plans: list[TablePlan] = []
    for table in source.tables:
        if rules.of_table(table.name).exclude:
            skipped.append(Skipped(table.name, "excluded"))
        elif (plan := matcher.plan_of(table)) is not None:
            plans.append(plan)
    rules.check_all_met(_names(source))
    rules.check_types_met(column.declared_type for table in source.tables for column in table.columns)
    named = [*(table.name for table in source.tables), *(skipped.name for skipped in source.skipped)]
    taken = {first_match(rules.table_names(name), by_name) for name in named}  # also by tables that are excluded
    matcher.unmatched.refuse(target.schema, list(by_name), [name for name in by_name if name in taken])
    _refuse_shared_matches(plans)
    floors = {name: rule.at_least for name, rule in rules.sequences.items()}
    return Plan(target.schema, tuple(plans), (*skipped, *matcher.left_to_target), floors)


class _Matcher(Struct, frozen=True):
    """Matches the source's tables and columns with the target's, and collects those without a match."""

    rules: Rules
    target: Mapping[str, TargetTable]
    """The target's tables by their names without the schema."""
    unmatched: Unmatched = field(default_factory=Unmatched)
    left_to_target: list[Skipped] = field(default_factory=list)
    """Columns of the source that aren't copied, because the target fills its own."""
    columns: dict[ColumnPlan, ColumnPlan] = field(default_factory=dict)
    """The column plans made so far. Many tables have an equal column, such as an id, and share its plan."""

    def plan_of(self, source: SourceTable) -> TablePlan | None:
        """Return the plan of a table; None if the target has no match for it."""
        rule = self.rules.of_table(source.name)
        names = self.rules.table_names(source.name)
        match = first_match(names, self.target)
        if match is None:
            self.unmatched.tables[source.name] = names[0]
            return None
        target = self.target[match]
        matches = self._match_columns(source, target)
        self._note_unfilled(source, target, {column.name for _, column, _ in matches})
        families = [family_of(column, its_rule.timezone) for _, column, its_rule in matches]
        sent = [family for family, (_, column, _) in zip(families, matches, strict=True) if not column.generated]
        form = CopyFormat.BINARY if all(family.encoder for family in sent) else CopyFormat.TEXT
        plans = [
            ColumnPlan(column, match, family, form, its_rule)
            for (column, match, its_rule), family in zip(matches, families, strict=True)
        ]
        plans = [self.columns.setdefault(plan, plan) for plan in plans]
        return TablePlan(
            source,
            target,
            tuple(plan for plan in plans if not plan.target.generated),
            form,
            tuple(plan for plan in plans if plan.target.generated),
            rule.on_existing_rows,
        )

    def _note_unfilled(self, source: SourceTable, target: TargetTable, filled: AbstractSet[str]) -> None:
        """Note the target's columns without a source, and which of them must have a value."""
        free = [column for column in target.columns if column.name not in filled]
        own = [column.name for column in source.columns]
        self.unmatched.free_columns[source.name] = [
            column.name for column in free if not column.generated and find_match(column.name, own) is None
        ]
        for column in free:
            if column.not_null and not column.fills_itself:
                same_name = find_match(column.name, own)
                # A column of that name that isn't excluded has a match, unless it got another name by a rule.
                left_out = same_name is not None and self.rules.of_column(source.name, same_name).exclude
                excluded = f"{source.name}.{same_name}" if left_out else ""
                self.unmatched.unfilled.append(UnfilledColumn(target.name, column, excluded))

    def _match_columns(
        self, source: SourceTable, target: TargetTable
    ) -> list[tuple[SourceColumn, TargetColumn, ColumnRule]]:
        """Return each column of the source that is copied or compared, with its match and its rule."""
        by_name = {column.name: column for column in target.columns}
        matches: list[tuple[SourceColumn, TargetColumn, ColumnRule]] = []
        for column in source.columns:
            rule = self.rules.of_column(source.name, column.name)
            if rule.exclude:
                continue
            names = self.rules.column_names(source.name, column.name)
            match = first_match(names, by_name)
            if column.missing and match is not None and by_name[match].generated:
                continue  # the target computes the column, and the source's can't be read for a comparison
            if match is None:
                self.unmatched.columns[source.name, column.name] = names[0]
                continue
            if by_name[match].left_to_target:
                self.left_to_target.append(Skipped(f"{source.name}.{column.name}", _filled_by(by_name[match]), rows=0))
                continue
            if literal := self.rules.naming(source.name, column.name):
                check_meaning(literal, f"{source.name}.{column.name}", by_name[match])
            matches.append((column, by_name[match], rule))
        return matches


def _filled_by(column: TargetColumn) -> str:
    return (
        f"filled by the target's trigger {column.trigger}"
        if column.trigger
        else f"computed by the target: {column.generation}"
    )


def _names(source: SourceDatabase) -> list[str]:
    """Return every name that a rule may match, also the names of tables that are skipped anyway."""
    tables = [table.name for table in source.tables] + [skipped.name for skipped in source.skipped]
    return tables + [f"{table.name}.{column.name}" for table in source.tables for column in table.columns]


def _refuse_shared_matches(plans: Sequence[TablePlan]) -> None:
    seen: dict[TableName, str] = {}
    for plan in plans:
        first = seen.setdefault(plan.name, plan.source.name)
        if first != plan.source.name:
            raise NoMatch(
                f"source tables {first!r} and {plan.source.name!r} both map to target table {plan.name}",
                next_step=f"Leave one of them out: add --exclude {shlex.quote(pattern(plan.source.name))} or "
                f"--exclude {shlex.quote(pattern(first))}. Or give one of them another match with the rule `rename`.",
            )
        names = [column.target.name for column in plan.columns]
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            flags = " ".join(
                f"--exclude {shlex.quote(f'{pattern(plan.source.name)}.{pattern(column.source.name)}')}"
                for column in plan.columns
                if column.target.name in twice
            )
            raise NoMatch(
                f"several columns of source table {plan.source.name!r} map to the same column of {plan.name}: "
                f"{', '.join(twice)}",
                next_step=f"Leave all but one of them out, with a flag for each: {flags}. Or correct the rule `rename` "
                "by which they meet.",
            )
