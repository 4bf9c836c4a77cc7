"""
What an application may do to its SQLite file between two runs, drawn at random.

Each change is made in SQL by Python's ``sqlite3``; one that SQLite refuses, since a key is taken or a row is referred
to, is left out, so the file stays one that SQLite would hold.
"""

import sqlite3
import unicodedata
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from dataclasses import dataclass, field, replace
from itertools import count
from pathlib import Path
from random import Random
from uuid import UUID

from refresh.drawn import NUMBERED, Case, Column, Table, new_table, source_table, target_script
from situations.kinds import KINDS, Stored
from situations.staged import quoted


@dataclass(slots=True)
class Application:
    """The application that has the file open, with what it has done to it."""

    path: Path
    case: Case
    random: Random
    done: list[str] = field(default_factory=list)
    """The changes in words, in their order."""
    target: list[str] = field(default_factory=list)
    """Statements that the application's migrations would run on the target: for new tables and columns."""
    numbers: Iterator[int] = field(default_factory=lambda: count(1))
    """For values that come only once."""
    touched: set[str] = field(default_factory=set)
    """Names of the tables that may hold other rows now."""
    structural: bool = False
    """Whether a table or column has come or gone."""
    spoiling: bool = False
    """Whether it also stores what PostgreSQL may refuse."""

    @property
    def tables(self) -> tuple[Table, ...]:
        """The tables of the file."""
        return self.case.tables

    # --- To begin with ---

    def make(self) -> None:
        """Make the file with its first rows."""
        with closing(sqlite3.connect(self.path, isolation_level=None)) as connection:
            connection.execute("BEGIN")
            for table in self.tables:
                for statement in source_table(table):
                    connection.execute(statement)
            for table in self.tables:
                for _ in range(table.rows):
                    self.insert(connection, table)
            for table in self.tables:
                self._refer(connection, table)
            connection.execute("COMMIT")

    def _refer(self, connection: sqlite3.Connection, table: Table) -> None:
        if table.reference is None:
            return
        parents = connection.execute(f"SELECT id FROM {quoted(table.reference.parent)}").fetchall()
        for (row,) in connection.execute(f"SELECT {table.handle} FROM {table.quoted}").fetchall():
            if parents and self.random.random() < 0.7:
                value = self.random.choice(parents)[0]
                connection.execute(f"UPDATE {table.quoted} SET parent = ? WHERE {table.handle} = ?", (value, row))

    # --- One statement each ---

    def value(self, column: Column) -> Stored:
        """Return a value that must arrive."""
        if column.name == "parent":
            return None
        if column.nullable and self.random.random() < 0.15:
            return None
        if column.unique:
            number = next(self.numbers) * 7 + self.random.randint(0, 6)
            return {"text": f"Name {number}", "uuid": str(UUID(int=number << 64))}.get(column.kind, number)
        return KINDS[column.kind].plain(self.random)

    def key(self, table: Table) -> tuple[Stored, ...]:
        """Return a new key; in a table without one, a number that may be there already."""
        number = next(self.numbers) * 11 + self.random.randint(0, 10)
        keys: dict[str, tuple[Stored, ...]] = {
            "text": (f"k{number} é",),
            "uuid": (str(UUID(int=number << 32)),),
            "blob": (number.to_bytes(4, "little"),),
            "composite": (f"c{number % 7}", number),
            "none": (number % 20,),
        }
        return keys.get(table.key, (number,))

    def insert(self, connection: sqlite3.Connection, table: Table) -> None:
        """Insert a new row."""
        names = [*table.key_columns, *(column.name for column in table.columns)]
        values = [*self.key(table), *(self.value(column) for column in table.columns)]
        places = ", ".join("?" * len(names))
        connection.execute(f"INSERT INTO {table.quoted} ({', '.join(map(quoted, names))}) VALUES ({places})", values)
        self.touched.add(table.name)

    def rows(self, connection: sqlite3.Connection, table: Table, most: int = 1) -> list[int]:
        """Return the handles of some rows."""
        found = [row[0] for row in connection.execute(f"SELECT {table.handle} FROM {table.quoted} ORDER BY 1")]
        return self.random.sample(found, min(most, len(found)))

    # --- Changes ---

    def inserts(self, connection: sqlite3.Connection, table: Table) -> None:
        """Insert a few rows, or as many as to be more than there were."""
        for _ in range(self.random.choice([1, 1, 3, 10, 200])):
            self.insert(connection, table)
        if self.random.random() < 0.5:
            self._refer(connection, table)

    def deletes(self, connection: sqlite3.Connection, table: Table) -> None:
        """Delete a few rows, and what refers to them if the key says so."""
        for row in self.rows(connection, table, self.random.choice([1, 1, 3, 1000])):
            with suppress(sqlite3.IntegrityError):
                connection.execute(f"DELETE FROM {table.quoted} WHERE {table.handle} = ?", (row,))

    def updates(self, connection: sqlite3.Connection, table: Table) -> None:
        """Give a column of some rows other values."""
        column = self.random.choice(table.columns)
        if column.name == "parent":
            self._refer(connection, table)
            return
        for row in self.rows(connection, table, self.random.choice([1, 1, 3, 1000])):
            statement = f"UPDATE {table.quoted} SET {quoted(column.name)} = ? WHERE {table.handle} = ?"
            with suppress(sqlite3.IntegrityError):
                connection.execute(statement, (self.value(column), row))

    def rekeys(self, connection: sqlite3.Connection, table: Table) -> None:
        """Give rows other keys."""
        for row in self.rows(connection, table, self.random.choice([1, 2, 10])):
            listed = ", ".join(f"{name} = ?" for name in table.key_columns)
            with suppress(sqlite3.IntegrityError):
                statement = f"UPDATE {table.quoted} SET {listed} WHERE {table.handle} = ?"
                connection.execute(statement, (*self.key(table), row))

    def swaps(self, connection: sqlite3.Connection, table: Table) -> None:
        """Swap a unique value, or the key, of two rows."""
        names = [column.name for column in table.columns if column.unique]
        if table.key not in {"composite", "none"}:
            names.append("id")
        if not names:
            return
        name, pair = quoted(self.random.choice(names)), self.rows(connection, table, 2)
        if len(pair) < 2:
            return
        handle = table.handle
        one, other = (
            connection.execute(f"SELECT {name} FROM {table.quoted} WHERE {handle} = ?", (row,)).fetchone()[0]
            for row in pair
        )
        if name == '"id"' and handle in {"id", "rowid"} and table.key in NUMBERED:
            free = -next(self.numbers)
            for new, old in ((free, one), (one, other), (other, free)):
                connection.execute(f"UPDATE {table.quoted} SET id = ? WHERE id = ?", (new, old))
            return
        first, second = pair
        number = 10**9 + next(self.numbers)
        spare: Stored = b"spare" if isinstance(one, bytes) else f"spare {number}" if isinstance(one, str) else number
        for value, row in ((spare, first), (one, second), (other, first)):
            connection.execute(f"UPDATE {table.quoted} SET {name} = ? WHERE {handle} = ?", (value, row))

    def shifts(self, connection: sqlite3.Connection, table: Table) -> None:
        """Give every row the key of another: each is taken until its own row has moved on."""
        if table.key in NUMBERED:
            connection.execute(f"UPDATE {table.quoted} SET id = -id - 1")
            connection.execute(f"UPDATE {table.quoted} SET id = -id")

    def moves(self, connection: sqlite3.Connection, table: Table) -> None:
        """Move rows to a table that has the same columns."""
        others = [
            one for one in self.tables if one is not table and (one.key, one.columns) == (table.key, table.columns)
        ]
        if not others:
            return
        other = self.random.choice(others)
        listed = ", ".join(map(quoted, [*table.key_columns, *(column.name for column in table.columns)]))
        for row in self.rows(connection, table, self.random.choice([1, 5])):
            with suppress(sqlite3.IntegrityError):
                chosen = f"FROM {table.quoted} WHERE {table.handle} = ?"
                connection.execute(f"INSERT INTO {other.quoted} ({listed}) SELECT {listed} {chosen}", (row,))
                connection.execute(f"DELETE {chosen}", (row,))
        self.touched.add(other.name)

    def copies(self, connection: sqlite3.Connection, table: Table) -> None:
        """Have a row of a table without a key once more, or once less."""
        if table.key != "none":
            return
        listed = ", ".join(map(quoted, ["id", *(column.name for column in table.columns if not column.unique)]))
        for row in self.rows(connection, table, 2):
            chosen = f"FROM {table.quoted} WHERE rowid = ?"
            with suppress(sqlite3.IntegrityError):
                for _ in range(self.random.randint(1, 3)):
                    connection.execute(f"INSERT INTO {table.quoted} ({listed}) SELECT {listed} {chosen}", (row,))
            if self.random.random() < 0.3:
                connection.execute(f"DELETE {chosen}", (row,))

    def advances(self, connection: sqlite3.Connection, table: Table) -> None:
        """Let AUTOINCREMENT give a key whose row is gone at once."""
        if table.key == "autoincrement":
            self.insert(connection, table)
            connection.execute(f"DELETE FROM {table.quoted} WHERE id = (SELECT max(id) FROM {table.quoted})")

    def respells(self, connection: sqlite3.Connection, table: Table) -> None:
        """Write the same values in other words, as an application that serialises them anew does."""
        for column in table.columns:
            if column.kind not in _RESPELLED or column.unique:
                continue
            for row in self.rows(connection, table, 3):
                name = quoted(column.name)
                chosen = f"FROM {table.quoted} WHERE {table.handle} = ?"
                (value,) = connection.execute(f"SELECT {name} {chosen}", (row,)).fetchone()
                if isinstance(value, str):
                    statement = f"UPDATE {table.quoted} SET {name} = ? WHERE {table.handle} = ?"
                    connection.execute(statement, (_RESPELLED[column.kind](value), row))

    def spoils(self, connection: sqlite3.Connection, table: Table) -> None:
        """Store a value that PostgreSQL may refuse."""
        column = self.random.choice(table.columns)
        if column.name != "parent" and not column.unique:
            for row in self.rows(connection, table):
                value = self.random.choice(KINDS[column.kind].odd)
                statement = f"UPDATE {table.quoted} SET {quoted(column.name)} = ? WHERE {table.handle} = ?"
                connection.execute(statement, (value, row))

    def orphans(self, connection: sqlite3.Connection, table: Table) -> None:
        """Let a row refer to nothing."""
        if table.reference:
            for row in self.rows(connection, table):
                statement = f"UPDATE {table.quoted} SET parent = ? WHERE {table.handle} = ?"
                connection.execute(statement, (10**8 + next(self.numbers), row))

    def empties(self, connection: sqlite3.Connection, table: Table) -> None:
        """Delete every row."""
        connection.execute(f"DELETE FROM {table.quoted}")

    def turns(self, connection: sqlite3.Connection, table: Table) -> None:
        """Let rows in and out of what a rule carries."""
        if "where" in table.features:
            for row in self.rows(connection, table, 3):
                connection.execute(f"UPDATE {table.quoted} SET kept = 1 - kept WHERE {table.handle} = ?", (row,))

    def rewrites(self, connection: sqlite3.Connection, table: Table) -> None:
        """Write the table anew, its rows in another order, as SQLite's way to change a table is."""
        for statement in source_table(table, "rewritten")[:1]:
            connection.execute(statement)
        listed = ", ".join(map(quoted, [*table.key_columns, *(column.name for column in table.columns)]))
        connection.execute(f"INSERT INTO rewritten ({listed}) SELECT {listed} FROM {table.quoted} ORDER BY random()")
        connection.execute(f"DROP TABLE {table.quoted}")
        connection.execute(f"ALTER TABLE rewritten RENAME TO {table.quoted}")
        for statement in source_table(table)[1:]:
            connection.execute(statement)

    def adds_table(self, connection: sqlite3.Connection, table: Table) -> None:
        """Let the application's next version have one more table."""
        name = f"new of {len(self.tables)}"
        added = new_table(self.random, name, self.tables)
        if "where" in added.features:
            added = replace(added, features=added.features - {"where"})
        if self.structural or added.reference:
            return
        for statement in source_table(added):
            connection.execute(statement)
        for _ in range(added.rows):
            self.insert(connection, added)
        self.target.append(target_script((added,), self.tables))
        self.case = replace(self.case, tables=(*self.tables, added))
        self.structural = True
        del table

    def adds_column(self, connection: sqlite3.Connection, table: Table) -> None:
        """Let the application's next version have one more column, with values in some rows."""
        if self.structural or table.name not in {one.name for one in self.tables}:
            return
        connection.execute(f"ALTER TABLE {table.quoted} ADD COLUMN added BIGINT")
        for row in self.rows(connection, table, self.random.choice([0, 3])):
            connection.execute(f"UPDATE {table.quoted} SET added = 7 WHERE {table.handle} = ?", (row,))
        self.target.append(f"ALTER TABLE {table.there} ADD COLUMN added bigint")
        others = [
            one if one.name != table.name else replace(one, columns=(*one.columns, Column("added", "bigint")))
            for one in self.tables
        ]
        self.case = replace(self.case, tables=tuple(others))
        self.structural = True

    # --- Several ---

    def works(self, changes: int) -> None:
        """Make so many changes, all in one transaction but for what SQLite does outside of one."""
        self.touched.clear()
        connection = sqlite3.connect(self.path, isolation_level=None)
        with closing(connection):
            for _ in range(changes):
                self._change(connection)
            if self.random.random() < 0.25:
                self.done.append("VACUUM")
                connection.execute("VACUUM")

    def _change(self, connection: sqlite3.Connection) -> None:
        kind = self.random.choice(_CHANGES if self.spoiling else _SOUND)
        table = self.random.choice(self.tables)
        guarded = kind not in _UNGUARDED or (kind is Application.empties and not self.spoiling)
        connection.execute(f"PRAGMA foreign_keys = {'ON' if guarded else 'OFF'}")
        connection.execute("BEGIN")
        try:
            kind(self, connection, table)
            connection.execute("COMMIT")
        except sqlite3.IntegrityError as error:
            if connection.in_transaction:
                connection.execute("ROLLBACK")
            self.done.append(f"({kind.__name__} {table.name!r}: {error})")
            return
        self.touched.add(table.name)
        self.done.append(f"{kind.__name__} {table.name!r}")


def _normalised(text: str) -> str:
    decomposed = unicodedata.normalize("NFD", text)
    return decomposed if decomposed != text else unicodedata.normalize("NFC", text)


_RESPELLED: dict[str, Callable[[str], str]] = {
    "json": lambda text: f" {text}",
    "jsonb": lambda text: f" {text}",
    "uuid": str.upper,
    "timestamp": lambda text: text + ("0" if "." in text and len(text) < 26 else ""),
    "integers": lambda text: text.replace(",", ", "),
    "inet": lambda text: text if "/" in text else f"{text}/32",
    "text": _normalised,
}
Change = Callable[[Application, sqlite3.Connection, Table], None]
_CHANGES: tuple[Change, ...] = (
    *(Application.inserts,) * 4,
    *(Application.deletes,) * 4,
    *(Application.updates,) * 5,
    *(Application.rekeys,) * 2,
    *(Application.swaps,) * 3,
    Application.shifts,
    *(Application.moves,) * 3,
    *(Application.copies,) * 2,
    *(Application.advances,) * 2,
    *(Application.respells,) * 2,
    Application.spoils,
    Application.orphans,
    Application.empties,
    *(Application.turns,) * 2,
    *(Application.rewrites,) * 2,
    Application.adds_table,
    Application.adds_column,
)
_SOUND = tuple(kind for kind in _CHANGES if kind not in {Application.spoils, Application.orphans})
_UNGUARDED = (Application.orphans, Application.rewrites, Application.empties)
"""What is done without SQLite's own watch over foreign keys, which it has only if the application asks for it."""
