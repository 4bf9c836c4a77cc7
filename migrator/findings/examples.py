"""
Makes findings with examples: the keys of the rows, and the part of each value around the place of its problem.

An operator can find a wrong byte at position 70,000 of a document only if the message names the position.
"""

import codecs
import json
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Final, NoReturn

from msgspec import Struct

from migrator.findings.finding import Example, Finding
from migrator.findings.remedies import Case, Settles, remedy
from migrator.findings.sample import NO_SAMPLE, SampleReader
from migrator.planning.plan import ColumnPlan
from migrator.runtime.limits import ExampleOptions
from migrator.source.scan import ScanColumn, ScanSession, StorageClass
from migrator.source.schema import SourceTable
from migrator.sql.utf8 import utf8_bytes
from migrator.types import Problem, ProblemCode, Severity

SEARCHED_BYTES: Final = 1 << 20
"""The largest size of a value that is searched for the place of its problem."""

_TOKENS = re.compile(r'"(?:[^"\\]|\\.)*"|NaN|-?Infinity', re.DOTALL)


def error_offset(code: ProblemCode, value: bytes) -> int | None:
    """Return the offset in bytes of the place where a value has this problem; None if the place isn't found."""
    search = _SEARCHES.get(code)
    return search(value) if search else None


def _first_invalid_utf8(value: bytes) -> int | None:
    try:
        value.decode()
    except UnicodeDecodeError as error:
        return error.start
    return None


def _first_invalid_json(value: bytes) -> int | None:
    text = value.decode(errors="replace")
    try:
        json.loads(text, parse_constant=_refuse_constant)
    except json.JSONDecodeError as error:
        return len(text[: error.pos].encode())
    except _NotANumberError:
        tokens = (token for token in _TOKENS.finditer(text) if not token[0].startswith('"'))
        return next((len(text[: token.start()].encode()) for token in tokens), None)
    except RecursionError:
        pass  # nested too deeply for Python's parser, which found no error before
    return None


class _NotANumberError(ValueError):
    """The value has a constant that Python's json accepts and JSON doesn't have: NaN, Infinity."""


def _refuse_constant(_name: str) -> NoReturn:
    raise _NotANumberError


_SEARCHES: Final[Mapping[ProblemCode, Callable[[bytes], int | None]]] = {
    ProblemCode.INVALID_UTF8: _first_invalid_utf8,
    ProblemCode.INVALID_JSON: _first_invalid_json,
}

_SHOWN_BYTES = 40

_NO_KEY = "'?'"


class FindingBuilder(Struct, frozen=True):
    """Makes findings with examples for one table."""

    session: ScanSession
    table: SourceTable
    example_options: ExampleOptions
    settles: Settles | None = None
    """Tries a remedy on rows of the table; None where that isn't possible."""
    made_by_job: bool = False
    """Whether the job makes the target's table, so that a rule can give its columns other types."""

    def build(self, column: ColumnPlan, rows: int, problem: Problem, *, at_least: bool = False) -> Finding:
        """
        Return a finding about a problem of a column, with examples.

        ``rows`` is the number of values that meet the problem's condition; with ``at_least`` there may be more of them.
        Reads the examples from the source. Raises SourceUnreadable.
        """
        return Finding(
            self.table.name,
            column.source.name,
            rows,
            problem.code,
            problem.reason,
            self._examples(column, problem) if self.example_options.count else (),
            at_least,
            self._remedy(column, problem),
            problem.severity,
        )

    def _remedy(self, column: ColumnPlan, problem: Problem) -> str:
        """Return the remedy, chosen by the values that have the problem."""
        reader = SampleReader(self.session, self.table, self.example_options.mask_values)
        sample = reader.read(column, problem.condition) if problem.severity is Severity.ERROR else NO_SAMPLE
        return remedy(Case(problem, column, sample, self.made_by_job), self.settles)

    def _examples(self, column: ColumnPlan, problem: Problem) -> tuple[Example, ...]:
        table, value = self.table, column.source.quoted
        key = _named_key(table) or (f"'rowid ' || {table.rowid}" if table.rowid else _NO_KEY)
        read_bytes = SEARCHED_BYTES if problem.code in _SEARCHES else _SHOWN_BYTES
        # An enum's column has few different wrong values, so each is shown once, with the first row that has it.
        each_once = f" GROUP BY {value} COLLATE BINARY" if column.target.enum_labels else ""
        first = f"min({table.rowid}), " if each_once and table.rowid else ""
        rows = self.session.ask(
            # The values are read as hexadecimal digits, since their encoding may be the problem.
            f"SELECT {first}hex(substr({utf8_bytes(key)}, 1, 200)) AS key, typeof({value}) AS storage, "
            f"coalesce(octet_length({utf8_bytes(value)}), 0) AS size, "
            f"coalesce(hex(substr({utf8_bytes(value)}, 1, {read_bytes})), '') AS head "
            f"FROM {table.origin} WHERE {problem.condition}{each_once} LIMIT {self.example_options.count}"
        )
        prefix = ", ".join(key.name for key in table.key)
        keys = [f"{prefix} = {_text(_bytes(row['key']))}" if prefix else _text(_bytes(row["key"])) for row in rows]
        values = [_shown(row, problem.code, mask_values=self.example_options.mask_values) for row in rows]
        return tuple(Example(key, value) for key, value in zip(keys, values, strict=True))


def key_scan_column(table: SourceTable) -> ScanColumn:
    """Return the scan column that identifies a table's rows; ``is_row`` finds rows by its values."""
    if table.rowid is not None:
        return ScanColumn(f"CAST({table.rowid} AS TEXT)", StorageClass.TEXT)
    return ScanColumn(_quoted_key(table) or _NO_KEY, StorageClass.TEXT)


def _quoted_key(table: SourceTable) -> str:
    """
    Return SQL for the values of the primary key as literals. Keys are shown and found again in this form.

    The SQL is empty if the table has no primary key. If the rowid has no usable name either, the table's rows can't be
    identified.
    """
    return " || ', ' || ".join(f"quote({column.quoted})" for column in table.key)


def _named_key(table: SourceTable) -> str:
    """
    Return SQL for the primary key as it is shown: if the key contains a NULL, the rowid follows to identify the row.

    The SQL is empty if the table has no primary key. Only tables with a rowid may have a NULL in their primary key
    (SQLite, "WITHOUT ROWID", 2).
    """
    quoted = _quoted_key(table)
    if not quoted or table.rowid is None:
        return quoted
    missing = " OR ".join(f"{column.quoted} IS NULL" for column in table.key)
    return f"{quoted} || iif({missing}, ' (rowid ' || {table.rowid} || ')', '')"


def is_row(table: SourceTable, keys: Sequence[str]) -> str:
    """Return an SQL condition that is true for the rows with these ``keys``, in the form of ``key_scan_column``."""
    if table.rowid is not None:
        return f"{table.rowid} IN ({', '.join(keys)})"
    literals = ", ".join("'" + key.replace("'", "''") + "'" for key in keys)
    return f"{_quoted_key(table) or _NO_KEY} IN ({literals})"


def _shown(row: dict[str, object], code: ProblemCode, *, mask_values: bool) -> str:
    """Return the value, or its part around the place of the problem, together with the offset of that place."""
    storage, size, head = str(row["storage"]), int(str(row["size"])), _bytes(row["head"])
    if storage == StorageClass.NULL:
        return "NULL"
    offset = error_offset(code, head) if size <= SEARCHED_BYTES else None
    offset_note = f", at byte {offset}" if offset is not None else ""
    if mask_values:
        return f"{storage} of {size} bytes{offset_note}"
    start = max(0, offset - _SHOWN_BYTES // 2) if offset is not None and size > _SHOWN_BYTES else 0
    excerpt_bytes = head[start : start + _SHOWN_BYTES]
    if storage == StorageClass.BLOB:
        shown = f"x'{excerpt_bytes.hex()}'"
    else:
        shown = (
            repr(_excerpt(excerpt_bytes, is_cut=start + _SHOWN_BYTES < size))
            if storage == StorageClass.TEXT
            else _text(excerpt_bytes)
        )
    excerpt = f"{'…' * (start > 0)}{shown}{'…' * (start + _SHOWN_BYTES < size)}"
    details = f"{size} bytes{offset_note}" if size > _SHOWN_BYTES else offset_note.removeprefix(", ")
    return f"{excerpt} ({details})" if details else excerpt


def _excerpt(excerpt: bytes, *, is_cut: bool) -> str:
    """Return a part of a text. A character that is cut at its end is left out; wrong bytes are shown."""
    return codecs.getincrementaldecoder("utf-8")("backslashreplace").decode(excerpt, final=not is_cut)


def _bytes(digits: object) -> bytes:
    return bytes.fromhex(str(digits))


def _text(value: bytes) -> str:
    return value.decode(errors="backslashreplace")
