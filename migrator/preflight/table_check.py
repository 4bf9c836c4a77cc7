"""
Checks a source table before anything is written: its size, and every value that PostgreSQL would refuse or change.

Most tables hold nothing unusual and pass the ``dry_run``: one scan, the copier's own conversion, no question about a
single value. Where the dry run meets something unusual ``diagnosis`` says what. Then comes a question for each key of
the target, and one for each rule and each notice.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace

from migrator.catalog.keys import Keys
from migrator.errors import ConfigurationError, SourceUnreadable
from migrator.findings.examples import FindingBuilder, is_row
from migrator.findings.finding import Change, Finding
from migrator.findings.notices import notices
from migrator.names import TableName
from migrator.planning.key_columns import unique_columns
from migrator.planning.plan import ColumnPlan, TablePlan
from migrator.planning.rewrites import MOMENTS
from migrator.preflight.bisection import Bisection
from migrator.preflight.diagnosis import NOTHING, change, diagnose
from migrator.preflight.key_violations import key_violations
from migrator.preflight.server_equality import server_duplicates
from migrator.runtime.limits import ExampleOptions
from migrator.source.aggregates import added_up, answers_of_each, count_matching
from migrator.source.chunks import WHOLE_TABLE, Chunk
from migrator.source.scan import ScanSession, StorageClass
from migrator.source.size import TableSize
from migrator.target.server_types import ServerTypes
from migrator.trials.untried import Untried
from migrator.types import Problem, ProblemCode
from migrator.verification.digest import KnownDigest

_FIXED_BYTES = 8


@dataclass(frozen=True, slots=True)
class TableCheck:
    """What was found out about one table."""

    table_size: TableSize
    findings: tuple[Finding, ...]
    known_digest: KnownDigest | None = None
    """The quick pass, where the table came through it."""
    chunks: tuple[Chunk, ...] = (WHOLE_TABLE,)
    """In which it is read and brought."""
    changes: tuple[Change, ...] = ()
    """What rules make of its values."""
    untried: tuple[Untried, ...] = ()
    """What the target demands of its rows, and could not be tried."""

    @property
    def notices(self) -> tuple[Finding, ...]:
        """Return the findings that are worth knowing and refuse nothing."""
        return tuple(finding for finding in self.findings if not finding.refuses)

    @property
    def is_whole(self) -> bool:
        """Whether it is read and brought in one piece."""
        return len(self.chunks) == 1


def measure_tables(session: ScanSession, tables: Sequence[TablePlan]) -> list[TableSize]:
    """
    Return the size of each table, which SQLite adds up without reading long values.

    Raises ConfigurationError for an expression of a rule that is none over a row of its table.
    """
    ruled = [table for table in tables if any(column.rule.expression for column in table.compared)]
    for table in ruled:
        _check_expressions(session, table)
    table_sizes = _measured(session, [table for table in tables if table not in ruled])
    for table in ruled:  # by itself, so that what SQLite says is known to be about its rules
        with _blaming_rules(table):
            table_sizes |= _measured(session, [table])
    return [table_sizes[table.name] for table in tables]


def _measured(session: ScanSession, tables: Sequence[TablePlan]) -> dict[TableName, TableSize]:
    if not tables:
        return {}
    sizes = answers_of_each(session, [(table.source, _sizes(table)) for table in tables])
    return {
        table.name: TableSize(table.name, rows, size or 0, widest or 0)
        for table, (rows, size, widest) in zip(tables, sizes, strict=True)
    }


def _sizes(table: TablePlan) -> list[str]:
    """Return SQL for the number of rows, the bytes of all, and those of the widest."""
    pairs = zip(table.columns, table.fast.columns, strict=True)
    widths = [width for column, fast in pairs if (width := _width(column, fast))]
    fixed = _FIXED_BYTES * (len(table.columns) - len(widths))
    width = added_up([*widths, str(fixed)])
    sums = [f"CAST(sum({width}) AS INTEGER)", f"max({width})"] if widths else [f"count(*) * {fixed}", str(fixed)]
    return ["count(*)", *sums]


def _check_expressions(session: ScanSession, table: TablePlan) -> None:
    for column in table.compared:
        if (expression := column.rule.expression) is None:
            continue
        name = f"{table.source.name}.{column.source.name}"
        try:
            # In a WHERE, where SQLite takes nothing that makes one row of many.
            session.ask(f"EXPLAIN SELECT 1 FROM {table.source.origin} WHERE (({expression}\n)) IS NULL")
        except SourceUnreadable as error:
            raise ConfigurationError(
                f"the expression of the rule for {name} is no SQL over a row: {error.driver_message}",
                next_step=f"Correct it; `sqlite3 FILE 'SELECT … FROM {table.source.quoted}'` can try it.",
                column=name,
            ) from error


@dataclass(frozen=True, slots=True)
class TableChecker:
    """Checks one table of a plan; made once for each table."""

    session: ScanSession
    tables: Mapping[TableName, TablePlan]
    """All planned tables, which the keys of this one may refer to."""
    table: TablePlan
    keys: Keys
    server_types: ServerTypes
    batch_bytes: int
    example_options: ExampleOptions

    def check(self, table_size: TableSize, known_digest: KnownDigest | None) -> TableCheck:
        """
        Return what was found out about the table.

        ``known_digest`` is the result of the dry run over all its chunks, None where that met something unusual.
        Blocks while the table is scanned. Raises SourceUnreadable, and ConfigurationError if an expression of a rule
        fails for one of its rows.
        """
        table = self.table
        with _blaming_rules(table):
            builder = FindingBuilder(self.session, table.source, self.example_options)
            if known_digest is None:
                bisection = Bisection(self.session, table, table_size, self.server_types, self.batch_bytes)
                diagnosis = diagnose(bisection, builder)
            else:
                diagnosis = NOTHING
            against_keys = (*self._violations(builder), *self._server_duplicates(builder)) if table_size.rows else ()
            findings = (*diagnosis.findings, *against_keys, *_notices(builder, table))
            changes = (*_changes(self.session, table), *diagnosis.changes)
            measured = replace(table_size, fast=known_digest is not None)
            return TableCheck(measured, findings, known_digest, changes=changes)

    def _violations(self, builder: FindingBuilder) -> Iterator[Finding]:
        """Yield what the target's keys would not take."""
        for violation in key_violations(self.tables, self.table, self.keys, self.session):
            [rows] = count_matching(self.session, self.table.source, [violation.problem.condition])
            if rows:
                yield builder.build(violation.column, rows, violation.problem)

    def _server_duplicates(self, builder: FindingBuilder) -> Iterator[Finding]:
        """Yield keys that only PostgreSQL takes for one."""
        for key, columns in unique_columns(self.table, self.keys):
            if rows := server_duplicates(self.session, self.table, columns, self.server_types):
                condition = is_row(self.table.source, rows[: self.example_options.count] or rows[:1])
                types = ", ".join(column.target.declared for column in columns)
                reason = f"is there more than once in spellings that are one value of {types}, {key.words()}"
                yield builder.build(columns[0], len(rows), Problem(ProblemCode.DUPLICATE_KEY, reason, condition))


@contextmanager
def _blaming_rules(table: TablePlan) -> Iterator[None]:
    """Turn an error of SQLite in a rule's expression into one about the rule, not about the file."""
    names = [f"{table.source.name}.{column.source.name}" for column in table.compared if column.rule.expression]
    try:
        yield
    except SourceUnreadable as error:
        message = error.driver_message
        if not names or not message or any(words in message for words in _ABOUT_THE_FILE):
            raise
        raise ConfigurationError(
            f"the expressions of the rules for {', '.join(names)} fail for some row: {message}",
            next_step="Correct them, for unexpected rows too: CASE WHEN json_valid(COLUMN) THEN … END, for example.",
            columns=names,
        ) from error


_ABOUT_THE_FILE = ("disk image", "not a database", "I/O", "unable to open", "locked", "typed")
"""Words in SQLite's messages about a file; its other messages are about a statement."""


def _changes(session: ScanSession, table: TablePlan) -> Iterator[Change]:
    """Yield what rules make of the table's values."""
    ruled = [(column, condition) for column in table.compared if (condition := _rewrites(column))]
    counts = count_matching(session, table.source, [condition for _, condition in ruled])
    for (column, condition), rows in zip(ruled, counts, strict=True):
        if rows:
            yield replace(change(table, column, rows), years=_years(session, table, column, condition))


def _years(session: ScanSession, table: TablePlan, column: ColumnPlan, condition: str) -> str:
    """Return the first and the last year of what a rule made of numbers: seconds taken for milliseconds lie in 1970."""
    if not (column.rule.epoch or column.rule.julian) or column.target.type_name not in MOMENTS:
        return ""
    year = f"substr({column.source_expression}, 1, 4)"
    [found] = session.ask(
        f"SELECT min({year}) AS first, max({year}) AS last FROM {table.source.origin} "
        f"WHERE ({condition}) AND typeof({column.source_expression}) = 'text'"
    )
    return f"{found['first']} to {found['last']}" if found["first"] else ""


def _notices(builder: FindingBuilder, table: TablePlan) -> Iterator[Finding]:
    """Yield what is worth knowing. It ends up in the log of a run that goes well, where values don't belong."""
    known = [(column, problem) for column in table.compared for problem in notices(table, column)]
    counts = count_matching(builder.session, table.source, [problem.condition for _, problem in known])
    masking = replace(builder, example_options=replace(builder.example_options, mask_values=True))
    for (column, problem), rows in zip(known, counts, strict=True):
        if rows:
            yield masking.build(column, rows, problem)


def _rewrites(column: ColumnPlan) -> str | None:
    """Return the condition under which a rule makes another value of what is stored; None without such a rule."""
    stored = column.source.quoted
    conditions = []
    if column.is_rewritten:
        conditions.append(f"{stored} IS NOT {column.source_expression}")
    if column.rule.timezone and column.target.type_name == "timestamptz":
        conditions.append(f"(typeof({stored}) = 'text' AND substr({stored}, 11) NOT GLOB '*[-+Z]*')")
    return " OR ".join(conditions) or None


def _width(column: ColumnPlan, fast: ColumnPlan) -> str | None:
    """
    Return SQL for the bytes of a value; None where all are of one width.

    ``octet_length`` of text and BLOBs reads the record's header alone. Of a number it would spell the digits.
    """
    value = column.source_expression
    if not {StorageClass.TEXT, StorageClass.BLOB} & {scan_column.storage for scan_column in column.scan_columns}:
        return None
    if any(scan_column.storage is StorageClass.REAL for scan_column in fast.scan_columns):
        return f"iif({value} >= '', octet_length({value}), {_FIXED_BYTES})"
    return f"coalesce(octet_length({value}), 0)"
