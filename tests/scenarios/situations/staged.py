"""Situations brought about: the source's file in the state that its journal is in, and the target around it."""

import os
import shutil
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path
from urllib.parse import quote

from situations.drawn import Situation, Table
from situations.kinds import KINDS, Stored

AUDIT = "audit_of_triggers"
EXTRA = "somebody's own"
ELSEWHERE = "elsewhere"


def quoted(name: str) -> str:
    """Return an identifier as both databases write it."""
    return '"' + name.replace('"', '""') + '"'


def literal(text: str) -> str:
    """Return a text as both databases write it."""
    return "'" + text.replace("'", "''") + "'"


# --- The source ---


def make_source(situation: Situation, folder: Path) -> Path:
    """Make the file with all rows, its journal as the situation has it, and return its path."""
    path = folder / situation.file
    with closing(sqlite3.connect(path)) as connection:
        connection.execute(f"PRAGMA encoding = '{situation.encoding}'")
        wal = situation.journal.startswith("wal")
        connection.execute(f"PRAGMA journal_mode = {'wal' if wal else 'delete'}")
        for table in situation.tables:
            connection.execute(_source_table(table))
            marks = ", ".join("?" * (len(table.columns) + 1 + (table.key == "composite")))
            rows = [_with_part(table, row) for row in table.rows]
            connection.executemany(f"INSERT INTO {quoted(table.name)} VALUES ({marks})", rows)
        connection.commit()
    if situation.journal == "wal left":
        _leave_in_log(situation, path)
    if situation.journal == "hot":
        _leave_hot(situation, path)
    return path


def source_argument(situation: Situation, path: Path) -> str:
    """Return what the command is told of the file."""
    return f"sqlite:///{quote(str(path))}" if situation.as_url else str(path)


def _source_table(table: Table) -> str:
    key = {
        "integer": "id INTEGER PRIMARY KEY",
        "autoincrement": "id INTEGER PRIMARY KEY AUTOINCREMENT",
        "text": "id TEXT PRIMARY KEY",
        "without rowid": "id INTEGER NOT NULL PRIMARY KEY",
        "composite": "id INTEGER NOT NULL, part INTEGER NOT NULL",
        "none": "id INTEGER",
    }[table.key]
    lines = [key]
    for column in table.columns:
        words = [quoted(column.name), KINDS[column.kind].sqlite]
        if not column.nullable:
            words.append("NOT NULL")
        if column.unique:
            words.append("UNIQUE")
        if column.name == "parent" and table.parent:
            words.append(f"REFERENCES {quoted(table.parent)} (id)")
        lines.append(" ".join(words))
    if table.key == "composite":
        lines.append("PRIMARY KEY (id, part)")
    options = " WITHOUT ROWID" if table.key == "without rowid" else ""
    return f"CREATE TABLE {quoted(table.name)} ({', '.join(lines)}){options}"


def _with_part(table: Table, row: tuple[Stored, ...]) -> tuple[Stored, ...]:
    return (row[0], 7, *row[1:]) if table.key == "composite" else row


def _leave_in_log(situation: Situation, path: Path) -> None:
    """Leave the last change in the write-ahead log alone, as a writer that was killed does."""
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("PRAGMA wal_autocheckpoint = 0")
        touch(connection, situation.tables)
        connection.commit()
        files = {name: path.with_name(path.name + name) for name in ("", "-wal")}
        kept = {name: file.read_bytes() for name, file in files.items() if file.exists()}
    for name, content in kept.items():
        path.with_name(path.name + name).write_bytes(content)
    path.with_name(path.name + "-shm").unlink(missing_ok=True)


_DIES_WRITING = """
import os, sqlite3, sys
connection = sqlite3.connect(sys.argv[1], isolation_level=None)
connection.execute("PRAGMA cache_size = 1")
connection.execute("PRAGMA cache_spill = 1")
connection.execute("BEGIN IMMEDIATE")
connection.execute("CREATE TABLE unfinished (a)")
connection.executemany("INSERT INTO unfinished VALUES (?)", [("x" * 3000,) for _ in range(50)])
os._exit(0)
"""


def _leave_hot(situation: Situation, path: Path) -> None:
    """Leave a rollback journal that has to be played back, as a writer that was killed does."""
    del situation
    subprocess.run([sys.executable, "-S", "-c", _DIES_WRITING, str(path)], check=True)
    assert path.with_name(path.name + "-journal").stat().st_size > 0


def touch(connection: sqlite3.Connection, tables: tuple[Table, ...], how: str = "inserted") -> bool:
    """Change the rows of one table in the way that is named; return whether there was anything to change."""
    for table in tables:
        name = quoted(table.name)
        if how == "inserted" and table.key in {"integer", "autoincrement", "none"} and table.rows:
            columns = [quoted(c.name) for c in table.columns if not c.unique]
            taken = [quoted(c.name) for c in table.columns if c.unique and not c.nullable]
            if taken:
                continue
            listed = ", ".join(["id", *columns])
            values = ", ".join(["9999", *columns])
            connection.execute(f"INSERT INTO {name} ({listed}) SELECT {values} FROM {name} LIMIT 1")
            return True
        if how == "deleted" and table.rows and all(one.parent != table.name for one in tables):
            connection.execute(f"DELETE FROM {name} WHERE id = (SELECT max(id) FROM {name})")
            return True
        text = next((c for c in table.columns if c.kind == "text"), None)
        if how == "updated" and table.rows and text is not None:
            connection.execute(
                f"UPDATE {name} SET {quoted(text.name)} = 'another' || coalesce({quoted(text.name)}, '') "
                f"WHERE id = (SELECT min(id) FROM {name})"
            )
            return True
    return False


def snapshot_of_rows(path: Path, folder: Path) -> dict[str, list[tuple[Stored, ...]]]:
    """Read every row of every table, from a copy, so that what is beside the file stays as it is."""
    for suffix in ("", "-wal", "-journal"):
        beside = path.with_name(path.name + suffix)
        (folder / f"copy.db{suffix}").unlink(missing_ok=True)
        if beside.exists():
            shutil.copy(beside, folder / f"copy.db{suffix}")
    with closing(sqlite3.connect(folder / "copy.db")) as connection:
        names = [
            name
            for (name,) in connection.execute(
                "SELECT name FROM sqlite_schema WHERE type = 'table' AND name NOT LIKE 'sqlite\\_%' ESCAPE '\\'"
            )
        ]
        found = {name: connection.execute(f"SELECT * FROM {quoted(name)} NOT INDEXED").fetchall() for name in names}
    for suffix in ("", "-wal", "-shm", "-journal"):
        (folder / f"copy.db{suffix}").unlink(missing_ok=True)
    return found


def files_in(folder: Path) -> dict[str, bytes]:
    """Return what a folder holds: the source and what is beside it. What SQLite shares between readers is left out."""
    return {
        path.name: path.read_bytes()
        for path in folder.iterdir()
        if not path.name.endswith("-shm") and not (path.name.endswith("-wal") and not path.stat().st_size)
    }


# --- The target ---


def target_script(situation: Situation) -> str:
    """Return the SQL that makes the schema and its tables as the situation has them."""
    schema = quoted(situation.schema)
    lines = [f"CREATE SCHEMA IF NOT EXISTS {schema}"]
    for table in situation.tables:
        if situation.broken != ("no table", table.name):
            lines += _target_table(situation, table)
    if situation.referred is not None:
        lines += _referring(situation, situation.referred)
    return ";\n".join(lines) + ";\n"


def _referring(situation: Situation, name: str) -> list[str]:
    """Return a table of others whose rows refer to nothing, and would be gone or changed if they were taken along."""
    made = f"CREATE TABLE {ELSEWHERE}.{quoted('refers to ' + name)}"
    return [
        f"{made} (a int, b bigint REFERENCES {quoted(situation.schema)}.{quoted(name)} (id) ON DELETE CASCADE)",
        f"INSERT INTO {ELSEWHERE}.{quoted('refers to ' + name)} VALUES (1, NULL)",
    ]


_AUDIT = f"""
CREATE FUNCTION {ELSEWHERE}.audit() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN INSERT INTO {ELSEWHERE}.{AUDIT} (what) VALUES (TG_OP); RETURN NULL; END $$
"""


def surroundings_script(situation: Situation) -> str:
    """Return the SQL that makes what is nobody's business but has to stay: tables, rows, views of others."""
    schema = quoted(situation.schema)
    lines = [
        f"CREATE SCHEMA {ELSEWHERE}",
        f"CREATE TABLE {ELSEWHERE}.{AUDIT} (at timestamptz DEFAULT now(), what text)",
        f"CREATE TABLE {ELSEWHERE}.{quoted(EXTRA)} (a int PRIMARY KEY, b text)",
        f"INSERT INTO {ELSEWHERE}.{quoted(EXTRA)} VALUES (1, 'one'), (2, NULL)",
        _AUDIT,
    ]
    if "namesake" in situation.others:
        for table in situation.tables:
            lines += [
                f"CREATE TABLE {ELSEWHERE}.{quoted(table.name)} (id text, v text)",
                f"INSERT INTO {ELSEWHERE}.{quoted(table.name)} VALUES ('mine', 'stays')",
            ]
    if situation.mode == "existing" and situation.schema != "public" and "namesake" in situation.others:
        for table in situation.tables:
            lines.append(f"CREATE TABLE public.{quoted(table.name)} (id text)")
            lines.append(f"INSERT INTO public.{quoted(table.name)} VALUES ('also mine')")
    if situation.mode != "existing":
        return ";\n".join([*lines, f"CREATE SCHEMA IF NOT EXISTS {schema}"])
    return ";\n".join(lines)


def _target_table(situation: Situation, table: Table) -> list[str]:
    name = f"{quoted(situation.schema)}.{quoted(table.name)}"
    broken = situation.broken[0] if situation.broken and situation.broken[1] == table.name else None
    partition = {"hash": " PARTITION BY HASH (id)", "range": " PARTITION BY RANGE (id)"}
    partition["partition trigger"] = partition["range"]
    made = f"CREATE {'UNLOGGED ' if table.shape == 'unlogged' else ''}TABLE {name}"
    lines = [f"{made} ({', '.join(_lines(situation, table, broken))}){partition.get(table.shape, '')}"]
    lines += _partitions(situation, table, name, broken)
    lines += _beside(situation, table, name)
    if "index" in situation.others and broken != "no column" and table.columns[-1].kind not in {"json", "text"}:
        lines.append(f"CREATE INDEX ON {name} ({quoted(table.columns[-1].name)})")
    if broken == "rows":
        lines.append(_row_in_the_way(table, name))
    return lines


def _lines(situation: Situation, table: Table, broken: str | None) -> list[str]:
    number = {"identity": "bigint GENERATED BY DEFAULT AS IDENTITY", "serial": "bigserial"}.get(table.shape, "bigint")
    lines = ["id text" if table.key == "text" else f"id {number}"]
    lines += ["part int NOT NULL"] if table.key == "composite" else []
    for column in table.columns:
        wanted = not column.nullable or (broken == "not null" and column is table.columns[-1])
        words = [quoted(column.name), KINDS[column.kind].postgres, "NOT NULL" if wanted else ""]
        lines.append(" ".join([*words, "UNIQUE" if column.unique else ""]))
    if broken == "no column":
        lines.pop()
    lines += {"column too many": ["wanted text NOT NULL"], "check": ["CHECK (id IS NULL)"]}.get(broken or "", [])
    key = {"composite": "(id, part)", "none": None}.get(table.key, "(id)")
    lines += [f"PRIMARY KEY {key}"] if key and broken != "check" else []
    if table.parent and not (broken == "no column" and table.columns[-1].name == "parent"):
        lines.append(f"FOREIGN KEY (parent) REFERENCES {quoted(situation.schema)}.{quoted(table.parent)} (id)")
    return lines


def _partitions(situation: Situation, table: Table, name: str, broken: str | None) -> list[str]:
    def part(which: str) -> str:
        return f"CREATE TABLE {quoted(situation.schema)}.{quoted(table.name + which)} PARTITION OF {name} FOR VALUES"

    if table.shape == "hash":
        return [f"{part(f'_p{n}')} WITH (MODULUS 3, REMAINDER {n})" for n in range(3)]
    if table.shape not in {"range", "partition trigger"}:
        return []
    lines = [f"{part('_low')} FROM (0) TO (1)"]
    return lines if broken == "no partition" else [*lines, f"{part('_high')} FROM (1) TO (100000)"]


def _beside(situation: Situation, table: Table, name: str) -> list[str]:
    """Return triggers, heirs and views of a table."""
    fires = f"AFTER INSERT OR UPDATE OR DELETE ON {{}} FOR EACH ROW EXECUTE FUNCTION {ELSEWHERE}.audit()"
    seen = f"{quoted(situation.schema)}.{quoted(table.name + ' seen')}"
    lines = [f"CREATE VIEW {seen} AS SELECT id FROM {name}"] if "view" in situation.others else []
    if table.shape == "partition trigger":
        part = f"{quoted(situation.schema)}.{quoted(table.name + '_high')}"
        lines.append(f"CREATE TRIGGER tells {fires.format(part)}")
    if table.shape == "trigger":
        lines.append(f"CREATE TRIGGER tells {fires.format(name)}")
    if table.shape == "inherited":
        heir = f"{ELSEWHERE}.{quoted('heir of ' + table.name)}"
        lines.append(f"CREATE TABLE {heir} () INHERITS ({name})")
        broken = situation.broken is not None and situation.broken[1] == table.name
        if all(column.nullable for column in table.columns) and not broken:
            lines.append(_row_in_the_way(table, heir))
    return lines


def _row_in_the_way(table: Table, name: str) -> str:
    listed = ["id", *(["part"] if table.key == "composite" else [])]
    values = ["'-7'" if table.key == "text" else "70000", *(["1"] if table.key == "composite" else [])]
    needed = [column for column in table.columns if not column.nullable]
    listed += [quoted(column.name) for column in needed]
    values += [f"({_default(column.kind)})" for column in needed]
    return f"INSERT INTO {name} ({', '.join(listed)}) VALUES ({', '.join(values)})"


def _default(kind: str) -> str:
    texts = {
        "text": "'a'", "varchar": "'a'", "char": "'a'", "boolean": "true", "bytea": "'a'::bytea",
        "uuid": "gen_random_uuid()",
        "timestamp": "now()::timestamp", "timestamptz": "now()", "date": "now()::date", "jsonb": "'{}'::jsonb",
        "json": "'{}'::json", "interval": "'1 day'::interval", "integers": "'{}'::int[]", "inet": "'::1'::inet",
    }  # fmt: skip
    return texts.get(kind, "0")


def command_file(situation: Situation, folder: Path) -> Path:
    """Write a program that makes the tables where there are none, as an application's does, and return its path."""
    first = f"{quoted(situation.schema)}.{quoted(situation.tables[0].name)}"
    seed = f"{_row_in_the_way(situation.tables[0], first)};\n" if "seeded" in situation.more else ""
    script = (
        f"DO $do$ BEGIN IF to_regclass({literal(first)}) IS NULL THEN EXECUTE "
        f"$ddl${target_script(situation)}{seed}$ddl$; END IF; END $do$;"
    )
    (folder / "tables.sql").write_text(script, encoding="utf-8")
    program = folder / "make-tables"
    psql = shutil.which("psql") or "psql"
    program.write_text(
        f'#!/bin/sh\nPGCLIENTENCODING=UTF8 exec {psql} -Xqv ON_ERROR_STOP=1 -f {folder}/tables.sql "$DATABASE_URL"\n',
        "utf-8",
    )
    program.chmod(0o755)
    return program


def has_psql() -> bool:
    """Say whether a command that makes tables can be had here."""
    return shutil.which("psql") is not None and os.name == "posix"
