"""
Checks whether the file is damaged where it is read: its b-trees, by SQLite's own check.

Newer versions of that check look into virtual tables as well, and none goes without the application's own collations
and functions. A full-text index that lags behind its table, an index whose order nobody knows here, or a damaged table
that is left out, is no damage of the rows that are read: it is logged, and the job goes on.
"""

import asyncio
import re
import sqlite3
from collections.abc import Collection, Iterable
from contextlib import closing

import structlog

from migrator.errors import SourceUnreadable
from migrator.events import Event
from migrator.names import quote_sqlite
from migrator.source.database import Source
from migrator.source.file import open_file, unreadable
from migrator.source.scan import ScanSession

log = structlog.get_logger()

_MOST_LINES = 1_000

_SHOWN_LINES = 5

_MALFORMED = "database disk image is malformed"
"""Said in place of an answer where a page is so that the check itself can't go on."""

_MISSING = re.compile(
    r"(?:no such collation sequence|(?:no such|unknown) function): (?P<name>.+?)(?:\(\))?$", re.MULTILINE
)


async def check_intact(source: Source, tables: Collection[str]) -> None:
    """
    Raise SourceUnreadable unless SQLite finds the structure of the file sound (SQLite, "PRAGMA quick_check").

    ``tables`` are those that are read. What is wrong with anything else is logged.
    """
    await asyncio.to_thread(_check_intact, source, tables)


def _check_intact(source: Source, tables: Collection[str]) -> None:
    with source.session() as session:
        lines = _complaints(source, session, f"({_MOST_LINES})")
        if not lines:
            return
        elsewhere: set[str] = set()
        rest: dict[str, None] = {}
        for name in _names(session):
            found = _complaints(source, session, f"({quote_sqlite(name)})")
            if name in tables:
                rest |= found
            elif found:
                elsewhere |= found.keys()
                log.warning(Event.SOURCE_READ_AROUND, table=name, reason=next(iter(found)))
    rest |= {line: None for line in lines if line not in elsewhere and not (elsewhere and _UNREACHED.fullmatch(line))}
    if rest:
        raise SourceUnreadable(
            f"source {str(source.path)!r} is damaged: {'; '.join(list(rest)[:_SHOWN_LINES])}",
            next_step="Restore it from a backup, or recover what can be recovered with `sqlite3 FILE .recover`.",
            source=str(source.path),
        )


_UNREACHED = re.compile(r"Page \d+: never used")
"""What follows from damage further up in a tree."""


def _names(session: ScanSession) -> list[str]:
    found = session.ask("SELECT name FROM sqlite_schema WHERE type = 'table'")
    return [str(row["name"]) for row in found]


def _complaints(source: Source, session: ScanSession, what: str) -> dict[str, None]:
    """Return what SQLite has against the file, or a table of it, line by line; nothing if it is sound."""
    try:
        # By the driver's own SQLite: Python's may be of a version that finds fault with tables WITHOUT ROWID (3.40).
        session.ask("PRAGMA ignore_check_constraints = on")  # these are about values, and the target has its own
        return _lines(str(row["quick_check"]) for row in session.ask(f"PRAGMA quick_check{what}"))
    except SourceUnreadable as error:
        if _MALFORMED in str(error):
            return {_MALFORMED: None}
        if _MISSING.search(str(error.__cause__)) is None:
            raise
    # The driver has no way to be given a collation or a function.
    try:
        with closing(open_file(source.path)) as connection:
            found = _with_stand_ins(connection, f"PRAGMA quick_check{what}")
    except sqlite3.Error as error:
        if _MALFORMED in str(error):
            return {_MALFORMED: None}
        raise unreadable(source.path, error) from error
    return {line: None for line in found if not line.startswith("NULL value in ")}


def _with_stand_ins(connection: sqlite3.Connection, statement: str) -> dict[str, None]:
    """Ask with something in the place of each collation and function that SQLite misses; the order doesn't matter."""
    connection.execute("PRAGMA ignore_check_constraints = on")
    while True:
        try:
            return _lines(str(line) for (line,) in connection.execute(statement))
        except sqlite3.OperationalError as error:
            missing = _MISSING.search(str(error))
            if missing is None:
                raise
            if "collation" in missing[0]:
                connection.create_collation(missing["name"], lambda one, other: (one > other) - (one < other))
            else:
                connection.create_function(missing["name"], -1, lambda *_: None, deterministic=True)


def _lines(answers: Iterable[str]) -> dict[str, None]:
    lines = [line for answer in answers for line in answer.splitlines() if not line.startswith("***")]
    return {} if lines == ["ok"] else dict.fromkeys(lines)
