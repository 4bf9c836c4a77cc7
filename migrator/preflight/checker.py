"""
Checks every table of the source in a worker pool; the chunks of a large table are checked in parallel.

The check reads both databases and writes nothing that lasts. ``preflight`` and ``migrator check`` decide what follows
from its result.
"""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from functools import partial

import structlog
from msgspec import Struct
from msgspec.structs import replace

from migrator.catalog.keys import Keys, keys_of
from migrator.concurrency.blocking import BlockingConnection, blocking_pool, call_in_worker
from migrator.concurrency.pool import WorkerPool, gather_or_cancel
from migrator.errors import ValuesRefused
from migrator.events import Event
from migrator.findings.finding import Finding, summary
from migrator.findings.settlement import reason_of, settlement_of
from migrator.monitoring.tracker import Count, Tracker
from migrator.names import TableName
from migrator.planning.grouping import MAX_GROUP_TABLES, group_small_tables
from migrator.planning.plan import Plan, TablePlan
from migrator.preflight.dry_run import DryRunPart, dry_run, dry_run_grouped, prepare
from migrator.preflight.quick.stored_rows import SourceFile, digest_of_stored, is_worth_it, leaves_no_room
from migrator.preflight.source_only import check_source_table
from migrator.preflight.table_check import TableCheck, TableChecker, measure_tables
from migrator.runtime.limits import ExampleOptions, Limits
from migrator.runtime.wording import listed
from migrator.source.chunks import WHOLE_TABLE, chunk_size, split_into_chunks
from migrator.source.database import Source
from migrator.source.integrity import check_intact, unless_damaged
from migrator.source.scan import ScanSession
from migrator.source.schema import SourceTable
from migrator.source.size import TableSize
from migrator.target.database import Target
from migrator.target.server_types import ServerTypes
from migrator.trials.server_check import Bench, bench_of, refused_by_server
from migrator.trials.unmade import Unmade
from migrator.verification import digest
from migrator.verification.digest import Digest, KnownDigest

log = structlog.get_logger()


class CheckContext(Struct, frozen=True):
    """The databases, the plan and the limits for a check of all tables."""

    source: Source
    target: Target
    plan: Plan
    limits: Limits
    example_options: ExampleOptions
    tracker: Tracker
    made_by_job: bool = False
    """Whether the job makes the target's tables."""


async def check_tables(
    context: CheckContext, intact: Callable[[], Awaitable[None]], unmade: Unmade | None = None
) -> list[TableCheck]:
    """
    Check the planned tables and return the results in the plan's order.

    At most ``limits.jobs`` tables or chunks are read at the same time, and the largest table comes first. ``unmade``
    describes the planned tables that don't exist in the target yet. ``intact`` checks the source file itself, while
    the tables are read, and raises SourceUnreadable if it is damaged; this function raises the same error, in an
    ExceptionGroup.
    """
    unmade = unmade or Unmade()
    target, plan, limits = context.target, context.plan, context.limits
    async with target.connect() as connection:
        keys = await keys_of(connection, plan.schema) | unmade.keys
    bench = await bench_of(target, plan, limits.batch_bytes, context.example_options)
    bench = replace(bench, judged=bench.judged | unmade.judged, unmade=unmade.statements)
    async with blocking_pool(limits.jobs, partial(BlockingConnection, context.source.session)) as sessions:
        sizes = await measured(sessions, plan.tables, limits)
        context.tracker.expect("preflight", {str(name): size.table_size.rows for name, size in sizes.items()})
        by_name = {table.name: table for table in plan.tables}
        checker = _PlanChecker(context, by_name, sessions, sizes, keys, bench, unmade)
        largest_first = sorted(plan.tables, key=lambda table: -sizes[table.name].table_size.weight)
        groups = group_small_tables(largest_first, checker.profile_if_whole, limits.chunk_bytes)
        checks = await unless_damaged(intact, lambda: gather_or_cancel(checker.check_group(group) for group in groups))
    checked = {check.table_size.table: check for group in checks for check in group}
    return [checked[table.name] for table in plan.tables]


class _PlanChecker(Struct, frozen=True):
    """Checks the tables of a plan; each call checks a group of small tables or one large table."""

    context: CheckContext
    tables: Mapping[TableName, TablePlan]
    """The plan's tables, by name."""
    sessions: WorkerPool[BlockingConnection[ScanSession]]
    sizes: Mapping[TableName, TableCheck]
    keys: Mapping[TableName, Keys]
    bench: Bench
    unmade: Unmade

    def profile_if_whole(self, table: TablePlan) -> TableSize | None:
        """Return the size of a table that is read in one chunk; None for a table with several chunks."""
        size = self.sizes[table.name]
        return size.table_size if size.is_whole else None

    async def check_group(self, group: Sequence[TablePlan]) -> list[TableCheck]:
        """Check a group of tables that are read together, or a single table with several chunks."""
        first_size = self.sizes[group[0].name]
        if first_size.is_whole:
            table_sizes = [(table, self.sizes[table.name].table_size) for table in group]
            checks = await call_in_worker(self.sessions, self._check_together, table_sizes)
        else:
            checks = [await self._check_in_chunks(group[0], first_size)]
        checks = [await self._check_at_server(table, check) for table, check in zip(group, checks, strict=True)]
        for check in checks:
            self.context.tracker.finish_table("preflight", str(check.table_size.table))
            _tell_checked(check)
        return checks

    def _check(
        self, session: ScanSession, table: TablePlan, table_size: TableSize, known_digest: KnownDigest | None
    ) -> TableCheck:
        context, types = self.context, self.unmade.types.get(table.name)
        with ServerTypes(context.target.address, table.name, types) as server_types:
            keys = self.keys.get(table.name, Keys())
            checker = TableChecker(
                session,
                self.tables,
                table,
                keys,
                server_types,
                context.limits.batch_bytes,
                context.example_options,
                context.made_by_job,
            )
            return checker.check(table_size, known_digest)

    def _check_together(self, session: ScanSession, group: Sequence[tuple[TablePlan, TableSize]]) -> list[TableCheck]:
        for table, _ in group:
            self.context.tracker.begin_table("preflight", str(table.name))
        known = self._read_by_duckdb(session, *group[0]) if len(group) == 1 else None
        count = self._count(group[0][0])
        digests = [known] if known else dry_run(session, group, self.context.limits.batch_bytes, count)
        return [self._check(session, *table, digest) for table, digest in zip(group, digests, strict=True)]

    def _read_by_duckdb(self, session: ScanSession, table: TablePlan, table_size: TableSize) -> KnownDigest | None:
        """Return the digest of a table that DuckDB itself can read and check; None if the dry run has to."""
        limits = self.context.limits
        if not is_worth_it(table_size) or not leaves_no_room(table.fast, table_size, limits.batch_bytes):
            return None
        comparison = prepare(session, table, table_size, limits.batch_bytes)
        file = SourceFile(self.context.source.path, limits.jobs)
        digested = digest_of_stored(file, session, table.fast, comparison) if comparison else None
        if comparison is None or digested is None:
            return None
        self._count(table)(table_size.rows, table_size.bytes)
        return KnownDigest(comparison, digested)

    def _count(self, table: TablePlan) -> Count:
        return self.context.tracker.counter("preflight", str(table.name))

    async def _check_in_chunks(self, table: TablePlan, measured_check: TableCheck) -> TableCheck:
        table_size, batch_bytes = measured_check.table_size, self.context.limits.batch_bytes
        check = await call_in_worker(self.sessions, self._read_and_check, table, table_size)
        if check is None:
            comparison = await call_in_worker(self.sessions, prepare, table, table_size, batch_bytes)
            known_digest = None
            if comparison:
                count = self._count(table)
                parts = [DryRunPart(table.fast, comparison, chunk, count) for chunk in measured_check.chunks]
                known_digest = await _dry_run(self.sessions, parts)
            check = await call_in_worker(self.sessions, self._check, table, table_size, known_digest)
        return replace(check, chunks=measured_check.chunks)

    def _read_and_check(self, session: ScanSession, table: TablePlan, table_size: TableSize) -> TableCheck | None:
        """Check a table that DuckDB itself can read; None if it can't. One worker does it all, so that none waits."""
        known_digest = self._read_by_duckdb(session, table, table_size)
        return self._check(session, table, table_size, known_digest) if known_digest else None

    async def _check_at_server(self, table: TablePlan, check: TableCheck) -> TableCheck:
        if not self.bench.has_to_judge(check.table_size):
            return check
        known = {finding.column for finding in check.findings if finding.refuses}
        async with self.sessions.worker() as session:
            refused, untried = await refused_by_server(session, self.bench, table, check.table_size, known)
        return replace(check, findings=(*check.findings, *refused), untried=tuple(untried))


async def measured(
    sessions: WorkerPool[BlockingConnection[ScanSession]], tables: Sequence[TablePlan], limits: Limits
) -> dict[TableName, TableCheck]:
    """Return a check of each table without findings: it holds only the table's size and its chunks."""
    group_size = max(1, min(MAX_GROUP_TABLES, len(tables) // _GROUPS))
    groups = [tables[start : start + group_size] for start in range(0, len(tables), group_size)]
    measurements = await gather_or_cancel(call_in_worker(sessions, measure_tables, group) for group in groups)
    table_sizes = [table_size for group in measurements for table_size in group]
    total = sum(table_size.weight for table_size in table_sizes)

    async def with_chunks(table: TablePlan, table_size: TableSize) -> TableCheck:
        size = chunk_size(table_size, total, limits.jobs, limits.chunk_bytes)
        chunks = (
            (WHOLE_TABLE,)
            if table_size.bytes <= size
            else await call_in_worker(sessions, split_into_chunks, table.source, table_size, size)
        )
        return TableCheck(table_size, (), chunks=chunks)

    sizes = await gather_or_cancel(
        with_chunks(table, table_size) for table, table_size in zip(tables, table_sizes, strict=True)
    )
    return {size.table_size.table: size for size in sizes}


_GROUPS = 32
"""The number of groups in which tables are measured. With fewer groups, the other workers would have no work
while one worker measures the group with a large table."""


async def _dry_run(
    sessions: WorkerPool[BlockingConnection[ScanSession]], parts: Sequence[DryRunPart]
) -> KnownDigest | None:
    """Dry-run a table chunk by chunk; start no further chunk after the first that needs a diagnosis."""
    is_suspect = False

    async def try_chunk(part: DryRunPart) -> Digest | None:
        nonlocal is_suspect
        if is_suspect:
            return None
        [digest_of_chunk] = await call_in_worker(sessions, dry_run_grouped, [part])
        is_suspect = is_suspect or digest_of_chunk is None
        return digest_of_chunk

    digests = await gather_or_cancel(try_chunk(part) for part in parts)
    return None if is_suspect else KnownDigest(parts[0].comparison, digest.total(part for part in digests if part))


async def check_source(
    source: Source, tables: Sequence[SourceTable], limits: Limits, tracker: Tracker
) -> list[TableCheck]:
    """
    Check the source without a target, at most ``limits.jobs`` tables at a time, and return a check of each table.

    ``tracker`` counts the tables. Raises SourceUnreadable if the file is damaged.
    """
    tracker.expect("preflight", {table.name: 1 for table in tables}, unit="tables")
    with tracker.stage("source check", is_step=True):
        await check_intact(source, [table.name for table in tables])

    def check_one(session: ScanSession, table: SourceTable) -> TableCheck:
        tracker.begin_table("preflight", table.name)
        check = check_source_table(session, table, limits.batch_bytes)
        tracker.finish_table("preflight", table.name)
        return check

    async with blocking_pool(limits.jobs, partial(BlockingConnection, source.session)) as sessions:
        checks = await gather_or_cancel(call_in_worker(sessions, check_one, table) for table in tables)
    for check in checks:
        _tell_checked(check)
    return checks


def _tell_checked(check: TableCheck) -> None:
    size = check.table_size
    log.debug(Event.TABLE_CHECKED, table=str(size.table), rows=size.rows, bytes=size.bytes)


def refusal_of_values(findings: Sequence[Finding]) -> ValuesRefused | None:
    """Log every finding that refuses as an event, and return the error that names them all, or None without any."""
    findings = [finding for finding in findings if finding.refuses]
    for finding in findings:
        log.error(Event.VALUES_REFUSED, message=finding.line(), **finding.to_json())
    if not findings:
        return None
    columns = {(finding.table, finding.column) for finding in findings}
    holding = "1 column holds" if len(columns) == 1 else f"{len(columns)} columns hold"
    error = ValuesRefused(
        f"{holding} values that PostgreSQL would refuse or change: {summary(findings)}",
        next_step="Run `migrator check` with the same settings and --write-rules migrator.toml, which writes a file "
        "with a section for each finding, and decide there. Or correct the values in the source, or leave the column "
        "or table out with --exclude.",
        findings=[finding.to_json() for finding in findings],
    ).settled_with(settlement_of(findings))
    return error.told_as(
        f"{holding} values that PostgreSQL would refuse or change: {listed(sorted(map('.'.join, columns)))}",
        map(reason_of, findings),
    )
