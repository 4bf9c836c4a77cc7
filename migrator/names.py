"""
Names of tables and columns, and the one way they enter a statement.

A name is data like any other: it may hold quotes, blanks, a semicolon or a reserved word. Every statement of the job
takes its identifiers from here, quoted always, by SQLAlchemy's dialects.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from difflib import get_close_matches
from functools import cache, lru_cache
from typing import Any

POSTGRES_NAME_BYTES = 63
"""PostgreSQL cuts longer identifiers (manual, "Identifiers and Key Words": NAMEDATALEN - 1)."""

_REMEMBERED = 10_000
"""Quoted names: each is asked for again and again."""


@cache
def _preparers() -> tuple[Any, Any]:
    """Return SQLAlchemy's quoting of PostgreSQL and of SQLite, imported now: `--help` knows names and quotes none."""
    from sqlalchemy.dialects import sqlite  # noqa: PLC0415
    from sqlalchemy.dialects.postgresql import asyncpg  # noqa: PLC0415

    # The driver's own dialect: the default one doubles a percent sign, for drivers that put values in by it.
    dialects: tuple[Any, Any] = (asyncpg.dialect, sqlite.dialect)
    postgres, other = (dialect().identifier_preparer for dialect in dialects)
    return postgres, other


@lru_cache(maxsize=_REMEMBERED)
def quote_postgres(name: str) -> str:
    """Return a PostgreSQL identifier, quoted whatever it looks like."""
    return str(_preparers()[0].quote_identifier(name))


@lru_cache(maxsize=_REMEMBERED)
def quote_sqlite(name: str) -> str:
    """Return a SQLite identifier, quoted whatever it looks like."""
    return str(_preparers()[1].quote_identifier(name))


def quote_literal(value: str) -> str:
    """
    Return a PostgreSQL string literal, for the few statements that take no bound values (DDL, COPY's inner query).

    ``standard_conforming_strings`` is on in every session the job opens, so only the quote itself needs doubling.
    """
    return "'" + value.replace("'", "''") + "'"


@dataclass(frozen=True, slots=True, order=True)
class TableName:
    """A table of the target, with its schema."""

    schema: str
    name: str

    @property
    def quoted(self) -> str:
        """The name as it stands in a statement."""
        return f"{quote_postgres(self.schema)}.{quote_postgres(self.name)}"

    def __str__(self) -> str:
        """Return the name as people write it."""
        return f"{self.schema}.{self.name}"


def find_match(name: str, candidates: Iterable[str]) -> str | None:
    """
    Return the candidate that ``name`` means: the same name, or the only one that differs in case alone.

    PostgreSQL folds unquoted identifiers to lower case and SQLite compares them without case, so the same model may
    have made ``Users`` here and ``users`` there. A name that is too long for PostgreSQL is looked for as it was cut.
    """
    known = set(candidates)
    for spelling in (name, cut(name)):
        if spelling in known:
            return spelling
    folded = [candidate for candidate in known if candidate.casefold() == cut(name).casefold()]
    return folded[0] if len(folded) == 1 else None


def cut(name: str) -> str:
    """Return ``name`` as PostgreSQL would keep it: its first 63 bytes, without half a character at the end."""
    return name.encode()[:POSTGRES_NAME_BYTES].decode(errors="ignore")


def nearest(name: str, candidates: Iterable[str]) -> str | None:
    """Return the candidate most like ``name``, for a message that helps with a slip of the pen."""
    return next(iter(get_close_matches(name, list(candidates), n=1)), None)


LEDGER_SCHEMA = "migrator"
"""The job's own schema; never copied into, never described."""


def holds_no_application(schema: str) -> bool:
    """
    Return whether a schema is the job's own, or one of the server's.

    PostgreSQL keeps every name that begins with ``pg_`` (manual, "System Catalog Schema").
    """
    return schema in {LEDGER_SCHEMA, "information_schema"} or schema.startswith("pg_")


def pattern(name: str) -> str:
    """Return a name as ``--leave-out`` and rules take it: what would be read otherwise is a wildcard."""
    return re.sub(r"[\[\],*'\"\\\s]", "?", name)
