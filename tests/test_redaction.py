"""Redaction: a secret is recognised in every spelling, at every depth."""

import json
from urllib.parse import quote, quote_plus

import pytest
from hypothesis import given
from hypothesis import strategies as st

from migrator.redaction import MASK, redactor, spellings

HOSTILE = """p%40@:/#[ ]"'\\é"""


@pytest.mark.parametrize(
    "spelled",
    [
        HOSTILE,
        quote(HOSTILE, safe=""),
        quote(HOSTILE),
        quote_plus(HOSTILE),
        quote(HOSTILE, safe="").lower(),
        quote(HOSTILE, safe="").replace("%", "%%"),
        repr(HOSTILE),
        json.dumps(HOSTILE),
        json.dumps(HOSTILE, ensure_ascii=False),
    ],
)
def test_every_spelling_is_masked(spelled: str) -> None:
    """As it is, in a URL, in a repr, in JSON, in an INI file: nothing of it remains."""
    cleaned = redactor([HOSTILE])(f"before {spelled} after")
    assert cleaned.replace("'", "").replace('"', "") == f"before {MASK} after"


def test_a_secret_that_contains_another_is_masked_whole() -> None:
    """The longest goes first, or the tail of the longer one would remain."""
    assert redactor(["grove", "grove7", "7"])("grove7 grove") == f"{MASK} {MASK}"


def test_depth_and_kind() -> None:
    """Mappings, sequences, sets, exceptions and any other object are gone through; numbers stay numbers."""
    clean = redactor(["s3cret"])
    error = ValueError("for s3cret")
    assert clean({"s3cret": [("xs3crety", 3, None, True)], "e": error, "s": {"s3cret"}}) == {
        MASK: [[f"x{MASK}y", 3, None, True]],
        "e": f"for {MASK}",
        "s": [MASK],
    }


def test_no_secret_nothing_to_do() -> None:
    """Without secrets, or with an empty one, values pass as they are."""
    value = {"a": object()}
    assert redactor([])(value) is value
    assert redactor([""])(value) is value


@given(st.text(min_size=3), st.text(), st.text())
def test_no_secret_survives(secret: str, before: str, after: str) -> None:
    """Whatever the secret, none of its spellings is in the result."""
    cleaned = redactor([secret])(before + secret + after)
    assert MASK in cleaned
    if secret not in MASK * 3:
        assert not any(text in cleaned.replace(MASK, "") and text not in before + after for text in spellings(secret))
