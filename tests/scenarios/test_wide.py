"""Very wide tables: no statement of the job has a limit that a table can exceed."""

import asyncio
import json
from pathlib import Path

import pytest
from fix_postgres import Database
from fix_sqlite import MakeSqlite
from fix_values import MakeMove, refusals

from migrator.config.settings import Settings
from migrator.errors import Mismatch
from migrator.job import check, verify
from migrator.monitoring.tracker import Tracker
from migrator.source.database import Source
from migrator.source.scan import ScanColumn, StorageClass

COLUMNS = 1500  # of the 1,600 that PostgreSQL takes
# A type, and what SQLite holds of it. DuckDB plans long for many columns of the second kind.
KINDS: dict[str, object] = {"int": 7, "text": "x", "boolean": 1, "double precision": 0.1, "bytea": b"b"}
RARE: dict[str, object] = {
    "numeric(6,2)": 1.25,
    "jsonb": "{}",
    "date": "2024-02-29",
    "timestamptz": "2024-02-29 12:30:15",
    "uuid": "97033619637148748591279e78663470",
}


@pytest.mark.one_server
async def test_a_table_of_1500_columns(
    move: MakeMove, database: Database, make_sqlite: MakeSqlite, tmp_path: Path
) -> None:
    """Checked, copied, compared; a bad value and a tampered cell in the last columns are named."""
    kinds = [*RARE, *(list(KINDS)[place % len(KINDS)] for place in range(COLUMNS - len(RARE)))]
    await database.execute(
        "CREATE TABLE t (id int PRIMARY KEY, " + ", ".join(f"c{i} {kind}" for i, kind in enumerate(kinds)) + ")"
    )
    source = "CREATE TABLE t (id INTEGER PRIMARY KEY, " + ", ".join(f"c{i}" for i in range(COLUMNS)) + ")"
    values = [(KINDS | RARE)[kind] if place % 3 else None for place, kind in enumerate(kinds)]
    rows = [(i, *values) for i in range(20)]
    bad = (20, *("bad" if kind in {"int", "date"} else None for kind in kinds))
    make_sqlite(source, {"t": [*rows, bad]})
    findings = (await move().check()).findings
    assert len(findings) == kinds.count("int") + 1
    assert set(refusals(findings)) == {"20"}
    await asyncio.to_thread(move().source.unlink)
    make_sqlite(source, {"t": rows})
    await move().run()
    last = max(place for place, kind in enumerate(kinds) if kind == "text")
    await database.execute(f"UPDATE t SET c{last} = 'y' WHERE id = 7")
    file = tmp_path / "differences.ndjson"
    with pytest.raises(Mismatch):
        await verify.verify(move(differences=file).settings, Tracker())
    [line] = (await asyncio.to_thread(file.read_text, encoding="utf-8")).splitlines()
    assert (json.loads(line)["key"], json.loads(line)["column"]) == ({"id": "7"}, f"c{last}")


async def test_more_lanes_than_a_statement_has_columns(make_sqlite: MakeSqlite) -> None:
    """A table whose columns are each read in two ways is scanned in parts, and its rows stay together."""
    names = [f"c{i}" for i in range(COLUMNS)]
    source = Source(
        make_sqlite(
            f"CREATE TABLE t (id INTEGER, {', '.join(names)}); CREATE INDEX narrow ON t (c1499, id)",
            {"t": [(i, *(f"{i} {name}" for name in names[:-1]), -i) for i in range(100)]},
        )
    )
    [table] = (await source.describe()).tables
    scan_columns = [ScanColumn(f"{name} {more}", StorageClass.TEXT) for name in names[:-1] for more in ("", "|| 'x'")]
    scan_columns += [ScanColumn("c1499", StorageClass.INTEGER)]
    with source.session() as session:
        batches = list(session.scan(table, scan_columns, batch_rows=7, where="c1499 > -50"))
    await source.close()
    assert sum(map(len, batches)) == 50
    for batch in batches:
        first, last = batch.columns[0].to_pylist(), batch.columns[-1].to_pylist()
        assert first == [f"{-number} c0" for number in last]


async def test_a_wide_source_alone(make_sqlite: MakeSqlite, environment: pytest.MonkeyPatch) -> None:
    """``check`` without a target looks at every column too."""
    del environment
    names = ", ".join(f"c{i}" for i in range(COLUMNS))
    path = make_sqlite(
        f"CREATE TABLE t ({names})", {"t": [["a\0"] + [1] * (COLUMNS - 1), ["a"] + ["b"] * (COLUMNS - 1)]}
    )
    report = await check.check(Settings.load({"source_url": str(path), "source_only": True}), Tracker())
    assert len(report.findings) == COLUMNS
