"""Defines every event of the log, with its meaning: a contract for programs that read the log."""

from enum import StrEnum
from typing import Final, Self


class Event(StrEnum):
    """The value of the field ``event`` in a log line. ``meaning`` is its description in the documentation."""

    meaning: str

    def __new__(cls, word: str, meaning: str) -> Self:
        """Make a member whose value is the word, with its meaning as an attribute."""
        event = str.__new__(cls, word)
        event._value_ = word
        event.meaning = meaning
        return event

    JOB_STARTED = "job.started", "A command began: its name, the version, and the settings that were given."
    RULES_FOUND = "rules.found", "No rules file was named, and the working folder has one, which is used: path."
    DRY_RUN = "dry_run", "`run --dry-run`: what `check` does is done in place of the run."
    RULES_WRITTEN = "rules.written", "`check --write-rules` has written the rules that settle what it found: path."
    JOB_FINISHED = "job.finished", "The command ended well: seconds, and what it did in total."
    JOB_FAILED = (
        "job.failed",
        "The command ended otherwise: message, next_step, exit_code, flags and rules, number of reasons told before.",
    )
    JOB_STOPPING = "job.stopping", "A signal came; the job stops at the next safe point."

    STAGE_STARTED = "stage.started", "A stage began."
    STAGE_FINISHED = "stage.finished", "A stage ended well: seconds, and attempts if it took more than one."
    STAGE_SKIPPED = "stage.skipped", "A stage had nothing to do: reason."
    PROGRESS = (
        "progress",
        "How far a stage or a table in work is, every few seconds: rows (keys, tables), of, bytes, rate, seconds_left.",
    )

    RETRY_SCHEDULED = (
        "retry.scheduled",
        "Something transient failed: attempt, error, the reason in words, and the pause before the next try.",
    )
    SERVER_WAITING = (
        "server.waiting",
        "The target did not answer the first try: server, setting that names it, seconds it is waited for at most.",
    )
    SERVER_READY = "server.ready", "The target answered: version, seconds waited."
    READY_WAITING = "ready.waiting", "`status --wait`: the application may not start yet: reason."
    STATUS = (
        "status",
        "`status --follow`: how far it is: state, stages, tables, how many are copied and verified, those in work.",
    )
    SERVER_LOST = (
        "server.lost",
        "`status --follow`: the server doesn't answer, and is waited for: reason, seconds_left.",
    )
    LOCK_WAITING = "lock.waiting", "Another job holds the lock of what it works on: holder, of."
    SESSIONS_CHOSEN = "sessions.chosen", "How many sessions of the target a run works with: rows, keys, reason."
    MIGRATION_CHOSEN = "migration.chosen", "The migration that the command is about: its name in the ledger."

    TABLE_SKIPPED = "table.skipped", "A source table is left behind: reason."
    TABLE_CHECKED = "table.checked", "At level debug: preflight has looked at every value of a table: rows, bytes."
    TABLE_BEGUN = "table.begun", "At level debug: the copy of a table's rows began."
    TABLE_COPIED = "table.copied", "A table's rows are committed: rows, bytes, seconds."
    TABLE_REFRESHED = (
        "table.refreshed",
        "What a refresh does with a table: way, rows, inserted, updated, deleted, reason. At level debug if unchanged.",
    )
    TABLE_VERIFIED = "table.verified", "Every value of a table was compared and is equal: rows, seconds, digest."
    TABLE_DIFFERS = "table.differs", "Source and target differ in a table: counts, and keys and values of some rows."
    SCHEMA_DIFFERS = "schema.differs", "A key, an index, a sequence or the like is not as it must be: what."
    SCHEMA_LEFT_OUT = (
        "schema.left_out",
        "A table that the job makes does without something that the source's has: table, what, reason.",
    )
    SEQUENCE_LEFT = (
        "sequence.left",
        "A sequence could not be set to where SQLite stands: sequence, reason, next_step; table and column if known.",
    )
    SEQUENCES_UNKNOWN = (
        "sequences.unknown",
        "It can't be told which columns take values from these sequences: sequences, rules (to paste), next_step.",
    )
    COLUMN_UNFILLED = (
        "column.unfilled",
        "A column gets no values, since a trigger that fills it doesn't fire for the rows: table, column, next_step.",
    )
    VERSIONS_DIFFER = (
        "versions.differ",
        "The bookkeeping of migrations has other versions on either side: table, reason, next_step.",
    )
    VALUES_REFUSED = (
        "values.refused",
        "Preflight found values that can't be carried: table, column, reason, count, keys.",
    )

    VALUES_REMARKED = (
        "values.remarked",
        "Values arrive as they are; one should know of them: table, column, reason, count, keys; or a line a table.",
    )
    CONSTRAINT_UNTRIED = (
        "constraint.untried",
        "Rows couldn't be held against something of the target beforehand: table, constraints, reason.",
    )
    ROWS_LEFT_BEHIND = (
        "rows.left_behind",
        "A rule leaves rows of a source table behind: table, rows, where.",
    )
    ROWS_ORPHANED = (
        "rows.orphaned",
        "A rule decides for the orphans of a foreign key: table, column, foreign_key, rule, rows.",
    )
    VALUES_REWRITTEN = (
        "values.rewritten",
        "A rule turns values of the source into others: table, column, rows, rule; years, if numbers become moments.",
    )

    WATCH_REFRESHED = (
        "watch.refreshed",
        "`--watch`: a refresh ended: refreshes so far, inserted, updated, deleted, loaded_anew, seconds, as_of.",
    )
    WATCH_CHANGED = "watch.changed", "`--watch`: the source has changed, and a refresh begins: changes."

    REFUSAL_REASON = (
        "refusal.reason",
        "A reason of a refusal that has no event of its own: where, why, rows, example, remedy.",
    )

    WARNING_SERVER = "warning.server", "PostgreSQL sent a warning: message."
    WARNING_REPORT = (
        "warning.report",
        "A file for the outcome couldn't be written: path, reason. The outcome stands.",
    )
    WARNING_TRACES = "warning.traces", "The trace of the run could not be sent: reason. The outcome stands."
    WARNING_UNSEEN = (
        "warning.unseen",
        "Something could not be looked at, which doesn't matter if the migration is complete: what, reason.",
    )
    WARNING_SETTING = "warning.setting", "A variable of the environment has no effect: variable, reason."
    ROWS_LOST = (
        "rows.lost",
        "What an earlier run has brought into a table is gone, and is brought anew: table, rows, reason.",
    )
    ROWS_IN_THE_WAY = (
        "rows.in_the_way",
        "A table holds rows that the source doesn't hold, and they are refused: message with an example, counts.",
    )
    ROWS_LEAVE = (
        "rows.leave",
        "`reset` or `forget` is about to remove rows of a table: table, rows, and what else is known of them.",
    )
    ROWS_KEPT = (
        "rows.kept",
        "Rows that were in a table before gave way to the source's, by the operator's decision: table, rows, kept_in.",
    )
    LEDGER_UNWRITTEN = "ledger.unwritten", "How the run ended could not be written into the ledger: reason."
    SOURCE_OPENED = (
        "source.opened",
        "At level debug: the source is read: path, bytes, wal_bytes, schema_version and user_version.",
    )
    SOURCE_CHANGED = "source.changed", "The source is not as it was when it was migrated: changes."
    SOURCE_READ_BY_DRIVER = (
        "source.read_by_driver",
        "At level debug: a table, or any, is not read by DuckDB's own reader of SQLite files: table, reason.",
    )
    SOURCE_READ_AROUND = (
        "source.read_around",
        "Something of the source is damaged, out of date or unknown, and rows are read without it: table, reason.",
    )
    LIBRARY_MESSAGE = "library.message", "A library, or a migration, had something to say: logger, message."


OF_FINDINGS: Final = frozenset(
    {
        Event.VALUES_REFUSED,
        Event.ROWS_IN_THE_WAY,
        Event.REFUSAL_REASON,
        Event.TABLE_DIFFERS,
        Event.SCHEMA_DIFFERS,
    }
)
"""Events about one finding each. On a terminal they are left out, since the report shows them as a table."""
