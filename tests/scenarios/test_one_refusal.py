"""Everything that stands in the way is told by one run, with all that is to be pasted for a second one that passes."""

from pathlib import Path

import pytest
from fix_application import as_told
from fix_job import Cli, contents, quick_flags
from fix_postgres import Database
from fix_sqlite import MakeSqlite

from migrator.events import OF_FINDINGS

pytestmark = pytest.mark.one_server

SOURCE = """
CREATE TABLE roles (id INTEGER PRIMARY KEY, name TEXT, since TEXT);
CREATE TABLE users (id INTEGER PRIMARY KEY, name TEXT, role_id INTEGER NOT NULL, rate INT, stay BIGINT);
CREATE TABLE logins (id INTEGER PRIMARY KEY, user_id INTEGER NOT NULL, at TEXT);
INSERT INTO roles VALUES (1, 'admin', '2024-01-01'), (2, 'reader', 'n/a'), (3, 'writer', '');
INSERT INTO users VALUES (1, 'ann', 1, 7, 86400000000), (2, 'bob', 9, 8, NULL), (3, 'cat', 2, 'seven', 1);
INSERT INTO logins VALUES (1, 1, '2024-01-01'), (2, 2, '2024-01-01'), (3, 3, '2024-01-01');
"""
TARGET = """
CREATE TABLE roles (id bigint PRIMARY KEY, name text, since date);
CREATE TABLE users (
    id bigint PRIMARY KEY, name text, role_id bigint NOT NULL REFERENCES roles, rate int, stay interval
);
CREATE TABLE logins (id bigint PRIMARY KEY, user_id bigint NOT NULL REFERENCES users, at date);
INSERT INTO roles VALUES (1, 'administrator', NULL), (2, 'reader', NULL);
INSERT INTO users VALUES (1, 'root', 1, 0, '1 day');
"""


async def test_one_refusal_settles_all(cli: Cli, make_sqlite: MakeSqlite, database: Database, tmp_path: Path) -> None:
    """Wrong values, orphans, what refers to these, and seeded rows: what the first run prints is all that it takes."""
    source = make_sqlite(SOURCE)
    await database.execute(TARGET)
    given = ("--source", source, "--schema", "existing", *quick_flags())
    looked = cli("check", *given, MIGRATOR_TARGET_URL=database.url)
    refused = cli("run", *given, MIGRATOR_TARGET_URL=database.url)
    assert (looked.code, refused.code) == (3, 3), refused.stderr
    told = [{name: ended.failure[name] for name in ("message", "rules", "flags")} for ended in (looked, refused)]
    assert told[0] == told[1]
    for words in ("users.rate", "users.role_id", "public.roles", "public.users"):
        assert words in refused.message
    for ended in (looked, refused):
        assert len(ended.message) < 400, "the findings are events, and the message doesn't repeat them"
        assert "findings" not in ended.failure
        found = [event for event in ended.events if event["event"] in {"values.refused", "rows.in_the_way"}]
        places = [f"{event['event']} {event['table']}.{event.get('column')}" for event in found]
        assert len(set(places)) == len(places), "each finding is told once"
        assert {"values.refused users.rate", "rows.in_the_way public.roles.None"} <= set(places)
        assert ended.failure["reasons"] == len([event for event in ended.events if event["event"] in OF_FINDINGS])
        assert ended.failure["rules"] in ended.stdout
        assert ended.failure["flags"] == ["--on-existing-rows=roles:replace,users:replace"]
        assert ended.failure["flags"][0] in ended.stdout
    flags = as_told(refused, tmp_path / "told.toml")
    for command in ("check", "run"):
        done = cli(command, *given, *flags, MIGRATOR_TARGET_URL=database.url)
        assert done.code == 0, done.stderr
    assert await contents(database, "roles") == ["(1,admin,2024-01-01)", "(2,reader,)", "(3,writer,)"]
    assert await contents(database, "users") == ['(1,ann,1,7,"1 day")', "(3,cat,2,,00:00:00.000001)"]
    assert await contents(database, "logins") == ["(1,1,2024-01-01)", "(3,3,2024-01-01)"]


UNREADABLE = """
CREATE TABLE notes (id INTEGER PRIMARY KEY, body TEXT);
INSERT INTO notes VALUES (1, CAST(x'61ff' AS TEXT)), (2, 'b');
"""
NOTES = """
CREATE TABLE notes (id bigint PRIMARY KEY, body text);
INSERT INTO notes VALUES (1, 'a'), (7, 'here');
CREATE SEQUENCE notes_counter; CREATE SEQUENCE lots_of_numbers;
"""


@pytest.mark.parametrize("mask_values", [False, True])
async def test_rows_beside_values_that_cannot_be_compared(
    cli: Cli, make_sqlite: MakeSqlite, database: Database, tmp_path: Path, *, mask_values: bool
) -> None:
    """They are counted, and their flag is printed; sequences that nothing owns are told before the rows come."""
    source = make_sqlite(UNREADABLE)
    await database.execute(NOTES)
    masked = ["--mask-values"] * mask_values
    given = ("--source", source, "--schema", "existing", *quick_flags(), *masked)
    refused = cli("run", *given, MIGRATOR_TARGET_URL=database.url)
    assert refused.code == 3, refused.stderr
    assert "public.notes (2 rows: 2 not compared" in refused.stderr
    assert "lots_of_numbers" in refused.message
    flags = as_told(refused, tmp_path / "told.toml")
    done = cli("run", *given, *flags, MIGRATOR_TARGET_URL=database.url)
    assert done.code == 0, done.stderr
    assert len(await contents(database, "notes")) == 2


async def test_what_has_no_match_and_all_the_rest(
    cli: Cli, make_sqlite: MakeSqlite, database: Database, tmp_path: Path
) -> None:
    """A table and a column that the target doesn't have hide neither values nor existing rows."""
    source = make_sqlite(SOURCE + "CREATE TABLE leftovers (a INT); ALTER TABLE users ADD COLUMN fax TEXT;")
    await database.execute(TARGET)
    given = ("--source", source, "--schema", "existing", *quick_flags())
    looked = cli("check", *given, MIGRATOR_TARGET_URL=database.url)
    refused = cli("run", *given, MIGRATOR_TARGET_URL=database.url)
    assert (looked.code, refused.code) == (4, 4), refused.stderr
    told = [{name: ended.failure[name] for name in ("message", "rules", "flags")} for ended in (looked, refused)]
    assert told[0] == told[1]
    assert refused.failure["flags"] == [
        "--exclude=leftovers,users.fax",
        "--on-existing-rows=roles:replace,users:replace",
    ]
    for words in ("no match for: table 'leftovers'", "users.rate", "public.roles"):
        assert words in refused.message
    reasons = [event.get("where") for event in refused.events if event["event"] == "refusal.reason"]
    assert reasons[:2] == ["leftovers", "users.fax"]
    done = cli("run", *given, *as_told(refused, tmp_path / "told.toml"), MIGRATOR_TARGET_URL=database.url)
    assert done.code == 0, done.stderr


RENAMED = """
CREATE TABLE role (id INTEGER PRIMARY KEY, name TEXT);
CREATE TABLE UserLogins (id INTEGER PRIMARY KEY, roleId INTEGER, atTime TEXT, fax TEXT);
CREATE TABLE notes (id INTEGER PRIMARY KEY, body TEXT, rate INT);
CREATE TABLE leftovers (id INTEGER PRIMARY KEY);
INSERT INTO role VALUES (1, 'admin'), (2, 'x');
INSERT INTO UserLogins VALUES (1, 1, '2024-01-01', ''), (2, 9, 'never', '');
INSERT INTO notes VALUES (1, 'a', 'many');
INSERT INTO leftovers VALUES (1);
"""
TO_RENAMED = """
CREATE TABLE roles (id bigint PRIMARY KEY, name text);
CREATE TABLE user_logins (id bigint PRIMARY KEY, role_id bigint REFERENCES roles, at_time date);
CREATE TABLE notes (id bigint PRIMARY KEY, body text, rate int, since date NOT NULL);
INSERT INTO roles VALUES (1, 'seeded'); INSERT INTO notes VALUES (1, 'b', 1, '2020-01-01');
"""


async def test_names_that_have_changed_and_all_the_rest(
    cli: Cli, make_sqlite: MakeSqlite, database: Database, tmp_path: Path
) -> None:
    """With a likely name, a naming style and a default: values and rows are judged as in the next run."""
    source = make_sqlite(RENAMED)
    await database.execute(TO_RENAMED)
    rules = tmp_path / "own.toml"
    rules.write_text('[tables."role"]\n# nothing yet\n', encoding="utf-8")
    given = ("--source", source, "--schema", "existing", "--exclude=leftovers", *quick_flags())
    looked = cli("check", *given, "--rules", rules, MIGRATOR_TARGET_URL=database.url)
    refused = cli("run", *given, "--rules", rules, MIGRATOR_TARGET_URL=database.url)
    assert (looked.code, refused.code) == (4, 4), refused.stderr
    told = [{name: ended.failure[name] for name in ("message", "rules", "flags")} for ended in (looked, refused)]
    assert told[0] == told[1]
    for words in (
        "table 'role'",
        "column UserLogins.fax",
        "UserLogins.roleId: 1 row",
        "UserLogins.atTime: 1 row",
        "notes.rate: 1 row",
        "public.roles (1 row",
        "public.notes (1 row",
        "public.notes.since",
    ):
        assert words in refused.message + refused.stderr, words
    assert '[tables."role"]\nrename = "roles"' in refused.failure["rules"]
    flags = refused.failure["flags"]
    assert "--names=snake_case" in flags
    assert sum("--exclude" in flag for flag in flags) == 1
    assert sum("--on-existing-rows" in flag for flag in flags) == 1
    await database.execute("ALTER TABLE notes ALTER COLUMN since SET DEFAULT '2024-01-01'")
    assert 'ALTER COLUMN "since" SET DEFAULT' in refused.failure["next_step"]
    settled = as_told(refused, tmp_path / "told.toml")
    given = ("--source", source, "--schema", "existing", *quick_flags())
    done = cli("run", *given, *settled, MIGRATOR_TARGET_URL=database.url)
    assert done.code == 0, done.stderr
    assert await contents(database, "roles") == ["(1,admin)", "(2,x)"]
    assert await contents(database, "notes") == ["(1,a,,2024-01-01)"]
    assert await contents(database, "user_logins") == ["(1,1,2024-01-01)"]
