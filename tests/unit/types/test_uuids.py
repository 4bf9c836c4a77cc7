"""uuid: 36 or 32 characters, or 16 bytes."""

from uuid import UUID

import pytest
from fix_values import Carry, Refused

pytestmark = pytest.mark.one_server
DAMAGED = "is a number: already damaged in the source, where SQLite takes a type like UUID for numeric"

KEY = UUID("97033619-6371-4874-8591-279e78663470")
NO_DIGITS = Refused("is not 32 hexadecimal digits")


@pytest.mark.parametrize("beside", ["", "inet"], ids=["binary", "text"])
async def test_every_way_to_store_one_arrives_as_the_same(carry: Carry, beside: str) -> None:
    """With dashes and without, in capitals, as bytes; in either form of COPY. What isn't 128 bits is refused."""
    arriving: dict[str, object] = {
        "dashes": str(KEY),
        "digits": KEY.hex,
        "capitals": str(KEY).upper(),
        "bytes": KEY.bytes,
        "odd dashes": "97-033619637148748591279e78663470",
    }
    bad = {
        "short": KEY.hex[:-1],
        "long": KEY.hex + "0",
        "word": "none",
        "empty": "",
        "braces": f"{{{KEY}}}",
        "nul": KEY.hex + "\0",
    }
    refused: dict[str, object] = dict.fromkeys(bad, NO_DIGITS)
    refused |= {"15 bytes": Refused("is not 16 bytes"), "number": Refused(DAMAGED)}
    outcome = await carry(
        "uuid", arriving | bad | {"15 bytes": KEY.bytes[:15], "number": 12, "null": None}, beside=beside
    )
    assert outcome == dict.fromkeys(arriving, KEY) | refused | {"null": None}
