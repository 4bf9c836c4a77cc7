"""
What breaks values when SQLite moves to PostgreSQL; docs/explanation/failure-modes.md lists the numbers.

Each is an accident that happened to somebody with another tool. The name says which; the test says what happens here.
"""

import math
import sqlite3
from contextlib import closing
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path
from uuid import UUID

import pytest
from fix_postgres import Database
from fix_sqlite import MakeSqlite
from fix_values import Carry, MakeMove, Refused, refusals
from structlog.testing import capture_logs

pytestmark = pytest.mark.one_server

TIMESTAMP, TIMESTAMPTZ = "timestamp without time zone", "timestamp with time zone"
NOT_TEXT = Refused("is not stored as TEXT")
MOMENT = datetime(2024, 2, 29, 12, 34, 56, tzinfo=UTC)


def cannot(declared: str) -> Refused:
    """Return the refusal of what can't become a type as it is."""
    return Refused(f"can't become {declared} exactly")


def ruled(tmp_path: Path, rule: str) -> str:
    """Write a rule about the column that is carried, and return the file's path."""
    path = tmp_path / "migrator.toml"
    path.write_text(f'[columns."t.v"]\n{rule}\n', encoding="utf-8")
    return str(path)


async def test_a01_integers_in_a_boolean_column(carry: Carry) -> None:
    """0 and 1 become booleans because the target's column is boolean; no list of columns is needed."""
    assert await carry("boolean", {"on": 1, "off": 0}, stored_as="BOOLEAN") == {"on": True, "off": False}


async def test_a02_booleans_in_other_spellings(carry: Carry, tmp_path: Path) -> None:
    """The job carries the spellings that a rule lists and refuses every other one."""
    outcome = await carry(
        "boolean", {"t": "t", "f": "f", "yes": "yes", "two": 2}, rules=ruled(tmp_path, 'true = ["t"]\nfalse = ["f"]')
    )
    assert outcome == {
        "t": True,
        "f": False,
        "yes": Refused("is not stored as INTEGER"),
        "two": Refused("is neither 0 nor 1"),
    }


async def test_a04_a05_epochs_in_milliseconds(carry: Carry) -> None:
    """The job refuses them without a rule, and never takes them for years or seconds."""
    assert await carry("timestamptz", {"ms": 1709210096000}) == {"ms": NOT_TEXT}


async def test_a04_a05_epochs_with_a_rule(carry: Carry, tmp_path: Path) -> None:
    """The rule names the unit, and the moment arrives."""
    assert await carry("timestamptz", {"ms": 1709210096000}, rules=ruled(tmp_path, 'epoch = "ms"')) == {"ms": MOMENT}


@pytest.mark.parametrize(("unit", "years"), [("s", "2023 to 2024"), ("ms", "1970 to 1970"), ("us", "1970 to 1970")])
async def test_a04_a05_the_evidence_of_a_unit(
    move: MakeMove, database: Database, make_sqlite: MakeSqlite, tmp_path: Path, unit: str, years: str
) -> None:
    """Check and the report name the years of the moments, so that a wrong unit is seen."""
    make_sqlite("CREATE TABLE t (id INTEGER PRIMARY KEY, v)", {"t": [(1, 1700000000), (2, 1709210096), (3, None)]})
    await database.execute("CREATE TABLE t (id int PRIMARY KEY, v timestamptz)")
    moving = move(rules=ruled(tmp_path, f'epoch = "{unit}"'))
    line = f't.v: 2 values rewritten by rule (epoch = "{unit}"), which lie in the years {years}'
    [survey] = (await moving.check()).table_checks
    assert [change.line() for change in survey.changes] == [line]
    assert line in (await moving.run()).notes


async def test_a06_zero_in_a_timestamp_column(carry: Carry) -> None:
    """The job refuses it: zero is neither NULL nor the year 0."""
    assert await carry("timestamp", {"zero": 0}) == {"zero": NOT_TEXT}


async def test_a06_zero_as_null_by_rule(carry: Carry, tmp_path: Path) -> None:
    """The job makes zero NULL if a rule says so, and only then."""
    assert await carry("timestamp", {"zero": 0}, rules=ruled(tmp_path, "null = [0]")) == {"zero": None}


async def test_a07_packed_dates_beyond_int4(carry: Carry) -> None:
    """The refusal names the type and its limits."""
    refused = Refused("is beyond integer (-2147483648 to 2147483647)")
    assert await carry("integer", {"packed": 180303235924}) == {"packed": refused}


async def test_a08_dates_in_three_storage_classes(carry: Carry) -> None:
    """The job carries the text, and names each row with an integer or a real."""
    outcome = await carry("timestamp", {"text": "2024-02-29 12:34:56", "epoch": 1709210096, "julian": 2460370.02})
    assert outcome == {"text": MOMENT.replace(tzinfo=None), "epoch": NOT_TEXT, "julian": NOT_TEXT}


async def test_a09_naive_and_zoned_text_in_one_column(carry: Carry) -> None:
    """Offsets count, and text without an offset is UTC, whatever the time zone of server, role or machine is."""
    texts = ("2024-02-29 12:34:56", "2024-02-29T12:34:56Z", "2024-02-29 14:34:56+02:00")
    assert await carry(
        "timestamptz", {text: text for text in texts}, prepare="ALTER ROLE CURRENT_USER SET timezone = 'Asia/Tokyo'"
    ) == dict.fromkeys(texts, MOMENT)


GO = {
    "utc": "2024-02-29 12:34:56.529941 +0000 UTC",
    "whole": "2024-02-29 12:34:56 +0000 UTC",
    "monotonic": "2024-02-29 12:34:56.5 +0000 UTC m=+0.000012345",
    "zone": "2024-02-29 14:34:56 +0200 CEST",
    "unnamed zone": "2024-02-29 07:04:56 -0530 -0530",
    "iso": "2024-02-29 12:34:56+00:00",
    "nanoseconds": "2024-02-29 12:34:56.529941123 +0000 UTC",
    "cut": "2024-02-29 12:34:56.529941 +0000",
    "no time": "0 seconds +0000 UTC",
    "odd fraction": "2024-02-29 12:34:56x +0000 UTC",
}


async def test_a10_times_as_go_prints_them(carry: Carry, tmp_path: Path) -> None:
    """With the rule the well-formed times arrive as their instants; the job refuses all others, nanoseconds too."""
    cut = dict.fromkeys(("nanoseconds", "cut", "no time", "odd fraction"), cannot(TIMESTAMPTZ))
    arrived = dict.fromkeys(GO, MOMENT) | {
        "utc": MOMENT.replace(microsecond=529941),
        "monotonic": MOMENT.replace(microsecond=500_000),
    }
    assert await carry("timestamptz", GO, rules=ruled(tmp_path, "go_time = true")) == arrived | cut


async def test_a10_go_times_where_there_is_no_zone(carry: Carry, tmp_path: Path) -> None:
    """A column without time zone takes times in UTC, cut to microseconds if a rule says so."""
    values = {name: GO[name] for name in ("utc", "zone", "nanoseconds")}
    outcome = await carry("timestamp", values, rules=ruled(tmp_path, "go_time = true\ntruncate = true"))
    moment = MOMENT.replace(microsecond=529941, tzinfo=None)
    assert outcome == {"utc": moment, "zone": cannot(TIMESTAMP), "nanoseconds": moment}


async def test_a10_go_times_without_the_rule(carry: Carry) -> None:
    """The job refuses them."""
    assert await carry("timestamptz", {"go": GO["utc"]}) == {"go": cannot(TIMESTAMPTZ)}


async def test_a11_nanoseconds(carry: Carry) -> None:
    """The job refuses them, because PostgreSQL would round them."""
    assert await carry("timestamptz", {"go": "2024-02-29 20:04:20.062750226+00:00"}) == {"go": cannot(TIMESTAMPTZ)}


async def test_a11_nanoseconds_cut_by_rule(carry: Carry, tmp_path: Path) -> None:
    """With the rule the job cuts them, and verification agrees."""
    outcome = await carry(
        "timestamptz", {"go": "2024-02-29 12:34:56.000000999+00:00"}, rules=ruled(tmp_path, "truncate = true")
    )
    assert outcome == {"go": MOMENT}


async def test_a12_the_first_year_and_the_one_before(carry: Carry) -> None:
    """Go's zero time arrives as a moment; the job refuses the year 0 and MySQL's zero date."""
    outcome = await carry(
        "timestamptz",
        {"go": "0001-01-01 00:00:00+00:00", "year 0": "0000-12-31 00:00:00", "mysql": "0000-00-00 00:00:00"},
    )
    assert outcome == {
        "go": datetime(1, 1, 1, tzinfo=UTC),
        "year 0": Refused("lies before the year 1"),
        "mysql": cannot(TIMESTAMPTZ),
    }


async def test_a13_times_that_postgresql_rolls_forward(carry: Carry) -> None:
    """The job refuses 24:00 and the leap second, which PostgreSQL would turn into another moment."""
    values = {"end of day": "2024-02-29 24:00:00", "leap second": "2016-12-31 23:59:60"}
    assert await carry("timestamp", values) == dict.fromkeys(values, cannot(TIMESTAMP))


@pytest.mark.parametrize("declared", ["timestamp", "timestamptz", "date"])
async def test_a14_words_in_a_date_column(carry: Carry, declared: str) -> None:
    """The job refuses 'now', which PostgreSQL's parser would turn into the hour of the migration."""
    words = ("now", "today", "tomorrow", "epoch", "infinity", "-infinity", "NOW")
    full = {"timestamp": TIMESTAMP, "timestamptz": TIMESTAMPTZ}.get(declared, declared)
    assert await carry(declared, {word: word for word in words}) == dict.fromkeys(words, cannot(full))


async def test_a14_no_rule_that_is_proposed_evaluates_a_word(
    move: MakeMove, database: Database, make_sqlite: MakeSqlite, tmp_path: Path
) -> None:
    """No rule that check proposes evaluates 'now': SQLite's date() would make it the day of the migration."""
    make_sqlite("CREATE TABLE t (id TEXT PRIMARY KEY, v)", {"t": [("word", "now"), ("moment", "2024-02-29 12:00:00")]})
    await database.execute("CREATE TABLE t (id text PRIMARY KEY, v date)")
    [finding] = (await move().check()).findings
    proposed = finding.settled_by.splitlines()[0]
    findings = (await move(rules=ruled(tmp_path, proposed)).check()).findings
    assert set(refusals(findings)) == {"word"}


async def test_a15_text_that_is_no_json(carry: Carry) -> None:
    """The job names each row with empty text, NaN or single quotes."""
    values = {"empty": "", "nan": '{"a": NaN}', "quotes": "{'a': 1}"}
    assert await carry("jsonb", values) == dict.fromkeys(values, Refused("is not valid JSON"))


async def test_a15_where_text_stops_being_json(move: MakeMove, database: Database, make_sqlite: MakeSqlite) -> None:
    """The message has key and byte offset, also far into a document and after letters of several bytes."""
    await database.execute("CREATE TABLE t (id int PRIMARY KEY, v jsonb)")
    long = '{"ä": "' + "x" * 5000 + '", "b": NaN, "c": "NaN"}'
    values = ["", '{"a": Nan}', "{'a': 1}", long, '["NaN", NaN]']
    make_sqlite("CREATE TABLE t (id INTEGER PRIMARY KEY, v TEXT)", {"t": list(enumerate(values))})
    [finding] = (await move().check()).findings
    shown = [example.value for example in finding.examples]
    assert [text.rpartition("at byte ")[2].rstrip(")") for text in shown] == ["0", "6", "1", "5016", "8"]
    assert shown[3] == f'…\'{"x" * 12}", "b": NaN, "c": "NaN"}}\' ({len(long.encode())} bytes, at byte 5016)'


async def test_a15_empty_text_as_null_by_rule(carry: Carry, tmp_path: Path) -> None:
    """With the rule the job makes empty text NULL."""
    assert await carry("jsonb", {"empty": ""}, rules=ruled(tmp_path, "empty_as_null = true")) == {"empty": None}


async def test_a16_the_nul_escape_in_json(carry: Carry) -> None:
    """Preflight finds it before a row is written."""
    refused = Refused("spells the character \\u0000, which jsonb can't hold")
    assert await carry("jsonb", {"nul": r'{"a": "x\u0000"}'}) == {"nul": refused}


async def test_a17_jsonb_in_another_order(carry: Carry) -> None:
    """The order of keys and the spelling of numbers are no difference, and the run verifies."""
    outcome = await carry("jsonb", {"document": '{"b": 1.50, "a": 1e2}'}, shown="v::text")
    assert outcome == {"document": '{"a": 100, "b": 1.50}'}


TWINS = {
    "fine": '{"a": {"a": 1}, "b": [{"a": 1}, {"a": 2}]}',
    "object": '{"a": 1, "b": 2, "a": 3}',
    "below": '[{"b": {"a": 1, "\\u0061": 2}}]',
}
LOST = Refused("has a key twice in one object, and jsonb keeps the last alone")


async def test_a17_a_key_that_is_there_twice(carry: Carry) -> None:
    """The job refuses it wherever it is in the document, because jsonb would keep the last value silently."""
    outcome = await carry("jsonb", TWINS, shown="v::text")
    assert outcome == {"fine": '{"a": {"a": 1}, "b": [{"a": 1}, {"a": 2}]}', "object": LOST, "below": LOST}


async def test_a17_the_last_of_equal_keys_by_rule(
    move: MakeMove, database: Database, make_sqlite: MakeSqlite, tmp_path: Path
) -> None:
    """With the rule the last value arrives, and the report counts the documents that lose a key."""
    make_sqlite("CREATE TABLE t (id TEXT PRIMARY KEY, v TEXT)", {"t": list(TWINS.items())})
    await database.execute("CREATE TABLE t (id text PRIMARY KEY, v jsonb)")
    report = await move(rules=ruled(tmp_path, 'duplicate_keys = "last"')).run()
    assert 't.v: 2 values rewritten by rule (duplicate_keys = "last")' in report.notes
    arrived = {row["id"]: row["v"] for row in await database.fetch("SELECT id, v::text AS v FROM t")}
    assert (arrived["object"], arrived["below"]) == ('{"a": 3, "b": 2}', '[{"b": {"a": 2}}]')


async def test_a17_json_keeps_equal_keys(carry: Carry) -> None:
    """The job carries it: a ``json`` column keeps the text, so nothing is lost."""
    assert await carry("json", TWINS, shown="v::text") == TWINS


async def test_a18_three_ways_to_store_a_uuid(carry: Carry) -> None:
    """All three arrive as the same UUID, also side by side in one column."""
    key = UUID("97033619-6371-4874-8591-279e78663470")
    values = {"dashes": str(key), "digits": key.hex, "bytes": key.bytes, "short": key.hex[1:]}
    expected = {"dashes": key, "digits": key, "bytes": key, "short": Refused("is not 32 hexadecimal digits")}
    assert await carry("uuid", values) == expected


async def test_a19_uuids_that_affinity_has_made_numbers_of(carry: Carry) -> None:
    """The job refuses what became a number: a column declared UUID has NUMERIC affinity, and nothing is guessed."""
    values = {"inf": "97033619637148748591279e7866347", "twelve": "00000000000000000000000000000012"}
    damaged = Refused("is a number: already damaged in the source, where SQLite takes a type like UUID for numeric")
    assert await carry("uuid", values, stored_as="UUID") == dict.fromkeys(values, damaged)


async def test_a19_text_that_affinity_has_made_numbers_of(
    move: MakeMove, database: Database, make_sqlite: MakeSqlite
) -> None:
    """The number that is left of 007 arrives, and report and log name the rows; rows with true text are not named."""
    make_sqlite(
        "CREATE TABLE t (id TEXT PRIMARY KEY, v STRING, w TEXT)", {"t": [("agent", "007", "007"), ("word", "x", "x")]}
    )
    await database.execute("CREATE TABLE t (id text PRIMARY KEY, v varchar(9), w text)")
    [finding] = (await move().check()).findings
    assert (finding.column, finding.rows, finding.refuses) == ("v", 1, False)
    assert [(example.key, example.value) for example in finding.examples] == [("id = 'agent'", "integer of 1 bytes")]
    assert "takes the type STRING for numeric: text like 007" in finding.reason
    with capture_logs() as events:
        report = await move().run()
    assert f"WARNING: {finding.line()}" in report.notes
    assert [event["column"] for event in events if event["event"] == "values.remarked"] == ["v"]
    assert [row["v"] for row in await database.fetch("SELECT v FROM t ORDER BY id")] == ["7", "x"]


async def test_a20_decimals_that_would_be_rounded(carry: Carry) -> None:
    """The job refuses a double whose shortest decimal has more digits than the column, and rounds nothing."""
    outcome = await carry("numeric(10,2)", {"fits": 1230.99, "rounded": 1230.999}, stored_as="NUMERIC")
    assert outcome == {"fits": Decimal("1230.99"), "rounded": cannot("numeric(10,2)")}


async def test_a20_decimals_that_have_lost_digits_already(
    move: MakeMove, database: Database, make_sqlite: MakeSqlite
) -> None:
    """The double arrives as its shortest decimal, and a note names the row where it may have had more digits."""
    values = [("long", "12345678901234567890.1234567890"), ("short", "1230.99"), ("whole", "12345678901234567")]
    make_sqlite("CREATE TABLE t (id TEXT PRIMARY KEY, v DECIMAL(30,10))", {"t": values})
    await database.execute("CREATE TABLE t (id text PRIMARY KEY, v numeric(30,10))")
    [remark] = (await move().check()).findings
    assert ([example.key for example in remark.examples], remark.refuses) == (["id = 'long'"], False)
    assert remark.reason.startswith("is a REAL of more than 15 digits")
    await move().run()
    arrived = {row["id"]: row["v"] for row in await database.fetch("SELECT * FROM t")}
    assert arrived == {name: Decimal(repr(float(v)) if name != "whole" else v) for name, v in values}


@pytest.mark.parametrize("value", [1230.99, 12.3, 0.46556071130937093, 1699999999.123])
async def test_a21_a23_digits_of_doubles(carry: Carry, value: float) -> None:
    """The same double arrives, with every digit."""
    assert await carry("double precision", {"value": value}) == {"value": value}


async def test_a22_a_double_into_four_bytes(carry: Carry) -> None:
    """The job refuses 1699999999.123, which would become 1700000000, and carries what survives."""
    outcome = await carry("real", {"epoch": 1699999999.123, "half": 0.5})
    assert outcome == {"epoch": Refused("loses digits in a 4-byte real"), "half": 0.5}


async def test_a24_infinities(carry: Carry) -> None:
    """A double precision column takes them."""
    assert await carry("double precision", {"inf": math.inf}) == {"inf": math.inf}


async def test_a24_no_rounding_is_proposed_for_infinities(
    move: MakeMove, database: Database, make_sqlite: MakeSqlite
) -> None:
    """The job proposes no rounding, because a numeric without a scale has nothing to round to."""
    make_sqlite("CREATE TABLE t (id TEXT PRIMARY KEY, v)", {"t": [("inf", math.inf)]})
    await database.execute("CREATE TABLE t (id text PRIMARY KEY, v numeric)")
    [finding] = (await move().check()).findings
    assert "round" not in finding.settled_by


async def test_a24_infinities_elsewhere(carry: Carry) -> None:
    """The job refuses them for a numeric column, on any version of PostgreSQL."""
    assert await carry("numeric(10,2)", {"inf": math.inf}) == {"inf": cannot("numeric(10,2)")}


async def test_a25_nan_is_null_already(carry: Carry) -> None:
    """A NOT NULL column refuses it: SQLite stores no NaN and has made it NULL."""
    refused = Refused("is missing and the target's column is NOT NULL")
    assert await carry("double precision NOT NULL", {"nan": math.nan}) == {"nan": refused}


async def test_a26_words_in_integer_columns(carry: Carry) -> None:
    """The job names each of them with its key."""
    values = {"word": "toto", "fraction": 12.3, "more": "50+"}
    refused = Refused("is not stored as INTEGER")
    assert await carry("integer", values, stored_as="INTEGER") == dict.fromkeys(values, refused)


async def test_a03_a28_the_target_keeps_its_own_types(
    move: MakeMove, database: Database, make_sqlite: MakeSqlite
) -> None:
    """The target's types and defaults stay as they are; an integer column of the target stays integer."""
    make_sqlite("CREATE TABLE t (id INTEGER PRIMARY KEY, flag BOOL DEFAULT 0, v BIGINT)", {"t": [(1, 1, 5)]})
    await database.execute("CREATE TABLE t (id int PRIMARY KEY, flag boolean DEFAULT true, v int)")
    shape = (
        "SELECT attname, format_type(atttypid, atttypmod), pg_get_expr(adbin, adrelid) FROM pg_attribute "
        "LEFT JOIN pg_attrdef ON adrelid = attrelid AND adnum = attnum WHERE attrelid = 't'::regclass AND attnum > 0"
    )
    before = [tuple(row) for row in await database.fetch(shape)]
    await move().run()
    assert [tuple(row) for row in await database.fetch(shape)] == before
    assert [tuple(row) for row in await database.fetch("SELECT * FROM t")] == [(1, True, 5)]


@pytest.mark.parametrize(("declared", "limit"), [("smallint", 2**15), ("integer", 2**31)])
async def test_a27_integers_too_wide(carry: Carry, declared: str, limit: int) -> None:
    """The largest integer that fits arrives; the job refuses the next one and names the limit."""
    refused = Refused(f"is beyond {declared} ({-limit} to {limit - 1})")
    assert await carry(declared, {"last": limit - 1, "next": limit}) == {"last": limit - 1, "next": refused}


async def test_a29_nul_in_text(carry: Carry) -> None:
    """The job names the row and does not drop it."""
    assert await carry("text", {"nul": "a\0b"}) == {
        "nul": Refused("holds a NUL character, which PostgreSQL's text can't")
    }


async def test_a29_nul_stripped_by_rule(carry: Carry, tmp_path: Path) -> None:
    """With the rule the rest of the text arrives completely."""
    assert await carry("text", {"nul": "a\0b"}, rules=ruled(tmp_path, 'nul_bytes = "strip"')) == {"nul": "ab"}


async def test_a30_a31_text_that_is_no_utf8(carry: Carry) -> None:
    """The job names it and never makes it NULL."""
    values = {"surrogates": ("TEXT", b"\xed\xb3\xb6"), "latin": ("TEXT", b"caf\xe9")}
    assert await carry("text", values) == dict.fromkeys(values, Refused("is not valid UTF-8"))


async def test_a30_where_text_stops_being_utf8(move: MakeMove, database: Database, make_sqlite: MakeSqlite) -> None:
    """The message has key, byte offset and the bytes; with masked values it has the offset alone."""
    await database.execute("CREATE TABLE t (id int PRIMARY KEY, v text)")
    path = make_sqlite("CREATE TABLE t (id INTEGER PRIMARY KEY, v TEXT)")
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("INSERT INTO t VALUES (7, CAST(? AS TEXT))", ("é".encode() + b"caf\xed\xb3\xb6",))
        connection.commit()
    [finding] = (await move().check()).findings
    [example] = finding.examples
    assert (example.key, example.value) == ("id = 7", r"'écaf\\xed\\xb3\\xb6' (at byte 5)")
    [finding] = (await move(mask_values=True).check()).findings
    assert finding.examples[0].value == "text of 8 bytes, at byte 5"


async def test_a30_latin_1_by_rule(carry: Carry, tmp_path: Path) -> None:
    """With the rule, which names the encoding, the letters arrive."""
    outcome = await carry("text", {"latin": ("TEXT", b"caf\xe9")}, rules=ruled(tmp_path, 'invalid_utf8 = "latin-1"'))
    assert outcome == {"latin": "café"}


async def test_a32_text_in_a_blob_column(carry: Carry) -> None:
    """The bytes of the text arrive; nothing is decoded, even if it looks like base64."""
    values = {"pem": "-----BEGIN KEY-----", "base64": "YWJj"}
    assert await carry("bytea", values, stored_as="BLOB") == {name: text.encode() for name, text in values.items()}


async def test_a33_a_blob_in_a_text_column(carry: Carry) -> None:
    """The job refuses it, since its bytes may mean anything."""
    assert await carry("text", {"blob": b"abc"}) == {"blob": Refused("is not stored as TEXT or INTEGER")}


async def test_a33_a_blob_as_text_by_rule(carry: Carry, tmp_path: Path) -> None:
    """With the rule the job reads it as UTF-8, and refuses it where it is not UTF-8."""
    rule = 'expression = "CAST(v AS TEXT)"'
    outcome = await carry("text", {"text": "é".encode(), "bytes": b"\xff"}, rules=ruled(tmp_path, rule))
    assert outcome == {"text": "é", "bytes": Refused("is not valid UTF-8")}


async def test_a34_blobs_byte_for_byte(carry: Carry) -> None:
    """All 256 bytes arrive as they are."""
    assert await carry("bytea", {"all": bytes(range(256))}) == {"all": bytes(range(256))}


async def test_a35_a37_empty_and_missing_stay_apart(carry: Carry) -> None:
    """Empty BLOB, empty text and NULL arrive as three different values."""
    assert await carry("bytea", {"blob": b"", "text": "", "null": None}) == {"blob": b"", "text": b"", "null": None}


@pytest.mark.parametrize("beside", ["", "inet"], ids=["binary", "text"])
async def test_a37_empty_text_is_not_null(carry: Carry, beside: str) -> None:
    """Empty text arrives as empty text in COPY BINARY and in COPY TEXT."""
    assert await carry("text", {"empty": "", "null": None}, beside=beside) == {"empty": "", "null": None}


@pytest.mark.parametrize("declared", ["integer", "date", "uuid", "bigint", "boolean", "double precision", "numeric"])
async def test_a36_empty_text_in_other_columns(carry: Carry, tmp_path: Path, declared: str) -> None:
    """The job makes it NULL by a rule only."""
    assert await carry(declared, {"empty": ""}, rules=ruled(tmp_path, "empty_as_null = true")) == {"empty": None}


@pytest.mark.parametrize("declared", ["integer", "date", "uuid", "boolean", "double precision", "numeric", "inet"])
async def test_a36_empty_text_without_a_rule(carry: Carry, declared: str) -> None:
    """The job refuses it."""
    assert isinstance((await carry(declared, {"empty": ""}))["empty"], Refused)


async def test_a38_text_longer_than_varchar(carry: Carry) -> None:
    """The job refuses it: it counts characters, not bytes, and cuts nothing."""
    outcome = await carry("varchar(3)", {"fits": "äöü", "longer": "abcd"})
    assert outcome == {"fits": "äöü", "longer": Refused("is longer than character varying(3)")}


async def test_a39_char_is_padded(carry: Carry) -> None:
    """The padding of char(n) is no difference."""
    assert await carry("char(3)", {"short": "a"}) == {"short": "a  "}


async def test_a40_text_that_is_no_label(carry: Carry) -> None:
    """The job refuses text that is no label of the enum; a label in another case is another label."""
    outcome = await carry(
        "mood", {"right": "ok", "wrong": "OK"}, prepare="CREATE TYPE mood AS ENUM ('ok', 'bad')", shown="v::text"
    )
    assert outcome == {"right": "ok", "wrong": Refused("is no label of mood (ok, bad)")}


async def test_a40_each_wrong_text_once(move: MakeMove, database: Database, make_sqlite: MakeSqlite) -> None:
    """The message counts all rows and shows each wrong text once, with the first row that has it."""
    await database.execute("CREATE TYPE mood AS ENUM ('ok', 'bad'); CREATE TABLE t (id int PRIMARY KEY, v mood)")
    texts = ["ok", "OK", "OK", "Bad", "OK", "bad", "Bad"]
    make_sqlite("CREATE TABLE t (id INTEGER PRIMARY KEY, v TEXT)", {"t": list(enumerate(texts))})
    [finding] = (await move(examples=5).check()).findings
    assert finding.rows == 5
    assert sorted((example.key, example.value) for example in finding.examples) == [
        ("id = 1", "'OK'"),
        ("id = 3", "'Bad'"),
    ]


async def test_a41_arrays(carry: Carry) -> None:
    """A JSON list and an array literal arrive as the same array; the job refuses other text."""
    outcome = await carry("text[]", {"json": '["a", "b"]', "literal": "{a,b}", "other": "a, b"})
    assert outcome == {
        "json": ["a", "b"],
        "literal": ["a", "b"],
        "other": Refused("can't become text[]: malformed array literal"),
    }


@pytest.mark.parametrize("declared", ["longtext", "number", "timestampz", "NUMERIC(10,2)", "LONG LONG WORD", ""])
async def test_a42_types_that_nobody_knows(carry: Carry, declared: str) -> None:
    """The target's type decides; the declared type of the source's column doesn't matter."""
    assert await carry("date", {"day": "2024-02-29"}, stored_as=declared) == {"day": date(2024, 2, 29)}


async def test_a43_null_where_the_target_wants_a_value(carry: Carry) -> None:
    """The job refuses it."""
    refused = Refused("is missing and the target's column is NOT NULL")
    assert await carry("integer NOT NULL DEFAULT 5", {"null": None}) == {"null": refused}


async def test_a43_a_value_for_null_by_rule(carry: Carry, tmp_path: Path) -> None:
    """With the rule the value that the rule gives arrives."""
    outcome = await carry("integer NOT NULL", {"null": None}, rules=ruled(tmp_path, 'expression = "coalesce(v, 7)"'))
    assert outcome == {"null": 7}


@pytest.mark.parametrize("beside", ["", "inet"], ids=["binary", "text"])
async def test_a44_what_copy_gives_a_meaning_to(carry: Carry, beside: str) -> None:
    r"""Carriage returns, tabs, backslashes, a literal ``\N`` and the end-of-data mark arrive as text."""
    values = {"return": "a\rb\r\n", "tab": "\t", "null": "\\N", "end": "\\.", "backslash": "\\", "escape": "\\x41"}
    assert await carry("text", values, beside=beside) == values


@pytest.mark.parametrize("encoding", ["UTF-16le", "UTF-16be"])
async def test_a45_utf_16_files(move: MakeMove, database: Database, make_sqlite: MakeSqlite, encoding: str) -> None:
    """A file that keeps its text in UTF-16 arrives as text."""
    make_sqlite(
        f"PRAGMA encoding = '{encoding}'; CREATE TABLE t (id INTEGER PRIMARY KEY, v TEXT)", {"t": [(1, "é\U0001f332")]}
    )
    await database.execute("CREATE TABLE t (id int PRIMARY KEY, v text)")
    await move().run()
    assert [row["v"] for row in await database.fetch("SELECT v FROM t")] == ["é\U0001f332"]


async def test_all_problems_are_told_at_once(move: MakeMove, database: Database, make_sqlite: MakeSqlite) -> None:
    """Every column of every table, each with its number of rows, its keys, and the rule that would settle it."""
    make_sqlite(
        "CREATE TABLE a (id TEXT PRIMARY KEY, x, y); CREATE TABLE b (id TEXT PRIMARY KEY, z)",
        {"a": [("one", "yes", "now"), ("two", 5, b"")], "b": [("three", "a\0")]},
    )
    await database.execute("CREATE TABLE a (id text PRIMARY KEY, x boolean, y date); CREATE TABLE b (id text, z text)")
    findings = (await move().check()).findings
    assert {(finding.table, finding.column) for finding in findings} == {("a", "x"), ("a", "y"), ("b", "z")}
    assert len(findings) == 5
    assert set(refusals(findings)) == {"one", "two", "three"}
    assert all(finding.settled_by for finding in findings)
