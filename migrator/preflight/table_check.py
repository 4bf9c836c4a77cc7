"""
Checks a source table before anything is written: measures it and finds values that PostgreSQL would refuse or change.

Most tables hold nothing unusual and pass the ``dry_run``: one scan with the copier's own conversion, without a query
about single values. If a table does not pass, ``diagnosis`` finds the reasons. Then the check runs a query for each key
of the target, for each rule and for each notice.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager

from msgspec import Struct
from msgspec.structs import replace

from migrator.catalog.keys import Keys
from migrator.errors import ConfigurationError, SourceUnreadable
from migrator.findings.examples import FindingBuilder, is_row
from migrator.findings.finding import Change, Finding
from migrator.findings.notices import notices
from migrator.findings.table_notices import TableNotice, naive_moments, table_notice_of
from migrator.names import TableName
from migrator.planning.key_columns import unique_columns
from migrator.planning.plan import ColumnPlan, Plan, TablePlan
from migrator.planning.rewrites import MOMENTS
from migrator.preflight.bisection import Bisection
from migrator.preflight.diagnosis import NOTHING, change, diagnose
from migrator.preflight.key_violations import key_violations
from migrator.preflight.quick.references import all_are_there
from migrator.preflight.remedy_trial import remedy_trial
from migrator.preflight.server_equality import server_duplicates
from migrator.runtime.limits import ExampleOptions
from migrator.source.aggregates import added_up, answers_of_each, count_matching
from migrator.source.chunks import WHOLE_TABLE, Chunk
from migrator.source.scan import ScanSession, StorageClass
from migrator.source.schema import Affinity
from migrator.source.size import StoredSize, TableSize, has_large_tables, stored_sizes
from migrator.target.server_types import ServerTypes
from migrator.trials.untried import Untried
from migrator.types import Problem, ProblemCode
from migrator.verification.digest import KnownDigest

_FIXED_BYTES = 8

_LONGEST_NUMERAL = 24
"""The most characters of a number that is read as text: a column that doesn't prefer text may hold numbers."""


class TableCheck(Struct, frozen=True):
    """The result of the check of one table."""

    table_size: TableSize
    findings: tuple[Finding, ...]
    known_digest: KnownDigest | None = None
    """The digest of the dry run; None if the table did not pass it."""
    chunks: tuple[Chunk, ...] = (WHOLE_TABLE,)
    """The chunks in which the table is read and copied."""
    changes: tuple[Change, ...] = ()
    """The changes that rules make to the table's values."""
    untried: tuple[Untried, ...] = ()
    """The target's constraints and indexes that could not be tried on the rows."""

    naive: tuple[str, ...] = ()
    """The columns of moments that hold text without an offset, which is read as UTC."""

    @property
    def notices(self) -> tuple[Finding, ...]:
        """Return the findings that refuse nothing."""
        return tuple(finding for finding in self.findings if not finding.refuses)

    @property
    def is_whole(self) -> bool:
        """Whether the table is read and copied in one chunk."""
        return len(self.chunks) == 1


def table_notices_of(plan: Plan, checks: Iterable[TableCheck]) -> list[TableNotice]:
    """Return the notices about the tables of a plan that were checked, in the order of the checks."""
    tables = {table.name: table for table in plan.tables}
    found = (table_notice_of(tables[check.table_size.table], check.naive, check.findings) for check in checks)
    return [notice for notice in found if notice]


def measure_tables(session: ScanSession, tables: Sequence[TablePlan]) -> list[TableSize]:
    """
    Return the size of each table. SQLite computes it from the headers of pages or records, without reading long values.

    Blocks while the tables are scanned. Raises ConfigurationError if the expression of a rule is not valid SQL over a
    row of its table or fails for a row, and SourceUnreadable.
    """
    ruled = [table for table in tables if any(column.rule.expression for column in table.compared)]
    for table in ruled:
        _check_expressions(session, table)
    table_sizes = _measured(session, [table for table in tables if table not in ruled])
    for table in ruled:  # separately, so that an error of SQLite is known to be about this table's rules
        with _blaming_rules(table):
            table_sizes |= _measured(session, [table])
    return [table_sizes[table.name] for table in tables]


def _measured(session: ScanSession, tables: Sequence[TablePlan]) -> dict[TableName, TableSize]:
    if not tables:
        return {}
    as_stored = [table for table in tables if _is_read_as_stored(table)] if has_large_tables(session) else []
    stored = stored_sizes(session, [table.source.name for table in as_stored])
    measured = {table.name: _from_pages(table, stored[table.source.name]) for table in as_stored}
    others = [table for table in tables if table.name not in measured]
    sizes = answers_of_each(session, [(table.source, _sizes(table)) for table in others])
    return measured | {
        table.name: TableSize(table.name, rows, size or 0, widest or 0)
        for table, (rows, size, widest) in zip(others, sizes, strict=True)
    }


def _is_read_as_stored(table: TablePlan) -> bool:
    """Return whether the carried rows are all stored rows, and the carried values all stored values, unchanged."""
    source, columns = table.source, table.compared
    return (
        source.key_index is None
        and source.origin == source.quoted + " NOT INDEXED"
        and not source.schema
        and not any(column.generated or column.utf16 for column in source.columns)
        and {column.source.name for column in columns} == {column.name for column in source.columns}
        and all(column.source_expression == column.source.quoted for column in columns)
    )


def _from_pages(table: TablePlan, stored: StoredSize) -> TableSize:
    """Return a size that no row exceeds: its record, and what its numbers take besides when they are read."""
    room = sum(map(_room, table.columns))
    rows = stored.rows
    return TableSize(table.name, rows, stored.bytes + rows * room, stored.widest_row_bytes + room if rows else 0)


def _room(column: ColumnPlan) -> int:
    """Return the bytes that a value may take beyond its bytes in the record."""
    if not {StorageClass.TEXT, StorageClass.BLOB} & {scan_column.storage for scan_column in column.scan_columns}:
        return _FIXED_BYTES
    return 0 if column.source.affinity is Affinity.TEXT else _LONGEST_NUMERAL


def _sizes(table: TablePlan) -> list[str]:
    """Return SQL for the number of rows, the bytes of all rows, and the bytes of the widest row."""
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
            # Inside a WHERE, since SQLite refuses aggregates there: they would make one row of many.
            session.ask(f"EXPLAIN SELECT 1 FROM {table.source.origin} WHERE (({expression}\n)) IS NULL")
        except SourceUnreadable as error:
            raise ConfigurationError(
                f"the expression of the rule for {name} is no SQL over a row: {error.driver_message}",
                next_step=f"Correct it; `sqlite3 FILE 'SELECT … FROM {table.source.quoted}'` can try it.",
                column=name,
            ) from error


class TableChecker(Struct, frozen=True):
    """Checks one table of a plan."""

    session: ScanSession
    tables: Mapping[TableName, TablePlan]
    """All planned tables, since foreign keys of the checked table may refer to them."""
    table: TablePlan
    keys: Keys
    server_types: ServerTypes
    batch_bytes: int
    example_options: ExampleOptions
    made_by_job: bool = False
    """Whether the job makes the target's table."""

    def check(self, table_size: TableSize, known_digest: KnownDigest | None) -> TableCheck:
        """
        Return the findings and changes of the table.

        ``known_digest`` is the result of the dry run over all chunks of the table; None if the table did not pass.
        Blocks while the table is scanned. Raises SourceUnreadable, and ConfigurationError if the expression of a rule
        fails for a row.
        """
        table = self.table
        with _blaming_rules(table):
            bisection = Bisection(self.session, table, table_size, self.server_types, self.batch_bytes)
            builder = FindingBuilder(
                self.session, table.source, self.example_options, remedy_trial(bisection), self.made_by_job
            )
            diagnosis = diagnose(bisection, builder) if known_digest is None else NOTHING
            against_keys = (
                (*self._violations(builder, table_size), *self._server_duplicates(builder)) if table_size.rows else ()
            )
            findings = (*diagnosis.findings, *against_keys, *_notices(builder, table))
            changes = (*_changes(self.session, table), *diagnosis.changes)
            measured = replace(table_size, fast=known_digest is not None)
            naive = naive_moments(self.session, table) if table_size.rows else ()
            return TableCheck(measured, findings, known_digest, changes=changes, naive=naive)

    def _violations(self, builder: FindingBuilder, table_size: TableSize) -> Iterator[Finding]:
        """Yield a finding for each key of the target that some rows would break."""
        for violation in key_violations(self.tables, self.table, self.keys, self.session):
            reference = violation.reference
            if reference and all_are_there(self.session, self.table, reference, table_size, self.batch_bytes):
                continue
            [rows] = count_matching(self.session, self.table.source, [violation.problem.condition])
            if not rows:
                continue
            problem = violation.problem
            if violation.of_left_behind:
                [behind] = count_matching(self.session, self.table.source, [violation.of_left_behind])
                if behind:
                    note = f"{problem.reason}; in {behind} of these rows it refers to one that a rule leaves behind"
                    problem = replace(problem, reason=note)
            yield builder.build(violation.column, rows, problem)

    def _server_duplicates(self, builder: FindingBuilder) -> Iterator[Finding]:
        """Yield a finding for each unique key with values that are equal only in PostgreSQL."""
        for key, columns in unique_columns(self.table, self.keys):
            if rows := server_duplicates(self.session, self.table, columns, self.server_types):
                condition = is_row(self.table.source, rows[: self.example_options.count] or rows[:1])
                types = ", ".join(column.target.declared for column in columns)
                reason = f"is there more than once in spellings that are one value of {types}, {key.words()}"
                yield builder.build(columns[0], len(rows), Problem(ProblemCode.DUPLICATE_KEY, reason, condition))


@contextmanager
def _blaming_rules(table: TablePlan) -> Iterator[None]:
    """Raise ConfigurationError in place of an error of SQLite that a rule's expression has caused."""
    names = [f"{table.source.name}.{column.source.name}" for column in table.compared if column.rule.expression]
    try:
        yield
    except SourceUnreadable as error:
        message = error.driver_message
        if not names or not error.is_about_a_statement:
            raise
        raise ConfigurationError(
            f"the expressions of the rules for {', '.join(names)} fail for some row: {message}",
            next_step="Correct them, for unexpected rows too: CASE WHEN json_valid(COLUMN) THEN … END, for example.",
            columns=names,
        ) from error


def _changes(session: ScanSession, table: TablePlan) -> Iterator[Change]:
    """Yield the changes that rules make to the table's values."""
    ruled = [(column, condition) for column in table.compared if (condition := _rewrites(column))]
    counts = count_matching(session, table.source, [condition for _, condition in ruled])
    for (column, condition), rows in zip(ruled, counts, strict=True):
        if rows:
            yield replace(change(table, column, rows), years=_years(session, table, column, condition))


def _years(session: ScanSession, table: TablePlan, column: ColumnPlan, condition: str) -> str:
    """Return the first and last year of moments that a rule makes from numbers: a wrong unit shows as 1970."""
    if not (column.rule.epoch or column.rule.julian) or column.target.type_name not in MOMENTS:
        return ""
    year = f"substr({column.source_expression}, 1, 4)"
    [years] = session.ask(
        f"SELECT min({year}) AS first, max({year}) AS last FROM {table.source.origin} "
        f"WHERE ({condition}) AND typeof({column.source_expression}) = 'text'"
    )
    return f"{years['first']} to {years['last']}" if years["first"] else ""


def _notices(builder: FindingBuilder, table: TablePlan) -> Iterator[Finding]:
    """Yield notices with masked values, since the log of a successful run shows them and must not contain values."""
    known = [
        (column, problem)
        for column in table.compared
        for problem in notices(table, column, made_by_job=builder.made_by_job)
    ]
    counts = count_matching(builder.session, table.source, [problem.condition for _, problem in known])
    masking = replace(builder, example_options=replace(builder.example_options, mask_values=True))
    for (column, problem), rows in zip(known, counts, strict=True):
        if rows:
            yield masking.build(column, rows, problem)


def _rewrites(column: ColumnPlan) -> str | None:
    """Return the condition under which a rule changes the stored value; None if no rule changes the column's values."""
    stored = column.source.quoted
    conditions = []
    if column.is_rewritten:
        conditions.append(f"{stored} IS NOT {column.source_expression}")
    if column.rule.timezone and column.target.type_name == "timestamptz":
        conditions.append(f"(typeof({stored}) = 'text' AND substr({stored}, 11) NOT GLOB '*[-+Z]*')")
    return " OR ".join(conditions) or None


def _width(column: ColumnPlan, fast: ColumnPlan) -> str | None:
    """
    Return SQL for the number of bytes of a value; None if all values of the column have the same width.

    ``octet_length`` of a TEXT or BLOB value reads only the record's header. For a number it would write out the digits.
    """
    value = column.source_expression
    if not {StorageClass.TEXT, StorageClass.BLOB} & {scan_column.storage for scan_column in column.scan_columns}:
        return None
    if any(scan_column.storage is StorageClass.REAL for scan_column in fast.scan_columns):
        return f"iif({value} >= '', octet_length({value}), {_FIXED_BYTES})"
    return f"coalesce(octet_length({value}), 0)"
