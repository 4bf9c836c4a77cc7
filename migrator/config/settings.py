"""
Reads the settings from every origin and checks them as a whole.

The order of precedence is: flag, environment variable, ``…_FILE`` variable, file in the folder of secrets, default. An
empty variable counts as not set, because compose sets an empty variable for a missing value. ``options.py`` defines the
options.
"""

import json
import os
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, Final, Self, cast

from msgspec.structs import replace
from pydantic import ValidationError
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsError

from migrator.config.fields import flag_of, variables_of
from migrator.config.missing import RUN, Needs, missing, nothing_set
from migrator.config.mistyped import refuse_mistyped, refuse_mistyped_files
from migrator.config.options import RULES_FILE, Options
from migrator.config.secret_files import FileVariables, SecretsFolder, folder_of
from migrator.errors import ConfigurationError, MigratorError, in_one
from migrator.ledger.migration import Wanted
from migrator.runtime.redaction import password_of, redactor, spellings
from migrator.sessions.address import TargetAddress
from migrator.sessions.url import from_parts, from_url
from migrator.source.url import path_of

# Messages don't quote these values: secrets, and the source, which may be the target's URL by mistake.
UNSHOWN: Final = frozenset({"target_url", "postgres_password", "source_url"})

_NO_NEEDS: Final = Needs()

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
    def load(cls, flags: Mapping[str, Any] | None = None, needs: Needs = _NO_NEEDS) -> Self:
        """
        Read the settings from every origin. ``flags`` holds the values of the command line, by field name.

        Raises one ConfigurationError that names each bad setting, its value (unless it is secret) and the accepted
        values, and everything that ``needs`` asks for and that isn't set. The target's address is checked here too. An
        error is also a variable, or a file in the folder of secrets, whose name is almost the name of a setting.
        """
        flagged = dict(flags or {})
        errors: list[MigratorError | None] = [_raised(lambda: refuse_mistyped(os.environ, cls))]
        defaults: dict[str, Any] = {}
        try:
            settings = cls(**flagged)
        except ValidationError as error:
            errors.append(_refusal(error))
            # With defaults in place of what is wrong, the faults of the others can be told as well.
            defaults = _defaults(error)
            known = {name: value for name, value in flagged.items() if name in cls.model_fields}
            settings = cls(**known | defaults)
        except SettingsError as error:
            raise _all([*errors, ConfigurationError(str(error))]) from None
        except ConfigurationError as error:
            raise _all([*errors, error]) from None
        errors.append(_raised(lambda: settings._refuse_contradiction(flagged)))
        errors.append(_raised(settings._refuse_mistyped_files))
        if settings.has_target:
            errors.append(_raised(lambda: settings.target))
        missing_error = missing(settings, needs, frozenset(defaults))
        if any([*errors, missing_error]):
            raise _all([*errors, missing_error])
        return settings

    def refuse_missing(self) -> None:
        """
        Raise ConfigurationError if no source or no target is set. The message names everything that a run needs.

        A missing Alembic configuration alone raises nothing here: when the migration is complete, no run needs it.
        """
        error = missing(self, RUN)
        if error is not None:
            raise error

    @property
    def expects_refresh(self) -> bool:
        """Whether a later run is likely to refresh what this one brings, so that it is worth making that fast."""
        return self.refresh or self.rehearsal or self.snapshot

    @property
    def lacks_alembic_config(self) -> bool:
        """Whether the tables are to come from Alembic, whose configuration isn't set."""
        return self.schema_mode == "alembic" and self.alembic_config is None

    @property
    def source_path(self) -> Path:
        """The path of the SQLite file, which may not exist. Raises ConfigurationError if no source is set."""
        if self.source_url is None:
            raise nothing_set(["source"])
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
            raise nothing_set(["target"])
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
            plain -= {self.target.redacted()}  # a URL without a password is what logs and reports show of it
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
        return {name: _storable(value, clean) for name, value in values.items()}

    def _refuse_mistyped_files(self) -> None:
        folder = folder_of(self.secrets_dir)
        if folder is not None:
            with_value = self.model_fields_set | ({"target_url"} if self.has_target else set())
            refuse_mistyped_files(folder, type(self), with_value)

    def _refuse_contradiction(self, flags: Mapping[str, Any]) -> None:
        """Refuse settings that exclude or overrule each other."""
        if self.watch and not self.refresh:
            raise ConfigurationError(
                "--watch (MIGRATOR_WATCH) repeats a refresh, and none is asked for",
                next_step="Add --refresh (MIGRATOR_REFRESH=true).",
            )
        if self.compare is not None and not self.refresh:
            raise ConfigurationError(
                "--compare (MIGRATOR_COMPARE) says what a refresh reads, and none is asked for",
                next_step="Add --refresh (MIGRATOR_REFRESH=true), or leave it out: a run compares every row.",
            )
        if self.refresh and self.restart:
            raise ConfigurationError(
                "--refresh carries what has changed, and --restart begins anew: they exclude each other",
                next_step="Give one of them.",
            )
        parts = [name for name in flags if name.startswith("postgres_")]
        if parts and self.target_url is not None and "target_url" not in flags:
            raise ConfigurationError(
                f"{flag_of(parts[0])} would be overruled by MIGRATOR_TARGET_URL",
                next_step="Give the whole target with --target-url, or unset MIGRATOR_TARGET_URL.",
            )


def _storable(value: object, clean: Callable[[Any], Any]) -> object:
    """Return a setting's value without secrets. A path need not be UTF-8, but PostgreSQL stores only UTF-8."""
    if isinstance(value, list):
        return [_storable(item, clean) for item in value]
    return clean(value).encode(errors="backslashreplace").decode() if isinstance(value, str) else value


def _raised(check: Callable[[], object]) -> ConfigurationError | None:
    """Call ``check`` and return the ConfigurationError that it raised, or None."""
    try:
        check()
    except ConfigurationError as error:
        return error
    return None


def _all(errors: Iterable[MigratorError | None]) -> ConfigurationError:
    """Return one error that says what all ``errors`` say; at least one of them is none of None."""
    return cast("ConfigurationError", in_one(errors))


def _names() -> dict[str, str]:
    """Return the field's name for each name that pydantic gives an option: the field's own, and its variables."""
    return {v: name for name, field in Settings.model_fields.items() for v in (name, *variables_of(name, field))}


def _defaults(error: ValidationError) -> dict[str, Any]:
    """Return the defaults of the options that the error is about."""
    names = _names()
    found = {names[str(problem["loc"][0])] for problem in error.errors() if str(problem["loc"][0]) in names}
    return {name: Settings.model_fields[name].get_default(call_default_factory=True) for name in found}


def _refusal(error: ValidationError) -> ConfigurationError:
    names = _names()
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
