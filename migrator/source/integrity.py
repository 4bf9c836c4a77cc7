"""
Checks, with SQLite's own check, whether the b-trees of the tables that are read are damaged.

Newer versions of SQLite's check also look into virtual tables, and every version needs the application's own collations
and functions. Some complaints don't concern rows that are read: a full-text index that lags behind its table, an index
in an unknown order, or a damaged table that isn't copied. These complaints are logged, and the job goes on.
"""

import asyncio
import re
import sqlite3
from collections.abc import Awaitable, Callable, Collection, Iterable
from contextlib import closing
from typing import TypeVar

import structlog

from migrator.errors import SourceUnreadable
from migrator.events import Event
from migrator.names import quote_sqlite
from migrator.source.database import Source
from migrator.source.file import open_file, unreadable
from migrator.source.scan import ScanSession

T = TypeVar("T")

log = structlog.get_logger()

_MOST_LINES = 1_000

_SHOWN_LINES = 5

_MALFORMED = "database disk image is malformed"
"""The error that SQLite raises if a page is so damaged that the check itself can't go on."""

_MISSING = re.compile(
    r"(?:no such collation sequence|(?:no such|unknown) function): (?P<name>.+?)(?:\(\))?$", re.MULTILINE
)


async def check_intact(source: Source, tables: Collection[str]) -> None:
    """
    Raise SourceUnreadable if SQLite finds the structure of the file damaged (SQLite, "PRAGMA quick_check").

    ``tables`` are the tables that are read. Damage anywhere else is logged only.
    """
    await asyncio.to_thread(_check_intact, source, tables)


async def unless_damaged(intact: Callable[[], Awaitable[None]], read: Callable[[], Awaitable[T]]) -> T:
    """
    Read while ``intact`` checks the file, which keeps a single processor busy, and return the result of ``read``.

    The damage of a file says more than what it does to a reading: where ``read`` fails and the file is damaged, only
    the error of ``intact`` is raised. Errors are raised in an ExceptionGroup.
    """

    async def check_file() -> None:
        await intact()

    async def read_rows() -> T:
        try:
            return await read()
        except Exception:
            await file_check
            raise

    async with asyncio.TaskGroup() as group:
        file_check = group.create_task(check_file())
        rows = group.create_task(read_rows())
    return rows.result()


def _check_intact(source: Source, tables: Collection[str]) -> None:
    with source.session() as session:
        lines = _complaints(source, session, f"({_MOST_LINES})")
        if not lines:
            return
        elsewhere: set[str] = set()
        relevant: dict[str, None] = {}
        for name in _names(session):
            complaints = _complaints(source, session, f"({quote_sqlite(name)})")
            if name in tables:
                relevant |= complaints
            elif complaints:
                elsewhere |= complaints.keys()
                log.warning(Event.SOURCE_READ_AROUND, table=name, reason=next(iter(complaints)))
    relevant |= {
        line: None for line in lines if line not in elsewhere and not (elsewhere and _UNREACHED.fullmatch(line))
    }
    if relevant:
        raise SourceUnreadable(
            f"source {str(source.path)!r} is damaged: {'; '.join(list(relevant)[:_SHOWN_LINES])}",
            next_step="Restore it from a backup, or recover what can be recovered with `sqlite3 FILE .recover`.",
            source=str(source.path),
        )


_UNREACHED = re.compile(r"Page \d+: never used")
"""A complaint that is only a consequence of damage further up in a tree."""


def _names(session: ScanSession) -> list[str]:
    rows = session.ask("SELECT name FROM sqlite_schema WHERE type = 'table'")
    return [str(row["name"]) for row in rows]


def _complaints(source: Source, session: ScanSession, argument: str) -> dict[str, None]:
    """Return SQLite's complaints about the file or a table, line by line; ``argument`` is the PRAGMA's argument."""
    try:
        # The driver's own SQLite checks: Python's may be version 3.40, which complains about tables WITHOUT ROWID.
        session.ask("PRAGMA ignore_check_constraints = on")  # CHECKs are about values; the target has its own CHECKs
        return _lines(str(row["quick_check"]) for row in session.ask(f"PRAGMA quick_check{argument}"))
    except SourceUnreadable as error:
        if _MALFORMED in str(error):
            return {_MALFORMED: None}
        if _MISSING.search(str(error.__cause__)) is None:
            raise
    # The driver offers no way to register a collation or a function, but Python's SQLite does.
    try:
        with closing(open_file(source.path)) as connection:
            complaints = _with_stand_ins(connection, f"PRAGMA quick_check{argument}")
    except sqlite3.Error as error:
        if _MALFORMED in str(error):
            return {_MALFORMED: None}
        raise unreadable(source.path, error) from error
    return {line: None for line in complaints if not line.startswith("NULL value in ")}


def _with_stand_ins(connection: sqlite3.Connection, statement: str) -> dict[str, None]:
    """Run the check with substitutes for the collations and functions that SQLite misses; the order doesn't matter."""
    connection.execute("PRAGMA ignore_check_constraints = on")
    while True:
        try:
            return _lines(str(line) for (line,) in connection.execute(statement))
        except sqlite3.OperationalError as error:
            missing = _MISSING.search(str(error))
            if missing is None:
                raise
            if "collation" in missing[0]:
                connection.create_collation(missing["name"], lambda left, right: (left > right) - (left < right))
            else:
                connection.create_function(missing["name"], -1, lambda *_: None, deterministic=True)


def _lines(answers: Iterable[str]) -> dict[str, None]:
    lines = [line for answer in answers for line in answer.splitlines() if not line.startswith("***")]
    return {} if lines == ["ok"] else dict.fromkeys(lines)
