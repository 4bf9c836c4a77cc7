"""What a schema is besides its rows, table by table."""

import pytest
from fix_postgres import Database

from migrator.catalog import inventory
from migrator.names import TableName
from migrator.sessions.url import from_url
from migrator.target.database import Target


@pytest.mark.one_server
@pytest.mark.parametrize("name", ["plain", "Ace of Base", 'a "quoted" of b'])
async def test_the_lines_about_one_table(database: Database, name: str) -> None:
    """Its constraints and indexes, and nobody else's, whatever it is called."""
    table, other = TableName("public", name), TableName("public", "Base")
    for one in (table, other):
        await database.execute(f"CREATE TABLE {one.quoted} (id int PRIMARY KEY, t text)")
        await database.execute(f"CREATE INDEX ON {one.quoted} (t)")
    target = Target(from_url(database.url, {}))
    async with target.connect() as connection:
        found = await inventory.of_tables(connection, await inventory.describe(connection, "public"), [table])
    assert sum(line.startswith("index ") for line in found) == 2
    assert any(line.startswith("constraint ") for line in found)
    spelled = "public.plain" if name == "plain" else f"public.{table.quoted.partition('.')[2]}"
    assert all(line.endswith(f" of {spelled}") for line in found)
