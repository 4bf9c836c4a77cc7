"""What an earlier run has begun is finished, brought anew, or refused by name: never left half there under a 0."""

from collections.abc import Awaitable, Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from fix_job import contents, settings_of
from fix_obstacle import CLEAR, OBSTACLES, obstacle
from fix_postgres import Database, Server, database_on, quick_server
from fix_sqlite import MakeSqlite
from structlog.testing import capture_logs

from migrator.errors import GaveUp, MigratorError, RowsInTheWay, SourceChanged, TargetRefused
from migrator.job import migrate, run
from migrator.monitoring.tracker import Tracker

pytestmark = [pytest.mark.one_server, pytest.mark.usefixtures("obstacle_allowed")]

SCRIPT = """
CREATE TABLE big (id INTEGER PRIMARY KEY, t TEXT); CREATE TABLE whole (n INTEGER); CREATE TABLE last (n INTEGER);
WITH RECURSIVE n(i) AS (VALUES (1) UNION ALL SELECT i + 1 FROM n WHERE i < 3000)
INSERT INTO big SELECT i, printf('%0100d', i) FROM n;
INSERT INTO whole SELECT id FROM big LIMIT 40;
INSERT INTO last VALUES (1);
"""
TABLES = "CREATE TABLE big (id bigint PRIMARY KEY, t text); CREATE TABLE whole (n int); CREATE TABLE last (n int);"
TARGET = TABLES + OBSTACLES
IN_BIG = TARGET + obstacle("big", "id", 1500)
IN_LAST = TARGET + obstacle("last", "n", 0)
PIECES = {"chunk_bytes": 20_000, "jobs": 1}


async def _begun(source: Path, database: Database, target: str, **more: object) -> None:
    """Let a run come as far as the obstacle, and take that away."""
    await database.execute(target)
    with pytest.raises(TargetRefused, match="violates check constraint"):
        await run.run(settings_of(source, database, **PIECES, **more), Tracker())
    await database.execute(CLEAR)


async def _half_there(source: Path, database: Database, target: str) -> None:
    """Let a run end in the middle of the largest table."""
    await _begun(source, database, target)


async def _copied(source: Path, database: Database, target: str) -> None:
    """Let a run end when all tables are copied and none is compared."""

    async def cut(*_arguments: object) -> None:
        raise GaveUp("cut")

    await database.execute(target + CLEAR)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(migrate, "analyze", cut)
        with pytest.raises(GaveUp):
            await run.run(settings_of(source, database, in_turn=True, **PIECES), Tracker())


Reach = Callable[[Path, Database, str], Awaitable[None]]


async def _is_all_there(database: Database) -> None:
    counts = [len(await contents(database, name)) for name in ("big", "whole", "last")]
    assert counts == [3000, 40, 1]


async def _is_complete(database: Database) -> bool:
    return bool(await database.fetch("SELECT 1 FROM migrator.state WHERE name IN ('completed', 'ready')"))


async def test_a_table_that_is_half_there_can_not_be_left_out(make_sqlite: MakeSqlite, database: Database) -> None:
    """Excluded after it was begun: 4, which names it, as often as one asks; with the settings as they were it ends."""
    source = make_sqlite(SCRIPT)
    await _begun(source, database, IN_BIG)
    half = await contents(database, "big")
    assert 0 < len(half) < 3000
    for _ in range(2):
        with pytest.raises(TargetRefused, match=r"table big \(excluded now\)") as caught:
            await run.run(settings_of(source, database, exclude="big"), Tracker())
        assert "--restart" in caught.value.next_step
        assert not await _is_complete(database)
    assert await contents(database, "big") == half
    await run.run(settings_of(source, database), Tracker())
    await _is_all_there(database)


async def test_restart_is_the_other_way(make_sqlite: MakeSqlite, database: Database) -> None:
    """What was copied is taken back, and the table is left out: empty, not in part."""
    source = make_sqlite(SCRIPT)
    await _begun(source, database, IN_BIG)
    await run.run(settings_of(source, database, exclude="big", restart=True), Tracker())
    assert await contents(database, "big") == []
    assert len(await contents(database, "whole")) == 40


async def test_a_table_that_was_not_begun_may_be_left_out(make_sqlite: MakeSqlite, database: Database) -> None:
    """That is what refusals advise, and nothing of it is in the target."""
    source = make_sqlite(SCRIPT)
    await database.execute(IN_LAST)
    with pytest.raises(TargetRefused):
        await run.run(settings_of(source, database, jobs=1, chunk_bytes=2000), Tracker())
    await run.run(settings_of(source, database, exclude="last"), Tracker())
    assert await contents(database, "last") == []
    assert len(await contents(database, "big")) == 3000


RULES = {
    "a column left out": '[columns."big.t"]\nexclude = true\n',
    "an expression": '[columns."big.t"]\nexpression = "upper(t)"\n',
    "empty for null": '[columns."*.t"]\nempty_as_null = true\n',
}


@pytest.mark.parametrize("rule", RULES)
async def test_other_rules(rule: str, make_sqlite: MakeSqlite, database: Database, tmp_path: Path) -> None:
    """A table is not gone on with under rules that it wasn't begun under: 4, with column and both rules."""
    source = make_sqlite(SCRIPT)
    await _begun(source, database, IN_BIG)
    file = tmp_path / "migrator.toml"
    file.write_text(RULES[rule])
    with pytest.raises(TargetRefused, match=r"big\.t \(no rule then"):
        await run.run(settings_of(source, database, rules=str(file)), Tracker())
    await run.run(settings_of(source, database), Tracker())
    await _is_all_there(database)


async def test_another_schema_under_the_same_name(make_sqlite: MakeSqlite, database: Database) -> None:
    """Half in one schema and half in another would be complete in neither."""
    source = make_sqlite(SCRIPT)
    named = {"migration": "app"}
    await _begun(source, database, IN_BIG, target_schema="public", **named)
    await database.execute(f"CREATE SCHEMA other; SET search_path = other; {TABLES}")
    with pytest.raises(MigratorError) as caught:
        await run.run(settings_of(source, database, target_schema="other", **named), Tracker())
    assert caught.value.exit_code == 4
    assert await contents(database, "other.whole") == []


LOST = {
    "emptied": ("TRUNCATE big, whole", {"public.big", "public.whole"}),
    "deleted": ("DELETE FROM whole", {"public.whole"}),
    "made anew": (
        "DROP TABLE whole, big; CREATE TABLE whole (n int); CREATE TABLE big (id bigint PRIMARY KEY, t text)",
        {"public.big", "public.whole"},
    ),
}


@pytest.mark.parametrize("reach", [_half_there, _copied])
@pytest.mark.parametrize("loss", LOST)
async def test_rows_that_are_gone(loss: str, reach: Reach, make_sqlite: MakeSqlite, database: Database) -> None:
    """The ledger says that they were brought and the table is empty: they are brought anew, and the log says so."""
    source = make_sqlite(SCRIPT)
    await reach(source, database, IN_BIG)
    script, names = LOST[loss]
    there = {name for name in names if await contents(database, name)}
    await database.execute(script)
    with capture_logs() as events:
        await run.run(settings_of(source, database), Tracker())
    assert {event["table"] for event in events if event["event"] == "rows.lost"} == there
    await _is_all_there(database)


async def test_some_rows_are_gone(make_sqlite: MakeSqlite, database: Database) -> None:
    """Nobody can tell which pieces of a half-copied table they were of: 4, and the way on that is named works."""
    source = make_sqlite(SCRIPT)
    await _begun(source, database, IN_BIG)
    await database.execute("DELETE FROM big WHERE id < 4")
    with pytest.raises(RowsInTheWay, match=r"public\.big was copied in part, and 3 of"):
        await run.run(settings_of(source, database), Tracker())
    await run.run(settings_of(source, database, restart=True, force=True), Tracker())
    await _is_all_there(database)


@pytest.fixture
def crashing() -> Iterator[tuple[Callable[[], None], Database]]:
    """Give a database on a server of its own, and what lets that crash and recover."""
    with ExitStack() as stack:
        embedded = stack.enter_context(quick_server(fsync="on", synchronous_commit="on"))
        database = stack.enter_context(database_on(Server("own", embedded.url("postgres"))))
        yield lambda: embedded.restart("immediate"), database


@pytest.mark.parametrize("reach", [_half_there, _copied])
async def test_an_unlogged_table_after_a_crash(
    reach: Reach, make_sqlite: MakeSqlite, crashing: tuple[Callable[[], None], Database]
) -> None:
    """PostgreSQL empties it, and the ledger is logged: the rows are brought anew."""
    crash, database = crashing
    source = make_sqlite(SCRIPT)
    await reach(source, database, IN_BIG.replace("CREATE TABLE big", "CREATE UNLOGGED TABLE big"))
    assert await contents(database, "big")
    crash()
    assert await contents(database, "big") == []
    with capture_logs() as events:
        await run.run(settings_of(source, database), Tracker())
    assert "rows.lost" in {event["event"] for event in events}
    await _is_all_there(database)


Change = Callable[[Path, MakeSqlite], object]
CHANGES: dict[str, tuple[Change, str | None]] = {
    "VACUUM": (lambda file, make: make("VACUUM", file=file), None),
    "a copy of the file": (lambda file, _make: file.write_bytes(file.read_bytes()), None),
    "a table that was not begun": (lambda file, make: make("UPDATE last SET n = 1", file=file), None),
    "a value": (lambda file, make: make("UPDATE big SET t = 'x' WHERE id = 7", file=file), "big: 3000 rows then, 3000"),
    "a row": (lambda file, make: make("DELETE FROM big WHERE id = 2999", file=file), "big: 3000 rows then, 2999 now"),
}


@pytest.mark.parametrize("journal", ["delete", "wal"])
@pytest.mark.parametrize("change", CHANGES)
async def test_a_source_that_has_changed_in_between(
    change: str, journal: str, make_sqlite: MakeSqlite, database: Database
) -> None:
    """The rest is brought where what was begun is the same still; or 3, with the tables that are not."""
    source = make_sqlite(f"PRAGMA journal_mode = {journal}; {SCRIPT}")
    await _begun(source, database, IN_BIG)
    alter, words = CHANGES[change]
    alter(source, make_sqlite)
    if words is None:
        await run.run(settings_of(source, database), Tracker())
        await _is_all_there(database)
        return
    half = await contents(database, "big")
    with pytest.raises(SourceChanged, match=words):
        await run.run(settings_of(source, database), Tracker())
    assert await contents(database, "big") == half
    assert not await _is_complete(database)


async def test_a_reset_that_was_cut_short_forgets_no_source(
    make_sqlite: MakeSqlite, database: Database, tmp_path: Path
) -> None:
    """Some tables are emptied and others are not: the rows that are left are those of the file that they came from."""
    source = make_sqlite(SCRIPT)
    await _begun(source, database, IN_LAST)
    await database.execute("DELETE FROM migrator.state WHERE name = 'source'")
    other = make_sqlite(SCRIPT.replace("%0100d", "%0101d"), file=tmp_path / "other.db")
    with pytest.raises(TargetRefused, match=f"is of another source: the ledger knows '{source}'"):
        await run.run(settings_of(other, database), Tracker())
    await run.run(settings_of(source, database), Tracker())
    await _is_all_there(database)


async def test_another_file_of_equal_counters(make_sqlite: MakeSqlite, database: Database, tmp_path: Path) -> None:
    """Where only the server can read the rows that are there, a file at another path is another source."""
    script = "CREATE TABLE a (n TEXT); INSERT INTO a VALUES ('10.0.0.1'); CREATE TABLE last (n INTEGER)"
    source = make_sqlite(f"{script}; INSERT INTO last VALUES (1)")
    twin = make_sqlite(f"{script.replace('0.1', '0.2')}; INSERT INTO last VALUES (1)", file=tmp_path / "twin.db")
    await database.execute(f"CREATE TABLE a (n inet); {IN_LAST}")
    with pytest.raises(TargetRefused, match="violates check constraint"):
        await run.run(settings_of(source, database, jobs=1, chunk_bytes=10), Tracker())
    await database.execute(CLEAR)
    assert await contents(database, "a") == ["(10.0.0.1)"]
    with pytest.raises(TargetRefused, match=f"is of another source: the ledger knows '{source}'"):
        await run.run(settings_of(twin, database), Tracker())
    assert await contents(database, "a") == ["(10.0.0.1)"]
    await run.run(settings_of(source, database), Tracker())


LOGGED = IN_BIG.replace("CREATE TABLE whole", "CREATE UNLOGGED TABLE whole") + CLEAR


@pytest.mark.parametrize("write", ["SELECT", "UPDATE big SET t = 'the application''s' WHERE id = 1"])
async def test_an_unlogged_table_after_success_and_a_crash(
    write: str, make_sqlite: MakeSqlite, crashing: tuple[Callable[[], None], Database]
) -> None:
    """Its rows are brought anew, as long as nobody has written to what was brought; then it is a warning."""
    crash, database = crashing
    source = make_sqlite(SCRIPT)
    await database.execute(LOGGED)
    await run.run(settings_of(source, database), Tracker())
    await database.execute(write)
    crash()
    assert await contents(database, "whole") == []
    with capture_logs() as events:
        await run.run(settings_of(source, database), Tracker())
    told = {event["event"] for event in events}
    assert "rows.lost" in told
    assert ("table.copied" in told) == (write == "SELECT")
    assert len(await contents(database, "whole")) == (40 if write == "SELECT" else 0)
    assert await _is_complete(database)


@pytest.mark.parametrize("last", ["analyze", "verify"])
async def test_a_crash_between_the_copy_and_the_end(
    last: str, make_sqlite: MakeSqlite, crashing: tuple[Callable[[], None], Database]
) -> None:
    """The rows of an unlogged table are gone, compared or not: 5, never 0 and no difference; and the next run ends."""
    crash, database = crashing
    source = make_sqlite(SCRIPT)
    await database.execute(LOGGED)

    original = getattr(migrate, last)

    async def crashed(*arguments: object, **more: object) -> object:
        result = await original(*arguments, **more)
        crash()
        return result

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(migrate, last, crashed)
        with pytest.raises(GaveUp, match=r"UNLOGGED.*public\.whole \(40 rows\)"):
            await run.run(settings_of(source, database, in_turn=True), Tracker())
    assert not await _is_complete(database)
    await run.run(settings_of(source, database), Tracker())
    await _is_all_there(database)


async def test_rows_that_somebody_truncates_before_the_application_may_start(
    make_sqlite: MakeSqlite, database: Database
) -> None:
    """The migration is complete and nobody was let in: the rows are brought anew, or 4 where others were changed."""
    source = make_sqlite(SCRIPT)
    await database.execute(TARGET)

    async def cut(*_arguments: object) -> None:
        raise GaveUp("cut")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(migrate, "_finish", cut)
        with pytest.raises(GaveUp):
            await run.run(settings_of(source, database), Tracker())
    await database.execute("TRUNCATE whole; UPDATE big SET t = 'x' WHERE id = 1")
    with pytest.raises(RowsInTheWay, match=r"gone: public\.whole \(40 rows\); .*public\.big"):
        await run.run(settings_of(source, database), Tracker())
    await run.run(settings_of(source, database, restart=True, force=True), Tracker())
    await _is_all_there(database)
    await database.execute("DELETE FROM migrator.state WHERE name = 'ready'; TRUNCATE whole")
    await run.run(settings_of(source, database), Tracker())
    await _is_all_there(database)
    await database.execute("TRUNCATE whole")
    await run.run(settings_of(source, database), Tracker())
    assert await contents(database, "whole") == []
