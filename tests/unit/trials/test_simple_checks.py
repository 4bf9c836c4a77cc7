"""CHECKs that SQLite judges by: as PostgreSQL does, or not at all."""

import pytest
from fix_postgres import Database
from fix_sqlite import MakeSqlite
from fix_values import MakeMove

from migrator.trials import server_check, simple_checks

SIMPLE = [
    "v >= 0",
    "v > -2 AND v <= 2",
    "v BETWEEN -1 AND 2",
    "NOT (v = 3 OR v <> 0) OR v IS NULL",
    "w >= 0 AND w < 0.5 OR w IS NULL",
    "v IS NOT NULL",
    '"V w" = v OR v < 1',
]
NOT_SIMPLE = ["v % 2 = 0", "v > 1.5", "abs(v) > 1", "t <> 'a'", "v IS DISTINCT FROM 3", "v = ANY (ARRAY[1, 2])"]
TARGET = 'CREATE TABLE t (id int PRIMARY KEY, v bigint, w double precision, t text, "V w" bigint'
ROWS = [
    (1, -5, 1.0, "a", 1),
    (2, -1, 0.25, "b", None),
    (3, 0, 0.25, "b", 7),
    (4, 1, -0.5, "", 7),
    (5, 2, None, None, 7),
    (6, 3, 0.5, "c", 7),
    (7, 2**62, 0.0, "c", 7),
    (8, None, 0.1, "c", None),
]


@pytest.mark.one_server
@pytest.mark.parametrize("check", [*SIMPLE, *NOT_SIMPLE])
async def test_as_postgresql_judges(
    move: MakeMove, database: Database, make_sqlite: MakeSqlite, monkeypatch: pytest.MonkeyPatch, check: str
) -> None:
    """The same rows are named whether SQLite is asked or the server; and SQLite is, just where it can be."""
    make_sqlite('CREATE TABLE t (id INTEGER PRIMARY KEY, v, w, t, "V w")', {"t": ROWS})
    await database.execute(f"{TARGET}, CONSTRAINT c CHECK ({check}))")
    translated = []

    def noted(*given: object) -> str | None:
        translated.append(simple_checks.broken_when(*given))  # type: ignore[arg-type]
        return translated[-1]

    monkeypatch.setattr(server_check, "broken_when", noted)
    asked = [(one.rows, one.examples) for one in (await move().check()).findings if "constraint c" in one.reason]
    assert [one is not None for one in translated] == [check in SIMPLE]
    monkeypatch.setattr(server_check, "broken_when", lambda *_given: None)
    tried = [(one.rows, one.examples) for one in (await move().check()).findings if "constraint c" in one.reason]
    assert asked == tried
    assert asked
