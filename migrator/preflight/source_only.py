"""
Checks the source without a target, for ``migrator check --source-only``.

All findings of this check are notices and refuse nothing, since only the target's column decides whether a value can be
carried. The notices are about columns of several storage classes, text that PostgreSQL can't hold, primary keys without
a value, and orphans.
"""

from collections.abc import Iterator

import pyarrow as pa
import pyarrow.compute as pc
import structlog
from msgspec.structs import replace

from migrator.errors import SourceUnreadable
from migrator.events import Event
from migrator.findings.finding import Finding
from migrator.names import TableName
from migrator.preflight.table_check import TableCheck
from migrator.source.aggregates import added_up, answers
from migrator.source.batches import ScanRequest, scan
from migrator.source.scan import ScanColumn, ScanSession, StorageClass
from migrator.source.schema import SourceColumn, SourceTable
from migrator.source.size import TableSize
from migrator.types import ProblemCode, Severity

log = structlog.get_logger()

SCHEMA = "main"
"""SQLite's name for the schema of the file itself."""

_CLASSES = (StorageClass.INTEGER, StorageClass.REAL, StorageClass.TEXT, StorageClass.BLOB)


def check_source_table(session: ScanSession, table: SourceTable, batch_bytes: int) -> TableCheck:
    """
    Return a table's size and the notices about it.

    ``batch_bytes`` is the size of a record batch. Blocks while the table is scanned. Raises SourceUnreadable.
    """
    unreadable = [
        _notice(
            table,
            column.name,
            0,
            ProblemCode.UNREADABLE_COLUMN,
            f"can't be read: it calls {column.missing}, which only the application has",
        )
        for column in table.columns
        if column.missing
    ]
    table = replace(table, columns=tuple(column for column in table.columns if not column.missing))
    counted = _counted(session, table)
    table_size = TableSize(TableName(SCHEMA, table.name), counted["rows"], counted["bytes"], counted["widest"])
    findings = [
        finding for i, column in enumerate(table.columns) for finding in _storage_notices(table, column, i, counted)
    ]
    texts = [column for i, column in enumerate(table.columns) if counted[f"text_{i}"]]
    findings += _broken_text(session, table, texts, table_size, batch_bytes) if texts else ()
    return TableCheck(table_size, (*unreadable, *findings, *_orphans(session, table)))


def _notice(table: SourceTable, column: str, rows: int, code: ProblemCode, reason: str) -> Finding:
    return Finding(table.name, column, rows, code, reason, severity=Severity.NOTICE)


def _counted(session: ScanSession, table: SourceTable) -> dict[str, int]:
    width = added_up([f"coalesce(octet_length({column.quoted}), 0)" for column in table.columns])
    questions = {"rows": "count(*)", "bytes": f"CAST(sum({width}) AS INTEGER)", "widest": f"max({width})"}
    questions |= {
        f"{storage}_{i}": f"sum(typeof({column.quoted}) = '{storage}')"
        for i, column in enumerate(table.columns)
        for storage in (StorageClass.NULL, *_CLASSES)
    }
    counts = (answer or 0 for answer in answers(session, table, list(questions.values())))
    return dict(zip(questions, counts, strict=True))


def _storage_notices(
    table: SourceTable, column: SourceColumn, position: int, counted: dict[str, int]
) -> Iterator[Finding]:
    rows_of = {storage: counted[f"{storage}_{position}"] for storage in _CLASSES if counted[f"{storage}_{position}"]}
    if len(rows_of) > 1:
        listed = ", ".join(f"{rows} {storage.upper()}" for storage, rows in rows_of.items())
        reason = f"is of several kinds: {listed}"
        yield _notice(table, column.name, sum(rows_of.values()), ProblemCode.MIXED_STORAGE_CLASSES, reason)
    missing = counted[f"null_{position}"]
    if column.key_position and missing:
        reason = "is missing in the primary key"
        yield _notice(table, column.name, missing, ProblemCode.MISSING_IN_PRIMARY_KEY, reason)


def _broken_text(
    session: ScanSession, table: SourceTable, columns: list[SourceColumn], table_size: TableSize, batch_bytes: int
) -> list[Finding]:
    scan_columns = [
        ScanColumn(f"CASE typeof({column.quoted}) WHEN 'text' THEN {column.quoted} END", StorageClass.TEXT)
        for column in columns
    ]
    nul = dict.fromkeys(columns, 0)
    broken: set[SourceColumn] = set()
    for batch in scan(session, ScanRequest(table, scan_columns, table_size, batch_bytes)):
        for column, text in zip(columns, batch.columns, strict=True):
            nul[column] += pc.sum(pc.match_substring(text, "\x00")).as_py() or 0
            if not _is_sound(text):
                broken.add(column)
    return [
        *(
            _notice(table, column.name, rows, ProblemCode.CONTAINS_NUL, "holds a NUL character")
            for column, rows in nul.items()
            if rows
        ),
        *(
            replace(_notice(table, column.name, 1, ProblemCode.INVALID_UTF8, "is not valid UTF-8"), at_least=True)
            for column in columns
            if column in broken
        ),
    ]


def _is_sound(text: pa.Array) -> bool:
    try:
        text.validate(full=True)
    except pa.ArrowInvalid:
        return False
    return True


def _orphans(session: ScanSession, table: SourceTable) -> Iterator[Finding]:
    """Yield a notice for each foreign key with orphans; SQLite accepts them by default ("PRAGMA foreign_key_check")."""
    # A row of a table WITHOUT ROWID has no number in that PRAGMA, and is counted even if it stays behind.
    number = table.rowid if table.condition else None
    carried = f"WHERE c.rowid IN (SELECT {number} FROM {table.origin}) " if number else ""
    literal = "'" + table.name.replace("'", "''") + "'"
    try:
        rows = session.ask(
            f'SELECT k."from" AS child, c.parent AS parent, count(*) AS rows '
            f"FROM pragma_foreign_key_check({literal}) AS c "
            f"JOIN pragma_foreign_key_list({literal}) AS k ON k.id = c.fkid AND k.seq = 0 {carried}GROUP BY c.fkid"
        )
    except SourceUnreadable as error:
        if "collation" not in error.driver_message:
            raise
        reason = "its foreign keys can't be looked at without a collation that only the application has"
        log.warning(Event.SOURCE_READ_AROUND, table=table.name, reason=reason)
        return
    for row in rows:
        reason = f"refers to a row of {row['parent']} that isn't there"
        yield _notice(table, str(row["child"]), row["rows"], ProblemCode.ORPHAN, reason)
