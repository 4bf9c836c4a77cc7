"""Numbers at the limits of numeric, and exponents of any spelling: carried and compared, or refused beforehand."""

from decimal import Decimal

import pytest
from fix_values import Carry, Refused

CARRIED = (
    "1e000002",
    "12e-0000000004",
    "1e131071",
    "-1.5e131071",
    "0.1e131072",
    "1e-16383",
    "12e-16383",
    "1.2e-16382",
    "0e999999",
    "-0e5",
    "-0.0",
    "1E+400",
    "5e-325",
    "1.50",
    "9" * 131_072,
    "0." + "1" * 16_383,
)
REFUSED = (
    "1e131072",
    "10e131071",
    "1e-16384",
    "1.2e-16383",
    "100e-16385",
    "0e-16384",
    "1e99999999",
    "1e2147483648",
    "9" * 131_073,
    "0." + "1" * 16_384,
    "1." + "0" * 16_384,
)


@pytest.mark.parametrize("declared", ["numeric", "jsonb"])
async def test_numbers_at_the_limits(carry: Carry, declared: str) -> None:
    """A run with all that check accepts ends well, and each number is the one that was spelled."""
    values = {f"yes {place}": text for place, text in enumerate(CARRIED)}
    values |= {f"no {place}": text for place, text in enumerate(REFUSED)}
    outcome = await carry(declared, values, shown="v::text")
    assert {name for name, arrived in outcome.items() if isinstance(arrived, Refused)} == {
        name for name in values if name.startswith("no")
    }
    assert all(Decimal(str(outcome[name])) == Decimal(text) for name, text in values.items() if name.startswith("yes"))


@pytest.mark.parametrize(
    ("declared", "carried", "refused"),
    [
        ("numeric(10,2)", ("1e000002", "1.500", "0.0e-99", "+5", ".5", "5.", "-0"), ("1e-3", "1e8", "NaN", "1_0")),
        ("numeric(50,5)", ("1e000002", "0e999999", "1e0000000044", "1." + "0" * 20_000), ("1e45", "1e-6", "inf")),
        ("numeric(3,-2)", ("100", "1e000002", "99900"), ("150", "100000")),
        ("numeric(2,4)", ("0.0012", "12e-000004"), ("0.01",)),
    ],
)
async def test_numbers_at_the_limits_of_a_column(
    carry: Carry, declared: str, carried: tuple[str, ...], refused: tuple[str, ...]
) -> None:
    """The same where the column says how many digits it keeps."""
    outcome = await carry(declared, {text: text for text in (*carried, *refused)}, shown="v::text")
    assert {text for text, arrived in outcome.items() if isinstance(arrived, Refused)} == set(refused)
    assert all(Decimal(str(outcome[text])) == Decimal(text) for text in carried)
