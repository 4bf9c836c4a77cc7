"""Refuses tables whose row-level security applies to the job's role, because it hides rows and forbids COPY."""

from collections.abc import Sequence

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from migrator.errors import MissingPrivilege
from migrator.names import TableName, quote_postgres


async def refuse_forced(connection: AsyncConnection, tables: Sequence[TableName]) -> None:
    """
    Raise MissingPrivilege, which names the tables, if row-level security applies to this role on any of ``tables``.

    Policies don't apply to the table's owner, unless the table FORCEs them, nor to a role with BYPASSRLS (PostgreSQL,
    "Row Security Policies"). A partition's own policies apply only if a statement names the partition, and the job
    never reads or fills a partition by its own name.
    """
    names = [table.quoted for table in tables]
    rows = (await connection.execute(text(_HOLDING), {"tables": names})).all()
    if not rows:
        return
    forced = [tables[row.place - 1] for row in rows]
    listed = ", ".join(map(str, forced))
    statements = "; ".join(f"ALTER TABLE {table.quoted} NO FORCE ROW LEVEL SECURITY" for table in forced)
    raise MissingPrivilege(
        f"row-level security is forced on {listed}: the role {rows[0].role} sees and writes only what policies let it",
        next_step=f"Run {statements}; migrate; then the same with FORCE in place of NO FORCE. "
        f"Or have a superuser run ALTER ROLE {quote_postgres(rows[0].role)} BYPASSRLS for the migration.",
        tables=[str(table) for table in forced],
    )


_HOLDING = """
SELECT place, current_user::text AS role
FROM unnest(CAST(:tables AS text[])) WITH ORDINALITY AS listed(name, place)
WHERE row_security_active(CAST(listed.name AS regclass)::oid) ORDER BY place
"""
