"""The second example in containers: its Alembic scripts reach the migrator by an image that has both, or a mount."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from secrets import token_hex

import pytest
from fix_job import clean_environment
from fix_stack import MIGRATOR_IMAGE, ROOT, docker, until

NOTES = ROOT / "examples" / "notes"
APPLICATION_IMAGE = "migrator-e2e-notes"
BOTH_IMAGE = "migrator-e2e-notes-migrator"
BODIES = ["木 and ü", "line\nbreak"]


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """Give a folder with a database that the application has written."""
    folder = tmp_path / "data"
    folder.mkdir()
    url = f"sqlite:///{folder / 'notes.db'}"
    environment = clean_environment() | {"DATABASE_URL": url, "PYTHONPATH": str(NOTES)}
    commands: list[tuple[str, ...]] = [("alembic", "--config", str(NOTES / "alembic.ini"), "upgrade", "head")]
    commands += [("notes", "add", "trees", body) for body in BODIES]
    for command in commands:
        subprocess.run([sys.executable, "-m", *command], env=environment, check=True, capture_output=True, cwd=NOTES)
    return folder


@pytest.fixture
def postgres(images: None) -> Iterator[str]:
    """Give the name of a PostgreSQL container, which is that of its network too."""
    del images
    name = f"e2e-notes-{token_hex(4)}"
    docker("network", "create", name)
    try:
        docker(
            *("run", "--detach", "--name", name, "--network", name, "--tmpfs", "/var/lib/postgresql/data"),
            *("--env", "POSTGRES_PASSWORD=secret", "postgres:15-alpine"),
        )
        ready = ("exec", name, "pg_isready", "-h", "127.0.0.1", "-U", "postgres")
        until(lambda: docker(*ready), "the server")
        yield name
    finally:
        docker("rm", "--force", "--volumes", name)
        docker("network", "rm", name)


def migrate(image: str, postgres: str, source: Path, *arguments: str) -> str:
    """Run an image that migrates, as hardened as the compose file has it; return what it printed."""
    hardened = ("--read-only", "--tmpfs", "/tmp", "--cap-drop", "ALL", "--security-opt", "no-new-privileges")  # noqa: S108
    return docker(
        *("run", "--rm", "--network", postgres, *hardened, "--user", f"{os.getuid()}:{os.getgid()}"),
        *("--volume", f"{source}:/source:ro", "--env", "MIGRATOR_SOURCE_URL=/source/notes.db"),
        *("--env", f"MIGRATOR_TARGET_URL=postgresql://postgres:secret@{postgres}/postgres"),
        *(*arguments, image),
    )


def test_an_image_that_has_both(postgres: str, source: Path) -> None:
    """FROM the application's image, by three build arguments; afterwards the application finds its notes there."""
    python = docker(
        "inspect", "--format", '{{index .Config.Labels "org.opencontainers.image.base.name"}}', MIGRATOR_IMAGE
    )
    docker("build", "--quiet", "--build-arg", f"PYTHON_IMAGE={python}", "--tag", APPLICATION_IMAGE, NOTES, timeout=300)
    names = {"MIGRATOR_IMAGE": MIGRATOR_IMAGE, "APPLICATION_IMAGE": APPLICATION_IMAGE, "APPLICATION_PATH": "/srv/notes"}
    arguments = [word for name, value in names.items() for word in ("--build-arg", f"{name}={value}")]
    dockerfile = ROOT / "examples" / "Dockerfile.with-application"
    docker("build", "--quiet", "--file", dockerfile, *arguments, "--tag", BOTH_IMAGE, ROOT / "examples")
    assert "migrated: every value of every row is in the target" in migrate(BOTH_IMAGE, postgres, source)
    url = f"DATABASE_URL=postgresql+psycopg://postgres:secret@{postgres}/postgres"
    listed = docker("run", "--rm", "--network", postgres, "--env", url, APPLICATION_IMAGE, "list")
    assert [note["body"] for note in json.loads(listed)] == BODIES
    docker("run", "--rm", "--network", postgres, "--env", url, APPLICATION_IMAGE, "add", "trees", "new")


def test_a_mount(postgres: str, source: Path) -> None:
    """The migrator's image as it is, with the application's folder beside it."""
    said = migrate(
        MIGRATOR_IMAGE,
        postgres,
        source,
        *("--volume", f"{NOTES}:/application:ro", "--env", "PYTHONPATH=/application"),
        *("--env", "MIGRATOR_ALEMBIC_CONFIG=/application/alembic.ini"),
    )
    assert "migrated: every value of every row is in the target" in said
