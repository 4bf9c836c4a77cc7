"""
Makes a SQLite database as after years of use of Dryad: ``python -m migrator.demo.dryad.sample PATH --scale 1``.

The Alembic migrations build the schema, so the file has the revision of their head. The rows (``rows``) hold values
that break careless copies: rare Unicode characters, the largest and smallest numbers, the years 1 and 9999, empty
values and NULLs, large and small values. The same scale and seed give the same rows.
"""

import argparse
import sqlite3
import sys
from collections.abc import Callable, Iterator
from contextlib import closing
from itertools import chain
from pathlib import Path
from typing import Final

from alembic import command
from alembic.config import Config
from sqlalchemy import URL, create_engine

from migrator.demo.dryad import ALEMBIC_INI, rows
from migrator.demo.dryad.models import SYSTEM_USER_ID

TABLES: Final[tuple[tuple[str, Callable[[rows.Sample], Iterator[rows.Row]]], ...]] = (
    ("users", rows.users),
    ("conversations", rows.conversations),
    ("messages", rows.messages),
    ("documents", rows.documents),
    ("document_chunks", rows.document_chunks),
    ("groves", rows.groves),
    ("branches", rows.branches),
    ("vessels", rows.vessels),
    ("dialogues", rows.dialogues),
    ("dialogue_messages", rows.dialogue_messages),
)

FINISHING_TOUCHES: Final = (
    # Every seventh conversation has no last message.
    """
    UPDATE conversations SET last_message_id =
        (SELECT max(messages.id) FROM messages WHERE messages.conversation_id = conversations.id)
    WHERE rowid % 7 <> 0
    """,
    # As if the newest messages were deleted: AUTOINCREMENT never uses their ids again, and a sequence must not either.
    "UPDATE sqlite_sequence SET seq = seq + 3 WHERE name = 'messages'",
    # The migration that adds this account writes the current time, but the sample must always be the same.
    f"""
    UPDATE users SET created_at = '2021-03-20 09:30:00', updated_at = '2021-03-20 09:30:00'
    WHERE id = '{SYSTEM_USER_ID}'
    """,
)


def generate(path: Path, scale: float = 1.0, seed: int = 7) -> dict[str, int]:
    """
    Write a new SQLite database to ``path`` and return the number of rows of each table.

    Scale 1 is about 20,000 rows, scale 50 is a million rows; no table is empty at any scale. Memory doesn't grow with
    the scale. Until the file is complete, its name ends with ``.partial``.
    Raises FileExistsError if ``path`` exists, and ValueError if the scale is not positive.
    """
    if not scale > 0:
        raise ValueError(f"the scale is {scale}, and has to be more than 0")
    if path.exists():
        raise FileExistsError(f"{path} is there already, and may be somebody's data")
    roots = {"users": 200, "conversations": 1000, "documents": 400, "groves": 100, "dialogues": 500}
    sample = rows.Sample(seed, **{table: max(8, round(scale * number)) for table, number in roots.items()})
    partial = path.with_name(f"{path.name}.partial")
    partial.unlink(missing_ok=True)
    _build_schema(partial)
    with closing(sqlite3.connect(partial, isolation_level=None)) as connection:
        counts = _fill(connection, sample)
    partial.rename(path)
    return counts


def _build_schema(path: Path) -> None:
    engine = create_engine(URL.create("sqlite", database=str(path)))
    with engine.connect() as connection:
        command.upgrade(Config(ALEMBIC_INI, attributes={"connection": connection}), "head")
    engine.dispose()


def _fill(connection: sqlite3.Connection, sample: rows.Sample) -> dict[str, int]:
    # An incomplete file is never used, so no journal and no waiting for the disk are needed. A cache of 64 MiB holds
    # the pages of the indexes that grow at random places.
    for pragma in ("journal_mode=OFF", "synchronous=OFF", "cache_size=-65536"):
        connection.execute(f"PRAGMA {pragma}")
    connection.execute("BEGIN")
    for table, generator in TABLES:
        _insert(connection, table, generator(sample))
    for statement in FINISHING_TOUCHES:
        connection.execute(statement)
    connection.execute("COMMIT")
    return {table: _count(connection, table) for table, _ in TABLES}


def _insert(connection: sqlite3.Connection, table: str, table_rows: Iterator[rows.Row]) -> None:
    first = next(table_rows)
    columns = ", ".join(f'"{column}"' for column in first)
    values = ", ".join(f":{column}" for column in first)
    connection.executemany(f'INSERT INTO "{table}" ({columns}) VALUES ({values})', chain((first,), table_rows))


def _count(connection: sqlite3.Connection, table: str) -> int:
    (count,) = connection.execute(f'SELECT count(*) FROM "{table}"').fetchone()
    return int(count)


def main(argv: list[str] | None = None) -> int:
    """Run the command and return 0. Exits with 2 if the arguments are wrong or the file can't be written."""
    parser = argparse.ArgumentParser(
        prog="python -m migrator.demo.dryad.sample", description="Write a sample of Dryad."
    )
    parser.add_argument("path", type=Path, help="the SQLite file to write; it must not be there yet")
    parser.add_argument("--scale", type=float, default=1.0, help="1 is about 20,000 rows, 50 a million (default: 1)")
    parser.add_argument("--seed", type=int, default=7, help="another seed, other rows (default: 7)")
    arguments = parser.parse_args(argv)
    try:
        counts = generate(arguments.path, arguments.scale, arguments.seed)
    except (OSError, ValueError) as error:
        parser.error(str(error))
    for table, count in counts.items():
        sys.stdout.write(f"{table:<20}{count:>12,}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
