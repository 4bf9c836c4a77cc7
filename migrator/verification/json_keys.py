"""
The keys that the JSON objects of a column usually have, learnt from its first few.

Where they are known, and the objects are flat, two documents are compared member by member and nothing is sorted: half
of the time that documents cost. What the keys are is a guess that decides about time alone: the form sees to the rest.
"""

import json
import re

from migrator.source.scan import ScanSession
from migrator.source.schema import SourceTable

_SAMPLE = 200

_MOST_KEYS = 40

_MOST_BYTES = 10_000
"""Of a document that is looked into; longer ones are none of the usual."""

_SIMPLE = re.compile(r"[A-Za-z0-9_-]+")


def usual_keys(session: ScanSession, table: SourceTable, expression: str) -> tuple[str, ...]:
    """Return the keys of the objects that the SQL ``expression`` gives; none if they are nested, or of many kinds."""
    [found] = session.ask(_KEYS.format(expression=expression, table=table.origin, sample=_SAMPLE, most=_MOST_BYTES))
    keys = json.loads(found["keys"])
    usual = found["flat"] and 0 < len(keys) <= _MOST_KEYS and all(_SIMPLE.fullmatch(key) for key in keys)
    return tuple(sorted(keys)) if usual else ()


# An escaped character is spelled otherwise by PostgreSQL, and so has to be read.
_KEYS = """
WITH sample AS (
    SELECT given, CASE WHEN typeof(given) = 'text' AND json_valid(given) THEN json_type(given) = 'object'
        AND instr(substr(ltrim(given), 2), '{{') = 0 AND instr(given, '\\') = 0 ELSE 0 END AS is_flat
    FROM (SELECT iif(octet_length({expression}) > {most}, '', {expression}) AS given FROM {table} LIMIT {sample})
    WHERE given IS NOT NULL
)
SELECT (SELECT min(is_flat) FROM sample) AS flat,
       (SELECT json_group_array(DISTINCT member.key)
        FROM sample, json_each(CASE WHEN is_flat THEN given ELSE '{{}}' END) AS member) AS keys
"""
