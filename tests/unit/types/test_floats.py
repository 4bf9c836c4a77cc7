"""real, double precision: doubles bit for bit, and 4 bytes only where they are enough."""

import math
import struct

import pytest
from fix_values import Carry, Refused

pytestmark = pytest.mark.one_server

NO_NUMBER = Refused("is not stored as INTEGER or REAL")
NO_DOUBLE = Refused("is an integer that no double holds exactly")
DOUBLES = {
    "tenth": 0.1,
    "sum": 0.1 + 0.2,
    "17 digits": 0.46556071130937093,
    "epoch": 1699999999.123,
    "largest": 1.7976931348623157e308,
    "smallest": 5e-324,
    "minus zero": -0.0,
    "infinity": math.inf,
    "minus infinity": -math.inf,
}


def bits(values: dict[str, object]) -> dict[str, object]:
    """Return doubles as their bytes, so that 0.0 and -0.0 are told apart."""
    return {name: struct.pack("d", value) if isinstance(value, float) else value for name, value in values.items()}


@pytest.mark.parametrize("beside", ["", "inet"], ids=["binary", "text"])
async def test_every_double_arrives_bit_for_bit(carry: Carry, beside: str) -> None:
    """In either form of COPY: 17 digits, the ends of the range, both zeros and both infinities."""
    assert bits(await carry("double precision", DOUBLES | {"null": None}, beside=beside)) == bits(
        DOUBLES | {"null": None}
    )


async def test_integers_that_a_double_holds(carry: Carry) -> None:
    """Up to 53 bits, and beyond that only those that are some double; the rest is refused, to the end of the range."""
    expected = {
        "2**53": (2**53, float(2**53)),
        "2**53 + 1": (2**53 + 1, NO_DOUBLE),
        "-2**63": (-(2**63), float(-(2**63))),
        "2**63 - 1": (2**63 - 1, NO_DOUBLE),
        "2**63 - 1024": (2**63 - 1024, float(2**63 - 1024)),
        "2**63 - 512": (2**63 - 512, NO_DOUBLE),
        "2**60 + 1": (2**60 + 1, NO_DOUBLE),
    }
    outcome = await carry("double precision", {name: stored for name, (stored, _) in expected.items()})
    assert outcome == {name: arrived for name, (_, arrived) in expected.items()}


async def test_what_is_no_number_is_refused(carry: Carry) -> None:
    """A number in text is no double: somebody else wrote it, and may have meant it in another way."""
    values = {"word": "wide", "number in text": "1.5", "empty": "", "blob": b"\0" * 8}
    assert await carry("double precision", values) == dict.fromkeys(values, NO_NUMBER)


@pytest.mark.parametrize("beside", ["", "inet"], ids=["binary", "text"])
async def test_four_bytes_where_they_are_enough(carry: Carry, beside: str) -> None:
    """A ``real`` takes a double that survives the way there and back, and no other."""
    lost = Refused("loses digits in a 4-byte real")
    values = {"half": 0.5, "2**24": 2**24, "infinity": math.inf, "tenth": 0.1, "epoch": 1699999999.123, "huge": 1e300}
    expected = {"half": 0.5, "2**24": 2.0**24, "infinity": math.inf, "tenth": lost, "epoch": lost, "huge": lost}
    assert await carry("real", values, beside=beside) == expected
