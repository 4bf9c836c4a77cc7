"""The rows that stay behind as orphans are those that an independent search finds, whatever the keys look like."""

import random
import sqlite3
from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from fix_sqlite import MakeSqlite
from msgspec.structs import replace

from migrator.planning.equality import ParentKeys
from migrator.selection.conditions import under_conditions
from migrator.selection.left_behind import without_orphans
from migrator.selection.references import Reference
from migrator.source.database import Source
from migrator.source.schema import SourceDatabase

Row = dict[str, Any]


@dataclass(frozen=True)
class Drawn:
    """A random database with rules."""

    script: str
    rows: Mapping[str, list[Row]]
    conditions: Mapping[str, str]
    references: Sequence[Reference]


def drawn(chance: random.Random) -> Drawn:
    """Draw up to four tables that refer to each other and themselves, by one column or two, with rules for each key."""
    names = [f"t{n}" for n in range(chance.randint(1, 4))]
    script, rows = [], {}
    for name in names:
        options = chance.choice(["", " WITHOUT ROWID"])
        script.append(
            f"CREATE TABLE {name} (a INTEGER NOT NULL, b TEXT NOT NULL, x INTEGER, y TEXT, z INTEGER, keep INTEGER, "
            f"PRIMARY KEY (a, b)){options}"
        )
        count = chance.randint(0, 25)
        numbers = chance.sample(range(40), count)
        rows[name] = [
            {
                "a": number,
                "b": f"b{number % 3}",
                "x": chance.choice([None, *range(0, 40, 1)]),
                "y": chance.choice([None, "b0", "b1", "b2"]),
                "z": chance.choice([None, *range(40)]),
                "keep": chance.choice([None, 0, 1, 1, 1, 1]),
            }
            for number in numbers
        ]
    references = []
    for number in range(chance.randint(1, 5)):
        child, parent = chance.choice(names), chance.choice(names)
        own, referred = chance.choice([(("x",), ("a",)), (("z",), ("a",)), (("x", "y"), ("a", "b")), (("z",), ("x",))])
        rule = chance.choice(["drop", "drop", "null"])
        references.append(
            Reference(
                f"key{number}",
                child,
                own[0],
                rule,
                own,
                parent,
                ParentKeys(referred, referred),
                own if rule == "null" else (),
                len(own) > 1 and chance.random() < 0.3,
                own,
            )
        )
    conditions = {name: "keep = 1" for name in names if chance.random() < 0.4}
    return Drawn(";".join(script), rows, conditions, references)


def expected(case: Drawn) -> dict[str, list[Row]]:
    """Return the carried rows of each table, found by repeating the rules until nothing changes."""
    stored = {
        name: [row for row in rows if name not in case.conditions or row["keep"] == 1]
        for name, rows in case.rows.items()
    }
    dropped: set[tuple[str, int]] = set()
    emptied: set[tuple[str, int, str]] = set()

    def carried(name: str) -> list[Row]:
        return [
            {column: None if (name, row["a"], column) in emptied else value for column, value in row.items()}
            for row in stored[name]
            if (name, row["a"]) not in dropped
        ]

    while True:
        before = len(dropped), len(emptied)
        for reference in case.references:
            there = {tuple(row[name] for name in reference.referred.expressions) for row in carried(reference.parent)}
            for row in stored[reference.table]:
                value = tuple(row[name] for name in reference.own)
                partly = reference.whole and 0 < value.count(None) < len(value)
                if not partly and (None in value or value in there):
                    continue
                if reference.rule == "drop":
                    dropped.add((reference.table, row["a"]))
                else:
                    emptied |= {(reference.table, row["a"], name) for name in reference.set_null}
        if before == (len(dropped), len(emptied)):
            return {name: sorted(carried(name), key=lambda row: row["a"]) for name in case.rows}


async def selected(file: Path, conditions: Mapping[str, str], references: Sequence[Reference]) -> tuple[Any, ...]:
    """Return the selected database, and the rows that its tables read."""
    source = Source(file)
    try:
        contents = await under_conditions(source, await source.describe(), conditions)
        contents = without_orphans(source, contents, references)
        with source.session() as session:
            rows = {
                table.name: session.ask(f"SELECT a, b, x, y, z, keep FROM {table.origin} ORDER BY a")
                for table in contents.tables
            }
        return contents, rows
    finally:
        await source.close()


@pytest.mark.parametrize("seed", range(60))
async def test_the_same_rows_as_an_independent_search(seed: int, make_sqlite: MakeSqlite) -> None:
    """Chains, cycles, keys of several columns, keys that a rule sets to NULL, tables without a rowid."""
    case = drawn(random.Random(seed))  # noqa: S311 - reproducible on purpose
    file = make_sqlite(case.script, {name: [tuple(row.values()) for row in rows] for name, rows in case.rows.items()})
    contents, rows = await selected(file, case.conditions, case.references)
    right = expected(case)
    assert rows == right
    for table in contents.tables:
        assert len(case.rows[table.name]) - len(right[table.name]) == table.selection.left_behind


async def test_a_long_chain_is_followed_without_a_pass_for_each_link(make_sqlite: MakeSqlite) -> None:
    """Each row refers to the row before it, and the first one to nothing: all of them stay behind."""
    script = "CREATE TABLE t (a INTEGER PRIMARY KEY, b TEXT, x INTEGER, y TEXT, z INTEGER, keep INTEGER)"
    count = 3000
    file = make_sqlite(script, {"t": [(n, "", n - 1, "", None, 1) for n in range(1, count + 1)]})
    reference = Reference("k", "t", "x", "drop", ("x",), "t", ParentKeys(("a",), ()), (), columns=("x",))
    contents, rows = await selected(file, {}, [reference])
    assert rows == {"t": []}
    assert contents.tables[0].selection.left_behind == count


async def test_nothing_is_written_into_the_source(make_sqlite: MakeSqlite) -> None:
    """The keys are collected in scratch space, which goes with the source."""
    script = "CREATE TABLE t (a INTEGER PRIMARY KEY, b TEXT, x INTEGER, y TEXT, z INTEGER, keep INTEGER)"
    file = make_sqlite(script, {"t": [(1, "", 2, "", None, 1), (3, "", None, "", None, 1)]})
    before = file.read_bytes()
    reference = Reference("k", "t", "x", "drop", ("x",), "t", ParentKeys(("a",), ()), (), columns=("x",))
    contents, rows = await selected(file, {}, [reference])
    assert [row["a"] for row in rows["t"]] == [3]
    assert file.read_bytes() == before
    assert [path.name for path in file.parent.iterdir()] == [file.name]
    whole = SourceDatabase(tuple(replace(table) for table in contents.tables), (), ())
    assert whole.tables[0].selection.orphans[0].rows == 1
    with closing(sqlite3.connect(file)) as connection:
        assert connection.execute("SELECT count(*) FROM t").fetchone() == (2,)
