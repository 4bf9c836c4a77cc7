"""``on_existing_rows = keep``: rows that only the target holds stay, and the source's rows of the same keys win."""

from pathlib import Path

import pytest
from fix_job import settings_of
from fix_postgres import Database
from fix_sqlite import MakeSqlite

from migrator.errors import Mismatch, RowsInTheWay
from migrator.job import check, run, verify
from migrator.job.maintenance import forget
from migrator.runtime.progress import NoProgress

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
    assert (await check.check(settings, NoProgress())).failure is None
    report = await run.run(settings, NoProgress())
    assert await _roles(database) == MERGED
    assert any("2 rows that only the target holds stay" in note and "; 1 gave way" in note for note in report.notes)
    [row] = await database.fetch("INSERT INTO roles DEFAULT VALUES RETURNING id")
    assert row[0] == 72
    await database.execute("DELETE FROM roles WHERE id = 72")
    await verify.verify(settings, NoProgress())
    assert "nothing to do" in (await run.run(settings, NoProgress())).headline
    await forget(settings)
    await verify.verify(settings, NoProgress())


@pytest.mark.parametrize("change", ["UPDATE roles SET doc = '[1.5]' WHERE id = 70", "DELETE FROM roles WHERE id = 71"])
async def test_a_row_that_stayed_and_changed_is_a_difference(
    change: str, make_sqlite: MakeSqlite, database: Database
) -> None:
    """As are rows of the source, and rows that nobody knows."""
    settings = settings_of(make_sqlite(SOURCE, ROWS), database, on_existing_rows="keep")
    await database.execute(TARGET)
    await run.run(settings, NoProgress())
    await database.execute(change)
    with pytest.raises(Mismatch, match=r"1 of the 2 rows that stayed in public\.roles are gone or changed"):
        await verify.verify(settings, NoProgress())
    await database.execute("INSERT INTO roles VALUES (99, 'new')")
    with pytest.raises(Mismatch, match="1 extra"):
        await verify.verify(settings, NoProgress())


async def test_starting_over(make_sqlite: MakeSqlite, database: Database) -> None:
    """Rows that stayed aren't the job's: it takes --force to remove them, and the ledger has them afterwards."""
    source = make_sqlite(SOURCE, ROWS)
    await database.execute(TARGET)
    await run.run(settings_of(source, database, on_existing_rows="keep"), NoProgress())
    with pytest.raises(RowsInTheWay, match="have stayed there"):
        await run.run(settings_of(source, database, on_existing_rows="keep", restart=True), NoProgress())
    settings = settings_of(source, database, on_existing_rows="keep", restart=True, force=True)
    await run.run(settings, NoProgress())
    assert await _roles(database) == MERGED[:3]
    assert await database.fetch('SELECT id FROM migrator."kept 1" ORDER BY id') == [(2,), (70,), (71,)]
    await verify.verify(settings, NoProgress())


async def test_a_row_whose_other_key_is_taken(make_sqlite: MakeSqlite, database: Database) -> None:
    """It can't stay, and isn't dropped silently: nothing has happened to the table."""
    settings = settings_of(make_sqlite(SOURCE, ROWS), database, on_existing_rows="keep")
    await database.execute(f"{TARGET}; UPDATE roles SET name = 'x' WHERE id = 70")
    with pytest.raises(RowsInTheWay, match=r"1 of the 2 rows that only public\.roles holds can't stay") as error:
        await run.run(settings, NoProgress())
    assert "--on-existing-rows=roles:replace" in str(error.value.next_step)
    assert await _roles(database) == [(1, "reader"), (2, "editor"), (70, "x"), (71, "bot")]


async def test_a_table_without_a_key(make_sqlite: MakeSqlite, database: Database, tmp_path: Path) -> None:
    """Nothing tells which rows are the same: refused before anything, and replace is named."""
    source = make_sqlite("CREATE TABLE t (a INTEGER)", {"t": [(1,)]})
    await database.execute("CREATE TABLE t (a int); INSERT INTO t VALUES (5)")
    rules = tmp_path / "migrator.toml"
    rules.write_text('[tables."t"]\non_existing_rows = "keep"\n')
    with pytest.raises(RowsInTheWay) as error:
        await run.run(settings_of(source, database, rules=rules), NoProgress())
    assert "Give --on-existing-rows=t:replace in place of keep: public.t has no primary key" in str(
        error.value.next_step
    )
