"""Holds the type families: each converts the values of a column to one PostgreSQL type, exactly or not at all."""

from migrator.target.schema import TargetColumn
from migrator.types.blobs import BLOBS
from migrator.types.booleans import BOOLEANS
from migrator.types.dates_times import DATES_TIMES, in_zone
from migrator.types.enums import ENUMS
from migrator.types.family import LossDetector, TypeFamily
from migrator.types.floats import FLOATS
from migrator.types.integers import INTEGERS
from migrator.types.jsons import JSON, JSONB
from migrator.types.numerics import NUMERICS, WIDE_NUMERICS, fits_arrow
from migrator.types.others import ARRAYS, INTERVALS, OTHERS
from migrator.types.problem import ConversionError, Problem, ProblemCode, Severity
from migrator.types.texts import TEXTS
from migrator.types.uuids import UUIDS

__all__ = ["ConversionError", "LossDetector", "Problem", "ProblemCode", "Severity", "TypeFamily", "family_of"]

_FAMILIES = {
    name: family
    for family in (BLOBS, BOOLEANS, DATES_TIMES, FLOATS, INTEGERS, INTERVALS, JSON, JSONB, NUMERICS, TEXTS, UUIDS)
    for name in family.serves
}


def family_of(column: TargetColumn, zone: str | None = None) -> TypeFamily:
    """
    Return the family that carries values into ``column``. A domain is treated as its base type.

    ``zone`` is the time zone of text without an offset that goes to timestamptz; the default is UTC.
    """
    if zone is not None and column.type_name == "timestamptz":
        return in_zone(zone)
    if column.enum_labels:
        return ENUMS
    if column.type_name == "numeric" and not fits_arrow(column):
        return WIDE_NUMERICS
    if column.type_name.startswith("_"):
        return ARRAYS
    return _FAMILIES.get(column.type_name, OTHERS)
