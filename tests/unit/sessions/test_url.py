"""Target URLs: all the spellings in use, any password, and clear words about what can't be used."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from migrator.errors import ConfigurationError
from migrator.sessions.address import TargetAddress
from migrator.sessions.url import from_parts, from_url


def password_of(address: TargetAddress) -> str:
    """Give the password in the clear."""
    return address.password.get_secret_value() if address.password else ""


@pytest.mark.parametrize(
    ("text", "user", "places", "database"),
    [
        ("postgresql://u:p@h:5433/d", "u", [("h", 5433)], "d"),
        ("postgres://u:p@h/d", "u", [("h", 5432)], "d"),
        ("postgresql+asyncpg://u:p@h/d", "u", [("h", 5432)], "d"),
        ("postgresql+psycopg://u:p@h/d", "u", [("h", 5432)], "d"),
        ("postgresql+psycopg2://u:p@h/d", "u", [("h", 5432)], "d"),
        ("POSTGRESQL://u@h/d", "u", [("h", 5432)], "d"),
        ("  postgresql://u@h/d\n", "u", [("h", 5432)], "d"),
        ("postgresql://h", "postgres", [("h", 5432)], "postgres"),
        ("postgresql://u@h", "u", [("h", 5432)], "u"),
        ("postgresql://", "postgres", [("localhost", 5432)], "postgres"),
        ("postgresql://u@[::1]:5/d", "u", [("::1", 5)], "d"),
        ("postgresql://u@a:1,b:2/d", "u", [("a", 1), ("b", 2)], "d"),
        ("postgresql://u@a,b/d?port=1,2", "u", [("a", 1), ("b", 2)], "d"),
        ("postgresql://u@/d?host=a:1&host=b:2", "u", [("a", 1), ("b", 2)], "d"),
        ("postgresql:///d?host=/run/postgresql", "postgres", [("/run/postgresql", 5432)], "d"),
        ("postgresql://u@%2Frun%2Fpostgresql/d", "u", [("/run/postgresql", 5432)], "d"),
        ("postgresql:///?user=u&dbname=d&host=::1&port=7", "u", [("::1", 7)], "d"),
        ("postgresql://us%40er@h/d%2Fb%20", "us@er", [("h", 5432)], "d/b "),
    ],
)
def test_spellings(text: str, user: str, places: list[tuple[str, int]], database: str) -> None:
    """Every way in which people write the same address is understood."""
    address = from_url(text, {})
    assert (address.user, list(zip(address.hosts, address.ports, strict=True)), address.database) == (
        user,
        places,
        database,
    )


@pytest.mark.parametrize("raw", ["""p%2540@:/#[ ]"'""", "a@b", "a@b:c@d", "a/b@c", "a#b", "a?b", ":", "a:b", "100%"])
def test_a_password_may_stand_as_it_is(raw: str) -> None:
    """People forget to encode; where only one reading is possible it is taken."""
    address = from_url(f"postgresql://u:{raw}@h:1/d?sslmode=require", {})
    assert password_of(address) == raw.replace("%25", "%")
    assert (address.hosts, address.ports, address.database, address.tls.mode) == (("h",), (1,), "d", "require")


@given(st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), min_size=1))
def test_every_encoded_password_arrives(password: str) -> None:
    """What the address gives as a URL it reads back as the same address."""
    address = from_parts({"host": "h", "user": "u", "password": password, "dbname": "d"})
    text = address.sqlalchemy_url("postgresql+psycopg").set(query={}).render_as_string(hide_password=False)
    assert password_of(from_url(text, {})) == password
    assert password_of(from_url(address.libpq_uri().partition("&sslmode")[0], {})) == password


def test_the_parts_fill_what_the_url_leaves_out() -> None:
    """A URL without a password in a config map, the password as a secret: together they are one address."""
    address = from_url(
        "postgresql://h/d", {"host": "x", "user": "u", "password": "p", "dbname": "x", "sslmode": "allow"}
    )
    assert (address.hosts, address.user, address.database, address.tls.mode) == (("h",), "u", "d", "allow")
    assert password_of(address) == "p"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("mysql://u:s3cret@h/d", "mysql://"),
        ("u:s3cret@h/d", "postgresql://user:password@host"),
        ("postgresql://u:s3cret@h:port/d", "'port'"),
        ("postgresql://u:s3cret@h:70000/d", "65535"),
        ("postgresql://u:s3cret@h/d?sslmode=perhaps", "verify-full"),
        ("postgresql://u:s3cret@h/d?pool_size=3", "pool_size"),
        ("postgresql://u:x@y?s3cret@h/d", "percent-encode"),
        ("postgresql://u:s3cret@h/d?connect_timeout=soon", "connect_timeout"),
        ("postgresql://u:s3cret@h/d?target_session_attrs=standby", "read-write"),
        ("postgresql://u:s3cret@h/d?sslmode=verify-full", "sslrootcert"),
        ("postgresql://u:s3cret@a,b/d?port=1,2,3", "2 hosts and 3 ports"),
        ("postgresql://u:s3cret@h/%ff", "UTF-8"),
        ("postgresql://u:s3cret@[::1/d", "host"),
    ],
)
def test_what_can_not_be_used_is_named_without_the_password(text: str, words: str) -> None:
    """The message names the part that is wrong and what is accepted; the password is never in it."""
    with pytest.raises(ConfigurationError) as caught:
        from_url(text, {})
    assert words in str(caught.value) + caught.value.next_step
    assert "s3cret" not in str(caught.value)
    assert caught.value.next_step
