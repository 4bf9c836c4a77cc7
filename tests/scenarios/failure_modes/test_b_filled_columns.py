"""Columns that the target fills itself: generated columns, and columns that a trigger fills from other columns."""

import re

import pytest
from fix_postgres import Database
from fix_sqlite import MakeSqlite
from fix_values import MakeMove

from migrator.errors import Mismatch

pytestmark = pytest.mark.one_server

PAGES = [(1, "the fat cats", "sat on a mat"), (2, "a quick fox", None)]


async def test_b34_full_text_columns_that_a_trigger_fills(
    move: MakeMove, database: Database, make_sqlite: MakeSqlite
) -> None:
    """PostgreSQL's own trigger fires during the load and other triggers don't: the application's search works."""
    make_sqlite("CREATE TABLE page (id INTEGER PRIMARY KEY, title TEXT, body TEXT)", {"page": PAGES})
    await database.execute(
        "CREATE TABLE page (id int PRIMARY KEY, title text, body text, search tsvector NOT NULL);"
        "CREATE FUNCTION shout() RETURNS trigger LANGUAGE plpgsql AS "
        "$$ BEGIN NEW.title := upper(NEW.title); RETURN NEW; END $$;"
        "CREATE TRIGGER shouts BEFORE INSERT OR UPDATE ON page FOR EACH ROW EXECUTE FUNCTION shout();"
        "CREATE TRIGGER fills BEFORE INSERT OR UPDATE ON page FOR EACH ROW "
        "EXECUTE FUNCTION tsvector_update_trigger(search, 'pg_catalog.english', title, body)"
    )
    await move().check()
    await move().run()
    found = await database.fetch("SELECT id, title FROM page WHERE search @@ to_tsquery('english', 'cat & mat')")
    assert found == [(1, "the fat cats")]
    assert await database.fetch("SELECT tgenabled::text FROM pg_trigger WHERE tgrelid = 'page'::regclass") == [
        ("O",),
        ("O",),
    ]
    await move().run()


async def test_b34_text_of_the_source_for_such_a_column(
    move: MakeMove, database: Database, make_sqlite: MakeSqlite
) -> None:
    """The job leaves it out and says so: prose is no set of lexemes, and the target's trigger makes them."""
    make_sqlite(
        "CREATE TABLE page (id INTEGER PRIMARY KEY, title TEXT, config TEXT, search TEXT)",
        {"page": [(1, "the fat cats", "english", "the fat cats")]},
    )
    await database.execute(
        "CREATE TABLE page (id int PRIMARY KEY, title text, config regconfig, search tsvector);"
        "CREATE TRIGGER fills BEFORE INSERT ON page FOR EACH ROW "
        "EXECUTE FUNCTION tsvector_update_trigger_column(search, config, title)"
    )
    report = await move().run()
    assert [(skipped.name, skipped.reason) for skipped in report.skipped] == [
        ("page.search", "filled by the target's trigger fills")
    ]
    assert await database.fetch("SELECT search::text FROM page") == [("'cat':3 'fat':2",)]


async def test_b34_a_trigger_that_does_not_fire_for_each_row(
    move: MakeMove, database: Database, make_sqlite: MakeSqlite
) -> None:
    """The job treats the column as an ordinary one, and refuses text that is no set of lexemes, with the way out."""
    make_sqlite("CREATE TABLE page (id INTEGER PRIMARY KEY, title TEXT, search TEXT)", {"page": [(1, "cats", "cats!")]})
    await database.execute(
        "CREATE TABLE page (id int PRIMARY KEY, title text, search tsvector);"
        "CREATE TRIGGER fills BEFORE INSERT ON page FOR EACH ROW WHEN (NEW.title <> '') "
        "EXECUTE FUNCTION tsvector_update_trigger(search, 'pg_catalog.english', title)"
    )
    [finding] = (await move().check()).findings
    assert finding.settled_by.splitlines()[0].startswith("exclude = true")


@pytest.mark.parametrize("fires", ["INSERT OR UPDATE", "INSERT OR UPDATE OF title", "INSERT"])
async def test_b34_columns_that_a_trigger_of_the_application_fills(
    move: MakeMove, database: Database, make_sqlite: MakeSqlite, fires: str
) -> None:
    """The trigger doesn't fire, since it may do more. The job warns, and prints the statement that fills the column."""
    make_sqlite("CREATE TABLE page (id INTEGER PRIMARY KEY, title TEXT)", {"page": [(1, "the fat cats")]})
    await database.execute(
        'CREATE TABLE page (id int PRIMARY KEY, title text, "Search" tsvector, noted text);'
        "CREATE FUNCTION fill() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN\n"
        "-- NEW.noted := 'no';\n"
        "IF NEW.noted = 'x' THEN RETURN NEW; END IF;\n"
        "NEW.\"Search\" := to_tsvector('english', NEW.title); RETURN NEW; END $$;"
        f"CREATE TRIGGER fills BEFORE {fires} ON page FOR EACH ROW EXECUTE FUNCTION fill()"
    )
    checked = [note for note in (await move().check()).notes if "fills" in note]
    report = await move().run()
    [note] = [note for note in report.notes if "fills" in note]
    assert checked == [note]
    assert note.startswith("WARNING: column public.page.Search stays empty: the source has no values for it")
    assert await database.fetch('SELECT "Search"::text FROM page') == [(None,)]
    [statement] = re.findall(r"Run `(.+?)` after", note)
    await database.execute(statement)
    assert await database.fetch('SELECT "Search"::text FROM page') == [("'cat':3 'fat':2",)]
    await move().run()


async def test_b34_generated_full_text_columns(move: MakeMove, database: Database, make_sqlite: MakeSqlite) -> None:
    """The job leaves them to the target, whatever the source has under this name."""
    make_sqlite(
        "CREATE TABLE page (id INTEGER PRIMARY KEY, title TEXT, search TEXT)",
        {"page": [(1, "the fat cats", "the fat cats"), (2, "dogs", None)]},
    )
    await database.execute(
        "CREATE TABLE page (id int PRIMARY KEY, title text, "
        "search tsvector GENERATED ALWAYS AS (to_tsvector('english', title)) STORED)"
    )
    report = await move().run()
    [skipped] = report.skipped
    assert skipped.reason == "computed by the target: to_tsvector('english'::regconfig, title)"
    assert await database.fetch("SELECT search::text FROM page ORDER BY id") == [("'cat':3 'fat':2",), ("'dog':1",)]


LINES = "CREATE TABLE line (id INTEGER PRIMARY KEY, price INT, number INT, total INT)"
COMPUTED = (
    "CREATE TABLE line (id int PRIMARY KEY, price int, number int, "
    "total int NOT NULL GENERATED ALWAYS AS (price * number) {})"
)


async def computed(database: Database, kind: str) -> None:
    """Make the table with a computed column; virtual columns are new in PostgreSQL 18."""
    [(version,)] = await database.fetch("SELECT current_setting('server_version_num')::int")
    if kind == "VIRTUAL" and version < 180000:
        pytest.skip("this server has no virtual columns")
    await database.execute(COMPUTED.format(kind))


@pytest.mark.parametrize("kind", ["STORED", "VIRTUAL"])
async def test_b35_a_generated_column_that_the_source_has_in_part(
    move: MakeMove, database: Database, make_sqlite: MakeSqlite, kind: str
) -> None:
    """The job compares the values that the source has; where it has none, the target's value is no difference."""
    make_sqlite(LINES, {"line": [(1, 2, 3, 6), (2, 5, 5, None)]})
    await computed(database, kind)
    report = await move().run()
    assert all(line.verified for line in report.tables)
    assert await database.fetch("SELECT id, total FROM line ORDER BY id") == [(1, 6), (2, 25)]
    await move().run()


@pytest.mark.parametrize("kind", ["STORED", "VIRTUAL"])
async def test_b35_a_generated_column_that_differs(
    move: MakeMove, database: Database, make_sqlite: MakeSqlite, kind: str
) -> None:
    """Verification names the expression, suspects nobody of a change, and prints the flag that leaves it out."""
    make_sqlite(LINES, {"line": [(1, 2, 3, 6), (2, 5, 5, 24), (3, 1, 1, None)]})
    await computed(database, kind)
    with pytest.raises(Mismatch) as raised:
        await move().run()
    assert "total 1, computed as (price * number)" in str(raised.value)
    assert "total is '24' in the source, '25' in the target, which computes it as (price * number)" in str(raised.value)
    assert "Find out who changed" not in raised.value.next_step
    [flag] = re.findall(r"--exclude (\S+)", raised.value.next_step)
    await move(exclude=(flag,), restart=True).run()
    assert await database.fetch("SELECT id, total FROM line ORDER BY id") == [(1, 6), (2, 25), (3, 1)]


async def test_b35_a_value_that_a_generated_column_cannot_have(
    move: MakeMove, database: Database, make_sqlite: MakeSqlite
) -> None:
    """The job refuses it before the copy; the way out is to leave the column to the target."""
    make_sqlite(LINES, {"line": [(1, 2, 3, "six")]})
    await computed(database, "STORED")
    [finding] = (await move().check()).findings
    assert finding.settled_by == "exclude = true  # the target computes it: (price * number)"
    await move(exclude=("line.total",)).run()
