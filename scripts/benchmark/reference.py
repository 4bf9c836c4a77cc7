"""
The result that everybody is held to: made once for each source, proved, and encoded for those who load files.

It is proved twice, by code that shares nothing. ``migrator verify`` compares every value; and rows all over each table
are read from SQLite here, brought to Python values by the rules below, and compared with what asyncpg reads.
"""

import asyncio
import json
import sqlite3
import sys
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any, Final
from uuid import UUID

import asyncpg

from benchmark.contenders import CONTENDERS, Bench
from benchmark.contents import Contents, contents
from benchmark.dataset import Dataset, Kind

_SAMPLED_ROWS: Final = 1000
_PIECES: Final = 8
"""No encoded file holds more than about this part of all bytes, so that connections share the work evenly."""

_EXPECTED: Final[dict[str, Callable[[Any], object]]] = {
    "bool": bool,
    "numeric": lambda value: Decimal(repr(value)),
    "uuid": UUID,
    "timestamp": datetime.fromisoformat,
    "timestamptz": lambda value: datetime.fromisoformat(value).replace(tzinfo=UTC),
    "jsonb": json.loads,
}
"""PostgreSQL's type → what a stored value means. Of all other types values are the same at both ends."""


@dataclass(frozen=True, slots=True)
class Reference:
    """The database that is right, and what it holds."""

    url: str
    contents: Contents


class NotProved(Exception):  # noqa: N818 - what it says is a sentence, not an error's name
    """The reference is not what the source holds: nobody can be measured against it."""


def make_reference(bench: Bench) -> Reference:
    """
    Migrate once, prove the result, and write the encoded files beside the source.

    Raises NotProved with what was wrong.
    """
    url = bench.server.fresh_database(bench.data.target_schema())
    outcome = CONTENDERS["migrator"].load(bench, url)
    if outcome.exit_code != 0:
        raise NotProved(outcome.said)
    command: list[str | Path] = [sys.executable, "-m", "migrator", "verify", "--source", bench.source]
    if (verified := bench.execute(command, MIGRATOR_TARGET_URL=url)).exit_code != 0:
        raise NotProved(verified.said)
    asyncio.run(compare_samples(bench.source, bench.data, url))
    reference = Reference(url, contents(url))
    with closing(sqlite3.connect(bench.source)) as source:
        for kind in bench.data.kinds:
            [count] = source.execute(f"SELECT count(*) FROM {kind.name}").fetchone()
            if count != reference.contents.digests[kind.name][0]:
                raise NotProved(f"{kind.name}: {count} rows in the source, {reference.contents.digests[kind.name][0]}")
    _encode(bench, url)
    return reference


async def compare_samples(path: Path, data: Dataset, url: str) -> None:
    """Compare rows from all over each table with the source, by no code of the migrator; raises NotProved."""
    connection = await asyncpg.connect(url)
    await connection.set_type_codec("jsonb", schema="pg_catalog", encoder=json.dumps, decoder=json.loads)
    try:
        with closing(sqlite3.connect(path)) as source:
            for kind, count in data.counts:
                await _compare_sample(connection, source, kind, max(1, count // _SAMPLED_ROWS))
    finally:
        await connection.close()


async def _compare_sample(connection: Any, source: sqlite3.Connection, kind: Kind, step: int) -> None:  # noqa: ANN401
    query = await connection.prepare(f"SELECT * FROM {kind.name} WHERE id % {step} = 0 ORDER BY id")
    types = [attribute.type.name for attribute in query.get_attributes()]
    arrived = [tuple(row) for row in await query.fetch()]
    stored = source.execute(f"SELECT * FROM {kind.name} WHERE id % {step} = 0 ORDER BY id")
    for count, row in enumerate(stored, 1):
        expected = tuple(
            _EXPECTED[name](value) if name in _EXPECTED and value is not None else value
            for name, value in zip(types, row, strict=True)
        )
        if count > len(arrived) or arrived[count - 1] != expected:
            raise NotProved(f"{kind.name}: {expected} is in the source, {arrived[count - 1 : count]} in the reference")


def _encode(bench: Bench, url: str) -> None:
    """Write each table as files of COPY's binary form, the large ones in pieces by key."""
    folder = bench.folder / "encoded"
    folder.mkdir(exist_ok=True)
    for old in folder.glob("*.copy"):
        old.unlink()
    with bench.server.session(url) as session:
        for kind, count in bench.data.counts:
            pieces = _pieces(bench.data, kind, count)
            for piece in range(pieces):
                first, last = count * piece // pieces, count * (piece + 1) // pieces
                rows = f"SELECT * FROM {kind.name} WHERE id > {first} AND id <= {last} ORDER BY id"
                session.run(rf"\copy ({rows}) TO '{folder / f'{kind.name}.{piece}.copy'}' (FORMAT binary)")


def _pieces(data: Dataset, kind: Kind, count: int) -> int:
    """Return into how many files a table goes: its share of the source's bytes, in units of a piece."""
    share = count / kind.rows_per_megabyte / max(data.megabytes, 1)
    return max(1, round(share * _PIECES))
