"""Columns that the target fills itself: generated columns, and columns that a trigger fills from other columns."""

import re

import pytest
from fix_postgres import Database
from fix_sqlite import MakeSqlite
from fix_values import MakeMove

pytestmark = pytest.mark.one_server

PAGES = [(1, "the fat cats", "sat on a mat"), (2, "a quick fox", None)]


async def test_postgres_own_trigger_fills_a_full_text_column(
    move: MakeMove, database: Database, make_sqlite: MakeSqlite
) -> None:
    """It fires during the load, other triggers don't, and the source's column of that name is left out."""
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


async def test_text_of_the_source_does_not_replace_what_a_trigger_computes(
    move: MakeMove, database: Database, make_sqlite: MakeSqlite
) -> None:
    """Prose in a full-text column of the source is no set of lexemes: the target's trigger makes them."""
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


async def test_a_trigger_that_is_disabled_or_conditional_fills_nothing(
    move: MakeMove, database: Database, make_sqlite: MakeSqlite
) -> None:
    """Then the column is an ordinary one: text that is no set of lexemes is refused, with the way out."""
    make_sqlite("CREATE TABLE page (id INTEGER PRIMARY KEY, title TEXT, search TEXT)", {"page": [(1, "cats", "cats!")]})
    await database.execute(
        "CREATE TABLE page (id int PRIMARY KEY, title text, search tsvector);"
        "CREATE TRIGGER fills BEFORE INSERT ON page FOR EACH ROW WHEN (NEW.title <> '') "
        "EXECUTE FUNCTION tsvector_update_trigger(search, 'pg_catalog.english', title)"
    )
    [finding] = (await move().check()).findings
    assert finding.settled_by.splitlines()[0].startswith("exclude = true")


@pytest.mark.parametrize("fires", ["INSERT OR UPDATE", "INSERT OR UPDATE OF title", "INSERT"])
async def test_a_trigger_of_the_application_is_told(
    move: MakeMove, database: Database, make_sqlite: MakeSqlite, fires: str
) -> None:
    """It may do more than fill the column, so it doesn't fire; the statement that is printed fills the column."""
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


async def test_a_generated_full_text_column_is_left_to_the_target(
    move: MakeMove, database: Database, make_sqlite: MakeSqlite
) -> None:
    """Whatever the source has under this name."""
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
