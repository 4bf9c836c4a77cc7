"""Digests of earlier versions in a ledger: they are compared where the same values give the same digests."""

from hashlib import sha256

from migrator.verification.digest import database
from migrator.verification.recipe import can_repeat, reader

TEXTS: list[str | None] = [
    *(None, "", "a", "é", "x" * 13, "x" * 300, "1.50", "-0", "1e5", "0001.10", "{}", "[1, 2]"),
    *('{"b":1,"a":[1.50,null,{"z":1e2,"y":-0}]}', '{"a":1,"a":2}', '"\\u00e9"', '{"x":12345678901234567890.5}'),
    *('{"aa":{"q":"\\"","b":1},"a":true}', "null", "2024-01-02", "2024-01-02T03:04:05.123456"),
    *("2024-01-02 03:04:05.5+05:30", "03:04", "infinity", "A0EEBC999C0B4EF8BB6D6BB9BD380A11", " x  "),
]
INTEGERS: list[str | None] = [None, "0", "1", "-1", str(2**63 - 1), str(-(2**63))]
DOUBLES: list[str | None] = [None, "0.0", "-0.0", "1.5", "nan", "inf", "5e-324"]
FORMS: dict[tuple[str, tuple[str | None, ...]], list[str]] = {
    ("VARCHAR", tuple(TEXTS)): [
        *("{0}", "moment({0}, date_of({0}))", "moment({0}, time_of({0}))", "moment({0}, timestamp_of({0}))"),
        *("moment({0}, timestamptz_of({0}, 'Europe/Berlin'))", "hex_form({0})", "uuid_text({0})", "decimal_form({0})"),
        *("json_form({0})", "json_quick_form({0})", "rtrim({0}, ' ')", "encode({0})"),
    ],
    ("BIGINT", tuple(INTEGERS)): ["{0}", "struct_pack(number := {0}, word := NULL::VARCHAR)"],
    ("DOUBLE", tuple(DOUBLES)): ["bits({0})", "{0}::VARCHAR"],
}


def test_digests_are_those_of_the_versions_that_are_said_to_be_alike() -> None:
    """The number was computed with DuckDB 2.0.0 and its macros. If it changes, no earlier version is alike any more."""
    sums = []
    for (cast, values), forms in FORMS.items():
        for form in forms:
            value = form.format("v")
            statement = (
                f"SELECT sum(hash(hash({value}, {value})))::VARCHAR FROM (SELECT unnest($1::VARCHAR[])::{cast} AS v)"
            )
            sums += [row[0] for row in database().execute(statement, [list(values)]).fetchall()]
    assert sha256(repr(sums).encode()).hexdigest()[:16] == "29b345ffc47f302f"


def test_a_recipe_is_repeated_by_this_version_and_those_alike() -> None:
    """Any other version's digest says nothing about whether the source has changed."""
    assert can_repeat({"reader": reader()})
    assert can_repeat({"reader": "3ad33349121eb414"})
    assert not can_repeat({"reader": "another"})
