"""bytea: byte for byte."""

import pytest
from fix_values import Carry, Refused

pytestmark = pytest.mark.one_server

NUMBER = Refused("is not stored as BLOB or TEXT")


@pytest.mark.parametrize("beside", ["", "inet"], ids=["binary", "text"])
async def test_bytes_arrive_as_they_are(carry: Carry, beside: str) -> None:
    """All 256 of them, the empty BLOB apart from NULL, and text as its bytes, whatever it looks like."""
    expected = {
        "all": (bytes(range(256)), bytes(range(256))),
        "empty": (b"", b""),
        "null": (None, None),
        "empty text": ("", b""),
        "text": ("-----BEGIN KEY-----\n", b"-----BEGIN KEY-----\n"),
        "looks like base64": ("YWJj", b"YWJj"),
        "looks like hex": ("\\x00ff", b"\\x00ff"),
        "looks escaped": ("\\000\\\\", b"\\000\\\\"),
        "nul in text": ("a\0b", b"a\0b"),
        "broken text": (("TEXT", b"\xff\xfe"), b"\xff\xfe"),
        "integer": (1, NUMBER),
        "real": (1.5, NUMBER),
    }
    outcome = await carry("bytea", {name: stored for name, (stored, _) in expected.items()}, beside=beside)
    assert outcome == {name: arrived for name, (_, arrived) in expected.items()}
