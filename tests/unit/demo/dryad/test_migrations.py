"""Dryad's revisions: they lead to the models' schema and back, on both databases, and no row gets lost on the way."""

import logging
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from fix_dryad import Engines, alembic, migrate
from fix_postgres import Database
from sqlalchemy import Connection, MetaData, inspect, text
from sqlalchemy.engine import Inspector
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncEngine

from migrator.demo.dryad import ALEMBIC_INI
from migrator.demo.dryad.models import SYSTEM_USER_ID, Base
from migrator.demo.dryad.sample import generate
from migrator.demo.dryad.vocabulary import NAMING_CONVENTION
from migrator.engine import Settings, create_engine

SCRIPTS = ScriptDirectory.from_config(Config(ALEMBIC_INI))
IDENTITY = ("modify_default", None, "branches", "id")
REVISIONS = [script.revision for script in reversed(list(SCRIPTS.walk_revisions()))]


def differences(connection: Connection) -> list[Any]:
    """Return what autogenerate would change to make the database agree with the models."""
    context = MigrationContext.configure(connection, opts={"compare_server_default": True})
    found: list[Any] = compare_metadata(context, Base.metadata)
    if connection.dialect.name == "sqlite":
        # SQLite has no IDENTITY: INTEGER PRIMARY KEY is enough there.
        found = [each for each in found if not (isinstance(each, list) and each[0][:4] == IDENTITY)]
    return found


def copy_of_the_models() -> MetaData:
    """
    Return the models' tables anew.

    SQLAlchemy remembers in a constraint that it was added by ALTER on PostgreSQL, and leaves it out on SQLite then.
    """
    copy = MetaData(naming_convention=NAMING_CONVENTION)
    for table in Base.metadata.tables.values():
        table.to_metadata(copy)
    return copy


def schema(connection: Connection) -> dict[str, Any]:
    """Return everything that the database says about its tables, and about its enums where it has such."""
    inspector = inspect(connection)
    tables = {table: shape(inspector, table) for table in inspector.get_table_names() if table != "alembic_version"}
    enums = inspector.get_enums() if connection.dialect.name == "postgresql" else []  # type: ignore[attr-defined]
    return {**tables, "enums": sorted((enum["name"], enum["labels"]) for enum in enums)}


def shape(inspector: Inspector, table: str) -> dict[str, Any]:
    """Return a table's columns, keys, constraints and indexes, each in an order that doesn't depend on their age."""
    columns = {
        column["name"]: {**column, "type": repr(column["type"]), "default": str(column["default"]).strip("()")}
        for column in inspector.get_columns(table)
    }
    return {
        "columns": columns,
        "primary key": inspector.get_pk_constraint(table)["constrained_columns"],
        "foreign keys": sorted(inspector.get_foreign_keys(table), key=repr),
        "uniques": sorted(inspector.get_unique_constraints(table), key=repr),
        "checks": sorted(inspector.get_check_constraints(table), key=repr),
        "indexes": sorted(map(comparable, inspector.get_indexes(table)), key=repr),
    }


def comparable(index: Any) -> dict[str, Any]:  # noqa: ANN401 - a typed dictionary of SQLAlchemy's
    """Return the index with its condition as text: SQLAlchemy's objects equal only themselves."""
    return {**index, "dialect_options": {name: str(value) for name, value in index["dialect_options"].items()}}


async def run(engine: AsyncEngine, *statements: str) -> None:
    """Run SQL statements in one transaction."""
    async with engine.begin() as connection:
        for statement in statements:
            await connection.execute(text(statement))


async def rows(engine: AsyncEngine, query: str) -> list[tuple[Any, ...]]:
    """Return the rows of a query."""
    async with engine.connect() as connection:
        return [tuple(row) for row in await connection.execute(text(query))]


def command_line(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run the ``alembic`` command as an operator would."""
    return subprocess.run(
        [sys.executable, "-m", "alembic", "-c", str(ALEMBIC_INI), *arguments],
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        check=True,
        timeout=120,
    )


def test_the_revisions_are_a_line() -> None:
    """There is one head, one base, and every revision can be downgraded."""
    assert len(SCRIPTS.get_heads()) == len(SCRIPTS.get_bases()) == 1
    assert len(REVISIONS) >= 4
    assert all(hasattr(script.module, "downgrade") for script in SCRIPTS.walk_revisions())


async def test_models_and_head_agree(dryads: Engines) -> None:
    """Autogenerate finds nothing to do after an upgrade to head."""
    for engine in dryads:
        async with engine.connect() as connection:
            assert await connection.run_sync(differences) == [], engine.name


async def test_migrations_build_what_the_models_would(dryads: Engines) -> None:
    """
    The schema of the migrations is that of ``create_all``, column for column and rule for rule.

    Autogenerate doesn't compare checks, ON DELETE rules on SQLite, partial indexes or enum labels; this does. It also
    shows that a downgrade to the base leaves nothing behind that would be in the way.
    """
    for engine in dryads:
        async with engine.connect() as connection:
            migrated = await connection.run_sync(schema)
        await migrate(engine, "downgrade", "base")
        async with engine.begin() as connection:
            assert await connection.run_sync(schema) == {"enums": []}
            await connection.run_sync(copy_of_the_models().create_all)
            assert migrated == await connection.run_sync(schema), engine.name


async def test_the_documented_indexes_are_there(dryads: Engines) -> None:
    """The indexes that the tuning guide names exist under these names."""
    for engine in dryads:
        async with engine.connect() as connection:
            described = await connection.run_sync(schema)
        names = {index["name"] for table in Base.metadata.tables for index in described[table]["indexes"]}
        assert names >= {"idx_users_email", "idx_conversations_user_id", "idx_messages_conversation_id"}


async def test_every_step_can_be_taken_back_and_again(engines: Engines) -> None:
    """Up, down and up again at each revision: each leaves the database as the next one needs it."""
    for engine in engines:
        for revision in REVISIONS:
            await migrate(engine, "upgrade", revision)
            await migrate(engine, "downgrade", "-1")
            await migrate(engine, "upgrade", revision)
            assert await rows(engine, "SELECT version_num FROM alembic_version") == [(revision,)]


@pytest.mark.one_server
async def test_messages_get_their_positions(engines: Engines) -> None:
    """The data migration numbers each conversation's messages from 0 by their ids, and taking it back loses none."""
    message = "INSERT INTO messages (id, conversation_id, role, content) VALUES"
    for engine in engines:
        await migrate(engine, "upgrade", "0003")
        await run(
            engine,
            "INSERT INTO users (id, email, username, password_hash) VALUES ('u', 'u', 'u', '')",
            "INSERT INTO conversations (id, user_id, model) VALUES ('a', 'u', ''), ('b', 'u', '')",
            f"{message} (5, 'a', 'user', 'a2'), (2, 'a', 'user', 'a1'), (3, 'b', 'user', 'b1'), (9, 'a', 'user', 'a3')",
        )
        await migrate(engine, "upgrade", "0004")
        numbered = await rows(engine, "SELECT content, position FROM messages ORDER BY 1")
        assert numbered == [("a1", 0), ("a2", 1), ("a3", 2), ("b1", 0)]
        await migrate(engine, "downgrade", "0003")
        assert await rows(engine, "SELECT id FROM messages ORDER BY 1") == [(2,), (3,), (5,), (9,)]


@pytest.mark.one_server
async def test_without_the_role_tools_become_assistants(dryads: Engines) -> None:
    """Taking the role ``tool`` back keeps what tools said; PostgreSQL refuses the role from then on."""
    for engine in dryads:
        await run(
            engine,
            f"INSERT INTO conversations (id, user_id, model) VALUES ('a', '{SYSTEM_USER_ID}', '')",
            "INSERT INTO messages (conversation_id, position, role, content) VALUES ('a', 0, 'tool', 'found it')",
        )
        await migrate(engine, "downgrade", "0004")
        assert await rows(engine, "SELECT role, content FROM messages") == [("assistant", "found it")]
    with pytest.raises(DBAPIError, match="invalid input value for enum"):
        await run(dryads[1], "UPDATE messages SET role = 'tool'")


@pytest.mark.one_server
async def test_there_is_one_system_account(dryads: Engines) -> None:
    """The account is there after an upgrade, and still once after going back and forth."""
    for engine in dryads:
        await migrate(engine, "downgrade", "0003")
        await migrate(engine, "upgrade", "head")
        assert await rows(engine, "SELECT id, role, is_active FROM users") == [(SYSTEM_USER_ID, "admin", True)]


async def test_no_row_is_lost_with_foreign_keys_on(tmp_path: Path) -> None:
    """
    All rows are there after tables were rebuilt on a connection with foreign keys on, and the keys are on again.

    On SQLite a table is rebuilt by dropping it; with enforced keys the drop would take other tables' rows along.
    """
    before = generate(tmp_path / "x.db", scale=0.05)
    engine = create_engine(Settings(DATABASE_URL=f"sqlite:///{tmp_path}/x.db", DATABASE_URL_FILE=None))
    async with engine.connect() as connection:
        for verb, revision in (("downgrade", "0003"), ("upgrade", "head")):
            await connection.run_sync(alembic, verb, revision)
            for table, expected in before.items():
                assert await connection.scalar(text(f"SELECT count(*) FROM {table}")) == expected, table
            await connection.rollback()
        assert await connection.scalar(text("PRAGMA foreign_keys")) == 1
        assert (await connection.execute(text("PRAGMA foreign_key_check"))).all() == []
    await engine.dispose()


@pytest.mark.one_server
async def test_foreign_keys_and_a_transaction_are_refused(engines: Engines) -> None:
    """Inside a transaction SQLite's foreign keys can't be switched off: nothing is begun then, and it says why."""
    sqlite, _ = engines
    async with sqlite.connect() as connection:
        await connection.begin()
        with pytest.raises(RuntimeError, match="a transaction is open"):
            await connection.run_sync(alembic, "upgrade", "head")
        await connection.rollback()
        assert await connection.run_sync(lambda c: inspect(c).get_table_names()) == []


@pytest.mark.one_server
async def test_after_a_failed_migration_foreign_keys_are_on(dryads: Engines) -> None:
    """A migration that fails leaves the connection as it was, and what the rows can't follow isn't half done."""
    sqlite, _ = dryads
    async with sqlite.connect() as connection:
        await connection.execute(text("DROP TABLE dialogue_messages"))
        await connection.commit()
        with pytest.raises(DBAPIError, match="dialogue_messages"):
            await connection.run_sync(alembic, "downgrade", "0002")
        assert await connection.scalar(text("PRAGMA foreign_keys")) == 1
        assert await connection.scalar(text("SELECT version_num FROM alembic_version")) == "0003"


@pytest.mark.one_server
async def test_a_program_can_take_back_the_whole_upgrade(engines: Engines) -> None:
    """On PostgreSQL all revisions run in the transaction of the connection handed over, and are undone with it."""
    _, postgres = engines
    async with postgres.connect() as connection:
        await connection.begin()
        await connection.run_sync(alembic, "upgrade", "head")
        await connection.rollback()
        assert await connection.run_sync(schema) == {"enums": []}


@pytest.mark.one_server
async def test_a_programs_logging_is_left_alone(engines: Engines) -> None:
    """Migrating from a program neither silences its loggers nor adds a handler."""
    logger = logging.getLogger("somebody's")
    handlers = list(logging.getLogger().handlers)
    await migrate(engines[0], "upgrade", "head")
    assert not logger.disabled
    assert logging.getLogger().handlers == handlers


@pytest.mark.one_server
def test_the_command_line_migrates_the_applications_database(tmp_path: Path, database: Database) -> None:
    """``alembic upgrade head`` works on DATABASE_URL, whichever database it names."""
    for url in (f"sqlite:///{tmp_path}/dryad.db", database.url):
        command_line("upgrade", "head", DATABASE_URL=url)
        assert command_line("current", DATABASE_URL=url).stdout.strip() == f"{REVISIONS[-1]} (head)"
        command_line("check", DATABASE_URL=url)


def test_a_url_in_the_configuration_comes_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A program that sets ``sqlalchemy.url`` migrates that database, whatever DATABASE_URL says."""
    monkeypatch.setenv("DATABASE_URL", f"sqlite:///{tmp_path}/other.db")
    config = Config(ALEMBIC_INI)
    config.set_main_option("sqlalchemy.url", f"sqlite:///{tmp_path}/configured.db")
    command.upgrade(config, "head")
    assert [path.name for path in tmp_path.iterdir()] == ["configured.db"]


async def test_the_sql_can_be_run_by_hand(database: Database, engines: Engines) -> None:
    """``upgrade head --sql`` prints a script for PostgreSQL that builds the same schema, without a database at hand."""
    script = command_line("upgrade", "head", "--sql", DATABASE_URL="postgresql://nobody@nowhere.invalid/x").stdout
    await database.execute(script)
    async with engines[1].connect() as connection:
        assert await connection.run_sync(differences) == []
    assert await rows(engines[1], "SELECT version_num FROM alembic_version") == [(REVISIONS[-1],)]
