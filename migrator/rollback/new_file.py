"""
Writes the new SQLite file: a copy of the old one, in which the changed rows are replaced.

So what nobody has changed is identical by construction: schema, pragmas, indexes, and every value with its storage
class. The file has its name only when everything about it is proved; a run that was killed leaves a file whose name
ends in ``.unfinished``, and the next run begins anew.
"""

import fcntl
import os
import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import Final

from msgspec import Struct

from migrator.errors import ConfigurationError, GaveUp, SourceUnreadable, TargetRefused
from migrator.names import quote_literal, quote_sqlite
from migrator.rollback.changes import StagedTable
from migrator.rollback.learning import rendered
from migrator.rollback.scratch import attachments, bytes_of_values
from migrator.rollback.text_indexes import bring_text_indexes, virtual_tables, written_by
from migrator.runtime.file_room import is_without_room, lacks_room, no_room, refuse_without_room, telling_no_room
from migrator.runtime.private_file import check_writable, sync_folder
from migrator.source.chunks import identity_of
from migrator.source.file import check_file, open_file, unreadable, uri_of

_UNFINISHED: Final = ".unfinished"

_PAGES_AT_ONCE: Final = 4_096

_CACHE_KIB: Final = 32 << 10
"""Pages in memory while rows are brought: their tables and indexes are written in no order."""


def check_new(old: Path, new: Path) -> None:
    """
    Check, before anything else is done, that the ``old`` file is there and the ``new`` one may be written.

    Raises SourceUnreadable; ConfigurationError if ``new`` exists, or if there is no right or no room to write it.
    """
    check_file(old)
    _refuse(old, new)
    check_writable(new)


@contextmanager
def unfinished(old: Path, new: Path) -> Iterator[Path]:
    """
    Yield the path of a copy of the ``old`` file, and give it the name ``new`` at the end of the block.

    After an error in the block there is no new file. Raises ConfigurationError if ``new`` exists, or if there is no
    right or no room to write it; GaveUp if another rollback is writing it; SourceUnreadable.
    """
    path = new.with_name(new.name + _UNFINISHED)
    _refuse(old, new)
    try:
        lock = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise _unwritable(new, error) from error
    try:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise GaveUp(
                f"another rollback writes {str(new)!r}", next_step="Wait for its end, or name another file with --to."
            ) from error
        try:
            os.ftruncate(lock, 0)
            _copy(old, path)
            yield path
            os.fsync(lock)
            _publish(path, new)
        finally:
            for suffix in ("", "-journal", "-wal", "-shm"):
                with suppress(FileNotFoundError):
                    path.with_name(path.name + suffix).unlink()
    finally:
        os.close(lock)


def _refuse(old: Path, new: Path) -> None:
    # SQLite would take a log or a journal that another database has left for this one's.
    for path in (new, *(new.with_name(new.name + suffix) for suffix in ("-wal", "-journal"))):
        if path.is_symlink() or path.exists():
            raise ConfigurationError(
                f"{str(path)!r} exists already, and is not overwritten",
                next_step="Name another file with --to, or rename that one.",
            )
    try:
        refuse_without_room(new, _bytes_of(old))
    except OSError as error:
        raise _unwritable(new, error) from error


def _bytes_of(old: Path) -> int:
    """Return the size of a copy of a database: what is in its write-ahead log comes into the file. Raises OSError."""
    with suppress(sqlite3.Error), closing(open_file(old)) as connection:
        [(size,)] = connection.execute("SELECT page_count * page_size FROM pragma_page_count, pragma_page_size")
        return int(size)
    return old.stat().st_size


def _unwritable(new: Path, error: OSError) -> ConfigurationError:
    if is_without_room(error):
        return no_room(new.with_name(new.name + _UNFINISHED), new, 0)
    return ConfigurationError(
        f"{str(new)!r} can't be written: {error.strerror or error}",
        next_step="Name a file in a folder that exists and that the user of the job may write to, with --to.",
    )


def _copy(old: Path, path: Path) -> None:
    """Copy a database with SQLite's backup, which sees one moment, and the write-ahead log too."""
    try:
        with (
            telling_no_room(path, _new_of(path), _bytes_of(old)),
            closing(open_file(old)) as original,
            closing(sqlite3.connect(path)) as copy,
        ):
            original.backup(copy, pages=_PAGES_AT_ONCE)
    except sqlite3.Error as error:
        raise unreadable(old, error) from error


def _new_of(path: Path) -> Path:
    """Return the name that an unfinished file gets."""
    return path.with_name(path.name.removesuffix(_UNFINISHED))


def _publish(path: Path, new: Path) -> None:
    try:
        os.link(path, new)  # a link never replaces a file, as a rename would
    except FileExistsError as error:
        raise ConfigurationError(
            f"{str(new)!r} has come into being meanwhile, and is not overwritten",
            next_step="Name another file with --to, or rename that one.",
        ) from error
    except OSError:  # a file system without links
        path.rename(new)
    sync_folder(new.parent)


class Beside(Struct, frozen=True):
    """What the new file gets beside rows."""

    marks: Mapping[str, int]
    """The highest keys that PostgreSQL's sequences have given, by the source's table."""
    over: Mapping[str, str]
    """The table that a full-text index with its own text indexes, by the index's name."""


def apply(path: Path, old: Path, scratch: Path, tables: Sequence[StagedTable], beside: Beside) -> tuple[str, ...]:
    """
    Bring the changed rows into the unfinished file at ``path``, and return notes about its full-text indexes.

    ``scratch`` is the folder with the staged rows. Raises TargetRefused if the file's schema refuses a row, and
    ConfigurationError if there is no room for the file.
    """
    needed = _bytes_of(path) + bytes_of_values(scratch)
    with (
        telling_no_room(path, _new_of(path), needed),
        closing(sqlite3.connect(path, isolation_level=None)) as connection,
    ):
        mode = connection.execute("PRAGMA journal_mode").fetchone()[0]
        # A file that isn't finished is thrown away: it needs no journal, which would hold every page that changes.
        for setting in (
            "journal_mode = OFF",
            f"cache_size = -{_CACHE_KIB}",
            "synchronous = OFF",
            "foreign_keys = OFF",
            "recursive_triggers = OFF",
        ):
            connection.execute(f"PRAGMA {setting}")
        connection.execute(f"ATTACH {quote_literal(uri_of(old))} AS old")
        for attachment in attachments(scratch):
            connection.execute(attachment)
        connection.execute("BEGIN IMMEDIATE")
        with _without_triggers(connection) as fed:
            for table in tables:
                _bring(connection, table)
        _advance(connection, beside.marks)
        notes = bring_text_indexes(connection, beside.over, fed)
        connection.execute("COMMIT")
        connection.execute("DETACH old")
        connection.execute("DETACH rows")
        connection.execute("DETACH cells")
        if mode == "wal":
            connection.execute("PRAGMA journal_mode = WAL")
    return notes


def _bring(connection: sqlite3.Connection, table: StagedTable) -> None:
    name = quote_sqlite(table.plan.source.name)
    identity = identity_of(table.plan.source)
    scratch = table.scratch
    gone = " UNION ALL ".join(f"SELECT identity FROM {scratch.name(kind)}" for kind in ("deleted", "changed"))
    planned = {column.source.name: place for place, column in enumerate(table.plan.compared)}
    columns = [column for column in table.plan.source.columns if not column.generated and not column.missing]

    def value(name: str, *, of_changed: bool) -> str:
        if name not in planned:
            return f"o.{quote_sqlite(name)}"
        place = planned[name]
        names, form = table.names(place), table.forms[place]
        first = f"t.{names[min(names)]}"
        fresh = f"CASE WHEN {first} IS NULL THEN {form.null} ELSE {rendered(form.rendering.sql, names, 't')} END"
        return f"CASE WHEN {table.same(place)} THEN o.{quote_sqlite(name)} ELSE {fresh} END" if of_changed else fresh

    hidden = table.plan.source.rowid if table.plan.source.rowid_alias is None else None
    row, its_own = ([hidden], ["p.identity"]) if hidden else ([], [])
    all_names = [column.name for column in columns]
    new_names = [name for name in all_names if name in planned]
    changed = ", ".join([*its_own, *(value(name, of_changed=True) for name in all_names)])
    added = ", ".join(value(name, of_changed=False) for name in new_names)
    brought = ", ".join([*row, *map(quote_sqlite, all_names)])
    old_rows = f"old.{name} o ON {identity_of(table.plan.source, 'o')} = p.identity"
    here, there = (scratch.name(kind) for kind in ("here", "there"))
    deletion = f"DELETE FROM main.{name} WHERE {identity} IN ({gone})"
    # In the order of the list, which is the order of the table: then each page is written once.
    update = (
        f"INSERT INTO main.{name} ({brought}) SELECT {changed} FROM {scratch.name('changed')} p "
        f"CROSS JOIN {here} s USING (identity) CROSS JOIN {there} t USING (place) CROSS JOIN {old_rows}"
    )
    insertion = (
        f"INSERT INTO main.{name} ({', '.join(map(quote_sqlite, new_names))}) SELECT {added} "
        f"FROM {scratch.name('added')} p CROSS JOIN {there} t USING (place)"
    )
    _refuse_taken_keys(connection, table, {column: value(column, of_changed=False) for column in new_names})
    for statement in (deletion, update, insertion):
        try:
            connection.execute(statement)
        except sqlite3.Error as error:
            if lacks_room(error):
                raise
            raise TargetRefused(
                f"table {table.plan.source.name!r}: the old file's schema refuses a row of PostgreSQL's: {error}",
                next_step="Correct the row in PostgreSQL; or give as --like a copy of the old file that takes it.",
                table=table.plan.source.name,
            ) from error


_NAMED: Final = 10
"""Rows whose keys a message lists."""


def _refuse_taken_keys(connection: sqlite3.Connection, table: StagedTable, new: Mapping[str, str]) -> None:
    """
    Raise TargetRefused if new rows have keys that rows have which were left behind on the way out.

    ``new`` has the SQL of a new row's values by column. The old file keeps such rows, and either they or PostgreSQL's
    would be lost.
    """
    source = table.plan.source
    if not source.condition or not source.key or not table.added:
        return
    same = " AND ".join(f"o.{column.quoted} = {new[column.name]}" for column in source.key if column.name in new)
    keys = " || ', ' || ".join(f"quote(o.{column.quoted})" for column in source.key)
    rows = connection.execute(
        f"SELECT {keys} FROM {table.scratch.name('added')} p CROSS JOIN {table.scratch.name('there')} t USING (place) "
        f"CROSS JOIN old.{quote_sqlite(source.name)} o ON {same} LIMIT {_NAMED}"
    ).fetchall()
    if rows:
        columns = ", ".join(column.name for column in source.key)
        raise TargetRefused(
            f"table {source.name!r}: rows of the old file that were left behind on the way out (where, orphans) have "
            f"keys that new rows of PostgreSQL's have, too: {columns} = {'; '.join(row for (row,) in rows)}",
            next_step=without_selection(source.name),
            table=source.name,
        )


def without_selection(*tables: str) -> str:
    """Return the next step for tables whose left behind rows can't be beside PostgreSQL's."""
    return (
        f"Take the rules where and orphans of {', '.join(tables)} out of the rules file for the rollback. The new file "
        "has only PostgreSQL's rows of these tables then; the old file still has those that were left behind."
    )


@contextmanager
def _without_triggers(connection: sqlite3.Connection) -> Iterator[set[str]]:
    """
    Drop the triggers while the block brings rows, and create them again: what they wrote is among PostgreSQL's rows.

    Triggers that write only to virtual tables stay: they keep a full-text index, which isn't among the rows. Yield the
    names, in small letters, of the tables that these write to.
    """
    virtual = {table.name.casefold() for table in virtual_tables(connection)}
    written = [
        (str(name), str(sql), written_by(str(sql)))
        for name, sql in connection.execute("SELECT name, sql FROM sqlite_schema WHERE type = 'trigger' ORDER BY rowid")
    ]
    triggers = [(name, sql) for name, sql, tables in written if not tables or not tables <= virtual]
    for name, _ in triggers:
        connection.execute(f"DROP TRIGGER {quote_sqlite(name)}")
    yield {table for _, _, tables in written if tables <= virtual for table in tables}
    for _, sql in triggers:
        connection.execute(sql)


def _advance(connection: sqlite3.Connection, marks: Mapping[str, int]) -> None:
    """Move the marks of AUTOINCREMENT on to those of PostgreSQL's sequences (SQLite, "SQLite Autoincrement")."""
    if not connection.execute("SELECT count(*) FROM sqlite_schema WHERE name = 'sqlite_sequence'").fetchone()[0]:
        return
    counted = {
        str(name)
        for (name,) in connection.execute(
            "SELECT name FROM sqlite_schema WHERE type = 'table' AND instr(upper(sql), 'AUTOINCREMENT') "
            "AND name NOT IN (SELECT name FROM sqlite_sequence)"
        )
    }
    for table, mark in marks.items():
        if mark and table in counted:  # a table that has never had a row has no mark
            connection.execute("INSERT INTO sqlite_sequence (name, seq) VALUES (?, ?)", (table, mark))
        connection.execute("UPDATE sqlite_sequence SET seq = ? WHERE name = ? AND seq < ?", (mark, table, mark))


def check(path: Path) -> None:
    """Raise SourceUnreadable if SQLite finds the new file damaged, or a foreign key broken."""
    with closing(open_file(path)) as connection:
        connection.execute("PRAGMA ignore_check_constraints = on")
        damage = [line for (line,) in connection.execute("PRAGMA integrity_check(10)") if line != "ok"]
        if damage:
            raise SourceUnreadable(
                f"the new file is damaged: {'; '.join(damage)}",
                next_step="Check the old file with `sqlite3 FILE 'PRAGMA integrity_check'`, and the disk.",
            )


def broken_keys(path: Path) -> dict[str, int]:
    """Return the number of rows of each table whose foreign keys refer to nothing."""
    with closing(open_file(path)) as connection:
        rows = connection.execute('SELECT "table", count(*) FROM pragma_foreign_key_check GROUP BY 1 ORDER BY 1')
        return {str(table): int(count) for table, count in rows}
