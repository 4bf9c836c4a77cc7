"""Many small tables: what the server is asked for each of them."""

import re
from collections.abc import Iterator
from pathlib import Path

import asyncpg
import pytest
from fix_job import Cli
from fix_postgres import quick_server
from fix_sqlite import MakeSqlite

from migrator.demo.server import EmbeddedServer

FEW, MANY = 40, 120


@pytest.fixture(scope="module")
def telling() -> Iterator[EmbeddedServer]:
    """Give a server that logs every statement."""
    with quick_server(log_statement="all") as server:
        yield server


async def statements(server: EmbeddedServer, source: Path, cli: Cli, tables: int) -> int:
    """Move so many tables, and return how many statements the server was given for that."""
    database = f"small_{tables}"
    server.create_database(database, "postgres")
    made = "".join(f"CREATE TABLE t{n} (id bigint PRIMARY KEY, v text);" for n in range(tables))
    connection = await asyncpg.connect(server.url(database))
    await connection.execute(made)
    await connection.close()
    before = server.log_file.stat().st_size
    ended = cli("run", "--source-url", source, "--target-url", server.url(database), "--schema", "existing")
    assert ended.code == 0, ended.stderr[-3000:]
    told = server.log_file.read_bytes()[before:].decode(errors="replace")
    return len(re.findall(r"LOG: +(?:statement|execute [^:]+):", told))


async def test_a_further_small_table_is_its_copy_and_hardly_anything_else(
    telling: EmbeddedServer, make_sqlite: MakeSqlite, cli: Cli, tmp_path: Path
) -> None:
    """A COPY for each table; all that the ledger and the catalogs are asked is asked for many tables at once."""

    def source(tables: int) -> Path:
        script = "".join(f"CREATE TABLE t{n} (id INTEGER PRIMARY KEY, v TEXT);" for n in range(tables))
        return make_sqlite(script, {f"t{n}": [(1, "a"), (2, "b")] for n in range(tables)}, file=tmp_path / f"{tables}")

    few, many = [await statements(telling, source(tables), cli, tables) for tables in (FEW, MANY)]
    assert many >= MANY, "each table has a COPY of its own"
    assert (many - few) / (MANY - FEW) < 3
