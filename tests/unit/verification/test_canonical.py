# ruff: noqa: DTZ001 - moments here are naive, as the texts are that they are compared with
"""The forms that values are compared in: equal for one value however it is spelled, different for any two values."""

import json
import re
import tomllib
from collections.abc import Iterator
from datetime import UTC, date, datetime, time
from decimal import Decimal
from importlib import resources
from pathlib import Path
from typing import Any

import duckdb
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from migrator.target.schema import TargetColumn
from migrator.verification.canonical import DOCUMENT_MACROS, VALUE_MACROS, ColumnPair, fast_form, macros
from migrator.verification.digest import opened

DIGITS = st.text("0123456789", min_size=1, max_size=25)
NUMBERS = st.builds("".join, st.tuples(st.sampled_from(["", "-"]), DIGITS, st.sampled_from(["", ".0", ".50", ".125"])))
EXPONENTS = st.builds(
    "{}{}{}{}".format, NUMBERS, st.sampled_from("eE"), st.sampled_from(["", "+", "-"]), st.integers(0, 40)
)


@pytest.fixture(scope="module")
def duck() -> Iterator[duckdb.DuckDBPyConnection]:
    """Give a database that knows the macros."""
    with opened(":memory:", {}) as database:
        yield database


def forms(duck: duckdb.DuckDBPyConnection, macro: str, values: list[str], zone: str = "UTC") -> list[Any]:
    """Return the form of every value, in order: DuckDB works on many at a time, as it does on a table."""
    more = f", '{zone}'" if macro == "timestamptz_of" else ""
    rows = duck.execute(f"SELECT {macro}(v{more}) FROM (SELECT unnest($1::VARCHAR[]) AS v)", [values]).fetchall()
    return [row[0] for row in rows]


@given(st.lists(NUMBERS | EXPONENTS, min_size=2, max_size=60))
@settings(max_examples=100, deadline=None)
def test_decimals_have_one_form_a_value(duck: duckdb.DuckDBPyConnection, spelled: list[str]) -> None:
    """Two spellings have the same form exactly if Python's Decimal says that they are the same number."""
    found = dict(zip(spelled, forms(duck, "decimal_form", spelled), strict=True))
    by_value: dict[Decimal, set[str]] = {}
    for text, form in found.items():
        by_value.setdefault(Decimal(text), set()).add(form)
        assert Decimal(form) == Decimal(text)
    assert all(len(alike) == 1 for alike in by_value.values())


@pytest.mark.parametrize(
    "text", ["NaN", "Infinity", "-Infinity", "", " 1", "1 ", "1,5", "0x10", "1e1000000000", "1e", "."]
)
def test_what_is_no_plain_decimal_keeps_its_text(duck: duckdb.DuckDBPyConnection, text: str) -> None:
    """PostgreSQL writes NaN and Infinity so; the rest equals nothing that a numeric is printed as."""
    assert forms(duck, "decimal_form", [text]) == [text]


# Few keys and few texts, so that twins and near misses happen.
KEYS = st.sampled_from(["a", "b", "aa", "", "é", "e\u0301", "a.b", '"', "\\", "1"])
TEXTS = KEYS | st.sampled_from(
    ["x: 1.0, ", "[-0,", "12345678901234567", "\u0001" + "12345678901234567", "\n", "/", "\u2028", "😀"]
)
LEAVES = st.none() | st.booleans() | st.builds(Decimal, NUMBERS.map(lambda n: n.lstrip("0") or "0")) | TEXTS
VALUES = st.recursive(
    LEAVES, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(KEYS, inner, max_size=4), max_leaves=8
)


def spell(value: Any, draw: st.DrawFn) -> str:  # noqa: ANN401 - any JSON
    """Return one of the many texts of a JSON value."""
    blank = draw(st.sampled_from(["", " ", "\n\t"]))
    if isinstance(value, dict):
        members = draw(st.permutations(list(value.items())))
        pairs = [f"{spell(key, draw)}{blank}:{blank}{spell(member, draw)}" for key, member in members]
        if bool(pairs) and draw(st.booleans()):
            pairs.insert(0, f'{spell(members[-1][0], draw)}: "an earlier twin"')
        return "{" + f"{blank},{blank}".join(pairs) + "}"
    if isinstance(value, list):
        return "[" + f"{blank},{blank}".join(spell(member, draw) for member in value) + "]"
    if isinstance(value, Decimal):
        return draw(st.sampled_from(_spellings(value)))
    escaped = json.dumps(value, ensure_ascii=draw(st.booleans()))
    return escaped.replace("/", draw(st.sampled_from(["/", "\\/"]))) if isinstance(value, str) else escaped


def _spellings(number: Decimal) -> list[str]:
    plain = f"{number:f}"
    sign, digits, _ = number.as_tuple()
    padded = plain + ("0" if "." in plain else ".00")
    pointed = f"{'-' if sign else ''}{''.join(map(str, digits))}e{number.as_tuple().exponent}"
    return [plain, padded, pointed.replace("e", "E"), *(["-0", "-0.0", "0e5"] if number == 0 else [])]


def oracle(document: str) -> Any:  # noqa: ANN401 - any JSON
    """Return the value as jsonb has it, comparable: True is no 1, and the last of twins holds."""
    return _tagged(json.loads(document, parse_float=Decimal, parse_int=Decimal))


def _tagged(value: Any) -> Any:  # noqa: ANN401 - any JSON
    if isinstance(value, dict):
        return {key: _tagged(member) for key, member in value.items()}
    if isinstance(value, list):
        return [_tagged(member) for member in value]
    return (type(value).__name__, value)


# Objects without objects, of the keys that the quick form may know, with twins and near misses.
FLAT = st.builds(
    lambda pairs: "{" + ", ".join(f'"{key}": {value}' for key, value in pairs) + "}",
    st.lists(
        st.tuples(
            st.sampled_from(["a", "b", "aa", "1"]),
            st.sampled_from(["1", "1.0", "1e0", '"1"', "null", "[]", "[1, 2]", "[1,2]", "12345678901234567890", "-0"]),
        ),
        max_size=3,
    ),
)


@st.composite
def documents(draw: st.DrawFn) -> list[str]:
    """Draw documents among which there are several spellings of one value, and values that nearly are the same."""
    values = draw(st.lists(VALUES, min_size=1, max_size=3))
    return [spell(value, draw) for value in values for _ in range(3)]


def drawn(strategy: st.SearchStrategy[list[str]]) -> list[str]:
    """Draw from a strategy three hundred times; DuckDB looks at all documents at once, in a hundredth of the time."""
    found: dict[str, None] = {}

    @given(strategy)
    @settings(max_examples=300, deadline=None)
    def draw(spelled: list[str]) -> None:
        found.update(dict.fromkeys(spelled))

    draw()
    return list(found)


def by_form(documents: list[str], found: list[str]) -> dict[str, list[str]]:
    """Return the documents of each form that was found."""
    alike: dict[str, list[str]] = {}
    for document, form in zip(documents, found, strict=True):
        alike.setdefault(form, []).append(document)
    return alike


def test_jsonb_has_one_form_a_value(duck: duckdb.DuckDBPyConnection) -> None:
    """Any two documents have the same form exactly if Python's parser, with exact decimals, finds the same value."""
    spelled = drawn(documents())
    alike = by_form(spelled, forms(duck, "json_form", spelled))
    values = [oracle(of_one[0]) for of_one in alike.values()]
    for value, of_one in zip(values, alike.values(), strict=True):
        assert [document for document in of_one if oracle(document) != value] == [], of_one[0]
    twice = [of_one[0] for at, of_one in enumerate(alike.values()) if values[at] in values[:at]]
    assert twice == []
    assert len(alike) < len(spelled) / 2


@pytest.mark.parametrize("keys", [(), ("1", "a", "aa", "b"), ("x",)], ids=["none known", "some known", "another known"])
def test_one_quick_form_of_jsonb_is_one_value(
    duck: duckdb.DuckDBPyConnection, flat_or_deep: list[str], keys: tuple[str, ...]
) -> None:
    """The other way round need not hold: whatever the keys are thought to be, equal forms are of equal values."""
    jsonb = TargetColumn("v", "jsonb", "jsonb", not_null=False, has_default=False, identity="", generated=False)
    form = fast_form(ColumnPair("v", jsonb, keys=keys)).from_source.format("v")
    rows = duck.execute(f"SELECT {form} FROM (SELECT unnest($1::VARCHAR[]) AS v)", [flat_or_deep]).fetchall()
    alike = by_form(flat_or_deep, [json.dumps(form) for (form,) in rows])
    for of_one in alike.values():
        value = oracle(of_one[0])
        assert [document for document in of_one if oracle(document) != value] == [], of_one[0]
    assert len(alike) < len(flat_or_deep)


@pytest.fixture(scope="module")
def flat_or_deep() -> list[str]:
    """Give documents of both kinds."""
    return drawn(documents() | st.lists(FLAT, min_size=2, max_size=8))


def test_flat_documents_that_postgres_has_spelled_have_one_form(duck: duckdb.DuckDBPyConnection) -> None:
    """Keys in another order, and blanks, are what jsonb makes of most documents: the quick form sees through that."""
    jsonb = TargetColumn("v", "jsonb", "jsonb", not_null=False, has_default=False, identity="", generated=False)
    form = fast_form(ColumnPair("v", jsonb, keys=("a", "bb"))).from_source.format("v")
    spelled = ['{"bb":[1,"x"],"a":1.50}', '{"a": 1.50, "bb": [1, "x"]}']
    one, other = duck.execute(f"SELECT {form} FROM (SELECT unnest($1::VARCHAR[]) AS v)", [spelled]).fetchall()
    assert one == other
    assert one[0]["rest"] is None


READ = {
    "2024-02-29 12:30:15.123456": datetime(2024, 2, 29, 12, 30, 15, 123456),
    "2024-02-29T12:30:15.5": datetime(2024, 2, 29, 12, 30, 15, 500000),
    "2024-02-29 12:30:15.123456000": datetime(2024, 2, 29, 12, 30, 15, 123456),
    "2024-02-29 12:30": datetime(2024, 2, 29, 12, 30),
    "2024-02-29T12": datetime(2024, 2, 29, 12),
    "2024-02-29": datetime(2024, 2, 29),
    "0001-01-01 00:00:00": datetime(1, 1, 1),
    "9999-12-31 23:59:59.999999": datetime(9999, 12, 31, 23, 59, 59, 999999),
}
UNREAD = [
    *("now", "today", "epoch", "infinity", "-infinity", "", "x", "2024", "20240229", "2024-02-30", "2024-13-01"),
    *("2024-02-29 24:00:00", "2024-02-29 23:59:60", "2024-02-29 12:30:15.1234567", "2024-02-29 12:30:15 BC"),
    *("2024/02/29", "-2024-02-29", "2024-02-29 12:30:15 Europe/Berlin", "1700000000", "2024-02-29 12:30:15.1+2x"),
]


def test_timestamps_are_read_as_they_stand(duck: duckdb.DuckDBPyConnection) -> None:
    """Every listed spelling of a naive moment is read to the microsecond."""
    assert dict(zip(READ, forms(duck, "timestamp_of", list(READ)), strict=True)) == READ


def test_instants_are_read_with_their_offset(duck: duckdb.DuckDBPyConnection) -> None:
    """An offset moves the instant, Z and no offset mean UTC."""
    offsets = {"": 0, "Z": 0, "+00:00": 0, "-00": 0, "+02:00": -120, "+0530": -330, "-08": 480, "+14:00": -840}
    given_texts = {
        f"{text}{offset}": (moment, by)
        for text, moment in READ.items()
        for offset, by in offsets.items()
        if len(text) > 10 and 2 < moment.year < 9999
    }
    read = dict(zip(given_texts, forms(duck, "timestamptz_of", list(given_texts)), strict=True))
    wanted = {
        text: round(moment.replace(tzinfo=UTC).timestamp() * 1_000_000) + by * 60_000_000
        for text, (moment, by) in given_texts.items()
    }
    assert read == wanted


@given(st.lists(st.datetimes(datetime(1, 1, 1), datetime(9999, 12, 31)), min_size=1, max_size=50))
@settings(max_examples=50, deadline=None)
def test_any_moment_is_read(duck: duckdb.DuckDBPyConnection, moments: list[datetime]) -> None:
    """What Python writes is read back, date, time and timestamp."""
    assert forms(duck, "timestamp_of", [moment.isoformat() for moment in moments]) == moments
    assert forms(duck, "date_of", [moment.date().isoformat() for moment in moments]) == [m.date() for m in moments]
    assert forms(duck, "time_of", [moment.time().isoformat() for moment in moments]) == [m.time() for m in moments]


@pytest.mark.parametrize("macro", ["date_of", "time_of", "timestamp_of", "timestamptz_of"])
def test_other_spellings_are_not_read(duck: duckdb.DuckDBPyConnection, macro: str) -> None:
    """Words, days that are none, hour 24, second 60 and a seventh digit give nothing, rather than something near."""
    assert dict(zip(UNREAD, forms(duck, macro, UNREAD), strict=True)) == dict.fromkeys(UNREAD)


def test_a_date_has_no_time_and_a_timestamp_no_offset(duck: duckdb.DuckDBPyConnection) -> None:
    """What the type would have to drop isn't read."""
    assert forms(duck, "date_of", ["2024-02-29 12:00:00", "2024-02-29"]) == [None, date(2024, 2, 29)]
    assert forms(duck, "timestamp_of", ["2024-02-29 12:00:00+02:00", "2024-02-29 12:00:00Z"]) == [None, None]
    assert forms(duck, "time_of", ["12:00:00+02:00", "2024-02-29 12:00:00", "12:00"]) == [None, None, time(12)]


def test_a_time_without_offset_is_of_the_zone_that_is_named(duck: duckdb.DuckDBPyConnection) -> None:
    """Summer time counts; an offset in the text wins; a date alone is its midnight there."""
    texts = ["2024-01-01 12:00:00", "2024-07-01 12:00:00", "2024-07-01T12:00:00Z", "2024-07-01"]
    moments = [datetime.fromtimestamp(us / 1e6, UTC) for us in forms(duck, "timestamptz_of", texts, "Europe/Berlin")]
    assert [f"{moment:%m-%d %H}" for moment in moments] == ["01-01 11", "07-01 10", "07-01 12", "06-30 22"]


def test_every_macro_has_a_comment_of_its_own(duck: duckdb.DuckDBPyConnection) -> None:
    """The comments are for readers alone: what DuckDB is given, and the ledger's hash depends on, is without them."""
    files, package = (VALUE_MACROS, DOCUMENT_MACROS), resources.files("migrator.verification")
    source = "\n".join(package.joinpath(file).read_text(encoding="utf-8") for file in files)
    defined = re.findall(r"^CREATE MACRO (\w+)", source, re.MULTILINE)
    assert re.findall(r"\n\n(?:-- .*\n)+CREATE MACRO (\w+)", source) == defined
    assert re.findall(r"^CREATE MACRO (\w+)", macros(*files), re.MULTILINE) == defined
    assert "--" not in macros(*files)
    known = duck.execute("SELECT function_name FROM duckdb_functions() WHERE NOT internal").fetchall()
    assert {name for (name,) in known} == set(defined)


def test_the_macros_are_package_data() -> None:
    """What is no Python gets into the wheel because pyproject.toml lists it."""
    root = Path(__file__).parents[3]
    project = tomllib.loads((root / "pyproject.toml").read_text(encoding="utf-8"))
    listed = project["tool"]["setuptools"]["package-data"]["migrator"]
    assert {"verification/canonical.sql", "verification/documents.sql"} <= {*listed}
    assert all((root / "migrator" / path).is_file() for path in listed)
