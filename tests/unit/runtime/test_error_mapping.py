"""Explain: every foreign error becomes one of ours, with the right exit code, a plain line and a next step."""

import errno
import sqlite3
import ssl
from pathlib import Path

import asyncpg
import pytest
from adbc_driver_sqlite import dbapi
from errors_seen import FINAL, TRANSIENT, adbc, os_error
from fix_postgres import Database

from migrator.errors import (
    ConfigurationError,
    GaveUp,
    MigratorError,
    MissingPrivilege,
    SourceUnreadable,
    TargetRefused,
)
from migrator.runtime.error_mapping import to_migrator_error


@pytest.mark.parametrize(
    ("error", "kind", "words"),
    [
        (asyncpg.InvalidPasswordError("password authentication failed"), ConfigurationError, "refused the login"),
        (asyncpg.InvalidAuthorizationSpecificationError("no pg_hba.conf entry"), ConfigurationError, "pg_hba.conf"),
        (asyncpg.InvalidCatalogNameError('database "d" does not exist'), ConfigurationError, "CREATE DATABASE"),
        (asyncpg.InsufficientPrivilegeError("permission denied for table t"), MissingPrivilege, "Grant"),
        (asyncpg.DiskFullError("could not extend file"), TargetRefused, "the server's disk is full"),
        (asyncpg.OutOfMemoryError("out of memory"), TargetRefused, "out of memory"),
        (asyncpg.ReadOnlySQLTransactionError("cannot execute INSERT"), TargetRefused, "primary"),
        (asyncpg.QueryCanceledError("canceling statement"), TargetRefused, "statement_timeout"),
        (asyncpg.UniqueViolationError("duplicate key value"), TargetRefused, "a constraint of the target"),
        (asyncpg.UndefinedTableError('relation "t" does not exist'), TargetRefused, "the server refused"),
        (asyncpg.ConfigurationLimitExceededError("temp_file_limit"), TargetRefused, "a limit"),
        (ConnectionError('server at "h:1" rejected SSL upgrade'), ConfigurationError, "sslmode"),
        (ssl.SSLCertVerificationError(1, "certificate verify failed"), ConfigurationError, "sslrootcert"),
        (adbc("[libpq] server does not support SSL, but SSL was required"), ConfigurationError, "TLS"),
        (adbc("[libpq] FATAL: password authentication failed"), ConfigurationError, "refused the login"),
        (adbc("[libpq] something else"), TargetRefused, "something else"),
        (adbc("[SQLite] database disk image is malformed"), SourceUnreadable, "integrity_check"),
        (os_error(errno.ENOSPC), ConfigurationError, "TMPDIR"),
        (os_error(errno.EACCES, "/data/report.json"), ConfigurationError, "/data/report.json"),
        (asyncpg.exceptions.ClientConfigurationError("unexpected"), ConfigurationError, "address"),
        (asyncpg.InterfaceError("another operation is in progress"), TargetRefused, "another operation"),
    ],
    ids=lambda value: getattr(value, "__name__", None),
)
def test_what_an_operator_reads(error: Exception, kind: type[MigratorError], words: str) -> None:
    """The class decides the exit code; message and next step say what it is and what to do."""
    known = to_migrator_error(error)
    assert type(known) is kind
    assert words in f"{known} {known.next_step}"
    assert known.next_step
    assert "\n" not in str(known)


@pytest.mark.parametrize("error", TRANSIENT.values(), ids=list(TRANSIENT))
def test_what_is_transient_was_given_up(error: Exception) -> None:
    """Who explains has stopped retrying: exit code 5 says that another run may succeed."""
    assert type(to_migrator_error(error)) is GaveUp


@pytest.mark.parametrize("name", FINAL)
def test_nothing_final_asks_for_another_run(name: str) -> None:
    """A final refusal under exit code 5 would be retried for ever by Kubernetes."""
    assert not isinstance(to_migrator_error(FINAL[name]), GaveUp)


@pytest.mark.parametrize(
    "error", [TypeError("unsupported operand"), KeyError("grove"), AssertionError(), RuntimeError()]
)
def test_a_bug_is_not_explained(error: Exception) -> None:
    """Dressed as a refusal of the target it would send the operator to the wrong place."""
    assert to_migrator_error(error) is None


def test_our_own_errors_stay_as_they_are() -> None:
    """They were raised where the matter is known best."""
    error = TargetRefused("no", next_step="go", table="t")
    assert to_migrator_error(error) is error


def test_the_gravest_of_a_group_speaks() -> None:
    """When the disk is full other tables may lose their connections at the same moment; the disk is the news."""
    refusal = asyncpg.DiskFullError("no space left")
    assert type(to_migrator_error(ExceptionGroup("", [TimeoutError(), ExceptionGroup("", [refusal])]))) is TargetRefused
    assert to_migrator_error(ExceptionGroup("", [TimeoutError(), TypeError()])) is None


async def test_no_rows_in_the_message(database: Database) -> None:
    """PostgreSQL quotes the row in DETAIL, which is personal data in a log."""
    await database.execute("CREATE TABLE t (k text PRIMARY KEY); INSERT INTO t VALUES ('s3cret row')")
    with pytest.raises(asyncpg.UniqueViolationError) as caught:
        await database.execute("INSERT INTO t VALUES ('s3cret row')")
    assert "s3cret row" in str(caught.value)
    known = to_migrator_error(caught.value)
    assert known is not None
    assert "s3cret row" not in f"{known} {known.facts}"
    assert known.facts["sqlstate"] == "23505"


@pytest.mark.parametrize("way", ["sqlite3", "adbc"])
def test_a_file_that_is_no_database(tmp_path: Path, way: str) -> None:
    """Whichever library finds out, the source is to blame."""
    path = tmp_path / "x.db"
    path.write_bytes(b"no database at all" * 100)
    connect = sqlite3.connect if way == "sqlite3" else dbapi.connect
    connection = connect(str(path))
    try:
        with pytest.raises(Exception, match="not a database") as caught:
            connection.cursor().execute("SELECT * FROM sqlite_schema").fetchall()
    finally:
        connection.close()
    assert type(to_migrator_error(caught.value)) is SourceUnreadable
