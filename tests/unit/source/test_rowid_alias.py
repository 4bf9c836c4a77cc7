"""Which primary keys are the rowid itself."""

import pytest
from fix_sqlite import MakeSqlite

from migrator.source.database import Source


@pytest.mark.parametrize(
    ("columns", "alias"),
    [
        ("id INTEGER PRIMARY KEY, v", "id"),
        ("id integer PRIMARY KEY AUTOINCREMENT", "id"),
        ("v, id INTEGER, PRIMARY KEY (id)", "id"),
        ("id INTEGER, PRIMARY KEY (id DESC)", "id"),
        ("id INTEGER PRIMARY KEY DESC, v", None),
        ("id INT PRIMARY KEY", None),
        ("a INTEGER, b INTEGER, PRIMARY KEY (a, b)", None),
        ("id INTEGER", None),
    ],
)
async def test_the_rowid_itself(columns: str, alias: str | None, make_sqlite: MakeSqlite) -> None:
    """It is the one that takes over what is written to the rowid (SQLite, "CREATE TABLE", 5)."""
    path = make_sqlite(f"CREATE TABLE t ({columns}); INSERT INTO t (rowid) VALUES (7);")
    source = Source(path)
    try:
        [table] = (await source.describe()).tables
        with source.session() as session:
            [row] = session.ask("SELECT * FROM t")
    finally:
        await source.close()
    assert (table.rowid_alias.name if table.rowid_alias else None) == alias
    assert [name for name, value in dict(row).items() if value == 7] == ([alias] if alias else [])
