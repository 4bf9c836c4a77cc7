"""
The command as an operator meets it: each bad input gives one clear line and the code of the contract.

Everything runs in a process of its own, on real files and servers. After a refusal the target is as it was.
"""

import asyncio
import json
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from urllib.parse import quote

import pytest
from fix_job import Cli, Ended, catalogs, clean_environment, contents, quick_flags, until
from fix_postgres import Database
from fix_sqlite import MakeSqlite
from sqlalchemy import URL, make_url

from migrator.demo.dryad import ALEMBIC_INI

pytestmark = pytest.mark.one_server

NOBODY = ("setpriv", "--reuid=65534", "--regid=65534", "--clear-groups")
ROOT_ONLY = pytest.mark.skipif(os.geteuid() != 0, reason="only root can become somebody else")


def _mode(path: Path, mode: int) -> None:
    path.chmod(mode)


def _move(cli: Cli, source: object, database: Database, *flags: object, prefix: tuple[str, ...] = ()) -> Ended:
    """Run the job into existing tables, with the target in the environment as an operator would have it."""
    command = ("run", "--source", source, "--schema", "existing", *quick_flags(), *flags)
    return cli(*command, prefix=prefix, MIGRATOR_TARGET_URL=database.url)


def _is_one_clear_line(ended: Ended, code: int, database: Database) -> None:
    """Hold what every failure has in common: the code, one event with a next step, no traceback, no password."""
    assert ended.code == code, ended.stderr
    assert ended.failure["exit_code"] == code
    assert ended.failure["next_step"]
    assert "\n" not in ended.message
    assert "Traceback" not in ended.stderr + ended.stdout
    for spelling in {database.password, quote(database.password, safe="")}:
        assert spelling not in ended.stderr + ended.stdout


def _missing(_sample: Path, path: Path) -> None:
    """No file is there."""


def _directory(_sample: Path, path: Path) -> None:
    path.mkdir()


def _empty(_sample: Path, path: Path) -> None:
    path.touch()


def _no_database(_sample: Path, path: Path) -> None:
    path.write_text("id,name\n1,Alice\n" * 1000)


def _truncated(sample: Path, path: Path) -> None:
    path.write_bytes(sample.read_bytes()[:-5000])


def _corrupt_in_the_middle(sample: Path, path: Path) -> None:
    whole = sample.read_bytes()
    middle = len(whole) // 2 // 4096 * 4096
    path.write_bytes(whole[:middle] + b"\xa5" * 8192 + whole[middle + 8192 :])


def _header_without_pages(sample: Path, path: Path) -> None:
    path.write_bytes(sample.read_bytes()[:100])


SOURCES = [
    (_missing, "does not exist"),
    (_directory, "is a directory"),
    (_empty, "is empty"),
    (_no_database, "is no SQLite database"),
    (_truncated, "is truncated"),
    (_corrupt_in_the_middle, "is damaged|malformed"),
    (_header_without_pages, "is truncated"),
]


@pytest.mark.parametrize(("make", "words"), SOURCES, ids=[make.__name__.strip("_") for make, _ in SOURCES])
async def test_sources_that_can_not_be_read(
    make: Callable[[Path, Path], None], words: str, dryad_sample: Path, database: Database, sqlite_file: Path, cli: Cli
) -> None:
    """Exit 3, with the file's name and what is wrong with it; the file is neither made nor changed."""
    path = sqlite_file
    make(dryad_sample, path)
    before = (path.exists(), path.read_bytes() if path.is_file() else None)
    ended = cli(
        *("run", "--source", path, "--alembic-config", ALEMBIC_INI, *quick_flags()), MIGRATOR_TARGET_URL=database.url
    )
    _is_one_clear_line(ended, 3, database)
    assert str(path) in ended.message
    assert any(word in ended.message for word in words.split("|")), ended.message
    assert (path.exists(), path.read_bytes() if path.is_file() else None) == before
    assert all(not rows for name, rows in (await _application_rows(database)).items() if name != "users")


async def _application_rows(database: Database) -> dict[str, int]:
    tables = await database.fetch(
        "SELECT tablename::text AS t FROM pg_tables WHERE schemaname = 'public' AND tablename <> 'alembic_version'"
    )
    return {row["t"]: len(await contents(database, row["t"])) for row in tables}


@ROOT_ONLY
async def test_a_source_that_may_not_be_read(
    dryad_sample: Path, database: Database, cli: Cli, open_folder: Path
) -> None:
    """Exit 3, and what to do about it; as an ordinary user, since root may read everything."""
    source = Path(shutil.copy(dryad_sample, open_folder / "dryad.db"))
    _mode(source, 0o600)
    ended = _move(cli, source, database, prefix=NOBODY)
    _is_one_clear_line(ended, 3, database)
    assert "may not be read" in ended.message


@pytest.mark.parametrize("url", ["mysql://h/db", "postgresql://h/db", "file:///x.db", "sqlite+apsw:///x.db"])
async def test_an_unknown_scheme(url: str, database: Database, cli: Cli) -> None:
    """Exit 2, before anything is opened."""
    ended = _move(cli, url, database)
    _is_one_clear_line(ended, 2, database)
    assert "scheme" in ended.message


TARGETS: dict[str, tuple[Callable[[URL], URL], str]] = {
    "wrong password": (lambda url: url.set(password="wr0ng:p@ss"), "refused the login"),
    "missing database": (lambda url: url.set(database="no such database"), "the database is not there"),
    "unknown role": (lambda url: url.set(username="no such role"), "refused the login"),
    "no TLS on the server": (lambda url: url.update_query_dict({"sslmode": "require"}), "no agreement on TLS"),
}


@pytest.mark.parametrize("case", TARGETS)
async def test_targets_that_refuse(case: str, dryad_file: Path, database: Database, cli: Cli) -> None:
    """Exit 2 at once: what is refused now would be refused again, so nothing is waited for."""
    change, words = TARGETS[case]
    url = change(make_url(database.url)).render_as_string(hide_password=False)
    ended = cli("run", "--source", dryad_file, "--schema", "existing", MIGRATOR_TARGET_URL=url)
    _is_one_clear_line(ended, 2, database)
    assert words in ended.message
    assert "wr0ng" not in ended.stderr
    assert "retry.scheduled" not in ended.stderr


async def test_no_server(dryad_file: Path, database: Database, cli: Cli) -> None:
    """Exit 5 after the time that was allowed: a server may still come."""
    url = make_url(database.url).set(port=1).render_as_string(hide_password=False)
    ended = cli(
        "run", "--source", dryad_file, "--schema", "existing", "--wait-timeout-seconds", 1, MIGRATOR_TARGET_URL=url
    )
    _is_one_clear_line(ended, 5, database)


async def test_a_target_that_has_rows(make_sqlite: MakeSqlite, database: Database, cli: Cli) -> None:
    """Exit 4: the tables and their counts are named, and the rows stay as they are."""
    source = make_sqlite("CREATE TABLE a (id); CREATE TABLE b (id); CREATE TABLE c (id)", {"a": [(1,)], "c": [(1,)]})
    await database.execute("CREATE TABLE a (id int); CREATE TABLE b (id int); CREATE TABLE c (id int PRIMARY KEY)")
    await database.execute("INSERT INTO a VALUES (5); INSERT INTO b VALUES (6), (7)")
    before = await catalogs(database)
    ended = _move(cli, source, database)
    _is_one_clear_line(ended, 4, database)
    assert "public.a (1 row: 1 only there), where id = '5': extra in target" in ended.stderr
    assert "public.b (2 rows: 2 only there), where id = '6': extra in target" in ended.stderr
    assert "public.c" not in ended.message
    assert [await contents(database, name) for name in "abc"] == [["(5)"], ["(6)", "(7)"], []]
    assert await catalogs(database) == before


async def test_what_the_target_lacks(make_sqlite: MakeSqlite, database: Database, cli: Cli) -> None:
    """Exit 4 names every table and column without a partner; --exclude leaves them out on purpose, with a line each."""
    source = make_sqlite(
        "CREATE TABLE users (id INTEGER, nick TEXT); CREATE TABLE audit (id INTEGER)",
        {"users": [(1, "x")], "audit": [(1,)]},
    )
    await database.execute("CREATE TABLE users (id int)")
    ended = _move(cli, source, database)
    _is_one_clear_line(ended, 4, database)
    assert "table 'audit'" in ended.message
    assert "column users.nick" in ended.message
    assert await contents(database, "users") == []
    ended = _move(cli, source, database, "--exclude", "audit", "--exclude", "users.nick")
    assert ended.code == 0, ended.stderr
    skipped = {event["table"]: event["reason"] for event in ended.events if event["event"] == "table.skipped"}
    assert skipped["audit"] == "excluded"
    assert await contents(database, "users") == ["(1)"]


async def test_what_is_no_ordinary_table_is_skipped_with_a_line(
    make_sqlite: MakeSqlite, database: Database, cli: Cli
) -> None:
    """Internal, virtual and shadow tables, views, Alembic's own: each is named with the reason, in log and report."""
    source = make_sqlite(
        "CREATE TABLE a (id INTEGER PRIMARY KEY AUTOINCREMENT, t TEXT); CREATE INDEX i ON a (t);"
        "CREATE VIRTUAL TABLE words USING fts5(t); CREATE VIEW v AS SELECT 1; ANALYZE;"
        "CREATE TABLE alembic_version (version_num TEXT); INSERT INTO words VALUES ('x')",
        {"a": [(1, "x")]},
    )
    with closing(sqlite3.connect(source)) as connection:
        connection.execute("ANALYZE")
        connection.commit()
    await database.execute("CREATE TABLE a (id bigint PRIMARY KEY, t text)")
    ended = _move(cli, source, database)
    assert ended.code == 0, ended.stderr
    skipped = {event["table"]: event["reason"] for event in ended.events if event["event"] == "table.skipped"}
    assert skipped["words"] == "a full-text index over 'a', with 1 rows"
    assert skipped["words_content"] == "the storage of a virtual table"
    assert skipped["sqlite_stat1"] == "internal to SQLite"
    assert skipped["v"] == "a view"
    assert "each side keeps its own" in skipped["alembic_version"]
    assert all(name in ended.stdout for name in skipped)


async def test_values_that_can_not_be_carried(make_sqlite: MakeSqlite, database: Database, cli: Cli) -> None:
    """Exit 3 names table, column, key and value, and nothing was written, not even into the table without fault."""
    source = make_sqlite(
        "CREATE TABLE good (id INTEGER); CREATE TABLE bad (id INTEGER PRIMARY KEY, n INTEGER)",
        {"good": [(1,)], "bad": [(1, 5), (2, "many")]},
    )
    await database.execute("CREATE TABLE good (id int); CREATE TABLE bad (id int PRIMARY KEY, n int)")
    ended = _move(cli, source, database)
    _is_one_clear_line(ended, 3, database)
    assert "bad.n: 1 row" in ended.stderr
    assert "id = 2: 'many'" in ended.stderr
    assert await contents(database, "good") == await contents(database, "bad") == []


async def test_verify_says_so_when_a_value_was_changed(dryad_file: Path, database: Database, cli: Cli) -> None:
    """Run is 0, verify is 0, one changed value makes verify 1 and name the table, and run stays a no-op of 0."""
    flags = ("--source", dryad_file, *quick_flags())
    assert cli("run", *flags, "--alembic-config", ALEMBIC_INI, MIGRATOR_TARGET_URL=database.url).code == 0
    assert cli("verify", *flags, MIGRATOR_TARGET_URL=database.url).code == 0
    await database.execute("UPDATE users SET display_name = 'changed' WHERE id = (SELECT max(id) FROM users)")
    ended = cli("verify", *flags, MIGRATOR_TARGET_URL=database.url)
    _is_one_clear_line(ended, 1, database)
    assert "public.users" in ended.message
    again = cli("run", *flags, "--alembic-config", ALEMBIC_INI, "--format", "json", MIGRATOR_TARGET_URL=database.url)
    assert again.code == 0
    assert json.loads(again.stdout)["headline"].endswith("nothing to do")


async def test_a_second_run_loads_nothing_that_moves_rows(
    make_sqlite: MakeSqlite, database: Database, cli: Cli
) -> None:
    """Compose starts the finished container again: it is over before Arrow, DuckDB, Alembic, … would be loaded."""
    source = make_sqlite("CREATE TABLE t (id INTEGER PRIMARY KEY)")
    await database.execute("CREATE TABLE t (id int PRIMARY KEY)")
    assert _move(cli, source, database).code == 0
    code = "import sys; from migrator.cli import main as cli; failed = cli.main(sys.argv[1:]); "
    late = {"pyarrow", "duckdb", "pgpq", "adbc_driver_sqlite", "alembic"}
    code += f"print(failed, sorted({late} & set(sys.modules)))"
    command = (sys.executable, "-c", code, "run", "--source", str(source), "--schema", "existing")
    environment = clean_environment() | {"MIGRATOR_TARGET_URL": database.url}
    done = await asyncio.to_thread(subprocess.check_output, command, env=environment, text=True)
    assert done.splitlines()[-1] == "0 []", done


async def test_reports_in_a_file_or_pipe(make_sqlite: MakeSqlite, database: Database, cli: Cli) -> None:
    """Names stand there as they are, [brackets] too, and a line is a line: nothing is cut or wrapped at 80 columns."""
    long = "c" * 63
    name = f'"[b]\n{long[:50]}"'
    source = make_sqlite(f"CREATE TABLE {name} (id INTEGER PRIMARY KEY, {long} TEXT)", {name[1:-1]: [(1, "x" * 100)]})
    await database.execute(f"CREATE TABLE {name} (id int PRIMARY KEY, {long} int)")
    flags = ("--source", source, *quick_flags())
    checked = cli("check", *flags, MIGRATOR_TARGET_URL=database.url)
    [found] = [line for line in checked.stdout.splitlines() if "is not stored as INTEGER" in line]
    assert "(100 bytes)" in found
    await database.execute(f"ALTER TABLE {name} ALTER {long} TYPE text USING {long}::text")
    ran = cli("run", *flags, "--schema", "existing", MIGRATOR_TARGET_URL=database.url)
    assert ran.code == 0
    assert f"public.[b]\\n{long[:50]} " in ran.stdout


@pytest.mark.parametrize("masked", [False, True], ids=["shown", "masked"])
async def test_differences_are_a_table(make_sqlite: MakeSqlite, database: Database, cli: Cli, *, masked: bool) -> None:
    """On stdout a person sees table, key, column, both values and the kind; masked, the values are not among it."""
    source = make_sqlite(
        "CREATE TABLE t (id INTEGER PRIMARY KEY, v TEXT)", {"t": [(1, "old [b]"), (2, None), (3, "x")]}
    )
    await database.execute("CREATE TABLE t (id int PRIMARY KEY, v text)")
    await database.execute("INSERT INTO t VALUES (1, 'new'), (2, ''), (4, 'y')")
    flags = ("--mask-values",) if masked else ()
    ended = cli("verify", "--source", source, *quick_flags(), *flags, MIGRATOR_TARGET_URL=database.url, COLUMNS="150")
    _is_one_clear_line(ended, 1, database)
    lines = [line.split() for line in ended.stdout.splitlines()]
    shown = ["'(masked)'", "'(masked)'"] if masked else ["'old", "[b]'", "'new'"]
    assert lines[0] == ["table", "key", "column", "source", "target", "kind"]
    assert ["public.t", "id", "=", "1", "v", *shown, "different"] in lines
    assert ["public.t", "id", "=", "2", "v", "NULL", "'(masked)'" if masked else "''", "different"] in lines
    assert ["public.t", "id", "=", "3", "missing", "in", "target"] in lines
    assert ["public.t", "id", "=", "4", "extra", "in", "target"] in lines
    assert "3 rows in the source, 3 in the target; 2 different" in ended.stdout
    assert masked == ("old" not in ended.stdout + ended.stderr)


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)], ids=["SIGTERM", "SIGINT"])
async def test_a_signal_in_the_middle_of_the_copy(
    number: signal.Signals, code: int, make_sqlite: MakeSqlite, database: Database, cli: Cli
) -> None:
    """The job ends with the signal's code and leaves a true ledger; the next run finishes with 0."""
    names = [f"t{n}" for n in range(4)]
    source = make_sqlite("".join(f"CREATE TABLE {name} (id INTEGER PRIMARY KEY, t TEXT);" for name in names))
    with closing(sqlite3.connect(source)) as connection:
        for name in names:
            connection.execute(
                f"INSERT INTO {name} WITH RECURSIVE n(i) AS (VALUES (1) UNION ALL SELECT i + 1 FROM n WHERE i < 30000) "
                "SELECT i, printf('%0500d', i) FROM n"
            )
        connection.commit()
    for name in names:
        await database.execute(f"CREATE TABLE {name} (id int PRIMARY KEY, t text); CREATE INDEX ON {name} (t)")
    before = await catalogs(database)
    flags = ("--source", source, "--schema", "existing", "--jobs", 1, *quick_flags())
    process = cli.start("run", *flags, MIGRATOR_TARGET_URL=database.url)
    until(lambda event: event["event"] == "table.copied", process)
    process.send_signal(number)
    stdout, stderr = process.communicate(timeout=120)
    ended = Ended(process.returncode, stdout, stderr)
    _is_one_clear_line(ended, code, database)
    status = cli("status", "--format", "json", MIGRATOR_TARGET_URL=database.url)
    [run] = json.loads(status.stdout)["runs"]
    assert (run["exit_code"], bool(run["ended_at"])) == (code, True)
    ended = cli("run", *flags, MIGRATOR_TARGET_URL=database.url)
    assert ended.code == 0, ended.stderr
    assert await catalogs(database) == before
    copied = {event["table"] for event in ended.events if event["event"] == "table.copied"}
    assert 0 < len(copied) < len(names)


async def test_the_traceback_is_for_those_who_ask(dryad_file: Path, database: Database, cli: Cli) -> None:
    """With --log-level debug the same failure shows where it was raised, and still no password."""
    await database.execute("CREATE TABLE users (id text); INSERT INTO users VALUES ('1')")
    ended = _move(cli, dryad_file, database, "--log-level", "debug")
    assert ended.code == 4
    assert "Traceback" in ended.stderr
    assert database.password not in ended.stderr
    assert quote(database.password, safe="") not in ended.stderr


@ROOT_ONLY
async def test_a_read_only_copy_of_the_source(
    dryad_sample: Path, database: Database, cli: Cli, open_folder: Path
) -> None:
    """An ordinary user who may read the file and write nothing beside it gets the whole job done."""
    place = open_folder / "ro"
    place.mkdir()
    source = Path(shutil.copy(dryad_sample, place / "dryad.db"))
    _mode(source, 0o444)
    _mode(place, 0o555)
    ended = cli(
        *("run", "--source", source, "--alembic-config", ALEMBIC_INI, *quick_flags()),
        prefix=NOBODY,
        MIGRATOR_TARGET_URL=database.url,
        HOME=str(place),
    )
    assert ended.code == 0, ended.stderr


async def test_the_rules_file_of_the_working_folder(
    database: Database, cli: Cli, make_sqlite: MakeSqlite, tmp_path: Path
) -> None:
    """It is used and named where no other file is; a file that is named wins, and /dev/null means no rules."""
    source = make_sqlite("CREATE TABLE t (id INTEGER PRIMARY KEY, n INT); INSERT INTO t VALUES (1, 'n/a')")
    await database.execute("CREATE TABLE t (id int PRIMARY KEY, n int)")
    (tmp_path / "migrator.toml").write_text('[columns."t.n"]\nnull = ["n/a"]\n', encoding="utf-8")
    codes = {}
    for rules in ("", "--rules=/dev/null", "--rules=migrator.toml"):
        ended = cli(
            *("check", "--source", source, "--schema", "existing", *([rules] if rules else [])),
            prefix=("env", "-C", str(tmp_path)),
            MIGRATOR_TARGET_URL=database.url,
        )
        paths = [event["path"] for event in ended.events if event["event"] == "rules.found"]
        assert paths == [str(tmp_path / "migrator.toml")] * (not rules), ended.stderr
        codes[rules] = ended.code
    assert codes == {"": 0, "--rules=/dev/null": 3, "--rules=migrator.toml": 0}
