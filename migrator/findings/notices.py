"""
Finds notices: facts about values that can be carried as they are. A notice refuses nothing.

SQLite's affinity of a column may have damaged a value long before the migration, without any message to the operator.
A column that ignores case in SQLite may distinguish case in PostgreSQL, where a unique key then accepts ``ada`` beside
``Ada``.
"""

from collections.abc import Iterator

from migrator.planning.plan import ColumnPlan, TablePlan
from migrator.source.schema import Affinity
from migrator.types import Problem, ProblemCode, Severity

_TEXTS = frozenset({"text", "varchar", "bpchar", "name", "citext"})

_CASE_SENSITIVE = _TEXTS - {"citext"}

_DIGITS_OF_A_REAL = 15
"""The number of decimal digits that a double always preserves (SQLite, "Floating Point Numbers")."""


def notices(table: TablePlan, column: ColumnPlan) -> Iterator[Problem]:
    """Yield the notices about a column as problems; the SQL condition of each is true for the values it is about."""
    yield from _damage(column)
    if column.source.ignores_case and column.target.type_name in _CASE_SENSITIVE and column.target.deterministic:
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
