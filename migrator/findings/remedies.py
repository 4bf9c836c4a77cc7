"""
Finds the remedy of a finding: lines of a rule that the operator can paste into ``migrator.toml`` without changes.

A remedy has one or more lines, and the operator chooses one of them. Only lines that settle values which are really
there are offered: each candidate is tried on a sample of the rows. The comment after ``#`` says in which case a line is
the right one. Whether a line is what the application means, only the operator knows.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Final

from msgspec import Struct
from msgspec.structs import replace

from migrator.errors import ConfigurationError
from migrator.findings.candidates import OF_ROWS, candidates, replacements
from migrator.findings.rule_line import RuleLine
from migrator.findings.sample import MOST_NAMED, NO_SAMPLE, Sample, SampleRow
from migrator.planning.plan import ColumnPlan
from migrator.planning.rewrites import check_meaning
from migrator.planning.rules import ColumnRule
from migrator.target.schema import TargetColumn
from migrator.types import Problem, ProblemCode, Severity, family_of

Settles = Callable[[ColumnPlan, str], bool]
"""Returns whether the plan of a column carries the values of all rows that meet a condition in SQLite's SQL."""

_MEND_THE_ROWS = "none: mend the rows in the source"

NO_RULE: Final[Mapping[ProblemCode, str]] = {
    ProblemCode.DUPLICATE_KEY: _MEND_THE_ROWS,
    ProblemCode.STILL_REFERENCED: (
        "none: remove these rows of the target's table, or set their columns to null; if the source has the table too, "
        "don't --exclude it, so that its rows are brought as well; or let the rows that they refer to by the primary "
        "key stay, with keep in --on-existing-rows"
    ),
    ProblemCode.EXCLUDED_BY_OTHER_ROW: f"{_MEND_THE_ROWS}, or change the constraint in the target",
    ProblemCode.INDEX_ENTRY_TOO_LONG: "none: drop the index, or make it one of a digest: ON … (md5(COLUMN))",
    ProblemCode.NO_PARTITION: "none: give the target such a partition: CREATE TABLE … PARTITION OF … DEFAULT",
    ProblemCode.ROW_TOO_WIDE: (
        "none: leave columns out with the rule `exclude = true` until a row fits into a page of 8 kB, or split the "
        "target's table"
    ),
    ProblemCode.DIGITS_LOST_IN_SOURCE: "none: what was lost is not in the source; look for it in a backup",
    ProblemCode.CASE_INSENSITIVE_IN_SOURCE: (
        "none: give the target's column the type citext, or a unique index on lower(COLUMN)"
    ),
    ProblemCode.DIFFERS_IN_CASE_ONLY: "none: nothing has to be settled unless the target is to ignore case too",
}
"""Problems that no rule settles, each with another remedy in words."""

_LOST_IN_SOURCE = "none: what was lost is not in the source; look for it in a backup, or ask the application"

_AS_UUID = RuleLine("type", "uuid", "where the application's column is uuid in PostgreSQL")

WITHOUT_REMEDY: Final = frozenset(
    {ProblemCode.MIXED_STORAGE_CLASSES, ProblemCode.MISSING_IN_PRIMARY_KEY, ProblemCode.UNREADABLE_COLUMN}
)
"""Notices from a check without a target: their remedy depends on the target, which isn't known in that check."""

FOR_SOME: Final = "for some of the values"
"""The end of a line's comment, if the line settles only some of the values."""

TOGETHER: Final = "one of the lines that settle all values together"
"""The end of a line's comment, if the line settles only some of the values, and others beside it settle the rest."""

_TRIED_ONE_BY_ONE = 5
"""The number of different values on which a line is tried separately."""


class Case(Struct, frozen=True):
    """A problem of a column's values, with a sample of them."""

    problem: Problem
    column: ColumnPlan
    sample: Sample = NO_SAMPLE
    made_by_job: bool = False
    """Whether the job makes the target's tables, so that a rule can give the column another type."""


def remedy(case: Case, settles: Settles | None = None) -> str:
    """
    Return the remedy: lines of a rule, or a sentence that begins with "none: ".

    ``settles`` tries a line on the sample's rows. Without it, only lines are offered that name these values or rows.
    """
    problem, column = case.problem, case.column
    if problem.code in NO_RULE:
        return NO_RULE[problem.code]
    if problem.code is ProblemCode.LOOKS_LIKE_UUID:
        return _AS_UUID.line(column)
    if problem.code is ProblemCode.DAMAGED_BY_AFFINITY and problem.severity is Severity.NOTICE:
        return _LOST_IN_SOURCE
    offered: dict[str, None] = {}
    partial: list[RuleLine] = []
    tried = settles or _untried
    for line in candidates(problem.code, column, case.sample, by_type=settles is not None):
        changed = _under(line, column)
        if changed is None:
            continue
        if line.name in _UNTRIED_LINES or tried(changed, case.sample.where(case.sample.rows)):
            offered[line.line(column)] = None
        elif any(tried(changed, case.sample.where(rows)) for rows in _some_values(case.sample)):
            # It stays before the lines that put NULL in the place of all values: it keeps more of them.
            partial.append(line)
            offered[_with_note(line, FOR_SOME).line(column)] = None
    if partial and settles is not None:
        offered = _with_group(list(offered), _together(case, partial, settles), partial, column)
    if case.made_by_job and settles is not None and problem.code not in OF_ROWS | {ProblemCode.MISSING_VALUE}:
        first, last = _other_types(column, settles)
        offered = dict.fromkeys(first) | offered | dict.fromkeys(last)
    return "\n".join(offered) or _without_lines(column)


_UNTRIED_LINES = frozenset({"exclude", "orphans"})
"""Lines that settle the rows themselves, whatever their values are."""


def _untried(_column: ColumnPlan, _where: str) -> bool:
    return True


def _some_values(sample: Sample) -> Sequence[Sequence[SampleRow]]:
    different = sample.different()
    return different[:_TRIED_ONE_BY_ONE] if len(different) > 1 else []


def _with_note(line: RuleLine, note: str) -> RuleLine:
    return replace(line, when=f"{line.when}; {note}".removeprefix("; "))


def _with_group(
    offered: Sequence[str],
    group: Sequence[tuple[RuleLine, ColumnPlan]],
    partial: Sequence[RuleLine],
    column: ColumnPlan,
) -> dict[str, None]:
    """Return the ``offered`` lines with a group of lines in the place of the first ``partial`` line."""
    if not group:
        return dict.fromkeys(offered)
    together = [_with_note(line, TOGETHER).line(plan) for line, plan in group]
    alone = [_with_note(line, FOR_SOME).line(column) for line in partial]
    place = offered.index(alone[0])
    others = [line for line in offered[place:] if line not in alone]
    return dict.fromkeys((*offered[:place], *together, *others))


def _together(case: Case, partial: Sequence[RuleLine], settles: Settles) -> list[tuple[RuleLine, ColumnPlan]]:
    """
    Return lines that settle all values of a sample together, each with the plan that it is added to; or nothing.

    Each settles some values that those before it don't. What they leave over becomes NULL, or what is meant for it.
    """
    plan, sample = case.column, case.sample
    left = sample.different()
    if len(left) > MOST_NAMED:
        return []
    chosen: list[tuple[RuleLine, ColumnPlan]] = []
    for line in partial:
        changed = _under(line, plan) if all(line.name != other.name for other, _ in chosen) else None
        if changed is None:
            continue
        still = [rows for rows in left if not settles(changed, sample.where(rows))]
        if len(still) < len(left):
            chosen.append((line, plan))
            plan, left = changed, still
    everywhere = sample.where(sample.rows)
    if chosen and left:
        rest = replace(sample, rows=tuple(row for rows in left for row in rows))
        for line in replacements(case.problem.code, plan, rest):
            changed = _under(line, plan) if all(line.name != other.name for other, _ in chosen) else None
            if changed is not None and settles(changed, everywhere):
                return [*chosen, (line, plan)]
    return chosen if len(chosen) > 1 and not left and settles(plan, everywhere) else []


def _under(line: RuleLine, column: ColumnPlan) -> ColumnPlan | None:
    """Return the column's plan with the line added to its rule; None if the line has no meaning for the column."""
    if line.name == "exclude":
        return replace(column, rule=ColumnRule(exclude=True)) if can_be_left_out(column.target) else None
    added = ColumnRule.model_validate({line.name: line.spelled(column)})
    try:
        check_meaning(added, line.name, column.target)
    except ConfigurationError:
        return None
    if line.name in _UNITS and column.rule.model_fields_set & _UNITS:
        return None  # another unit would make other moments of the values that the unit fits
    rule = added.over(column.rule)
    return replace(column, rule=rule) if rule != column.rule else None


_UNITS = frozenset({"epoch", "julian", "interval_unit"})

_TYPES = {
    "uuid": "uuid",
    "timestamptz": "timestamptz",
    "bigint": "int8",
    "double precision": "float8",
    "numeric": "numeric",
    "text": "text",
}
_TYPES |= {"bytea": "bytea"}


def _other_types(column: ColumnPlan, settles: Settles) -> tuple[list[str], list[str]]:
    """Return the line that makes the column a uuid or a moment, if it can be one, or else one that takes all values."""
    for kind, name in _TYPES.items():
        other = replace(column.target, type_name=name, declared=kind, modifier=-1, domain=False, enum_labels=())
        plan = replace(column, target=other, family=family_of(other, column.rule.timezone))
        if name == "timestamptz" and column.target.type_name != "timestamp":
            continue
        if name != column.target.type_name and settles(plan, "true"):
            line = [RuleLine("type", kind, "for the whole column").line(column)]
            return (line, []) if kind in {"uuid", "timestamptz"} else ([], line)
    return [], []


def _without_lines(column: ColumnPlan) -> str:
    if can_be_left_out(column.target):
        return "none: correct the values in the source, or leave the column out with the rule `exclude = true`"
    return "none: correct the values in the source"


def can_be_left_out(target: TargetColumn) -> bool:
    """Return whether rows may come without a value for the column."""
    return not target.not_null or target.fills_itself
