"""The cut-over in two steps of docs/how-to/rehearse-and-cut-over.md: a first copy, and what has changed since."""

from collections.abc import Iterator
from contextlib import contextmanager
from threading import Event, Thread

from fix_stack import Stack, answers, application_on_sqlite, ask, until


@contextmanager
def written_to(url: str, conversation: str) -> Iterator[list[str]]:
    """Let a user write one message after the other, and give those that the application has taken."""
    taken: list[str] = []
    ends = Event()

    def write() -> None:
        while not ends.is_set():
            words = f"while it was copied: {len(taken)}"
            ask(f"{url}/conversations/{conversation}/messages", {"content": words})
            taken.append(words)

    writer = Thread(target=write, daemon=True)
    writer.start()
    try:
        yield taken
        assert writer.is_alive(), "the application did not take a message while its file was read"
    finally:
        ends.set()
        writer.join()


def test_the_two_steps(stack: Stack) -> None:
    """The first copy closes the gate and disturbs nobody; the refresh brings what came since, and opens it."""
    with application_on_sqlite(stack.source.parent) as url:
        made = ask(f"{url}/conversations", {"user_id": ask(f"{url}/conversations")[0]["user_id"], "title": "going on"})
        with written_to(url, made["id"]) as taken:
            until(lambda: taken, "a first message")
            first = stack.migrator("run", "--rehearsal", "--snapshot")
            already = len(taken)
            until(lambda: len(taken) > already + 5, "messages after the first copy")
        assert first.returncode == 0, first.stderr
        copied = int(stack.sql("SELECT count(*) FROM messages WHERE content LIKE 'while it was copied%'"))
        assert copied < len(taken)
        assert stack.migrator("status").returncode == 6
        assert stack.up().returncode != 0
        assert (stack.exit_code(), stack.api_was_started()) == (2, False)
        told = stack.migrator("check", "--refresh", "--snapshot")
        assert told.returncode == 0, told.stderr
        assert f"{len(taken) - copied} rows to insert" in told.stdout
        assert "the window: about" in told.stdout
        before = answers(url)
    done = stack.migrator("run", "--refresh")
    assert done.returncode == 0, done.stderr
    assert stack.up().returncode == 0
    assert (stack.exit_code(), stack.api_was_started()) == (0, True)
    assert ask(f"{stack.url()}/health")["database"] == "postgresql"
    after = answers(stack.url())
    assert after == before
    assert set(taken) <= set(after.values())
    said = ask(f"{stack.url()}/conversations/{made['id']}/messages", {"content": "on PostgreSQL"})
    keys = [value for way, value in before.items() if len(way) == 4 and (way[1], way[3]) == ("messages", "id")]
    assert said["id"] > max(keys)
