"""Holds the reports of the commands: for people as a table, for programs as JSON."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import datetime
from itertools import pairwise
from operator import attrgetter
from typing import TYPE_CHECKING, Any

from rich.cells import cell_len, set_cell_size
from rich.console import Console
from rich.filesize import decimal
from rich.table import Table
from rich.text import Text

from migrator.errors import MigratorError, Mismatch
from migrator.ledger.loads import CopiedTable
from migrator.ledger.runs import RunLine, StageLine
from migrator.names import TableName
from migrator.runtime.stage_runner import StageRunner, StageTiming
from migrator.runtime.wording import counted, printable, quoted
from migrator.source.schema import Skipped
from migrator.sql.selection import ALL_ROWS, Selection

if TYPE_CHECKING:  # they load Arrow and DuckDB, which `status` doesn't need
    from migrator.findings.finding import Finding
    from migrator.findings.table_notices import TableNotice
    from migrator.planning.plan import Plan
    from migrator.preflight.existing_rows import OccupiedTable
    from migrator.preflight.table_check import TableCheck
    from migrator.verification.compare_table import TableResult


@dataclass(frozen=True, slots=True)
class TableLine:
    """The line of one table in a report."""

    table: str
    source_rows: int
    target_rows: int
    bytes: int | None
    """Bytes sent to the target; None if the command sent nothing."""
    verified: bool
    copy_seconds: float | None = None
    """Working time of all workers that copied the table, added up; None if the command sent nothing."""
    verify_seconds: float = 0.0
    """Working time of all workers that compared the table, added up."""
    left_behind: int = 0
    """Rows of the source that the rules for rows don't carry; ``source_rows`` doesn't count them."""
    orphans: tuple[dict[str, Any], ...] = ()
    """What the rules for orphans have done, by foreign key."""


@dataclass(frozen=True, slots=True)
class Report:
    """The outcome of ``run`` or ``verify``."""

    headline: str
    tables: tuple[TableLine, ...] = ()
    skipped: tuple[Skipped, ...] = ()
    timings: tuple[StageTiming, ...] = ()
    notes: tuple[str, ...] = ()
    migration: str | None = None
    """None if the command read no ledger."""
    failure: MigratorError | None = field(default=None, compare=False)

    def to_json(self) -> dict[str, Any]:
        """Return the report for programs."""
        return {
            "headline": self.headline,
            "migration": self.migration,
            "rows": sum(line.source_rows for line in self.tables),
            "tables": [asdict(line) for line in self.tables],
            "skipped": [asdict(skipped) for skipped in self.skipped],
            "stages": [
                {**asdict(timing), "began": round(timing.began, 3), "seconds": round(timing.seconds, 3)}
                for timing in sorted(self.timings, key=attrgetter("began"))
            ],
            "notes": list(self.notes),
        }

    def render(self, console: Console) -> None:
        """Print the report for people."""
        if self.tables:
            _print_tables(self.tables, console)
        for skipped in self.skipped:
            console.print(f"not copied: {skipped.name} ({skipped.reason})", markup=False)
        if self.timings:
            in_order = sorted(self.timings, key=attrgetter("began"))
            stages = " · ".join(f"{timing.stage} {timing.seconds:.2f} s" for timing in in_order)
            overlap = any(timing.began + timing.seconds > following.began for timing, following in pairwise(in_order))
            console.print(f"stages{' (some overlap)' if overlap else ''}: {stages}", markup=False)
        for note in self.notes:
            console.print(note, markup=False)
        name = f"migration {printable(self.migration)}: " if self.migration is not None else ""
        console.print(name + self.headline, style="bold", markup=False)


def _print_tables(lines: Sequence[TableLine], console: Console) -> None:
    """Print a line for each table, in columns. A `Table` of rich would take a millisecond for each of many lines."""
    rows = [_HEADINGS, *map(_cells, lines)]
    first, *others = (max(map(cell_len, column)) for column in zip(*rows, strict=True))
    heading, *body = ("  ".join([set_cell_size(row[0], first), *map(str.rjust, row[1:], others)]) for row in rows)
    console.print(Text(heading, "bold"), soft_wrap=True)
    console.print(Text("\n".join(body)), soft_wrap=True)


_HEADINGS = ("table", "source rows", "target rows", "sent", "every value equal")


def _cells(line: TableLine) -> tuple[str, ...]:
    sent = "" if line.bytes is None else decimal(line.bytes)
    verified = "yes" if line.verified else "NO"
    return printable(line.table), f"{line.source_rows:,}", f"{line.target_rows:,}", sent, verified


@dataclass(frozen=True, slots=True)
class DifferenceReport:
    """The outcome of ``run`` or ``verify`` if the databases differ: examples and numbers of rows."""

    failure: Mismatch

    def to_json(self) -> dict[str, Any]:
        """Return the report for programs."""
        return {"headline": str(self.failure), **self.failure.facts}

    def render(self, console: Console) -> None:
        """Print the report for people. Its values are already shortened or masked by the verification."""
        facts: Any = self.failure.facts
        differing = facts.get("differences", ())
        if any(table["examples"] for table in differing):
            console.print(_difference_lines(differing))
        for table in differing:
            rows = ", ".join(f"{count} {kind}" for kind, count in table["rows"].items())
            columns = ", ".join(f"{column} {count}" for column, count in table["columns"].items())
            counted = f"{rows or 'none at a second look'}" + (f" (by column: {columns})" if columns else "")
            sizes = f"{table['source_rows']:,} rows in the source, {table['target_rows']:,} in the target"
            console.print(f"{table['table']}: {sizes}; {counted}", markup=False)
        for line in facts.get("schema", ()):
            console.print(line, markup=False)
        console.print(f"NOT equal; {self.failure.next_step}", style="bold", markup=False)


def _difference_lines(differing: Sequence[dict[str, Any]]) -> Table:
    table = Table(box=None, pad_edge=False)
    for name in ("kind", "table", "key", "column", "source", "target"):
        table.add_column(name, overflow="fold")
    for example in (example for entry in differing for example in entry["examples"]):
        key = ", ".join(f"{name} = {value}" for name, value in example["key"].items())
        values = [quoted(example[end]) if "column" in example else "" for end in ("source", "target")]
        times = f" ({example['times']} times)" if "times" in example else ""
        cells = (example["kind"] + times, example["table"], key, example.get("column", ""), *values)
        table.add_row(*map(_plain, cells))
    return table


def _plain(words: str) -> Text:
    """Return a name as text without styles: in a string, rich would take [brackets] for a style."""
    return Text(printable(words))


@dataclass(frozen=True, slots=True)
class CheckReport:
    """The outcome of ``check``."""

    table_checks: "tuple[TableCheck, ...]"
    findings: "tuple[Finding, ...]"
    skipped: tuple[Skipped, ...]
    failure: MigratorError | None = field(default=None, compare=False)
    against_target: bool = True
    table_notices: "tuple[TableNotice, ...]" = ()
    """What is worth knowing of each table and asks for nothing; the findings have it by column."""
    notes: tuple[str, ...] = ()
    selections: Mapping[str, Selection] = field(default_factory=dict)
    """What the rules for rows leave behind, by the names of the checked tables."""
    existing: "tuple[OccupiedTable, ...]" = ()
    """Target tables that hold rows which the source doesn't hold."""

    def to_json(self) -> dict[str, Any]:
        """Return the report for programs."""
        tables = [
            asdict(table_check.table_size)
            | {
                "table": str(table_check.table_size.table),
                "changes": [asdict(change) for change in table_check.changes],
            }
            | self._selection(table_check).to_json()
            for table_check in self.table_checks
        ]
        return {
            "tables": tables,
            "findings": [finding.to_json() for finding in self.findings],
            "skipped": [asdict(skipped) for skipped in self.skipped],
            "existing_rows": [table.to_json() for table in self.existing],
            "against_target": self.against_target,
            "table_notices": [table_notice.line() for table_notice in self.table_notices],
            "notes": list(self.notes),
        } | (self.failure.settlement.to_json() if self.failure else {})

    def render(self, console: Console) -> None:
        """Print the report for people."""
        rows = sum(table_check.table_size.rows for table_check in self.table_checks)
        size = decimal(sum(table_check.table_size.bytes for table_check in self.table_checks))
        for skipped in self.skipped:
            console.print(f"not copied: {skipped.name} ({skipped.reason})", markup=False)
        for table_check in self.table_checks:
            for line in self._selection(table_check).lines(table_check.table_size.table.name):
                console.print(line, markup=False)
        for change in (change for table_check in self.table_checks for change in table_check.changes):
            console.print(change.line(), markup=False)
        existing = (f"already there: {table}: {table.fate}" for table in self.existing)
        for line in (*self._finding_lines(), *existing, *self.notes):
            console.print(line, markup=False)
        for line in self.failure.settlement.lines() if self.failure else ():
            console.print(line, markup=False, highlight=False, soft_wrap=True)
        verdict = self._verdict()
        counts = f"{counted(len(self.table_checks), 'table')}, {counted(rows, 'row')}, {size}"
        console.print(f"{counts}{verdict}", style="bold", markup=False)

    def _finding_lines(self) -> Iterator[str]:
        """Yield the lines about values: what asks for nothing by table, all else by column, with its remedy."""
        for table_notice in self.table_notices:
            yield f"worth knowing: {table_notice.line()}"
        for finding in self.findings:
            if finding.asks_for_nothing and self.against_target:
                continue  # it is in its table's line
            yield finding.line() if finding.refuses else f"worth knowing: {finding.line()}"
            yield from (f"    settled by: {line}" for line in finding.settled_by.splitlines())

    def _selection(self, table_check: "TableCheck") -> Selection:
        return self.selections.get(str(table_check.table_size.table), ALL_ROWS)

    def _verdict(self) -> str:
        problems = sum(finding.refuses for finding in self.findings)
        if problems:
            return f": {counted(problems, 'problem')}"
        if self.against_target:
            return ": every value can be carried"
        return "; only the source was checked, because of --source-only"


@dataclass(frozen=True, slots=True)
class Status:
    """The outcome of ``status``: what the ledger says about one migration, or about each of several."""

    runs: tuple[RunLine, ...]
    stages: tuple[StageLine, ...]
    """Stages of the newest run."""
    tables: tuple[CopiedTable, ...]
    parked: tuple[str, ...]
    kept: tuple[str, ...]
    completed_at: datetime | None
    failure: MigratorError | None = field(default=None, compare=False)
    migration: str | None = None
    """None if the ledger knows no migration, or several of which none was named."""
    several: tuple[tuple[str, datetime | None], ...] = ()
    """Several migrations of which none was named: their names, and when each was completed."""
    unknown: str | None = None
    """Message if the ledger doesn't know the named migration; it lists the migrations that the ledger knows."""

    def to_json(self) -> dict[str, Any]:
        """Return the report for programs."""
        return {
            "migration": self.migration,
            "completed_at": self.completed_at,
            "runs": [asdict(run) for run in self.runs],
            "stages": [asdict(stage) for stage in self.stages],
            "tables": [
                {"table": str(table.name), "rows": table.rows, "bytes": table.bytes, "verified": bool(table.digest)}
                for table in self.tables
            ],
            "parked": list(self.parked),
            "kept": list(self.kept),
            "migrations": [{"name": name, "completed_at": at} for name, at in self.several],
            "unknown": self.unknown,
        }

    def render(self, console: Console) -> None:
        """Print the report for people."""
        for known, at in self.several:
            state = f"migrated and verified at {at:%Y-%m-%d %H:%M:%S %Z}" if at else "not completed"
            console.print(f"migration {printable(known)}: {state}", markup=False)
        for table in self.tables:
            state = "copied and verified" if table.digest else "copied"
            console.print(f"{table.name}: {table.rows:,} rows {state}", markup=False)
        for stage in self.stages:
            state = f"ended {stage.ended_at:%H:%M:%S}" if stage.ended_at else "not ended"
            console.print(f"stage {stage.stage}: began {stage.started_at:%H:%M:%S}, {state}", markup=False)
        for entry in self.parked:
            console.print(f"taken away for the load and not back yet: {entry}", markup=False)
        for line in self.kept:
            console.print(line, markup=False)
        for run in self.runs:
            ended = f"ended {run.ended_at:%Y-%m-%d %H:%M:%S} with {run.exit_code}" if run.ended_at else "has not ended"
            console.print(f"run {run.id}: began {run.started_at:%Y-%m-%d %H:%M:%S}, {ended}", markup=False)
        name = f"migration {printable(self.migration)}: " if self.migration is not None else ""
        console.print(name + self._verdict(), style="bold", markup=False)

    def _verdict(self) -> str:
        if self.several:
            return f"{len(self.several)} migrations; --migration NAME tells more of one"
        if self.unknown is not None:
            return printable(self.unknown)
        if self.completed_at is not None:
            return f"migrated and verified at {self.completed_at:%Y-%m-%d %H:%M:%S %Z}"
        return "not completed" if self.runs else "no migration has begun here"


def report_of(
    plan: "Plan",
    verdicts: "list[TableResult]",
    copied: Mapping[TableName, CopiedTable],
    runner: StageRunner,
    headline: str,
) -> Report:
    """Return the report on verified tables; ``copied`` has the bytes and times of the copy."""
    selections = {table.name: table.source.selection for table in plan.tables}
    lines = tuple(
        TableLine(
            str(verdict.table),
            verdict.source.rows,
            verdict.target.rows,
            copied[verdict.table].bytes if verdict.table in copied else None,
            verified=verdict.equal,
            copy_seconds=round(copied[verdict.table].seconds, 3) if verdict.table in copied else None,
            verify_seconds=round(verdict.seconds, 3),
            left_behind=selections[verdict.table].left_behind,
            orphans=tuple(orphans.to_json() for orphans in selections[verdict.table].orphans),
        )
        for verdict in verdicts
    )
    rows = sum(line.source_rows for line in lines)
    counts = f"{counted(len(lines), 'table')}, {counted(rows, 'row')}"
    return Report(f"{headline} ({counts})", lines, plan.skipped, tuple(runner.timings), notes=tuple(left_behind(plan)))


def left_behind(plan: "Plan") -> list[str]:
    """Return, in one line for each reason, the rows that the rules for rows don't carry."""
    return [line for table in plan.tables for line in table.source.selection.lines(table.source.name)]
