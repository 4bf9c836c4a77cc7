"""
numeric. SQLite has no decimals: it keeps integers, doubles, or the text an application wrote.

A double stands for the shortest decimal that reads back as the same double, which is what the application saw. Up to 38
digits go as Arrow's decimals. Wider and bare ``numeric`` have no Arrow type and go as text. The text is checked here
first, since PostgreSQL would round to the column's scale without an error.
"""

from collections.abc import Sequence
from dataclasses import replace
from decimal import Decimal

import pgpq.encoders
import pyarrow as pa
import pyarrow.compute as pc

from migrator.source.scan import StorageClass
from migrator.target.schema import TargetColumn
from migrator.types.family import (
    TypeFamily,
    check_integers_survive,
    check_utf8,
    inexact_error,
    join_text_and_real,
    no_problems,
    one_column,
    stored_as,
    text_and_real_columns,
)
from migrator.types.problem import Problem

ARROW_DIGITS = 38
"""What a Decimal128 holds."""

# PostgreSQL, "Arbitrary Precision Numbers": what a numeric without limits of its own can hold.
_DIGITS_BEFORE_POINT, _DIGITS_AFTER_POINT = 131_072, 16_383

_DIGITS_OF_A_DOUBLE = 15
_DIGITS_OF_INT64 = 19

_NOT_ZERO = r"^[^eE]*[1-9]"

_NUMERAL = r"^[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?0*[0-9]{1,6})?$"
_ONE_BY_ONE = r"[eE]|^.{1000}"
"""Numerals whose digits can't be counted by a pattern: those with an exponent, and very long ones."""


def fits_arrow(column: TargetColumn) -> bool:
    """Return whether every value of the column is a Decimal128 (PostgreSQL, "Arbitrary Precision Numbers")."""
    if column.precision is None or column.scale is None:
        return False
    return column.precision <= ARROW_DIGITS and 0 <= column.scale <= column.precision


def problems(expression: str, _column: TargetColumn) -> tuple[Problem, ...]:
    """Refuse BLOBs; whether digits fit is for ``convert`` to find."""
    return (stored_as(expression, StorageClass.INTEGER, StorageClass.REAL, StorageClass.TEXT),)


def convert(arrays: Sequence[pa.Array], column: TargetColumn) -> pa.Array:
    """Return decimals of the target's precision and scale; raises ConversionError or ArrowInvalid for a lost digit."""
    text = join_text_and_real(arrays)
    decimals = pc.cast(text, pa.decimal128(column.precision, column.scale))
    # Where the multiplier or divisor overflows 128 bits, Arrow raises no error: a number with more than 38 places after
    # the point becomes 0, and one that is far too large becomes an arbitrary number.
    zeros = pc.equal(decimals, pa.scalar(0, decimals.type))
    size = pc.abs(pc.cast(text, pa.float64()))
    wrong = pc.or_(
        pc.and_(zeros, pc.match_substring_regex(text, _NOT_ZERO)),
        pc.greater(size, pa.scalar(10.0 ** ((column.precision or 0) - (column.scale or 0)), pa.float64())),
    )
    if pc.any(wrong).as_py():
        raise inexact_error(column)
    return decimals


def convert_fast(arrays: Sequence[pa.Array], column: TargetColumn) -> pa.Array:
    """
    Return decimals computed from doubles; raises ConversionError where the result isn't certain to be exact.

    Up to 15 digits, every decimal is a double of its own (IEEE 754), and one exact division gives the double back.
    """
    doubles = arrays[0]
    precision, scale = column.precision or 0, column.scale or 0
    if precision > _DIGITS_OF_A_DOUBLE:
        check_integers_survive(doubles)
        return convert([pc.cast(doubles, pa.string())], column)
    shift = pa.scalar(10.0**scale, pa.float64())
    units = pc.round(pc.multiply(doubles, shift))
    few = pc.less(pc.abs(units), pa.scalar(10.0**precision, pa.float64()))
    exact = pc.and_(pc.equal(pc.divide(units, shift), doubles), few)
    if pc.all(exact).as_py() is False:
        raise inexact_error(column)
    whole = pc.cast(pc.cast(units, pa.int64()), pa.decimal128(_DIGITS_OF_INT64, 0))
    # The bits stay the same: a decimal's scale belongs to its type.
    return pa.Array.from_buffers(pa.decimal128(precision, scale), len(whole), whole.buffers(), offset=whole.offset)


def convert_wide(arrays: Sequence[pa.Array], column: TargetColumn) -> pa.Array:
    """Return the numerals as text; raises ConversionError for other text, and for digits that the column can't hold."""
    text = join_text_and_real(arrays)
    check_utf8(text)
    if pc.all(pc.match_substring_regex(text, _NUMERAL)).as_py() is False:
        raise inexact_error(column)
    pattern = _fitting(column)
    if pattern is None:
        doubtful = text.drop_null()
    else:
        fitting = pc.and_not(pc.match_substring_regex(text, pattern), pc.match_substring_regex(text, _ONE_BY_ONE))
        doubtful = text.filter(pc.invert(fitting))
    if not all(_fits(Decimal(numeral), column) for numeral in doubtful.to_pylist()):
        raise inexact_error(column)
    return text


def _fitting(column: TargetColumn) -> str | None:
    """Return a pattern of numerals that certainly fit; None where the column's scale allows no simple one."""
    if column.precision is None or column.scale is None:
        return "."
    if not 0 <= column.scale <= column.precision:
        return None
    return rf"^[+-]?0*[0-9]{{0,{column.precision - column.scale}}}(\.[0-9]{{0,{column.scale}}}0*)?$"


def _fits(number: Decimal, column: TargetColumn) -> bool:
    if column.precision is None or column.scale is None:
        return fits_unbounded(number)
    _, digits, exponent = number.as_tuple()
    significant = "".join(map(str, digits)).lstrip("0")
    if not significant:
        return True
    kept = significant.rstrip("0")
    exponent = int(exponent) + len(significant) - len(kept)
    return -exponent <= column.scale and len(kept) + exponent <= column.precision - column.scale


def fits_unbounded(number: Decimal) -> bool:
    """
    Return whether a ``numeric`` without limits of its own takes the number, spelled as it was given.

    It keeps zeros at the end of a fraction, so these count like any other digit.
    """
    _, digits, exponent = number.as_tuple()
    places = int(exponent)
    before = len(digits) + places if any(digits) else 0
    return -places <= _DIGITS_AFTER_POINT and before <= _DIGITS_BEFORE_POINT


_NUMERICS = TypeFamily(
    "numerics",
    frozenset({"numeric"}),
    scan_columns=text_and_real_columns,
    problems=problems,
    convert=convert,
    encoder=pgpq.encoders.Decimal128EncoderBuilder,
    reads_content=True,
)
NUMERICS = replace(
    _NUMERICS,
    fast=replace(_NUMERICS, scan_columns=one_column(StorageClass.REAL), problems=no_problems, convert=convert_fast),
)
WIDE_NUMERICS = TypeFamily(
    "numerics",
    frozenset(),  # chosen by the column's digits, not by a name
    scan_columns=text_and_real_columns,
    problems=problems,
    convert=convert_wide,
    encoder=None,
    reads_content=True,
)
