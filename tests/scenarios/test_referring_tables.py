"""Tables that the job doesn't fill, and partitions, with foreign keys from or to those that it does fill."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from fix_job import contents, settings_of
from fix_postgres import Database
from fix_sqlite import MakeSqlite

from migrator.errors import MissingPrivilege, RowsInTheWay, ValuesRefused
from migrator.job import check, maintenance, run
from migrator.monitoring.tracker import Tracker

if TYPE_CHECKING:
    from collections.abc import Callable

ROWS = [(n, f"row {n}") for n in range(300)]
TWO = "CREATE TABLE t (id bigint PRIMARY KEY, t text); CREATE TABLE u (id bigint PRIMARY KEY, t text);"
PARTITIONED = """
CREATE TABLE t (id bigint PRIMARY KEY, t text) PARTITION BY RANGE (id);
CREATE TABLE t_low PARTITION OF t FOR VALUES FROM (0) TO (100);
CREATE TABLE t_high PARTITION OF t FOR VALUES FROM (100) TO (1000);
CREATE TABLE u (id bigint PRIMARY KEY, t text) PARTITION BY RANGE (id);
CREATE TABLE u_all PARTITION OF u FOR VALUES FROM (0) TO (1000);
"""
REFERRING = {
    "empty": TWO
    + "CREATE TABLE mine (a int, b bigint REFERENCES t ON DELETE CASCADE DEFERRABLE);"
    + "COMMENT ON CONSTRAINT mine_b_fkey ON mine IS 'so it''s'",
    "refers to nothing": TWO + "CREATE TABLE mine (a int, b bigint REFERENCES t); INSERT INTO mine VALUES (1, NULL)",
    "partitioned": TWO
    + "CREATE TABLE mine (a int, b bigint REFERENCES t) PARTITION BY LIST (a);"
    + "CREATE TABLE mine_1 PARTITION OF mine DEFAULT; INSERT INTO mine VALUES (1, NULL)",
    "elsewhere": TWO + "CREATE SCHEMA other; CREATE TABLE other.mine (a int, b bigint REFERENCES t)",
    "has heirs": TWO
    + "CREATE TABLE mine (a int, b bigint REFERENCES t); CREATE TABLE heir () INHERITS (mine);"
    + "INSERT INTO heir VALUES (1, 70000)",
    "inherits": TWO + "CREATE TABLE mine (b bigint REFERENCES t) INHERITS (t)",
    "to itself": TWO + "ALTER TABLE t ADD up bigint REFERENCES t; CREATE TABLE mine (a int, b bigint REFERENCES t)",
    "in a circle": TWO
    + "ALTER TABLE t ADD FOREIGN KEY (id) REFERENCES u; ALTER TABLE u ADD FOREIGN KEY (id) REFERENCES t;"
    + "CREATE TABLE mine (a int, b bigint REFERENCES u)",
    "to a partition": PARTITIONED + "CREATE TABLE mine (a int, b bigint REFERENCES t_high)",
    "of a partition": PARTITIONED + "ALTER TABLE t_low ADD FOREIGN KEY (id) REFERENCES u",
    "of a partition to a partition": PARTITIONED + "ALTER TABLE t_low ADD FOREIGN KEY (id) REFERENCES u_all",
    "not valid": TWO
    + "CREATE TABLE mine (a int, b bigint); ALTER TABLE mine ADD FOREIGN KEY (b) REFERENCES t NOT VALID",
}
KEYS = """
SELECT conrelid::regclass::text AS table_name, conname, pg_get_constraintdef(oid) AS definition,
       obj_description(oid, 'pg_constraint') AS comment
FROM pg_constraint WHERE contype = 'f' AND conrelid::regclass::text NOT LIKE 'migrator.%' ORDER BY 1, 2
"""


@pytest.fixture
def source(make_sqlite: MakeSqlite) -> Path:
    """Give two tables."""
    script = "CREATE TABLE t (id INTEGER PRIMARY KEY, t TEXT); CREATE TABLE u (id INTEGER PRIMARY KEY, t TEXT)"
    return make_sqlite(script, {"t": ROWS, "u": ROWS})


async def catalog_and_rows(database: Database) -> list[Any]:
    """Return all foreign keys, and the rows of tables that aren't the job's."""
    keys = [tuple(row) for row in await database.fetch(KEYS)]
    mine = [row for row in keys if row[0] == "mine"]
    return [keys, await contents(database, "mine") if mine else None]


@pytest.mark.parametrize("case", REFERRING)
async def test_tables_are_filled_emptied_and_filled_again(case: str, source: Path, database: Database) -> None:
    """A foreign key between these and others stands in no command's way, and is afterwards as it was."""
    await database.execute(REFERRING[case])
    before = await catalog_and_rows(database)
    settings = settings_of(source, database, chunk_bytes=2000)
    for _ in range(2):
        await check.check(settings, Tracker())
        await run.run(settings, Tracker())
        assert await catalog_and_rows(database) == before
        assert len(await contents(database, "t")) == len(ROWS)
        await maintenance.reset(settings)
        assert await catalog_and_rows(database) == before
        assert await contents(database, "t") == await contents(database, "u") == []


@pytest.mark.one_server
@pytest.mark.parametrize("force", [False, True])
@pytest.mark.parametrize(
    "way_out", ["DELETE FROM mine", "UPDATE mine SET b = NULL", "ALTER TABLE mine DROP CONSTRAINT mine_b_fkey"]
)
async def test_rows_that_refer_to_what_would_go(way_out: str, force: bool, source: Path, database: Database) -> None:  # noqa: FBT001
    """They would go along, or refer to nothing: they are named and stay, and each way out that is told works."""
    await database.execute(TWO + "CREATE TABLE mine (a int, b bigint REFERENCES t ON DELETE CASCADE)")
    settings = settings_of(source, database)
    await run.run(settings, Tracker())
    await database.execute("INSERT INTO mine VALUES (1, 7)")
    commands: list[Callable[[], Any]] = [
        lambda: maintenance.reset(settings_of(source, database, force=force)),
        lambda: run.run(settings_of(source, database, restart=True, force=force), Tracker()),
    ]
    for command in commands:
        with pytest.raises(RowsInTheWay, match=r"mine_b_fkey of public\.mine \(to public\.t\)"):
            await command()
    assert await contents(database, "mine") == ["(1,7)"]
    assert len(await contents(database, "t")) == len(await contents(database, "u")) == len(ROWS)
    await database.execute(way_out)
    await maintenance.reset(settings)
    assert await contents(database, "t") == await contents(database, "u") == []


@pytest.mark.one_server
async def test_a_table_of_another_role_that_refers(source: Path, database: Database) -> None:
    """Its key is not the job's to drop: ``check``, ``run`` and ``reset`` name it before anything is done."""
    key = "CREATE TABLE mine (a int, b bigint REFERENCES t)"
    await database.execute(TWO)
    await database.execute(key, as_admin=True)
    settings = settings_of(source, database)
    for command in (check.check, run.run):
        with pytest.raises(MissingPrivilege, match=r"mine_b_fkey of public\.mine"):
            await command(settings, Tracker())
    assert await contents(database, "t") == []
    await database.execute("DROP TABLE mine", as_admin=True)
    await run.run(settings, Tracker())
    await database.execute(key, as_admin=True)
    with pytest.raises(MissingPrivilege, match=r"mine_b_fkey of public\.mine") as caught:
        await maintenance.reset(settings)
    assert len(await contents(database, "t")) == len(ROWS)
    told = caught.value.next_step.partition("have the owner run ")[2].partition(" before")[0]
    await database.execute(told, as_admin=True)
    await maintenance.reset(settings)
    assert await contents(database, "t") == []


@pytest.mark.one_server
async def test_a_row_of_an_heir_is_no_parent(source: Path, database: Database) -> None:
    """A key refers to the table's own rows (PostgreSQL, "Inheritance"): who refers to an heir's is refused at once."""
    await database.execute(
        TWO + "CREATE TABLE other (id bigint PRIMARY KEY); CREATE TABLE heir () INHERITS (other);"
        "INSERT INTO heir SELECT generate_series(0, 299); ALTER TABLE t ADD FOREIGN KEY (id) REFERENCES other"
    )
    settings = settings_of(source, database)
    assert isinstance((await check.check(settings, Tracker())).failure, ValuesRefused)
    with pytest.raises(ValuesRefused, match=r"300 rows where .* refers to a row of public\.other"):
        await run.run(settings, Tracker())
