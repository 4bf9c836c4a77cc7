"""Triggers of the application: none fires while rows come, on whichever table of a tree; each comes back as it was."""

import pytest
from fix_job import catalogs, contents, settings_of
from fix_postgres import Database
from fix_sqlite import MakeSqlite

from migrator.job import maintenance, run
from migrator.monitoring.tracker import Tracker
from migrator.planning.grouping import SMALL_BYTES

TREE = """
CREATE TABLE log (said text);
CREATE FUNCTION told() RETURNS trigger LANGUAGE plpgsql AS
    $$ BEGIN INSERT INTO log VALUES (TG_NAME || ' of ' || TG_TABLE_NAME); RETURN NULL; END $$;
CREATE FUNCTION rewrite() RETURNS trigger LANGUAGE plpgsql AS
    $$ BEGIN NEW.v := 'rewritten'; RETURN NEW; END $$;
CREATE TABLE t (id int, v text) PARTITION BY RANGE (id);
CREATE TABLE low PARTITION OF t FOR VALUES FROM (0) TO (10);
CREATE TABLE mid PARTITION OF t FOR VALUES FROM (10) TO (20);
CREATE TABLE high PARTITION OF t FOR VALUES FROM (20) TO (100000) PARTITION BY RANGE (id);
CREATE SCHEMA elsewhere;
CREATE TABLE elsewhere."the rest" PARTITION OF high FOR VALUES FROM (20) TO (100000);
CREATE TRIGGER passed_on AFTER INSERT ON t FOR EACH ROW EXECUTE FUNCTION told();
CREATE TRIGGER always AFTER INSERT ON t FOR EACH ROW EXECUTE FUNCTION told();
ALTER TABLE t ENABLE ALWAYS TRIGGER always;
CREATE TRIGGER replica AFTER INSERT ON t FOR EACH ROW EXECUTE FUNCTION told();
ALTER TABLE t ENABLE REPLICA TRIGGER replica;
CREATE TRIGGER off AFTER INSERT ON t FOR EACH ROW EXECUTE FUNCTION told();
ALTER TABLE t DISABLE TRIGGER off;
CREATE TRIGGER statement AFTER INSERT ON t EXECUTE FUNCTION told();
CREATE TRIGGER emptied BEFORE TRUNCATE ON mid EXECUTE FUNCTION told();
CREATE TRIGGER own BEFORE INSERT ON low FOR EACH ROW EXECUTE FUNCTION rewrite();
CREATE TRIGGER own BEFORE INSERT ON elsewhere."the rest" FOR EACH ROW EXECUTE FUNCTION rewrite();
ALTER TABLE elsewhere."the rest" ENABLE ALWAYS TRIGGER own;
CREATE CONSTRAINT TRIGGER checked AFTER INSERT ON low FOR EACH ROW EXECUTE FUNCTION told();
ALTER TABLE low DISABLE TRIGGER passed_on;
ALTER TABLE mid ENABLE REPLICA TRIGGER always;
ALTER TABLE elsewhere."the rest" ENABLE TRIGGER off;
ALTER TABLE ONLY t DISABLE TRIGGER replica;
"""
STATES = """
SELECT tgrelid::regclass::text AS of, tgname::text AS name, tgenabled::text AS state
FROM pg_trigger WHERE NOT tgisinternal ORDER BY 1, 2
"""


@pytest.mark.parametrize("rows", [40, SMALL_BYTES // 50], ids=["small", "large"])
@pytest.mark.parametrize("pieces", [False, True], ids=["whole", "pieces"])
async def test_triggers_of_partitions(rows: int, pieces: bool, make_sqlite: MakeSqlite, database: Database) -> None:  # noqa: FBT001
    """Passed on, changed on one partition alone, the partition's own, in each state: no row is told of or rewritten."""
    if pieces and rows == 40:
        pytest.skip("it is one piece")
    source = make_sqlite(
        "CREATE TABLE t (id INTEGER PRIMARY KEY, v TEXT)", {"t": [(n, "as it was" * 5) for n in range(rows)]}
    )
    await database.execute(TREE)
    states = await database.fetch(STATES)
    before = await catalogs(database)
    more = {"chunk_bytes": 1 << 20} if pieces else {}
    report = await run.run(settings_of(source, database, **more), Tracker())
    assert report.headline.startswith("migrated")
    assert await contents(database, "log") == []
    assert (await database.fetch("SELECT count(*) AS n FROM t WHERE v = repeat('as it was', 5)"))[0]["n"] == rows
    assert await database.fetch(STATES) == states
    assert await catalogs(database) == before
    await maintenance.reset(settings_of(source, database))
    assert await contents(database, "log") == []
    assert await database.fetch(STATES) == states


async def test_triggers_of_a_table_that_inherits(make_sqlite: MakeSqlite, database: Database) -> None:
    """Parent and child are tables of their own; so are their triggers."""
    source = make_sqlite(
        "CREATE TABLE parent (id INTEGER); CREATE TABLE child (id INTEGER)", {"parent": [(1,)], "child": [(2,)]}
    )
    await database.execute("""
        CREATE TABLE log (said text);
        CREATE FUNCTION told() RETURNS trigger LANGUAGE plpgsql AS
            $$ BEGIN INSERT INTO log VALUES (TG_NAME || ' of ' || TG_TABLE_NAME); RETURN NULL; END $$;
        CREATE TABLE parent (id int); CREATE TABLE child () INHERITS (parent);
        CREATE TRIGGER each AFTER INSERT ON parent FOR EACH ROW EXECUTE FUNCTION told();
        CREATE TRIGGER each AFTER INSERT ON child FOR EACH ROW EXECUTE FUNCTION told();
        CREATE TRIGGER once AFTER INSERT ON child EXECUTE FUNCTION told();
        ALTER TABLE child ENABLE ALWAYS TRIGGER once;
    """)
    states = await database.fetch(STATES)
    await run.run(settings_of(source, database), Tracker())
    assert await contents(database, "log") == []
    assert await database.fetch(STATES) == states
