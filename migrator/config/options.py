"""
Defines every option once: its name, default, limits and meaning.

Environment variables, command line flags, secret files, ``--help`` and ``docs/reference/configuration.md`` follow it.
"""

from pathlib import Path
from typing import Final, Literal

from pydantic import ByteSize

from migrator.config.cut_over_options import CutOverOptions
from migrator.config.fields import Group, OptionInfo, option
from migrator.config.secret_files import DEFAULT_SECRETS_DIR
from migrator.config.values import (
    MigrationName,
    Names,
    OnExistingRows,
    Schema,
    Seconds,
    Secret,
    SourceUrl,
    default_jobs,
)
from migrator.names import NamingStyle
from migrator.sessions.address import SslMode

RULES_FILE: Final = "migrator.toml"
"""The rules file of the working folder, which is used where no other file is named."""


class Options(CutOverOptions):
    """The options, in the order of the manual. ``settings.Settings`` reads them."""

    source_url: SourceUrl | None = option(
        None,
        "The SQLite database to move: a file's path, or a URL such as sqlite:///dryad.db or "
        "sqlite+aiosqlite:////data/dryad.db. It is only read.",
        OptionInfo(Group.SOURCE, flags=("--source",)),
    )
    exclude: Names = option(
        (),
        "Tables, or columns as table.column, to leave behind; * and ? are wildcards. Several are separated by commas, "
        "or the flag is repeated.",
        OptionInfo(Group.SOURCE),
    )
    leave_out: Names = option(
        (),
        "With --schema create: keys, CHECKs, defaults and the like that tables are made without, as table.name; the "
        "refusal prints the names. * and ? are wildcards. Several are separated by commas, or the flag is repeated.",
        OptionInfo(Group.SCHEMA),
    )
    untried: Names = option(
        (),
        "CHECKs, indexes and the like of the target that could not be tried on the source's rows beforehand, and that "
        "the job begins without, as table.name; the refusal prints the names. * and ? are wildcards. Several are "
        "separated by commas, or the flag is repeated.",
        OptionInfo(Group.SCHEMA),
    )
    rules: Path | None = option(
        None,
        "Rules file, for what the source leaves open: units of epochs, time zones, spellings of true and false, "
        "names that differ. docs/reference/types.md lists them. /dev/null means no rules, even if the folder has such "
        "a file.",
        OptionInfo(Group.SOURCE, shown_default=f"{RULES_FILE} in the working folder, where it exists"),
    )
    names: NamingStyle | None = option(
        None,
        "How names of the source's tables and columns become names of the target's: as-is, lower (as PostgreSQL reads "
        "names without quotes), or snake_case (UserID becomes user_id). The rule `names` says the same; this wins.",
        OptionInfo(Group.SOURCE, shown_default="the rule, or as-is"),
    )
    snapshot: bool = option(
        False,  # noqa: FBT003 - the default
        "Copy the source into scratch space (TMPDIR) first and read the copy: for an application that goes on writing, "
        "or a database with a write-ahead log on a read-only mount.",
        OptionInfo(Group.SOURCE),
    )
    if_source_changed: Literal["fail", "ignore"] = option(
        "fail",
        "What to do when the source holds other rows than those of a migration that is complete: exit 3 and name the "
        "tables; or warn and exit 0, for those who know that the new rows aren't needed.",
        OptionInfo(Group.SOURCE),
    )

    source_only: bool = option(
        False,  # noqa: FBT003 - the default
        "Let check look at the source alone, whether or not a target is set. Whether the target takes it stays open.",
        OptionInfo(Group.CHECK),
    )

    write_rules: Path | None = option(
        None,
        "Rules file for check to write: a section for each finding, with the likely rule, and all others that fit as "
        "comments. The rules file that is in use may be named: its rules stay, and sections are added.",
        OptionInfo(Group.CHECK),
    )

    target_url: Secret | None = option(
        None,
        "The PostgreSQL database to fill: postgresql://user:password@host:5432/database, postgres:// or "
        "postgresql+asyncpg://; percent-encode special characters. What it leaves out comes from the POSTGRES_… "
        "settings. On a command line other users of the machine can read it; prefer the variable or a file.",
        OptionInfo(Group.TARGET, flags=("--target",), in_file=True),
    )
    postgres_host: str | None = option(
        None,
        "Host name, address, or folder of the Unix socket; several hosts are separated by commas.",
        OptionInfo(Group.TARGET),
        "POSTGRES_HOST",
    )
    postgres_port: int = option(
        5432,
        "Port of the server.",
        OptionInfo(Group.TARGET),
        "POSTGRES_PORT",
        gt=0,
        lt=1 << 16,
    )
    postgres_db: str | None = option(
        None,
        "Name of the database.",
        OptionInfo(Group.TARGET, in_file=True, shown_default="the user's name"),
        "POSTGRES_DB",
    )
    postgres_user: str = option(
        "postgres",
        "Role to log in as.",
        OptionInfo(Group.TARGET, in_file=True),
        "POSTGRES_USER",
    )
    postgres_password: Secret | None = option(
        None,
        "Password of the role. There is no flag for it: command lines can be read by every user of the machine.",
        OptionInfo(Group.TARGET, in_file=True, no_flag=True),
        "POSTGRES_PASSWORD",
    )
    sslmode: SslMode | None = option(
        None,
        "How the connection is protected, as libpq has it: disable, allow, prefer, require, verify-ca, verify-full.",
        OptionInfo(Group.TARGET, shown_default="prefer"),
        "MIGRATOR_SSLMODE",
        "PGSSLMODE",
    )
    sslrootcert: str | None = option(
        None,
        "File with the certificates of the authorities to trust, or 'system' for the machine's own.",
        OptionInfo(Group.TARGET),
        "MIGRATOR_SSLROOTCERT",
        "PGSSLROOTCERT",
    )
    sslcert: str | None = option(
        None,
        "File with the client's certificate.",
        OptionInfo(Group.TARGET),
        "MIGRATOR_SSLCERT",
        "PGSSLCERT",
    )
    sslkey: str | None = option(
        None,
        "File with the client certificate's key, readable only by its owner.",
        OptionInfo(Group.TARGET),
        "MIGRATOR_SSLKEY",
        "PGSSLKEY",
    )
    target_schema: Schema | None = option(
        None,
        "Schema of the target's tables.",
        OptionInfo(Group.TARGET, shown_default="the first schema on the search_path"),
    )
    migration: MigrationName | None = option(
        None,
        "Name under which the ledger keeps this migration: several live side by side in one database, each with a name "
        "of its own.",
        OptionInfo(Group.TARGET, shown_default="the target schema"),
    )
    secrets_dir: Path | None = option(
        None,
        "Folder of secret files, each named like its variable, in capitals or not (postgres_password).",
        OptionInfo(Group.TARGET, shown_default=f"{DEFAULT_SECRETS_DIR}, where it exists"),
    )

    schema_mode: Literal["alembic", "command", "create", "existing"] = option(
        "alembic",
        "Who makes the target's tables: Alembic migrations, a command, the job after those of the source, or nobody, "
        "because they exist.",
        OptionInfo(Group.SCHEMA, flags=("--schema",)),
    )
    alembic_config: Path | None = option(
        None,
        "The alembic.ini of the application, for --schema alembic.",
        OptionInfo(Group.SCHEMA),
    )
    schema_command: str | None = option(
        None,
        "The command that makes the tables, for --schema command. It finds the target in DATABASE_URL.",
        OptionInfo(Group.SCHEMA),
    )
    init_sql: Path | None = option(
        None,
        "File of SQL to run first, each time: extensions, schemas, grants. It must be idempotent.",
        OptionInfo(Group.SCHEMA),
    )
    init_schema: Schema | None = option(
        None,
        "Schema that the init SQL makes, handed to it as migrator.schema.",
        OptionInfo(Group.SCHEMA),
    )
    init_role: str | None = option(
        None,
        "Role of the application that the init SQL grants to, handed to it as migrator.role. "
        "It may read the ledger as well.",
        OptionInfo(Group.SCHEMA),
    )
    require_extensions: bool = option(
        False,  # noqa: FBT003 - the default
        "Fail when an extension that the init SQL asks for can't be had; otherwise that is a warning.",
        OptionInfo(Group.SCHEMA),
    )

    on_existing_rows: OnExistingRows = option(
        (),
        "What to do with rows of the target that this job did not put there and that the source doesn't hold. refuse: "
        "name them and end with exit code 4. replace: let the source's rows take their place, and keep them in the "
        "ledger's schema until `migrator forget`. keep: the same, but rows whose key only the target has stay. One "
        "word is for all tables, users:replace for one table of the source; * and ? are wildcards. Several are "
        "separated by commas, or the flag is repeated.",
        OptionInfo(Group.EXISTING, shown_default="refuse"),
    )
    kept_rows: Path | None = option(
        None,
        "File to write the rows to, one JSON object a line, that gave way to the source's under --on-existing-rows. It "
        "shows their values even with --mask-values, and is readable by its owner alone.",
        OptionInfo(Group.EXISTING),
    )
    kept_limit: ByteSize = option(
        ByteSize(1 << 30),
        "Size of a table on disk above which its rows aren't kept, and so don't give way: the run refuses them and "
        "names the size.",
        OptionInfo(Group.EXISTING, shown_default="1GiB"),
        ge=1,
    )

    jobs: int = option(
        default_jobs,
        "Tables, or chunks of a large one, that are in work at the same time. If it is set, it also limits the keys "
        "and indexes that the server makes at the same time: by default 4, or fewer on a server that says it is small.",
        OptionInfo(Group.SPEED, shown_default="the number of the job's CPUs, at least 2 and at most 4"),
        ge=1,
        le=64,
    )
    batch_bytes: ByteSize = option(
        ByteSize(2 << 20),
        "Size of the batches in which rows travel; memory grows with it, times jobs. 8MiB and 8MB are understood.",
        OptionInfo(Group.SPEED, shown_default="2MiB"),
        ge=64 << 10,
        le=1 << 30,
    )

    scale: float = option(
        1.0,
        "Size of the demo's sample: 1 is about 20,000 rows, 50 a million.",
        OptionInfo(Group.DEMO),
        gt=0,
        le=1000,
    )

    chunk_bytes: ByteSize = option(
        ByteSize(256 << 20),
        "Tables larger than this are committed in chunks of about this size, so that a run that is killed loses no "
        "more than one of them for each of its jobs. A table that is larger than its share comes in smaller ones.",
        OptionInfo(Group.SPEED, shown_default="256MiB"),
        ge=1,
    )
    in_turn: bool = option(
        False,  # noqa: FBT003 - the default
        "One stage after the other, instead of comparing a table while others are still copied. Slower; it "
        "takes fewer connections, and shows what each stage takes by itself.",
        OptionInfo(Group.SPEED),
    )

    wait_timeout_seconds: Seconds = option(
        120,
        "Seconds to wait for a server that is starting or away.",
        OptionInfo(Group.TIMEOUTS),
    )
    lock_timeout_seconds: Seconds = option(
        60,
        "Seconds to wait for another job on the same target before giving up.",
        OptionInfo(Group.TIMEOUTS),
    )
    stall_timeout_seconds: Seconds = option(
        120,
        "Seconds that the server may take for a batch of rows, or leave the job without the answer to what it has "
        "finished, before the connection counts as lost.",
        OptionInfo(Group.TIMEOUTS),
    )
    retry_attempts: int = option(
        5,
        "Times a stage is tried when what stops it may heal by itself.",
        OptionInfo(Group.TIMEOUTS),
        ge=1,
        le=1000,
    )
    retry_max_pause_seconds: Seconds = option(
        30,
        "Longest pause between two tries, in seconds.",
        OptionInfo(Group.TIMEOUTS),
    )

    restart: bool = option(
        False,  # noqa: FBT003 - the default
        "Give up what an earlier run has copied and start over; refused where somebody has written to it since.",
        OptionInfo(Group.RERUN),
    )
    force: bool = option(
        False,  # noqa: FBT003 - the default
        "Let reset and --restart also remove rows that somebody has added or changed since they were copied.",
        OptionInfo(Group.RERUN),
    )

    yes: bool = option(
        False,  # noqa: FBT003 - the default
        "Let reset and forget remove the rows that they list without asking. Without it they ask at a terminal, and "
        "remove nothing elsewhere.",
        OptionInfo(Group.CONFIRMATION, flags=("-y",)),
    )

    wait: bool = option(
        False,  # noqa: FBT003 - the default
        "Let status wait until the ledger says that the migration is complete and verified: for an application's init "
        "container. It needs no source and no more than a role that may read the ledger.",
        OptionInfo(Group.STATUS),
    )
    follow: bool = option(
        False,  # noqa: FBT003 - the default
        "Let status show how far the migration is until it is complete or has failed; it waits for one that hasn't "
        "begun. This goes before --wait.",
        OptionInfo(Group.STATUS),
    )
    ready_timeout_seconds: Seconds = option(
        3600,
        "Seconds that status --wait waits for that before it gives up with exit code 5.",
        OptionInfo(Group.STATUS),
    )
