"""The whole job for tests: ``dryad_file``, ``settings_of``, ``cli``, and a target's catalogs as text."""

import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any, Protocol
from uuid import UUID

import pytest
from fix_postgres import Database

from migrator import ledger
from migrator.dryad import ALEMBIC_INI
from migrator.dryad.sample import generate
from migrator.migration import Migration
from migrator.run_ledger import RunLedger
from migrator.settings import Settings
from migrator.target import Target

if TYPE_CHECKING:
    from fix_warm import Zygote

ROOT = Path(__file__).parent.parent
INIT_SQL = ROOT / "scripts" / "database" / "init-postgres.sql"
QUICK = {"retry_max_pause_seconds": 0.2, "wait_timeout_seconds": 20, "retry_attempts": 3}


@pytest.fixture(scope="session")
def dryad_sample(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Give a small Dryad database that all tests share: nobody may write to it."""
    path = tmp_path_factory.mktemp("dryad") / "dryad.db"
    generate(path, scale=0.05)
    return path


@pytest.fixture
def dryad_file(dryad_sample: Path, tmp_path: Path) -> Path:
    """Give a small Dryad database of the test's own."""
    return Path(shutil.copy(dryad_sample, tmp_path / "dryad.db"))


@pytest.fixture
def open_folder() -> Iterator[Path]:
    """Give an empty folder that other users may enter; pytest's own are closed, and closed again by each session."""
    with TemporaryDirectory(prefix="migrator-test-") as folder:
        path = Path(folder)
        path.chmod(0o755)
        yield path


def settings_of(source: Path, database: Database, **more: Any) -> Settings:  # noqa: ANN401 - any setting
    """Return settings that move ``source`` into tables of ``database`` that exist, unless ``more`` says otherwise."""
    given = {"source_url": str(source), "target_url": database.url, "schema_mode": "existing", **QUICK, **more}
    return Settings.load(given)


def dryad_settings(source: Path, database: Database, **more: Any) -> Settings:  # noqa: ANN401 - any setting
    """Return settings that move a Dryad database, with its own migrations."""
    return settings_of(source, database, **{"schema_mode": "alembic", "alembic_config": ALEMBIC_INI, **more})


MIGRATION = Migration("public")
"""The one that a run without any settings about it is."""


def run_ledger(target: Target, number: int = 7, migration: Migration = MIGRATION) -> RunLedger:
    """Return the ledger as a run with such an id has it."""
    return RunLedger(target, migration, UUID(int=number))


async def begin_ledger(target: Target, number: int = 7) -> RunLedger:
    """Make the ledger where there is none, and let the run take the migration over."""
    run = run_ledger(target, number)
    async with target.transaction() as connection:
        await ledger.create(connection)
        await run.take_over(connection)
    return run


@dataclass(frozen=True, slots=True)
class Ended:
    """How a command ended, and all that it said."""

    code: int
    stdout: str
    stderr: str

    @property
    def events(self) -> list[dict[str, Any]]:
        """The log, a line each."""
        return [json.loads(line) for line in self.stderr.splitlines()]

    @property
    def failure(self) -> dict[str, Any]:
        """The one event that says why the job failed."""
        [failure] = [event for event in self.events if event["event"] == "job.failed"]
        return failure

    @property
    def message(self) -> str:
        """What that event says to a person."""
        return str(self.failure["message"])


class Cli(Protocol):
    """Runs ``migrator`` in a process of its own; what the fixture ``cli`` gives."""

    def __call__(
        self, *arguments: object, prefix: tuple[str, ...] = (), cold: bool = False, **environment: str
    ) -> Ended:
        """
        Run a command to its end, with these variables and none of ours from outside.

        The process is forked off one that has everything imported, which spares a second; with ``cold``, or where it
        has to be another way, it is ``python -m migrator``. ``prefix`` goes in front of that.
        """

    def start(self, *arguments: object, **environment: str) -> "subprocess.Popen[str]":
        """Start a command and return its process, which is killed when the test ends."""


def clean_environment() -> dict[str, str]:
    """Return this process's environment without any variable that settings or drivers read."""
    ours = ("MIGRATOR_", "POSTGRES_", "PG", "DATABASE_URL")
    kept = {name: value for name, value in os.environ.items() if not name.upper().startswith(ours)}
    return kept | {"PYTHONPATH": str(ROOT), "PYTHONDONTWRITEBYTECODE": "1"}


class _Cli:
    def __init__(self, zygote: "Zygote") -> None:
        self.started: list[subprocess.Popen[str]] = []
        self._zygote = zygote

    def __call__(
        self, *arguments: object, prefix: tuple[str, ...] = (), cold: bool = False, **environment: str
    ) -> Ended:
        if not prefix and not cold and "PYTHONPATH" not in environment:
            return self._zygote(*arguments, park_all=False, **environment)
        done = subprocess.run(
            [*prefix, *_command(arguments)],
            env=clean_environment() | environment,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        return Ended(done.returncode, done.stdout, done.stderr)

    def start(self, *arguments: object, **environment: str) -> "subprocess.Popen[str]":
        process = subprocess.Popen(
            _command(arguments),
            env=clean_environment() | environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        self.started.append(process)
        return process


def _command(arguments: tuple[object, ...]) -> list[str]:
    return [sys.executable, "-m", "migrator", *map(str, arguments)]


@pytest.fixture
def cli(zygote: "Zygote") -> Iterator[Cli]:
    """Give the command line of the product."""
    cli = _Cli(zygote)
    yield cli
    zygote.clear()
    for process in cli.started:
        if process.poll() is None:
            process.send_signal(signal.SIGKILL)
        process.communicate()


def quick_flags() -> list[str]:
    """Return flags that keep a failing test short."""
    return [f"--{name.replace('_', '-')}={value}" for name, value in QUICK.items()]


def until(condition: Callable[[dict[str, Any]], bool], process: "subprocess.Popen[str]") -> dict[str, Any]:
    """Read the log of a started command up to the event that fulfils the condition, and return that event."""
    assert process.stderr is not None
    for line in process.stderr:
        event: dict[str, Any] = json.loads(line)
        if condition(event):
            return event
    raise AssertionError("the command ended before the event came")


async def catalogs(database: Database) -> dict[str, list[str]]:
    """Return all that the catalogs say about the tables of a database, as sorted lines: equal means equal schemas."""
    found = {name: await database.fetch(query, as_admin=True) for name, query in CATALOGS.items()}
    return {name: sorted(str(tuple(row)) for row in rows) for name, rows in found.items()}


async def contents(database: Database, table: str) -> list[str]:
    """Return a table's rows as sorted text."""
    rows = await database.fetch(f'SELECT ROW(one.*)::text COLLATE "C" FROM {table} AS one ORDER BY 1')
    return [row[0] for row in rows]


_OURS = "n.nspname NOT IN ('pg_catalog', 'information_schema', 'pg_toast', 'migrator')"
CATALOGS = {
    "relations": f"""
        SELECT n.nspname, c.relname, c.relkind::text, c.relpersistence::text, c.reloptions, c.relreplident::text,
               c.relrowsecurity, c.relforcerowsecurity, pg_get_userbyid(c.relowner), s.spcname, c.relacl::text,
               obj_description(c.oid, 'pg_class')
        FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
        LEFT JOIN pg_tablespace s ON s.oid = c.reltablespace
        WHERE {_OURS}""",
    "columns": f"""
        SELECT n.nspname, c.relname, a.attname, format_type(a.atttypid, a.atttypmod), a.attnotnull, a.attidentity::text,
               a.attgenerated::text, a.attstattarget, a.attstorage::text, a.attoptions, l.collname,
               pg_get_expr(d.adbin, d.adrelid), col_description(c.oid, a.attnum)
        FROM pg_attribute a JOIN pg_class c ON c.oid = a.attrelid JOIN pg_namespace n ON n.oid = c.relnamespace
        LEFT JOIN pg_attrdef d ON d.adrelid = c.oid AND d.adnum = a.attnum
        LEFT JOIN pg_collation l ON l.oid = a.attcollation
        WHERE {_OURS} AND a.attnum > 0 AND NOT a.attisdropped""",
    "constraints": f"""
        SELECT n.nspname, k.conrelid::regclass::text, k.conname, k.contype::text, pg_get_constraintdef(k.oid),
               k.condeferrable, k.condeferred, k.convalidated, k.connoinherit, i.relname, k.conkey, k.confkey,
               obj_description(k.oid, 'pg_constraint')
        FROM pg_constraint k JOIN pg_namespace n ON n.oid = k.connamespace LEFT JOIN pg_class i ON i.oid = k.conindid
        WHERE {_OURS}""",
    "indexes": f"""
        SELECT n.nspname, i.relname, pg_get_indexdef(x.indexrelid), x.indisunique, x.indisprimary, x.indimmediate,
               x.indisclustered, x.indisvalid, x.indisready, x.indisreplident, x.indisexclusion,
               obj_description(x.indexrelid, 'pg_class')
        FROM pg_index x JOIN pg_class i ON i.oid = x.indexrelid JOIN pg_namespace n ON n.oid = i.relnamespace
        WHERE {_OURS}""",
    "triggers": f"""
        SELECT n.nspname, c.relname, CASE WHEN t.tgisinternal THEN 'of ' || k.conname ELSE t.tgname END,
               t.tgenabled::text, t.tgtype, t.tgdeferrable, t.tginitdeferred, t.tgfoid::regproc::text,
               CASE WHEN NOT t.tgisinternal THEN pg_get_triggerdef(t.oid) END
        FROM pg_trigger t JOIN pg_class c ON c.oid = t.tgrelid JOIN pg_namespace n ON n.oid = c.relnamespace
        LEFT JOIN pg_constraint k ON k.oid = t.tgconstraint
        WHERE {_OURS}""",
    "statistics": f"""
        SELECT n.nspname, s.stxname, pg_get_statisticsobjdef(s.oid) FROM pg_statistic_ext s
        JOIN pg_namespace n ON n.oid = s.stxnamespace WHERE {_OURS}""",
    "views": f"""
        SELECT n.nspname, c.relname, pg_get_viewdef(c.oid) FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
        WHERE {_OURS} AND c.relkind IN ('v', 'm')""",
    "publications": """
        SELECT p.pubname, r.prrelid::regclass::text
        FROM pg_publication_rel r JOIN pg_publication p ON p.oid = r.prpubid""",
}
