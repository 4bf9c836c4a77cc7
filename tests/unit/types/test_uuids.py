"""uuid: 36 or 32 characters, or 16 bytes."""

import random
from collections.abc import Sequence
from uuid import UUID

import pyarrow as pa
import pytest
from fix_values import Carry, Refused

from migrator.target.schema import TargetColumn
from migrator.types import ConversionError
from migrator.types.uuids import UUIDS

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


COLUMN = TargetColumn("v", "uuid", "uuid", not_null=False, has_default=False, identity="", generated=False)


def read(texts: Sequence[str | None]) -> list[bytes | None]:
    """Return what the fast family makes of texts that begin in the middle of an array, as the driver's do."""
    assert UUIDS.fast
    bytes_of = UUIDS.fast.convert([pa.array(["before", *texts], pa.string()).slice(1)], COLUMN)
    bytes_of.validate(full=True)
    found: list[bytes | None] = bytes_of.to_pylist()
    return found


def test_texts_are_read_together() -> None:
    """With dashes, without, both among each other, missing ones between them, and none at all."""
    chance = random.Random(3)  # noqa: S311 - no secret is made of it
    uuids = [UUID(int=chance.getrandbits(128)) for _ in range(500)]
    mixed = [chance.choice([str(uuid), str(uuid).upper(), uuid.hex, None]) for uuid in uuids]
    for texts in ([str(uuid) for uuid in uuids], [uuid.hex for uuid in uuids], mixed, [None, str(KEY)], [None], []):
        assert read(texts) == [None if text is None else UUID(text).bytes for text in texts]


@pytest.mark.parametrize(
    "odd",
    [
        *("", "z" * 36, "z" * 32, "-" * 36, "é" * 16, "é" * 18, KEY.hex[:-1], KEY.hex + "0", f"{KEY.hex}----"),
        *("97-033619637148748591279e78663470", str(KEY).replace("-", "\0"), KEY.hex[:-1] + "\0", f"{{{KEY}}}"),
    ],
)
def test_an_odd_text_among_others_is_refused(odd: str) -> None:
    """Also where the lengths of all texts together are as they should be."""
    for texts in ([odd], [str(KEY), odd], [KEY.hex, odd], [odd, None, KEY.hex, str(KEY)], [odd, KEY.hex + odd[32:]]):
        with pytest.raises(ConversionError):
            read(texts)
