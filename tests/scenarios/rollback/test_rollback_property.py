"""
Round trips of random databases: SQLite, PostgreSQL, SQLite gives the same values, storage classes and schema.

An example is a column: a type, a form in which its values are stored, constraints, and values, NULL among them. Each is
in a table of a random kind. After the migration the old file loses rows, so that they have to be written again from
PostgreSQL alone; in other rows cells are changed in the old file, so that PostgreSQL's are the newer ones.

``MIGRATOR_TEST_SEEDS=5,6`` tries other seeds than those of every run, which are 2,000 examples.
"""

import os
import random
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from fix_forms import Listed, about, forms
from fix_job import Cli
from fix_postgres import Database

pytestmark = pytest.mark.one_server

SEEDS = [int(seed) for seed in os.environ.get("MIGRATOR_TEST_SEEDS", "1,2,3,4").split(",")]
"""Each is a database of 500 examples."""

# Wide tables: what a table takes by itself is the same for one column and for a hundred.
TABLES, COLUMNS, ROWS = 4, 125, 12

# Two values are read as NULL, or digits are cut: there is no way back to the rarer form.
ONE_WAY = frozenset({"e1", "e2", "ticks"})
STRICT_TYPES = frozenset({"INT", "INTEGER", "REAL", "TEXT", "BLOB"})


@dataclass(frozen=True)
class Example:
    """One column."""

    name: str
    source: str
    """Its definition in SQLite, and in PostgreSQL."""
    target: str
    rule: str
    values: tuple[Any, ...]


@dataclass(frozen=True)
class Table:
    """A table: its columns, the definition of its key at both ends, and what follows the list of columns in SQLite."""

    name: str
    examples: tuple[Example, ...]
    key: tuple[str, str]
    constraint: tuple[str, str]
    options: str
    keys: tuple[tuple[Any, ...], ...]


KINDS: tuple[tuple[tuple[str, str], tuple[str, str], str], ...] = (
    (("id INTEGER PRIMARY KEY", "id bigint PRIMARY KEY"), ("", ""), ""),
    (("id INTEGER PRIMARY KEY AUTOINCREMENT", "id bigserial PRIMARY KEY"), ("", ""), ""),
    (("id INTEGER PRIMARY KEY", "id bigint PRIMARY KEY"), ("", ""), "STRICT"),
    (("id TEXT NOT NULL PRIMARY KEY", "id text PRIMARY KEY"), ("", ""), "WITHOUT ROWID"),
    (("id TEXT NOT NULL PRIMARY KEY", "id text PRIMARY KEY"), ("", ""), "WITHOUT ROWID, STRICT"),
    (("id INTEGER, b TEXT", "id bigint, b text"), (", PRIMARY KEY (id, b)", ", PRIMARY KEY (id, b)"), ""),
    (("id INTEGER, b TEXT", "id bigint, b text"), (", PRIMARY KEY (b, id)", ", PRIMARY KEY (b, id)"), "WITHOUT ROWID"),
    (("id INTEGER", "id bigint"), ("", ""), ""),  # no key
)


def example(some: random.Random, name: str, form: Listed, *, parents: bool) -> Example:
    """Make a column of a form with random constraints, and its values."""
    listed, declared, target, rule, value = form
    values = [value(some) for _ in range(ROWS)]
    empty = some.choice((0, 0, 0.1, 0.3))
    if some.random() < empty or empty:
        values = [None if some.random() < empty else one for one in values]
    if listed == "go":  # without such values nobody can tell if .125 is to be written as .125000
        values[:2] = "2020-01-01T10:00:00.125Z", "2020-01-02T10:00:00.5Z"
    source = declared
    if None not in values and some.random() < 0.5:
        source, target = f"{source} NOT NULL", f"{target} NOT NULL"
    if (
        len(set(map(repr, values))) == ROWS
        and declared in {"INTEGER", "TEXT", "BLOB", "BIGINT"}
        and some.random() < 0.3
    ):
        source, target = f"{source} UNIQUE", f"{target} UNIQUE"
    if declared == "TEXT" and some.random() < 0.3:
        source += f" COLLATE {some.choice(('NOCASE', 'RTRIM'))}" if "UNIQUE" not in source else ""
    if some.random() < 0.2:
        source += f" CHECK (typeof({name}) <> 'nothing')"
    if parents:
        values = [some.choice((None, key)) for key in range(ROWS)]
        return Example(name, "INTEGER REFERENCES t0 (id)", "bigint REFERENCES t0 (id)", "", tuple(values))
    return Example(name, source, target, rule.replace("NAME", name), tuple(values))


def table(some: random.Random, number: int) -> Table:
    """Make a table of a random kind; the first is one that others may refer to."""
    key, constraint, options = KINDS[0] if not number else some.choice(KINDS)
    possible = [
        form
        for form in forms()
        if form[0] not in ONE_WAY and ("STRICT" not in options or form[1].split("(")[0] in STRICT_TYPES)
    ]
    examples = tuple(
        example(some, f"c{place}", some.choice(possible), parents=bool(number) and some.random() < 0.03)
        for place in range(COLUMNS)
    )
    keys: list[tuple[Any, ...]] = [
        (f"k{i}",) if key[0].startswith("id TEXT") else (i, f"b{i % 7}") if constraint[0] else (i,) for i in range(ROWS)
    ]
    return Table(f"t{number}", examples, key, constraint, options, tuple(keys))


def created(tables: list[Table], path: Path, some: random.Random, encoding: str) -> None:
    """Write the SQLite file."""
    with closing(sqlite3.connect(path)) as connection:
        size = some.choice((1024, 4096, 16384))
        connection.executescript(
            f"PRAGMA encoding = '{encoding}'; PRAGMA page_size = {size}; PRAGMA user_version = {some.randrange(99)}; "
            f"PRAGMA auto_vacuum = {some.choice((0, 1, 2))}; PRAGMA application_id = {some.randrange(99)}"
        )
        for one in tables:
            columns = ", ".join(f"{column.name} {column.source}" for column in one.examples)
            connection.execute(f"CREATE TABLE {one.name} ({one.key[0]}, {columns}{one.constraint[0]}) {one.options}")
            for row, keys in enumerate(one.keys):
                given = (*keys, *(column.values[row] for column in one.examples))
                connection.execute(f"INSERT INTO {one.name} VALUES ({', '.join('?' * len(given))})", given)
            indexed = some.choice(one.examples).name
            connection.execute(f"CREATE INDEX i_{one.name} ON {one.name} ({indexed}) WHERE {indexed} IS NOT NULL")
            connection.execute(f"CREATE VIEW v_{one.name} AS SELECT id FROM {one.name}")
        connection.commit()


def taken_back(tables: list[Table], path: Path, some: random.Random) -> None:
    """Take rows out of the old file, add one that PostgreSQL doesn't have, and give some cells another row's value."""
    with closing(sqlite3.connect(path)) as connection:
        for one in tables:
            gone = some.sample(range(2, ROWS), ROWS // 3)
            connection.executemany(f"DELETE FROM {one.name} WHERE id = ?", [one.keys[row][:1] for row in gone])
            for column in one.examples[:5]:
                if "UNIQUE" not in column.source and "REFERENCES" not in column.source:
                    connection.execute(
                        f"UPDATE {one.name} SET {column.name} = (SELECT {column.name} FROM {one.name} "
                        f"WHERE {column.name} IS NOT NULL LIMIT 1) WHERE id = (SELECT max(id) FROM {one.name}) "
                        f"AND EXISTS (SELECT 1 FROM {one.name} WHERE {column.name} IS NOT NULL)"
                    )
        connection.commit()


def cells(path: Path, one: Table) -> Iterator[tuple[Any, ...]]:
    """Yield every value of a table with its storage class, row by row."""
    with closing(sqlite3.connect(path)) as connection:
        selected = ", ".join(f"{column.name}, typeof({column.name})" for column in one.examples)
        yield from sorted(connection.execute(f"SELECT id, typeof(id), {selected} FROM {one.name}"), key=repr)


@pytest.mark.parametrize("seed", SEEDS)
async def test_a_round_trip_changes_nothing(seed: int, database: Database, cli: Cli, tmp_path: Path) -> None:
    """Every cell of 500 columns has the value and the storage class of before, and the schema is the same."""
    some = random.Random(seed)  # noqa: S311 - no secret
    tables = [table(some, number) for number in range(TABLES)]
    whole, part, new = tmp_path / "whole.db", tmp_path / "part.db", tmp_path / "new.db"
    created(tables, whole, some, ("UTF-8", "UTF-16le", "UTF-16be")[seed % 3])
    rules = tmp_path / "rules.toml"
    rules.write_text(
        "".join(f'[columns."{one.name}.{c.name}"]\n{c.rule}\n' for one in tables for c in one.examples if c.rule)
    )
    for one in tables:
        columns = ", ".join(f"{column.name} {column.target}" for column in one.examples)
        await database.execute(f"CREATE TABLE {one.name} ({one.key[1]}, {columns}{one.constraint[1]})")
    given = ("--rules", rules)
    ended = cli("run", "--source", whole, "--schema", "existing", *given, MIGRATOR_TARGET_URL=database.url)
    assert ended.code == 0, ended.stderr
    part.write_bytes(whole.read_bytes())
    taken_back(tables, part, some)
    ended = cli("rollback", "--like", part, "--to", new, *given, MIGRATOR_TARGET_URL=database.url)
    assert ended.code == 0, ended.stderr
    names = {one.name: ["id", *(f"{c.name} {c.source} {c.target} {c.rule}" for c in one.examples)] for one in tables}
    differing = [
        (one.name, names[one.name][place // 2], before[place], after[place])
        for one in tables
        for before, after in zip(cells(whole, one), cells(new, one), strict=True)
        for place in range(len(before))
        if repr(before[place]) != repr(after[place])
    ]
    assert differing == []
    assert list(about(new)) == list(about(whole))
