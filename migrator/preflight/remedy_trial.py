"""Tries a remedy: whether the plan of a column, with another line in its rule, carries the values of some rows."""

from collections.abc import Callable

import pyarrow as pa
from msgspec.structs import replace

from migrator.errors import ConfigurationError, SourceUnreadable
from migrator.planning.plan import ColumnPlan
from migrator.preflight.bisection import Bisection
from migrator.preflight.diagnosis import problems_of
from migrator.source.aggregates import count_matching
from migrator.types import ConversionError

_NO_VALUE = (SourceUnreadable, ConfigurationError, ConversionError, pa.ArrowInvalid, UnicodeDecodeError)
"""The errors of a scan whose SQL fails for a row, or gives another storage class than the type needs."""


def remedy_trial(bisection: Bisection) -> Callable[[ColumnPlan, str], bool]:
    """
    Return a function that says whether a plan of a column carries the values of all rows that meet a condition.

    ``bisection`` names the table. The function blocks while SQLite reads these rows, and raises nothing.
    """

    def settles(column: ColumnPlan, where: str) -> bool:
        table = replace(bisection.table, columns=(column,), computed=())
        tried = replace(bisection, table=table, where=where)
        conditions = [f"({where}) AND ({problem.condition})" for problem in problems_of(column)]
        try:
            if any(count_matching(bisection.session, table.source, conditions)):
                return False
            bad_rows, _ = tried.find_bad_rows({})
        except _NO_VALUE:
            return False
        return not any(bad_rows.values())

    return settles
