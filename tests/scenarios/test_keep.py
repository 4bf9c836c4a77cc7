"""``on_existing_rows = keep``: rows that only the target holds stay, and the source's rows of the same keys win."""

from pathlib import Path

import pytest
from fix_job import settings_of
from fix_obstacle import CLEAR, OBSTACLES, obstacle
from fix_postgres import Database
from fix_sqlite import MakeSqlite
from structlog.testing import capture_logs

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


CLASHES = {
    "constraint": ("name text UNIQUE", "'x'", "constraint_name_key (name)"),
    "expression": (
        "name text); CREATE UNIQUE INDEX low ON expression (lower(name), length(doc)",
        "'X'",
        "low (lower(name",
    ),
    "predicate": ("name text); CREATE UNIQUE INDEX few ON predicate (name) WHERE (id > 3", "'x'", "few (name)"),
    "folded": ("name citext UNIQUE", "'X'", "folded_name_key (name)"),
    "exclusion": ("name text, EXCLUDE USING btree (name WITH =)", "'x'", "exclusion_name_excl (name)"),
    "generated": (
        "name text, low text GENERATED ALWAYS AS (lower(name)) STORED UNIQUE",
        "'X'",
        "generated_low_key (low)",
    ),
    "nulls": ("name text, n int, UNIQUE NULLS NOT DISTINCT (n)", "'z'", "nulls_n_key (n)"),
}


async def test_rows_whose_other_key_is_taken(make_sqlite: MakeSqlite, database: Database) -> None:
    """They can't stay: refused before anything, with the index and both rows, and the flag to give is printed."""
    await database.execute("CREATE EXTENSION citext", as_admin=True)
    clashes = dict(CLASHES)
    [version] = await database.fetch("SHOW server_version_num")
    if int(version[0]) < 150_000:
        del clashes["nulls"]
    for table, (columns, name, _) in clashes.items():
        quoted = f'"{table}"'
        await database.execute(
            f"CREATE TABLE {quoted} (id serial PRIMARY KEY, doc text, {columns});"
            f"INSERT INTO {quoted} (id, name, doc) VALUES (70, {name}, '{{}}')"
        )
    source = make_sqlite(
        "".join(SOURCE.replace("roles", f'"{table}"') + ";" for table in clashes),
        {table: [(4, "x", "{}")] for table in clashes},
    )
    settings = settings_of(source, database, on_existing_rows="keep")
    looked = (await check.check(settings, Tracker())).failure
    with pytest.raises(RowsInTheWay) as error:
        await run.run(settings, Tracker())
    flag = "--on-existing-rows=" + ",".join(sorted(f"{table}:replace" for table in clashes))
    for failure in (looked, error.value):
        assert isinstance(failure, RowsInTheWay)
        for _, _, told in clashes.values():
            assert "1 row can't stay beside the source's by " + told in str(failure)
        assert str(failure).count("such as id = '70' beside the source's id = '4'") == len(clashes)
        assert failure.settlement.flags == (flag,)
        assert "rows of public.predicate have a key in common" in failure.next_step
    await run.run(settings_of(source, database, on_existing_rows=flag.partition("=")[2]), Tracker())
    for table in clashes:
        assert await database.fetch(f'SELECT id FROM "{table}"') == [(4,)]


async def test_keys_that_only_seem_to_be_taken(make_sqlite: MakeSqlite, database: Database) -> None:
    """NULLs differ, a row that gives way has no key any more, and an index with a predicate is about some rows."""
    source = make_sqlite(SOURCE, {"roles": [(1, "reader", "{}"), (2, None, None), (4, "x", "{}")]})
    await database.execute(
        "CREATE TABLE roles (id serial PRIMARY KEY, name text UNIQUE, doc jsonb);"
        "CREATE UNIQUE INDEX few ON roles (doc) WHERE name = 'reader'; INSERT INTO roles VALUES "
        "(1, 'x', '{}'), (4, 'reader', '{}'), (70, NULL, '{}'), (71, 'other', '{}'), (72, NULL, '{}')"
    )
    settings = settings_of(source, database, on_existing_rows="keep")
    assert (await check.check(settings, Tracker())).failure is None
    await run.run(settings, Tracker())
    merged = [(1, "reader"), (2, None), (4, "x"), (70, None), (71, "other"), (72, None)]
    assert await _roles(database) == merged


async def test_one_flag_for_all_that_is_decided(make_sqlite: MakeSqlite, database: Database) -> None:
    """A table whose rows can stay keeps its word beside others; only what gives way is told as kept."""
    tables = ("a", "b", "c")
    source = make_sqlite(
        "".join(f"CREATE TABLE {name} (id INTEGER PRIMARY KEY, t TEXT);" for name in tables),
        {name: [(1, "x")] for name in tables},
    )
    for name in tables:
        await database.execute(
            f"CREATE TABLE {name} (id int PRIMARY KEY, t text UNIQUE); INSERT INTO {name} VALUES (7, '{name}')"
        )
    await database.execute("UPDATE a SET t = 'x'")
    settings = settings_of(source, database, on_existing_rows="a:keep,b:keep")
    with pytest.raises(RowsInTheWay) as error:
        await run.run(settings, Tracker())
    [flag] = error.value.settlement.flags
    assert flag == "--on-existing-rows=a:replace,b:keep,c:replace"
    with capture_logs() as logs:
        await run.run(settings_of(source, database, on_existing_rows=flag.partition("=")[2]), Tracker())
    assert {line["table"] for line in logs if line["event"] == "rows.kept"} == {"public.a", "public.c"}
    assert await database.fetch("SELECT id FROM b ORDER BY id") == [(1,), (7,)]


async def test_a_key_that_is_no_primary_key(make_sqlite: MakeSqlite, database: Database) -> None:
    """A unique index of NOT NULL columns tells rows apart as well."""
    await database.execute(TARGET.replace("PRIMARY KEY", "NOT NULL UNIQUE"))
    settings = settings_of(make_sqlite(SOURCE, ROWS), database, on_existing_rows="keep")
    await run.run(settings, Tracker())
    assert await _roles(database) == MERGED
    await verify.verify(settings, Tracker())


async def test_a_table_without_a_key(make_sqlite: MakeSqlite, database: Database, tmp_path: Path) -> None:
    """Nothing tells which rows are the same: refused before anything, and replace is named."""
    source = make_sqlite("CREATE TABLE t (a INTEGER)", {"t": [(1,)]})
    await database.execute("CREATE TABLE t (a int); INSERT INTO t VALUES (5)")
    rules = tmp_path / "migrator.toml"
    rules.write_text('[tables."t"]\non_existing_rows = "keep"\n')
    with pytest.raises(RowsInTheWay) as error:
        await run.run(settings_of(source, database, rules=rules), Tracker())
    assert (
        "Give --on-existing-rows=t:replace in place of keep, since not all rows can stay: public.t has no key"
        in str(error.value.next_step)
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
    assert error.value.settlement.flags == ("--on-existing-rows=roles:keep,users:keep",)
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
