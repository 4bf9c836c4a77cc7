"""
Every setting, once: its name, default, limits and meaning.

Environment variables, command line flags, secret files, ``--help`` and ``docs/configuration.md`` all come from the one
model below. A flag beats the environment, the environment a ``…_FILE`` variable, that a file in the folder of secrets,
and that the default. An empty variable counts as not set, since that is how compose hands on what nobody gave.
"""

import json
import os
from collections.abc import Mapping
from dataclasses import replace
from difflib import get_close_matches
from pathlib import Path
from typing import Annotated, Any, Final, Literal, Self

from pydantic import AfterValidator, BeforeValidator, ByteSize, Field, SecretStr, ValidationError
from pydantic_settings import BaseSettings, NoDecode, PydanticBaseSettingsSource, SettingsConfigDict, SettingsError

from migrator.address import SslMode, TargetAddress
from migrator.errors import ConfigurationError
from migrator.fields import PREFIX, Traits, flag_of, setting, traits_of, variables_of
from migrator.redaction import spellings
from migrator.secret_files import DEFAULT_SECRETS_DIR, FileVariables, SecretsFolder
from migrator.source_url import names_a_file, path_of
from migrator.target_url import from_parts, from_url

# Values that messages don't quote: secrets, and the source, where the target's URL lands by mistake.
UNSHOWN: Final = frozenset({"target_url", "postgres_password", "source_url"})


def _commas(value: object) -> object:
    items = value.split(",") if isinstance(value, str) else value
    if not isinstance(items, list | tuple):
        return items
    return tuple(part.strip() for item in items for part in str(item).split(",") if part.strip())


def _no_nul(secret: SecretStr) -> SecretStr:
    if "\0" in secret.get_secret_value():
        raise ValueError("it holds a NUL byte")
    return secret


Seconds = Annotated[float, Field(gt=0, le=7 * 24 * 3600)]
Names = Annotated[tuple[str, ...], NoDecode, BeforeValidator(_commas)]
Secret = Annotated[SecretStr, AfterValidator(_no_nul)]


def _default_jobs() -> int:
    return min(4, len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1)


class Settings(BaseSettings):
    """What the job is told. Made by ``Settings.load``, which turns every complaint into one ConfigurationError."""

    model_config = SettingsConfigDict(
        env_prefix=PREFIX,
        env_ignore_empty=True,
        frozen=True,
        extra="forbid",
        hide_input_in_errors=True,
        populate_by_name=True,
    )

    source_url: Annotated[str, AfterValidator(names_a_file)] | None = setting(
        None,
        "The SQLite database to move: a file's path, or a URL such as sqlite:///dryad.db or "
        "sqlite+aiosqlite:////data/dryad.db. It is only read.",
        Traits("Source", flags=("--source",)),
    )
    exclude: Names = setting(
        (),
        "Tables, or columns as table.column, to leave behind; * and ? are wildcards. Several are separated by commas, "
        "or the flag is repeated.",
        Traits("Source"),
    )
    rules: Path | None = setting(
        None,
        "File of rules (migrator.toml) for what the source leaves open: units of epochs, time zones, spellings of true "
        "and false, names that differ. docs/types.md lists them.",
        Traits("Source"),
    )
    snapshot: bool = setting(
        False,  # noqa: FBT003 - the default
        "Copy the source into scratch space (TMPDIR) first and read the copy: for an application that goes on writing, "
        "or a database with a write-ahead log on a read-only mount.",
        Traits("Source"),
    )
    if_source_changed: Literal["warn", "fail"] = setting(
        "warn",
        "What to do when the source has been written to since it was migrated: say so, or exit 3.",
        Traits("Source"),
    )

    target_url: Secret | None = setting(
        None,
        "The PostgreSQL database to fill: postgresql://user:password@host:5432/database, postgres:// or "
        "postgresql+asyncpg://; percent-encode special characters. What it leaves out comes from the POSTGRES_… "
        "settings. On a command line other users of the machine can read it; prefer the variable or a file.",
        Traits("Target", flags=("--target",), in_file=True),
    )
    postgres_host: str | None = setting(
        None,
        "Host name, address, or folder of the Unix socket; several hosts are separated by commas.",
        Traits("Target"),
        "POSTGRES_HOST",
    )
    postgres_port: int = setting(
        5432,
        "Port of the server.",
        Traits("Target"),
        "POSTGRES_PORT",
        gt=0,
        lt=1 << 16,
    )
    postgres_db: str | None = setting(
        None,
        "Name of the database.",
        Traits("Target", in_file=True, shown_default="the user's name"),
        "POSTGRES_DB",
    )
    postgres_user: str = setting(
        "postgres",
        "Role to log in as.",
        Traits("Target", in_file=True),
        "POSTGRES_USER",
    )
    postgres_password: Secret | None = setting(
        None,
        "Password of the role. There is no flag for it: command lines can be read by every user of the machine.",
        Traits("Target", in_file=True, no_flag=True),
        "POSTGRES_PASSWORD",
    )
    sslmode: SslMode | None = setting(
        None,
        "How the connection is protected, as libpq has it: disable, allow, prefer, require, verify-ca, verify-full.",
        Traits("Target", shown_default="prefer"),
        "MIGRATOR_SSLMODE",
        "PGSSLMODE",
    )
    sslrootcert: str | None = setting(
        None,
        "File with the certificates of the authorities to trust, or 'system' for the machine's own.",
        Traits("Target"),
        "MIGRATOR_SSLROOTCERT",
        "PGSSLROOTCERT",
    )
    sslcert: str | None = setting(
        None,
        "File with the client's certificate.",
        Traits("Target"),
        "MIGRATOR_SSLCERT",
        "PGSSLCERT",
    )
    sslkey: str | None = setting(
        None,
        "File with the client certificate's key, readable only by its owner.",
        Traits("Target"),
        "MIGRATOR_SSLKEY",
        "PGSSLKEY",
    )
    target_schema: str | None = setting(
        None,
        "Schema of the target's tables.",
        Traits("Target", shown_default="the first schema on the search_path"),
    )
    secrets_dir: Path | None = setting(
        None,
        "Folder of secret files, each named like its variable, in capitals or not (postgres_password).",
        Traits("Target", shown_default=f"{DEFAULT_SECRETS_DIR}, where it exists"),
    )

    schema_mode: Literal["alembic", "command", "existing"] = setting(
        "alembic",
        "Who makes the target's tables: Alembic migrations, a command, or nobody, because they exist.",
        Traits("Schema", flags=("--schema",)),
    )
    alembic_config: Path | None = setting(
        None,
        "The alembic.ini of the application, for --schema alembic.",
        Traits("Schema"),
    )
    schema_command: str | None = setting(
        None,
        "The command that makes the tables, for --schema command. It finds the target in DATABASE_URL.",
        Traits("Schema"),
    )
    init_sql: Path | None = setting(
        None,
        "File of SQL to run first, each time: extensions, schemas, grants. It must be idempotent.",
        Traits("Schema"),
    )
    init_schema: str | None = setting(
        None,
        "Schema that the init SQL makes, handed to it as migrator.schema.",
        Traits("Schema"),
    )
    init_role: str | None = setting(
        None,
        "Role of the application that the init SQL grants to, handed to it as migrator.role. "
        "It may read the ledger as well.",
        Traits("Schema"),
    )
    require_extensions: bool = setting(
        False,  # noqa: FBT003 - the default
        "Fail when an extension that the init SQL asks for can't be had; otherwise that is a warning.",
        Traits("Schema"),
    )

    jobs: int = setting(
        _default_jobs,
        "Tables loaded and compared at the same time.",
        Traits("Speed", shown_default="the number of CPUs, at most 4"),
        ge=1,
        le=64,
    )
    batch_bytes: ByteSize = setting(
        ByteSize(2 << 20),
        "Size of the pieces in which rows travel; memory grows with it, times jobs. 8MiB and 8MB are understood.",
        Traits("Speed", shown_default="2MiB"),
        ge=64 << 10,
        le=1 << 30,
    )

    scale: float = setting(
        1.0,
        "Size of the demo's sample: 1 is about 20,000 rows, 50 a million.",
        Traits("Demo"),
        gt=0,
        le=1000,
    )

    chunk_bytes: ByteSize = setting(
        ByteSize(256 << 20),
        "Tables larger than this are committed in pieces of about this size, so that a run that is killed loses no "
        "more than one of them for each of its jobs.",
        Traits("Speed", shown_default="256MiB"),
        ge=1,
    )

    wait_timeout_seconds: Seconds = setting(
        120,
        "Seconds to wait for a server that is starting or away.",
        Traits("Patience"),
    )
    lock_timeout_seconds: Seconds = setting(
        60,
        "Seconds to wait for another job on the same target before giving up.",
        Traits("Patience"),
    )
    stall_timeout_seconds: Seconds = setting(
        120,
        "Seconds that the server may take for a batch of rows, or leave the job without the answer to what it has "
        "finished, before the connection counts as lost.",
        Traits("Patience"),
    )
    retry_attempts: int = setting(
        5,
        "Times a stage is tried when what stops it may heal by itself.",
        Traits("Patience"),
        ge=1,
        le=1000,
    )
    retry_max_pause_seconds: Seconds = setting(
        30,
        "Longest pause between two tries, in seconds.",
        Traits("Patience"),
    )

    restart: bool = setting(
        False,  # noqa: FBT003 - the default
        "Give up what an earlier run has copied and start over; refused where somebody has written to it since.",
        Traits("Again"),
    )
    force: bool = setting(
        False,  # noqa: FBT003 - the default
        "Let reset and --restart also remove rows that somebody has added or changed since they were copied.",
        Traits("Again"),
    )

    wait: bool = setting(
        False,  # noqa: FBT003 - the default
        "Let status wait until the ledger says that the migration is complete and verified: for an application's init "
        "container. It needs no source and no more than a role that may read the ledger.",
        Traits("Status"),
    )
    ready_timeout_seconds: Seconds = setting(
        3600,
        "Seconds that status --wait waits for that before it gives up with exit code 5.",
        Traits("Status"),
    )

    report: Path | None = setting(
        None,
        "File to write the outcome to, as JSON, with every table.",
        Traits("Output"),
    )
    termination_message: Path | None = setting(
        None,
        "File to write the outcome to in one short line of JSON, whatever it is; in Kubernetes /dev/termination-log.",
        Traits("Output"),
    )
    differences: Path | None = setting(
        None,
        "File to write every difference that verification finds to, one JSON object a line.",
        Traits("Output"),
    )
    examples: int = setting(
        5,
        "Keys named for each problem, so that it can be found.",
        Traits("Output"),
        ge=0,
        le=1000,
    )
    mask_values: bool = setting(
        False,  # noqa: FBT003 - the default
        "Name keys but show no values of rows in messages and reports.",
        Traits("Output"),
    )
    log_level: Literal["debug", "info", "warning", "error"] = setting(
        "info",
        "The least important events to log; debug also shows tracebacks.",
        Traits("Output"),
    )
    log_format: Literal["auto", "json", "console"] = setting(
        "auto",
        "How events are written to stderr; auto is console on a terminal and json elsewhere.",
        Traits("Output"),
    )
    progress: Literal["auto", "on", "off"] = setting(
        "auto",
        "Whether to draw progress bars; auto means where events go to a terminal.",
        Traits("Output"),
    )

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,  # noqa: ARG003 - a .env file is compose's business, not ours
        file_secret_settings: PydanticBaseSettingsSource,  # noqa: ARG003 - it strips blanks that a password may end in
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Precedence is the order of this tuple."""
        return init_settings, env_settings, FileVariables(settings_cls), SecretsFolder(settings_cls)

    @classmethod
    def load(cls, flags: Mapping[str, Any] | None = None) -> Self:
        """
        Read every origin; ``flags`` holds what the command line gave, by field name.

        Raises ConfigurationError with one line that names each bad setting, its value (never of a secret) and what is
        accepted. The address of the target is built on the way, so a bad one is found here.
        """
        given = dict(flags or {})
        try:
            settings = cls(**given)
        except ValidationError as error:
            raise _refusal(error) from None
        except SettingsError as error:
            raise ConfigurationError(str(error)) from None
        settings._refuse_contradiction(given)
        if settings.has_target:
            _ = settings.target
        return settings

    @property
    def source_path(self) -> Path:
        """The SQLite file. It is not opened here and may be missing. Raises ConfigurationError if none is named."""
        if self.source_url is None:
            raise ConfigurationError(
                "no source is set", next_step="Set MIGRATOR_SOURCE_URL, or give --source sqlite:///path/to/file.db."
            )
        return path_of(self.source_url)

    @property
    def has_target(self) -> bool:
        """Whether a target is set."""
        return self.target_url is not None or self.postgres_host is not None

    @property
    def target(self) -> TargetAddress:
        """The target's address. Raises ConfigurationError if none is set, or if it can't be read."""
        parts = {
            "host": self.postgres_host,
            "port": str(self.postgres_port),
            "dbname": self.postgres_db,
            "user": self.postgres_user,
            "password": self.postgres_password.get_secret_value() if self.postgres_password else None,
            **{name: getattr(self, name) for name in ("sslmode", "sslrootcert", "sslcert", "sslkey")},
        }
        given = {name: value for name, value in parts.items() if value}
        if self.target_url is not None:
            return self._patient(from_url(self.target_url.get_secret_value(), given))
        if self.postgres_host is None:
            raise ConfigurationError(
                "no target is set",
                next_step="Set MIGRATOR_TARGET_URL (or MIGRATOR_TARGET_URL_FILE), or POSTGRES_HOST and its companions.",
            )
        return self._patient(from_parts(given))

    def _patient(self, address: TargetAddress) -> TargetAddress:
        return replace(address, stall_timeout_seconds=self.stall_timeout_seconds)

    def secrets(self) -> frozenset[str]:
        """Every spelling of every secret, for the redaction of logs."""
        plain = {secret.get_secret_value() for secret in (self.target_url, self.postgres_password) if secret}
        plain |= {os.environ.get("PGPASSWORD", "")}  # the drivers take it when no other password is set
        from_address: frozenset[str] = frozenset()
        if self.has_target:
            from_address = self.target.secrets()
        return frozenset(text for secret in plain for text in spellings(secret)) | from_address

    def public(self) -> dict[str, Any]:
        """Give settings as JSON values without secrets, for ledger and report; what is not set is left out."""
        hidden = {name for name in type(self).model_fields if name.startswith("postgres_")} | {"target_url"}
        values = self.model_dump(mode="json", exclude=hidden, exclude_none=True)
        if self.has_target:
            values["target"] = self.target.redacted()
        return values

    def _refuse_contradiction(self, flags: Mapping[str, Any]) -> None:
        """Refuse flags for parts against a variable's URL: a flag beats the environment, but a URL beats the parts."""
        parts = [name for name in flags if name.startswith("postgres_")]
        if parts and self.target_url is not None and "target_url" not in flags:
            raise ConfigurationError(
                f"{flag_of(parts[0])} would be overruled by MIGRATOR_TARGET_URL",
                next_step="Give the whole target with --target-url, or unset MIGRATOR_TARGET_URL.",
            )


def unknown_variables(environment: Mapping[str, str]) -> dict[str, str | None]:
    """
    Find variables with our prefix that no setting has, each with the nearest name that exists, if one is near.

    They are worth a warning and no more: a newer or older image may know them.
    """
    known = {
        spelling
        for name, field in Settings.model_fields.items()
        for variable in variables_of(name, field)
        for spelling in (variable, *([f"{variable}_FILE"] if traits_of(field).in_file else []))
    }
    strangers = sorted(name for name in environment if name.upper().startswith(PREFIX) and name.upper() not in known)
    return {name: next(iter(get_close_matches(name.upper(), known, n=1, cutoff=0.8)), None) for name in strangers}


def _refusal(error: ValidationError) -> ConfigurationError:
    names = {v: name for name, field in Settings.model_fields.items() for v in (name, *variables_of(name, field))}
    lines = []
    for problem in error.errors(include_url=False):
        name = names.get(str(problem["loc"][0]))
        if name is None:
            lines.append(f"{problem['loc'][0]} is no setting")
            continue
        shown = "" if name in UNSHOWN else f" = {json.dumps(problem['input'], default=str, ensure_ascii=False)}"
        reason = problem["msg"].removeprefix("Value error, ")
        lines.append(f"{variables_of(name, Settings.model_fields[name])[0]}{shown}: {reason[0].lower()}{reason[1:]}")
    return ConfigurationError("; ".join(lines), next_step="`migrator run --help` lists what each setting accepts.")
