"""Asks the source where sequences have to stand at least, as the rules ``at_least`` say by SQL."""

import asyncio
from collections.abc import Mapping

from migrator.errors import ConfigurationError, SourceUnreadable
from migrator.source.database import Source
from migrator.sql.conditions import check_query
from migrator.sql.lexing import Unreadable

Floors = Mapping[str, int]
"""The value at which a sequence has to stand at least, by the sequence's name as the rule has it."""


async def sequence_floors(source: Source, queries: Mapping[str, str]) -> Floors:
    """
    Return the answers of the ``queries``, by the sequence's name; without those that are NULL or have no row.

    Raises ConfigurationError for a query that is no single SELECT, that fails, whose answer is no single whole number,
    or whose answer may change with time, and SourceUnreadable.
    """
    if not queries:
        return {}
    return await asyncio.to_thread(_asked, source, queries)


def _asked(source: Source, queries: Mapping[str, str]) -> Floors:
    floors: dict[str, int] = {}
    with source.session() as session:
        for name, query in queries.items():
            try:
                check_query(query)
                session.ask(f"EXPLAIN SELECT (\n{query}\n)")  # in parentheses SQLite takes nothing that writes
                rows = session.ask(_FORM.format(query=query))
            except Unreadable as error:
                raise _refusal(name, query, str(error)) from error
            except SourceUnreadable as error:
                if not error.is_about_a_statement:
                    raise
                raise _refusal(name, query, error.driver_message) from error
            if len(rows) > 1:
                raise _refusal(name, query, "it gives several rows, and one value is wanted")
            for row in rows:
                if row["kind"] not in {"integer", "null"}:
                    raise _refusal(name, query, f"its value is {row['kind']}, and a whole number is wanted")
                if row["kind"] == "integer":
                    floors[name] = int(row["number"])
    return floors


# Without a name for the query: a table of the source may have any.
_FORM = """
SELECT typeof(value) AS kind, iif(typeof(value) = 'integer', value, 0) AS number
FROM (SELECT NULL AS value WHERE 0 UNION ALL SELECT * FROM (
{query}
)) LIMIT 2
"""


def _refusal(sequence: str, query: str, reason: str) -> ConfigurationError:
    return ConfigurationError(
        f"the rule at_least of sequence {sequence!r} gives no value of the source: {query!r}: {reason}",
        next_step="Correct it: one SELECT over the source that gives one whole number. `sqlite3 FILE` tries it.",
        sequence=sequence,
        at_least=query,
    )
