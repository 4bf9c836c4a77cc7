"""
Defines the identity of a migration: its name in the ledger, and the keys of its advisory locks.

One database can hold several migrations: one schema for each tenant, or several files of one application in one schema.
Each migration has its own name.
"""

import hashlib
from typing import TYPE_CHECKING, Any, Final

from msgspec import Struct

if TYPE_CHECKING:
    import sqlalchemy as sa

LOCK_KEY: Final = int.from_bytes(b"migrator", "big", signed=True)
"""
The key of the advisory lock that every job holds in shared mode. Advisory locks are per database already.

An earlier version, which knew only one migration in a database, takes the lock in exclusive mode. So a job of that
version and a job of this version never work at the same time.
"""

LONGEST_NAME: Final = 200
"""The longest name of a migration, in characters. The default is a schema's name, which has at most 63 bytes."""


def usable_name(name: str) -> str:
    """Return ``name`` if it can be a migration's name. Raises ValueError with the reason if it can't."""
    if not name.strip():
        raise ValueError("a migration's name can't be blank")
    if len(name) > LONGEST_NAME:
        raise ValueError(f"a migration's name has at most {LONGEST_NAME} characters, this one has {len(name)}")
    if not name.isprintable():
        raise ValueError("a migration's name can't hold line breaks or other control characters")
    return name


class Migration(Struct, frozen=True):
    """A migration, which selects its lines in the ledger."""

    name: str
    unnamed: bool = False
    """True for a ledger of an earlier version. It has no names, so all its lines belong to this migration."""

    def lines(self, table: "sa.Table") -> "sa.Select[Any]":
        """Return a SELECT of this migration's lines of a ledger table, without the column ``migration``."""
        import sqlalchemy as sa  # noqa: PLC0415 - --help imports this module and must be quick

        chosen = sa.select(*(column for column in table.c if column.name != "migration"))
        return chosen if self.unnamed else chosen.where(table.c.migration == self.name)

    @property
    def lock_key(self) -> int:
        """The key of the advisory lock that one job at a time holds (PostgreSQL, "Advisory Locks": a bigint)."""
        return _key(f"migration {self.name}")


class Wanted(Struct, frozen=True):
    """The settings that name a migration."""

    name: str | None = None
    """The migration's name, if it is set."""
    schema: str | None = None
    """The target schema, if it is set."""


def schema_lock_key(schema: str) -> int:
    """Return the key of the advisory lock that a job holds while it creates or upgrades the tables of a schema."""
    return _key(f"schema {schema}")


def _key(text: str) -> int:
    return int.from_bytes(hashlib.sha256(f"migrator {text}".encode()).digest()[:8], "big", signed=True)


SETUP_LOCK_KEY: Final = _key("setup")
"""The key of the lock for creating the ledger and for the operator's script: one job at a time in a database."""
