"""Reads the versions that a bookkeeping table records, and compares those of source and target."""

import json
from collections.abc import Collection, Sequence
from shlex import quote

from msgspec import Struct
from sqlalchemy.ext.asyncio import AsyncConnection

from migrator.bookkeeping.tools import VersionTable
from migrator.names import pattern

_MOST = 10_000
"""The largest number of rows that are read. No application has as many migrations."""
_SHOWN = 5


class VersionsDiffer(Struct, frozen=True):
    """Source and target stand at different versions of the application's schema."""

    table: str
    """The name of the bookkeeping table in the source."""
    kind: VersionTable
    source_only: tuple[str, ...]
    target_only: tuple[str, ...]
    target_has_none: bool

    def line(self) -> str:
        """Return the sentence for reports, with the step that settles the difference."""
        return f"{self.reason}. {self.next_step}"

    @property
    def reason(self) -> str:
        """The versions that only one side has."""
        what = f"{self.table} ({self.kind.tool})"
        if self.target_has_none:
            return f"{what}: the source stands at {_listed(self.source_only)}, and the target records no version"
        sides = (("source", self.source_only), ("target", self.target_only))
        parts = [f"only the {side} has {_listed(versions)}" for side, versions in sides if versions]
        return f"{what}: source and target stand at different versions: {'; '.join(parts)}"

    @property
    def next_step(self) -> str:
        """What to do about the difference."""
        if self.target_has_none:
            command = f" ({self.kind.mark})" if self.kind.mark else ""
            return (
                "Otherwise the application runs all its migrations again, on tables that exist: mark them as applied "
                f"in the target{command}, or have the rows carried, by the rule [tables.{json.dumps(self.table)}] "
                "exclude = false."
            )
        if self.kind.tool == "Alembic" or (self.source_only and self.target_only):
            step = "Bring both sides to one version with the application's own migrations, and run again."
        elif self.source_only:
            step = "Upgrade the target's tables with the application's own migrations, and run again."
        else:
            step = "Upgrade the source with the application's own migrations, and run again."
        # Some applications (Prefect) have a chain of Alembic revisions for each database.
        if not self.kind.by_dialect and self.kind.tool != "Alembic":
            return step
        return (
            f"{step} If the application has migrations of its own for each database, this is as it should be: "
            f"--exclude {quote(pattern(self.table))} says so."
        )


async def versions(
    connection: AsyncConnection, origin: str, kind: VersionTable, columns: Sequence[tuple[str, str]]
) -> frozenset[str] | None:
    """
    Return the versions that a bookkeeping table records as applied; None if it holds too many rows.

    ``origin`` is the quoted table; ``columns`` holds each column's name and quoted name.
    """
    quoted = {name.lower(): spelled for name, spelled in columns}
    wanted = [*kind.version, *([kind.applied] if kind.applied else [])]
    rows = await connection.exec_driver_sql(
        f"SELECT {', '.join(quoted[name] for name in wanted)} FROM {origin} LIMIT {_MOST + 1}"
    )
    records = rows.all()
    if len(records) > _MOST:
        return None
    width = len(kind.version)
    return frozenset(" ".join(map(str, row[:width])) for row in records if not kind.applied or row[width])


def difference(
    table: str, kind: VersionTable, source: frozenset[str], target: Collection[str]
) -> VersionsDiffer | None:
    """Return how the versions of both sides differ; None if they are the same, or the source records none."""
    source_only = tuple(sorted(source.difference(target)))
    target_only = tuple(sorted(set(target) - source))
    if not source or not (source_only or target_only):
        return None
    return VersionsDiffer(table, kind, source_only, target_only, target_has_none=not target)


def _listed(names: Sequence[str]) -> str:
    shown = ", ".join(names[-_SHOWN:])
    return f"{len(names)} versions, the last of them {shown}" if len(names) > _SHOWN else shown
