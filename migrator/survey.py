"""
Looks a source table over before anything is written: its size, and every value that PostgreSQL would refuse or change.

Two passes, both over columns and not over Python objects, and a question for each key of the target. The first is one
statement of aggregates inside SQLite: storage classes, ranges, missing values, sizes. The second (``trial``) runs the
copier's own conversion over the columns whose content it reads. Only where one of them strikes are rows looked at one
by one.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from migrator.findings import Change, Example, Finding, Profile
from migrator.judge import Judge
from migrator.keys import Keys, breaches
from migrator.plan import ColumnPlan, Plan, TablePlan
from migrator.remarks import remarks
from migrator.remedies import remedy
from migrator.source import Lane, ScanSession, SourceTable, StorageClass
from migrator.trial import ROWS_NAMED, blame
from migrator.types import Refusal

_FIXED_BYTES = 8
_SHOWN_BYTES = 40
_NO_KEY = "'?'"


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


def survey(  # noqa: PLR0913, PLR0917 - the table, who is asked about it, and how it is shown
    session: ScanSession, plan: Plan, table: TablePlan, keys: Keys, judge: Judge, batch_bytes: int, showing: Showing
) -> Survey:
    """Return what was found out about a table. Blocks while it is scanned; raises SourceUnreadable."""
    checks = [(column, refusal) for column in table.compared for refusal in _refusals(column)]
    ruled = [(column, condition) for column in table.compared if (condition := _rewrites(column))]
    known = [(column, remark) for column in table.compared for remark in remarks(table, column)]
    conditions = [one.condition for _, one in (*checks, *known)] + [condition for _, condition in ruled]
    counted = session.ask(_aggregates(table, conditions))[0]
    hits = [counted[f"hits_{i}"] or 0 for i in range(len(conditions))]
    changes = tuple(
        Change(table.source.name, column.source.name, rows, column.rule.words())
        for (column, _), rows in zip(ruled, hits[len(checks) + len(known) :], strict=True)
        if rows
    )
    profile = Profile(table.name, counted["row_count"], counted["byte_count"] or 0, counted["widest"] or 0)
    struck = [(column, refusal, rows) for (column, refusal), rows in zip(checks, hits, strict=False) if rows]
    tell = _Teller(session, table.source, showing)
    findings = [tell(column, rows, refusal.reason, refusal.condition) for column, refusal, rows in struck]
    refused: dict[ColumnPlan, list[str]] = {}
    for column, refusal, _ in struck:
        refused.setdefault(column, []).append(refusal.condition)
    key = _key_lane(table.source)
    blamed, lost = blame(session, table, key, refused=refused, judge=judge, profile=profile, batch_bytes=batch_bytes)
    changes += tuple(
        Change(table.source.name, column.source.name, rows, column.rule.words())
        for column, rows in lost.items()
        if rows
    )
    for column, reasons in blamed.items():
        full = sum(map(len, reasons.values())) == ROWS_NAMED
        for reason, rows in reasons.items():
            named = _is_row(table.source, rows[: showing.examples]) if showing.examples else "false"
            findings.append(tell(column, len(rows), reason, named, at_least=full))
    for breach in breaches(plan, table, keys, session) if profile.rows else ():
        [counts] = session.ask(f"SELECT count(*) AS rows FROM {table.source.quoted} WHERE {breach.condition}")
        if counts["rows"]:
            findings.append(tell(breach.column, counts["rows"], breach.reason, breach.condition))
    # These end up in the log of a run that goes well, where values don't belong.
    mention = _Teller(session, table.source, replace(showing, mask_values=True))
    worth_knowing = tuple(
        replace(mention(column, rows, remark.reason, remark.condition), refuses=False)
        for (column, remark), rows in zip(known, hits[len(checks) :], strict=False)
        if rows
    )
    return Survey(replace(profile, changes=changes, remarks=worth_knowing), (*findings, *worth_knowing))


def measure(session: ScanSession, table: TablePlan) -> Profile:
    """Return the size of a table alone, which SQLite adds up without reading long values."""
    counted = session.ask(_aggregates(table, []))[0]
    return Profile(table.name, counted["row_count"], counted["byte_count"] or 0, counted["widest"] or 0)


def _refusals(column: ColumnPlan) -> tuple[Refusal, ...]:
    refusals = column.carrier.refusals(column.source_expression, column.target)
    if column.target.not_null:
        refusals += (Refusal(f"{column.source_expression} IS NULL", "is missing and the target's column is NOT NULL"),)
    return refusals


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
class _Teller:
    """Makes findings about one table, with examples."""

    session: ScanSession
    table: SourceTable
    showing: Showing

    def __call__(
        self, column: ColumnPlan, rows: int, reason: str, condition: str, *, at_least: bool = False
    ) -> Finding:
        examples = _examples(self.session, self.table, column, condition, self.showing)
        settled_by = remedy(column.target, reason)
        return Finding(self.table.name, column.source.name, rows, reason, examples, at_least, settled_by)


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
