"""scripts/database/init-postgres.sql, run as psql runs it and as the job runs it, on real servers."""

import asyncio
import contextlib
import os
import secrets
import shutil
from collections.abc import AsyncIterator
from pathlib import Path

import asyncpg
import pytest
from fix_postgres import Database
from sqlalchemy import make_url

SCRIPT_FILE = Path(__file__).parents[3] / "scripts" / "database" / "init-postgres.sql"
PACKAGED = Path(__file__).parents[3] / "migrator" / "stages" / "init.sql"
SCRIPT = SCRIPT_FILE.read_text(encoding="utf-8")

EXTENSIONS = {"uuid-ossp", "pg_trgm", "btree_gin"}

# Whatever PostgreSQL takes as a quoted identifier. The last one is as long as an identifier can be, in bytes.
NAMES = ["Mixed Case", "it's", 'say "so"', "select", "public, pg_catalog", "back\\slash", "$init$", "%I %s", "é" * 31]


@contextlib.asynccontextmanager
async def session(url: str, **names: str) -> AsyncIterator[asyncpg.Connection]:
    """Open a session that was told `names` as PGOPTIONS would tell them (``role="app"`` is migrator.role)."""
    settings = {f"migrator.{name}": value for name, value in names.items()}
    connection = await asyncpg.connect(url, server_settings=settings)
    try:
        yield connection
    finally:
        await connection.close()


async def prepare(url: str, **names: str) -> list[str]:
    """Run the script as the role in `url`; gives everything the server said meanwhile, notices included."""
    said: list[str] = []
    async with session(url, **names) as connection:
        connection.add_log_listener(lambda _, message: said.append(f"{message.severity_en}: {message.message}"))
        await connection.execute(SCRIPT)
    return said


async def ask(url: str, sql: str, *args: object) -> object:
    """Fetch the one value that `sql` gives in a new session."""
    async with session(url) as connection:
        return await connection.fetchval(sql, *args)


async def run(url: str, script: str) -> None:
    """Run statements in a new session."""
    async with session(url) as connection:
        await connection.execute(script)


def quoted(name: str) -> str:
    """`name` as an identifier of SQL."""
    return '"' + name.replace('"', '""') + '"'


def without_extensions(said: list[str]) -> list[str]:
    """Leave what was said of anything else: which extensions a server offers is the server's business."""
    return [line for line in said if "extension" not in line]


def test_the_package_has_the_same_text() -> None:
    """An installed demo runs the script that a checkout and the image have."""
    assert PACKAGED.read_bytes() == SCRIPT_FILE.read_bytes()


@pytest.fixture
async def app(database: Database) -> AsyncIterator[str]:
    """Create a second role that may log in and owns nothing, the application's say; gives its URL."""
    role = f"app_{secrets.token_hex(4)}"
    await database.execute(f"CREATE ROLE {role} LOGIN PASSWORD 'app'", as_admin=True)
    yield database.server.url(database.name, role, "app")
    await database.execute(f"DROP OWNED BY {role} CASCADE; DROP ROLE {role}", as_admin=True)


def role_of(url: str) -> str:
    """Name whom a URL logs in."""
    role = make_url(url).username
    assert role
    return role


async def test_a_new_session_finds_the_schema_and_runs_in_utc(database: Database) -> None:
    """What the script sets is there for sessions that begin after it, not only in its own."""
    await prepare(database.url)
    async with session(database.url) as connection:
        assert await connection.fetchval("SELECT current_schema()") == "dryad"
        assert await connection.fetchval("SHOW search_path") == "dryad, public"
        assert await connection.fetchval("SHOW TimeZone") == "UTC"


async def test_the_running_session_is_prepared_like_a_new_one(database: Database) -> None:
    """Statements after the script see on its first run what they would see on its second."""
    async with session(database.url) as connection:
        await connection.execute("SET TimeZone TO 'Asia/Tokyo'")
        await connection.execute(SCRIPT)
        assert await connection.fetchval("SELECT current_schema()") == "dryad"
        assert await connection.fetchval("SHOW TimeZone") == "UTC"


async def test_the_second_run_changes_nothing_and_is_silent(database: Database, app: str) -> None:
    """Everything found in place is left alone: the catalogues are equal, and nobody is told that they are."""
    state = """
        SELECT (SELECT jsonb_agg(jsonb_build_array(nspname, nspowner, nspacl::text) ORDER BY nspname) FROM pg_namespace
                WHERE nspname NOT LIKE 'pg_%'),
               (SELECT jsonb_agg(to_jsonb(d) ORDER BY d.oid) FROM pg_default_acl AS d),
               (SELECT jsonb_agg(jsonb_build_array(extname, extnamespace) ORDER BY extname) FROM pg_extension),
               (SELECT jsonb_agg(to_jsonb(s) ORDER BY setrole) FROM pg_db_role_setting AS s
                WHERE setdatabase = (SELECT oid FROM pg_database WHERE datname = current_database()))
    """
    await prepare(database.url, role=role_of(app))
    before = await database.fetch(state)
    assert without_extensions(await prepare(database.url, role=role_of(app))) == []
    assert await database.fetch(state) == before


async def test_extensions_that_the_server_offers_are_created_beside_the_schema(database: Database) -> None:
    """They live in public, so dropping the application's schema leaves them, and the search_path finds them."""
    offered = {
        record["name"]
        for record in await database.fetch("SELECT name FROM pg_available_extensions")
        if record["name"] in EXTENSIONS
    }
    await prepare(database.url)
    created = await database.fetch("SELECT extname, extnamespace::regnamespace::text AS home FROM pg_extension")
    assert {
        record["extname"]: record["home"] for record in created if record["extname"] in EXTENSIONS
    } == dict.fromkeys(offered, "public")
    assert await ask(database.url, "SELECT similarity('oak', 'oaks') > 0")


async def test_an_extension_that_an_administrator_put_elsewhere_is_found(database: Database) -> None:
    """Hosted services keep extensions in a schema of their own; the search_path goes there too."""
    await database.execute(
        "CREATE SCHEMA ext; CREATE EXTENSION pg_trgm SCHEMA ext; GRANT USAGE ON SCHEMA ext TO PUBLIC", as_admin=True
    )
    await prepare(database.url)
    assert await ask(database.url, "SHOW search_path") == "dryad, public, ext"
    assert await ask(database.url, "SELECT similarity('oak', 'oaks') > 0")


async def test_extensions_have_a_home_where_public_was_removed(database: Database) -> None:
    """Hardened servers drop public; the extensions then live with the application."""
    await database.execute("DROP SCHEMA public", as_admin=True)
    await prepare(database.url)
    assert (
        await ask(database.url, "SELECT extnamespace::regnamespace::text FROM pg_extension WHERE extname = 'pg_trgm'")
        == "dryad"
    )


async def test_an_extension_the_server_does_not_offer_is_a_warning(database: Database) -> None:
    """Schema, settings and grants are there all the same."""
    if await ask(database.url, "SELECT EXISTS (SELECT FROM pg_available_extensions WHERE name = 'uuid-ossp')"):
        pytest.skip("this server offers all three extensions")
    said = await prepare(database.url)
    assert len(said) == 1
    assert said[0].startswith('WARNING: extension "uuid-ossp" could not be created')
    assert await ask(database.url, "SELECT current_schema()") == "dryad"


async def test_an_extension_the_role_may_not_create_is_a_warning(database: Database, app: str) -> None:
    """A role without CREATE on the database gets a warning per extension, and everything else."""
    await database.execute(f"CREATE SCHEMA dryad; GRANT ALL ON SCHEMA dryad TO {role_of(app)}")
    said = await prepare(app)
    assert {line.split('"')[1] for line in said} == EXTENSIONS
    assert all(line.startswith("WARNING: extension ") for line in said)
    assert await ask(app, "SELECT current_schema()") == "dryad"


async def test_an_extension_that_is_required_is_an_error_and_nothing_is_left(database: Database) -> None:
    """The error has the server's own code and names the extension; what the script did before it is undone."""
    # Where the server offers the extension, a function of the same name stands in its way.
    await database.execute(
        "CREATE FUNCTION public.uuid_nil() RETURNS uuid LANGUAGE sql AS 'SELECT NULL::uuid'", as_admin=True
    )
    refusals = (asyncpg.FeatureNotSupportedError, asyncpg.DuplicateFunctionError)
    with pytest.raises(refusals, match='extension "uuid-ossp" could not be created'):
        await prepare(database.url, require_extensions="on")
    assert await ask(database.url, "SELECT to_regnamespace('dryad') IS NULL")


@pytest.mark.one_server
@pytest.mark.parametrize("name", NAMES)
async def test_any_name_works_for_schema_and_role(database: Database, name: str) -> None:
    """Names with quotes, blanks, keywords and 62 bytes reach the server whole, as schema and as role."""
    role = f"{name[:20]}{secrets.token_hex(4)}"
    await database.execute(f"CREATE ROLE {quoted(role)}", as_admin=True)
    try:
        assert without_extensions(await prepare(database.url, schema=name, role=role)) == []
        assert await ask(database.url, "SELECT current_schema()") == name
        assert await ask(database.url, "SELECT has_schema_privilege($1, $2, 'USAGE')", role, name)
    finally:
        await database.execute(f"DROP OWNED BY {quoted(role)}; DROP ROLE {quoted(role)}", as_admin=True)


@pytest.mark.one_server
@pytest.mark.parametrize("empty", ["", None], ids=["empty", "not given"])
async def test_a_name_left_empty_means_the_default(database: Database, empty: str | None) -> None:
    """Compose hands on a variable that is not set as an empty one."""
    await prepare(
        database.url, **({} if empty is None else {"schema": empty, "role": empty, "require_extensions": empty})
    )
    assert await ask(database.url, "SELECT current_schema()") == "dryad"


async def test_the_application_uses_tables_created_afterwards(database: Database, app: str) -> None:
    """Another role reads and writes a table of the migration, and takes numbers from its sequence."""
    await prepare(database.url, role=role_of(app))
    await database.execute("CREATE TABLE grove (id serial PRIMARY KEY, name text)")
    async with session(app) as connection:
        assert await connection.fetchval("INSERT INTO grove (name) VALUES ('oak') RETURNING id") == 1
        await connection.execute("UPDATE grove SET name = 'elm'")
        assert await connection.fetchval("SELECT name FROM grove") == "elm"
        assert await connection.fetchval("SELECT setval('grove_id_seq', 7)") == 7
        await connection.execute("DELETE FROM grove")


async def test_the_application_uses_tables_that_were_there_before(database: Database, app: str) -> None:
    """Grants reach back as well, to tables, sequences and views that the running role owns."""
    await prepare(database.url)
    await database.execute(
        "CREATE TABLE grove (id serial PRIMARY KEY, name text); CREATE VIEW groves AS SELECT * FROM grove"
    )
    await prepare(database.url, role=role_of(app))
    async with session(app) as connection:
        await connection.execute("INSERT INTO groves (name) VALUES ('oak')")
        assert await connection.fetchval("SELECT count(*) FROM grove") == 1


async def test_the_application_may_not_change_the_schema(database: Database, app: str) -> None:
    """It gets rows, and no DDL."""
    await prepare(database.url, role=role_of(app))
    await database.execute("CREATE TABLE grove (id serial PRIMARY KEY)")
    for statement in ["CREATE TABLE weed (id int)", "DROP TABLE grove", "TRUNCATE grove"]:
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            await run(app, statement)


async def test_a_role_that_does_not_exist_is_a_warning(database: Database) -> None:
    """The rest is done; the warning names the role."""
    said = await prepare(database.url, role="nobody here")
    assert without_extensions(said) == ['WARNING: role "nobody here" does not exist: nothing was granted to it']
    assert await ask(database.url, "SELECT current_schema()") == "dryad"


async def test_a_superuser_prepares_the_schema_for_the_application(database: Database, app: str) -> None:
    """As in the postgres image: the application's role can then run its own migrations there."""
    await prepare(database.admin_url, role=role_of(app))
    await run(app, "CREATE TABLE grove (id serial PRIMARY KEY)")
    assert await ask(app, "SELECT to_regclass('dryad.grove') IS NOT NULL")


async def test_every_role_may_run_it_after_the_owner(database: Database, app: str) -> None:
    """First the owner, then a superuser, then the application itself: nobody is refused and nothing is lost."""
    await prepare(database.url, role=role_of(app))
    await database.execute("CREATE TABLE grove (id serial PRIMARY KEY)")
    for url in (database.admin_url, app, database.url):
        assert without_extensions(await prepare(url, role=role_of(app))) == []
    await run(app, "INSERT INTO grove DEFAULT VALUES")
    assert await ask(database.url, "SELECT nspowner::regrole::text FROM pg_namespace WHERE nspname = 'dryad'") in {
        database.role,
        quoted(database.role),
    }


async def test_who_does_not_own_the_database_keeps_the_settings_with_the_role(database: Database, app: str) -> None:
    """A role with CREATE on somebody else's database begins its sessions in its schema; other roles do not."""
    await database.execute(f"GRANT CREATE ON DATABASE {quoted(database.name)} TO {role_of(app)}")
    await prepare(app, schema="glade")
    assert await ask(app, "SELECT current_schema()") == "glade"
    assert await ask(database.url, "SELECT current_schema()") == "public"


async def test_an_older_setting_of_the_role_does_not_win(database: Database, app: str) -> None:
    """A role's own search_path beats the database's, so the script replaces it where it may ..."""
    await database.execute(
        f"ALTER ROLE {role_of(app)} IN DATABASE {quoted(database.name)} SET search_path TO old", as_admin=True
    )
    await prepare(database.admin_url, role=role_of(app))
    assert await ask(app, "SELECT current_schema()") == "dryad"


async def test_an_older_setting_that_must_stay_is_a_warning(database: Database, app: str) -> None:
    """... and says where it may not, with the statement that an administrator would run."""
    await database.execute(f"ALTER ROLE {role_of(app)} SET search_path TO old", as_admin=True)
    said = without_extensions(await prepare(database.url, role=role_of(app)))
    assert len(said) == 1
    assert said[0].startswith(f'WARNING: search_path of role "{role_of(app)}" could not be set')


async def test_the_role_must_be_allowed_to_create_the_schema(app: str) -> None:
    """Without the schema nothing makes sense, so that is an error and not a warning."""
    with pytest.raises(asyncpg.InsufficientPrivilegeError, match="permission denied for database"):
        await prepare(app)


def psql() -> str | None:
    """Find a psql: the one on the path, or the newest of those installed beside their servers."""
    installed = sorted(Path("/usr/lib/postgresql").glob("*/bin/psql"))
    return shutil.which("psql") or (str(installed[-1]) if installed else None)


@pytest.mark.skipif(psql() is None, reason="no psql on this machine")
async def test_psql_runs_it_as_the_postgres_image_does(database: Database, app: str) -> None:
    """The image hands the file to psql, and names reach it through PGOPTIONS, where a blank wants a backslash."""
    client = psql()
    assert client
    options = rf'-c migrator.schema=The\ "Grove" -c migrator.role={role_of(app)}'
    for _ in range(2):
        process = await asyncio.create_subprocess_exec(
            client, "-v", "ON_ERROR_STOP=1", "--no-psqlrc", "--no-password", "--dbname", database.url,
            "--file", str(SCRIPT_FILE),
            env={**os.environ, "PGOPTIONS": options},
            stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
        )  # fmt: skip
        _, errors = await process.communicate()
        assert process.returncode == 0, errors.decode()
    assert await ask(app, "SELECT current_schema()") == 'The "Grove"'


def test_the_script_is_plain_sql() -> None:
    """No line is a command of psql, which the server would not understand when the job sends it."""
    assert not [line for line in SCRIPT.splitlines() if line.lstrip().startswith("\\")]
