"""
Finds the rows that the target's constraints, indexes and encoding refuse, where only PostgreSQL itself can judge.

The catalogs and the sizes of the source's values show which constraints and indexes can matter for a table; for most
tables there are none. For the others, ``trial_load`` sends PostgreSQL the columns that these constraints and indexes
are about.
"""

import asyncio
from collections.abc import Collection, Iterator, Mapping, Sequence

from msgspec import Struct, field
from msgspec.structs import replace
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from migrator.catalog.constraints import Constraint, Judged, Kind, judged_of
from migrator.concurrency.blocking import BlockingConnection
from migrator.findings.examples import FindingBuilder, is_row
from migrator.findings.finding import Finding
from migrator.names import TableName
from migrator.planning.plan import ColumnPlan, Plan, TablePlan
from migrator.runtime.limits import ExampleOptions
from migrator.source.aggregates import count_matching
from migrator.source.scan import ScanSession
from migrator.source.size import TableSize
from migrator.target.database import Target
from migrator.target.schema import TargetColumn
from migrator.trials.simple_checks import broken_when
from migrator.trials.trial_load import Offence, try_rows
from migrator.trials.trial_rows import row_column
from migrator.trials.trial_table import Trial, UntriedError
from migrator.trials.untried import Untried
from migrator.types import Problem, ProblemCode

_MOST_NAMED = 1_000
"""The largest number of rows of a table that are named for one constraint."""

_MOST_ROW_BYTES = 2**27
"""The largest size of a row that PostgreSQL certainly accepts. A jsonb document has at most 256 MB, and a line of COPY
at most 1 GB, which is half as many bytes of a bytea, since COPY gets two digits for each byte
(src/include/utils/jsonb.h: JENTRY_OFFLENMASK; src/include/utils/memutils.h: MaxAllocSize)."""


class Bench(Struct, frozen=True):
    """The constraints and the encoding by which the target judges rows, and options for reading and showing rows."""

    target: Target
    judged: dict[TableName, Judged]
    encoding: str
    planned: frozenset[str]
    """The tables whose rows come from the source, spelled as in the catalogs' definitions."""
    batch_bytes: int
    example_options: ExampleOptions
    unmade: Mapping[TableName, str] = field(default_factory=dict)
    """The statements that make the tables that don't exist yet."""

    def has_to_judge(self, table_size: TableSize) -> bool:
        """Return whether a table may have rows that only PostgreSQL can judge."""
        return (
            table_size.table in self.judged or self.encoding != "UTF8" or table_size.widest_row_bytes > _MOST_ROW_BYTES
        )


async def bench_of(target: Target, plan: Plan, batch_bytes: int, example_options: ExampleOptions) -> Bench:
    """
    Return the constraints and the encoding by which the target judges the planned tables; reads the catalogs.

    ``batch_bytes`` is the size of a record batch.
    """
    async with target.connect() as connection:
        judged = await judged_of(connection, plan.schema)
        encoding = str(await connection.scalar(text("SELECT pg_catalog.current_setting('server_encoding')")))
        planned = await _spelled(connection, [table.name for table in plan.tables])
    return Bench(target, judged, encoding, planned, batch_bytes, example_options)


async def _spelled(connection: AsyncConnection, names: Sequence[TableName]) -> frozenset[str]:
    """Return table names as the catalogs' definitions spell them: quoted where necessary."""
    spelled = await connection.execute(
        text(
            "SELECT format('%I.%I', s, t) FROM unnest(CAST(:schemas AS text[]), CAST(:tables AS text[])) AS name(s, t)"
        ),
        {"schemas": [name.schema for name in names], "tables": [name.name for name in names]},
    )
    return frozenset(spelled.scalars())


async def refused_by_server(
    reading: BlockingConnection[ScanSession],
    bench: Bench,
    table: TablePlan,
    table_size: TableSize,
    known: Collection[str],
) -> tuple[list[Finding], list[Untried]]:
    """
    Return findings about rows that PostgreSQL would refuse, and the constraints and indexes that can't be tried.

    The findings are only about rules that nothing but PostgreSQL can judge. ``known`` names the source's columns with
    values that are refused anyway; these columns aren't tried. Raises SourceUnreadable, and the errors of the
    connection to PostgreSQL.
    """
    judged = bench.judged.get(table.name, Judged())
    untried = [Untried(table.name, name, _UNSTABLE) for name in judged.unstable if table_size.rows]
    findings, trials = await asyncio.to_thread(reading.call, _looked_at, bench, table, table_size, frozenset(known))
    for trial in trials:
        try:
            offences = await try_rows(bench.target, reading, trial)
        except UntriedError as error:
            names = dict.fromkeys(constraint.name or constraint.kind.value for constraint in trial.constraints)
            untried += [Untried(table.name, name, str(error)) for name in names if name not in judged.unstable]
            continue
        findings += await asyncio.to_thread(reading.call, _findings, bench, table, offences)
    return findings, untried


_UNSTABLE = (
    "it depends on more than a row's values (by a function that isn't immutable and may read other rows, or by the "
    "table itself): its answer may be another when the rows are copied"
)


# Choice of trials -------------------------------------------------------------------------------------------------


def _looked_at(
    session: ScanSession, bench: Bench, table: TablePlan, table_size: TableSize, known: frozenset[str]
) -> tuple[list[Finding], list[Trial]]:
    """Return the findings that SQLite can answer, and the trials that need the server."""
    judged = bench.judged.get(table.name, Judged())
    plain = table.fast if table_size.fast else table
    fed = {column.target.name: column for column in plain.columns if column.source.name not in known}
    lost = {column.target.name for column in table.compared if column.source.name in known}
    relevant = [constraint for constraint in judged.constraints if _matters(table, constraint, bench, lost)]
    relevant = [_over_all(constraint, fed) for constraint in relevant]
    if not table_size.rows:
        relevant = [constraint for constraint in relevant if constraint.kind is Kind.REFERENCING]
    parts = {partition.relation for partition in judged.partitions}
    # Without a partition constraint, values of the partition key have been refused: no row can be routed.
    if judged.key and not any(constraint.kind is Kind.PARTITION for constraint in relevant):
        judged = replace(judged, key=None, partitions=())
        relevant = [constraint for constraint in relevant if constraint.relation not in parts]
    simple = {
        constraint: broken
        for constraint in relevant
        if constraint.kind is Kind.CHECK
        and constraint.relation not in parts
        and (broken := broken_when(constraint.definition, fed))
    }
    builder = FindingBuilder(session, table.source, bench.example_options)
    counts = count_matching(session, table.source, list(simple.values())) if simple else []
    findings = [
        builder.build(_column(table, violation), rows, _problem(table, violation, bench, condition))
        for (constraint, condition), rows in zip(simple.items(), counts, strict=True)
        if rows and (violation := Offence(constraint, None, ProblemCode.CHECK_VIOLATED, ""))
    ]
    for_server = [constraint for constraint in relevant if constraint not in simple]
    return findings, _trials(session, bench, _Shown(plain, table_size, judged, fed), for_server)


class _Shown(Struct, frozen=True):
    """A table whose rows can be tried on the server."""

    table: TablePlan
    table_size: TableSize
    judged: Judged
    fed: Mapping[str, ColumnPlan]
    """The columns whose values can all be sent, by the target's names."""


def _trials(session: ScanSession, bench: Bench, shown: _Shown, relevant: list[Constraint]) -> list[Trial]:
    table, table_size, fed = shown.table, shown.table_size, shown.fed

    def trial(constraints: Sequence[Constraint], where: str) -> Iterator[Trial]:
        routed = [
            constraint for constraint in relevant if constraint.kind is Kind.PARTITION and constraint not in constraints
        ]
        tried = (*constraints, *routed)
        names = {name for constraint in tried for name in constraint.columns}
        columns = tuple(column for name, column in fed.items() if name in names)
        if columns:
            shown_table = replace(table, columns=(*columns, row_column(table)), computed=())
            statement = bench.unmade.get(table.name, "")
            yield Trial(shown_table, table_size, shown.judged, tried, where, bench.batch_bytes, _MOST_NAMED, statement)

    trials = (
        list(trial(full, ""))
        if (full := [constraint for constraint in relevant if constraint.most_bytes is None])
        else []
    )
    relevant.append(Constraint(Kind.ROW, "", "", "", tuple(fed), _MOST_ROW_BYTES))
    sized = [
        (constraint, long)
        for constraint in relevant
        if constraint.most_bytes is not None and (long := _too_long(constraint, fed, table_size))
    ]
    counts = count_matching(session, table.source, [long for _, long in sized]) if sized else []
    met = [pair for pair, rows in zip(sized, counts, strict=True) if rows]
    if met:
        trials += trial([constraint for constraint, _ in met], " OR ".join(f"({long})" for _, long in met))
    if (
        bench.encoding != "UTF8"
        and (beyond := _beyond_ascii(fed.values()))
        and count_matching(session, table.source, [beyond])[0]
    ):
        encoding = Constraint(Kind.ENCODING, bench.encoding, "", "", tuple(fed))
        trials += trial([encoding], beyond)
    return trials


def _over_all(constraint: Constraint, fed: Collection[str]) -> Constraint:
    """Return the constraint with all columns if the catalogs name none, since it may be about the whole row."""
    about_rows = constraint.kind in {Kind.CHECK, Kind.EXCLUSION, Kind.INDEX, Kind.UNIQUE}
    return replace(constraint, columns=tuple(fed)) if about_rows and not constraint.columns else constraint


def _matters(table: TablePlan, constraint: Constraint, bench: Bench, lost: set[str]) -> bool:
    if constraint.kind in {Kind.FOREIGN, Kind.REFERENCING} and constraint.relation in bench.planned:
        return False  # the rows of both tables come from the source, and `key_violations` has checked them
    if constraint.kind is Kind.REFERENCING and table.on_existing_rows == "keep":
        # The rows of other tables refer to rows that are there, and no primary key goes: such a row stays, or the
        # source's row of the same key takes its place.
        return set(constraint.columns) != set(table.target.key) and not lost & set(constraint.columns)
    return not lost & set(constraint.columns)


def _too_long(constraint: Constraint, fed: Mapping[str, ColumnPlan], table_size: TableSize) -> str | None:
    """Return a condition, in SQLite's SQL, for rows that may be too long for an index; None if no row can be."""
    most_bytes = constraint.most_bytes or 0
    padding = sum(
        fed[name].target.length or 0 for name in constraint.columns if name in fed and _is_padded(fed[name].target)
    )
    if table_size.widest_row_bytes + padding <= most_bytes:
        return None
    widths = [f"coalesce(octet_length({fed[name].source_expression}), 0)" for name in constraint.columns if name in fed]
    return f"({' + '.join(widths)} + {padding} > {most_bytes})" if widths else None


def _is_padded(column: TargetColumn) -> bool:
    return column.type_name == "bpchar"


def _beyond_ascii(columns: Collection[ColumnPlan]) -> str:
    """Return a condition for rows with text beyond ASCII, or with JSON that may contain such text as an escape."""
    conditions = []
    for column in columns:
        value = column.source_expression
        conditions.append(f"(typeof({value}) = 'text' AND {value} GLOB '*[^' || char(1) || '-' || char(127) || ']*')")
        if column.target.type_name == "jsonb":
            conditions.append(f"instr({value}, '\\u')")
    return " OR ".join(conditions)


# Findings ---------------------------------------------------------------------------------------------------------


def _findings(session: ScanSession, bench: Bench, table: TablePlan, offences: Sequence[Offence]) -> list[Finding]:
    builder = FindingBuilder(session, table.source, bench.example_options)
    findings = []
    for offence in offences:
        column, rows = _column(table, offence), list(offence.rows)
        example_rows = rows[: bench.example_options.count]
        problem = _problem(table, offence, bench, is_row(table.source, example_rows) if example_rows else "false")
        number = offence.referencing_rows or len(rows)
        findings.append(builder.build(column, number, problem, at_least=offence.at_least))
    return findings


def _column(table: TablePlan, offence: Offence) -> ColumnPlan:
    """Return the column that names an offence in a finding."""
    by_name = {column.target.name: column for column in table.compared}
    names = (offence.column or "", *(offence.constraint.columns if offence.constraint else ()))
    return next((by_name[name] for name in names if name in by_name), table.compared[0])


def _problem(table: TablePlan, offence: Offence, bench: Bench, condition: str) -> Problem:
    """Return why rows are refused: they break the constraint, or the constraint fails with an error for them."""
    constraint, message = offence.constraint, offence.message
    if constraint is None and offence.code is ProblemCode.NOT_IN_ENCODING:
        reason = f"has a character that {bench.encoding}, the target's encoding, doesn't have"
        return Problem(ProblemCode.NOT_IN_ENCODING, reason, condition)
    if constraint is None:
        return Problem(ProblemCode.SERVER_REJECTS_ROW, f"makes PostgreSQL refuse the row: {message}", condition)
    name, columns, demand = constraint.name, ", ".join(constraint.columns), constraint.definition
    code = offence.code if offence.code in _BY_MESSAGE else _BY_KIND.get(constraint.kind, ProblemCode.CONSTRAINT_FAILS)
    reason = {
        ProblemCode.DUPLICATE_KEY: f"is there more than once, and {name} of the target is unique:{demand}",
        ProblemCode.INDEX_ENTRY_TOO_LONG: (
            f"is too long for index {name} of the target ({columns}): {message.split(' for index ')[0]}"
        ),
        ProblemCode.EXCLUDED_BY_OTHER_ROW: (
            f"can't stand beside another row's, by {constraint.kind} {name} of the target: {demand}"
        ),
        ProblemCode.CHECK_VIOLATED: f"breaks {constraint.kind} {name} of the target: {demand}",
        ProblemCode.NO_PARTITION: f"finds no partition of {table.name} that takes it ({columns})",
        ProblemCode.ROW_TOO_WIDE: f"makes a row that is wider than a page of the target: {message}",
        ProblemCode.ORPHAN: (
            f"refers to a row of {constraint.relation} in the target that isn't there, and {name} wants it"
        ),
        ProblemCode.STILL_REFERENCED: (
            f"is missing for rows of {constraint.relation} in the target, which refer to it by {name}"
            + (f", for example {message}" if message else "")
        ),
    }.get(code, f"can't pass {constraint.kind} {name} of the target ({columns}): {message}")
    return Problem(code, reason, condition)


_BY_MESSAGE = frozenset(
    {
        ProblemCode.DUPLICATE_KEY,
        ProblemCode.INDEX_ENTRY_TOO_LONG,
        ProblemCode.EXCLUDED_BY_OTHER_ROW,
        ProblemCode.CHECK_VIOLATED,
    }
)
"""The codes that the server's message determines, whatever the constraint's kind is."""

_BY_KIND = {
    Kind.PARTITION: ProblemCode.NO_PARTITION,
    Kind.ROW: ProblemCode.ROW_TOO_WIDE,
    Kind.FOREIGN: ProblemCode.ORPHAN,
    Kind.REFERENCING: ProblemCode.STILL_REFERENCED,
}
