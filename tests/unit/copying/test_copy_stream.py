"""COPY data of small tables: read together, it is what each table gives by itself."""

import sqlite3
from collections.abc import AsyncIterator
from contextlib import closing

import pytest
from fix_job import settings_of
from fix_postgres import Database
from fix_sqlite import MakeSqlite
from msgspec.structs import replace

from migrator.copying import copy_stream
from migrator.copying.copy_stream import copy_data_of_small
from migrator.errors import SourceUnreadable
from migrator.names import quote_postgres, quote_sqlite
from migrator.planning.matching import make_plan
from migrator.planning.plan import Plan, TablePlan
from migrator.preflight.table_check import measure_tables
from migrator.source.database import Source
from migrator.source.scan import ScanSession
from migrator.source.size import TableSize
from migrator.target.database import Target

pytestmark = pytest.mark.one_server
BATCH_BYTES = 1 << 20
ALIKE = ("a", "b", 'x"; DROP TABLE a; --', "empty", "nothing but NULL", "é🌲")
"""Tables that are the same but for their names, and those of their columns."""
ROWS: dict[str, list[tuple[object, ...]]] = {
    "a": [(1, "one", 1.5, b"\x00"), (2, None, None, None)],
    "b": [(1, "", -0.0, b"")],
    'x"; DROP TABLE a; --': [(7, "it's", 0.1, b"\xff"), (8, "\\N", 2.0**40, None)],
    "nothing but NULL": [(None, None, None, None)] * 3,
    "é🌲": [(2**63 - 1, "é🌲", 12.25, b"x" * 3000)],
    "other": [("text", 1)],
}


@pytest.fixture
async def plan(make_sqlite: MakeSqlite, database: Database) -> AsyncIterator[tuple[Source, Plan]]:
    """Give a source whose small tables are alike, but for one, and the way to their partners."""
    script = ["CREATE TABLE other (t TEXT, i INTEGER);"]
    for name in ALIKE:
        script.append(f"CREATE TABLE {quote_sqlite(name)} ({quote_sqlite(name)} INTEGER, t TEXT, r REAL, raw BLOB);")
        columns = f"{quote_postgres(name)} bigint, t text, r float8, raw bytea"
        await database.execute(f"CREATE TABLE {quote_postgres(name)} ({columns})")
    await database.execute("CREATE TABLE other (t text, i bigint)")
    source = Source(make_sqlite("".join(script), ROWS))
    target = Target(settings_of(source.path, database).target)
    async with target.connect() as connection:
        yield source, make_plan(await source.describe(), await target.describe(connection, "public"))
    await target.close()
    await source.close()


def surveyed(session: ScanSession, plan: Plan, *, fast: bool) -> list[tuple[TablePlan, TableSize]]:
    """Return the tables, each with its size, and whether it is known to hold nothing unusual."""
    table_sizes = measure_tables(session, plan.tables)
    return [(table, replace(one, fast=fast)) for table, one in zip(plan.tables, table_sizes, strict=True)]


@pytest.mark.parametrize("fast", [True, False])
def test_one_scan_gives_what_each_table_gives(
    plan: tuple[Source, Plan], read_alone: list[str], monkeypatch: pytest.MonkeyPatch, *, fast: bool
) -> None:
    """The bytes are the same; tables that are alike share a scan, unless they have too many columns together."""
    source, planned = plan
    with source.session() as session:
        tables = surveyed(session, planned, fast=fast)
        together = copy_data_of_small(session, tables, BATCH_BYTES)
        assert read_alone == ["other"]
        monkeypatch.setattr(copy_stream, "MOST_TOGETHER", 3)
        assert copy_data_of_small(session, tables, BATCH_BYTES) == together
        assert sorted(read_alone[1:]) == sorted([*ALIKE, "other"])
    assert [rows for rows, _ in together] == [len(ROWS.get(table.source.name, ())) for table in planned.tables]


def test_the_table_at_fault_is_named(plan: tuple[Source, Plan]) -> None:
    """A value that preflight hasn't seen stops the copy, and of the tables that were read together one is named."""
    source, planned = plan
    with closing(sqlite3.connect(source.path)) as connection:
        connection.execute("INSERT INTO b VALUES ('no number', NULL, NULL, NULL)")
        connection.commit()
    with source.session() as session, pytest.raises(SourceUnreadable) as caught:
        copy_data_of_small(session, surveyed(session, planned, fast=True), BATCH_BYTES)
    assert caught.value.facts["table"] == "b"
