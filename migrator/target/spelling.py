"""
Asks PostgreSQL, in a read-only session, how it writes the texts of a column.

The input functions of the column's own type read the text, with the type's length and precision, and evaluate a
domain's CHECKs. The package ``meaning`` decides whether the answer has the same meaning as the text.
"""

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from contextlib import ExitStack
from typing import Any

import adbc_driver_postgresql.dbapi as adbc
from msgspec import Struct

from migrator.meaning.type_shapes import Shape, TypeRow, columns_statement, shapes, types_statement
from migrator.names import TableName
from migrator.runtime.retry import is_transient
from migrator.sessions.address import TargetAddress
from migrator.sessions.reader import ReadOnlySession


class TypeOfColumn(Struct, frozen=True):
    """The type of a column, as the catalogs describe it."""

    declared: str
    """The type as PostgreSQL writes it, with length and precision."""
    shape: Shape


def columns_of(types: Iterable[Iterable[Any]], columns: Iterable[Iterable[Any]]) -> dict[str, TypeOfColumn]:
    """Return the types of a table's columns from the answers to ``types_statement`` and ``columns_statement``."""
    shape_of = shapes(TypeRow(*row) for row in types)
    return {name: TypeOfColumn(declared, shape_of[number]) for name, declared, number in columns}


class NoValue(Struct, frozen=True):
    """The server's reason why a text is no value of the column, without the value, which may not be shown."""

    reason: str


class Spelling:
    """Asks PostgreSQL how it spells texts in the columns of one table. It connects at the first question."""

    def __init__(
        self, address: TargetAddress, table: TableName, columns: Mapping[str, TypeOfColumn] | None = None
    ) -> None:
        """Take the table; ``columns`` has the types of its columns if the table doesn't exist yet."""
        self._address = address
        self._table = table
        self._opened = ExitStack()
        self._session: ReadOnlySession | None = None
        self._columns = columns

    def close(self) -> None:
        """Close the session, if it was opened."""
        self._opened.close()

    @property
    def session(self) -> ReadOnlySession:
        """The session, which is opened at the first use. Raises what the ADBC driver raises."""
        if self._session is None:
            self._session = self._opened.enter_context(ReadOnlySession(self._address))
            if self._columns is None:
                types = self._session.rows(types_statement(self._table))
                self._columns = columns_of(types, self._session.rows(columns_statement(self._table)))
        return self._session

    def type_of(self, column: str) -> TypeOfColumn:
        """Return the type of ``column``, as the catalogs describe it."""
        self.session  # noqa: B018 - to open the session also reads the types
        return (self._columns or {})[column]

    def of(self, column: str, texts: Sequence[str], most: int | None = None) -> list[str | NoValue]:
        """
        Return each text as the type of ``column`` writes it, or the reason why the text is no value.

        The list ends after ``most`` texts that are no values. Raises what the ADBC driver raises if the server is lost.
        """
        spelled: list[str | NoValue] = []
        refused = 0
        waiting = [texts]
        while waiting and (most is None or refused < most):
            part = waiting.pop()
            answer = self._ask(column, part)
            if isinstance(answer, list):
                spelled += answer
            elif len(part) > 1:
                middle = len(part) // 2
                waiting += [part[middle:], part[:middle]]
            else:
                spelled.append(answer)
                refused += 1
        return spelled

    def _ask(self, column: str, texts: Sequence[str]) -> list[str | NoValue] | NoValue:
        """Return the spellings of all texts, or the reason why at least one of the texts is no value."""
        if not texts:
            return []
        statement = (
            f"SELECT CAST(v AS {self.type_of(column).declared})::text AS spelled "
            "FROM json_array_elements_text($1::json) WITH ORDINALITY AS given(v, place) ORDER BY place"
        )
        try:
            spelled: list[str | NoValue] = self.session.table(statement, (json.dumps(texts),))["spelled"].to_pylist()
        except (adbc.Error, UnicodeError) as error:
            if is_transient(error):  # a lost connection, for example, says nothing about the texts
                raise
            if isinstance(error, adbc.Error) and not is_about_values(error):
                raise
            return NoValue(message_without_text(error, texts[0]))
        return spelled


def is_about_values(error: adbc.Error) -> bool:
    """Return whether the server's error is about a value that it received, not about the session or a privilege."""
    state = error.sqlstate or ""
    return state != _PRIVILEGE and bool({state, state[:2]} & _ABOUT_VALUES)


_PRIVILEGE = "42501"

_ABOUT_VALUES = frozenset({"21", "22", "23", "0A", "2F", "3F", "42", "54", "P0", "XX000"})
"""
SQLSTATEs and their classes that are about a value: data exception, integrity (a domain's), not supported, limit.

Functions that judge or read a value raise some of them: the CHECK of a domain may raise its own error, a table that a
``regclass`` names may not exist, and input functions of extensions report a syntax error.
"""


def message_without_text(error: Exception, text: str) -> str:
    """
    Return the server's message without its quotations of ``text``, which may not be shown.

    The message may be in any language, because only a superuser can choose the language (PostgreSQL, "lc_messages").
    Each language has its own quotation marks.
    """
    words = _message(error)
    if text:
        words = re.sub(rf"{_MARK}\s?{re.escape(text)}\s?{_MARK}", '"…"', words)
    words = words.partition("\n")[0].partition(': "')[0].rstrip(": ")
    return _QUOTED.sub(lambda quoted: '"…"' if quoted[1].strip() in text else quoted[0], words)


def _message(error: Exception) -> str:
    """Return the message from the server's own field, or the driver's whole message if that field is missing."""
    fields = dict(getattr(error, "details", None) or ())
    message = fields.get("PG_DIAG_MESSAGE_PRIMARY", fields.get(b"PG_DIAG_MESSAGE_PRIMARY"))
    return message.decode(errors="replace") if isinstance(message, bytes) else str(message or error).strip()


_MARKS = "\"'`\u00ab\u00bb\u2039\u203a\u201c-\u201f\u300c-\u300f"

_MARK = f"[{_MARKS}]"

_QUOTED = re.compile(f"{_MARK}([^{_MARKS}]*){_MARK}")
