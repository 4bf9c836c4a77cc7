"""
Defines the report as one value, from which the files of ``--report`` are made: JSON, HTML and JUnit.

``docs/report.schema.json`` is made from these classes by ``scripts/docs.py``. Within a version of the schema fields may
be added; a field that goes or changes its meaning raises ``SCHEMA_VERSION``.
"""

from dataclasses import dataclass
from typing import Any, Final, Literal

SCHEMA_VERSION: Final = 1

Outcome = Literal["unfinished", "done", "different", "refused", "failed", "stopped"]

StageState = Literal["done", "failed", "unfinished"]

Preflight = Literal["passed", "refused", "not checked"]

Comparison = Literal["equal", "different", "not compared"]


@dataclass(frozen=True, slots=True)
class Versions:
    """The versions of everything that took part."""

    migrator: str
    python: str
    sqlite: str
    """Of Python's SQLite, which reads the source's schema."""
    postgresql: str | None
    """Of the target's server; null if it was not reached."""


@dataclass(frozen=True, slots=True)
class SourceFile:
    """The SQLite file."""

    path: str
    bytes: int
    wal_bytes: int
    """Size of the write-ahead log beside the file."""
    schema_version: int
    """SQLite's own counter of changes to the schema (PRAGMA schema_version)."""
    user_version: int
    """The number that the application keeps in the file (PRAGMA user_version)."""


@dataclass(frozen=True, slots=True)
class StageEntry:
    """A stage of the run. Stages overlap."""

    stage: str
    state: StageState
    started_at: str
    ended_at: str | None
    seconds: float | None
    attempts: int


@dataclass(frozen=True, slots=True)
class TableEntry:
    """A table of the target, as far as the command came with it."""

    table: str
    preflight: Preflight
    """A table that an earlier run has copied was checked by that run."""
    comparison: Comparison
    digest: str | None
    """Digest of all rows, which is the same on both sides, in hexadecimal digits; null unless they are equal."""
    source_rows: int | None
    """Rows that are to be carried; those that rules leave behind are not among them."""
    target_rows: int | None
    bytes: int | None
    """Bytes sent to the target; null if this migration has sent none."""
    copy_started_at: str | None
    """Null if an earlier run has copied the table."""
    copied_at: str | None
    copy_seconds: float | None
    """Working time of all workers that copied the table, added up."""
    rows_per_second: float | None
    """Rows by the working time of the copy."""
    bytes_per_second: float | None
    verified_at: str | None
    verify_seconds: float | None
    """Working time of all workers that compared the table, added up."""
    left_behind: int
    """Rows of the source that the rules for rows don't carry."""


@dataclass(frozen=True, slots=True)
class RefreshEntry:
    """What a refresh has done with a table of the target."""

    table: str
    way: Literal["unchanged", "changed", "loaded anew", "new"]
    rows: int
    """Rows that the source holds now."""
    rows_before: int | None
    """Rows after the run before; null for a new table."""
    inserted: int
    updated: int
    deleted: int
    reason: str
    """Why the table is loaded anew; empty otherwise."""


@dataclass(frozen=True, slots=True)
class FindingEntry:
    """Something that preflight found. Its values are masked if the settings ask for that."""

    table: str
    column: str | None
    code: str
    refuses: bool
    """Whether the job refuses because of it; otherwise it is worth knowing."""
    message: str
    rows: int | None
    at_least: bool
    """Whether there may be more rows than were counted."""
    examples: list[dict[str, Any]]
    settled_by: str
    """Lines of a rule, or another remedy in words."""


@dataclass(frozen=True, slots=True)
class DifferenceEntry:
    """How a table differs between source and target."""

    table: str
    source_rows: int
    target_rows: int
    rows: dict[str, int]
    """Numbers of differing rows by the kind of the difference."""
    columns: dict[str, int]
    """Numbers of differing values by column."""
    examples: list[dict[str, Any]]


@dataclass(frozen=True, slots=True)
class RuleEntry:
    """What a rule of the operator has done."""

    table: str
    column: str | None
    rule: str
    effect: Literal["rewritten", "left behind", "set to NULL"]
    rows: int
    detail: str


@dataclass(frozen=True, slots=True)
class SkippedEntry:
    """Something of the source that is not copied."""

    name: str
    reason: str


@dataclass(frozen=True, slots=True)
class WarningEntry:
    """A warning of the log."""

    at: str
    event: str
    stage: str | None
    message: str


@dataclass(frozen=True, slots=True)
class Settling:
    """What settles a refusal, to be pasted."""

    flags: list[str]
    rules: str
    """Lines for ``migrator.toml``; empty if no rule settles it."""


@dataclass(frozen=True, slots=True)
class Document:
    """The whole report of one command."""

    schema_version: Literal[1]
    command: str | None
    """Null if the command line could not be read."""
    outcome: Outcome
    exit_code: int | None
    """Null while the command has not ended."""
    message: str
    next_step: str
    settled_by: Settling
    run_id: str
    migration: str | None
    started_at: str
    ended_at: str | None
    seconds: float | None
    versions: Versions
    source: SourceFile | None
    """Null if the source was not opened."""
    settings: dict[str, Any]
    """The settings of the command, without secrets."""
    rows: int
    """Rows of all tables that the target is known to hold."""
    bytes: int
    """Bytes sent to the target for them."""
    stages: list[StageEntry]
    tables: list[TableEntry]
    refreshed: list[RefreshEntry]
    """What a refresh has done, or with ``check --refresh`` would do; empty without one."""
    findings: list[FindingEntry]
    differences: list[DifferenceEntry]
    schema_differences: list[str]
    """Differences of keys, indexes, sequences and the like."""
    rules: list[RuleEntry]
    skipped: list[SkippedEntry]
    warnings: list[WarningEntry]
    warnings_left_out: int
    """Number of further warnings, which only the log has."""
    notes: list[str]
    facts: dict[str, Any]
    """Further facts of an error, as the log has them."""
