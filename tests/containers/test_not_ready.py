"""A server that is there, and not ready: late, said to be ready too early, or without room."""

from datetime import datetime, timedelta

from fix_stack import PATIENCE, Stack, command, docker, until


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
    stack.assert_all_is_well()


def test_a_health_check_that_is_wrong(stack: Stack) -> None:
    """Green while the server still initialises, as a check over the socket is: the migrator waits by itself."""
    green = {"test": ["CMD", "pg_isready", "-U", "dryad"], "interval": "1s"}
    late(stack, "until [ -e /tmp/go ]; do sleep 0.1; done", healthcheck=green)
    with stack.going_up() as up:
        until(lambda: stack.events("retry.scheduled", stage="wait"), "the migrator meets a closed port")
        docker("exec", stack.container("postgres"), "touch", "/tmp/go")  # noqa: S108 - the container's own
        assert up.wait(PATIENCE) == 0
    stack.assert_all_is_well()


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
    large_stack.assert_all_is_well()
