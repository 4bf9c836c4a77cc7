"""Makes the sections of the page, each from one part of the report. A section without content is an empty list."""

import json
from collections.abc import Iterator
from typing import Any
from xml.etree.ElementTree import Element

from rich.filesize import decimal

from migrator.reports.document import Document, FindingEntry, RefreshEntry, TableEntry
from migrator.reports.html.elements import element, row, table


def findings(document: Document) -> list[Element]:
    """Return what preflight found, what refuses first."""
    found = sorted(document.findings, key=lambda finding: not finding.refuses)
    return [element("div", *map(_finding, found), class_="findings")] if found else []


def _finding(finding: FindingEntry) -> Element:
    where = finding.table if finding.column is None else f"{finding.table}.{finding.column}"
    weight = "refused" if finding.refuses else "worth knowing"
    parts = [
        element("h3", element("code", where), " ", element("span", weight, class_="tag")),
        element("p", finding.message),
    ]
    if finding.settled_by:
        parts += [element("p", "Settled by:", class_="note"), element("pre", element("code", finding.settled_by))]
    return element("article", *parts, class_="refuses" if finding.refuses else "remark")


def differences(document: Document) -> list[Element]:
    """Return how tables differ, with examples, and how the schema does."""
    parts: list[Element] = []
    for entry in document.differences:
        rows = ", ".join(f"{count:,} {kind}" for kind, count in entry.rows.items()) or "none at a second look"
        columns = ", ".join(f"{column} {count:,}" for column, count in entry.columns.items())
        by_column = f" (by column: {columns})" if columns else ""
        sizes = f"{entry.source_rows:,} rows in the source, {entry.target_rows:,} in the target"
        parts += [element("h3", element("code", entry.table)), element("p", f"{sizes}; {rows}{by_column}")]
        if entry.examples:
            lines = (_example(example) for example in entry.examples)
            parts.append(table(("key", "kind", "column", "source", "target"), lines, f"Examples of {entry.table}"))
    if document.schema_differences:
        parts.append(element("ul", *(element("li", line) for line in document.schema_differences)))
    return parts


def _example(example: dict[str, Any]) -> Element:
    key = ", ".join(f"{name} = {value}" for name, value in example.get("key", {}).items())
    has_values = "column" in example
    values = [_value(example.get(end)) if has_values else "" for end in ("source", "target")]
    return row(key, str(example.get("kind", "")), str(example.get("column", "")), *values)


def _value(value: object) -> Element:
    return element("code", "NULL" if value is None else repr(value))


def tables(document: Document) -> list[Element]:
    """Return a line a table: rows, bytes, rates and comparison."""
    if not document.tables:
        return []
    headings = ("table", "source rows", "target rows", "sent", "rows/s", "bytes/s", "preflight", "comparison")
    return [table(headings, map(_table, document.tables), "Tables", kind="numbers")]


def refreshed(document: Document) -> list[Element]:
    """Return what a refresh did with each table, the changed tables first."""
    headings = ("table", "rows before", "rows now", "inserted", "updated", "deleted", "way")
    ordered = sorted(document.refreshed, key=lambda entry: entry.way == "unchanged")
    return [table(headings, map(_refreshed, ordered), "What the refresh did", kind="numbers")] if ordered else []


def _refreshed(entry: RefreshEntry) -> Element:
    way = f"{entry.way}: {entry.reason}" if entry.reason else entry.way
    changes = (f"{count:,}" for count in (entry.inserted, entry.updated, entry.deleted))
    return row(entry.table, _number(entry.rows_before), _number(entry.rows), *changes, way)


def _table(entry: TableEntry) -> Element:
    bad = entry.preflight == "refused" or entry.comparison == "different"
    sizes = (_number(entry.source_rows), _number(entry.target_rows), _bytes(entry.bytes))
    rates = (_number(entry.rows_per_second), _bytes(entry.bytes_per_second))
    return row(
        entry.table, *sizes, *rates, _state(entry.preflight), _state(entry.comparison), kind="bad" if bad else ""
    )


def _state(word: str) -> Element:
    signs = {"passed": "✓ ", "equal": "✓ ", "refused": "✕ ", "different": "≠ "}
    kind = {"passed": "good", "equal": "good", "refused": "bad", "different": "bad"}.get(word, "none")
    return element("span", f"{signs.get(word, '')}{word}", class_=f"state {kind}")


def _number(number: float | None) -> str:
    return "-" if number is None else f"{number:,.0f}"


def _bytes(number: float | None) -> str:
    return "-" if number is None else decimal(round(number))


def rules(document: Document) -> list[Element]:
    """Return what the operator's rules have rewritten."""
    lines = [
        row(
            f"{rule.table}.{rule.column}" if rule.column else rule.table,
            rule.rule,
            rule.effect,
            f"{rule.rows:,}",
            rule.detail,
        )
        for rule in document.rules
        if rule.effect != "left behind"
    ]
    return [table(("column", "rule", "effect", "values", "note"), lines, "What rules have changed")] if lines else []


def left_behind(document: Document) -> list[Element]:
    """Return rows that rules leave behind, and tables that are not copied."""
    rows = (
        row(rule.table, f"{rule.rows:,} rows", f"{rule.rule} {rule.detail}".strip())
        for rule in document.rules
        if rule.effect == "left behind" and rule.rows
    )
    whole = (row(skipped.name, "all of it", skipped.reason) for skipped in document.skipped)
    lines = [*rows, *whole]
    return [table(("table", "what", "why"), lines, "What was left behind, and why")] if lines else []


def warnings(document: Document) -> list[Element]:
    """Return the warnings of the log, and the notes of the result."""
    lines = [element("li", element("code", warning.event), " ", warning.message) for warning in document.warnings]
    lines += [element("li", note.removeprefix("WARNING: ")) for note in _unsaid(document)]
    if document.warnings_left_out:
        lines.append(element("li", f"and {document.warnings_left_out:,} more, which the log has"))
    return [element("ul", *lines, class_="warnings")] if lines else []


def _unsaid(document: Document) -> Iterator[str]:
    """Yield the notes that no warning of the log, no finding and no rule says."""
    said = [finding.message for finding in document.findings] + [warning.message for warning in document.warnings]
    for note in document.notes:
        if (
            note.removeprefix("WARNING: ") not in said
            and " rewritten by rule " not in note
            and " left behind (" not in note
        ):
            yield note


def versions(document: Document) -> list[Element]:
    """Return the versions of both ends, and the source's file."""
    lines = [
        row("migrator", document.versions.migrator),
        row("PostgreSQL", document.versions.postgresql or "not reached"),
        row("SQLite", document.versions.sqlite),
        row("Python", document.versions.python),
    ]
    if source := document.source:
        lines += [
            row("source", element("code", source.path)),
            row("its size", f"{decimal(source.bytes)} and {decimal(source.wal_bytes)} of write-ahead log"),
            row("its schema", f"schema_version {source.schema_version}, user_version {source.user_version}"),
        ]
    lines.append(row("run", element("code", document.run_id)))
    return [table(("what", "version"), lines, "Versions")]


def settings(document: Document) -> list[Element]:
    """Return the settings without secrets."""
    lines = [row(name, element("code", _setting(value))) for name, value in sorted(document.settings.items())]
    return [table(("setting", "value"), lines, "Settings")] if lines else []


def _setting(value: object) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)


def digests(document: Document) -> list[Element]:
    """Return the digests of the tables that are equal."""
    lines = [row(entry.table, element("code", entry.digest)) for entry in document.tables if entry.digest]
    if not lines:
        return []
    note = element("p", "A digest of all rows of a table, which is the same on both sides.", class_="note")
    return [note, table(("table", "digest"), lines, "Digests")]
