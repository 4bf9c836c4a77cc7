"""Random tables with random rules for rows: what arrives is what an independent search says, however it is read."""

import random
from collections.abc import Mapping
from dataclasses import dataclass

import pytest
from fix_postgres import Database
from fix_sqlite import MakeSqlite
from test_row_rules import change, ruled

from migrator.errors import SourceChanged
from migrator.job import check, run, verify
from migrator.monitoring.tracker import Tracker

Row = tuple[int, int | None, int | None, int | None]
"""An id, the references x and y, and whether the row is kept by ``where``."""

SEEDS = range(6)


@dataclass(frozen=True)
class Key:
    """A foreign key: the table and its column, the table that it refers to, and the rule."""

    table: str
    column: str
    parent: str
    rule: str


@dataclass(frozen=True)
class Case:
    """Tables with rows, the tables that have a condition, and the foreign keys."""

    rows: Mapping[str, list[Row]]
    conditions: frozenset[str]
    keys: tuple[Key, ...]

    def rules(self) -> str:
        """Return the rules file."""
        lines = [f'[tables."{name}"]\nwhere = "keep = 1"' for name in sorted(self.conditions)]
        lines += [f'[columns."{key.table}.{key.column}"]\norphans = "{key.rule}"' for key in self.keys]
        return "\n".join(lines)

    def target(self, *, without_rowid: frozenset[str] = frozenset()) -> str:
        """Return the DDL of the tables, which is the same in SQLite but for the foreign keys."""
        made = [
            f"CREATE TABLE {name} (id bigint NOT NULL PRIMARY KEY, x bigint, y bigint, keep int, pad text)"
            + (" WITHOUT ROWID" if name in without_rowid else "")
            for name in self.rows
        ]
        return "; ".join(made)

    def foreign_keys(self) -> str:
        """Return the statements that add the foreign keys."""
        return "; ".join(
            f"ALTER TABLE {key.table} ADD FOREIGN KEY ({key.column}) REFERENCES {key.parent}" for key in self.keys
        )

    def carried(self) -> dict[str, list[Row]]:
        """Return the rows that the rules carry: repeat the rules until nothing changes."""
        left = {
            name: {row[0]: list(row) for row in rows if name not in self.conditions or row[3] == 1}
            for name, rows in self.rows.items()
        }
        changed = True
        while changed:
            changed = False
            for key in self.keys:
                place = 1 if key.column == "x" else 2
                for number, row in list(left[key.table].items()):
                    if row[place] is None or row[place] in left[key.parent]:
                        continue
                    changed = True
                    if key.rule == "drop":
                        del left[key.table][number]
                    else:
                        row[place] = None
        return {
            name: sorted((row[0], row[1], row[2], row[3]) for row in rows.values())  # type: ignore[misc]
            for name, rows in left.items()
        }


def drawn(chance: random.Random) -> Case:
    """Draw three tables of a few dozen rows, each with up to two foreign keys to any of them."""
    names = ("a", "b", "c")
    rows: dict[str, list[Row]] = {}
    for name in names:
        numbers = chance.sample(range(1, 120), chance.randint(20, 80))
        rows[name] = [
            (
                number,
                chance.choice([None, *numbers, *range(120)]),
                chance.choice([None, None, *range(120)]),
                chance.choice([None, 0, 1, 1, 1, 1]),
            )
            for number in numbers
        ]
    keys = tuple(
        Key(name, column, chance.choice(names), chance.choice(["drop", "null", "null"]))
        for name in names
        for column in ("x", "y")
        if chance.random() < 0.6
    )
    return Case(rows, frozenset(name for name in names if chance.random() < 0.5), keys or (Key("a", "x", "b", "drop"),))


@pytest.mark.parametrize("seed", SEEDS)
async def test_what_arrives_is_what_the_rules_say(seed: int, make_sqlite: MakeSqlite, database: Database) -> None:
    """In chunks, in small batches, side by side, with rows of different widths; checked, compared, looked at again."""
    chance = random.Random(seed)  # noqa: S311 - reproducible on purpose
    case = drawn(chance)
    without_rowid = frozenset(name for name in case.rows if chance.random() < 0.3)
    widths = ["", "x" * 9, "y" * 9_000, "z" * 70_000]
    pads = {name: chance.choices(widths, [5, 5, 1, 1], k=len(rows)) for name, rows in case.rows.items()}
    source = make_sqlite(
        case.target(without_rowid=without_rowid),
        {name: [(*row, pad) for row, pad in zip(rows, pads[name], strict=True)] for name, rows in case.rows.items()},
    )
    await database.execute(f"{case.target()}; {case.foreign_keys()}")
    more = {"jobs": chance.choice([1, 3]), "chunk_bytes": chance.choice([100, 10_000, 1 << 20]), "batch_bytes": 65536}
    settings = ruled(source, database, case.rules(), **more)
    right = case.carried()
    looked = await check.check(settings, Tracker())
    assert looked.failure is None
    assert {table["table"]: table["rows"] for table in looked.to_json()["tables"]} == {
        f"public.{name}": len(rows) for name, rows in right.items()
    }
    report = await run.run(settings, Tracker())
    for name, rows in right.items():
        there = await database.fetch(f"SELECT id, x, y, keep FROM {name} ORDER BY id")
        assert [tuple(row) for row in there] == rows
    assert {line.table: line.left_behind for line in report.tables} == {
        f"public.{name}": len(case.rows[name]) - len(rows) for name, rows in right.items()
    }
    await verify.verify(settings, Tracker())
    ids = {name: {row[0] for row in rows} for name, rows in right.items()}
    behind = [(name, row[0]) for name, rows in case.rows.items() for row in rows if row[0] not in ids[name]]
    if behind:
        name, number = chance.choice(behind)
        change(source, f"UPDATE {name} SET pad = 'nobody asks' WHERE id = {number}")
        assert (await run.run(settings, Tracker())).headline.startswith("already migrated")
    carried = [(name, row[0]) for name, rows in right.items() for row in rows]
    if carried:
        name, number = chance.choice(carried)
        change(source, f"UPDATE {name} SET pad = 'somebody asks' WHERE id = {number}")
        with pytest.raises(SourceChanged, match=name):
            await run.run(settings, Tracker())
