"""Makes the report of a command from what was recorded of it and from how it has ended."""

import json
import platform
import sqlite3
from collections.abc import Iterable, Iterator, Mapping
from datetime import UTC, datetime
from typing import Any, Final

from migrator import __version__
from migrator.errors import ExitCode
from migrator.reports.document import (
    SCHEMA_VERSION,
    DifferenceEntry,
    Document,
    FindingEntry,
    Outcome,
    RefreshEntry,
    RuleEntry,
    Settling,
    SkippedEntry,
    SourceFile,
    StageEntry,
    StageState,
    TableEntry,
    Versions,
    WarningEntry,
)
from migrator.reports.record import Fields, Record, StageRecord

_OUTCOMES: Final[Mapping[int | None, Outcome]] = {
    None: "unfinished",
    ExitCode.NOT_COMPLETE: "unfinished",  # what `status` says of the migration
    ExitCode.DONE: "done",
    ExitCode.MISMATCH: "different",
    ExitCode.CONFIGURATION: "refused",
    ExitCode.SOURCE: "refused",
    ExitCode.TARGET: "refused",
    ExitCode.SIGINT: "stopped",
    ExitCode.SIGTERM: "stopped",
}
"""Every other exit code is a failure: the job gave up, or has a bug."""

_OWN: Final = frozenset(
    {
        *(
            "message",
            "next_step",
            "exit_code",
            "flags",
            "rules",
            "stage",
            "findings",
            "differences",
            "schema",
            "command",
        ),
        *(
            "tables",
            "headline",
            "migration",
            "rows",
            "skipped",
            "stages",
            "notes",
            "table_notices",
            "existing_rows",
            "refreshed",
        ),
    }
)
"""Fields of an ending that have a place of their own in the report; the others are its ``facts``."""

_SAID: Final = frozenset({"event", "level", "timestamp", "run_id", "stage", "table", "message", "next_step"})


def document_of(record: Record, ending: Fields) -> Document:
    """
    Return the report of a command.

    ``ending`` has the fields ``message`` and ``exit_code`` (None while the command runs), and those of its error.
    """
    with record.locked():
        return _document(record, ending)


def _document(record: Record, ending: Fields) -> Document:
    exit_code = ending.get("exit_code")
    found = record.found
    findings = _findings(record)
    differences = [DifferenceEntry(**entry) for entry in ending.get("differences", ())]
    tables = _tables(record, findings, differences)
    ended = None if exit_code is None else datetime.now(UTC)
    own = _OWN - {"tables"} if exit_code else _OWN  # those of an error are numbers or names, and no entries
    facts = {name: value for name, value in {**found, **ending}.items() if name not in own}
    return Document(
        schema_version=SCHEMA_VERSION,
        command=record.command,
        outcome=_OUTCOMES.get(exit_code, "failed"),
        exit_code=None if exit_code is None else int(exit_code),
        message=str(ending.get("message", "")),
        next_step=str(ending.get("next_step", "")),
        settled_by=Settling(list(ending.get("flags", ())), str(ending.get("rules", ""))),
        run_id=record.run_id,
        migration=found.get("migration") or record.migration or ending.get("migration"),
        started_at=_moment(record.started_at),
        ended_at=_moment(ended) if ended else None,
        seconds=round((ended - record.started_at).total_seconds(), 3) if ended else None,
        versions=Versions(__version__, platform.python_version(), sqlite3.sqlite_version, record.server_version),
        source=_source(record.source),
        settings=dict(record.settings),
        rows=sum(table.target_rows or 0 for table in tables),
        bytes=sum(table.bytes or 0 for table in tables),
        stages=[_stage(stage, ending) for stage in record.stages],
        tables=tables,
        refreshed=_refreshed(record),
        findings=findings,
        differences=differences,
        schema_differences=[str(line) for line in ending.get("schema", ())],
        rules=list(_rules(record)),
        skipped=_skipped(record),
        warnings=[_warning(event) for event in record.warnings],
        warnings_left_out=record.warnings_left_out,
        notes=[str(note) for note in (*found.get("table_notices", ()), *found.get("notes", ()))],
        facts=json.loads(json.dumps(facts, default=str)),
    )


def _moment(moment: datetime) -> str:
    return moment.isoformat().replace("+00:00", "Z")


def _source(event: Fields | None) -> SourceFile | None:
    if event is None:
        return None
    return SourceFile(**{name: event[name] for name in SourceFile.__dataclass_fields__})


def _stage(stage: StageRecord, ending: Fields) -> StageEntry:
    """Return the entry of a stage. Of stages that overlap, only the one that the error names has failed."""
    failed = ending.get("exit_code") and ending.get("stage") == stage.stage
    state: StageState = "done" if stage.ended_at else "failed" if failed else "unfinished"
    return StageEntry(stage.stage, state, stage.started_at, stage.ended_at, stage.seconds, stage.attempts)


def _findings(record: Record) -> list[FindingEntry]:
    """Return all findings, from the events and from what ``check`` returns, each once."""
    known: dict[tuple[Any, ...], Fields] = dict(record.findings)
    for finding in record.found.get("findings", ()):
        known.setdefault((finding["table"], finding["column"], finding["code"], finding["reason"]), finding)
    return [_finding(fields) for fields in known.values()]


def _finding(fields: Fields) -> FindingEntry:
    rows, at_least = fields.get("rows"), bool(fields.get("at_least"))
    counted = f"{'at least ' * at_least}{rows} row{'' if rows == 1 else 's'}"
    said = f"{fields['table']}.{fields.get('column')}: {counted} where the value {fields.get('reason')}"
    return FindingEntry(
        table=fields["table"],
        column=fields.get("column"),
        code=fields.get("code", "rows_in_the_way"),
        refuses=bool(fields.get("refuses", True)),
        message=str(fields.get("message", said)),
        rows=rows,
        at_least=at_least,
        examples=list(fields.get("examples", ())),
        settled_by=fields.get("settled_by", ""),
    )


def _tables(
    record: Record, findings: Iterable[FindingEntry], differences: Iterable[DifferenceEntry]
) -> list[TableEntry]:
    """Return all tables that the events, the result, a refusing finding or a difference names, in this order."""
    told: dict[str, dict[str, Any]] = {name: dict(fields) for name, fields in record.tables.items()}
    for line in record.found.get("tables", ()):
        if returned := _returned(line, record.command):
            told.setdefault(line["table"], {}).update(returned)
    bare = {name.partition(".")[2]: name for name in told}
    for finding in findings:
        if finding.refuses:
            told.setdefault(bare.get(finding.table, finding.table), {})["refused"] = True
    for event in record.rules:
        name = bare.get(event["table"], event["table"])
        if name in told and _effect(event) == "left behind" and record.command != "check":
            fields = told[name]
            fields.setdefault("behind", 0)
            fields["behind"] += event["rows"]
    for entry in differences:
        fields = {"rows": entry.source_rows, "target_rows": entry.target_rows, "differs": True}
        told.setdefault(entry.table, {}).update(fields)
    return [_table(name, fields) for name, fields in told.items()]


def _returned(line: Fields, command: str | None) -> dict[str, Any]:
    """Return what a command says about a table in its result, in the words of the record; empty for another form."""
    if "verify_seconds" in line:  # `run` and `verify`
        sizes = {"rows": line["source_rows"], "target_rows": line["target_rows"], "bytes": line["bytes"]}
        return {**sizes, "copy_seconds": line["copy_seconds"], "left_behind": line["left_behind"]}
    if command == "check":
        return {"rows": line["rows"], "checked": True, "left_behind": line["left_behind"]}
    if command == "status":
        return {"target_rows": line["rows"], "bytes": line["bytes"], "known_equal": line["verified"]}
    return {}


def _table(name: str, fields: Fields) -> TableEntry:
    equal = "verified_at" in fields or fields.get("known_equal")
    arrived = "copied_at" in fields or "verified_at" in fields
    sent, seconds, rows = fields.get("bytes"), fields.get("copy_seconds"), fields.get("rows")
    return TableEntry(
        table=name,
        preflight="refused" if fields.get("refused") else "passed" if fields.get("checked") else "not checked",
        comparison="different" if fields.get("differs") else "equal" if equal else "not compared",
        digest=fields.get("digest"),
        source_rows=rows,
        target_rows=fields.get("target_rows", rows if arrived else None),
        bytes=sent,
        copy_started_at=fields.get("copy_started_at"),
        copied_at=fields.get("copied_at"),
        copy_seconds=seconds,
        rows_per_second=round((rows or 0) / seconds, 1) if seconds else None,
        bytes_per_second=round((sent or 0) / seconds, 1) if seconds else None,
        verified_at=fields.get("verified_at"),
        verify_seconds=fields.get("verify_seconds"),
        left_behind=fields.get("left_behind", fields.get("behind", 0)),
    )


def _rules(record: Record) -> Iterator[RuleEntry]:
    for event in record.rules:
        yield _rule(event)
    for line in record.found.get("tables", ()):
        yield from (_rule(change) for change in line.get("changes", ()))


def _effect(event: Fields) -> str:
    if "foreign_key" in event:
        return "left behind" if event["rule"] == "drop" else "set to NULL"
    return "left behind" if "where" in event else "rewritten"


def _rule(event: Fields) -> RuleEntry:
    """Return the entry of a rule, of which the event says what it has done."""
    detail = f"years {event['years']}" if event.get("years") else ""
    rule = f"where = {event['where']}" if "where" in event else str(event["rule"])
    if "foreign_key" in event:
        rule, detail = f'orphans = "{event["rule"]}"', f"orphans of {event['foreign_key']}"
    effect: Any = _effect(event)
    return RuleEntry(event["table"], event.get("column"), rule, effect, event["rows"], detail)


def _refreshed(record: Record) -> list[RefreshEntry]:
    """Return what a refresh did with each table, from its events and from what the command has returned."""
    found = record.found.get("refreshed")
    listed = found if isinstance(found, list) else []  # `status` has the moment of the last refresh in this field
    entries = {**record.refreshed, **{entry["table"]: entry for entry in listed}}
    fields = RefreshEntry.__dataclass_fields__
    return [
        RefreshEntry(**{"reason": "", **{name: entry[name] for name in fields if name in entry}})
        for entry in entries.values()
    ]


def _skipped(record: Record) -> list[SkippedEntry]:
    returned = {entry["name"]: entry["reason"] for entry in record.found.get("skipped", ())}
    return [SkippedEntry(name, reason) for name, reason in {**record.skipped, **returned}.items()]


def _warning(event: Fields) -> WarningEntry:
    """Return the entry of a warning. An event without a message is said with all its fields."""
    fields = {name: value for name, value in event.items() if name not in _SAID}
    said = event.get("message") or ", ".join(f"{name}: {value}" for name, value in fields.items())
    where = f"{event['table']}: " if "table" in event and str(event["table"]) not in str(said) else ""
    then = f" {event['next_step']}" if event.get("next_step") else ""
    return WarningEntry(event["timestamp"], event["event"], event.get("stage"), f"{where}{said}{then}")
