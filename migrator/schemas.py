"""Schemas of the target that hold no application: the job's own, and the server's. Loads no library, for --help."""

LEDGER_SCHEMA = "migrator"
"""The job's own schema; never copied into, never described."""


def holds_no_application(schema: str) -> bool:
    """
    Return whether a schema is the job's own, or one of the server's.

    PostgreSQL keeps every name that begins with ``pg_`` (manual, "System Catalog Schema").
    """
    return schema in {LEDGER_SCHEMA, "information_schema"} or schema.startswith("pg_")
