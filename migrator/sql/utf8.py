"""
Writes SQL for the UTF-8 bytes of the source's text, in whatever encoding the file keeps it.

A file may keep its text in UTF-16 (SQLite, "PRAGMA encoding"). The driver translates text that it reads; a cast
to BLOB, ``hex`` and ``octet_length`` see the bytes as they are stored.
"""

IS_UTF16 = "octet_length('a') = 2"
"""A condition in SQLite's SQL that is true in such a file; constant, so that it is worked out once for a statement."""


def utf8_bytes(expression: str) -> str:
    """
    Return SQL for the bytes of a text in UTF-8; a BLOB as it is, a number as its digits, and NULL for NULL.

    No function translates text into bytes. But a string in JSONB is kept in UTF-8, as it is, behind a header whose
    length the first four bits tell (SQLite, "The JSONB Format", 3.2).
    """
    size = "substr(hex(substr(j, 1, 1)), 1, 1)"
    header = f"CASE {size} WHEN 'C' THEN 3 WHEN 'D' THEN 4 WHEN 'E' THEN 6 WHEN 'F' THEN 10 ELSE 2 END"
    translated = f"(SELECT substr(j, {header}) FROM (SELECT jsonb_replace('0', '$', CAST({expression} AS TEXT)) AS j))"
    as_stored = f"NOT {IS_UTF16} OR typeof({expression}) IN ('blob', 'null')"
    return f"iif({as_stored}, CAST({expression} AS BLOB), {translated})"


def is_broken_utf16(expression: str) -> str:
    """
    Return a condition that is true for text with half a pair of surrogates, which reads as another character.

    A function that makes text goes through UTF-8, and what comes back is not what is stored.
    """
    again = f"replace({expression}, 'a', 'a')"
    return f"typeof({expression}) = 'text' AND CAST({again} AS BLOB) IS NOT CAST({expression} AS BLOB)"
