"""Reads a sample of the values that have a problem: remedies are chosen by the values, and not by the problem alone."""

import math
from collections.abc import Sequence
from functools import cached_property
from typing import Final

from msgspec import Struct

from migrator.planning.plan import ColumnPlan
from migrator.planning.rules import Stored
from migrator.source.scan import ScanSession, StorageClass
from migrator.source.schema import SourceTable
from migrator.sql.utf8 import utf8_bytes

MOST_ROWS: Final = 50
"""The largest number of rows that a sample has."""

MOST_NAMED: Final = 20
"""The largest number of different values that a line of a rule names."""

_LONGEST_NAMED = 80
"""The largest size, in bytes, of a text that a line of a rule names."""


class SampleRow(Struct, frozen=True):
    """A row with its value, which is only as much of the value as a remedy needs."""

    key: str
    """The primary key's values, or the rowid, as SQL literals with commas between them."""
    place: str
    """The same by which SQLite finds the row without a scan: the rowid, if there is one."""
    storage: StorageClass
    size: int
    """The number of bytes of the value."""
    head: bytes
    """The first bytes of text or BLOB; the digits of a number."""

    @property
    def text(self) -> str | None:
        """The value if it is text that a rule can name, otherwise None."""
        if self.storage is not StorageClass.TEXT or self.size > _LONGEST_NAMED or b"\x00" in self.head:
            return None
        try:
            return self.head.decode()
        except UnicodeDecodeError:
            return None

    @property
    def stored(self) -> Stored | None:
        """The value as a rule names it; None if a rule can't name it."""
        match self.storage:
            case StorageClass.TEXT:
                return self.text
            case StorageClass.INTEGER:
                return int(self.head)
            case StorageClass.REAL:
                number = float(self.head)
                return number if math.isfinite(number) else None
            case _:
                return None


class Sample(Struct, frozen=True, dict=True):
    """Some rows with a problem."""

    rows: tuple[SampleRow, ...] = ()
    key: str = ""
    """The primary key's columns, or the rowid, as SQL; empty if rows can't be named."""
    place: str = ""
    """The rowid, if there is one, otherwise the primary key's columns."""
    complete: bool = False
    """Whether no other row of the table has the problem."""
    mask_values: bool = False
    """Whether no line may name a value."""

    @cached_property
    def stored(self) -> tuple[Stored, ...]:
        """The different values that a rule can name; empty if there are others, or more than ``MOST_NAMED``."""
        named = [row.stored for row in self.rows]
        different = tuple(dict.fromkeys(value for value in named if value is not None))
        is_all = None not in named and len(different) <= MOST_NAMED
        return different if is_all and not self.mask_values else ()

    def where(self, rows: Sequence[SampleRow]) -> str:
        """Return an SQL condition that is true for these rows only, and by which SQLite finds them without a scan."""
        places = ", ".join(f"({row.place})" for row in rows)
        return f"({self.place}) IN (VALUES {places})" if self.place and rows else "false"

    def by_key(self) -> str:
        """Return an SQL condition that is true for the rows of the sample, by the key that operators know."""
        keys = ", ".join(f"({row.key})" for row in self.rows)
        return f"({self.key}) IN (VALUES {keys})"

    def different(self) -> list[list[SampleRow]]:
        """Return the rows, those with equal values together."""
        alike: dict[object, list[SampleRow]] = {}
        for row in self.rows:
            alike.setdefault((row.storage, row.size, row.head), []).append(row)
        return list(alike.values())


NO_SAMPLE = Sample()


class SampleReader(Struct, frozen=True):
    """Reads samples of one table."""

    session: ScanSession
    table: SourceTable
    mask_values: bool = False

    def read(self, column: ColumnPlan, condition: str) -> Sample:
        """Return a sample of the rows that meet an SQL condition. Raises SourceUnreadable."""
        table = self.table
        names = [part.quoted for part in table.key] or ([table.rowid] if table.rowid else [])
        if not names:
            return NO_SAMPLE
        value = column.source.quoted if column.rule.expression is None else f"({column.rule.expression})"
        places = [table.rowid] if table.rowid else names
        key, place = (" || ', ' || ".join(f"quote({name})" for name in one) for one in (names, places))
        number = f"CASE typeof({value}) WHEN 'real' THEN printf('%!.17g', {value}) ELSE CAST({value} AS TEXT) END"
        read = f"CASE WHEN typeof({value}) IN ('text', 'blob') THEN {utf8_bytes(value)} ELSE {utf8_bytes(number)} END"
        answer = self.session.ask(
            f"SELECT hex({utf8_bytes(key)}) AS key, hex({utf8_bytes(place)}) AS place, "
            f"typeof({value}) AS storage, coalesce(octet_length({utf8_bytes(value)}), 0) AS size, "
            f"coalesce(hex(substr({read}, 1, {_LONGEST_NAMED})), '') AS head "
            f"FROM {table.origin} WHERE {condition} LIMIT {MOST_ROWS + 1}"
        )
        rows = tuple(
            SampleRow(
                bytes.fromhex(str(row["key"])).decode(errors="replace"),
                bytes.fromhex(str(row["place"])).decode(errors="replace"),
                StorageClass(row["storage"]),
                int(str(row["size"])),
                bytes.fromhex(str(row["head"])),
            )
            for row in answer
        )
        # A NULL in a key is equal to nothing, so such a row can't be named by its key.
        nameable = [row for row in rows if "NULL" not in row.key.split(", ")]
        is_complete = len(rows) <= MOST_ROWS and len(nameable) == len(rows)
        return Sample(tuple(nameable[:MOST_ROWS]), ", ".join(names), ", ".join(places), is_complete, self.mask_values)
