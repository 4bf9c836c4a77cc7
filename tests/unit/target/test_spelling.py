"""What is told of a text that PostgreSQL doesn't take: the server's words, in any language, without the value."""

import adbc_driver_postgresql.dbapi as adbc
import pytest
from adbc_driver_manager import AdbcStatusCode
from fix_postgres import Database

from migrator.names import TableName
from migrator.sessions.url import from_url
from migrator.target.spelling import NoValue, Spelling, message_without_text

VALUE = 'my "secret"\nERROR: of two lines'
WORDS = {
    "English": (f'invalid input syntax for type inet: "{VALUE}"', "invalid input syntax for type inet"),
    "French": (
        f"syntaxe en entrée invalide pour le type inet : « {VALUE} »",
        "syntaxe en entrée invalide pour le type inet",
    ),
    "German": (f"ungültige Eingabesyntax für Typ inet: „{VALUE}“", "ungültige Eingabesyntax für Typ inet"),
    "a part of it": ('Token "secret" is invalid.', 'Token "…" is invalid.'),
    "a name": ('value for domain "short" violates check', 'value for domain "short" violates check'),
}


@pytest.mark.parametrize("language", WORDS)
def test_words_of_any_language(language: str) -> None:
    """A role that is no superuser can't choose it. What is quoted of the value is left out, and nothing else."""
    message, told = WORDS[language]
    error = adbc.DataError(
        f"INVALID_DATA: Failed to execute: FEHLER:  {message}",
        status_code=AdbcStatusCode.INVALID_DATA,
        sqlstate="22P02",
        details=[("PG_DIAG_MESSAGE_PRIMARY", message.encode())],
    )
    assert message_without_text(error, VALUE) == told


@pytest.mark.parametrize(
    "value", ["x", "1.2.3.4.5", VALUE, "ERROR: yes", 'a"b'], ids=["x", "digits", "lines", "error", "quotes"]
)
async def test_words_of_a_server(value: str, database: Database) -> None:
    """Whatever the text has in it, the reason is that of the server and shows nothing of it."""
    await database.execute("CREATE TABLE t (a inet)")
    spelling = Spelling(from_url(database.url, {}), TableName("public", "t"))
    try:
        assert spelling.of("a", [value]) == [NoValue("invalid input syntax for type inet")]
    finally:
        spelling.close()
