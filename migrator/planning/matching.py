"""Makes the plan: finds the match of every source table and column in the target, and refuses missing matches."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from migrator.errors import NoMatch, TargetRefused
from migrator.names import TableName, find_match, nearest
from migrator.planning.plan import NO_RULES, ColumnPlan, Plan, TablePlan
from migrator.planning.rewrites import check_meaning
from migrator.planning.rules import ColumnRule, Rules
from migrator.planning.skipped import skipped_columns, skipped_tables
from migrator.source.schema import Skipped, SourceColumn, SourceDatabase, SourceTable
from migrator.target.schema import CopyFormat, TargetColumn, TargetDatabase, TargetTable
from migrator.types import family_of


def make_plan(source: SourceDatabase, target: TargetDatabase, rules: Rules = NO_RULES) -> Plan:
    """
    Return the plan that copies every table and column of ``source`` that no rule excludes to its match in ``target``.

    Raises NoMatch with all tables and columns that have no match, TargetRefused for target columns that must have a
    value and would get none, SourceUnreadable for columns that can't be read, and ConfigurationError for a rule that
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
    _refuse(target.schema, matcher.unmatched, matcher.unfilled)
    _refuse_shared_matches(plans)
    return Plan(target.schema, tuple(plans), tuple(skipped))


@dataclass(frozen=True, slots=True)
class _Matcher:
    """Matches the source's tables and columns with the target's, and collects those without a match."""

    rules: Rules
    target: Mapping[str, TargetTable]
    """The target's tables by their names without the schema."""
    unmatched: list[str] = field(default_factory=list)
    """Tables and columns of the source without a match."""
    unfilled: list[str] = field(default_factory=list)
    """Columns of the target that must have a value and would get none."""
    columns: dict[ColumnPlan, ColumnPlan] = field(default_factory=dict)
    """The column plans made so far. Many tables have an equal column, such as an id, and share its plan."""

    def plan_of(self, source: SourceTable) -> TablePlan | None:
        """Return the plan of a table; None if the target has no match for it."""
        rule = self.rules.of_table(source.name)
        name = rule.rename or source.name
        match = find_match(name, self.target)
        if match is None:
            hint = nearest(name, self.target)
            self.unmatched.append(f"table {name!r}" + (f" (did you mean {hint!r}?)" if hint else ""))
            return None
        target = self.target[match]
        matches = self._match_columns(source, target)
        filled = {column.name for _, column, _ in matches}
        self.unfilled.extend(
            f"{target.name}.{column.name}"
            for column in target.columns
            if column.name not in filled and column.not_null and not column.fills_itself
        )
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
            match = find_match(rule.rename or column.name, by_name)
            if column.missing and match is not None and by_name[match].generated:
                continue  # the target computes the column, and the source's can't be read for a comparison
            if match is None:
                self.unmatched.append(f"column {source.name}.{column.name}")
                continue
            if literal := self.rules.naming(source.name, column.name):
                check_meaning(literal, f"{source.name}.{column.name}", by_name[match])
            matches.append((column, by_name[match], rule))
        return matches


def _names(source: SourceDatabase) -> list[str]:
    """Return every name that a rule may match, also the names of tables that are skipped anyway."""
    tables = [table.name for table in source.tables] + [skipped.name for skipped in source.skipped]
    return tables + [f"{table.name}.{column.name}" for table in source.tables for column in table.columns]


def _refuse(schema: str, unmatched: list[str], unfilled: list[str]) -> None:
    if unmatched:
        raise NoMatch(
            f"the target's schema {schema!r} has no match for: {', '.join(unmatched)}",
            next_step="Bring the target's schema up to date, or leave them out on purpose with --exclude.",
            missing=unmatched,
        )
    if unfilled:
        raise TargetRefused(
            f"these target columns are NOT NULL without a default, and the source has no values for them: "
            f"{', '.join(unfilled)}",
            next_step="Upgrade the source with the application's migrations first, or give these columns a default.",
            columns=unfilled,
        )


def _refuse_shared_matches(plans: Sequence[TablePlan]) -> None:
    seen: dict[TableName, str] = {}
    for plan in plans:
        first = seen.setdefault(plan.name, plan.source.name)
        if first != plan.source.name:
            raise NoMatch(
                f"source tables {first!r} and {plan.source.name!r} both map to target table {plan.name}",
                next_step="Leave one of them out with --exclude.",
            )
        names = [column.target.name for column in plan.columns]
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            raise NoMatch(
                f"several columns of source table {plan.source.name!r} map to the same column of {plan.name}: "
                f"{', '.join(twice)}",
                next_step="Leave all but one of them out with --exclude.",
            )
