"""Stage init_sql: the script is told its names, its warnings are heard, its errors become ours."""

import contextlib
from collections.abc import AsyncIterator
from pathlib import Path

import asyncpg
import pytest
from fix_postgres import Database

from migrator.errors import ConfigurationError, MigratorError, MissingPrivilege, TargetRefused
from migrator.stages.init_sql import InitNames, init_sql

SCRIPT = (Path(__file__).parents[3] / "scripts" / "database" / "init-postgres.sql").read_text(encoding="utf-8")
NAMES = InitNames(schema="dryad", role=None)


@contextlib.asynccontextmanager
async def connected(url: str) -> AsyncIterator[asyncpg.Connection]:
    """Open a connection for one block."""
    connection = await asyncpg.connect(url)
    try:
        yield connection
    finally:
        await connection.close()


async def run(
    database: Database, script: str, names: InitNames = NAMES, *, require_extensions: bool = False
) -> list[str]:
    """Run the stage in a session of its own; gives the warnings."""
    warnings: list[str] = []
    async with connected(database.url) as connection:
        await init_sql(connection, script, names, require_extensions=require_extensions, on_warning=warnings.append)
    return warnings


async def test_the_projects_script_prepares_the_database(database: Database) -> None:
    """After the stage a new session begins in the schema it was given."""
    await run(database, SCRIPT, InitNames(schema='the "grove"', role=None))
    assert [tuple(row) for row in await database.fetch("SELECT current_schema()")] == [('the "grove"',)]


@pytest.mark.one_server
async def test_the_script_reads_its_names(database: Database) -> None:
    """Names are bound values: whatever they contain, the script reads them as they were given."""
    script = """
        CREATE TABLE told AS
        SELECT current_setting('migrator.schema') AS schema, current_setting('migrator.role') AS role,
               current_setting('migrator.require_extensions') AS required
    """
    schema, role = "it's; DROP TABLE told", 'say "so" \\'
    await run(database, f"CREATE SCHEMA mine; SET search_path TO mine; {script}", InitNames(schema, role))
    assert [tuple(row) for row in await database.fetch("SELECT * FROM mine.told")] == [(schema, role, "off")]


@pytest.mark.one_server
async def test_a_name_not_given_is_left_to_the_script(database: Database) -> None:
    """The project's script then makes `dryad` and has nobody else to grant to."""
    warnings = await run(database, SCRIPT, InitNames(schema=None, role=None))
    assert not [warning for warning in warnings if "role" in warning]
    assert [tuple(row) for row in await database.fetch("SELECT current_schema()")] == [("dryad",)]


@pytest.mark.one_server
async def test_a_warning_is_one_line_with_its_hint(database: Database) -> None:
    """Warnings arrive in order and before the stage returns; a notice is none."""
    script = """
        DO $$ BEGIN
            RAISE WARNING 'first' USING HINT = 'do this';
            RAISE NOTICE 'by the way';
            RAISE WARNING 'second';
        END $$
    """
    assert await run(database, script) == ["first (do this)", "second"]


@pytest.mark.one_server
async def test_warnings_of_later_statements_are_not_heard(database: Database) -> None:
    """The stage leaves no listener on the connection, and no setting."""
    warnings: list[str] = []
    async with connected(database.url) as connection:
        await init_sql(connection, "SELECT 1", NAMES, require_extensions=True, on_warning=warnings.append)
        await connection.execute("DO $$ BEGIN RAISE WARNING 'too late'; END $$")
        assert await connection.fetchval("SELECT current_setting('migrator.schema', true)") == ""
    assert warnings == []


@pytest.mark.one_server
async def test_a_missing_role_is_a_warning(database: Database) -> None:
    """The operator hears which role the grants were meant for."""
    warnings = await run(database, SCRIPT, InitNames(schema="dryad", role="nobody"))
    assert 'role "nobody" does not exist' in warnings[-1]


async def test_a_missing_privilege_says_what_would_help(database: Database) -> None:
    """A role that may not create the schema is exit code 4, with the server's words and a next step."""
    await database.execute(f"ALTER DATABASE {database.name} OWNER TO CURRENT_USER", as_admin=True)
    with pytest.raises(MissingPrivilege, match="init SQL: permission denied for database") as caught:
        await run(database, SCRIPT)
    assert caught.value.next_step
    assert caught.value.facts == {"sqlstate": "42501"}


async def test_a_required_extension_that_is_missing_refuses_the_target(database: Database) -> None:
    """Exit code 4, and the extension is named."""
    missing = "DO $$ BEGIN RAISE EXCEPTION 'extension x is missing' USING ERRCODE = '58P01', HINT = 'get it'; END $$"
    with pytest.raises(TargetRefused, match="init SQL: extension x is missing") as caught:
        await run(database, missing, require_extensions=True)
    assert caught.value.next_step == "get it"


async def test_the_projects_script_requires_extensions_when_told_so(database: Database) -> None:
    """Where one cannot be had, the stage fails; where all can, it passes: the setting reaches the script."""
    offered = await database.fetch("SELECT FROM pg_available_extensions WHERE name = 'uuid-ossp'")
    if offered:
        assert await run(database, SCRIPT, require_extensions=True) == []
    else:
        with pytest.raises(TargetRefused, match='extension "uuid-ossp"'):
            await run(database, SCRIPT, require_extensions=True)


@pytest.mark.one_server
@pytest.mark.parametrize(
    ("script", "error", "message"),
    [
        ("SELECT 1;\nSELEC 2", ConfigurationError, r'syntax error at or near "SELEC" \(line 2\)'),
        ("SELECT 1;\n\nSELECT * FROM nowhere", ConfigurationError, r'relation "nowhere" does not exist \(line 3\)'),
        ("CREATE SCHEMA pg_mine", ConfigurationError, 'unacceptable schema name "pg_mine"'),
        ("DO $$ BEGIN RAISE EXCEPTION 'not here'; END $$", TargetRefused, "not here"),
        ("CREATE TEMP TABLE t (x int NOT NULL); INSERT INTO t VALUES (NULL)", TargetRefused, "null value in column"),
        ("SELECT 'x'::int", TargetRefused, "invalid input syntax"),
    ],
    ids=["syntax", "unknown table", "reserved name", "raised", "constraint", "value"],
)
async def test_a_script_that_fails_names_its_reason(
    database: Database, script: str, error: type[MigratorError], message: str
) -> None:
    """What running it again cannot heal becomes one of our errors, with the line where the server gives one."""
    with pytest.raises(error, match=f"init SQL: {message}"):
        await run(database, script)


@pytest.mark.one_server
async def test_a_script_that_fails_leaves_nothing(database: Database) -> None:
    """All statements are one transaction, and the connection can be used afterwards."""
    async with connected(database.url) as connection:
        with pytest.raises(ConfigurationError):
            await init_sql(
                connection, "CREATE SCHEMA half; SELEC", NAMES, require_extensions=False, on_warning=lambda _: None
            )
        assert await connection.fetchval("SELECT to_regnamespace('half') IS NULL")


@pytest.mark.one_server
async def test_what_time_may_heal_passes_through(database: Database) -> None:
    """A deadlock or a lack of memory is not the script's fault: the retry policy sees it as it was raised."""
    for sqlstate, error in [("40P01", asyncpg.DeadlockDetectedError), ("53200", asyncpg.OutOfMemoryError)]:
        with pytest.raises(error):
            await run(database, f"DO $$ BEGIN RAISE EXCEPTION 'busy' USING ERRCODE = '{sqlstate}'; END $$")
