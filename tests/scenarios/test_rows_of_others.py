"""Rows that are somebody else's stay, whatever the job empties, counts or locks."""

import pytest
from fix_job import contents, settings_of
from fix_postgres import Database
from fix_sqlite import MakeSqlite

from migrator.errors import RowsInTheWay, ValuesRefused
from migrator.job import maintenance, run
from migrator.monitoring.tracker import Tracker

ROWS = [(n, f"row {n}") for n in range(3000)]
HEIR = """
CREATE TABLE t (id bigint PRIMARY KEY, t text);
CREATE TABLE heir (mine text) INHERITS (t);
INSERT INTO heir VALUES (1, 'theirs', 'x'), (9999, 'theirs', 'y');
"""
HEIRS = ["(1,theirs,x)", "(9999,theirs,y)"]


@pytest.mark.parametrize("more", [{}, {"chunk_bytes": 10_000}], ids=["whole", "in pieces"])
async def test_rows_of_a_table_that_inherits_stay(
    more: dict[str, int], make_sqlite: MakeSqlite, database: Database
) -> None:
    """An inheriting table's rows are its own: the load, the count and ``reset`` mean the parent's only."""
    source = make_sqlite("CREATE TABLE t (id INTEGER PRIMARY KEY, t TEXT)", {"t": ROWS})
    await database.execute(HEIR)
    settings = settings_of(source, database, **more)
    report = await run.run(settings, Tracker())
    assert [(line.source_rows, line.target_rows) for line in report.tables] == [(3000, 3000)]
    assert await contents(database, "heir") == HEIRS
    assert (await database.fetch("SELECT count(*) AS n FROM ONLY t"))[0]["n"] == 3000
    await maintenance.reset(settings)
    assert await contents(database, "heir") == HEIRS
    assert await contents(database, "ONLY t") == []


async def test_no_trigger_is_set_off_by_emptying_a_table(make_sqlite: MakeSqlite, database: Database) -> None:
    """A trigger ON TRUNCATE may write elsewhere; it is off for the load, off for ``reset``, and on afterwards."""
    source = make_sqlite("CREATE TABLE t (id INTEGER PRIMARY KEY, t TEXT)", {"t": ROWS})
    await database.execute(
        "CREATE TABLE t (id bigint PRIMARY KEY, t text); CREATE TABLE audit (what text);"
        "CREATE FUNCTION note() RETURNS trigger LANGUAGE plpgsql AS"
        " 'BEGIN INSERT INTO audit VALUES (tg_op); RETURN NULL; END';"
        "CREATE TRIGGER emptied AFTER TRUNCATE ON t EXECUTE FUNCTION note()"
    )
    settings = settings_of(source, database)
    await run.run(settings, Tracker())
    await maintenance.reset(settings)
    assert await contents(database, "audit") == []
    await database.execute("TRUNCATE t")
    assert await contents(database, "audit") == ["(TRUNCATE)"]


SEEDS = "CREATE TABLE config (key text PRIMARY KEY, value text); INSERT INTO config VALUES ('admin', 'seeded')"
EDITS = {
    "edited": "UPDATE config SET value = 'mine' WHERE key = 'admin'",
    "replaced": "DELETE FROM config; INSERT INTO config VALUES ('admin', 'mine')",
    "edited, under a function that is named like the hash": "UPDATE config SET value = 'mine' WHERE key = 'admin'",
}


@pytest.mark.one_server
@pytest.mark.parametrize("edit", [None, *EDITS])
async def test_a_seeded_row_that_somebody_has_edited(
    edit: str | None, make_sqlite: MakeSqlite, database: Database
) -> None:
    """A seeded row gives way to the source's; one that the application has edited between two runs is its own."""
    script = "CREATE TABLE config (key TEXT PRIMARY KEY, value TEXT); CREATE TABLE n (n INTEGER)"
    source = make_sqlite(script, {"config": [("admin", "old")], "n": [(7,)]})
    if edit is not None and "hash" in edit:
        await database.execute("CREATE FUNCTION hashtextextended(text, int) RETURNS bigint RETURN 7")
    seeding = f'psql "{database.url}" -c "{SEEDS}" -c "CREATE TABLE n (n int)"'
    command = source.with_name("schema.sh")
    command.write_text(f"[ -e {source}.made ] && exit 0; touch {source}.made; {seeding}")
    settings = settings_of(source, database, schema_mode="command", schema_command=f"sh {command}")
    make_sqlite("UPDATE n SET n = 'refused'", file=source)
    with pytest.raises(ValuesRefused):
        await run.run(settings, Tracker())
    make_sqlite("UPDATE n SET n = 8", file=source)
    if edit is None:
        await run.run(settings, Tracker())
        assert await contents(database, "config") == ["(admin,old)"]
        return
    await database.execute(EDITS[edit])
    with pytest.raises(RowsInTheWay, match=r"public\.config \(1 row: 1 different\)"):
        await run.run(settings, Tracker())
    assert await contents(database, "config") == ["(admin,mine)"]
