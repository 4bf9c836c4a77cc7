"""Tables and columns without a match: what the message prints is done literally, and the next run carries all rows."""

import re
import shlex
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest
from fix_postgres import Database
from fix_sqlite import MakeSqlite, Rows
from fix_values import MakeMove

from migrator.errors import TargetRefused

pytestmark = pytest.mark.one_server


Refused = Callable[..., Awaitable[str]]


@pytest.fixture
def refused(move: MakeMove, database: Database, make_sqlite: MakeSqlite) -> Refused:
    """Give a function that makes both ends, lets ``check`` refuse them, and returns its next step."""

    async def run(source: str, target: str, rows: Rows, **flags: object) -> str:
        make_sqlite(source, rows)
        await database.execute(target)
        with pytest.raises(TargetRefused) as raised:
            await move(**flags).check()
        return raised.value.next_step

    return run


def excluded(step: str) -> tuple[str, ...]:
    """Return the patterns of the flag in a next step, as the shell and the setting would read it."""
    [flag] = re.findall(r"--exclude (?:'[^']*'|\S+)", step)
    return tuple(shlex.split(flag)[1].split(","))


def renaming(step: str, path: Path) -> str:
    """Write the rules that a next step names into a file, and return its path."""
    sections = re.findall(r'(\[(?:tables|columns)\."[^"]+"\]) with (rename = "[^"]+")', step)
    path.write_text("\n".join(f"{section}\n{line}\n" for section, line in sections), encoding="utf-8")
    return str(path)


async def test_a_column_that_only_has_to_be_left_out(refused: Refused, move: MakeMove, database: Database) -> None:
    """The flag is there to be pasted, and upgrading is the other way, not the only one."""
    step = await refused(
        'CREATE TABLE t (id INTEGER PRIMARY KEY, "old, one" TEXT); CREATE TABLE gone (x)',
        "CREATE TABLE t (id int PRIMARY KEY)",
        {"t": [(1, "x")], "gone": [(1,)]},
    )
    assert step.startswith("Add --exclude ")
    assert step.endswith("Or, if it needs them, upgrade the target's schema with its own migrations.")
    await move(exclude=excluded(step)).run()
    assert await database.fetch("SELECT id FROM t") == [(1,)]


async def test_names_that_have_changed(refused: Refused, move: MakeMove, database: Database, tmp_path: Path) -> None:
    """The rule names the column, and the table, that nothing else fills."""
    step = await refused(
        "CREATE TABLE t (id INTEGER PRIMARY KEY, create_at TEXT); CREATE TABLE user (id INTEGER PRIMARY KEY)",
        "CREATE TABLE t (id int PRIMARY KEY, created_at text NOT NULL); CREATE TABLE users (id int PRIMARY KEY)",
        {"t": [(1, "x")], "user": [(7,)]},
    )
    rules = renaming(step, tmp_path / "migrator.toml")
    await move(rules=rules).run()
    assert await database.fetch("SELECT * FROM t") == [(1, "x")]
    assert await database.fetch("SELECT * FROM users") == [(7,)]


async def test_a_table_that_is_excluded_is_not_meant(refused: Refused) -> None:
    """The target's table of that name has a match of its own, so no other table of the source is it."""
    step = await refused(
        "CREATE TABLE search (id INTEGER PRIMARY KEY, a TEXT); CREATE TABLE searches (id INTEGER PRIMARY KEY);"
        "CREATE TABLE t (id INTEGER PRIMARY KEY, a TEXT, aa TEXT)",
        "CREATE TABLE search (id int PRIMARY KEY); CREATE TABLE t (id int PRIMARY KEY, a text)",
        {},
        exclude=("search", "t.a"),
    )
    assert step.startswith("Add --exclude searches,t.aa to leave behind")


async def test_a_rule_with_a_wrong_name(refused: Refused, move: MakeMove, tmp_path: Path) -> None:
    """The name that the rule gives is looked for, and the nearest one is proposed."""
    rules = tmp_path / "migrator.toml"
    rules.write_text('[tables.old]\nrename = "usres"\n', encoding="utf-8")
    step = await refused(
        "CREATE TABLE old (id INTEGER PRIMARY KEY); CREATE TABLE t (id INTEGER PRIMARY KEY)",
        "CREATE TABLE users (id int PRIMARY KEY); CREATE TABLE t (id int PRIMARY KEY)",
        {"old": [(1,)]},
        rules=str(rules),
    )
    assert '[tables."old"] with rename = "users"' in step
    await move(rules=renaming(step, rules)).run()


TYPES = (
    "text",
    "int",
    "numeric(9,2)",
    "float4",
    "bool",
    "date",
    "time",
    "timestamptz",
    "jsonb",
    "uuid",
    "interval",
    "bytea",
    "int[]",
    "hue",
    "varchar(3)",
    "char(2)",
    "citizen",
    "tsvector",
    "inet",
)


async def test_columns_that_the_source_lacks(refused: Refused, move: MakeMove, database: Database) -> None:
    """The statements give each a default that its type accepts; where it has none, the message leaves it open."""
    columns = ", ".join(f'"c {number}" {kind} NOT NULL' for number, kind in enumerate(TYPES))
    step = await refused(
        "CREATE TABLE t (id INTEGER PRIMARY KEY)",
        "CREATE TYPE hue AS ENUM ('red'); CREATE DOMAIN citizen AS text CHECK (length(VALUE) < 5); "
        f"CREATE TABLE t (id int PRIMARY KEY, {columns})",
        {"t": [(1,)]},
    )
    statements = re.findall(r"ALTER TABLE .+?(?=; ALTER|\.$)", step)
    assert len(statements) == len(TYPES)
    for statement in statements:
        await database.execute(statement.replace("…", "'10.0.0.1'"))
    await move().run()
    assert len(await database.fetch("SELECT * FROM t")) == 1


async def test_a_column_that_was_left_out_too_much(refused: Refused, move: MakeMove, database: Database) -> None:
    """The advice is to take the exclusion back, and not to upgrade anything."""
    step = await refused(
        "CREATE TABLE t (id INTEGER PRIMARY KEY, name TEXT)",
        "CREATE TABLE t (id int PRIMARY KEY, name text NOT NULL)",
        {"t": [(1, "x")]},
        exclude=("t.name",),
    )
    assert step == "Take t.name out of MIGRATOR_EXCLUDE (--exclude) and out of the rules."
    await move().run()
    assert await database.fetch("SELECT * FROM t") == [(1, "x")]


async def test_both_at_once(refused: Refused, move: MakeMove, database: Database) -> None:
    """One run says all of it: the second doesn't find something new."""
    step = await refused(
        "CREATE TABLE t (id INTEGER PRIMARY KEY, obsolete TEXT)",
        "CREATE TABLE t (id int PRIMARY KEY, since date NOT NULL)",
        {"t": [(1, "x")]},
    )
    [statement] = re.findall(r"ALTER TABLE .+?(?=; ALTER|\.$)", step)
    await database.execute(statement)
    await move(exclude=excluded(step)).run()


async def test_a_schema_without_any_of_the_tables(refused: Refused) -> None:
    """To leave everything out would be no advice."""
    step = await refused("CREATE TABLE t (id INTEGER PRIMARY KEY)", "CREATE TABLE other (id int)", {"t": [(1,)]})
    assert step.startswith("Make the tables with the application's own migrations (--schema alembic")
    assert "--exclude" not in step


async def test_two_tables_that_meet(refused: Refused, move: MakeMove, tmp_path: Path) -> None:
    """Either flag is enough."""
    rules = tmp_path / "migrator.toml"
    rules.write_text('[tables.old]\nrename = "t"\n', encoding="utf-8")
    step = await refused(
        "CREATE TABLE t (id INTEGER PRIMARY KEY); CREATE TABLE old (id INTEGER PRIMARY KEY)",
        "CREATE TABLE t (id int PRIMARY KEY)",
        {"t": [(1,)]},
        rules=str(rules),
    )
    flags = re.findall(r"--exclude (\w+)", step)
    assert sorted(flags) == ["old", "t"]
    for flag in flags:
        await move(rules=str(rules), exclude=(flag,)).check()


async def test_columns_that_meet(refused: Refused, move: MakeMove, tmp_path: Path) -> None:
    """Any but one."""
    rules = tmp_path / "migrator.toml"
    rules.write_text('[columns."t.a"]\nrename = "b"\n', encoding="utf-8")
    step = await refused(
        "CREATE TABLE t (id INTEGER PRIMARY KEY, a TEXT, b TEXT)",
        "CREATE TABLE t (id int PRIMARY KEY, b text)",
        {"t": [(1, "x", "y")]},
        rules=str(rules),
    )
    for flag in re.findall(r"--exclude ([\w.]+\w)", step):
        await move(rules=str(rules), exclude=(flag,)).check()
