"""``on_existing_rows = keep``: rows that only the target holds stay, and the source's rows of the same keys win."""

from pathlib import Path

import pytest
from fix_job import settings_of
from fix_obstacle import CLEAR, OBSTACLES, obstacle
from fix_postgres import Database
from fix_sqlite import MakeSqlite

from migrator.errors import Mismatch, RowsInTheWay, TargetRefused, ValuesRefused
from migrator.job import check, run, verify
from migrator.job.maintenance import forget
from migrator.monitoring.tracker import Tracker

pytestmark = pytest.mark.one_server

SOURCE = "CREATE TABLE roles (id INTEGER PRIMARY KEY, name TEXT, doc TEXT)"
ROWS: dict[str, list[tuple[object, ...]]] = {"roles": [(1, "reader", "{}"), (2, "writer", '{"a": 1}'), (4, "x", "{}")]}
TARGET = """
    CREATE TABLE roles (id serial PRIMARY KEY, name text UNIQUE, doc jsonb);
    INSERT INTO roles VALUES (1, 'reader', '{}'), (2, 'editor', '{}'), (70, 'guest', '[1.50]'), (71, 'bot', NULL);
"""
MERGED = [(1, "reader"), (2, "writer"), (4, "x"), (70, "guest"), (71, "bot")]


async def _roles(database: Database) -> list[tuple[int, str]]:
    return [tuple(row) for row in await database.fetch("SELECT id, name FROM roles ORDER BY id")]


@pytest.mark.parametrize("more", [{}, {"chunk_bytes": 1, "in_turn": True}])
async def test_both_sides_are_merged(more: dict[str, object], make_sqlite: MakeSqlite, database: Database) -> None:
    """Verification knows of it, in the run and later; the sequence goes beyond both; a second run has nothing to do."""
    settings = settings_of(make_sqlite(SOURCE, ROWS), database, on_existing_rows="roles:keep", **more)
    await database.execute(TARGET)
    assert (await check.check(settings, Tracker())).failure is None
    report = await run.run(settings, Tracker())
    assert await _roles(database) == MERGED
    assert any(
        "rows that only the target holds stay beside the source's: 2" in note and "; 1 gave way" in note
        for note in report.notes
    )
    [row] = await database.fetch("INSERT INTO roles DEFAULT VALUES RETURNING id")
    assert row[0] == 72
    await database.execute("DELETE FROM roles WHERE id = 72")
    await verify.verify(settings, Tracker())
    assert "nothing to do" in (await run.run(settings, Tracker())).headline
    await forget(settings)
    await verify.verify(settings, Tracker())


@pytest.mark.parametrize("change", ["UPDATE roles SET doc = '[1.5]' WHERE id = 70", "DELETE FROM roles WHERE id = 71"])
async def test_a_row_that_stayed_and_changed_is_a_difference(
    change: str, make_sqlite: MakeSqlite, database: Database
) -> None:
    """As are rows of the source, and rows that nobody knows."""
    settings = settings_of(make_sqlite(SOURCE, ROWS), database, on_existing_rows="keep")
    await database.execute(TARGET)
    await run.run(settings, Tracker())
    await database.execute(change)
    with pytest.raises(Mismatch, match=r"1 of the 2 rows that stayed in public\.roles are gone or changed"):
        await verify.verify(settings, Tracker())
    await database.execute("INSERT INTO roles VALUES (99, 'new')")
    with pytest.raises(Mismatch, match="1 extra"):
        await verify.verify(settings, Tracker())


async def test_starting_over(make_sqlite: MakeSqlite, database: Database) -> None:
    """Rows that stayed aren't the job's: it takes --force to remove them, and the ledger has them afterwards."""
    source = make_sqlite(SOURCE, ROWS)
    await database.execute(TARGET)
    await run.run(settings_of(source, database, on_existing_rows="keep"), Tracker())
    with pytest.raises(RowsInTheWay, match="have stayed there"):
        await run.run(settings_of(source, database, on_existing_rows="keep", restart=True), Tracker())
    settings = settings_of(source, database, on_existing_rows="keep", restart=True, force=True)
    await run.run(settings, Tracker())
    assert await _roles(database) == MERGED[:3]
    assert await database.fetch('SELECT id FROM migrator."kept 1" ORDER BY id') == [(2,), (70,), (71,)]
    await verify.verify(settings, Tracker())


async def test_a_row_whose_other_key_is_taken(make_sqlite: MakeSqlite, database: Database) -> None:
    """It can't stay, and isn't dropped silently: nothing has happened to the table."""
    settings = settings_of(make_sqlite(SOURCE, ROWS), database, on_existing_rows="keep")
    await database.execute(f"{TARGET}; UPDATE roles SET name = 'x' WHERE id = 70")
    with pytest.raises(RowsInTheWay, match=r"1 of the 2 rows that only public\.roles holds can't stay") as error:
        await run.run(settings, Tracker())
    assert "--on-existing-rows=roles:replace" in str(error.value.next_step)
    assert await _roles(database) == [(1, "reader"), (2, "editor"), (70, "x"), (71, "bot")]


async def test_a_table_without_a_key(make_sqlite: MakeSqlite, database: Database, tmp_path: Path) -> None:
    """Nothing tells which rows are the same: refused before anything, and replace is named."""
    source = make_sqlite("CREATE TABLE t (a INTEGER)", {"t": [(1,)]})
    await database.execute("CREATE TABLE t (a int); INSERT INTO t VALUES (5)")
    rules = tmp_path / "migrator.toml"
    rules.write_text('[tables."t"]\non_existing_rows = "keep"\n')
    with pytest.raises(RowsInTheWay) as error:
        await run.run(settings_of(source, database, rules=rules), Tracker())
    assert "Give --on-existing-rows=t:replace in place of keep: public.t has no primary key" in str(
        error.value.next_step
    )


@pytest.mark.usefixtures("obstacle_allowed")
@pytest.mark.parametrize("at", [10, 2990])
async def test_a_run_that_ends_early_is_continued(at: int, make_sqlite: MakeSqlite, database: Database) -> None:
    """The table comes in chunks; the rows that stay come with the last, in whichever run that is."""
    source = make_sqlite(
        "CREATE TABLE big (id INTEGER PRIMARY KEY, t TEXT)", {"big": [(n, f"{n:0100}") for n in range(3000)]}
    )
    await database.execute(
        "CREATE TABLE big (id bigint PRIMARY KEY, t text);"
        "INSERT INTO big VALUES (1, 'mine'), (9000, 'only here'), (-4, 'and here');"
        + OBSTACLES
        + obstacle("big", "id", at)
    )
    settings = settings_of(source, database, on_existing_rows="keep", chunk_bytes=20_000, jobs=1)
    for _ in range(2):
        with pytest.raises(TargetRefused, match="violates check constraint"):
            await run.run(settings, Tracker())
    await database.execute(CLEAR)
    await run.run(settings_of(source, database, chunk_bytes=20_000, jobs=1), Tracker())
    rows = await database.fetch("SELECT id FROM big WHERE length(t) < 100 ORDER BY id")
    assert [row["id"] for row in rows] == [-4, 9000]
    assert await database.fetch('SELECT id, t FROM migrator."kept 1"') == [(1, "mine")]
    await verify.verify(settings_of(source, database), Tracker())


async def test_a_row_that_stays_refers_to_one_that_goes(make_sqlite: MakeSqlite, database: Database) -> None:
    """Refused before anything is written; the flag that is printed lets the other stay, too."""
    source = make_sqlite(
        "CREATE TABLE roles (id INTEGER PRIMARY KEY); CREATE TABLE users (id INTEGER PRIMARY KEY, role INTEGER)",
        {"roles": [(1,)], "users": [(1, 1)]},
    )
    await database.execute(
        "CREATE TABLE roles (id int PRIMARY KEY); CREATE TABLE users (id int PRIMARY KEY, role int REFERENCES roles);"
        "INSERT INTO roles VALUES (9); INSERT INTO users VALUES (5, 9)"
    )
    both = settings_of(source, database, on_existing_rows="users:keep,roles:replace")
    assert isinstance((await check.check(both, Tracker())).failure, RowsInTheWay)
    with pytest.raises(RowsInTheWay, match=r"users_role_fkey of public\.users \(to public\.roles\)") as error:
        await run.run(both, Tracker())
    assert "Give --on-existing-rows=roles:keep for" in str(error.value.next_step)
    await run.run(settings_of(source, database, on_existing_rows="users:keep,roles:keep"), Tracker())
    assert await database.fetch("SELECT id, role FROM users ORDER BY id") == [(1, 1), (5, 9)]


async def test_rows_of_others_may_refer_to_a_row_that_stays(make_sqlite: MakeSqlite, database: Database) -> None:
    """By the primary key, which no row that stays loses; by another key they may not, since the source's row wins."""
    await database.execute(
        TARGET + "CREATE TABLE audit (role int REFERENCES roles, name text REFERENCES roles (name));"
        "INSERT INTO audit (role) VALUES (70), (2)"
    )
    source = make_sqlite(SOURCE, ROWS)
    await database.execute("INSERT INTO audit (name) VALUES ('editor')")
    settings = settings_of(source, database, on_existing_rows="keep")
    with pytest.raises(ValuesRefused, match="audit_name_fkey"):
        await run.run(settings, Tracker())
    await database.execute("DELETE FROM audit WHERE name IS NOT NULL")
    await run.run(settings, Tracker())
    assert await _roles(database) == MERGED
