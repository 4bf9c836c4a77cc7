"""The command line on a real server: an example that is printed works, a dry run, and a quiet run."""

import shlex
from pathlib import Path

import pytest
from fix_job import Cli, Ended, quick_flags
from fix_postgres import Database
from fix_sqlite import MakeSqlite

from migrator.config.missing import EXAMPLE_SOURCE, EXAMPLE_TARGET

pytestmark = pytest.mark.one_server

NOTES = """
CREATE TABLE notes (id INTEGER PRIMARY KEY, likes INTEGER NOT NULL);
INSERT INTO notes VALUES (1, 3), (2, 5);
"""


async def tables(database: Database) -> set[str]:
    """Return the tables that are in the database, the ledger's among them."""
    rows = await database.fetch("SELECT schemaname || '.' || tablename AS t FROM pg_tables")
    return {row["t"] for row in rows if not row["t"].startswith(("pg_catalog.", "information_schema."))}


def pasted(ended: Ended, cli: Cli, source: Path, database: Database) -> Ended:
    """Run the example that a failure prints, with an own source and target in place of those of the example."""
    names = {EXAMPLE_SOURCE: str(source), EXAMPLE_TARGET: database.url}
    words = shlex.split(str(ended.failure["next_step"]).split("`")[1])
    assert words[0] == "migrator"
    return cli(*(names.get(word, word) for word in words[1:]), *quick_flags())


async def test_the_example_works(cli: Cli, make_sqlite: MakeSqlite, database: Database) -> None:
    """Whoever has given nothing is shown a command that moves a file; it has moved when that was pasted."""
    source = make_sqlite(NOTES)
    asked = cli("run")
    assert asked.message == "no source, no target and no Alembic configuration are set"
    assert [event["event"] for event in asked.events] == ["job.failed"]
    assert pasted(asked, cli, source, database).code == 0
    for command in ("check", "verify", "status"):
        asked = cli(command)
        assert asked.code == 2
        assert pasted(asked, cli, source, database).code == 0, command


async def test_a_dry_run_does_what_check_does(cli: Cli, make_sqlite: MakeSqlite, database: Database) -> None:
    """The same words and the same exit code, said so, and nothing is written; the run that follows does the work."""
    given = ("--target", database.url, "--schema", "create", *quick_flags())
    wrong = make_sqlite(NOTES.replace("(2, 5)", "(2, 'many')"))
    looked, tried = (cli(*command, "--source", wrong, *given) for command in (("check",), ("run", "--dry-run")))
    assert (looked.code, tried.code) == (3, 3)
    assert (looked.stdout, looked.message) == (tried.stdout, tried.message)
    right = make_sqlite(NOTES, file=wrong.with_name("right.db"))
    tried = cli("run", "--dry-run", "--source", right, *given)
    assert tried.code == 0, tried.stderr
    assert [event["message"] for event in tried.events if event["event"] == "dry_run"]
    assert await tables(database) == set()
    assert cli("run", "--source", right, *given).code == 0
    assert "public.notes" in await tables(database)


async def test_a_quiet_run_tells_its_last_line(cli: Cli, make_sqlite: MakeSqlite, database: Database) -> None:
    """Nothing on stderr and one line on stdout; where it fails, the error as ever."""
    source = make_sqlite(NOTES)
    given = ("--source", source, "--target", database.url, *quick_flags(), "-q")
    done = cli("run", "--schema", "create", *given)
    assert (done.code, done.stderr) == (0, "")
    [line] = done.stdout.splitlines()
    assert line.startswith("migrated: every value of every row is in the target")
    again = cli("run", "--schema", "create", *given)
    assert (again.code, again.stderr, len(again.stdout.splitlines())) == (0, "", 1)
    await database.execute("DELETE FROM notes WHERE id = 2")
    differs = cli("verify", *given)
    assert differs.code == 1
    assert [event["event"] for event in differs.events][-1] == "job.failed"
    assert "notes" in differs.stdout
