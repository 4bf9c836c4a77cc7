"""Decides, before a row is written, whether existing rows can give way, and others can stay, as was decided."""

from collections import defaultdict
from collections.abc import Collection, Sequence
from shlex import quote

import structlog
from sqlalchemy import text

from migrator.catalog.foreign_keys import ForeignKey, keys_of
from migrator.errors import MigratorError, RowsInTheWay, TargetRefused, in_one
from migrator.events import Event
from migrator.names import TableName, pattern
from migrator.planning.rules import OnExistingRows
from migrator.preflight.existing_rows import OccupiedTable
from migrator.runtime.settlement import NOTHING_TO_PASTE, RuleSection, Settlement
from migrator.runtime.wording import listed
from migrator.target.database import Target

log = structlog.get_logger()

MOST_NAMED = 20
"""The most tables that the advice names one by one. Of more tables, it gives the word for all."""


async def refusal_of_existing(
    target: Target, existing: Sequence[OccupiedTable], most_bytes: int
) -> MigratorError | None:
    """
    Return one error about existing rows, or None: rows that are refused, that can't give way, or that can't stay.

    What it says to add is one flag that settles all of it.
    """
    cut = await _left_without_parents(target, existing)
    settles = settling(existing, {key.parent for key in cut})
    large = await too_large_to_keep(target, existing, most_bytes)
    return in_one((refusal_of(existing, settles), large, _cut_off(cut, settles) if cut else None))


def refusal_of(existing: Sequence[OccupiedTable], settling: Settlement) -> RowsInTheWay | None:
    """
    Log each table whose existing rows are refused; return the error that names them all, or None without any.

    ``settling`` has the flag that decides about all existing rows, and is to be pasted.
    """
    refused = [table for table in existing if table.is_refused]
    for table in refused:
        log.error(Event.ROWS_IN_THE_WAY, message=str(table), **table.counts())
    if not refused:
        return None
    has_begun = any(table.begun for table in refused)
    error = RowsInTheWay(
        f"the target already holds rows that this job did not put there: {', '.join(map(str, refused))}",
        next_step=_next_step(refused, settling.flags[0]),
        tables={str(table.table): table.rows for table in refused},
    ).settled_with(NOTHING_TO_PASTE if has_begun else settling)
    return error.told_as(
        f"the target already holds rows that this job did not put there: {listed([str(one.table) for one in refused])}",
        [table.reason("" if has_begun else "replace") for table in refused],
    )


def _next_step(refused: Sequence[OccupiedTable], flag: str) -> str:
    if any(table.begun for table in refused):
        begun = ", ".join(str(table.table) for table in refused if table.begun)
        return (
            f"Find out who writes to {begun}, which an earlier run has begun to fill. To begin anew, run with "
            "--restart --force, which empties the tables first."
        )
    reasons = [f"{table.table} has no key that tells its rows apart" for table in refused if table.cannot_merge]
    reasons += [
        f"rows of {table.table} have a key in common with others of the source" for table in refused if table.clashes
    ]
    if reasons:
        return (
            f"Give {flag} in place of keep, since not all rows can stay: {', '.join(reasons)}. What "
            "gives way is kept in the target's schema migrator."
        )
    return (
        f"Add {flag} to let the source's rows take their place; what gives way is kept in the "
        "target's schema migrator, and in the file of --kept-rows. With keep in place of replace, rows whose key only "
        "the target has stay there. Or use an empty database."
    )


def settling(existing: Sequence[OccupiedTable], keeping: Collection[TableName] = ()) -> Settlement:
    """
    Return the flag, and the rules in its place, that decide about the existing rows of all these tables.

    Rows that are refused give way. What was decided and isn't refused stays as it is, except that rows of the tables in
    ``keeping`` stay.
    """
    if not existing:
        return NOTHING_TO_PASTE
    decided: dict[OnExistingRows, list[OccupiedTable]] = defaultdict(list)
    for table in existing:
        stays = table.table in keeping and table.has_key and not table.clashes
        decided["keep" if stays else "replace" if table.is_refused else table.decision].append(table)
    most = max(decided, key=lambda word: len(decided[word]))
    short = len(existing) > MOST_NAMED  # then the word alone stands for the tables that it is about
    named = sorted(
        f"{pattern(table.source)}:{word}"
        for word, tables in decided.items()
        if not (short and word == most)
        for table in tables
    )
    flag = f"--on-existing-rows={quote(','.join([*([most] if short else []), *named]))}"
    sections = tuple(_section(table, word) for word, tables in decided.items() for table in tables)
    return Settlement((flag,), flag_sections=((flag, sections),))


def _section(table: OccupiedTable, word: OnExistingRows) -> RuleSection:
    """Return the rule that says of a table what the flag says."""
    lines: dict[OnExistingRows, str] = {
        "replace": 'on_existing_rows = "replace"  # the source\'s rows take their place'
    }
    if table.has_key and not table.clashes:
        lines["keep"] = 'on_existing_rows = "keep"  # lets rows stay whose key only the target has'
    others = tuple(line for other, line in lines.items() if other != word)
    return RuleSection(f'[tables."{pattern(table.source)}"]', lines[word], others, f"already there: {table}")


async def _left_without_parents(target: Target, existing: Sequence[OccupiedTable]) -> list[ForeignKey]:
    """Return the foreign keys from rows that stay to tables whose rows give way."""
    keeping = {table.table for table in existing if table.decision == "keep" and not table.is_refused}
    parents = {table.table for table in existing if table.table not in keeping and table.extra}
    children = {table.table for table in existing if table.table in keeping and table.extra}
    if not parents or not children:
        return []
    async with target.connect() as connection:
        keys = [key for key in await keys_of(connection, list(children)) if key.table in children]
    return [key for key in keys if key.parent in parents]


def _cut_off(cut: Sequence[ForeignKey], settles: Settlement) -> RowsInTheWay:
    return RowsInTheWay(
        f"rows would stay that may refer to rows which would give way: {', '.join(map(str, cut))}",
        next_step=f"Give {settles.flags[0]}, by which the rows that are referred to stay as well.",
        keys=[str(key) for key in cut],
    ).settled_with(settles)


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
        next_step=f"Give --kept-limit={_with_room(max(large.values()))}, which takes as much room in the target once "
        "more; or empty the tables yourself.",
        tables=large,
    )


def _with_room(size: int) -> int:
    """
    Return a limit in bytes that a table of ``size`` bytes still keeps when the server has tended to it meanwhile.

    Autovacuum adds a free space map and a visibility map, of 24 KiB and 8 KiB at least (Routine Vacuuming, 24.1), and
    what it frees is not given back.
    """
    return size + size // 10 + 65_536


_SIZES = """
SELECT name, bytes FROM (
    SELECT name, coalesce((SELECT sum(pg_table_size(relid)) FROM pg_partition_tree(CAST(name AS regclass))),
                          pg_table_size(CAST(name AS regclass))) AS bytes
    FROM unnest(CAST(:names AS text[])) AS given(name)
) AS sized WHERE bytes > :most ORDER BY name
"""
