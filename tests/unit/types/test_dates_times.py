"""date, time, timestamp, timestamptz: ISO 8601 text to the microsecond, and never PostgreSQL's reading of words."""

from datetime import UTC, date, datetime, time

import pytest
from fix_values import Carry, Refused

pytestmark = pytest.mark.one_server

NOT_TEXT = Refused("is not stored as TEXT")
FULL = {
    "timestamp": "timestamp without time zone",
    "timestamptz": "timestamp with time zone",
    "date": "date",
    "time": "time without time zone",
}
WORDS = ("now", "today", "epoch", "infinity", "-infinity", "allballs", "")
MOMENT = datetime(2024, 2, 29, 12, 34, 56)  # noqa: DTZ001 - what a naive column holds


def cannot(declared: str) -> Refused:
    """Return the refusal of text that is no such moment."""
    return Refused(f"can't become {FULL[declared]} exactly")


@pytest.mark.parametrize("beside", ["", "inet"], ids=["binary", "text"])
async def test_timestamps(carry: Carry, beside: str) -> None:
    """SQLAlchemy's form and ISO's, with 0 to 6 digits of a second, from the year 1 to 9999."""
    no = cannot("timestamp")
    expected = {
        "sqlalchemy": ("2024-02-29 12:34:56.000000", MOMENT),
        "iso": ("2024-02-29T12:34:56", MOMENT),
        "one digit": ("2024-02-29 12:34:56.5", MOMENT.replace(microsecond=500_000)),
        "six digits": ("2024-02-29 12:34:56.123456", MOMENT.replace(microsecond=123_456)),
        "no seconds": ("2024-02-29 12:34", MOMENT.replace(second=0)),
        "only a date": ("2024-02-29", datetime(2024, 2, 29)),  # noqa: DTZ001
        "first": ("0001-01-01 00:00:00", datetime.min),  # noqa: DTZ901
        "last": ("9999-12-31 23:59:59.999999", datetime.max),  # noqa: DTZ901
        "null": (None, None),
        "nanoseconds": ("2024-02-29 12:34:56.123456789", no),
        "zone": ("2024-02-29 12:34:56+02:00", no),
        "zulu": ("2024-02-29T12:34:56Z", no),
        "no such day": ("2023-02-29 00:00:00", no),
        "year 0": ("0000-12-31 00:00:00", Refused("lies before the year 1")),
        "zero date": ("0000-00-00 00:00:00", no),
        "24 o'clock": ("2024-02-29 24:00:00", no),
        "leap second": ("2016-12-31 23:59:60", no),
        "only hours": ("2024-02-29 12", no),
        "american": ("02/29/2024", no),
        "blank": ("2024-02-29 12:34:56 ", no),
        "epoch": (1709210096, NOT_TEXT),
        "julian": (2460370.024, NOT_TEXT),
        "blob": (b"2024-02-29", NOT_TEXT),
    } | {word or "empty": (word, no) for word in WORDS}
    outcome = await carry("timestamp", {name: stored for name, (stored, _) in expected.items()}, beside=beside)
    assert outcome == {name: arrived for name, (_, arrived) in expected.items()}


@pytest.mark.parametrize("beside", ["", "inet"], ids=["binary", "text"])
async def test_timestamps_with_a_zone(carry: Carry, beside: str) -> None:
    """Text with an offset is that instant, and naive text is UTC, also where both are in one column."""
    no = cannot("timestamptz")
    moment = MOMENT.replace(tzinfo=UTC)
    expected = {
        "naive": ("2024-02-29 12:34:56.000000", moment),
        "zulu": ("2024-02-29T12:34:56Z", moment),
        "zero": ("2024-02-29 12:34:56+00:00", moment),
        "east": ("2024-02-29 14:34:56+02:00", moment),
        "west": ("2024-02-29 07:04:56-05:30", moment),
        "no colon": ("2024-02-29 14:34:56+0200", moment),
        "only hours of an offset": ("2024-02-29 14:34:56+02", moment),
        "fraction": ("2024-02-29 14:34:56.123456+02:00", moment.replace(microsecond=123_456)),
        "only a date": ("2024-02-29", datetime(2024, 2, 29, tzinfo=UTC)),
        "first": ("0001-01-01 00:00:00+00:00", datetime.min.replace(tzinfo=UTC)),
        "last": ("9999-12-31 23:59:59.999999", datetime.max.replace(tzinfo=UTC)),
        "null": (None, None),
        "before the first": ("0001-01-01 00:00:00+01:00", Refused("lies before the year 1")),
        "nanoseconds": ("2024-02-29 12:34:56.123456789+00:00", no),
        "named zone": ("2024-02-29 12:34:56 Europe/Berlin", no),
        "24 o'clock": ("2024-02-29 24:00:00+00:00", no),
        "only hours": ("2024-02-29 12+00:00", no),
        "epoch": (1709210096, NOT_TEXT),
    } | {word or "empty": (word, no) for word in WORDS}
    outcome = await carry("timestamptz", {name: stored for name, (stored, _) in expected.items()}, beside=beside)
    assert outcome == {name: arrived for name, (_, arrived) in expected.items()}


async def test_an_instant_after_the_last_is_refused(carry: Carry) -> None:
    """The year 10000 begins when it does in UTC; no program that writes ISO 8601 could read it back."""
    assert await carry("timestamptz", {"later": "9999-12-31 23:59:59-01:00"}) == {
        "later": Refused("lies after the year 9999")
    }


@pytest.mark.parametrize("beside", ["", "inet"], ids=["binary", "text"])
async def test_dates(carry: Carry, beside: str) -> None:
    """Ten characters; a time of day behind them is refused, and so is every word."""
    no = cannot("date")
    expected = {
        "day": ("2024-02-29", date(2024, 2, 29)),
        "first": ("0001-01-01", date.min),
        "last": ("9999-12-31", date.max),
        "null": (None, None),
        "no such day": ("2023-02-29", no),
        "with time": ("2024-02-29 00:00:00", no),
        "year 0": ("0000-12-31", Refused("lies before the year 1")),
        "zero date": ("0000-00-00", no),
        "compact": ("20240229", no),
        "number": (20240229, NOT_TEXT),
    } | {word or "empty": (word, no) for word in WORDS}
    outcome = await carry("date", {name: stored for name, (stored, _) in expected.items()}, beside=beside)
    assert outcome == {name: arrived for name, (_, arrived) in expected.items()}


@pytest.mark.parametrize("beside", ["", "inet"], ids=["binary", "text"])
async def test_times(carry: Carry, beside: str) -> None:
    """To the microsecond; 24:00 and the leap second, which PostgreSQL would roll on, are refused."""
    no = cannot("time")
    expected = {
        "midnight": ("00:00:00", time(0)),
        "last": ("23:59:59.999999", time.max),
        "no seconds": ("12:34", time(12, 34)),
        "null": (None, None),
        "24 o'clock": ("24:00:00", no),
        "leap second": ("23:59:60", no),
        "nanoseconds": ("12:34:56.123456789", no),
        "zone": ("12:34:56+02", no),
        "zulu": ("12:34:56Z", no),
        "only hours": ("12", no),
        "one digit": ("1:02:03", no),
        "afternoon": ("01:02 PM", no),
        "number": (123456, NOT_TEXT),
    } | {word or "empty": (word, no) for word in WORDS}
    outcome = await carry("time", {name: stored for name, (stored, _) in expected.items()}, beside=beside)
    assert outcome == {name: arrived for name, (_, arrived) in expected.items()}


@pytest.mark.parametrize(
    ("declared", "fits", "finer"),
    [
        ("timestamp(0)", "2024-02-29 12:34:56", "2024-02-29 12:34:56.5"),
        ("timestamptz(3)", "2024-02-29 12:34:56.123Z", "2024-02-29 12:34:56.1234Z"),
        ("time(3)", "12:34:56.123", "12:34:56.1234"),
    ],
)
async def test_digits_that_a_coarse_column_would_round(carry: Carry, declared: str, fits: str, finer: str) -> None:
    """PostgreSQL rounds to the column's precision without a word, so more digits are refused."""
    outcome = await carry(declared, {"fits": fits, "finer": finer})
    assert isinstance(outcome["finer"], Refused)
    assert "more digits of a second than" in outcome["finer"].reason
    assert not isinstance(outcome["fits"], Refused)
