"""
The identity of a migration: the name under which the ledger keeps its lines, and the locks that follow from it.

Several migrations live side by side in one database: a tenant a schema, or several files of one application into one
schema. Each has a name of its own.
"""

import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    import sqlalchemy as sa

LONGEST_NAME: Final = 200
"""In characters. A schema's name, which is the default, has at most 63 bytes."""


def usable_name(name: str) -> str:
    """Return the name of a migration as it was given; raises ValueError, with the reason, if it can't be one."""
    if not name.strip():
        raise ValueError("a migration's name can't be blank")
    if len(name) > LONGEST_NAME:
        raise ValueError(f"a migration's name has at most {LONGEST_NAME} characters, this one has {len(name)}")
    if not name.isprintable():
        raise ValueError("a migration's name can't hold line breaks or other control characters")
    return name


@dataclass(frozen=True, slots=True)
class Migration:
    """Which lines of the ledger are meant."""

    name: str
    unnamed: bool = False
    """True in a ledger of an earlier version, which has no names: all its lines are this migration's."""

    def lines(self, table: "sa.Table") -> "sa.Select[Any]":
        """Return a SELECT of this migration's lines of a ledger table, without the column that names it."""
        import sqlalchemy as sa  # noqa: PLC0415 - --help knows migrations' names, and waits for no library

        chosen = sa.select(*(column for column in table.c if column.name != "migration"))
        return chosen if self.unnamed else chosen.where(table.c.migration == self.name)

    @property
    def lock_key(self) -> int:
        """The key of the advisory lock that one job at a time holds (PostgreSQL, "Advisory Locks": a bigint)."""
        return _key(f"migration {self.name}")


@dataclass(frozen=True, slots=True)
class Wanted:
    """What the settings say about which migration is meant."""

    name: str | None = None
    schema: str | None = None


def schema_lock_key(schema: str) -> int:
    """Return the key of the advisory lock under which the tables of a schema are made or upgraded."""
    return _key(f"schema {schema}")


def _key(text: str) -> int:
    return int.from_bytes(hashlib.sha256(f"migrator {text}".encode()).digest()[:8], "big", signed=True)


SETUP_LOCK_KEY: Final = _key("setup")
"""Held for a moment by whoever makes the ledger, or runs the operator's script: one in a database at a time."""
