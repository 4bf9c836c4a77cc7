"""
Looks a source table over before anything is written: its size, and every value that PostgreSQL would refuse or change.

Two passes, both over columns and not over Python objects. The first is one statement of aggregates inside SQLite:
storage classes, ranges, missing values, sizes. The second runs the copier's own conversion over the columns whose
content it reads, and sends nothing: what converts here converts then. Only where one of them strikes are rows looked at
one by one.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import pyarrow as pa

from migrator.batches import rows_per_batch
from migrator.findings import Example, Finding, Profile
from migrator.plan import ColumnPlan, TablePlan
from migrator.source import Lane, ScanSession, SourceTable, StorageClass
from migrator.types import Refusal, Unfit

_FIXED_BYTES = 8
_SHOWN_BYTES = 40
_ROWS_NAMED = 10_000
"""Bad rows of one column that are told apart; a column with more is past looking at one by one."""


@dataclass(frozen=True, slots=True)
class Survey:
    """What was found out about one table."""

    profile: Profile
    findings: tuple[Finding, ...]


@dataclass(frozen=True, slots=True)
class Showing:
    """How examples are shown: how many for a problem, and whether their values may be."""

    examples: int
    mask_values: bool


def survey(session: ScanSession, table: TablePlan, batch_bytes: int, showing: Showing) -> Survey:
    """Return what both passes found. Blocks while the table is scanned; raises SourceUnreadable."""
    checks = [(column, refusal) for column in table.columns for refusal in _refusals(column)]
    counted = session.ask(_aggregates(table, [refusal.condition for _, refusal in checks]))[0]
    profile = Profile(table.name, counted["row_count"], counted["byte_count"] or 0, counted["widest"] or 0)
    findings = [
        Finding(
            table.source.name,
            column.source.name,
            counted[f"refused_{i}"],
            refusal.reason,
            _examples(session, table.source, column, refusal.condition, showing),
        )
        for i, (column, refusal) in enumerate(checks)
        if counted[f"refused_{i}"]
    ]
    # A column with a value of a wrong storage class would stop the scan, and is refused already.
    already = {finding.column for finding in findings}
    readable = [c for c in table.columns if c.carrier.reads_content and c.source.name not in already]
    if readable and profile.rows:
        findings += _read_content(session, table, readable, profile, batch_bytes, showing)
    return Survey(profile, tuple(findings))


def measure(session: ScanSession, table: TablePlan) -> Profile:
    """Return the size of a table alone, which SQLite adds up without reading long values."""
    counted = session.ask(_aggregates(table, []))[0]
    return Profile(table.name, counted["row_count"], counted["byte_count"] or 0, counted["widest"] or 0)


def _refusals(column: ColumnPlan) -> tuple[Refusal, ...]:
    refusals = column.carrier.refusals(column.source.quoted, column.target)
    if column.target.not_null:
        refusals += (Refusal(f"{column.source.quoted} IS NULL", "is missing and the target's column is NOT NULL"),)
    return refusals


def _aggregates(table: TablePlan, conditions: Sequence[str]) -> str:
    width = " + ".join(_width(column) for column in table.columns) or "0"
    sums = "".join(f", sum({condition}) AS refused_{i}" for i, condition in enumerate(conditions))
    return (
        f"SELECT count(*) AS row_count, CAST(sum({width}) AS INTEGER) AS byte_count, max({width}) AS widest{sums} "
        f"FROM {table.source.quoted}"
    )


def _width(column: ColumnPlan) -> str:
    """Return SQL for the bytes of a value. ``octet_length`` of text and BLOBs reads the record's header alone."""
    if any(lane.storage in {StorageClass.TEXT, StorageClass.BLOB} for lane in column.lanes):
        return f"coalesce(octet_length({column.source.quoted}), 0)"
    return str(_FIXED_BYTES)


def _read_content(  # noqa: PLR0913, PLR0917 - what is scanned, and how it is shown
    session: ScanSession,
    table: TablePlan,
    columns: Sequence[ColumnPlan],
    profile: Profile,
    batch_bytes: int,
    showing: Showing,
) -> list[Finding]:
    """Try the conversion of ``columns`` over the whole table."""
    lanes = [_key_lane(table.source), *(lane for column in columns for lane in column.lanes)]
    bad: dict[tuple[ColumnPlan, str], list[str]] = {}
    for batch in session.scan(table.source, lanes, batch_rows=rows_per_batch(profile, batch_bytes)):
        at = 1
        for column in columns:
            width = len(column.lanes)
            arrays = batch.columns[at : at + width]
            at += width
            for row, reason in _offenders(column, arrays, 0, len(batch)):
                keys = bad.setdefault((column, reason), [])
                if len(keys) < _ROWS_NAMED:
                    keys.append(str(batch.column(0)[row].as_py()))
    return [
        Finding(
            table.source.name,
            column.source.name,
            len(keys),
            reason,
            _examples(session, table.source, column, _is_row(table.source, keys[: showing.examples]), showing),
        )
        for (column, reason), keys in bad.items()
    ]


def _offenders(column: ColumnPlan, arrays: Sequence[pa.Array], start: int, stop: int) -> Iterator[tuple[int, str]]:
    """Yield the rows from ``start`` up to ``stop`` whose values don't convert: halves are tried, down to one row."""
    reason = _objection(column, [array.slice(start, stop - start) for array in arrays])
    if reason is None:
        return
    if stop - start == 1:
        yield start, reason
        return
    middle = (start + stop) // 2
    yield from _offenders(column, arrays, start, middle)
    yield from _offenders(column, arrays, middle, stop)


def _objection(column: ColumnPlan, arrays: Sequence[pa.Array]) -> str | None:
    try:
        column.convert(arrays)
    except Unfit as error:
        return str(error)
    except (pa.ArrowInvalid, UnicodeDecodeError) as error:
        if "UTF8" in str(error):
            return "is not valid UTF-8"
        return f"can't become {column.target.declared} exactly"
    return None


def _key_lane(table: SourceTable) -> Lane:
    if table.rowid is not None:
        return Lane(f"CAST({table.rowid} AS TEXT)", StorageClass.TEXT)
    return Lane(_quoted_key(table), StorageClass.TEXT)


def _quoted_key(table: SourceTable) -> str:
    """Return SQL for the values of the primary key as literals: the form in which a key is shown and found again."""
    return " || ', ' || ".join(f"quote({column.quoted})" for column in table.key)


def _is_row(table: SourceTable, keys: Sequence[str]) -> str:
    if table.rowid is not None:
        return f"{table.rowid} IN ({', '.join(keys)})"
    literals = ", ".join("'" + key.replace("'", "''") + "'" for key in keys)
    return f"{_quoted_key(table)} IN ({literals})"


def _examples(
    session: ScanSession, table: SourceTable, column: ColumnPlan, condition: str, showing: Showing
) -> tuple[Example, ...]:
    if not showing.examples:
        return ()
    named = _quoted_key(table) if table.key else f"'rowid ' || {table.rowid}"
    value = column.source.quoted
    rows = session.ask(
        # As hexadecimal digits, since what is wrong with the value may be its encoding.
        f"SELECT hex(substr(CAST({named} AS BLOB), 1, 200)) AS key, typeof({value}) AS storage, "
        f"coalesce(octet_length({value}), 0) AS size, "
        f"coalesce(hex(substr(CAST({value} AS BLOB), 1, {_SHOWN_BYTES})), '') AS head "
        f"FROM {table.quoted} WHERE {condition} LIMIT {showing.examples}"
    )
    prefix = ", ".join(key.name for key in table.key)
    keys = [f"{prefix} = {_text(row['key'])}" if prefix else _text(row["key"]) for row in rows]
    return tuple(Example(key, _shown(row, showing)) for key, row in zip(keys, rows, strict=True))


def _shown(row: dict[str, object], showing: Showing) -> str:
    storage, size = str(row["storage"]), int(str(row["size"]))
    if storage == StorageClass.NULL:
        return "NULL"
    if showing.mask_values:
        return f"{storage} of {size} bytes"
    if storage == StorageClass.BLOB:
        shown = f"x'{str(row['head']).lower()}'"
    else:
        shown = repr(_text(row["head"])) if storage == StorageClass.TEXT else _text(row["head"])
    return shown if size <= _SHOWN_BYTES else f"{shown}… ({size} bytes)"


def _text(digits: object) -> str:
    return bytes.fromhex(str(digits)).decode(errors="backslashreplace")
