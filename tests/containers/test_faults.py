"""What goes wrong between containers in the middle of a copy: the application comes up, or was not started."""

import time

from fix_stack import PATIENCE, Stack, docker, until


def test_the_server_is_killed(large_stack: Stack) -> None:
    """`docker kill` and `docker start` of PostgreSQL: the run waits for it, and goes on with what is missing."""
    large_stack.begin_slowly()
    with large_stack.going_up() as up:
        large_stack.until_copying()
        postgres = large_stack.container("postgres")
        docker("kill", postgres)
        until(lambda: large_stack.events("retry.scheduled"), "the run notices")
        docker("start", postgres)
        assert up.wait(PATIENCE) == 0
    copied = [line["table"] for line in large_stack.events("table.copied")]
    assert len(copied) == len(set(copied))
    large_stack.assert_all_is_well()


def test_the_migrator_is_stopped(large_stack: Stack) -> None:
    """`docker stop`: 143, the application is not started; the next `up` copies only what is missing."""
    large_stack.begin_slowly()
    with large_stack.going_up() as up:
        large_stack.until_copying()
        docker("stop", large_stack.container("migrator"))
        assert up.wait(PATIENCE) != 0
    assert (large_stack.exit_code(), large_stack.api_was_started()) == (143, False)
    first = {line["table"] for line in large_stack.events("table.copied")}
    assert large_stack.up().returncode == 0
    both = [line["table"] for line in large_stack.events("table.copied")]
    assert len(both) == len(set(both)) > len(first)
    large_stack.assert_all_is_well()


def test_the_network_is_away_for_twenty_seconds(large_stack: Stack) -> None:
    """`docker network disconnect` of PostgreSQL, `connect` after 20 s: the run gets through, on its own."""
    large_stack.begin_slowly()
    network, postgres = f"{large_stack.project}_gremlins-network", large_stack.container("postgres")
    with large_stack.going_up() as up:
        large_stack.until_copying()
        docker("network", "disconnect", network, postgres)
        time.sleep(20)  # the outage itself
        docker("network", "connect", "--alias", "postgres", network, postgres)
        assert up.wait(PATIENCE) == 0
    large_stack.assert_all_is_well()


def test_two_migrators_at_once(large_stack: Stack) -> None:
    """A second one, started in the middle of the first one's copy, waits for it and finds nothing left to do."""
    large_stack.begin_slowly()
    with large_stack.going_up() as up:
        large_stack.until_copying()
        second = large_stack.migrator()
        assert up.wait(PATIENCE) == 0
    assert second.returncode == 0
    assert '"lock.waiting"' in second.stderr
    assert '"table.copied"' not in second.stderr
    large_stack.assert_all_is_well()
