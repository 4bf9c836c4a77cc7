"""Generates single values as SQLAlchemy stores them in SQLite: usual ones, and the extremes of each type."""

import struct
from collections.abc import Sequence
from datetime import datetime, timedelta
from random import Random
from typing import Final, TypeVar

from migrator.demo.dryad import phrases

T = TypeVar("T")

INT64: Final = (2**63 - 1, -(2**63), 0, -1, 2**53 + 1, 42)
FLOATS: Final = (1e308, -1e308, 5e-324, 0.1 + 0.2, 1 / 3, float("inf"), float("-inf"), 2.0**53 + 2, -273.15, 0.0, 7.0)
DATES: Final = ("0001-01-01", "9999-12-31", "2024-02-29", None, "1969-12-31", "1582-10-10")
TIMES: Final = ("00:00:00.000000", "23:59:59.999999", None, "22:30:00.000000")
MOMENTS: Final = (
    "0001-01-01 00:00:00.000000",
    "9999-12-31 23:59:59.999999",
    None,
    "1969-12-31 23:59:59.999999",
    "2024-02-29 12:00:00.000001",
)
BLOBS: Final = (b"", b"\x00", None, bytes(range(256)), b"\\x00", b"\x89PNG\r\n\x1a\n" + bytes(1000))

LONG_TEXT: Final = "A long log, line by line; 一行一行地写下去 🌲\n" * 4000
RARELY: Final = 2003
"""One text in this number of texts is the long text."""

VECTOR_BYTES: Final = 64 * 4
BIRTH: Final = datetime(2021, 3, 20, 9, 30)  # noqa: DTZ001 - SQLAlchemy stores UTC in SQLite without a time zone
AGE_SECONDS: Final = 5 * 365 * 86_400


def turn(pool: Sequence[T], number: int) -> T:
    """Return the value whose turn it is."""
    return pool[number % len(pool)]


def prose(random: Random, number: int) -> str:
    """Return a text: sentences, a tricky one, or rarely a long one."""
    if number % 11 == 0:
        return turn(phrases.TRICKY, number // 11)
    if number % RARELY == 1:
        return LONG_TEXT
    return " ".join(random.choices(phrases.SENTENCES, k=1 + int(8 * random.random())))


def moment(random: Random) -> str:
    """Return a moment as SQLAlchemy writes it, with microseconds; sometimes as SQLite writes it, without."""
    microseconds = int(random.random() * AGE_SECONDS * 1_000_000)
    written = (BIRTH + timedelta(microseconds=microseconds)).isoformat(" ", "microseconds")
    return written[:19] if microseconds % 9 == 0 else written


def day(random: Random) -> str:
    """Return a date as SQLAlchemy writes it."""
    return (BIRTH - timedelta(days=int(random.random() * 30_000))).date().isoformat()


def decimal(random: Random, number: int, precision: int, scale: int) -> float:
    """Return the double nearest to a decimal. A decimal of up to 15 digits is read back unchanged."""
    largest = 10**precision - 1
    extremes = (largest, -largest, 0, 1, -1, 10**scale)
    digits = extremes[number] if number < len(extremes) else int(largest * (random.random() ** 8 - 0.01))
    return digits / float(10**scale)


def packed_floats(random: Random) -> bytes:
    """Return one long packed vector of floats. Embeddings are slices of it: packing each of them takes too long."""
    floats = [random.gauss(0, 1) for _ in range(1 << 15)]
    return struct.pack(f"<{len(floats)}f", *floats)


def vector(random: Random, packed: bytes) -> bytes:
    """Return an embedding, a slice of the packed floats."""
    start = 4 * int(random.random() * (len(packed) - VECTOR_BYTES) / 4)
    return packed[start : start + VECTOR_BYTES]
