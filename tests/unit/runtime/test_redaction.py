"""Redaction: a secret is recognised in every spelling, at every depth."""

import json
from urllib.parse import quote, quote_plus

import pytest
from hypothesis import given
from hypothesis import strategies as st

from migrator.runtime.redaction import MASK, password_of, redactor, spellings

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
    value = {"a": [1, None, "user:password@host", "http://host:80/a b@c", "the password is wrong"]}
    assert redactor([])(value) == value
    assert redactor([""])(value) == value


@pytest.mark.parametrize(
    "text",
    [
        "postgresql://user:c4nary@host/db",
        "connection to postgres://u:c4n@/ary@h:5432/d?x=1 failed",
        "host=h password=c4nary dbname=d",
        "host=h password = 'c4\\'nary' dbname=d",
        "postgresql://h/d?user=u&password=c4nary&sslmode=require",
        "postgresql://h/d?sslpassword=c4nary",
        "PGPASSWORD=c4nary psql",
        "POSTGRES_PASSWORD=c4nary",
    ],
)
def test_a_password_in_a_connection_string_is_masked_whosever_it_is(text: str) -> None:
    """Another database's, say, which nobody has told us."""
    cleaned = redactor([])(text)
    assert MASK in cleaned
    assert not any(part in cleaned for part in ("c4n", "nary", "ary"))


@pytest.mark.parametrize("secret", ["e", "rows", "tables", "exit_code"])
def test_a_common_word_does_not_tear_a_report_apart(secret: str) -> None:
    """Names of fields are ours; values are searched all the same."""
    told = {"exit_code": 0, "tables": [{"rows": 3, "table": "rows"}]}
    cleaned = redactor([secret])(told)
    assert cleaned["tables"][0]["rows"] == 3
    assert secret not in cleaned["tables"][0]["table"]


@pytest.mark.parametrize(
    ("url", "found"),
    [
        ("postgresql://u:c%34nary@h/d", {"c%34nary", "c4nary"}),
        ("postgresql://u:a@b/c@h/d", {"a@b/c"}),
        ("postgresql://h/d?password=x%20y&sslmode=require", {"x%20y", "x y"}),
        ("postgresql://u@h/d", set()),
        ("not a url: a@b", set()),
    ],
)
def test_passwords_of_a_url(url: str, found: set[str]) -> None:
    """As the URL spells them, and decoded."""
    assert set(password_of(url)) == found


@given(st.text(min_size=3), st.text(), st.text())
def test_no_secret_survives(secret: str, before: str, after: str) -> None:
    """Whatever the secret, none of its spellings is in the result."""
    cleaned = redactor([secret])(before + secret + after)
    assert MASK in cleaned
    if secret not in MASK * 3:
        assert not any(text in cleaned.replace(MASK, "") and text not in before + after for text in spellings(secret))
