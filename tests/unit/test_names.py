"""Names: quoted whatever they look like, and found again on the other side."""

import pytest
from fix_postgres import Database
from fix_sqlite import MakeSqlite
from fix_values import MakeMove
from hypothesis import given
from hypothesis import strategies as st

from migrator.names import (
    NamingStyle,
    cut,
    find_match,
    first_match,
    nearest,
    quote_literal,
    quote_postgres,
    quote_sqlite,
    styled,
)

HOSTILE = (
    "order",
    "select",
    'a "quoted" one',
    "it's",
    "two words",
    "semi;colon",
    "per%cent",
    "co:lon",
    "größe",
    "\U0001f332",
    "{0}",
    "$1",
    "back\\slash",
    "UPPER",
    "dash-ed",
    "1st",
    "new\nline",
    "ta\tb",
    "--",
)


@pytest.mark.parametrize(
    ("name", "found"),
    [
        ("users", "users"),
        ("Users", "Users"),
        ("ORDERS", "orders"),
        ("GRÖSSE", "größe"),
        ("Mixed", None),  # MIXED and mixed: either could be meant
        ("missing", None),
        ("n" * 70, "n" * 63),
        ("ä" * 40, "ä" * 31),
    ],
)
def test_partner(name: str, found: str | None) -> None:
    """The same name first, then the only one that differs in case, also where PostgreSQL has cut it to 63 bytes."""
    known = ["users", "Users", "orders", "größe", "mixed", "MIXED", "n" * 63, "ä" * 31]
    assert find_match(name, known) == found


STYLES: tuple[NamingStyle, ...] = ("as-is", "lower", "snake_case")


@pytest.mark.parametrize(
    ("name", "lower", "snake_case"),
    [
        ("camelCase", "camelcase", "camel_case"),
        ("ABC", "abc", "abc"),
        ("A", "a", "a"),
        ("aB", "ab", "a_b"),
        ("X509Certificate", "x509certificate", "x509_certificate"),
        ("OAuth2Token", "oauth2token", "o_auth2_token"),
        ("_private", "_private", "_private"),
        ("a__B", "a__b", "a__b"),
        (" padded ", " padded ", "padded"),
        ("a.b$c", "a.b$c", "a_b_c"),
        ("straßeNr", "straßenr", "straße_nr"),
        ("E\u0301tat", "e\u0301tat", "e\u0301tat"),
        ("日本語", "日本語", "日本語"),
        ("", "", ""),
        ("---", "---", "---"),
    ],
)
def test_naming_styles(name: str, lower: str, snake_case: str) -> None:
    """Words are found by their capitals and by signs; accents of a letter are part of it."""
    assert [styled(name, style) for style in STYLES] == [name, lower, snake_case]


@given(st.text(max_size=40))
def test_a_style_changes_nothing_twice(name: str) -> None:
    """A name in a style stays as it is, so a second run or a target in this style matches."""
    for style in STYLES:
        assert styled(styled(name, style), style) == styled(name, style)


def test_the_first_name_with_a_match() -> None:
    """Each is looked for without regard to case before the next."""
    assert first_match(("userID", "user_id"), ["user_id", "USERID"]) == "USERID"
    assert first_match(("userID", "user_id"), ["USER_ID"]) == "USER_ID"
    assert first_match(("userID", "user_id"), ["id"]) is None


def test_cut_leaves_no_half_character() -> None:
    """63 bytes at most, and valid UTF-8."""
    assert cut("ä" * 40) == "ä" * 31
    assert cut("a" + "ä" * 40) == "a" + "ä" * 31
    assert cut("short") == "short"


def test_quotes_are_doubled() -> None:
    """In identifiers and in literals."""
    assert quote_postgres('a"b') == '"a""b"'
    assert quote_sqlite('a"b') == '"a""b"'
    assert quote_literal("it's") == "'it''s'"


def test_nearest() -> None:
    """A slip of the pen is recognised, a stranger isn't."""
    assert nearest("user", ["users", "orders"]) == "users"
    assert nearest("zebra", ["users", "orders"]) is None


async def test_hostile_names_in_every_statement(move: MakeMove, database: Database, make_sqlite: MakeSqlite) -> None:
    """Reserved words, quotes, blanks, unicode and what drivers take for a parameter: as tables, columns and keys."""
    columns = ", ".join(f"{quote_sqlite(name)} TEXT" for name in HOSTILE)
    key = quote_sqlite(HOSTILE[2])
    tables = [f"CREATE TABLE {quote_sqlite(name)} ({columns}, PRIMARY KEY ({key}))" for name in HOSTILE]
    make_sqlite(";".join(tables), {name: [[f"{name} of {column}" for column in HOSTILE]] for name in HOSTILE})
    await database.execute(";".join(table.replace("CREATE TABLE", "CREATE TABLE IF NOT EXISTS") for table in tables))
    report = await move().run()
    assert {line.table for line in report.tables} == {f"public.{name}" for name in HOSTILE}
    for name in HOSTILE:
        [row] = await database.fetch(f"SELECT * FROM {quote_postgres(name)}")
        assert dict(row) == {column: f"{name} of {column}" for column in HOSTILE}


@pytest.mark.one_server
async def test_a_name_that_is_too_long_for_postgresql(
    move: MakeMove, database: Database, make_sqlite: MakeSqlite
) -> None:
    """It is found as PostgreSQL has cut it: the table, and its column."""
    name = "t" * 70
    make_sqlite(f'CREATE TABLE {name} ("{"ü" * 40}" TEXT)', {name: [("x",)]})
    await database.execute(f'CREATE TABLE {name[:63]} ("{"ü" * 31}" text)')
    await move().run()
    assert [tuple(row) for row in await database.fetch(f"SELECT * FROM {name[:63]}")] == [("x",)]
