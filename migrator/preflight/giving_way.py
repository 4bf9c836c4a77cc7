"""Decides, before a row is written, whether existing rows are small enough to be kept when they give way."""

from collections.abc import Sequence

from sqlalchemy import text

from migrator.errors import TargetRefused
from migrator.preflight.existing_rows import OccupiedTable
from migrator.target.database import Target


async def too_large_to_keep(target: Target, existing: Sequence[OccupiedTable], most_bytes: int) -> TargetRefused | None:
    """
    Return the error that names tables whose existing rows would give way and take more than ``most_bytes``, or None.

    Rows of other tables that refer to rows which would be gone are no matter of this module: preflight tries the
    foreign keys of other tables on the source's rows anyway (``trials``).
    """
    names = {table.table.quoted: str(table.table) for table in existing if not table.is_refused}
    async with target.connect() as connection:
        rows = (await connection.execute(text(_SIZES), {"names": list(names), "most": most_bytes})).all()
    if not rows:
        return None
    large = {names[row.name]: int(row.bytes) for row in rows}
    listed = ", ".join(f"{name} ({size:,} bytes)" for name, size in large.items())
    return TargetRefused(
        f"existing rows are too large to be kept when the source's take their place: {listed} on disk, "
        f"where --kept-limit is {most_bytes:,} bytes",
        next_step=f"Give --kept-limit={max(large.values())}, which takes as much room in the target once more; or "
        "empty the tables yourself.",
        tables=large,
    )


_SIZES = """
SELECT name, bytes FROM (
    SELECT name, coalesce((SELECT sum(pg_table_size(relid)) FROM pg_partition_tree(CAST(name AS regclass))),
                          pg_table_size(CAST(name AS regclass))) AS bytes
    FROM unnest(CAST(:names AS text[])) AS given(name)
) AS sized WHERE bytes > :most ORDER BY name
"""
