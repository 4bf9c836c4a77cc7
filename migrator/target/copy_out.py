"""Reads one column of text by COPY, line by line, in the transaction of a SQLAlchemy connection."""

from collections.abc import Callable

from sqlalchemy.ext.asyncio import AsyncConnection

from migrator.sessions.connections import driver_of


async def copy_lines_out(connection: AsyncConnection, query: str, write: Callable[[bytes], object]) -> int:
    """
    Pass the lines of a query with one column of text to ``write``, each with a line break; return their number.

    The texts must not contain control characters. ``write`` gets parts that may be cut anywhere. ``connection`` must be
    in a transaction that a statement has begun. Raises what ``write`` and asyncpg raise.
    """
    driver = await driver_of(connection)

    async def pass_on(part: bytes) -> None:
        write(part)

    # COPY's text format doubles backslashes. The CSV format leaves a text as it is unless it contains the delimiter,
    # the quote or a line break, so two control characters are these (PostgreSQL, "COPY").
    status: str = await driver.copy_from_query(query, output=pass_on, format="csv", delimiter="\x02", quote="\x01")
    return int(status.rpartition(" ")[2])
