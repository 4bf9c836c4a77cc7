"""
All that can be told of a target, read with ``asyncpg``: two targets are equal, or differ in lines.

It imports nothing of the product.
"""

from dataclasses import dataclass

import asyncpg
from fix_job import CATALOGS
from fix_postgres import Database
from situations.staged import quoted

_TABLES = """
SELECT n.nspname, c.relname FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE c.relkind IN ('r', 'p') AND NOT c.relispartition
AND n.nspname NOT IN ('pg_catalog', 'information_schema', 'migrator') ORDER BY 1, 2
"""
_SEQUENCES = """
SELECT schemaname, sequencename, last_value, start_value, increment_by FROM pg_sequences
WHERE schemaname <> 'migrator' ORDER BY 1, 2
"""


@dataclass(frozen=True, slots=True)
class State:
    """A target at one instant."""

    catalogs: dict[str, list[str]]
    """What the catalogs say: relations, columns, constraints, indexes, triggers, comments."""
    rows: dict[str, list[str]]
    """Every row of every table as text, in an order of its own, by table."""
    sequences: dict[str, int]
    """The last value that each sequence has given, 0 if none."""

    def owned_by(self, role: str, other: str) -> "State":
        """Return the same with another role in the place of one: each test's target has a role of its own."""
        catalogs = {name: sorted(line.replace(role, other) for line in lines) for name, lines in self.catalogs.items()}
        return State(catalogs, self.rows, self.sequences)

    def differences(self, expected: "State") -> list[str]:
        """Return what is otherwise than expected, a line each; sequences may be further, but not behind."""
        found = []
        for what, ours, theirs in (
            ("catalog", self.catalogs, expected.catalogs),
            ("rows of", self.rows, expected.rows),
        ):
            for name in sorted({*ours, *theirs}):
                one, other = ours.get(name, []), theirs.get(name, [])
                if one != other:
                    missing, added = _without(other, one), _without(one, other)
                    found.append(
                        f"{what} {name}: missing {missing[:3]}, too much {added[:3]} ({len(one)}/{len(other)})"
                    )
        found += [
            f"sequence {name} is at {self.sequences.get(name)}, behind {value}"
            for name, value in expected.sequences.items()
            if self.sequences.get(name, -1) < value
        ]
        return found


def _without(lines: list[str], others: list[str]) -> list[str]:
    rest = list(others)
    found = []
    for line in lines:
        if line in rest:
            rest.remove(line)
        else:
            found.append(line)
    return found


async def state_of(database: Database) -> State:
    """Read all of it, in one transaction."""
    connection = await asyncpg.connect(database.admin_url)
    try:
        async with connection.transaction(isolation="repeatable_read", readonly=True):
            catalogs = {
                name: sorted(str(tuple(row)) for row in await connection.fetch(query))
                for name, query in CATALOGS.items()
            }
            rows = {}
            for schema, table in await connection.fetch(_TABLES):
                name = f"{quoted(schema)}.{quoted(table)}"
                query = f'SELECT one::text FROM {name} AS one ORDER BY one::text COLLATE "C"'
                rows[name] = [row[0] for row in await connection.fetch(query)]
            found = await connection.fetch(_SEQUENCES)
            sequences = {f"{row[0]}.{row[1]}": row[2] or 0 for row in found}
    finally:
        await connection.close()
    return State(catalogs, rows, sequences)


async def versions_of(database: Database, tables: list[str]) -> dict[str, list[str]]:
    """Return the versions of the rows of some tables: a row that is written again has another one."""
    connection = await asyncpg.connect(database.admin_url)
    try:
        return {
            name: [
                row[0]
                for row in await connection.fetch(
                    f"SELECT xmin::text || ' ' || tableoid::text || ' ' || ctid::text FROM {name} ORDER BY 1"
                )
            ]
            for name in tables
        }
    finally:
        await connection.close()
