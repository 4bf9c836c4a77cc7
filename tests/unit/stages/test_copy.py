"""Stage copy: a table arrives whole with its line in the ledger, or stays as it was, without a line."""

import sqlite3
from collections.abc import Awaitable, Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from fix_job import catalogs, contents, settings_of
from fix_obstacle import only_in_copy
from fix_postgres import Database, Server, database_on, quick_server
from fix_sqlite import MakeSqlite

from migrator.concurrency.replay_queue import ReplayQueue
from migrator.errors import RowsInTheWay, SourceChanged, TargetRefused
from migrator.job import migrate, run
from migrator.monitoring.tracker import Tracker
from migrator.planning.grouping import SMALL_BYTES
from migrator.stages.park import park


async def test_triggers_do_not_fire_and_are_as_before(make_sqlite: MakeSqlite, database: Database) -> None:
    """An application's triggers would change rows that must arrive as they are; each keeps its own way of being on."""
    rows = SMALL_BYTES // 100  # enough for a TRUNCATE, which has triggers too
    source = make_sqlite("CREATE TABLE t (id INTEGER, t TEXT)", {"t": [(n, "as it was") for n in range(rows)]})
    await database.execute("""
        CREATE TABLE t (id int, t text); CREATE TABLE log (n int);
        CREATE FUNCTION touch() RETURNS trigger LANGUAGE plpgsql AS
            $$ BEGIN INSERT INTO log VALUES (1); NEW.t := 'touched'; RETURN NEW; END $$;
        CREATE FUNCTION seen() RETURNS trigger LANGUAGE plpgsql AS
            $$ BEGIN INSERT INTO log VALUES (2); RETURN NULL; END $$;
        CREATE TRIGGER "a b" BEFORE INSERT ON t FOR EACH ROW EXECUTE FUNCTION touch();
        CREATE TRIGGER always BEFORE INSERT ON t FOR EACH ROW EXECUTE FUNCTION touch();
        ALTER TABLE t ENABLE ALWAYS TRIGGER always;
        CREATE TRIGGER replica AFTER INSERT ON t FOR EACH ROW EXECUTE FUNCTION seen();
        ALTER TABLE t ENABLE REPLICA TRIGGER replica;
        CREATE TRIGGER off AFTER INSERT ON t FOR EACH ROW EXECUTE FUNCTION seen();
        ALTER TABLE t DISABLE TRIGGER off;
        CREATE TRIGGER emptied AFTER TRUNCATE ON t EXECUTE FUNCTION seen();
    """)
    before = await catalogs(database)
    await run.run(settings_of(source, database), Tracker())
    assert await contents(database, "t") == sorted(f'({n},"as it was")' for n in range(rows))
    assert await contents(database, "log") == []
    assert await catalogs(database) == before


@pytest.mark.one_server
async def test_rows_that_come_between_preflight_and_copy_are_not_removed(
    make_sqlite: MakeSqlite, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The application starts too early and writes when preflight has found the table empty: its rows stay."""
    source = make_sqlite("CREATE TABLE t (id INTEGER)", {"t": [(1,)]})
    await database.execute("CREATE TABLE t (id int)")

    async def late(*arguments: Any) -> int:  # noqa: ANN401 - passed on
        await database.execute("INSERT INTO t VALUES (77)")
        return await park(*arguments)

    monkeypatch.setattr(migrate, "park", late)
    with pytest.raises(RowsInTheWay, match=r"public\.t"):
        await run.run(settings_of(source, database), Tracker())
    assert await contents(database, "t") == ["(77)"]


@pytest.mark.one_server
async def test_who_gets_a_new_file(make_sqlite: MakeSqlite, database: Database) -> None:
    """A large table is emptied and its rows frozen; a small one that is empty isn't touched before its rows come."""
    many = [(n,) for n in range(SMALL_BYTES // 100)]
    source = make_sqlite(
        "CREATE TABLE small (id INTEGER); CREATE TABLE other (id INTEGER); CREATE TABLE large (id INTEGER)",
        {"small": many[:9], "other": many[:9], "large": many},
    )
    await database.execute("CREATE TABLE small (id int); CREATE TABLE other (id int); CREATE TABLE large (id int)")
    files = "SELECT relname, pg_relation_filenode(oid) FROM pg_class WHERE relname IN ('small', 'other', 'large')"
    before = {(*row,) for row in await database.fetch(files)}
    await run.run(settings_of(source, database), Tracker())
    assert {name for name, _ in {(*row,) for row in await database.fetch(files)} - before} == {"large"}
    # Pages that were begun with frozen rows are known to be visible to all, so VACUUM needn't read them.
    visible = "SELECT relname, relallvisible > 0 FROM pg_class WHERE relname IN ('small', 'other', 'large')"
    assert {(*row,) for row in await database.fetch(visible)} == {("large", True), ("small", False), ("other", False)}


@pytest.mark.one_server
@pytest.mark.usefixtures("obstacle_allowed")
async def test_a_refused_row_leaves_its_table_empty(make_sqlite: MakeSqlite, database: Database) -> None:
    """The server refuses the last of many rows: none of the table is there, and the ledger has no line about it."""
    source = make_sqlite("CREATE TABLE t (id INTEGER)", {"t": [(n,) for n in range(2000)]})
    await database.execute(f"CREATE TABLE t (id int); {only_in_copy('t', 'id < 1999')}")
    with pytest.raises(TargetRefused, match="violates check constraint"):
        await run.run(settings_of(source, database), Tracker())
    assert await contents(database, "t") == []
    assert await database.fetch("SELECT FROM migrator.tables") == []


@pytest.mark.one_server
async def test_a_writer_to_a_database_in_wal_mode(
    make_sqlite: MakeSqlite, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its commit can't be held off, so it is noticed at once: the job stops with 3, and the table stays empty."""
    source = make_sqlite("PRAGMA journal_mode = wal; CREATE TABLE t (id INTEGER)", {"t": [(1,)]})
    await database.execute("CREATE TABLE t (id int)")
    monkeypatch.setattr(migrate, "park", _after(_writer(source), park))
    with pytest.raises(SourceChanged, match="somebody writes to the source"):
        await run.run(settings_of(source, database), Tracker())
    assert await contents(database, "t") == []


@pytest.mark.one_server
async def test_a_writer_to_a_database_with_a_rollback_journal(
    make_sqlite: MakeSqlite, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is told that the database is locked, and the job goes on to its good end."""
    source = make_sqlite("CREATE TABLE t (id INTEGER)", {"t": [(1,)]})
    await database.execute("CREATE TABLE t (id int)")
    told: list[str] = []

    def write() -> None:
        with pytest.raises(sqlite3.OperationalError) as caught:
            _writer(source)()
        told.append(str(caught.value))

    monkeypatch.setattr(migrate, "park", _after(write, park))
    await run.run(settings_of(source, database), Tracker())
    assert told == ["database is locked"]
    assert await contents(database, "t") == ["(1)"]


def _writer(path: Path) -> Callable[[], None]:
    def write() -> None:
        with closing(sqlite3.connect(path, timeout=0)) as connection:
            connection.execute("INSERT INTO t VALUES (2)")
            connection.commit()

    return write


def _after(happening: Callable[[], None], stage: Callable[..., Awaitable[int]]) -> Callable[..., Awaitable[int]]:
    async def both(*arguments: object) -> int:
        happening()
        return await stage(*arguments)

    return both


async def test_a_partitioned_table(make_sqlite: MakeSqlite, database: Database) -> None:
    """Its rows go where they belong, and its keys, which the parts share, stay."""
    source = make_sqlite("CREATE TABLE t (id INTEGER PRIMARY KEY, n INTEGER)", {"t": [(1, 5), (2, 15), (3, 25)]})
    await database.execute(
        "CREATE TABLE t (id int, n int, PRIMARY KEY (id, n)) PARTITION BY RANGE (n);"
        "CREATE TABLE t1 PARTITION OF t FOR VALUES FROM (0) TO (10);"
        "CREATE TABLE t2 PARTITION OF t DEFAULT"
    )
    before = await catalogs(database)
    await run.run(settings_of(source, database), Tracker())
    assert (await contents(database, "t1"), await contents(database, "t2")) == (["(1,5)"], ["(2,15)", "(3,25)"])
    assert await catalogs(database) == before


@pytest.mark.one_server
async def test_wide_rows_among_narrow_ones(make_sqlite: MakeSqlite, database: Database) -> None:
    """A few rows far wider than the rest are cut into batches by bytes, and every row arrives once."""
    rows = [(n, "x" * (500_000 if n % 400 == 7 else 3)) for n in range(2000)]
    source = make_sqlite("CREATE TABLE t (id INTEGER PRIMARY KEY, t TEXT)", {"t": rows})
    await database.execute("CREATE TABLE t (id int PRIMARY KEY, t text)")
    await run.run(settings_of(source, database, batch_bytes=1 << 20), Tracker())
    [counted] = await database.fetch("SELECT count(*) AS n, sum(length(t)) AS size FROM t")
    assert tuple(counted) == (2000, sum(len(t) for _, t in rows))


async def test_tables_without_columns_rows_or_rowid(make_sqlite: MakeSqlite, database: Database) -> None:
    """Empty tables, tables without a rowid, and those whose columns took all of its names, each in order."""
    source = make_sqlite(
        "CREATE TABLE none (id INTEGER); CREATE TABLE keyed (a TEXT, b INTEGER, PRIMARY KEY (b, a)) WITHOUT ROWID;"
        "CREATE TABLE taken (rowid TEXT, oid TEXT, _rowid_ TEXT)",
        {"keyed": [("x", 1), ("y", 0)], "taken": [("a", "b", "c")]},
    )
    await database.execute(
        "CREATE TABLE none (id int); CREATE TABLE keyed (a text, b int, PRIMARY KEY (b, a));"
        "CREATE TABLE taken (rowid text, oid text, _rowid_ text)"
    )
    await run.run(settings_of(source, database), Tracker())
    assert await contents(database, "none") == []
    assert await contents(database, "keyed") == ["(x,1)", "(y,0)"]
    assert await contents(database, "taken") == ["(a,b,c)"]


@pytest.mark.parametrize("pieces", [{}, {"chunk_bytes": 10_000}], ids=["whole", "in pieces"])
async def test_what_is_handed_on_outlives_a_crash(
    pieces: dict[str, int], make_sqlite: MakeSqlite, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Other stages go on with it: rows that the server has taken back would be a difference."""
    source = make_sqlite(
        "CREATE TABLE t (id INTEGER PRIMARY KEY, t TEXT); WITH RECURSIVE n(i) AS (VALUES (1) UNION ALL SELECT i + 1 "
        "FROM n WHERE i < 2000) INSERT INTO t SELECT i, printf('%0100d', i) FROM n"
    )
    there: list[int] = []
    with quick_server(wal_writer_delay="10s") as server, database_on(Server("own", server.url("postgres"))) as database:
        await database.execute("CREATE TABLE t (id int PRIMARY KEY, t text)")

        async def crash(_handover: object, _table: object) -> None:
            server.stop("immediate")
            server.start()
            there.append((await database.fetch("SELECT count(*) AS n FROM t"))[0]["n"])
            raise ValueError("seen enough")

        monkeypatch.setattr(ReplayQueue, "add", crash)
        # In turn, so that no other stage is in the middle of a statement when the server crashes.
        with pytest.raises(ExceptionGroup):
            await run.run(settings_of(source, database, retry_attempts=1, in_turn=True, **pieces), Tracker())
    assert there == [2000]
