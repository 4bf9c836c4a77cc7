"""
The judge of a situation: what the source holds against what the target holds, and what nobody may have touched.

It reads SQLite with Python's ``sqlite3`` and PostgreSQL with ``asyncpg`` as the superuser, whose session has no odd
settings, and imports nothing of the product.
"""

from dataclasses import dataclass
from typing import Any

import asyncpg
from situations.drawn import Situation
from situations.kinds import Stored, same
from situations.staged import ELSEWHERE, quoted

Rows = dict[str, list[tuple[Stored, ...]]]

_FOREIGN = """
SELECT n.nspname, c.relname FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE c.relkind = 'r' AND (n.nspname = $1 OR (n.nspname = 'public' AND $2 <> 'public')) ORDER BY 1, 2
"""

_DEFINITIONS = """
SELECT 'constraint', k.conrelid::regclass::text, k.conname, pg_get_constraintdef(k.oid) || k.convalidated
FROM pg_constraint k JOIN pg_namespace n ON n.oid = k.connamespace WHERE n.nspname = ANY ($1)
UNION ALL
SELECT 'index', x.indrelid::regclass::text, i.relname, pg_get_indexdef(i.oid) || x.indisvalid
FROM pg_index x JOIN pg_class i ON i.oid = x.indexrelid JOIN pg_namespace n ON n.oid = i.relnamespace
WHERE n.nspname = ANY ($1)
UNION ALL
SELECT 'trigger', t.tgrelid::regclass::text, t.tgname, pg_get_triggerdef(t.oid) || t.tgenabled::text
FROM pg_trigger t JOIN pg_class c ON c.oid = t.tgrelid JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE n.nspname = ANY ($1) AND NOT t.tgisinternal
UNION ALL
SELECT 'relation', c.oid::regclass::text, c.relkind::text || c.relpersistence::text, ''
FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE n.nspname = ANY ($1) AND c.relkind IN ('r', 'p', 'v', 'S')
ORDER BY 1, 2, 3, 4
"""


@dataclass(frozen=True, slots=True)
class ServerTypes:
    """Looks at one target through the superuser's connection."""

    connection: asyncpg.Connection
    situation: Situation

    async def foreign(self) -> dict[str, list[str]]:
        """Return the rows that are nobody's business, with the versions of the rows: a rewritten row is touched."""
        found = await self.connection.fetch(_FOREIGN, ELSEWHERE, self.situation.schema)
        return {f"{schema}.{table}": await self._versions(schema, table) for schema, table in found}

    async def versions(self) -> dict[str, list[str]]:
        """Return the rows of the tables that are carried, with their versions."""
        return {
            table.name: await self._versions(self.situation.schema, table.name)
            for table in self.situation.carried
            if await self._exists(table.name)
        }

    async def definitions(self) -> list[tuple[str, ...]]:
        """Return keys, indexes, triggers, tables, views and sequences of the schema and beside it."""
        found = await self.connection.fetch(_DEFINITIONS, [self.situation.schema, ELSEWHERE])
        return [tuple(row) for row in found]

    async def count(self, name: str) -> int:
        """Return the number of rows of a table of the schema, without its heirs'; -1 if there is none."""
        if not await self._exists(name):
            return -1
        return int(await self.connection.fetchval(f"SELECT count(*) FROM {self._from(name)}"))

    async def differences(self, source: Rows, names: list[str] | None = None) -> list[str]:
        """Return what differs between the source and the tables of the schema, a line each; empty if all is there."""
        found: list[str] = []
        for table in self.situation.carried:
            if names is None or table.name in names:
                found += await self._differences(table.name, [c.name for c in table.columns], table.key, source)
        return found

    async def sequences_behind(self, source: Rows) -> list[str]:
        """Return the sequences that would give a number that is taken."""
        found = []
        for table in self.situation.carried:
            ids = [row[0] for row in source[table.name] if isinstance(row[0], int)]
            if table.key not in {"integer", "autoincrement"} or not ids:
                continue
            name = await self.connection.fetchval(
                "SELECT pg_get_serial_sequence($1, 'id')", f"{quoted(self.situation.schema)}.{quoted(table.name)}"
            )
            if name is not None and await self.connection.fetchval("SELECT nextval($1::regclass)", name) <= max(ids):
                found.append(str(name))
        return found

    async def _exists(self, name: str) -> bool:
        known = "SELECT to_regclass($1) IS NOT NULL"
        return bool(await self.connection.fetchval(known, f"{quoted(self.situation.schema)}.{quoted(name)}"))

    def _from(self, name: str) -> str:
        partitioned = any(
            t.name == name and t.shape in {"hash", "range", "partition trigger"} for t in self.situation.tables
        )
        only = "" if partitioned and self.situation.mode != "create" else "ONLY "
        return f"{only}{quoted(self.situation.schema)}.{quoted(name)}"

    async def _versions(self, schema: str, table: str) -> list[str]:
        version = "t.xmin::text || t.tableoid::text || t.ctid::text || t::text"
        rows = await self.connection.fetch(f"SELECT {version} FROM {quoted(schema)}.{quoted(table)} t")
        return sorted(row[0] for row in rows)

    async def _differences(self, name: str, columns: list[str], key: str, source: Rows) -> list[str]:
        if not await self._exists(name):
            return [f"{name}: no such table in the target"]
        listed = ["id", *(["part"] if key == "composite" else []), *columns]
        asked = await self.connection.prepare(f"SELECT {', '.join(map(quoted, listed))} FROM {self._from(name)}")
        types = [attribute.type.name for attribute in asked.get_attributes()]
        arrived: dict[str, list[Any]] = {}
        for record in await asked.fetch():
            arrived.setdefault(str(record[0]), []).append(tuple(record))
        found = []
        for row in source[name]:
            theirs = arrived.get(str(row[0]), [])
            if not theirs:
                found.append(f"{name}: row {row[0]!r} is missing")
                continue
            match = next((one for one in theirs if _differing(types, row, one) is None), None)
            if match is None:
                at = _differing(types, row, theirs[0]) or 0
                found.append(f"{name}.{listed[at]} ({types[at]}): row {row[0]!r}: {row[at]!r} became {theirs[0][at]!r}")
            theirs.remove(match or theirs[0])
        return found + [f"{name}: row {rows[0]!r} is in the target only" for rows in arrived.values() if rows]


def _differing(types: list[str], row: tuple[Stored, ...], arrived: tuple[Any, ...]) -> int | None:
    for at, (kind, ours, theirs) in enumerate(zip(types, row, arrived, strict=True)):
        if not same(kind, ours, theirs):
            return at
    return None
