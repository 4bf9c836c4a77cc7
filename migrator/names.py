"""
Quotes the names of tables and columns for SQL statements, and compares names.

A name may hold quotes, blanks, a semicolon or a reserved word. So every statement of the job gets its identifiers from
this module, which always quotes them with SQLAlchemy's dialects.
"""

import re
import unicodedata
from collections.abc import Collection, Iterable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from difflib import get_close_matches
from functools import cache, lru_cache
from typing import Any, Literal

from msgspec import Struct

POSTGRES_NAME_BYTES = 63
"""The longest identifier of PostgreSQL, which cuts longer names ("Identifiers and Key Words": NAMEDATALEN - 1)."""

_REMEMBERED = 10_000
"""The size of the cache of quoted names; each name is quoted many times."""


@cache
def _preparers() -> tuple[Any, Any]:
    """Return SQLAlchemy's quoting for PostgreSQL and for SQLite. Imported late, because `--help` needs no quoting."""
    from sqlalchemy.dialects import sqlite  # noqa: PLC0415
    from sqlalchemy.dialects.postgresql import asyncpg  # noqa: PLC0415

    # The dialect of asyncpg: the default dialect doubles percent signs, for drivers that use them as placeholders.
    dialects: tuple[Any, Any] = (asyncpg.dialect, sqlite.dialect)
    postgres, sqlite_preparer = (dialect().identifier_preparer for dialect in dialects)
    return postgres, sqlite_preparer


@lru_cache(maxsize=_REMEMBERED)
def quote_postgres(name: str) -> str:
    """Return a PostgreSQL identifier, always quoted."""
    return str(_preparers()[0].quote_identifier(name))


@lru_cache(maxsize=_REMEMBERED)
def quote_sqlite(name: str) -> str:
    """Return a SQLite identifier, always quoted."""
    return str(_preparers()[1].quote_identifier(name))


def quote_literal(value: str) -> str:
    """
    Return a PostgreSQL string literal, for the few statements without bound values (DDL, COPY's inner query).

    ``standard_conforming_strings`` is on in every session of the job, so only the quote itself must be doubled.
    """
    return "'" + value.replace("'", "''") + "'"


class TableName(Struct, frozen=True, order=True):
    """A table of the target, with its schema."""

    schema: str
    name: str

    @property
    def quoted(self) -> str:
        """The quoted name for a statement, with its schema."""
        return f"{quote_postgres(self.schema)}.{quote_postgres(self.name)}"

    def __str__(self) -> str:
        """Return the name as people write it, without quotes."""
        return f"{self.schema}.{self.name}"


def names_bound(tables: Sequence[TableName]) -> dict[str, list[str]]:
    """Return the values of ``:schemas`` and ``:names``, two arrays, in a statement about many tables."""
    return {"schemas": [table.schema for table in tables], "names": [table.name for table in tables]}


def find_match(name: str, candidates: Iterable[str]) -> str | None:
    """
    Return the match of ``name``: the equal candidate, or the only candidate that differs only in case, or None.

    PostgreSQL folds unquoted identifiers to lower case, and SQLite ignores their case. So the same model may have made
    ``Users`` in SQLite and ``users`` in PostgreSQL. If a name is too long for PostgreSQL, its first 63 bytes are
    compared.
    """
    known = _searchable(candidates)
    for spelling in (name, cut(name)):
        if spelling in known:
            return spelling
    wanted = cut(name).casefold()
    folded = [candidate for candidate in known if candidate.casefold() == wanted]
    return folded[0] if len(folded) == 1 else None


def _searchable(candidates: Iterable[str]) -> Collection[str]:
    """Return the names so that one is found without a look at all; thousands of tables are each looked for."""
    return candidates if isinstance(candidates, Mapping | AbstractSet) else set(candidates)


def first_match(names: Sequence[str], candidates: Iterable[str]) -> str | None:
    """Return the match of the first of ``names`` that has one among the ``candidates`` (``find_match``), or None."""
    known = _searchable(candidates)
    return next((match for name in names if (match := find_match(name, known)) is not None), None)


NamingStyle = Literal["as-is", "lower", "snake_case"]
"""How a name of the source becomes a name of the target, if no rule renames it."""

_ASCII_LOWER = {ord(letter): ord(letter.lower()) for letter in "ABCDEFGHIJKLMNOPQRSTUVWXYZ"}


def styled(name: str, style: NamingStyle) -> str:
    """
    Return a name of the source in a naming style.

    ``lower`` does what PostgreSQL does to a name without quotes: it folds the letters of ASCII, and no others. So two
    names that SQLite tells apart stay two. ``snake_case`` separates the words with underscores and lowers all letters.
    ``docs/reference/types.md`` has examples. The result may be too long for PostgreSQL (``cut``).
    """
    if style == "lower":
        return name.translate(_ASCII_LOWER)
    return _snake_case(name) if style == "snake_case" else name


def _snake_case(name: str) -> str:
    # Letters, digits and marks (the accents of a decomposed letter) form words; other characters separate them.
    signs = "".join(sign if sign == "_" or unicodedata.category(sign)[0] in "LNM" else " " for sign in name)
    words = "_".join(signs.split())
    at_boundary = [
        at > 0
        and sign.isupper()
        and (
            words[at - 1].islower()
            or words[at - 1].isdigit()
            or (words[at - 1].isupper() and words[at + 1 : at + 2].islower())
        )
        for at, sign in enumerate(words)
    ]
    parts = [f"_{sign}" if is_first else sign for sign, is_first in zip(words, at_boundary, strict=True)]
    return "".join(parts).lower() or name


def cut(name: str, size: int = POSTGRES_NAME_BYTES) -> str:
    """Return the first ``size`` bytes of a name without an incomplete character: with 63, as PostgreSQL stores it."""
    return name.encode()[:size].decode(errors="ignore")


def nearest(name: str, candidates: Iterable[str]) -> str | None:
    """Return the candidate that is most similar to ``name``, or None, for a message about a mistyped name."""
    return next(iter(get_close_matches(name, list(candidates), n=1)), None)


LEDGER_SCHEMA = "migrator"
"""The schema of the ledger. The job copies no rows into it, and never treats it as the application's."""


def holds_no_application(schema: str) -> bool:
    """
    Return whether a schema belongs to the job itself or to the server.

    PostgreSQL reserves every name that begins with ``pg_`` (manual, "The System Catalog Schema").
    """
    return schema in {LEDGER_SCHEMA, "information_schema"} or schema.startswith("pg_")


def pattern(name: str) -> str:
    """Return a name as a pattern for ``--leave-out`` and rules. Special characters become the wildcard ``?``."""
    return re.sub(r"[\[\],*'\"\\\s]", "?", name)
