"""
numeric. SQLite has no decimals: it keeps integers, doubles, or the text that an application wrote.

A double stands for the shortest decimal that reads back as the same double: the application saw this decimal. Columns
of up to 38 digits are sent as Arrow's decimals. A wider ``numeric``, or one without a precision, has no Arrow type. Its
values are sent as text. This module checks the text first, since PostgreSQL would round to the column's scale without
an error.
"""

from collections.abc import Sequence
from decimal import Decimal

import pgpq.encoders
import pyarrow as pa
import pyarrow.compute as pc
from msgspec.structs import replace

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
"""The digits that a Decimal128 holds."""

# PostgreSQL, "Arbitrary Precision Numbers": the digits of a numeric without a precision.
_DIGITS_BEFORE_POINT, _DIGITS_AFTER_POINT = 131_072, 16_383

_DIGITS_OF_A_DOUBLE = 15
_DIGITS_OF_INT64 = 19

_NOT_ZERO = r"^[^eE]*[1-9]"

_NUMERAL = r"^[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?0*[0-9]{1,6})?$"
_ONE_BY_ONE = r"[eE]|^.{1000}"
"""Numerals whose digits can't be counted by a pattern: those with an exponent, and very long ones."""


def fits_arrow(column: TargetColumn) -> bool:
    """Return whether every value of the column fits a Decimal128 (PostgreSQL, "Arbitrary Precision Numbers")."""
    if column.precision is None or column.scale is None:
        return False
    return column.precision <= ARROW_DIGITS and 0 <= column.scale <= column.precision


def problems(expression: str, _column: TargetColumn) -> tuple[Problem, ...]:
    """Refuse BLOBs. ``convert`` finds numbers whose digits don't fit."""
    return (stored_as(expression, StorageClass.INTEGER, StorageClass.REAL, StorageClass.TEXT),)


def convert(arrays: Sequence[pa.Array], column: TargetColumn) -> pa.Array:
    """Return decimals of the target's precision and scale. Raises ConversionError or ArrowInvalid for a lost digit."""
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
    Return decimals computed from doubles. Raises ConversionError where the result isn't certain to be exact.

    Each decimal of up to 15 digits has a double of its own (IEEE 754), and one exact division gives the double back.
    """
    doubles = arrays[0]
    precision, scale = column.precision or 0, column.scale or 0
    if precision > _DIGITS_OF_A_DOUBLE:
        check_integers_survive(doubles)
        return convert([pc.cast(doubles, pa.string())], column)
    shift = pa.scalar(10.0**scale, pa.float64())
    units = pc.round(pc.multiply(doubles, shift))
    fits = pc.less(pc.abs(units), pa.scalar(10.0**precision, pa.float64()))
    exact = pc.and_(pc.equal(pc.divide(units, shift), doubles), fits)
    if pc.all(exact).as_py() is False:
        raise inexact_error(column)
    whole = pc.cast(pc.cast(units, pa.int64()), pa.decimal128(_DIGITS_OF_INT64, 0))
    # The buffers are reused: the scale of a decimal is part of its type, not of its bits.
    return pa.Array.from_buffers(pa.decimal128(precision, scale), len(whole), whole.buffers(), offset=whole.offset)


def proof(column: TargetColumn) -> str | None:
    """Return the condition of doubles that ``convert_fast`` turns into decimals by a division; None for more digits."""
    precision, scale = column.precision or 0, column.scale or 0
    if precision > _DIGITS_OF_A_DOUBLE:
        return None
    shift, limit = f"{10**scale}::DOUBLE", f"{10**precision}::DOUBLE"
    units = f"round({{0}} * {shift})"
    return f"{units} / {shift} = {{0}} AND abs({units}) < {limit}"


def convert_wide(arrays: Sequence[pa.Array], column: TargetColumn) -> pa.Array:
    """Return the numerals as text. Raises ConversionError for other text, and for digits that the column can't hold."""
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
    """Return a pattern of numerals that certainly fit; None if the column's scale allows no simple pattern."""
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
    Return whether a ``numeric`` without a precision can hold the number.

    It keeps zeros at the end of a fraction, so these zeros count as digits.
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
    fast=replace(
        _NUMERICS,
        scan_columns=one_column(StorageClass.REAL),
        problems=no_problems,
        convert=convert_fast,
        proof=proof,
    ),
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
