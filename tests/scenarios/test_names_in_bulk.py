"""``names``: all names in another style, in tables that the job makes and in tables that are there."""

import re
from pathlib import Path

import pytest
from fix_job import contents, settings_of
from fix_postgres import Database
from fix_sqlite import MakeSqlite

from migrator.config.settings import Settings
from migrator.errors import MigratorError, NoMatch, TargetRefused
from migrator.job import check as job_check
from migrator.job import run as job_run
from migrator.job import status as job_status
from migrator.job import verify as job_verify
from migrator.job.maintenance import reset
from migrator.monitoring.tracker import Tracker

SOURCE = """
CREATE TABLE "UserAccount" (
    "UserID" INTEGER PRIMARY KEY, "User Name" TEXT NOT NULL COLLATE NOCASE UNIQUE,
    "isActive" BOOLEAN NOT NULL DEFAULT 1 CONSTRAINT "ActiveCheck" CHECK ("isActive" IN (0, 1)),
    "Twice" INT AS ("UserID" * 2) STORED, "Order" TEXT,
    CHECK (length("User Name") > 1 AND UserAccount."Order" <> 'x'));
CREATE UNIQUE INDEX "IX_UserAccount_Order" ON "UserAccount" (lower("Order")) WHERE "isActive" = 1;
CREATE TABLE "HTTPServer" (
    "ID" INTEGER PRIMARY KEY AUTOINCREMENT, "OwnerID" INT REFERENCES useraccount ("userid") ON DELETE CASCADE);
"""
ROWS = """
INSERT INTO UserAccount (UserID, "User Name", isActive, "Order") VALUES (1, 'Ada', 1, 'o'), (2, 'Bob', 0, 'o');
INSERT INTO HTTPServer VALUES (7, 1);
"""


async def ended(settings: Settings) -> MigratorError | None:
    """Return what ``run`` ends with, or None for 0."""
    try:
        await job_run.run(settings, Tracker())
    except MigratorError as error:
        return error
    return None


@pytest.fixture
def source(make_sqlite: MakeSqlite) -> Path:
    """Give a file whose names are in several styles."""
    return make_sqlite(f"{SOURCE}; {ROWS}")


async def names_of(database: Database) -> set[str]:
    """Return the names of what is in the schema ``public``: relations, their columns, and constraints."""
    rows = await database.fetch(
        "SELECT relname FROM pg_class WHERE relnamespace = 'public'::regnamespace UNION "
        "SELECT attname FROM pg_attribute JOIN pg_class ON pg_class.oid = attrelid "
        "WHERE relnamespace = 'public'::regnamespace AND attnum > 0 UNION "
        "SELECT conname FROM pg_constraint WHERE connamespace = 'public'::regnamespace"
    )
    return {row[0] for row in rows}


@pytest.mark.parametrize(
    ("style", "expected"),
    [
        ("snake_case", {"user_account", "user_name", "is_active", "active_check", "ix_user_account_order", "order"}),
        ("lower", {"useraccount", "user name", "isactive", "activecheck", "ix_useraccount_order", "httpserver_pkey"}),
    ],
)
async def test_made_tables_have_the_names(source: Path, database: Database, style: str, expected: set[str]) -> None:
    """Columns, keys, indexes, CHECKs and expressions follow; all commands know the names, and guards hold."""
    settings = settings_of(source, database, schema_mode="create", names=style)
    assert (await job_check.check(settings, Tracker())).failure is None
    assert await ended(settings) is None
    names = await names_of(database)
    assert expected <= names
    assert not [name for name in names if re.search("[A-Z]", name)]
    assert (await job_verify.verify(settings_of(source, database, names=style), Tracker())).failure is None
    assert await ended(settings) is None  # nothing left to do
    owner, users = ("owner_id", "user_account") if style == "snake_case" else ("ownerid", "useraccount")
    user, name = ("user_id", "user_name") if style == "snake_case" else ("userid", '"user name"')
    active = "is_active" if style == "snake_case" else "isactive"
    assert await contents(database, users) == ["(1,Ada,t,2,o)", "(2,Bob,f,4,o)"]
    for refused, constraint in (
        (f"INSERT INTO {users} ({name}) VALUES ('ADA')", "unique"),
        (f"INSERT INTO {users} ({name}) VALUES ('A')", "check"),
        (f"INSERT INTO {users} ({name}, \"order\") VALUES ('Eve', 'O')", "unique"),
        (f"INSERT INTO {'http_server' if style == 'snake_case' else 'httpserver'} ({owner}) VALUES (9)", "foreign key"),
        (f"UPDATE {users} SET {active} = NULL", "not-null"),
    ):
        with pytest.raises(Exception, match=constraint):
            await database.execute(refused)
    await database.execute(f"DELETE FROM {users} WHERE {user} = 2")


@pytest.mark.one_server
async def test_another_style_is_another_migration(source: Path, database: Database) -> None:
    """A complete migration is refused under other names, in one line; ``reset`` and ``--restart`` let them change."""
    made = settings_of(source, database, schema_mode="create", names="snake_case")
    assert await ended(made) is None
    other = settings_of(source, database, schema_mode="create", names="lower")
    found = await ended(other)
    assert isinstance(found, TargetRefused)
    assert str(found).endswith('other settings: names ("snake_case" then, "lower" now)')
    assert await ended(settings_of(source, database, schema_mode="create", names="lower", restart=True)) is None
    assert await ended(other) is None
    status = await job_status.status(settings_of(source, database))
    assert "public.useraccount" in str(status.to_json())
    await reset(other)
    assert await database.fetch("SELECT FROM useraccount") == []
    assert await ended(other) is None


@pytest.mark.one_server
async def test_rules_for_names_are_the_same_as_the_style(source: Path, database: Database, tmp_path: Path) -> None:
    """``rename`` wins over the style, in the file and in the target."""
    rules = tmp_path / "migrator.toml"
    rules.write_text(
        'names = "snake_case"\n[tables.HTTPServer]\nrename = "Hosts"\n[columns."*.OwnerID"]\nrename = "o"\n'
    )
    settings = settings_of(source, database, schema_mode="create", rules=rules)
    assert await ended(settings) is None
    assert await contents(database, '"Hosts"') == ["(7,1)"]
    assert {"o", "user_account"} <= await names_of(database)


@pytest.mark.one_server
async def test_tables_that_are_there(source: Path, database: Database) -> None:
    """A table or column is found by its own name, or by that of the style, or the message names the flag."""
    await database.execute(
        'CREATE TABLE user_account (user_id int PRIMARY KEY, "User Name" text, is_active boolean, "Order" text,'
        ' twice int); CREATE TABLE "HTTPServer" ("ID" int PRIMARY KEY, owner_id int)'
    )
    found = await ended(settings_of(source, database))
    assert isinstance(found, NoMatch)
    assert "Add --names snake_case, which finds UserAccount, HTTPServer.OwnerID." in (found.next_step or "")
    assert "--exclude" not in (found.next_step or "")
    assert await ended(settings_of(source, database, names="snake_case")) is None
    assert await contents(database, "user_account") == ["(1,Ada,t,o,2)", "(2,Bob,f,o,4)"]
    assert (await job_verify.verify(settings_of(source, database, names="snake_case"), Tracker())).failure is None


@pytest.mark.one_server
async def test_an_own_name_comes_first(make_sqlite: MakeSqlite, database: Database) -> None:
    """Columns that become one under the style are kept apart where the target has both."""
    source = make_sqlite("CREATE TABLE t (userName TEXT, user_name TEXT)", {"t": [("a", "b")]})
    await database.execute('CREATE TABLE t ("userName" text, user_name text)')
    assert await ended(settings_of(source, database, names="snake_case")) is None
    assert await contents(database, "t") == ["(a,b)"]


@pytest.mark.one_server
async def test_names_that_become_one(make_sqlite: MakeSqlite, database: Database, tmp_path: Path) -> None:
    """Also by the cut at 63 bytes, and with PostgreSQL's own names; the printed lines settle all of them."""
    long = "veryLong" * 7
    source = make_sqlite(
        f'CREATE TABLE UserID (a INT, UserName INT, user_name INT, "user-name" INT, XMIN INT);'
        f'CREATE TABLE user_id (a INT); CREATE TABLE "user-id" (a INT); CREATE TABLE gone (b INT);'
        f"CREATE TABLE {long}A (a INT); CREATE TABLE {long}B (a INT)",
        {"UserID": [(1, 2, 3, 4, 5)], "user_id": [(6,)], f"{long}B": [(7,)]},
    )
    found = await ended(settings_of(source, database, schema_mode="create", names="snake_case"))
    assert isinstance(found, TargetRefused)
    for said in (
        "UserID: column UserName: the name becomes user_name, which is that of user_name",
        "UserID: column user-name: the name becomes user_name, which is that of user_name",
        "UserID: column XMIN: PostgreSQL keeps the name xmin for itself",
        "UserID: the table's name becomes user_id, which is that of user_id",
        "user-id: the table's name becomes user_id, which is that of user_id",
        f"{long}B: the table's name is that of {long}A, cut at 63 bytes",
    ):
        assert said in str(found)
    assert "gone" not in str(found)
    lines = (found.next_step or "").split("\n")
    assert lines[0].endswith("and run again:")
    rules = tmp_path / "migrator.toml"
    rules.write_text("\n".join(['names = "snake_case"', *lines[1:]]))
    assert await ended(settings_of(source, database, schema_mode="create", rules=rules)) is None
    assert await contents(database, "user_id") == ["(6)"]
    excluded = settings_of(source, database, exclude=("user_id", "user?id"), names="snake_case")
    assert isinstance(await ended(excluded), MigratorError)


@pytest.mark.one_server
async def test_what_is_excluded_is_in_nobodys_way(make_sqlite: MakeSqlite, database: Database) -> None:
    """Neither are views and columns that stay behind."""
    source = make_sqlite(
        'CREATE TABLE UserID (aB INT, a_b INT); CREATE TABLE user_id (a INT); CREATE VIEW "user id" AS SELECT 1',
        {"UserID": [(1, 2)]},
    )
    settings = settings_of(
        source, database, schema_mode="create", names="snake_case", exclude=("user_id", "userid.a_b")
    )
    assert await ended(settings) is None
    assert await contents(database, "user_id") == ["(1)"]
