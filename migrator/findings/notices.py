"""
Finds notices: facts about values that can be carried as they are. A notice refuses nothing.

SQLite's affinity of a column may have damaged a value long before the migration, without any message to the operator.
A column that ignores case in SQLite may distinguish case in PostgreSQL, where a unique key then accepts ``ada`` beside
``Ada``.
"""

import re
from collections.abc import Iterator

from migrator.planning.plan import ColumnPlan, TablePlan
from migrator.source.schema import Affinity
from migrator.types import Problem, ProblemCode, Severity

_TEXTS = frozenset({"text", "varchar", "bpchar", "name", "citext"})

_CASE_SENSITIVE = _TEXTS - {"citext"}

_DIGITS_OF_A_REAL = 15
"""The number of decimal digits that a double always preserves (SQLite, "Floating Point Numbers")."""


def notices(table: TablePlan, column: ColumnPlan, *, made_by_job: bool = False) -> Iterator[Problem]:
    """
    Yield the notices about a column as problems; the SQL condition of each is true for the values it is about.

    ``made_by_job`` says that the job makes the target's table, so that a rule can give the column another type.
    """
    yield from _damage(column)
    if made_by_job and column.rule.type is None:
        yield from _uuid(table, column)
    # By a unique index on lower(), the target's own rows can't differ in case only; the trial of it refuses such rows.
    sensitive = column.target.deterministic and not column.target.folded
    if column.source.ignores_case and column.target.type_name in _CASE_SENSITIVE and sensitive:
        yield from _case(table, column)


def _damage(column: ColumnPlan) -> Iterator[Problem]:
    """Yield notices about text that SQLite may have turned into numbers by affinity ("Datatypes In SQLite", 3)."""
    stored, declared = column.source.quoted, column.source.declared_type
    if column.source.affinity is not Affinity.NUMERIC:
        return
    if column.target.type_name in _TEXTS:
        yield _notice(
            ProblemCode.DAMAGED_BY_AFFINITY,
            f"is a number, since SQLite takes the type {declared} for numeric: text like 007, and digits beyond the "
            f"{_DIGITS_OF_A_REAL}th, were already damaged in the source",
            f"typeof({stored}) IN ('integer', 'real')",
        )
    precision = column.target.precision
    if column.target.type_name == "numeric" and (precision is None or precision > _DIGITS_OF_A_REAL):
        yield _notice(
            ProblemCode.DIGITS_LOST_IN_SOURCE,
            f"is a REAL of more than {_DIGITS_OF_A_REAL} digits: if it was written with more than a double holds, the "
            "rest was already lost in the source",
            f"typeof({stored}) = 'real' AND CAST(printf('%.{_DIGITS_OF_A_REAL}g', {stored}) AS REAL) <> {stored}",
        )


def _uuid(table: TablePlan, column: ColumnPlan) -> Iterator[Problem]:
    """
    Yield a notice if all values are UUIDs in a form that applications use where a database has no type for them.

    SQLAlchemy and Django store 32 digits in CHAR(32), others 16 bytes. In PostgreSQL they compare such a column with
    values of type ``uuid``, and there is no operator for ``text = uuid``.
    """
    stored = column.source.quoted
    sized = _OF_DIGITS.fullmatch(column.source.declared_type.strip()) is not None
    if column.target.type_name == "bytea":
        is_uuid, form = f"typeof({stored}) = 'blob' AND octet_length({stored}) = 16", "16 bytes"
    elif column.target.type_name == "text" and (sized or column.source.affinity is Affinity.NUMERIC):
        is_uuid = f"typeof({stored}) = 'text' AND coalesce(length(unhex({stored}, '-')), 0) = 16"
        form = "32 hexadecimal digits"
    else:
        return
    others = f"SELECT 1 FROM {table.source.origin} WHERE {stored} IS NOT NULL AND NOT ({is_uuid})"
    yield _notice(
        ProblemCode.LOOKS_LIKE_UUID,
        f"is {form}, like each value of the column: if the application means UUIDs, it can't compare them with "
        f"{column.target.declared} in PostgreSQL",
        f"({is_uuid}) AND NOT EXISTS ({others})",
    )


_OF_DIGITS = re.compile(r"N?(VAR)?CHAR(ACTER)? ?\((32|36)\)", re.IGNORECASE)


def _case(table: TablePlan, column: ColumnPlan) -> Iterator[Problem]:
    stored = column.source.quoted
    yield _notice(
        ProblemCode.CASE_INSENSITIVE_IN_SOURCE,
        "is compared without case in the source (COLLATE NOCASE) and with it in the target: lookups and unique keys "
        "will tell Ada from ada",
        f"{stored} IS NOT NULL",
    )
    yield _notice(
        ProblemCode.DIFFERS_IN_CASE_ONLY,
        "is another row's but for the case, and would collide with it under citext or a unique index on lower()",
        f"{stored} COLLATE NOCASE IN (SELECT {stored} FROM {table.source.origin} GROUP BY {stored} COLLATE NOCASE "
        f"HAVING count(DISTINCT {stored} COLLATE BINARY) > 1)",
    )


def _notice(code: ProblemCode, reason: str, condition: str) -> Problem:
    return Problem(code, reason, condition, Severity.NOTICE)
