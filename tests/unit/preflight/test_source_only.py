"""The source by itself: ``migrator check --source-only``."""

import json
from pathlib import Path

import pytest
from fix_job import Cli
from fix_sqlite import MakeSqlite

from migrator.findings.finding import Finding
from migrator.preflight.source_only import check_source_table
from migrator.source.database import Source
from migrator.types import ProblemCode, Severity


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
        found = check_source_table(session, table, 1 << 20)
    assert found.table_size.rows == 2
    notice = Severity.NOTICE
    mixed, reason = ProblemCode.MIXED_STORAGE_CLASSES, "is of several kinds: 1 INTEGER, 1 TEXT"
    assert set(found.findings) == {
        Finding("t", "mixed", 2, mixed, reason, severity=notice),
        Finding("t", "id", 1, ProblemCode.MISSING_IN_PRIMARY_KEY, "is missing in the primary key", severity=notice),
        Finding("t", "nul", 1, ProblemCode.CONTAINS_NUL, "holds a NUL character", severity=notice),
        Finding("t", "latin", 1, ProblemCode.INVALID_UTF8, "is not valid UTF-8", at_least=True, severity=notice),
        Finding("t", "p", 1, ProblemCode.ORPHAN, "refers to a row of p that isn't there", severity=notice),
    }
    assert not any(finding.refuses for finding in found.findings)


def test_the_command_alone(remarkable: Path, cli: Cli) -> None:
    """It needs no server, exits 0, gives the findings as JSON, and says that no target was looked at."""
    ended = cli("check", "--source", remarkable, "--source-only", "--format", "json")
    assert ended.code == 0
    told = json.loads(ended.stdout)
    assert len(told["findings"]) == 5
    assert told["against_target"] is False


@pytest.mark.parametrize("variables", [{}, {"DATABASE_URL": "postgresql://u:p@localhost/d"}])
def test_without_a_target_nothing_is_green(remarkable: Path, cli: Cli, variables: dict[str, str]) -> None:
    """Check looks at both ends; that it shall look at one is said and not guessed."""
    ended = cli("check", "--source", remarkable, variables=variables)
    assert ended.code == 2
    assert all(word in ended.failure["next_step"] for word in ("MIGRATOR_TARGET_URL", "--source-only"))


def test_the_source_alone_where_a_target_is_set(remarkable: Path, cli: Cli) -> None:
    """Who asks for the source alone gets it, whatever the environment has; the report says what was looked at."""
    nobody = "postgresql://u:p@127.0.0.1:1/d"
    ended = cli("check", "--source", remarkable, MIGRATOR_SOURCE_ONLY="true", MIGRATOR_TARGET_URL=nobody)
    assert ended.code == 0
    assert "only the source was checked, because of --source-only" in ended.stdout


def test_a_mistyped_target_is_no_check_of_the_source(remarkable: Path, cli: Cli) -> None:
    """The variable has no effect, and the one that is near is named."""
    ended = cli("check", "--source", remarkable, MIGRATOR_TARGTE_URL="postgresql://u:s3cret@h/d")
    assert ended.code == 2
    assert "MIGRATOR_TARGTE_URL is no setting (MIGRATOR_TARGET_URL is near)" in ended.message
    assert "s3cret" not in ended.stderr


def test_a_damaged_file(make_sqlite: MakeSqlite, cli: Cli) -> None:
    """It exits 3 and names the file."""
    rows = [(i, "x" * 500) for i in range(2000)]
    path = make_sqlite("CREATE TABLE t (id INTEGER PRIMARY KEY, v TEXT)", {"t": rows})
    with path.open("r+b") as file:
        file.seek(4096 * 20)
        file.write(b"\xff" * 4096 * 3)
    ended = cli("check", "--source", path, "--source-only")
    assert ended.code == 3
    assert str(path) in ended.message
