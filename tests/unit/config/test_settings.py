"""Settings: one model, several origins, a clear order among them, and clear words about what can't be used."""

import json
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from migrator.config.fields import Group, flag_of, option_info, variables_of
from migrator.config.settings import Settings
from migrator.errors import ConfigurationError

TARGET = "postgresql://u:s3cr%25t@h/d"
Environment = pytest.MonkeyPatch
pytestmark = pytest.mark.usefixtures("environment")


def test_nothing_has_to_be_set() -> None:
    """Settings can be made from defaults; what a command needs it asks for."""
    settings = Settings.load()
    with pytest.raises(ConfigurationError, match="no source is set") as source:
        _ = settings.source_path
    with pytest.raises(ConfigurationError, match="no target is set") as target:
        _ = settings.target
    assert "--source" in source.value.next_step
    assert "POSTGRES_HOST" in target.value.next_step
    assert settings.secrets() == frozenset()


def test_precedence(environment: Environment, tmp_path: Path) -> None:
    """A flag beats the environment, the environment a …_FILE, that a file in the folder, and that the default."""
    folder, file = tmp_path / "secrets", tmp_path / "user"
    folder.mkdir()
    (folder / "postgres_user").write_text("of the folder\n")
    file.write_text("of the file\n")

    def user(**flags: str) -> str:
        return Settings.load(flags).postgres_user

    assert user() == "postgres"
    environment.setenv("MIGRATOR_SECRETS_DIR", str(folder))
    assert user() == "of the folder"
    environment.setenv("POSTGRES_USER_FILE", str(file))
    assert user() == "of the file"
    environment.delenv("POSTGRES_USER_FILE")
    environment.setenv("POSTGRES_USER", "of the environment")
    assert user() == "of the environment"
    assert user(postgres_user="of the flag") == "of the flag"


def test_an_empty_variable_is_not_set(environment: Environment) -> None:
    """Compose hands on what nobody gave as an empty string."""
    for name, field in Settings.model_fields.items():
        for variable in variables_of(name, field):
            environment.setenv(variable, "")
    environment.setenv("POSTGRES_PASSWORD_FILE", "")
    assert Settings.load() == Settings.load()
    assert Settings.load().jobs >= 1


def test_settings_can_not_be_changed() -> None:
    """Nobody turns a knob while the job runs."""
    with pytest.raises(Exception, match="frozen"):
        Settings.load().jobs = 3


def test_a_source_of_another_kind() -> None:
    """The message says what is accepted, and doesn't quote what may be the target's URL."""
    with pytest.raises(
        ConfigurationError, match="MIGRATOR_SOURCE_URL: the scheme postgresql:// is not known"
    ) as caught:
        Settings.load({"source_url": TARGET})
    assert "s3cr" not in str(caught.value)


def test_the_target_from_a_url_or_from_parts(environment: Environment) -> None:
    """Both give the same address; the URL wins, and the parts fill what it leaves out."""
    parts = {"POSTGRES_HOST": "h", "POSTGRES_USER": "u", "POSTGRES_DB": "d", "POSTGRES_PASSWORD": "s3cr%t"}
    by_url = Settings.load({"target_url": TARGET}).target
    for name, value in parts.items():
        environment.setenv(name, value)
    assert replace(Settings.load().target, origin=by_url.origin) == by_url
    assert Settings.load({"target_url": "postgresql://other"}).target.hosts == ("other",)
    assert Settings.load({"target_url": "postgresql://other"}).target.database == "d"


def test_tls_from_settings_or_libpqs_variables(environment: Environment, tmp_path: Path) -> None:
    """PGSSLMODE and its companions are read here, so that they hold for every driver alike."""
    environment.setenv("PGSSLMODE", "require")
    environment.setenv("PGSSLROOTCERT", str(tmp_path / "ca.crt"))
    assert Settings.load({"postgres_host": "h"}).target.tls.mode == "require"
    assert Settings.load({"postgres_host": "h"}).target.tls.root_certificate == str(tmp_path / "ca.crt")
    environment.setenv("MIGRATOR_SSLMODE", "disable")
    assert Settings.load({"postgres_host": "h"}).target.tls.mode == "disable"
    assert Settings.load({"target_url": "postgresql://h?sslmode=allow"}).target.tls.mode == "allow"


def test_a_flag_that_would_be_lost_is_refused(environment: Environment) -> None:
    """A flag beats the environment, but a URL beats the parts: here the rules would contradict each other."""
    environment.setenv("MIGRATOR_TARGET_URL", TARGET)
    with pytest.raises(ConfigurationError, match="--postgres-host would be overruled by MIGRATOR_TARGET_URL"):
        Settings.load({"postgres_host": "h"})
    assert Settings.load({"target_url": TARGET, "postgres_host": "x"}).target.hosts == ("h",)


@pytest.mark.parametrize("unreadable", ["mysql://u:s3cret@h", "postgresql://u:s3cret@h:x/d"])
def test_a_bad_target_is_found_at_once(unreadable: str) -> None:
    """The address is read when settings are, not when the job has already begun."""
    with pytest.raises(ConfigurationError) as caught:
        Settings.load({"target_url": unreadable})
    assert "s3cret" not in str(caught.value)


@pytest.mark.parametrize(
    ("given", "expected"),
    [("8MiB", 8 << 20), ("8MB", 8_000_000), ("65536", 65536), ("1 GiB", 1 << 30)],
)
def test_sizes(given: str, expected: int) -> None:
    """Sizes are written as people write them."""
    assert Settings.load({"batch_bytes": given}).batch_bytes == expected


def test_names_are_separated_by_commas_or_repeated(environment: Environment) -> None:
    """The environment has one string, the command line several."""
    environment.setenv("MIGRATOR_EXCLUDE", "logs, cache_*,users.avatar")
    assert Settings.load().exclude == ("logs", "cache_*", "users.avatar")
    assert Settings.load({"exclude": ["a,b", "c"]}).exclude == ("a", "b", "c")


@pytest.mark.parametrize("wrong", ["users", "users:", ":replace", "users:drop", "users=replace"])
def test_existing_rows_are_given_by_word_or_by_table(monkeypatch: pytest.MonkeyPatch, wrong: str) -> None:
    """A word for all tables, a table with its word, or several; what is neither is refused by name."""
    monkeypatch.setenv("MIGRATOR_ON_EXISTING_ROWS", "replace, users:refuse")
    assert Settings.load().on_existing_rows == ("replace", "users:refuse")
    with pytest.raises(ConfigurationError, match=f"'{wrong}' is neither one of refuse, replace, keep, nor"):
        Settings.load({"on_existing_rows": [wrong]})


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        ({"jobs": "0"}, 'MIGRATOR_JOBS = "0": input should be greater than or equal to 1'),
        ({"jobs": "many"}, 'MIGRATOR_JOBS = "many"'),
        ({"batch_bytes": "8 parsecs"}, 'MIGRATOR_BATCH_BYTES = "8 parsecs"'),
        ({"batch_bytes": "1"}, "MIGRATOR_BATCH_BYTES"),
        ({"log_level": "loud"}, "'debug', 'info', 'warning' or 'error'"),
        ({"schema_mode": "magic"}, "'alembic', 'command', 'create' or 'existing'"),
        ({"postgres_port": "99999"}, 'POSTGRES_PORT = "99999"'),
        ({"wait_timeout_seconds": "-1"}, "MIGRATOR_WAIT_TIMEOUT_SECONDS"),
        ({"if_source_changed": "panic"}, "'fail' or 'ignore'"),
        ({"nonsense": "x"}, "nonsense is no setting"),
    ],
)
def test_a_bad_value_is_named_with_what_is_accepted(flags: dict[str, Any], words: str) -> None:
    """One line: the setting, its value, and what would do."""
    with pytest.raises(ConfigurationError) as caught:
        Settings.load(flags)
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)
    assert caught.value.next_step


def test_all_bad_values_are_named_at_once(environment: Environment) -> None:
    """Nobody wants to learn of them one run at a time."""
    environment.setenv("MIGRATOR_JOBS", "0")
    environment.setenv("PGSSLMODE", "perhaps")
    with pytest.raises(ConfigurationError, match=r"MIGRATOR_SSLMODE.*; MIGRATOR_JOBS"):
        Settings.load()


def test_a_bad_secret_is_not_quoted() -> None:
    """Not even its first characters."""
    with pytest.raises(ConfigurationError, match="POSTGRES_PASSWORD: it holds a NUL byte") as caught:
        Settings.load({"postgres_password": "s3cret\0"})
    assert "s3cret" not in str(caught.value)


def test_secrets_are_the_urls_and_the_passwords_spellings(environment: Environment) -> None:
    """Also PGPASSWORD, which the drivers take when nothing else is given."""
    environment.setenv("PGPASSWORD", "of libpq")
    secrets = Settings.load({"target_url": TARGET, "postgres_password": "unused one"}).secrets()
    assert {TARGET, "s3cr%t", "s3cr%25t", "unused one", "unused%20one", "of libpq"} <= secrets


@pytest.mark.parametrize("url", ["postgresql://u@db:5432/app", "postgresql://u@db/app"])
def test_a_target_without_a_password_is_shown(url: str) -> None:
    """There is nothing to hide in it, with the port or without."""
    assert Settings.load({"target_url": url}).public()["target"] == "postgresql://u@db:5432/app"


def test_what_is_public_holds_no_secret() -> None:
    """It goes to the ledger, to the log and to the report, so it is JSON."""
    public = Settings.load({"target_url": TARGET, "postgres_password": "s3cret", "source_url": "x.db"}).public()
    text = json.dumps(public)
    assert "s3cr" not in text
    assert public["target"] == "postgresql://u@h:5432/d"
    assert public["source_url"] == "x.db"
    assert "init_sql" not in public


@pytest.mark.parametrize("name", Settings.model_fields)
def test_every_setting_is_described(name: str) -> None:
    """Help and manual are made from these words; a group that nobody prints would hide the setting."""
    field = Settings.model_fields[name]
    assert field.description
    assert field.description.endswith(".")
    assert option_info(field).group in {group.value for group in Group}
    assert flag_of(name).startswith("--")
    assert all(variable.isupper() for variable in variables_of(name, field))
