"""
The source by itself: what can be said of it without a target, by ``migrator check`` alone.

Nothing here refuses: whether a value can be carried is for the target's column to say. It is what is worth knowing
before there is one: columns of several storage classes, text that PostgreSQL can't hold, keys without a value, orphans.
"""

from collections.abc import Iterator
from dataclasses import replace

import pyarrow as pa
import pyarrow.compute as pc
import structlog

from migrator.errors import SourceUnreadable
from migrator.events import Event
from migrator.findings.finding import Finding
from migrator.names import TableName
from migrator.preflight.table_check import TableCheck
from migrator.source.aggregates import added_up, answers
from migrator.source.batches import ScanRequest, scan
from migrator.source.scan import ScanColumn, ScanSession, StorageClass
from migrator.source.schema import SourceColumn, SourceTable
from migrator.source.size import Profile

log = structlog.get_logger()

SCHEMA = "main"
"""What SQLite calls the file's own schema."""

_CLASSES = (StorageClass.INTEGER, StorageClass.REAL, StorageClass.TEXT, StorageClass.BLOB)


def survey_alone(session: ScanSession, table: SourceTable, batch_bytes: int) -> TableCheck:
    """Return a table's size and what is remarkable about it. Blocks while it is scanned; raises SourceUnreadable."""
    unreadable = [
        Finding(table.name, column.name, 0, f"can't be read: it calls {column.missing}, which only the application has")
        for column in table.columns
        if column.missing
    ]
    table = replace(table, columns=tuple(column for column in table.columns if not column.missing))
    counted = _counted(session, table)
    profile = Profile(TableName(SCHEMA, table.name), counted["rows"], counted["bytes"], counted["widest"])
    findings = [finding for i, column in enumerate(table.columns) for finding in _remarks(table, column, i, counted)]
    texts = [column for i, column in enumerate(table.columns) if counted[f"text_{i}"]]
    findings += _broken_text(session, table, texts, profile, batch_bytes) if texts else ()
    return TableCheck(
        profile, (*(replace(one, refuses=False) for one in unreadable), *findings, *_orphans(session, table))
    )


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


def _remarks(table: SourceTable, column: SourceColumn, at: int, counted: dict[str, int]) -> Iterator[Finding]:
    held = {storage: counted[f"{storage}_{at}"] for storage in _CLASSES if counted[f"{storage}_{at}"]}
    if len(held) > 1:
        listed = ", ".join(f"{rows} {storage.upper()}" for storage, rows in held.items())
        yield Finding(table.name, column.name, sum(held.values()), f"is of several kinds: {listed}", refuses=False)
    missing = counted[f"null_{at}"]
    if column.key_position and missing:
        yield Finding(table.name, column.name, missing, "is missing in the primary key", refuses=False)


def _broken_text(
    session: ScanSession, table: SourceTable, columns: list[SourceColumn], profile: Profile, batch_bytes: int
) -> list[Finding]:
    scan_columns = [
        ScanColumn(f"CASE typeof({column.quoted}) WHEN 'text' THEN {column.quoted} END", StorageClass.TEXT)
        for column in columns
    ]
    nul = dict.fromkeys(columns, 0)
    broken: set[SourceColumn] = set()
    for batch in scan(session, ScanRequest(table, scan_columns, profile, batch_bytes)):
        for column, text in zip(columns, batch.columns, strict=True):
            nul[column] += pc.sum(pc.match_substring(text, "\x00")).as_py() or 0
            if not _is_sound(text):
                broken.add(column)
    return [
        *(Finding(table.name, c.name, n, "holds a NUL character", refuses=False) for c, n in nul.items() if n),
        *(
            Finding(table.name, column.name, 1, "is not valid UTF-8", at_least=True, refuses=False)
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
    """SQLite, "PRAGMA foreign_key_check": rows that refer to none, which SQLite accepts unless told otherwise."""
    literal = "'" + table.name.replace("'", "''") + "'"
    try:
        rows = session.ask(
            f'SELECT k."from" AS child, c.parent AS parent, count(*) AS rows '
            f"FROM pragma_foreign_key_check({literal}) AS c "
            f"JOIN pragma_foreign_key_list({literal}) AS k ON k.id = c.fkid AND k.seq = 0 GROUP BY c.fkid"
        )
    except SourceUnreadable as error:
        if "collation" not in str(error):
            raise
        reason = "its foreign keys can't be looked at without a collation that only the application has"
        log.warning(Event.SOURCE_READ_AROUND, table=table.name, reason=reason)
        return
    for row in rows:
        reason = f"refers to a row of {row['parent']} that isn't there"
        yield Finding(table.name, str(row["child"]), row["rows"], reason, refuses=False)
