"""The sample: what it holds, that it is whole, and that PostgreSQL could hold all of it."""

import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import closing
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest
from alembic.config import Config
from alembic.script import ScriptDirectory
from fix_dryad import Engines
from sqlalchemy import MetaData, Table, insert, select, text
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from migrator.demo.dryad import ALEMBIC_INI
from migrator.demo.dryad.models import Base
from migrator.demo.dryad.sample import generate, main
from migrator.engine import Settings, create_engine

LATER = {"conversations": "last_message_id", "branches": "parent_id"}
"""Columns that may refer to a row that comes later; they are filled in when all rows are there."""


@pytest.fixture(scope="module")
def sample(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Give a sample of scale 1; nobody may change it."""
    path = tmp_path_factory.mktemp("sample") / "dryad.db"
    generate(path)
    return path


@pytest.fixture
def connection(sample: Path) -> Iterator[sqlite3.Connection]:
    """Give a connection to the sample that can't change it."""
    with closing(sqlite3.connect(f"{sample.as_uri()}?mode=ro", uri=True)) as connection:
        yield connection


def fingerprint(path: Path) -> str:
    """Return a hash of all rows; Alembic makes a rebuilt table's indexes in another order each time."""
    digest = sha256()
    with closing(sqlite3.connect(path)) as connection:
        for statement in connection.iterdump():
            if statement.startswith("INSERT"):
                digest.update(statement.encode())
    return digest.hexdigest()


def same(left: object, right: object) -> bool:
    """Compare values, and numbers in JSON by their value: jsonb writes 1e22 as an integer."""
    match left, right:
        case dict(), dict():
            return left.keys() == right.keys() and all(same(left[key], right[key]) for key in left)
        case list(), list():
            return len(left) == len(right) and all(map(same, left, right))
        case float() | int(), float() | int():
            return left == right or float(left) == float(right)
        case _:
            return left == right


def test_scale_one_is_twenty_thousand_rows(connection: sqlite3.Connection) -> None:
    """At scale 1 there are about 20,000 rows, and every table has some."""
    counts = [connection.execute(f"SELECT count(*) FROM {table}").fetchone()[0] for table in Base.metadata.tables]
    assert len(counts) == 10
    assert all(counts)
    assert sum(counts) == pytest.approx(20_000, rel=0.01)


def test_the_counts_are_those_in_the_file(tmp_path: Path) -> None:
    """What generate returns is what a query counts, the row of the migration included."""
    path = tmp_path / "x.db"
    counts = generate(path, scale=0.01)
    assert counts.keys() == Base.metadata.tables.keys()
    with closing(sqlite3.connect(path)) as connection:
        for table, count in counts.items():
            assert connection.execute(f"SELECT count(*) FROM {table}").fetchone() == (count,)


def test_rows_grow_with_the_scale(tmp_path: Path) -> None:
    """Twice the scale is twice the rows, in the table with the most as in the one with the least."""
    small, large = (generate(tmp_path / f"{scale}.db", scale=scale) for scale in (0.2, 0.4))
    for table in ("messages", "groves"):
        assert large[table] == pytest.approx(2 * small[table], rel=0.1)


def test_a_seed_gives_always_the_same_rows(tmp_path: Path) -> None:
    """The same scale and seed give the same database, and another seed another one."""
    for name, seed in (("first", 7), ("second", 7), ("third", 8)):
        generate(tmp_path / name, scale=0.05, seed=seed)
    first, second, third = (fingerprint(tmp_path / name) for name in ("first", "second", "third"))
    assert first == second != third


def test_the_file_is_whole(connection: sqlite3.Connection) -> None:
    """Stamped with the newest revision, sound, and without a reference to nothing."""
    head = ScriptDirectory.from_config(Config(ALEMBIC_INI)).get_current_head()
    assert connection.execute("SELECT version_num FROM alembic_version").fetchall() == [(head,)]
    assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
    assert connection.execute("PRAGMA foreign_key_check").fetchall() == []


def test_no_column_is_forgotten(connection: sqlite3.Connection) -> None:
    """Every column of every table has a value somewhere, and a NULL somewhere if it may be NULL."""
    for table in Base.metadata.tables.values():
        for column in table.columns:
            query = f'SELECT count("{column.name}"), count(*) FROM "{table.name}"'
            values, rows = connection.execute(query).fetchone()
            assert values > 0, column
            assert (values < rows) is bool(column.nullable), column


@pytest.mark.parametrize(
    ("table", "condition"),
    [
        pytest.param("messages", "content = ''", id="empty text"),
        pytest.param("users", "display_name IS NULL", id="NULL beside it"),
        pytest.param("messages", "instr(content, char(9)) AND instr(content, 'tab')", id="tab"),
        pytest.param("messages", "instr(content, char(13, 10))", id="line ends"),
        pytest.param("messages", r"content = '\N'", id="the NULL of COPY"),
        pytest.param("messages", r"content = '\.'", id="the end of COPY"),
        pytest.param("messages", "instr(content, 'DROP TABLE')", id="quotes"),
        pytest.param("messages", "instr(content, char(0x202e))", id="right to left"),
        pytest.param("messages", "instr(content, 'e' || char(0x301))", id="combining"),
        pytest.param("messages", "instr(content, char(0x200d))", id="joined emoji"),
        pytest.param("messages", "instr(content, char(0x10ffff))", id="the last code point"),
        pytest.param("messages", "instr(content, '森') OR instr(content, '树')", id="CJK"),
        pytest.param("messages", "instr(content, char(1)) AND instr(content, char(0x7f))", id="control characters"),
        pytest.param("messages", "length(content) > 100000", id="long text"),
        pytest.param("conversations", "length(title) = 500 AND instr(title, '🌳')", id="full VARCHAR"),
        pytest.param("users", "date_of_birth = '0001-01-01'", id="first date"),
        pytest.param("users", "date_of_birth = '9999-12-31'", id="last date"),
        pytest.param("users", "last_login_at = '0001-01-01 00:00:00.000000'", id="first moment"),
        pytest.param("users", "last_login_at = '9999-12-31 23:59:59.999999'", id="last moment"),
        pytest.param("messages", "created_at LIKE '____-__-__ __:__:__.______'", id="microseconds"),
        pytest.param("messages", "created_at LIKE '____-__-__ __:__:__'", id="whole seconds"),
        pytest.param("groves", "seed = 9223372036854775807", id="largest integer"),
        pytest.param("groves", "seed = -9223372036854775808", id="smallest integer"),
        pytest.param("branches", "weight = 1e308", id="large double"),
        pytest.param("branches", "weight = 5e-324", id="smallest double"),
        pytest.param("branches", "weight = 0.1e0 + 0.2e0", id="inexact double"),
        pytest.param("branches", "weight = 9e999", id="infinity"),
        pytest.param("users", "credit < 0 AND typeof(credit) = 'real'", id="negative decimal"),
        pytest.param("users", "typeof(credit) = 'integer'", id="decimal that SQLite made an integer"),
        pytest.param("branches", "score = 999999.999999999", id="fifteen digits"),
        pytest.param("branches", "typeof(observation) = 'integer'", id="JSON that SQLite made an integer"),
        pytest.param("branches", "typeof(observation) = 'real'", id="JSON that SQLite made a double"),
        pytest.param("messages", "attachments = 'null'", id="null of JSON"),
        pytest.param("messages", "attachments IS NULL", id="no JSON"),
        pytest.param("users", r"preferences LIKE '%\u%'", id="escapes in JSON"),
        pytest.param("users", "preferences LIKE '%森%'", id="UTF-8 in JSON"),
        pytest.param("vessels", "state = x''", id="empty BLOB"),
        pytest.param("vessels", "state IS NULL", id="no BLOB"),
        pytest.param("document_chunks", "length(embedding) = 256", id="embedding"),
        pytest.param("branches", "parent_id > id", id="parent younger than its child"),
        pytest.param("messages", "id - 1 NOT IN (SELECT id FROM messages) AND id > 1", id="gap in the ids"),
        pytest.param("sqlite_sequence", "seq > (SELECT max(id) FROM messages)", id="sequence ahead of the rows"),
    ],
)
def test_what_breaks_careless_copies_is_there(connection: sqlite3.Connection, table: str, condition: str) -> None:
    """The sample holds the value."""
    assert connection.execute(f"SELECT count(*) FROM {table} WHERE {condition}").fetchone()[0] > 0


def test_json_is_valid(connection: sqlite3.Connection) -> None:
    """Every JSON value can be parsed, the numbers that SQLite made of some included."""
    for table, column in (
        ("users", "preferences"),
        ("conversations", "context"),
        ("messages", "attachments"),
        ("documents", "metadata"),
        ("groves", "settings"),
        ("branches", "observation"),
        ("vessels", "manifest"),
        ("dialogues", "parameters"),
        ("dialogue_messages", "tool_calls"),
    ):
        query = f"SELECT count(*) FROM {table} WHERE {column} IS NOT NULL AND NOT json_valid({column})"
        assert connection.execute(query).fetchone() == (0,), (table, column)


async def store(target: AsyncConnection, table: Table, rows: Sequence[dict[str, Any]]) -> None:
    """Insert the rows, without what refers to later ones."""
    later = LATER.get(table.name)
    await target.execute(insert(table), [{name: row[name] for name in row if name != later} for row in rows])


async def link(target: AsyncConnection, table: Table, rows: Sequence[dict[str, Any]]) -> None:
    """Fill in what refers to later rows."""
    later = LATER[table.name]
    # As text, for otherwise the models would date the change.
    statement = text(f"UPDATE {table.name} SET {later} = :later WHERE id = :key")
    await target.execute(statement, [{"key": row["id"], "later": row[later]} for row in rows])


async def read(engine: AsyncEngine, table: Table) -> list[dict[str, Any]]:
    """Return all rows as the application reads them."""
    async with engine.connect() as connection:
        return [dict(row) for row in (await connection.execute(select(table).order_by(*table.primary_key))).mappings()]


@pytest.mark.one_server
@pytest.mark.filterwarnings("ignore:Dialect sqlite:sqlalchemy.exc.SAWarning")
async def test_the_application_could_move_it_itself(dryads: Engines, tmp_path: Path) -> None:
    """What Dryad reads from the sample it can write to PostgreSQL, and reads the same from there."""
    generate(tmp_path / "sample.db", scale=0.2)
    _, postgres = dryads
    source = create_engine(Settings(DATABASE_URL=f"sqlite:///{tmp_path}/sample.db", DATABASE_URL_FILE=None))
    tables: MetaData = Base.metadata
    rows = {table.name: await read(source, table) for table in tables.sorted_tables}
    await source.dispose()
    async with postgres.begin() as target:
        await target.execute(tables.tables["users"].delete())  # the system account is among the rows
        for table in tables.sorted_tables:
            await store(target, table, rows[table.name])
        for name in LATER:
            await link(target, tables.tables[name], rows[name])
    for table in tables.sorted_tables:
        for expected, found in zip(rows[table.name], await read(postgres, table), strict=True):
            for name, value in expected.items():
                assert same(value, found[name]), (table.name, name, value, found[name])


def test_a_file_that_is_there_is_left_alone(tmp_path: Path) -> None:
    """Nobody's database is overwritten."""
    path = tmp_path / "x.db"
    path.write_bytes(b"somebody's")
    with pytest.raises(FileExistsError, match=r"x\.db"):
        generate(path)
    assert path.read_bytes() == b"somebody's"


@pytest.mark.parametrize("scale", [0, -1, float("nan")])
def test_a_scale_that_makes_no_sense_is_refused(tmp_path: Path, scale: float) -> None:
    """Nothing is written for a scale that isn't positive."""
    with pytest.raises(ValueError, match="more than 0"):
        generate(tmp_path / "x.db", scale)
    assert list(tmp_path.iterdir()) == []


def test_what_an_interrupted_run_left_is_replaced(tmp_path: Path) -> None:
    """The half-written file of an earlier run is no obstacle, and afterwards there is only the complete one."""
    (tmp_path / "x.db.partial").write_bytes(b"half of a database")
    generate(tmp_path / "x.db", scale=0.01)
    assert [path.name for path in tmp_path.iterdir()] == ["x.db"]


def test_the_command_says_what_it_wrote(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The command writes the file and prints a line for each table; a second time it refuses with exit code 2."""
    arguments = [str(tmp_path / "x.db"), "--scale", "0.01", "--seed", "3"]
    assert main(arguments) == 0
    assert [line.split()[0] for line in capsys.readouterr().out.splitlines()] == list(Base.metadata.tables)
    with pytest.raises(SystemExit) as caught:
        main(arguments)
    assert caught.value.code == 2
    assert "is there already" in capsys.readouterr().err
