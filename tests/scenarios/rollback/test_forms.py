"""
Every form in which applications store values in SQLite is learnt, and given back: value and storage class.

A file with rows in one form a column is moved. The old file then loses half of its rows, and the rollback has to write
them again from PostgreSQL alone: in the form of the other half.
"""

import random
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from fix_forms import Listed, forms
from fix_job import Cli
from fix_postgres import Database

pytestmark = pytest.mark.one_server

ROWS = 60


async def test_every_form_is_learnt(database: Database, cli: Cli, tmp_path: Path) -> None:
    """The rows that were taken out of the old file come back as they were, cell by cell, NULL among them."""
    chance = random.Random(7)  # noqa: S311 - no secret
    listed: list[Listed] = [
        (f"c{number}_{name}", declared, target, rule, form)
        for number, (name, declared, target, rule, form) in enumerate(forms())
    ]
    rules = tmp_path / "rules.toml"
    rules.write_text(
        "".join(f'[columns."t.{name}"]\n{rule.replace("NAME", name)}\n' for name, _, _, rule, _ in listed if rule)
    )
    whole, half, new = tmp_path / "whole.db", tmp_path / "half.db", tmp_path / "new.db"
    with closing(sqlite3.connect(whole)) as connection:
        columns = ", ".join(f"{name} {declared}" for name, declared, *_ in listed)
        connection.execute(f"CREATE TABLE t (id INTEGER PRIMARY KEY, {columns})")
        for key in range(ROWS):
            row = [None if chance.random() < 0.1 else form(chance) for *_, form in listed]
            connection.execute(f"INSERT INTO t VALUES (?{', ?' * len(row)})", [key, *row])
        connection.commit()
    types = ", ".join(f"{name} {target}" for name, _, target, *_ in listed)
    await database.execute(f"CREATE TABLE t (id bigint PRIMARY KEY, {types})")
    ended = cli("run", "--source", whole, "--schema", "existing", "--rules", rules, MIGRATOR_TARGET_URL=database.url)
    assert ended.code == 0, ended.stderr
    half.write_bytes(whole.read_bytes())
    with closing(sqlite3.connect(half)) as connection:
        connection.execute("DELETE FROM t WHERE id % 2")
        connection.commit()
    ended = cli("rollback", "--like", half, "--to", new, "--rules", rules, MIGRATOR_TARGET_URL=database.url)
    assert ended.code == 0, ended.stderr
    assert "the rule truncate = true of the way out has no way back" in ended.stdout
    # A rule that reads two values as NULL has no way back to the rarer one: NULL itself was among the values.
    ambiguous = [name for name, _, _, rule, _ in listed if "null" in rule]
    differing = {
        name: (before, after)
        for row, now in zip(rows(whole), rows(new), strict=True)
        for name, before, after in ((name, row[name], now[name]) for name in row)
        if repr(before) != repr(after) and not (name in ambiguous and {before, after} <= {None, "N/A", ""})
    }
    assert differing == {}


def rows(path: Path) -> list[dict[str, Any]]:
    """Return the rows of the table by column."""
    with closing(sqlite3.connect(path)) as connection:
        connection.row_factory = sqlite3.Row
        return [dict(row) for row in connection.execute("SELECT * FROM t ORDER BY id")]


async def test_the_newest_form_is_taken_and_told(database: Database, cli: Cli, tmp_path: Path) -> None:
    """Where old values have two forms, new ones get that of the newest rows, and the report says how many have it."""
    old, new = tmp_path / "old.db", tmp_path / "new.db"
    with closing(sqlite3.connect(old)) as connection:
        connection.execute("CREATE TABLE t (id INTEGER PRIMARY KEY, at TIMESTAMP)")
        values = [(key, "2024-01-01 10:00:00" if key < 300 else "2024-01-01T10:00:00Z") for key in range(500)]
        connection.executemany("INSERT INTO t VALUES (?, ?)", values)
        connection.commit()
    await database.execute("CREATE TABLE t (id bigint PRIMARY KEY, at timestamptz)")
    ended = cli("run", "--source", old, "--schema", "existing", MIGRATOR_TARGET_URL=database.url)
    assert ended.code == 0, ended.stderr
    await database.execute("INSERT INTO t VALUES (1000, '2025-01-01 00:00:00.25+00')")
    ended = cli("rollback", "--like", old, "--to", new, MIGRATOR_TARGET_URL=database.url)
    assert ended.code == 0, ended.stderr
    assert rows(new)[-1] == {"id": 1000, "at": "2025-01-01T00:00:00.250000Z"}
    assert "as 200 of the newest 500 old values" in ended.stdout
    assert rows(new)[:-1] == rows(old)
