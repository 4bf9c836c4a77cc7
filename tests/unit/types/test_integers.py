"""smallint, integer, bigint: every integer that fits, and no other number."""

import pytest
from fix_values import Carry, Refused

pytestmark = pytest.mark.one_server

NO_INTEGER = Refused("is not stored as INTEGER")
RANGES = {
    "smallint": (-32_768, 32_767),
    "integer": (-2_147_483_648, 2_147_483_647),
    "bigint": (-9_223_372_036_854_775_808, 9_223_372_036_854_775_807),
}


@pytest.mark.parametrize("declared", RANGES)
async def test_the_ends_of_the_range_arrive_and_one_more_is_refused(carry: Carry, declared: str) -> None:
    """The reason names the type and its range; SQLite itself has nothing beyond bigint's."""
    low, high = RANGES[declared]
    values: dict[str, object] = {"low": low, "high": high, "zero": 0, "null": None}
    expected: dict[str, object] = dict(values)
    if declared != "bigint":
        values |= {"below": low - 1, "above": high + 1}
        beyond = Refused(f"is beyond {declared} ({low} to {high})")
        expected |= {"below": beyond, "above": beyond}
    assert await carry(declared, values) == expected


async def test_what_is_no_integer_is_refused(carry: Carry) -> None:
    """Words, fractions, digits in text and the empty text are named, and never read as the number they may mean."""
    values = {"word": "toto", "fraction": 12.3, "whole real": 12.0, "digits": "50", "empty": "", "blob": b"1"}
    assert await carry("integer", values) == dict.fromkeys(values, NO_INTEGER)


async def test_digits_that_affinity_has_made_integers(carry: Carry) -> None:
    """SQLite has turned '50' and 12.0 into integers when they were stored, so that is what arrives."""
    values = {"digits": "50", "whole real": 12.0, "word": "50+"}
    assert await carry("integer", values, stored_as="INTEGER") == {"digits": 50, "whole real": 12, "word": NO_INTEGER}
