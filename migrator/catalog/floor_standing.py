"""Tells where sequences stand for which a rule says at least where: their floors."""

from collections.abc import Mapping

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from migrator.catalog.sequences import OwnedSequence, Standing, floored_sequences

_DESCRIBED = """
SELECT CAST(s.seqrelid AS regclass)::text AS sequence, s.seqincrement, s.seqmin, s.seqmax
FROM pg_sequence s WHERE s.seqrelid = :oid
"""


async def floor_standings(connection: AsyncConnection, schema: str, floors: Mapping[str, int]) -> list[Standing]:
    """
    Return the standing of each sequence, with its floor as the furthest value, and no column.

    ``floors`` holds the value at which each sequence has to stand at least, by name; the names are looked for in
    ``schema`` first. A floor beyond the sequence's last value counts as that value, and one before its first value asks
    for nothing. Raises ConfigurationError for a name without a sequence.
    """
    standings = []
    for name, oid in (await floored_sequences(connection, schema, floors)).items():
        row = (await connection.execute(text(_DESCRIBED), {"oid": oid})).one()
        feed = OwnedSequence(row.sequence, "", row.seqincrement, row.seqmin, row.seqmax)
        result = await connection.exec_driver_sql(f"SELECT last_value, is_called FROM {feed.sequence}")
        state = result.one()
        following = state.last_value + (feed.increment if state.is_called else 0)
        standings.append(Standing(feed, following, _within(feed, floors[name])))
    return standings


def _within(feed: OwnedSequence, floor: int) -> int | None:
    if feed.increment > 0:
        return None if floor < feed.least else min(floor, feed.most)
    return None if floor > feed.most else max(floor, feed.least)
