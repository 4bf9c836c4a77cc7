"""Refuses tables whose row-level security holds for the owner too: it hides rows from the job and forbids COPY."""

from collections.abc import Sequence

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from migrator.errors import MissingPrivilege
from migrator.names import TableName, quote_postgres


async def refuse_forced(connection: AsyncConnection, tables: Sequence[TableName]) -> None:
    """
    Raise MissingPrivilege, naming them, if policies hold for this role on any of ``tables`` or their partitions.

    An owner is free of them unless the table FORCEs them; so is a role with BYPASSRLS (PostgreSQL, "Row Security
    Policies"). A partition's own count only where it is read or filled by its own name, which the job never does.
    """
    names = [table.quoted for table in tables]
    found = (await connection.execute(text(_HOLDING), {"tables": names})).all()
    if not found:
        return
    held = [tables[row.place - 1] for row in found]
    listed = ", ".join(map(str, held))
    statements = "; ".join(f"ALTER TABLE {table.quoted} NO FORCE ROW LEVEL SECURITY" for table in held)
    raise MissingPrivilege(
        f"row-level security is forced on {listed}: the role {found[0].role} sees and writes only what policies let it",
        next_step=f"Run {statements}; migrate; then the same with FORCE in place of NO FORCE. "
        f"Or have a superuser run ALTER ROLE {quote_postgres(found[0].role)} BYPASSRLS for the migration.",
        tables=[str(table) for table in held],
    )


_HOLDING = """
SELECT place, current_user::text AS role
FROM unnest(CAST(:tables AS text[])) WITH ORDINALITY AS listed(name, place)
WHERE row_security_active(CAST(listed.name AS regclass)::oid) ORDER BY place
"""
