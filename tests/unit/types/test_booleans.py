"""boolean: the integers 0 and 1 and nothing else."""

import pytest
from fix_values import Carry, Refused

pytestmark = pytest.mark.one_server

NO_INTEGER = Refused("is not stored as INTEGER")
NEITHER = Refused("is neither 0 nor 1")


async def test_what_arrives_and_what_is_refused(carry: Carry) -> None:
    """0 and 1 arrive as false and true; another integer, and any other storage class, is refused and named."""
    expected = {
        "one": (1, True),
        "zero": (0, False),
        "null": (None, None),
        "two": (2, NEITHER),
        "minus one": (-1, NEITHER),
        "real one": (1.0, NO_INTEGER),
        "text true": ("true", NO_INTEGER),
        "text one": ("1", NO_INTEGER),
        "empty text": ("", NO_INTEGER),
        "blob": (b"\x01", NO_INTEGER),
    }
    outcome = await carry("boolean", {name: stored for name, (stored, _) in expected.items()})
    assert outcome == {name: arrived for name, (_, arrived) in expected.items()}
