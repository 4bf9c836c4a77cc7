"""Decides, before a row is written, whether existing rows can give way, and others can stay, as was decided."""

from collections.abc import Sequence

from sqlalchemy import text

from migrator.catalog.foreign_keys import keys_of
from migrator.errors import MigratorError, RowsInTheWay, TargetRefused, in_one
from migrator.preflight.existing_rows import OccupiedTable, flag
from migrator.target.database import Target


async def cannot_give_way(target: Target, existing: Sequence[OccupiedTable], most_bytes: int) -> MigratorError | None:
    """Return the error that says which existing rows can't give way, or can't stay if others do; None if all can."""
    large = await too_large_to_keep(target, existing, most_bytes)
    return in_one((large, await left_without_parents(target, existing)))


async def left_without_parents(target: Target, existing: Sequence[OccupiedTable]) -> RowsInTheWay | None:
    """Return the error that names foreign keys from rows that stay to tables whose rows give way, or None."""
    parents = {table.table: table for table in existing if table.decision == "replace" and table.extra}
    children = {table.table for table in existing if table.decision == "keep" and table.extra}
    if not parents or not children:
        return None
    async with target.connect() as connection:
        keys = [key for key in await keys_of(connection, list(children)) if key.table in children]
    cut = [key for key in keys if key.parent in parents]
    if not cut:
        return None
    going = [parents[name] for name in sorted({key.parent for key in cut})]
    return RowsInTheWay(
        f"rows would stay that may refer to rows which would give way: {', '.join(map(str, cut))}",
        next_step=f"Give {flag(going, 'keep')} for the tables that are referred to, as for those that refer to them.",
        keys=[str(key) for key in cut],
    )


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
