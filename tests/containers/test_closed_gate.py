"""What the migration refuses keeps the application from starting, and says why."""

import sqlite3
from contextlib import closing

from fix_stack import PASSWORD, Stack, ask


def test_a_value_that_cannot_be_carried_closes_the_gate(stack: Stack) -> None:
    """Exit 3, the row is named, no row was written, no application starts; mended, the next `up` gets through."""
    with closing(sqlite3.connect(stack.source)) as source:
        (key,) = source.execute("SELECT id FROM conversations LIMIT 1").fetchone()
        source.execute("UPDATE conversations SET token_budget = 'a lot' WHERE id = ?", (key,))
        source.commit()
    done = stack.up()
    assert done.returncode != 0
    assert (stack.exit_code(), stack.api_was_started()) == (3, False)
    (refused,) = stack.events("values.refused")
    assert (refused["table"], refused["column"]) == ("conversations", "token_budget")
    assert key in str(refused)
    assert stack.sql("SELECT count(*) FROM conversations") == "0"
    assert stack.migrator("check").returncode == 3

    with closing(sqlite3.connect(stack.source)) as source:
        source.execute("UPDATE conversations SET token_budget = NULL WHERE id = ?", (key,))
        source.commit()
    assert stack.migrator("check").returncode == 0
    assert stack.up().returncode == 0
    assert ask(f"{stack.url()}/health")["database"] == "postgresql"


def test_a_wrong_password_closes_the_gate(stack: Stack) -> None:
    """Exit 2 without a second try, and neither the right nor the wrong password is said."""
    assert stack.compose("up", "--detach", "--wait", "postgres").returncode == 0
    stack.secret("postgres_password", "not the one")
    assert stack.up().returncode != 0
    assert (stack.exit_code(), stack.api_was_started()) == (2, False)
    assert stack.events("retry.scheduled") == []
    said = stack.said_by("migrator")
    assert "POSTGRES_PASSWORD" in said
    assert PASSWORD not in said
    assert "not the one" not in said


def test_a_missing_source_closes_the_gate(stack: Stack) -> None:
    """A slip in SOURCE_FILE: exit 3, and the path is named."""
    stack.set(SOURCE_FILE="dryad.sqlite")
    assert stack.up().returncode != 0
    assert (stack.exit_code(), stack.api_was_started()) == (3, False)
    assert "/source/dryad.sqlite" in stack.events("job.failed")[0]["message"]


def test_a_source_with_an_unwritten_log_is_carried_whole(stack: Stack) -> None:
    """
    A database in WAL mode whose last rows stand in the log, in a folder mounted read-only.

    Without a snapshot SQLite can't open it, and the job says so (3); with one, the rows of the log arrive too.
    """
    stack.source.rename(source := stack.folder / "live.db")
    with closing(sqlite3.connect(source)) as live:
        live.execute("PRAGMA journal_mode=WAL")
        live.execute("PRAGMA wal_autocheckpoint=0")
        live.execute("UPDATE conversations SET title = 'in the log'")
        live.commit()
        # Copied while it is open: closing would bring the log into the file.
        for suffix in ("", "-wal"):
            target = stack.source.with_name(f"dryad.db{suffix}")
            target.write_bytes(source.with_name(f"live.db{suffix}").read_bytes())
            target.chmod(0o644)
    assert stack.up().returncode != 0
    assert (stack.exit_code(), stack.api_was_started()) == (3, False)
    assert "snapshot" in str(stack.events("job.failed")[0])
    stack.set(MIGRATOR_SNAPSHOT="true")
    assert stack.up().returncode == 0
    assert stack.sql("SELECT DISTINCT title FROM conversations") == "in the log"
    assert sorted(path.name for path in stack.source.parent.iterdir()) == ["dryad.db", "dryad.db-wal"]
