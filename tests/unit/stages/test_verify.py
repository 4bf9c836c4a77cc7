"""Stage verify: a tampered cell is named, and so is a schema that isn't as it was."""

import asyncio
import json
import re
import sqlite3
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from fix_job import settings_of
from fix_postgres import Database
from structlog.testing import capture_logs

from migrator.config.settings import Settings
from migrator.errors import Mismatch
from migrator.job import migrate, run, verify
from migrator.monitoring.tracker import Tracker
from migrator.stages.analyze import analyze

ROWS = 100_000


@dataclass(frozen=True, slots=True)
class Kind:
    """A column of the table that has all types."""

    declared: str
    stored: str
    """SQL for SQLite: the value of row ``i``."""
    tampered: str
    """SQL for PostgreSQL: what the tampered cell becomes, where ``v`` is the column."""


KINDS = {
    "c_bool": Kind("boolean", "i % 2", "NOT v"),
    "c_int2": Kind("smallint", "i % 30000", "v + 1"),
    "c_int4": Kind("integer", "i * 7", "v + 1"),
    "c_int8": Kind("bigint", "i * 70000000000", "v + 1"),
    "c_float4": Kind("real", "i / 4.0", "v + 0.25"),
    "c_float8": Kind("double precision", "i / 7.0", "v * (1 + 2.3e-16)"),
    "c_zero": Kind("double precision", "0.0", "'-0'"),
    "c_numeric": Kind("numeric(12,2)", "i / 4.0", "v + 0.01"),
    "c_decimal": Kind("numeric", "i || '.12345678901234567890'", "v + 0.00000000000000000001"),
    "c_text": Kind("text", "'text ' || i", "v || ' '"),
    "c_empty": Kind("text", "''", "NULL"),
    "c_varchar": Kind("varchar(20)", "'v' || i", "upper(v)"),
    "c_char": Kind("char(20)", "'c' || i", "' ' || v"),
    "c_bytea": Kind("bytea", "CAST('b' || i AS BLOB)", "set_bit(v, 1, 1 - get_bit(v, 1))"),
    "c_date": Kind("date", "date('2000-01-01', (i % 9000) || ' days')", "v + 1"),
    "c_time": Kind("time", "time(i, 'unixepoch')", "v + interval '1 microsecond'"),
    "c_timestamp": Kind("timestamp", "datetime(i * 1000, 'unixepoch')", "v + interval '1 microsecond'"),
    "c_timestamptz": Kind("timestamptz", "datetime(i * 1000, 'unixepoch') || '+02:00'", "v + interval '1 microsecond'"),
    "c_interval": Kind("interval", "i || ' seconds'", "v + interval '1 microsecond'"),
    "c_json": Kind("json", "json_object('a', i)", "(v::text || ' ')::json"),
    "c_jsonb": Kind("jsonb", "json_object('b', i, 'a', json_array(1.5, null))", "jsonb_set(v, '{a,1}', 'false')"),
    "c_uuid": Kind("uuid", "printf('%032x', i)", "(left(v::text, 35) || 'f')::uuid"),
    "c_enum": Kind("mood", "iif(i % 2, 'glad', 'so-so')", "(CASE v WHEN 'glad' THEN 'so-so' ELSE 'glad' END)::mood"),
    "c_domain": Kind("positive", "i", "v + 1"),
    "c_ints": Kind("int[]", "'{' || i || ',2}'", "v || NULL::int"),
    "c_inet": Kind("inet", "printf('10.%d.%d.%d', i / 65536, i / 256 % 256, i % 256)", "v + 1"),
    "c_range": Kind("int4range", "'[' || i || ',' || (i + 5) || ')'", "int4range(lower(v), upper(v) + 1)"),
    "c_bit": Kind("bit(4)", "'0101'", "~v"),
    "c_null": Kind("text", "NULL", "''"),
}  # fmt: skip
TAMPERED_ROW = 77_778


def everything(path: Path) -> Path:
    """Make a SQLite file with a table of all types, and one that has no key and holds twins."""
    columns = ", ".join(f"{name}" for name in KINDS)
    values = ", ".join(f"{kind.stored} AS {name}" for name, kind in KINDS.items())
    with closing(sqlite3.connect(path)) as connection:
        connection.executescript(f"""
            CREATE TABLE everything (id INTEGER PRIMARY KEY, {columns});
            WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < {ROWS})
            INSERT INTO everything SELECT i, {values} FROM n;
            CREATE TABLE keyless (a, b);
            INSERT INTO keyless SELECT id % 1000, 'x' FROM everything;
        """)
    return path


TARGET = (
    "CREATE TYPE mood AS ENUM ('glad', 'so-so'); CREATE DOMAIN positive AS int CHECK (VALUE > 0); "
    "CREATE TABLE everything (id int PRIMARY KEY, "
    + ", ".join(f"{name} {kind.declared}" for name, kind in KINDS.items())
    + "); CREATE TABLE keyless (a int, b text)"
)

# What is done to whole rows, and what has to be said.
ROW_DAMAGES = {
    "DELETE FROM everything WHERE id = 5": ("missing in target", "public.everything", {"id": "5"}),
    "INSERT INTO everything (id) VALUES (200000)": ("extra in target", "public.everything", {"id": "200000"}),
    "INSERT INTO keyless VALUES (7, 'x')": ("extra in target", "public.keyless", {"a": "7", "b": "x"}),
    "UPDATE keyless SET b = 'y' WHERE ctid = (SELECT max(ctid) FROM keyless WHERE a = 8)": (
        *("missing in target", "public.keyless", {"a": "8", "b": "x"}),
        *("extra in target", "public.keyless", {"a": "8", "b": "y"}),
    ),
}


@pytest.mark.one_server
async def test_a_tampered_cell_among_100000_rows_is_named(database: Database, tmp_path: Path) -> None:
    """For every type one cell is changed after a verified copy: verify names table, key and column, nothing else."""
    file = tmp_path / "differences.ndjson"
    settings = settings_of(everything(tmp_path / "s.db"), database, differences=file, batch_bytes=1 << 20)
    await database.execute(TARGET)
    await run.run(settings, Tracker())
    # All at once, each in a row of its own: one look says of each what it is.
    rows = {name: TAMPERED_ROW + 100 * place for place, name in enumerate(KINDS)}
    for name, kind in KINDS.items():
        changed = re.sub(r"\bv\b", name, kind.tampered)
        await database.execute(f"UPDATE everything SET {name} = {changed} WHERE id = {rows[name]}")
    for statement in ROW_DAMAGES:
        await database.execute(statement)
    lines = await told(settings, file)
    cells = [line for line in lines if "column" in line]
    assert {(line["table"], line["key"]["id"], line["column"]) for line in cells} == {
        ("public.everything", str(row), name) for name, row in rows.items()
    }
    assert len(cells) == len(KINDS)
    assert all(line["kind"] == "different" and line["source"] != line["target"] for line in cells)
    wanted = [damage[at : at + 3] for damage in ROW_DAMAGES.values() for at in range(0, len(damage), 3)]
    whole = [(line["kind"], line["table"], line["key"]) for line in lines if "column" not in line]
    assert sorted(whole, key=str) == sorted(wanted, key=str)


async def told(settings: Settings, file: Path) -> list[dict[str, Any]]:
    """Run ``migrator verify``, which must end in exit code 1, and return the file of differences."""
    with pytest.raises(Mismatch) as caught:
        await verify.verify(settings, Tracker())
    assert caught.value.exit_code == 1
    written = await asyncio.to_thread(file.read_text, encoding="utf-8")
    lines = [json.loads(line) for line in written.removesuffix("\n").split("\n")]
    assert caught.value.facts["tables"] == sorted({line["table"] for line in lines})
    return lines


SMALL = "CREATE TABLE t (id INTEGER PRIMARY KEY, at TEXT, zoned TEXT, price, day TEXT, flag INTEGER, name TEXT)"
SMALL_ROWS = [
    (
        i,
        f"2024-02-{i % 28 + 1:02} 12:30:15.{i:06}",
        f"2024-02-29 12:30:15.{i:06}+02:00",
        i / 4,
        "2024-02-29",
        i % 2,
        f" {i} ",
    )
    for i in range(1, 200)
]


def small(path: Path) -> Path:
    """Make a SQLite file with a small table."""
    with closing(sqlite3.connect(path)) as connection:
        connection.execute(SMALL)
        connection.executemany("INSERT INTO t VALUES (?, ?, ?, ?, ?, ?, ?)", SMALL_ROWS)
        connection.commit()
    return path


SCHEMA = """
    CREATE TABLE t (id serial PRIMARY KEY, at timestamp, zoned timestamptz, price numeric(12,2) DEFAULT 0, day date,
                    flag boolean NOT NULL, name text, CONSTRAINT dear CHECK (price < 1000));
    CREATE INDEX by_name ON t (lower(name)) WHERE flag;
    CREATE FUNCTION nothing() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NULL; END';
    CREATE TRIGGER after_all AFTER INSERT ON t FOR EACH STATEMENT EXECUTE FUNCTION nothing()
"""

# What happens to the schema between the schema stage and verification, and the beginning of what is said about it.
SCHEMA_DAMAGES = {
    "DROP INDEX by_name": "index by_name of public.t is missing",
    "ALTER TABLE t DROP CONSTRAINT dear": "constraint dear of public.t is missing",
    "ALTER TABLE t ALTER price DROP DEFAULT": "column public.t.price was",
    "ALTER TABLE t ALTER flag DROP NOT NULL": "column public.t.flag was",
    "ALTER TABLE t DISABLE TRIGGER after_all": "trigger after_all of public.t was",
    "ALTER TABLE t SET UNLOGGED": "table public.t was",
    "ALTER SEQUENCE t_id_seq INCREMENT 2": "sequence public.t_id_seq was",
    "SELECT setval('t_id_seq', 7)": "sequence public.t_id_seq gives 8 next, public.t.id has 199",
}


@pytest.mark.one_server
@pytest.mark.parametrize("damage", SCHEMA_DAMAGES)
async def test_a_schema_that_is_not_as_it_was_is_named(
    database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, damage: str
) -> None:
    """Keys, indexes, defaults, triggers and sequences must be what they were after the schema stage."""

    async def damaged(*arguments: Any) -> None:  # noqa: ANN401 - passed on
        await analyze(*arguments)
        await database.execute(damage)

    monkeypatch.setattr(migrate, "analyze", damaged)
    await database.execute(SCHEMA)
    with pytest.raises(Mismatch) as caught, capture_logs() as events:
        await run.run(settings_of(small(tmp_path / "s.db"), database, in_turn=True), Tracker())
    lines = caught.value.facts["schema"]
    assert isinstance(lines, list)
    assert any(line.startswith(SCHEMA_DAMAGES[damage]) for line in lines)
    assert caught.value.facts["tables"] == []
    assert "schema.differs" in [event["event"] for event in events]


async def test_what_the_job_takes_away_and_brings_back_is_no_difference(database: Database, tmp_path: Path) -> None:
    """An undisturbed run leaves the schema as it was, and verify alone finds the sequences beyond their columns."""
    await database.execute(SCHEMA)
    settings = settings_of(small(tmp_path / "s.db"), database)
    await run.run(settings, Tracker())
    await verify.verify(settings, Tracker())
    await database.execute("SELECT setval('t_id_seq', 198)")
    with pytest.raises(Mismatch, match=r"sequence public\.t_id_seq gives 199 next"):
        await verify.verify(settings, Tracker())


@pytest.mark.one_server
async def test_a_file_that_cannot_be_written_hides_no_difference(database: Database, tmp_path: Path) -> None:
    """The outcome stands, and a warning says why the file is not there; masked, no value is told anywhere."""
    await database.execute(SCHEMA)
    path = small(tmp_path / "s.db")
    await run.run(settings_of(path, database), Tracker())
    await database.execute("UPDATE t SET name = 'secret' WHERE id = 7")
    settings = settings_of(path, database, differences=tmp_path / "no" / "where", mask_values=True)
    with pytest.raises(Mismatch) as caught, capture_logs() as events:
        await verify.verify(settings, Tracker())
    assert "warning.report" in [event["event"] for event in events]
    assert "secret" not in f"{caught.value} {caught.value.facts} {events}"
    assert "'7'" in str(caught.value)
