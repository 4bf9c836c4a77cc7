"""
What a type family is: the answers that a PostgreSQL type gives about the SQLite values that become it.

Every other file in this folder holds one family and has the same shape: ``scan_columns`` (how the column is read),
``problems`` (which stored values PostgreSQL would refuse or change, as SQL over the source), ``convert`` (Arrow to
Arrow, strict) and ``encoder`` (the form sent). The last lines make the family known under PostgreSQL's names.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

import pyarrow as pa
import pyarrow.compute as pc

from migrator.source.scan import ScanColumn, StorageClass
from migrator.target.schema import TargetColumn
from migrator.types.problem import ConversionError, Problem, ProblemCode


class LossDetector(Protocol):
    """Looks through the batches of one column for values of which PostgreSQL would keep a part only."""

    def rows(self, values: pa.Array) -> list[tuple[int, Problem]]:
        """Return the places of such values in a batch, each with what would be lost."""
        ...


@dataclass(frozen=True, slots=True)
class Family:
    """
    One family of types.

    ``scan_columns(expression, column)`` returns the lanes of a scan over the SQL ``expression`` of a source column;
    ``problems(expression, column)`` what a pass inside SQLite looks for;
    ``convert(arrays, column)`` takes one array a lane and returns the array to send; it raises ConversionError, or
    ``pa.ArrowInvalid``, rather than change a value;
    ``encoder(field)`` returns the pgpq encoder of that array, or None where the type has no binary form here, and so
    its table goes by COPY text;
    ``reads_content`` says that ``convert`` may refuse what ``problems`` can't see, so preflight has to try it.
    """

    name: str
    serves: frozenset[str]
    scan_columns: Callable[[str, TargetColumn], tuple[ScanColumn, ...]]
    problems: Callable[[str, TargetColumn], tuple[Problem, ...]]
    convert: Callable[[Sequence[pa.Array], TargetColumn], pa.Array]
    encoder: Callable[[pa.Field], object] | None
    reads_content: bool = False
    asks_server: bool = False
    """Whether only PostgreSQL can say if a text is a value of the type."""
    source_rewrite: Callable[[str], str] | None = None
    """SQL that brings an application's own storage form to the text that PostgreSQL reads; None where there is none."""
    losses: Callable[[], LossDetector] | None = None
    """Makes what finds, in one column, values that PostgreSQL takes and keeps a part of; None where there are none."""
    as_text: "Family | None" = None
    """How the same type goes in a table that is sent as COPY text; None where Arrow's cast to string will do."""
    fast: "Family | None" = None
    """
    How a column is read that holds nothing unusual: as it is stored, without asking for each value's storage class.

    Its ``problems``, which cost next to nothing, are what such a reading would take for something else; its ``convert``
    refuses the rest. None where the ordinary reading is as cheap.
    """


def one_lane(storage: StorageClass, template: str = "{}") -> Callable[[str, TargetColumn], tuple[ScanColumn, ...]]:
    """Return a ``scan_columns`` that reads the column by one expression; ``{}`` in ``template`` is the column."""

    def scan_columns(expression: str, _column: TargetColumn) -> tuple[ScanColumn, ...]:
        return (ScanColumn(template.format(expression), storage),)

    return scan_columns


def text_or_real_lanes(expression: str, _column: TargetColumn) -> tuple[ScanColumn, ...]:
    """
    Read a column of numbers in two lanes: what has exact digits as text, doubles as doubles.

    SQLite's own cast of a REAL to text keeps 15 digits (SQLite, "Floating Point Numbers"), so Arrow writes the doubles:
    the shortest text that reads back as the same double.
    """
    return (
        ScanColumn(
            f"CASE typeof({expression}) WHEN 'real' THEN NULL ELSE CAST({expression} AS TEXT) END", StorageClass.TEXT
        ),
        ScanColumn(f"CASE typeof({expression}) WHEN 'real' THEN {expression} END", StorageClass.REAL),
    )


def inexact(column: TargetColumn) -> ConversionError:
    """Return the objection to a value that the column's type doesn't hold as it is."""
    return ConversionError(ProblemCode.INEXACT, f"can't become {column.declared} exactly")


def join_text_or_real(arrays: Sequence[pa.Array]) -> pa.Array:
    """Return the two lanes of ``text_or_real_lanes`` as one array of text."""
    digits, *rest = arrays  # the plain reading has no lane for doubles
    [doubles] = rest or [pa.nulls(len(digits))]
    if doubles.null_count == len(doubles):
        return digits
    return pc.coalesce(digits, pc.cast(doubles, pa.string()))


def stored_as(expression: str, *allowed: StorageClass) -> Problem:
    """Refuse every value whose storage class is none of ``allowed``; NULL is always allowed here."""
    classes = ", ".join(f"'{storage}'" for storage in (StorageClass.NULL, *allowed))
    names = " or ".join(storage.upper() for storage in allowed)
    return _wrong_storage_class(names, f"typeof({expression}) NOT IN ({classes})")


def _wrong_storage_class(names: str, condition: str) -> Problem:
    return Problem(ProblemCode.WRONG_STORAGE_CLASS, f"is not stored as {names}", condition)


def no_text(expression: str, _column: TargetColumn) -> tuple[Problem, ...]:
    """
    Refuse what a lane of text would take for text: numbers, which come before every text, and BLOBs, which come after.

    Two comparisons are a third of the cost of asking for the class (SQLite, "Datatypes In SQLite", 4.1).
    """
    return (_wrong_storage_class("TEXT", f"{expression} < '' OR {expression} >= x''"),)


def nothing_hidden(_expression: str, _column: TargetColumn) -> tuple[Problem, ...]:
    """Refuse nothing: the driver stops at a value that is no number, and ``convert`` sees the number."""
    return ()


def no_number(expression: str, _column: TargetColumn) -> tuple[Problem, ...]:
    """Refuse numbers, of which a lane of BLOBs would take the digits. Any number is less than any text."""
    return (_wrong_storage_class("BLOB or TEXT", f"{expression} < ''"),)


def survive_as_doubles(doubles: pa.Array) -> None:
    """
    Raise ConversionError if a lane of doubles may have changed an integer on the way.

    The driver doesn't say which doubles were integers. Below 2**53 every integer is a double (IEEE 754), and 2**53 is
    what its neighbour becomes, so this asks only how large the numbers are.
    """
    limits = pc.min_max(doubles)
    if limits["min"].is_valid and not -_ALL_INTEGERS < limits["min"].as_py() <= limits["max"].as_py() < _ALL_INTEGERS:
        raise ConversionError(ProblemCode.INEXACT, "may be an integer that no double holds exactly")


_ALL_INTEGERS = 2.0**53


def check_utf8(text: pa.Array) -> None:
    """Raise ConversionError for text that isn't UTF-8."""
    try:
        text.validate(full=True)
    except pa.ArrowInvalid as error:
        raise ConversionError(ProblemCode.INVALID_UTF8, "is not valid UTF-8") from error


def holds_nul(text: pa.Array) -> bool:
    """Return whether a string of ``text`` has a NUL character."""
    if not len(text):
        return False
    # All strings at once, by the C library: ten times as fast as looking through each. What is left of a missing value
    # may hold one too, so each is looked through before it is believed.
    _, offsets, characters = text.buffers()
    ends = pa.Array.from_buffers(pa.int32(), len(text) + 1, [None, offsets], offset=text.offset)
    start, stop = ends[0].as_py(), ends[-1].as_py()
    if characters is None or b"\x00" not in characters.slice(start, stop - start).to_pybytes():
        return False
    return bool(pc.any(pc.match_substring(text, "\x00")).as_py())


def first(arrays: Sequence[pa.Array], _column: TargetColumn) -> pa.Array:
    """Return the only lane as it is."""
    return arrays[0]
