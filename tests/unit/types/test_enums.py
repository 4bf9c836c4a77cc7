"""Native enumerations: the labels, letter for letter."""

import pytest
from fix_values import Carry, Refused

pytestmark = pytest.mark.one_server

LABELS = ("ok", "in review", "it's", "größe", "OK")


@pytest.mark.parametrize("beside", ["", "inet"], ids=["binary", "text"])
async def test_labels_arrive_and_nothing_else(carry: Carry, beside: str) -> None:
    """Another case is another label; blanks, the empty text and other storage classes are refused."""
    listed = ", ".join("'" + label.replace("'", "''") + "'" for label in LABELS)
    none = Refused(f"is no label of mood ({', '.join(LABELS)})")
    values = {label: label for label in LABELS} | {"null": None}
    bad = {"case": "Ok", "blank": "ok ", "empty": "", "nul": "ok\0", "broken": ("TEXT", b"ok\xff")}
    wrong = {"integer": 1, "blob": b"ok"}
    outcome = await carry(
        "mood",
        values | bad | wrong,
        stored_as="COLLATE NOCASE",
        beside=beside,
        prepare=f"CREATE TYPE mood AS ENUM ({listed})",
        shown="v::text",
    )
    assert outcome == values | dict.fromkeys(bad, none) | dict.fromkeys(wrong, Refused("is not stored as TEXT"))
