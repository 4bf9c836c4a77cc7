"""The container files: what can be held against them without an engine. What needs one is tested on one."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from own_scripts import all_messages

from migrator import __version__, engine
from migrator.config.fields import flag_of, option_info, variables_of
from migrator.config.mistyped import refuse_mistyped, unknown_variables
from migrator.config.options import RULES_FILE
from migrator.config.settings import Settings

ROOT = Path(__file__).parents[2]
PROD = ROOT / "docker-compose.prod.yml"
MIGRATE = ROOT / "docker-compose.migrate.yml"
DOCKERFILE = (ROOT / "Dockerfile.migrate").read_text(encoding="utf-8")
VARIABLE = re.compile(r"(?<!\$)\$\{(\w+)(?::-([^}]*))?\}")


def compose(path: Path) -> dict[str, Any]:
    """Read a compose file; every variable has its default."""
    text = VARIABLE.sub(lambda match: match[2] or "", path.read_text(encoding="utf-8"))
    content: dict[str, Any] = yaml.safe_load(text)
    return content


POSTGRES = compose(PROD)["services"]["postgres"]
API = compose(PROD)["services"]["gremlins-api"]
MIGRATOR = compose(MIGRATE)["services"]["migrator"]
SERVICES = pytest.mark.parametrize("service", [POSTGRES, API, MIGRATOR], ids=["postgres", "gremlins-api", "migrator"])


def instructions() -> list[tuple[str, str]]:
    """Read the Dockerfile: each instruction in capitals, with its arguments on one line."""
    lines = [line for line in DOCKERFILE.splitlines() if line.strip() and not line.startswith("#")]
    joined = "\n".join(lines).replace("\\\n", " ").splitlines()
    return [(word.upper(), arguments.strip()) for word, _, arguments in (line.partition(" ") for line in joined)]


def arguments_of(word: str) -> list[str]:
    """List the arguments of every instruction of one kind."""
    return [arguments for name, arguments in instructions() if name == word]


def sent_to_the_builder(path: str) -> bool:
    """Say whether .dockerignore lets a path through; the last line that matches decides."""
    sent = True
    for line in (ROOT / ".dockerignore").read_text(encoding="utf-8").splitlines():
        if not line or line.startswith("#"):
            continue
        pattern = line.removeprefix("!")
        if pattern in {"*", path} or path.startswith(f"{pattern}/") or Path(path).match(pattern):
            sent = line.startswith("!")
    return sent


# --- Variables and secrets --------------------------------------------------------------------------------------------


def test_every_variable_is_explained_with_its_default() -> None:
    """.env.example names what the compose files read and nothing else, and shows the default that is in force."""
    used: dict[str, str] = {}
    for path in (PROD, MIGRATE):
        for name, default in VARIABLE.findall(path.read_text(encoding="utf-8")):
            assert used.setdefault(name, default) == default, f"two defaults of {name}"
    example = (ROOT / ".env.example").read_text(encoding="utf-8").splitlines()
    explained = dict(line.split("=", 1) for line in example if line and not line.startswith("#"))
    assert explained == used


@SERVICES
def test_no_secret_is_in_an_environment(service: dict[str, Any]) -> None:
    """`docker inspect` shows the environment, so passwords, and URLs that hold one, come as files."""
    for name, value in service["environment"].items():
        if re.search("PASSWORD|SECRET|TOKEN|DATABASE_URL|TARGET_URL", name):
            assert name.endswith("_FILE"), name
            assert Path(value).parent == Path("/run/secrets")
            assert Path(value).name in service["secrets"]
        assert not re.search("://[^/]*@", str(value)), name


def test_every_secret_comes_from_a_file() -> None:
    """Each secret that a service mounts is declared, as a file of the folder that git and the builder ignore."""
    declared = compose(PROD)["secrets"]
    assert {name for service in (POSTGRES, API, MIGRATOR) for name in service["secrets"]} == set(declared)
    assert {entry["file"] for entry in declared.values()} == {f"./secrets/{name}" for name in declared}
    assert "secrets/" in (ROOT / ".gitignore").read_text(encoding="utf-8").splitlines()
    assert not sent_to_the_builder("secrets/postgres_password")


def test_the_migrator_knows_every_variable_it_is_given() -> None:
    """A misspelt setting would be ignored at run time; here it fails."""
    known = {variable for name, field in Settings.model_fields.items() for variable in variables_of(name, field)}
    assert {name.removesuffix("_FILE") for name in MIGRATOR["environment"]} <= known
    assert unknown_variables(MIGRATOR["environment"], Settings) == []
    refuse_mistyped(MIGRATOR["environment"], Settings)


def test_the_application_knows_every_variable_it_is_given() -> None:
    """The API is configured through the settings of migrator.engine, with the same defaults."""
    fields = engine.Settings.model_fields
    assert set(API["environment"]) <= set(fields)
    for name, value in API["environment"].items():
        if not name.endswith("_FILE"):
            assert value == fields[name].default


# --- Compose ----------------------------------------------------------------------------------------------------------


@SERVICES
def test_ports_are_published_on_loopback_only(service: dict[str, Any]) -> None:
    """A port published without an address is open to the network."""
    assert all(port.startswith("127.0.0.1:") for port in service.get("ports", []))


@SERVICES
def test_every_service_is_on_the_network(service: dict[str, Any]) -> None:
    """They find each other by name there, and nobody else does."""
    assert service["networks"] == ["gremlins-network"]
    assert "gremlins-network" in compose(PROD)["networks"]


def test_postgres_is_the_documented_one() -> None:
    """The guide's commands name this container, image and volume."""
    assert POSTGRES["image"] == "postgres:15-alpine"
    assert POSTGRES["container_name"] == "dryad-postgres"
    assert "postgres-data:/var/lib/postgresql/data" in POSTGRES["volumes"]
    assert "postgres-data" in compose(PROD)["volumes"]


def test_postgres_is_healthy_when_it_answers_over_tcp() -> None:
    """On its socket the image is already ready while it runs the init script on a temporary server."""
    kind, command = POSTGRES["healthcheck"]["test"]
    assert kind == "CMD-SHELL"
    assert command == 'pg_isready -h 127.0.0.1 -U "$$POSTGRES_USER" -d "$$POSTGRES_DB"'
    assert {"POSTGRES_USER", "POSTGRES_DB"} <= set(POSTGRES["environment"])


def test_postgres_runs_the_init_script() -> None:
    """The script is mounted read-only where the image looks for it, and hears of the schema through PGOPTIONS."""
    mounts = [volume.split(":") for volume in POSTGRES["volumes"] if "initdb.d" in volume]
    assert [(target.endswith(".sql"), mode) for _, target, mode in mounts] == [(True, "ro")]
    assert (ROOT / mounts[0][0]).is_file()
    assert POSTGRES["environment"]["PGOPTIONS"] == "-c migrator.schema=dryad"


def test_the_application_starts_after_the_migration_succeeded() -> None:
    """The gate: the server is healthy, then the migrator exits 0, then the API starts."""
    assert API["depends_on"] == {"postgres": {"condition": "service_healthy"}}
    gated = compose(MIGRATE)["services"]["gremlins-api"]
    assert gated == {"depends_on": {"migrator": {"condition": "service_completed_successfully"}}}
    assert MIGRATOR["depends_on"] == {"postgres": {"condition": "service_healthy"}}


def test_the_migrator_runs_once() -> None:
    """A restart policy would run a refused migration for ever; unquoted, YAML reads `no` as false."""
    assert MIGRATOR["restart"] == "no"


def test_the_rules_file_is_mounted_where_the_job_finds_it() -> None:
    """In the working folder, under the name that is looked for; without a file it is a device, which is no file."""
    _, mount = MIGRATOR["volumes"]
    assert mount["target"] == f"{arguments_of('WORKDIR')[-1]}/{RULES_FILE}"
    assert (mount["type"], mount["read_only"]) == ("bind", True)
    assert mount["source"] == os.devnull
    assert not Path(mount["source"]).is_file()


def test_values_of_rows_are_masked_where_the_log_leaves_the_machine() -> None:
    """An engine's log goes where its driver sends it. At a terminal, values are shown by default."""
    assert MIGRATOR["environment"]["MIGRATOR_MASK_VALUES"] is True
    assert Settings.model_fields["mask_values"].default is False


NAMED_ELSEWHERE = {
    "MIGRATOR_RULES": "the file is mounted",
    "MIGRATOR_TARGET_URL": "the target is put together of POSTGRES_…",
    "POSTGRES_PASSWORD": "a secret, as a file",
    "MIGRATOR_SECRETS_DIR": "/run/secrets, which is the default",
}
"""What documents and messages name, and the compose file has in another form."""

DECIDED_ONCE = {
    *("MIGRATOR_RESTART", "MIGRATOR_FORCE", "MIGRATOR_YES", "MIGRATOR_WAIT", "MIGRATOR_SOURCE_ONLY", "MIGRATOR_QUIET"),
    *("MIGRATOR_FOLLOW", "MIGRATOR_LIKE", "MIGRATOR_TO", "MIGRATOR_WRITE_RULES"),
    *("MIGRATOR_REPORT", "MIGRATOR_DIFFERENCES", "MIGRATOR_LEFT_BEHIND", "MIGRATOR_KEPT_ROWS"),
    *("MIGRATOR_REHEARSAL", "MIGRATOR_REFRESH", "MIGRATOR_WATCH", "MIGRATOR_WATCH_INTERVAL", "MIGRATOR_COMPARE"),
}
"""Settings of one command, given with it: left in .env, each `up` would decide again, or write into the container."""


def named_settings() -> dict[str, str]:
    """Return the variables of settings that the guide and the messages name, also as flags; each with a place."""
    texts = {f"{message.path}:{message.line}": message.text for message in all_messages()}
    texts |= {page.name: page.read_text(encoding="utf-8") for page in (ROOT / "docs" / "deployment").glob("POST*.md")}
    variables: dict[str, str] = {}
    for name, field in Settings.model_fields.items():
        first = variables_of(name, field)[0]
        flags = [re.escape(flag) for flag in (flag_of(name), *option_info(field).flags) if flag.startswith("--")]
        pattern = re.compile(rf"(?<![\w-])(?:{'|'.join(flags)})(?![\w-])|\b{first}(?:_FILE)?\b")
        place = next((place for place, text in texts.items() if pattern.search(text)), None)
        if place:
            variables[first] = place
    return variables


def test_the_compose_file_hands_over_what_operators_are_told_to_set() -> None:
    """What the guide or a message names can be set in .env, or is known to be given otherwise."""
    handed = {name.removesuffix("_FILE") for name in MIGRATOR["environment"]}
    named = named_settings()
    assert {"MIGRATOR_EXCLUDE", "MIGRATOR_ON_EXISTING_ROWS", "MIGRATOR_RULES", "MIGRATOR_JOBS"} <= set(named)
    missing = {name: place for name, place in named.items() if name not in {*handed, *NAMED_ELSEWHERE, *DECIDED_ONCE}}
    assert missing == {}
    assert not handed & DECIDED_ONCE


def test_a_variable_of_the_job_has_its_own_name_in_env() -> None:
    """A flag that a refusal prints is found in .env by its name."""
    text = MIGRATE.read_text(encoding="utf-8")
    given = dict(re.findall(r"^ +(MIGRATOR_\w+): \$\{(\w+):-", text, re.MULTILINE))
    assert {name for name, variable in given.items() if variable != name} <= {"MIGRATOR_INIT_SCHEMA"}


def test_the_source_is_mounted_read_only() -> None:
    """The whole folder, since a database in WAL mode is more than one file, and nothing in it can be written."""
    mount, _ = MIGRATOR["volumes"]
    assert (mount["type"], mount["read_only"]) == ("bind", True)
    assert MIGRATOR["environment"]["MIGRATOR_SOURCE_URL"].startswith(f"sqlite:///{mount['target']}/")


def test_the_migrator_may_do_nothing_but_its_job() -> None:
    """No root, no capabilities, no new privileges, nothing to write but /tmp."""
    assert MIGRATOR["user"] == arguments_of("USER")[-1]
    assert MIGRATOR["read_only"] is True
    assert [mount.split(":")[0] for mount in MIGRATOR["tmpfs"]] == ["/tmp"]  # noqa: S108 - the container's own
    assert MIGRATOR["cap_drop"] == ["ALL"]
    assert MIGRATOR["security_opt"] == ["no-new-privileges:true"]
    assert MIGRATOR["stop_grace_period"]


@pytest.mark.parametrize("name", ["MIGRATOR_INIT_SQL", "MIGRATOR_ALEMBIC_CONFIG"])
def test_paths_in_the_image_are_those_of_a_checkout(name: str) -> None:
    """A relative path works in both, and the file it names reaches the builder."""
    path = MIGRATOR["environment"][name]
    assert (ROOT / path).is_file()
    assert sent_to_the_builder(path)


def test_the_migrator_is_built_from_the_dockerfile() -> None:
    """Compose and the Dockerfile agree on the file, the base image and the name of the build argument."""
    build = MIGRATOR["build"]
    assert (ROOT / build["context"] / build["dockerfile"]).read_text(encoding="utf-8") == DOCKERFILE
    assert [f"{name}={value}" for name, value in build["args"].items()] == arguments_of("ARG")[:1]


def test_compose_accepts_the_files_together() -> None:
    """The two files merge into one valid project, with the variables of .env.example."""
    docker = shutil.which("docker")
    command = [docker or "docker", "compose"]
    if not docker or subprocess.run([*command, "version"], capture_output=True, check=False).returncode:
        pytest.skip("no docker compose on this machine")
    files: list[str | Path] = ["--env-file", ROOT / ".env.example", "-f", PROD, "-f", MIGRATE]
    done = subprocess.run([*command, *files, "config", "--quiet"], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


# --- The image --------------------------------------------------------------------------------------------------------


def test_the_base_image_is_an_argument() -> None:
    """All stages stand on the same base, which `--build-arg PYTHON_IMAGE=` replaces."""
    assert arguments_of("ARG")[0] == "PYTHON_IMAGE=python:3.11-slim-bookworm"
    assert arguments_of("FROM") == [
        "${PYTHON_IMAGE} AS build",
        "${PYTHON_IMAGE} AS migrator",
        "migrator AS self-test",
        "migrator",
    ]


def test_an_image_that_cannot_carry_rows_is_not_built() -> None:
    """The last stage takes a file that is there only after a copy and a comparison ran with what was trimmed."""
    copies = [copy for copy in arguments_of("COPY") if copy.startswith("--from=self-test")]
    assert copies == ["--from=self-test /tmp/self-test.passed /opt/migrator/"]
    assert any(re.search(r"migrator demo .*&& touch /tmp/self-test.passed", run) for run in arguments_of("RUN"))


def test_the_image_runs_the_migrator_as_pid_1() -> None:
    """Exec form: a shell in between would keep SIGTERM for itself."""
    assert arguments_of("ENTRYPOINT") == ['["migrator"]']
    assert arguments_of("CMD") == ['["run"]']
    assert arguments_of("STOPSIGNAL") == ["SIGTERM"]
    assert arguments_of("HEALTHCHECK") == ["NONE"]


def test_the_image_is_not_run_as_root() -> None:
    """Kubernetes' runAsNonRoot can tell from a number only."""
    assert arguments_of("USER") == ["10001:10001"]


def test_every_builder_can_build_it() -> None:
    """The builder before BuildKit, and BuildKit without a registry to fetch a frontend from."""
    assert not re.search(r"^#\s*syntax\s*=", DOCKERFILE, re.MULTILINE | re.IGNORECASE)
    for word, arguments in instructions():
        assert "<<" not in arguments
        assert not re.search(r"^--(mount|link|chmod|network|security)\b", arguments), word


def test_dependencies_are_checked_against_the_lock() -> None:
    """Every installation goes by hashes, or takes what was just built and no index."""
    installs = [part for run in arguments_of("RUN") for part in run.split("&&") if re.search(r"pip\b.* install", part)]
    assert installs
    assert all("--require-hashes" in part or "--no-index" in part for part in installs)


def test_everything_copied_reaches_the_builder() -> None:
    """Each COPY from the context names something that exists and that .dockerignore lets through."""
    sources = [path for copy in arguments_of("COPY") if "--from=" not in copy for path in copy.split()[:-1]]
    assert sources
    for path in sources:
        assert (ROOT / path).exists(), path
        assert sent_to_the_builder(path), path


@pytest.mark.parametrize("path", [".env", ".git/config", "dryad.db", "data/dryad.db", "migrator/__pycache__/job.pyc"])
def test_nothing_else_reaches_the_builder(path: str) -> None:
    """Databases, secrets and history cannot end in a layer."""
    assert not sent_to_the_builder(path)


def test_the_label_has_the_version_of_the_package() -> None:
    """Image and package carry the same number."""
    assert f"VERSION={__version__}" in arguments_of("ARG")


# --- trim-venv.sh -----------------------------------------------------------------------------------------------------

TRIM = ROOT / "scripts" / "container" / "trim-venv.sh"


@pytest.fixture
def packages(tmp_path: Path) -> Path:
    """Make a virtual environment that has one of everything; gives its folder of packages."""
    folder = tmp_path / "lib" / f"python3.{sys.version_info.minor}" / "site-packages"
    for name in ["pyarrow/lib.py", "pyarrow/include/arrow.h", "pyarrow/tests/test_array.py", "pyarrow/lib.pyx"]:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text("")
    for name in ["libarrow.so.2600", "libarrow_python.so", "libarrow_python.so.2600", "libarrow_python.so.2600.0.0"]:
        # A real library: what strips it must understand it.
        shutil.copy(next(Path(sys.prefix).rglob("_pydantic_core*.so")), folder / "pyarrow" / name)
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "python").symlink_to(sys.executable)
    return folder


@pytest.mark.skipif(not shutil.which("strip"), reason="no binutils on this machine")
def test_trimming_keeps_what_is_loaded(packages: Path) -> None:
    """Headers, tests and copies of libraries go; modules stay and are compiled."""
    subprocess.run(["sh", TRIM, packages.parents[2]], check=True, env=os.environ | {"PYTHONPATH": ""})
    left = {str(path.relative_to(packages / "pyarrow")) for path in (packages / "pyarrow").rglob("*") if path.is_file()}
    compiled = f"__pycache__/lib.{sys.implementation.cache_tag}.pyc"
    assert left == {"lib.py", "libarrow.so.2600", "libarrow_python.so.2600", compiled}


def test_trimming_refuses_what_is_no_environment(tmp_path: Path) -> None:
    """A wrong path is an error, and not an image that was never trimmed."""
    done = subprocess.run(["sh", TRIM, tmp_path], capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "no pyarrow in" in done.stderr
