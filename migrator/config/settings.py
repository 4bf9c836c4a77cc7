"""
Reads the settings from every origin and checks them as a whole.

The order of precedence is: flag, environment variable, ``…_FILE`` variable, file in the folder of secrets, default. An
empty variable counts as not set, because compose sets an empty variable for a missing value. ``options.py`` defines the
options.
"""

import json
import os
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, Final, Self

from pydantic import ValidationError
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsError

from migrator.config.fields import flag_of, variables_of
from migrator.config.mistyped import refuse_mistyped, refuse_mistyped_files
from migrator.config.options import RULES_FILE, Options
from migrator.config.secret_files import FileVariables, SecretsFolder, folder_of
from migrator.errors import ConfigurationError
from migrator.ledger.migration import Wanted
from migrator.runtime.redaction import password_of, redactor, spellings
from migrator.sessions.address import TargetAddress
from migrator.sessions.url import from_parts, from_url
from migrator.source.url import path_of

# Messages don't quote these values: secrets, and the source, which may be the target's URL by mistake.
UNSHOWN: Final = frozenset({"target_url", "postgres_password", "source_url"})

_HOW_TO_SET: Final = {
    "source": "Set MIGRATOR_SOURCE_URL, or give --source sqlite:///path/to/file.db.",
    "target": "Set MIGRATOR_TARGET_URL (or MIGRATOR_TARGET_URL_FILE), or POSTGRES_HOST and its companions.",
    "Alembic configuration": (
        "Set MIGRATOR_ALEMBIC_CONFIG to the application's alembic.ini, or choose another --schema."
    ),
}
"""The settings that a run needs, each with the next step for the operator if it is missing."""

_NOWHERE = "host.invalid"
"""A name that no host can have (RFC 2606)."""


class Settings(Options):
    """The settings of a command. ``Settings.load`` makes them, and reports all errors in one ConfigurationError."""

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,  # noqa: ARG003 - compose reads .env files, the job doesn't
        file_secret_settings: PydanticBaseSettingsSource,  # noqa: ARG003 - it strips blanks at the end of a password
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Return the origins of settings, in their order of precedence."""
        return init_settings, env_settings, FileVariables(settings_cls), SecretsFolder(settings_cls)

    @classmethod
    def load(cls, flags: Mapping[str, Any] | None = None) -> Self:
        """
        Read the settings from every origin. ``flags`` holds the values of the command line, by field name.

        Raises ConfigurationError with one line that names each bad setting, its value (unless it is secret) and the
        accepted values. The target's address is checked here too. An error is also a variable, or a file in the folder
        of secrets, whose name is almost the name of a setting.
        """
        flagged = dict(flags or {})
        refuse_mistyped(os.environ, cls)
        try:
            settings = cls(**flagged)
        except ValidationError as error:
            raise _refusal(error) from None
        except SettingsError as error:
            raise ConfigurationError(str(error)) from None
        settings._refuse_contradiction(flagged)
        if (folder := folder_of(settings.secrets_dir)) is not None:
            with_value = settings.model_fields_set | ({"target_url"} if settings.has_target else set())
            refuse_mistyped_files(folder, cls, with_value)
        if settings.has_target:
            _ = settings.target
        return settings

    def refuse_missing(self) -> None:
        """
        Raise ConfigurationError if no source or no target is set. The message names everything that a run needs.

        A missing Alembic configuration alone raises nothing here: when the migration is complete, no run needs it.
        """
        ends = {"source": self.source_url is not None, "target": self.has_target}
        if all(ends.values()):
            return
        alembic = {} if self.schema_mode != "alembic" else {"Alembic configuration": self.alembic_config is not None}
        missing = [name for name, is_set in (ends | alembic).items() if not is_set]
        *first, last = [f"no {name}" for name in missing]
        listed = f"{', '.join(first)} and {last} are" if first else f"{last} is"
        raise ConfigurationError(f"{listed} set", next_step=" ".join(_HOW_TO_SET[name] for name in missing))

    @property
    def source_path(self) -> Path:
        """The path of the SQLite file, which may not exist. Raises ConfigurationError if no source is set."""
        if self.source_url is None:
            raise ConfigurationError("no source is set", next_step=_HOW_TO_SET["source"])
        return path_of(self.source_url)

    def with_found_rules(self) -> Self:
        """
        Return the settings with the rules file of the working folder; these settings themselves if a file is named.

        Without such a file in the folder, they stay as they are, too.
        """
        if self.rules is not None or not Path(RULES_FILE).is_file():
            return self
        return self.model_copy(update={"rules": Path(RULES_FILE)})

    @property
    def has_target(self) -> bool:
        """Whether a target is set."""
        return self.target_url is not None or self.postgres_host is not None

    @property
    def target(self) -> TargetAddress:
        """The target's address. Raises ConfigurationError if no target is set, or if its URL can't be read."""
        parts = {
            "host": self.postgres_host,
            "port": str(self.postgres_port),
            "dbname": self.postgres_db,
            "user": self.postgres_user,
            "password": self.postgres_password.get_secret_value() if self.postgres_password else None,
            **{name: getattr(self, name) for name in ("sslmode", "sslrootcert", "sslcert", "sslkey")},
        }
        address_parts = {name: value for name, value in parts.items() if value}
        if self.target_url is not None:
            return self._with_timeout(from_url(self.target_url.get_secret_value(), address_parts))
        if self.postgres_host is None:
            raise ConfigurationError(
                "no target is set",
                next_step=_HOW_TO_SET["target"],
            )
        return self._with_timeout(from_parts(address_parts))

    @property
    def wanted(self) -> Wanted:
        """The settings that name a migration."""
        return Wanted(self.migration, self.target_schema)

    def _with_timeout(self, address: TargetAddress) -> TargetAddress:
        return replace(address, stall_timeout_seconds=self.stall_timeout_seconds, origin=self._origin())

    def _origin(self) -> str:
        """Return the names of the settings that hold the target's host. A URL may hold none."""
        parts = "POSTGRES_HOST and POSTGRES_PORT"
        if self.target_url is None:
            return parts
        url_has_host = from_url(self.target_url.get_secret_value(), {"host": _NOWHERE}).hosts != (_NOWHERE,)
        return "MIGRATOR_TARGET_URL" if url_has_host else f"MIGRATOR_TARGET_URL with {parts}"

    def secrets(self) -> frozenset[str]:
        """Return every spelling of every secret, for the redaction of logs."""
        plain = {secret.get_secret_value() for secret in (self.target_url, self.postgres_password) if secret}
        plain |= {os.environ.get("PGPASSWORD", "")}  # the drivers take it when no other password is set
        # The target's password as its URL spells it; and the application's passwords, which its migrations may print.
        plain |= {part for text in [*plain, *os.environ.values()] for part in password_of(text)}
        from_address: frozenset[str] = frozenset()
        if self.has_target:
            from_address = self.target.secrets()
        return frozenset(text for secret in plain for text in spellings(secret)) | from_address

    def public(self) -> dict[str, Any]:
        """Return the settings that have a value, as JSON values without secrets, for ledger and report."""
        hidden = {name for name in type(self).model_fields if name.startswith("postgres_")} | {"target_url"}
        values = self.model_dump(mode="json", exclude=hidden, exclude_none=True)
        if self.has_target:
            values["target"] = self.target.redacted()
        if self.schema_command is not None:  # its arguments may hold a token
            program, *arguments = self.schema_command.split(maxsplit=1)
            values["schema_command"] = f"{program} …" if arguments else program
        clean = redactor(self.secrets())
        # A path need not be UTF-8, but PostgreSQL stores only UTF-8.
        return {
            name: clean(value).encode(errors="backslashreplace").decode() if isinstance(value, str) else value
            for name, value in values.items()
        }

    def _refuse_contradiction(self, flags: Mapping[str, Any]) -> None:
        """Refuse a flag for a part of the address if MIGRATOR_TARGET_URL is set, which would overrule the flag."""
        parts = [name for name in flags if name.startswith("postgres_")]
        if parts and self.target_url is not None and "target_url" not in flags:
            raise ConfigurationError(
                f"{flag_of(parts[0])} would be overruled by MIGRATOR_TARGET_URL",
                next_step="Give the whole target with --target-url, or unset MIGRATOR_TARGET_URL.",
            )


def _refusal(error: ValidationError) -> ConfigurationError:
    names = {v: name for name, field in Settings.model_fields.items() for v in (name, *variables_of(name, field))}
    lines = []
    for problem in error.errors(include_url=False):
        name = names.get(str(problem["loc"][0]))
        if name is None:
            lines.append(f"{problem['loc'][0]} is no setting")
            continue
        quoted = "" if name in UNSHOWN else f" = {json.dumps(problem['input'], default=str, ensure_ascii=False)}"
        reason = problem["msg"].removeprefix("Value error, ")
        lines.append(f"{variables_of(name, Settings.model_fields[name])[0]}{quoted}: {reason[0].lower()}{reason[1:]}")
    return ConfigurationError("; ".join(lines), next_step="See `migrator run --help` for what each setting accepts.")
