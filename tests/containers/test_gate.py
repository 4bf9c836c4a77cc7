"""
The way from SQLite to a working application on PostgreSQL, by the compose files alone.

Most of it shares one installation, so the file runs on one worker, in this order; what changes it comes last.
"""

import json
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from fix_stack import OLDEST, PASSWORD, Stack, answers, application_on_sqlite, ask, command, docker, installed, until

Answers = dict[tuple[str, ...], Any]


@pytest.fixture(scope="module")
def before() -> Answers:
    """Give what the application answered on SQLite; ``migrated`` fills it."""
    return {}


@pytest.fixture(scope="module")
def migrated(
    images: None,
    before: Answers,
    sample_of: Callable[[float], Path],
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Stack]:
    """Give an installation that went the whole way: used on SQLite, then brought up once."""
    del images
    with installed(tmp_path_factory.mktemp("migrated"), sample_of(0.1)) as stack:
        with application_on_sqlite(stack.source.parent) as url:
            user = ask(f"{url}/conversations")[0]["user_id"]
            made = ask(f"{url}/conversations", {"user_id": user, "title": "on SQLite"})
            ask(f"{url}/conversations/{made['id']}/messages", {"content": "the last words here"})
            before |= answers(url)
        done = stack.up()
        assert done.returncode == 0, done.stderr
        yield stack


def test_the_answers_are_equal(migrated: Stack, before: Answers) -> None:
    """The application answers the same on both databases: each field of each row, new ones among them."""
    url = migrated.url()
    assert ask(f"{url}/health")["database"] == "postgresql"
    after = answers(url)
    assert before.keys() == after.keys()
    assert {way: (value, after[way]) for way, value in before.items() if after[way] != value} == {}
    assert "the last words here" in before.values()


def test_the_gate_opened_in_order(migrated: Stack) -> None:
    """PostgreSQL, then the migrator to its end, then the application; and the server is asked over TCP, by name."""
    migrator, api = migrated.inspect("migrator")["State"], migrated.inspect("gremlins-api")["State"]
    assert (migrator["Status"], migrator["ExitCode"], api["Status"]) == ("exited", 0, "running")
    assert migrator["FinishedAt"] <= api["StartedAt"]
    postgres = migrated.inspect("postgres")
    assert postgres["State"]["Health"]["Status"] == "healthy"
    assert "pg_isready -h 127.0.0.1 -U " in postgres["Config"]["Healthcheck"]["Test"][1]


def test_nothing_secret_is_in_what_the_engine_tells(migrated: Stack) -> None:
    """Whoever may run `docker inspect` or `docker logs` learns no password, in no spelling."""
    spellings = [PASSWORD, quote(PASSWORD, safe=""), quote(PASSWORD), json.dumps(PASSWORD)[1:-1]]
    for service in ("postgres", "migrator", "gremlins-api"):
        told = json.dumps(migrated.inspect(service)), migrated.said_by(service)
        assert "POSTGRES_" in told[0]
        assert [spelling for spelling in spellings for text in told if spelling in text] == []


def test_the_smaller_commands_run(migrated: Stack) -> None:
    """`run --rm migrator status` and `verify` exit 0 on what was migrated, and leave no container."""
    status = migrated.migrator("status")
    assert (status.returncode, "complete, every value verified" in status.stdout) == (0, True), status.stderr
    assert migrated.migrator("verify").returncode == 0
    label = f"label=com.docker.compose.project={migrated.project}"
    assert len(docker("ps", "--all", "--quiet", "--filter", label).split()) == 3


def test_a_tampered_copy_is_found(migrated: Stack) -> None:
    """One character in one row: `verify` exits 1 and names table, key and column."""
    conversation = migrated.sql("SELECT id FROM conversations ORDER BY id LIMIT 1")
    title = migrated.sql(f"SELECT title FROM conversations WHERE id = '{conversation}'")
    migrated.sql(f"UPDATE conversations SET title = title || '.' WHERE id = '{conversation}'")
    done = migrated.migrator("verify")
    migrated.sql(f"UPDATE conversations SET title = $t${title}$t$ WHERE id = '{conversation}'")
    assert done.returncode == 1
    assert all(word in done.stderr for word in ("conversations", conversation, "title"))
    assert migrated.migrator("verify").returncode == 0


def test_a_second_up_does_nothing_and_starts_the_application(migrated: Stack) -> None:
    """The same container runs again, copies and compares nothing, and the application starts behind it."""
    container = migrated.container("migrator")
    migrated.compose("stop", "gremlins-api")
    done = migrated.up()
    assert done.returncode == 0, done.stderr
    assert migrated.container("migrator") == container
    first, second = migrated.events("job.finished")
    stages = {line["stage"] for line in migrated.events("stage.finished", run_id=second["run_id"])}
    assert stages.isdisjoint({"preflight", "park", "copy", "restore", "verify"})
    assert second["seconds"] < first["seconds"]
    assert ask(f"{migrated.url()}/health")["database"] == "postgresql"


def test_new_writes_go_on_where_sqlite_stopped(migrated: Stack, before: Answers) -> None:
    """A new conversation and its messages get keys that no row has, and stay when all is brought up again."""
    url = migrated.url()
    keys = [value for way, value in before.items() if len(way) == 4 and (way[1], way[3]) == ("messages", "id")]
    user = before["conversations", "0", "user_id"]
    made = ask(f"{url}/conversations", {"user_id": str(user), "title": "on PostgreSQL"})
    said = [ask(f"{url}/conversations/{made['id']}/messages", {"content": words}) for words in ("first", "second")]
    assert max(keys) < said[0]["id"] < said[1]["id"]
    assert migrated.up().returncode == 0
    shown = ask(f"{migrated.url()}/conversations/{made['id']}")
    assert [message["content"] for message in shown["messages"]] == ["first", "second"]
    assert shown["last_message_id"] == said[1]["id"]


def test_the_way_back(migrated: Stack, tmp_path: Path) -> None:
    """What was written on PostgreSQL is in the new SQLite file, and the application answers the same from it."""
    ours = ("--user", f"{os.getuid()}:{os.getgid()}", "--volume", f"{tmp_path}:/back")
    done = migrated.compose(
        *("run", "--rm", "-T", *ours, "migrator", "rollback", "--to", "/back/dryad.db"), check=False
    )
    assert done.returncode == 0, done.stderr
    after = answers(migrated.url())
    assert "on PostgreSQL" in after.values()
    with application_on_sqlite(tmp_path) as url:
        assert answers(url) == after


def test_compose_1_opens_the_gate_too(stack: Stack) -> None:
    """The same files under Compose 1.29: the application comes up, smaller commands run, again is a no-op."""
    stack.program = OLDEST
    try:
        assert " 1." in command(*OLDEST, "version").stdout.splitlines()[0]
    except (OSError, AssertionError):
        pytest.skip("Compose 1 is not installed; scripts/container/engine.sh does it")
    for _ in range(2):
        done = stack.up()
        assert done.returncode == 0, done.stderr
        until(lambda: stack.exit_code() is not None, "the migrator's end")
        assert ask(f"{stack.url()}/health")["database"] == "postgresql"
    assert len(stack.events("job.finished")) == 2
    assert stack.migrator("status").returncode == 0
