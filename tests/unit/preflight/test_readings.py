"""How often preflight reads a table: each reading costs seconds a gigabyte, so that a new one has to be meant."""

import re
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any

import pyarrow as pa
import pytest
from fix_postgres import Database
from fix_sqlite import MakeSqlite
from fix_values import MakeMove

from migrator.planning import grouping
from migrator.planning.plan import TablePlan
from migrator.preflight import checker, table_check
from migrator.preflight.quick.stored_rows import SourceFile, digest_of_stored
from migrator.source.scan import ScanColumn, ScanSession
from migrator.source.schema import SourceTable
from migrator.verification.comparison import Comparison
from migrator.verification.digest import Digest

pytestmark = pytest.mark.one_server

SOURCE = """
CREATE TABLE parent (id INTEGER PRIMARY KEY, name TEXT NOT NULL);
CREATE TABLE child (id INTEGER PRIMARY KEY, parent INTEGER REFERENCES parent (id), code TEXT UNIQUE, data BLOB,
                    price NUMERIC(12, 2), at DATETIME, doc JSON, ref CHAR(36), ok BOOLEAN);
"""
PARENT = "CREATE TABLE parent (id bigint PRIMARY KEY, name text NOT NULL)"
CHILD = """
CREATE TABLE child (id bigint PRIMARY KEY, parent bigint REFERENCES parent (id), code text UNIQUE, data bytea,
                    price numeric(12, 2), at timestamptz, doc jsonb, ref uuid, ok boolean)
"""
UUID = "97033619-6371-4874-8591-279e78663470"


@pytest.fixture
def readings(monkeypatch: pytest.MonkeyPatch) -> Counter[tuple[str, str]]:
    """Count, for each table, the statements that read it from its first page to its last, by who reads."""
    counted: Counter[tuple[str, str]] = Counter()
    ask, scan = ScanSession.ask, ScanSession.scan

    def count(session: ScanSession, statement: str) -> None:
        if re.search(r"\bLIMIT\b|\bEXISTS\b", statement):  # ends at the first rows
            return
        for line in ask(session, f"EXPLAIN QUERY PLAN {statement}"):
            scanned = re.match(r"SCAN (\w+)$", line["detail"])
            if scanned and scanned[1] in {"parent", "child"}:
                counted[scanned[1], "driver"] += 1

    def counted_ask(session: ScanSession, statement: str) -> list[dict[str, Any]]:
        if not statement.startswith(("EXPLAIN", "PRAGMA")):
            count(session, statement)
        return ask(session, statement)

    def counted_scan(
        session: ScanSession, table: SourceTable, columns: Sequence[ScanColumn], *, batch_rows: int, where: str = ""
    ) -> Iterator[pa.RecordBatch]:
        counted[table.name, "driver"] += 1
        return scan(session, table, columns, batch_rows=batch_rows, where=where)

    def counted_by_duckdb(
        file: SourceFile, session: ScanSession, table: TablePlan, comparison: Comparison
    ) -> Digest | None:
        counted[table.source.name, "DuckDB"] += 1
        return digest_of_stored(file, session, table, comparison)

    monkeypatch.setattr(ScanSession, "ask", counted_ask)
    monkeypatch.setattr(ScanSession, "scan", counted_scan)
    monkeypatch.setattr(checker, "digest_of_stored", counted_by_duckdb)
    # As in a file of gigabytes.
    monkeypatch.setattr(grouping, "is_small", lambda _table_size: False)
    monkeypatch.setattr(table_check, "has_large_tables", lambda _session: True)
    monkeypatch.setattr(checker, "is_worth_it", lambda _table_size: True)
    return counted


async def test_a_usual_table_is_read_once_and_once_more_for_each_reference(
    move: MakeMove, database: Database, make_sqlite: MakeSqlite, readings: Counter[tuple[str, str]]
) -> None:
    """Sizes, storage classes, conversion and digest come out of one reading, by the driver or by DuckDB."""
    child: list[object] = [1, 1, "a", b"\0", 12.5, "2024-02-29 12:34:56", '{"a": 1}', UUID, 1]
    make_sqlite(SOURCE, {"parent": [[1, "a"], [2, "b"]], "child": [child, [2, *[None] * 8]]})
    await database.execute(PARENT)
    await database.execute(CHILD)
    report = await move().check()
    assert not report.findings
    assert readings == {("child", "driver"): 2, ("parent", "DuckDB"): 1}  # child: the dry run, and the look-up
