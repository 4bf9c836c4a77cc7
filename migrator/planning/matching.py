"""Which source column goes into which target column: frozen plans, and a refusal for what has no partner."""

from collections.abc import Sequence

from migrator.errors import NoMatch, TargetRefused
from migrator.names import TableName, find_match, nearest
from migrator.planning.plan import NO_RULES, ColumnPlan, Plan, TablePlan, computed_alike, without_rows_of_their_own
from migrator.planning.rewrites import check_meaning
from migrator.planning.rules import ColumnRule, Rules
from migrator.source.schema import Skipped, SourceColumn, SourceDatabase, SourceTable
from migrator.target.schema import CopyFormat, TargetColumn, TargetDatabase, TargetTable
from migrator.types import family_of


def make_plan(source: SourceDatabase, target: TargetDatabase, rules: Rules = NO_RULES) -> Plan:
    """
    Pair every table and column of ``source`` that no rule excludes with its find_match in ``target``.

    Raises NoPartner with all that lack one, TargetRefused for target columns that must have a value and would get none,
    ConfigurationError for a rule that matches nothing, or that has no meaning for the one column it names.
    """
    by_name = {table.name.name: table for table in target.tables}
    unmatched: list[str] = []
    unfilled: list[str] = []
    plans: list[TablePlan] = []
    known: dict[ColumnPlan, ColumnPlan] = {}
    skipped = without_rows_of_their_own(source, rules, by_name)
    skipped += computed_alike(source, rules, by_name)
    for table in source.tables:
        rule = rules.of_table(table.name)
        if rule.exclude:
            skipped.append(Skipped(table.name, "excluded"))
            continue
        name = rule.rename or table.name
        found = find_match(name, by_name)
        if found is None:
            hint = nearest(name, by_name)
            unmatched.append(f"table {name!r}" + (f" (did you mean {hint!r}?)" if hint else ""))
            continue
        plans.append(_pair(table, by_name[found], rules, known, unmatched, unfilled))
    rules.check_all_met(_names(source))
    _refuse(target.schema, unmatched, unfilled)
    _refuse_shared_partners(plans)
    return Plan(target.schema, tuple(plans), tuple(skipped))


def _pair(  # noqa: PLR0913, PLR0917 - both tables, and what is gathered from all
    source: SourceTable,
    target: TargetTable,
    rules: Rules,
    known: dict[ColumnPlan, ColumnPlan],
    unmatched: list[str],
    unfilled: list[str],
) -> TablePlan:
    """Return the way of a table; columns that are the same in many, as an id is, are ``known`` from the first on."""
    by_name = {column.name: column for column in target.columns}
    pairs: list[tuple[SourceColumn, TargetColumn, ColumnRule]] = []
    for column in source.columns:
        rule = rules.of_column(source.name, column.name)
        if rule.exclude:
            continue
        found = find_match(rule.rename or column.name, by_name)
        if column.missing and found is not None and by_name[found].generated:
            continue  # the target computes it, and nothing is there to compare it with
        if found is None:
            unmatched.append(f"column {source.name}.{column.name}")
            continue
        if literal := rules.naming(source.name, column.name):
            check_meaning(literal, f"{source.name}.{column.name}", by_name[found])
        pairs.append((column, by_name[found], rule))
    fed = {column.name for _, column, _ in pairs}
    unfilled.extend(
        f"{target.name}.{column.name}"
        for column in target.columns
        if column.name not in fed and column.not_null and not column.fills_itself
    )
    families = [family_of(column, rule.timezone) for _, column, rule in pairs]
    sent = [family for family, (_, column, _) in zip(families, pairs, strict=True) if not column.generated]
    form = CopyFormat.BINARY if all(family.encoder for family in sent) else CopyFormat.TEXT
    plans = [ColumnPlan(s, t, family, form, rule) for (s, t, rule), family in zip(pairs, families, strict=True)]
    plans = [known.setdefault(plan, plan) for plan in plans]
    return TablePlan(
        source,
        target,
        tuple(plan for plan in plans if not plan.target.generated),
        form,
        tuple(plan for plan in plans if plan.target.generated),
    )


def _names(source: SourceDatabase) -> list[str]:
    """Return every name that a rule may mean; rules about what is skipped anyway do no harm."""
    tables = [table.name for table in source.tables] + [skipped.name for skipped in source.skipped]
    return tables + [f"{table.name}.{column.name}" for table in source.tables for column in table.columns]


def _refuse(schema: str, unmatched: list[str], unfilled: list[str]) -> None:
    if unmatched:
        raise NoMatch(
            f"the target's schema {schema!r} has no partner for: {', '.join(unmatched)}",
            next_step="Bring the target's schema up to date, or leave them out on purpose with --exclude.",
            missing=unmatched,
        )
    if unfilled:
        raise TargetRefused(
            f"these target columns are NOT NULL without a default and the source has nothing for them: "
            f"{', '.join(unfilled)}",
            next_step="Upgrade the source with the application's migrations first, or give these columns a default.",
            columns=unfilled,
        )


def _refuse_shared_partners(plans: Sequence[TablePlan]) -> None:
    seen: dict[TableName, str] = {}
    for plan in plans:
        other = seen.setdefault(plan.name, plan.source.name)
        if other != plan.source.name:
            raise NoMatch(
                f"the source's tables {other!r} and {plan.source.name!r} both mean the target's {plan.name}",
                next_step="Leave one of them out with --exclude.",
            )
        names = [column.target.name for column in plan.columns]
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            raise NoMatch(
                f"several columns of the source's {plan.source.name!r} mean the same column of {plan.name}: "
                f"{', '.join(twice)}",
                next_step="Leave all but one of them out with --exclude.",
            )
