"""Which rule of ``migrator.toml`` would settle a finding."""

from fnmatch import fnmatchcase
from typing import Final

from migrator.planning.rules import NO_RULE, ColumnRule
from migrator.target.schema import TargetColumn

# (type, reason, rule): the first line whose patterns fit. The rules themselves are described in docs/types.md.
_REMEDIES: Final = (
    ("*", "holds a NUL*", 'nul_bytes = "strip"'),
    ("*", "is not valid UTF-8", 'invalid_utf8 = "replace" or "latin-1"'),
    ("*", "is there more than once*", "none: the rows have to be mended in the source"),
    ("*", "refers to a row*", 'expression = "…" that gives NULL for them, or exclude for what isn\'t needed'),
    ("*", "is missing for rows of*", "none: the rows of the target's table have to go, or their parents have to come"),
    ("*", "breaks check constraint*", "null = […], or an expression; or a change of the constraint in the target"),
    ("*", "can't pass*", "null = […], or an expression; or a change of it in the target"),
    ("*", "can't stand beside*", "none: the rows have to be mended in the source, or the constraint in the target"),
    ("*", "is too long for index*", "none: the index has to go, or become one of a digest: ON … (md5(COLUMN))"),
    ("*", "finds no partition*", "none: the target needs such a partition: CREATE TABLE … PARTITION OF … DEFAULT"),
    ("*", "has a character that*", 'expression = "replace(COLUMN, …)"; or a target database with ENCODING UTF8'),
    ("*", "makes a row that is wider*", "exclude for columns that aren't needed, or a wider table in the target split"),
    ("*", "is missing*", 'expression = "coalesce(COLUMN, …)"'),
    ("*", "has a key twice*", 'duplicate_keys = "last"'),
    ("*", "is a number*", "none: what was lost is not in the source; look for it in a backup, or ask the application"),
    ("*", "is a REAL of more*", "none: what was lost is not in the source; look for it in a backup"),
    ("*", "is compared without case*", "none: the type citext, or a unique index on lower(COLUMN), in the target"),
    ("*", "is another row's*", "none: nothing has to be settled unless the target is to ignore case too"),
    ("bool", "*", "true = […] and false = […]"),
    ("numeric", "can't become numeric exactly", "null = […] for what means nothing, or an expression"),
    ("numeric", "can't become*", "round = true for finer digits, null = […] for what means nothing"),
    ("varchar", "is longer*", "truncate = true"),
    ("bpchar", "is longer*", "truncate = true"),
    ("t*", "*more digits of a second*", "truncate = true"),
    ("time*", "is an hour that*", "expression, with the offset written out: \"COLUMN || '+01:00'\""),
    (
        "timestamp*",
        "can't become*",
        (
            "truncate = true for finer digits, go_time = true for what Go prints, null = […] for what means nothing, "
            "or an expression for other spellings"
        ),
    ),
    # Not date(COLUMN), which would make the day of the migration of the word now.
    ("date", "can't become*", 'expression = "substr(COLUMN, 1, 10)" for moments, null = […] for what means nothing'),
    ("date", "is not stored as*", 'epoch = "s", "ms", "us" or "ns"; julian = true'),
    ("timestamp*", "is not stored as*", 'epoch = "s", "ms", "us" or "ns"; julian = true'),
    ("json*", "is not valid JSON", "empty_as_null = true, or null = […]"),
    ("text", "is not stored as*", 'expression = "CAST(COLUMN AS TEXT)", where its bytes are text'),
    ("varchar", "is not stored as*", 'expression = "CAST(COLUMN AS TEXT)", where its bytes are text'),
    (
        "int?",
        "is not stored as*",
        'empty_as_null = true; for digits expression = "CAST(COLUMN AS INTEGER)", which makes 0 of words',
    ),
    (
        "float?",
        "is not stored as*",
        'empty_as_null = true; for digits expression = "CAST(COLUMN AS REAL)", which makes 0 of words',
    ),
    ("*", "*", "null = […], or an expression"),
)


def remedy(column: TargetColumn, reason: str, rule: ColumnRule = NO_RULE) -> str:
    """Return the rule that would carry values into ``column`` which are refused for ``reason``, having ``rule``."""
    if (rule.epoch or rule.julian) and reason.startswith("is not stored as"):
        return (
            f"none of the kind that is set ({rule.words()}), by which these lie outside the years 0 to 9999 or are no "
            "numbers; null = […], or an expression that tells several units apart by their size"
        )
    return next(
        rule
        for type_name, pattern, rule in _REMEDIES
        if fnmatchcase(column.type_name, type_name) and fnmatchcase(reason, pattern)
    )
