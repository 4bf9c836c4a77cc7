"""
Defines what a type family is: how values of a SQLite column become one PostgreSQL type, exactly or not at all.

A new PostgreSQL type, in five steps:

1. If a family already carries values of this kind, add the type's ``pg_type.typname`` to its ``serves``. A type that
   no family serves goes to ``others``: its values are sent as COPY text if PostgreSQL's answer to each text passes the
   comparison of ``meaning/``. Such a type needs only a reader in ``meaning/equality.py``.
2. Otherwise write a file with one family. ``scan_columns`` reads the column, ``problems`` finds stored values that
   PostgreSQL would refuse or change, each with its ``ProblemCode``. ``convert`` turns Arrow arrays into the array to
   send, and raises an error if a value would change. ``encoder`` returns pgpq's encoder, or None for COPY text.
3. Add the family to ``_FAMILIES`` in ``types/__init__.py``. A type that is known by its labels or its digits, and
   not by its name, gets a line in ``family_of``.
4. Add the type's canonical form to ``verification/canonical.py``, and share no code with ``convert``. A type without a
   form of its own is compared in PostgreSQL's spelling.
5. Describe it in ``docs/reference/types.md``. Write ``tests/unit/types/test_<file>.py``: values that arrive and values
   that are refused. ``tests/repository/test_docs_types.py`` holds the page to the code.

``fast`` is an improvement that can come later: how to read a column that holds nothing unusual.
"""

from collections.abc import Callable, Sequence
from typing import Protocol

import pyarrow as pa
import pyarrow.compute as pc
from msgspec import Struct

from migrator.source.scan import ScanColumn, StorageClass
from migrator.target.schema import TargetColumn
from migrator.types.problem import ConversionError, Problem, ProblemCode


class LossDetector(Protocol):
    """Searches the batches of one column for values of which PostgreSQL would keep only a part."""

    def rows(self, values: pa.Array) -> list[tuple[int, Problem]]:
        """Return the places of values in the batch ``values`` that would lose a part, each with its problem."""
        ...


def no_proof(_column: TargetColumn) -> str | None:
    """Return None: only the conversion can tell whether a value is taken."""
    return None


class TypeFamily(Struct, frozen=True):
    """
    Holds all that the job needs to carry values into one group of PostgreSQL types.

    ``scan_columns(expression, column)`` returns the scan columns that read the SQL ``expression`` of a source column.
    ``problems(expression, column)`` returns the conditions that SQLite looks for in one pass.
    ``convert(arrays, column)`` takes one array for each scan column and returns the array to send. It raises
    ConversionError or ``pa.ArrowInvalid`` if a value would change.
    ``encoder(field)`` returns the pgpq encoder of that array. It is None where pgpq has no binary form of the type;
    then the whole table is sent as COPY text.
    ``reads_content`` says that ``convert`` may refuse values that ``problems`` can't find, so preflight has to call it.
    """

    name: str
    serves: frozenset[str]
    scan_columns: Callable[[str, TargetColumn], tuple[ScanColumn, ...]]
    problems: Callable[[str, TargetColumn], tuple[Problem, ...]]
    convert: Callable[[Sequence[pa.Array], TargetColumn], pa.Array]
    encoder: Callable[[pa.Field], object] | None
    reads_content: bool = False
    asks_server: bool = False
    """Whether only PostgreSQL can tell if a text is a value of the type."""
    source_rewrite: Callable[[str], str] | None = None
    """Returns SQL that turns an application's own storage form into text that PostgreSQL reads; None if not needed."""
    losses: Callable[[], LossDetector] | None = None
    """Makes a detector of values of which PostgreSQL keeps only a part; None if the type has no such values."""
    as_text: "TypeFamily | None" = None
    """The family for tables that are sent as COPY text; None where Arrow's cast to string gives the right text."""
    fast: "TypeFamily | None" = None
    """
    The family for columns that hold nothing unusual: it reads values as they are stored, without their storage class.

    Its ``problems`` take almost no time, and find values that this way of reading would mistake for other values. Its
    ``convert`` refuses all other unusual values. None where the ordinary way of reading is as fast.
    """
    proof: Callable[[TargetColumn], str | None] = no_proof
    """
    Returns DuckDB's SQL over ``{0}``, a value as it is stored, in the storage class of the family's only scan column.

    It is true only if ``convert`` would take the value; text is valid UTF-8. Empty if any value is taken, None if only
    ``convert`` itself can tell.
    """


def one_column(storage: StorageClass, template: str = "{}") -> Callable[[str, TargetColumn], tuple[ScanColumn, ...]]:
    """Return a ``scan_columns`` that reads the column by one expression; ``{}`` in ``template`` is the column."""

    def scan_columns(expression: str, _column: TargetColumn) -> tuple[ScanColumn, ...]:
        return (ScanColumn(template.format(expression), storage),)

    return scan_columns


def text_and_real_columns(expression: str, _column: TargetColumn) -> tuple[ScanColumn, ...]:
    """
    Return the scan columns of numbers: the first reads values with exact digits as text, the second reads doubles.

    SQLite's own cast of a REAL to text keeps 15 digits (SQLite, "Floating Point Numbers"). Arrow writes a double as
    the shortest text that reads back as the same double.
    """
    return (
        ScanColumn(
            f"CASE typeof({expression}) WHEN 'real' THEN NULL ELSE CAST({expression} AS TEXT) END", StorageClass.TEXT
        ),
        ScanColumn(f"CASE typeof({expression}) WHEN 'real' THEN {expression} END", StorageClass.REAL),
    )


def inexact_error(column: TargetColumn) -> ConversionError:
    """Return the error for a value that the column's type can't hold exactly."""
    return ConversionError(ProblemCode.INEXACT, f"can't become {column.declared} exactly")


def join_text_and_real(arrays: Sequence[pa.Array]) -> pa.Array:
    """Return the arrays of ``text_and_real_columns`` as one array of text."""
    digits, *others = arrays  # the fast family has no scan column for doubles
    [doubles] = others or [pa.nulls(len(digits))]
    if doubles.null_count == len(doubles):
        return digits
    return pc.coalesce(digits, pc.cast(doubles, pa.string()))


def stored_as(expression: str, *allowed: StorageClass) -> Problem:
    """Return the problem of values whose storage class is none of ``allowed``; NULL is always allowed."""
    classes = ", ".join(f"'{storage}'" for storage in (StorageClass.NULL, *allowed))
    names = " or ".join(storage.upper() for storage in allowed)
    return _wrong_storage_class(names, f"typeof({expression}) NOT IN ({classes})")


def _wrong_storage_class(names: str, condition: str) -> Problem:
    return Problem(ProblemCode.WRONG_STORAGE_CLASS, f"is not stored as {names}", condition)


def problems_unless_text(expression: str, _column: TargetColumn) -> tuple[Problem, ...]:
    """
    Refuse values that a scan column of text would read as text although they are numbers or BLOBs.

    Numbers sort before every text, and BLOBs after every text (SQLite, "Datatypes In SQLite", 4.1). Two comparisons
    take a third of the time that ``typeof`` takes.
    """
    return (_wrong_storage_class("TEXT", f"{expression} < '' OR {expression} >= x''"),)


def problems_if_blob(expression: str, _column: TargetColumn) -> tuple[Problem, ...]:
    """Refuse BLOBs where ``convert`` takes no text that a number can have. BLOBs sort after every text."""
    return (_wrong_storage_class("TEXT", f"{expression} >= x''"),)


def no_problems(_expression: str, _column: TargetColumn) -> tuple[Problem, ...]:
    """Return no problems: the driver fails at a value that is not a number, and ``convert`` checks the numbers."""
    return ()


def check_integers_survive(doubles: pa.Array) -> None:
    """
    Raise ConversionError if a scan column of doubles may have changed an integer.

    The driver doesn't say which doubles were integers. Below 2**53 every integer is a double (IEEE 754), while
    2**53 + 1 becomes 2**53, so only the size of the numbers is checked.
    """
    limits = pc.min_max(doubles)
    if limits["min"].is_valid and not -_ALL_INTEGERS < limits["min"].as_py() <= limits["max"].as_py() < _ALL_INTEGERS:
        raise ConversionError(ProblemCode.INEXACT, "may be an integer that no double holds exactly")


def proof_that_integers_survive(_column: TargetColumn) -> str:
    """Return the condition of ``check_integers_survive`` in DuckDB's SQL."""
    return f"{{0}} > -{_ALL_INTEGERS!r}::DOUBLE AND {{0}} < {_ALL_INTEGERS!r}::DOUBLE"


_ALL_INTEGERS = 2.0**53


def check_utf8(text: pa.Array) -> None:
    """Raise ConversionError for text that isn't UTF-8."""
    try:
        text.validate(full=True)
    except pa.ArrowInvalid as error:
        raise ConversionError(ProblemCode.INVALID_UTF8, "is not valid UTF-8") from error


def holds_nul(text: pa.Array) -> bool:
    """Return whether a string of ``text`` has a NUL character."""
    # The C library searches all strings at once, which is ten times as fast as a search in each string. The bytes of a
    # missing value may have a NUL too, so after a hit each string is searched.
    if b"\x00" not in characters(text):
        return False
    return bool(pc.any(pc.match_substring(text, "\x00")).as_py())


def characters(text: pa.Array) -> bytes:
    """Return the characters of all strings of ``text``, one after the other, with whatever missing values hold."""
    _, offsets, buffer = text.buffers()
    if not len(text) or buffer is None:
        return b""
    ends = pa.Array.from_buffers(pa.int32(), len(text) + 1, [None, offsets], offset=text.offset)
    start, stop = ends[0].as_py(), ends[-1].as_py()
    return bytes(buffer.slice(start, stop - start).to_pybytes())


def only_array(arrays: Sequence[pa.Array], _column: TargetColumn) -> pa.Array:
    """Return the only array as it is."""
    return arrays[0]
