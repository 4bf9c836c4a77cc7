"""Every other type: PostgreSQL is asked before anything is written, and what it would change is refused."""

from datetime import timedelta

import pytest
from asyncpg.exceptions import FeatureNotSupportedError
from fix_postgres import Database
from fix_values import Carry, Refused

CASES: dict[str, tuple[str, dict[str, tuple[object, object]]]] = {
    "inet": (
        "inet",
        {
            "host": ("192.168.0.1", "192.168.0.1/32"),
            "net": ("10.0.0.0/8", "10.0.0.0/8"),
            "six": ("::1", "::1/128"),
            "word": ("localhost", "can't become inet: invalid input syntax for type inet"),
            "empty": ("", "can't become inet: invalid input syntax for type inet"),
            "blob": (b"\x7f\0\0\1", "is not stored as TEXT or INTEGER or REAL"),
        },
    ),
    "array of text": (
        "text[]",
        {
            "literal": ('{a,"b c",NULL}', '{a,"b c",NULL}'),
            "json": (
                '["a", "b \\"c\\" \\\\", null, "", "NULL", "\u00e4,{}"]',
                '{a,"b \\"c\\" \\\\",NULL,"","NULL","ä,{}"}',
            ),
            "empty json": ("[]", "{}"),
            "escapes": (r'["\u00e9\n"]', '{"é\n"}'),
            "word": ("a,b", "can't become text[]: malformed array literal"),
            "object": ('{"a": 1}', "can't become text[]: malformed array literal"),
        },
    ),
    "array of numbers": (
        "numeric(5,2)[]",
        {
            "json": ("[1, 2.50, -3e0]", "{1.00,2.50,-3.00}"),
            "literal": ("{1.5,2}", "{1.50,2.00}"),
            "third place": ("[1.005]", "can't become numeric(5,2)[] exactly"),
            "nested json": ("[[1]]", "can't become numeric(5,2)[]: malformed array literal"),
        },
    ),
    "array of integers": ("integer[]", {"json": ("[1,2]", "{1,2}"), "two deep": ("{{1,2},{3,4}}", "{{1,2},{3,4}}")}),
    "array of varchar": (
        "varchar(3)[]",
        {"fits": ("{abc}", "{abc}"), "longer": ("{abcd}", "can't become character varying(3)[] exactly")},
    ),
    "array of real": (
        "real[]",
        {"fits": ("[0.5]", "{0.5}"), "loses": ("{0.123456789}", "can't become real[] exactly")},
    ),
    "interval": (
        "interval",
        {
            "sqlalchemy": ("1970-01-03 01:02:03.000004", "2 days 01:02:03.000004"),
            "negative": ("1969-12-31 23:59:59.500000", "-1 days +23:59:59.5"),
            "words": ("1 day 2 hours", "1 day 02:00:00"),
            "iso": ("P1DT2H", "1 day 02:00:00"),
            "nanoseconds": ("0.1234567 s", "has more digits of a second than PostgreSQL keeps"),
            "nonsense": ("long", "can't become interval: invalid input syntax for type interval"),
        },
    ),
    "range": (
        "daterange",
        {
            "usual": ("[2024-01-01,2024-02-01)", "[2024-01-01,2024-02-01)"),
            "today": ("[today,2099-01-01)", "is a word that PostgreSQL would read as the time of the migration"),
            "reversed": (
                "[2024-02-01,2024-01-01)",
                "can't become daterange: range lower bound must be less than or equal to range upper bound",
            ),
        },
    ),
    "timetz": (
        "timetz",
        {
            "zone": ("12:34:56+02", "12:34:56+02"),
            "now": ("NOW", "is a word that PostgreSQL would read as the time of the migration"),
        },
    ),
    "bits": (
        "bit(3)",
        {
            "three": ("101", "101"),
            "four": ("1011", "can't become bit(3) exactly"),
            "digits": ("12", 'can\'t become bit(3): "…" is not a valid binary digit'),
        },
    ),
    "money": (
        "money",
        {"cents": ("12.34", "$12.34"), "real": (1.5, "$1.50"), "third place": ("1.005", "can't become money exactly")},
    ),
    "one byte": ('"char"', {"a": ("a", "a"), "two": ("ab", 'can\'t become "char" exactly')}),
    "words": ("tsvector", {"two": ("'a' 'b':2", "'a' 'b':2")}),
    "address": ("macaddr", {"dashes": ("08-00-2b-01-02-03", "08:00:2b:01:02:03")}),
    "network": (
        "cidr",
        {
            "net": ("10.1.0.0/16", "10.1.0.0/16"),
            "host bits": ("10.1.0.1/16", "can't become cidr: invalid cidr value"),
        },
    ),
}

# A type, how it is made, and its values.
MADE: dict[str, tuple[str, str, dict[str, tuple[object, object]]]] = {
    "composite": (
        "place",
        "CREATE TYPE place AS (name text, height numeric(5,1))",
        {
            "all": ('("Mont Blanc",4805.6)', '("Mont Blanc",4805.6)'),
            "missing": ("(,)", "(,)"),
            "json": ('{"name": "x"}', "can't become place: malformed record literal"),
            "too few": ("(a)", "can't become place: malformed record literal"),
        },
    ),
    "hstore": (
        "hstore",
        "CREATE EXTENSION hstore",
        {"pairs": ("a=>1, b=>NULL", '"a"=>"1", "b"=>NULL')},
    ),
    "xml": (
        "xml",
        "SELECT xmlparse(document '<a/>')",
        {
            "element": ("<a>1</a>", "<a>1</a>"),
            "blanks": (" <a /> ", " <a /> "),
            "declaration": (
                '<?xml version="1.0" encoding="UTF-8"?>\n<a>é</a>',
                '<?xml version="1.0" encoding="UTF-8"?>\n<a>é</a>',
            ),
            "kind of document": ("<!DOCTYPE a><a/>", "<!DOCTYPE a><a/>"),
            "several": ("<a/>text<b/>", "<a/>text<b/>"),
            "empty": ("", ""),
            "open": ("<a>", "can't become xml: invalid XML content"),
        },
    ),
}


@pytest.mark.parametrize("case", CASES)
async def test_a_type_that_only_postgresql_reads(carry: Carry, case: str) -> None:
    """What arrives is what PostgreSQL makes of the text; the reason of a refusal is its own, without the value."""
    declared, cases = CASES[case]
    outcome = await carry(
        declared, {name: stored for name, (stored, _) in cases.items()} | {"null": None}, shown="v::text"
    )
    told = {name: value.reason if isinstance(value, Refused) else value for name, value in outcome.items()}
    assert told == {name: arrived for name, (_, arrived) in cases.items()} | {"null": None}


@pytest.mark.parametrize("case", MADE)
async def test_a_type_that_has_to_be_made_first(carry: Carry, database: Database, case: str) -> None:
    """Types of the application's own, of extensions, and of libraries that a server may lack."""
    declared, statement, cases = MADE[case]
    try:
        await database.execute(statement, as_admin=statement.startswith("CREATE EXTENSION"))
    except FeatureNotSupportedError:
        pytest.skip(f"this server was built without {declared}")
    outcome = await carry(declared, {name: stored for name, (stored, _) in cases.items()}, shown="v::text")
    told = {name: value.reason if isinstance(value, Refused) else value for name, value in outcome.items()}
    assert told == {name: arrived for name, (_, arrived) in cases.items()}


async def test_an_hstore_that_is_none(carry: Carry, database: Database) -> None:
    """Extensions have errors of their own; what one says of a value is a refusal, whatever it calls it."""
    await database.execute("CREATE EXTENSION hstore", as_admin=True)
    outcome = await carry("hstore", {"word": "a", "pair": "a=>1"}, shown="v::text")
    assert outcome["pair"] == '"a"=>"1"'
    assert isinstance(outcome["word"], Refused)
    assert outcome["word"].reason.startswith("can't become hstore: ")


async def test_what_a_check_or_a_name_says_of_a_value(carry: Carry) -> None:
    """Whatever error the server has for a value that it is asked about, the value is named by its key."""
    outcome = await carry("regclass", {"there": "pg_class", "nowhere": "nowhere"}, shown="v::text")
    assert outcome["there"] == "pg_class"
    assert isinstance(outcome["nowhere"], Refused)


async def test_a_check_with_an_error_of_its_own(carry: Carry) -> None:
    """A domain's CHECK may call a function that raises; that is a refusal of the value, by key."""
    outcome = await carry(
        "d",
        {"few": "[1]", "many": "[1, 2, 3]"},
        shown="v::text",
        prepare="CREATE FUNCTION few(int[]) RETURNS boolean IMMUTABLE LANGUAGE plpgsql AS "
        "'BEGIN IF cardinality($1) > 2 THEN RAISE EXCEPTION ''too many''; END IF; RETURN true; END';"
        "CREATE DOMAIN d AS int[] CHECK (few(VALUE))",
    )
    assert outcome["few"] == "{1}"
    assert isinstance(outcome["many"], Refused)


async def test_a_type_that_is_named_like_another(carry: Carry) -> None:
    """What the application calls json need not be PostgreSQL's; it is carried as what it is."""
    outcome = await carry(
        'public."json"',
        {"a": "[1,5)", "b": "[5,1)"},
        shown="v::text",
        prepare='CREATE TYPE public."json" AS RANGE (subtype = float8)',
    )
    assert outcome["a"] == "[1,5)"
    assert isinstance(outcome["b"], Refused)


DOMAINS: dict[str, tuple[str, dict[str, tuple[object, object]]]] = {
    "positive": (
        "integer CHECK (VALUE > 0)",
        {"one": (1, "1"), "zero": (0, 'can\'t become d: value for domain d violates check constraint "d_check"')},
    ),
    "short": ("varchar(3)", {"fits": ("abc", "abc"), "longer": ("abcd", "is longer than d")}),
    "moment": (
        "timestamptz CHECK (VALUE > '2000-01-01')",
        {
            "later": ("2024-01-01 00:00:00", "2024-01-01 00:00:00+00"),
            "earlier": (
                "1999-01-01 00:00:00",
                'can\'t become d: value for domain d violates check constraint "d_check"',
            ),
        },
    ),
    "bytes": (
        "bytea CHECK (length(VALUE) = 2)",
        {
            "two": (b"ab", "\\x6162"),
            "one": (b"a", 'can\'t become d: value for domain d violates check constraint "d_check"'),
        },
    ),
}


@pytest.mark.parametrize("case", DOMAINS)
async def test_a_domain(carry: Carry, case: str) -> None:
    """It is carried as the type beneath it, and its CHECKs are tried before anything is written."""
    base, cases = DOMAINS[case]
    outcome = await carry(
        "d",
        {name: stored for name, (stored, _) in cases.items()},
        shown="v::text",
        prepare=f"CREATE DOMAIN d AS {base}; SET timezone = 'UTC'",
    )
    told = {name: value.reason if isinstance(value, Refused) else value for name, value in outcome.items()}
    assert told == {name: arrived for name, (_, arrived) in cases.items()}


def test_interval_oracle() -> None:
    """SQLAlchemy's form means the time since 1970: what the cases above say is what Python makes of it."""
    assert timedelta(days=-1, hours=23, minutes=59, seconds=59.5) == timedelta(seconds=-0.5)
