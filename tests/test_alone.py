"""The source by itself: ``migrator check`` without a target."""

import json
from pathlib import Path

import pytest
from fix_job import Cli
from fix_sqlite import MakeSqlite

from migrator.alone import survey_alone
from migrator.findings import Finding
from migrator.source import Source


@pytest.fixture
def remarkable(make_sqlite: MakeSqlite) -> Path:
    """Give a file with something to say about every kind of remark."""
    return make_sqlite(
        "CREATE TABLE p (id INTEGER PRIMARY KEY);"
        "CREATE TABLE t (id TEXT PRIMARY KEY, mixed, nul TEXT, latin TEXT, p INTEGER REFERENCES p);"
        "INSERT INTO t VALUES (NULL, 1, 'a' || char(0), CAST(x'e9' AS TEXT), 7);"
        "INSERT INTO t VALUES ('a', 'one', 'fine', 'fine', NULL);"
    )


async def test_what_is_remarkable(remarkable: Path) -> None:
    """Several storage classes, a NULL key, NUL, broken text, and orphans; nothing of it refuses."""
    source = Source(remarkable)
    [_, table] = (await source.describe()).tables
    await source.close()
    with source.session() as session:
        found = survey_alone(session, table, 1 << 20)
    assert found.profile.rows == 2
    assert set(found.findings) == {
        Finding("t", "mixed", 2, "is of several kinds: 1 INTEGER, 1 TEXT", refuses=False),
        Finding("t", "id", 1, "is missing in the primary key", refuses=False),
        Finding("t", "nul", 1, "holds a NUL character", refuses=False),
        Finding("t", "latin", 1, "is not valid UTF-8", at_least=True, refuses=False),
        Finding("t", "p", 1, "refers to a row of p that isn't there", refuses=False),
    }


def test_the_command_without_a_target(remarkable: Path, cli: Cli) -> None:
    """It needs no server, exits 0, and gives the findings as JSON."""
    ended = cli("check", "--source", remarkable, "--format", "json")
    assert ended.code == 0
    assert len(json.loads(ended.stdout)["findings"]) == 5


def test_a_damaged_file(make_sqlite: MakeSqlite, cli: Cli) -> None:
    """It exits 3 and names the file."""
    rows = [(i, "x" * 500) for i in range(2000)]
    path = make_sqlite("CREATE TABLE t (id INTEGER PRIMARY KEY, v TEXT)", {"t": rows})
    with path.open("r+b") as file:
        file.seek(4096 * 20)
        file.write(b"\xff" * 4096 * 3)
    ended = cli("check", "--source", path)
    assert ended.code == 3
    assert str(path) in ended.message
