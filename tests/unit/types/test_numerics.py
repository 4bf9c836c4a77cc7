"""numeric: exact decimals of any width, or a refusal; never PostgreSQL's rounding."""

from decimal import Decimal

import pytest
from fix_values import Carry, Refused

pytestmark = pytest.mark.one_server

WRONG_CLASS = Refused("is not stored as INTEGER or REAL or TEXT")


def cannot(declared: str) -> Refused:
    """Return the refusal of a number that has too many digits, or is none."""
    return Refused(f"can't become {declared} exactly")


@pytest.mark.parametrize("beside", ["", "inet"], ids=["binary", "text"])
@pytest.mark.parametrize("declared", ["numeric(10,2)", "numeric(60,2)", "numeric(600,2)"])
async def test_two_places(carry: Carry, declared: str, beside: str) -> None:
    """Two places arrive, from every storage class; a third one is refused unless it is a zero."""
    no = cannot(declared)
    expected = {
        "integer": (7, Decimal("7.00")),
        "real": (1230.99, Decimal("1230.99")),
        "text": ("1230.99", Decimal("1230.99")),
        "negative": ("-0.01", Decimal("-0.01")),
        "zeros": ("1.5000", Decimal("1.50")),
        "exponent": ("1e2", Decimal("100.00")),
        "bare point": (".5", Decimal("0.50")),
        "null": (None, None),
        "third place": ("1.005", no),
        "third place of a real": (1.005, no),
        "word": ("many", no),
        "empty": ("", no),
        "nan": ("NaN", no),
        "infinity": (float("inf"), no),
        "blank": (" 1", no),
        "hexadecimal": ("0x10", no),
        "underscore": ("1_0", no),
        "other digits": ("\u0661", no),
        "blob": (b"1", WRONG_CLASS),
    }
    outcome = await carry(declared, {name: stored for name, (stored, _) in expected.items()}, beside=beside)
    assert outcome == {name: arrived for name, (_, arrived) in expected.items()}


async def test_digits_before_the_point(carry: Carry) -> None:
    """As many as the precision leaves; one more is refused."""
    outcome = await carry("numeric(6,2)", {"fits": "9999.99", "one more": "10000", "real": 12345.5})
    assert outcome == {"fits": Decimal("9999.99"), "one more": cannot("numeric(6,2)"), "real": cannot("numeric(6,2)")}


async def test_thirty_eight_digits(carry: Carry) -> None:
    """The widest that Arrow has, exact to the last digit."""
    digits = "12345678901234567890123456789012345.678"
    assert await carry("numeric(38,3)", {"all": digits}) == {"all": Decimal(digits)}


async def test_wider_than_arrow(carry: Carry) -> None:
    """Fifty digits arrive exactly; PostgreSQL would round the fifty-first away, so it is refused."""
    digits = "1234567890" * 4 + "12345678.90"
    outcome = await carry("numeric(50,2)", {"all": digits, "one more": digits + "1", "long": "1" * 49})
    assert outcome == {"all": Decimal(digits), "one more": cannot("numeric(50,2)"), "long": cannot("numeric(50,2)")}


async def test_a_scale_below_zero_or_beyond_the_precision(carry: Carry) -> None:
    """numeric(3,-2) holds hundreds and numeric(2,4) ten-thousandths below a hundredth; the rest is refused."""
    assert await carry("numeric(3,-2)", {"hundreds": 99900, "tens": 99910}) == {
        "hundreds": Decimal(99900),
        "tens": cannot("numeric(3,-2)"),
    }


async def test_bare_numeric(carry: Carry) -> None:
    """Any number of any length, a double as the shortest decimal that means it; and nothing that is no number."""
    long = "1" * 300 + "." + "2" * 300
    no = cannot("numeric")
    expected = {
        "long": (long, Decimal(long)),
        "real": (0.1, Decimal("0.1")),
        "large real": (1e300, Decimal(10) ** 300),
        "integer": (2**63 - 1, Decimal(2**63 - 1)),
        "exponent": ("1.5e3", Decimal(1500)),
        "zeros kept": ("1.500", Decimal("1.500")),
        "word": ("many", no),
        "nan": ("nan", no),
        "infinity": (float("-inf"), no),
        "blank": ("1 ", no),
        "empty": ("", no),
    }
    outcome = await carry("numeric", {name: stored for name, (stored, _) in expected.items()})
    assert outcome == {name: arrived for name, (_, arrived) in expected.items()}


async def test_a_double_far_smaller_than_the_scale_does_not_become_zero(carry: Carry) -> None:
    """Found by random tables: beyond 38 places after the point Arrow's cast gives 0 instead of an error."""
    tiny = {"tiny": 6.395608482689287e-47, "text": "5.5e-25", "smallest": 5e-324, "zero": 0.0, "spelled": "0e-50"}
    arrived = await carry("numeric(5,2)", tiny)
    assert [name for name, value in arrived.items() if isinstance(value, Refused)] == ["tiny", "text", "smallest"]
    assert (arrived["zero"], arrived["spelled"]) == (0, 0)


async def test_a_number_far_larger_than_the_column_does_not_become_another(carry: Carry) -> None:
    """Found next to it: where digits go beyond 128 bits Arrow's cast gives any number instead of an error."""
    arrived = await carry("numeric(38,38)", {"large": 800, "larger": "3.9603e21", "fits": "0.5"})
    assert [name for name, value in arrived.items() if isinstance(value, Refused)] == ["large", "larger"]
    assert arrived["fits"] == Decimal("0.5")
