"""What source a migration is of, and whether a file that holds other rows is that source changed, or another one."""

from dataclasses import asdict, dataclass
from pathlib import Path
from shlex import quote

import sqlalchemy as sa
from rich.filesize import decimal
from sqlalchemy.ext.asyncio import AsyncConnection

from migrator import ledger
from migrator.errors import MigratorError, TargetRefused
from migrator.migration import Migration
from migrator.source.database import Source
from migrator.source.file import Fingerprint
from migrator.source.url import path_of


@dataclass(frozen=True, slots=True)
class SourceIdentity:
    """A source as an operator knows it: where it lies, what it holds, and in which state."""

    path: str
    tables: tuple[str, ...]
    """Empty where the ledger is of an earlier version, which kept no names."""
    fingerprint: Fingerprint

    def __str__(self) -> str:
        """Say which file it is."""
        tables = f", {len(self.tables)} tables" if self.tables else ""
        return f"{self.path!r} ({decimal(self.fingerprint.size_bytes)}{tables})"


async def identity_of(path: Path, source: Source) -> SourceIdentity:
    """Return the identity of a source that the operator knows by ``path``; raises SourceUnreadable."""
    tables = tuple(table.name for table in (await source.describe()).tables)
    spelled = str(path).encode(errors="backslashreplace").decode()  # a path need not be UTF-8, and what is kept must be
    return SourceIdentity(spelled, tables, await source.fingerprint())


async def recall(connection: AsyncConnection, migration: Migration) -> SourceIdentity | None:
    """Return the source of a migration, as far as it is known; an earlier version kept its path with each run."""
    columns = ledger.migrations.c
    if not migration.unnamed:
        known = await connection.scalar(sa.select(columns.source).where(columns.name == migration.name))
        if known is not None:
            return SourceIdentity(known["path"], tuple(known["tables"]), Fingerprint(**known["fingerprint"]))
    runs = migration.lines(ledger.runs).with_only_columns(ledger.runs.c.settings["source_url"].astext)
    given = await connection.scalar(runs.order_by(_HAS_BROUGHT.desc(), ledger.runs.c.started_at.desc()).limit(1))
    fingerprint = await ledger.recall(connection, migration, ledger.SOURCE)
    if given is None or fingerprint is None:
        return None
    return SourceIdentity(str(path_of(given).absolute()), (), Fingerprint(**fingerprint))


_HAS_BROUGHT = sa.or_(
    *(
        sa.exists(sa.select(sa.literal(1)).where(lines.c.run_id == ledger.runs.c.id))
        for lines in (ledger.tables, ledger.chunks)
    )
)
"""Whether a run has brought rows: one that has just begun, or was refused, tells nothing of whose they are."""


async def remember(connection: AsyncConnection, migration: Migration, source: SourceIdentity) -> None:
    """Write which source the migration is of."""
    line = ledger.migrations.update().where(ledger.migrations.c.name == migration.name)
    await connection.execute(line.values(source=asdict(source)))


def refusal(migration: Migration, known: SourceIdentity, now: SourceIdentity) -> MigratorError:
    """Return the error that says which source the migration is of, and how to give this one a name of its own."""
    own = Path(now.path).stem or "other"
    own = f"{own}-2" if own == migration.name else own
    return TargetRefused(
        f"the migration {migration.name!r} is of another source: the ledger knows {known}, this one is {now}",
        next_step=f"Give this source a name of its own with --migration {quote(own)} (MIGRATOR_MIGRATION), and where "
        "its tables have the same names a schema of its own with --target-schema. If it is the same database, moved "
        "and changed since, put it back to where it was.",
        known=known.path,
        source=now.path,
        migration=migration.name,
    )


def changes_of_file(
    migration: Migration, known: SourceIdentity | None, before: Fingerprint, now: SourceIdentity
) -> list[str]:
    """
    Return in words what of the source's file is different from what it was ``before``; nothing if it is that file.

    An earlier version kept sizes and counters alone, which another file may share. Where these are equal the path has
    to tell; raises TargetRefused for a file at another one.
    """
    words = before.differences(now.fingerprint)
    if not words and before.file is None:
        refuse_another(migration, known, now)
    return words


def refuse_another(
    migration: Migration, known: SourceIdentity | None, now: SourceIdentity, *, certain: bool = True
) -> None:
    """Raise TargetRefused if ``now`` is another source than the migration's, as ``is_another`` has it."""
    if known is not None and is_another(known, now, certain=certain):
        raise refusal(migration, known, now)


def is_another(known: SourceIdentity, now: SourceIdentity, *, certain: bool = True) -> bool:
    """
    Return whether a file is another database, not the known one as it is by now; ``certain``: its rows do differ.

    At the same path it is the same database, changed since, unless they have no table in common. At another path it is
    another one: SQLite gives its files no identity, and a tenant's file has the schema of every other tenant's.
    """
    strangers = bool(known.tables) and not set(known.tables) & set(now.tables)
    if known.path == now.path:
        return strangers
    return strangers or certain or known.fingerprint.schema_digest != now.fingerprint.schema_digest
