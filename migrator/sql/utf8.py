"""
Writes SQL expressions for the UTF-8 bytes of the source's text. The file may store its text in any encoding.

A file may store its text in UTF-16 (SQLite, "PRAGMA encoding"). The driver translates text that it reads, but a cast to
BLOB, ``hex`` and ``octet_length`` see the stored bytes.
"""

IS_UTF16 = "octet_length('a') = 2"
"""A condition in SQLite's SQL that is true for a file in UTF-16. It is constant, so SQLite computes it once for each
statement."""


def utf8_bytes(expression: str) -> str:
    """
    Return SQL for the bytes in UTF-8 of the text ``expression``. A BLOB stays unchanged, a number becomes its digits.

    NULL stays NULL. SQLite has no function that translates text into bytes. But JSONB stores a string in UTF-8,
    unchanged, after a header whose length follows from its first four bits (SQLite, "The JSONB Format", 3.2).
    """
    size = "substr(hex(substr(j, 1, 1)), 1, 1)"
    header = f"CASE {size} WHEN 'C' THEN 3 WHEN 'D' THEN 4 WHEN 'E' THEN 6 WHEN 'F' THEN 10 ELSE 2 END"
    translated = f"(SELECT substr(j, {header}) FROM (SELECT jsonb_replace('0', '$', CAST({expression} AS TEXT)) AS j))"
    as_stored = f"NOT {IS_UTF16} OR typeof({expression}) IN ('blob', 'null')"
    return f"iif({as_stored}, CAST({expression} AS BLOB), {translated})"


def is_broken_utf16(expression: str) -> str:
    """
    Return a condition that is true for text with half a pair of surrogates, which is read as another character.

    SQLite's text functions convert to UTF-8 and back, and for half a pair the result differs from the stored text.
    """
    again = f"replace({expression}, 'a', 'a')"
    return f"typeof({expression}) = 'text' AND CAST({again} AS BLOB) IS NOT CAST({expression} AS BLOB)"
