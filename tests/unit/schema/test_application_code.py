"""An application's own env.py and revisions: what goes wrong there is said with its place, and isn't the job's bug."""

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
from alembic_projects import ASYNCHRONOUS, COOKBOOK, SYNCHRONOUS, project, tables, target_of
from fix_job import Cli
from fix_postgres import Database, database_on
from fix_sqlite import MakeSqlite
from structlog.testing import capture_logs

from migrator.errors import ConfigurationError
from migrator.events import Event
from migrator.schema.alembic import AlembicProject

WRONG = {
    "variable": (
        "import os\nos.environ['SECRET_SAUCE']\n",
        r"variable SECRET_SAUCE \(env\.py, line 2\)",
        "Set SECRET_SAUCE",
    ),
    "module": ("\n\nimport no_such_thing\n", r"module 'no_such_thing' \(env\.py, line 3\)", "image"),
    "syntax": ("def f(:\n", r"SyntaxError: .* \(env\.py, line 1\)", "Correct"),
    "anything": ("raise RuntimeError('no luck\\nat all')\n", r"RuntimeError: no luck \(env\.py, line 1\)", "Correct"),
    "nothing said": ("assert False\n", r"AssertionError \(env\.py, line 1\)", "Correct"),
    "end": ("import sys\nsys.exit(0)\n", r"sys\.exit\(0\) \(env\.py, line 2\)", "sys.exit"),
    "url": ("from sqlalchemy import create_engine\ncreate_engine('no url')\n", r"ArgumentError: .*line 2\)", "Correct"),
    "driver": (
        "import sqlalchemy\nsqlalchemy.create_engine('nosuch://x/y')\n",
        r"NoSuchModuleError: .*line 2\)",
        "Correct",
    ),
}


@pytest.mark.one_server
@pytest.mark.parametrize("kind", WRONG)
@pytest.mark.parametrize("env", [COOKBOOK, ASYNCHRONOUS], ids=["shared", "own loop"])
async def test_what_env_raises_is_a_matter_of_configuration(
    kind: str, env: str, tmp_path: Path, database: Database
) -> None:
    """With the thing that is missing and the line in env.py; nothing has been done to the target."""
    begin, said, advice = WRONG[kind]
    ini = project(tmp_path, begin + env, {"one": None})
    with pytest.raises(ConfigurationError, match=said) as caught:
        await AlembicProject(ini).upgrade(target_of(database), ["one"])
    assert advice in caught.value.next_step
    assert await tables(database) == set()


@pytest.mark.one_server
async def test_a_revision_that_raises(tmp_path: Path, database: Database) -> None:
    """In its upgrade() or when it is loaded: the file is named; what the server says of its SQL stays that."""
    ini = project(tmp_path, COOKBOOK, {"one": None})
    revision = tmp_path / "mig rations" / "versions" / "one_.py"
    good = revision.read_text()
    revision.write_text(good.replace("def upgrade():\n", "def upgrade():\n    {}['no such key']\n"))
    with pytest.raises(ConfigurationError, match=r"KeyError: 'no such key' \(versions/one_\.py, line 9\)"):
        await AlembicProject(ini).upgrade(target_of(database), ["one"])
    revision.write_text("import no_such_thing\n" + good)
    with pytest.raises(ConfigurationError, match=r"'no_such_thing' \(versions/one_\.py, line 1\)"):
        AlembicProject(ini).head()
    revision.write_text(good.replace("def upgrade():\n", "def upgrade():\n    op.execute('SELECT nonsense')\n"))
    with pytest.raises(Exception, match='column "nonsense" does not exist') as caught:
        await AlembicProject(ini).upgrade(target_of(database), ["one"])
    assert not isinstance(caught.value, ConfigurationError)


@pytest.mark.one_server
async def test_an_env_that_goes_to_another_database_is_told(tmp_path: Path, database: Database) -> None:
    """Before a migration runs there: a file, another database of the same server; with both ends named."""
    other = tmp_path / "other.db"
    fixed = SYNCHRONOUS.replace("engine_from_config(config", "engine_from_config({'sqlalchemy.url': 'URL'} or config")
    ini = project(tmp_path / "a", fixed.replace("URL", f"sqlite:///{other}"), {"one": None})
    target = target_of(database)
    with pytest.raises(ConfigurationError, match=rf"goes to a database of sqlite, .*{database.name}") as caught:
        await AlembicProject(ini).upgrade(target, ["one"])
    assert "DATABASE_URL" in caught.value.next_step
    with closing(sqlite3.connect(other)) as connection:
        assert ("t_one",) not in connection.execute("SELECT name FROM sqlite_schema").fetchall()
    with database_on(database.server) as second:
        url = target_of(second).address.sqlalchemy_url().render_as_string(hide_password=False)
        ini = project(
            tmp_path / "b",
            ASYNCHRONOUS.replace("config.get_section(config.config_ini_section, {})", f"{{'sqlalchemy.url': {url!r}}}"),
            {"one": None},
        )
        with pytest.raises(ConfigurationError, match=rf"goes to the database '{second.name}'") as caught:
            await AlembicProject(ini).upgrade(target, ["one"])
        assert second.password not in str(caught.value)
        assert "t_one" not in await tables(second)
    assert await tables(database) == set()


@pytest.mark.one_server
async def test_an_env_that_runs_or_commits_nothing_is_told(tmp_path: Path, database: Database) -> None:
    """Its end without an error proves nothing."""
    idle = "from alembic import context\nif context.is_offline_mode():\n    context.run_migrations()\n"
    with pytest.raises(ConfigurationError, match="has run no migrations"):
        await AlembicProject(project(tmp_path / "a", idle, {"one": None})).upgrade(target_of(database), ["one"])
    uncommitted = SYNCHRONOUS.replace(
        "        with context.begin_transaction():\n            context", "        if True:\n            context"
    )
    assert uncommitted != SYNCHRONOUS
    with pytest.raises(ConfigurationError, match=r"committed nothing: public\.alembic_version has no revision"):
        await AlembicProject(project(tmp_path / "b", uncommitted, {"one": None})).upgrade(target_of(database), ["one"])


@pytest.mark.one_server
async def test_what_env_prints_goes_into_the_log(
    tmp_path: Path, database: Database, capsys: pytest.CaptureFixture[str]
) -> None:
    """The standard output is the report's, which programs read."""
    ini = project(tmp_path, "print('hello')\nprint('two', end='')\nprint(' halves')\n" + COOKBOOK, {"one": None})
    with capture_logs() as events:
        await AlembicProject(ini).upgrade(target_of(database), ["one"])
    told = [event["message"] for event in events if event["event"] == Event.LIBRARY_MESSAGE]
    assert told == ["hello", "two halves"]
    assert capsys.readouterr().out == ""


@pytest.mark.one_server
async def test_the_job_never_ends_well_because_env_ended_it(
    tmp_path: Path, database: Database, make_sqlite: MakeSqlite, cli: Cli
) -> None:
    """sys.exit(0) in env.py would be the job's own exit code 0, with nothing copied."""
    ini = project(tmp_path, "import sys\nsys.exit(0)\n" + COOKBOOK, {"one": None})
    source = make_sqlite("CREATE TABLE t_one (id INTEGER)", {"t_one": [(1,)]})
    ended = cli("run", "--source-url", source, "--target-url", database.url, "--alembic-config", ini)
    assert (ended.code, ended.failure["stage"]) == (2, "schema")
