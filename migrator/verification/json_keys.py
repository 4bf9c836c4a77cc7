"""
Learns from the first JSON objects of a column which keys its objects usually have.

Where the keys are known and the objects are flat, documents are compared member by member and without sorting. That
takes half the time. The keys are only a guess. A wrong guess costs time, but the result stays right: ``json_flat_form``
is correct for any document.
"""

import json
import re

from migrator.source.scan import ScanSession
from migrator.source.schema import SourceTable

_SAMPLE = 200

_MOST_KEYS = 40

_MOST_BYTES = 10_000
"""The largest document that is read. A column with a larger document has no usual keys."""

_SIMPLE = re.compile(r"[A-Za-z0-9_-]+")


def usual_keys(session: ScanSession, table: SourceTable, expression: str) -> tuple[str, ...]:
    """Return the keys of the objects that the SQL ``expression`` reads; none for nested objects, or for many keys."""
    [sample] = session.ask(_KEYS.format(expression=expression, table=table.origin, sample=_SAMPLE, most=_MOST_BYTES))
    keys = json.loads(sample["keys"])
    usual = sample["flat"] and 0 < len(keys) <= _MOST_KEYS and all(_SIMPLE.fullmatch(key) for key in keys)
    return tuple(sorted(keys)) if usual else ()


# PostgreSQL writes escaped characters differently, so a document with a backslash has to be parsed.
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
