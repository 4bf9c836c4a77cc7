"""Tables that the job makes after those of the source: an application can go on with them."""

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
from fix_job import contents, settings_of
from fix_postgres import Database
from fix_sqlite import MakeSqlite, Rows

from migrator.errors import ConfigurationError, RowsInTheWay, TargetRefused, ValuesRefused
from migrator.job import run
from migrator.monitoring.tracker import Tracker
from migrator.schema import create

SHOP = """
CREATE TABLE customers (
    id INTEGER PRIMARY KEY AUTOINCREMENT, email VARCHAR(80) NOT NULL UNIQUE COLLATE NOCASE, active BOOLEAN DEFAULT 1,
    joined DATETIME DEFAULT CURRENT_TIMESTAMP, settings JSON, CONSTRAINT long_enough CHECK (length(email) > 2));
CREATE TABLE orders (
    id INTEGER PRIMARY KEY, customer INTEGER NOT NULL REFERENCES customers ON DELETE CASCADE,
    total DECIMAL(10, 2), note, photo BLOB, weight REAL, CHECK (json_valid(note) OR note IS NULL));
CREATE TABLE tags ("order" INTEGER REFERENCES orders (id), tag TEXT, PRIMARY KEY ("order", tag)) WITHOUT ROWID;
CREATE TABLE "we""ird; DROP TABLE x --" ("a.b%s:c" INT, "Größe" TEXT);
CREATE TABLE broken (n INTEGER DEFAULT 'none', t TEXT REFERENCES customers (id));
CREATE INDEX by_total ON orders (total, customer);
CREATE UNIQUE INDEX one_note ON orders (customer) WHERE note IS NOT NULL;
CREATE INDEX by_year ON customers (substr(joined, 1, 4));
CREATE VIEW active AS SELECT * FROM customers WHERE active;
CREATE TRIGGER t AFTER INSERT ON orders BEGIN SELECT 1; END;
"""
ROWS: Rows = {
    "customers": [(1, "Ada@example.org", 1, "2024-02-29 23:59:59.5", '{"a": [1]}'), (7, "bob", 0, None, None)],
    "orders": [(1, 7, 19.99, "[1]", b"\x00\xff", 0.1), (3, 1, 5, None, None, None)],
    "tags": [(1, "x"), (3, "x")],
    'we"ird; DROP TABLE x --': [(1, "ö")],
    "broken": [(1, None)],
}


async def columns(database: Database, table: str) -> dict[str, str]:
    """Return the columns of a table with their types."""
    rows = await database.fetch(
        "SELECT attname, format_type(atttypid, atttypmod) FROM pg_attribute "
        f"WHERE attrelid = '{table}'::regclass AND attnum > 0 ORDER BY attnum"
    )
    return {str(name): str(kind) for name, kind in rows}


async def test_an_application_goes_on(make_sqlite: MakeSqlite, database: Database) -> None:
    """Its rows are there, new ones get numbers and defaults, and keys hold."""
    source = make_sqlite(SHOP, ROWS)
    with pytest.raises(TargetRefused) as caught:
        await run.run(settings_of(source, database, schema_mode="create"), Tracker())
    assert "--leave-out 'orders.check_1,broken.t_fkey'" in caught.value.next_step
    assert await database.fetch("SELECT FROM pg_class WHERE relnamespace = 'public'::regnamespace") == []
    named = ("broken.t_fkey", "orders.check_1")
    report = await run.run(settings_of(source, database, schema_mode="create", leave_out=named), Tracker())
    assert await columns(database, "customers") == {
        "id": "bigint",
        "email": "text",
        "active": "boolean",
        "joined": "timestamp without time zone",
        "settings": "jsonb",
    }
    assert await columns(database, "orders") == {
        "id": "bigint",
        "customer": "bigint",
        "total": "numeric(10,2)",
        "note": "text",
        "photo": "bytea",
        "weight": "double precision",
    }
    assert await contents(database, "tags") == ["(1,x)", "(3,x)"]
    assert await contents(database, '"we""ird; DROP TABLE x --"') == ["(1,ö)"]
    [(number, active, joined)] = await database.fetch(
        "INSERT INTO customers (email) VALUES ('new') RETURNING id, active, joined > now() - interval '1 day'"
    )
    assert (number, active, joined) == (8, True, True)
    for statement, complaint in (
        ("INSERT INTO customers (email) VALUES ('x')", "long_enough"),
        ("INSERT INTO customers (email) VALUES ('bob')", "customers_lower_idx"),
        ("INSERT INTO customers (email) VALUES ('BOB')", "customers_lower_idx"),
        ("INSERT INTO orders (customer) VALUES (99)", "orders_customer_fkey"),
        ("INSERT INTO orders (customer, note) VALUES (7, 'second')", "one_note"),
    ):
        with pytest.raises(Exception, match=complaint):
            await database.execute(statement)
    await database.execute("DELETE FROM tags; DELETE FROM customers WHERE id = 1")
    assert len(await contents(database, "orders")) == 1
    without = "\n".join(note for note in report.notes if " is without " in note)
    assert "public.customers is without the index by_year" in without
    assert "public.orders is without the CHECK json_valid(note) OR note IS NULL" in without
    assert "public.orders is without the trigger t" in without
    assert "public.broken is without the default 'none' of n: SQLite stores 'none', which a column of type" in without
    assert "public.broken is without the foreign key from t to customers: text can't refer to bigint" in without
    assert without.count("\n") == 4


@pytest.mark.one_server
async def test_running_again(make_sqlite: MakeSqlite, database: Database) -> None:
    """What is there stays: after success, and what was there before the job came."""
    source = make_sqlite("CREATE TABLE t (id INTEGER PRIMARY KEY, n INT); CREATE TABLE u (id INT)", {"t": [(1, 2)]})
    await database.execute("CREATE TABLE u (id int, extra text)")
    with pytest.raises(TargetRefused, match=r"public\.u .* a table of this name was there before") as caught:
        await run.run(settings_of(source, database, schema_mode="create"), Tracker())
    assert "--leave-out 'u'" in caught.value.next_step
    assert await database.fetch("SELECT to_regclass('t')::text") == [(None,)]
    settings = settings_of(source, database, schema_mode="create", leave_out=("u",))
    await run.run(settings, Tracker())
    assert await columns(database, "u") == {"id": "integer", "extra": "text"}
    await database.execute("INSERT INTO t (n) VALUES (3)")
    await run.run(settings, Tracker())
    assert await contents(database, "t") == ["(1,2)", "(2,3)"]


@pytest.mark.one_server
async def test_a_rule_makes_other_tables(make_sqlite: MakeSqlite, database: Database, tmp_path: Path) -> None:
    """Preflight refuses; the operator decides on another type, and empty tables give way to such as have it."""
    source = make_sqlite(
        "CREATE TABLE t (id INTEGER PRIMARY KEY, at DATETIME); CREATE TABLE u (t INT REFERENCES t)",
        {"t": [(1, 1700000000)], "u": [(1,)]},
    )
    with pytest.raises(ValuesRefused):
        await run.run(settings_of(source, database, schema_mode="create"), Tracker())
    rules = tmp_path / "migrator.toml"
    rules.write_text('[columns."t.at"]\ntype = "timestamptz"\nepoch = "s"\n')
    settings = settings_of(source, database, schema_mode="create", rules=rules)
    await database.execute("INSERT INTO u VALUES (NULL)")
    with pytest.raises(RowsInTheWay, match=r"public\.u"):
        await run.run(settings, Tracker())
    assert await contents(database, "u") == ["()"]
    await database.execute("DELETE FROM u")
    await run.run(settings, Tracker())
    assert await columns(database, "t") == {"id": "bigint", "at": "timestamp with time zone"}
    assert await contents(database, "t") == ['(1,"2023-11-14 22:13:20+00")']


@pytest.mark.one_server
async def test_interrupted_while_making(
    make_sqlite: MakeSqlite, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Tables stand without their keys when the run ends; the next one makes both."""
    source = make_sqlite("CREATE TABLE t (n INT UNIQUE); CREATE TABLE a (n INT REFERENCES t (n))", {"t": [(1,)]})
    settings = settings_of(source, database, schema_mode="create")
    with monkeypatch.context() as patched:
        patched.setattr(create, "_add", _interrupted)
        with pytest.raises(RuntimeError, match="in the middle"):
            await run.run(settings, Tracker())
    assert await columns(database, "t") == {"n": "bigint"}
    await run.run(settings, Tracker())
    assert await contents(database, "t") == ["(1)"]
    for statement, complaint in (("INSERT INTO t VALUES (1)", "t_n_key"), ("INSERT INTO a VALUES (2)", "a_n_fkey")):
        with pytest.raises(Exception, match=complaint):
            await database.execute(statement)


async def _interrupted(*_arguments: object) -> None:
    raise RuntimeError("in the middle")


@pytest.mark.one_server
async def test_a_table_made_by_hand_meanwhile_stays(make_sqlite: MakeSqlite, database: Database) -> None:
    """Somebody has changed a type after a refusal: without other rules the table is taken as it is."""
    source = make_sqlite("CREATE TABLE t (at DATETIME)", {"t": [("no date",)]})
    settings = settings_of(source, database, schema_mode="create")
    with pytest.raises(ValuesRefused):
        await run.run(settings, Tracker())
    await database.execute("ALTER TABLE t ALTER at TYPE text")
    await run.run(settings, Tracker())
    assert await contents(database, "t") == ['("no date")']


@pytest.mark.one_server
async def test_rows_of_somebody_else(make_sqlite: MakeSqlite, database: Database) -> None:
    """Tables that are there are treated as in the mode `existing`."""
    source = make_sqlite("CREATE TABLE t (id INTEGER)", {"t": [(1,)]})
    await database.execute("CREATE TABLE t (id int); INSERT INTO t VALUES (77)")
    with pytest.raises(RowsInTheWay):
        await run.run(settings_of(source, database, schema_mode="create", leave_out=("t",)), Tracker())


async def test_what_the_server_refuses(make_sqlite: MakeSqlite, database: Database) -> None:
    """A key that only PostgreSQL finds impossible: named, and the tables that were made for it are gone again."""
    source = make_sqlite(
        "CREATE TABLE a (id DATE PRIMARY KEY); CREATE TABLE b (a DATETIME REFERENCES a (id), n UUID REFERENCES a (id))"
    )
    with pytest.raises(TargetRefused, match=r"foreign key from n to a.*(cannot be implemented|incompatible)") as caught:
        await run.run(settings_of(source, database, schema_mode="create"), Tracker())
    assert "--leave-out 'b.n_fkey'" in caught.value.next_step
    assert await database.fetch("SELECT to_regclass('a')::text") == [(None,)]
    await run.run(settings_of(source, database, schema_mode="create", leave_out=("b.n_fkey",)), Tracker())
    assert await columns(database, "b") == {"a": "timestamp without time zone", "n": "uuid"}


@pytest.mark.one_server
async def test_a_name_to_leave_out_that_nothing_has(make_sqlite: MakeSqlite, database: Database) -> None:
    """It may be a slip of the pen, after which something would be missing or be there that nobody wants."""
    source = make_sqlite("CREATE TABLE t (n INT CHECK (n > 0))")
    with pytest.raises(ConfigurationError, match=r"'t\.chek_1' names nothing") as caught:
        await run.run(settings_of(source, database, schema_mode="create", leave_out=("t.chek_1",)), Tracker())
    assert caught.value.next_step == "Write 't.check_1' if that is meant, or take it out."


async def test_generated_columns_go_on(make_sqlite: MakeSqlite, database: Database) -> None:
    """New rows get the value that SQLite would have computed."""
    source = make_sqlite(
        "CREATE TABLE t (id INTEGER PRIMARY KEY, a INT, s TEXT, half INT AS (a / 2) STORED, up TEXT AS (upper(s) || a),"
        "big BOOLEAN NOT NULL AS (a > 10), r REAL, twice REAL AS (r * 2))"
    )
    with closing(sqlite3.connect(source)) as connection:
        connection.execute("INSERT INTO t (a, s, r) VALUES (-7, 'aé', 0.1), (21, 'b', 2)")
        connection.commit()
        wanted = connection.execute("SELECT a, s, r, half, up, big, twice FROM t ORDER BY id").fetchall()
    await run.run(settings_of(source, database, schema_mode="create"), Tracker())
    await database.execute("INSERT INTO t (a, s, r) VALUES (-7, 'aé', 0.1), (21, 'b', 2)")
    found = await database.fetch("SELECT a, s, r, half, up, big, twice FROM t ORDER BY id")
    assert [tuple(row) for row in found] == wanted * 2


async def test_a_type_that_the_server_does_not_know(
    make_sqlite: MakeSqlite, database: Database, tmp_path: Path
) -> None:
    """It is the rule's, and the message names the table."""
    source = make_sqlite("CREATE TABLE t (mood TEXT)")
    rules = tmp_path / "migrator.toml"
    rules.write_text('[columns."t.mood"]\ntype = "mood"\n')
    with pytest.raises(TargetRefused, match=r'public\.t can.t be made: type "mood" does not exist'):
        await run.run(settings_of(source, database, schema_mode="create", rules=rules), Tracker())
    await database.execute("CREATE TYPE mood AS ENUM ('glad')")
    await run.run(settings_of(source, database, schema_mode="create", rules=rules), Tracker())
    assert await columns(database, "t") == {"mood": "mood"}


@pytest.mark.one_server
async def test_an_empty_table_whose_default_says_its_offset(make_sqlite: MakeSqlite, database: Database) -> None:
    """There is no value to tell by, and the default is one that only timestamptz has."""
    source = make_sqlite("""
        CREATE TABLE t (a TIMESTAMP NOT NULL DEFAULT "2000-01-01 00:00:00+00:00", b TIMESTAMP NOT NULL DEFAULT
        '2000-01-01 00:00:00');
        CREATE TABLE u (a TIMESTAMP DEFAULT '2000-01-01 00:00:00+00:00'); INSERT INTO u VALUES ('2024-02-29 12:00:00')
    """)
    await run.run(settings_of(source, database, schema_mode="create"), Tracker())
    assert await columns(database, "t") == {"a": "timestamp with time zone", "b": "timestamp without time zone"}
    assert await columns(database, "u") == {"a": "timestamp without time zone"}
    await database.execute("INSERT INTO t DEFAULT VALUES")
    assert await contents(database, "t") == ['("2000-01-01 00:00:00+00","2000-01-01 00:00:00")']


async def test_durations_become_intervals(make_sqlite: MakeSqlite, database: Database, tmp_path: Path) -> None:
    """Django's durations are whole microseconds in SQLite; two lines of a rule make the column what Django expects."""
    source = make_sqlite("CREATE TABLE t (id INTEGER PRIMARY KEY, took bigint NOT NULL)", {"t": [(1, 90_500_000)]})
    rules = tmp_path / "migrator.toml"
    rules.write_text('[columns."t.took"]\ntype = "interval"\ninterval_unit = "us"\n', encoding="utf-8")
    await run.run(settings_of(source, database, schema_mode="create", rules=rules), Tracker())
    assert await columns(database, "t") == {"id": "bigint", "took": "interval"}
    assert await database.fetch("SELECT took::text FROM t") == [("00:01:30.5",)]
