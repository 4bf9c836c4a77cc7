"""text, varchar(n), char(n), citext, name: every character, up to the length; no NUL, no broken encoding."""

import pytest
from fix_values import Carry, Refused

pytestmark = pytest.mark.one_server

NUL = Refused("holds a NUL character, which PostgreSQL's text can't")
UTF8 = Refused("is not valid UTF-8")
WRONG_CLASS = Refused("is not stored as TEXT or INTEGER")
TEXTS = {
    "empty": "",
    "blank": " ",
    "null": None,
    "word NULL": "NULL",
    "backslash N": "\\N",
    "end of copy": "\\.",
    "escapes": "tab\t newline\n return\r bell\x07 \b\f\v backslash\\ \\t",
    "quotes": "'\"`$$",
    "commas": "a,b;c|d",
    "beyond the basic plane": "\U0001f332\u0301\ufeff\uffff",
    "long": "äöü" * 10_000,
    "trailing": "end  ",
}


@pytest.mark.parametrize("beside", ["", "inet"], ids=["binary", "text"])
@pytest.mark.parametrize("declared", ["text", "varchar"])
async def test_every_character_arrives(carry: Carry, declared: str, beside: str) -> None:
    """In either form of COPY, with what that form gives a meaning to; empty, NULL and the word for it stay apart."""
    assert await carry(declared, TEXTS, beside=beside) == TEXTS


async def test_what_text_cannot_hold(carry: Carry) -> None:
    """A NUL, bytes that are no UTF-8, surrogates written as such, BLOBs and REALs are refused; an integer is text."""
    expected = {
        "nul": ("a\0b", NUL),
        "nul at the end": ("a\0", NUL),
        "latin-1": (("TEXT", b"caf\xe9"), UTF8),
        "surrogate": (("TEXT", b"\xed\xb3\xb6"), UTF8),
        "overlong": (("TEXT", b"\xc0\xaf"), UTF8),
        "cut": (("TEXT", b"\xe2\x82"), UTF8),
        "blob": (b"text", WRONG_CLASS),
        "real": (1.5, WRONG_CLASS),
        "integer": (-12, "-12"),
    }
    outcome = await carry("text", {name: stored for name, (stored, _) in expected.items()})
    assert outcome == {name: arrived for name, (_, arrived) in expected.items()}


@pytest.mark.parametrize("declared", ["varchar(4)", "char(4)"])
async def test_lengths_are_counted_in_characters(carry: Carry, declared: str) -> None:
    """Four of four bytes each fit; five don't, not even blanks, which PostgreSQL would cut off without a word."""
    full = {"varchar(4)": "character varying(4)", "char(4)": "character(4)"}[declared]
    longer = Refused(f"is longer than {full}")
    values = {"four": "\U0001f332" * 4, "five": "abcde", "five with a blank": "abcd ", "integer": 12345}
    outcome = await carry(declared, values)
    assert outcome == {"four": values["four"], "five": longer, "five with a blank": longer, "integer": longer}


async def test_char_is_padded_with_blanks(carry: Carry) -> None:
    """That is its meaning, and the verifier knows: the value is the same with and without them."""
    assert await carry("char(4)", {"short": "ab", "empty": ""}) == {"short": "ab  ", "empty": "    "}


async def test_name_is_never_cut(carry: Carry) -> None:
    """A ``name`` holds 63 bytes; PostgreSQL would cut the 64th off."""
    longer = Refused("is longer than the 63 bytes of name")
    values = {"fits": "n" * 63, "bytes": "ä" * 32, "longer": "n" * 64}
    assert await carry("name", values) == {"fits": "n" * 63, "bytes": longer, "longer": longer}
