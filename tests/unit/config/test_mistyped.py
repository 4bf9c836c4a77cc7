"""Names that are almost a setting's."""

from pathlib import Path

import pytest
from fix_job import Cli

from migrator.config.mistyped import names_of, refuse_mistyped, unknown_variables
from migrator.config.settings import Settings
from migrator.errors import ConfigurationError

NEAR = {
    "MIGRATOR_TARGTE_URL": "MIGRATOR_TARGET_URL",
    "MIGRATOR_TARGET_ULR": "MIGRATOR_TARGET_URL",
    "migrator_targt_url": "MIGRATOR_TARGET_URL",
    "MIGRATOR_TARGET_URL_FLIE": "MIGRATOR_TARGET_URL_FILE",
    "MIGRATOR_TARGET": "MIGRATOR_TARGET_URL",
    "MIGRATOR_SOURCE": "MIGRATOR_SOURCE_URL",
    "MIGRATOR_SOURCE_URL_FILE": "MIGRATOR_SOURCE_URL",
    "MIGRATOR_SCHEMA": "MIGRATOR_SCHEMA_MODE",
    "MIGRATOR_EXCLUDES": "MIGRATOR_EXCLUDE",
    "MIGRATOR_JOB": "MIGRATOR_JOBS",
    "MIGRATOR__JOBS": "MIGRATOR_JOBS",
    "MIGATOR_TARGET_URL": "MIGRATOR_TARGET_URL",
    "POSTGRES_HSOT": "POSTGRES_HOST",
    "POSTGRES_PASWORD": "POSTGRES_PASSWORD",
    "POSTGRES_PASSWROD_FILE": "POSTGRES_PASSWORD_FILE",
    "POSTGRESS_HOST": "POSTGRES_HOST",
    "Postgres_Usr": "POSTGRES_USER",
    "PGSSLMOD": "PGSSLMODE",
}
FAR = (
    *("MIGRATOR_ZZZZZ", "MIGRATOR_IMAGE", "MIGRATOR_SERVICE_HOST", "MIGRATOR_PORT", "MIGRATOR_PORT_8080_TCP_PORT"),
    *("POSTGRES_INITDB_ARGS", "POSTGRES_INITDB_WALDIR", "POSTGRES_HOST_AUTH_METHOD", "PGDATA", "PGPASSWORD", "PGUSER"),
    *("POSTGRES_POOL_SIZE", "POSTGRES_POOL_TIMEOUT", "POSTGRES_MAX_OVERFLOW", "POSTGRES_POOL_RECYCLE", "DATABASE_URL"),
    *("POSTGRES_SERVICE_HOST", "POSTGRES_SERVICE_PORT", "POSTGRES_PORT_5432_TCP", "POSTGRES_VERSION", "PATH", "HOME"),
    *("PGSSLCRL", "PGSSLCRLDIR", "PGSSLSNI", "PGHOST", "PGPORT", "PGDATABASE", "PGPASSFILE", "POSTGRES_CONTAINER"),
)


@pytest.mark.parametrize("name", NEAR)
def test_what_is_near_is_refused(name: str) -> None:
    """It has no effect, and the job would do without what was meant."""
    with pytest.raises(ConfigurationError, match=f"{name} is no setting .{NEAR[name]} is near") as caught:
        refuse_mistyped({name: "s3cret"}, Settings)
    assert "s3cret" not in str(caught.value)
    assert name in str(caught.value.next_step)


def test_what_is_right_or_far_is_not() -> None:
    """A setting in any capitals, a variable of somebody else's, or one that another image may know."""
    for name in (*FAR, *names_of(Settings), *(name.lower() for name in names_of(Settings))):
        refuse_mistyped({name: "x"}, Settings)  # which names it if it is refused


def test_an_empty_variable_counts_as_not_set() -> None:
    """That is how compose hands on what nobody gave."""
    refuse_mistyped({"MIGRATOR_TARGTE_URL": ""}, Settings)


def test_what_is_far_is_a_warning() -> None:
    """A newer or an older image may know it; a variable of PostgreSQL's image is not ours to judge."""
    assert unknown_variables({"MIGRATOR_ZZZZZ": "1", "POSTGRES_ZZZZZ": "1", "MIGRATOR_JOBS": "2"}, Settings) == [
        "MIGRATOR_ZZZZZ"
    ]


@pytest.mark.parametrize("name", ["targte_url", "target_url", "migrator_target_ulr", "MIGRATOR_TARGET-URL"])
def test_a_secret_file_with_a_name_that_is_near(tmp_path: Path, cli: Cli, name: str) -> None:
    """It is a variable in another form."""
    (tmp_path / name).write_text("postgresql://u:s3cret@h/d")
    ended = cli("status", MIGRATOR_SECRETS_DIR=str(tmp_path))
    assert ended.code == 2
    assert "migrator_target_url is near" in ended.message
    assert "s3cret" not in ended.stderr


def test_secret_files_of_others(tmp_path: Path, environment: pytest.MonkeyPatch) -> None:
    """A folder holds what several programs need; and what has been given otherwise isn't missed."""
    for name in ("database_url", "tls.crt", "postgres-password"):
        (tmp_path / name).write_text("x")
    environment.setenv("MIGRATOR_SECRETS_DIR", str(tmp_path))
    environment.setenv("POSTGRES_PASSWORD", "given")
    assert Settings.load().postgres_password is not None


@pytest.mark.parametrize("name", ["postgres_password", "POSTGRES_PASSWORD", "Postgres_Password"])
def test_a_secret_file_in_any_capitals(tmp_path: Path, environment: pytest.MonkeyPatch, name: str) -> None:
    """As variables are read."""
    (tmp_path / name).write_text("s3cret")
    environment.setenv("MIGRATOR_SECRETS_DIR", str(tmp_path))
    password = Settings.load().postgres_password
    assert password is not None
    assert password.get_secret_value() == "s3cret"


def test_a_file_variable_in_small_letters(tmp_path: Path, environment: pytest.MonkeyPatch) -> None:
    """The plain variable may be in small letters, and so may this one."""
    (tmp_path / "secret").write_text("s3cret")
    environment.setenv("postgres_password_file", str(tmp_path / "secret"))
    password = Settings.load().postgres_password
    assert password is not None
    assert password.get_secret_value() == "s3cret"
