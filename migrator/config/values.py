"""Defines the types of the options' values: their limits beyond the Python type, and their conversion from text."""

from pathlib import Path
from typing import Annotated, Final

from pydantic import AfterValidator, BeforeValidator, Field, SecretStr
from pydantic_settings import NoDecode

from migrator.ledger.migration import usable_name
from migrator.names import holds_no_application
from migrator.runtime.cpus import usable_cpus
from migrator.source.url import names_a_file


def _split_at_commas(value: object) -> object:
    items = value.split(",") if isinstance(value, str) else value
    if not isinstance(items, list | tuple):
        return items
    return tuple(part.strip() for item in items for part in str(item).split(",") if part.strip())


def report_paths(value: object) -> tuple[Path, ...]:
    """Return the files that a list of names, or a text with commas between them, names; each once."""
    items = _split_at_commas(value)
    return tuple(dict.fromkeys(map(Path, items))) if isinstance(items, tuple) else ()


def _refuse_nul(secret: SecretStr) -> SecretStr:
    if "\0" in secret.get_secret_value():
        raise ValueError("it holds a NUL byte")
    return secret


def _refuse_reserved(schema: str) -> str:
    if holds_no_application(schema):
        raise ValueError("it holds no application's tables: it is the job's own schema, or the server's")
    return schema


def default_jobs() -> int:
    """
    Return the number of CPUs that this process may use, at least 2 and at most 4.

    With 2, one waits for the server while the other has the job's only CPU.
    """
    return max(2, min(4, usable_cpus()))


SourceUrl = Annotated[str, AfterValidator(names_a_file)]
"""The path of a SQLite file, or a URL that names a SQLite file."""

Schema = Annotated[str, AfterValidator(_refuse_reserved)]
"""The name of a schema that may hold an application's tables."""

MigrationName = Annotated[str, AfterValidator(usable_name)]
"""The name of a migration."""

Seconds = Annotated[float, Field(gt=0, le=7 * 24 * 3600)]
"""A time in seconds, more than 0 and at most a week."""

WatchInterval = Annotated[float, Field(ge=0.1, le=24 * 3600)]
"""A pause in seconds: so long that looking costs nothing, and at most a day."""

Names = Annotated[tuple[str, ...], NoDecode, BeforeValidator(_split_at_commas)]
"""Several names or patterns, separated by commas."""

Files = Annotated[tuple[Path, ...], NoDecode, BeforeValidator(report_paths)]
"""The names of several files, separated by commas."""

ON_EXISTING_ROWS: Final = ("refuse", "replace", "keep")
"""What may happen to existing rows of a target table."""


def _check_on_existing_rows(items: tuple[str, ...]) -> tuple[str, ...]:
    for item in items:
        table, colon, word = item.rpartition(":")
        if word not in ON_EXISTING_ROWS or bool(table) != bool(colon):
            words = ", ".join(ON_EXISTING_ROWS)
            raise ValueError(f"{item!r} is neither one of {words}, nor a table with one of them, as users:replace")
    return items


OnExistingRows = Annotated[Names, AfterValidator(_check_on_existing_rows)]
"""Words for all tables, or ``table:word`` for the tables that a pattern matches, separated by commas."""

Secret = Annotated[SecretStr, AfterValidator(_refuse_nul)]
"""A secret without a NUL byte, because PostgreSQL's protocol can't send one."""
