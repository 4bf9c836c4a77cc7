"""The image itself: who it runs as, what is in it and what is not, and how large it is."""

import json
from itertools import takewhile
from secrets import token_hex
from typing import Any

import pytest
from fix_stack import MIGRATOR_IMAGE, command, docker, until

pytestmark = pytest.mark.usefixtures("images")

BASE = "python:3.11-slim-bookworm"
CONFINED = ("--read-only", "--tmpfs", "/tmp", "--cap-drop", "ALL", "--security-opt", "no-new-privileges")  # noqa: S108
MOST_MEGABYTES = 220


def inspected(image: str) -> dict[str, Any]:
    """Return what the engine says about an image."""
    (shown,) = json.loads(docker("image", "inspect", image))
    return dict(shown)


def within(program: str, *arguments: str) -> list[str]:
    """Run a program in the image as its user, and return the lines it prints; what it may not look at is skipped."""
    run = ("run", "--rm", "--network", "none", "--entrypoint", program, MIGRATOR_IMAGE, *arguments)
    return command("docker", *run, check=False).stdout.splitlines()


@pytest.mark.parametrize("user", ["10001:10001", "12345:0", "65534:65534"])
def test_it_runs_as_anybody_who_may_do_nothing(user: str) -> None:
    """Read-only, without capabilities, without a network, as its own user or any other."""
    run = ("run", "--rm", *CONFINED, "--network", "none", "--user", user, MIGRATOR_IMAGE)
    assert docker(*run, "--version").startswith("migrator ")
    assert "MIGRATOR_SOURCE_URL" in docker(*run, "run", "--help")


def test_its_layers_are_small() -> None:
    """What stands on top of the base is below the limit, and the self-test's server is not in it."""
    history = docker("history", "--human=false", "--format", "{{.Size}} {{.CreatedBy}}", MIGRATOR_IMAGE).splitlines()
    # The newest comes first, and the last instruction of the base says what it runs.
    ours = list(takewhile(lambda layer: 'CMD ["python3"]' not in layer, history))
    assert len(ours) < len(history)
    assert 0 < sum(int(layer.split()[0]) for layer in ours) / 1e6 < MOST_MEGABYTES
    assert within("sh", "-c", "ls /opt") == ["migrator"]
    assert within("sh", "-c", "ls /opt/migrator/self-test.passed") == ["/opt/migrator/self-test.passed"]


def test_it_says_what_it_is() -> None:
    """User by number, exec form, no health check to wait for, labels, and no word of a secret in its history."""
    config = inspected(MIGRATOR_IMAGE)["Config"]
    assert (config["User"], config["Entrypoint"], config["Cmd"]) == ("10001:10001", ["migrator"], ["run"])
    assert config["Healthcheck"] == {"Test": ["NONE"]}
    labels = {name.removeprefix("org.opencontainers.image."): value for name, value in config["Labels"].items()}
    assert {"title", "description", "licenses", "version", "revision", "base.name"} <= labels.keys()
    assert labels["base.name"] == BASE
    history = docker("history", "--no-trunc", "--format", "{{.CreatedBy}}", MIGRATOR_IMAGE) + str(config["Env"])
    assert [word for word in ("password", "token", "secret", "://") if word in history.lower()] == []


def test_nothing_can_be_installed_compiled_or_written() -> None:
    """No pip anywhere, no compiler, no set-uid program, and no file that its user could change."""
    assert within("sh", "-c", "for name in pip pip3 gcc cc ld strip; do command -v $name; done; true") == []
    assert within("find", "/usr", "/opt", "/app", "-iname", "pip", "-o", "-name", "pip-*") == []
    assert within("find", "/opt", "-name", "python") == ["/opt/migrator/bin/python"]  # the search itself works
    assert within("find", "/", "-xdev", "-type", "f", "-perm", "/6000") == []
    writable = "find / -xdev -type f -writable ! -path '/proc/*' ! -path '/sys/*' ! -path '/dev/*' 2>/dev/null; true"
    assert within("sh", "-c", writable) == []


def test_everything_is_compiled_once_and_for_all() -> None:
    """Each module has byte code that is not checked at run time, so that a read-only start compiles nothing."""
    count = """
import pathlib, importlib.util
folder = pathlib.Path("/opt/migrator/lib")
for path in folder.rglob("*.py"):
    code = pathlib.Path(importlib.util.cache_from_source(path))
    # The flags after the magic number: 1 is "has a hash", without 2, "look whether it still fits" (PEP 552).
    if not code.exists() or code.read_bytes()[4:8] != (1).to_bytes(4, "little"):
        print(path.relative_to(folder))
"""
    unfit = within("python", "-c", count)
    assert [path for path in unfit if "/templates/" not in path] == []


def test_pid_1_hears_the_signal() -> None:
    """`docker stop` while it waits for a server: it ends by itself, with 143 and not with the engine's kill."""
    name = f"e2e-stop-{token_hex(4)}"
    settings = ("--env", "MIGRATOR_SOURCE_URL=/source/a.db", "--env", "MIGRATOR_TARGET_URL=postgresql://u@127.0.0.1/d")
    docker("run", "--detach", "--name", name, *CONFINED, *settings, MIGRATOR_IMAGE, "status")
    try:
        until(lambda: "retry.scheduled" in command("docker", "logs", name).stderr, "it waits for the server")
        docker("stop", "--time", "60", name)
        assert docker("inspect", "--format", "{{.State.ExitCode}} {{.Path}}", name) == "143 migrator"
    finally:
        docker("rm", "--force", name)
