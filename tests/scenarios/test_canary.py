"""A canary goes every way that a secret can take, and is found nowhere."""

import shlex
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

import asyncpg
import pytest
from fix_job import Cli, Ended, quick_flags
from fix_postgres import Database
from fix_sqlite import MakeSqlite

pytestmark = pytest.mark.one_server

# Prints what it knows, and writes down how every process of the machine was called.
TELLTALE = """
import os, pathlib, sys
lines = []
for path in pathlib.Path("/proc").glob("[0-9]*/cmdline"):
    try:
        lines.append(path.read_bytes().replace(b"\\0", b" ").decode(errors="replace"))
    except OSError:
        pass
pathlib.Path(sys.argv[1]).write_text("\\n".join(lines))
for name, value in os.environ.items():
    print(name, value, repr(value), file=sys.stderr)
    print(value)
print(os.environ["DATABASE_URL"])
sys.exit(int(sys.argv[2]))
"""
ENV_PY = """
import os, sys
from alembic import context
url = context.config.get_main_option("sqlalchemy.url")
print(url), print(os.environ["DATABASE_URL"], file=sys.stderr)
import logging, warnings
logging.getLogger("app").warning("connecting to %s", url)
warnings.warn(url)
from sqlalchemy import create_engine
create_engine(url.replace("+asyncpg", "+psycopg2"), echo=True) if False else None
connection = context.config.attributes["connection"]
context.configure(connection=connection)
with context.begin_transaction():
    context.run_migrations()
{then}
"""
REVISION = """
from alembic import op
revision, down_revision = "one", None
def upgrade():
    op.execute("CREATE TABLE a (id int PRIMARY KEY, v text)")
"""


@dataclass(slots=True)
class Nest:
    """Where the canary lives, and everything that was written."""

    database: Database
    folder: Path
    source: Path
    cli: Cli

    def run(self, *more: object, command: str = "run", url: str | None = None, **environment: str) -> Ended:
        """Run a command that writes all the files it can."""
        files = {
            "--report": self.folder / "report.json",
            "--differences": self.folder / "differences",
        }
        flags = [str(word) for pair in files.items() for word in pair]
        return self.cli(
            command,
            *flags,
            *(["--source", self.source] if command != "status" else []),
            *quick_flags(),
            "--log-level=debug",
            *more,
            MIGRATOR_TARGET_URL=url or self.database.url,
            MIGRATOR_TERMINATION_MESSAGE=str(self.folder / "termination"),
            variables=environment,
        )

    def by_command(self, code: int) -> list[str]:
        """Return the flags of a schema command that tells all it knows and ends with a code."""
        script = self.folder / "telltale.py"
        script.write_text(TELLTALE)
        words = [sys.executable, str(script), str(self.folder / "processes"), str(code)]
        return ["--schema=command", f"--schema-command={shlex.join(words)}"]

    def by_alembic(self, then: str) -> list[str]:
        """Return the flags of an Alembic project that tells all it knows."""
        project = self.folder / "project"
        (project / "versions").mkdir(parents=True)
        (project / "env.py").write_text(ENV_PY.format(then=then))
        (project / "versions" / "one.py").write_text(REVISION)
        (project / "alembic.ini").write_text("[alembic]\nscript_location = %(here)s\n")
        return [f"--alembic-config={project / 'alembic.ini'}"]

    def with_password(self, password: str) -> str:
        """Return the target's URL with another password."""
        return self.database.server.url(self.database.name, self.database.role, password)


def exists(nest: Nest) -> Ended:
    """Succeed with tables that are there."""
    return nest.run("--schema=create")


def same_again(nest: Nest) -> Ended:
    """Succeed once more, with nothing to do."""
    nest.run("--schema=create")
    return nest.run("--schema=create")


def as_json(nest: Nest) -> Ended:
    """Succeed, and report for programs."""
    return nest.run("--schema=create", "--format=json")


def status_after_failure(nest: Nest) -> Ended:
    """Show what the ledger keeps of a run that failed."""
    nest.run(*nest.by_command(7))
    return nest.run("--format=json", command="status")


def secret_in_command(nest: Nest) -> Ended:
    """Name the password in the command itself."""
    script = nest.folder / "false.sh"
    script.write_text("exit 3")
    return nest.run("--schema=command", f"--schema-command=sh {script} --token {nest.database.url}")


WAYS: dict[str, tuple[int, Callable[[Nest], Ended]]] = {
    "success": (0, exists),
    "nothing to do": (0, same_again),
    "success as JSON": (0, as_json),
    "a command that tells": (4, lambda nest: nest.run(*nest.by_command(0))),
    "a command that fails": (4, lambda nest: nest.run(*nest.by_command(7))),
    "status after failure": (7, status_after_failure),
    "a command with a secret": (4, secret_in_command),
    "migrations that tell": (0, lambda nest: nest.run(*nest.by_alembic("pass"))),
    "migrations that raise": (-1, lambda nest: nest.run(*nest.by_alembic("raise RuntimeError(url)"))),
    "migrations that refuse": (
        -1,
        lambda nest: nest.run(*nest.by_alembic("from alembic.util import CommandError; raise CommandError(url)")),
    ),
    "a wrong password": (2, lambda nest: nest.run(url=nest.with_password(f"x{nest.database.password}"))),
    "a server that is away": (
        5,
        lambda nest: nest.run(
            "--schema=create",
            "--wait-timeout-seconds=0.5",
            url=f"postgresql://u:{quote(nest.database.password, safe='')}@127.0.0.1:1/d",
        ),
    ),
    "a URL that can't be read": (2, lambda nest: nest.run(url=nest.database.url + "?sslmode=never")),
    "a URL as the source": (2, lambda nest: nest.run("--source", nest.database.url)),
    "a URL as the host": (-1, lambda nest: nest.run("--schema=create", url="", POSTGRES_HOST=nest.database.url)),
    "a URL as a flag's value": (2, lambda nest: nest.run("--jobs", nest.database.url)),
    "a check": (4, lambda nest: nest.run(command="check")),
    "tables that are missing": (4, lambda nest: nest.run("--schema=existing")),
}


@pytest.fixture
def nest(database: Database, tmp_path: Path, make_sqlite: MakeSqlite, cli: Cli) -> Nest:
    """Give a database whose owner's password is the canary."""
    source = make_sqlite("CREATE TABLE a (id INTEGER PRIMARY KEY, v TEXT)", {"a": [(1, "x"), (2, "y")]})
    (tmp_path / "written").mkdir()
    return Nest(database, tmp_path / "written", source, cli)


@pytest.mark.parametrize("way", WAYS)
async def test_no_secret_is_written_anywhere(nest: Nest, way: str) -> None:
    """Not to stdout, stderr, a file or the ledger, and no child process has it on its command line."""
    code, go = WAYS[way]
    ended = go(nest)
    assert code in {ended.code, -1}, ended.stderr
    written = {path.name: path.read_text() for path in nest.folder.iterdir() if path.is_file()}
    assert "termination" in written
    seen = {"stdout": ended.stdout, "stderr": ended.stderr, **written, "ledger": await ledger_of(nest.database)}
    canary = nest.database.password[-12:]  # random; what is before it is there to be spelled in many ways
    assert not [place for place, text in seen.items() if canary in text]
    if way in {"a command that fails", "migrations that tell"}:
        assert "***" in ended.stderr + seen["ledger"], "nobody has told anything"


async def ledger_of(database: Database) -> str:
    """Return all that the ledger holds, as text."""
    connection = await asyncpg.connect(database.admin_url)
    try:
        ours = "relkind = 'r' AND relnamespace = to_regnamespace('migrator')"
        tables = await connection.fetch(f"SELECT oid::regclass::text FROM pg_class WHERE {ours}")
        rows = [await connection.fetch(f"SELECT t::text FROM {table[0]} t") for table in tables]
    finally:
        await connection.close()
    return "\n".join(row[0] for some in rows for row in some)


async def test_a_failed_runs_message_in_the_ledger_is_redacted(nest: Nest) -> None:
    """Roles that may read the ledger are not those that may know the password."""
    nest.run(*nest.by_command(7))
    [row] = await nest.database.fetch("SELECT message, settings::text FROM migrator.runs")
    assert "the schema command ended with 7" in row["message"]
    assert "***" in row["message"]


def test_the_termination_message_is_redacted(nest: Nest) -> None:
    """Everybody who may look at a pod reads it."""
    nest.run(*nest.by_command(7))
    said = (nest.folder / "termination").read_text()
    assert "the schema command ended with 7" in said
    assert "***" in said


@pytest.mark.parametrize(
    "password", ["a", "rows", "tables", "run", "copy", "exit_code", "%", "'", "é", " ", "password"]
)
def test_short_and_common_passwords(nest: Nest, password: str) -> None:
    """The outcome stays an outcome, in the log and in every file."""
    nest.database.server.administer(
        f"ALTER ROLE {nest.database.role} PASSWORD '{password.replace(chr(39), chr(39) * 2)}'"
    )
    url = f"postgresql://{nest.database.role}:{quote(password, safe='')}@" + nest.database.url.rpartition("@")[2]
    ended = nest.run("--schema=create", "--format=json", url=url)
    assert ended.code == 0, ended.stderr
    assert ended.events[-1]["event"] == "job.finished"
