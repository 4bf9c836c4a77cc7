"""
Looks a source table over before anything is written: its size, and every value that PostgreSQL would refuse or change.

Two passes, both over columns and not over Python objects. The first is one statement of aggregates inside SQLite:
storage classes, ranges, missing values, sizes. The second runs the copier's own conversion over the columns whose
content it reads, and sends nothing: what converts here converts then. Only where one of them strikes are rows looked at
one by one.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice

import pyarrow as pa

from migrator.batches import scan
from migrator.findings import Change, Example, Finding, Profile
from migrator.plan import ColumnPlan, TablePlan
from migrator.source import Lane, ScanSession, SourceTable, StorageClass
from migrator.types import Refusal, Unfit

_FIXED_BYTES = 8
_SHOWN_BYTES = 40
_NO_KEY = "'?'"
_ROWS_NAMED = 10_000
"""Bad rows of one column that are counted; a column with more is past looking at one by one."""


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
    checks = [(column, refusal) for column in table.compared for refusal in _refusals(column)]
    ruled = [(column, condition) for column in table.compared if (condition := _rewrites(column))]
    conditions = [refusal.condition for _, refusal in checks]
    counted = session.ask(_aggregates(table, [*conditions, *(condition for _, condition in ruled)]))[0]
    changes = tuple(
        Change(table.source.name, column.source.name, counted[f"hits_{i}"], column.rule.words())
        for i, (column, _) in enumerate(ruled, len(checks))
        if counted[f"hits_{i}"]
    )
    profile = Profile(table.name, counted["row_count"], counted["byte_count"] or 0, counted["widest"] or 0, changes)
    findings = [
        Finding(
            table.source.name,
            column.source.name,
            counted[f"hits_{i}"],
            refusal.reason,
            _examples(session, table.source, column, refusal.condition, showing),
        )
        for i, (column, refusal) in enumerate(checks)
        if counted[f"hits_{i}"]
    ]
    refused: dict[ColumnPlan, list[str]] = {}
    for i, (column, refusal) in enumerate(checks):
        if counted[f"hits_{i}"]:
            refused.setdefault(column, []).append(refusal.condition)
    trials = [
        _Trial(column, _lanes(column, refused.get(column, ())))
        for column in table.compared
        if column.carrier.reads_content
    ]
    if trials and profile.rows:
        findings += _read_content(session, table, trials, profile, batch_bytes, showing)
    return Survey(profile, tuple(findings))


def measure(session: ScanSession, table: TablePlan) -> Profile:
    """Return the size of a table alone, which SQLite adds up without reading long values."""
    counted = session.ask(_aggregates(table, []))[0]
    return Profile(table.name, counted["row_count"], counted["byte_count"] or 0, counted["widest"] or 0)


def _refusals(column: ColumnPlan) -> tuple[Refusal, ...]:
    refusals = column.carrier.refusals(column.source_expression, column.target)
    if column.target.not_null:
        refusals += (Refusal(f"{column.source_expression} IS NULL", "is missing and the target's column is NOT NULL"),)
    return refusals


def _lanes(column: ColumnPlan, refused: Sequence[str]) -> tuple[Lane, ...]:
    """Read a column without the values that the first pass refused: a wrong storage class would stop the scan."""
    expression = column.source_expression
    if refused:
        expression = (
            f"(CASE WHEN {' OR '.join(f'({condition})' for condition in refused)} THEN NULL ELSE {expression} END)"
        )
    return column.carrier.lanes(expression, column.target)


def _rewrites(column: ColumnPlan) -> str | None:
    """Return the condition under which a rule makes another value of what is stored; None without such a rule."""
    stored = column.source.quoted
    conditions = []
    if column.is_rewritten:
        conditions.append(f"{stored} IS NOT {column.source_expression}")
    if column.rule.timezone and column.target.type_name == "timestamptz":
        conditions.append(f"(typeof({stored}) = 'text' AND substr({stored}, 11) NOT GLOB '*[-+Z]*')")
    return " OR ".join(conditions) or None


def _aggregates(table: TablePlan, conditions: Sequence[str]) -> str:
    width = " + ".join(_width(column) for column in table.columns) or "0"
    sums = "".join(f", sum({condition}) AS hits_{i}" for i, condition in enumerate(conditions))
    return (
        f"SELECT count(*) AS row_count, CAST(sum({width}) AS INTEGER) AS byte_count, max({width}) AS widest{sums} "
        f"FROM {table.source.quoted}"
    )


def _width(column: ColumnPlan) -> str:
    """Return SQL for the bytes of a value. ``octet_length`` of text and BLOBs reads the record's header alone."""
    if any(lane.storage in {StorageClass.TEXT, StorageClass.BLOB} for lane in column.lanes):
        return f"coalesce(octet_length({column.source_expression}), 0)"
    return str(_FIXED_BYTES)


@dataclass(frozen=True, slots=True)
class _Trial:
    """A column whose conversion is tried, and how it is read for that."""

    column: ColumnPlan
    lanes: tuple[Lane, ...]


def _read_content(  # noqa: PLR0913, PLR0917 - what is scanned, and how it is shown
    session: ScanSession,
    table: TablePlan,
    trials: Sequence[_Trial],
    profile: Profile,
    batch_bytes: int,
    showing: Showing,
) -> list[Finding]:
    """Try the conversion of columns over the whole table."""
    lanes = [_key_lane(table.source), *(lane for trial in trials for lane in trial.lanes)]
    bad: dict[ColumnPlan, dict[str, list[str]]] = {trial.column: {} for trial in trials}
    for batch in scan(session, table.source, lanes, profile=profile, batch_bytes=batch_bytes):
        at = 1
        for trial in trials:
            arrays = batch.columns[at : at + len(trial.lanes)]
            at += len(trial.lanes)
            room = _ROWS_NAMED - sum(map(len, bad[trial.column].values()))
            for row, reason in islice(_offenders(trial.column, arrays, 0, len(batch)), room):
                bad[trial.column].setdefault(reason, []).append(str(batch.column(0)[row].as_py()))
    return [
        Finding(
            table.source.name,
            column.source.name,
            len(keys),
            reason,
            _examples(session, table.source, column, _is_row(table.source, keys[: showing.examples]), showing),
            at_least=sum(map(len, reasons.values())) == _ROWS_NAMED,
        )
        for column, reasons in bad.items()
        for reason, keys in reasons.items()
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
    return Lane(_quoted_key(table) or _NO_KEY, StorageClass.TEXT)


def _quoted_key(table: SourceTable) -> str:
    """
    Return SQL for the values of the primary key as literals: the form in which a key is shown and found again.

    Empty without a key. A table may have neither that nor a name for its rowid: then its rows can't be told apart.
    """
    return " || ', ' || ".join(f"quote({column.quoted})" for column in table.key)


def _is_row(table: SourceTable, keys: Sequence[str]) -> str:
    if table.rowid is not None:
        return f"{table.rowid} IN ({', '.join(keys)})"
    literals = ", ".join("'" + key.replace("'", "''") + "'" for key in keys)
    return f"{_quoted_key(table) or _NO_KEY} IN ({literals})"


def _examples(
    session: ScanSession, table: SourceTable, column: ColumnPlan, condition: str, showing: Showing
) -> tuple[Example, ...]:
    if not showing.examples:
        return ()
    named = _quoted_key(table) or (f"'rowid ' || {table.rowid}" if table.rowid else _NO_KEY)
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
