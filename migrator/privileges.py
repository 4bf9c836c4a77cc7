"""What the target's role has to be allowed beyond its own tables, asked before anything is done."""

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from migrator.errors import MissingPrivilege
from migrator.names import LEDGER_SCHEMA, quote_postgres


async def check_ledger(connection: AsyncConnection) -> None:
    """
    Raise MissingPrivilege, naming what to grant, if the ledger's schema is neither there nor may be created.

    That the tables are the role's own is preflight's to see, which knows them.
    """
    database, role, enough = (await connection.execute(text(_LEDGER), {"schema": LEDGER_SCHEMA})).one()
    if enough:
        return
    role, database = quote_postgres(role), quote_postgres(database)
    raise MissingPrivilege(
        f"the role {role} may neither use nor create the schema {LEDGER_SCHEMA} in the database {database}, "
        "where the job keeps its ledger",
        next_step=f"GRANT CREATE ON DATABASE {database} TO {role}; "
        f"or CREATE SCHEMA {LEDGER_SCHEMA} AUTHORIZATION {role}",
    )


_LEDGER = """
SELECT current_database()::text, current_user::text,
       coalesce(has_schema_privilege(n, 'CREATE') AND has_schema_privilege(n, 'USAGE'),
                has_database_privilege(current_database(), 'CREATE'))
FROM to_regnamespace(:schema) AS n
"""
