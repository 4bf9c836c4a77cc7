"""
Finds the remedy of a finding: lines of a rule that the operator can paste into ``migrator.toml`` without changes.

The problem's code determines the remedy, for some codes together with the type of the target's column. A remedy has one
or more lines, and the operator chooses one of them. The comment after ``#`` says in which case a line is the right one.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from migrator.errors import ConfigurationError
from migrator.planning.plan import ColumnPlan
from migrator.planning.rewrites import check_meaning
from migrator.planning.rules import ColumnRule, Stored
from migrator.target.schema import TargetColumn
from migrator.types import ProblemCode


@dataclass(frozen=True, slots=True)
class RuleLine:
    """One line of a rule. docs/types.md describes the rules."""

    name: str
    value: str | bool | list[Stored]
    """The value of the setting; the word COLUMN stands for the name of the source's column."""
    when: str = ""
    """A comment: the case in which the line is right, or the effect of the line."""

    def line(self, column: ColumnPlan) -> str:
        """Return the line in the syntax of ``migrator.toml`` for a column of the source."""
        value = self.value.replace("COLUMN", column.source.quoted) if isinstance(self.value, str) else self.value
        is_literal = isinstance(value, str) and '"' in value and "'" not in value and value.isprintable()
        spelled = f"'{value}'" if is_literal else json.dumps(value, ensure_ascii=False)
        return f"{self.name} = {spelled}" + (f"  # {self.when}" if self.when else "")

    def has_meaning(self, column: TargetColumn) -> bool:
        """Return whether the rule can be used for columns of this type."""
        try:
            check_meaning(ColumnRule.model_validate({self.name: self.value}), self.name, column)
        except ConfigurationError:
            return False
        return True


_NULL = RuleLine("null", ["n/a"], "the values that mean nothing")

_EXPRESSION = RuleLine("expression", "nullif(COLUMN, 'n/a')", "or any other SQL over the row")

_ANY_RULE = (_NULL, _EXPRESSION)

_EXCLUDE = RuleLine("exclude", value=True, when="leaves the column out")

_EMPTY_AS_NULL = RuleLine("empty_as_null", value=True, when="for empty text")

_TRUNCATE = RuleLine("truncate", value=True, when="cuts what is too long")

_TRUNCATE_SECONDS = RuleLine("truncate", value=True, when="cuts finer digits of a second")

_TRUE_AND_FALSE = (RuleLine("true", ["t", "yes"], "all that mean true"), RuleLine("false", ["f", "no"]))

_MOMENTS = (
    RuleLine("epoch", "s", 'for numbers that count seconds since 1970; or "ms", "us", "ns"'),
    RuleLine("julian", value=True, when="for numbers that are Julian days"),
)

_TIMESTAMPS = (
    _TRUNCATE_SECONDS,
    RuleLine("go_time", value=True, when="for what Go prints"),
    *_ANY_RULE,
)

_BYTES_AS_TEXT = (RuleLine("expression", "CAST(COLUMN AS TEXT)", "where its bytes are text"), *_ANY_RULE)

_AS_INTEGER = (
    _EMPTY_AS_NULL,
    RuleLine("expression", "CAST(COLUMN AS INTEGER)", "for digits; of words it makes 0"),
    _NULL,
)

_AS_DOUBLE = (_EMPTY_AS_NULL, RuleLine("expression", "CAST(COLUMN AS REAL)", "for digits; of words it makes 0"), _NULL)

_MEND_THE_ROWS = "none: mend the rows in the source"

NO_RULE: Final[Mapping[ProblemCode, str]] = {
    ProblemCode.DUPLICATE_KEY: _MEND_THE_ROWS,
    ProblemCode.STILL_REFERENCED: "none: remove the rows of the target's table, or bring their parents into the source",
    ProblemCode.EXCLUDED_BY_OTHER_ROW: f"{_MEND_THE_ROWS}, or change the constraint in the target",
    ProblemCode.INDEX_ENTRY_TOO_LONG: "none: drop the index, or make it one of a digest: ON … (md5(COLUMN))",
    ProblemCode.NO_PARTITION: "none: give the target such a partition: CREATE TABLE … PARTITION OF … DEFAULT",
    ProblemCode.DAMAGED_BY_AFFINITY: (
        "none: what was lost is not in the source; look for it in a backup, or ask the application"
    ),
    ProblemCode.DIGITS_LOST_IN_SOURCE: "none: what was lost is not in the source; look for it in a backup",
    ProblemCode.CASE_INSENSITIVE_IN_SOURCE: (
        "none: give the target's column the type citext, or a unique index on lower(COLUMN)"
    ),
    ProblemCode.DIFFERS_IN_CASE_ONLY: "none: nothing has to be settled unless the target is to ignore case too",
}
"""Problems that no rule settles, each with another remedy in words."""

WITHOUT_REMEDY: Final = frozenset(
    {ProblemCode.MIXED_STORAGE_CLASSES, ProblemCode.MISSING_IN_PRIMARY_KEY, ProblemCode.UNREADABLE_COLUMN}
)
"""Notices from a check without a target: their remedy depends on the target, which isn't known in that check."""

RULES: Final[Mapping[ProblemCode, tuple[RuleLine, ...]]] = {
    ProblemCode.WRONG_STORAGE_CLASS: _ANY_RULE,
    ProblemCode.OUT_OF_RANGE: _ANY_RULE,
    ProblemCode.INEXACT: _ANY_RULE,
    ProblemCode.TOO_LONG: (_TRUNCATE, *_ANY_RULE),
    ProblemCode.TOO_MANY_FRACTION_DIGITS: (_TRUNCATE_SECONDS, *_ANY_RULE),
    ProblemCode.NOT_BOOLEAN: _TRUE_AND_FALSE,
    ProblemCode.NOT_UUID: _ANY_RULE,
    ProblemCode.NOT_A_LABEL: _ANY_RULE,
    ProblemCode.YEAR_OUT_OF_RANGE: _ANY_RULE,
    ProblemCode.AMBIGUOUS_LOCAL_TIME: (RuleLine("expression", "COLUMN || '+01:00'", "with the offset that is meant"),),
    ProblemCode.RELATIVE_TIME: _ANY_RULE,
    ProblemCode.CONTAINS_NUL: (RuleLine("nul_bytes", "strip"), _EXPRESSION),
    ProblemCode.INVALID_UTF8: (
        RuleLine("invalid_utf8", "latin-1", "where the bytes are Latin-1"),
        RuleLine("invalid_utf8", "replace", "puts U+FFFD in the place of each wrong byte"),
    ),
    ProblemCode.INVALID_UTF16: _ANY_RULE,
    ProblemCode.INVALID_JSON: (_EMPTY_AS_NULL, _NULL),
    ProblemCode.JSON_TOO_DEEP: _ANY_RULE,
    ProblemCode.JSON_NUMBER_OUT_OF_RANGE: _ANY_RULE,
    ProblemCode.JSON_NUL_ESCAPE: _ANY_RULE,
    ProblemCode.JSON_LONE_SURROGATE: _ANY_RULE,
    ProblemCode.DUPLICATE_JSON_KEY: (RuleLine("duplicate_keys", "last"),),
    ProblemCode.MISSING_VALUE: (RuleLine("expression", "coalesce(COLUMN, 0)", "with the value that is meant for 0"),),
    ProblemCode.ORPHAN: (RuleLine("null", [0], "the values that refer to no row"), _EXCLUDE),
    ProblemCode.SERVER_REJECTS_VALUE: _ANY_RULE,
    ProblemCode.SERVER_CHANGES_VALUE: _ANY_RULE,
    ProblemCode.SERVER_REJECTS_ROW: _ANY_RULE,
    ProblemCode.CHECK_VIOLATED: (*_ANY_RULE, _EXCLUDE),
    ProblemCode.CONSTRAINT_FAILS: (*_ANY_RULE, _EXCLUDE),
    ProblemCode.NOT_IN_ENCODING: (
        RuleLine("expression", "replace(COLUMN, '…', '...')", "or make the target's database with ENCODING UTF8"),
    ),
    ProblemCode.ROW_TOO_WIDE: (_EXCLUDE,),
}

RULES_BY_TYPE: Final[Mapping[tuple[ProblemCode, str], tuple[RuleLine, ...]]] = {
    (ProblemCode.WRONG_STORAGE_CLASS, "bool"): _TRUE_AND_FALSE,
    **dict.fromkeys(
        ((ProblemCode.WRONG_STORAGE_CLASS, name) for name in ("date", "timestamp", "timestamptz")), _MOMENTS
    ),
    **dict.fromkeys(((ProblemCode.WRONG_STORAGE_CLASS, name) for name in ("text", "varchar")), _BYTES_AS_TEXT),
    **dict.fromkeys(((ProblemCode.WRONG_STORAGE_CLASS, name) for name in ("int2", "int4", "int8")), _AS_INTEGER),
    **dict.fromkeys(((ProblemCode.WRONG_STORAGE_CLASS, name) for name in ("float4", "float8")), _AS_DOUBLE),
    **dict.fromkeys(((ProblemCode.INEXACT, name) for name in ("timestamp", "timestamptz")), _TIMESTAMPS),
    # Not date(COLUMN), since it would turn the word "now" into the day of the migration.
    (ProblemCode.INEXACT, "date"): (RuleLine("expression", "substr(COLUMN, 1, 10)", "for moments"), _NULL),
    (ProblemCode.INEXACT, "numeric"): (RuleLine("round", value=True, when="for finer digits"), _NULL),
}
"""The rules for problems whose remedy depends on the type of the target's column."""


def remedy(code: ProblemCode, column: ColumnPlan) -> str:
    """
    Return the remedy for values of ``column`` with a problem: lines of a rule, or a sentence that begins with "none: ".

    If the column already has a rule that turns numbers into moments, the remedy does not propose this rule again.
    """
    if code in NO_RULE:
        return NO_RULE[code]
    rule, target = column.rule, column.target
    if (rule.epoch or rule.julian) and code is ProblemCode.WRONG_STORAGE_CLASS:
        return (
            f"none of the kind that is set ({rule.words()}): by it these lie outside the years 0 to 9999, or they are "
            "no numbers; write an expression that tells several units apart by their size"
        )
    rules = RULES_BY_TYPE.get((code, target.type_name), RULES[code])
    if target.type_name == "numeric" and target.precision is None and code is ProblemCode.INEXACT:
        rules = _ANY_RULE  # a numeric without a precision has no scale to round to
    lines = [rule for rule in rules if rule.has_meaning(target)] or _ANY_RULE
    return "\n".join(line.line(column) for line in lines)
