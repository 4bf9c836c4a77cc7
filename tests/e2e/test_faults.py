"""What goes wrong between containers in the middle of a copy: the application comes up, or was not started."""

import time
from datetime import datetime, timedelta

from fix_stack import PATIENCE, Stack, ask, command, docker, until


def begin(stack: Stack) -> None:
    """Bring up the server behind a slow cable, so that what comes next meets a copy under way."""
    stack.compose("up", "--detach", "--wait", "postgres")
    stack.slow_down()


def assert_all_is_well(stack: Stack) -> None:
    """Every value is in the target, each table was copied once, and the application answers."""
    assert stack.exit_code() == 0
    assert stack.migrator("verify").returncode == 0
    assert ask(f"{stack.url()}/health")["database"] == "postgresql"


def test_the_server_is_killed(large_stack: Stack) -> None:
    """`docker kill` and `docker start` of PostgreSQL: the run waits for it, and goes on with what is missing."""
    begin(large_stack)
    with large_stack.going_up() as up:
        large_stack.until_copying()
        postgres = large_stack.container("postgres")
        docker("kill", postgres)
        until(lambda: large_stack.events("retry.scheduled"), "the run notices")
        docker("start", postgres)
        assert up.wait(PATIENCE) == 0
    copied = [line["table"] for line in large_stack.events("table.copied")]
    assert len(copied) == len(set(copied))
    assert_all_is_well(large_stack)


def test_the_migrator_is_stopped(large_stack: Stack) -> None:
    """`docker stop`: 143, the application is not started; the next `up` copies only what is missing."""
    begin(large_stack)
    with large_stack.going_up() as up:
        large_stack.until_copying()
        docker("stop", large_stack.container("migrator"))
        assert up.wait(PATIENCE) != 0
    assert (large_stack.exit_code(), large_stack.api_was_started()) == (143, False)
    first = {line["table"] for line in large_stack.events("table.copied")}
    assert large_stack.up().returncode == 0
    both = [line["table"] for line in large_stack.events("table.copied")]
    assert len(both) == len(set(both)) > len(first)
    assert_all_is_well(large_stack)


def test_the_network_is_away_for_twenty_seconds(large_stack: Stack) -> None:
    """`docker network disconnect` of PostgreSQL, `connect` after 20 s: the run gets through, on its own."""
    begin(large_stack)
    network, postgres = f"{large_stack.project}_gremlins-network", large_stack.container("postgres")
    with large_stack.going_up() as up:
        large_stack.until_copying()
        docker("network", "disconnect", network, postgres)
        time.sleep(20)  # the outage itself
        docker("network", "connect", "--alias", "postgres", network, postgres)
        assert up.wait(PATIENCE) == 0
    assert_all_is_well(large_stack)


def test_the_connection_falls_silent(large_stack: Stack) -> None:
    """Packets vanish both ways, so nobody is told of anything: the run notices by itself, and gets through later."""
    begin(large_stack)
    with large_stack.going_up() as up:
        large_stack.until_copying()
        for chain, end in (("INPUT", "--dport"), ("OUTPUT", "--sport")):
            large_stack.in_network_of("postgres", "iptables", "-I", chain, "-p", "tcp", end, "5432", "-j", "DROP")
        until(lambda: large_stack.events("retry.scheduled"), "the run notices")
        large_stack.in_network_of("postgres", "iptables", "-F")
        assert up.wait(PATIENCE) == 0
    assert_all_is_well(large_stack)


def test_two_migrators_at_once(large_stack: Stack) -> None:
    """A second one, started in the middle of the first one's copy, waits for it and finds nothing left to do."""
    begin(large_stack)
    with large_stack.going_up() as up:
        large_stack.until_copying()
        second = large_stack.migrator()
        assert up.wait(PATIENCE) == 0
    assert second.returncode == 0
    assert '"lock.waiting"' in second.stderr
    assert '"table.copied"' not in second.stderr
    assert_all_is_well(large_stack)


def test_the_servers_disk_is_full(large_stack: Stack) -> None:
    """No room for the rows: exit 4, the application is not started; with room, the next `up` goes on."""
    script = large_stack.folder / "20-small-disk.sql"
    script.write_text(
        "CREATE TABLESPACE small LOCATION '/small'; ALTER DATABASE dryad SET default_tablespace = small;",
        encoding="utf-8",
    )
    script.chmod(0o644)
    large_stack.override(
        postgres={
            "tmpfs": ["/small:size=12m,uid=70,gid=70,mode=0700"],
            "volumes": [f"{script}:/docker-entrypoint-initdb.d/{script.name}:ro"],
        }
    )
    assert large_stack.up().returncode != 0
    assert (large_stack.exit_code(), large_stack.api_was_started()) == (4, False)
    assert "disk is full" in large_stack.events("job.failed")[0]["message"]
    server = str(large_stack.inspect("postgres")["State"]["Pid"])
    command("nsenter", "--target", server, "--mount", "mount", "-o", "remount,size=200m", "/small")
    assert large_stack.up().returncode == 0
    assert_all_is_well(large_stack)


# --- A server that isn't ready ----------------------------------------------------------------------------------------


def late(stack: Stack, script: str, **more: object) -> None:
    """Let the server take its time to initialise; meanwhile its temporary server answers on the socket only."""
    path = stack.folder / "00-late.sh"
    path.write_text(f"{script}\n", encoding="utf-8")
    path.chmod(0o644)
    stack.override(postgres={"volumes": [f"{path}:/docker-entrypoint-initdb.d/{path.name}:ro"], **more})


def test_a_server_that_is_healthy_after_forty_seconds(stack: Stack) -> None:
    """The migrator is not started before, and the application comes up behind it."""
    late(stack, "sleep 40")
    done = stack.up()
    assert done.returncode == 0, done.stderr
    begun, started = (stack.inspect(service)["State"]["StartedAt"][:19] for service in ("postgres", "migrator"))
    assert datetime.fromisoformat(started) - datetime.fromisoformat(begun) >= timedelta(seconds=40)
    assert stack.events("retry.scheduled") == []
    assert_all_is_well(stack)


def test_a_health_check_that_is_wrong(stack: Stack) -> None:
    """Green while the server still initialises, as a check over the socket is: the migrator waits by itself."""
    green = {"test": ["CMD", "pg_isready", "-U", "dryad"], "interval": "1s"}
    late(stack, "until [ -e /tmp/go ]; do sleep 0.1; done", healthcheck=green)
    with stack.going_up() as up:
        until(lambda: stack.events("retry.scheduled", stage="wait"), "the migrator meets a closed port")
        docker("exec", stack.container("postgres"), "touch", "/tmp/go")  # noqa: S108 - the container's own
        assert up.wait(PATIENCE) == 0
    assert_all_is_well(stack)
