"""Translates an error of the server about a row into a problem code."""

import asyncpg

from migrator.types import ProblemCode

_CODES = (
    ("no partition of relation", ProblemCode.NO_PARTITION),
    ("row is too big", ProblemCode.ROW_TOO_WIDE),
    ("index row", ProblemCode.INDEX_ENTRY_TOO_LONG),
    ("duplicate key", ProblemCode.DUPLICATE_KEY),
    ("violates exclusion", ProblemCode.EXCLUDED_BY_OTHER_ROW),
    ("conflicting key", ProblemCode.EXCLUDED_BY_OTHER_ROW),
    ("violates check", ProblemCode.CHECK_VIOLATED),
    ("in encoding", ProblemCode.NOT_IN_ENCODING),
    ("violates", ProblemCode.SERVER_REJECTS_ROW),
)
"""Words of the server's messages, each with its code. A SQLSTATE is not enough: 54000 and 23514 stand for two each."""


def code_of(error: asyncpg.PostgresError) -> ProblemCode:
    """Return the code of the server's error; CONSTRAINT_FAILS if it doesn't say that a row breaks a constraint."""
    message = message_of(error)
    return next((code for words, code in _CODES if words in message), ProblemCode.CONSTRAINT_FAILS)


def message_of(error: asyncpg.PostgresError) -> str:
    """Return the server's message without the value in it, since values must not be shown."""
    return str(error).partition("\n")[0].partition(': "')[0]
