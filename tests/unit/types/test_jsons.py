r"""json keeps every character, jsonb the value; both only take JSON, and jsonb no ``\u0000``."""

import pytest
from fix_values import Carry, Refused

pytestmark = pytest.mark.one_server

INVALID = Refused("is not valid JSON")
DOCUMENTS = {
    "object": '{"b": 1, "a": [true, false, null, "x"]}',
    "blanks": ' {\n"a" : 1 }\t',
    "scalar": '"word"',
    "null document": "null",
    "escapes": r'{"a": "tab\t quote\" back\\slash \u00e9 \/"}',
    "letters": '{"é": "\U0001f332"}',
    "large number": '{"n": 123456789012345678901234567890.123456789}',
    "numbers": "[1e2, -0, -0.0, 1.50, 0.1]",
    "not a NUL": r'{"a": "\\u0000"}',
    "null": None,
}
BROKEN = {
    "empty": "",
    "nan": "NaN",
    "nan inside": '{"a": NaN}',
    "single quotes": "{'a': 1}",
    "trailing comma": "[1,]",
    "comment": "[1] // one",
    "cut": '{"a": ',
    "word": "none",
    "hexadecimal": "[0x10]",
    "control": '"a\tb"',
}


@pytest.mark.parametrize("beside", ["", "inet"], ids=["binary", "text"])
async def test_json_keeps_every_character(carry: Carry, beside: str) -> None:
    r"""The text arrives as it is, ``\u0000`` and half a surrogate pair included: ``json`` doesn't read escapes."""
    odd = {"nul escape": r'{"a": "\u0000"}', "half a pair": r'["\ud800"]', "twins": '{"a": 1, "a": 2}'}
    assert await carry("json", DOCUMENTS | odd, beside=beside, shown="v::text") == DOCUMENTS | odd


@pytest.mark.parametrize("beside", ["", "inet"], ids=["binary", "text"])
async def test_jsonb_keeps_the_value(carry: Carry, beside: str) -> None:
    """PostgreSQL reads the same document from what arrived as from the source's text."""
    outcome = await carry("jsonb", DOCUMENTS, beside=beside, shown="v::text")
    assert outcome["object"] == '{"a": [true, false, null, "x"], "b": 1}'
    assert outcome["large number"] == DOCUMENTS["large number"]
    assert outcome["null document"] == "null"
    assert outcome["null"] is None


@pytest.mark.parametrize("declared", ["json", "jsonb"])
async def test_what_is_no_json_is_refused(carry: Carry, declared: str) -> None:
    """The empty text, Python's NaN, single quotes, and the dialects that other parsers let pass."""
    assert await carry(declared, BROKEN) == dict.fromkeys(BROKEN, INVALID)


async def test_what_jsonb_cannot_hold(carry: Carry) -> None:
    r"""The escape ``\u0000`` and half a surrogate pair, in keys and values; a whole pair is fine."""
    nul = Refused("spells the character \\u0000, which jsonb can't hold")
    half = Refused("spells half a surrogate pair, which jsonb can't hold")
    expected = {
        "nul": (r'{"a": "\u0000"}', nul),
        "nul in a key": (r'{"\u0000": 1}', nul),
        "half": (r'["\ud83c"]', half),
        "second half": (r'["\udf32"]', half),
        "pair": (r'["\ud83c\udf32"]', '["\U0001f332"]'),
        "broken text": (("TEXT", b'"\xff"'), Refused("is not valid UTF-8")),
        "blob": (b"{}", Refused("is not stored as TEXT or INTEGER or REAL")),
        "nul after the end": ("{}\0", Refused("holds a NUL character, which JSON can't")),
        "beyond numeric": ("[1e200000]", Refused("holds a number beyond PostgreSQL's numeric")),
    }
    outcome = await carry("jsonb", {name: stored for name, (stored, _) in expected.items()}, shown="v::text")
    assert outcome == {name: arrived for name, (_, arrived) in expected.items()}


@pytest.mark.parametrize("beside", ["", "inet"], ids=["binary", "text"])
@pytest.mark.parametrize("declared", ["json", "jsonb"])
async def test_numbers_that_affinity_has_made_of_documents(carry: Carry, declared: str, beside: str) -> None:
    """A column declared JSON has NUMERIC affinity: documents that are numbers are stored as such, and arrive so."""
    outcome = await carry(
        declared,
        {"integer": "12", "real": "1.5", "many digits": "0.30000000000000004", "object": "{}", "small": "1.25e-7"},
        stored_as="JSON",
        beside=beside,
        shown="v::jsonb::text",
    )
    assert outcome == {
        "integer": "12",
        "real": "1.5",
        "many digits": "0.30000000000000004",
        "object": "{}",
        "small": "0.000000125",
    }


async def test_reals_stay_reals(carry: Carry) -> None:
    """1.0 is no 1 for a program that reads it back; an infinity has no spelling in JSON."""
    values = {"one": 1.0, "large": 1e15, "small": 1e-7, "infinity": float("inf")}
    assert await carry("json", values, shown="v::text") == {
        "one": "1.0",
        "large": "1000000000000000.0",
        "small": "1e-07",
        "infinity": INVALID,
    }
