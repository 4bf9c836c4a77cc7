"""DuckDB's own reading of a table: equal to the dry run's in every row, or not used."""

import math
import sqlite3
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import pytest
from fix_job import settings_of
from fix_postgres import Database
from msgspec.structs import replace
from type_probes import PROBES

from migrator.planning.matching import make_plan
from migrator.planning.plan import TablePlan
from migrator.preflight.dry_run import dry_run, prepare
from migrator.preflight.quick.stored_rows import SourceFile, digest_of_stored, leaves_no_room
from migrator.preflight.table_check import measure_tables
from migrator.source.database import Source
from migrator.target.database import Target
from migrator.verification.digest import Digest

pytestmark = pytest.mark.one_server

BATCH_BYTES = 1 << 20
TYPES = {
    "smallint": ("SMALLINT", 7),
    "integer": ("INTEGER", 7),
    "bigint": ("BIGINT", 7),
    "boolean": ("BOOLEAN", 1),
    "real": ("FLOAT", 0.5),
    "double precision": ("DOUBLE", 0.1),
    "numeric(12, 2)": ("NUMERIC(12, 2)", 12.5),
    "numeric(15, 15)": ("DECIMAL(15, 15)", 0.125),
    "text": ("TEXT", "ä"),
    "varchar(30)": ("VARCHAR(30)", "ä"),
    "char(5)": ("CHAR(5)", "ä"),
    "name": ("CLOB", "ä"),
    "uuid": ("CHAR(36)", "97033619-6371-4874-8591-279e78663470"),
    "bytea": ("BLOB", b"\0"),
}
"""Types that DuckDB may read, each with a declaration in SQLite and with a value that is usual for it."""
OTHERS = {
    "timestamp": ("DATETIME", "2024-02-29 12:34:56"),
    "date": ("DATE", "2024-02-29"),
    "jsonb": ("JSON", '{"a": 1}'),
    "bigint": ("NUMERIC", 7),
    "text": ("STRING", 7),
    "double precision": ("", 0.1),
    "bytea": ("TEXT", b"\0"),
}
"""Declarations that DuckDB reads in another way than the driver does."""
STRAYS: list[object] = [
    *PROBES["INTEGER"].values(),
    *PROBES["REAL"].values(),
    *(PROBES["TEXT"][name] for name in ("empty", "number", "word", "long", "nul", "latin", "date")),
    *PROBES["BLOB"].values(),
    2**15,
    2**31,
    2**53 + 1,
    -(2**63),
    float(2**53 + 2),
    0.1 + 0.2,
    12.345,
    1e-300,
    -0.0,
    1e300,
    -math.inf,
    "x" * 31,
    "ä" * 30 + "é",
    "007",
    "97033619-6371-4874-8591-279E78663470",
    "97033619637148748591279e78663470",
    "97033619-6371-4874-8591-279e7866347g",
    "97-033619637148748591279e78663470",
    b"97033619-6371-4874-8591-279e78663470",
    b"\xff\xfe",
    None,
]


@dataclass(frozen=True, slots=True)
class Files:
    """The file, the target, and what is read."""

    path: Path
    database: Database

    def make(self, script: str, rows: Sequence[tuple[object, ...]]) -> None:
        """Make the file with its table, filled by rows; a pair of a type and bytes is cast to that type."""
        self.path.unlink(missing_ok=True)
        with closing(sqlite3.connect(self.path)) as connection:
            connection.executescript(script)
            for row in rows:
                cells = ", ".join(f"CAST(? AS {cell[0]})" if isinstance(cell, tuple) else "?" for cell in row)
                values = [cell[1] if isinstance(cell, tuple) else cell for cell in row]
                connection.execute(f"INSERT INTO t VALUES ({cells})", values)
            connection.commit()

    async def table(self) -> TablePlan:
        """Return the plan of the table ``t``."""
        source, target = Source(self.path), Target(settings_of(self.path, self.database).target)
        async with target.connect() as connection:
            described = await target.describe(connection, "public")
        [table] = make_plan(await source.describe(), described).tables
        await source.close()
        await target.close()
        return table

    def digests(self, table: TablePlan) -> tuple[Digest | None, Digest | None]:
        """Return the digest of DuckDB's reading, and the dry run's; None where a value may not be carried."""
        with Source(self.path).session() as session:
            [size] = measure_tables(session, [table])
            [known] = dry_run(session, [(table, size)], BATCH_BYTES)
            comparison = prepare(session, table, size, BATCH_BYTES)
            assert comparison
            quick = None
            if leaves_no_room(table.fast, size, BATCH_BYTES):
                quick = digest_of_stored(SourceFile(self.path, 2), session, table.fast, comparison)
        return quick, known.digest if known else None


@pytest.fixture
def files(sqlite_file: Path, database: Database) -> Files:
    """Give the file's path and the target."""
    return Files(sqlite_file, database)


@pytest.mark.parametrize("declared", TYPES)
async def test_whatever_is_proved_is_carried_and_digested_as_the_driver_reads_it(files: Files, declared: str) -> None:
    """Each value of each storage class, wherever it stands; and the usual ones are proved, or nothing is gained."""
    in_source, usual = TYPES[declared]
    await files.database.execute(f"CREATE TABLE t (id bigint PRIMARY KEY, v {declared})")
    definition = f"CREATE TABLE t (id INTEGER PRIMARY KEY, v {in_source})"
    files.make(definition, [(1, usual), (2, None), (3, usual)])
    table = await files.table()
    quick, driver = files.digests(table)
    assert quick == driver is not None
    proved = 0
    for number, stray in enumerate(STRAYS):
        files.make(definition, [(1, stray), (2, usual)] if number % 2 else [(1, usual), (2, stray)])
        quick, driver = files.digests(table)
        assert quick in {None, driver}, (declared, stray)
        proved += quick is not None
    assert proved


@pytest.mark.parametrize("declared", OTHERS)
async def test_another_declaration_is_left_to_the_driver(files: Files, declared: str) -> None:
    """DuckDB would parse the value, or cast it."""
    in_source, usual = OTHERS[declared]
    await files.database.execute(f"CREATE TABLE t (id bigint PRIMARY KEY, v {declared})")
    files.make(f"CREATE TABLE t (id INTEGER PRIMARY KEY, v {in_source})", [(1, usual), (2, usual)])
    quick, _driver = files.digests(await files.table())
    assert quick is None


SHAPES: dict[str, tuple[str, list[tuple[object, ...]], bool | None]] = {
    "largest rowid that DuckDB's reader loses": ("(id INTEGER PRIMARY KEY, v TEXT)", [(1, "a"), (122_880, "b")], None),
    "one row": ("(id INTEGER PRIMARY KEY, v TEXT)", [(5, "a")], True),
    "below zero": ("(id INTEGER PRIMARY KEY, v TEXT)", [(-5, "a"), (-1, "b"), (7, "c")], True),
    "far apart": ("(id INTEGER PRIMARY KEY, v TEXT)", [(1, "a"), (2**62, "b"), (2**63 - 1, "c")], True),
    "a default that isn't DuckDB's": ("(id INTEGER PRIMARY KEY, v TEXT DEFAULT (datetime('now')))", [(1, "a")], True),
    "no key": ("(id BIGINT, v TEXT)", [(1, "a"), (1, "a")], True),
    "a column of that name": ('("rowid" INTEGER, id INTEGER PRIMARY KEY, v TEXT)', [(0, 1, "a"), (0, 2, "b")], None),
    "without rowid": ("(id INTEGER PRIMARY KEY, v TEXT) WITHOUT ROWID", [(1, "a"), (2, "b")], None),
    "an index with all values": ("(id INTEGER PRIMARY KEY, v TEXT); CREATE INDEX i ON t (v)", [(1, "a")], None),
    "strict": ("(id INTEGER PRIMARY KEY, v TEXT) STRICT", [(1, "a"), (2, None)], True),
    "in UTF-16": ("(id INTEGER PRIMARY KEY, v TEXT)", [(1, "ä"), (2, "b")], None),
}


@pytest.mark.parametrize("shape", SHAPES)
async def test_shapes_of_tables(files: Files, shape: str) -> None:
    """Where DuckDB would lose a row or read another, it isn't believed; everywhere else it finds the same digest."""
    definition, rows, is_quick = SHAPES[shape]
    encoding = "PRAGMA encoding = 'UTF-16le'; " if shape == "in UTF-16" else ""
    await files.database.execute('CREATE TABLE t (id bigint, v text, "rowid" bigint)')
    files.make(f"{encoding}CREATE TABLE t {definition}", rows)
    quick, driver = files.digests(await files.table())
    assert driver is not None
    assert driver.rows == len(rows)
    assert quick == (driver if is_quick else None)


async def test_a_part_of_the_rows_or_a_wide_row_is_left_to_the_driver(files: Files) -> None:
    """DuckDB's reader takes no condition, and holds 2,048 rows however wide they are."""
    await files.database.execute("CREATE TABLE t (id bigint, v text)")
    files.make("CREATE TABLE t (id INTEGER PRIMARY KEY, v TEXT)", [(1, "a"), (2, "b")])
    table = await files.table()
    part = replace(table, source=replace(table.source, selection=replace(table.source.selection, where="id > 1")))
    quick, driver = files.digests(part)
    assert (quick, driver and driver.rows) == (None, 1)
    files.make("CREATE TABLE t (id INTEGER PRIMARY KEY, v TEXT)", [(1, "a" * 2_000), (2, "b" * 3_000)])
    assert files.digests(table)[0] is None


async def test_a_damaged_file_is_left_to_the_driver_and_leaves_duckdb_in_order(files: Files) -> None:
    """The driver tells what is wrong; the next table is read as if nothing had been."""
    await files.database.execute("CREATE TABLE t (id bigint, v text)")
    rows = [(n, f"text {n}" * 9) for n in range(3_000)]
    files.make("CREATE TABLE t (id INTEGER PRIMARY KEY, v TEXT)", rows)
    table = await files.table()
    sound = files.path.read_bytes()
    with Source(files.path).session() as session:
        [size] = measure_tables(session, [table])
        comparison = prepare(session, table, size, BATCH_BYTES)
        assert comparison
        damaged = bytearray(sound)
        damaged[20 * 4096 : 21 * 4096] = b"\xff" * 4096
        files.path.write_bytes(damaged)
        assert digest_of_stored(SourceFile(files.path, 2), session, table.fast, comparison) is None
    files.path.write_bytes(sound)
    quick, driver = files.digests(table)
    assert quick == driver is not None
