"""Secrets in files: named by a variable or found in a folder, and taken as they are."""

from pathlib import Path

import pytest

from migrator.config.fields import option_info, variables_of
from migrator.config.settings import Settings
from migrator.errors import ConfigurationError

Environment = pytest.MonkeyPatch
SECRETS = [variables_of(n, f)[0] for n, f in Settings.model_fields.items() if option_info(f).in_file]


def password(settings: Settings) -> str | None:
    """Give the password in the clear."""
    return settings.postgres_password.get_secret_value() if settings.postgres_password else None


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ("s3cret", "s3cret"),
        ("s3cret\n", "s3cret"),
        ("s3cret\r\n", "s3cret"),
        (" s3cret \n", " s3cret "),
        ("a\nb\n", "a\nb"),
    ],
)
def test_only_the_end_of_the_line_is_taken_off(
    environment: Environment, tmp_path: Path, content: str, expected: str
) -> None:
    """Editors add a newline; blanks belong to the password."""
    (tmp_path / "pw").write_bytes(content.encode())
    environment.setenv("POSTGRES_PASSWORD_FILE", str(tmp_path / "pw"))
    assert password(Settings.load()) == expected


@pytest.mark.parametrize("variable", SECRETS)
def test_a_variable_and_its_file_exclude_each_other(environment: Environment, tmp_path: Path, variable: str) -> None:
    """Which one is meant can't be known. The image of PostgreSQL refuses this too."""
    (tmp_path / "file").write_text("postgresql://h/d")
    environment.setenv(variable, "postgresql://h/d")
    environment.setenv(f"{variable}_FILE", str(tmp_path / "file"))
    with pytest.raises(ConfigurationError, match=f"both {variable} and {variable}_FILE are set"):
        Settings.load()


def test_the_secrets_are_the_ones_that_may_stand_in_files() -> None:
    """Whatever is secret has a …_FILE, and so have user and database, as in the image of PostgreSQL."""
    assert SECRETS == ["MIGRATOR_TARGET_URL", "POSTGRES_DB", "POSTGRES_USER", "POSTGRES_PASSWORD"]


@pytest.mark.parametrize("name", ["postgres_password", "POSTGRES_PASSWORD"])
def test_the_folder_of_secrets(environment: Environment, tmp_path: Path, name: str) -> None:
    """Compose names secrets in small letters, others as the variable."""
    environment.setenv("MIGRATOR_SECRETS_DIR", str(tmp_path))
    (tmp_path / name).write_text("s3cret\n")
    (tmp_path / "migrator_target_url").write_text("postgresql://u@h/d\n")
    settings = Settings.load()
    assert password(settings) == "s3cret"
    assert settings.target.redacted() == "postgresql://u@h:5432/d"
    assert "s3cret" in settings.secrets()


def test_secrets_as_kubernetes_mounts_them(environment: Environment, tmp_path: Path) -> None:
    """There a name is a link through ..data to a folder that changes with each rotation."""
    environment.setenv("MIGRATOR_SECRETS_DIR", str(tmp_path))
    (tmp_path / "..2026").mkdir()
    (tmp_path / "..2026" / "POSTGRES_PASSWORD").write_text("s3cret")
    (tmp_path / "..data").symlink_to("..2026")
    (tmp_path / "POSTGRES_PASSWORD").symlink_to("..data/POSTGRES_PASSWORD")
    assert password(Settings.load()) == "s3cret"


@pytest.mark.parametrize("kind", ["missing", "folder", "binary"])
def test_a_file_that_can_not_be_read_is_named(environment: Environment, tmp_path: Path, kind: str) -> None:
    """The path is in the message, and what to do; the content isn't."""
    path = tmp_path / "pw"
    if kind == "folder":
        path.mkdir()
    elif kind == "binary":
        path.write_bytes(b"s3cret\xff")
    environment.setenv("POSTGRES_PASSWORD_FILE", str(path))
    with pytest.raises(ConfigurationError, match=str(path)) as caught:
        Settings.load()
    assert "s3cret" not in str(caught.value)
    assert caught.value.next_step


def test_a_chosen_folder_must_exist(environment: Environment, tmp_path: Path) -> None:
    """The usual folder may be absent, one that was asked for may not."""
    environment.setenv("MIGRATOR_SECRETS_DIR", str(tmp_path / "nowhere"))
    with pytest.raises(ConfigurationError, match="nowhere does not exist"):
        Settings.load()
